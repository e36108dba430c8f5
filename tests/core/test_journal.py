"""The journal of one process: what it keeps, and what it concludes from that."""

from __future__ import annotations

import os
import pickle
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import ClaimHeld, JournalError
from pumphouse.journal import Event, Journal, PlanState, StepState
from pumphouse.journal.store import SCOPE_KEY, _advance
from tests.core.making import did, keep_plan, make_plan, make_step
from tests.core.making_runs import start_run
from tests.postgres import PASSWORD, Postgres


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a journal is made twice, on a file and on a server; but for those that damage the file."""
    if "journal_url" in metafunc.fixturenames:
        both = metafunc.function not in (
            test_a_read_only_database_can_be_read_but_writing_is_an_error,
            test_a_full_disk_is_an_error_and_what_was_written_stays,
            test_a_damaged_database_is_an_error_when_read,
        )
        metafunc.parametrize("journal_url", ["sqlite", "postgresql"] if both else ["sqlite"], indirect=True)


PLAN = "a" * 64
OTHER = "b" * 64


def write(journal: Journal, run_id: str, key: str, *events: str, plan: str = PLAN) -> None:
    for event in events:
        journal.write(run_id, plan, key, event, {"absent": True} if event == "intent" else None)


def scope(journal: Journal, run_id: str, *keys: str, plan: str = PLAN) -> None:
    journal.write(run_id, plan, SCOPE_KEY, "scope", {"steps": list(keys)})


# --- runs ---------------------------------------------------------------------------------------------


def test_a_run_is_kept_as_it_was_started_and_ended(journal: Journal) -> None:
    run_id = start_run(journal, parameters={"servers": ["ä", 1, None]}, record="r.ipynb", parent_id="p")
    row = journal.get_run(run_id)
    assert (row.state, row.result, row.ended_at) == ("running", None, None)
    assert row.parameters == {"servers": ["ä", 1, None]}
    assert (row.record, row.parent_id, row.operator) == ("r.ipynb", "p", "tester")
    journal.end_run(run_id, "failed", "cell 3")
    row = journal.get_run(run_id)
    assert (row.state, row.result, row.detail) == ("ended", "failed", "cell 3")
    assert row.ended_at is not None
    assert row.ended_at.tzinfo is not None
    assert row.ended_at >= row.started_at


def test_times_come_back_aware_whatever_zone_they_were_in(journal_url: str) -> None:
    noon_elsewhere = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    journal = Journal.open(journal_url, now=lambda: noon_elsewhere)
    run_id = start_run(journal)
    write(journal, run_id, "boot:1", "intent")
    assert journal.get_run(run_id).started_at == datetime(2024, 5, 1, 7, tzinfo=UTC)
    assert journal.events()[0].at.utcoffset() == timedelta(0)
    journal.close()


def test_runs_are_listed_oldest_first(journal_url: str) -> None:
    clock = [datetime(2024, 5, 1, tzinfo=UTC)]
    journal = Journal.open(journal_url, now=lambda: clock[0])
    second = start_run(journal)
    clock[0] -= timedelta(days=1)
    first = start_run(journal)
    assert [run.id for run in journal.list_runs()] == [first, second]
    journal.close()


def test_a_run_that_does_not_exist_is_an_error_not_a_success(journal: Journal) -> None:
    for ask in (journal.get_run, journal.run_result):
        with pytest.raises(JournalError, match="no run 20990101"):
            ask("20990101")


# --- events -------------------------------------------------------------------------------------------


def test_events_are_only_ever_added(journal: Journal) -> None:
    run_id = start_run(journal)
    write(journal, run_id, "boot:1", "intent", "failed", "intent", "done")
    before = journal.events()
    write(journal, run_id, "boot:1", "verified")
    journal.end_run(run_id, "succeeded")
    after = journal.events()
    assert after[:4] == before
    assert [event.event for event in after] == ["intent", "failed", "intent", "done", "verified"]
    assert [event.id for event in after] == sorted({event.id for event in after})


def test_no_verb_of_the_journal_updates_or_deletes_an_event(journal: Journal) -> None:
    seen: list[str] = []
    sa.event.listen(journal._engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    plan = make_plan(make_step("project:1"))
    keep_plan(journal, plan)
    run_id = start_run(journal)
    did(journal, run_id, plan, "project:1")
    journal.write(run_id, plan.hash, "project:1", "undone", mapping=("project", "1", "x"))
    journal.forget_mapping("project", "1")
    journal.claim(run_id, ["server:1"], holder="me", lease_s=60)
    journal.release(run_id)
    journal.end_run(run_id, "succeeded")
    touching = [line for line in seen if re.search(r"\bevents\b", line) and not line.startswith("INSERT")]
    assert any(line.startswith("INSERT INTO events") for line in seen)
    assert [line for line in touching if not line.lstrip().upper().startswith(("SELECT", "PRAGMA"))] == []


def test_events_are_narrowed_by_run_plan_and_step(journal: Journal) -> None:
    one, two = start_run(journal), start_run(journal)
    write(journal, one, "a", "intent")
    write(journal, two, "a", "intent", plan=OTHER)
    write(journal, two, "b", "intent", plan=OTHER)
    assert len(journal.events(run_id=two)) == 2
    assert len(journal.events(plan_hash=PLAN)) == 1
    assert [e.run_id for e in journal.events(step_key="a")] == [one, two]
    assert len(journal.events(run_id=two, step_key="a", plan_hash=OTHER)) == 1


def test_data_comes_back_as_it_was_written(journal: Journal) -> None:
    data = {"text": "Бета ☃ \x00 '\"", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
    journal.write(start_run(journal), PLAN, "a", "done", data)
    assert journal.events()[0].data == data


def test_an_outcome_that_is_no_json_is_an_error_and_leaves_nothing_behind(journal: Journal) -> None:
    run_id = start_run(journal)
    with pytest.raises(JournalError, match="cannot be written"):
        journal.write(run_id, PLAN, "a", "done", {"at": object()}, mapping=("server", "1", "2"))
    assert journal.events() == []
    assert journal.mapping("server", "1") is None


def test_a_mapping_is_written_with_its_event_or_not_at_all(journal: Journal) -> None:
    run_id = start_run(journal)
    journal.write(run_id, PLAN, "a", "done", {"id": "2"}, mapping=("server", "1", "2"))
    assert journal.mapping("server", "1") == "2"
    assert journal.mapping("image", "1") is None
    journal.write(run_id, PLAN, "a", "done", {"id": "3"}, mapping=("server", "1", "3"))
    assert journal.mapping("server", "1") == "3"
    journal.forget_mapping("server", "1")
    journal.forget_mapping("server", "1")
    assert journal.mapping("server", "1") is None


# --- where a step stands ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state", "ours", "in_effect"),
    [
        ((), "new", False, False),
        (("intent",), "intent", True, True),
        (("intent", "done"), "done", True, True),
        (("intent", "done", "verified"), "verified", True, True),
        (("done", "verified"), "verified", False, True),
        (("intent", "failed"), "failed", True, True),
        (("failed",), "failed", False, False),
        (("intent", "done", "failed", "done", "verified"), "verified", True, True),
        (("intent", "done", "verified", "skipped"), "verified", True, True),
        (("intent", "done", "verified", "undo-intent"), "undoing", True, True),
        (("intent", "done", "verified", "undo-intent", "undone"), "undone", False, False),
        (("intent", "done", "undo-intent", "undone", "done", "verified"), "verified", False, True),
    ],
)
def test_a_steps_state_follows_its_events(
    journal: Journal, events: tuple[str, ...], state: str, ours: bool, in_effect: bool
) -> None:
    runs = [start_run(journal), start_run(journal)]
    for number, event in enumerate(events):
        run_id = runs[number // 2 % 2]
        write(journal, run_id, "boot:1", event)
        write(journal, run_id, "boot:2", "intent")
        write(journal, run_id, "boot:1", "intent", plan=OTHER)
    found = journal.step_state(PLAN, "boot:1")
    assert (found.state, found.ours, found.in_effect) == (state, ours, in_effect)


def test_outcome_and_intent_outlive_what_comes_later(journal: Journal) -> None:
    first, second = start_run(journal), start_run(journal)
    journal.write(first, PLAN, "stop:1", "intent", {"absent": True, "answered_before": True})
    journal.write(first, PLAN, "stop:1", "done", {"stop_s": 1.5})
    journal.write(first, PLAN, "stop:1", "failed", {"error": "it runs", "type": "VerificationFailed"})
    found = journal.step_state(PLAN, "stop:1")
    assert (found.state, found.error) == ("failed", "it runs")
    journal.write(second, PLAN, "stop:1", "skipped")
    found = journal.step_state(PLAN, "stop:1")
    assert found.error is None
    assert found.outcome == {"stop_s": 1.5}
    assert found.intent_data["answered_before"] is True


def test_a_step_that_another_run_holds_stays_where_that_run_left_it(journal: Journal) -> None:
    mine, theirs = start_run(journal), start_run(journal)
    write(journal, theirs, "settle:1", "intent", "done", "verified")
    journal.write(mine, PLAN, "settle:1", "failed", {"error": "held", "type": "ClaimHeld"})
    assert journal.step_state(PLAN, "settle:1").state == "verified"
    assert journal.run_result(mine) == "failed"


def test_events_beside_steps_do_not_make_a_step(journal: Journal) -> None:
    run_id = start_run(journal)
    journal.write(run_id, PLAN, "@approval", "approved", {})
    scope(journal, run_id, "a")
    assert journal.step_states(PLAN) == {}


STEP_EVENTS = ("intent", "done", "verified", "failed", "skipped", "undo-intent", "undone")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEP_EVENTS), st.booleans()), max_size=12))
def test_what_may_have_changed_something_is_never_forgotten_but_by_undone(history: list[tuple[str, bool]]) -> None:
    state = StepState()
    since: list[tuple[str, bool]] = []
    for number, (name, absent) in enumerate(history):
        event = Event(number, "r", PLAN, "k", name, datetime.now(UTC), {"absent": absent} if name == "intent" else {})
        state = _advance(state, event)
        since = [] if name == "undone" else [*since, (name, absent)]
    # failing alone changes nothing: the intent is written before anything is sent
    assert state.in_effect is any(name != "failed" for name, _ in since)
    assert state.ours is any(name == "intent" and absent for name, absent in since)


# --- whose it is --------------------------------------------------------------------------------------


def test_made_by_us_looks_over_all_plans(journal: Journal) -> None:
    run_id = start_run(journal)
    assert not journal.made_by_us("project:1")
    write(journal, run_id, "project:1", "done", "verified")
    assert not journal.made_by_us("project:1")
    write(journal, run_id, "project:1", "intent", "done", "verified", plan=OTHER)
    write(journal, run_id, "project:1", "skipped")
    assert journal.made_by_us("project:1")
    write(journal, run_id, "project:1", "undo-intent")
    assert journal.made_by_us("project:1")
    write(journal, run_id, "project:1", "undone")
    assert not journal.made_by_us("project:1")
    write(journal, run_id, "project:1", "done", "verified")
    assert not journal.made_by_us("project:1")


# --- what a run came to -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scoped", "steps", "result"),
    [
        ((), {}, "succeeded"),
        (("a",), {"a": ("intent", "done", "verified")}, "succeeded"),
        (("a",), {"a": ("done", "verified")}, "succeeded"),
        (("a", "b"), {"a": ("skipped",), "b": ("done", "verified")}, "succeeded"),
        (("a", "b"), {"a": ("skipped",), "b": ("skipped",)}, "nothing-to-do"),
        # a cell that was run twice: what this run did is not "nothing"
        (("a", "b"), {"a": ("intent", "done", "verified", "skipped"), "b": ("skipped",)}, "succeeded"),
        (("a",), {"a": ("undo-intent", "undone", "skipped")}, "succeeded"),
        (("a",), {"a": ("intent", "failed", "skipped")}, "succeeded"),
        (("a",), {"a": ("failed", "skipped")}, "nothing-to-do"),
        (("a",), {"a": ("undo-intent", "undone")}, "succeeded"),
        (("a",), {}, "incomplete"),
        (("a", "b"), {"a": ("skipped",)}, "incomplete"),
        (("a",), {"a": ("intent",)}, "incomplete"),
        (("a",), {"a": ("intent", "done")}, "incomplete"),
        (("a",), {"a": ("undo-intent",)}, "incomplete"),
        ((), {"a": ("intent",)}, "incomplete"),
        (("a",), {"a": ("intent", "failed")}, "failed"),
        (("a", "b"), {"a": ("failed",)}, "failed"),
        (("a",), {"a": ("intent", "failed", "done", "verified")}, "succeeded"),
        (("a",), {"a": ("intent", "failed", "intent")}, "incomplete"),
        (("a",), {"a": ("intent", "done", "verified", "failed")}, "failed"),
        (("a", "b"), {"a": ("failed", "skipped"), "b": ("failed",)}, "failed"),
    ],
)
def test_a_runs_result_is_what_its_steps_allow(
    journal: Journal, scoped: tuple[str, ...], steps: dict[str, tuple[str, ...]], result: str
) -> None:
    run_id, other = start_run(journal), start_run(journal)
    journal.write(run_id, PLAN, "@approval", "approved", {})
    if scoped:
        scope(journal, run_id, *scoped)
    for key, events in steps.items():
        write(journal, run_id, key, *events)
    write(journal, other, "a", "intent", "failed")
    assert journal.run_result(run_id) == result


def test_a_success_of_another_run_or_plan_does_not_count(journal: Journal) -> None:
    run_id, later = start_run(journal), start_run(journal)
    scope(journal, run_id, "a")
    write(journal, run_id, "a", "intent", "failed")
    write(journal, later, "a", "done", "verified")
    write(journal, run_id, "a", "done", "verified", plan=OTHER)
    assert journal.run_result(run_id) == "failed"


def test_every_phase_of_a_run_counts(journal: Journal) -> None:
    run_id = start_run(journal)
    scope(journal, run_id, "project:1")
    write(journal, run_id, "project:1", "skipped")
    assert journal.run_result(run_id) == "nothing-to-do"
    scope(journal, run_id, "stop:1", "boot:1")
    assert journal.run_result(run_id) == "incomplete"
    write(journal, run_id, "stop:1", "done", "verified")
    write(journal, run_id, "boot:1", "done", "verified")
    assert journal.run_result(run_id) == "succeeded"


# --- plans --------------------------------------------------------------------------------------------


def test_a_plan_is_kept_once_and_goes_through_its_states(journal: Journal) -> None:
    plan = make_plan(make_step("project:1"))
    assert journal.plan_state(plan.hash) is None
    journal.save_plan(plan.hash, kind="move", selection_digest="d", document=plan.document)
    journal.set_plan_state(plan.hash, "started")
    journal.save_plan(plan.hash, kind="move", selection_digest="d", document={"other": True})
    assert journal.plan_state(plan.hash) == "started"
    assert journal.plan_documents() == [plan.document]


def test_plan_documents_by_kind_and_state_oldest_first(journal: Journal) -> None:
    for number, (kind, state) in enumerate([("move", "started"), ("finalise", "started"), ("move", "undone")]):
        journal.save_plan(f"{number}", kind=kind, selection_digest="d", document={"n": number})
        journal.set_plan_state(f"{number}", state)
    assert [d["n"] for d in journal.plan_documents()] == [0, 1, 2]
    assert [d["n"] for d in journal.plan_documents(kind="move")] == [0, 2]
    assert [d["n"] for d in journal.plan_documents(kind="move", states=("started", "finished"))] == [0]


def test_a_plan_has_no_other_states(journal: Journal) -> None:
    plan = make_plan(make_step("project:1"))
    journal.save_plan(plan.hash, kind="move", selection_digest="d", document=plan.document)
    assert journal.plan_state(plan.hash) is PlanState.PROPOSED
    for state in PlanState:
        journal.set_plan_state(plan.hash, state)
        assert journal.plan_state(plan.hash) is state
    with pytest.raises(JournalError, match="'finnished' is no state of a plan"):
        journal.set_plan_state(plan.hash, "finnished")
    with pytest.raises(JournalError, match="'begun' is no state"):
        journal.plan_documents(states=["begun"])
    assert [state for state in PlanState if state.is_over] == ["finished", "undone", "superseded"]


def test_a_run_that_only_reads_sets_out_to_do_nothing(journal: Journal) -> None:
    run_id = start_run(journal)
    journal.write(run_id, "hash", "@approval", "approved")
    journal.write(run_id, "hash", SCOPE_KEY, "scope", {"steps": []})
    assert not journal.set_out(run_id)
    journal.write(run_id, "hash", SCOPE_KEY, "scope", {"steps": ["stop:1"]})
    assert journal.set_out(run_id)


def test_all_mappings_at_once(journal: Journal) -> None:
    run_id = start_run(journal)
    journal.write(run_id, "hash", "image:1", "done", mapping=("image", "1", "a"))
    journal.write(run_id, "hash", "server:1", "done", mapping=("server", "1", "b"))
    assert journal.mappings() == {("image", "1"): "a", ("server", "1"): "b"}


# --- claims -------------------------------------------------------------------------------------------


def test_a_claim_keeps_others_off_until_it_is_released(journal: Journal) -> None:
    mine, theirs = start_run(journal), start_run(journal)
    journal.claim(mine, ["server:1"], holder="ann", lease_s=60)
    with pytest.raises(ClaimHeld, match=r"server:1 .* ann \(run .*lease ends in \d+ s.*Remedy") as caught:
        journal.claim(theirs, ["server:1"], holder="bob", lease_s=60)
    assert mine in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    journal.claim(theirs, ["server:2"], holder="bob", lease_s=60)
    journal.release(mine)
    journal.claim(theirs, ["server:1"], holder="bob", lease_s=60)


def test_the_end_of_a_run_gives_its_claims_back(journal: Journal) -> None:
    mine, theirs = start_run(journal), start_run(journal)
    journal.claim(mine, ["server:1"], holder="ann", lease_s=60)
    journal.claim(theirs, ["server:2"], holder="bob", lease_s=60)
    journal.end_run(mine, "succeeded")
    journal.claim(theirs, ["server:1"], holder="bob", lease_s=60)
    with pytest.raises(ClaimHeld):
        journal.claim(start_run(journal), ["server:2"], holder="cid", lease_s=60)


def test_claims_are_taken_all_or_none(journal: Journal) -> None:
    mine, theirs, third = start_run(journal), start_run(journal), start_run(journal)
    journal.claim(theirs, ["server:2"], holder="bob", lease_s=60)
    with pytest.raises(ClaimHeld, match="server:2"):
        journal.claim(mine, ["server:1", "server:2", "server:3"], holder="ann", lease_s=60)
    journal.claim(third, ["server:1", "server:3"], holder="cid", lease_s=60)


def test_a_claim_may_be_renewed_and_taken_over_by_its_own_holder(journal: Journal) -> None:
    crashed, again, other = (start_run(journal) for _ in range(3))
    journal.claim(crashed, ["server:1"], holder="ann", lease_s=60)
    journal.claim(crashed, ["server:1"], holder="ann, reconnected", lease_s=60)
    journal.claim(again, ["server:1"], holder="ann, reconnected", lease_s=60)
    journal.release(crashed)
    with pytest.raises(ClaimHeld, match=again):
        journal.claim(other, ["server:1"], holder="bob", lease_s=60)


def test_a_claim_is_free_when_its_lease_has_ended(journal: Journal) -> None:
    mine, theirs = start_run(journal), start_run(journal)
    journal.claim(mine, ["server:1"], holder="ann", lease_s=-1)
    journal.claim(theirs, ["server:1"], holder="bob", lease_s=60)
    with pytest.raises(ClaimHeld, match="bob"):
        journal.claim(mine, ["server:1"], holder="ann", lease_s=60)


def test_a_dead_holders_lease_is_not_waited_for(journal: Journal) -> None:
    mine, theirs = start_run(journal), start_run(journal)
    journal.claim(mine, ["server:1"], holder="ann", lease_s=900)
    asked: list[str] = []

    def is_gone(holder: str) -> bool:
        asked.append(holder)
        return holder == "ann"

    journal.claim(theirs, ["server:1"], holder="bob", lease_s=900, is_gone=is_gone)
    assert asked == ["ann"]
    with pytest.raises(ClaimHeld):
        journal.claim(mine, ["server:1"], holder="ann", lease_s=900, is_gone=is_gone)


# --- several threads ----------------------------------------------------------------------------------


def test_threads_that_write_at_once_lose_nothing(journal: Journal) -> None:
    run_id = start_run(journal)
    ready = threading.Barrier(12)

    def work(worker: int) -> None:
        ready.wait(10)
        for number in range(8):
            key = f"{worker}:{number}"
            journal.write(run_id, PLAN, key, "done", {"n": number}, mapping=("server", key, f"new-{key}"))

    with ThreadPoolExecutor(12) as pool:
        for future in [pool.submit(work, worker) for worker in range(12)]:
            future.result(60)
    found = [(event.step_key, event.data["n"]) for event in journal.events()]
    assert sorted(found) == sorted((f"{w}:{n}", n) for w in range(12) for n in range(8))
    assert all(journal.mapping("server", key) == f"new-{key}" for key, _ in found)


def test_of_many_threads_that_claim_at_once_one_gets_it(journal: Journal) -> None:
    runs = [start_run(journal) for _ in range(10)]
    ready = threading.Barrier(len(runs))

    def work(run_id: str) -> str | None:
        ready.wait(10)
        try:
            journal.claim(run_id, ["server:1", "server:2"], holder=run_id, lease_s=60)
        except ClaimHeld:
            return None
        return run_id

    with ThreadPoolExecutor(len(runs)) as pool:
        won = [run_id for run_id in pool.map(work, runs, timeout=60) if run_id]
    assert len(won) == 1


# --- a database that fails ----------------------------------------------------------------------------


def test_the_journals_folder_is_made(tmp_path: Path) -> None:
    journal = Journal.open(f"sqlite:///{tmp_path / 'a' / 'b' / 'journal.db'}")
    start_run(journal)
    journal.close()
    assert (tmp_path / "a" / "b" / "journal.db").exists()


@pytest.mark.parametrize("kind", ["garbage", "folder", "file-in-the-way"])
def test_a_journal_that_cannot_be_opened_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "journal.db"
    if kind == "garbage":
        path.write_bytes(b"This is no database." * 100)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("a file where the folder should be")
        path = path / "journal.db"
    with pytest.raises(JournalError, match=r"journal\.db cannot be opened: \w+\. Remedy: check `journal`"):
        Journal.open(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret-canary@127.0.0.1:1/journal",
        "postgresql://ann:s3cret-canary@127.0.0.1:not-a-port/journal",
        "postgresql://127.0.0.1:1/journal?user=ann&password=s3cret-canary",
        "nosuchdatabase://ann:s3cret-canary@127.0.0.1/journal",
        "postgresql+nosuchdriver://ann:s3cret-canary@127.0.0.1/journal",
        "s3cret-canary",
        "sqlite:////proc/nowhere/journal.db?password=s3cret-canary",
        "",
    ],
)
def test_no_password_of_the_url_is_ever_shown(url: str) -> None:
    with pytest.raises(JournalError) as caught:
        Journal.open(url)
    assert "canary" not in str(caught.value).replace("journal", "")
    assert "Remedy" in str(caught.value)


def test_a_path_that_no_system_takes_is_an_error() -> None:
    with pytest.raises(JournalError, match="cannot be opened: ValueError"):
        Journal.open("sqlite:////tmp/nul\0byte")


def _read_only(path: Path) -> Journal:
    return Journal(sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true"))


def test_a_read_only_database_can_be_read_but_writing_is_an_error(journal: Journal, tmp_path: Path) -> None:
    run_id = start_run(journal)
    write(journal, run_id, "a", "intent")
    reader = _read_only(tmp_path / "journal.db")
    assert reader.get_run(run_id).id == run_id
    plan = make_plan(make_step("project:1"))
    attempts: list[Callable[[], object]] = [
        lambda: start_run(reader),
        lambda: reader.end_run(run_id, "succeeded"),
        lambda: write(reader, run_id, "a", "done"),
        lambda: keep_plan(reader, plan),
        lambda: reader.claim(run_id, ["server:1"], holder="me", lease_s=1),
        lambda: reader.release(run_id),
        lambda: reader.forget_mapping("server", "1"),
    ]
    for attempt in attempts:
        with pytest.raises(JournalError, match=r"cannot be written: OperationalError.*readonly.*nothing more is done"):
            attempt()
    reader.close()
    assert [event.event for event in journal.events()] == ["intent"]
    assert journal.get_run(run_id).state == "running"


def test_a_full_disk_is_an_error_and_what_was_written_stays(journal: Journal) -> None:
    run_id = start_run(journal)
    write(journal, run_id, "a", "intent")

    def full(connection: object, _record: object, _proxy: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]

    sa.event.listen(journal._engine, "checkout", full)
    with pytest.raises(JournalError, match="full"):
        journal.write(run_id, PLAN, "a", "done", {"blob": "x" * 1_000_000})
    assert [event.event for event in journal.events()] == ["intent"]


def test_a_damaged_database_is_an_error_when_read(journal: Journal, tmp_path: Path) -> None:
    start_run(journal)
    journal.close()
    (tmp_path / "journal.db").write_bytes(b"garbage" * 1000)
    for name in ("journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(JournalError, match=r"journal\.db cannot be (read|written)"):
        journal.list_runs()


def test_a_server_that_lets_us_in_no_more_is_an_error_without_its_password(postgres: Postgres) -> None:
    url = postgres.database()
    journal = Journal.open(url)
    run_id = start_run(journal)
    name = url.partition("?")[0].rpartition("/")[2]
    postgres.ask(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for attempt in (lambda: write(journal, run_id, "a", "intent"), lambda: journal.get_run(run_id)):
        with pytest.raises(JournalError, match="cannot be") as caught:
            attempt()
        assert PASSWORD not in str(caught.value)
    postgres.ask(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    write(journal, run_id, "a", "intent")
    assert [event.event for event in journal.events()] == ["intent"]
    journal.close()


def test_leases_end_by_the_servers_clock(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines whose clocks are an hour apart: neither takes the other's claim, and each sees a lease end."""
    url = postgres.database()
    ours, theirs = Journal.open(url), Journal.open(url)
    first, second = start_run(ours), start_run(theirs)
    ours.claim(first, ["server:1"], holder="ann", lease_s=60)
    hour = time.time() + 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: hour)
        with pytest.raises(ClaimHeld, match="ann"):
            theirs.claim(second, ["server:1"], holder="bob", lease_s=60)
    assert ours.renew(first, lease_s=0) == {"server:1"}
    theirs.claim(second, ["server:1"], holder="bob", lease_s=60)
    assert ours.renew(first, lease_s=60) == frozenset()
    for journal in (ours, theirs):
        journal.close()


def test_names_of_any_length_are_kept(journal: Journal) -> None:
    run_id = start_run(journal)
    key = f"keypair:{'u' * 64}:{'ä' * 255}"
    journal.write(run_id, PLAN, key, "done", {}, mapping=("keypair", key, "k" * 300))
    journal.claim(run_id, [f"step:{key}a", f"step:{key}b"], holder="me", lease_s=1)
    assert journal.renew(run_id, lease_s=1) == {f"step:{key}a", f"step:{key}b"}
    assert journal.mapping("keypair", key) == "k" * 300
    assert journal.events()[0].step_key == key
    journal.end_run(run_id, "failed", "half a character \ud800 and a NUL \0")
    assert journal.get_run(run_id).detail.startswith("half a character")


def test_a_journal_file_is_ours_alone_from_the_start(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        journal = Journal.open(f"sqlite:///{tmp_path / 'journal.db'}")
        start_run(journal)
        rights = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(old)
        journal.close()
    assert rights.keys() == {"journal.db", "journal.db-wal", "journal.db-shm"}
    assert set(rights.values()) == {0o600}
