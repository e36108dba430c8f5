"""One emulated BMC: the IPMI 2.0 face of a machine of the lab.

Sessions and packets are pyghmi's (:class:`pyghmi.ipmi.bmc.Bmc`). What it lacks is here: it refuses cipher suites that
it does not speak (pyghmi answers an HMAC-SHA256 offer with SHA1, which kills pyghmi's own client), answers unknown
users and wrong passwords, forgets closed sessions, keeps the persistent flag of the boot device, and knows FRU, GUID
and SDR. pyghmi's own I/O thread is not used: it and the sender flip one socket between blocking and not blocking,
which with several sockets ends in a read that waits for ever.

pyghmi keeps state in its modules: this belongs into a process without IPMI clients.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private.constants import payload_types
from pyghmi.ipmi.private.serversession import ServerSession
from pyghmi.ipmi.private.session import Session

from pumphouse.lab.hardware import bmc_records

OK, UNSPECIFIED, NO_COMMAND = 0x00, 0xFF, 0xC1
NO_PARAMETER, BAD_LENGTH, NOT_THERE, BAD_FIELD, NOT_NOW = 0x80, 0xC7, 0xCB, 0xCC, 0xD5
#: What the boot flags' device selector means, and back (IPMI 2.0, table 28-14).
DEVICES = {0: "default", 1: "pxe", 2: "disk", 5: "cdrom"}
SELECTORS = {device: number for number, device in DEVICES.items()}
POWER = {0: "off", 1: "on", 2: "cycle", 3: "reset", 5: "off"}
_RMCP = b"\x06\x00\xff\x07"
_OPEN_SESSION, _SHA1 = 0x10, 1
_REPEAT_S = 5.0
# no BMC is as fast as loopback; pyghmi's client misses an answer that is there before it waits, for up to a second
_THINKS_S = 0.004

Reply = tuple[int, bytes]
View = Mapping[str, Any]


class Wires(Protocol):
    """The way to the machines' physics."""

    async def machine(self, name: str) -> View:
        """A machine as the lab's control port shows it."""

    async def machines(self) -> list[View]:
        """All machines."""

    async def press(self, name: str, button: str, **body: Any) -> View:
        """``power`` or ``boot`` of a machine."""


class LabSession(ServerSession):  # type: ignore[misc]
    """A session that refuses who it does not know, and goes when it is closed.

    ``key`` is the last command, ``reply`` its answer: a repeated command is answered again, not carried out again.
    """

    key: tuple[Any, ...] | None = None
    reply: Reply = (OK, b"")
    answered_at: float = 0.0

    def _got_rakp1(self, data: bytearray) -> None:
        name = bytes(data[28 : 28 + data[27]]).decode("utf-8", "replace")
        if name not in self.authdata:
            refusal = bytearray((data[0], 0x0D, 0, 0)) + self.clientsessionid
            self.send_payload(refusal, payload_types["rakp2"], retry=False)
            return
        super()._got_rakp1(data)

    def _got_rakp3(self, data: bytearray) -> None:
        super()._got_rakp3(data)
        if self.sessionid == 0:
            refusal = bytearray((data[0], 0x0F, 0, 0)) + self.clientsessionid
            self.send_payload(refusal, payload_types["rakp4"], retry=False)

    def close_server_session(self) -> None:
        """Forget the session; the client may have others, with other BMCs, from the same port."""
        handlers = Session.bmc_handlers.get(self.sockaddr, {})
        handlers.pop(self.bmc.port, None)
        if not handlers:
            Session.bmc_handlers.pop(self.sockaddr, None)


class LabBmc(Bmc):  # type: ignore[misc]
    """The BMC of one machine, on a UDP port of loopback (0: a free one, see ``port``).

    Datagrams are answered in order, each after a look at the machine: that is where staged faults take effect.
    """

    def __init__(self, name: str, port: int, user: str, password: str, guid: str, wires: Wires) -> None:
        # not the base's: it hands the socket to pyghmi's I/O thread
        self.name = name
        self.wires = wires
        self.authdata = {user: password}
        self.uuid = uuid.UUID(guid)
        self.kg = None
        self.authcap = bytes((0, 1, 0x80, 0x04, 0x02, 0, 0, 0, 0))
        self.pktqueue: deque[tuple[Any, ...]] = deque()
        self.serversocket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.serversocket.bind(("127.0.0.1", port))
        except OSError:
            self.serversocket.close()
            raise
        self.serversocket.setblocking(False)
        self.port = self.serversocket.getsockname()[1]
        self._arrived: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue(maxsize=64)
        self._asked: tuple[dict[str, Any], LabSession] | None = None
        self._disk_chosen = False
        self._efi = 0
        Session.bmc_handlers[self.serversocket] = {0: self}

    async def serve(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.serversocket, self._receive)
        try:
            while True:
                await self._handle(*await self._arrived.get())
        finally:
            loop.remove_reader(self.serversocket)
            Session.bmc_handlers.pop(self.serversocket, None)
            self.serversocket.close()

    def _receive(self) -> None:
        while True:
            try:
                arrived = self.serversocket.recvfrom(3000, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not self._arrived.full():
                self._arrived.put_nowait(arrived)

    async def _handle(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            view = await self.wires.machine(self.name)
        except OSError:
            return
        if "bmc-silent" in view["staged"]:
            return
        if "bmc-garbage" in view["staged"]:
            self.serversocket.sendto(_garbage(), sender)
            return
        await asyncio.sleep(_THINKS_S)
        self._asked = None
        known = Session.bmc_handlers.get(sender, {}).get(self.port)
        target = known or self
        target.pktqueue.append((data, sender, self.serversocket, known is not None))
        try:
            target.process_pktqueue()
        except Exception:  # noqa: BLE001 (pyghmi takes malformed packets apart without looking; a BMC drops them)
            return
        if self._asked is not None:
            await self._answer(*self._asked, view)

    def sessionless_data(self, data: bytes, sockaddr: tuple[str, int]) -> None:
        """Packets outside of a session: opening one with SHA1 only, else as pyghmi does."""
        opening = len(data) >= 29 and data[:4] == _RMCP and data[4] == 6 and data[5] == _OPEN_SESSION
        if not opening:
            super().sessionless_data(data, sockaddr)
        elif data[28] == _SHA1:
            LabSession(self.authdata, None, sockaddr, self.serversocket, data[16:], self.uuid, self)
        else:
            refusal = bytes((data[16], 0x11, 0, 0)) + bytes(data[20:24])
            head = _RMCP + bytes((6, 0x11)) + bytes(8) + len(refusal).to_bytes(2, "little")
            self.serversocket.sendto(head + refusal, sockaddr)

    def handle_raw_request(self, request: dict[str, Any], session: LabSession) -> None:
        """Remember a command; it is answered when the packet is done with."""
        self._asked = (request, session)

    async def _answer(self, request: dict[str, Any], session: LabSession, view: View) -> None:
        key = (session.seqlun, request["netfn"], request["command"], bytes(request["data"]))
        if session.key != key or time.monotonic() - session.answered_at > _REPEAT_S:
            try:
                session.reply = await self._carry_out(request["netfn"], request["command"], key[3], view)
            except LookupError:
                session.reply = (BAD_LENGTH, b"")
            except OSError:
                session.reply = (UNSPECIFIED, b"")
            session.key = key
            session.answered_at = time.monotonic()
        code, data = session.reply
        session.send_ipmi_response(data=data, code=code)

    async def _carry_out(self, netfn: int, command: int, data: bytes, view: View) -> Reply:
        match (netfn, command):
            case (0x06, 0x01):
                return OK, bmc_records.DEVICE_ID
            case (0x06, 0x37):
                return OK, uuid.UUID((await self._identity(view))["guid"]).bytes_le
            case (0x00, 0x01):
                return OK, bytes((0x01 if view["power"] == "on" else 0x00, 0, 0))
            case (0x00, 0x02):
                return await self._control(data, view)
            case (0x00, 0x08):
                return await self._choose_boot(data)
            case (0x00, 0x09):
                return self._boot(data, view)
            case (0x0A, _):
                return self._stored(command, data, await self._identity(view))
        return NO_COMMAND, b""

    async def _control(self, data: bytes, view: View) -> Reply:
        wanted = POWER.get(data[0] & 0x0F)
        if wanted is None:
            return BAD_FIELD, b""
        if wanted in ("cycle", "reset") and view["power"] == "off":
            return NOT_NOW, b""
        await self.wires.press(self.name, "power", power=wanted)
        return OK, b""

    async def _choose_boot(self, data: bytes) -> Reply:
        parameter = data[0] & 0x7F
        if parameter in (0, 3, 4):
            # set in progress, what clears the flags by itself, who has read them: nothing of it shows
            return OK, b""
        if parameter != 5:
            return NO_PARAMETER, b""
        flags, selector = data[1], (data[2] >> 2) & 0x0F
        if selector not in DEVICES:
            return BAD_FIELD, b""
        device = DEVICES[selector] if flags & 0x80 else "default"
        persistent = bool(flags & 0x40)
        await self.wires.press(self.name, "boot", device=device, persistent=persistent)
        self._disk_chosen = device == "disk" and persistent
        self._efi = flags & 0x20
        return OK, b""

    def _boot(self, data: bytes, view: View) -> Reply:
        if data[0] & 0x7F != 5:
            return NO_PARAMETER, b""
        device = view["boot_once"] or view["boot_always"]
        # machines boot from their disk anyhow: the flags are valid only if somebody asked for it
        untouched = not view["boot_once"] and device == "disk" and not self._disk_chosen
        flags = 0 if untouched else 0x80 | self._efi | (0 if view["boot_once"] else 0x40)
        selector = 0 if untouched else SELECTORS[device] << 2
        return OK, bytes((1, 5, flags, selector, 0, 0, 0))

    async def _identity(self, view: View) -> View:
        if "foreign-serial" not in view["staged"]:
            return view
        others = [other for other in await self.wires.machines() if other["name"] != self.name]
        made_up = {**view, "serial": f"{view['serial']}-FOREIGN", "guid": str(uuid.uuid5(self.uuid, "foreign"))}
        return others[0] if others else made_up

    def _stored(self, command: int, data: bytes, identity: View) -> Reply:
        if command in (0x10, 0x11) and data[0] != 0:
            return NOT_THERE, b""
        records = bmc_records.sensor_records()
        match command:
            case 0x10:
                size = len(bmc_records.fru(identity["serial"], identity["product"]))
                return OK, size.to_bytes(2, "little") + b"\0"
            case 0x11:
                start, count = int.from_bytes(data[1:3], "little"), data[3]
                piece = bmc_records.fru(identity["serial"], identity["product"])[start : start + count]
                return OK, bytes((len(piece),)) + piece
            case 0x20:
                return OK, bytes((0x51, 1, 0, 0, 0)) + bytes(8) + b"\x02"
            case 0x22:
                return OK, b"\x01\x00"
            case 0x23:
                start, count = data[4], data[5]
                return OK, b"\xff\xff" + (records[start:] if count == 0xFF else records[start : start + count])
        return NO_COMMAND, b""


def _garbage() -> bytes:
    """Noise; every other one begins as IPMI does."""
    noise = os.urandom(1 + os.urandom(1)[0] % 160)
    return _RMCP + noise if noise[0] & 1 else noise
