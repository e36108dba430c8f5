"""Whether the destination has room for a plan: quotas, hypervisors, and what flavors ask of aggregates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.inventory.host_tables import spec_key
from pumphouse.model import Aggregate, Flavor, Hypervisor, Server
from pumphouse.plan.model import Plan

#: Quotas that servers use.
COUNTED = ("instances", "cores", "ram")
_OPERATORS = ("<", "=", "s=", "s!", "s<", "s>", "!", ">")


def check_room(plan: Plan, inventory: Inventory) -> Iterator[Finding]:
    """Findings on a move plan (read only; asks no cloud)."""
    source, destination = inventory.source, inventory.destination
    if destination is None:
        return
    by_project: dict[str, list[Server]] = defaultdict(list)
    for planned in plan.servers:
        server = source.server(planned.id)
        if server is not None:
            by_project[server.project_id].append(server)
    steps = {step.key: step for step in plan.steps}
    for project_id, servers in sorted(by_project.items()):
        step = steps.get(f"project:{project_id}")
        project = source.project(project_id)
        name = str(step.params["name"]) if step else project.name if project else project_id
        quota = steps.get(f"quota:{project_id}")
        yield from _quota(name, servers, inventory, destination, quota.params["limits"] if quota else {})
        yield from _names(name, servers, destination)
    moving = [server for servers in by_project.values() for server in servers]
    yield from _capacity([flavor for s in moving if (flavor := source.flavor(s.flavor_id))], destination)
    yield from _aggregates({s.flavor_id for s in moving}, source, destination)


def _quota(
    project: str, servers: list[Server], inventory: Inventory, destination: Snapshot, planned: Mapping[str, int]
) -> Iterator[Finding]:
    there = destination.project_named(project)
    quota = destination.quota(there.id) if there else destination.default_quota
    if quota is None and not set(COUNTED) <= set(planned):
        yield Finding(
            "warn",
            "quota-unknown",
            f"project {project}",
            f"has a quota at {destination.facts.cloud} that could not be read.",
            "check by hand that it has room.",
        )
        return
    limits = {**(quota.limits if quota else {}), **planned}
    use: Counter[str] = Counter()
    existing = destination.servers_of(there.id) if there else ()
    for snapshot, counted in ((inventory.source, servers), (destination, existing)):
        for server in counted:
            flavor = snapshot.flavor(server.flavor_id)
            use["instances"] += 1
            use["cores"] += flavor.vcpus if flavor else 0
            use["ram"] += flavor.ram_mib if flavor else 0
    for name in COUNTED:
        if 0 <= limits.get(name, -1) < use[name]:
            whose = " (the source's, which the plan carries)" if name in planned else ""
            place = "in the source" if whose else "there"
            yield Finding(
                "block",
                "quota",
                f"project {project}",
                f"would use {use[name]} {name} at {destination.facts.cloud}, its quota is {limits[name]}{whose}.",
                f"raise the quota {place} (nova quota `{name}`), or move fewer servers.",
            )


def _names(project: str, servers: list[Server], destination: Snapshot) -> Iterator[Finding]:
    names = Counter(server.name for server in servers)
    for name, count in sorted(names.items()):
        if count > 1:
            yield Finding(
                "info", "name-repeats", f"server {name}", f"is the name of {count} servers of {project} in this plan."
            )
    there = destination.project_named(project)
    taken = {server.name for server in destination.servers_of(there.id)} if there else set()
    for name in sorted(set(names) & taken):
        yield Finding(
            "warn",
            "name-taken",
            f"server {name}",
            f"is also the name of a server of {project} at {destination.facts.cloud}; both will exist there.",
        )


def usable(destination: Snapshot) -> list[Hypervisor]:
    """Hypervisors whose nova-compute is up and enabled; all of them where no service is known."""
    services = [service for service in destination.services if service.binary == "nova-compute"]
    fit = {service.host for service in services if service.state == "up" and service.status == "enabled"}
    return [h for h in destination.hypervisors if not services or h.host is None or h.host in fit]


def _capacity(flavors: list[Flavor], destination: Snapshot) -> Iterator[Finding]:
    label = f"cloud {destination.facts.cloud}"
    hosts = usable(destination)
    if flavors and destination.hypervisors and not hosts:
        yield Finding(
            "block",
            "no-host",
            label,
            "has no compute host that is up and enabled.",
            "bring one up, or enable one, before anything is stopped at the source.",
        )
        return
    if not hosts or any(h.ram_mib is None or h.ram_used_mib is None for h in hosts):
        return
    free = [(h.ram_mib or 0) - (h.ram_used_mib or 0) for h in hosts]
    want_mib = sum(flavor.ram_mib for flavor in flavors)
    if want_mib > sum(free):
        yield Finding(
            "warn",
            "capacity",
            label,
            f"has {sum(free)} MiB RAM free on its hypervisors, the plan needs {want_mib} MiB (overcommit not counted).",
            "add compute nodes first, or move fewer servers.",
        )
    largest = max(flavors, key=lambda flavor: flavor.ram_mib, default=None)
    if largest is not None and largest.ram_mib > max(free):
        yield Finding(
            "warn",
            "capacity",
            f"flavor {largest.name}",
            f"needs {largest.ram_mib} MiB RAM on one host; the emptiest of {destination.facts.cloud} has {max(free)} "
            f"MiB free (overcommit not counted).",
            "make room on one host, or add a larger one.",
        )
    if any(h.disk_gib is None or h.disk_used_gib is None for h in hosts):
        return
    free_gib = sum((h.disk_gib or 0) - (h.disk_used_gib or 0) for h in hosts)
    want_gib = sum(flavor.disk_gib + flavor.ephemeral_gib for flavor in flavors)
    if want_gib > free_gib:
        yield Finding(
            "warn",
            "capacity",
            label,
            f"has {free_gib} GiB disk free on its hypervisors, the plan's flavors ask for {want_gib} GiB.",
            "add disks or nodes, or move fewer servers; shared storage counts once per host here.",
        )


def _aggregates(flavor_ids: set[str], source: Snapshot, destination: Snapshot) -> Iterator[Finding]:
    """Extra specs that the source's aggregates meet and the destination's do not."""
    if destination.has_gap("aggregates"):
        return
    for flavor_id in sorted(flavor_ids):
        flavor = source.flavor(flavor_id)
        for key, value in sorted(flavor.extra_specs.items()) if flavor else ():
            asked = spec_key(key)
            here = [a for a in source.aggregates if asked in a.metadata]
            explicit = asked != key
            if not (here or explicit) or any(_meets(a, asked, value) for a in destination.aggregates):
                continue
            yield Finding(
                "warn",
                "aggregate-missing",
                f"flavor {flavor.name if flavor else flavor_id}",
                f"asks for hosts with {asked}={value}"
                f"{f', as aggregate {here[0].name} has at the source' if here else ''}; no aggregate of "
                f"{destination.facts.cloud} has that.",
                "make an aggregate with that metadata there; host aggregates and placement are not carried.",
            )


def _meets(aggregate: Aggregate, key: str, value: str) -> bool:
    there = aggregate.metadata.get(key)
    if there is None:
        return False
    return value.startswith(_OPERATORS) or value in [one.strip() for one in there.split(",")]
