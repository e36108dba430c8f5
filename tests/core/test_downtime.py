"""How long servers will be down: what is learnt from the journal, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.checks.gate import check_gate
from pumphouse.journal import Journal
from pumphouse.plan.downtime import ASSUMED_S, Rates, check_downtime, measured_rates, predict, predictions
from pumphouse.plan.model import Plan
from pumphouse.plan.snapshot import RECKONED_MIB_PER_S
from pumphouse.session.story import tell_story
from tests.core.making import keep_plan, make_plan, make_step, plan_server
from tests.core.making_runs import start_run
from tests.factories import uid

GIB = 1 << 30


class Clock:
    """The journal's clock, moved by hand."""

    now = datetime(2026, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def plan_of(*names: str, disk_gib: int | None = None, budget_s: float | None = None, arrives: str = "ACTIVE") -> Plan:
    steps = []
    for name in names:
        own: dict[str, Any] = {"phase": "cutover", "server_id": uid(name)}
        stop = {"name": name, "downtime_budget_s": budget_s, "probe": {"kind": "tcp"}}
        steps.append(make_step(f"stop:{uid(name)}", params=stop, **own))
        if disk_gib is not None:
            steps.append(make_step(f"snapshot:{uid(name)}", f"stop:{uid(name)}", params={"disk_gib": disk_gib}, **own))
        steps.append(make_step(f"boot:{uid(name)}", f"stop:{uid(name)}", **own))
        steps.append(make_step(f"settle:{uid(name)}", f"boot:{uid(name)}", params={"arrives": arrives}, **own))
    return make_plan(*steps, servers=tuple(plan_server(name) for name in names))


def cut_over(journal: Journal, clock: Clock, plan: Plan, name: str, took_s: float, **change: Any) -> None:
    """Journal a cutover that took so many seconds."""
    run_id = start_run(journal)
    journal.write(run_id, plan.hash, f"stop:{uid(name)}", "intent", {"absent": True})
    clock.pass_s(took_s)
    journal.write(run_id, plan.hash, f"stop:{uid(name)}", "done", {"stop_s": change.get("stop_s", 1.0)})
    if "snapshot" in change:
        journal.write(run_id, plan.hash, f"snapshot:{uid(name)}", "done", change["snapshot"])
    if change.get("failed"):
        journal.write(run_id, plan.hash, f"boot:{uid(name)}", "failed", {"error": "x"})
    if change.get("two runs"):
        run_id = start_run(journal)
    journal.write(run_id, plan.hash, f"boot:{uid(name)}", "done", {"boot_s": 1.0})
    if not change.get("unsettled"):
        journal.write(run_id, plan.hash, f"settle:{uid(name)}", "done", {"answers": change.get("answers", True)})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(journal_url: str, clock: Clock) -> Any:
    journal = Journal.open(journal_url, now=clock)
    yield journal
    journal.close()


def test_before_the_first_one_an_assumption_is_stated(book: Journal) -> None:
    plan = plan_of("web1")
    found = predict(plan, uid("web1"), measured_rates(book))
    assert found is not None
    assert (found.seconds, found.over) == (ASSUMED_S, False)
    (finding,) = check_downtime(plan, book)
    assert (finding.severity, finding.code) == ("info", "downtime-foretold")
    assert "assumed: 120 s" in finding.message


def test_what_was_measured_is_what_nine_of_ten_stayed_below(book: Journal, clock: Clock) -> None:
    names = [f"web{number}" for number in range(10)]
    plan = plan_of(*names)
    for number, name in enumerate(names):
        cut_over(book, clock, plan, name, 100.0 if number == 4 else 10.0 + number)
    rates = measured_rates(book)
    assert len(rates.cutovers_s) == 10
    assert rates.cutover_s == 19.0
    assert "9 in 10 of the last 10 cutovers took up to 19 s" in rates.basis


@pytest.mark.parametrize(
    "change", [{"failed": True}, {"two runs": True}, {"unsettled": True}, {"answers": False}, {"stop_s": None}]
)
def test_cutovers_that_did_not_go_through_teach_nothing(change: dict[str, Any], book: Journal, clock: Clock) -> None:
    plan = plan_of("web1", "web2")
    cut_over(book, clock, plan, "web1", 3600.0, **change)
    assert measured_rates(book).cutovers_s == ()
    cut_over(book, clock, plan, "web2", 8.0)
    assert measured_rates(book).cutovers_s == (8.0,)


def test_a_disk_that_is_carried_takes_its_time(book: Journal, clock: Clock) -> None:
    plan = plan_of("db1", disk_gib=20)
    (reckoned,) = predictions(plan, measured_rates(book))
    assert reckoned.seconds == pytest.approx(ASSUMED_S + 20 * 1024 / RECKONED_MIB_PER_S)
    spent = {"snapshot_s": 30.0, "copy_s": 70.0, "size_bytes": 10 * GIB}
    cut_over(book, clock, plan, "db1", 112.0, snapshot=spent)
    rates = measured_rates(book)
    assert rates.cutovers_s == (12.0,)
    (measured,) = predictions(plan, rates)
    assert measured.seconds == pytest.approx(12.0 + 200.0)


def test_a_disk_of_unknown_size_is_over_any_budget(book: Journal) -> None:
    (free,) = predictions(plan_of("db1", disk_gib=0), Rates())
    (bound,) = predictions(plan_of("db1", disk_gib=0, budget_s=1e6), Rates())
    assert (free.seconds, free.over, bound.over) == (None, False, True)
    assert "for nobody knows how long" in check_downtime(plan_of("db1", disk_gib=0, budget_s=1e6), book)[-1].message


def test_only_servers_that_serve_are_foretold_and_only_those_not_down_yet_are_held_back(book: Journal) -> None:
    assert predictions(plan_of("off1", arrives="SHUTOFF", budget_s=1), Rates()) == ()
    plan = plan_of("web1", "web2", budget_s=10)
    keep_plan(book, plan)
    assert [f.object for f in check_gate(plan, book) if f.severity == "block"] == ["server web1", "server web2"]
    book.write(start_run(book), plan.hash, f"stop:{uid('web1')}", "intent", {"absent": True})
    assert [f.object for f in check_gate(plan, book) if f.severity == "block"] == ["server web2"]


def test_a_plan_that_stops_nothing_is_not_foretold(book: Journal) -> None:
    assert check_downtime(make_plan(kind="rollback"), book) == []
    assert check_downtime(make_plan(make_step("project:1")), book) == []


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=60), st.floats(0.1, 1e5))
def test_what_is_foretold_was_seen_and_is_never_shorter_than_most(cutovers: list[float], budget_s: float) -> None:
    rates = Rates(tuple(cutovers))
    (found,) = predictions(plan_of("web1", budget_s=budget_s), rates)
    assert found.seconds in cutovers
    assert sum(took_s <= found.seconds for took_s in cutovers) >= 0.9 * len(cutovers)
    assert found.over == (found.seconds > budget_s)


@pytest.mark.parametrize(("budget_s", "down_s", "said"), [(20, 31.0, True), (40, 31.0, False), (None, 31.0, False)])
def test_a_server_that_was_down_for_longer_is_a_deviation(
    budget_s: float | None, down_s: float, said: bool, book: Journal
) -> None:
    plan = plan_of("web1", budget_s=budget_s)
    keep_plan(book, plan)
    run_id = start_run(book)
    foretold = {"absent": True, "predicted_s": 12.0, "downtime_budget_s": budget_s}
    book.write(run_id, plan.hash, f"stop:{uid('web1')}", "intent", foretold)
    book.write(run_id, plan.hash, f"settle:{uid('web1')}", "done", {"downtime_s": down_s})
    words = "web1 was down for 31 s: its budget was 20 s, foretold was 12 s."
    assert (words in tell_story(book, run_id)["deviations"]) is said
