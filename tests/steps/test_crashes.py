"""The process dies anywhere: what it did is found and adopted, what it did not do is done, nothing is done twice."""

from __future__ import annotations

import itertools

import pytest

from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Bench, Killed, Scene, error_of, impatient, killed_at_write
from tests.steps.case import Case, SetUp
from tests.steps.server_cases import SERVER
from tests.steps.shared_cases import SHARED

pytestmark = SDK_WARNS_OF_ITSELF
ALL = (*SHARED, *SERVER)


def converges(case: Case, bench: Bench, one: Scene) -> None:
    """Running again does what an undisturbed run does, and the object counts as ours."""
    assert one.run().results in ({one.step.key: "verified"}, {one.step.key: "skipped"})
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert (one.state().state, one.state().ours) == ("verified", True)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_killed_before_each_of_its_requests(case: Case, bench: Bench, scene: SetUp) -> None:
    for number in itertools.count(1):
        one = scene(case)
        was = case.seen(bench, one.step)
        try:
            with killed_at_write(number):
                one.run()
        except Killed:
            assert one.state().state == "intent"
            converges(case, bench, one)
            if case.undoes:
                one.roll_back()
                assert case.seen(bench, one.step) == was
        else:
            break
    assert number > len(case.writes)


@pytest.mark.parametrize("event", ["before done", "after done"])
@pytest.mark.parametrize("case", ALL, ids=repr)
def test_killed_around_the_journalling_of_its_outcome(case: Case, event: str, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    when, _, name = event.partition(" ")
    setattr(one.journal, f"dies_{when}", name)
    with pytest.raises(Killed):
        one.run()
    setattr(one.journal, f"dies_{when}", "")
    assert one.state().state == ("intent" if when == "before" else "done")
    converges(case, bench, one)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_the_answer_to_a_request_is_lost(case: Case, bench: Bench, scene: SetUp) -> None:
    for write in case.writes:
        one = scene(case)
        with bench.fault(write, kind="lost"):
            error = error_of(one.run)
        # where repeating is harmless, it was repeated at once
        assert error is None or any(name in str(error) for name in case.names(bench, one.step))
        converges(case, bench, one)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_the_answer_to_a_request_comes_too_late(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    with impatient(case.writes[0]), bench.fault(case.writes[0], kind="delay", delay_s=0.5):
        error = error_of(one.run)
    assert error is None or any(name in str(error) for name in case.names(bench, one.step))
    bench.idle()
    converges(case, bench, one)
