"""The lab's switch over SNMP: IF-MIB's names, BRIDGE-MIB's ports and Q-BRIDGE-MIB's VLANs, faces of the fleet's ports.

As strict switches are, it takes a SET only if each port that it touches ends as an untagged member of its PVID and of
nothing else untagged; what is half a move gets ``inconsistentValue``, and nothing of the request is done.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto.rfc1902 import Integer32, OctetString
from pysnmp.proto.rfc1905 import endOfMibView, noSuchInstance
from pysnmp.smi import error
from pysnmp.smi.instrum import AbstractMibInstrumController

from pumphouse.lab.hardware.fleet import Fleet, Port

Oid = tuple[int, ...]
_IF_DESCR: Oid = (1, 3, 6, 1, 2, 1, 2, 2, 1, 2)
_IF_NAME: Oid = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1)
_BASE_PORT_IF_INDEX: Oid = (1, 3, 6, 1, 2, 1, 17, 1, 4, 1, 2)
_NAME: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 4, 3, 1, 1)
_EGRESS: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 4, 3, 1, 2)
_UNTAGGED: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 4, 3, 1, 4)
_ROW_STATUS: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 4, 3, 1, 5)
_FDB_PORT: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 2)
_FDB_STATUS: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 3)
_LEARNED = 3
_PVID: Oid = (1, 3, 6, 1, 2, 1, 17, 7, 1, 4, 5, 1, 1)
#: ifIndex of bridge port 1 is one more: who takes the one for the other is found out.
_IF_OFFSET = 10100
_TREE: Oid = (1, 3, 6)
#: A view of nothing: without any, pysnmp lets everything be written.
_NOWHERE: Oid = (1, 3, 6, 0)


@dataclass
class SnmpSwitch:
    """An agent that listens on a UDP port."""

    port: int
    _engine: SnmpEngine

    async def stop(self) -> None:
        """Stop listening."""
        self._engine.close_dispatcher()


@dataclass(frozen=True)
class SnmpUser:
    """A v3 user with SHA-256 and AES-128."""

    name: str
    auth_password: str
    privacy_password: str


async def start_snmp(
    fleet: Fleet,
    community: str,
    *,
    read_community: str = "",
    user: SnmpUser | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> SnmpSwitch:
    """Start a switch's SNMP agent in this event loop.

    :param community: v2c community that may read and write; ``read_community`` one that may only read.
    :param user: v3 user that may read and write; v3 is refused without one.
    :param port: UDP port; 0 for a free one, which the handle tells.
    """
    engine = SnmpEngine()
    transport = udp.UdpAsyncioTransport(loop=asyncio.get_running_loop())
    config.add_transport(engine, udp.DOMAIN_NAME, transport.open_server_mode((host, port)))
    for name, secret, writes in (("writer", community, True), ("reader", read_community, False)):
        if secret:
            config.add_v1_system(engine, name, secret)
            config.add_vacm_user(engine, 2, name, "noAuthNoPriv", _TREE, _TREE if writes else _NOWHERE)
    if user is not None:
        config.add_v3_user(
            engine,
            user.name,
            config.USM_AUTH_HMAC192_SHA256,
            user.auth_password,
            config.USM_PRIV_CFB128_AES,
            user.privacy_password,
        )
        config.add_vacm_user(engine, 3, user.name, "authPriv", _TREE, _TREE)
    contexts = context.SnmpContext(engine)
    contexts.unregister_context_name(OctetString(""))
    contexts.register_context_name(OctetString(""), _Objects(fleet))
    for responder in (
        cmdrsp.GetCommandResponder,
        cmdrsp.NextCommandResponder,
        cmdrsp.BulkCommandResponder,
        cmdrsp.SetCommandResponder,
    ):
        responder(engine, contexts)
    engine.transport_dispatcher.job_started(1)
    await transport._lport  # the socket is bound when this is done
    return SnmpSwitch(int(transport.transport.get_extra_info("sockname")[1]), engine)


class _Objects(AbstractMibInstrumController):  # type: ignore[misc]
    """The MIB, made from the fleet as it is at each request."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._made_of: object = None
        self._made: list[tuple[Oid, Any]] = []

    def read_variables(self, *binds: Any, **context: Any) -> list[tuple[Any, Any]]:
        objects = dict(self._objects())
        return [(name, objects.get(tuple(name), noSuchInstance)) for name, _ in self._allowed("read", binds, context)]

    def read_next_variables(self, *binds: Any, **context: Any) -> list[tuple[Any, Any]]:
        objects = self._objects()
        keys = [key for key, _ in objects]
        found = []
        for name, _ in self._allowed("read", binds, context):
            at = bisect_right(keys, tuple(name))
            found.append((name, endOfMibView) if at == len(keys) else (name.clone(keys[at]), objects[at][1]))
        return found

    def write_variables(self, *binds: Any, **context: Any) -> list[tuple[Any, Any]]:
        allowed = self._allowed("write", binds, context)
        ports = list(self._fleet.ports.values())
        pvids = {index: port.vlan for index, port in enumerate(ports, 1)}
        egress = {vlan: self._members(vlan, tagged=True) for vlan in self._fleet.vlans}
        bare = {vlan: self._members(vlan, tagged=False) for vlan in self._fleet.vlans}
        for at, (name, value) in enumerate(allowed):
            column, index = tuple(name)[:-1], int(name[-1])
            if column == _PVID and index in pvids and int(value) in egress:
                pvids[index] = int(value)
            elif column in {_EGRESS, _UNTAGGED} and index in egress:
                (egress if column == _EGRESS else bare)[index] = _numbers(bytes(value))
            else:
                raise error.NoSuchInstanceError(name=name, idx=at)
        wanted = {index: self._wanted(index, pvids[index], egress, bare) for index in pvids}
        for index, port in enumerate(ports, 1):
            vlan, tagged = wanted[index]
            if vlan != port.vlan:
                self._fleet.set_vlan(port.name, vlan)
            port.tagged = tagged
        return list(binds)

    def _wanted(
        self, index: int, pvid: int, egress: dict[int, set[int]], bare: dict[int, set[int]]
    ) -> tuple[int, set[int]]:
        sends = {vlan for vlan, members in egress.items() if index in members}
        untagged = {vlan for vlan, members in bare.items() if index in members}
        if untagged != {pvid} or pvid not in sends:
            raise error.InconsistentValueError(idx=0)
        return pvid, sends - untagged

    def _allowed(self, how: str, binds: Iterable[Any], context: dict[str, Any]) -> list[Any]:
        check = context["acFun"]
        allowed = list(binds)
        for at, bind in enumerate(allowed):
            if check(how, bind, **{**context, "idx": at}):
                raise error.NoAccessError(name=bind[0], idx=at)
        return allowed

    def _members(self, vlan: int, *, tagged: bool) -> set[int]:
        ports: list[Port] = list(self._fleet.ports.values())
        return {i for i, port in enumerate(ports, 1) if port.vlan == vlan or (tagged and vlan in port.tagged)}

    def _objects(self) -> list[tuple[Oid, Any]]:
        ports = list(self._fleet.ports.values())
        # a walk asks once for each row
        heard = self._fleet.heard()
        made_of = [(port.name, port.vlan, sorted(port.tagged)) for port in ports], dict(self._fleet.vlans), heard
        if made_of == self._made_of:
            return self._made
        width = -(-len(ports) // 8)
        objects: list[tuple[Oid, Any]] = []
        for index, port in enumerate(ports, 1):
            interface = _IF_OFFSET + index
            objects += [
                ((*_IF_DESCR, interface), OctetString(f"Port {index}")),
                ((*_IF_NAME, interface), OctetString(port.name)),
                ((*_BASE_PORT_IF_INDEX, index), Integer32(interface)),
                ((*_PVID, index), Integer32(port.vlan)),
            ]
            for vlan, mac in heard[port.name]:
                row = (vlan, *bytes.fromhex(mac.replace(":", "")))
                objects += [
                    ((*_FDB_PORT, *row), Integer32(index)),
                    ((*_FDB_STATUS, *row), Integer32(_LEARNED)),
                ]
        for vlan, name in self._fleet.vlans.items():
            objects += [
                ((*_NAME, vlan), OctetString(name)),
                ((*_EGRESS, vlan), OctetString(_octets(self._members(vlan, tagged=True), width))),
                ((*_UNTAGGED, vlan), OctetString(_octets(self._members(vlan, tagged=False), width))),
                ((*_ROW_STATUS, vlan), Integer32(1)),
            ]
        self._made_of, self._made = made_of, sorted(objects, key=lambda item: item[0])
        return self._made


def _octets(members: set[int], width: int) -> bytes:
    octets = bytearray(width)
    for member in members:
        octets[(member - 1) // 8] |= 0x80 >> (member - 1) % 8
    return bytes(octets)


def _numbers(octets: bytes) -> set[int]:
    return {8 * at + bit + 1 for at, octet in enumerate(octets) for bit in range(8) if octet & (0x80 >> bit)}
