"""Q-BRIDGE-MIB (RFC 4363) and BRIDGE-MIB (RFC 4188): objects, and lists of ports as bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pumphouse.nodes.api import PortState

#: IF-MIB (RFC 2863): names of interfaces by ifIndex.
IF_NAME = "1.3.6.1.2.1.31.1.1.1.1"
IF_DESCR = "1.3.6.1.2.1.2.2.1.2"
#: dot1dBasePortIfIndex: ifIndex by bridge port.
BASE_PORT_IF_INDEX = "1.3.6.1.2.1.17.1.4.1.2"
#: dot1qTpFdbPort by filtering database and MAC, dot1dTpFdbPort by MAC: the bridge port where it was learned, 0 unknown.
Q_FDB_PORT = "1.3.6.1.2.1.17.7.1.2.2.1.2"
FDB_PORT = "1.3.6.1.2.1.17.4.3.1.2"
#: dot1qTpFdbStatus and dot1dTpFdbStatus by the same: 3 is learned, 4 the switch's own address.
Q_FDB_STATUS = "1.3.6.1.2.1.17.7.1.2.2.1.3"
FDB_STATUS = "1.3.6.1.2.1.17.4.3.1.3"
LEARNED = 3
#: dot1qPvid by bridge port: the VLAN of untagged frames that come in.
PVID = "1.3.6.1.2.1.17.7.1.4.5.1.1"
#: dot1qVlanStaticEgressPorts and dot1qVlanStaticUntaggedPorts by VLAN.
EGRESS = "1.3.6.1.2.1.17.7.1.4.3.1.2"
UNTAGGED = "1.3.6.1.2.1.17.7.1.4.3.1.4"


def has(ports: bytes, port: int) -> bool:
    """Whether a PortList names a bridge port: the most significant bit of the first octet is port 1."""
    octet, bit = divmod(port - 1, 8)
    return octet < len(ports) and bool(ports[octet] & (0x80 >> bit))


def changed(ports: bytes, port: int, *, member: bool) -> bytes:
    """A PortList with a bridge port put in or taken out; it gets longer where it is too short, never shorter."""
    octet, bit = divmod(port - 1, 8)
    octets = bytearray(ports.ljust(octet + 1, b"\0") if member else ports)
    if member:
        octets[octet] |= 0x80 >> bit
    elif octet < len(octets):
        octets[octet] &= 0xFF ^ (0x80 >> bit)
    return bytes(octets)


def heard(
    port: int, ports: Mapping[tuple[int, ...], object], status: Mapping[tuple[int, ...], object]
) -> tuple[str, ...]:
    """The machines' MACs that a bridge port learned, of rows whose index ends with the six octets of a MAC."""
    found = set()
    for key, value in ports.items():
        octets = key[-6:]
        if len(octets) < 6 or not all(0 <= octet <= 255 for octet in octets) or octets[0] & 1:
            continue
        # a switch that tells no status of a row tells of no address of its own either
        if str(value) == str(port) and str(status.get(key, LEARNED)) == str(LEARNED):
            found.add(":".join(f"{octet:02x}" for octet in octets))
    return tuple(sorted(found))


@dataclass(frozen=True)
class Membership:
    """A bridge port: its PVID, and the PortLists of each VLAN's static entry."""

    bridge_port: int
    pvid: int
    egress: Mapping[int, bytes]
    untagged: Mapping[int, bytes]

    def state(self, name: str) -> PortState:
        """What that means: an access port sends exactly its PVID, untagged.

        A port that does not send its PVID untagged is in no VLAN; other VLANs that it sends make it a trunk, untagged
        ones too.
        """
        sends = {vlan for vlan, ports in self.egress.items() if has(ports, self.bridge_port)}
        bare = {vlan for vlan in sends if has(self.untagged.get(vlan, b""), self.bridge_port)}
        others = tuple(sorted(sends - {self.pvid}))
        return PortState(name, self.pvid if self.pvid in bare else 0, others, trunk=bool(others))

    def moved(self, vlan: int) -> list[tuple[str, int | bytes]]:
        """What to set, all at once, to make it an access port of another VLAN."""
        port = self.bridge_port
        writes: list[tuple[str, int | bytes]] = [
            (f"{EGRESS}.{vlan}", changed(self.egress[vlan], port, member=True)),
            (f"{UNTAGGED}.{vlan}", changed(self.untagged.get(vlan, b""), port, member=True)),
            (f"{PVID}.{port}", vlan),
        ]
        if self.pvid in self.egress and self.pvid != vlan:
            writes += [
                (f"{UNTAGGED}.{self.pvid}", changed(self.untagged.get(self.pvid, b""), port, member=False)),
                (f"{EGRESS}.{self.pvid}", changed(self.egress[self.pvid], port, member=False)),
            ]
        return writes
