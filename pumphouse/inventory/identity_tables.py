"""Tables of who there is and what they may have: projects, users, roles, assignments, keypairs, quotas.

Each function turns a snapshot into one DataFrame (no cloud is asked). Columns and dtypes are those of
:data:`pumphouse.inventory.schema.SCHEMAS`; ``<NA>`` is what the cloud does not tell. Sums over servers
count a server whose flavor was deleted as 0.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pandas as pd

from pumphouse.inventory.schema import build_frame
from pumphouse.inventory.snapshot import Snapshot
from pumphouse.model import Server


def name_of(item: Any) -> str | None:
    """An object's name, or None when there is no object (it was deleted, or could not be listed)."""
    return None if item is None else str(item.name)


def joined(words: Iterable[str | None]) -> str:
    """Words as one sorted, comma-separated cell; empty when there are none."""
    return ", ".join(sorted(word for word in words if word))


def sizes(snapshot: Snapshot, servers: Iterable[Server]) -> tuple[int, int, int]:
    """(vCPUs, RAM in MiB, root + ephemeral disk in GiB) of these servers' flavors, as far as they are known."""
    flavors = [flavor for server in servers if (flavor := snapshot.flavor(server.flavor_id)) is not None]
    return (
        sum(flavor.vcpus for flavor in flavors),
        sum(flavor.ram_mib for flavor in flavors),
        sum(flavor.disk_gib + flavor.ephemeral_gib for flavor in flavors),
    )


def projects(snapshot: Snapshot) -> pd.DataFrame:
    """One row per project.

    Index: ``project_id`` (string).

    * ``name`` (string): unique within a domain only
    * ``description`` (string): as its owner wrote it
    * ``enabled`` (boolean): whether its users can get a token
    * ``source_id`` (string): id of the source's project that this one was made from
    * ``users`` (Int64, count): users with any role in it
    * ``servers`` (Int64, count): in any state
    * ``vcpus`` (Int64, count): of its servers' flavors
    * ``ram_mib`` (Int64, MiB): of its servers' flavors
    * ``disk_gib`` (Int64, GiB): root and ephemeral, of its servers' flavors
    * ``images`` (Int64, count): owned by it
    * ``security_groups`` (Int64, count): its own, ``default`` included
    * ``floating_ips`` (Int64, count): allocated to it, bound or not
    """
    users: dict[str, set[str]] = defaultdict(set)
    for assignment in snapshot.assignments:
        users[assignment.project_id].add(assignment.user_id)
    floating = Counter(item.project_id for item in snapshot.floating_ips)
    rows = []
    for project in snapshot.projects:
        servers = snapshot.servers_of(project.id)
        vcpus, ram_mib, disk_gib = sizes(snapshot, servers)
        rows.append(
            {
                "project_id": project.id,
                "name": project.name,
                "description": project.description,
                "enabled": project.enabled,
                "source_id": project.source_id,
                "users": len(users[project.id]),
                "servers": len(servers),
                "vcpus": vcpus,
                "ram_mib": ram_mib,
                "disk_gib": disk_gib,
                "images": len(snapshot.images_of(project.id)),
                "security_groups": len(snapshot.security_groups_of(project.id)),
                "floating_ips": floating[project.id],
            }
        )
    return build_frame("projects", rows)


def users(snapshot: Snapshot) -> pd.DataFrame:
    """One row per user.

    Index: ``user_id`` (string).

    * ``name`` (string): unique within a domain only
    * ``email`` (string): where Keystone has one
    * ``enabled`` (boolean): whether the user can get a token
    * ``default_project_id`` (string): Keystone's ``tenantId`` or ``default_project_id``
    * ``default_project_name`` (string): its name
    * ``description`` (string): as Keystone has it
    * ``source_id`` (string): id of the source's user that this one was made from
    * ``projects`` (string): names of the projects with any role of theirs, comma-separated
    * ``servers`` (Int64, count): booted by the user
    * ``keypairs`` (Int64, count): those we could list
    """
    of_user: dict[str, set[str]] = defaultdict(set)
    for assignment in snapshot.assignments:
        project = snapshot.project(assignment.project_id)
        of_user[assignment.user_id].add(assignment.project_id if project is None else project.name)
    servers = Counter(server.user_id for server in snapshot.servers)
    return build_frame(
        "users",
        (
            {
                "user_id": user.id,
                "name": user.name,
                "email": user.email,
                "enabled": user.enabled,
                "default_project_id": user.default_project_id,
                "default_project_name": name_of(snapshot.project(user.default_project_id)),
                "description": user.description,
                "source_id": user.source_id,
                "projects": joined(of_user[user.id]),
                "servers": servers[user.id],
                "keypairs": len(snapshot.keypairs_of(user.id)),
            }
            for user in snapshot.users
        ),
    )


def roles(snapshot: Snapshot) -> pd.DataFrame:
    """One row per role.

    Index: ``role_id`` (string).

    * ``name`` (string): compares case-insensitively on current clouds
    * ``assignments`` (Int64, count): of this role to users in projects
    """
    used = Counter(assignment.role_id for assignment in snapshot.assignments)
    return build_frame(
        "roles",
        ({"role_id": role.id, "name": role.name, "assignments": used[role.id]} for role in snapshot.roles),
    )


def assignments(snapshot: Snapshot) -> pd.DataFrame:
    """One row per role of a user in a project (groups and domains are left out).

    Index: row number.

    * ``project_id`` (string): where
    * ``project_name`` (string): its name
    * ``user_id`` (string): who
    * ``user_name`` (string): their name
    * ``role_id`` (string): what
    * ``role_name`` (string): its name
    """
    return build_frame(
        "assignments",
        (
            {
                "project_id": assignment.project_id,
                "project_name": name_of(snapshot.project(assignment.project_id)),
                "user_id": assignment.user_id,
                "user_name": name_of(snapshot.user(assignment.user_id)),
                "role_id": assignment.role_id,
                "role_name": name_of(snapshot.role(assignment.role_id)),
            }
            for assignment in snapshot.assignments
        ),
    )


def keypairs(snapshot: Snapshot) -> pd.DataFrame:
    """One row per keypair that we could list: Nova shows a user's keypairs to that user only.

    Index: row number.

    * ``user_id`` (string): the owner
    * ``user_name`` (string): their name
    * ``name`` (string): unique per user
    * ``type`` (string): ssh or x509
    * ``fingerprint`` (string): MD5 of the public key, as Nova shows it
    * ``servers`` (Int64, count): booted by the owner with this key
    """
    used = Counter((server.user_id, server.key_name) for server in snapshot.servers)
    return build_frame(
        "keypairs",
        (
            {
                "user_id": keypair.user_id,
                "user_name": name_of(snapshot.user(keypair.user_id)),
                "name": keypair.name,
                "type": keypair.type,
                "fingerprint": keypair.fingerprint,
                "servers": used[keypair.user_id, keypair.name],
            }
            for keypair in snapshot.keypairs
        ),
    )


def quotas(snapshot: Snapshot) -> pd.DataFrame:
    """One row per project whose quota could be read. A limit of -1 is unlimited; use is counted from the tables.

    Index: ``project_id`` (string).

    * ``project_name`` (string): its name
    * ``instances`` (Int64, count): limit of servers
    * ``instances_used`` (Int64, count): servers in any state
    * ``cores`` (Int64, count): limit of vCPUs
    * ``cores_used`` (Int64, count): vCPUs of its servers' flavors
    * ``ram_mib`` (Int64, MiB): limit of RAM (Nova's ``ram``)
    * ``ram_used_mib`` (Int64, MiB): RAM of its servers' flavors
    * ``floating_ips`` (Int64, count): limit
    * ``floating_ips_used`` (Int64, count): allocated
    * ``fixed_ips`` (Int64, count): limit
    * ``security_groups`` (Int64, count): limit
    * ``security_groups_used`` (Int64, count): its own, ``default`` included
    * ``security_group_rules`` (Int64, count): limit per group
    * ``key_pairs`` (Int64, count): limit per user
    * ``metadata_items`` (Int64, count): limit per server
    """
    floating = Counter(item.project_id for item in snapshot.floating_ips)
    rows = []
    for quota in snapshot.quotas:
        servers = snapshot.servers_of(quota.project_id)
        vcpus, ram_mib, _ = sizes(snapshot, servers)
        rows.append(
            {
                "project_id": quota.project_id,
                "project_name": name_of(snapshot.project(quota.project_id)),
                "instances": quota.limits.get("instances"),
                "instances_used": len(servers),
                "cores": quota.limits.get("cores"),
                "cores_used": vcpus,
                "ram_mib": quota.limits.get("ram"),
                "ram_used_mib": ram_mib,
                "floating_ips": quota.limits.get("floating_ips"),
                "floating_ips_used": floating[quota.project_id],
                "fixed_ips": quota.limits.get("fixed_ips"),
                "security_groups": quota.limits.get("security_groups"),
                "security_groups_used": len(snapshot.security_groups_of(quota.project_id)),
                "security_group_rules": quota.limits.get("security_group_rules"),
                "key_pairs": quota.limits.get("key_pairs"),
                "metadata_items": quota.limits.get("metadata_items"),
            }
        )
    return build_frame("quotas", rows)
