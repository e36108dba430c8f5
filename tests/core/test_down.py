"""Which servers are in service nowhere, where they are and since when; and what a record and a terminal say of them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pumphouse.down import down_after, in_words, servers_down
from pumphouse.executor import SCOPE_KEY
from pumphouse.journal import Journal
from pumphouse.plan.after import plan_rollback
from pumphouse.plan.model import Plan
from pumphouse.session.story import tell_story
from pumphouse.session.ways import Places, ways_on
from tests.core.making import keep_plan, planned
from tests.core.making_runs import start_run
from tests.factories import uid

WEB1 = uid("acme-web1")
START = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)


@pytest.fixture
def clock() -> list[datetime]:
    return [START]


@pytest.fixture
def journal(tmp_path: Path, clock: list[datetime]) -> Journal:
    """A journal by whose clock every event is a second later than the one before."""

    def now() -> datetime:
        clock[0] += timedelta(seconds=1)
        return clock[0]

    return Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", now=now)


def began(journal: Journal, plan: Plan, *events: str) -> str:
    """A run that journalled these events (``stop intent``) of web1's steps, after its scope."""
    run = start_run(journal)
    journal.write(run, plan.hash, SCOPE_KEY, "scope", {"steps": [step.key for step in plan.steps]})
    for one in events:
        kind, word = one.split()
        journal.write(run, plan.hash, f"{kind}:{WEB1}", word, {"id": "x", "absent": True, "error": "no"})
    return run


STOPPED = ("stop intent", "stop done", "stop verified")
BOOTED = (*STOPPED, "boot intent", "boot done", "boot verified")
SERVES = (*BOOTED, "settle intent", "settle done", "settle verified")


@pytest.mark.parametrize(
    ("events", "where", "sure"),
    [
        ((), None, False),
        (("stop intent",), "its stop at old was begun", False),
        (("stop intent", "stop refused", "stop failed"), None, False),
        (STOPPED, "stopped at old, not booted at new yet", True),
        ((*STOPPED, "boot intent"), "its boot at new was begun", True),
        ((*STOPPED, "boot intent", "boot failed"), "its boot at new was begun", True),
        (BOOTED, "booted at new, not seen to serve there yet", True),
        ((*BOOTED, "settle intent", "settle failed"), "booted at new, not seen to serve there yet", True),
        (SERVES, None, False),
        ((*SERVES, "boot undo-intent"), "its way back to old was begun", True),
        ((*SERVES, "boot undo-intent", "boot undone", "stop undo-intent", "stop undone"), None, False),
    ],
)
def test_a_server_is_down_from_its_stop_until_it_serves_here_or_there(
    journal: Journal, tmp_path: Path, events: tuple[str, ...], where: str | None, sure: bool
) -> None:
    with closing(journal):
        plan, _ = planned(tmp_path, "acme-web1", "acme-web2")
        keep_plan(journal, plan)
        run = began(journal, plan, *events)
        found = servers_down(journal, plan)
        assert down_after(journal, run) == found
        told = tell_story(journal, run)["down"]
        assert [row["name"] for row in told] == [server.name for server in found]
        if where is None:
            assert (found, in_words(found)) == ((), "")
            return
        (one,) = found
        first = next(e for e in journal.events(plan_hash=plan.hash) if e.event in ("intent", "undo-intent"))
        last_up = [
            e for e in journal.events(plan_hash=plan.hash) if (e.event, "settle" in e.step_key) == ("verified", 1)
        ]
        since = first.at if not last_up else last_up[-1].at + timedelta(seconds=1)
        assert (one.name, one.sure, one.since) == ("acme-web1", sure, since)
        assert where in one.where
        assert in_words(found) == f"{'Down' if sure else 'Maybe down'} now: acme-web1."
        assert f"since {since:%Y-%m-%d %H:%M:%S} UTC" in told[0]["said"]


def test_a_server_that_did_not_run_is_half_way_and_no_outage(journal: Journal, tmp_path: Path) -> None:
    with closing(journal):
        plan, _ = planned(tmp_path, "acme-web1")
        plan = replace(plan, servers=tuple(replace(server, status="SHUTOFF") for server in plan.servers))
        keep_plan(journal, plan)
        began(journal, plan, *BOOTED)
        (one,) = servers_down(journal, plan)
        assert (one.sure, one.ran) == (False, False)
        assert "acme-web1: half-way since " in str(one)
        assert str(one).endswith("(it was SHUTOFF before: no outage)")
        assert in_words((one,)) == ""


def test_a_roll_back_that_is_cut_off_names_who_is_down(journal: Journal, tmp_path: Path) -> None:
    with closing(journal):
        plan, _ = planned(tmp_path, "acme-web1", "acme-web2")
        keep_plan(journal, plan, "finished")
        began(journal, plan, *SERVES)
        back, _ = plan_rollback(journal, "d" * 64, [WEB1])
        keep_plan(journal, back)
        assert servers_down(journal, back) == ()
        began(journal, plan, "boot undo-intent", "boot undone")
        assert [one.name for one in servers_down(journal, back)] == ["acme-web1"]


@pytest.mark.parametrize(
    ("state", "ways"),
    [
        ("proposed", ["pumphouse show", "pumphouse approve", "03-move-servers.ipynb"]),
        ("started", ["03-move-servers.ipynb", "05-roll-back-move.ipynb"]),
        ("finished", ["04-finalise-move.ipynb", "05-roll-back-move.ipynb"]),
        ("undone", []),
    ],
)
def test_the_ways_on_are_commands_with_the_selection_that_was_kept(
    journal: Journal, tmp_path: Path, state: str, ways: list[str]
) -> None:
    with closing(journal):
        plan, _ = planned(tmp_path, "acme-web1")
        keep_plan(journal, plan, state)
        places = Places("notebooks", "work", tmp_path / "work", site="my site.yaml", change="CHG-7")
        found = ways_on(journal, plan, places)
        assert [next(word for word in ways if word in way.command) for way in found] == ways
        runs = [way.command for way in found if " run " in way.command]
        assert all(f"-p ids={WEB1}" in command for command in runs)
        assert all(
            "--site 'my site.yaml'" in way.command and "CHG-7" in way.command for way in found[-len(runs) or 9 :]
        )
        kept = tmp_path / "work" / "selections" / f"{plan.selection_digest[:16]}.json"
        kept.parent.mkdir(parents=True)
        kept.touch()
        runs = [way.command for way in ways_on(journal, plan, places) if " run " in way.command]
        assert all(f"selection_file=work/selections/{kept.name}" in command for command in runs)
