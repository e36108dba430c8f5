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


@dataclass(frozen=True)
class Timing:
    """How long actions take, in seconds of real time; ``scale`` multiplies all of them."""

    boot_s: float = 1.5
    stop_s: float = 0.8
    start_s: float = 0.8
    delete_s: float = 0.3
    reboot_s: float = 0.8
    guest_boot_s: float = 0.4
    migrate_s: float = 1.5
    snapshot_s: float = 1.0
    image_mib_per_s: float = 2000.0
    scale: float = 1.0

    def of(self, action: str) -> float:
        """Seconds that ``action`` ("boot", "stop" …) takes."""
        return float(getattr(self, f"{action}_s")) * self.scale


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


@dataclass
class Layer2:
    """The shared Private and Public networks: who is alive on which address."""

    guest_port: int
    guests: dict[tuple[str, str, str], Guest] = field(default_factory=dict)
    floating: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    history: list[dict[str, object]] = field(default_factory=list)

    async def power_on(self, guest: Guest) -> None:
        """Bring a guest alive on its address; a second live copy is a violation, not an error."""
        key = (guest.cloud, guest.server_id, guest.address)
        if key in self.guests:
            return
        others = [g for g in self.guests.values() if g.address == guest.address]
        self.guests[key] = guest
        self._note("on", guest.cloud, guest.server_id, guest.address)
        for other in others:
            self._violate(
                "duplicate-fixed-ip",
                guest.address,
                f"{guest.cloud}/{guest.server_id} came up while {other.cloud}/{other.server_id} is alive",
            )
        if not others:
            await self._listen(guest)

    async def power_off(self, cloud: str, server_id: str) -> None:
        """Take every address of a server off the network."""
        for key in [k for k in self.guests if k[:2] == (cloud, server_id)]:
            guest = self.guests.pop(key)
            self._note("off", cloud, server_id, guest.address)
            if guest.server is not None:
                guest.server.close()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(guest.server.wait_closed(), 1)
                heirs = [g for g in self.guests.values() if g.address == guest.address]
                if heirs:
                    await self._listen(heirs[0])

    def bind_floating(self, address: str, cloud: str, server_id: str) -> None:
        """A cloud starts to answer for a floating address."""
        holders = self.floating.setdefault(address, set())
        if holders - {(cloud, server_id)}:
            self._violate("duplicate-floating-ip", address, f"{cloud}/{server_id} took it from {sorted(holders)}")
        holders.add((cloud, server_id))
        self._note("float-on", cloud, server_id, address)

    def unbind_floating(self, address: str, cloud: str) -> None:
        """A cloud stops answering for a floating address."""
        holders = self.floating.get(address, set())
        for holder in [h for h in holders if h[0] == cloud]:
            holders.discard(holder)
            self._note("float-off", cloud, holder[1], address)

    async def _listen(self, guest: Guest) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.wait_for(reader.readuntil(b"\n"), 5)
                body = f"{guest.name} {guest.server_id} {guest.cloud}\n".encode()
                head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
            writer.close()

        guest.server = await asyncio.start_server(answer, guest.address, self.guest_port)

    def _violate(self, kind: str, address: str, detail: str) -> None:
        self.violations.append(Violation(datetime.now(UTC), kind, address, detail))

    def _note(self, event: str, cloud: str, server_id: str, address: str) -> None:
        self.history.append(
            {"t": time.time(), "event": event, "cloud": cloud, "server_id": server_id, "address": address}
        )


@dataclass
class World:
    """One simulated site's physics."""

    timing: Timing
    layer2: Layer2
    fixed_cidr: str
    floating_cidr: str
    dir: str = ""
