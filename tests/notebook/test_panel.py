"""Progress from the journal: words, bytes, time left; panels that follow it and ask runs to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from pumphouse.notebook.panel import Panel, watch
from pumphouse.notebook.progress import sentence, show_standing
from pumphouse.session.standing import Follower, Standing
from pumphouse.stopping import StopKind, pending_stop
from tests.factories import uid
from tests.notebook.desk_of import DeskRun, desk_run, move_of

WEB, DB = uid("web"), uid("db")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[DeskRun]:
    made = desk_run(tmp_path)
    yield made
    made.journal.close()
    ipywidgets.Widget.close_all()


def look(run: DeskRun, plan: Any, *phases: str, later_s: float = 0.0) -> Standing:
    return Follower(run.journal, plan, run.id, phases).look(datetime.now(UTC) + timedelta(seconds=later_s))


@pytest.mark.parametrize(
    ("events", "state", "now", "done"),
    [
        ([], "waiting", "", 0),
        ([("stop", "intent")], "under way", "stop web", 0),
        ([("stop", "intent"), ("stop", "done")], "under way", "stop web", 0),
        ([("stop", "intent"), ("stop", "verified")], "half-way", "next: boot web", 1),
        ([("stop", "verified"), ("boot", "intent")], "under way", "boot web", 1),
        ([("stop", "verified"), ("boot", "intent"), ("boot", "failed")], "failed", "no room", 1),
        ([("stop", "verified"), ("boot", "failed"), ("boot", "intent")], "under way", "boot web", 1),
        ([("stop", "skipped"), ("boot", "verified"), ("settle", "verified")], "done", "web serves", 3),
    ],
)
def test_a_servers_state_is_what_the_journal_says_last(
    run: DeskRun, events: list[tuple[str, str]], state: str, now: str, done: int
) -> None:
    plan = run.keep(move_of("web", "db"), "started")
    run.tell(run.id, plan, *((f"{kind}:{WEB}", event) for kind, event in events), error="no room")
    (web, db) = sorted(look(run, plan, "cutover").servers, key=lambda one: one.name != "web")
    assert (web.state, web.now, web.done, web.steps) == (state, now, done, 3)
    assert db.state == "waiting"


def test_following_reads_on_from_where_it_was(run: DeskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = run.keep(move_of("web"), "started")
    follower = Follower(run.journal, plan, run.id)
    run.tell(run.id, plan, ("image:one", "intent"), ("image:one", "verified"))
    assert follower.look(datetime.now(UTC)).verified == 1
    read: list[int] = []
    events = run.journal.events

    def counted(**wanted: Any) -> Any:
        found = events(**wanted)
        read.append(len(found))
        return found

    monkeypatch.setattr(run.journal, "events", counted)
    run.tell(run.id, plan, (f"stop:{WEB}", "intent"))
    assert follower.look(datetime.now(UTC)).under_way == ("stop web",)
    assert read[0] == 1


def test_bytes_rate_and_time_left(run: DeskRun) -> None:
    plan = run.keep(move_of("web", image_bytes=1 << 30), "started")
    assert "time left not known yet" in sentence(look(run, plan))
    run.tell(run.id, plan, ("image:one", "intent"))
    run.journal.write(
        run.id, plan.hash, "@bytes", "bytes", {"step": "image:one", "passed_bytes": 256 << 20, "bytes_per_s": 64 << 20}
    )
    standing = look(run, plan)
    assert (standing.copied_bytes, standing.copy_bytes, standing.left_s) == (256 << 20, 1 << 30, 12.0)
    assert "256.0 MiB of 1.0 GiB of images copied at 64.0 MiB/s · about 12 s left" in sentence(standing)
    run.tell(run.id, plan, ("image:one", "verified"))
    assert look(run, plan).copied_bytes == 1 << 30


def test_downtime_runs_from_the_stop_until_it_serves(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    run.tell(run.id, plan, (f"stop:{WEB}", "intent"))
    (web,) = look(run, plan, "cutover", later_s=30).servers
    assert web.down_s == pytest.approx(30, abs=5)
    run.tell(run.id, plan, (f"stop:{WEB}", "verified"), (f"boot:{WEB}", "verified"), (f"settle:{WEB}", "verified"))
    (web,) = look(run, plan, "cutover", later_s=3600).servers
    assert web.down_s == pytest.approx(0, abs=5)
    (web,) = look(run, plan, "prepare", later_s=3600).servers
    assert web.down_s is None


def test_what_needs_attention_comes_first_and_nothing_is_told_by_colour_alone(run: DeskRun) -> None:
    plan = run.keep(move_of("web", "db", "cache"), "started")
    run.tell(run.id, plan, (f"stop:{WEB}", "intent"))
    run.tell(run.id, plan, (f"stop:{DB}", "failed"), error="<b>no room</b>")
    display = show_standing(look(run, plan, "cutover"))
    lines = display.text.splitlines()
    assert [line.split()[:2] for line in lines[3:]] == [["✖", "failed"], ["◐", "under"], ["○", "waiting"]]
    assert "&lt;b&gt;no room" in display.html


def test_a_panel_asks_its_run_to_stop_once_it_is_sure(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    run.set_out(run.id, plan, "cutover")
    run.tell(run.id, plan, (f"stop:{WEB}", "intent"))
    panel = Panel(run.journal, plan, run.id, ("cutover",))
    panel.abort_button.click()
    assert pending_stop(run.journal, run.id, plan.hash) is None
    assert "may stay down: web" in panel.said.value
    assert panel.abort_button.description == "Yes, stop now"
    panel.abort_button.click()
    asked = pending_stop(run.journal, run.id, plan.hash)
    assert asked is not None
    assert asked.kind is StopKind.NOW
    assert (panel.after_button.disabled, panel.abort_button.disabled) == (True, True)
    assert "stopping, as" in panel.table.value


def test_a_stop_after_the_server_can_be_made_sharper(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    run.set_out(run.id, plan, "cutover")
    panel = Panel(run.journal, plan, run.id, ("cutover",))
    panel.after_button.click()
    asked = pending_stop(run.journal, run.id, plan.hash)
    assert asked is not None
    assert asked.kind is StopKind.AFTER_SERVER
    assert (panel.after_button.disabled, panel.abort_button.disabled) == (True, False)


def test_a_button_of_a_run_that_ended_says_so(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    run.set_out(run.id, plan)
    panel = Panel(run.journal, plan, run.id)
    run.journal.end_run(run.id, "succeeded")
    panel.after_button.click()
    assert "has ended" in panel.said.value


def test_a_panel_follows_by_itself_and_ends_with_its_run(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    panel = Panel(run.journal, plan, run.id).start()
    run.tell(run.id, plan, *((step.key, "verified") for step in plan.steps))
    run.journal.end_run(run.id, "succeeded")
    end = time.monotonic() + 20
    while "has ended" not in panel.said.value and time.monotonic() < end:
        time.sleep(0.05)
    assert "has ended" in panel.said.value
    assert (panel.bar.value, panel.bar.max) == (4, 4)
    panel.close()


def test_watching_finds_the_runs_of_others_and_not_ones_own(run: DeskRun) -> None:
    plan = run.keep(move_of("web"), "started")
    run.set_out(run.id, plan)
    other = run.begin("notebooks/03-move-servers.ipynb", operator="otto")
    ended = run.begin("04-finalise-move")
    run.begin("01-inventory")
    for one in (other, ended):
        run.set_out(one, plan, "cutover")
    run.journal.end_run(ended, "failed")
    watched: Any = watch(run)  # type: ignore[arg-type]
    assert len(watched.panels) == 1
    assert "begun by otto at" in repr(watched)
    assert "Cutting over: 0 of 3 steps verified" in repr(watched)
    assert "application/vnd.jupyter.widget-view+json" in watched._repr_mimebundle_()
    watched.panels[0].close()
    run.journal.end_run(other, "aborted")
    nothing: Any = watch(run)  # type: ignore[arg-type]
    assert set(nothing._repr_mimebundle_()) == {"text/html", "text/plain"}
    assert "nothing" in repr(nothing)
