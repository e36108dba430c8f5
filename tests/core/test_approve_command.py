"""`pumphouse approve` and `pumphouse journal`: what a person types, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pumphouse.approval import account
from pumphouse.cli.main import _print_verdict, main
from pumphouse.findings import Finding
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.site import Site, load_site
from tests.core.making import keep_plan, make_plan, make_step
from tests.runner.making import make_site

PLAN = make_plan(make_step("project:1"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def keep(site: Site, state: str, plan: Plan = PLAN) -> None:
    with closing(Journal.open(site.journal_url)) as journal:
        keep_plan(journal, plan, state)


def approve(site: Site, *words: str) -> Result:
    command = ["approve", PLAN.hash[:12], "--by", "Ann", "--reason", "window", "--site", str(site.path), *words]
    return CliRunner().invoke(main, command)


def approval(site: Site) -> dict[str, str]:
    found: dict[str, str] = json.loads((site.work_dir / "approvals" / f"{PLAN.hash}.json").read_text(encoding="utf-8"))
    return found


def test_it_is_noted_who_typed_it(site: Site) -> None:
    keep(site, "proposed")
    assert approve(site).exit_code == 0
    assert (approval(site)["approved_by"], approval(site)["account"]) == ("Ann", account())


@pytest.mark.parametrize("state", ["finished", "undone", "superseded"])
def test_a_plan_that_is_over_is_refused(site: Site, state: str) -> None:
    keep(site, state)
    result = approve(site)
    assert result.exit_code == 2
    assert f"is {state}: there is nothing left of it to approve" in result.output
    assert "Remedy:" in result.output
    assert not (site.work_dir / "approvals").exists()


def test_whoever_approves_a_node_s_plan_reads_which_node_and_what_is_lost_for_ever(site: Site) -> None:
    off = make_step("node-off:cmp-02", phase="release", node="cmp-02", host="compute2")
    deploy = make_step("node-deploy:cmp-02", phase="install", node="cmp-02", undo=None, cost="the disk is overwritten")
    plan = make_plan(off, deploy, kind="transfer", servers=())
    keep(site, "proposed", plan)
    result = CliRunner().invoke(main, ["approve", plan.hash, "--by", "Ann", "--reason", "w", "--site", str(site.path)])
    assert f"Approved transfer plan {plan.hash[:12]} of cmp-02 (compute2)." in result.output
    assert "irreversible: the disk is overwritten" in result.output
    assert re.search(
        r"transfer +proposed .* cmp-02 \(compute2\)",
        CliRunner().invoke(main, ["journal", "--site", str(site.path)]).output,
    )


@pytest.mark.parametrize(
    ("ticket", "said"),
    [("chg-7", ""), ("CHG-9", "was approved for ticket CHG-9, not for"), ("", "was approved without a ticket")],
)
def test_a_ticket_other_than_that_of_the_run_that_asks_is_told(site: Site, ticket: str, said: str) -> None:
    keep(site, "proposed")
    with closing(Journal.open(site.journal_url)) as journal:
        run = journal.start_run(
            notebook="n", template_digest="t", parameters={"change": "CHG-7"}, operator="Ann", record=None
        )
        journal.write(run, PLAN.hash, "@plan", "planned", {})
    result = approve(site, "--ticket", ticket)
    assert result.exit_code == 0
    assert said in result.output
    assert ("Note: " in result.output) is bool(said)


def test_another_approval_is_overruled_only_on_purpose(site: Site) -> None:
    keep(site, "started")
    assert approve(site).exit_code == 0
    again = approve(site, "--by", "Bob")
    assert again.exit_code == 2
    assert "approved already, by Ann" in again.output
    assert approval(site)["approved_by"] == "Ann"
    assert approve(site, "--by", "Bob", "--replace").exit_code == 0
    assert approval(site)["approved_by"] == "Bob"


def test_the_journal_is_closed_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(site, "proposed")
    opened, closed = _counted(monkeypatch, "open"), _counted(monkeypatch, "close")
    assert approve(site).exit_code == 0
    for words in (["journal"], ["journal", "--json"], ["journal", "no-such-run"]):
        CliRunner().invoke(main, [*words, "--site", str(site.path)])
    assert len(opened) == len(closed) == 4


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    calls: list[object] = []
    real: Callable[..., object] = getattr(Journal, name)

    def counting(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(Journal, name, counting)
    return calls


@pytest.mark.parametrize(
    ("words", "said"),
    [("abc", "too short"), ("0123456789ab", "No plan of site lab2 has a hash that begins with '0123456789ab'")],
)
def test_a_hash_of_another_site_is_told_from_one_that_is_too_short(tmp_path: Path, words: str, said: str) -> None:
    site = make_site(tmp_path / "site")
    site.path.write_text(site.path.read_text().replace(f"name: {site.name}", "name: lab2"))
    keep(site, "proposed")
    result = CliRunner().invoke(main, ["approve", words, "--reason", "window", "--site", str(site.path)])
    assert result.exit_code == 2
    assert said in result.output
    assert (str(load_site(site.path).path.parent) in result.output) == (words != "abc")
    assert "--site" in result.output or words == "abc"


def test_the_check_ends_with_what_it_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    infos = (Finding("info", f"c{n}", "x", "y.") for n in range(9))
    found = [Finding("block", "cidr", "network a", "overlaps."), *infos]
    _print_verdict(tuple(found), nodes=True)
    said = capsys.readouterr().out.strip()
    assert said == (
        "1 blocks, 0 warn, 9 inform: mend what blocks (network a [cidr] above is the first), then check again."
    )
    for nodes in (False, True):
        for rest in (found[1:], []):
            _print_verdict(tuple(rest), nodes=nodes)
            said = capsys.readouterr().out.strip()
            assert said.startswith("0 block, 0 warn, 9 inform: nothing blocks. Go on with ") == bool(rest)
            assert "notebooks/02-check.ipynb" in said
            assert ("notebooks/06-acquire-nodes.ipynb" in said) == nodes


def test_commands_of_others_are_listed_and_load_only_when_asked_for() -> None:
    assert "lab" in main.list_commands(click.Context(main))
    look = "import sys, pumphouse.cli.main; print([m for m in sys.modules if m.startswith('pumphouse.lab')])"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"
    assert CliRunner().invoke(main, ["lab", "--help"]).exit_code == 0
    assert CliRunner().invoke(main, ["laab"]).exit_code == 2
