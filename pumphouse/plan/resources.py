"""Planning flavors, images and keypairs: what servers are made of."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pumphouse.model import Image, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Properties of an image that name the images it boots with.
PARTS = ("kernel_id", "ramdisk_id")


def add_flavor(draft: Draft, server: Server) -> str | None:
    """The server's flavor; None when it is gone."""
    flavor = draft.source.flavor(server.flavor_id)
    if flavor is None:
        draft.block(
            "flavor-missing",
            f"server {server.name}",
            f"its flavor {server.flavor_id} was deleted in the source, so that its size is unknown.",
            "leave the server out, or make a flavor of that id again in the source.",
        )
        return None
    access = [p for p in flavor.access_project_ids if f"project:{p}" in draft.steps]
    dropped = sorted(set(flavor.access_project_ids) - set(access))
    if dropped:
        names = ", ".join(p.name if (p := draft.source.project(i)) else i for i in dropped)
        draft.notes.append(Note(f"flavor {flavor.name}", f"access of projects that are not moved is left out: {names}"))
    clash = next((f for f in draft.destination.flavors if f.name == flavor.name and f.id != flavor.id), None)
    if clash is not None:
        draft.block(
            "flavor-name-taken",
            f"flavor {flavor.name}",
            f"{draft.destination.facts.cloud} has a flavor of that name with another id, {clash.id}.",
            "rename the one at the destination.",
        )
    document = asdict(flavor)
    document["access_project_ids"] = sorted(access)
    document["extra_specs"] = dict(sorted(flavor.extra_specs.items()))
    return draft.add(
        f"flavor:{flavor.id}",
        title=f"flavor {flavor.name}",
        needs=tuple(f"project:{p}" for p in access),
        params={"source_id": flavor.id, "flavor": document},
        undo="deleted, if pumphouse made it",
    )


def add_image(draft: Draft, image_id: str | None, server: Server) -> str | None:
    """An image with those that it boots with; None when it cannot be copied. ``server`` is who needs it."""
    image = draft.source.image(image_id)
    label = f"server {server.name}"
    if image is None:
        draft.block(
            "image-missing",
            label,
            f"its image {image_id or '(none: a volume?)'} is gone from the source, so it cannot be rebuilt.",
            "leave the server out, or put its image back.",
        )
        return None
    if image.status != "active":
        draft.block(
            "image-not-active",
            label,
            f"its image {image.name} ({image.id}) is {image.status}: it has no data to copy.",
            "leave the server out, or upload the image again.",
        )
        return None
    key = f"image:{image.id}"
    if key not in draft.steps:
        _image_step(draft, key, image, server)
    return key


def _image_step(draft: Draft, key: str, image: Image, server: Server) -> None:
    needs = []
    for name in PARTS:
        part = image.properties.get(name)
        if part:
            needed = add_image(draft, part, server)
            if needed:
                needs.append(needed)
    owner = image.owner_id if f"project:{image.owner_id}" in draft.steps else None
    members = {m for m in image.member_ids if f"project:{m}" in draft.steps}
    visibility = image.visibility
    if visibility in ("private", "shared"):
        # who was allowed to boot from it may have lost that right since: the copy has to be seen all the same
        members |= _users(draft, image) - {owner}
    if visibility == "private" and owner is None:
        visibility = "shared"
        draft.notes.append(
            Note(f"image {image.name}", "belongs to the operator's project, shared: its owner is not moved")
        )
    needs += [f"project:{p}" for p in sorted(members | ({owner} if owner else set()))]
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
        "properties": dict(sorted(image.properties.items())),
        "tags": sorted(image.tags),
        "member_ids": sorted(members),
    }
    draft.copy_bytes += image.size_bytes or 0
    draft.add(
        key,
        title=f"image {image.name} ({_mib(image.size_bytes)})",
        needs=tuple(needs),
        params={"source_id": image.id, "image": document},
        undo="deleted, if pumphouse made it",
    )


def _users(draft: Draft, image: Image) -> set[str]:
    """Projects of this plan's servers that boot from an image, be it as their kernel or ramdisk."""
    users = set()
    for server in draft.servers:
        root = draft.source.image(server.image_id)
        parts = [root.properties.get(name) for name in PARTS] if root else []
        if image.id in (server.image_id, *parts):
            users.add(server.project_id)
    return users


def add_keypair(
    draft: Draft, server: Server, acting: dict[str, Any], needs: tuple[str, ...]
) -> tuple[str | None, str | None]:
    """(key of the step, name to boot with); (None, None) for a server without key."""
    if server.key_name is None:
        return None, None
    found = draft.source.keypair(server.user_id, server.key_name)
    if found is None:
        draft.block(
            "keypair-unknown",
            f"server {server.name}",
            f"its keypair {server.key_name} of {acting['user_name']} cannot be read: Nova shows it to its owner.",
            "name that user's credentials in site.yaml, source.owners; or accept `keypair-unknown`: no key then.",
        )
        return None, None
    operator = acting["as"] == "operator"
    if operator:
        for other in draft.steps.values():
            same = other.kind == "keypair" and other.params["as"] == "operator" and other.params["name"] == found.name
            if same and other.params["public_key"] != found.public_key:
                draft.block(
                    "keypair-clash",
                    f"server {server.name}",
                    f"its keypair {found.name} and another of that name, of {other.params['user_name']}, would both "
                    f"become the operator's.",
                    "see `owner-not-kept`: let one of the two users boot at the destination, or leave the server out.",
                )
                return None, None
    who = f"@operator:{acting['project_id']}" if operator else acting["user_id"]
    key = draft.add(
        f"keypair:{who}:{found.name}",
        title=f"keypair {found.name} of {acting['user_name']}",
        needs=needs,
        params={**acting, "name": found.name, "public_key": found.public_key},
        undo="deleted, if pumphouse imported it",
    )
    return key, found.name


def _mib(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"
