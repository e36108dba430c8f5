"""What others did meanwhile, and what site.yaml has wrong: no machine that still matters loses power or its disk."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pumphouse.errors import NodeUnreachable, PumphouseError, StepError
from pumphouse.model import FloatingIp, Network
from pumphouse.nodes.api import BmcIdentity
from pumphouse.nodes.fuel import FuelNode
from pumphouse.plan.hardware import Canary, Layout, plan_acquire
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.hardware.decommission import Archive, Ending, plan_decommission
from pumphouse.plan.hardware.fuel_master import SourceNetworks
from pumphouse.plan.hardware.remains import Remnant
from pumphouse.session.canary import choose_canary
from pumphouse.session.decommission import may_go_on
from pumphouse.session.hardware import HardwareWork
from pumphouse.steps import STEPS
from pumphouse.steps.hardware.archive import ArchiveSource, look_at_archive
from pumphouse.steps.hardware.decommission import ControllerOff, require_spent
from pumphouse.steps.hardware.guards import is_missed
from pumphouse.steps.hardware.newcloud import ProveDestination
from pumphouse.steps.hardware.usage import networks_of
from tests.factories import make_flavor, make_image, make_server
from tests.hardware.making import ADMIN_VLAN, DIGEST, NAMES, make_facts, make_node, make_service, on_host
from tests.hardware.test_second_look import codes, journalled, plan_new
from tests.hardware.test_transfer_steps import cut_off
from tests.hardware.world import FakeBmc, FakeFuel, Hall, World, refused


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall.open(tmp_path, World())


def back_by_hand(world: World) -> None:
    """The hall's staff put the node back to where it was: home VLAN, its disk, in service."""
    world.power, world.device, world.vlan = "on", "default", 200
    world.boot()
    world.service = make_service("host-n1")


def deployed_by_somebody(world: World) -> None:
    """Another person gave the node to an environment and deployed it; it serves the destination."""
    if world.fuel is None:
        world._discovered()
    world.change_fuel(environment_id=7, status="ready", roles=("compute",))
    world.runs = world.disk = "destination"


# -- the wrong machine --------------------------------------------------------------------------------
@pytest.mark.parametrize("notices", [True, False])
def test_a_machine_that_is_not_the_host_gets_its_power_back_before_anything_else_happens(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, *, notices: bool
) -> None:
    """site.yaml has the hosts of two nodes mixed up: the empty host goes on, and the full one went down."""
    world = hall.world
    other = [make_service("host-n2")]
    hall.source.compute.list_services = lambda: [world.service, *other]

    def lose_power(self: World) -> None:
        self.runs = None
        other[0] = make_service("host-n2", state="down" if notices else "up")

    monkeypatch.setattr(World, "lose_power", lose_power)
    if notices:  # that the other one fell silent says it sooner than the end of the wait
        monkeypatch.setattr("pumphouse.steps.hardware.guards.REPORT_S", 0.0)
        monkeypatch.setattr("pumphouse.steps.hardware.guards.MISSED_S", 0.0)
        hall.site = dataclasses.replace(hall.site, action_timeout_s=60.0)
    assert "host-n1 runs on another machine" in str(refused(hall))
    assert world.log == ["disable", "power off", "boot disk", "power on"]
    assert (world.disk, world.vlan) == ("source", 200)
    hall.give_back()
    assert world.service is not None
    assert (world.service.status, world.power) == ("enabled", "on")


def test_a_fence_gives_a_machine_its_power_back_that_is_not_the_host(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, server = hall.world, on_host("cache")
    world.servers.append(server)
    plan, _ = plan_acquire(make_facts(server), Wishes("rebuild"), digest=DIGEST, **NAMES)
    monkeypatch.setattr(World, "lose_power", lambda self: setattr(self, "runs", None))
    with pytest.raises(StepError, match="host-n1 runs on another machine"):
        STEPS["node-fence"].act(hall.context(plan), plan.step("node-fence:n1"))
    assert world.log == ["power off", "boot disk", "power on"]


def test_a_host_that_came_up_on_another_machine_keeps_a_node_from_being_overwritten(hall: Hall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.work.release(plan)
    hall.work.discover(plan)
    hall.world.service = make_service("host-n1", status="disabled")
    with pytest.raises(PumphouseError, match="runs on another machine"):
        hall.work.install(plan)
    assert "deploy" not in hall.world.log


@pytest.mark.parametrize("alive", [True, False])
def test_a_server_that_answers_though_its_node_has_no_power_is_not_built_anew_beside_itself(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """Nova called its host down long before: that the wrong machine lost power changed nothing that it could tell."""
    world = hall.world
    world.service = make_service("host-n1", status="disabled", state="down")
    server = on_host("cache")
    world.servers.append(server)
    plan, _ = plan_acquire(make_facts(server), Wishes("rebuild"), digest=DIGEST, **NAMES)
    evacuated: list[str] = []
    hall.source.compute.get_server = lambda _id: server
    hall.source.compute.find_server = lambda _id: server
    hall.source.hosts.evacuate = lambda server_id, **_: evacuated.append(server_id)
    moved = dataclasses.replace(server, host="host-n2")
    hall.source.hosts.wait_moved = hall.source.hosts.wait_settled = lambda *_, **__: moved
    monkeypatch.setattr("pumphouse.steps.hardware.evacuate.answers", lambda *_: alive)
    ctx, step = hall.context(plan), plan.step(f"leave-host:{server.id}")
    STEPS["node-fence"].act(ctx, plan.step("node-fence:n1"))
    if alive:
        with pytest.raises(StepError, match="not built anew beside itself"):
            STEPS["leave-host"].act(ctx, step)
    else:
        STEPS["leave-host"].act(ctx, step)
    assert (world.power, evacuated) == ("off", [] if alive else [server.id])


def test_a_bmc_that_tells_another_nodes_serial_is_refused_where_site_yaml_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = make_node("n1", serial=""), make_node("n2")
    hall = Hall.open(tmp_path, World(node=node))
    hardware = dataclasses.replace(hall.site.hardware, nodes={"n1": node, "n2": other})
    hall.site = dataclasses.replace(hall.site, hardware=hardware)
    monkeypatch.setattr(FakeBmc, "identity", lambda _self: BmcIdentity(serial=other.serial))
    assert "which is node n2's" in str(refused(hall))
    assert hall.world.power == "on"


def test_a_node_without_a_serial_is_warned_of_before_it_is_acquired() -> None:
    _, findings = plan_acquire(make_facts(node=make_node("n1", serial="")), Wishes(), digest=DIGEST, **NAMES)
    assert [finding.code for finding in findings] == ["no-serial"]


def test_the_fuel_master_is_not_handed_to_itself(tmp_path: Path) -> None:
    hall = Hall.open(tmp_path, World(node=make_node("n1", host="", role="fuel"), service=None))
    hall.work.plan_transfer("n1")
    assert codes(hall.findings) == ["fuel-master-itself"]


# -- what others did meanwhile ------------------------------------------------------------------------
def test_a_node_that_was_brought_back_by_hand_keeps_its_power_and_servers_when_it_is_given_back(hall: Hall) -> None:
    world = hall.world
    world.broken.add("wrong-image")
    refused(hall)
    world.broken.clear()
    world.power = "off"
    back_by_hand(world)
    world.servers.append(make_server("precious", host="host-n1"))
    before = len(world.log)
    hall.give_back()
    assert "power off" not in world.log[before:]
    assert (world.power, world.runs) == ("on", "source")


@pytest.mark.parametrize("kind", ["node-on", "node-discovered"])
def test_a_node_that_somebody_deployed_meanwhile_keeps_its_power_when_it_is_given_back(
    tmp_path: Path, kind: str
) -> None:
    hall = cut_off(tmp_path, kind)
    deployed_by_somebody(hall.world)
    before = list(hall.world.log)
    with pytest.raises(PumphouseError, match=r"belongs to (the destination|environment)"):
        hall.give_back()
    hall.journal.close()
    assert (hall.world.power, hall.world.log) == ("on", before)


def test_a_host_that_is_down_with_servers_on_it_is_not_switched_off_to_give_it_back(tmp_path: Path) -> None:
    hall = cut_off(tmp_path, "node-on")
    hall.world.servers.append(on_host("precious"))
    before = list(hall.world.log)
    with pytest.raises(PumphouseError, match="first precious"):
        hall.give_back()
    hall.journal.close()
    assert (hall.world.power, hall.world.log) == ("on", before)


def test_a_discovery_that_is_tried_again_leaves_a_node_alone_that_somebody_deployed_meanwhile(hall: Hall) -> None:
    hall.world.broken.add("wrong-image")
    refused(hall)
    hall.world.broken.clear()
    deployed_by_somebody(hall.world)
    before = list(hall.world.log)
    refused(hall)
    assert (hall.world.power, hall.world.log) == ("on", before)


def test_fuel_must_answer_before_a_node_that_is_to_be_handed_to_it_loses_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nova knows nothing of a spare node; that it serves the destination, deployed by hand, only Fuel can tell."""
    hall = Hall.open(tmp_path, World(node=make_node("n1", host="", role="spare"), service=None))

    def silent(*_: Any, **__: Any) -> Any:
        raise NodeUnreachable("Fuel does not answer.", remedy="look at it.")

    monkeypatch.setattr(FakeFuel, "list_nodes", silent)
    assert "Fuel does not answer" in str(refused(hall))
    assert hall.world.log == []


def test_what_somebody_else_wants_deployed_since_the_node_boots_again_is_not_deployed_along(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall.site = dataclasses.replace(hall.site, action_timeout_s=1.0)
    hall.world.broken.add("deploy-error")
    refused(hall)
    hall.world.broken.clear()
    hall.world.change_fuel(error_type="provision", pending_addition=False)
    boot, lose_power, deploys = World.boot, World.lose_power, hall.world.log.count("deploy")

    def boot_and_wait(self: World) -> None:
        boot(self)
        stranger = FuelNode(
            9, "stranger", "discover", online=True, environment_id=7, mac="52:54:00:00:00:99",
            macs=("52:54:00:00:00:99",), ip="10.20.0.9", serial="X", pending_addition=True,
        )  # fmt: skip
        self.others.append(stranger)

    def silent(self: World) -> None:
        lose_power(self)
        self.change_fuel(online=False)

    monkeypatch.setattr(World, "boot", boot_and_wait)
    monkeypatch.setattr(World, "lose_power", silent)
    assert "pending changes of other nodes: stranger" in str(refused(hall))
    assert hall.world.log.count("deploy") == deploys


@pytest.mark.parametrize("kind", ["acquire", "transfer"])
def test_a_node_that_came_back_after_its_plan_was_finished_is_taken_by_a_new_plan(hall: Hall, kind: str) -> None:
    """Else every step would be skipped, and its verification fail for ever."""

    def carry_out() -> str:
        if kind == "transfer":
            return hall.transfer().hash
        plan = hall.work.plan_acquire("n1")
        hall.work.evacuate(plan)
        hall.work.release(plan)
        return plan.hash

    first = carry_out()
    assert carry_out() == first
    hall.world.fuel, hall.world.disk = None, "source"
    back_by_hand(hall.world)
    assert carry_out() != first
    assert hall.world.log.count("power off") == 2


def test_an_acquired_node_that_came_back_by_hand_can_be_given_back(hall: Hall) -> None:
    plan = hall.work.plan_acquire("n1")
    hall.work.evacuate(plan)
    hall.work.release(plan)
    back_by_hand(hall.world)
    before = len(hall.world.log)
    hall.give_back()
    assert "power off" not in hall.world.log[before:]
    assert hall.journal.plan_state(plan.hash) == "undone"


# -- the end of the source ----------------------------------------------------------------------------
def ending(
    tmp_path: Path, *remnants: Remnant, script: str = "pass", fresh_s: float = 60.0, leave: tuple[str, ...] = ()
) -> tuple[Hall, Any]:
    """Two controllers, and a plan that ends their source."""
    first, last = (make_node(name, role="controller") for name in ("n1", "n2"))
    archive = Archive((sys.executable, "-c", script), str(tmp_path / "kept.tar"), fresh_s=fresh_s)
    hall = Hall.open(tmp_path, World(node=first, service=None))
    hardware = dataclasses.replace(hall.site.hardware, nodes={"n1": first, "n2": last})
    hall.site = dataclasses.replace(hall.site, hardware=hardware)
    made, _ = plan_decommission(
        Ending((first, last), remnants, leave=leave, admin_vlan=ADMIN_VLAN), {"n1": Layout("mos"), "n2": Layout("mos")},
        Canary(), archive, digest=DIGEST, **NAMES,
    )  # fmt: skip
    hall.journal.save_plan(made.hash, kind=made.kind, selection_digest=DIGEST, document=made.document)
    return hall, made


def test_an_archive_that_grew_old_while_the_first_controller_went_over_does_not_stop_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other one can be made: the plan that is taken up again is this one."""
    hall, plan = ending(tmp_path)
    (kept := tmp_path / "kept.tar").write_text("all of it")
    os.utime(kept, (time.time() - 100,) * 2)
    hall.journal.write(hall.run_id, plan.hash, "archive:old", "done", look_at_archive(str(kept)))
    monkeypatch.setattr("pumphouse.steps.hardware.decommission.require_spent", lambda *_: [])
    with pytest.raises(StepError, match="more than 60 s ago"):
        ControllerOff().look(hall.context(plan), plan.step("controller-off:n1"))
    journalled(hall, plan, "controller-off:n1")
    assert may_go_on(hall.journal, plan)
    hall.world.node = hall.site.hardware.nodes["n2"]
    assert ControllerOff().look(hall.context(plan), plan.step("controller-off:n2")) is None
    kept.write_text("something else")
    with pytest.raises(StepError, match="not the one any more"):
        ControllerOff().look(hall.context(plan), plan.step("controller-off:n2"))
    hall.journal.close()


def test_what_comes_later_under_a_name_that_is_left_behind_is_not_lost_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(server_id: str) -> Remnant:
        return Remnant("left", "server web", "is lost, on the operator's word", accounted=True, lost=server_id)

    hall, plan = ending(tmp_path, left("first"), leave=("web",))
    found = [left("first")]
    monkeypatch.setattr("pumphouse.steps.hardware.decommission.remnants_of", lambda *_, **__: tuple(found))
    spent = plan.step("source-spent:old")
    assert require_spent(hall.context(plan), spent) == ["server web is lost, on the operator's word"]
    found.append(left("second"))
    with pytest.raises(StepError, match="the approved plan does not show: server web"):
        require_spent(hall.context(plan), spent)
    hall.journal.close()


def test_an_archive_whose_writer_goes_on_is_none_yet(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; open({path!r}, 'w').write('half of it');"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])"
    )
    hall, plan = ending(tmp_path, script=script.format(path=str(tmp_path / "kept.tar")))
    with pytest.raises(StepError, match="what it started goes on"):
        ArchiveSource().act(hall.context(plan), plan.step("archive:old"))
    hall.journal.close()


# -- the new cloud ------------------------------------------------------------------------------------
def test_compute_hosts_that_were_there_before_do_not_prove_the_new_one(hall: Hall) -> None:
    facts = make_facts(services=())
    plan, _ = plan_new(None, facts)
    step = plan.step("destination-proved:new")
    hall.world._discovered()
    services = [make_service("node-1"), make_service("node-2")]
    hall.destination.compute = SimpleNamespace(list_services=lambda: services)
    hall.destination.identity = SimpleNamespace(list_projects=list)
    with pytest.raises(StepError, match="up and enabled on n1"):
        ProveDestination().act(hall.context(plan), step)
    services.append(make_service("node-31"))
    outcome = ProveDestination().act(hall.context(plan), step)
    assert outcome["nodes"] == {"n1": "node-31"}
    assert ProveDestination().verify(hall.context(plan), step, outcome)["hosts"] == ["node-1", "node-2", "node-31"]
    services.pop()
    with pytest.raises(PumphouseError, match="node-31"):
        ProveDestination().verify(hall.context(plan), step, outcome)


def test_addresses_at_which_the_sources_services_and_devices_answer_are_used(hall: Hall) -> None:
    nothing = SimpleNamespace(list_networks=list, list_floating_ips=list, floating_pools=dict)
    source: Any = SimpleNamespace(
        network=nothing, compute=SimpleNamespace(list_servers=list),
        endpoints=("http://172.16.0.250:5000/v2.0", "http://nova.example.com:8774/v2/x", "http://172.16.0.251:9292"),
    )  # fmt: skip
    used = networks_of(source, hall.site.hardware).used
    assert used == ("172.16.0.250", "172.16.0.251", "192.0.2.1", "192.0.2.9")


def test_floating_ips_of_the_source_are_told_apart_from_what_else_it_uses(hall: Hall) -> None:
    """By them alone it is known whether a Public network is the one that both clouds share."""
    source: Any = SimpleNamespace(
        network=SimpleNamespace(
            list_networks=list,
            list_floating_ips=lambda: [FloatingIp("f1", "172.16.0.9", "nova", None)],
            floating_pools=lambda: {"nova": ("172.16.0.16/28",)},
        ),
        compute=SimpleNamespace(list_servers=lambda: [make_server("web", address="10.10.0.7")]),
        endpoints=("http://172.16.0.250:5000/v2.0",),
    )
    assert networks_of(source, hall.site.hardware).floating == ("172.16.0.16/28", "172.16.0.9")


def test_a_canary_is_not_booted_where_it_may_get_the_address_of_a_server_of_the_source() -> None:
    def network(name: str, first: str, last: str) -> Network:
        return Network(name, name, "10.10.0.0/24", shared=True, pools=((first, last),))

    networks = [network("all", "10.10.0.2", "10.10.0.250"), network("slice", "10.10.0.240", "10.10.0.250")]
    destination: Any = SimpleNamespace(
        name="new", images=SimpleNamespace(list_images=lambda: [make_image("cirros", status="active")]),
        compute=SimpleNamespace(list_flavors=lambda: [make_flavor("1")]),
        network=SimpleNamespace(list_networks=lambda: networks),
    )  # fmt: skip
    servers = [make_server("web", address="10.10.0.7")]
    source: Any = SimpleNamespace(compute=SimpleNamespace(list_servers=lambda: servers))
    said = {"image": "", "flavor": "", "network": ""}
    assert choose_canary(destination, said, source=source).network == "slice"
    assert "second owner" in choose_canary(destination, {**said, "network": "all"}, source=source).problem
    assert choose_canary(destination, {**said, "network": "all"}).network == "all"


@pytest.mark.parametrize("arrives", [True, False])
def test_a_server_that_is_on_its_way_to_an_empty_host_is_waited_for(hall: Hall, *, arrives: bool) -> None:
    """Its live migration began before the host was disabled; until it is over, Nova shows it on the other host."""
    coming = make_server("coming", host="host-n2", status="MIGRATING")
    looks = iter(range(99))

    def list_servers(**_: Any) -> list[Any]:
        if arrives and next(looks) > 0:
            hall.world.servers = [dataclasses.replace(coming, host="host-n1", status="ACTIVE")]
            return hall.world.servers
        return [coming]

    hall.source.compute.list_servers = list_servers
    if arrives:
        hall.site = dataclasses.replace(hall.site, action_timeout_s=5.0)
    assert ("still holds 1 server(s): coming" if arrives else "may be where they go: coming") in str(refused(hall))
    assert hall.world.power == "on"


def test_a_master_that_installs_itself_is_not_cut_off_by_a_plan_with_more_patience(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {
        "controllers": [], "computes": [], "master": "n1",
        "public": {"cidr": "172.16.0.0/24", "gateway": "172.16.0.1"},
    }  # fmt: skip
    monkeypatch.setattr("pumphouse.session.fuel_master.networks_of", lambda *_: SourceNetworks())
    monkeypatch.setattr(HardwareWork, "_release", lambda _self: None)
    plan = hall.work.plan_fuel_master(**asked)
    journalled(hall, plan, "node-medium:n1", "node-on:n1")
    assert hall.work.plan_fuel_master(**asked).hash == plan.hash
    hall.work.plan_fuel_master(**asked, api_timeout_s=9000.0)
    assert "master-begun" in codes(hall.findings)


@pytest.mark.parametrize("died_before", [False, True])
def test_a_host_that_died_a_little_earlier_is_not_taken_for_the_one_that_lost_its_power(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, *, died_before: bool
) -> None:
    """As Nova ships: a host is missed 60 s after its last report."""
    clock = Clock()
    monkeypatch.setattr("pumphouse.steps.hardware.guards.time", clock)
    ours, other = "host-n1", "host-n2"

    def state(host: str) -> str:
        after = {ours: 58.0, other: 20.0 if died_before else 1e9}[host]
        return "down" if clock.now >= after else "up"

    hall.source.compute.list_services = lambda: [make_service(host, state=state(host)) for host in (ours, other)]
    hall.site = dataclasses.replace(hall.site, action_timeout_s=600.0)
    plan, _ = plan_acquire(make_facts(), Wishes("rebuild"), digest=DIGEST, **NAMES)
    assert is_missed(hall.context(plan), ours, frozenset({ours, other}))
    assert clock.now < 75


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
