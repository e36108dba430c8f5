"""Planning the destination itself: a Fuel master, its environment beside the source, its first nodes, its credentials.

Where a master answers already it is adopted, and so is an environment of that name that is as wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware.draft import NOTHING, HardwareDraft
from pumphouse.plan.hardware.facts import NodeFacts
from pumphouse.plan.hardware.slices import SharedPublic, Slices, choose_slices, in_words, overlaps, used_addresses
from pumphouse.plan.hardware.transfer import Layout, assign_node, discover_node, identity
from pumphouse.plan.model import Plan

MEDIA = ("cdrom", "pxe")
#: The network service of an environment that pumphouse makes.
PROVIDER = "neutron"
#: What an environment's own networks are in all releases unless somebody changes them (Fuel's fixtures).
INTERNAL_CIDR = "192.168.111.0/24"


@dataclass(frozen=True)
class Environment:
    """What is to be made in Fuel.

    ``segment``: how Neutron keeps projects apart: ``vlan``, ``gre``, or ``tun`` from 7.0 on. ``internal_cidr`` is the
    network that Fuel makes for the administrator's project; the source's Private network is joined by moves, as a
    provider network. ``cacert`` is the CA's file for the new cloud's public endpoints, where they speak TLS.
    """

    name: str
    operating_system: str = "Ubuntu"
    mode: str = "ha_compact"
    segment: str = "vlan"
    internal_cidr: str = INTERNAL_CIDR
    cacert: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise PlanError("The environment has no name.", remedy="name it in site.yaml (fuel.environment).")


@dataclass(frozen=True)
class MasterWishes:
    """How the master comes up. ``medium`` is what the operator has put in place: ``cdrom`` (attached to the node's
    BMC) or ``pxe`` (a server of the operator's in the Admin VLAN).
    """

    medium: str = "cdrom"
    api_timeout_s: float = 7200.0

    def __post_init__(self) -> None:
        if self.medium not in MEDIA:
            raise PlanError(f"No medium is called {self.medium!r}.", remedy=f"use one of: {', '.join(MEDIA)}.")


@dataclass(frozen=True)
class SourceNetworks:
    """What the source uses: CIDRs of its networks by label, and every address or range that it has or may give out.

    ``floating``: those of them that are floating IPs, whether or not somebody has them.
    """

    cidrs: Mapping[str, str] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()


def plan_fuel_master(
    master: NodeFacts | None,
    nodes: Mapping[str, tuple[NodeFacts, Layout]],
    wishes: MasterWishes,
    environment: Environment,
    public: SharedPublic,
    network: SourceNetworks,
    *,
    digest: str,
    source: str,
    destination: str,
    release: str = "",
    answered: bool = False,
    begun: str = "",
    differences: Sequence[str] = (),
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan the destination: master, environment, shared networks, first nodes, deployment, credentials (asks nobody).

    :param master: the node that becomes the master; None: one answers already (``release``) and is adopted.
    :param nodes: node name -> the node and what becomes of it.
    :param answered: whether the master that is silent now, and may be on that node, answered an earlier run.
    :param begun: the plan by which its installation was begun before, if it was (the first 12 digits of its hash).
    :param differences: what the environment of that name has other than wanted, where there is one already.
    :returns: the plan, and what stands in its way as findings.
    """
    draft = HardwareDraft("fuel-master", source, destination, digest)
    _check(draft, master, nodes, environment, network)
    if master is not None and answered:
        draft.block(
            "master-silent",
            f"node {master.node.name}",
            "is to become the Fuel master, but there is one, which answered an earlier run and is silent now: it would "
            "be overwritten, with all that it knows of the new cloud.",
            "bring it back, and run again: it is adopted. If it is lost for good, name another node.",
        )
    if master is not None and begun:
        draft.block(
            "master-begun",
            f"node {master.node.name}",
            f"boots the medium already, since plan {begun}: this plan would cut its power, and install it once more.",
            "run that plan again (with its parameters): it waits on; or accept `master-begun` if nothing came of it.",
        )
    if differences:
        draft.block(
            "environment-differs",
            f"environment {environment.name}",
            f"exists in Fuel, and {'; '.join(differences)}; none of that can be changed there.",
            "choose another name for the environment, or what that one has.",
        )
    if master is None:
        draft.note("Fuel master", f"answers already, as release {release}: it is adopted, nothing is installed")
        up = draft.add(
            "fuel-up:fuel", title="the Fuel master answers", phase="create", changes="destination",
            params={"node": "", "timeout_s": wishes.api_timeout_s}, undo=NOTHING,
        )  # fmt: skip
    else:
        up = _install_master(draft, master, wishes)
    made = _make_environment(draft, environment, up)
    shared = _share_networks(draft, environment, public, network, made)
    assigned = []
    for facts, layout in nodes.values():
        vlan = _to_admin_vlan(draft, facts)
        found = discover_node(draft, facts.node, replace(layout, environment=environment.name), vlan, up)
        assigned.append(assign_node(draft, facts.node, replace(layout, environment=environment.name), found, shared))
    deployed = _deploy(draft, environment, [facts.node for facts, _ in nodes.values()], assigned)
    entry = draft.add(
        f"destination-entry:{destination}",
        title=f"write {destination} into clouds.yaml and secure.yaml, as Fuel tells it",
        phase="prove",
        changes="destination",
        needs=(deployed,),
        params={"cloud": destination, "environment": environment.name, "cacert": environment.cacert},
        undo="the entries are removed again, if pumphouse wrote them",
    )
    computes = [identity(facts.node) for facts, layout in nodes.values() if layout.is_compute]
    draft.add(
        f"destination-proved:{destination}",
        title=f"take an inventory of {destination}: its services and {len(computes)} new compute host(s) are up",
        phase="prove",
        changes="destination",
        needs=(entry,),
        params={"cloud": destination, "nodes": computes},
        undo=NOTHING,
    )
    return draft.finish()


def _check(
    draft: HardwareDraft,
    master: NodeFacts | None,
    nodes: Mapping[str, tuple[NodeFacts, Layout]],
    environment: Environment,
    network: SourceNetworks,
) -> None:
    controllers = [name for name, (_, layout) in nodes.items() if "controller" in layout.roles]
    if not controllers:
        draft.block(
            "no-controller", f"environment {environment.name}", "would have no controller.", "name one node at least."
        )
    elif len(controllers) == 1:
        draft.warn(
            "one-controller",
            f"environment {environment.name}",
            f"has one controller ({controllers[0]}): the new cloud stands and falls with it.",
            "add two more when nodes are free.",
        )
    if not any(layout.is_compute for _, layout in nodes.values()):
        draft.block("no-compute", f"environment {environment.name}", "would have no compute host.", "name one node.")
    everybody = ([master] if master is not None else []) + [facts for facts, _ in nodes.values()]
    names = [facts.node.name for facts in everybody]
    for name in sorted({name for name in names if names.count(name) > 1}):
        draft.block("node-twice", f"node {name}", "is to become two things.", "name it once.")
    for facts in everybody:
        check_in_use(draft, facts)
    clashing = overlaps(environment.internal_cidr, network.cidrs.values())
    if clashing:
        draft.block(
            "internal-overlaps",
            f"environment {environment.name}",
            f"its internal network {environment.internal_cidr} overlaps the source's {', '.join(clashing)}.",
            "choose another internal_cidr.",
        )


def check_in_use(draft: HardwareDraft, facts: NodeFacts) -> None:
    """Block on a node that serves the source still, or of which nobody can tell."""
    draft.known_to_nova(facts.node, known=facts.host is not None)
    if facts.host is not None and facts.host.serves_more:
        draft.block(
            "host-serves-more",
            f"host {facts.host.host}",
            f"runs {', '.join(facts.host.serves_more)}: the source stops working without them.",
            "choose another node; controllers go last (decommission).",
        )
    held = len(facts.host.servers) if facts.host is not None else 0
    enabled = facts.host is not None and facts.host.service is not None and facts.host.service.status != "disabled"
    if held or enabled:
        draft.block(
            "node-in-use",
            f"node {facts.node.name}",
            f"serves the source ({held} server(s), {'enabled' if enabled else 'disabled'}).",
            "acquire it first (06-acquire-nodes.ipynb).",
        )


def _to_admin_vlan(draft: HardwareDraft, facts: NodeFacts) -> str:
    seen = draft.see_port(facts.node, facts.port, phase="release")
    off = draft.power_off(facts.node, phase="release", needs=seen, title=f"{facts.node.name} has no power")
    return draft.admin_vlan(facts.node, facts.admin_vlan, phase="release", needs=(off,))


def _install_master(draft: HardwareDraft, master: NodeFacts, wishes: MasterWishes) -> str:
    node: NodeSpec = master.node
    vlan = _to_admin_vlan(draft, master)
    medium = draft.add(
        f"node-medium:{node.name}",
        title=f"{node.name} boots from the operator's {wishes.medium} next",
        phase="create",
        changes="destination",
        needs=(vlan,),
        params={"node": node.name, "serial": node.serial, "device": wishes.medium},
        undo="boots as its firmware is set again",
        node=node.name,
    )
    on = draft.add(
        f"node-on:{node.name}",
        title=f"power on {node.name}: the Fuel master installs itself, its disks are overwritten",
        phase="create",
        changes="destination",
        needs=(medium,),
        params={"node": node.name, "serial": node.serial, "host": node.host},
        cost=f"{node.name} holds the Fuel master then, whatever it held before",
        node=node.name,
    )
    draft.warn(
        "medium-needed",
        f"node {node.name}",
        f"boots from {wishes.medium}: what lies there is installed on it without another question.",
        "see that the medium is Fuel's, and answers no other node.",
    )
    return draft.add(
        f"fuel-up:{node.name}",
        title="the Fuel master answers",
        phase="create",
        changes="destination",
        needs=(on,),
        params={"node": node.name, "timeout_s": wishes.api_timeout_s},
        undo=NOTHING,
        node=node.name,
    )


def _make_environment(draft: HardwareDraft, environment: Environment, up: str) -> str:
    return draft.add(
        f"fuel-environment:{environment.name}",
        title=f"environment {environment.name}: {environment.operating_system}, {environment.mode}, Neutron with "
        f"{environment.segment}",
        phase="create",
        changes="destination",
        needs=(up,),
        params={
            "name": environment.name,
            "operating_system": environment.operating_system,
            "mode": environment.mode,
            "segment": environment.segment,
        },
        undo="deleted, if pumphouse made it and nothing is deployed in it",
    )


def _share_networks(
    draft: HardwareDraft, environment: Environment, public: SharedPublic, network: SourceNetworks, made: str
) -> str:
    used = used_addresses(network.used, public.cidr)
    if network.floating and not used_addresses(network.floating, public.cidr):
        draft.block(
            "public-not-shared",
            f"Public network {public.cidr}",
            f"holds none of the floating IPs of {draft.source}, which are in {in_words(network.floating)}: those "
            "of servers that move would be at no home in the new cloud.",
            "give the Public network that both clouds share (public), or accept `public-not-shared` if the floating "
            "IPs are to change.",
        )
    slices = choose_slices(public, used)
    _note_slices(draft, public, network, used, slices)
    return draft.add(
        f"fuel-networks:{environment.name}",
        title=f"Public network {public.cidr}: {'-'.join(slices.hosts)} for nodes, {'-'.join(slices.floating)} floating",
        phase="create",
        changes="destination",
        needs=(made,),
        params={
            "environment": environment.name,
            "cidr": public.cidr,
            "gateway": public.gateway,
            "vlan": public.vlan,
            "ip_range": list(slices.hosts),
            "floating_range": list(slices.floating),
            "internal_cidr": environment.internal_cidr,
            "private": dict(network.cidrs),
        },
        undo="goes with the environment",
    )


def _note_slices(
    draft: HardwareDraft, public: SharedPublic, network: SourceNetworks, used: frozenset[str], slices: Slices
) -> None:
    draft.note(
        f"Public network {public.cidr}",
        f"the source has or gives out {len(used)} of its addresses; the destination gets {'-'.join(slices.hosts)} for "
        f"its nodes and virtual addresses and {'-'.join(slices.floating)} for floating IPs of its own; floating IPs "
        "that move keep their addresses",
    )
    for label, cidr in network.cidrs.items():
        draft.note(
            f"Private network {label}",
            f"{cidr} is not given to Fuel: each move joins it as a provider network with a slice of its own",
        )


def _deploy(draft: HardwareDraft, environment: Environment, nodes: list[NodeSpec], assigned: list[str]) -> str:
    return draft.add(
        f"fuel-deploy:{environment.name}",
        title=f"deploy environment {environment.name}: the disks of {', '.join(n.name for n in nodes)} are overwritten",
        phase="install",
        changes="destination",
        needs=tuple(assigned),
        params={"environment": environment.name, "nodes": [identity(node) for node in nodes]},
        cost="what was on these nodes is gone; they go back by being installed anew",
    )
