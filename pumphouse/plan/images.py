"""Planning images: which are copied, once each, as whose, and what of them cannot be kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pumphouse.inventory import Snapshot
from pumphouse.model import MARKER, Image, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Properties of an image that name the images it boots with.
PARTS = {"kernel_id": "kernel", "ramdisk_id": "ramdisk"}
#: Custom properties that no current Glance takes, since they are its own attributes, or reserved (Glance 33,
#: ``glance/api/v2/images.py``: ``RequestDeserializer``).
RESERVED = frozenset({
    "checksum", "container_format", "created_at", "deleted", "deleted_at", "direct_url", "disk_format", "file", "id",
    "location", "locations", "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden", "owner",
    "protected", "schema", "self", "size", "status", "stores", "tags", "updated_at", "virtual_size", "visibility",
})  # fmt: skip
#: How names begin that Glance keeps to itself.
RESERVED_PREFIX = "os_glance"
#: The longest name of a property that Glance takes.
LONGEST = 255


def add_image(draft: Draft, image_id: str | None, server: Server, *, what: str = "image") -> str | None:
    """An image with those that it boots with; None when it cannot be copied.

    :param server: who needs it.
    :param what: as what it does.
    """
    image = draft.source.image(image_id)
    label = f"server {server.name}"
    if image is None:
        draft.block(
            "image-missing",
            label,
            f"its {what} {image_id or '(none: a volume?)'} is gone from the source, so it cannot be rebuilt.",
            "carry it by snapshot (site.yaml, `carry`), put its image back, or leave the server out.",
        )
        return None
    if image.status != "active":
        draft.block(
            "image-not-active",
            label,
            f"its {what} {image.name} ({image.id}) is {image.status}: it has no data to copy.",
            "carry it by snapshot (site.yaml, `carry`), upload the image again, or leave the server out.",
        )
        return None
    if _is_empty(draft, image, label):
        return None
    key = f"image:{image.id}"
    if key not in draft.steps:
        _image_step(draft, key, image, server)
    return key


def _is_empty(draft: Draft, image: Image, label: str) -> bool:
    if image.size_bytes != 0:
        return False
    volumes = "block_device_mapping" in image.properties
    draft.block(
        "image-empty",
        label,
        f"its image {image.name} ({image.id}) has 0 bytes"
        f"{': it stands for volumes, which do not move' if volumes else ', and nothing boots from that'}.",
        "leave the server out, or put the image's data back.",
    )
    return True


def _image_step(draft: Draft, key: str, image: Image, server: Server) -> None:
    first = twin_of(draft.source, image)
    if first is not None:
        add_image(draft, first.id, server)
        draft.notes.append(
            Note(
                f"image {image.name}",
                f"({image.id}) equals {first.id} in content and record: one copy serves both, under that one's id",
            )
        )
    needs = [f"image:{first.id}"] if first is not None else []
    needs += _parts(draft, image, server)
    owner = image.owner_id if f"project:{image.owner_id}" in draft.steps else None
    users = _users(draft, image) | {server.project_id}
    members = {m for m in image.member_ids if f"project:{m}" in draft.steps}
    visibility = image.visibility
    if visibility in ("private", "shared"):
        # who was allowed to boot from it may have lost that right since: the copy has to be seen all the same
        members |= users - {owner}
    if visibility == "private" and owner is None:
        visibility = "shared"
        draft.notes.append(
            Note(f"image {image.name}", "belongs to the operator's project, shared: its owner is not moved")
        )
    needs += [f"project:{p}" for p in sorted(members | ({owner} if owner else set()))]
    kept, dropped = _properties(image)
    if dropped:
        names = ", ".join(f"{name} ({why})" for name, why in sorted(dropped.items()))
        draft.notes.append(Note(f"image {image.name}", f"loses properties: {names}"))
    _say_what_is_odd(draft, image, first)
    document = {
        "name": image.name,
        "visibility": "shared" if members and visibility == "private" else visibility,
        "owner_id": owner,
        "size_bytes": image.size_bytes,
        "checksum": image.checksum,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk_gib": image.min_disk_gib,
        "min_ram_mib": image.min_ram_mib,
        "protected": image.protected,
        "hidden": image.hidden,
        "properties": kept,
        "tags": sorted(image.tags),
        "member_ids": sorted(members),
        "pending_ids": sorted((members & set(image.pending_ids)) - users),
    }
    params: dict[str, Any] = {"source_id": image.id, "image": document}
    if dropped:
        params["dropped_properties"] = dict(sorted(dropped.items()))
    title = f"image {image.name} ({_mib(image.size_bytes)})"
    if first is not None:
        params["twin_id"] = first.id
        title = f"image {image.name} (the copy of {first.id})"
    elif not _is_there(draft.destination, image):
        draft.copy_bytes += image.size_bytes or 0
    draft.add(key, title=title, needs=tuple(needs), params=params, undo="deleted, if pumphouse made it")


def to_copy(source: Snapshot, destination: Snapshot | None, image_ids: Iterable[str]) -> dict[str, int]:
    """Image id -> bytes of what is copied for servers that boot from these images, kernels and ramdisks included: what
    a plan of them adds up to. One that is there, or gone, is not copied; equal ones are copied once.
    """
    found: dict[str, int] = {}
    seen: set[str] = set()
    left = list(image_ids)
    while left:
        image = source.image(left.pop())
        if image is None or image.id in seen or image.status != "active":
            continue
        seen.add(image.id)
        left += [part for name in PARTS if (part := image.properties.get(name))]
        first = twin_of(source, image)
        if first is not None:
            left.append(first.id)
        elif destination is None or not _is_there(destination, image):
            found[image.id] = image.size_bytes or 0
    return found


def twin_of(source: Snapshot, image: Image) -> Image | None:
    """The image of the source, first by id, that equals this one in content and record; None: it is the first.

    The choice is the same for every plan, so that all plans share one copy.
    """
    if not image.checksum or image.status != "active":
        return None
    record = _record(image)
    alike = [other for other in source.images if (other.checksum, other.status) == (image.checksum, "active")]
    equal = [other for other in alike if _record(other) == record]
    first = min(equal, key=lambda other: other.id)
    return first if first.id != image.id else None


def _record(image: Image) -> Image:
    """All that must be equal, in one order."""
    return replace(
        image,
        id="",
        tags=tuple(sorted(image.tags)),
        member_ids=tuple(sorted(image.member_ids)),
        pending_ids=tuple(sorted(image.pending_ids)),
    )


def _parts(draft: Draft, image: Image, server: Server) -> list[str]:
    needs = []
    for name, what in PARTS.items():
        part = image.properties.get(name)
        if part:
            needed = add_image(draft, part, server, what=what)
            if needed:
                needs.append(needed)
    return needs


def _properties(image: Image) -> tuple[dict[str, str], dict[str, str]]:
    """(properties that are kept, property -> why it is not)"""
    kept, dropped = {}, {}
    for name, value in sorted(image.properties.items()):
        if name in RESERVED or name.startswith(RESERVED_PREFIX):
            dropped[name] = "Glance reserves that name"
        elif len(name) > LONGEST:
            dropped[name] = f"Glance takes names of up to {LONGEST} characters"
        elif name in PARTS and not value:
            dropped[name] = "it is empty, and has to be an image's id"
        else:
            kept[name] = value
    return kept, dropped


def _say_what_is_odd(draft: Draft, image: Image, first: Image | None) -> None:
    label = f"image {image.name}"
    if not image.checksum:
        draft.warn(
            "image-no-checksum",
            label,
            f"({image.id}) has no checksum in the source: its copy can be compared with what was read, not with what "
            f"was once uploaded.",
            "compare by hand if its age or its history gives reason to.",
        )
    content = (image.checksum, image.size_bytes, image.disk_format, image.container_format)
    same = [
        other
        for other in draft.source.images
        if f"image:{other.id}" in draft.steps
        and other.checksum
        and (other.checksum, other.size_bytes, other.disk_format, other.container_format) == content
        and draft.steps[f"image:{other.id}"].params.get("twin_id") is None
    ]
    if first is None and same:
        draft.notes.append(
            Note(
                label,
                f"({image.id}) has the content of {same[0].name} ({same[0].id}), but a record of its own: its bytes "
                f"are copied too, since Glance lets no two images share them",
            )
        )


def _is_there(destination: Snapshot, image: Image) -> bool:
    return any(
        there.status == "active" and image.checksum and there.checksum == image.checksum
        for there in destination.images
        if there.id == image.id or there.properties.get(MARKER) == image.id
    )


def _users(draft: Draft, image: Image) -> set[str]:
    """Projects of this plan's servers that boot from an image or one that equals it, be it as kernel or ramdisk."""
    users = set()
    for server in draft.servers:
        root = draft.source.image(server.image_id)
        if root is None:
            continue
        named = (server.image_id, *(root.properties.get(name) for name in PARTS))
        booted = [found for i in named if (found := draft.source.image(i)) is not None]
        if any(one.id == image.id or _first_id(draft, one) == image.id for one in booted):
            users.add(server.project_id)
    return users


def _first_id(draft: Draft, image: Image) -> str:
    first = twin_of(draft.source, image)
    return image.id if first is None else first.id


def _mib(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"
