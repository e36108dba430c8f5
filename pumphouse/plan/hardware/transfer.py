"""Planning to transfer a node: out of the source, through Fuel's discovery, into the destination as a compute host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware.draft import NOTHING, HardwareDraft
from pumphouse.plan.hardware.facts import HostFacts, NodeFacts
from pumphouse.plan.model import Plan


@dataclass(frozen=True)
class Layout:
    """What becomes of the node in Fuel.

    ``template`` is the Fuel node to copy interfaces and (``copy_disks``) disks from; else ``interfaces`` (interface ->
    names of the networks on it) and ``disks`` (disk -> volume -> MiB) are given; neither: Fuel's own proposal.
    """

    environment: str
    roles: tuple[str, ...] = ("compute",)
    template: str = ""
    copy_disks: bool = True
    interfaces: Mapping[str, list[str]] = field(default_factory=dict)
    disks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    discovery_s: float = 1800.0

    def __post_init__(self) -> None:
        if not self.environment:
            raise PlanError(
                "It is not said which environment of Fuel the node goes to.",
                remedy="name it in site.yaml (fuel.environment) or as a parameter.",
            )
        if self.template and (self.interfaces or self.disks):
            raise PlanError("A template and a layout are given.", remedy="give one of them.")
        if not self.roles:
            raise PlanError("No role is given for the node.", remedy="give one, e.g. compute.")

    @property
    def is_compute(self) -> bool:
        """Whether the node will be a compute host of the destination."""
        return "compute" in self.roles


@dataclass(frozen=True)
class Canary:
    """The server that is booted on the new host to see it serve: what it is made of, by id at the destination.

    ``told`` is the same in words; ``problem`` says why there cannot be one. What it must answer is the site's default
    probe.
    """

    image: str = ""
    flavor: str = ""
    network: str = ""
    told: str = ""
    problem: str = ""
    remedy: str = ""


def plan_transfer(
    facts: NodeFacts,
    layout: Layout,
    canary: Canary,
    *,
    digest: str,
    source: str,
    destination: str,
    deletes_services: bool,
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan the way of a node from the source into an environment of Fuel's (asks nobody).

    :param deletes_services: whether the source's Nova can delete a service's record.
    :returns: the plan, and what stands in its way as findings.
    """
    node, host = facts.node, facts.host
    draft = HardwareDraft("transfer", source, destination, digest)
    _check(draft, node, host)
    seen = draft.see_port(node, facts.port, phase="release")
    needs = (*seen, *_leave_source(draft, node, host, *seen))
    off = draft.power_off(node, phase="release", needs=needs)
    vlan = draft.admin_vlan(node, facts.admin_vlan, phase="release", needs=(off,))
    discovered = discover_node(draft, node, layout, vlan)
    deployed = install_node(draft, node, layout, discovered)
    proved = prove_node(draft, node, layout, canary, deployed)
    if host is not None and host.service is not None:
        _forget(draft, node, host, proved, deletes_services=deletes_services)
    return draft.finish()


def _check(draft: HardwareDraft, node: NodeSpec, host: HostFacts | None) -> None:
    draft.known_to_nova(node, known=host is not None)
    if host is None:
        return
    for server in host.servers:
        draft.block(
            "host-not-empty",
            f"server {server.name}",
            f"({server.id}, {server.status}) is still on {host.host}; a stopped one is what a roll back would start.",
            "move it to the destination and finalise that move, or acquire the node: its servers go to other hosts.",
        )
    for server in host.unconfirmed:
        draft.block(
            "resize-unconfirmed",
            f"server {server.name}",
            f"({server.id}) waits for its migration to be confirmed, and may have its old disk on {host.host}.",
            "confirm or revert it, then plan again.",
        )
    if host.serves_more:
        draft.block(
            "host-serves-more",
            f"host {host.host}",
            f"runs {', '.join(host.serves_more)} as well: the source stops working without them.",
            "move those services first; controllers go last (decommission).",
        )


def _leave_source(draft: HardwareDraft, node: NodeSpec, host: HostFacts | None, *needs: str) -> tuple[str, ...]:
    if host is None or host.service is None:
        draft.note(f"node {node.name}", "is no compute host of the source: nothing is disabled or removed there")
        return ()
    disable = draft.add(
        f"host-disable:{host.host}",
        title=f"disable nova-compute on {host.host}",
        phase="release",
        changes="source",
        needs=needs,
        params={"host": host.host, "node": node.name, "stuck": "keep-disabled"},
        undo="enabled again, if pumphouse disabled it",
        host=host.host,
    )
    empty = draft.add(
        f"host-empty:{host.host}",
        title=f"no server is left on {host.host}",
        phase="release",
        changes="source",
        needs=(disable,),
        params={"host": host.host},
        undo=NOTHING,
        host=host.host,
    )
    return (disable, empty)


def discover_node(draft: HardwareDraft, node: NodeSpec, layout: Layout, *needs: str) -> str:
    """Boot a node by PXE until Fuel has discovered it; returns the last step's key."""
    if node.role == "fuel":
        draft.block(
            "fuel-master-itself",
            f"node {node.name}",
            "is the Fuel master in site.yaml: it would lose power, and with it whoever could install it.",
            f"choose another node; or correct nodes.{node.name}.role, if another machine is the master.",
        )
    boot = draft.add(
        f"node-pxe:{node.name}",
        title=f"{node.name} boots by PXE next",
        phase="discover",
        changes="source",
        needs=needs,
        params={"node": node.name, "serial": node.serial},
        undo="boots as its firmware is set again",
        node=node.name,
    )
    on = draft.add(
        f"node-on:{node.name}",
        title=f"power on {node.name}",
        phase="discover",
        changes="source",
        needs=(boot,),
        params={"node": node.name, "serial": node.serial},
        undo="powered off",
        node=node.name,
    )
    return draft.add(
        f"node-discovered:{node.name}",
        title=f"Fuel discovers {node.name}: all MACs and the serial match",
        phase="discover",
        changes="destination",
        needs=(on,),
        params={**identity(node), "environment": layout.environment, "timeout_s": layout.discovery_s},
        undo="forgotten by Fuel",
        node=node.name,
    )


def identity(node: NodeSpec) -> dict[str, object]:
    """What a step needs to know a machine again in Fuel and at the source."""
    return {"node": node.name, "macs": list(node.macs), "serial": node.serial, "host": node.host}


def assign_node(draft: HardwareDraft, node: NodeSpec, layout: Layout, *needs: str) -> str:
    """Give a discovered node its roles and its layout; returns the step's key."""
    copied, given, proposed = f"copied from {layout.template}", "as given", "as Fuel proposes them"
    interfaces = copied if layout.template else given if layout.interfaces else proposed
    disks = copied if layout.template and layout.copy_disks else given if layout.disks else proposed
    draft.note(
        f"node {node.name}",
        f"becomes {' and '.join(layout.roles)} of environment {layout.environment}; interfaces {interfaces}, "
        f"disks {disks}",
    )
    return draft.add(
        f"node-assign:{node.name}",
        title=f"{node.name} becomes {', '.join(layout.roles)} in environment {layout.environment}",
        phase="install",
        changes="destination",
        needs=needs,
        params={**identity(node), **asdict(layout), "roles": list(layout.roles)},
        undo="taken out of the environment again, before it is deployed",
        node=node.name,
    )


def install_node(draft: HardwareDraft, node: NodeSpec, layout: Layout, discovered: str) -> str:
    """Assign a discovered node and deploy it; returns the last step's key."""
    assigned = assign_node(draft, node, layout, discovered)
    return draft.add(
        f"node-deploy:{node.name}",
        title=f"deploy {node.name}: its disks are overwritten",
        phase="install",
        changes="both",
        needs=(assigned,),
        params={
            **identity(node),
            "environment": layout.environment,
            "roles": list(layout.roles),
            "timeout_s": layout.discovery_s,
        },
        cost=f"{node.name} is no node of the source any more: giving it back means installing it there anew",
        node=node.name,
        host=node.host or None,
    )


def prove_node(draft: HardwareDraft, node: NodeSpec, layout: Layout, canary: Canary, deployed: str) -> str:
    """See a deployed controller run its services, and a compute host serve a canary; returns the last step's key."""
    if "controller" in layout.roles:
        deployed = draft.add(
            f"controller-up:{node.name}",
            title=f"Nova's control services of {node.name} are up at the destination",
            phase="prove",
            changes="destination",
            needs=(deployed,),
            params={**identity(node), "environment": layout.environment},
            undo=NOTHING,
            node=node.name,
        )
    if not layout.is_compute:
        return deployed
    up = draft.add(
        f"host-up:{node.name}",
        title=f"nova-compute of {node.name} is up at the destination",
        phase="prove",
        changes="destination",
        needs=(deployed,),
        params={**identity(node), "environment": layout.environment},
        undo=NOTHING,
        node=node.name,
    )
    if canary.problem:
        draft.block("no-canary", f"node {node.name}", canary.problem, canary.remedy)
    draft.note(f"canary on {node.name}", canary.told or "cannot be made")
    return draft.add(
        f"canary:{node.name}",
        title=f"a canary server boots on {node.name} and answers; then it is deleted",
        phase="prove",
        changes="destination",
        needs=(up,),
        params={
            "node": node.name,
            "image": canary.image,
            "flavor": canary.flavor,
            "network": canary.network,
            "up": up,
        },
        undo="deleted",
        node=node.name,
    )


def _forget(draft: HardwareDraft, node: NodeSpec, host: HostFacts, proved: str, *, deletes_services: bool) -> None:
    if not deletes_services:
        draft.note(
            f"host {host.host}",
            "its nova-compute stays in the source's list, disabled and down: this release cannot delete it",
        )
        return
    draft.add(
        f"host-forget:{host.host}",
        title=f"remove nova-compute of {host.host} from the source",
        phase="prove",
        changes="source",
        needs=(proved,),
        params={"host": host.host},
        cost="a nova-compute that starts under that name registers itself anew",
        node=node.name,
        host=host.host,
    )
