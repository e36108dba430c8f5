"""What a transfer needs is found missing while the node still has its power, by the plan that would take it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeUnreachable, PlanError
from pumphouse.findings import ACCEPTABLE, blocking
from pumphouse.model import Hypervisor
from pumphouse.nodes.fuel import FuelNode
from tests.hardware.world import FakeCompute, FakeFuel, Hall, World

TEMPLATE = FuelNode(
    7, "new-01", "ready", True, 7, "52:54:00:99:00:07", ("52:54:00:99:00:07",), "10.20.0.7", "SN-new-01",
    roles=("compute",),
)  # fmt: skip
USED_MIB = 1000


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    hall = Hall.open(tmp_path, World(others=[TEMPLATE]))
    assert hall.site.hardware.fuel is not None
    fuel = dataclasses.replace(hall.site.hardware.fuel, template_node="new-01")
    hall.site = dataclasses.replace(hall.site, hardware=dataclasses.replace(hall.site.hardware, fuel=fuel))
    return hall


def found(hall: Hall, **transfer: Any) -> dict[str, str]:
    hall.work.plan_acquire("n1", transfer={"environment": "", **transfer})
    blocked = blocking(hall.findings)
    assert {finding.code for finding in blocked} <= ACCEPTABLE
    return {finding.code: str(finding) for finding in blocked}


def disk_of(monkeypatch: pytest.MonkeyPatch, gib: int) -> None:
    """What Nova shows of the node's disk, beside a template that uses 40 GiB."""
    shown = [Hypervisor("1", "host-n1.example.com", "host-n1", disk_gib=gib)]
    monkeypatch.setattr(FakeCompute, "list_hypervisors", lambda _self: shown)
    disks = [{"name": "sda", "size": 45_000, "volumes": [{"name": "os", "size": 40 * 1024}]}]
    monkeypatch.setattr(FakeFuel, "disks", lambda _self, _node: disks)


def test_where_all_is_there_nothing_stands_in_the_way_and_no_transfer_asks_nothing(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(hall) == {}

    def silent(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(FakeFuel, "find_environment", silent)
    hall.work.plan_acquire("n1", transfer={})
    assert blocking(hall.findings) == ()


def test_without_an_image_no_canary_can_be_made(hall: Hall) -> None:
    hall.destination.images.list_images().clear()
    assert set(found(hall)) == {"no-canary-yet"}


def test_an_environment_and_a_template_that_fuel_does_not_have(hall: Hall) -> None:
    assert set(found(hall, environment="mos-2")) == {"no-environment-yet"}
    assert set(found(hall, template="new-99")) == {"no-template-yet"}


def test_a_fuel_master_that_is_silent(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> Any:
        raise NodeUnreachable("Fuel does not answer.", remedy="look at it.")

    monkeypatch.setattr(FakeFuel, "find_environment", silent)
    assert set(found(hall)) == {"no-fuel-yet"}


def test_disks_that_are_too_small_for_the_template_block_both_plans_unless_they_are_not_copied(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_of(monkeypatch, 20)
    assert set(found(hall)) == {"template-larger"}
    assert found(hall, copy_disks=False) == {}
    hall.work.plan_transfer("n1")
    assert {finding.code for finding in blocking(hall.findings)} == {"template-larger"}
    hall.work.plan_transfer("n1", copy_disks=False)
    assert blocking(hall.findings) == ()
    disk_of(monkeypatch, 36)  # Nova shows what is left for servers: the disk itself may hold it
    assert found(hall) == {}


def test_a_begun_plan_is_looked_at_again_while_the_node_has_power(hall: Hall) -> None:
    hall.work.evacuate(hall.work.plan_acquire("n1", transfer={"environment": ""}))
    images = hall.destination.images.list_images()
    kept = list(images)
    images.clear()
    assert set(found(hall)) == {"no-canary-yet"}
    images.extend(kept)
    plan = hall.work.plan_acquire("n1", transfer={"environment": ""})
    hall.work.release(plan)
    assert hall.journal.plan_state(plan.hash) == "finished"


def test_what_a_transfer_does_not_know_is_refused(hall: Hall) -> None:
    with pytest.raises(PlanError, match="no parameter disk here"):
        hall.work.plan_acquire("n1", transfer={"disk": 1})
