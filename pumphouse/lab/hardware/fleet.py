"""The physics of bare metal: power, boot order, disks, and which VLAN each NIC's switch port is in.

Nothing here knows a protocol. BMCs, the switch's SSH and SNMP and Fuel are faces of this one state; clouds learn of a
machine that comes or goes through :attr:`Fleet.followers`. Everything runs in the lab's event loop, so that state
changes between two ``await`` are atomic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

#: What can be on a machine's disk, and what can run on it. ``bootstrap`` runs from memory only.
DISKS = ("source", "destination", "fuel", "blank")
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

    ``runs`` is what is up on it at this moment: an entry of :data:`DISKS`, ``bootstrap``, or None (no power, or
    nothing bootable). ``host`` is its name as a compute host at the source.
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


Follower = Callable[[Machine, str | None, str | None], Awaitable[None]]


@dataclass
class Fleet:
    """All machines and the switch. ``admin_vlan`` is where a Fuel master serves PXE while ``pxe`` is True.

    Followers are called as ``follower(machine, ran, runs)`` after each change of what runs on a machine.
    """

    machines: dict[str, Machine] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    vlans: dict[int, str] = field(default_factory=dict)
    admin_vlan: int = 0
    pxe: bool = True
    followers: list[Follower] = field(default_factory=list)
    history: list[dict[str, object]] = field(default_factory=list)

    def in_admin_vlan(self, machine: Machine) -> bool:
        """Whether the PXE NIC's port is in the Admin VLAN."""
        return self.ports[machine.nics[0].port].vlan == self.admin_vlan

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

    async def boot(self, machine: Machine) -> None:
        """Boot from the chosen device: PXE needs the Admin VLAN and a Fuel master, and falls back to the disk."""
        device = machine.boot_once or machine.boot_always
        machine.boot_once = None
        runs: str | None = machine.disk
        if device == "pxe" and self.pxe and self.in_admin_vlan(machine):
            runs = "wrong-image" if "wrong-image" in machine.staged else "bootstrap"
        await self._becomes(machine, None if runs == "blank" else runs)

    async def install(self, machine: Machine, what: str) -> None:
        """Overwrite the disk and boot from it (what a provisioning does)."""
        if what not in DISKS:
            raise ValueError(f"a disk cannot hold {what!r}")
        machine.disk = what
        self._note("install", machine.name, what=what)
        await self._becomes(machine, None)
        await self._becomes(machine, None if what == "blank" else what)

    def set_vlan(self, port: str, vlan: int) -> None:
        """Move a port's untagged frames to a VLAN."""
        if vlan not in self.vlans:
            raise ValueError(f"the switch has no VLAN {vlan}")
        deaf = any(n.port == port and "deaf-port" in m.staged for m in self.machines.values() for n in m.nics)
        if not deaf:
            self.ports[port].vlan = vlan
        self._note("vlan", port, vlan=vlan, deaf=deaf)

    async def _becomes(self, machine: Machine, runs: str | None) -> None:
        ran, machine.runs = machine.runs, runs
        if ran == runs:
            return
        self._note("runs", machine.name, ran=ran, runs=runs)
        for follower in self.followers:
            await follower(machine, ran, runs)

    def _note(self, event: str, name: str, **more: object) -> None:
        self.history.append({"t": datetime.now(UTC).isoformat(), "event": event, "name": name, **more})
