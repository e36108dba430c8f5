"""Planning what a server's copy boots from: its image (the default), or a snapshot of its root disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pumphouse.inventory import Snapshot
from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.images import PARTS, add_image, to_copy
from pumphouse.plan.model import Note
from pumphouse.plan.states import root_image, treatment
from pumphouse.site import Carry

#: States of a source in which Nova makes a snapshot (``nova/compute/api.py``, the same since Grizzly). Of a shelved
#: server there is one already, from which its copy is built.
SNAPSHOT_STATES = ("SHUTOFF", "PAUSED", "SUSPENDED")
#: A rate to reckon with, in MiB a second, for what is copied while a server is down.
RECKONED_MIB_PER_S = 100


@dataclass(frozen=True)
class Root:
    """What a copy boots from: ``image_id`` is a source image's, or a name under which the snapshot will be known.

    ``ready`` are keys of steps that are to be done before anything stops.
    """

    image_id: str
    ready: tuple[str, ...]
    by_snapshot: bool = False


def add_root(draft: Draft, server: Server, image_id: str | None) -> Root | None:
    """The image of a server's copy with the steps that prepare it; None when there is none.

    :param image_id: the source's image that it would be rebuilt from.
    """
    label = f"server {server.name}"
    if _goes_by_snapshot(draft.source, draft.site.carry, server):
        return _snapshot(draft, server)
    key = add_image(draft, image_id, server)
    if key is None or image_id is None:
        return None
    name = draft.steps[key].params["image"]["name"]
    text = f"is rebuilt from image {name}"
    if image_id == server.image_id:
        text += ": root-disk changes are lost (`snapshot` under `carry` in site.yaml keeps them)"
    draft.notes.append(Note(label, text))
    return Root(image_id, (key,))


def copied_for(
    source: Snapshot, destination: Snapshot | None, carry: Carry, server_ids: Iterable[str]
) -> dict[str, int]:
    """Image id -> bytes of what a plan of these servers copies before anything stops (see :func:`to_copy`).

    A disk that is carried by snapshot is copied while its server is down, and is in no plan's sum.
    """
    wanted: list[str] = []
    for server_id in server_ids:
        server = source.server(server_id)
        if server is None:
            continue
        if _goes_by_snapshot(source, carry, server):
            wanted += _parts(source, server)
        elif (image_id := root_image(source, server)) is not None:
            wanted.append(image_id)
    return to_copy(source, destination, wanted)


def _goes_by_snapshot(source: Snapshot, carry: Carry, server: Server) -> bool:
    project = source.project(server.project_id)
    how = carry.way_of(server.name, server.id, project.name if project else server.project_id)
    return how == "snapshot" and set(treatment(server.status).rests) <= set(SNAPSHOT_STATES)


def _parts(source: Snapshot, server: Server) -> list[str]:
    """What a snapshot of its disk boots with: the kernel and the ramdisk of its image."""
    image = source.image(server.image_id)
    return [part for name in PARTS if image is not None and (part := image.properties.get(name))]


def add_snapshot(draft: Draft, server: Server, stop: str, root: Root) -> str:
    """The step that carries the root disk, between a server's stop and its boot; returns its key."""
    return draft.add(
        f"snapshot:{server.id}",
        phase="cutover",
        changes="both",
        title=f"carry the root disk of {server.name} by snapshot",
        needs=(stop, *root.ready),
        params={
            "source_id": root.image_id,
            "server_id": server.id,
            "name": server.name,
            "project_id": server.project_id,
            "rests": list(treatment(server.status).rests),
            "disk_gib": flavor.disk_gib if (flavor := draft.source.flavor(server.flavor_id)) else 0,
        },
        server_id=server.id,
        undo="deleted",
    )


def _snapshot(draft: Draft, server: Server) -> Root | None:
    label = f"server {server.name}"
    flavor = draft.source.flavor(server.flavor_id)
    disk_gib = flavor.disk_gib if flavor else 0
    size = f"up to {disk_gib} GiB" if disk_gib else "of unknown size"
    text = f"is carried by a snapshot of its root disk ({size}), which is taken and copied while it is down"
    if disk_gib:
        text += f": at {RECKONED_MIB_PER_S} MiB/s up to {disk_gib * 1024 / RECKONED_MIB_PER_S:.0f} s of downtime more"
    if flavor and (flavor.ephemeral_gib or flavor.swap_mib):
        text += "; its ephemeral disk and swap are in no snapshot and arrive empty"
    draft.notes.append(Note(label, text))
    ready = [key for part in _parts(draft.source, server) if (key := add_image(draft, part, server)) is not None]
    return Root(f"snapshot:{server.id}", (f"project:{server.project_id}", *ready), by_snapshot=True)
