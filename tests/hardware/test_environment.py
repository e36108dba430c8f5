"""An environment that is there already is adopted only if all is as wanted that cannot be changed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.errors import StepError, VerificationFailed
from pumphouse.nodes.fuel import Fuel
from pumphouse.plan.hardware.fuel_master import Environment
from pumphouse.plan.model import PlannedStep
from pumphouse.session.fuel_master import FuelMasterWork
from pumphouse.steps import Context
from pumphouse.steps.hardware.environment import MakeEnvironment
from tests.nodes.fuelmaster import master


@pytest.fixture(scope="module")
def fuel() -> Iterator[Fuel]:
    """A master with environment ``mos``: Ubuntu, Neutron with GRE."""
    with master("7.0", machines=0) as lab:
        opened = lab.fuel()
        release = opened.find_release("Ubuntu")
        assert release is not None
        opened.create_environment("mos", release.id, net_segment_type="gre")
        opened.create_environment("old", release.id, net_provider="nova_network")
        yield opened
        opened.close()


def nodes(fuel: Fuel) -> Any:
    return SimpleNamespace(fuel=lambda **_: contextlib.nullcontext(fuel))


def wanted(**changes: str) -> PlannedStep:
    params = {"name": "mos", "operating_system": "Ubuntu", "mode": "ha_compact", "segment": "gre"} | changes
    return PlannedStep("fuel-environment:mos", "fuel-environment", "create", "", "destination", params=params)


def test_it_is_adopted_as_it_is(fuel: Fuel) -> None:
    ctx = cast("Context", SimpleNamespace(nodes=nodes(fuel)))
    outcome = MakeEnvironment().look(ctx, wanted())
    assert outcome is not None
    assert MakeEnvironment().verify(ctx, wanted(), outcome)["environment_id"] == outcome["environment_id"]
    with pytest.raises(VerificationFailed, match="segmentation is gre instead of vlan"):
        MakeEnvironment().verify(ctx, wanted(segment="vlan"), outcome)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segment": "vlan"}, "segmentation is gre instead of vlan"),
        ({"mode": "multinode"}, "mode is ha_compact instead of multinode"),
        ({"name": "old"}, "network provider is nova_network instead of neutron"),
    ],
)
def test_another_one_of_that_name_is_refused_by_the_plan_and_by_the_step(
    fuel: Fuel, changes: dict[str, str], said: str
) -> None:
    step = wanted(**changes)
    with pytest.raises(StepError, match=said) as refused:
        MakeEnvironment().look(cast("Context", SimpleNamespace(nodes=nodes(fuel))), step)
    assert f"Environment {step.params['name']}" in refused.value.message
    assert refused.value.remedy
    made = Environment(step.params["name"], mode=step.params["mode"], segment=step.params["segment"])
    work = cast("FuelMasterWork", SimpleNamespace(nodes=nodes(fuel)))
    assert said in "; ".join(FuelMasterWork._differences(work, made))
