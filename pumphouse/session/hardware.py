"""What a run does with nodes: plan, and one verb per phase. ``run.hardware`` in a notebook."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from pumphouse.clouds.api import Cloud
from pumphouse.errors import NodeError, PlanError, StepError, Stopped
from pumphouse.executor import Execution
from pumphouse.findings import Finding, blocking
from pumphouse.journal import Journal, StepState
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware import (
    Canary,
    HostFacts,
    Layout,
    NodeFacts,
    plan_acquire,
    plan_give_back,
    plan_transfer,
    target_digest,
)
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.hardware.draft import NOTHING
from pumphouse.plan.hardware.give_back import taking_plans
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.session.ahead import Ahead, check_disks, look_ahead
from pumphouse.session.canary import choose_canary, said_of
from pumphouse.session.decommission import DecommissionWork, has_ended, is_ending
from pumphouse.session.fuel_master import FuelMasterWork
from pumphouse.session.hosts import ChoosingWork
from pumphouse.session.plugged import port_of
from pumphouse.session.rack import NodeState, look_at_nodes
from pumphouse.session.templates import fitting
from pumphouse.site import Site

Planned = tuple[Plan, tuple[Finding, ...]]


class CarryOut(Protocol):
    """Carries out one phase of an approved plan, as :class:`pumphouse.session.Run` does."""

    def __call__(self, plan: Plan, kind: str, phase: str, *, workers: int | None = None) -> Execution: ...


class HardwareWork(FuelMasterWork, DecommissionWork, ChoosingWork):
    """The verbs for nodes. Planning reads; every other verb carries out one phase of an approved plan.

    :param keep: puts a new plan into the journal.
    :param resume: takes up a begun plan by kind, digest and states.
    :param carry_out: executes a phase.
    :param run_id: the run that acts; a person who goes on after the report is in another one.
    """

    def __init__(
        self,
        site: Site,
        source: Cloud,
        destination: Cloud,
        journal: Journal,
        *,
        keep: Callable[[Plan, tuple[Finding, ...]], Plan],
        resume: Callable[[str, str, Iterable[str]], Plan | None],
        carry_out: CarryOut,
        run_id: Callable[[], str],
        report: Callable[[str], None],
    ) -> None:
        self._site, self._source, self._destination, self._journal = site, source, destination, journal
        self._keep, self._resume, self._carry_out = keep, resume, carry_out
        self._run_id, self._report = run_id, report
        self.nodes = Nodes(site)

    # -- looking ------------------------------------------------------------------------------
    def look(self, *nodes: str, rest: bool = False) -> tuple[NodeState, ...]:
        """What BMC, switch, Fuel and Nova say of these nodes, or of all (read only).

        :param nodes: by name, or by their hosts'; empty texts name none.
        :param rest: all others as well, as far as switch, Fuel and Nova tell: enough for a picture of the site.
        """
        source = None if has_ended(self._journal, self._site.hardware) else self._source
        if source is not None and is_ending(self._journal):
            source.expect_end()
        return look_at_nodes(self._site.hardware, self.nodes, source, names=filter(None, nodes), rest=rest)

    # -- planning -----------------------------------------------------------------------------
    def plan_acquire(
        self,
        node: str,
        *,
        method: str = "auto",
        methods: Mapping[str, str] | None = None,
        shared_storage: bool = False,
        target: str = "",
        stuck: str = "keep-disabled",
        transfer: Mapping[str, Any] | None = None,
    ) -> Plan:
        """Plan emptying a node's host inside the source and taking the node out of it, or take such a plan up again
        (read only).

        :param node: its name in site.yaml, or its host's.
        :param method: how servers leave: ``auto``, ``live``, ``block``, ``cold``, ``evacuate`` or ``rebuild``.
        :param methods: the same for single servers, by id or name.
        :param shared_storage: the servers' disks are on storage that all hosts have; no API tells.
        :param target: the host to go to; empty: the scheduler's choice.
        :param stuck: when a server does not move: ``keep-disabled``, or ``enable`` the host again.
        :param transfer: what :meth:`plan_transfer` will get afterwards, by its parameters' names: what would keep that
            from ending well is found here, while the node has its power; None or empty: no transfer follows.
        :raises SiteError: when site.yaml describes no such node.
        :raises PlanError: when it is no compute host of the source, or a word is none that we know.
        """
        spec = self.nodes.node(node)
        wishes = Wishes(method, dict(methods or {}), shared_storage, target, stuck)
        digest = target_digest("acquire", [spec.name], **asdict(wishes))
        facts = self._facts(spec)
        begun = self._resume("acquire", digest, ("started", "finished"))
        fits = begun is not None and _still_fits(begun, facts.host) and not self._came_back(begun, facts.host)
        ahead = self._look_ahead(facts, transfer) if transfer else ()
        if begun is not None and fits and not self._undone(begun) and self._same_site(begun):
            has_power = not self._journal.step_state(begun.hash, f"node-off:{spec.name}").in_effect
            return self._keep(begun, ahead) if has_power and blocking(ahead) else begun
        plan, findings = plan_acquire(facts, wishes, digest=digest, **self._names)
        return self._new((plan, (*findings, *ahead)))

    def _look_ahead(self, facts: NodeFacts, transfer: Mapping[str, Any]) -> tuple[Finding, ...]:
        unknown = set(transfer) - set(inspect.signature(self.plan_transfer).parameters)
        if unknown or "node" in transfer:
            raise PlanError(
                f"A transfer has no parameter {', '.join(sorted(unknown or {'node'}))} here.",
                remedy="name those of 08-transfer-node.ipynb: environment, template, copy_disks, canary …",
            )
        given = {key: value for key, value in transfer.items() if key != "canary"}
        ahead = Ahead(
            facts.node,
            self._layout(**given),
            said_of(transfer.get("canary") or {}),
            template_named=bool(transfer.get("template")),
        )
        hardware = self._site.hardware
        return look_ahead(ahead, self.nodes, hardware, facts.host, self._source, self._destination)

    def _layout(
        self,
        *,
        environment: str = "",
        roles: Sequence[str] = ("compute",),
        template: str = "",
        copy_disks: bool = True,
        interfaces: Mapping[str, Sequence[str]] | None = None,
        disks: Mapping[str, Mapping[str, int]] | None = None,
        discovery_s: float = 1800.0,
    ) -> Layout:
        fuel = self._site.hardware.fuel
        given = bool(interfaces or disks)
        return Layout(
            environment=environment or (fuel.environment if fuel is not None else ""),
            roles=tuple(roles),
            template=template or ("" if given or fuel is None else fuel.template_node),
            copy_disks=copy_disks,
            interfaces={name: list(networks) for name, networks in (interfaces or {}).items()},
            disks={name: dict(volumes) for name, volumes in (disks or {}).items()},
            discovery_s=discovery_s,
        )

    def plan_transfer(
        self,
        node: str,
        *,
        environment: str = "",
        roles: Sequence[str] = ("compute",),
        template: str = "",
        copy_disks: bool = True,
        interfaces: Mapping[str, Sequence[str]] | None = None,
        disks: Mapping[str, Mapping[str, int]] | None = None,
        canary: Mapping[str, str] | None = None,
        discovery_s: float = 1800.0,
    ) -> Plan:
        """Plan taking a node over into an environment of Fuel's, or take such a plan up again (read only).

        :param node: its name in site.yaml, or its host's; no server may be left on it.
        :param environment: Fuel's, by name; empty: the one of site.yaml.
        :param roles: what the node becomes.
        :param template: the Fuel node to copy interfaces and disks from; empty: the one of site.yaml, unless a layout
            is given.
        :param copy_disks: False: only the interfaces are copied, the disks are what Fuel proposes.
        :param interfaces: interface -> names of Fuel's networks on it.
        :param disks: disk -> volume -> MiB.
        :param canary: ``image``, ``flavor`` and ``network`` of the server that proves the new host; what is not named
            is chosen at the destination.
        :param discovery_s: seconds that Fuel may take to discover the node.
        :raises SiteError: when site.yaml describes no such node, or no Fuel master.
        :raises PlanError: when the choice contradicts itself.
        """
        spec = self.nodes.node(node)
        layout = self._layout(
            environment=environment,
            roles=roles,
            template=template,
            copy_disks=copy_disks,
            interfaces=interfaces,
            disks=disks,
            discovery_s=discovery_s,
        )
        said = said_of(canary or {})
        digest = target_digest("transfer", [spec.name], **asdict(layout), canary=said)
        begun = self._resume("transfer", digest, ("started", "finished"))
        returned = begun is not None and self._came_back(begun, self._host_after(begun, spec))
        if begun is not None and not returned and not self._undone(begun) and self._same_site(begun):
            return begun
        facts = self._facts(spec)
        deletes = self._source.hosts.deletes_services()
        wanted = choose_canary(self._destination, said, source=self._source) if layout.is_compute else Canary()
        layout = fitting(layout, self.nodes, self._site.hardware, named=bool(template))
        plan, findings = plan_transfer(facts, layout, wanted, digest=digest, deletes_services=deletes, **self._names)
        return self._new((plan, (*findings, *self._disks_fit(layout, facts))))

    def _disks_fit(self, layout: Layout, facts: NodeFacts) -> tuple[Finding, ...]:
        try:
            return check_disks(layout, facts.node, self.nodes, self._site.hardware, facts.host)
        except NodeError:
            return ()  # the steps ask again, before the node loses power

    def plan_give_back(self, node: str) -> Plan:
        """Plan giving a node back to the source, while its disk is what it was (read only).

        :raises PlanError: when nothing that was done to it is in effect.
        """
        spec = self.nodes.node(node)
        digest = target_digest("give-back", [spec.name])
        begun = self._resume("give-back", digest, ("started",))
        try:
            plan, findings = plan_give_back(self._journal, spec, digest=digest, **self._names)
        except PlanError:
            begun = begun or self._resume("give-back", digest, ("finished",))
            if begun is None:
                raise
            return begun
        # what was done to it since is in no earlier plan
        if begun is not None and not findings and {s.key for s in plan.steps} <= {s.key for s in begun.steps}:
            return begun
        return self._new((plan, findings))

    @property
    def _names(self) -> dict[str, str]:
        return {"source": self._site.source_cloud, "destination": self._site.destination_cloud}

    def _new(self, planned: Planned) -> Plan:
        plan, findings = planned
        # a finished one is planned anew only where somebody took back what it came to
        while self._undone(plan) or self._journal.plan_state(plan.hash) in ("undone", "superseded", "finished"):
            plan = replace(plan, sequence=plan.sequence + 1)
        return self._keep(plan, findings)

    def _host_after(self, plan: Plan, node: NodeSpec) -> HostFacts | None:
        """What the source has of a node that a finished plan took away."""
        over = self._journal.plan_state(plan.hash) == "finished" and not has_ended(self._journal, self._site.hardware)
        return read_host(self._source, node.host) if node.host and over else None

    def _came_back(self, plan: Plan, host: HostFacts | None) -> bool:
        """Whether the source has a node again that a finished plan took away: somebody brought it back by hand."""
        if self._journal.plan_state(plan.hash) != "finished" or host is None or host.service is None:
            return False
        return host.service.status == "enabled" or host.is_up

    def _undone(self, plan: Plan) -> bool:
        return any(s.state in ("undone", "undoing") for s in self._journal.step_states(plan.hash).values())

    def _same_site(self, plan: Plan) -> bool:
        """Whether site.yaml says of its nodes what it said when the plan was made; else a new plan is wanted.

        Of a finished plan nothing is left to do: site.yaml may tell by now where its nodes have come to.

        :raises PlanError: when it does not, and something that depends on it was done already.
        """
        if self._journal.plan_state(plan.hash) == "finished":
            return True
        states = self._journal.step_states(plan.hash)
        other = [(name, step) for step in plan.steps for name in self._differing(plan, step)]
        for name, step in other:
            of_node = [one for one in plan.steps if one.node == step.node and one.node] + [step]
            if any(states.get(one.key, StepState()).in_effect for one in of_node if one.undo != NOTHING):
                raise PlanError(
                    f"site.yaml says something else of the {name} of {step.node or step.title} than when plan "
                    f"{plan.hash[:12]} was begun, and some of it was done as site.yaml was then.",
                    remedy="give the node back (10-give-back-node.ipynb), which undoes it where it was done; then run "
                    "this again. If its disk was overwritten, put back into site.yaml what it said.",
                )
        return not other

    def _differing(self, plan: Plan, step: PlannedStep) -> list[str]:
        """Which of a step's parameters are not what site.yaml says now."""
        found = []
        for params in (step.params, *step.params.get("nodes", ())):
            if "node" not in params or not params["node"]:
                continue
            spec = self.nodes.node(params["node"])
            now: dict[str, object] = {"serial": spec.serial, "macs": list(spec.macs), "host": spec.host}
            if plan.kind == "decommission":
                # its steps ask no source for a host; the hosts of all its controllers stand in the first of them
                del now["host"]
                retiring = next(one.params["retiring"] for one in plan.steps if "retiring" in one.params)
                found += ["host"] if step.kind == "controller-off" and spec.host not in retiring else []
            if spec.ports:
                port = spec.ports[0]
                now |= {"switch": port.switch, "port": port.port, "home": port.vlan}
            if "switch" in params:
                now["vlan"] = self._site.hardware.admin_vlan
            found += [name for name, value in now.items() if name in params and params[name] != value]
        return found

    def _facts(self, node: NodeSpec) -> NodeFacts:
        host = read_host(self._source, node.host) if node.host else None
        seen = port_of(node, self.nodes, self._site.hardware, self._journal)
        return NodeFacts(node, self._site.hardware.admin_vlan, host, seen)

    # -- acting -------------------------------------------------------------------------------
    def _carry(self, plan: Plan, kind: str, phase: str) -> Execution:
        return self._carry_out(plan, kind, phase)

    def evacuate(self, plan: Plan, *, parallel: int = 2) -> Execution:
        """Disable the host and move every server off it (changes source).

        :param parallel: so many servers at a time: migrations of one host share its network.
        :raises StepError: when a server did not move; the host then stays disabled, or is enabled again, as the plan
            says.
        """
        try:
            return self._carry_out(plan, "acquire", "evacuate", workers=parallel)
        except Stopped:
            raise
        except StepError:
            self._when_stuck(plan)
            raise

    def _when_stuck(self, plan: Plan) -> None:
        disable = next(step for step in plan.steps if step.kind == "host-disable")
        host, state = disable.params["host"], self._journal.step_state(plan.hash, disable.key)
        if disable.params["stuck"] != "enable":
            self._report(f"Host {host} stays disabled, with the servers that did not move.")
        elif state.state == "verified" and state.ours:
            self._journal.write(self._run_id(), plan.hash, disable.key, "undo-intent", {"ours": True})
            now = self._source.hosts.enable_service(host)
            self._journal.write(self._run_id(), plan.hash, disable.key, "undone", {"evidence": {"status": now.status}})
            self._journal.set_plan_state(plan.hash, "superseded")
            self._report(f"Host {host} is enabled again, as the plan says: servers did not move.")

    def release(self, plan: Plan) -> Execution:
        """Take the node out of the source: nothing is left on it, power off, port to the Admin VLAN (changes source).

        :raises StepError: when a server is left on it, or the BMC or the switch is not what site.yaml says.
        """
        return self._carry_out(plan, plan.kind, "release")

    def discover(self, plan: Plan) -> Execution:
        """Boot the node by PXE in the Admin VLAN, until Fuel has discovered that very machine (changes node).

        :raises StepError: when it does not show, or another machine does.
        """
        return self._carry_out(plan, plan.kind, "discover")

    def install(self, plan: Plan) -> Execution:
        """Give the node its role and deploy it (changes both; **its disks are overwritten**).

        :raises StepError: when Fuel's deployment failed; nothing of it is the source's any more then.
        """
        return self._carry_out(plan, plan.kind, "install")

    def prove(self, plan: Plan) -> Execution:
        """See the new host serve a canary, then remove its record from the source (changes both).

        :raises StepError: when the host does not come up, or the canary does not answer.
        """
        return self._carry_out(plan, plan.kind, "prove")

    def give_back(self, plan: Plan) -> Execution:
        """Undo in reverse what was done to a node, until the source has it again (changes source).

        :raises StepError: when a step failed; running it again goes on.
        """
        try:
            return self._carry_out(plan, "give-back", "undo")
        finally:
            self._note_given_back(plan)

    def _note_given_back(self, plan: Plan) -> None:
        for name in {step.node for step in plan.steps if step.node}:
            for taken in taking_plans(self._journal, self._site.hardware.node(name)):
                states = self._journal.step_states(taken.hash)
                left = [
                    step
                    for step in taken.steps
                    if step.undo not in (None, NOTHING) and states.get(step.key, StepState()).in_effect
                ]
                if not left and self._undone(taken):
                    self._journal.set_plan_state(taken.hash, "undone")


def read_host(source: Cloud, host: str) -> HostFacts | None:
    """What a cloud says of one of its compute hosts, and of the room on the others (read only); None: no such host."""
    services = tuple(source.compute.list_services())
    if not any(service.host == host for service in services):
        return None
    servers = tuple(source.hosts.list_servers(host))
    flavors = {flavor.id: flavor.ram_mib for flavor in source.compute.list_flavors()} if servers else {}
    projects = {project.id: project.name for project in source.identity.list_projects()} if servers else {}
    networks = source.network.list_networks()
    return HostFacts(
        host=host,
        services=services,
        servers=servers,
        unconfirmed=tuple(source.hosts.list_unconfirmed(host)),
        hypervisors=tuple(source.compute.list_hypervisors()),
        ram_mib={server.id: flavors.get(server.flavor_id, 0) for server in servers},
        projects=projects,
        multi_host=bool(networks) and all(network.multi_host for network in networks),
    )


def _still_fits(plan: Plan, host: HostFacts | None) -> bool:
    """Whether a begun plan still speaks of every server that is on the host."""
    known = {server.id for server in plan.servers}
    return host is None or all(server.id in known for server in host.servers)
