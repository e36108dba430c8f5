"""The physics of bare metal: power, boot order, disks, and which VLAN each NIC's switch port is in.

Nothing here knows a protocol. BMCs, the switch's SSH and SNMP and Fuel are faces of this one state; clouds learn of a
machine that comes or goes through :attr:`Fleet.followers`. Everything runs in the lab's event loop, so that state
changes between two ``await`` are atomic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

#: What can be on a machine's disk, and what can run on it. ``bootstrap`` runs from memory only, as does ``installer``,
#: the medium of a Fuel master while it copies itself to the disk.
DISKS = ("source", "destination", "fuel", "blank")
BOOT_DEVICES = ("pxe", "disk", "cdrom", "default")
#: Staged faults: the chassis keeps its power state; it boots something else by PXE; the deployment errors on it; its
#: BMC tells another machine's serial; its BMC is silent; its BMC answers with noise; its port ignores a VLAN change.
STAGED = (
    "stuck-power", "wrong-image", "deploy-error", "foreign-serial", "bmc-silent", "bmc-garbage", "deaf-port"
)  # fmt: skip


@dataclass
class Port:
    """A switch port: VLAN of untagged frames, and VLANs carried tagged."""

    name: str
    vlan: int
    tagged: set[int] = field(default_factory=set)


@dataclass
class Nic:
    """A machine's NIC and the port that it is plugged into."""

    name: str
    mac: str
    port: str


@dataclass
class Machine:
    """One physical machine; its first NIC is the one that boots by PXE.

    ``runs`` is what is up on it at this moment: an entry of :data:`DISKS`, ``bootstrap``, ``wrong-image``,
    ``installer``, or None (no power, or nothing bootable). ``host`` is its name as a host of the source's services.
    ``medium`` is what the operator put into its drive: ``fuel`` or nothing. ``hostname`` and ``roles`` are what Fuel
    deployed on it: its name in the destination, and ``controller``, ``compute`` …; no roles: an operating system only.
    """

    name: str
    serial: str
    product: str
    guid: str
    nics: list[Nic]
    host: str = ""
    vcpus: int = 16
    memory_mb: int = 32768
    disk_gb: int = 500
    power: bool = True
    boot_once: str | None = None
    boot_always: str = "disk"
    disk: str = "source"
    runs: str | None = "source"
    staged: set[str] = field(default_factory=set)
    medium: str = ""
    hostname: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """What Fuel knows of an environment whose first controller is deployed: its public VIP and ``editable.access``.

    ``floating`` is the slice of the Public network that it may give out, first and last address.
    """

    environment: str
    vip: str
    username: str
    password: str
    tenant: str
    net_provider: str = "neutron"
    floating: tuple[str, str] | None = None


Follower = Callable[[Machine, str | None, str | None], Awaitable[None]]


@dataclass
class Fleet:
    """All machines and the switch. ``admin_vlan`` is where a Fuel master serves PXE while ``pxe`` is True.

    ``medium`` is what the operator's own PXE server offers in the Admin VLAN while no Fuel master does: ``fuel`` or
    nothing. Followers are called as ``follower(machine, ran, runs)`` after each change of what runs on a machine, and
    with the same thing twice when what Fuel deployed on it begins to serve; ``wire_followers`` as ``(port, was)``
    after a port's VLAN changed; ``opened`` when a cloud that Fuel deployed begins to answer. ``delays`` tells how long
    what the Fuel master does takes, in seconds before the lab's scale. ``guests`` tells the MACs of the servers
    that are alive on each machine.
    """

    machines: dict[str, Machine] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    vlans: dict[int, str] = field(default_factory=dict)
    admin_vlan: int = 0
    pxe: bool = True
    medium: str = ""
    followers: list[Follower] = field(default_factory=list)
    wire_followers: list[Callable[[Port, int], None]] = field(default_factory=list)
    opened: list[Callable[[Deployment], Awaitable[None]]] = field(default_factory=list)
    history: list[dict[str, object]] = field(default_factory=list)
    delays: dict[str, float] = field(default_factory=dict)
    guests: Callable[[], Mapping[str, Iterable[str]]] = dict

    def in_admin_vlan(self, machine: Machine) -> bool:
        """Whether the PXE NIC's port is in the Admin VLAN."""
        return self.ports[machine.nics[0].port].vlan == self.admin_vlan

    def heard(self) -> dict[str, list[tuple[int, str]]]:
        """VLAN and MAC of whoever is heard at each port: what has power and runs speaks, and its guests do with it.

        The old cloud's guests are on the first NIC's network, the new one's on the other's tagged one.
        """
        found: dict[str, list[tuple[int, str]]] = {name: [] for name in self.ports}
        guests = self.guests()
        for machine in self.machines.values():
            if not machine.power or machine.runs is None:
                continue
            for number, nic in enumerate(machine.nics):
                port = self.ports[nic.port]
                found[port.name].append((port.vlan, nic.mac))
                if number == 0 and machine.runs == "source":
                    found[port.name] += [(port.vlan, mac) for mac in guests.get(machine.name, ())]
                elif number > 0 and machine.runs == "destination" and port.tagged:
                    found[port.name] += [(min(port.tagged), mac) for mac in guests.get(machine.name, ())]
        return found

    async def switch_on(self, machine: Machine) -> None:
        """Give power; the machine boots. Nothing happens where it has power, or its power is stuck."""
        if machine.power or "stuck-power" in machine.staged:
            return
        machine.power = True
        self._note("power-on", machine.name)
        await self.boot(machine)

    async def switch_off(self, machine: Machine) -> None:
        """Take power away, hard."""
        if not machine.power or "stuck-power" in machine.staged:
            return
        machine.power = False
        self._note("power-off", machine.name)
        await self._becomes(machine, None)

    async def cycle(self, machine: Machine) -> None:
        """Off and on again; a machine without power gets it."""
        await self.switch_off(machine)
        await self.switch_on(machine)

    async def reset(self, machine: Machine) -> None:
        """Boot again without taking power away; nothing happens without power, or where it is stuck."""
        if machine.power and "stuck-power" not in machine.staged:
            self._note("reset", machine.name)
            await self._becomes(machine, None)
            await self.boot(machine)

    def choose_boot(self, machine: Machine, device: str, *, persistent: bool = False) -> None:
        """Choose where the next boot (``persistent``: every boot) comes from; ``default`` forgets earlier choices."""
        if device not in BOOT_DEVICES:
            raise ValueError(f"nothing boots from {device!r}")
        self._note("boot-device", machine.name, device=device, persistent=persistent)
        if device == "default":
            machine.boot_once, machine.boot_always = None, "disk"
        elif persistent:
            machine.boot_once, machine.boot_always = None, device
        else:
            machine.boot_once = device

    async def boot(self, machine: Machine) -> None:
        """Boot from the chosen device; what cannot be booted from falls back to the disk.

        PXE needs the Admin VLAN and somebody who serves there: a Fuel master, or else the operator's own server.
        """
        device = machine.boot_once or machine.boot_always
        machine.boot_once = None
        runs: str | None = machine.disk
        if device == "pxe" and self.in_admin_vlan(machine) and (self.pxe or self.medium):
            runs = "bootstrap" if self.pxe else "installer"
            if "wrong-image" in machine.staged:
                runs = "wrong-image"
        elif device == "cdrom" and machine.medium:
            runs = "installer"
        await self._becomes(machine, None if runs == "blank" else runs)

    async def install(self, machine: Machine, what: str) -> None:
        """Overwrite the disk and boot from it (what a provisioning does); what Fuel deployed there before is gone."""
        if what not in DISKS:
            raise ValueError(f"a disk cannot hold {what!r}")
        machine.disk, machine.hostname, machine.roles = what, "", ()
        self._note("install", machine.name, what=what)
        await self._becomes(machine, None)
        await self._becomes(machine, None if what == "blank" else what)

    async def serve(self, machine: Machine, hostname: str, roles: tuple[str, ...]) -> None:
        """What a deployment does on a machine that runs the destination's system: its services come up."""
        machine.hostname, machine.roles = hostname, roles
        self._note("serve", machine.name, hostname=hostname, roles=list(roles))
        for follower in self.followers:
            await follower(machine, machine.runs, machine.runs)

    async def open(self, deployment: Deployment) -> None:
        """A cloud that Fuel deployed answers at its VIP from now on."""
        self._note("open", deployment.environment, vip=deployment.vip)
        for opened in self.opened:
            await opened(deployment)

    def set_vlan(self, port: str, vlan: int) -> None:
        """Move a port's untagged frames to a VLAN."""
        if vlan not in self.vlans:
            raise ValueError(f"the switch has no VLAN {vlan}")
        deaf = any(n.port == port and "deaf-port" in m.staged for m in self.machines.values() for n in m.nics)
        self._note("vlan", port, vlan=vlan, deaf=deaf)
        if deaf or self.ports[port].vlan == vlan:
            return
        was, self.ports[port].vlan = self.ports[port].vlan, vlan
        for follower in self.wire_followers:
            follower(self.ports[port], was)

    async def _becomes(self, machine: Machine, runs: str | None) -> None:
        ran, machine.runs = machine.runs, runs
        if ran == runs:
            return
        self._note("runs", machine.name, ran=ran, runs=runs)
        for follower in self.followers:
            await follower(machine, ran, runs)

    def _note(self, event: str, name: str, **more: object) -> None:
        self.history.append({"t": datetime.now(UTC).isoformat(), "event": event, "name": name, **more})
