"""Checks of a site and of a plan: every problem at once, each with its remedy, before anything is touched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator

from pumphouse.clouds.api import Images
from pumphouse.errors import CloudError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.plan.model import Plan

#: How every qcow2 image begins (QEMU's docs/interop/qcow2.rst).
QCOW2_MAGIC = b"QFI\xfb"
#: Tables without which a plan would be guesswork.
NEEDED = frozenset({"users", "roles", "assignments", "security_groups", "floating_ips", "ports"})


def check_site(inventory: Inventory) -> tuple[Finding, ...]:
    """The seed's constraints and what is dirty in the source, over the whole site (read only; asks no cloud)."""
    source, destination = inventory.source, inventory.destination
    findings = [*_network_managers(inventory), *_gaps(source), *_dirty(source)]
    if destination is not None:
        findings += _gaps(destination)
    for snapshot in (source, destination):
        if snapshot is not None and not _is_admin(snapshot):
            findings.append(
                Finding(
                    "warn",
                    "not-admin",
                    f"cloud {snapshot.facts.cloud}",
                    f"gives {snapshot.facts.user_name} no admin role in {snapshot.facts.project_name}: what is listed "
                    f"may be only its own.",
                    "use an administrator's entry of clouds.yaml.",
                )
            )
        if snapshot is not None and not snapshot.facts.tls_verified:
            findings.append(
                Finding(
                    "warn",
                    "tls-off",
                    f"cloud {snapshot.facts.cloud}",
                    "is talked to without TLS verification.",
                    "use https and `verify: true` in clouds.yaml wherever the cloud offers it.",
                )
            )
    return tuple(findings)


def check_plan(plan: Plan, inventory: Inventory) -> tuple[Finding, ...]:
    """Whether the destination has room and quota for a move plan, and names that will repeat (read only)."""
    if plan.kind != "move" or inventory.destination is None:
        return ()
    findings: list[Finding] = []
    by_project: dict[str, list[str]] = defaultdict(list)
    for server in plan.servers:
        by_project[server.project].append(server.id)
    for project, ids in sorted(by_project.items()):
        findings += _quota(project, ids, inventory)
        findings += _names(project, ids, inventory)
    findings += _capacity(plan, inventory)
    return tuple(findings)


def check_images(plan: Plan, images: Images) -> tuple[Finding, ...]:
    """Whether the first bytes of each image to copy are those of its declared format (reads the source).

    Current Glance refuses a mislabelled image with 415 (seen on Glance 33), after all of it was sent.
    """
    findings = []
    for step in plan.steps:
        if step.kind != "image":
            continue
        want = step.params["image"]
        label = f"image {want['name']}"
        try:
            chunks = images.download(step.params["source_id"], chunk_bytes=512)
            is_qcow2 = next(chunks, b"").startswith(QCOW2_MAGIC)
            if isinstance(chunks, Generator):
                chunks.close()
        except CloudError as error:
            findings.append(
                Finding(
                    "block",
                    "image-unreadable",
                    label,
                    f"({step.params['source_id']}) cannot be read: {error.message}",
                    "upload the image again in the source, or leave its servers out.",
                )
            )
            continue
        if is_qcow2 != (want["disk_format"] == "qcow2") and want["disk_format"] in ("qcow2", "raw"):
            findings.append(
                Finding(
                    "block",
                    "image-format",
                    label,
                    f"({step.params['source_id']}) is declared {want['disk_format']}, but its first bytes are "
                    f"{'' if is_qcow2 else 'not '}those of a qcow2 image; a current Glance refuses that.",
                    "correct disk_format in the source; or accept `image-format` for a lenient Glance.",
                )
            )
    return tuple(findings)


def _is_admin(snapshot: Snapshot) -> bool:
    users = {user.id for user in snapshot.users if user.name == snapshot.facts.user_name}
    projects = {project.id for project in snapshot.projects if project.name == snapshot.facts.project_name}
    admins = {role.id for role in snapshot.roles if role.name.casefold() == "admin"}
    held = (a.role_id for a in snapshot.assignments if a.user_id in users and a.project_id in projects)
    return snapshot.has_gap("users", "roles", "assignments") or any(role_id in admins for role_id in held)


def _network_managers(inventory: Inventory) -> list[Finding]:
    findings = []
    facts = inventory.source.facts
    if facts.network_service != "nova-network":
        findings.append(
            Finding(
                "block",
                "source-network",
                f"cloud {facts.cloud}",
                f"has {facts.network_service}, not nova-network: it is not a source that pumphouse moves from.",
                "check source.cloud in site.yaml.",
            )
        )
    findings += [
        Finding(
            "block",
            "network-manager",
            f"network {network.name}",
            f"has VLAN {network.vlan_id}: that is VlanManager, not FlatDHCP.",
            "only FlatDHCP networks can be shared between the clouds.",
        )
        for network in inventory.source.networks
        if network.vlan_id is not None
    ]
    if inventory.destination is not None and inventory.destination.facts.network_service != "neutron":
        findings.append(
            Finding(
                "block",
                "destination-network",
                f"cloud {inventory.destination.facts.cloud}",
                "has no Neutron: it is not a destination that pumphouse moves to.",
                "check destination.cloud in site.yaml.",
            )
        )
    return findings


def _gaps(snapshot: Snapshot) -> list[Finding]:
    return [
        Finding(
            "block" if gap.table in NEEDED else "warn",
            "inventory-gap",
            f"{gap.table} of {snapshot.facts.cloud}",
            f"are not known completely: {gap.reason}.",
            gap.remedy,
        )
        for gap in snapshot.gaps
    ]


def _dirty(source: Snapshot) -> list[Finding]:
    findings = []
    for server in source.servers:
        what = None
        if server.status == "ERROR":
            what = f"is in ERROR{f' ({server.fault})' if server.fault else ''}"
        elif server.task_state is not None:
            what = f"has task {server.task_state} under way or is stuck in it"
        elif server.image_id is not None and source.image(server.image_id) is None:
            what = f"was made from image {server.image_id}, which is gone"
        if what:
            findings.append(
                Finding(
                    "info",
                    "dirty-server",
                    f"server {server.name}",
                    f"({server.id}) {what}.",
                    "it cannot move like this.",
                )
            )
    findings.extend(
        Finding("info", "dirty-image", f"image {image.name}", f"({image.id}) is {image.status}.", "it is not copied.")
        for image in source.images
        if image.status != "active"
    )
    findings.extend(
        Finding(
            "warn",
            "service-down",
            f"{service.binary} on {service.host}",
            f"is {service.state} ({service.status}).",
            "its servers cannot be stopped in an orderly way.",
        )
        for service in source.services
        if service.state != "up"
    )
    return findings


def _quota(project: str, server_ids: list[str], inventory: Inventory) -> list[Finding]:
    source, destination = inventory.source, inventory.destination
    if destination is None:
        return []
    there = destination.project_named(project)
    quota = destination.quota(there.id) if there else destination.default_quota
    if quota is None:
        return [
            Finding(
                "warn",
                "quota-unknown",
                f"project {project}",
                f"has a quota at {destination.facts.cloud} that could not be read.",
                "check by hand that it has room.",
            )
        ]
    existing = [s for s in destination.servers if there is not None and s.project_id == there.id]
    use: Counter[str] = Counter()
    for snapshot, servers in (
        (source, [s for i in server_ids if (s := source.server(i)) is not None]),
        (destination, existing),
    ):
        for server in servers:
            flavor = snapshot.flavor(server.flavor_id)
            use["instances"] += 1
            use["cores"] += flavor.vcpus if flavor else 0
            use["ram"] += flavor.ram_mib if flavor else 0
    return [
        Finding(
            "block",
            "quota",
            f"project {project}",
            f"would use {use[name]} {name} at {destination.facts.cloud}, its quota is {quota.limits[name]}.",
            f"raise the quota there (nova quota `{name}`), or move fewer servers.",
        )
        for name in ("instances", "cores", "ram")
        if quota.limits.get(name, -1) >= 0 and use[name] > quota.limits[name]
    ]


def _names(project: str, server_ids: list[str], inventory: Inventory) -> list[Finding]:
    source, destination = inventory.source, inventory.destination
    if destination is None:
        return []
    names = Counter(s.name for i in server_ids if (s := source.server(i)) is not None)
    findings = [
        Finding("info", "name-repeats", f"server {name}", f"is the name of {count} servers of {project} in this plan.")
        for name, count in sorted(names.items())
        if count > 1
    ]
    there = destination.project_named(project)
    taken = {s.name for s in destination.servers if there is not None and s.project_id == there.id}
    findings.extend(
        Finding(
            "warn",
            "name-taken",
            f"server {name}",
            f"is also the name of a server of {project} at {destination.facts.cloud}; both will exist there.",
        )
        for name in sorted(set(names) & taken)
    )
    return findings


def _capacity(plan: Plan, inventory: Inventory) -> list[Finding]:
    destination = inventory.destination
    if destination is None or any(h.ram_mib is None or h.ram_used_mib is None for h in destination.hypervisors):
        return []
    free_mib = sum((h.ram_mib or 0) - (h.ram_used_mib or 0) for h in destination.hypervisors)
    want_mib = 0
    for server in plan.servers:
        found = inventory.source.server(server.id)
        flavor = inventory.source.flavor(found.flavor_id) if found else None
        want_mib += flavor.ram_mib if flavor else 0
    if want_mib <= free_mib:
        return []
    return [
        Finding(
            "warn",
            "capacity",
            f"cloud {destination.facts.cloud}",
            f"has {free_mib} MiB RAM free on its hypervisors, the plan needs {want_mib} MiB (overcommit not counted).",
            "add compute nodes first, or move fewer servers.",
        )
    ]
