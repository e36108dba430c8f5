"""Carrying plans out against a pretended cloud: order, failure, crashes at every line, and claims."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.clouds.api import Cloud
from pumphouse.errors import (
    ApiError,
    ClaimHeld,
    JournalError,
    NodeRefused,
    NodeUnreachable,
    PumphouseError,
    StepError,
    VerificationFailed,
)
from pumphouse.executor import Execution, execute
from pumphouse.holder import holder
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.secretstore import SecretStore
from pumphouse.steps import STEPS, Context, Outcome, Step
from pumphouse.steps.undo import take_back
from pumphouse.trace import note
from tests.core.making import keep_plan, make_plan, make_site, make_step, plan_server
from tests.core.making_runs import start_run


class Crash(BaseException):
    """The process dies here: nothing of ours may catch it."""


class Stage:
    """A pretended cloud, and what a test wants to happen in it.

    ``objects`` are what the cloud holds, by step key. ``doing`` is called in the middle of a verb, by ``(verb, key)``.
    """

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.log: list[tuple[str, str]] = []
        self.doing: dict[tuple[str, str], Callable[[], None]] = defaultdict(lambda: lambda: None)
        self.running: set[str] = set()
        self.most = 0
        self.lock = threading.Lock()

    def enter(self, verb: str, key: str) -> None:
        with self.lock:
            self.log.append((verb, key))
        self.doing[verb, key]()

    def acted(self) -> list[str]:
        return [key for verb, key in self.log if verb == "act"]


class Job(Step):
    """A step on the pretended cloud."""

    kind = "job"

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        self.stage.enter("look", step.key)
        found = self.stage.objects.get(step.key)
        return None if found is None else {"id": found}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        return {"answered_before": True}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        with self.stage.lock:
            self.stage.running.add(step.key)
            self.stage.most = max(self.stage.most, len(self.stage.running))
        try:
            self.stage.enter("act", step.key)
            self.stage.objects[step.key] = f"id of {step.key}"
            self.stage.enter("made", step.key)
        finally:
            with self.stage.lock:
                self.stage.running.discard(step.key)
        return {"id": f"id of {step.key}"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        self.stage.enter("verify", step.key)
        if self.stage.objects.get(step.key) != outcome["id"]:
            raise VerificationFailed(f"{step.title}: it is not there.", remedy="look for it.")
        return {"seen": outcome["id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        self.stage.enter(f"undo ours={ours}", step.key)
        if ours:
            self.stage.objects.pop(step.key, None)
        return {"ours": ours}


class MappedJob(Job):
    """A step whose outcome is a mapping."""

    kind = "mapped"
    maps = "thing"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setitem(STEPS, "job", Job(made))
    monkeypatch.setitem(STEPS, "mapped", MappedJob(made))
    return made


class Bench:
    """Runs plans on the stage; every :meth:`run` is a run of its own."""

    def __init__(self, journal: Journal, folder: Path, stage: Stage) -> None:
        self.journal, self.folder, self.stage = journal, folder, stage
        self.lines: list[str] = []
        self.run_id = ""

    def context(self, plan: Plan) -> Context:
        self.run_id = start_run(self.journal)
        site = make_site(self.folder)
        secrets = SecretStore(site.secrets_file)
        nothing = cast(Cloud, None)
        return Context(nothing, nothing, site, self.journal, secrets, plan, self.run_id, report=self.lines.append)

    def run(self, plan: Plan, *phases: str, workers: int = 4) -> Execution:
        if self.journal.plan_state(plan.hash) is None:
            keep_plan(self.journal, plan, "proposed")
        steps = plan.phase(*phases) if phases else plan.steps
        return execute(self.context(plan), steps, workers=workers)

    def state(self, plan: Plan, key: str) -> str:
        return self.journal.step_state(plan.hash, key).state

    def events(self, plan: Plan, key: str) -> list[str]:
        """Of the last run."""
        return [e.event for e in self.journal.events(run_id=self.run_id, plan_hash=plan.hash, step_key=key)]

    def result(self) -> str:
        return self.journal.run_result(self.run_id)


@pytest.fixture
def bench(journal: Journal, tmp_path: Path, stage: Stage) -> Bench:
    return Bench(journal, tmp_path, stage)


def chain(length: int = 3) -> Plan:
    keys = [f"job:{number}" for number in range(length)]
    return make_plan(*(make_step(key, *keys[max(0, n - 1) : n]) for n, key in enumerate(keys)))


def fail(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


# --- order and parallelism ----------------------------------------------------------------------------


def test_a_plan_is_carried_out_in_order_and_journalled_line_by_line(bench: Bench, stage: Stage) -> None:
    plan = chain(3)
    execution = bench.run(plan)
    assert stage.acted() == ["job:0", "job:1", "job:2"]
    assert execution.results == dict.fromkeys(stage.acted(), "verified")
    assert set(execution.seconds) == set(stage.acted())
    events = [(e.step_key, e.event) for e in bench.journal.events(plan_hash=plan.hash)]
    lives = [(key, event) for key in stage.acted() for event in ("intent", "done", "verified")]
    assert events == [("@scope", "scope"), *lives]
    assert bench.journal.plan_state(plan.hash) == "finished"
    assert bench.result() == "succeeded"


def test_the_journal_holds_intent_outcome_and_evidence(bench: Bench) -> None:
    plan = chain(1)
    bench.run(plan)
    data = {e.event: e.data for e in bench.journal.events(plan_hash=plan.hash, step_key="job:0")}
    assert data["intent"] == {"absent": True, "answered_before": True}
    assert data["done"] == {"id": "id of job:0"}
    assert data["verified"] == {"evidence": {"seen": "id of job:0"}}


def test_the_intent_is_committed_before_the_call_and_the_outcome_before_the_next_step(
    bench: Bench, stage: Stage
) -> None:
    plan = chain(2)
    seen: dict[str, list[str]] = {}
    stage.doing["act", "job:0"] = lambda: seen.update(act=bench.events(plan, "job:0"))
    stage.doing["verify", "job:0"] = lambda: seen.update(verify=bench.events(plan, "job:0"))
    stage.doing["look", "job:1"] = lambda: seen.update(next=bench.events(plan, "job:0"))
    bench.run(plan)
    assert seen == {"act": ["intent"], "verify": ["intent", "done"], "next": ["intent", "done", "verified"]}


def test_independent_steps_run_side_by_side_but_never_more_than_allowed(bench: Bench, stage: Stage) -> None:
    plan = make_plan(*(make_step(f"job:{n}") for n in range(9)))
    together = threading.Barrier(3)
    for number in range(9):
        stage.doing["act", f"job:{number}"] = lambda: cast(None, together.wait(20))
    bench.run(plan, workers=3)
    assert stage.most == 3
    assert len(stage.acted()) == 9


def test_the_site_says_how_many_at_a_time(bench: Bench, stage: Stage, tmp_path: Path) -> None:
    plan = make_plan(*(make_step(f"job:{n}") for n in range(6)))
    keep_plan(bench.journal, plan, "proposed")
    ctx = bench.context(plan)
    ctx.site = make_site(tmp_path, parallel=1)
    execute(ctx, plan.steps)
    assert stage.most == 1


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[PlannedStep], set[str]]:
    """A DAG of up to nine steps, and which of them fail."""
    steps = []
    for number in range(draw(st.integers(1, 9))):
        needs = draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        steps.append(make_step(f"job:{number}", *(f"job:{need}" for need in needs)))
    return steps, draw(st.sets(st.sampled_from([step.key for step in steps]), max_size=3))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), st.integers(1, 4))
def test_whatever_fails_exactly_what_needs_it_is_blocked(
    bench: Bench, stage: Stage, graph: tuple[list[PlannedStep], set[str]], workers: int
) -> None:
    steps, failing = graph
    plan = make_plan(*steps, selection_digest=f"{len(bench.journal.list_runs())}")
    stage.__init__()  # type: ignore[misc]
    for key in failing:
        stage.doing["act", key] = fail(ApiError("no", status=500))
    keep_plan(bench.journal, plan, "proposed")
    ctx = bench.context(plan)
    expected: dict[str, str] = {}
    for step in steps:
        if any(expected[need] != "verified" for need in step.needs):
            expected[step.key] = "blocked"
        else:
            expected[step.key] = "failed" if step.key in failing else "verified"
    bad = {key for key, result in expected.items() if result == "failed"}
    if bad:
        with pytest.raises(StepError, match=f"{len(bad)} of {len(steps)} steps failed"):
            execute(ctx, plan.steps, workers=workers)
    else:
        execute(ctx, plan.steps, workers=workers)
    done = {key for key, result in expected.items() if result == "verified"}
    assert set(stage.objects) == done
    assert sorted(stage.acted()) == sorted(done | bad)
    states = bench.journal.step_states(plan.hash)
    assert {key: state.state for key, state in states.items()} == {k: expected[k] for k in done | bad}
    for step in steps:
        if step.key in done:
            begun = stage.log.index(("act", step.key))
            assert all(stage.log.index(("verify", need)) < begun for need in step.needs)
    assert bench.result() == ("failed" if bad else "succeeded")
    assert stage.most <= workers


def test_a_server_that_is_down_goes_on_before_another_goes_down(bench: Bench, stage: Stage) -> None:
    def server(name: str) -> list[PlannedStep]:
        stop = make_step(f"job:{name}-1-stop", phase="cutover", server_id=name)
        return [stop, make_step(f"job:{name}-2-boot", stop.key, phase="cutover", server_id=name)]

    plan = make_plan(*(step for name in "abc" for step in server(name)))
    bench.run(plan, workers=1)
    assert stage.acted() == [f"job:{name}-{verb}" for name in "abc" for verb in ("1-stop", "2-boot")]


# --- failures -----------------------------------------------------------------------------------------


def test_all_failures_are_named_at_the_end(bench: Bench, stage: Stage) -> None:
    plan = make_plan(*(make_step(f"job:{n}") for n in range(3)), make_step("job:z", "job:0"))
    stage.doing["act", "job:0"] = fail(ApiError("first trouble", status=500, remedy="mend one.", request_id="req-1"))
    stage.doing["act", "job:2"] = fail(StepError("second trouble", remedy="mend two."))
    with pytest.raises(StepError) as caught:
        bench.run(plan)
    text = str(caught.value)
    assert "2 of 4 steps failed, 1 were not begun" in text
    for words in ("first trouble", "req-1", "Mend one.", "second trouble", "do job:0", "do job:2"):
        assert words in text
    assert text.count("Remedy:") == 1, text
    assert isinstance(caught.value.__cause__, PumphouseError)
    assert bench.state(plan, "job:1") == "verified"
    assert bench.state(plan, "job:z") == "new"
    assert bench.journal.plan_state(plan.hash) == "started"
    assert sum(line.startswith("FAILED") for line in bench.lines) == 2


def test_a_failure_is_journalled_with_its_words_and_kind(bench: Bench, stage: Stage) -> None:
    plan = chain(1)
    stage.doing["act", "job:0"] = fail(ApiError("no room", status=500, request_id="req-7"))
    with pytest.raises(StepError):
        bench.run(plan)
    (event,) = [e for e in bench.journal.events(plan_hash=plan.hash) if e.event == "failed"]
    assert event.data["type"] == "ApiError"
    assert "no room" in event.data["error"]
    assert "req-7" in event.data["error"]
    assert bench.result() == "failed"


@pytest.mark.parametrize("verb", ["look", "act", "made", "verify"])
def test_a_fault_of_our_own_is_a_failure_of_that_step_alone(bench: Bench, stage: Stage, verb: str) -> None:
    plan = make_plan(make_step("job:0"), make_step("job:1"))
    stage.doing[verb, "job:0"] = fail(ValueError("a typo of ours"))
    with pytest.raises(StepError, match="pumphouse itself failed: ValueError: a typo of ours") as caught:
        bench.run(plan)
    assert isinstance(caught.value.__cause__, StepError)
    assert isinstance(caught.value.__cause__.__cause__, ValueError)
    assert bench.state(plan, "job:0") == "failed"
    assert bench.state(plan, "job:1") == "verified"
    assert bench.result() == "failed"


def test_a_step_of_an_unknown_kind_is_a_journalled_failure(bench: Bench) -> None:
    plan = make_plan(make_step("unheard-of:1"))
    with pytest.raises(StepError, match="unheard-of"):
        bench.run(plan)
    assert bench.state(plan, "unheard-of:1") == "failed"


def test_an_outcome_that_is_not_there_when_read_again_fails(bench: Bench, stage: Stage) -> None:
    plan = chain(2)
    stage.doing["made", "job:0"] = stage.objects.clear
    with pytest.raises(StepError, match="it is not there"):
        bench.run(plan)
    assert bench.events(plan, "job:0") == ["intent", "done", "failed"]
    assert bench.state(plan, "job:1") == "new"
    assert bench.result() == "failed"


def test_after_a_failure_running_again_does_the_rest(bench: Bench, stage: Stage) -> None:
    plan = chain(3)
    stage.doing["act", "job:1"] = fail(ApiError("not now", status=503))
    with pytest.raises(StepError):
        bench.run(plan)
    del stage.doing["act", "job:1"]
    execution = bench.run(plan)
    assert execution.results == {"job:0": "skipped", "job:1": "verified", "job:2": "verified"}
    assert stage.acted() == ["job:0", "job:1", "job:1", "job:2"]
    assert bench.result() == "succeeded"
    assert bench.journal.plan_state(plan.hash) == "finished"


def test_a_second_run_changes_nothing_and_says_so(bench: Bench, stage: Stage) -> None:
    plan = chain(3)
    bench.run(plan)
    before = stage.acted()
    assert set(bench.run(plan).results.values()) == {"skipped"}
    assert stage.acted() == before
    assert bench.result() == "nothing-to-do"


def test_a_journal_that_cannot_be_written_stops_everything(
    bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(make_step("job:0"), make_step("job:1", "job:0"), make_step("job:2"))

    def break_journal() -> None:
        def broken(*_args: object, **_kw: object) -> None:
            raise JournalError("disk full")

        monkeypatch.setattr(bench.journal, "write", broken)

    stage.doing["act", "job:0"] = break_journal
    with pytest.raises(JournalError, match="disk full"):
        bench.run(plan, workers=1)
    assert stage.acted() == ["job:0"]


# --- crashes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["look", "act", "made", "verify"])
def test_killed_at_any_line_and_run_again_it_ends_the_same(bench: Bench, stage: Stage, verb: str) -> None:
    plan = chain(3)
    stage.doing[verb, "job:1"] = fail(Crash())
    with pytest.raises(Crash):
        bench.run(plan)
    assert bench.result() == "incomplete"
    assert "job:2" not in stage.acted()
    del stage.doing[verb, "job:1"]
    made_before = "job:1" in stage.objects
    bench.run(plan)
    assert set(stage.objects) == {"job:0", "job:1", "job:2"}
    assert stage.acted().count("job:1") == (2 if verb == "act" else 1)
    assert made_before is (verb in ("made", "verify"))
    assert bench.events(plan, "job:1")[-2:] == ["done", "verified"]
    assert bench.journal.plan_state(plan.hash) == "finished"
    assert bench.result() == "succeeded"
    assert all(bench.journal.step_state(plan.hash, step.key).ours for step in plan.steps)


def test_what_was_made_before_a_crash_is_adopted_and_still_ours(bench: Bench, stage: Stage) -> None:
    plan = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.doing["made", "mapped:1"] = fail(Crash())
    with pytest.raises(Crash):
        bench.run(plan)
    assert bench.state(plan, "mapped:1") == "intent"
    assert bench.journal.mapping("thing", "s1") is None
    del stage.doing["made", "mapped:1"]
    bench.run(plan)
    assert stage.acted() == ["mapped:1"]
    assert bench.events(plan, "mapped:1") == ["done", "verified"]
    state = bench.journal.step_state(plan.hash, "mapped:1")
    assert state.ours
    assert state.intent_data["answered_before"] is True
    assert bench.journal.made_by_us("mapped:1")
    assert bench.journal.mapping("thing", "s1") == "id of mapped:1"


def test_what_was_there_before_us_is_adopted_and_not_ours(bench: Bench, stage: Stage) -> None:
    plan = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.objects["mapped:1"] = "theirs"
    bench.run(plan)
    assert stage.acted() == []
    assert bench.events(plan, "mapped:1") == ["done", "verified"]
    assert not bench.journal.step_state(plan.hash, "mapped:1").ours
    assert bench.journal.mapping("thing", "s1") == "theirs"


def refuses(
    stage: Stage, status: int, *answers: int | None, kind: type[ApiError | NodeRefused] = ApiError
) -> Callable[[], None]:
    """An action that ends with this status, after changing requests that were answered so (None: not at all)."""

    def act() -> None:
        for answer in answers:
            note("identity", "POST", status=answer)
        raise kind("no", status=status)

    return act


@pytest.mark.parametrize(
    ("status", "answers", "ours"),
    [
        (409, (409,), False),
        (403, (403,), False),
        (413, (413,), False),
        (409, (413, 409), False),
        (409, (202, 409), True),  # the first of them made something
        (403, (202,), True),  # it was done, and asking for it was refused
        (409, (None, 409), True),
        (409, (), True),  # nobody knows what was sent
        (500, (500,), True),  # may have been done all the same
        (408, (408,), True),
    ],
)
def test_what_appears_after_a_refusal_is_somebody_elses(
    bench: Bench, stage: Stage, status: int, answers: tuple[int | None, ...], ours: bool
) -> None:
    plan = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.doing["act", "mapped:1"] = refuses(stage, status, *answers)
    with pytest.raises(StepError):
        bench.run(plan)
    assert bench.state(plan, "mapped:1") == "failed"
    assert bench.result() == "failed"
    stage.objects["mapped:1"] = "theirs"
    bench.run(plan)
    assert bench.journal.step_state(plan.hash, "mapped:1").ours is ours
    assert bench.journal.made_by_us("mapped:1") is ours


@pytest.mark.parametrize(("status", "ours"), [(409, False), (400, False), (500, True), (0, True)])
def test_what_appears_after_fuel_refused_it_is_somebody_elses(
    bench: Bench, stage: Stage, status: int, ours: bool
) -> None:
    plan = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.doing["act", "mapped:1"] = refuses(stage, status, status, kind=NodeRefused)
    with pytest.raises((StepError, NodeRefused)):
        bench.run(plan)
    stage.objects["mapped:1"] = "theirs"
    bench.run(plan)
    assert bench.journal.made_by_us("mapped:1") is ours


def test_a_refusal_does_not_disown_what_we_had_begun_before(bench: Bench, stage: Stage) -> None:
    plan = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.doing["act", "mapped:1"] = refuses(stage, 500, 500)
    with pytest.raises(StepError):
        bench.run(plan)
    stage.doing["act", "mapped:1"] = refuses(stage, 409, 409)
    with pytest.raises(StepError):
        bench.run(plan)
    assert bench.journal.step_state(plan.hash, "mapped:1").ours
    assert bench.journal.made_by_us("mapped:1")


def claimed(journal: Journal, key: str) -> bool:
    """Whether somebody holds a claim."""
    try:
        journal.claim("another run", [key], holder="another:1", lease_s=0.0)
    except ClaimHeld:
        return True
    return False


def test_steps_under_way_end_and_are_journalled_when_another_one_crashes(bench: Bench, stage: Stage) -> None:
    plan = make_plan(make_step("job:0"), make_step("job:1"), make_step("job:2", "job:1"))
    crashed, late = threading.Event(), threading.Event()

    def crash() -> None:
        assert late.wait(20)
        crashed.set()
        raise Crash

    def linger() -> None:
        late.set()
        assert crashed.wait(20)
        end = time.monotonic() + 20
        while claimed(bench.journal, "step:job:0"):
            assert time.monotonic() < end, "the crashed step's claim was never given back"
            time.sleep(0.01)

    stage.doing["act", "job:0"] = crash
    stage.doing["act", "job:1"] = linger
    with pytest.raises(Crash):
        bench.run(plan, workers=2)
    assert bench.state(plan, "job:1") == "verified"
    assert bench.state(plan, "job:2") == "new"
    assert bench.result() == "incomplete"


def test_made_ready_but_gone_since_is_made_again_before_the_cutover(bench: Bench, stage: Stage) -> None:
    plan = two_phases()
    bench.run(plan, "prepare")
    del stage.objects["job:ready"]
    assert bench.run(plan, "prepare").results == {"job:ready": "verified"}
    assert stage.acted() == ["job:ready", "job:ready"]


def test_made_ready_but_another_one_since_is_looked_at_again(bench: Bench, stage: Stage) -> None:
    ready = make_step("mapped:1", params={"source_id": "s1"})
    plan = make_plan(ready, make_step("job:stop", ready.key, phase="cutover"))
    bench.run(plan, "prepare")
    stage.objects["mapped:1"] = "a new one"
    assert bench.run(plan, "prepare").results == {"mapped:1": "verified"}
    assert bench.journal.mapping("thing", "s1") == "a new one"


def test_what_was_made_ready_and_is_gone_is_made_again(bench: Bench, stage: Stage) -> None:
    plan = two_phases()
    bench.run(plan)
    stage.objects.clear()
    assert bench.run(plan).results == {"job:ready": "verified", "job:stop": "skipped"}


def test_a_cutover_that_was_verified_is_never_done_again_unasked(bench: Bench, stage: Stage) -> None:
    plan = make_plan(make_step("job:stop", phase="cutover"))
    bench.run(plan)
    stage.objects.clear()
    looked = len(stage.log)
    assert bench.run(plan).results == {"job:stop": "skipped"}
    assert len(stage.log) == looked


# --- phases -------------------------------------------------------------------------------------------


def two_phases() -> Plan:
    return make_plan(make_step("job:ready"), make_step("job:stop", "job:ready", phase="cutover"))


def test_a_phase_alone_leaves_the_plan_unfinished(bench: Bench, stage: Stage) -> None:
    plan = two_phases()
    bench.run(plan, "prepare")
    assert stage.acted() == ["job:ready"]
    assert bench.journal.plan_state(plan.hash) == "started"
    assert bench.result() == "succeeded"
    bench.run(plan, "cutover")
    assert bench.journal.plan_state(plan.hash) == "finished"


def test_a_phase_does_not_begin_before_what_it_needs_is_verified(bench: Bench, stage: Stage) -> None:
    plan = two_phases()
    with pytest.raises(
        StepError, match=r"do job:stop needs 1 step\(s\) that are not done and verified yet, first: do job:ready\."
    ):
        bench.run(plan, "cutover")
    assert stage.log == []
    assert bench.result() == "incomplete"


def test_nothing_goes_down_while_what_it_will_need_is_gone(
    bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, "stop", Job(stage))
    plan = make_plan(make_step("job:ready"), make_step("stop:1", "job:ready", phase="cutover", server_id="1"))
    bench.run(plan, "prepare")
    del stage.objects["job:ready"]
    with pytest.raises(StepError, match="do stop:1: not begun, since do job:ready is not there any more"):
        bench.run(plan, "cutover")
    assert ("look", "stop:1") not in stage.log
    bench.run(plan)
    assert set(stage.objects) == {"job:ready", "stop:1"}


# --- claims -------------------------------------------------------------------------------------------


def server_plan(number: int = 1) -> Plan:
    steps = [make_step(f"job:{n}", phase="cutover", server_id=f"{n}") for n in range(number)]
    return make_plan(*steps, make_step("job:shared"))


def test_a_step_of_a_server_claims_it_before_it_looks(bench: Bench, stage: Stage) -> None:
    plan = server_plan()
    other = start_run(bench.journal)

    def try_to_claim() -> None:
        with pytest.raises(ClaimHeld, match=bench.run_id):
            bench.journal.claim(other, ["server:0"], holder="somebody else", lease_s=60)

    stage.doing["look", "job:0"] = try_to_claim
    bench.run(plan)
    try_to_claim()
    bench.journal.end_run(bench.run_id, "succeeded")
    bench.journal.claim(other, ["server:0"], holder="somebody else", lease_s=60)


def test_a_server_that_another_run_holds_is_not_touched(bench: Bench, stage: Stage) -> None:
    plan = server_plan(2)
    other = start_run(bench.journal)
    bench.journal.claim(other, ["server:0"], holder="somebody@elsewhere pid 1 started 2 in pid:[3]", lease_s=900)
    with pytest.raises(StepError, match=r"server 0 is being worked on by somebody on elsewhere \(pid 1\)"):
        bench.run(plan)
    assert ("look", "job:0") not in stage.log
    assert sorted(stage.objects) == ["job:1", "job:shared"]
    assert bench.result() == "failed"
    assert bench.state(plan, "job:0") == "new"
    bench.journal.release(other)
    assert bench.run(plan).results == {"job:0": "verified", "job:1": "skipped", "job:shared": "skipped"}


def test_shared_ground_that_another_run_works_on_is_not_touched(bench: Bench, stage: Stage) -> None:
    plan = server_plan()
    other = start_run(bench.journal)

    def try_to_claim() -> None:
        with pytest.raises(ClaimHeld, match=bench.run_id):
            bench.journal.claim(other, ["step:job:shared"], holder="somebody else", lease_s=60)

    stage.doing["act", "job:shared"] = try_to_claim
    bench.run(plan)
    assert stage.objects["job:shared"]


def test_being_refused_does_not_undo_what_the_other_run_journals(bench: Bench) -> None:
    plan = server_plan()
    other = start_run(bench.journal)
    bench.journal.claim(other, ["server:0"], holder="somebody else", lease_s=900)
    bench.journal.write(other, plan.hash, "job:0", "intent", {"absent": True})
    with pytest.raises(StepError):
        bench.run(plan)
    assert bench.state(plan, "job:0") == "intent"
    bench.journal.write(other, plan.hash, "job:0", "done", {"id": "x"})
    bench.journal.write(other, plan.hash, "job:0", "verified")
    with pytest.raises(StepError):
        bench.run(make_plan(*plan.steps, selection_digest="another"))
    assert bench.state(plan, "job:0") == "verified"


def test_a_claim_of_a_dead_process_of_this_machine_is_taken_over(bench: Bench) -> None:
    plan = server_plan()
    name, _, rest = holder().partition(" started ")
    other = start_run(bench.journal)
    bench.journal.claim(other, ["server:0"], holder=f"{name} started 1{rest}", lease_s=900)
    bench.run(plan)
    assert bench.state(plan, "job:0") == "verified"


# --- undo ---------------------------------------------------------------------------------------------


def rollback_of(move: Plan, *keys: str, also: Plan | None = None) -> Plan:
    """Taking these steps of a move back, and the same ones of another move."""
    steps = [
        make_step(f"undo:{number}:{key}", kind="undo", phase="undo", params={"plan_hash": plan.hash, "step_key": key})
        for number, plan in enumerate([move, also] if also else [move])
        for key in keys
    ]
    return make_plan(*steps, kind="rollback", servers=(plan_server("web"),))


def test_a_device_that_falls_silent_again_after_long_work_is_waited_for_again(
    bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pumphouse.executor.DEVICE_S", 0.05)
    monkeypatch.setattr("pumphouse.executor.DEVICE_MOST_S", 0.05)
    plan = make_plan(make_step("job:a", kind="job", phase="install", node="n1"), kind="acquire", servers=())
    ctx = bench.context(plan)
    patient = replace(ctx, site=replace(ctx.site, outage_s=0.2))
    monkeypatch.setattr(bench, "context", lambda _: patient)
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        if len(tries) == 2:
            time.sleep(0.4)  # it was back, and the step at work for longer than a silence may last
        if len(tries) < 3:
            silent = NodeUnreachable("Fuel is silent.", remedy="look at its cable.")
            silent.known = True
            raise silent

    stage.doing["act", "job:a"] = work
    assert bench.run(plan, workers=1).results == {"job:a": "verified"}


def test_undoing_takes_back_what_is_ours_and_keeps_what_is_not(bench: Bench, stage: Stage) -> None:
    move = make_plan(
        make_step("mapped:1", params={"source_id": "s1"}), make_step("mapped:2", params={"source_id": "s2"})
    )
    stage.objects["mapped:2"] = "theirs"
    bench.run(move)
    bench.run(rollback_of(move, "mapped:1", "mapped:2"))
    assert stage.objects == {"mapped:2": "theirs"}
    assert bench.state(move, "mapped:1") == bench.state(move, "mapped:2") == "undone"
    assert bench.journal.mapping("thing", "s1") is None
    assert bench.journal.mapping("thing", "s2") == "theirs"
    assert bench.result() == "succeeded"


def test_a_copy_that_was_not_ours_and_is_deleted_all_the_same_is_no_copy_any_more(bench: Bench, stage: Stage) -> None:
    """A server's copy goes with its roll back, whoever booted it."""

    class Copy(MappedJob):
        def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
            return {"deleted": ["theirs"]}

    move = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.objects["mapped:1"] = "theirs"
    bench.run(move)
    assert bench.journal.mapping("thing", "s1") == "theirs"
    take_back(bench.context(move), move, move.steps[0], {"mapped": Copy(stage)})
    assert bench.journal.mapping("thing", "s1") is None


def test_a_roll_back_is_done_again_when_its_servers_were_moved_again(bench: Bench, stage: Stage) -> None:
    move = make_plan(make_step("mapped:1", phase="cutover", server_id="1", params={"source_id": "s1"}))
    back = rollback_of(move, "mapped:1")
    for _ in range(2):
        bench.run(move)
        assert bench.run(back).results == {"undo:0:mapped:1": "verified"}
        assert stage.objects == {}


def test_undoing_what_crashed_half_way_takes_it_back(bench: Bench, stage: Stage) -> None:
    move = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    stage.doing["made", "mapped:1"] = fail(Crash())
    with pytest.raises(Crash):
        bench.run(move)
    bench.run(rollback_of(move, "mapped:1"))
    assert stage.objects == {}


@pytest.mark.parametrize("verb", ["undo ours=True"])
def test_an_undo_that_crashed_or_failed_can_be_run_again(bench: Bench, stage: Stage, verb: str) -> None:
    move = make_plan(make_step("mapped:1", params={"source_id": "s1"}))
    bench.run(move)
    back = rollback_of(move, "mapped:1")
    for error, kind in ((Crash(), Crash), (ApiError("no", status=500), StepError)):
        stage.doing[verb, "mapped:1"] = fail(error)
        with pytest.raises(kind):
            bench.run(back)
        assert bench.state(move, "mapped:1") == "undoing"
        assert bench.result() in ("incomplete", "failed")
    del stage.doing[verb, "mapped:1"]
    bench.run(back)
    assert stage.objects == {}
    assert bench.state(move, "mapped:1") == "undone"
    assert bench.run(back).results == {"undo:0:mapped:1": "skipped"}


def test_shared_ground_that_two_plans_stand_on_is_undone_once(bench: Bench, stage: Stage) -> None:
    step = make_step("mapped:1", params={"source_id": "s1"})
    first, second = make_plan(step), make_plan(step, selection_digest="another")
    bench.run(first)
    bench.run(second)
    bench.run(rollback_of(first, "mapped:1", also=second), workers=1)
    assert stage.objects == {}
    undone = [verb for verb, _ in stage.log if verb.startswith("undo")]
    assert undone == ["undo ours=True", "undo ours=False"]
    assert bench.journal.mapping("thing", "s1") is None


def test_shared_ground_that_another_move_came_to_need_stays(bench: Bench, stage: Stage) -> None:
    step = make_step("mapped:1", params={"source_id": "s1"})
    first, second = make_plan(step), make_plan(step, selection_digest="another")
    bench.run(first)
    back = rollback_of(first, "mapped:1")
    bench.run(second)
    bench.run(back)
    assert stage.objects == {"mapped:1": "id of mapped:1"}
    assert bench.state(first, "mapped:1") == "verified"
    assert bench.journal.mapping("thing", "s1") == "id of mapped:1"


def test_undoing_uses_the_owners_connections_and_leaves_them_open(bench: Bench, stage: Stage) -> None:
    class Owner:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    move = chain(1)
    bench.run(move)
    back = rollback_of(move, "job:0")
    keep_plan(bench.journal, back, "proposed")
    ctx = bench.context(back)
    owner = Owner()
    ctx._owners["u", "p"] = cast(Cloud, owner)
    execute(ctx, back.steps)
    assert owner.closed == 0
    ctx.close()
    assert owner.closed == 1


def test_a_plan_that_the_journal_does_not_hold_cannot_be_undone(bench: Bench) -> None:
    missing: Any = chain(1)
    with pytest.raises(StepError, match=f"does not hold plan {missing.hash[:12]}"):
        bench.run(rollback_of(missing, "job:0"))
