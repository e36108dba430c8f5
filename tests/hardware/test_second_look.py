"""What a second look at the hardware steps found: acting on what was so once, on the wrong machine, or half."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeRefused, NodeUnreachable, PlanError, PumphouseError, SiteError, VerificationFailed
from pumphouse.executor import execute
from pumphouse.findings import Finding, accept
from pumphouse.nodes.api import PortState
from pumphouse.nodes.fuel import FuelNode
from pumphouse.nodes.spec import Hardware, build
from pumphouse.plan.hardware import Layout, NodeFacts, plan_acquire, plan_transfer
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.hardware.fuel_master import Environment, MasterWishes, SourceNetworks, plan_fuel_master
from pumphouse.plan.hardware.give_back import plan_give_back
from pumphouse.plan.hardware.slices import SharedPublic
from pumphouse.plan.hardware.transfer import Canary
from pumphouse.plan.model import Plan
from pumphouse.session.hardware import HardwareWork
from pumphouse.steps import STEPS
from tests.factories import make_server
from tests.hardware.making import ADMIN_VLAN, DIGEST, NAMES, make_facts, make_node, make_service, on_host
from tests.hardware.test_transfer_steps import WHOLE, DyingJournal
from tests.hardware.world import FakeFuel, FakeSwitch, Hall, World, open_journal, refused
from tests.steps.bench import Killed


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall.open(tmp_path, World())


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings if finding.severity == "block"]


def plan_new(master: NodeFacts | None, node: NodeFacts | None = None) -> tuple[Plan, tuple[Finding, ...]]:
    """A new environment with a master, and a node that becomes controller and compute host."""
    both = Layout("mos", ("controller", "compute"))
    return plan_fuel_master(
        master, {} if node is None else {node.node.name: (node, both)}, MasterWishes("pxe"), Environment("mos"),
        SharedPublic("172.16.0.0/24", "172.16.0.1"), SourceNetworks(), digest=DIGEST, source="old", destination="new",
    )  # fmt: skip


def master_plan() -> Plan:
    """n1 becomes a controller and compute host, n2 the master."""
    return plan_new(NodeFacts(make_node("n2", host=""), ADMIN_VLAN), NodeFacts(make_node("n1"), ADMIN_VLAN))[0]


def journalled(hall: Hall, plan: Plan, *keys: str) -> None:
    """As if these steps had been done."""
    hall.journal.save_plan(plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document)
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
    hardware = Hardware(nodes={"spare": dataclasses.replace(make_node("n9", host=""), name="spare")})
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
    assert codes(plan_new(None, facts)[1]) == ["no-host"]


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
    with pytest.raises(PlanError, match="something else of the port"):
        hall.work.plan_transfer("n1")
    assert hall.world.log == before


def test_what_site_yaml_says_of_a_node_that_is_over_does_not_matter_any_more(hall: Hall) -> None:
    plan = hall.transfer()
    changed(hall, host="node-31", ports=(dataclasses.replace(hall.world.node.ports[0], vlan=ADMIN_VLAN),))
    assert hall.work.plan_transfer("n1").hash == plan.hash


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


@pytest.mark.parametrize("deletes", [True, False])
def test_a_node_that_serves_the_destination_keeps_its_power_whatever_the_next_plan_wants(
    tmp_path: Path, *, deletes: bool
) -> None:
    """A run with one parameter changed is another plan: its node is empty at the source, and full at the destination.

    Without the deletion of services (before Icehouse) the source lists its host still, disabled and down.
    """
    hall = Hall.open(tmp_path, World(deletes_services=deletes))
    hall.transfer()
    hall.world.power, before = "on", list(hall.world.log)
    again = hall.work.plan_transfer("n1", discovery_s=60.0)
    with pytest.raises(PumphouseError, match="it belongs to the destination"):
        hall.work.release(again)
    assert (hall.world.power, hall.world.log) == ("on", before)


def test_fuel_must_tell_whether_a_node_that_it_deployed_may_lose_power(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall.transfer()

    def silent(self: FakeFuel, environment_id: int | None = None) -> Any:
        raise NodeUnreachable("Fuel does not answer.", remedy="look at it.")

    monkeypatch.setattr(FakeFuel, "list_nodes", silent)
    with pytest.raises(PumphouseError, match="Fuel does not answer"):
        hall.work.release(hall.work.plan_transfer("n1", discovery_s=60.0))
    assert hall.world.power == "on"


def test_an_environment_that_is_another_one_blocks_before_anything_loses_power() -> None:
    plan, findings = plan_fuel_master(
        None, {}, MasterWishes("pxe"), Environment("mos"), SharedPublic("172.16.0.0/24", "172.16.0.1"),
        SourceNetworks(),
        digest=DIGEST, source="old", destination="new", differences=["its segmentation is gre instead of vlan"],
    )  # fmt: skip
    assert plan.steps
    [found] = [one for one in findings if one.code == "environment-differs"]
    assert (found.severity, "gre instead of vlan" in found.message, bool(found.remedy)) == ("block", True, True)


@pytest.mark.parametrize(
    ("floating", "found"),
    [(("10.9.0.0/28", "10.9.0.16"), True), (("10.9.0.4", "172.16.0.130"), False), ((), False)],
    ids=["elsewhere", "one of them is in it", "none"],
)
def test_a_public_network_without_the_sources_floating_ips_is_not_taken_without_a_word(
    floating: tuple[str, ...], *, found: bool
) -> None:
    _, findings = plan_fuel_master(
        None, {}, MasterWishes("pxe"), Environment("mos"), SharedPublic("172.16.0.0/24", "172.16.0.1"),
        SourceNetworks(floating=floating), digest=DIGEST, source="old", destination="new",
    )  # fmt: skip
    told = [one for one in findings if one.code == "public-not-shared"]
    assert len(told) == found
    assert all(one.severity == "block" and "10.9.0.0-10.9.0.16" in one.message for one in told)
    assert {one.severity for one in accept(told, ["public-not-shared"])} <= {"warn"}


def test_a_controller_of_the_source_does_not_become_a_node_of_the_new_environment() -> None:
    """It has no nova-compute, and so looks neither used nor enabled."""
    services = (make_service("host-n1", "nova-scheduler"), make_service("host-n2"))
    facts = make_facts(services=services)
    assert "host-serves-more" in codes(plan_new(facts)[1])
    assert "host-serves-more" in codes(plan_new(None, facts)[1])


def test_a_master_that_answered_once_and_is_silent_is_not_overwritten(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {
        "controllers": [], "computes": [], "master": "n1",
        "public": {"cidr": "172.16.0.0/24", "gateway": "172.16.0.1"},
    }  # fmt: skip
    monkeypatch.setattr("pumphouse.session.fuel_master.networks_of", lambda *_: SourceNetworks())
    monkeypatch.setattr(HardwareWork, "_release", lambda _self: None)
    hall.work.plan_fuel_master(**asked)
    assert "master-silent" not in codes(hall.findings)
    plan = hall.work.plan_fuel_master(**asked)
    journalled(hall, plan, "fuel-up:n1")
    hall.work.plan_fuel_master(**asked, api_timeout_s=1.0)
    assert "master-silent" in codes(hall.findings)


def test_nova_is_asked_once_more_before_the_medium_overwrites_a_node(hall: Hall) -> None:
    """Its host went dark with a server on it after the plan was made."""
    hall.world.power = "off"
    hall.world.service = make_service("host-n1", status="disabled", state="down")
    plan, _ = plan_new(NodeFacts(hall.world.node, ADMIN_VLAN))
    hall.journal.save_plan(plan.hash, kind=plan.kind, selection_digest=DIGEST, document=plan.document)
    execute(hall.context(plan), plan.phase("release"))
    hall.world.servers.append(make_server("late", host="host-n1"))
    with pytest.raises(PumphouseError, match="late"):
        execute(hall.context(plan), plan.phase("create"))
    assert hall.world.power == "off"


@pytest.fixture
def environment(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A new environment whose only node, n1, is assigned; of the Public network the source has nothing."""
    world = hall.world
    hall.site = dataclasses.replace(hall.site, action_timeout_s=1.0)
    monkeypatch.setattr("pumphouse.steps.hardware.environment.networks_of", lambda *_: SourceNetworks())
    monkeypatch.setattr(FakeFuel, "endpoint", lambda *_: None, raising=False)
    world.power, world.vlan, world.device = "on", ADMIN_VLAN, "pxe"
    world.service = make_service("host-n1", status="disabled", state="down")
    world.boot()
    world.change_fuel(environment_id=7, pending_roles=("controller", "compute"), pending_addition=True)
    plan, _ = plan_new(None, NodeFacts(world.node, ADMIN_VLAN))
    before = [step.key for step in plan.steps if step.phase in ("release", "create", "discover")]
    journalled(hall, plan, *before, "node-assign:n1")
    return plan


def test_a_node_that_provisioning_failed_on_boots_the_bootstrap_image_before_it_is_tried_again(
    hall: Hall, environment: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fuel puts all nodes of the task into error, wherever they are then: none is in the bootstrap image any more."""
    world = hall.world
    world.change_fuel(status="error", error_type="provision", pending_addition=False)
    lose_power = World.lose_power

    def silent(self: World) -> None:
        lose_power(self)
        self.change_fuel(online=False)

    monkeypatch.setattr(World, "lose_power", silent)
    execute(hall.context(environment), environment.phase("install"))
    assert world.log == ["power off", "boot pxe", "power on", "deploy"]


def test_addresses_that_the_source_came_to_use_meanwhile_are_not_given_out(
    hall: Hall, environment: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were free when the networks were shared; discovering all nodes may have taken a day since."""
    shared = environment.step("fuel-networks:mos").params["floating_range"]
    network = SourceNetworks(used=(shared[0],))
    monkeypatch.setattr("pumphouse.steps.hardware.environment.networks_of", lambda *_: network)
    with pytest.raises(PumphouseError, match="uses addresses of the slice"):
        execute(hall.context(environment), environment.phase("install"))
    assert hall.world.log == []


def stranger(**values: Any) -> FuelNode:
    return FuelNode(
        9, "stranger", "error", online=True, environment_id=7, mac="52:54:00:00:00:99", macs=("52:54:00:00:00:99",),
        ip="10.20.0.9", serial="X", error_type="provision", **values,
    )  # fmt: skip


def test_somebody_elses_node_that_provisioning_failed_on_is_not_installed_along_with_ours(
    hall: Hall, environment: Plan
) -> None:
    hall.world.others.append(stranger())
    with pytest.raises(PumphouseError, match="stranger would be deployed"):
        execute(hall.context(environment), environment.phase("install"))
    assert hall.world.log == []


def test_nor_along_with_a_compute_host_that_is_added(hall: Hall) -> None:
    hall.world.others.append(stranger())
    assert "pending changes of other nodes: stranger" in str(refused(hall))
    assert "deploy" not in hall.world.log


def test_a_node_that_failed_and_fell_silent_is_no_reason_not_to_try_again(hall: Hall) -> None:
    """The notebook reads again what it found before; the retry, which boots the node anew, comes after that."""
    hall.world.broken.add("deploy-error")
    refused(hall)
    hall.world.change_fuel(online=False)
    plan = hall.work.plan_transfer("n1")
    step = plan.step("node-discovered:n1")
    outcome = hall.journal.step_state(plan.hash, step.key).outcome
    assert STEPS["node-discovered"].verify(hall.context(plan), step, outcome)["status"] == "error"


def test_servers_that_can_leave_a_living_host_are_gone_before_it_loses_power_for_another_one() -> None:
    """One stateless server is to be built anew: its neighbours keep their disks, and go on running."""
    servers = on_host("cache"), on_host("db"), on_host("old", status="SHUTOFF")
    made, findings = plan_acquire(
        make_facts(*servers), Wishes(methods={"cache": "rebuild"}), digest=DIGEST, source="old", destination="new"
    )
    keys = {server.name: f"leave-host:{server.id}" for server in servers}
    methods = {name: made.step(key).params["method"] for name, key in keys.items()}
    assert methods == {"cache": "rebuild", "db": "block", "old": "cold"}
    assert [finding.object for finding in findings if finding.code == "disk-lost"] == ["server cache"]
    assert {keys["db"], keys["old"]} <= {*made.step("node-fence:n1").needs}
    assert made.step(keys["cache"]).needs == ("host-disable:host-n1", "node-fence:n1")


def test_a_server_that_nobody_planned_for_keeps_its_node_from_being_fenced(hall: Hall) -> None:
    world = hall.world
    world.servers.append(planned := on_host("cache"))
    plan, _ = plan_acquire(make_facts(planned), Wishes("rebuild"), digest=DIGEST, source="old", destination="new")
    hall.journal.save_plan(plan.hash, kind=plan.kind, selection_digest=DIGEST, document=plan.document)
    world.servers.append(on_host("late"))
    fence = plan.step("node-fence:n1")
    with pytest.raises(PumphouseError, match="does not build anew elsewhere: late"):
        execute(hall.context(plan), [plan.step("node-port:n1"), plan.step("host-disable:host-n1"), fence])
    assert (world.power, world.log) == ("on", ["disable"])


def test_that_a_host_is_empty_is_never_read_from_the_journal(hall: Hall) -> None:
    plan = hall.work.plan_transfer("n1")
    step = plan.step("host-empty:host-n1")
    hall.world.service = make_service("host-n1", status="disabled")
    hall.world.servers.append(on_host("late"))
    with pytest.raises(PumphouseError, match="late"):
        STEPS["host-empty"].verify(hall.context(plan), step, {"servers": 0})


def test_an_entry_that_leads_to_another_cloud_by_now_is_not_called_verified(hall: Hall, tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {new: {auth: {auth_url: 'http://192.0.2.77:5000/v2.0'}}}\n", encoding="utf-8")
    hall.site = dataclasses.replace(hall.site, clouds_yaml=clouds)
    plan = master_plan()
    outcome = {"cloud": "new", "auth_url": "http://172.16.0.2:5000/v2.0"}
    with pytest.raises(VerificationFailed, match="entry new"):
        STEPS["destination-entry"].verify(hall.context(plan), plan.step("destination-entry:new"), outcome)
