"""Taking a step back: what we made goes, what was there before stays, and the same again changes nothing."""

from __future__ import annotations

import itertools

import pytest

from pumphouse.errors import StepError
from pumphouse.steps import STEPS
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Bench, Killed, Scene, error_of, killed_at_write
from tests.steps.case import Case, SetUp
from tests.steps.server_cases import SERVER, BootCase, DeleteSourceCase, FloatingIpCase, SettleCase
from tests.steps.shared_cases import SHARED

pytestmark = SDK_WARNS_OF_ITSELF
UNDOABLE = [case for case in (*SHARED, *SERVER) if case.undoes]


def goes_back(case: Case, bench: Bench, one: Scene, was: object) -> None:
    """Rolling back leaves what was there, and says so in the journal."""
    assert set(one.roll_back().results.values()) <= {"verified", "skipped"}
    assert case.seen(bench, one.step) == was
    assert one.state().state == "undone"


@pytest.mark.parametrize("case", UNDOABLE, ids=repr)
def test_undone_as_the_clouds_show_it_and_done_again(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    was = case.seen(bench, one.step)
    one.run()
    goes_back(case, bench, one, was)
    changes = bench.changes()
    goes_back(case, bench, one, was)
    if case.tells:
        assert bench.changes()[: len(changes)] == changes
    assert not one.journal.made_by_us(one.step.key)
    one.renew()
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    goes_back(case, bench, one, was)


@pytest.mark.parametrize("case", [case for case in UNDOABLE if case.tells and case.stays], ids=repr)
def test_what_was_there_before_us_stays(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case, in_place=True)
    found = case.seen(bench, one.step)
    one.run()
    goes_back(case, bench, one, found)


def test_a_copy_that_the_journal_did_not_see_made_goes_back_all_the_same(bench: Bench, scene: SetUp) -> None:
    """As when a backup of the journal was restored."""
    case = BootCase()
    one = scene(case, in_place=True)
    one.run()
    one.roll_back()
    assert case.seen(bench, one.step) == ([], "SHUTOFF")


def test_a_floating_ip_that_the_journal_did_not_see_moved_goes_back_and_stays_allocated(
    bench: Bench, scene: SetUp
) -> None:
    case = FloatingIpCase()
    one = scene(case, in_place=True)
    one.run()
    one.roll_back()
    assert case.seen(bench, one.step) == (True, [(bench.acme, None)])


@pytest.mark.parametrize("case", UNDOABLE, ids=repr)
def test_undone_when_it_was_only_half_done(case: Case, bench: Bench, scene: SetUp) -> None:
    for number in range(1, len(case.writes) + 1):
        one = scene(case)
        was = case.seen(bench, one.step)
        with pytest.raises(Killed), killed_at_write(number):
            one.run()
        goes_back(case, bench, one, was)


@pytest.mark.parametrize("case", UNDOABLE, ids=repr)
def test_killed_before_each_request_of_the_undoing(case: Case, bench: Bench, scene: SetUp) -> None:
    for number in itertools.count(1):
        one = scene(case)
        was = case.seen(bench, one.step)
        one.run()
        try:
            with killed_at_write(number):
                one.roll_back()
        except Killed:
            assert one.state().state == "undoing"
            goes_back(case, bench, one, was)
        else:
            break
    assert number > len(case.undo_writes)


@pytest.mark.parametrize("event", ["before undone", "after undone"])
@pytest.mark.parametrize("case", UNDOABLE, ids=repr)
def test_killed_around_the_journalling_of_the_undoing(case: Case, event: str, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    was = case.seen(bench, one.step)
    one.run()
    when, _, name = event.partition(" ")
    setattr(one.journal, f"dies_{when}", name)
    with pytest.raises(Killed):
        one.roll_back()
    setattr(one.journal, f"dies_{when}", "")
    goes_back(case, bench, one, was)
    kind = STEPS[case.kind].maps
    assert kind is None or one.journal.mapping(kind, one.step.params["source_id"]) is None


@pytest.mark.parametrize(
    ("case", "number"), [pytest.param(c, n, id=f"{c}-{n}") for c in UNDOABLE for n in range(len(c.undo_writes))]
)
def test_an_undoing_is_refused_until_it_is_not(case: Case, number: int, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    was = case.seen(bench, one.step)
    one.run()
    write = case.undo_writes[number]
    with bench.fault(write, times=0, kind="status", status=409):
        error = one.refused(one.roll_back)
    assert error.remedy
    assert one.state().state == "undoing"
    with bench.fault(write, kind="lost"):
        lost = error_of(one.roll_back)
    assert lost is None or lost.remedy
    goes_back(case, bench, one, was)


def test_settling_leaves_nothing_to_undo(bench: Bench, scene: SetUp) -> None:
    case = SettleCase()
    one = scene(case)
    one.run()
    changes = bench.changes()
    goes_back(case, bench, one, case.want(bench, one.step))
    assert bench.changes() == changes


def test_a_deleted_source_does_not_come_back(bench: Bench, scene: SetUp) -> None:
    case = DeleteSourceCase()
    one = scene(case)
    one.run()
    error = one.refused(one.roll_back)
    assert type(error) is StepError
    assert "cannot be undone" in error.message
    assert one.step.params["name"] in error.message
    assert case.seen(bench, one.step) == case.want(bench, one.step)
