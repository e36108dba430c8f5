"""From a machine without power to a compute node of a deployed environment, and back, with masters of every release."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from pumphouse.errors import FuelTaskFailed, NodeRefused, NodeTimeout
from pumphouse.lab.hardware.nailgun import RELEASES
from pumphouse.nodes.fuel import Fuel, FuelNode
from tests.nodes.fuelmaster import FAST, PRIVATE, Master, eventually, master

WAIT_S = 20.0


@pytest.fixture(params=RELEASES[1:])
def lab(request: pytest.FixtureRequest) -> Iterator[Master]:
    """A master of each release; 5.1 works as 6.0 does."""
    with master(request.param) as made:
        yield made


@pytest.fixture
def newest() -> Iterator[Master]:
    """A master of the newest release."""
    with master("8.0") as made:
        yield made


def environment_of(fuel: Fuel) -> int:
    release = fuel.find_release()
    assert release is not None
    found = fuel.find_environment("new") or fuel.create_environment("new", release.id)
    return found.id


def discovered(lab: Master, fuel: Fuel, *names: str) -> list[FuelNode]:
    lab.boot(*names)
    return [fuel.wait_discovered(lab.macs(name), lab.machine(name).serial, timeout_s=WAIT_S) for name in names]


def deployed(lab: Master, fuel: Fuel, *names: str) -> tuple[int, list[FuelNode]]:
    """An environment with a controller and computes."""
    environment_id = environment_of(fuel)
    nodes = discovered(lab, fuel, *names)
    roles = {node.id: ["compute"] for node in nodes} | {nodes[0].id: ["controller"]}
    fuel.assign(environment_id, roles)
    fuel.wait_task(fuel.deploy_changes(environment_id), node_ids=roles, timeout_s=WAIT_S)
    return environment_id, [fuel.get_node(node.id) for node in nodes]


def test_the_life_of_a_node(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id, (controller, first) = deployed(lab, fuel, "m1", "m2")
    assert (controller.status, controller.roles) == ("ready", ("controller",))
    assert first.fqdn == f"node-{first.id}.example.com"
    assert lab.machine("m2").runs == lab.machine("m2").disk == "destination"
    assert lab.machine("m2").roles == ("compute",)
    endpoint = fuel.endpoint(environment_id)
    assert endpoint.auth_url == f"http://{endpoint.public_vip}:5000"
    assert [one.vip for one in lab.opened] == [endpoint.public_vip]
    assert endpoint.public_vip not in {address for node in (controller, first) for address in node.addresses.values()}

    # one more, laid out as the first; its MACs may be written in any form
    lines: list[str] = []
    lab.boot("m3")
    macs = [mac.upper().replace(":", "-") for mac in lab.macs("m3")]
    new = fuel.wait_discovered(macs, lab.machine("m3").serial.lower(), timeout_s=WAIT_S, report=lines.append)
    assert lines
    assert new.macs == tuple(lab.macs("m3"))
    assert new.is_free
    assert new.is_complete
    assert (new.cpus, new.disks[0].size_bytes) == (16, 500_000_000_000)
    [assigned] = fuel.assign(environment_id, {new.id: ["compute"]})
    assert assigned.pending_roles == ("compute",)
    assert fuel.assign(environment_id, {new.id: ["compute"]}) == [assigned], "again changes nothing"
    assert fuel.set_node_name(new.id, "cmp-3").name == "cmp-3"
    template = fuel.interfaces(first.id)
    fuel.copy_layout(first.id, new.id)
    carried = [[net["name"] for net in nic["assigned_networks"]] for nic in fuel.interfaces(new.id)]
    assert carried == [[net["name"] for net in nic["assigned_networks"]] for nic in template]
    with lab.held():
        task_id = fuel.deploy_changes(environment_id)
        running = fuel.running_task(environment_id)
        assert running is not None
        assert running.id == task_id
        with pytest.raises(NodeRefused, match="cannot be deployed"):
            fuel.deploy_changes(environment_id)
    with lab.looked_at():
        task = fuel.wait_task(task_id, node_ids=[new.id, first.id], timeout_s=WAIT_S, report=lines.append)
    assert (task.status, task.name) == ("ready", "deploy")
    assert any("cmp-3 deploying" in line for line in lines), lines
    again = any(f"{first.name} deploying" in line for line in lines)
    assert again == (fuel.version().number >= (8, 0)), "8.0 sends those that serve through the deployment again"
    assert fuel.get_node(new.id).name == "cmp-3"
    assert fuel.get_environment(environment_id).status == "operational"
    with pytest.raises(NodeRefused, match="No changes to deploy"):
        fuel.deploy_changes(environment_id)
    with pytest.raises(NodeRefused, match="its layout has no effect"):
        fuel.set_disks(new.id, fuel.disks(new.id))
    with pytest.raises(NodeRefused, match="belongs to environment"):
        fuel.wait_discovered(macs, timeout_s=WAIT_S)

    # and out of it again: wiped, and back under another id
    [leaving] = fuel.unassign(environment_id, [new.id])
    assert leaving.pending_deletion
    assert fuel.unassign(environment_id, [new.id]) == [leaving]
    fuel.wait_task(fuel.deploy_changes(environment_id), timeout_s=WAIT_S)
    wiped = fuel.wait_discovered(macs, timeout_s=WAIT_S)
    assert wiped.id != new.id
    assert lab.machine("m3").disk == "blank"
    fuel.delete_node(wiped.id, timeout_s=WAIT_S)
    back = fuel.wait_discovered(macs, timeout_s=WAIT_S)
    assert back.id not in (new.id, wiped.id)
    assert {node.id for node in fuel.list_nodes(environment_id)} == {controller.id, first.id}


def test_endpoints_may_speak_tls_since_7_0() -> None:
    with master("7.0") as lab:
        fuel = lab.fuel()
        environment_id = environment_of(fuel)
        fuel.set_attributes(environment_id, {"public_ssl": {"services": True}})
        [node] = discovered(lab, fuel, "m1")
        fuel.assign(environment_id, {node.id: ["controller"]})
        fuel.wait_task(fuel.deploy_changes(environment_id), node_ids=[node.id], timeout_s=WAIT_S)
        endpoint = fuel.endpoint(environment_id)
        assert (endpoint.tls, endpoint.auth_url) == (True, "https://public.fuel.local:5000")
        assert endpoint.public_vip == lab.opened[0].vip


def test_one_node_fails_and_all_of_the_task_with_it(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    nodes = discovered(lab, fuel, "m1", "m2")
    fuel.assign(environment_id, {nodes[0].id: ["controller"], nodes[1].id: ["compute"]})
    lab.machine("m2").staged.add("deploy-error")
    task_id = fuel.deploy_changes(environment_id)
    with pytest.raises(FuelTaskFailed, match=f"failed on node-{nodes[1].id}") as caught:
        fuel.wait_task(task_id, node_ids=[nodes[1].id], timeout_s=WAIT_S)
    assert all(node.name in str(caught.value) for node in nodes)
    assert fuel.get_environment(environment_id).status == "error"
    assert {node.error_type for node in fuel.list_nodes(environment_id)} == {"deploy"}
    lab.machine("m2").staged.clear()
    fuel.wait_task(fuel.reset(environment_id), timeout_s=WAIT_S)
    eventually(lambda: all(node.online for node in fuel.list_nodes(environment_id)))
    after = fuel.list_nodes(environment_id)
    assert {(node.status, node.error_type, node.pending_addition) for node in after} == {("discover", "", True)}
    fuel.wait_task(fuel.deploy_changes(environment_id), node_ids=[n.id for n in after], timeout_s=WAIT_S)


async def gone(lab: Master, name: str, how: str) -> None:
    """A machine loses its power, or its place in the Admin VLAN."""
    machine = lab.machine(name)
    if how == "power":
        await lab.fleet.switch_off(machine)
    else:
        lab.fleet.set_vlan(machine.nics[0].port, PRIVATE)


@pytest.mark.parametrize("how", ["power", "port"])
def test_a_machine_that_goes_away_fails_the_deployment(newest: Master, how: str) -> None:
    fuel = newest.fuel()
    environment_id = environment_of(fuel)
    [node] = discovered(newest, fuel, "m1")
    fuel.assign(environment_id, {node.id: ["controller"]})
    with newest.held():
        task_id = fuel.deploy_changes(environment_id)
        newest.run(gone(newest, "m1", how))
    with pytest.raises(FuelTaskFailed, match="does not answer"):
        fuel.wait_task(task_id, node_ids=[node.id], timeout_s=WAIT_S)
    assert newest.opened == []


def test_no_controller(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    [node] = discovered(lab, fuel, "m1")
    fuel.assign(environment_id, {node.id: ["compute"]})
    with pytest.raises(NodeRefused, match="no controller"):
        fuel.deploy_changes(environment_id)
    assert lab.requests("PUT", "/changes") == 0
    assert fuel.get_environment(environment_id).status == "new"
    assert lab.machine("m1").runs == "bootstrap"


def test_a_stranger_is_never_provisioned(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    member, stranger = discovered(lab, fuel, "m1", "m2")
    fuel.assign(environment_id, {member.id: ["controller"]})
    for verb in (fuel.provision, fuel.deploy_nodes):
        with pytest.raises(NodeRefused, match=f"nodes {stranger.id}: they are not in"):
            verb(environment_id, [member.id, stranger.id])
    assert fuel.get_node(stranger.id) == stranger
    assert fuel.get_environment(environment_id).status == "new"
    assert lab.requests("PUT", "/provision") == lab.requests("PUT", "/deploy") == 0
    fuel.wait_task(fuel.provision(environment_id, [member.id]), timeout_s=WAIT_S)
    assert fuel.get_node(member.id).status == "provisioned"
    fuel.wait_task(fuel.deploy_nodes(environment_id, [member.id]), node_ids=[member.id], timeout_s=WAIT_S)


def test_a_deployment_is_stopped_and_an_idle_environment_never(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    [node] = discovered(lab, fuel, "m1")
    with pytest.raises(NodeRefused, match="no deployment to stop"):
        fuel.stop(environment_id)
    assert lab.requests("PUT", "/stop_deployment") == 0
    fuel.assign(environment_id, {node.id: ["controller"]})
    with lab.held():
        fuel.deploy_changes(environment_id)
        with pytest.raises(NodeRefused, match="cannot be reset"):
            fuel.reset(environment_id)
        with pytest.raises(NodeRefused, match="cannot be deleted"):
            fuel.delete_environment(environment_id)
        task_id = fuel.stop(environment_id)
    fuel.wait_task(task_id, timeout_s=WAIT_S)
    assert fuel.get_environment(environment_id).status == "stopped"
    eventually(lambda: fuel.get_node(node.id).online)
    stopped = fuel.get_node(node.id)
    assert (stopped.status, stopped.pending_roles) == ("discover", ("controller",))
    assert lab.machine("m1").runs == "bootstrap"


def test_networks_are_verified(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    with pytest.raises(FuelTaskFailed, match="At least two"):
        fuel.verify_networks(environment_id)
    nodes = discovered(lab, fuel, "m1", "m2")
    fuel.assign(environment_id, {nodes[0].id: ["controller"], nodes[1].id: ["compute"]})
    assert fuel.verify_networks(environment_id, timeout_s=WAIT_S).status == "ready"


def test_the_wrong_machine(newest: Master) -> None:
    fuel = newest.fuel()
    node, other = discovered(newest, fuel, "m1", "m2")
    with pytest.raises(NodeRefused, match="serial 'SN0001' instead of 'SN9999'"):
        fuel.find_node(newest.macs("m1"), "SN9999")
    with pytest.raises(NodeRefused, match="not 02:00:00:00:00:09"):
        fuel.wait_discovered([newest.macs("m1")[0], "02:00:00:00:00:09"], timeout_s=WAIT_S)
    with pytest.raises(NodeRefused, match="several nodes"):
        fuel.find_node([newest.macs("m1")[0], newest.macs("m2")[1]])
    assert fuel.find_node(newest.macs("m1")[1:], node.serial) == node
    assert other.macs[0] == newest.macs("m2")[0]


def test_what_discovery_needs(newest: Master) -> None:
    fuel = newest.fuel()
    port = newest.machine("m1").nics[0].port
    newest.fleet.ports[port].vlan = PRIVATE
    newest.boot("m1")
    with pytest.raises(NodeTimeout, match="not there yet") as caught:
        fuel.wait_discovered(newest.macs("m1"), timeout_s=0.1)
    assert "Admin VLAN" in str(caught.value)
    newest.fleet.set_vlan(port, newest.fleet.admin_vlan)
    newest.run(newest.fleet.cycle(newest.machine("m1")))
    node = fuel.wait_discovered(newest.macs("m1"), timeout_s=WAIT_S)

    newest.machine("m2").staged.add("wrong-image")
    newest.boot("m2")
    with pytest.raises(NodeTimeout, match="not there yet"):
        fuel.wait_discovered(newest.macs("m2"), timeout_s=0.1)
    assert newest.machine("m2").runs == "wrong-image"

    # a record of a machine that is gone is no discovery
    newest.run(gone(newest, "m1", "port"))
    eventually(lambda: not fuel.get_node(node.id).online)
    with pytest.raises(NodeTimeout, match="is offline"):
        fuel.wait_discovered(newest.macs("m1"), timeout_s=0.1)
    with pytest.raises(NodeRefused, match="offline"):
        fuel.assign(environment_of(fuel), {node.id: ["compute"]})

    async def plug_back() -> None:
        newest.fleet.set_vlan(port, newest.fleet.admin_vlan)

    newest.run(plug_back())
    assert fuel.wait_discovered(newest.macs("m1"), timeout_s=WAIT_S).id == node.id


def test_host_names(lab: Master) -> None:
    fuel = lab.fuel()
    [node] = discovered(lab, fuel, "m1")
    if fuel.version().number < (7, 0):
        with pytest.raises(NodeRefused, match="chooses host names itself"):
            fuel.set_hostname(node.id, "cmp-1")
        return
    assert fuel.set_hostname(node.id, "cmp-1").fqdn == "cmp-1.example.com"


def test_layouts_that_do_not_fit(newest: Master) -> None:
    fuel = newest.fuel()
    newest.machine("m3").disk_gb = 100
    newest.machine("m4").nics.pop()
    environment_id, (controller, first) = deployed(newest, fuel, "m1", "m2")
    small, lean = discovered(newest, fuel, "m3", "m4")
    with pytest.raises(NodeRefused, match="not in one environment"):
        fuel.copy_layout(first.id, small.id)
    fuel.assign(environment_id, {small.id: ["compute"], lean.id: ["compute", "cinder"]})
    with pytest.raises(NodeRefused, match=r"disk sda has \d+ MiB"):
        fuel.copy_layout(first.id, small.id)
    with pytest.raises(NodeRefused, match="different roles"):
        fuel.copy_layout(controller.id, small.id)
    layout = fuel.disks(small.id)
    layout[0]["volumes"][0]["size"] *= 100
    with pytest.raises(NodeRefused, match="Not enough free space"):
        fuel.set_disks(small.id, layout)
    nics = fuel.interfaces(small.id)
    nics[0]["assigned_networks"] = nics[0]["assigned_networks"][:1]
    with pytest.raises(NodeRefused, match="left unassigned"):
        fuel.set_interfaces(small.id, nics)
    moved = fuel.interfaces(small.id)
    moved[1]["assigned_networks"] = [moved[0]["assigned_networks"].pop()]
    assert fuel.set_interfaces(small.id, moved)[1]["assigned_networks"] == moved[1]["assigned_networks"]


def test_conflicts_come_as_500_and_are_refusals_all_the_same(lab: Master) -> None:
    fuel = lab.fuel()
    environment_id = environment_of(fuel)
    [node] = discovered(lab, fuel, "m1")
    fuel.assign(environment_id, {node.id: ["controller"]})
    number = fuel.version().number
    with lab.held():
        task_id = fuel.deploy_changes(environment_id)
        for verb, words in (("changes", "already started|running tasks|No changes"), ("reset", "when deployment is")):
            with pytest.raises(NodeRefused, match="internal server error" if number == (6, 0) else words) as caught:
                fuel.wire.change("PUT", f"/clusters/{environment_id}/{verb}/", f"try {verb}")
            # in a deployment's first moment 8.0 finds only that nothing is left to deploy
            assert caught.value.status == (400 if number == (8, 0) and verb == "changes" else 500)
    fuel.wait_task(task_id, node_ids=[node.id], timeout_s=WAIT_S)


def test_a_node_that_lost_its_power_is_online_for_a_while_and_is_missed_before_it_can_come_back() -> None:
    """No release tells when it heard of a node last: a record of the boot before looks like one of this boot."""
    with master("6.1", durations=dataclasses.replace(FAST, keepalive_s=3600.0)) as lab:
        fuel, macs, serial = lab.fuel(), lab.macs("m1"), lab.machine("m1").serial
        assert fuel.wait_missed(macs, serial, timeout_s=WAIT_S) is None, "nobody has heard of it"
        [before] = discovered(lab, fuel, "m1")
        lab.run(lab.fleet.switch_off(lab.machine("m1")))
        assert fuel.wait_discovered(macs, serial, timeout_s=WAIT_S) == before, "the trap: it has no power"
        with pytest.raises(NodeTimeout, match=r"online still"):
            fuel.wait_missed(macs, serial, timeout_s=0.0)

        def an_hour_later(_line: str) -> None:
            lab.server.discovery.keepalive_s = 0.0

        missed = fuel.wait_missed(macs, serial, timeout_s=WAIT_S, report=an_hour_later)
        assert missed is not None
        assert not missed.online
        with pytest.raises(NodeTimeout, match="offline"):
            fuel.wait_discovered(macs, serial, timeout_s=0.0)
        assert discovered(lab, fuel, "m1")[0].id == before.id
