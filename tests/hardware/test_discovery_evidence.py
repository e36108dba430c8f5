"""Fuel calls a node online for minutes after its last word: only what it missed before can be seen to come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeTimeout, VerificationFailed
from pumphouse.executor import execute
from pumphouse.nodes.fuel import FuelNode
from pumphouse.plan.model import Plan
from pumphouse.steps import STEPS
from tests.hardware.world import FakeFuel, Hall, World, refused


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    """A node that Fuel knows from an earlier boot and calls online still, though it is dark."""
    world = World(broken={"lingers"})
    hall = Hall.open(tmp_path, world)
    world._discovered()
    return hall


def test_a_record_of_an_earlier_boot_is_not_taken_for_the_machine(hall: Hall) -> None:
    hall.world.broken.add("wrong-image")
    assert "did not discover" in str(refused(hall))
    assert "assign" not in hall.world.log
    assert hall.world.disk == "source"


def test_nor_by_the_run_that_boots_it_once_more(hall: Hall) -> None:
    hall.world.broken.add("wrong-image")
    refused(hall)
    before = len(hall.world.log)
    hall.world.change_fuel(online=False)
    assert "did not discover" in str(refused(hall))
    assert hall.world.log[before:] == ["power off", "boot pxe", "power on"]
    assert hall.world.disk == "source"


def test_it_gets_no_power_while_fuel_calls_it_online(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise NodeTimeout("Fuel calls it online still.", remedy="look at it.")

    monkeypatch.setattr(FakeFuel, "wait_missed", never)
    assert "online still" in str(refused(hall))
    assert hall.world.power == "off"


def test_a_node_that_lost_its_power_while_it_was_waited_for_is_not_discovered_whatever_fuel_says(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = FakeFuel.wait_discovered

    def loses_power(self: FakeFuel, *args: Any, **more: Any) -> FuelNode:
        found = wait(self, *args, **more)
        self.world.power = "off"
        return found

    with monkeypatch.context() as patched:
        patched.setattr(FakeFuel, "wait_discovered", loses_power)
        assert "has no power" in str(refused(hall))
    hall.transfer()  # it boots once more, and is there
    assert hall.world.runs == "destination"


def through(hall: Hall, *phases: str) -> Plan:
    plan = hall.work.plan_transfer("n1")
    for phase in phases:
        getattr(hall.work, phase)(plan)
    return plan


def evidence(hall: Hall, plan: Plan, phase: str) -> None:
    """The notebook's cell that reads again what was done."""
    for step in plan.phase(phase):
        outcome = hall.journal.step_state(plan.hash, step.key).outcome
        STEPS[step.kind].verify(hall.context(plan), step, outcome)


def test_a_node_that_somebody_switched_off_before_it_was_installed_boots_once_more(hall: Hall) -> None:
    """By hand it would boot its disk: the source's system, in the Admin VLAN."""
    plan = through(hall, "release", "discover")
    before = len(hall.world.log)
    hall.world.power = "off"
    hall.world.lose_power()
    with pytest.raises(VerificationFailed, match="power should be 'on'"):
        evidence(hall, plan, "discover")
    through(hall, "release", "discover")
    evidence(hall, plan, "discover")
    assert hall.world.log[before:] == ["boot pxe", "power on"]
    assert hall.world.runs == "bootstrap"


def test_one_that_was_switched_off_after_it_was_assigned_is_booted_by_its_deployment(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = through(hall, "release", "discover")
    steps = {step.kind: step for step in plan.phase("install")}
    execute(hall.context(plan), [steps["node-assign"]])
    hall.world.broken.clear()
    hall.world.power = "off"
    hall.world.lose_power()
    before = len(hall.world.log)
    through(hall, "release", "discover")
    evidence(hall, plan, "discover")
    assert hall.world.log[before:] == [], "that it is dark is told, and nothing done yet"
    through(hall, "install", "prove")
    assert hall.world.log[before:][:3] == ["boot pxe", "power on", "deploy"]


def test_one_that_failed_after_it_was_installed_boots_from_its_disk_to_be_deployed_again(hall: Hall) -> None:
    hall.world.broken = {"deploy-error"}
    refused(hall)
    hall.world.broken.clear()
    hall.world.change_fuel(error_type="deploy", online=False)
    hall.world.power, hall.world.runs = "off", None
    before = len(hall.world.log)
    plan = through(hall, "release", "discover")
    evidence(hall, plan, "discover")
    through(hall, "install", "prove")
    assert hall.world.log[before:][:3] == ["boot disk", "power on", "deploy"]
