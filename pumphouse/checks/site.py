"""Checks of a site and of a plan: every problem at once, each with its remedy, before anything is touched."""

from __future__ import annotations

from pumphouse.checks.capacity import check_room
from pumphouse.checks.constraints import check_addresses, check_mappings, check_networks, check_nodes
from pumphouse.checks.names import check_names
from pumphouse.checks.private import check_files
from pumphouse.checks.releases import check_clouds
from pumphouse.checks.survey import survey
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.plan.model import Plan
from pumphouse.site import Site

#: Tables without which a plan would be guesswork.
NEEDED = frozenset({"users", "roles", "assignments", "security_groups", "floating_ips", "ports"})


def check_site(inventory: Inventory, site: Site | None = None) -> tuple[Finding, ...]:
    """The seed's constraints and what is dirty in the source, over the whole site (read only; asks no cloud).

    :param site: whose mappings and nodes are compared with what the clouds hold.
    """
    source, destination = inventory.source, inventory.destination
    findings = [*check_clouds(inventory), *check_networks(inventory), *_gaps(source), *survey(source)]
    if site is not None:
        findings += [*check_mappings(inventory, site), *check_addresses(inventory, site), *check_nodes(site)]
        findings += check_files(site)
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
                    f"is talked to without all of TLS's protection: {snapshot.facts.tls}.",
                    "use https and `verify: true` in clouds.yaml wherever the cloud offers it.",
                )
            )
    return tuple(findings)


def check_plan(plan: Plan, inventory: Inventory) -> tuple[Finding, ...]:
    """Whether the destination has room and quota for a move plan, and takes its names (read only)."""
    if plan.kind != "move" or inventory.destination is None:
        return ()
    return (*check_room(plan, inventory), *check_names(plan, inventory))


def _is_admin(snapshot: Snapshot) -> bool:
    users = {user.id for user in snapshot.users if user.name == snapshot.facts.user_name}
    projects = {project.id for project in snapshot.projects if project.name == snapshot.facts.project_name}
    admins = {role.id for role in snapshot.roles if role.name.casefold() == "admin"}
    held = (a.role_id for a in snapshot.assignments if a.user_id in users and a.project_id in projects)
    return snapshot.has_gap("users", "roles", "assignments") or any(role_id in admins for role_id in held)


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
