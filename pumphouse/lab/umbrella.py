"""What else a site of 2014 has accumulated: project ``umbrella`` with every state a server can be left in, and the
disabled project ``wonka``.

Everything that a survey should find is here once. It is made after what :mod:`pumphouse.lab.populate` makes, so that
the ids there do not depend on it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pumphouse.lab.source.nova_keypairs import add_keypair
from pumphouse.lab.source.nova_lifecycle import Lifecycle
from pumphouse.lab.source.nova_network import add_floating_range
from pumphouse.lab.source.nova_secgroups import default_group
from pumphouse.lab.source.state import (
    MEMBER_ROLE_ID,
    Aggregate,
    FixedIp,
    Flavor,
    FloatingIp,
    Host,
    Image,
    Member,
    Project,
    Rule,
    SecurityGroup,
    Server,
    Service,
    User,
    now,
)

if TYPE_CHECKING:
    from pumphouse.lab.populate import Filler

MIB = 1 << 20
UMBRELLA, WONKA = "umbrella", "wonka"
POOL = "nova"
ZONE = "az-west"
DEAD_HOST, WEST_HOST = "compute4", "compute5"

PROJECTS: dict[str, dict[str, Any]] = {
    UMBRELLA: {"description": "Umbrella Corporation, R&D \N{EM DASH} Raccoon City", "extra": {"cost_center": "4711"}},
    WONKA: {"description": "Wonka Industries (contract ended)", "enabled": False},
}
USERS: dict[str, dict[str, Any]] = {
    "umbrella-user": {"default": UMBRELLA, "grants": {UMBRELLA: ["Member"]}},
    "umbrella-ops": {"default": UMBRELLA, "grants": {UMBRELLA: ["Member", "operator"]}},
    # nobody gave this one a role: the default project brought `_member_`
    "umbrella-auditor": {"default": UMBRELLA, "grants": {}, "extra": {"department": "audit"}},
    "umbrella-guest": {"grants": {UMBRELLA: ["Member"]}, "email": None},
    "umbrella-both": {"default": WONKA, "grants": {UMBRELLA: ["Member"], WONKA: ["operator"]}},
    "umbrella-former": {"default": UMBRELLA, "grants": {UMBRELLA: ["Member"]}, "enabled": False},
    "wonka-user": {"default": WONKA, "grants": {WONKA: ["Member"]}},
    "drifter": {"grants": {}, "email": "drifter@example.org"},
    "umbrella-lost": {"default": UMBRELLA, "grants": {UMBRELLA: ["Member"]}},
}
LOST_USER = "umbrella-lost"
"""Deleted after he had left a keypair and a server."""
CAN_LOG_IN = ("umbrella-user", "umbrella-ops")
KEYPAIRS = (
    ("umbrella-user", "umbrella-key"),
    ("umbrella-user", "umbrella key 2"),
    ("umbrella-ops", "umbrella-key"),
    ("umbrella-both", "both-key"),
    (LOST_USER, "lost-key"),
    ("drifter", "drifter-key"),
)
FLAVOR: dict[str, Any] = {
    "name": "umbrella.gpu",
    "vcpus": 2,
    "ram": 1536,
    "disk": 4,
    "ephemeral": 10,
    "swap": 512,
    "rxtx_factor": 1.5,
    "is_public": False,
    "extra_specs": {"ssd": "true", "quota:disk_read_iops_sec": "200", "hw_rng:allowed": "True"},
}
IMAGES: tuple[dict[str, Any], ...] = (
    {
        "name": "umbrella-base",
        "properties": {"os_distro": "debian", "os_version": "7", "support_level": "gold"},
        "tags": ["debian", "golden"],
        "protected": True,
        "min_disk": 2,
        "min_ram": 256,
        "members": {WONKA: "accepted", "globex": "rejected"},
    },
    {"name": "umbrella-kernel", "disk_format": "aki"},
    {"name": "umbrella-ramdisk", "disk_format": "ari"},
    {"name": "umbrella-ami", "disk_format": "ami", "trio": ("umbrella-kernel", "umbrella-ramdisk")},
    {"name": "nightly", "tags": ["2014-03-01"]},
    {"name": "nightly", "tags": ["2014-03-02"], "seed": "nightly again"},
    {"name": "umbrella-appliance", "disk_format": "vhd", "container_format": "ovf"},
    {"name": "umbrella-killed", "status": "killed"},
    {"name": "umbrella-queued", "status": "queued"},
    {"name": "umbrella-saving", "status": "saving"},
    {"name": "umbrella-no-file", "file_lost": True},
    {"name": "umbrella-erased", "erased": True},
    {"name": "umbrella-by-admin", "owner": "admin", "snapshot_of": "u-active"},
)
GROUPS: dict[str, dict[str, Any]] = {
    "default": {
        "description": "default",
        "rules": [
            ("tcp", 22, 22, "0.0.0.0/0"),
            ("tcp", 1, 65535, "@default"),
            ("udp", 1, 65535, "@default"),
            ("icmp", -1, -1, "@default"),
        ],
    },
    # the two let each other in: neither can be made with its rules before the other
    "front": {"description": "front ends", "rules": [("tcp", 443, 443, "0.0.0.0/0"), ("tcp", 8080, 8089, "@back")]},
    "back": {"description": "back ends", "rules": [("tcp", 5432, 5432, "@front"), ("tcp", 5432, 5432, "@back")]},
    "ping": {"description": "echo and unreachable", "rules": [("icmp", 8, 0, "0.0.0.0/0"), ("icmp", 3, -1, "@front")]},
    "dns": {"description": "name servers", "rules": [("udp", 53, 53, "10.0.0.0/8"), ("tcp", 53, 53, "192.0.2.7/32")]},
    # nova-network filters what comes in only: these servers can reach everything
    "isolated": {"description": "nothing comes in", "rules": []},
    "Web Servers (old)": {"description": "unused", "rules": [("tcp", 80, 80, "0.0.0.0/0")]},
}
SERVERS: tuple[dict[str, Any], ...] = (
    {
        "name": "u-active",
        "host": "compute1",
        "groups": ["default", "front"],
        "floating": True,
        "flavor": FLAVOR["name"],
    },
    {"name": "u-shutoff", "host": "compute2", "status": "SHUTOFF", "groups": ["back"], "floating": True},
    {"name": "u-paused", "host": "compute3", "status": "PAUSED"},
    {"name": "u-suspended", "host": "compute1", "status": "SUSPENDED"},
    {"name": "u-rescued", "host": "compute2", "status": "RESCUED"},
    {"name": "u-shelved", "host": "compute3", "status": "SHELVED"},
    {"name": "u-offloaded", "host": None, "status": "SHELVED_OFFLOADED"},
    {"name": "u-resized", "host": "compute1", "status": "VERIFY_RESIZE", "flavor": "m1.small"},
    {"name": "u-error", "host": "compute2", "status": "ERROR"},
    {"name": "u-building", "host": "compute3", "status": "BUILD", "task_state": "spawning"},
    {"name": "u-stuck", "host": "compute1", "task_state": "image_uploading"},
    {"name": "u-dead", "host": DEAD_HOST, "groups": ["default", "ping"]},
    {"name": "u-locked", "host": "compute2", "locked": True},
    {"name": "u-drive", "host": "compute3", "config_drive": True, "groups": ["isolated"]},
    {
        "name": "u-data",
        "host": "compute1",
        "image": "umbrella-base",
        "flavor": "m1.small",
        "user_data": "#!/bin/sh\necho 'db_password=S3cret-of-2014' > /etc/app.conf\n",
        "config_drive": True,
    },
    {"name": "twin", "host": "compute2", "user": "umbrella-ops", "groups": ["default", "dns"]},
    {"name": "twin", "host": "compute3", "image": "umbrella-ami"},
    {"name": "u-volume", "host": "compute1", "volumes": 1},
    {"name": "u-orphan", "host": "compute2", "user": LOST_USER, "key": "lost-key"},
    {"name": "u-erased", "host": "compute3", "image": "umbrella-erased"},
    {"name": "u-nokey", "host": "compute1", "key": "key-that-was-deleted"},
    {"name": "u-west", "host": WEST_HOST, "zone": ZONE},
    {"name": "u-two", "host": "compute2", "addresses": 2},
    {
        "name": "Umbrella \N{LATIN SMALL LETTER U WITH DIAERESIS}ber Server #1",
        "host": "compute3",
        "metadata": {"k" * 40: "v" * 255},
    },
    {"name": "everlasting", "host": "compute2", "status": "SHUTOFF", "project": WONKA, "user": "wonka-user"},
)
SPARE_FLOATING = 2
QUOTAS = {UMBRELLA: {"instances": 40, "cores": 80, "ram": 81920, "floating_ips": 3}}
DRIFT = {UMBRELLA: {"instances": 3, "cores": 3, "ram": 1536}}
_STATES = {
    # status: (vm_state, power_state)
    "ACTIVE": ("active", 1),
    "SHUTOFF": ("stopped", 4),
    "PAUSED": ("paused", 3),
    "SUSPENDED": ("suspended", 4),
    "RESCUED": ("rescued", 1),
    "SHELVED": ("shelved", 4),
    "SHELVED_OFFLOADED": ("shelved_offloaded", 4),
    "VERIFY_RESIZE": ("resized", 1),
    "ERROR": ("error", 0),
    "BUILD": ("building", 0),
}


def servers(*, has_shelve: bool) -> list[dict[str, Any]]:
    """The servers that a release can have."""
    return [row for row in SERVERS if has_shelve or not str(row.get("status", "")).startswith("SHELVED")]


@dataclass
class Umbrella:
    """Adds the tables above to a cloud that a :class:`pumphouse.lab.populate.Filler` fills."""

    filler: Filler

    def __post_init__(self) -> None:
        self.state = self.filler.state
        self.made: dict[str, Image] = {}

    def fill(self) -> None:
        """Everything; nobody is on the network yet."""
        for name, row in PROJECTS.items():
            project = Project(
                self.state.new_hex(), name, row["description"], row.get("enabled", True), dict(row.get("extra", {}))
            )
            self.state.projects[project.id] = self.filler.projects[name] = project
        for name, row in USERS.items():
            self._user(name, row)
        self._hosts()
        for user, name in KEYPAIRS:
            add_keypair(self.state, self.filler.users[user].id, name, self.filler.public_key(f"{user} {name}"))
        access = [self._project_id(name) for name in (UMBRELLA, WONKA)]
        flavor = Flavor(id=self.state.new_uuid(), **FLAVOR, access=access, number=self.state.count("flavor"))
        self.state.flavors[flavor.id] = self.filler.flavors[flavor.name] = flavor
        for number, row in enumerate(IMAGES):
            if "snapshot_of" not in row:
                self._image(number, row)
        self._groups()
        default_group(self.state, self._project_id(WONKA))
        block = self.filler.floating_block
        add_floating_range(self.state, f"{block.network_address + 32}/28", POOL, "eth1")
        for number, row in enumerate(servers(has_shelve=self.state.release.has_shelve)):
            self._server(number, row)
        for _ in range(SPARE_FLOATING):
            self._free_floating().project_id = self._project_id(UMBRELLA)
        for number, row in enumerate(IMAGES):
            if "snapshot_of" in row:
                self._snapshot(number, row)
        self._leave_traces()

    def _project_id(self, name: str) -> str:
        return self.filler.projects[name].id

    def _user(self, name: str, row: Mapping[str, Any]) -> None:
        default = row.get("default")
        user = User(
            id=self.state.new_hex(),
            name=name,
            password=self.filler.passwords(name),
            email=row.get("email", f"{name}@example.com"),
            enabled=bool(row.get("enabled", True)),
            tenant_id=self._project_id(default) if default else None,
            extra=dict(row.get("extra", {})),
        )
        self.state.users[user.id] = self.filler.users[name] = user
        if user.tenant_id is not None:
            self.state.grant(user.tenant_id, user.id, MEMBER_ROLE_ID)
        for project, roles in row["grants"].items():
            for role in roles:
                found = self.state.role_named(role)
                if found is not None:
                    self.state.grant(self._project_id(project), user.id, found.id)

    def _hosts(self) -> None:
        for name in (DEAD_HOST, WEST_HOST):
            self.state.hosts[name] = Host(name, self.state.count("host"), 8, 16384, 250)
            service = Service(self.state.count("service"), "nova-compute", name, alive=name != DEAD_HOST)
            self.state.services.append(service)
        metadata = {"availability_zone": ZONE, "rack": "west-1"}
        west = Aggregate(self.state.count("aggregate"), "west", now(), [WEST_HOST], metadata)
        self.state.aggregates[west.id] = west

    # --- images

    def _image(self, number: int, row: Mapping[str, Any]) -> Image:
        created_at = now() - timedelta(days=250 - number)
        disk_format = row.get("disk_format", "raw")
        container = row.get("container_format", disk_format if disk_format in ("aki", "ari", "ami") else "bare")
        image = Image(
            id=self.state.new_uuid(),
            name=row["name"],
            owner=self._project_id(row.get("owner", UMBRELLA)),
            disk_format=disk_format,
            container_format=container,
            min_disk=int(row.get("min_disk", 0)),
            min_ram=int(row.get("min_ram", 0)),
            protected=bool(row.get("protected")),
            properties=dict(row.get("properties", {})),
            tags=list(row.get("tags", [])),
            created_at=created_at,
            updated_at=created_at,
        )
        if "trio" in row:
            kernel, ramdisk = row["trio"]
            image.properties |= {"kernel_id": self.made[kernel].id, "ramdisk_id": self.made[ramdisk].id}
        for name, status in row.get("members", {}).items():
            project_id = self._project_id(name)
            image.members[project_id] = Member(project_id, created_at, created_at, status)
        image.status = row.get("status", "active")
        if image.status == "active":
            self.filler.store(image, str(row.get("seed", row["name"])), MIB)
        self.state.images[image.id] = self.made[row["name"]] = image
        return image

    def _snapshot(self, number: int, row: Mapping[str, Any]) -> None:
        """An administrator's snapshot of a project's server: his own project owns it, ``owner_id`` says otherwise."""
        server = next(s for s in self.state.servers.values() if s.name == row["snapshot_of"])
        image = self._image(number, row)
        image.properties |= {
            "instance_uuid": server.id,
            "user_id": server.user_id,
            "owner_id": server.project_id,
            "image_type": "snapshot",
            "image_state": "available",
            "image_location": "snapshot",
            "base_image_ref": server.image_id,
        }

    # --- network

    def _groups(self) -> None:
        project_id = self._project_id(UMBRELLA)
        made = {"default": default_group(self.state, project_id)}
        for name, row in GROUPS.items():
            if name not in made:
                made[name] = SecurityGroup(self.state.count("group"), project_id, name, row["description"])
                self.state.groups[made[name].id] = made[name]
        for name, row in GROUPS.items():
            for protocol, low, high, source in row["rules"]:
                rule = Rule(self.state.count("rule"), made[name].id, protocol, low, high)
                if source.startswith("@"):
                    rule.group_id = made[source[1:]].id
                else:
                    rule.cidr = source
                made[name].rules.append(rule)

    def _free_floating(self) -> FloatingIp:
        # the last ones: the first are for whoever allocates next
        return next(f for f in reversed(self.state.floating_ips.values()) if f.project_id is None)

    # --- servers

    def _server(self, number: int, row: Mapping[str, Any]) -> None:
        project_id = self._project_id(row.get("project", UMBRELLA))
        user_name = row.get("user", "umbrella-user")
        created_at = now() - timedelta(days=240 - number)
        status = row.get("status", "ACTIVE")
        vm_state, power_state = _STATES[status]
        images = {**self.filler.images, **self.made}
        flavor = self.filler.flavors[row.get("flavor", "m1.tiny")]
        key = row.get("key", "umbrella-key" if user_name in CAN_LOG_IN else None)
        data = row.get("user_data")
        server = Server(
            id=self.state.new_uuid(),
            number=self.state.count("server"),
            name=row["name"],
            project_id=project_id,
            user_id=self.filler.users[user_name].id,
            flavor_id=flavor.id,
            image_id=images[row.get("image", "cirros-0.3.2-x86_64")].id,
            created_at=created_at,
            updated_at=created_at + timedelta(minutes=1),
            launched_at=None if status == "BUILD" else created_at + timedelta(minutes=1),
            vm_state=vm_state,
            task_state=row.get("task_state"),
            power_state=power_state,
            host=row["host"],
            availability_zone=row.get("zone"),
            key_name=key,
            security_groups=list(row.get("groups", ["default"])),
            metadata=dict(row.get("metadata", {"status": status.lower()})),
            network_id=self.filler.network.id,
            mac=self.state.new_mac(),
            vif_id=self.state.new_uuid(),
            config_drive=bool(row.get("config_drive")),
            locked=bool(row.get("locked")),
            user_data=base64.b64encode(data.encode()).decode() if data else None,
            volumes=[self.state.new_uuid() for _ in range(row.get("volumes", 0))],
        )
        self.state.servers[server.id] = server
        server.addresses = [self.filler.book.allocate(server, None) for _ in range(row.get("addresses", 1))]
        if status == "VERIFY_RESIZE":
            server.old_host, server.old_flavor_id = "compute2", self.filler.flavors["m1.tiny"].id
            row = Lifecycle(self.state, self.filler.book).migration_row(server, "compute1", "finished")
            row["source_compute"] = row["source_node"] = server.old_host
        if status == "ERROR":
            server.fault = {
                "code": 500,
                "message": "internal error process exited while connecting to monitor",
                "created": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "details": "the hypervisor ended at start",
            }
        if row.get("floating"):
            floating = self._free_floating()
            floating.project_id = project_id
            self.filler.book.associate(floating, server, server.addresses[0])

    # --- what was left behind

    def _leave_traces(self) -> None:
        lost = self.filler.users[LOST_USER]
        del self.state.users[lost.id]
        for key in [key for key in self.state.grants if key[1] == lost.id]:
            del self.state.grants[key]
        for name, row in ((row["name"], row) for row in IMAGES):
            image = self.made[name]
            if row.get("file_lost") or row.get("erased"):
                self.state.image_path(image.id).unlink(missing_ok=True)
            if row.get("erased"):
                del self.state.images[image.id]
                self.state.deleted_image_ids.add(image.id)
        for project, limits in QUOTAS.items():
            self.state.quotas[self._project_id(project)] = dict(limits)
        for project, drift in DRIFT.items():
            self.state.quota_drift[self._project_id(project)] = dict(drift)
        # a server that is long gone still holds its address, and a quota outlived its project
        address = self.filler.odd_address()
        held = FixedIp(address, self.filler.network.id, hostname="forgotten", host="compute3", free_at=math.inf)
        self.state.fixed_ips[address] = held
        self.state.quotas[self.state.new_hex()] = {"instances": 7}
