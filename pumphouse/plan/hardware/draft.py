"""What a hardware plan grows in, and the digest by which a begun one is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pumphouse.findings import Finding
from pumphouse.nodes.sight import PortSight
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.model import Note, Plan, PlannedStep, PlanServer, order

#: Roles of nodes that serve the source.
SERVING = ("compute", "controller")
#: What ``undo`` says of a step that changes nothing.
NOTHING = "nothing to undo"


def target_digest(kind: str, nodes: Iterable[str], **choices: Any) -> str:
    """What a hardware plan has instead of a selection's digest: SHA-256 of its kind, its nodes and what was chosen."""
    told = {"kind": kind, "nodes": list(nodes), **choices}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass
class HardwareDraft:
    """A hardware plan in the making. ``source`` and ``destination`` are the clouds' names in clouds.yaml."""

    kind: str
    source: str
    destination: str
    digest: str
    servers: list[PlanServer] = field(default_factory=list)
    steps: dict[str, PlannedStep] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def block(self, code: str, obj: str, message: str, remedy: str) -> None:
        """Note what keeps the plan from running."""
        self.findings.append(Finding("block", code, obj, message, remedy))

    def warn(self, code: str, obj: str, message: str, remedy: str = "") -> None:
        """Note what an operator should know."""
        self.findings.append(Finding("warn", code, obj, message, remedy))

    def note(self, obj: str, text: str) -> None:
        """Say what is done how, and why."""
        self.notes.append(Note(obj, text))

    def add(self, key: str, *, title: str, phase: str, changes: str, **fields: Any) -> str:
        """Add a step (its kind is the key's first part); returns the key."""
        kind = key.partition(":")[0]
        self.steps[key] = PlannedStep(key=key, kind=kind, phase=phase, title=title, changes=changes, **fields)
        return key

    def known_to_nova(self, node: NodeSpec, *, known: bool) -> None:
        """Block on a compute node of which Nova knows nothing: nobody could be asked what is left on it."""
        if known or (not node.host and node.role not in SERVING):
            return
        which = f"is host {node.host} in site.yaml, but Nova knows no such host" if node.host else "has no host there"
        add = self.block if node.role in SERVING else self.warn
        add(
            "no-host",
            f"node {node.name}",
            f"{which}: nobody can be asked whether servers are left on it.",
            f"correct nodes.{node.name}.host; or make its role there spare, if it serves the source no more.",
        )

    def see_port(
        self, node: NodeSpec, sight: PortSight | None, *, phase: str, needs: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Hear who is at a node's port, before it loses power; the step's key, if it has a port.

        :param sight: what was heard while planning; another machine there blocks the plan.
        """
        if not node.ports:
            return ()
        port = node.ports[0]
        where = f"port {port.port} of switch {port.switch}"
        if sight is not None and sight.foreign:
            self.block(
                "port-of-another",
                f"node {node.name}",
                f"has {where} in site.yaml, but {sight.told}: moving it would cut off another machine.",
                f"compare the cabling with nodes.{node.name}.ports in site.yaml, and correct it.",
            )
        elif sight is not None and not sight.is_proof and not sight.proved:
            self.warn(
                "port-unproved",
                f"node {node.name}",
                f"has {where} in site.yaml, and nothing proves it: {sight.told}.",
                "compare it with the cabling before you approve; a node that runs and speaks proves it.",
            )
        elif sight is not None:
            proof = sight.told if sight.is_proof else "the node was heard there before it lost its power"
            self.note(f"node {node.name}", f"has {where}: {proof}")
        return (
            self.add(
                f"node-port:{node.name}",
                title=f"nobody but {node.name} is heard at {where}",
                phase=phase,
                changes="source",
                needs=tuple(needs),
                params={"node": node.name, "switch": port.switch, "port": port.port},
                undo=NOTHING,
                node=node.name,
            ),
        )

    def power_off(self, node: NodeSpec, *, phase: str, needs: Iterable[str], title: str = "") -> str:
        """Switch a node off, if no server is left on its host at that moment."""
        if node.bmc is None:
            self.block("no-bmc", f"node {node.name}", "has no BMC in site.yaml.", "describe it there: nodes.NAME.bmc.")
        if not node.serial:
            self.warn(
                "no-serial",
                f"node {node.name}",
                "has no serial number in site.yaml: nothing tells that its BMC is this machine's before the machine "
                "loses power, and the guard against installing the wrong one knows its MACs only.",
                f"add nodes.{node.name}.serial.",
            )
        return self.add(
            f"node-off:{node.name}",
            title=title or f"power off {node.name}, if no server is left on it",
            phase=phase,
            changes="source",
            needs=tuple(needs),
            params={"node": node.name, "host": node.host, "serial": node.serial},
            undo="powered on, booting from disk",
            node=node.name,
            host=node.host or None,
        )

    def admin_vlan(self, node: NodeSpec, vlan: int | None, *, phase: str, needs: Iterable[str]) -> str:
        """Move the port of the node's PXE NIC to the Admin VLAN."""
        if not node.ports or vlan is None:
            self.block(
                "no-admin-port",
                f"node {node.name}",
                "cannot be moved to the Admin VLAN: site.yaml does not say where its PXE NIC is plugged in, or which "
                "VLAN that is.",
                "add nodes.NAME.ports (the PXE NIC's first) and vlans.admin.",
            )
            return self.add(
                f"node-vlan:{node.name}", title=f"port of {node.name}", phase=phase, changes="source", cost="unknown"
            )
        port = node.ports[0]
        return self.add(
            f"node-vlan:{node.name}",
            title=f"port {port.port} of switch {port.switch} ({node.name}) to VLAN {vlan}",
            phase=phase,
            changes="source",
            needs=tuple(needs),
            params={"node": node.name, "switch": port.switch, "port": port.port, "vlan": vlan, "home": port.vlan},
            undo=f"back to VLAN {port.vlan}",
            node=node.name,
        )

    def finish(self) -> tuple[Plan, tuple[Finding, ...]]:
        """The plan, and what was found."""
        plan = Plan(
            kind=self.kind,
            source=self.source,
            destination=self.destination,
            selection_digest=self.digest,
            servers=tuple(self.servers),
            steps=order(self.steps.values()),
            notes=tuple(dict.fromkeys(self.notes)),
        )
        return plan, tuple(self.findings)
