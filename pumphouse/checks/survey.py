"""What is dirty in a source cloud: each thing with its remedy, none of it in the way of the rest.

A finding here never blocks. What would keep a *selected* server from moving is said, and blocked, by its plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

from pumphouse.clouds.api import Images
from pumphouse.errors import CloudError
from pumphouse.findings import Finding
from pumphouse.inventory import Snapshot
from pumphouse.model import Image, Server
from pumphouse.plan.states import SHELVED, root_image, treatment

#: How long a task may be under way before it counts as stuck: no snapshot of a 2014 cloud takes longer.
STUCK_AFTER = timedelta(hours=1)
#: Nova's power states that a running server cannot have: shut down, crashed.
_DEAD_POWER = {4: "shut down", 6: "crashed"}
_READERS = 8


def survey(source: Snapshot, *, stuck_after: timedelta = STUCK_AFTER) -> tuple[Finding, ...]:
    """Everything that a snapshot shows to be dirty (read only; asks no cloud).

    :param stuck_after: how old a task under way may be, counted from the server's last change to the snapshot.
    """
    found: list[Finding] = []
    for part in (_servers, _hosts, _homeless, _images, _people, _addresses, _names, _quotas):
        found.extend(part(source))
    found.extend(_tasks(source, stuck_after))
    return tuple(found)


def survey_files(source: Snapshot, images: Images) -> tuple[Finding, ...]:
    """Active images whose data cannot be read, by asking for the first bytes of each (reads the source)."""
    active = [image for image in source.images if image.status == "active" and image.size_bytes != 0]

    def look(image: Image) -> Finding | None:
        try:
            with closing(_closable(images.download(image.id, chunk_bytes=512))) as chunks:
                next(chunks, b"")
        except CloudError as error:
            used = _used_by(source, image)
            return _info(
                "image-without-file",
                f"image {image.name}",
                f"({image.id}) is active, but its data cannot be read: {error.message}{used}",
                "upload it again in the source; servers made from it move by snapshot.",
            )
        return None

    with ThreadPoolExecutor(_READERS, thread_name_prefix="survey") as pool:
        return tuple(finding for finding in pool.map(look, active) if finding is not None)


def _closable(chunks: Iterator[bytes]) -> Generator[bytes]:
    yield from chunks


def _info(code: str, obj: str, message: str, remedy: str) -> Finding:
    return Finding("info", code, obj, message, remedy)


def _of(source: Snapshot, server: Server) -> str:
    project = source.project(server.project_id)
    return f"({server.id} of project {project.name if project else server.project_id})"


def _servers(source: Snapshot) -> Iterator[Finding]:
    users_known = not source.has_gap("users")
    for server in source.servers:
        label, which = f"server {server.name}", _of(source, server)
        fate = treatment(server.status)
        if server.status == "ERROR":
            yield _info(
                "server-in-error", label, f"{which} is in ERROR: {server.fault or 'Nova tells no fault'}", fate.remedy
            )
        elif fate.code == "server-busy":
            if server.task_state is None:
                yield _info("server-under-way", label, f"{which} {fate.why}", fate.remedy)
        elif server.status in SHELVED and root_image(source, server) != server.image_id:
            yield _info("server-state", label, f"{which} is shelved.", "nothing: it moves from the image of its disk.")
        elif fate.code:
            yield _info("server-state", label, f"{which} {fate.why}", fate.remedy)
        if server.status == "ACTIVE" and server.power_state in _DEAD_POWER:
            yield _info(
                "server-not-running",
                label,
                f"{which} is ACTIVE for Nova, but its guest is {_DEAD_POWER[server.power_state]}.",
                "start or stop it in the source, so that it arrives as its owner wants it.",
            )
        if server.image_id is not None and source.image(server.image_id) is None:
            yield _info(
                "image-deleted",
                label,
                f"{which} was made from image {server.image_id}, which is gone.",
                "carry it by snapshot, or put an image in its place.",
            )
        if source.flavor(server.flavor_id) is None:
            yield _info(
                "flavor-deleted",
                label,
                f"{which} has flavor {server.flavor_id}, which was deleted: its size is unknown."
                if server.flavor_id
                else f"{which} has no flavor any more in Nova's database: its size is unknown.",
                "make a flavor of that id again in the source; or leave the server out."
                if server.flavor_id
                else "leave the server out, or mend its row in Nova's database.",
            )
        if source.project(server.project_id) is None:
            yield _info(
                "project-gone",
                label,
                f"{which} belongs to a project that Keystone no longer has.",
                "delete it in the source if nobody misses it; or leave it out.",
            )
        if users_known and source.user(server.user_id) is None:
            yield _info(
                "owner-gone",
                label,
                f"{which} was booted by user {server.user_id}, whom Keystone no longer has.",
                "it will belong to the operator's user at the destination; its keypair is lost.",
            )
        if server.volume_ids:
            yield _info(
                "server-volumes",
                label,
                f"{which} has volumes: {', '.join(server.volume_ids)}.",
                "only servers without volumes move: detach them, or leave the server out.",
            )


def _tasks(source: Snapshot, stuck_after: timedelta) -> Iterator[Finding]:
    for server in source.servers:
        if server.task_state is None:
            continue
        since = server.updated_at
        old = since is None or source.taken_at - since > stuck_after
        age = "" if since is None else f" since {since:%Y-%m-%d %H:%M} UTC"
        yield _info(
            "server-stuck" if old else "server-under-way",
            f"server {server.name}",
            f"{_of(source, server)} has task {server.task_state} under way{age}"
            f"{': it is most likely stuck in it' if old else ''}.",
            "reset its state in the source (`nova reset-state --active`) once nothing works on it any more."
            if old
            else "wait for it.",
        )


def _hosts(source: Snapshot) -> Iterator[Finding]:
    for service in source.services:
        name = f"{service.binary} on {service.host}"
        if service.state != "up":
            yield Finding(
                "warn",
                "service-down",
                name,
                f"is {service.state} ({service.status}).",
                "bring it back; the servers of a dead compute host cannot be stopped in an orderly way.",
            )
        elif service.status != "enabled":
            why = f" ({service.disabled_reason})" if service.disabled_reason else ""
            yield _info("service-disabled", name, f"is disabled{why}: nothing new is put there.", "nothing, if meant.")
        if service.binary == "nova-compute" and service.state != "up":
            for server in source.servers_on(service.host):
                yield _info(
                    "server-on-dead-host",
                    f"server {server.name}",
                    f"{_of(source, server)} is {server.status} on {service.host}, where nova-compute is down.",
                    "bring the host back or evacuate the server; one that is stopped moves as it is.",
                )


def _homeless(source: Snapshot) -> Iterator[Finding]:
    """Servers that no nova-compute answers for: nobody would stop, start or delete them."""
    known = {service.host for service in source.services if service.binary == "nova-compute"}
    if source.has_gap("services") or not known:
        return
    for server in source.servers:
        if server.status in ("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE") and server.host not in known:
            yield _info(
                "server-without-host",
                f"server {server.name}",
                f"{_of(source, server)} is {server.status} on "
                f"{f'{server.host}, where Nova knows of no nova-compute' if server.host else 'no host'}.",
                "find its guest and correct its host in Nova's database; delete it if there is none.",
            )


def _used_by(source: Snapshot, image: Image) -> str:
    count = sum(server.image_id == image.id for server in source.servers)
    return f" {count} server(s) were made from it." if count else ""


def _images(source: Snapshot) -> Iterator[Finding]:
    for image in source.images:
        label = f"image {image.name}"
        if image.status != "active":
            yield _info(
                "image-not-active",
                label,
                f"({image.id}) is {image.status}: it has no data.{_used_by(source, image)}",
                "delete it or upload it again in the source; it is not copied.",
            )
        elif image.size_bytes == 0:
            yield _info(
                "image-empty",
                label,
                f"({image.id}) is active with 0 bytes.{_used_by(source, image)}",
                "delete it or upload it again in the source.",
            )
        parts = [(name, part) for name in ("kernel_id", "ramdisk_id") if (part := image.properties.get(name))]
        for name, part in parts:
            if source.image(part) is None:
                yield _info(
                    "image-part-gone",
                    label,
                    f"({image.id}) boots with {name} {part}, which is gone.",
                    "put that image back; servers made from it cannot be rebuilt.",
                )
        if image.owner_id is not None and source.project(image.owner_id) is None:
            yield _info(
                "image-owner-gone",
                label,
                f"({image.id}) belongs to project {image.owner_id}, which Keystone no longer has.",
                "delete it in the source if nothing uses it.",
            )


def _people(source: Snapshot) -> Iterator[Finding]:
    if not source.has_gap("users", "assignments"):
        with_role = {assignment.user_id for assignment in source.assignments}
        for user in source.users:
            if user.id not in with_role:
                yield _info(
                    "user-without-role",
                    f"user {user.name}",
                    f"({user.id}) has no role in any project.",
                    "delete them in the source if nobody misses them; they are not carried.",
                )
    if not source.has_gap("users"):
        for keypair in source.keypairs:
            if source.user(keypair.user_id) is None:
                yield _info(
                    "keypair-orphan",
                    f"keypair {keypair.name}",
                    f"belongs to user {keypair.user_id}, whom Keystone no longer has.",
                    "nothing: it is carried only with servers that use it.",
                )
    if source.has_gap("keypairs"):
        yield _info(
            "keypair-orphan",
            "keypairs",
            "of others than the known owners cannot be listed: whether some belong to users who are gone is not known.",
            "name Nova's database in site.yaml, source.databases.nova, to see all keypairs.",
        )
    for project in source.projects:
        count = len(source.servers_of(project.id))
        if not project.enabled and count:
            yield _info(
                "project-disabled",
                f"project {project.name}",
                f"({project.id}) is disabled and has {count} server(s).",
                "enable it for the time of the move, or leave its servers out.",
            )


def _addresses(source: Snapshot) -> Iterator[Finding]:
    for floating in source.floating_ips:
        if floating.server_id is None:
            owner = source.project(floating.project_id)
            yield _info(
                "floating-ip-unused",
                f"floating IP {floating.address}",
                f"of project {owner.name if owner else floating.project_id} is bound to no server.",
                "release it in the source if nobody needs it.",
            )
        elif source.server(floating.server_id) is None:
            yield _info(
                "floating-ip-orphan",
                f"floating IP {floating.address}",
                f"is bound to server {floating.server_id}, which is gone.",
                "unbind it in the source.",
            )
    held = Counter(address.address for server in source.servers for address in server.addresses)
    for server in source.servers:
        twice = [address.address for address in server.addresses if held[address.address] > 1]
        if twice:
            yield _info(
                "address-twice",
                f"server {server.name}",
                f"{_of(source, server)} is not the only one with {', '.join(twice)}.",
                "find out which of them is wrong before either moves.",
            )
    known = {(group.project_id, group.name) for group in source.security_groups}
    if not source.has_gap("security_groups"):
        for server in source.servers:
            lost = sorted({name for name in server.security_groups if (server.project_id, name) not in known})
            if lost:
                yield _info(
                    "security-group-gone",
                    f"server {server.name}",
                    f"{_of(source, server)} has security group {', '.join(lost)}, which its project does not have.",
                    "take it off the server in the source.",
                )


def _names(source: Snapshot) -> Iterator[Finding]:
    projects = {project.id: project.name for project in source.projects}
    kinds: tuple[tuple[str, Callable[[], Iterable[tuple[str, str]]]], ...] = (
        ("server", lambda: ((s.name, projects.get(s.project_id, s.project_id)) for s in source.servers)),
        ("image", lambda: ((i.name, projects.get(str(i.owner_id), str(i.owner_id))) for i in source.images)),
        ("network", lambda: ((n.name, "") for n in source.networks)),
        ("project", lambda: ((p.name, "") for p in source.projects)),
        ("user", lambda: ((u.name, "") for u in source.users)),
    )
    for kind, rows in kinds:
        for (name, project), count in sorted(Counter(rows()).items()):
            if count > 1:
                where = f" of project {project}" if project else ""
                yield _info(
                    "name-repeats",
                    f"{kind} {name}",
                    f"is the name of {count} {kind}s{where}.",
                    "choose by id; rename them in the source if they are to be told apart.",
                )


def _quotas(source: Snapshot) -> Iterator[Finding]:
    floating = Counter(floating.project_id for floating in source.floating_ips)
    for quota in source.quotas:
        project = source.project(quota.project_id)
        label = f"project {project.name if project else quota.project_id}"
        flavors = [source.flavor(server.flavor_id) for server in source.servers_of(quota.project_id)]
        counted = {
            "instances": len(flavors),
            "cores": sum(flavor.vcpus for flavor in flavors if flavor),
            "ram": sum(flavor.ram_mib for flavor in flavors if flavor),
            "floating_ips": floating[quota.project_id],
            "security_groups": len(source.security_groups_of(quota.project_id)),
        }
        for name, used in counted.items():
            limit = quota.limits.get(name, -1)
            if 0 <= limit < used:
                yield _info(
                    "quota-exceeded",
                    label,
                    f"uses {used} {name}, its quota is {limit}: it was lowered after the fact.",
                    "raise it in the source before moving all of the project, since that quota is carried.",
                )
        usage = source.usage(quota.project_id)
        # a server whose flavor is gone still counts for Nova
        sure = ("instances", "floating_ips") if None in flavors else ("instances", "cores", "ram", "floating_ips")
        wrong = {
            name: usage.used[name] for name in sure if usage and usage.used.get(name, counted[name]) != counted[name]
        }
        if wrong:
            said = ", ".join(f"{value} {name} (there are {counted[name]})" for name, value in wrong.items())
            yield _info(
                "quota-drift",
                label,
                f"uses {said}, as Nova believes: its own account has drifted.",
                "nothing for a move, which counts what is there; `nova-manage project quota_usage_refresh` mends it.",
            )
