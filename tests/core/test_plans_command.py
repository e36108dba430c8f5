"""``pumphouse plans`` and ``pumphouse show``: a plan as its approver reads it in a terminal."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pumphouse.approval import approve, other_ticket
from pumphouse.cli import main
from pumphouse.holder import holder
from pumphouse.journal import Journal
from pumphouse.session.together import plan_key
from pumphouse.site import Site
from tests.core.making import keep_plan, make_plan, make_step, plan_server
from tests.core.making_runs import start_run
from tests.runner.making import make_site

WEB = plan_server("web1")
PLAN = make_plan(
    make_step("project:1", undo="deleted", title="project acme"),
    make_step(f"stop:{WEB.id}", phase="cutover", server_id=WEB.id, title="stop web1", undo="started again"),
    make_step(f"wipe:{WEB.id}", phase="cutover", server_id=WEB.id, title="wipe web1", cost="its disk is gone"),
    servers=(WEB,),
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path / "site")
    with closing(Journal.open(made.journal_url)) as journal:
        keep_plan(journal, PLAN, "proposed")
    return made


def ask(site: Site, *words: str) -> Result:
    result = CliRunner().invoke(main, [*words, "--site", str(site.path)])
    assert result.exit_code == 0, result.output
    return result


def test_plans_that_wait_are_listed_with_their_approval(site: Site) -> None:
    listed = ask(site, "plans").output
    assert listed.splitlines()[0].startswith(
        f"{PLAN.hash[:12]}  move        proposed   3 steps, 1 irreversible, not approved"
    )
    approve(PLAN, site.work_dir / "approvals", by="Rita", reason="read it", second="Sam")
    assert "approved by Rita and Sam  1 server" in ask(site, "plans").output
    (row,) = json.loads(ask(site, "plans", "--json").output)
    assert (row["hash"], row["irreversible"], row["approved_by"]) == (PLAN.hash, 1, "Rita and Sam")
    with closing(Journal.open(site.journal_url)) as journal:
        journal.set_plan_state(PLAN.hash, "finished")
    assert ask(site, "plans").output == "No plan waits for anything. Those that are over: --all.\n"
    assert "finished" in ask(site, "plans", "--all").output


def test_a_plan_is_shown_with_steps_what_is_irreversible_and_where_it_stands(site: Site) -> None:
    with closing(Journal.open(site.journal_url)) as journal:
        run = start_run(journal)
        journal.write(run, PLAN.hash, f"stop:{WEB.id}", "intent", {"absent": True})
        journal.write(run, PLAN.hash, f"stop:{WEB.id}", "failed", {"error": "no answer"})
    shown = ask(site, "show", PLAN.hash[:8]).output
    lines = shown.splitlines()
    assert lines[0] == f"move plan {PLAN.hash}"
    assert f"  not approved: pumphouse approve {PLAN.hash[:12]} --by NAME --reason WHY" in lines
    assert "  irreversible: its disk is gone" in lines
    assert any(line.startswith("  DOWN web1: maybe down since ") for line in lines)
    assert "  project acme (changes destination)" in lines
    assert "  stop web1 (changes destination) [failed: no answer]" in lines
    assert "  wipe web1 (changes destination) — IRREVERSIBLE: its disk is gone" in lines
    facts = json.loads(ask(site, "show", PLAN.hash[:8], "--json").output)
    assert (facts["hash"], facts["failed"], facts["approval"]) == (PLAN.hash, 1, None)
    assert facts["down"][0].startswith("web1: maybe down since ")
    assert CliRunner().invoke(main, ["show", "123", "--site", str(site.path)]).exit_code == 2


def test_a_plan_is_followed_until_nobody_carries_it_out(site: Site) -> None:
    with closing(Journal.open(site.journal_url)) as journal:
        run = start_run(journal)
        journal.claim(run, [plan_key(PLAN.hash)], holder=holder(), lease_s=60)

        def go_on() -> None:
            time.sleep(0.3)
            journal.write(run, PLAN.hash, "project:1", "intent")
            journal.write(run, PLAN.hash, "project:1", "verified")
            journal.end_run(run, "failed")

        worker = threading.Thread(target=go_on)
        worker.start()
        said = ask(site, "show", PLAN.hash, "--follow").output
        worker.join(20)
    assert "Z  0 of 3 steps verified\n" in said
    assert "Z  1 of 3 steps verified\n" in said
    assert said.endswith("No run is carrying it out.\n")


def test_a_plan_whose_run_died_says_who_is_down_and_how_to_go_on(site: Site) -> None:
    approve(PLAN, site.work_dir / "approvals", by="Rita", reason="read it", ticket="CHG-9999")
    with closing(Journal.open(site.journal_url)) as journal:
        run = start_run(journal, parameters={"change": "CHG-1042"})
        journal.set_plan_state(PLAN.hash, "started")
        journal.write(run, PLAN.hash, f"stop:{WEB.id}", "intent", {"absent": True})
        listed = ask(site, "plans").output
        assert "approved by Rita (ticket CHG-9999)  1 server" in listed
        assert ", no run is at it, 1 DOWN\n" in listed
        shown = ask(site, "show", PLAN.hash).output
        ways = shown[shown.index("to go on:") :]
        assert "pumphouse run notebooks/03-move-servers.ipynb" in ways
        assert "-p change=CHG-1042" in ways
        journal.claim(run, [plan_key(PLAN.hash)], holder=holder(), lease_s=60)
        assert ", being carried out, 1 DOWN\n" in ask(site, "plans").output
        assert "to go on:" not in ask(site, "show", PLAN.hash).output


@pytest.mark.parametrize(
    ("ticket", "change", "said"),
    [
        ("CHG-1", "chg-1 ", ""),
        ("", "", ""),
        ("", "CHG-1", "without a ticket"),
        ("CHG-1", "", "named no change ticket"),
        ("CHG-1", "CHG-2", "for ticket CHG-1, not for the request's change CHG-2"),
    ],
)
def test_an_approval_for_another_ticket_is_told(ticket: str, change: str, said: str) -> None:
    words = other_ticket(PLAN.hash, ticket, change)
    assert (said in words) if said else words == ""
