"""A cloud with nova-network as its installer leaves it: an administrator, roles, hosts and flavors, nothing else.

This is what an older destination looks like before anything was moved there; it has no network and no floating
addresses yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from pumphouse.lab.source.nova_secgroups import default_group
from pumphouse.lab.source.state import MEMBER_ROLE_ID, Flavor, Host, Project, Role, Service, State, User

SEED = 20150430
HOSTS = ("node-1", "node-2", "node-3")
CONTROL = ("nova-scheduler", "nova-cert", "nova-conductor")
FLAVORS = (
    # id, name, vcpus, MiB, GiB
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2048, 20),
    ("3", "m1.medium", 2, 4096, 40),
    ("4", "m1.large", 4, 8192, 80),
    ("5", "m1.xlarge", 8, 16384, 160),
)


def bootstrap(
    state: State, password: str, *, user: str = "admin", hosts: Sequence[str] = HOSTS, controller: str = "controller"
) -> None:
    """Fill an empty cloud with what every cloud has.

    :param password: the administrator's, whose name is ``user``; his project is ``admin``.
    :param hosts: its compute hosts.
    :param controller: the host of its control services.
    """
    extra = {"description": "Default role for project membership", "enabled": "True"}
    state.roles[MEMBER_ROLE_ID] = Role(MEMBER_ROLE_ID, "_member_", extra)
    for name in ("admin", "Member"):
        role = Role(state.new_hex(), name)
        state.roles[role.id] = role
    admin_role = state.role_named("admin")
    for name in ("admin", "services"):
        project = Project(state.new_hex(), name, f"{name} tenant")
        state.projects[project.id] = project
        user_name = user if name == "admin" else "nova"
        made = User(state.new_hex(), user_name, password, f"{user_name}@example.com", tenant_id=project.id)
        state.users[made.id] = made
        for role_id in (MEMBER_ROLE_ID, *([admin_role.id] if admin_role else [])):
            state.grant(project.id, made.id, role_id)
        default_group(state, project.id)
    for binary, host in (*((binary, controller) for binary in CONTROL), ("nova-network", "network1")):
        state.services.append(Service(state.count("service"), binary, host))
    for name in hosts:
        state.hosts[name] = Host(name, state.count("host"), 16, 32768, 500)
        state.services.append(Service(state.count("service"), "nova-compute", name))
    for identifier, name, vcpus, ram, disk in FLAVORS:
        if identifier == "1":
            disk = state.release.tiny_disk_gib
        state.flavors[identifier] = Flavor(identifier, name, vcpus, ram, disk, number=state.count("flavor"))
