"""`pumphouse approve` and `pumphouse journal`: what a person types, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pumphouse.approval import account
from pumphouse.cli.main import main
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.site import Site
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
