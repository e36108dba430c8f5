"""The laws of the lab's hardware: what boots when, and what both clouds feel of it. In this process, without a lab."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.lab import parts, populate, siteblock, source
from pumphouse.lab.hardware.fleet import STAGED, Deployment, Fleet, Machine
from pumphouse.lab.hardware.plant import ADMIN_VLAN, CONTROLLERS, MASTER, NEW_CONTROLLER, PRIVATE_VLAN, add_machine
from pumphouse.lab.hardware.wiring import Wiring, put_together
from pumphouse.lab.newcloud import NewCloud, start_current
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_lifecycle import Lifecycle
from pumphouse.lab.source.nova_views import status_of
from pumphouse.lab.source.state import Server, State
from pumphouse.lab.world import Layer2, Timing, World

SCALE = 0.01
HOST, NODE = "compute1", "cmp-01"


class Site:
    """Both clouds on bare metal, in this event loop."""

    def __init__(self, world: World, old: State, new: NewCloud | None, wiring: Wiring) -> None:
        self.world, self.old, self.new, self.wiring = world, old, new, wiring
        self.fleet: Fleet = wiring.fleet

    def machine(self, name: str = NODE) -> Machine:
        """A machine."""
        return self.fleet.machines[name]

    def kinds(self) -> list[str]:
        """The laws that were broken so far."""
        return [violation.kind for violation in self.world.layer2.violations]

    def alive(self, cloud: str = "source") -> int:
        """How many guests of a cloud are alive."""
        return sum(guest.cloud == cloud for guest in self.world.layer2.guests.values())

    def on(self, host: str) -> list[Server]:
        """The source's servers on a host."""
        return [server for server in self.old.live_servers() if server.host == host]

    def up(self, host: str) -> bool:
        """Whether the source takes a host's service for alive."""
        return next(service.alive for service in self.old.services if service.host == host)

    def hosts(self) -> dict[str, bool]:
        """The destination's compute hosts, and whether it takes them for alive."""
        cloud = self.wiring.consequences.tenants["destination"]
        return {host.name: not host.down for host in cloud.cloud.compute.hosts}  # type: ignore[attr-defined]

    async def until(self, look: Callable[[], Any]) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(10):
            while not look():
                await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Wait until nothing is going to follow any more."""
        await self.until(lambda: not self.wiring.consequences.tasks)

    async def answers(self, url: str) -> bool:
        """Whether somebody answers at an address."""
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status < 500
        except aiohttp.ClientError:
            return False


@contextlib.asynccontextmanager
async def standing(folder: Path, *, destination: bool = True) -> AsyncIterator[Site]:
    """A site with plain servers; without a destination, all hardware is in the old cloud."""
    block = siteblock.claim()
    layer2 = Layer2(guest_port=block.guest_port)
    world = World(Timing(scale=SCALE), layer2, block.fixed_cidr, block.floating_cidr, str(folder))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(block.free)
        stack.push_async_callback(layer2.close)
        old = await source.start(world)
        stack.push_async_callback(old.stop)
        await populate.Filler(old.state, lambda name: f"{name}-Passw0rd").fill(plain=True)
        world.checkpoints.parts.append(parts.Network(layer2))
        new = await start_current(stack, world, folder) if destination else None
        yield Site(world, old.state, new, put_together(stack, world, old.state, new, folder, fuel_release="8.0"))


def run(folder: Path, story: Callable[[Site], Awaitable[None]], **options: bool) -> None:
    """Let a story happen on a site of its own."""

    async def told() -> None:
        async with standing(folder, **options) as site:
            await story(site)

    asyncio.run(told())


# --- what boots


def alone(*, pxe: bool = True) -> tuple[Fleet, Machine]:
    """A machine without power, whose disk holds the source, in the Private VLAN."""
    fleet = Fleet(vlans={ADMIN_VLAN: "admin", PRIVATE_VLAN: "private"}, admin_vlan=ADMIN_VLAN, pxe=pxe)
    machine = add_machine(fleet, "m1", host="h1")
    machine.power, machine.runs = False, None
    return fleet, machine


@pytest.mark.parametrize("pxe", [True, False], ids=["master", "no-master"])
@pytest.mark.parametrize("vlan", [ADMIN_VLAN, PRIVATE_VLAN], ids=["admin", "private"])
@pytest.mark.parametrize("device", ["pxe", "disk", "cdrom", "default"])
@pytest.mark.parametrize("power", [True, False], ids=["power", "no-power"])
def test_discovery_needs_power_and_pxe_and_the_admin_vlan_and_a_master(
    pxe: bool, vlan: int, device: str, power: bool
) -> None:
    fleet, machine = alone(pxe=pxe)
    fleet.set_vlan(machine.nics[0].port, vlan)
    fleet.choose_boot(machine, device)
    if power:
        asyncio.run(fleet.switch_on(machine))
    discovered = power and device == "pxe" and vlan == ADMIN_VLAN and pxe
    assert machine.runs == ("bootstrap" if discovered else "source" if power else None)
    assert machine.disk == "source"


def test_a_boot_device_lasts_one_boot_or_all_of_them() -> None:
    fleet, machine = alone()
    fleet.set_vlan(machine.nics[0].port, ADMIN_VLAN)

    def boots() -> str | None:
        asyncio.run(fleet.cycle(machine))
        return machine.runs

    fleet.choose_boot(machine, "pxe")
    assert [boots(), boots()] == ["bootstrap", "source"]
    fleet.choose_boot(machine, "pxe", persistent=True)
    assert [boots(), boots()] == ["bootstrap", "bootstrap"]
    fleet.choose_boot(machine, "disk")
    assert [boots(), boots()] == ["source", "bootstrap"]
    fleet.choose_boot(machine, "default")
    assert boots() == "source"
    asyncio.run(fleet.reset(machine))
    assert machine.runs == "source"
    asyncio.run(fleet.switch_off(machine))
    asyncio.run(fleet.reset(machine))
    assert machine.runs is None
    with pytest.raises(ValueError, match="floppy"):
        fleet.choose_boot(machine, "floppy")


@pytest.mark.parametrize(("medium", "device", "runs"), [("fuel", "cdrom", "installer"), ("", "cdrom", "source")])
def test_a_medium_is_booted_from_where_there_is_one(medium: str, device: str, runs: str) -> None:
    fleet, machine = alone(pxe=False)
    machine.medium = medium
    fleet.choose_boot(machine, device)
    asyncio.run(fleet.switch_on(machine))
    assert machine.runs == runs


def _staged(fault: str) -> Any:
    fleet, machine = alone()
    machine.staged.add(fault)
    fleet.set_vlan(machine.nics[0].port, ADMIN_VLAN)
    fleet.choose_boot(machine, "pxe")
    asyncio.run(fleet.switch_on(machine))
    return machine.power, machine.runs, fleet.ports[machine.nics[0].port].vlan


PHYSICAL = {
    "stuck-power": (False, None, ADMIN_VLAN),
    "wrong-image": (True, "wrong-image", ADMIN_VLAN),
    "deaf-port": (True, "source", PRIVATE_VLAN),
}


@pytest.mark.parametrize("fault", STAGED)
def test_each_staged_fault(fault: str) -> None:
    # the others are for BMCs and for Fuel to show: the machine itself does as it is told
    assert _staged(fault) == PHYSICAL.get(fault, (True, "bootstrap", ADMIN_VLAN))


def test_a_stuck_machine_stays_on_as_well() -> None:
    fleet, machine = alone()
    asyncio.run(fleet.switch_on(machine))
    machine.staged.add("stuck-power")
    for press in (fleet.switch_off, fleet.reset, fleet.cycle):
        asyncio.run(press(machine))
    assert (machine.power, machine.runs) == (True, "source")


def test_only_known_vlans_and_systems() -> None:
    fleet, machine = alone()
    with pytest.raises(ValueError, match="VLAN 7"):
        fleet.set_vlan(machine.nics[0].port, 7)
    with pytest.raises(ValueError, match="windows"):
        asyncio.run(fleet.install(machine, "windows"))


# --- what the clouds feel


def test_a_machine_takes_its_guests_with_it_and_nova_notices_later(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        held, alive = site.on(HOST), site.alive()
        await site.fleet.switch_off(site.machine())
        assert site.kinds() == ["server-lost-host"] * len(held)
        assert site.alive() == alive - len(held)
        assert site.up(HOST)
        assert {status_of(server) for server in held} == {"ACTIVE"}
        await site.until(lambda: not site.up(HOST))

        await site.fleet.switch_on(site.machine())
        await site.until(lambda: site.up(HOST))
        assert {status_of(server) for server in held} == {"SHUTOFF"}
        assert site.alive() == alive - len(held)

    run(tmp_path, story)


def test_a_host_whose_servers_are_built_anew_elsewhere_was_fenced_and_not_lost(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        held = site.on(HOST)
        assert len(held) > 1
        await site.fleet.switch_off(site.machine())
        await site.until(lambda: not site.up(HOST))
        life = Lifecycle(site.old, Addresses(site.old))
        life.rebuild(held[0], host="compute2")
        await site.until(lambda: held[0].host == "compute2")
        left = [violation.detail for violation in site.world.layer2.violations]
        assert len(left) == len(held) - 1, "the others are lost"
        assert not any(held[0].id in detail for detail in left)
        [told] = [one for one in site.world.layer2.history if one["event"] == "fenced"]
        assert (told["server_id"], str(told["detail"]).endswith("anew on compute2")) == (held[0].id, True)

    run(tmp_path, story)


def test_a_short_reboot_is_not_noticed_but_stops_the_guests(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        site.world.timing = Timing(scale=SCALE, service_down_s=500)
        await site.fleet.reset(site.machine())
        await site.until(lambda: status_of(site.on(HOST)[0]) == "SHUTOFF")
        assert site.up(HOST)

    run(tmp_path, story)


def test_a_host_outside_its_vlan_is_cut_off_and_comes_back_as_it_was(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        alive, port = site.alive(), site.machine().nics[0].port
        site.fleet.set_vlan(port, ADMIN_VLAN)
        await site.until(lambda: not site.up(HOST))
        assert set(site.kinds()) == {"server-lost-host"}
        assert site.alive() < alive
        site.fleet.set_vlan(port, PRIVATE_VLAN)
        await site.until(lambda: site.up(HOST) and site.alive() == alive)
        assert {status_of(server) for server in site.on(HOST)} == {"ACTIVE"}

    run(tmp_path, story)


def test_an_empty_host_is_taken_without_a_word_and_becomes_the_destinations(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        machine = site.machine("cmp-05")
        await site.fleet.switch_off(machine)
        site.fleet.set_vlan(machine.nics[0].port, ADMIN_VLAN)
        site.fleet.choose_boot(machine, "pxe")
        await site.fleet.switch_on(machine)
        assert machine.runs == "bootstrap"
        assert "node-5" not in site.hosts()
        await site.fleet.install(machine, "destination")
        await site.quiet()
        assert "node-5" not in site.hosts()
        await site.fleet.serve(machine, "node-5", ("compute",))
        await site.until(lambda: site.hosts().get("node-5"))
        assert not site.up("compute5")
        # it is the destination's like any other now
        await site.fleet.switch_off(machine)
        await site.until(lambda: site.hosts()["node-5"] is False)
        await site.fleet.switch_on(machine)
        await site.until(lambda: site.hosts()["node-5"])
        await site.fleet.install(machine, "blank")
        await site.quiet()
        assert "node-5" not in site.hosts()
        assert site.kinds() == []

    run(tmp_path, story)


def test_a_disk_that_holds_a_server_is_not_to_be_overwritten(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        machine = site.machine("cmp-03")
        await site.fleet.switch_off(machine)
        site.world.layer2.violations.clear()
        names = {server.name for server in site.on("compute3")}
        assert any(server.vm_state == "stopped" for server in site.on("compute3"))
        await site.fleet.install(machine, "destination")
        assert set(site.kinds()) == {"server-lost-disk"}
        assert all(any(name in v.detail for v in site.world.layer2.violations) for name in names)

    run(tmp_path, story)


def test_without_its_controller_a_cloud_is_dark(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        keystone = f"{site.old.endpoints.keystone}/v2.0"
        assert site.new is not None
        for name, url, others in (
            (CONTROLLERS["controller"], keystone, site.new.auth_url),
            (NEW_CONTROLLER, site.new.auth_url, keystone),
        ):
            assert await site.answers(url)
            await site.fleet.switch_off(site.machine(name))
            assert not await site.answers(url)
            assert await site.answers(others)
            await site.fleet.switch_on(site.machine(name))
            await site.quiet()
            assert await site.answers(url)
        assert site.kinds() == ["controller-lost"]
        await site.fleet.switch_off(site.machine(CONTROLLERS["network1"]))
        assert site.kinds() == ["controller-lost", "gateway-lost"]

    run(tmp_path, story)


def test_a_fuel_master_comes_from_the_operators_medium(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        spare, other = site.machine("spare-01"), site.machine("spare-02")
        assert "fuel" in site.world.faults.dark
        for machine in (spare, other):
            site.fleet.set_vlan(machine.nics[0].port, ADMIN_VLAN)
            site.fleet.choose_boot(machine, "pxe")
        await site.fleet.switch_on(spare)
        assert spare.runs == "installer"
        await site.until(lambda: site.fleet.pxe)
        assert (spare.disk, spare.runs) == ("fuel", "fuel")
        assert "fuel" not in site.world.faults.dark
        await site.fleet.switch_on(other)
        assert other.runs == "bootstrap"
        await site.fleet.switch_off(spare)
        assert not site.fleet.pxe
        assert "fuel" in site.world.faults.dark

    run(tmp_path, story, destination=False)


def test_an_installation_that_is_cut_off_leaves_the_disk(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        spare = site.machine("spare-01")
        spare.medium = "fuel"
        site.fleet.choose_boot(spare, "cdrom")
        await site.fleet.switch_on(spare)
        assert spare.runs == "installer"
        await site.fleet.switch_off(spare)
        await site.quiet()
        assert [spare.disk, spare.runs] == ["blank", None]

    run(tmp_path, story, destination=False)


@pytest.mark.parametrize(("network", "version"), [("neutron", "v3"), ("nova_network", "v2.0")])
def test_a_cloud_that_fuel_deployed_answers_at_its_vip(tmp_path: Path, network: str, version: str) -> None:
    async def story(site: Site) -> None:
        vip = site.world.floating_cidr.rsplit(".", 1)[0] + ".131"
        keystone = f"http://{vip}:5000/{version}"
        for name, roles in (("spare-01", ("controller",)), ("cmp-05", ("compute",))):
            await site.fleet.switch_off(site.machine(name))
            site.fleet.set_vlan(site.machine(name).nics[0].port, ADMIN_VLAN)
            site.machine(name).power = True
            await site.fleet.install(site.machine(name), "destination")
            await site.fleet.serve(site.machine(name), f"node-{name}", roles)
        assert not await site.answers(keystone)
        await site.fleet.open(Deployment("env", vip, "boss", "Vip-Passw0rd", "admin", network))
        await site.quiet()
        assert await site.answers(keystone)
        cloud = await asyncio.to_thread(connect_to, keystone, tmp_path)
        told = {(one.binary, one.host, one.state) for one in await asyncio.to_thread(cloud.compute.list_services)}
        assert ("nova-compute", "node-cmp-05", "up") in told
        assert ("nova-conductor", "node-spare-01", "up") in told
        [hypervisor] = await asyncio.to_thread(cloud.compute.list_hypervisors)
        assert (hypervisor.host, hypervisor.vcpus, hypervisor.ram_mib) == ("node-cmp-05", 16, 32768)
        await asyncio.to_thread(cloud.close)

    run(tmp_path, story, destination=False)


def connect_to(keystone: str, folder: Path) -> OpenStackCloud:
    """The deployed cloud, as its administrator."""
    auth = {"auth_url": keystone, "username": "boss", "password": "Vip-Passw0rd", "project_name": "admin"}
    if keystone.endswith("v3"):
        auth |= {"user_domain_id": "default", "project_domain_id": "default"}
    entry = {"auth": auth, "region_name": "RegionOne"}
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"new": entry}}), encoding="utf-8")
    return connect("new", side="destination", clouds_yaml=folder / "clouds.yaml")


def test_a_checkpoint_brings_machines_back(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        machine = site.machine()
        await site.world.checkpoints.keep("before")
        alive = site.alive()
        await site.fleet.switch_off(machine)
        machine.staged.add("stuck-power")
        await site.world.checkpoints.restore("before")
        assert site.machine() is machine
        assert (machine.power, machine.runs, machine.staged) == (True, "source", set())
        assert site.alive() == alive
        await site.fleet.switch_off(machine)
        assert site.alive() < alive
        assert site.world.checkpoints.show()["hardware"]["machines"][NODE]["power"] is False

    run(tmp_path, story)


def test_every_host_is_a_machine_of_its_own(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        machines = list(site.fleet.machines.values())
        macs = [nic.mac for machine in machines for nic in machine.nics]
        for told in ([m.serial for m in machines], [m.guid for m in machines], macs):
            assert len(set(told)) == len(told)
        assert {m.host for m in machines if m.host} == {service.host for service in site.old.services}
        assert {m.hostname for m in machines if "compute" in m.roles} == set(site.hosts())
        assert all(len(m.nics) == 2 for m in machines)
        assert site.machine(MASTER).runs == "fuel"

    run(tmp_path, story)
