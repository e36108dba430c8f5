"""Asking a run to stop: after the servers that are begun, or at once; from anywhere; going on afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pumphouse.cli import main
from pumphouse.errors import JournalError, Stopped
from pumphouse.journal import Journal
from pumphouse.journal.outage import Outage
from pumphouse.pausing import pause
from pumphouse.plan.model import Plan
from pumphouse.steps import STEPS
from pumphouse.stopping import StopKind, ask_to_stop, pending_stop, was_stopped
from tests.core.making import make_plan, make_step, plan_server
from tests.core.test_executor import Bench, Job, Stage

NAMES = ("web1", "web2", "web3")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setitem(STEPS, "job", Job(made))
    return made


@pytest.fixture
def bench(journal: Journal, tmp_path: Path, stage: Stage) -> Bench:
    return Bench(journal, tmp_path, stage)


def plan_of_three() -> Plan:
    """One shared preparation; each server goes down, boots and serves."""
    servers = [plan_server(name) for name in NAMES]
    steps = [make_step("job:image", kind="job")]
    for server in servers:
        for verb, need in (
            ("down", "job:image"),
            ("boot", f"job:down-{server.name}"),
            ("up", f"job:boot-{server.name}"),
        ):
            steps.append(make_step(f"job:{verb}-{server.name}", need, kind="job", phase="cutover", server_id=server.id))
    return make_plan(*steps, kind="finalise", servers=tuple(servers))


def ask(bench: Bench, plan: Plan, kind: StopKind) -> None:
    ask_to_stop(bench.journal, bench.run_id, plan.hash, kind, by="olga")


def asking(bench: Bench, plan: Plan, kind: StopKind, wait_s: float) -> Callable[[], None]:
    """A step that is asked to stop as soon as it begins to wait."""

    def act() -> None:
        ask(bench, plan, kind)
        pause(wait_s)

    return act


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (StopKind.AFTER_SERVER, {f"job:{verb}-{name}" for verb in ("down", "boot", "up") for name in ("web2", "web3")}),
        (
            StopKind.NOW,
            {"job:boot-web1", "job:up-web1"}
            | {f"job:{verb}-{name}" for verb in ("down", "boot", "up") for name in ("web2", "web3")},
        ),
    ],
)
def test_a_stop_does_what_its_name_says_and_a_second_run_goes_on(
    bench: Bench, stage: Stage, kind: StopKind, left: set[str]
) -> None:
    plan = plan_of_three()
    stage.doing["act", "job:down-web1"] = lambda: ask(bench, plan, kind)
    with pytest.raises(Stopped) as stopped:
        bench.run(plan, workers=1)
    everything = {step.key for step in plan.steps}
    assert everything - set(stage.acted()) == left
    assert {bench.state(plan, key) for key in everything - left} == {"verified"}
    assert f"{len(everything - left)} of {len(everything)} steps are done" in stopped.value.message
    assert ("maybe down: web1" in stopped.value.message) == (kind is StopKind.NOW)
    assert "olga" in stopped.value.message
    assert was_stopped(bench.journal.events(run_id=bench.run_id))
    assert bench.result() == "incomplete"
    assert bench.journal.plan_state(plan.hash) == "started"

    stage.doing.clear()
    done = bench.run(plan, workers=1)
    assert {key for key, result in done.results.items() if result == "verified"} == left
    assert sorted(stage.acted()) == sorted(everything)
    assert bench.journal.plan_state(plan.hash) == "finished"


def test_the_same_run_goes_on_after_it_stopped(bench: Bench, stage: Stage) -> None:
    plan = plan_of_three()
    stage.doing["act", "job:image"] = lambda: ask(bench, plan, StopKind.NOW)
    context_of = bench.context

    def once(wanted: Plan) -> object:
        made = context_of(wanted)
        bench.context = lambda _plan: made  # type: ignore[method-assign]
        return made

    bench.context = once  # type: ignore[assignment, method-assign]
    with pytest.raises(Stopped, match="Nothing is half-way"):
        bench.run(plan)
    assert pending_stop(bench.journal, bench.run_id, plan.hash) is None
    stage.doing.clear()
    bench.run(plan)
    assert bench.result() == "succeeded"
    assert not was_stopped(bench.journal.events(run_id=bench.run_id))


def test_a_stop_between_two_cells_keeps_the_second_from_beginning(bench: Bench, stage: Stage) -> None:
    plan = plan_of_three()
    context = bench.context(plan)
    bench.context = lambda _plan: context  # type: ignore[method-assign]
    bench.run(plan, "prepare")
    ask(bench, plan, StopKind.AFTER_SERVER)
    with pytest.raises(Stopped):
        bench.run(plan, "cutover")
    assert stage.acted() == ["job:image"]


def test_a_stop_that_comes_when_all_is_begun_changes_nothing(bench: Bench, stage: Stage) -> None:
    plan = plan_of_three()
    stage.doing["act", "job:up-web3"] = lambda: ask(bench, plan, StopKind.NOW)
    bench.run(plan, workers=1)
    assert bench.result() == "succeeded"


def test_a_server_half_way_from_an_earlier_run_is_finished_first(bench: Bench, stage: Stage) -> None:
    plan = plan_of_three()
    stage.doing["act", "job:down-web2"] = lambda: ask(bench, plan, StopKind.NOW)
    with pytest.raises(Stopped, match="maybe down: web2"):
        bench.run(plan, workers=1)
    stage.doing.clear()
    stage.doing["look", "job:image"] = lambda: ask(bench, plan, StopKind.AFTER_SERVER)
    with pytest.raises(Stopped, match="Nothing is half-way"):
        bench.run(plan, workers=1)
    assert stage.acted()[-2:] == ["job:boot-web2", "job:up-web2"]


@pytest.mark.parametrize(
    ("kind", "waits", "heard"),
    [
        (StopKind.NOW, "job:image", True),
        (StopKind.AFTER_SERVER, "job:image", True),
        (StopKind.NOW, "job:boot-web1", True),
        (StopKind.AFTER_SERVER, "job:boot-web1", False),  # it is begun, and is finished when its cloud is back
    ],
)
def test_a_stop_is_heard_while_a_step_waits_for_what_is_gone(
    bench: Bench, stage: Stage, kind: StopKind, waits: str, heard: bool
) -> None:
    plan = plan_of_three()
    waited: list[float] = []

    def gone() -> None:
        ask(bench, plan, kind)
        began = time.monotonic()
        try:
            pause(60.0 if heard else 0.1)
        finally:
            waited.append(time.monotonic() - began)

    stage.doing["act", waits] = gone
    with pytest.raises(Stopped) as stopped:
        bench.run(plan, workers=1)
    assert max(waited) < 5
    events = [e.event for e in bench.journal.events(plan_hash=plan.hash, step_key=waits)]
    assert events[:1] == ["intent"]
    assert "failed" not in events
    assert was_stopped(bench.journal.events(run_id=bench.run_id))
    assert (f"Given up while waiting, and gone on with next time: do {waits}." in stopped.value.message) == heard
    assert (bench.state(plan, waits) == "intent") == heard
    assert ("maybe down: web1" in stopped.value.message) == (heard and waits == "job:boot-web1")

    stage.doing.clear()
    bench.run(plan, workers=1)
    assert bench.result() == "succeeded"
    assert sorted(stage.objects) == sorted(step.key for step in plan.steps)


def test_whoever_interrupts_does_not_wait_for_what_is_gone(bench: Bench, stage: Stage) -> None:
    """Ctrl-C raises in the main thread; steps that wait there for a cloud or the journal are given up."""
    plan = make_plan(make_step("job:cloud"), make_step("job:journal"), make_step("job:other"))
    waiting = threading.Barrier(3)
    patient = Outage(3600.0)
    still: list[bool] = []

    def wait_for_the_journal() -> None:
        waiting.wait(20)
        while patient.wait("x", "gone"):
            pass
        still.append(True)

    def interrupt() -> None:
        waiting.wait(20)
        raise KeyboardInterrupt

    stage.doing["act", "job:cloud"] = lambda: (waiting.wait(20), pause(3600.0))  # type: ignore[assignment, return-value]
    stage.doing["act", "job:journal"] = wait_for_the_journal
    stage.doing["act", "job:other"] = interrupt
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, workers=3)
    assert time.monotonic() - began < 20
    assert still == [True]
    assert bench.state(plan, "job:cloud") == "intent"


def test_the_sharper_request_counts(bench: Bench) -> None:
    plan = plan_of_three()
    bench.run(plan)
    ask(bench, plan, StopKind.NOW)
    ask(bench, plan, StopKind.AFTER_SERVER)
    found = pending_stop(bench.journal, bench.run_id, plan.hash)
    assert found is not None
    assert (found.kind, found.by) == (StopKind.NOW, "olga")


def test_there_must_be_something_to_stop(bench: Bench) -> None:
    plan = plan_of_three()
    bench.run(plan)
    with pytest.raises(JournalError, match="carries out no step"):
        ask_to_stop(bench.journal, bench.run_id, "0" * 64, StopKind.NOW, by="olga")
    bench.journal.end_run(bench.run_id, "succeeded")
    with pytest.raises(JournalError, match="has ended"):
        ask(bench, plan, StopKind.NOW)


def test_the_command_asks_the_run_that_is_named(bench: Bench, tmp_path: Path, stage: Stage) -> None:
    plan = plan_of_three()
    (tmp_path / "clouds.yaml").write_text("clouds: {}")
    site = tmp_path / "site.yaml"
    site.write_text("schema: 1\nsource: {cloud: old}\ndestination: {cloud: new}\njournal: sqlite:///journal.db\n")

    def command(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["stop", *words, "--site", str(site)])
        return done.exit_code, done.output

    said: list[tuple[int, str]] = []
    stage.doing["act", "job:image"] = lambda: said.append(command(bench.run_id, "--now"))
    with pytest.raises(Stopped):
        bench.run(plan)
    assert said == [(0, f"Asked run {bench.run_id} to stop: no further step begins.\n")]
    bench.journal.end_run(bench.run_id, "aborted")
    code, words = command(bench.run_id)
    assert code == 2
    assert "has ended" in words
    assert command("nobody")[0] == 2


def test_a_stop_that_only_the_last_step_hears_is_told_all_the_same(bench: Bench, stage: Stage) -> None:
    server = plan_server("web1")
    step = make_step("job:up", kind="job", phase="cutover", server_id=server.id)
    plan = make_plan(step, kind="finalise", servers=(server,))

    stage.doing["act", "job:up"] = asking(bench, plan, StopKind.NOW, 30)
    with pytest.raises(Stopped):
        bench.run(plan, workers=1)
    assert was_stopped(bench.journal.events(run_id=bench.run_id))
    assert pending_stop(bench.journal, bench.run_id, plan.hash) is None
    stage.doing.clear()
    assert bench.run(plan, workers=1).results == {"job:up": "verified"}


def test_a_node_that_is_begun_is_finished_though_one_of_its_steps_has_to_wait(bench: Bench, stage: Stage) -> None:
    first = make_step("job:a", kind="job", phase="install", node="n1")
    second = make_step("job:b", "job:a", kind="job", phase="install", node="n1")
    other = make_step("job:c", "job:b", kind="job", phase="install", node="n2")
    plan = make_plan(first, second, other, kind="acquire", servers=())

    stage.doing["act", "job:a"] = asking(bench, plan, StopKind.AFTER_SERVER, 1.5)
    with pytest.raises(Stopped):
        bench.run(plan, workers=1)
    assert stage.acted() == ["job:a", "job:b"]
