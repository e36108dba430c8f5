"""Every kind of step, undisturbed: done, in place already, done again, and broken by somebody else afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumphouse.errors import PumphouseError
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Bench, keep, make_plan
from tests.steps.case import Case, SetUp
from tests.steps.server_cases import SERVER
from tests.steps.shared_cases import SHARED

pytestmark = SDK_WARNS_OF_ITSELF
ALL = (*SHARED, *SERVER)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_done_as_the_clouds_show_it_and_never_twice(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert (one.state().state, one.state().ours) == ("verified", True)
    assert one.verify() is not None
    changes = bench.changes()
    assert one.run().results == {one.step.key: "skipped"}
    assert bench.changes() == changes
    # another plan of the same journal, made now that the source is down
    again = make_plan(one.step, servers=tuple(replace(server, status="SHUTOFF") for server in one.plan.servers))
    keep(one.journal, again)
    assert one.run(one.step, plan=again).results == {one.step.key: "verified"}
    if case.tells:
        assert bench.changes() == changes
        assert one.journal.step_state(again.hash, one.step.key).ours is False
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert one.journal.made_by_us(one.step.key)


@pytest.mark.parametrize("case", [case for case in ALL if case.kind != "settle"], ids=repr)
def test_what_is_in_place_is_left_alone(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case, in_place=True)
    found = case.seen(bench, one.step)
    changes = bench.changes()
    assert one.run().results == {one.step.key: "verified"}
    if case.tells:
        assert bench.changes() == changes
        assert not one.state().ours
    assert case.seen(bench, one.step) == found


@pytest.mark.parametrize("case", [case for case in ALL if case.kind != "reserve-fixed-ip"], ids=repr)
def test_what_somebody_breaks_is_noticed(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    one.run()
    names = case.names(bench, one.step)
    case.spoil(bench, one.step)
    with pytest.raises(PumphouseError) as caught:
        one.verify()
    assert any(name in caught.value.message for name in names)
    assert caught.value.remedy


@pytest.mark.parametrize("case", [case for case in SHARED if case.spoils_all], ids=repr)
def test_ground_that_somebody_took_away_is_made_again(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    one.run()
    case.spoil(bench, one.step)
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert one.journal.made_by_us(one.step.key)
