"""What a run does to end the source: plan it, archive, and take its controllers over one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PlanError
from pumphouse.executor import Execution
from pumphouse.findings import Finding
from pumphouse.journal import Journal, StepState
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.plan.hardware import Canary, Layout, target_digest
from pumphouse.plan.hardware.decommission import Archive, Ending, order_of, plan_decommission
from pumphouse.plan.hardware.remains import account, control_rank, unknown
from pumphouse.plan.model import Plan
from pumphouse.records.store import site_redactor
from pumphouse.session.canary import choose_canary, said_of
from pumphouse.session.plugged import port_of
from pumphouse.session.templates import fitting
from pumphouse.site import Site
from pumphouse.steps.hardware.archive import is_stale, problem_of
from pumphouse.steps.hardware.remains import read_accounts, read_remains


class DecommissionWork(ABC):
    """The verbs for the end of the source; a part of :class:`pumphouse.session.hardware.HardwareWork`."""

    _site: Site
    _source: Cloud
    _destination: Cloud
    _journal: Journal
    _resume: Callable[[str, str, Iterable[str]], Plan | None]
    nodes: Nodes

    def plan_decommission(
        self,
        archive: Sequence[str],
        archive_file: str,
        *,
        archive_timeout_s: float = 3600.0,
        archive_fresh_s: float = 86400.0,
        controllers: Sequence[str] = (),
        become: Mapping[str, Sequence[str]] | None = None,
        leave: Sequence[str] = (),
        environment: str = "",
        template: str = "",
        copy_disks: bool = True,
        canary: Mapping[str, str] | None = None,
        discovery_s: float = 1800.0,
    ) -> Plan:
        """Plan the end of the source, or take such a plan up again, also when the source answers no more (read only).

        :param archive: the command that archives databases and configuration, as a list of words; there is no shell.
        :param archive_file: the file that it writes, with its whole path.
        :param archive_timeout_s: seconds that it may take.
        :param archive_fresh_s: how old the archive may be, in seconds, when a controller loses power.
        :param controllers: nodes of site.yaml in the order in which they are taken; empty: all with a host and the role
            ``controller``, those that serve the network first and those with Nova's control services last.
        :param become: node -> its roles in the destination; ``compute`` where nothing is said.
        :param leave: what is left behind and lost knowingly: servers and images (name or id), addresses, hosts.
        :param environment: Fuel's, by name; empty: the one of site.yaml.
        :param template: the Fuel node to copy interfaces and disks from; empty: the one of site.yaml.
        :param copy_disks: False: only the interfaces are copied, the disks are what Fuel proposes.
        :param canary: as for a transfer.
        :param discovery_s: seconds that Fuel may take to discover a node.
        :raises SiteError: when site.yaml describes no such node, or no Fuel master.
        :raises PlanError: when it names no controller, or the choice contradicts itself.
        """
        fuel = self._site.hardware.fuel
        kept = Archive(tuple(archive), archive_file, archive_timeout_s, archive_fresh_s)
        _refuse_secrets(self._site, (*kept.command, kept.file))
        layout = Layout(
            environment=environment or (fuel.environment if fuel is not None else ""),
            template=template or (fuel.template_node if fuel is not None else ""),
            copy_disks=copy_disks,
            discovery_s=discovery_s,
        )
        nodes, said = controllers_of(self._site.hardware, controllers), said_of(canary or {})
        layouts = _layouts(layout, nodes, {self.nodes.node(name).name: roles for name, roles in (become or {}).items()})
        digest = target_digest(
            "decommission",
            [node.name for node in nodes],
            archive=asdict(kept),
            layouts={name: asdict(one) for name, one in layouts.items()},
            leave=sorted(set(leave)),
            canary=said,
        )
        begun = self._resume("decommission", digest, ("started", "finished"))
        if begun is not None and not self._undone(begun):
            if may_go_on(self._journal, begun) and self._same_site(begun):
                return begun
            self._journal.set_plan_state(begun.hash, "superseded")
        ending = read_ending(
            self._site.hardware,
            self._source,
            self._destination,
            self._journal,
            controllers=nodes,
            keep_order=bool(controllers),
            leave=tuple(sorted(set(leave))),
        )
        heard = {one.name: port_of(one, self.nodes, self._site.hardware, self._journal) for one in nodes}
        ending = replace(ending, ports=heard)
        wanted = choose_canary(self._destination, said) if any(x.is_compute for x in layouts.values()) else Canary()
        layouts = {
            name: fitting(one, self.nodes, self._site.hardware, named=bool(template)) for name, one in layouts.items()
        }
        kept = replace(kept, problem=problem_of(kept))
        return self._new(plan_decommission(ending, layouts, wanted, kept, digest=digest, **self._names))

    def archive(self, plan: Plan) -> Execution:
        """See that nothing is left at the source, and archive what its controllers know (runs the operator's command).

        :raises StepError: when something is left, the command fails, or it wrote no archive.
        """
        return self._carry(plan, "decommission", "archive")

    def retire(self, plan: Plan) -> Execution:
        """Take the controllers over, one after the other (changes both; **ends the source**).

        :raises StepError: when a controller cannot be taken; those after it keep their power.
        """
        return self._carry(plan, "decommission", "retire")

    @property
    @abstractmethod
    def _names(self) -> dict[str, str]: ...

    @abstractmethod
    def _new(self, planned: tuple[Plan, tuple[Finding, ...]]) -> Plan: ...

    @abstractmethod
    def _undone(self, plan: Plan) -> bool: ...

    @abstractmethod
    def _same_site(self, plan: Plan) -> bool: ...

    @abstractmethod
    def _carry(self, plan: Plan, kind: str, phase: str) -> Execution: ...


def _refuse_secrets(site: Site, words: Iterable[str]) -> None:
    redactor = site_redactor(site)
    if any(redactor.holds_secret(word) for word in words):
        raise PlanError(
            "The archive's command holds a secret of this site; it would stand in the plan, which others read.",
            remedy="let the command read it itself: from a file of its own, or the environment.",
        )


def _layouts(layout: Layout, nodes: Iterable[NodeSpec], become: Mapping[str, Sequence[str]]) -> dict[str, Layout]:
    names = {node.name for node in nodes}
    strangers = sorted(set(become) - names)
    if strangers:
        raise PlanError(
            f"It is said what {', '.join(strangers)} becomes, which is not among the controllers that are taken.",
            remedy=f"name some of {', '.join(sorted(names)) or 'none'}.",
        )
    return {name: replace(layout, roles=tuple(become.get(name, layout.roles))) for name in sorted(names)}


def controllers_of(hardware: Hardware, names: Sequence[str]) -> tuple[NodeSpec, ...]:
    """The source's controllers as site.yaml has them, or the named nodes in that order.

    :raises SiteError: when site.yaml describes no such node.
    :raises PlanError: when a node is named twice.
    """
    if not names:
        return tuple(node for node in hardware.nodes.values() if node.role == "controller" and node.host)
    nodes = tuple(hardware.node(name) for name in names)
    if len({node.name for node in nodes}) < len(nodes):
        raise PlanError(f"A node is named twice: {', '.join(names)}.", remedy="name each controller once.")
    return nodes


def read_ending(
    hardware: Hardware,
    source: Cloud,
    destination: Cloud,
    journal: Journal,
    *,
    controllers: tuple[NodeSpec, ...],
    keep_order: bool,
    leave: tuple[str, ...],
) -> Ending:
    """What is left at the source, and in which order its controllers go (read only)."""
    remains = read_remains(source)
    retiring = {node.host for node in controllers if node.host}
    ranks = control_rank(remains.services)
    return Ending(
        controllers=controllers if keep_order else order_of(controllers, ranks),
        remnants=account(remains, read_accounts(destination, journal, retiring=retiring, leave=leave)),
        leave=leave,
        unknown=unknown(remains, leave),
        ranks=ranks,
        admin_vlan=hardware.admin_vlan,
    )


def may_go_on(journal: Journal, plan: Plan) -> bool:
    """Whether a begun plan is still worth being taken up: a controller is gone already, or its archive is fresh."""
    states = journal.step_states(plan.hash)
    if any(states.get(s.key, StepState()).in_effect for s in plan.steps if s.kind == "controller-off"):
        return True
    archive = next(step for step in plan.steps if step.kind == "archive")
    state = states.get(archive.key, StepState())
    return state.state != "verified" or not is_stale(state.outcome, archive.params["fresh_s"])


def has_ended(journal: Journal, hardware: Hardware) -> bool:
    """Whether every controller of the source lost its power (read only): nobody waits for that source to answer.

    Those of some plan, and all that site.yaml calls a controller of the source: a plan may take some of them only.
    """
    ended, dark = False, set[str]()
    for plan, off in _switched_off(journal):
        dark |= off
        ended |= off == {step.node for step in plan.steps if step.kind == "controller-off"}
    return ended and all(node.name in dark for node in controllers_of(hardware, ()))


def is_ending(journal: Journal) -> bool:
    """Whether a controller of the source was switched off, or that was begun (read only): it may go at any moment."""
    return any(off for _, off in _switched_off(journal))


def _switched_off(journal: Journal) -> Iterator[tuple[Plan, set[str]]]:
    """Each begun end of the source, with the nodes whose power it took."""
    for document in journal.plan_documents(kind="decommission", states=("started", "finished")):
        plan = Plan.from_document(document)
        states = journal.step_states(plan.hash)
        taken = [step for step in plan.steps if step.kind == "controller-off"]
        yield plan, {s.node for s in taken if s.node and states.get(s.key, StepState()).in_effect}
