"""Everything that one cloud holds, read once, so that tables, checks and plans need no cloud.

A list that matters to every plan (projects, servers, flavors, images, networks) must be readable; any
other that fails leaves a :class:`Gap` behind, which checks have to weigh: an empty table with a gap is
*unknown*, not empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError, PumphouseError, SelectionError
from pumphouse.fileio import write_named
from pumphouse.inventory import codec
from pumphouse.model import (
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
    Server,
    Service,
    Usage,
    User,
)

SCHEMA_VERSION = 2
KIND = "pumphouse-snapshot"
ESSENTIAL = ("projects", "servers", "flavors", "images", "networks")

T = TypeVar("T")


class InventoryError(PumphouseError):
    """A snapshot contradicts itself or its file cannot be used, or a table does not exist."""


@dataclass(frozen=True)
class Gap:
    """A list that could not be read: what the snapshot shows of ``table`` is incomplete."""

    table: str
    reason: str
    remedy: str


_KEYS: dict[str, Callable[[Any], Any]] = {
    "projects": lambda item: item.id,
    "users": lambda item: item.id,
    "roles": lambda item: item.id,
    "assignments": lambda item: (item.project_id, item.user_id, item.role_id),
    "flavors": lambda item: item.id,
    "images": lambda item: item.id,
    "keypairs": lambda item: (item.user_id, item.name),
    "security_groups": lambda item: item.id,
    "networks": lambda item: (item.id, item.subnet_id or ""),
    "ports": lambda item: item.id,
    "floating_ips": lambda item: item.id,
    "servers": lambda item: item.id,
    "services": lambda item: (item.host, item.binary, item.id or ""),
    "hypervisors": lambda item: item.id,
    "quotas": lambda item: item.project_id,
    "usages": lambda item: item.project_id,
    "availability_zones": lambda item: item.name,
    "aggregates": lambda item: item.id,
}


@dataclass(frozen=True)
class Snapshot:
    """One cloud as it was at ``taken_at`` (aware UTC, when reading began).

    Rows are kept sorted by id, so that two snapshots of an unchanged cloud differ in ``taken_at`` alone.
    Lookups by id return ``None`` for what the cloud does not hold: a server's flavor, image or owner may
    have been deleted long ago. ``keypairs`` holds those of the users whose credentials we had, since Nova
    shows nobody else's. ``ports`` is empty where there is no Neutron. ``floating_pools``: pool (external
    network) name to its CIDRs. ``default_quota`` is what a new project gets. ``usages`` is Nova's own account of
    what projects use, where it tells it to administrators.

    :raises InventoryError: two different rows of a table have the same id.
    """

    facts: CloudFacts
    taken_at: datetime
    projects: tuple[Project, ...] = ()
    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    images: tuple[Image, ...] = ()
    keypairs: tuple[Keypair, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    networks: tuple[Network, ...] = ()
    ports: tuple[Port, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    floating_pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    servers: tuple[Server, ...] = ()
    services: tuple[Service, ...] = ()
    hypervisors: tuple[Hypervisor, ...] = ()
    quotas: tuple[Quota, ...] = ()
    default_quota: Quota | None = None
    usages: tuple[Usage, ...] = ()
    availability_zones: tuple[AvailabilityZone, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        if self.taken_at.tzinfo is None:
            raise InventoryError(
                f"The snapshot of cloud '{self.facts.cloud}' has a time without zone.",
                remedy="pass taken_at as an aware UTC datetime.",
            )
        object.__setattr__(self, "taken_at", self.taken_at.astimezone(UTC))
        for table, key in _KEYS.items():
            rows: dict[Any, Any] = {}
            for row in getattr(self, table):
                if rows.setdefault(key(row), row) != row:
                    raise InventoryError(
                        f"Cloud '{self.facts.cloud}' ({self.facts.side}) lists {table} {key(row)} twice, differently.",
                        remedy="take the snapshot again: the object may have changed between two pages.",
                    )
            object.__setattr__(self, table, tuple(rows[name] for name in sorted(rows)))
        object.__setattr__(self, "gaps", tuple(sorted(self.gaps, key=lambda gap: (gap.table, gap.reason))))

    # --- looking things up -------------------------------------------------------------------------

    def project(self, project_id: str | None) -> Project | None:
        """The project of that id, or None."""
        return self._by_id("projects").get(project_id)

    def user(self, user_id: str | None) -> User | None:
        """The user of that id, or None."""
        return self._by_id("users").get(user_id)

    def role(self, role_id: str | None) -> Role | None:
        """The role of that id, or None."""
        return self._by_id("roles").get(role_id)

    def flavor(self, flavor_id: str | None) -> Flavor | None:
        """The flavor of that id, or None (Nova forgets deleted flavors, its servers keep their ids)."""
        return self._by_id("flavors").get(flavor_id)

    def image(self, image_id: str | None) -> Image | None:
        """The image of that id, or None (an image may be deleted while servers made from it run on)."""
        return self._by_id("images").get(image_id)

    def network(self, network_id: str | None) -> Network | None:
        """The network of that id, or None."""
        return self._by_id("networks").get(network_id)

    def security_group(self, group_id: str | None) -> SecurityGroup | None:
        """The security group of that id, or None."""
        return self._by_id("security_groups").get(group_id)

    def server(self, server_id: str | None) -> Server | None:
        """The server of that id, or None."""
        return self._by_id("servers").get(server_id)

    def keypair(self, user_id: str, name: str) -> Keypair | None:
        """That user's keypair of that name, or None (also when we could not list that user's)."""
        found: Keypair | None = self._by("keypairs", "user_id", "name").get((user_id, name))
        return found

    def quota(self, project_id: str) -> Quota | None:
        """The project's quota, or None when it could not be read."""
        found: Quota | None = self._by("quotas", "project_id").get((project_id,))
        return found

    def floating_ip(self, address: str) -> FloatingIp | None:
        """The allocated floating IP with that address, or None."""
        found: FloatingIp | None = self._by("floating_ips", "address").get((address,))
        return found

    def project_named(self, name: str) -> Project | None:
        """The only project of that name, or None; SelectionError when there are several (v3 domains)."""
        return self._only("project", name, [p for p in self.projects if p.name == name])

    def user_named(self, name: str) -> User | None:
        """The only user of that name, or None; SelectionError when there are several."""
        return self._only("user", name, [u for u in self.users if u.name == name])

    def role_named(self, name: str) -> Role | None:
        """The only role of that name in any case, or None; SelectionError when there are several."""
        return self._only("role", name, [r for r in self.roles if r.name.casefold() == name.casefold()])

    def network_named(self, name: str) -> Network | None:
        """The only network of that name (label), or None; SelectionError when there are several."""
        return self._only("network", name, [n for n in self.networks if n.name == name])

    def servers_named(self, name: str) -> tuple[Server, ...]:
        """All servers of that name; Nova lets names repeat."""
        return self._groups("servers", "name").get(name, ())

    def servers_of(self, project_id: str) -> tuple[Server, ...]:
        """All servers of a project."""
        return self._groups("servers", "project_id").get(project_id, ())

    def servers_on(self, host: str) -> tuple[Server, ...]:
        """All servers on a host."""
        return self._groups("servers", "host").get(host, ())

    def security_groups_of(self, project_id: str) -> tuple[SecurityGroup, ...]:
        """All security groups of a project."""
        return self._groups("security_groups", "project_id").get(project_id, ())

    def security_groups_named(self, project_id: str, name: str) -> tuple[SecurityGroup, ...]:
        """A project's groups of that name: at most one in nova-network, maybe several in Neutron."""
        return tuple(g for g in self.security_groups_of(project_id) if g.name == name)

    def assignments_of(self, project_id: str) -> tuple[Assignment, ...]:
        """All role assignments in a project."""
        return self._groups("assignments", "project_id").get(project_id, ())

    def keypairs_of(self, user_id: str) -> tuple[Keypair, ...]:
        """All known keypairs of a user."""
        return self._groups("keypairs", "user_id").get(user_id, ())

    def images_of(self, project_id: str) -> tuple[Image, ...]:
        """All images that a project owns."""
        return self._groups("images", "owner_id").get(project_id, ())

    def floating_ips_of(self, server_id: str) -> tuple[FloatingIp, ...]:
        """All floating IPs bound to a server."""
        return self._groups("floating_ips", "server_id").get(server_id, ())

    def usage(self, project_id: str) -> Usage | None:
        """Nova's own account of what a project uses, or None."""
        found: Usage | None = self._by("usages", "project_id").get((project_id,))
        return found

    def ports_named(self, name: str) -> tuple[Port, ...]:
        """All Neutron ports of that name."""
        return self._groups("ports", "name").get(name, ())

    def ports_of(self, server_id: str) -> tuple[Port, ...]:
        """All Neutron ports of a server."""
        return self._groups("ports", "server_id").get(server_id, ())

    def has_gap(self, *tables: str) -> bool:
        """Whether one of these tables could not be read completely."""
        return any(gap.table in tables for gap in self.gaps)

    @cached_property
    def _indexes(self) -> dict[str, dict[Any, Any]]:
        return {}

    def _by_id(self, table: str) -> dict[str | None, Any]:
        if table not in self._indexes:
            self._indexes[table] = {item.id: item for item in getattr(self, table)}
        return self._indexes[table]

    def _by(self, table: str, *names: str) -> dict[tuple[Any, ...], Any]:
        """The first row of each combination of these fields."""
        index = f"{table} by {' and '.join(names)}, first"
        if index not in self._indexes:
            rows = reversed(getattr(self, table))
            self._indexes[index] = {tuple(getattr(row, name) for name in names): row for row in rows}
        return self._indexes[index]

    def _groups(self, table: str, by: str) -> dict[str | None, tuple[Any, ...]]:
        name = f"{table} by {by}"
        if name not in self._indexes:
            groups: dict[str | None, list[Any]] = defaultdict(list)
            for item in getattr(self, table):
                groups[getattr(item, by)].append(item)
            self._indexes[name] = {key: tuple(items) for key, items in groups.items()}
        return self._indexes[name]

    def _only(self, what: str, name: str, found: Sequence[T]) -> T | None:
        if len(found) > 1:
            ids = ", ".join(str(getattr(item, "id", "?")) for item in found)
            raise SelectionError(
                f"Cloud '{self.facts.cloud}' has {len(found)} {what}s named '{name}': {ids}.",
                remedy=f"give the {what}'s id instead of its name.",
            )
        return found[0] if found else None

    # --- files -------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The snapshot as text; the same snapshot gives the same bytes."""
        return codec.dump_json({"kind": KIND, "schema": SCHEMA_VERSION, "snapshot": codec.encode(self)})

    @classmethod
    def from_json(cls, text: str, *, origin: str = "The text") -> Snapshot:
        """Read what :meth:`to_json` wrote; ``origin`` names it in errors.

        :raises InventoryError: another schema, another kind of file, or anything unexpected inside.
        """
        try:
            document = codec.open_document(text, kind=KIND, schema=SCHEMA_VERSION)
            snapshot: Snapshot = codec.decode(_Stored, document, "file").snapshot
        except ValueError as error:
            raise InventoryError(
                f"{origin} cannot be read as a snapshot: {error}.", remedy="take a new snapshot of the cloud."
            ) from error
        return snapshot

    def save(self, path: str | Path) -> Path:
        """Write the snapshot to a file, atomically, readable by its owner alone (metadata may hold secrets)."""
        file = Path(path)
        return write_named(file, self.to_json(), "Snapshot file", InventoryError, mode=0o600)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a file that :meth:`save` wrote.

        :raises InventoryError: the file is missing, or is not a whole snapshot of this schema.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise InventoryError(
                f"Snapshot file {file} cannot be read: {error.strerror}.",
                remedy="check the path, or take a new snapshot with take_snapshot().save(path).",
            ) from error
        except UnicodeDecodeError as error:
            raise InventoryError(
                f"Snapshot file {file} is not text.", remedy="take a new snapshot of the cloud."
            ) from error
        return cls.from_json(text, origin=f"Snapshot file {file}")


@dataclass(frozen=True)
class _Stored:
    snapshot: Snapshot


def take_snapshot(
    cloud: Cloud,
    *,
    owners: Sequence[Cloud] = (),
    all_keypairs: Callable[[], Iterable[Keypair]] | None = None,
    workers: int = 8,
    progress: Callable[[str], None] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Snapshot:
    """Read everything that a cloud holds (read only), with up to ``workers`` requests at a time.

    :param owners: the same cloud as the owners of its servers. Nova shows a user only their own keypairs
        (``os-keypairs``), so the snapshot's are the union of what ``cloud`` and each owner see.
    :param all_keypairs: everybody's keypairs from elsewhere: Nova's database.
    :param progress: called from this thread with one line per list that arrived.
    :param now: the clock; aware UTC.
    :raises CloudError: projects, servers, flavors, images or networks cannot be listed. Any other list
        that fails becomes a :class:`Gap`.
    """
    return _Reading(cloud, owners, all_keypairs, workers, progress, now).run()


class _Reading:
    """One pass over a cloud: requests under way, what arrived, what is missing."""

    def __init__(
        self,
        cloud: Cloud,
        owners: Sequence[Cloud],
        all_keypairs: Callable[[], Iterable[Keypair]] | None,
        workers: int,
        progress: Callable[[str], None] | None,
        now: Callable[[], datetime],
    ) -> None:
        self.cloud, self.owners, self.workers, self.now = cloud, owners, workers, now
        self.tell, self.all_keypairs = progress, all_keypairs
        self.rows: dict[str, Any] = {}
        self.keypairs: dict[tuple[str, str], Keypair] = {}
        self.quotas: list[Quota] = []
        self.quota_failures: list[tuple[Project, CloudError]] = []
        self.usages: list[Usage] = []
        self.locked: frozenset[str] | None = None
        self.gaps: list[Gap] = []
        self.pending: dict[Future[Any], Callable[[Future[Any]], None]] = {}

    def run(self) -> Snapshot:
        # facts authenticate and discover: once, here, before threads share the session
        facts, taken_at = self.cloud.facts, self.now()
        with ThreadPoolExecutor(self.workers, thread_name_prefix=f"snapshot-{self.cloud.name}") as pool:
            try:
                self._submit_all(pool, facts)
                while self.pending:
                    done, _ = wait(self.pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        self.pending.pop(future)(future)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self._note_quota_failures()
        if self.locked is not None:
            self.rows["servers"] = tuple(replace(s, locked=s.id in self.locked) for s in self.rows["servers"])
        return Snapshot(
            facts=facts,
            taken_at=taken_at,
            keypairs=tuple(self.keypairs.values()),
            quotas=tuple(self.quotas),
            usages=tuple(self.usages),
            gaps=tuple(self.gaps),
            **self.rows,
        )

    def _submit_all(self, pool: ThreadPoolExecutor, facts: CloudFacts) -> None:
        identity, compute, network = self.cloud.identity, self.cloud.compute, self.cloud.network
        lists: dict[str, Callable[[], Iterable[Any]]] = {
            "servers": compute.list_servers,
            "images": self.cloud.images.list_images,
            "users": identity.list_users,
            "roles": identity.list_roles,
            "assignments": identity.list_assignments,
            "flavors": compute.list_flavors,
            "security_groups": network.list_security_groups,
            "networks": network.list_networks,
            "floating_ips": network.list_floating_ips,
            "services": compute.list_services,
            "hypervisors": compute.list_hypervisors,
            "availability_zones": compute.list_availability_zones,
            "aggregates": compute.list_aggregates,
        }
        if facts.network_service == "neutron":
            lists["ports"] = self.cloud.neutron.list_ports
        self.pending[pool.submit(identity.list_projects)] = partial(self._take_projects, pool)
        for table, call in lists.items():
            self.pending[pool.submit(call)] = partial(self._take, table, tuple)
        self.pending[pool.submit(network.floating_pools)] = partial(self._take, "floating_pools", dict)
        self.pending[pool.submit(compute.get_default_quota)] = partial(self._take, "default_quota", _as_it_is)
        if facts.side == "source":
            self.pending[pool.submit(compute.list_locked)] = self._take_locked
        for owner in (self.cloud, *self.owners):
            whose = "our own user" if owner is self.cloud else f"an owner (entry '{owner.name}')"
            self.pending[pool.submit(owner.compute.list_keypairs)] = partial(self._take_keypairs, whose)
        if self.all_keypairs is not None:
            self.pending[pool.submit(self.all_keypairs)] = partial(self._take_keypairs, "everybody")
        elif facts.side == "source" and not self.owners:
            self._gap(
                "keypairs",
                f"Nova shows {facts.user_name} only their own keypairs, and no owner's credentials were given",
                "name the owners' clouds.yaml entries under source.owners in site.yaml, or Nova's database",
            )

    def _take(self, table: str, shape: Callable[[Any], Any], future: Future[Any]) -> None:
        try:
            self.rows[table] = shape(future.result())
        except CloudError as error:
            if table in ESSENTIAL:
                raise
            self._gap(table, _reason(error), error.remedy)
        else:
            if isinstance(self.rows[table], tuple):
                self._say(f"{len(self.rows[table])} {table.replace('_', ' ')}")

    def _take_projects(self, pool: ThreadPoolExecutor, future: Future[Any]) -> None:
        self._take("projects", tuple, future)
        for project in self.rows["projects"]:
            request = pool.submit(self.cloud.compute.get_quota, project.id)
            self.pending[request] = partial(self._take_quota, project)
            if self.cloud.facts.side == "source":
                self.pending[pool.submit(self.cloud.compute.find_usage, project.id)] = self._take_usage

    def _take_quota(self, project: Project, future: Future[Any]) -> None:
        try:
            self.quotas.append(future.result())
        except CloudError as error:
            self.quota_failures.append((project, error))

    def _take_usage(self, future: Future[Any]) -> None:
        try:
            found = future.result()
        except CloudError:
            return  # a second opinion on what the servers say anyhow
        if found is not None:
            self.usages.append(found)

    def _take_locked(self, future: Future[Any]) -> None:
        try:
            self.locked = future.result()
        except CloudError as error:
            self._gap("locks", _reason(error), error.remedy)

    def _take_keypairs(self, whose: str, future: Future[Any]) -> None:
        try:
            found = future.result()
        except CloudError as error:
            self._gap("keypairs", f"those of {whose}: {_reason(error)}", error.remedy)
        else:
            # an owner may be given twice, or be the user that we are ourselves
            self.keypairs.update({(keypair.user_id, keypair.name): keypair for keypair in found})

    def _note_quota_failures(self) -> None:
        if self.quota_failures:
            project, error = min(self.quota_failures, key=lambda failure: failure[0].id)
            others = len(self.quota_failures) - 1
            more = f" (and of {others} more projects)" if others else ""
            self._gap("quotas", f"that of project '{project.name}'{more}: {_reason(error)}", error.remedy)

    def _say(self, line: str) -> None:
        if self.tell is not None:
            self.tell(f"{self.cloud.name}: {line}")

    def _gap(self, table: str, reason: str, remedy: str | None) -> None:
        user = self.cloud.facts.user_name
        words = remedy or f"let user {user} of cloud '{self.cloud.name}' list {table} (admin role), then read again"
        self.gaps.append(Gap(table, reason, words))
        self._say(f"{table.replace('_', ' ')} not readable: {reason}")


def _reason(error: CloudError) -> str:
    return error.message + (f" [request {error.request_id}]" if error.request_id else "")


def _as_it_is(value: Any) -> Any:
    return value
