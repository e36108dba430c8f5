"""What a second look at the hardware steps found: acting on what was so once, on the wrong machine, or half."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import FuelTaskFailed, NodeRefused, NodeUnreachable, PlanError, PumphouseError, SiteError
from pumphouse.findings import Finding
from pumphouse.nodes.api import PortState
from pumphouse.nodes.spec import Hardware, build
from pumphouse.plan.hardware import Layout, NodeFacts, plan_transfer
from pumphouse.plan.hardware.fuel_master import Environment, MasterWishes, SourceNetworks, plan_fuel_master
from pumphouse.plan.hardware.give_back import plan_give_back
from pumphouse.plan.hardware.slices import SharedPublic
from pumphouse.plan.hardware.transfer import Canary
from pumphouse.plan.model import Plan
from tests.hardware.making import ADMIN_VLAN, DIGEST, NAMES, make_facts, make_node, make_service
from tests.hardware.test_transfer_steps import WHOLE, DyingJournal
from tests.hardware.world import FakeFuel, FakeSwitch, Hall, World, open_journal, refused
from tests.steps.bench import Killed


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall.open(tmp_path, World())


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings if finding.severity == "block"]


def master_plan() -> Plan:
    """n1 becomes a controller and compute host, n2 the master."""
    node, master = make_node("n1"), make_node("n2", host="")
    both = Layout("mos", ("controller", "compute"))
    plan, _ = plan_fuel_master(
        NodeFacts(master, ADMIN_VLAN), {"n1": (NodeFacts(node, ADMIN_VLAN), both)}, MasterWishes(), Environment("mos"),
        SharedPublic("172.16.0.0/24", "172.16.0.1"), SourceNetworks(), digest=DIGEST, **NAMES,
    )  # fmt: skip
    return plan


def journalled(hall: Hall, plan: Plan, *keys: str) -> None:
    """As if these steps had been done."""
    hall.journal.save_plan(
        plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document
    )
    hall.journal.set_plan_state(plan.hash, "started")
    for key in keys:
        hall.journal.write(hall.run_id, plan.hash, key, "intent", {"absent": True})
        hall.journal.write(hall.run_id, plan.hash, key, "done", {})
        hall.journal.write(hall.run_id, plan.hash, key, "verified", {})


def test_a_node_that_waits_for_its_new_environment_can_be_given_back(hall: Hall) -> None:
    plan = master_plan()
    journalled(hall, plan, "node-off:n1", "node-vlan:n1", "node-pxe:n1", "node-on:n1", "node-discovered:n1")
    back, findings = plan_give_back(hall.journal, make_node("n1"), digest=DIGEST, **NAMES)
    assert codes(findings) == []
    assert [step.params["step_key"] for step in back.steps] == [
        "node-discovered:n1", "node-on:n1", "node-pxe:n1", "node-vlan:n1", "node-off:n1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "last"), [(make_node("n1"), "fuel-deploy:mos"), (make_node("n2", host=""), "node-on:n2")]
)
def test_a_node_whose_disk_the_new_environment_or_the_master_took_is_not_given_back(
    hall: Hall, node: Any, last: str
) -> None:
    journalled(hall, master_plan(), f"node-off:{node.name}", f"node-vlan:{node.name}", last)
    _, findings = plan_give_back(hall.journal, node, digest=DIGEST, **NAMES)
    assert codes(findings) == ["disk-overwritten"]


def test_a_begun_way_back_is_not_taken_up_after_the_node_went_over_by_another_plan(hall: Hall) -> None:
    hall.world.broken.add("wrong-image")
    refused(hall)
    hall.world.broken = {"deaf-port"}
    with pytest.raises(PumphouseError):
        hall.give_back()
    hall.world.broken.clear()
    hall.world.power = "off"  # the way back got so far
    hall.transfer()
    assert hall.world.disk == "destination"
    hall.work.plan_give_back("n1")
    assert codes(hall.findings) == ["disk-overwritten"]


def test_acquired_then_transferred_half_way_it_goes_back_whole(hall: Hall) -> None:
    plan = hall.work.plan_acquire("n1")
    hall.work.evacuate(plan)
    hall.work.release(plan)
    hall.world.broken.add("wrong-image")
    refused(hall)
    hall.world.broken.clear()
    hall.give_back()
    world = hall.world
    assert (world.power, world.vlan, world.runs, world.disk) == ("on", 200, "source", "source")
    assert world.service is not None
    assert (world.service.status, world.service.state) == ("enabled", "up")


def test_no_name_names_no_node() -> None:
    hardware = Hardware(nodes={"spare": make_node("n9", name="spare", host="")})
    with pytest.raises(SiteError, match="no node"):
        hardware.node("")


def test_a_host_may_not_be_called_like_another_node() -> None:
    raw = {
        "nodes": {
            "node-1": {"macs": ["52:54:00:00:00:01"], "host": "node-2"},
            "node-2": {"macs": ["52:54:00:00:00:02"], "host": "node-3"},
        }
    }
    with pytest.raises(SiteError, match="node-2"):
        build("site.yaml", raw)


def test_a_compute_node_whose_host_nova_does_not_know_is_not_touched() -> None:
    """A slip in its name, and nobody would be asked whether servers are left on it."""
    facts = NodeFacts(make_node("n1", host="host-nl"), ADMIN_VLAN)
    _, findings = plan_transfer(
        facts, Layout("mos"), Canary("i", "f", "n"), digest=DIGEST, **NAMES, deletes_services=True
    )
    assert codes(findings) == ["no-host"]
    plan, findings = plan_fuel_master(
        None, {"n1": (facts, Layout("mos", ("controller", "compute")))}, MasterWishes(), Environment("mos"),
        SharedPublic("172.16.0.0/24", "172.16.0.1"), SourceNetworks(), digest=DIGEST, **NAMES, release="8.0",
    )  # fmt: skip
    assert codes(findings) == ["no-host"]


def test_a_port_that_was_moved_and_not_saved_is_saved_by_the_next_run(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    broken = True

    def set_vlan(self: FakeSwitch, port: str, vlan: int) -> PortState:
        self.world.vlan = vlan
        if broken:
            raise NodeRefused("sw1 did not save its configuration.", remedy="repeat this step.")
        saved.append(vlan)
        return PortState(port, vlan)

    monkeypatch.setattr(FakeSwitch, "set_vlan", set_vlan)
    assert "did not save" in str(refused(hall))
    broken = False
    hall.transfer()
    assert saved == [ADMIN_VLAN]


def test_a_boot_device_that_the_bmc_forgot_meanwhile_is_chosen_again(tmp_path: Path) -> None:
    """IPMI 2.0, 28.12: a BMC forgets it after 60 seconds, and a run may be interrupted for longer."""
    world = World()
    dying = open_journal(tmp_path, DyingJournal)
    assert isinstance(dying, DyingJournal)
    dying.kind, dying.event, dying.after = "node-on", "intent", True
    with pytest.raises(Killed):
        Hall.open(tmp_path, world, dying).transfer()
    dying.close()
    world.device = "default"
    Hall.open(tmp_path, world).transfer()
    assert world.log == [*WHOLE[:4], *WHOLE[3:]]


def changed(hall: Hall, **values: Any) -> None:
    """site.yaml says something else of the node now."""
    node = dataclasses.replace(hall.world.node, **values)
    hall.world.node = node
    hardware = dataclasses.replace(hall.site.hardware, nodes={node.name: node})
    hall.site = dataclasses.replace(hall.site, hardware=hardware)


def test_a_serial_that_was_corrected_in_site_yaml_counts_for_the_next_run(hall: Hall) -> None:
    right = hall.world.node.serial
    changed(hall, serial="SN-wrong")
    hall.world.node = dataclasses.replace(hall.world.node, serial=right)
    assert "this is not the machine" in str(refused(hall))
    changed(hall, serial=right)
    plan = hall.transfer()
    assert hall.journal.plan_state(plan.hash) == "finished"


def test_a_node_that_is_another_one_in_site_yaml_now_is_given_back_first(hall: Hall) -> None:
    hall.world.broken.add("wrong-image")
    refused(hall)
    hall.world.broken.clear()
    before = list(hall.world.log)
    changed(hall, ports=(dataclasses.replace(hall.world.node.ports[0], port="p-other"),))
    with pytest.raises(PlanError, match="site.yaml"):
        hall.work.plan_transfer("n1")
    assert hall.world.log == before


def test_a_deployment_that_has_not_touched_its_node_yet_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after the PUT: Fuel checks first, and the node is in ``discover`` still (8.0: the task pending)."""
    world = World()
    begin = FakeFuel.deploy_changes

    def deploy(self: FakeFuel, environment_id: int) -> int:
        if self.running_task(environment_id) is not None:
            raise NodeRefused("Fuel: a task is running.", remedy="wait.")
        begin(self, environment_id)
        world.change_fuel(status="discover")
        raise Killed("deploy")

    monkeypatch.setattr(FakeFuel, "deploy_changes", deploy)
    with pytest.raises(Killed):
        Hall.open(tmp_path, world).transfer()
    plan = (again := Hall.open(tmp_path, world)).transfer()
    assert again.journal.plan_state(plan.hash) == "finished"
    assert world.log == WHOLE


_USED = (make_facts, make_service, FuelTaskFailed, NodeUnreachable)
