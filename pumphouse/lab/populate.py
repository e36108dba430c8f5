"""Fill the old cloud with what a site of 2014 has accumulated: plain data first, then what makes records of it.

Projects ``acme`` (seven good servers on three hosts), ``globex`` (three) and ``initech`` (dirty: an ERROR server, one
stuck in a task, one whose image is gone, one good), besides ``admin`` and ``service``; what else there is comes from
:mod:`pumphouse.lab.umbrella`. Ids, MACs, keys and image bytes are the same in every lab; passwords are not.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pumphouse.lab import umbrella
from pumphouse.lab.source import glance
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_keypairs import add_keypair
from pumphouse.lab.source.nova_network import add_floating_range, make_network
from pumphouse.lab.source.nova_secgroups import default_group
from pumphouse.lab.source.state import (
    MEMBER_ROLE_ID,
    Aggregate,
    FixedIp,
    Flavor,
    Host,
    Image,
    Member,
    Project,
    Role,
    Rule,
    SecurityGroup,
    Server,
    Service,
    State,
    User,
    now,
)
from pumphouse.lab.world import Guest

MIB = 1 << 20
NETWORK_LABEL = "novanetwork"
POOL = "nova"
FLEET = "fleet"
SERVERS_PER_FLEET_HOST = 40
_BEFORE_FLEET = 60  # addresses that the other servers may take

PROJECTS = {
    "admin": "admin tenant",
    "service": "service tenant",
    "acme": "Acme Corporation",
    "globex": "Globex Corporation",
    "initech": "Initech",
}
USERS: dict[str, dict[str, Any]] = {
    "admin": {"project": "admin", "roles": ["admin"]},
    "nova": {"project": "service", "roles": ["admin"]},
    "glance": {"project": "service", "roles": ["admin"]},
    **{
        f"{project}-{kind}": {"project": project, "roles": roles}
        for project in ("acme", "globex", "initech")
        for kind, roles in (("user", ["Member"]), ("ops", ["Member", "operator"]))
    },
    "initech-former": {"project": "initech", "roles": ["Member"], "enabled": False},
}
HOSTS = {"compute1": (16, 32768, 500), "compute2": (16, 32768, 500), "compute3": (16, 32768, 500)}
FLAVORS: list[dict[str, Any]] = [
    {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1},
    {"id": "2", "name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 20},
    {"id": "3", "name": "m1.medium", "vcpus": 2, "ram": 4096, "disk": 40},
    {"id": "4", "name": "m1.large", "vcpus": 4, "ram": 8192, "disk": 80},
    {"id": "5", "name": "m1.xlarge", "vcpus": 8, "ram": 16384, "disk": 160},
    {
        "id": "42",
        "name": "c1.cached",
        "vcpus": 1,
        "ram": 1024,
        "disk": 4,
        "ephemeral": 3,
        "swap": 128,
        "rxtx_factor": 2.0,
        "extra_specs": {"quota:cpu_shares": "512", "hw:cpu_policy": "shared"},
    },
    {"id": "", "name": "acme.db", "vcpus": 2, "ram": 1024, "disk": 2, "is_public": False, "access": ["acme"]},
]
IMAGES: list[dict[str, Any]] = [
    {
        "name": "cirros-0.3.2-x86_64",
        "owner": "admin",
        "is_public": True,
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": 2 * MIB,
        "min_disk": 1,
        "min_ram": 64,
        "properties": {"os_distro": "cirros", "hw_vif_model": "virtio"},
    },
    {
        "name": "ubuntu-14.04-server",
        "owner": "admin",
        "is_public": True,
        "disk_format": "raw",
        "container_format": "bare",
        "size": 4 * MIB,
        "properties": {"architecture": "x86_64", "os_distro": "ubuntu", "os_version": "14.04"},
        "tags": ["lts", "ubuntu"],
    },
    {
        "name": "cirros-uec-kernel",
        "owner": "admin",
        "is_public": True,
        "disk_format": "aki",
        "container_format": "aki",
        "size": 2 * MIB,
    },
    {
        "name": "cirros-uec-ramdisk",
        "owner": "admin",
        "is_public": True,
        "disk_format": "ari",
        "container_format": "ari",
        "size": MIB,
    },
    {
        "name": "cirros-uec",
        "owner": "admin",
        "is_public": True,
        "disk_format": "ami",
        "container_format": "ami",
        "size": 3 * MIB,
        "trio": ("cirros-uec-kernel", "cirros-uec-ramdisk"),
    },
    {
        "name": "golden-protected",
        "owner": "admin",
        "is_public": True,
        "disk_format": "raw",
        "container_format": "bare",
        "size": MIB,
        "protected": True,
    },
    {
        "name": "acme-appliance",
        "owner": "acme",
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": 3 * MIB,
        "properties": {"release": "2014-03", "support": "acme-ops"},
        "tags": ["production"],
    },
    {"name": "acme-unfinished", "owner": "acme", "disk_format": "qcow2", "container_format": "bare", "size": None},
    {
        "name": "globex-shop",
        "owner": "globex",
        "disk_format": "raw",
        "container_format": "bare",
        "size": 2 * MIB,
        "members": ["initech"],
    },
    {
        "name": "initech-legacy",
        "owner": "initech",
        "disk_format": "raw",
        "container_format": "bare",
        "size": MIB,
        "gone": True,
    },
]
KEYPAIRS = {
    "admin": "admin-key",
    "acme-user": "acme-key",
    "acme-ops": "acme-ops-key",
    "globex-user": "globex-key",
    "initech-user": "initech-key",
}
GROUPS: dict[str, dict[str, Any]] = {
    "web": {
        "description": "web servers",
        "rules": [
            ("tcp", 80, 80, "0.0.0.0/0"),
            ("tcp", 443, 443, "0.0.0.0/0"),
            ("tcp", 22, 22, "10.0.0.0/8"),
            ("icmp", -1, -1, "0.0.0.0/0"),
        ],
    },
    "db": {"description": "databases", "rules": [("tcp", 3306, 3306, "@web"), ("udp", 161, 161, "192.168.0.0/16")]},
}
SERVERS: list[dict[str, Any]] = [
    {"project": "acme", "name": "web1", "host": "compute1", "groups": ["default", "web"], "floating": True},
    {"project": "acme", "name": "web2", "host": "compute2", "groups": ["default", "web"], "floating": True},
    {
        "project": "acme",
        "name": "db",
        "host": "compute3",
        "groups": ["db"],
        "flavor": "acme.db",
        "image": "ubuntu-14.04-server",
        "user": "ops",
    },
    {"project": "acme", "name": "cache", "host": "compute1", "flavor": "c1.cached", "image": "acme-appliance"},
    {"project": "acme", "name": "worker1", "host": "compute2", "image": "cirros-uec"},
    {"project": "acme", "name": "worker2", "host": "compute3", "image": "cirros-uec", "status": "SHUTOFF"},
    {"project": "acme", "name": "bastion", "host": "compute1", "groups": ["web"], "floating": True, "user": "ops"},
    {
        "project": "globex",
        "name": "shop",
        "host": "compute2",
        "groups": ["web"],
        "image": "globex-shop",
        "floating": True,
    },
    {"project": "globex", "name": "erp", "host": "compute3", "groups": ["default", "db"], "flavor": "m1.small"},
    {"project": "globex", "name": "mail", "host": "compute1", "image": "ubuntu-14.04-server"},
    {"project": "initech", "name": "tps-reports", "host": "compute1", "groups": ["web"]},
    {"project": "initech", "name": "printer", "host": None, "status": "ERROR"},
    {"project": "initech", "name": "stapler", "host": "compute2", "task_state": "powering-off"},
    {"project": "initech", "name": "basement", "host": "compute3", "image": "initech-legacy"},
]
SPARE_FLOATING = {"acme": 1, "globex": 1, "initech": 1}
QUOTAS = {"acme": {"instances": 20, "cores": 40, "ram": 102400, "floating_ips": 8}, "initech": {"instances": 5}}


#: Hosts that a plain site has besides, without servers.
EMPTY_HOSTS = {"compute4": (16, 32768, 500), "compute5": (16, 32768, 500)}
PLAIN = [
    row for row in SERVERS if not {"status": "ERROR"}.items() <= row.items() and "task_state" not in row
    and row.get("image") != "initech-legacy"
]  # fmt: skip
"""The servers that can be moved as they are."""


def user_names(*, plain: bool = False) -> list[str]:
    """The project users that get an entry of their own in ``clouds.yaml``."""
    projects = ("acme", "globex", "initech")
    own = [n for n, u in USERS.items() if u["project"] in projects and u.get("enabled", True)]
    return own if plain else [*own, *umbrella.CAN_LOG_IN]


def project_of(user_name: str) -> str:
    """The project that a user's entry is for."""
    return str(USERS[user_name]["project"] if user_name in USERS else umbrella.USERS[user_name]["default"])


@dataclass
class Filler:
    """Turns the tables above into records of one :class:`State`."""

    state: State
    passwords: Callable[[str], str]

    def __post_init__(self) -> None:
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.images: dict[str, Image] = {}
        self.flavors: dict[str, Flavor] = {}
        self.book = Addresses(self.state)

    async def fill(self, *, size: int = 0, plain: bool = False) -> None:
        """Everything, and ``size`` servers more in a project of their own; running ones are on the network then.

        :param plain: only what can be moved as it is, and two more hosts, without servers.
        """
        self._identity()
        self._hosts(size, HOSTS | EMPTY_HOSTS if plain else HOSTS)
        self._flavors()
        for number, row in enumerate(IMAGES):
            self._image(number, row)
        self._network()
        for name, keypair in KEYPAIRS.items():
            add_keypair(self.state, self.users[name].id, keypair, public_key(keypair))
        for project in ("acme", "globex", "initech"):
            self._groups(self.projects[project].id)
        for project, limits in QUOTAS.items():
            self.state.quotas[self.projects[project].id] = dict(limits)
        for number, row in enumerate(PLAIN if plain else SERVERS):
            self._server(number, row)
        for project, count in SPARE_FLOATING.items():
            for _ in range(count):
                self._free_floating().project_id = self.projects[project].id
        for image in [i for i in self.state.images.values() if i.name == "initech-legacy"]:
            del self.state.images[image.id]
            self.state.deleted_image_ids.add(image.id)
            self.state.image_path(image.id).unlink(missing_ok=True)
        if not plain:
            umbrella.Umbrella(self).fill()
        if size:
            self._fleet(size)
        dead = {s.host for s in self.state.services if not s.alive}
        for server in self.state.live_servers():
            if server.power_state == 1 and server.host not in dead:
                for address in server.addresses:
                    guest = Guest(self.state.cloud, server.id, server.name, address, server.mac)
                    await self.state.world.layer2.power_on(guest)

    # --- identity

    def _identity(self) -> None:
        extra = {"description": "Default role for project membership", "enabled": "True"}
        self.state.roles[MEMBER_ROLE_ID] = Role(MEMBER_ROLE_ID, "_member_", extra)
        for name in ("admin", "Member", "operator"):
            role = Role(self.state.new_hex(), name)
            self.state.roles[role.id] = role
        for name, description in PROJECTS.items():
            self._project(name, description)
        for name, row in USERS.items():
            self._user(name, row)

    def _project(self, name: str, description: str) -> Project:
        project = Project(self.state.new_hex(), name, description)
        self.state.projects[project.id] = self.projects[name] = project
        return project

    def _user(self, name: str, row: Mapping[str, Any]) -> User:
        project = self.projects[row["project"]]
        user = User(
            id=self.state.new_hex(),
            name=name,
            password=self.passwords(name),
            email=f"{name}@example.com",
            enabled=bool(row.get("enabled", True)),
            tenant_id=project.id,
        )
        self.state.users[user.id] = self.users[name] = user
        self.state.grant(project.id, user.id, MEMBER_ROLE_ID)
        for role_name in row["roles"]:
            role = self.state.role_named(role_name)
            if role is not None:
                self.state.grant(project.id, user.id, role.id)
        return user

    # --- compute's own parts

    def _hosts(self, size: int, usual: Mapping[str, tuple[int, int, int]]) -> None:
        for binary in ("nova-scheduler", "nova-cert", "nova-conductor"):
            self.state.services.append(Service(self.state.count("service"), binary, "controller"))
        self.state.services.append(Service(self.state.count("service"), "nova-network", "network1"))
        hosts = dict(usual)
        for number in range(-(-size // SERVERS_PER_FLEET_HOST)):
            hosts[f"fleet{number + 1:03d}"] = (SERVERS_PER_FLEET_HOST, 32768, 500)
        for name, (vcpus, memory_mb, disk_gb) in hosts.items():
            self.state.hosts[name] = Host(name, self.state.count("host"), vcpus, memory_mb, disk_gb)
            self.state.services.append(Service(self.state.count("service"), "nova-compute", name))
        rack = Aggregate(self.state.count("aggregate"), "ssd-rack", now(), ["compute3"], {"ssd": "true"})
        self.state.aggregates[rack.id] = rack

    def _flavors(self) -> None:
        for row in FLAVORS:
            given = dict(row)
            given["id"] = given["id"] or self.state.new_uuid()
            if given["name"] == "m1.tiny":
                given["disk"] = self.state.release.tiny_disk_gib
            given["access"] = [self.projects[name].id for name in given.get("access", [])]
            flavor = Flavor(**given, number=self.state.count("flavor"))
            self.state.flavors[flavor.id] = self.flavors[flavor.name] = flavor

    def _image(self, number: int, row: Mapping[str, Any]) -> None:
        created_at = now() - timedelta(days=400 - number)
        image = Image(
            id=self.state.new_uuid(),
            name=row["name"],
            owner=self.projects[row["owner"]].id,
            is_public=bool(row.get("is_public")),
            disk_format=row["disk_format"],
            container_format=row["container_format"],
            # where m1.tiny has no root disk, nobody could boot a small image that wants one
            min_disk=int(row.get("min_disk", 0)) if self.state.release.tiny_disk_gib else 0,
            min_ram=int(row.get("min_ram", 0)),
            protected=bool(row.get("protected")),
            properties=dict(row.get("properties", {})),
            tags=list(row.get("tags", [])),
            created_at=created_at,
            updated_at=created_at,
        )
        if "trio" in row:
            kernel, ramdisk = row["trio"]
            image.properties |= {"kernel_id": self.images[kernel].id, "ramdisk_id": self.images[ramdisk].id}
        for name in row.get("members", []):
            project_id = self.projects[name].id
            image.members[project_id] = Member(project_id, created_at, created_at)
        if row["size"] is not None:
            self.store(image, row["name"], row["size"])
            image.status = "active"
        self.state.images[image.id] = self.images[row["name"]] = image

    def store(self, image: Image, name: str, size: int) -> None:
        """Give an image its bytes, made of ``name``."""
        pieces = image_bytes(image.disk_format or "raw", name, size)
        image.size, image.checksum = glance.write_bytes(self.state.image_path(image.id), pieces)

    def public_key(self, name: str) -> str:
        """A public key made of ``name``."""
        return public_key(name)

    # --- network

    def odd_address(self) -> str:
        """An address between those of the usual servers and those of a fleet."""
        return str(ipaddress.ip_address(self.network.dhcp_start) + _BEFORE_FLEET - 2)

    def _network(self) -> None:
        world = self.state.world
        self.network = make_network(self.state, NETWORK_LABEL, world.fixed_cidr)
        self.floating_block = ipaddress.ip_network(world.floating_cidr)
        add_floating_range(self.state, f"{self.floating_block.network_address + 16}/28", POOL, "eth1")

    def _groups(self, project_id: str) -> None:
        default_group(self.state, project_id)
        made: dict[str, SecurityGroup] = {}
        for name, row in GROUPS.items():
            group = SecurityGroup(self.state.count("group"), project_id, name, row["description"])
            self.state.groups[group.id] = made[name] = group
            for protocol, low, high, source in row["rules"]:
                rule = Rule(self.state.count("rule"), group.id, protocol, low, high)
                if source.startswith("@"):
                    rule.group_id = made[source[1:]].id
                else:
                    rule.cidr = source
                group.rules.append(rule)

    def _free_floating(self) -> Any:
        return next(f for f in self.state.floating_ips.values() if f.project_id is None)

    # --- servers

    def _server(self, number: int, row: Mapping[str, Any]) -> Server:
        project = self.projects[row["project"]]
        user = self.users[f"{row['project']}-{row.get('user', 'user')}"]
        created_at = now() - timedelta(days=300 - number)
        status = row.get("status", "ACTIVE")
        server = Server(
            id=self.state.new_uuid(),
            number=self.state.count("server"),
            name=row["name"],
            project_id=project.id,
            user_id=user.id,
            flavor_id=self.flavors[row.get("flavor", "m1.tiny")].id,
            image_id=self.images[row.get("image", "cirros-0.3.2-x86_64")].id,
            created_at=created_at,
            updated_at=created_at + timedelta(minutes=1),
            launched_at=created_at + timedelta(minutes=1) if row["host"] else None,
            vm_state={"ACTIVE": "active", "SHUTOFF": "stopped", "ERROR": "error"}[status],
            task_state=row.get("task_state"),
            power_state={"ACTIVE": 1, "SHUTOFF": 4, "ERROR": 0}[status],
            host=row["host"],
            key_name=KEYPAIRS.get(user.name),
            security_groups=list(row.get("groups", ["default"])),
            metadata={"role": row["name"].rstrip("0123456789"), "owner": user.name},
            network_id=self.network.id,
            mac=self.state.new_mac(),
            vif_id=self.state.new_uuid(),
        )
        self.state.servers[server.id] = server
        if status == "ERROR":
            server.fault = {
                "code": 500,
                "message": "No valid host was found. ",
                "created": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "details": "no compute host had room when it was booted",
            }
        else:
            server.addresses = [self.book.allocate(server, None)]
        if row.get("floating"):
            floating = self._free_floating()
            floating.project_id = project.id
            self.book.associate(floating, server, server.addresses[0])
        return server

    def _fleet(self, size: int) -> None:
        project = self._project(FLEET, "Many small servers")
        user = self._user(f"{FLEET}-user", {"project": FLEET, "roles": ["Member"]})
        default_group(self.state, project.id)
        self.state.quotas[project.id] = {"instances": -1, "cores": -1, "ram": -1}
        first = int(ipaddress.ip_address(self.network.dhcp_start)) + _BEFORE_FLEET
        hosts = [name for name in self.state.hosts if name.startswith(FLEET)]
        image, flavor = self.images["cirros-0.3.2-x86_64"], self.flavors["m1.tiny"]
        for number in range(size):
            created_at = now() - timedelta(days=200, seconds=-number)
            address = str(ipaddress.ip_address(first + number))
            host = hosts[number % len(hosts)]
            server = Server(
                id=self.state.new_uuid(),
                number=self.state.count("server"),
                name=f"{FLEET}-{number + 1:05d}",
                project_id=project.id,
                user_id=user.id,
                flavor_id=flavor.id,
                image_id=image.id,
                created_at=created_at,
                updated_at=created_at,
                launched_at=created_at,
                vm_state="active",
                task_state=None,
                power_state=1,
                host=host,
                security_groups=["default"],
                metadata={"number": str(number + 1)},
                addresses=[address],
                network_id=self.network.id,
                mac=self.state.new_mac(),
                vif_id=self.state.new_uuid(),
            )
            self.state.servers[server.id] = server
            self.state.fixed_ips[address] = FixedIp(address, self.network.id, server.id, server.name, host)


def image_bytes(disk_format: str, name: str, size: int) -> list[bytes]:
    """Deterministic content of an image; a qcow2 begins with a true header, since today's Glance looks at it."""
    noise = random.Random(f"image {name}").randbytes(size)
    if disk_format != "qcow2":
        return [noise]
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 30, 0, 2, 3 << 16, 1 << 16, 1, 0, 0)
    return [header, noise[len(header) :]]


def public_key(name: str) -> str:
    """A well-formed RSA public key whose private half nobody has."""

    def field(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    modulus = b"\x00\xc1" + b"".join(hashlib.sha256(f"{name} {n}".encode()).digest() for n in range(8))[:254] + b"\x01"
    blob = field(b"ssh-rsa") + field(b"\x01\x00\x01") + field(modulus)
    return f"ssh-rsa {base64.b64encode(blob).decode()} {name}@example.com"
