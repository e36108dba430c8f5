"""What there is to choose from: the source's compute hosts, and what keeps a host or node from being taken.

It is told before there is a plan, by the planners themselves, so that a picker and a plan never say different things.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PlanError, PumphouseError
from pumphouse.findings import Finding, blocking
from pumphouse.journal import Journal
from pumphouse.model import Hypervisor, Server
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.plan.hardware import Canary, HostFacts, Layout, NodeFacts, plan_acquire, plan_give_back, plan_transfer
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.hardware.draft import HardwareDraft
from pumphouse.plan.hardware.fuel_master import check_in_use
from pumphouse.site import Site

#: Kinds of hardware plans that nodes are chosen for.
KINDS = ("acquire", "transfer", "fuel-master", "decommission", "give-back")
_NO_CLOUDS = {"digest": "", "source": "", "destination": ""}
_WAITS = "VERIFY_RESIZE"


@dataclass(frozen=True)
class HostState:
    """A compute host of the source as Nova describes it; None where nobody told.

    ``node`` is its machine in ``site.yaml`` (empty: none), ``status`` and ``state`` are its nova-compute's, ``running``
    those of its ``servers`` that are ACTIVE. ``obstacles`` keep it from being acquired: emptied, and taken out.
    """

    host: str
    node: str = ""
    zone: str = ""
    status: str = ""
    state: str = ""
    servers: int = 0
    running: int = 0
    vcpus: int | None = None
    vcpus_used: int | None = None
    ram_mib: int | None = None
    ram_used_mib: int | None = None
    obstacles: tuple[Finding, ...] = ()


class ChoosingWork(ABC):
    """What pickers of hosts and nodes are told; a part of :class:`pumphouse.session.hardware.HardwareWork`."""

    _site: Site
    _source: Cloud
    _journal: Journal
    nodes: Nodes

    def hosts(
        self, *, method: str = "auto", methods: Mapping[str, str] | None = None, shared_storage: bool = False
    ) -> tuple[HostState, ...]:
        """The source's compute hosts by name, and what keeps each from being acquired (read only).

        :param method: how servers would leave, as for :meth:`~pumphouse.session.hardware.HardwareWork.plan_acquire`.
        :param methods: likewise.
        :param shared_storage: likewise.
        :raises PlanError: when a method is none that we know.
        :raises CloudError: when the source cannot be asked.
        """
        return tuple(
            survey_hosts(self._source, self._site.hardware, Wishes(method, dict(methods or {}), shared_storage))
        )

    def obstacles(self, kind: str) -> dict[str, tuple[Finding, ...]]:
        """What keeps each node of ``site.yaml`` from a kind of plan as it is now, by its name (read only).

        A source that cannot be asked is one finding on each node, which does not block: its plan will ask again.

        :param kind: ``acquire``, ``transfer``, ``fuel-master``, ``decommission`` or ``give-back``.
        """
        nodes = tuple(self._site.hardware.nodes.values())
        if kind == "give-back":
            return {node.name: _not_given_back(self._journal, node) for node in nodes}
        if kind == "decommission":
            return {node.name: _not_retired(self._site.hardware, node) for node in nodes}
        try:
            known = read_hosts(self._source)
        except PumphouseError as error:
            silent = Finding("warn", "source-silent", self._source.name, error.message, error.remedy or "")
            return {node.name: (silent,) for node in nodes}
        admin = self._site.hardware.admin_vlan
        return {node.name: _not_taken(kind, NodeFacts(node, admin, known.get(node.host))) for node in nodes}


def survey_hosts(source: Cloud, hardware: Hardware, wishes: Wishes) -> Iterable[HostState]:
    """The compute hosts of a cloud, by name (read only)."""
    machines = {node.host: node for node in hardware.nodes.values() if node.host}
    for name, facts in sorted(read_hosts(source).items()):
        service, node = facts.service, machines.get(name)
        if service is None:
            continue
        size = _hypervisor(facts) or Hypervisor("", name, name)
        yield HostState(
            host=name,
            node=node.name if node is not None else "",
            zone=service.zone,
            status=service.status,
            state=service.state,
            servers=len(facts.servers),
            running=sum(server.status == "ACTIVE" for server in facts.servers),
            vcpus=size.vcpus,
            vcpus_used=size.vcpus_used,
            ram_mib=size.ram_mib,
            ram_used_mib=size.ram_used_mib,
            obstacles=_not_acquired(NodeFacts(node, hardware.admin_vlan, facts), wishes)
            if node is not None
            else (_nameless(name),),
        )


def read_hosts(source: Cloud) -> dict[str, HostFacts]:
    """What a cloud says of all hosts of its compute services, in one listing of each kind (read only)."""
    services = tuple(source.compute.list_services())
    names = dict.fromkeys(service.host for service in services)
    servers = source.compute.list_servers()
    on: dict[str, list[Server]] = {}
    for server in servers:
        on.setdefault(server.host or "", []).append(server)
    flavors = {flavor.id: flavor.ram_mib for flavor in source.compute.list_flavors()} if servers else {}
    hypervisors = tuple(source.compute.list_hypervisors())
    networks = source.network.list_networks()
    multi_host = bool(networks) and all(network.multi_host for network in networks)
    # asked host by host only where a server waits for it at all
    waits = any(server.status == _WAITS for server in servers)
    return {
        name: HostFacts(
            host=name,
            services=services,
            servers=tuple(on.get(name, ())),
            unconfirmed=tuple(source.hosts.list_unconfirmed(name, servers)) if waits else (),
            hypervisors=hypervisors,
            ram_mib={server.id: flavors.get(server.flavor_id, 0) for server in on.get(name, ())},
            multi_host=multi_host,
        )
        for name in names
    }


def _hypervisor(facts: HostFacts) -> Hypervisor | None:
    names = [(one, (one.host, one.hostname, one.hostname.split(".")[0])) for one in facts.hypervisors]
    return next((one for one, known_as in names if facts.host in known_as), None)


def _master(node: NodeSpec) -> Finding:
    return Finding("block", "fuel-master", f"node {node.name}", "is the Fuel master.", "choose another node.")


def _nameless(host: str) -> Finding:
    return Finding(
        "block",
        "no-node",
        f"host {host}",
        "is the host of no node in site.yaml: nobody knows its machine.",
        "describe it there: nodes.NAME.host.",
    )


def _not_acquired(facts: NodeFacts, wishes: Wishes) -> tuple[Finding, ...]:
    try:
        return blocking(plan_acquire(facts, wishes, **_NO_CLOUDS)[1])
    except PlanError as error:
        return (_refused(facts.node, error),)


def _not_taken(kind: str, facts: NodeFacts) -> tuple[Finding, ...]:
    if facts.node.role == "fuel":
        return (_master(facts.node),)
    if kind == "acquire":
        return _not_acquired(facts, Wishes())
    if kind == "fuel-master":
        draft = HardwareDraft(kind, "", "", "")
        check_in_use(draft, facts)
        return (*blocking(draft.findings), *_without_way(draft, facts.node, facts.admin_vlan))
    # which environment, and what the canary is made of, is the plan's affair
    layout = Layout(environment="any")
    return blocking(plan_transfer(facts, layout, Canary(), deletes_services=True, **_NO_CLOUDS)[1])


def _not_retired(hardware: Hardware, node: NodeSpec) -> tuple[Finding, ...]:
    if node.role == "fuel":
        return (_master(node),)
    if node.role != "controller":
        which = f"is no controller of the source: site.yaml calls it {node.role}."
        return (Finding("warn", "no-controller", f"node {node.name}", which, "transfer it by 08-transfer-node.ipynb."),)
    return _without_way(HardwareDraft("decommission", "", "", ""), node, hardware.admin_vlan)


def _without_way(draft: HardwareDraft, node: NodeSpec, admin_vlan: int | None) -> tuple[Finding, ...]:
    """Without a BMC or a port nobody can switch a node off, or bring it to Fuel."""
    before = len(draft.findings)
    off = draft.power_off(node, phase="release", needs=())
    draft.admin_vlan(node, admin_vlan, phase="release", needs=(off,))
    return blocking(draft.findings[before:])


def _not_given_back(journal: Journal, node: NodeSpec) -> tuple[Finding, ...]:
    try:
        return blocking(plan_give_back(journal, node, **_NO_CLOUDS)[1])
    except PlanError as error:
        return (_refused(node, error, code="nothing-taken"),)


def _refused(node: NodeSpec, error: PlanError, *, code: str = "no-plan") -> Finding:
    return Finding("block", code, f"node {node.name}", error.message, error.remedy or "")
