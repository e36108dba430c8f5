"""Every kind of step, undisturbed: done, in place already, verified, spoiled by somebody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pumphouse.errors import PumphouseError
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Bench, Scene
from tests.steps.case import Case
from tests.steps.shared_cases import SHARED

pytestmark = SDK_WARNS_OF_ITSELF
SetUp = Callable[[Case], Scene]


@pytest.mark.parametrize("case", SHARED, ids=repr)
def test_done_as_the_clouds_show_it(case: Case, bench: Bench, scene: SetUp) -> None:
    one = scene(case)
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert (one.state().state, one.state().ours) == ("verified", True)
    assert one.verify() is not None
