"""Putting a lab's hardware together: machines below the clouds, and the faces that speak IPMI, SSH, SNMP and Fuel."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import pickle
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumphouse.lab import parts
from pumphouse.lab.hardware import bmc_process, plant
from pumphouse.lab.hardware.consequences import Consequences
from pumphouse.lab.hardware.fleet import Deployment, Fleet, Machine
from pumphouse.lab.hardware.tenants import OldTenants, Tenants
from pumphouse.lab.newcloud import NewCloud, start_current, start_older
from pumphouse.lab.source.state import State
from pumphouse.lab.world import World

if TYPE_CHECKING:
    from pumphouse.lab.hardware.nailgun import Nailgun

_SECRET_BYTES = 12  # 16 characters: more than that no IPMI 1.5 takes
#: The environment of a new cloud that is there from the beginning, and the slice of the Public network that it got.
ENVIRONMENT, _FIRST, _LAST = "lab", 100, 120


@dataclass
class Wiring:
    """The fleet of a running lab and what follows from it. ``master`` is the Fuel master, once one has answered;
    ``fuel_door`` where it will listen; ``access`` the administrator of a new cloud that is there from the beginning:
    user, password, project.
    """

    world: World
    fleet: Fleet
    consequences: Consequences
    stack: contextlib.AsyncExitStack
    directory: Path
    fuel_release: str
    fuel_door: socket.socket | None = None
    master: Nailgun | None = None
    access: tuple[str, str, str] | None = None
    passwords: dict[str, str] = field(default_factory=dict)

    def password(self, entry: str) -> str:
        """The password of an entry of ``nodes`` in ``secure.yaml``."""
        return self.passwords.setdefault(entry, secrets.token_urlsafe(_SECRET_BYTES))

    async def opened(self, deployment: Deployment) -> None:
        """A cloud that Fuel deployed begins to answer; the first one is the site's new cloud."""
        if "destination" in self.consequences.tenants:
            return
        start = start_current if deployment.net_provider == "neutron" else start_older
        controllers = [m for m in self.fleet.machines.values() if m.runs == "destination" and "controller" in m.roles]
        name = controllers[0].hostname if controllers else "controller"
        new = await start(self.stack, self.world, self.directory, deployment, name)
        self.consequences.adopt("destination", new.tenants)

    async def answers(self, _machine: Machine) -> None:
        """A Fuel master is up on a machine; what it knows outlives a reboot."""
        if self.master is not None or self.fuel_door is None:
            return
        # not at the top: a lab without faces starts faster without it
        from pumphouse.lab.hardware import nailgun

        self.master = await nailgun.start(
            self.world,
            self.fleet,
            release=self.fuel_release,
            user=plant.FUEL_USER,
            password=self.password("fuel"),
            door=self.fuel_door,
        )
        self.stack.push_async_callback(self.master.stop)
        self.fleet.delays = asdict(self.master.work.durations)


class FleetPart:
    """The machines and the switch, as a part of the site that a checkpoint keeps; machines stay the same objects."""

    name = "hardware"
    _KEPT = ("pxe", "medium", "history")

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    @property
    def busy(self) -> bool:
        """Whether a machine boots, a cloud has not noticed yet that one is gone, or Fuel works."""
        master = self._wiring.master
        return bool(self._wiring.consequences.tasks) or (master is not None and master.busy)

    def save(self) -> bytes:
        """Machines, ports, and what serves whom."""
        fleet, consequences = self._wiring.fleet, self._wiring.consequences
        state = {key: getattr(fleet, key) for key in self._KEPT}
        kept = {key: getattr(consequences, key) for key in Consequences.KEPT}
        fuel = None if self._wiring.master is None else self._wiring.master.save()
        return pickle.dumps((fleet.machines, fleet.ports, state, kept, self._wiring.world.faults.dark, fuel))

    async def load(self, saved: bytes) -> None:
        """What is under way is dropped."""
        await self._wiring.consequences.close()
        fleet, consequences = self._wiring.fleet, self._wiring.consequences
        machines, ports, state, kept, dark, fuel = pickle.loads(saved)
        for present, was in ((fleet.machines, machines), (fleet.ports, ports)):
            for name, one in was.items():
                vars(present[name]).update(vars(one))
        for owner, values in ((fleet, state), (consequences, kept)):
            for key, value in values.items():
                setattr(owner, key, value)
        self._wiring.world.faults.dark = dark
        if self._wiring.master is not None and fuel is not None:
            await self._wiring.master.load(fuel)

    def show(self) -> Any:
        """Machines, ports, and what the Fuel master shows."""
        fleet, master = self._wiring.fleet, self._wiring.master
        fuel = {} if master is None else master.show()
        return parts.plain({"machines": fleet.machines, "ports": fleet.ports, "pxe": fleet.pxe, "fuel": fuel})


def put_together(
    stack: contextlib.AsyncExitStack,
    world: World,
    old: State,
    new: NewCloud | None,
    directory: Path,
    *,
    fuel_release: str,
) -> Wiring:
    """Machines for all hosts of both clouds, followed by what becomes of those.

    :param new: None while Fuel has not deployed one.
    """
    fleet = plant.build(old, None if new is None else new.hosts)
    tenants: dict[str, Tenants] = {"source": OldTenants(old)}
    if new is not None:
        tenants["destination"] = new.tenants
    consequences = Consequences(world, fleet, tenants)
    fleet.guests = consequences.guests
    wiring = Wiring(world, fleet, consequences, stack, directory, fuel_release)
    if new is not None:
        auth = new.entry["auth"]
        wiring.access = (auth["username"], new.secret["auth"]["password"], auth["project_name"])
    stack.push_async_callback(consequences.close)
    consequences.masters.append(wiring.answers)
    fleet.opened.append(wiring.opened)
    world.checkpoints.parts.append(FleetPart(wiring))
    return wiring


async def show_faces(wiring: Wiring, *, control_url: str, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start BMCs, the switch's management and, where a machine runs it, the Fuel master.

    :returns: the hardware's part of ``site.yaml``, and the section ``nodes`` of ``secure.yaml``.
    """
    fleet = wiring.fleet
    doors = {
        name: bmc_process.BmcDoor(machine.guid, plant.BMC_USER, wiring.password(f"bmc-{name}"))
        for name, machine in fleet.machines.items()
    }
    bmcs = await asyncio.to_thread(bmc_process.start, control_url, token, doors)
    wiring.stack.callback(bmcs.stop)
    faces = {name: plant.Face(port, plant.BMC_USER, f"bmc-{name}") for name, port in bmcs.ports.items()}
    switches = await _start_switch(wiring)
    door = socket.socket()
    wiring.stack.callback(door.close)
    # nobody else gets the port while there is no master; who calls there is refused until one listens
    door.bind(("127.0.0.1", 0))
    wiring.fuel_door = door
    fuel: dict[str, Any] = {"environment": ENVIRONMENT}
    deployed = [machine for machine in fleet.machines.values() if machine.roles]
    if deployed:
        await wiring.answers(fleet.machines[plant.MASTER])
        assert wiring.master is not None
        public = ipaddress.ip_network(wiring.world.floating_cidr)
        ends = (str(public[1]), str(public[_FIRST]), str(public[_LAST]))
        wiring.master.adopt(ENVIRONMENT, deployed, public=(str(public), *ends), access=wiring.access)
        fuel["template_node"] = next(machine.name for machine in deployed if "compute" in machine.roles)
    fuel = {
        "url": f"http://127.0.0.1:{door.getsockname()[1]}",
        "user": plant.FUEL_USER,
        "password_entry": "fuel",
    } | fuel
    wiring.password("fuel")
    document = plant.describe(fleet, bmcs=faces, switches=switches, fuel=fuel)
    return document, {entry: {"password": secret} for entry, secret in wiring.passwords.items()}


async def _start_switch(wiring: Wiring) -> dict[str, dict[str, Any]]:
    from pumphouse.lab.hardware.switch_snmp import start_snmp
    from pumphouse.lab.hardware.switch_ssh import start_ssh

    ssh = await start_ssh(wiring.fleet, plant.SWITCH_USER, wiring.password(plant.SWITCH), name=plant.SWITCH)
    wiring.stack.push_async_callback(ssh.stop)
    agent = await start_snmp(wiring.fleet, wiring.password(plant.SNMP_SWITCH))
    wiring.stack.push_async_callback(agent.stop)
    return {
        plant.SWITCH: {
            "driver": "netmiko",
            "platform": "cisco_ios",
            "address": "127.0.0.1",
            "port": ssh.port,
            "user": plant.SWITCH_USER,
            "password_entry": plant.SWITCH,
            "options": {"host_key": ssh.host_key},
        },
        plant.SNMP_SWITCH: {
            "driver": "snmp",
            "address": "127.0.0.1",
            "port": agent.port,
            "password_entry": plant.SNMP_SWITCH,
        },
    }
