"""Everything the simulated cloud knows, as plain data: one :class:`Cloud` shared by its four services."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.web import UNAUTHENTICATED, Fault, Json, now
from pumphouse.lab.world import World

LOG = logging.getLogger(__name__)

NAME = "destination"
REGION = "RegionOne"
TOKEN_LIFE = timedelta(hours=4)

_IMPLIED = {"admin": ("manager",), "manager": ("member",), "member": ("reader",)}


@dataclass
class Token:
    """An issued token."""

    id: str
    user_id: str
    project_id: str | None
    system: bool
    methods: list[str]
    audit_id: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Caller:
    """Who asks: a validated token's user, project and role names (lower case, implied ones too)."""

    user_id: str
    user_name: str
    project_id: str
    roles: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether the services' default policies treat this caller as an administrator."""
        return "admin" in self.roles

    @property
    def may_write(self) -> bool:
        """Whether this caller may change things in its own project."""
        return "member" in self.roles

    def sees(self, project_id: str | None) -> bool:
        """Whether something of that project is this caller's to see."""
        return self.is_admin or project_id == self.project_id


@dataclass
class IdentityData:
    """Keystone's tables. Records are as the API shows them, without links; ``extra`` holds free attributes."""

    projects: dict[str, Json] = field(default_factory=dict)
    users: dict[str, Json] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    opens: Callable[[str, str], bool] | None = None  # (user id, password): where a database holds the hashes
    roles: dict[str, Json] = field(default_factory=dict)
    grants: set[tuple[str, str, str]] = field(default_factory=set)  # (project id or "system", user id, role id)
    tokens: dict[str, Token] = field(default_factory=dict)
    services: dict[str, Json] = field(default_factory=dict)
    endpoints: list[Json] = field(default_factory=list)

    def is_password(self, user_id: str, given: object) -> bool:
        """Whether that is the user's password."""
        if self.opens is not None:
            return isinstance(given, str) and self.opens(user_id, given)
        return user_id in self.passwords and self.passwords[user_id] == given


@dataclass
class ImageData:
    """Glance's tables; bytes live in files under ``folder``."""

    folder: Path
    images: dict[str, Json] = field(default_factory=dict)
    members: dict[str, dict[str, Json]] = field(default_factory=dict)
    used_ids: set[str] = field(default_factory=set)
    order: dict[str, int] = field(default_factory=dict)


@dataclass
class Nic:
    """A server's link to a port; a port that Nova made goes away with the server."""

    port_id: str
    made_by_nova: bool


@dataclass
class Server:
    """A Nova server. ``epoch`` changes whenever its guest's life changes, so that a late timer finds itself stale."""

    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    flavor: Json
    image_id: str
    image_properties: Json
    key_name: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime
    reservation_id: str
    wanted_zone: str | None = None
    wanted_host: str | None = None
    group_ids: list[str] = field(default_factory=list)
    description: str | None = None
    config_drive: bool = False
    user_data: str | None = None
    disk_config: str = "MANUAL"
    tags: list[str] = field(default_factory=list)
    hints: Json = field(default_factory=dict)
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    host: str | None = None
    old_host: str | None = None
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    deleted_at: datetime | None = None
    locked: bool = False
    locked_reason: str | None = None
    fault: Json | None = None
    nics: list[Nic] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)
    addresses: Json = field(default_factory=dict)  # Nova's own copy, a moment behind Neutron
    epoch: int = 0

    @property
    def running(self) -> bool:
        """Whether its guest has power."""
        return self.power_state == 1 and self.deleted_at is None


@dataclass
class Host:
    """A compute host with its service and hypervisor; ``alive`` is what its service's signs of life say."""

    name: str
    number: int
    service_id: str
    hypervisor_id: str
    vcpus: int = 64
    ram_mib: int = 262144
    disk_gib: int = 4000
    enabled: bool = True
    disabled_reason: str | None = None
    forced_down: bool = False
    alive: bool = True

    @property
    def down(self) -> bool:
        """Whether Nova takes the host for dead."""
        return self.forced_down or not self.alive


@dataclass
class ComputeData:
    """Nova's tables."""

    flavors: dict[str, Json] = field(default_factory=dict)
    flavor_access: dict[str, list[str]] = field(default_factory=dict)
    keypairs: dict[tuple[str, str], Json] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    hosts: list[Host] = field(default_factory=list)
    control: list[Json] = field(default_factory=list)
    migrations: list[Json] = field(default_factory=list)
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    class_quotas: dict[str, int] = field(default_factory=dict)
    counter: int = 0


@dataclass
class NetworkData:
    """Neutron's tables: records as the API shows them to an administrator, by id, in order of creation."""

    networks: dict[str, Json] = field(default_factory=dict)
    subnets: dict[str, Json] = field(default_factory=dict)
    ports: dict[str, Json] = field(default_factory=dict)
    routers: dict[str, Json] = field(default_factory=dict)
    floatingips: dict[str, Json] = field(default_factory=dict)
    groups: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, Json] = field(default_factory=dict)
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    counter: int = 0


@dataclass
class Cloud:
    """The simulated destination."""

    world: World
    identity: IdentityData
    image: ImageData
    compute: ComputeData
    network: NetworkData
    urls: dict[str, str] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background, until it ends or the cloud stops."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("a background task of the simulated destination failed", exc_info=task.exception())

    def role_ids(self, user_id: str, target: str) -> set[str]:
        """Roles of a user on a project (or "system"), implied ones too."""
        found = {role for where, who, role in self.identity.grants if where == target and who == user_id}
        by_name = {record["name"].lower(): role_id for role_id, record in self.identity.roles.items()}
        pending = list(found)
        while pending:
            record = self.identity.roles.get(pending.pop())
            for name in _IMPLIED.get(record["name"].lower(), ()) if record else ():
                role_id = by_name.get(name)
                if role_id and role_id not in found:
                    found.add(role_id)
                    pending.append(role_id)
        return {role for role in found if role in self.identity.roles}

    def token(self, token_id: str) -> Token | None:
        """A token that is still good: not expired or revoked, its user and project enabled, a role left."""
        token = self.identity.tokens.get(token_id)
        if token is None or token.expires_at <= now():
            return None
        user = self.identity.users.get(token.user_id)
        if user is None or not user["enabled"]:
            return None
        if token.project_id is not None:
            project = self.identity.projects.get(token.project_id)
            if project is None or not project["enabled"] or not self.role_ids(token.user_id, token.project_id):
                return None
        return token

    def authenticate(self, request: web.Request) -> Caller:
        """The caller of a request; 401 without a good token."""
        token = self.token(request.headers.get("X-Auth-Token", ""))
        if token is None:
            raise Fault(401, UNAUTHENTICATED)
        target = "system" if token.system else token.project_id
        ids = self.role_ids(token.user_id, target) if target else set()
        names = frozenset(self.identity.roles[role]["name"].lower() for role in ids)
        user = self.identity.users[token.user_id]
        return Caller(token.user_id, user["name"], token.project_id or "", names)
