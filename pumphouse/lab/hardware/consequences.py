"""What follows from bare metal: hosts of both clouds come and go with the machines that they run on.

A machine serves a cloud while it has power, runs that cloud's system and, at the source, its first NIC is in the VLAN
in which it was cabled. When it stops serving, its guests are gone at once and Nova notices later. Laws that are
recorded when they are broken:

- ``server-lost-host``: a machine was taken away under a server that was alive; until its cloud has built it anew on
  another host, for then its own was fenced;
- ``server-lost-disk``: a disk was overwritten that held a server, whose address nobody has anywhere else;
- ``controller-lost``: the source's controller went while guests of the source were alive (its services are dark then);
- ``gateway-lost``: likewise the network host, through which floating addresses and the outer world are reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from pumphouse.lab.hardware.fleet import Fleet, Machine, Port
from pumphouse.lab.hardware.plant import CONTROLLERS
from pumphouse.lab.hardware.tenants import Tenants
from pumphouse.lab.world import LOST_HOST, World

_SERVES = ("source", "destination")
_CONTROL_HOST, _NETWORK_HOST = tuple(CONTROLLERS)


class Consequences:
    """Follows a fleet; :attr:`tenants` are the clouds by what runs on their machines.

    ``masters`` are told of the machine on which a Fuel master begins to answer; where none runs, Fuel is dark.
    """

    #: Attributes that a checkpoint keeps.
    KEPT = ("_serving", "_disks", "_up_now", "_lost_power")

    def __init__(self, world: World, fleet: Fleet, tenants: dict[str, Tenants]) -> None:
        self.world = world
        self.fleet = fleet
        self.tenants = tenants
        self.masters: list[Callable[[Machine], Awaitable[None]]] = []
        self._homes = {name: fleet.ports[m.nics[0].port].vlan for name, m in fleet.machines.items()}
        self._serving = {name: self._serves(m) for name, m in fleet.machines.items()}
        self._disks = {name: (m.disk, m.hostname) for name, m in fleet.machines.items()}
        self._up_now = {name for name, serves in self._serving.items() if serves}
        self._lost_power = set(self._serving) - self._up_now
        self.tasks: dict[str, asyncio.Task[None]] = {}
        fleet.followers.append(self.follow)
        fleet.wire_followers.append(self.rewired)
        self.shine()

    def adopt(self, name: str, tenants: Tenants) -> None:
        """A cloud began to answer on machines that serve it already."""
        self.tenants[name] = tenants
        for machine in self.fleet.machines.values():
            if self._serving[machine.name] == name:
                self._later(f"{machine.name} boots", "report", partial(self._up, machine.name))

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _serves(self, machine: Machine) -> str:
        if machine.runs == "source":
            return "source" if self.fleet.ports[machine.nics[0].port].vlan == self._homes[machine.name] else ""
        if machine.runs == "destination":
            return "destination" if machine.roles else ""
        return "fuel" if machine.runs == "fuel" else ""

    def guests(self) -> dict[str, list[str]]:
        """MACs of the servers that are alive on each machine."""
        machines = {(self._serving[name], self.host_of(one)): name for name, one in self.fleet.machines.items()}
        found: dict[str, list[str]] = {}
        for serves, tenants in self.tenants.items():
            for guest in self.world.layer2.guests.values():
                where = tenants.host_of(guest.server_id) if guest.cloud == tenants.name else None
                if (serves, where) in machines:
                    found.setdefault(machines[serves, str(where)], []).append(guest.mac)
        return found

    def host_of(self, machine: Machine) -> str:
        """A machine's name in the cloud that it serves or last served."""
        return machine.host if self._disks[machine.name][0] == "source" else self._disks[machine.name][1]

    # --- what happens to a machine

    async def follow(self, machine: Machine, _ran: str | None, runs: str | None) -> None:
        """A machine runs something else, or what Fuel deployed on it begins to serve."""
        if runs not in _SERVES:
            self._lost_power.add(machine.name)
        await self._look(machine)
        await self._overwritten(machine)
        if runs == "installer":
            self._later(f"{machine.name} installs", "fuel_install", partial(self._installed, machine.name))
        else:
            self._drop(f"{machine.name} installs")

    def rewired(self, port: Port, _was: int) -> None:
        """A port is in another VLAN."""
        for machine in self.fleet.machines.values():
            if machine.nics[0].port == port.name:
                self._later(f"{machine.name} is rewired", None, partial(self._look_at, machine.name))

    async def _look_at(self, name: str) -> None:
        await self._look(self.fleet.machines[name])

    async def _look(self, machine: Machine) -> None:
        was, serves = self._serving[machine.name], self._serves(machine)
        if was == serves and machine.hostname == self._disks[machine.name][1]:
            return
        self._serving[machine.name] = serves
        if was != serves:
            self._up_now.discard(machine.name)
        if was in self.tenants and was != serves:
            host = self.host_of(machine)
            await self._silent(machine, was, host)
            self._later(f"{machine.name} is silent", "service_down", partial(self._noticed, machine.name, was, host))
        if was == "fuel":
            self.fleet.pxe = False
        if serves:
            do = self._answers if serves == "fuel" else self._up
            self._later(f"{machine.name} boots", "node_boot", partial(do, machine.name))
        else:
            self._drop(f"{machine.name} boots")
        self.shine()

    async def _silent(self, machine: Machine, cloud: str, host: str) -> None:
        for server_id, name, address in await self.tenants[cloud].fall_silent(host):
            detail = f"{cloud}/{server_id} ({name}) lost its host {host}: machine {machine.name} runs {machine.runs}"
            self.world.layer2.violate(LOST_HOST, address, detail)
        alive = sum(guest.cloud == cloud for guest in self.world.layer2.guests.values())
        broken = {_CONTROL_HOST: "controller-lost", _NETWORK_HOST: "gateway-lost"}.get(machine.host)
        if cloud == "source" and broken is not None and alive:
            detail = f"machine {machine.name} ({machine.host}) went while {alive} guests of {cloud} were alive"
            self.world.layer2.violate(broken, "", detail)

    async def _overwritten(self, machine: Machine) -> None:
        disk, hostname = self._disks[machine.name]
        if (machine.disk, machine.hostname) == (disk, hostname):
            return
        host = self.host_of(machine)
        self._disks[machine.name] = (machine.disk, machine.hostname)
        tenants = self.tenants.get(disk)
        if tenants is None or machine.disk == disk:
            return
        taken = {guest.address for guest in self.world.layer2.guests.values()}
        for server_id, name, addresses in tenants.held(host):
            if not taken.intersection(addresses):
                detail = f"{disk}/{server_id} ({name}) was on the disk of machine {machine.name} ({host})"
                self.world.layer2.violate("server-lost-disk", next(iter(addresses), ""), detail)
        if disk == "destination":
            tenants.vanish(host)

    # --- what happens later

    def _later(self, what: str, action: str | None, do: Callable[[], Awaitable[None]]) -> None:
        self._drop(what)

        async def wait() -> None:
            if action is not None:
                await asyncio.sleep(self.world.timing.of(action))
            if self.tasks.get(what) is asyncio.current_task():
                del self.tasks[what]
            await do()

        self.tasks[what] = asyncio.get_running_loop().create_task(wait())

    def _drop(self, what: str) -> None:
        task = self.tasks.pop(what, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _up(self, name: str) -> None:
        machine = self.fleet.machines[name]
        tenants, host = self.tenants.get(self._serving[name]), self.host_of(machine)
        if tenants is None:
            return
        if "compute" in machine.roles or (machine.disk == "source" and machine.host not in CONTROLLERS):
            if machine.name in self._lost_power:
                tenants.settle(host)
            else:
                await tenants.speak_again(host)
            tenants.appear(host, machine)
        else:
            tenants.tell_alive(host, True)
        if machine.disk == "destination" and "controller" in machine.roles:
            tenants.appear_control(host)
        self._lost_power.discard(machine.name)
        self._up_now.add(machine.name)
        self.shine()

    async def _noticed(self, name: str, cloud: str, host: str) -> None:
        machine = self.fleet.machines[name]
        if self._serving[name] != cloud or self.host_of(machine) != host:
            self.tenants[cloud].tell_alive(host, False)

    async def _installed(self, name: str) -> None:
        await self.fleet.install(self.fleet.machines[name], "fuel")

    async def _answers(self, name: str) -> None:
        for master in self.masters:
            await master(self.fleet.machines[name])
        self._up_now.add(name)
        self.fleet.pxe = True
        self.shine()

    def shine(self) -> None:
        """Clouds without a controller that serves are dark, and so is Fuel without a master."""
        lit = set()
        for name in self._up_now:
            machine, serves = self.fleet.machines[name], self._serving[name]
            if serves == "source" and machine.host == _CONTROL_HOST:
                lit.add("source")
            elif serves == "destination" and "controller" in machine.roles:
                lit.add("destination")
            elif serves == "fuel":
                lit.add("fuel")
        self.world.faults.dark = {*_SERVES, "fuel"} - lit
