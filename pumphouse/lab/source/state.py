"""What the old cloud knows: plain records, one dictionary per kind.

Records are mutable and belong to the event loop; nothing here speaks HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumphouse.lab.source.hashes import sha512_crypt, verifies
from pumphouse.lab.source.ratelimit import RateLimiter
from pumphouse.lab.source.release import Release
from pumphouse.lab.world import World

MEMBER_ROLE_ID = "9fe2ff9ee4384b1894a90878d3e92bab"  # Keystone's fixed id of `_member_`

DEFAULT_QUOTA = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "floating_ips": 10,
    "fixed_ips": -1,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "security_groups": 10,
    "security_group_rules": 20,
    "key_pairs": 100,
}


def now() -> datetime:
    """The present, aware UTC."""
    return datetime.now(UTC)


@dataclass
class Project:
    """A Keystone tenant."""

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class User:
    """A Keystone user; no API shows ``password`` or its hash.

    ``tenant_key``: under which name the default project was given. ``extra``: attributes that Keystone does not know.
    ``stored_hash``: a hash that somebody wrote into the database; it counts instead of ``password`` then.
    """

    id: str
    name: str
    password: str
    email: str | None = None
    enabled: bool = True
    tenant_id: str | None = None
    tenant_key: str = "tenantId"
    extra: dict[str, Any] = field(default_factory=dict)
    stored_hash: str | None = None
    password_sets: int = 0

    @property
    def password_hash(self) -> str:
        """The hash as Keystone's database holds it: sha512_crypt with few rounds, its salt made of the user's id."""
        if self.stored_hash is not None:
            return self.stored_hash
        salt = hashlib.sha256(self.id.encode()).hexdigest()[:16]
        return sha512_crypt(self.password, salt)

    def set_password(self, password: str) -> None:
        """Give a new password."""
        self.password, self.stored_hash = password, None
        self.password_sets += 1

    def accepts(self, password: object) -> bool:
        """Whether a password is the user's."""
        if self.stored_hash is not None:
            return isinstance(password, str) and verifies(password, self.stored_hash)
        return self.password == password


@dataclass
class Role:
    """A Keystone role; ``extra`` are the additional attributes that only v2.0 shows."""

    id: str
    name: str
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class Token:
    """A UUID token with the roles it was issued with."""

    id: str
    user_id: str
    project_id: str | None
    role_ids: list[str]
    issued_at: datetime
    expires_at: datetime
    methods: list[str] = field(default_factory=lambda: ["password"])


@dataclass
class Member:
    """A project that an image is shared with."""

    project_id: str
    created_at: datetime
    updated_at: datetime
    status: str = "pending"
    can_share: bool = False


@dataclass
class Image:
    """A Glance image; its bytes are in :meth:`State.image_path`."""

    id: str
    name: str | None
    owner: str | None
    status: str = "queued"
    is_public: bool = False
    size: int | None = None
    checksum: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass
class Flavor:
    """A Nova flavor; ``number`` is the database id that snapshots carry."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    extra_specs: dict[str, str] = field(default_factory=dict)
    access: list[str] = field(default_factory=list)
    number: int = 0


@dataclass
class Keypair:
    """A Nova keypair; owned by a user, whatever the project."""

    number: int
    user_id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: datetime


@dataclass
class Rule:
    """A security group rule; the source is a CIDR or another group (``group_id``)."""

    id: int
    parent_group_id: int
    ip_protocol: str | None
    from_port: int | None
    to_port: int | None
    cidr: str | None = None
    group_id: int | None = None


@dataclass
class SecurityGroup:
    """A nova-network security group."""

    id: int
    project_id: str
    name: str
    description: str
    rules: list[Rule] = field(default_factory=list)


@dataclass
class Network:
    """A nova-network FlatDHCP network."""

    id: str
    label: str
    cidr: str
    bridge: str
    bridge_interface: str
    gateway: str
    dhcp_start: str
    broadcast: str
    netmask: str
    created_at: datetime
    dns1: str | None = None
    dns2: str | None = None
    multi_host: bool = False
    project_id: str | None = None
    updated_at: datetime | None = None
    host: str | None = None


@dataclass
class FixedIp:
    """A fixed address that is reserved or that a server holds (free ones have no record)."""

    address: str
    network_id: str
    server_id: str | None = None
    hostname: str | None = None
    host: str | None = None
    reserved: bool = False
    free_at: float | None = None  # loop time at which a deleted server's address becomes free


@dataclass
class FloatingIp:
    """A floating address of a pool; allocated when ``project_id`` is set."""

    number: int
    address: str
    pool: str
    interface: str
    project_id: str | None = None
    server_id: str | None = None
    fixed_address: str | None = None
    host: str | None = None


@dataclass
class Action:
    """An entry of os-instance-actions."""

    name: str
    request_id: str
    user_id: str
    project_id: str
    start_at: datetime
    message: str | None = None


@dataclass
class Server:
    """A Nova server.

    ``user_data``: base64 as it was given; no API shows it. ``volumes``: ids of attached volumes.
    """

    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    flavor_id: str
    image_id: str
    created_at: datetime
    updated_at: datetime
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    host: str | None = None
    availability_zone: str | None = None
    key_name: str | None = None
    security_groups: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)
    network_id: str | None = None
    mac: str = ""
    vif_id: str = ""
    config_drive: bool = False
    disk_config: str = "MANUAL"
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    fault: dict[str, Any] | None = None
    deleted: bool = False
    locked: bool = False
    actions: list[Action] = field(default_factory=list)
    old_flavor_id: str | None = None
    old_host: str | None = None
    progress: int = 0
    listens: bool = True
    user_data: str | None = None
    volumes: list[str] = field(default_factory=list)


@dataclass
class Service:
    """A Nova service on a host; ``alive`` is what its heartbeat says."""

    id: int
    binary: str
    host: str
    disabled: bool = False
    disabled_reason: str | None = None
    alive: bool = True


@dataclass
class Host:
    """A compute host's capacity. ``takes``: False for one that refuses what other hosts send, once it was accepted."""

    name: str
    number: int
    vcpus: int
    memory_mb: int
    disk_gb: int
    maintenance: bool = False
    takes: bool = True


@dataclass
class Aggregate:
    """A host aggregate; the availability zone lives in its metadata."""

    id: int
    name: str
    created_at: datetime
    hosts: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Endpoints:
    """Base URLs of the running services, without a trailing slash."""

    keystone: str = ""
    keystone_admin: str = ""
    glance: str = ""
    nova: str = ""


@dataclass
class State:
    """The old cloud.

    :param cloud: the name under which its guests appear on the shared layer 2 and its services in the lab's log.
    :param osapi_max_limit: Nova's largest page.
    ``quota_drift``: by how much Nova's own count of a project's use is wrong.
    ``shared_storage``: servers' disks are on storage that all hosts have.

    :param token_cache_s: how long Nova and Glance go on believing a token that Keystone has revoked meanwhile.
    """

    world: World
    release: Release
    cloud: str = "source"
    seed: int = 20140417
    osapi_max_limit: int = 1000
    shared_storage: bool = False
    token_life_s: int = 86400
    token_cache_s: float = 300.0
    region: str = "RegionOne"
    endpoints: Endpoints = field(default_factory=Endpoints)
    projects: dict[str, Project] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    grants: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    flavors: dict[str, Flavor] = field(default_factory=dict)
    keypairs: dict[tuple[str, str], Keypair] = field(default_factory=dict)
    groups: dict[int, SecurityGroup] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    fixed_ips: dict[str, FixedIp] = field(default_factory=dict)
    floating_ips: dict[str, FloatingIp] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)
    aggregates: dict[int, Aggregate] = field(default_factory=dict)
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    quota_drift: dict[str, dict[str, int]] = field(default_factory=dict)
    server_groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    migrations: list[dict[str, Any]] = field(default_factory=list)
    deleted_image_ids: set[str] = field(default_factory=set)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    read_hash: Callable[[User], str | None] | None = None  # what somebody wrote into the database
    limiter: RateLimiter = field(init=False)
    _counters: dict[str, int] = field(default_factory=dict)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        scale = self.world.timing.scale
        self.limiter = RateLimiter(self.release.rate_limits, on=self.release.rate_limited, scale=scale)

    def reseed(self, seed: int) -> None:
        """Begin another sequence of ids."""
        self.seed = seed
        self._random.seed(seed)

    def new_uuid(self) -> str:
        """A new id with dashes; the same sequence in every lab with the same seed."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def new_hex(self) -> str:
        """A new id without dashes, as Keystone makes them."""
        return self.new_uuid().replace("-", "")

    def new_mac(self) -> str:
        """A new MAC in nova's prefix."""
        return "fa:16:3e:" + ":".join(f"{self._random.randrange(256):02x}" for _ in range(3))

    def count(self, kind: str) -> int:
        """The next number of a kind, from 1."""
        self._counters[kind] = self._counters.get(kind, 0) + 1
        return self._counters[kind]

    def image_path(self, image_id: str) -> Path:
        """Where an image's bytes are."""
        return Path(self.world.dir) / f"{self.cloud}-glance" / image_id

    def run(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Carry on ``work`` in the background; a newer task with the same key replaces the older one."""
        old = self.tasks.pop(key, None)
        if old is not None:
            old.cancel()
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: str, task: asyncio.Task[None]) -> None:
        if self.tasks.get(key) is task:
            del self.tasks[key]
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"background work {key} failed", "exception": task.exception(), "task": task}
            )

    async def close(self) -> None:
        """End all background work."""
        pending = list(self.tasks.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def quota(self, project_id: str) -> dict[str, int]:
        """A project's effective limits."""
        return {**DEFAULT_QUOTA, **self.quotas.get(project_id, {})}

    def live_servers(self) -> list[Server]:
        """Servers that are not deleted."""
        return [server for server in self.servers.values() if not server.deleted]

    def role_named(self, name: str) -> Role | None:
        """A role by name."""
        return next((role for role in self.roles.values() if role.name == name), None)

    def grant(self, project_id: str, user_id: str, role_id: str) -> bool:
        """Give a role; False when it is there already."""
        held = self.grants.setdefault((project_id, user_id), [])
        if role_id in held:
            return False
        held.append(role_id)
        return True

    def revoke(self, project_id: str, user_id: str, role_id: str) -> bool:
        """Take a role away; False when it was not there."""
        held = self.grants.get((project_id, user_id), [])
        if role_id not in held:
            return False
        held.remove(role_id)
        if not held:
            del self.grants[project_id, user_id]
        return True

    def drop_tokens(self, *, user_id: str | None = None, project_id: str | None = None) -> None:
        """Revoke all tokens of a user or a project."""
        for token in list(self.tokens.values()):
            if (user_id and token.user_id == user_id) or (project_id and token.project_id == project_id):
                del self.tokens[token.id]
