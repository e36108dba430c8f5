"""The cloud that was recorded, rebuilt in the lab, and the replay of single recorded requests against it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from pumphouse.lab import populate, source
from pumphouse.lab.source import glance
from pumphouse.lab.source.keystone import Keystone
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_keypairs import add_keypair
from pumphouse.lab.source.nova_network import add_floating_range, make_network
from pumphouse.lab.source.nova_secgroups import default_group
from pumphouse.lab.source.state import (
    MEMBER_ROLE_ID,
    Action,
    Aggregate,
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
from pumphouse.lab.world import Layer2, Timing, World

PLACEHOLDER = re.compile(r"\{(project|user|role|image|server|flavor|network):([^}]+)\}")
PASSWORD = "recorded-Password"
BEARERS = {"admin": "admin", "alpha": "alice", "beta": "bob", "gamma": "carol"}

GRANTS = {
    "admin": {"admin": ["_member_", "admin"], "alpha": ["admin"], "beta": ["admin"], "gamma": ["admin"]},
    "alice": {"alpha": ["_member_", "Member"]},
    "bob": {"beta": ["_member_", "Member"]},
    "carol": {"gamma": ["_member_", "Member"], "alpha": ["Member"]},
    "erin": {"alpha": ["_member_", "Member", "operator"], "beta": ["admin"]},
    "dave": {},
    "nova": {"services": ["_member_", "admin"]},
    "tmp-u": {},
    "tmp3u": {},
}
SNAPSHOT_KEYS = (
    *("base_image_ref", "hw_vif_model", "image_location", "image_state", "image_type", "network_allocated"),
    *("instance_type_ephemeral_gb", "instance_type_flavorid", "instance_type_id", "instance_uuid", "owner_id"),
    *("instance_type_memory_mb", "instance_type_name", "instance_type_root_gb", "user_id", "purpose"),
    *("instance_type_rxtx_factor", "instance_type_swap", "instance_type_vcpus", "os_distro"),
)
IMAGES: dict[str, dict[str, Any]] = {
    "cirros-0.3.2-x86_64": {"owner": "admin", "public": True, "format": "qcow2", "props": {"os_distro": "cirros"}},
    "alpha-private": {"owner": "alpha", "public": False, "format": "raw", "props": {"note": "owned by alpha"}},
    "cirros-uec": {"owner": "admin", "public": True, "format": "ami", "props": {"kernel_id": "", "ramdisk_id": ""}},
    "cirros-uec-ramdisk": {"owner": "admin", "public": True, "format": "ari"},
    "cirros-uec-kernel": {"owner": "admin", "public": True, "format": "aki"},
    "beta-shared": {"owner": "beta", "public": False, "format": "qcow2", "members": ["gamma"]},
    "golden-protected": {"owner": "admin", "public": True, "format": "raw", "protected": True},
    "ubuntu-raw-v2": {
        "owner": "admin",
        "public": True,
        "format": "raw",
        "props": {"architecture": "x86_64", "my_prop": "x"},
        "tags": ["lts", "ubuntu"],
    },
    "alpha-queued": {"owner": "alpha", "public": False, "format": "qcow2", "queued": True},
    "web1-snap": {
        "owner": "alpha",
        "public": False,
        "format": "qcow2",
        "props": dict.fromkeys(SNAPSHOT_KEYS, "x"),
    },
}
LATER_IMAGES: dict[str, dict[str, Any]] = {
    "sdk-up1": {"owner": "admin", "public": False, "format": "raw", "props": {"owner_specified.openstack.md5": ""}},
    "sdk-up3": {"owner": "admin", "public": False, "format": "raw", "props": {"my_prop": "v"}, "tags": ["a"]},
    "sdk-up4b": {
        "owner": "admin",
        "public": False,
        "format": "qcow2",
        "props": {f"owner_specified.openstack.{key}": "" for key in ("md5", "sha256", "object")},
    },
    "sdk-v1c": {"owner": "admin", "public": False, "format": "raw"},
}
SERVERS: dict[str, dict[str, Any]] = {
    "web1": {
        "project": "alpha",
        "user": "alice",
        "host": "compute1",
        "address": "10.10.0.2",
        "groups": ["default", "web"],
    },
    "web2": {"project": "alpha", "user": "alice", "host": "compute2", "address": "10.10.0.3", "image": "cirros-uec"},
    "db1": {"project": "alpha", "user": "alice", "host": "compute3", "address": "10.10.0.50", "groups": ["db"]},
    "app1": {"project": "beta", "user": "bob", "host": "compute3", "address": "10.10.0.4", "groups": ["app"]},
    "app2": {"project": "beta", "user": "bob", "host": "compute3", "address": "10.10.0.5", "flavor": "42"},
    "job1": {"project": "gamma", "user": "carol", "host": "compute1", "address": "10.10.0.6", "stopped": True},
    "forced1": {"project": "beta", "user": "admin", "host": "compute1", "address": "10.10.0.7"},
    "mig1": {"project": "admin", "user": "admin", "host": "compute1", "address": "10.10.0.77"},
    "cloud1": {"project": "admin", "user": "admin", "host": "compute1", "address": "10.10.0.8"},
    **{
        f"other{n}": {"project": "admin", "user": "admin", "host": "compute2", "address": f"10.10.0.{100 + n}"}
        for n in range(1, 7)
    },
}


@dataclass
class Recorded:
    """The rebuilt cloud."""

    state: State
    ids: dict[tuple[str, str], str]

    def id(self, kind: str, name: str) -> str:
        """A placeholder's id here; an id that nothing has for what the test removed."""
        return self.ids.get((kind, name), "9" * 32)

    def server(self, name: str) -> Server:
        """A server by its recorded name."""
        return self.state.servers[self.ids["server", name]]

    def image(self, name: str) -> Image:
        """An image by its recorded name."""
        return self.state.images[self.ids["image", name]]

    def resolve(self, value: Any) -> Any:
        """Placeholders replaced by ids, in texts anywhere inside ``value``."""
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, str):
            return PLACEHOLDER.sub(lambda m: self.id(m.group(1), m.group(2)), value)
        return value

    def token(self, user: str, project: str | None) -> str:
        """A fresh token."""
        keystone = Keystone(self.state, admin=True)
        scope = self.state.projects[self.id("project", project)] if project else None
        return keystone.issue(self.state.users[self.id("user", user)], scope, ["password"]).id


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, release: str = "icehouse", mentions: str = "", osapi_max_limit: int = 1000
) -> AsyncIterator[Recorded]:
    """The rebuilt cloud on loopback, all durations zero, no guest listening.

    :param mentions: text of the request; objects that were made in the course of the recording are there only if
        it names them.
    """
    world = World(Timing(scale=0.0), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.224/28", str(directory))
    running_source = await source.start(world, release=release, osapi_max_limit=osapi_max_limit)
    try:
        yield _fill(running_source.state, mentions)
    finally:
        await running_source.stop()


def _fill(state: State, mentions: str) -> Recorded:
    site = Recorded(state, {})
    ids = site.ids
    extra = {"description": "Default role for project membership", "enabled": "True"}
    state.roles[MEMBER_ROLE_ID] = Role(MEMBER_ROLE_ID, "_member_", extra)
    ids["role", "_member_"] = MEMBER_ROLE_ID
    for name in ("admin", "Member", "operator", "tmp-r"):
        role = Role(state.new_hex(), name)
        state.roles[role.id] = role
        ids["role", name] = role.id
    ids["role", "other1"] = ids["role", "tmp-r"]
    later = [name for name in ("tmp-t", "tmp3") if f"{{project:{name}}}" in mentions]
    for name in ("admin", "alpha", "beta", "gamma", "closed", "services", *later):
        project = Project(state.new_hex(), name, f"Project {name}", name != "closed")
        state.projects[project.id] = project
        ids["project", name] = project.id
    for name, grants in GRANTS.items():
        if name.startswith("tmp") and f"{{user:{name}}}" not in mentions:
            continue
        default = next(iter(grants), None)
        email = None if name == "tmp3u" else f"{name}@example.com"
        tenant_id = ids["project", default] if default else None
        user = User(state.new_hex(), name, PASSWORD, email, name != "dave", tenant_id)
        state.users[user.id] = user
        ids["user", name] = user.id
        for project_name, roles in grants.items():
            for role_name in roles:
                state.grant(ids["project", project_name], user.id, ids["role", role_name])
    images = {name: row for name, row in LATER_IMAGES.items() if f"{{image:{name}}}" in mentions}
    _images(site, IMAGES | images)
    _compute(site)
    _network(site)
    for name, row in SERVERS.items():
        _server(site, name, row)
    book = Addresses(state)
    book.associate(state.floating_ips["172.24.4.225"], site.server("web1"), "10.10.0.2")
    book.associate(state.floating_ips["172.24.4.226"], site.server("db1"), "10.10.0.50")
    book.associate(state.floating_ips["172.25.5.9"], site.server("app1"), "10.10.0.4")
    return site


def _images(site: Recorded, rows: dict[str, dict[str, Any]]) -> None:
    grizzly = site.state.release.name == "grizzly"
    if grizzly:
        # the one that was made later was listed first
        rows = {**{k: rows[k] for k in rows if k != "ubuntu-raw-v2"}, "ubuntu-raw-v2": rows["ubuntu-raw-v2"]}
        rows["web1-snap"] = rows.pop("web1-snap")
    for name, row in rows.items():
        image = Image(
            id=site.state.new_uuid(),
            name=row.get("name", name),
            owner=site.ids["project", row["owner"]],
            is_public=row["public"],
            disk_format=row["format"],
            container_format=row["format"] if row["format"] in ("aki", "ari", "ami") else "bare",
            protected=bool(row.get("protected")),
            properties={k: v for k, v in row.get("props", {}).items() if not (grizzly and k == "network_allocated")},
            tags=list(row.get("tags", [])),
        )
        if not row.get("queued"):
            pieces = populate.image_bytes("raw", name, 2048)
            image.size, image.checksum = glance.write_bytes(site.state.image_path(image.id), pieces)
            image.status = "active"
        for member in row.get("members", []):
            project_id = site.ids["project", member]
            image.members[project_id] = Member(project_id, now(), now())
        site.state.images[image.id] = image
        site.ids["image", name] = image.id


def _compute(site: Recorded) -> None:
    state = site.state
    for binary, host in (
        ("nova-scheduler", "controller"),
        ("nova-cert", "controller"),
        ("nova-conductor", "controller"),
        ("nova-network", "network1"),
        *(("nova-compute", f"compute{n}") for n in (1, 3, 2)),
    ):
        state.services.append(Service(state.count("service"), binary, host))
    for number in (1, 2, 3):
        state.hosts[f"compute{number}"] = Host(f"compute{number}", number, 8, 16384, 200)
    for name, zone, hosts, metadata in (
        ("rack3", "az-rack3", ["compute3"], {"ssd": "true"}),
        ("tmpagg", None, ["compute1"], {"k": "v"}),
    ):
        aggregate = Aggregate(state.count("aggregate"), name, now(), hosts, dict(metadata))
        if zone is not None:
            aggregate.metadata["availability_zone"] = zone
        state.aggregates[aggregate.id] = aggregate
    # listings are sorted by id: where the private one stood decides what a page holds
    private_id = ("1" if state.release.name == "grizzly" else "2") + state.new_uuid()[1:]
    for identifier, name, ram, disk in (
        ("1", "m1.tiny", 512, 1),
        ("2", "m1.small", 2048, 20),
        ("3", "m1.medium", 4096, 40),
        ("42", "e1.ephemeral", 512, 4),
        (private_id, "p1.private", 256, 2),
        (state.new_uuid(), "sdk.f", 64, 1),
    ):
        private = name in ("p1.private", "sdk.f")
        flavor = Flavor(identifier, name, 1, ram, disk, is_public=not private, number=state.count("flavor"))
        if private:
            flavor.access = [site.ids["project", "alpha" if name == "p1.private" else "beta"]]
        if name == "e1.ephemeral":
            flavor.swap = 128
        state.flavors[identifier] = flavor
        site.ids["flavor", name] = identifier
    for user, name in (
        ("alice", "alice-key"),
        ("admin", "admin-key"),
        ("admin", "gen1"),
        ("bob", "bob-key"),
    ):
        add_keypair(state, site.ids["user", user], name, populate.public_key(name))


def _network(site: Recorded) -> None:
    state = site.state
    network = make_network(state, "novanetwork", "10.10.0.0/24")
    site.ids["network", "novanetwork"] = network.id
    second = make_network(state, "second", "10.20.0.0/24")
    site.ids["network", "second"] = second.id
    add_floating_range(state, "172.24.4.224/28", "nova", "lo")
    add_floating_range(state, "172.25.5.8/30", "ext2", "lo")
    for address, project in (
        ("172.24.4.225", "alpha"),
        ("172.24.4.226", "alpha"),
        ("172.24.4.227", "beta"),
        ("172.24.4.228", "admin"),
        ("172.25.5.9", "beta"),
    ):
        state.floating_ips[address].project_id = site.ids["project", project]
    for project, names in (("alpha", ("web", "db")), ("beta", ("app",)), ("gamma", ()), ("admin", ("tmpsg",))):
        project_id = site.ids["project", project]
        default_group(state, project_id)
        for name in names:
            group = SecurityGroup(state.count("group"), project_id, name, f"{name} servers")
            state.groups[group.id] = group
    web = next(g for g in state.groups.values() if g.name == "web")
    database = next(g for g in state.groups.values() if g.name == "db")
    for group, port, cidr, source_id in (
        (web, 80, "0.0.0.0/0", None),
        (web, 443, "0.0.0.0/0", None),
        (database, 3306, None, web.id),
        (database, 22, "10.0.0.0/8", None),
        (default_group(state, site.ids["project", "alpha"]), 22, "0.0.0.0/0", None),
    ):
        group.rules.append(Rule(state.count("rule"), group.id, "tcp", port, port, cidr, source_id))


def _server(site: Recorded, name: str, row: dict[str, Any]) -> None:
    state = site.state
    stopped = bool(row.get("stopped"))
    server = Server(
        id=state.new_uuid(),
        number=state.count("server"),
        name=name,
        project_id=site.ids["project", row["project"]],
        user_id=site.ids["user", row["user"]],
        flavor_id=row.get("flavor", "1"),
        image_id=site.ids["image", row.get("image", "cirros-0.3.2-x86_64")],
        created_at=now(),
        updated_at=now(),
        launched_at=now(),
        vm_state="stopped" if stopped else "active",
        task_state=None,
        power_state=4 if stopped else 1,
        host=row["host"],
        key_name="alice-key" if row["user"] == "alice" else None,
        security_groups=list(row.get("groups", ["default"])),
        metadata={"owner": "alice", "role": "web"} if name == "web1" else {"a": "b"},
        network_id=site.ids["network", "novanetwork"],
        mac=state.new_mac(),
        vif_id=state.new_uuid(),
    )
    server.actions.append(Action("create", "req-recorded", server.user_id, server.project_id, now()))
    state.servers[server.id] = server
    site.ids["server", name] = server.id
    server.addresses = [Addresses(state).allocate(server, row["address"])]


# --- one request


@dataclass
class Reply:
    """What the lab answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def send(site: Recorded, fact: dict[str, Any], *, token: str | None) -> Reply:
    """Send one recorded request to the rebuilt cloud."""
    ends = site.state.endpoints
    base = {
        "identity": ends.keystone,
        "identity-admin": ends.keystone_admin,
        "image": ends.glance,
        "compute": ends.nova,
    }[fact["service"]]
    path = site.resolve(fact["path"])
    headers = {key: site.resolve(value) for key, value in fact.get("send", {}).items()}
    data: Any = None
    request = site.resolve(fact.get("request"))
    if isinstance(request, dict) and "binary_bytes" in request:
        data = b"\x07" * min(int(request["binary_bytes"]), 4096)
    elif isinstance(request, dict) and "binary_stream" in request:
        data = _chunks()
        headers.pop("x-openstack-image-size", None)
    elif request is not None:
        text = json.dumps(request).replace("<password>", PASSWORD)
        data = text.replace("<public_key>", populate.public_key("replayed")).encode()
        headers.setdefault("content-type", "application/json")
    if token is not None:
        headers["x-auth-token"] = token
    if fact["accept"]:
        headers["accept"] = fact["accept"]
    url = URL(base + path).with_query(site.resolve(fact.get("query", {})))
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Accept", "Content-Type"]) as session,
        session.request(fact["method"], url, headers=headers, data=data, allow_redirects=False) as answer,
    ):
        return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b"\x07" * 1024
