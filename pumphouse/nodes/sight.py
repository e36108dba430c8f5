"""Whose machine is heard at a switch port: a node's own, another's, or one that nobody knows.

A port that ``site.yaml`` names wrongly is in the same VLAN as the right one; only who speaks there tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pumphouse.errors import NodeError
from pumphouse.nodes.api import LearnedMacs
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import FuelNode
from pumphouse.nodes.spec import Hardware, NodeSpec, PortSpec


@dataclass(frozen=True)
class PortSight:
    """Who is heard at the port that site.yaml gives to a node.

    ``own``: the node's MACs that are; ``foreign``: those of other machines -> whose they are; ``strangers``: what
    nobody knows, such as guests of the node, which are no sign of anything. ``untold``: why the switch cannot tell;
    ``proved``: an earlier step heard the node itself there.
    """

    switch: str
    port: str
    own: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    untold: str = ""
    proved: bool = False

    @property
    def is_proof(self) -> bool:
        """Whether the node was heard there, and no other machine is."""
        return bool(self.own) and not self.foreign

    @property
    def told(self) -> str:
        """What the switch says, as the rest of a sentence about the port."""
        if self.untold:
            return f"it cannot be told who is heard there ({self.untold})"
        others = f"{len(self.strangers)} MAC(s) that nobody knows, such as guests'" if self.strangers else ""
        if self.foreign:
            return " and ".join(f"MAC {mac} is heard there, {whose}" for mac, whose in self.foreign.items())
        if self.own:
            return f"its own MAC {', '.join(self.own)} is heard there{f', and {others}' if others else ''}"
        return f"only {others} are heard there" if others else "nobody is heard there"


def judge(
    hardware: Hardware, node: NodeSpec, port: PortSpec, heard: LearnedMacs, fuel: Iterable[FuelNode] = ()
) -> PortSight:
    """What the MACs at a node's port mean (asks nobody).

    :param fuel: machines that Fuel knows; those that site.yaml does not describe are somebody's as well.
    """
    owners = {mac: f"which site.yaml gives to node {other.name}" for other in hardware.nodes.values()
              for mac in other.macs if other.name != node.name}  # fmt: skip
    for known in fuel:
        if not set(known.macs) & set(node.macs):
            for mac in known.macs:
                owners.setdefault(mac, f"which is node {known.id} ({known.name}) of Fuel's")
    return PortSight(
        port.switch,
        port.port,
        own=tuple(mac for mac in heard.macs if mac in node.macs),
        foreign={mac: owners[mac] for mac in heard.macs if mac in owners},
        strangers=tuple(mac for mac in heard.macs if mac not in node.macs and mac not in owners),
        untold=heard.untold,
    )


def see(nodes: Nodes, hardware: Hardware, node: NodeSpec) -> PortSight | None:
    """Who is heard at the port of a node's PXE NIC at this moment (read only); None: site.yaml names none.

    :raises NodeError: when the switch does not answer, or has no such port.
    """
    if not node.ports:
        return None
    port = node.ports[0]
    with nodes.switch(port.switch) as switch:
        heard = switch.macs(port.port)
    return judge(hardware, node, port, heard, _of_fuel(nodes, hardware) if heard.macs else ())


def _of_fuel(nodes: Nodes, hardware: Hardware) -> list[FuelNode]:
    """What Fuel knows; there may be no master yet, and site.yaml tells most of it."""
    if hardware.fuel is None:
        return []
    try:
        with nodes.fuel(patient=False) as fuel:
            return list(fuel.list_nodes())
    except NodeError:
        return []
