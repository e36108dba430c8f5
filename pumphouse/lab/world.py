"""What both simulated clouds share: time, and one layer-2 network on which guests really listen.

Everything runs in one asyncio event loop, so state changes between two ``await`` are atomic and need
no locks. A guest that is powered on binds a TCP socket on its own fixed address (cut from 127.0.0.0/8);
the same address alive twice is recorded as a violation, whichever clouds the two guests belong to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pumphouse.lab.checkpoint import Checkpoints
from pumphouse.lab.faults import Faults


@dataclass(frozen=True)
class Timing:
    """How long actions take, in seconds of real time; ``scale`` multiplies all of them.

    ``fixed_ip_release_s`` is how long nova-network still counts a deleted server's address as taken;
    ``service_down_s`` how long Nova believes in a service that gives no sign of life any more, ``report_s`` how often
    it gives one. Machines: ``node_boot_s`` from power to services, ``fuel_install_s`` from a Fuel master's medium to
    its disk.
    """

    boot_s: float = 1.5
    stop_s: float = 0.8
    start_s: float = 0.8
    delete_s: float = 0.3
    reboot_s: float = 0.8
    guest_boot_s: float = 0.4
    migrate_s: float = 1.5
    snapshot_s: float = 1.0
    suspend_s: float = 0.5
    fixed_ip_release_s: float = 10.0
    service_down_s: float = 2.0
    report_s: float = 1.0
    node_boot_s: float = 2.0
    fuel_install_s: float = 4.0
    image_mib_per_s: float = 2000.0
    scale: float = 1.0

    def of(self, action: str) -> float:
        """Seconds that ``action`` ("boot", "stop" …) takes."""
        return float(getattr(self, f"{action}_s")) * self.scale


#: The law that no machine is taken away under a server that is alive.
LOST_HOST = "server-lost-host"


@dataclass(frozen=True)
class Violation:
    """A broken law of the site, e.g. two live copies of one address."""

    at: datetime
    kind: str
    address: str
    detail: str


@dataclass
class Guest:
    """A running server's presence on the shared network."""

    cloud: str
    server_id: str
    name: str
    address: str
    mac: str
    server: asyncio.AbstractServer | None = None
    connections: set[asyncio.StreamWriter] = field(default_factory=set)


@dataclass
class Layer2:
    """The shared Private and Public networks: who is alive on which address.

    ``socket_cap`` bounds the sockets: guests beyond it are alive (and can be in violation) but do not listen.
    """

    guest_port: int
    guests: dict[tuple[str, str, str], Guest] = field(default_factory=dict)
    floating: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    history: list[dict[str, object]] = field(default_factory=list)
    socket_cap: int = 300
    _by_address: dict[str, list[Guest]] = field(default_factory=dict)
    _by_server: dict[tuple[str, str], list[Guest]] = field(default_factory=dict)
    _sockets: int = 0

    async def power_on(self, guest: Guest) -> None:
        """Bring a guest alive on its address; a second live copy is a violation, not an error."""
        key = (guest.cloud, guest.server_id, guest.address)
        if key in self.guests:
            return
        sharers = self._by_address.setdefault(guest.address, [])
        others = list(sharers)
        self.guests[key] = guest
        sharers.append(guest)
        self._by_server.setdefault((guest.cloud, guest.server_id), []).append(guest)
        self._note("on", guest.cloud, guest.server_id, guest.address)
        for other in others:
            self.violate(
                "duplicate-fixed-ip",
                guest.address,
                f"{guest.cloud}/{guest.server_id} came up while {other.cloud}/{other.server_id} is alive",
            )
        if not others:
            await self._listen(guest)

    async def power_off(self, cloud: str, server_id: str) -> None:
        """Take every address of a server off the network; open connections are cut."""
        for guest in self._by_server.pop((cloud, server_id), []):
            del self.guests[cloud, server_id, guest.address]
            sharers = self._by_address[guest.address]
            sharers.remove(guest)
            self._note("off", cloud, server_id, guest.address)
            listened = guest.server is not None
            self._silence(guest)
            if listened and sharers:
                await self._listen(sharers[0])

    async def close(self) -> None:
        """Take everybody off the network (the site is being switched off; nothing is recorded)."""
        for guest in self.guests.values():
            self._silence(guest)
        self.guests.clear()
        self._by_address.clear()
        self._by_server.clear()

    def is_alive(self, cloud: str, server_id: str) -> bool:
        """Whether a server is on the network."""
        return (cloud, server_id) in self._by_server

    def bind_floating(self, address: str, cloud: str, server_id: str) -> None:
        """A cloud starts to answer for a floating address."""
        holders = self.floating.setdefault(address, set())
        if holders - {(cloud, server_id)}:
            self.violate("duplicate-floating-ip", address, f"{cloud}/{server_id} took it from {sorted(holders)}")
        holders.add((cloud, server_id))
        self._note("float-on", cloud, server_id, address)

    def unbind_floating(self, address: str, cloud: str) -> None:
        """A cloud stops answering for a floating address."""
        holders = self.floating.get(address, set())
        for holder in [h for h in holders if h[0] == cloud]:
            holders.discard(holder)
            self._note("float-off", cloud, holder[1], address)

    def violate(self, kind: str, address: str, detail: str) -> None:
        """Record a broken law of the site."""
        self.violations.append(Violation(datetime.now(UTC), kind, address, detail))

    def built_anew(self, cloud: str, server_id: str, host: str) -> None:
        """A cloud built a server anew on another host, whose own had gone before: that host was fenced, and the server
        is not lost. The law is not broken then; what happened is in the history.
        """
        told = f"{cloud}/{server_id} "
        for law in [one for one in self.violations if one.kind == LOST_HOST and one.detail.startswith(told)]:
            self.violations.remove(law)
            told_of = {"t": law.at.timestamp(), "event": "fenced", "cloud": cloud, "server_id": server_id}
            detail = f"{law.detail}; it was built anew on {host}"
            self.history.append({**told_of, "address": law.address, "detail": detail})

    async def _listen(self, guest: Guest) -> None:
        if self._sockets >= self.socket_cap:
            return

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            guest.connections.add(writer)
            try:
                async with asyncio.timeout(5):
                    # a close with unread input would reset the connection and could destroy the answer
                    first = await reader.readline()
                    line = first
                    while line.strip():
                        line = await reader.readline()
                    if first:
                        body = f"{guest.name} {guest.server_id} {guest.cloud}\n".encode()
                        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
                        writer.write(head.encode() + body)
                        await writer.drain()
            except (OSError, TimeoutError, ValueError):
                pass
            finally:
                guest.connections.discard(writer)
                with contextlib.suppress(OSError):
                    writer.close()

        self._sockets += 1
        try:
            # known before it listens: a boot that is called off here leaves nobody who goes on answering
            guest.server = await asyncio.start_server(answer, guest.address, self.guest_port, start_serving=False)
            await guest.server.start_serving()
        except OSError as error:
            self._sockets -= 1
            self.violate("address-not-ours", guest.address, f"{guest.cloud}/{guest.server_id} cannot listen: {error}")
            return
        if self.guests.get((guest.cloud, guest.server_id, guest.address)) is not guest:
            self._silence(guest)

    def _silence(self, guest: Guest) -> None:
        if guest.server is not None:
            guest.server.close()
            guest.server = None
            self._sockets -= 1
            for writer in list(guest.connections):
                writer.transport.abort()

    def _note(self, event: str, cloud: str, server_id: str, address: str) -> None:
        self.history.append(
            {"t": time.time(), "event": event, "cloud": cloud, "server_id": server_id, "address": address}
        )


@dataclass
class World:
    """One simulated site's physics. ``dir`` is where the clouds may keep image bytes.

    Each HTTP application takes ``faults.middleware(service)`` as its outermost middleware, so that any
    request can be made slow or made to fail.
    """

    timing: Timing
    layer2: Layer2
    fixed_cidr: str
    floating_cidr: str
    dir: str = ""
    faults: Faults = field(default_factory=Faults)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)

    def __post_init__(self) -> None:
        self.faults.checkpoints = self.checkpoints
