"""Sample clouds made from the model's dataclasses, with the dirt that real clouds carry.

``make_snapshot()`` is a populated Icehouse source; ``make_snapshot("destination")`` is a nearly empty
Neutron cloud. Ids are derived from names, so that tests can say ``uid("acme-web1")``. Every table can be
replaced by keyword.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from pumphouse.inventory import Snapshot
from pumphouse.model import (
    Address,
    Aggregate,
    Assignment,
    AvailabilityZone,
    CloudFacts,
    Flavor,
    FloatingIp,
    Hypervisor,
    Image,
    Keypair,
    Network,
    Port,
    Project,
    Quota,
    Role,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Service,
    Usage,
    User,
)

TAKEN_AT = datetime(2014, 11, 3, 21, 30, tzinfo=UTC)
MIB = 1 << 20
HOSTS = ("node-1", "node-2", "node-3")
LIMITS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "floating_ips": 10,
    "fixed_ips": -1,
    "metadata_items": 128,
    "security_groups": 10,
    "security_group_rules": 20,
    "key_pairs": 100,
}


def uid(name: str) -> str:
    """A stable UUID for a name, as Nova and Glance write them."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def kid(name: str) -> str:
    """A stable 32-digit id for a name, as Keystone writes them."""
    return uid(name).replace("-", "")


def make_facts(side: str = "source", **overrides: Any) -> CloudFacts:
    old = side == "source"
    values: dict[str, Any] = {
        "cloud": "old" if old else "new",
        "side": side,
        "auth_url": "http://192.0.2.10:5000/v2.0" if old else "https://192.0.2.20:5000/v3",
        "region": "RegionOne",
        "release": "icehouse" if old else None,
        "identity_api": "v2.0" if old else "v3.14",
        "image_api": "v2.2" if old else "v2.17",
        "compute_api": "v2.0" if old else "v2.1 (2.104)",
        "network_service": "nova-network" if old else "neutron",
        "project_name": "admin",
        "user_name": "admin",
        "tls_verified": not old,
        "evidence": ("nova extension os-server-external-events",) if old else (),
    }
    return CloudFacts(**values | overrides)


def make_server(name: str = "acme-web1", **overrides: Any) -> Server:
    """A healthy server of project acme; ``address=...`` sets its only fixed IP."""
    address = overrides.pop("address", "10.10.0.11")
    values: dict[str, Any] = {
        "id": uid(name),
        "name": name,
        "project_id": kid("acme"),
        "user_id": kid("alice"),
        "status": "ACTIVE",
        "task_state": None,
        "vm_state": "active",
        "power_state": 1,
        "host": "node-1",
        "availability_zone": "nova",
        "flavor_id": "2",
        "image_id": uid("acme-web"),
        "key_name": "alice-key",
        "security_groups": ("default", "web"),
        "metadata": {"role": "web"},
        "addresses": (Address("private", address, f"fa:16:3e:00:00:{int(address.split('.')[-1]):02x}"),),
        "floating_ips": (),
        "config_drive": False,
        "created_at": datetime(2014, 5, 1, 12, tzinfo=UTC),
    }
    return Server(**values | overrides)


def make_flavor(flavor_id: str = "2", **overrides: Any) -> Flavor:
    values: dict[str, Any] = {"id": flavor_id, "name": "m1.small", "vcpus": 1, "ram_mib": 2048, "disk_gib": 20}
    return Flavor(**values | overrides)


def make_image(name: str = "acme-web", **overrides: Any) -> Image:
    values: dict[str, Any] = {
        "id": uid(name),
        "name": name,
        "status": "active",
        "visibility": "private",
        "owner_id": kid("acme"),
        "size_bytes": 12 * MIB,
        "checksum": uid(name).replace("-", ""),
        "disk_format": "qcow2",
        "container_format": "bare",
    }
    return Image(**values | overrides)


def make_projects() -> tuple[Project, ...]:
    return (
        Project(kid("admin"), "admin", "Administrators"),
        Project(kid("services"), "services"),
        Project(kid("acme"), "acme", "Acme Ltd., shop"),
        Project(kid("beta"), "beta", "Бета"),
        Project(kid("closed"), "closed", "left in 2013", enabled=False),
    )


def make_users() -> tuple[User, ...]:
    return (
        User(kid("root"), "admin", "root@example.org", default_project_id=kid("admin")),
        User(kid("alice"), "alice", "alice@example.org", default_project_id=kid("acme")),
        User(kid("bob"), "bob", None, default_project_id=kid("beta")),
        User(kid("carol"), "carol", None, enabled=False),
    )


def make_servers() -> tuple[Server, ...]:
    """Ten servers on three hosts: six healthy ones of acme, and four dirty ones of beta."""
    beta: dict[str, Any] = {"project_id": kid("beta"), "user_id": kid("bob"), "key_name": None}
    return (
        make_server("acme-web1", address="10.10.0.11", floating_ips=("172.24.4.11",)),
        make_server("acme-web2", address="10.10.0.12", host="node-2"),
        make_server("acme-db1", address="10.10.0.13", host="node-3", flavor_id="3", security_groups=("db", "default")),
        make_server("acme-db2", address="10.10.0.14", host="node-2", flavor_id="3", security_groups=("db", "default")),
        make_server("acme-cache", address="10.10.0.15", host="node-3", image_id=uid("cirros"), metadata={}),
        make_server(
            "acme-batch", address="10.10.0.16", host="node-1", status="SHUTOFF", vm_state="stopped", power_state=4
        ),
        make_server(
            "beta-broken",
            address="10.10.0.21",
            status="ERROR",
            vm_state="error",
            power_state=0,
            fault="No valid host was found.",
            **beta,
        ),
        make_server("beta-stuck", address="10.10.0.22", host="node-2", task_state="powering-off", **beta),
        make_server("twin", id=uid("twin-a"), address="10.10.0.23", flavor_id="99", image_id=uid("gone"), **beta),
        make_server("twin", id=uid("twin-b"), address="10.10.0.24", host=None, status="BUILD", created_at=None, **beta),
    )


def make_security_groups() -> tuple[SecurityGroup, ...]:
    def rule(number: str, **overrides: Any) -> SecurityGroupRule:
        values: dict[str, Any] = {
            "id": number,
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": "tcp",
            "port_min": 22,
            "port_max": 22,
            "remote_cidr": "0.0.0.0/0",
        }
        return SecurityGroupRule(**values | overrides)

    return (
        SecurityGroup("1", kid("acme"), "default", "default", (rule("11"),)),
        SecurityGroup(
            "2",
            kid("acme"),
            "web",
            "web servers",
            (rule("12", port_min=80, port_max=80), rule("13", port_min=443, port_max=443)),
        ),
        SecurityGroup(
            "3",
            kid("acme"),
            "db",
            "databases",
            (rule("14", port_min=3306, port_max=3306, remote_cidr=None, remote_group_id="2"),),
        ),
        SecurityGroup("4", kid("beta"), "default", "default", (rule("15", protocol="icmp", port_min=-1, port_max=-1),)),
        SecurityGroup("5", kid("beta"), "empty", ""),
    )


def make_snapshot(side: str = "source", **overrides: Any) -> Snapshot:
    """A snapshot of the sample source, or of the sample destination; tables can be replaced by keyword."""
    values = _source() if side == "source" else _destination()
    return Snapshot(**values | overrides)


def _source() -> dict[str, Any]:
    return {
        "facts": make_facts("source"),
        "taken_at": TAKEN_AT,
        "projects": make_projects(),
        "users": make_users(),
        "roles": (Role(kid("r-admin"), "admin"), Role(kid("r-member"), "_member_")),
        "assignments": (
            Assignment(kid("root"), kid("admin"), kid("r-admin")),
            Assignment(kid("alice"), kid("acme"), kid("r-member")),
            Assignment(kid("bob"), kid("beta"), kid("r-member")),
            Assignment(kid("bob"), kid("acme"), kid("r-member")),
        ),
        "flavors": (
            make_flavor("1", name="m1.tiny", ram_mib=512, disk_gib=1),
            make_flavor("2"),
            make_flavor("3", name="m1.medium", vcpus=2, ram_mib=4096, disk_gib=40, extra_specs={"quota:cpu": "2"}),
            make_flavor(
                "acme-1",
                name="acme.big",
                vcpus=8,
                ram_mib=16384,
                disk_gib=80,
                ephemeral_gib=10,
                swap_mib=512,
                is_public=False,
                access_project_ids=(kid("acme"),),
            ),
        ),
        "images": (
            make_image("acme-web", properties={"os": "linux"}, member_ids=(kid("beta"),)),
            make_image("cirros", visibility="public", owner_id=kid("admin"), protected=True),
            make_image(
                "half-made",
                status="queued",
                size_bytes=None,
                checksum=None,
                disk_format=None,
                container_format=None,
                owner_id=kid("beta"),
            ),
        ),
        "keypairs": (Keypair(kid("alice"), "alice-key", "ssh-rsa AAAAB3Nza alice@example.org", "aa:bb:cc:dd"),),
        "security_groups": make_security_groups(),
        "networks": (
            Network(
                uid("net"),
                "private",
                "10.10.0.0/24",
                "10.10.0.1",
                ("8.8.4.4",),
                bridge="br100",
                pools=(("10.10.0.2", "10.10.0.254"),),
            ),
        ),
        "floating_ips": (
            FloatingIp("1", "172.24.4.11", "public", kid("acme"), "10.10.0.11", uid("acme-web1")),
            FloatingIp("2", "172.24.4.12", "public", kid("acme")),
            FloatingIp("3", "172.24.4.13", "public", kid("beta")),
        ),
        "floating_pools": {"public": ("172.24.4.0/24",)},
        "servers": make_servers(),
        "services": (
            *(Service("nova-compute", host, "nova", "enabled", "up") for host in HOSTS[:2]),
            Service("nova-compute", "node-3", "nova", "disabled", "down", "bad disk"),
            Service("nova-network", "controller", "internal", "enabled", "up"),
            Service("nova-scheduler", "controller", "internal", "enabled", "up"),
        ),
        "hypervisors": tuple(
            Hypervisor(str(number), f"{host}.example.org", host, 8, 4, 16384, 8192, 200, 80, 3, "QEMU")
            for number, host in enumerate(HOSTS, start=1)
        ),
        "quotas": tuple(Quota(project.id, LIMITS) for project in make_projects()),
        "default_quota": Quota("", LIMITS),
        "usages": tuple(make_usage(project.id) for project in make_projects()),
        "availability_zones": (AvailabilityZone("nova"),),
        "aggregates": (Aggregate("1", "ssd-rack", None, ("node-3",), {"ssd": "true"}),),
    }


def make_usage(project_id: str) -> Usage:
    """What Nova rightly believes that a project of the sample source uses."""
    sizes = {flavor_id: (vcpus, ram_mib) for flavor_id, vcpus, ram_mib in (("2", 1, 2048), ("3", 2, 4096))}
    own = [sizes.get(server.flavor_id, (0, 0)) for server in make_servers() if server.project_id == project_id]
    cores, ram = sum(vcpus for vcpus, _ in own), sum(ram_mib for _, ram_mib in own)
    floating = {kid("acme"): 2, kid("beta"): 1}.get(project_id, 0)
    return Usage(project_id, {"instances": len(own), "cores": cores, "ram": ram, "floating_ips": floating})


def _destination() -> dict[str, Any]:
    return {
        "facts": make_facts("destination"),
        "taken_at": TAKEN_AT,
        "projects": (Project(kid("new-admin"), "admin"), Project(kid("new-service"), "service")),
        "users": (User(kid("new-root"), "admin"),),
        "roles": (Role(kid("new-r-admin"), "admin"), Role(kid("new-r-member"), "member")),
        "assignments": (Assignment(kid("new-root"), kid("new-admin"), kid("new-r-admin")),),
        "flavors": (make_flavor("1", name="m1.tiny", ram_mib=512, disk_gib=1),),
        "images": (),
        "networks": (
            Network(
                uid("public"),
                "public",
                "172.24.4.0/24",
                external=True,
                subnet_id=uid("public-subnet"),
                project_id=kid("new-admin"),
                dhcp=False,
                pools=(("172.24.4.100", "172.24.4.200"),),
            ),
        ),
        "ports": (
            Port(
                uid("router-gw"),
                "",
                uid("public"),
                kid("new-admin"),
                "172.24.4.100",
                "fa:16:3e:99:00:01",
                "ACTIVE",
                device_owner="network:router_gateway",
            ),
        ),
        "floating_pools": {"public": ("172.24.4.0/24",)},
        "services": tuple(
            Service("nova-compute", f"new-{n}", "nova", "enabled", "up", id=uid(f"s{n}")) for n in (1, 2)
        ),
        "hypervisors": tuple(Hypervisor(uid(f"hv{n}"), f"new-{n}", f"new-{n}") for n in (1, 2)),
        "quotas": (Quota(kid("new-admin"), LIMITS), Quota(kid("new-service"), LIMITS)),
        "availability_zones": (AvailabilityZone("nova"), AvailabilityZone("fast")),
        "default_quota": Quota("", LIMITS),
    }
