"""Whose a node's switch port is, as far as the switch and the journal can tell before a plan is approved."""

from __future__ import annotations

from dataclasses import replace

from pumphouse.errors import NodeError
from pumphouse.journal import Journal
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.sight import PortSight, see
from pumphouse.nodes.spec import Hardware, NodeSpec


def port_of(node: NodeSpec, nodes: Nodes, hardware: Hardware, journal: Journal) -> PortSight | None:
    """Who is heard at a node's port (read only); a switch that does not answer cannot tell; None: it has no port.

    A node without power is silent: then what a step heard there before counts, if site.yaml names the same port still.
    """
    if not node.ports:
        return None
    port = node.ports[0]
    try:
        sight = see(nodes, hardware, node)
    except NodeError as error:
        sight = PortSight(port.switch, port.port, untold=error.message)
    return None if sight is None else replace(sight, proved=_was_heard(journal, node))


def _was_heard(journal: Journal, node: NodeSpec) -> bool:
    port = node.ports[0]
    seen = [one.data.get("evidence", {}) for one in journal.events(step_key=f"node-port:{node.name}")
            if one.event == "verified"]  # fmt: skip
    return any(
        one.get("proof") and (one.get("switch"), one.get("port")) == (port.switch, port.port)
        and set(one.get("own", ())) <= set(node.macs)
        for one in seen
    )  # fmt: skip
