"""What a run does to get a destination: plan the Fuel master and its environment, and the verb that makes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pumphouse.clouds.api import Cloud
from pumphouse.errors import NodeUnreachable, PlanError
from pumphouse.executor import Execution
from pumphouse.findings import Finding
from pumphouse.journal import Journal
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware import Layout, NodeFacts, target_digest
from pumphouse.plan.hardware.fuel_master import PROVIDER, Environment, MasterWishes, plan_fuel_master
from pumphouse.plan.hardware.slices import SharedPublic
from pumphouse.plan.model import Plan
from pumphouse.site import Site
from pumphouse.steps.hardware.usage import networks_of

_PUBLIC = ("cidr", "gateway", "vlan", "reserved", "ip_range", "floating_range", "hosts", "floating")
_EXAMPLE = '{"cidr": "172.16.10.0/24", "gateway": "172.16.10.1"}'


class FuelMasterWork(ABC):
    """The verbs for the Fuel master; a part of :class:`pumphouse.session.hardware.HardwareWork`."""

    _site: Site
    _journal: Journal
    _source: Cloud
    _resume: Callable[[str, str, Iterable[str]], Plan | None]
    nodes: Nodes

    def plan_fuel_master(
        self,
        controllers: Sequence[str],
        computes: Sequence[str],
        public: Mapping[str, Any],
        *,
        master: str = "",
        medium: str = "cdrom",
        api_timeout_s: float = 7200.0,
        environment: str = "",
        operating_system: str = "Ubuntu",
        mode: str = "ha_compact",
        segment: str = "vlan",
        internal_cidr: str = "",
        cacert: str = "",
        interfaces: Mapping[str, Sequence[str]] | None = None,
        disks: Mapping[str, Mapping[str, int]] | None = None,
        discovery_s: float = 1800.0,
    ) -> Plan:
        """Plan the destination, or take such a plan up again (read only).

        A Fuel master that answers at site.yaml's address is adopted; where none does, ``master`` becomes one.

        :param controllers: nodes of site.yaml that become controllers of the new cloud.
        :param computes: nodes that become its first compute hosts; one that is a controller, too, becomes both.
        :param public: the Public network, see :class:`pumphouse.plan.hardware.slices.SharedPublic`: ``cidr``,
            ``gateway``; as you like ``vlan``, ``reserved``, ``ip_range``, ``floating_range``, ``hosts``, ``floating``.
        :param master: the node that becomes the master.
        :param medium: where it boots from: ``cdrom`` or ``pxe``; the operator puts Fuel's medium there.
        :param api_timeout_s: seconds that the installation of the master may take.
        :param environment: its name in Fuel; empty: the one of site.yaml.
        :param interfaces: interface -> names of Fuel's networks on it, for all these nodes; empty: Fuel's proposal.
        :param disks: disk -> volume -> MiB, likewise.
        :param discovery_s: seconds that Fuel may take to discover a node.
        :raises SiteError: when site.yaml describes no such node, or no Fuel master.
        :raises PlanError: when the choice contradicts itself, or the Public network has no room.
        """
        fuel = self._site.hardware.fuel
        made = Environment(
            name=environment or (fuel.environment if fuel is not None else ""),
            operating_system=operating_system,
            mode=mode,
            segment=segment,
            cacert=cacert,
            **({"internal_cidr": internal_cidr} if internal_cidr else {}),
        )
        wishes = MasterWishes(medium, api_timeout_s)
        shared = _public(public)
        chosen: dict[str, tuple[NodeSpec, tuple[str, ...]]] = {}
        for role, names in (("controller", controllers), ("compute", computes)):
            for name in names:
                spec = self.nodes.node(name)
                chosen[spec.name] = (spec, (*chosen.get(spec.name, (spec, ()))[1], role))
        nics = {name: list(networks) for name, networks in (interfaces or {}).items()}
        volumes = {name: dict(sizes) for name, sizes in (disks or {}).items()}
        node_of_master = self.nodes.node(master) if master else None
        choices = {"wishes": asdict(wishes), "environment": asdict(made), "public": asdict(shared)}
        digest = target_digest(
            "fuel-master",
            [*chosen],
            roles={name: roles for name, (_, roles) in chosen.items()},
            master=node_of_master.name if node_of_master else "",
            interfaces=nics,
            disks=volumes,
            **choices,
        )
        begun = self._resume("fuel-master", digest, ("started", "finished"))
        if begun is not None and not self._undone(begun) and self._same_site(begun):
            return begun
        release = self._release()
        if release is None and node_of_master is None:
            raise PlanError(
                "No Fuel master answers, and no node is named that is to become one.",
                remedy="name it (master), or correct fuel.url in site.yaml if there is one.",
            )
        nodes = {
            name: (self._facts(node), Layout(made.name, roles, interfaces=nics, disks=volumes, discovery_s=discovery_s))
            for name, (node, roles) in chosen.items()
        }
        return self._new(
            plan_fuel_master(
                self._facts(node_of_master) if node_of_master is not None and release is None else None,
                nodes,
                wishes,
                made,
                shared,
                networks_of(self._source, self._site.hardware),
                digest=digest,
                release=release or "",
                answered=release is None and self._answered(node_of_master),
                begun=self._installed_by(node_of_master) if release is None and node_of_master is not None else "",
                differences=self._differences(made) if release is not None else (),
                **self._names,
            )
        )

    def create(self, plan: Plan) -> Execution:
        """Bring the Fuel master up or adopt it, make its environment, share the networks (changes the master's node).

        :raises StepError: when it does not answer, or an environment of that name is another one.
        """
        return self._carry(plan, "fuel-master", "create")

    def _release(self) -> str | None:
        """The release of a master that answers; None where none does."""
        try:
            with self.nodes.fuel() as fuel:
                return fuel.version().release
        except NodeUnreachable:
            return None

    def _differences(self, made: Environment) -> list[str]:
        """What the environment of that name has other than wanted, if Fuel has one (read only)."""
        with self.nodes.fuel() as fuel:
            found, release = fuel.find_environment(made.name), fuel.find_release(made.operating_system)
            if found is None or release is None:
                return []
            return fuel.differences(found, release.id, made.mode, PROVIDER, made.segment)

    def _answered(self, node: NodeSpec | None) -> bool:
        """Whether the master that we installed on this node, or one that we adopted, answered an earlier run."""
        keys = {f"fuel-up:{name}" for name in ("fuel", node.name if node is not None else "fuel")}
        return any(event.event == "verified" for key in keys for event in self._journal.events(step_key=key))

    def _installed_by(self, node: NodeSpec) -> str:
        """The plan that switched this node on to install the master, of all that were not taken back; empty: none."""
        for document in self._journal.plan_documents(kind="fuel-master", states=("started", "finished")):
            plan = Plan.from_document(document)
            states = self._journal.step_states(plan.hash)
            on = f"node-on:{node.name}"
            if f"fuel-up:{node.name}" in {step.key for step in plan.steps} and on in states and states[on].in_effect:
                return plan.hash[:12]
        return ""

    @property
    @abstractmethod
    def _names(self) -> dict[str, str]: ...

    @abstractmethod
    def _facts(self, node: NodeSpec) -> NodeFacts: ...

    @abstractmethod
    def _new(self, planned: tuple[Plan, tuple[Finding, ...]]) -> Plan: ...

    @abstractmethod
    def _undone(self, plan: Plan) -> bool: ...

    @abstractmethod
    def _same_site(self, plan: Plan) -> bool: ...

    @abstractmethod
    def _carry(self, plan: Plan, kind: str, phase: str) -> Execution: ...


def _public(given: Mapping[str, Any]) -> SharedPublic:
    unknown = set(given) - set(_PUBLIC)
    if unknown or not {"cidr", "gateway"} <= given.keys():
        raise PlanError(
            f"The Public network is given with {', '.join(sorted(given)) or 'nothing'}.",
            remedy=f"say in the parameter public both cidr and gateway, as in {_EXAMPLE}; and as you like "
            f"{', '.join(_PUBLIC[2:])}.",
        )
    values = dict(given)
    reserved = values.pop("reserved", ())
    try:
        return SharedPublic(**values, reserved=(reserved,) if isinstance(reserved, str) else tuple(reserved))
    except (TypeError, ValueError) as error:
        raise PlanError(
            "A value of the Public network has a wrong type.", remedy="compare with the notebook."
        ) from error
