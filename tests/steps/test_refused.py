"""A cloud refuses, fails or falls silent: an error that names object and remedy, and then it goes on from there."""

from __future__ import annotations

import pytest

from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Bench
from tests.steps.case import Case, SetUp
from tests.steps.server_cases import SERVER
from tests.steps.shared_cases import SHARED

pytestmark = SDK_WARNS_OF_ITSELF
ALL = (*SHARED, *SERVER)
FAULTS = ({"kind": "status", "status": 500}, {"kind": "status", "status": 409}, {"kind": "reset"})


@pytest.mark.parametrize(
    ("case", "number"), [pytest.param(c, n, id=f"{c}-{n}") for c in ALL for n in range(len(c.writes))]
)
def test_a_request_is_refused_until_it_is_not(case: Case, number: int, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    for fault in FAULTS:
        with bench.fault(case.writes[number], times=0, **fault):
            error = one.refused()
        assert any(name in error.message for name in case.names(bench, one.step)), error
        assert error.remedy
        assert one.state().state == "failed"
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert (one.state().state, one.state().ours) == ("verified", True)
