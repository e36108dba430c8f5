"""Planning what a server's copy boots from: its image (the default), or a snapshot of its root disk."""

from __future__ import annotations

from dataclasses import dataclass

from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.images import PARTS, add_image
from pumphouse.plan.model import Note
from pumphouse.plan.states import treatment

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
    project = draft.source.project(server.project_id)
    how = draft.site.carry.way_of(server.name, server.id, project.name if project else server.project_id)
    if how == "snapshot" and set(treatment(server.status).rests) <= set(SNAPSHOT_STATES):
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
    image = draft.source.image(server.image_id)
    parts = [image.properties.get(name) for name in PARTS] if image else []
    ready = [key for part in parts if part and (key := add_image(draft, part, server)) is not None]
    return Root(f"snapshot:{server.id}", (f"project:{server.project_id}", *ready), by_snapshot=True)
