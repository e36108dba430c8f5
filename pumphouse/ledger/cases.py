"""The objects of a plan, one case each: what the source holds, what the plan makes of it, and what it became."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import MARKER, Image
from pumphouse.plan.model import Plan, PlannedStep, PlanServer

#: What is told of an object that the destination will number only when it is made.
LATER = "(given by the destination)"


@dataclass(frozen=True)
class World:
    """A plan with both clouds as they were read.

    :param mapped: (kind, source id) -> destination id, for what has been carried already.
    """

    plan: Plan
    source: Snapshot
    destination: Snapshot | None
    mapped: Callable[[str, str], str | None]
    steps: Mapping[str, PlannedStep] = field(default_factory=dict)
    servers: Mapping[str, PlanServer] = field(default_factory=dict)
    by_server: Mapping[str, list[PlannedStep]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, inventory: Inventory, mapped: Callable[[str, str], str | None] | None = None) -> World:
        """Index a plan."""
        by_server: dict[str, list[PlannedStep]] = defaultdict(list)
        for step in plan.steps:
            if step.server_id is not None:
                by_server[step.server_id].append(step)
        steps = {step.key: step for step in plan.steps}
        servers = {server.id: server for server in plan.servers}
        return cls(plan, inventory.source, inventory.destination, mapped or _nothing, steps, servers, by_server)

    @property
    def is_nova(self) -> bool:
        """Whether the destination has nova-network as well."""
        return self.destination is not None and self.destination.facts.network_service == "nova-network"

    def became(self, kind: str, source_id: str | None) -> str | None:
        """The destination's id of a source object; a phrase as long as it has none; None for no object."""
        return None if source_id is None else self.mapped(kind, source_id) or LATER

    def counterpart(self, kind: str, source_id: str, *, adopts: str | None = None) -> Any:
        """The destination's project, user or image that stands for a source's when it was read, or None.

        One that was made by an earlier plan, or was there before us, stays as it is.
        """
        there = self.destination
        if there is None:
            return None
        for key in (self.mapped(kind, source_id), adopts, source_id if kind == "image" else None):
            found = getattr(there, kind)(key) if key else None
            if found is not None:
                return found
        marked = getattr(there, f"{kind}s")
        return next((one for one in marked if marker_of(one) == source_id), None)

    def params(self, key: str) -> Mapping[str, Any] | None:
        """Parameters of a step, or None when the plan does not hold it."""
        step = self.steps.get(key)
        return None if step is None else step.params


@dataclass(frozen=True, slots=True)
class Case:
    """One object. ``record`` is what the inventory knows of it: None when the source does not show it any more.

    ``params`` are those of the step that carries it. ``key`` is unique among the objects of its type.
    """

    kind: str
    key: str
    label: str
    record: Any
    params: Mapping[str, Any]
    world: World

    def told(self, name: str) -> Any:
        """An attribute of the record; None without one."""
        return getattr(self.record, name, None)

    @property
    def planned(self) -> PlanServer:
        """The server as it was when the plan was made."""
        return self.world.servers[self.key]

    def step(self, kind: str) -> PlannedStep | None:
        """The first step of that kind that belongs to this server."""
        return next((step for step in self.world.by_server.get(self.key, ()) if step.kind == kind), None)

    def own(self, *kinds: str) -> list[PlannedStep]:
        """All steps of these kinds that belong to this server."""
        return [step for step in self.world.by_server.get(self.key, ()) if step.kind in kinds]


def cases(world: World) -> Iterator[Case]:
    """Every object that the plan moves or makes a counterpart of, in plan order."""
    for step in world.plan.steps:
        make = MAKERS.get(step.kind)
        if make is not None:
            yield from make(world, step)


def _simple(kind: str, find: str) -> Callable[[World, PlannedStep], Iterator[Case]]:
    def make(world: World, step: PlannedStep) -> Iterator[Case]:
        source_id = step.params["source_id"]
        record = getattr(world.source, find)(source_id)
        # a role that only the operator needs is no object of the source
        if record is not None or not source_id.startswith("@"):
            yield Case(kind, source_id, _name(record, step), record, step.params, world)

    return make


def _name(record: Any, step: PlannedStep) -> str:
    return str(getattr(record, "name", "") or step.params.get("name") or step.params.get("source_id"))


def _assignments(world: World, step: PlannedStep) -> Iterator[Case]:
    if step.params.get("operator"):
        return
    ids = (step.params["project_id"], step.params["user_id"], step.params["role_id"])
    found = [lookup(source_id) for lookup, source_id in zip(_lookups(world), ids, strict=True)]
    project, user, role = (item.name if item is not None else ids[n] for n, item in enumerate(found))
    yield Case("role_assignment", step.key, f"{role} for {user} in {project}", None, step.params, world)


def _lookups(world: World) -> tuple[Callable[[str], Any], ...]:
    return world.source.project, world.source.user, world.source.role


def _flavors(world: World, step: PlannedStep) -> Iterator[Case]:
    for case in _simple("flavor", "flavor")(world, step):
        yield replace(case, label=step.params["flavor"]["name"])
        for project_id in case.told("access_project_ids") or step.params["flavor"]["access_project_ids"]:
            key = f"{case.key}/{project_id}"
            yield Case("flavor_access", key, f"{case.label}: {_project(world, project_id)}", None, step.params, world)


def _images(world: World, step: PlannedStep) -> Iterator[Case]:
    for case in _simple("image", "image")(world, step):
        yield replace(case, label=step.params["image"]["name"])
        for project_id in case.told("member_ids") or ():
            key = f"{case.key}/{project_id}"
            yield Case("image_member", key, f"{case.label}: {_project(world, project_id)}", None, step.params, world)


def _project(world: World, project_id: str) -> str:
    found = world.source.project(project_id)
    return found.name if found is not None else project_id


def _keypairs(world: World, step: PlannedStep) -> Iterator[Case]:
    params = step.params
    record = world.source.keypair(params["user_id"], params["name"])
    label = f"{params['name']} of {params['user_name']}"
    yield Case("keypair", f"{params['user_id']}/{params['name']}", label, record, params, world)


def _group_rules(world: World, step: PlannedStep) -> Iterator[Case]:
    group = world.source.security_group(step.params["source_id"])
    if group is None:
        return
    for rule in group.rules:
        yield Case("security_group_rule", rule.id, f"{group.name} rule {rule.id}", rule, step.params, world)


def _ports(world: World, step: PlannedStep) -> Iterator[Case]:
    params = step.params
    server = world.source.server(str(step.server_id))
    known = {address.address: address for address in server.addresses} if server is not None else {}
    for address in (params["address"], *params.get("more", ())):
        key, record = f"{step.server_id}/{address}", known.get(address)
        yield Case("fixed_ip", key, address, record, {**params, "address": address}, world)
        if address == params["address"]:
            yield Case("virtual_interface", key, f"NIC of {address}", record, params, world)


def _floating(world: World, step: PlannedStep) -> Iterator[Case]:
    record = world.source.floating_ip(step.params["address"])
    yield Case("floating_ip", step.params["address"], step.params["address"], record, step.params, world)


def _servers(world: World, step: PlannedStep) -> Iterator[Case]:
    source_id = step.params["source_id"]
    yield Case("server", source_id, step.params["name"], world.source.server(source_id), step.params, world)


def _projects(world: World, step: PlannedStep) -> Iterator[Case]:
    for case in _simple("project", "project")(world, step):
        yield case
        quota = next((quota for quota in world.source.quotas if quota.project_id == case.key), None)
        yield Case("quota_set", case.key, f"of {case.label}", quota, step.params, world)


#: Kind of step -> the objects of the source that it carries.
MAKERS: Mapping[str, Callable[[World, PlannedStep], Iterator[Case]]] = {
    "project": _projects,
    "user": _simple("user", "user"),
    "role": _simple("role", "role"),
    "assignment": _assignments,
    "flavor": _flavors,
    "image": _images,
    "keypair": _keypairs,
    "security-group": _simple("security_group", "security_group"),
    "security-group-rules": _group_rules,
    "network": _simple("network", "network"),
    "port": _ports,
    "open-fixed-ip": _ports,
    "floating-ip": _floating,
    "spare-floating-ip": _floating,
    "boot": _servers,
}


def marker_of(found: Any) -> str | None:
    """The source's id on a project, user or image of the destination that pumphouse made; None on any other."""
    marker = found.properties.get(MARKER) if isinstance(found, Image) else found.source_id
    return None if marker is None else str(marker)


def _nothing(_kind: str, _source_id: str) -> str | None:
    return None
