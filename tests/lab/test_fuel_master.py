"""The lab's Fuel master beside machines: what was deployed before it began, and being put back as it was."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pumphouse.errors import NodeRefused
from pumphouse.lab.hardware import nailgun
from pumphouse.lab.hardware.fleet import Fleet
from pumphouse.lab.hardware.nailgun import RELEASES
from pumphouse.lab.hardware.nailgun.release import traits_of
from pumphouse.lab.world import Layer2, Timing, World
from pumphouse.nodes.fuel import AccessCredentials
from tests.nodes.fuelmaster import Master, eventually, master

PUBLIC = ("127.9.1.0/24", "127.9.1.1", "127.9.1.100", "127.9.1.120")


def deployed_long_ago(lab: Master) -> int:
    for name, roles in (("m1", ("controller",)), ("m2", ("compute",))):
        machine = lab.machine(name)
        machine.power, machine.runs, machine.disk = True, "destination", "destination"
        machine.hostname, machine.roles = f"{name}-host", roles

    async def adopt() -> int:
        machines = [lab.machine("m1"), lab.machine("m2")]
        access = ("root", "s3cret-Cloud-9", "ops")
        return lab.server.adopt("lab", machines, public=PUBLIC, access=access).id

    return lab.run(adopt())


@pytest.mark.parametrize("release", ["6.0", "7.0", "8.0"])
def test_what_was_deployed_long_ago(release: str) -> None:
    with master(release, machines=3) as lab:
        environment_id = deployed_long_ago(lab)
        fuel = lab.fuel()
        nodes = fuel.list_nodes(environment_id)
        assert [(node.name, node.status, node.roles) for node in nodes] == [
            ("m1", "ready", ("controller",)),
            ("m2", "ready", ("compute",)),
        ]
        names = [node.fqdn.partition(".")[0] for node in nodes]
        assert names == (["node-1", "node-2"] if release == "6.0" else ["m1-host", "m2-host"])
        endpoint = fuel.endpoint(environment_id)
        assert endpoint.public_vip.startswith("127.9.1.1")
        assert endpoint.auth_url == f"http://{endpoint.public_vip}:5000"
        assert fuel.credentials(environment_id) == AccessCredentials("root", "ops", "s3cret-Cloud-9", "admin@localhost")
        with pytest.raises(NodeRefused, match="No changes to deploy"):
            fuel.deploy_changes(environment_id)
        with pytest.raises(NodeRefused, match="nodes that serve: m1, m2"):
            fuel.delete_environment(environment_id)
        lab.boot("m3")
        node = fuel.wait_discovered(lab.macs("m3"), timeout_s=20)
        fuel.assign(environment_id, {node.id: ["compute"]})
        fuel.copy_layout(nodes[1].id, node.id)
        fuel.wait_task(fuel.deploy_changes(environment_id), node_ids=[node.id], timeout_s=20)
        assert lab.opened == [], "the cloud answered all the time"
        assert lab.machine("m3").roles == ("compute",)


def test_it_can_be_put_back_as_it_was() -> None:
    with master("8.0", machines=3) as lab:
        environment_id = deployed_long_ago(lab)
        fuel = lab.fuel()
        lab.boot("m3")
        node = fuel.wait_discovered(lab.macs("m3"), timeout_s=20)
        eventually(lambda: not lab.server.busy)
        shown, saved = lab.server.show(), lab.server.save()
        with lab.held():
            fuel.assign(environment_id, {node.id: ["compute"]})
            fuel.deploy_changes(environment_id)
            assert lab.server.busy
            lab.run(lab.server.load(saved))
        assert not lab.server.busy
        assert lab.server.show() == shown
        assert lab.server.state.nodes[node.id].machine is lab.machine("m3")
        assert fuel.get_node(node.id) == node
        assert lab.machine("m3").disk == "source", "nothing was installed"


@pytest.mark.parametrize("release", RELEASES)
def test_what_ships_holds_no_secrets(release: str) -> None:
    traits = traits_of(release)
    assert traits.document("version")["release"].startswith(release)
    assert {one["operating_system"] for one in traits.document("releases")} == {"CentOS", "Ubuntu"}
    generated = traits.document("generated")
    assert not [key for group in generated.values() for key, value in group.items() if "password" in key and value]


def test_an_unknown_release() -> None:
    with pytest.raises(ValueError, match=r"not 9\.0"):
        traits_of("9.0")


def test_its_port_is_nobody_elses_before_it_answers() -> None:
    """A machine with many labs on it gives a free port to whoever asks next; that one would answer for the master."""

    async def story() -> None:
        world = World(Timing(), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.224/28")
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        place = door.getsockname()[:2]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*place)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(place)
        server = await nailgun.start(world, Fleet(), door=door)
        assert server.url == f"http://127.0.0.1:{place[1]}"
        _, writer = await asyncio.open_connection(*place)
        writer.close()
        await writer.wait_closed()
        await server.stop()

    asyncio.run(story())
