"""Flavors, images and keypairs at the destination."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pumphouse.errors import CloudAuthError, Conflict, NotFound, StepError
from pumphouse.model import Flavor, Image
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import MARKER, Context, Outcome, Step, expect

#: Fields of a flavor that must be equal for adopting one of the same id.
FLAVOR_FIELDS = ("name", "vcpus", "ram_mib", "disk_gib", "ephemeral_gib", "swap_mib", "is_public")


class EnsureFlavor(Step):
    """A flavor of the same id, name, sizes, extra specs and access."""

    kind = "flavor"
    maps = "flavor"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt an equal flavor of that id."""
        found = ctx.destination.compute.find_flavor(step.params["source_id"])
        if found is None:
            return None
        want = step.params["flavor"]
        differs = [name for name in FLAVOR_FIELDS if getattr(found, name) != want[name]]
        if differs:
            raise StepError(
                f"Flavor {want['name']} ({found.id}) exists at {ctx.destination.name} with other {', '.join(differs)}.",
                remedy="delete or rename the one at the destination, then make the plan again.",
            )
        return None if self._is_half_made(ctx, step, found) else {"id": found.id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the flavor with the source's id; one that a crash of ours left incomplete is removed first."""
        left = ctx.destination.compute.find_flavor(step.params["source_id"])
        if left is not None and self._is_half_made(ctx, step, left):
            ctx.destination.compute.delete_flavor(left.id)
        want = dict(step.params["flavor"])
        access = tuple(ctx.mapped("project", project) for project in want.pop("access_project_ids"))
        made = ctx.destination.compute.create_flavor(Flavor(**want, access_project_ids=access))
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Every field is as at the source."""
        want = step.params["flavor"]
        found = ctx.destination.compute.find_flavor(outcome["id"])
        if found is None:
            expect(f"flavor {want['name']} at {ctx.destination.name}", {"existence": (True, False)})
            return {}
        pairs: dict[str, tuple[Any, Any]] = {name: (want[name], getattr(found, name)) for name in FLAVOR_FIELDS}
        expect(f"flavor {want['name']} at {ctx.destination.name}", pairs | self._details(ctx, step, found))
        return {"id": found.id}

    def _details(self, ctx: Context, step: PlannedStep, found: Flavor) -> dict[str, tuple[Any, Any]]:
        want = step.params["flavor"]
        pairs: dict[str, tuple[Any, Any]] = {
            f"extra spec {name}": (value, found.extra_specs.get(name)) for name, value in want["extra_specs"].items()
        }
        if not found.is_public:
            needed = {ctx.mapped("project", project) for project in want["access_project_ids"]}
            pairs["access"] = (sorted(needed), sorted(needed & set(found.access_project_ids)))
        return pairs

    def _is_half_made(self, ctx: Context, step: PlannedStep, found: Flavor) -> bool:
        complete = all(want == have for want, have in self._details(ctx, step, found).values())
        return not complete and _begun_by_us(ctx, step, "flavor")

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a flavor that we made."""
        if not ours:
            return {"kept": True}
        ctx.destination.compute.delete_flavor(step.params["source_id"])
        return {"deleted": step.params["source_id"]}


#: Properties that Nova gives to snapshots of servers and to nothing else.
SNAPSHOT_PROPERTIES = frozenset({"base_image_ref", "instance_uuid"})


class EnsureImage(Step):
    """A copy of an image: same id where Glance lets us, same bytes, properties and sharing."""

    kind = "image"
    maps = "image"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt an active image of the same content with the same id or our marker, if it is shared as planned."""
        found = self._active(ctx, step)
        if found is None or _begun_by_us(ctx, step, "image"):
            return None
        if any(want != have for want, have in self._sharing(ctx, step, found).values()):
            return None
        return {"id": found.id, "size_bytes": found.size_bytes, "checksum": found.checksum}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether there is none yet: one that only has to be shared does not become ours."""
        return {"absent": self._active(ctx, step) is None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the record, stream the bytes from Glance to Glance, share it; bytes that are there stay."""
        made = self._active(ctx, step) or self._copy(ctx, step)
        self._share(ctx, step, made.id)
        return {"id": made.id, "size_bytes": made.size_bytes, "checksum": made.checksum}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Active, with the source's size and MD5, shared and protected as there."""
        found = ctx.destination.images.get_image(outcome["id"])
        self._compare(ctx, step, found)
        expect(f"image {found.name} ({found.id}) at {ctx.destination.name}", self._sharing(ctx, step, found))
        return {"id": found.id, "size_bytes": found.size_bytes, "checksum": found.checksum}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a copy that we made."""
        if not ours:
            return {"kept": True}
        made = {outcome.get("id"), step.params["source_id"]}
        gone = [image.id for image in self._candidates(ctx, step) if image.id in made or image.status == "queued"]
        for image_id in gone:
            if step.params["image"]["protected"]:
                ctx.destination.images.set_protected(image_id, protected=False)
            ctx.destination.images.delete_image(image_id)
        return {"deleted": gone}

    def _candidates(self, ctx: Context, step: PlannedStep) -> list[Image]:
        source_id = step.params["source_id"]
        marked = ctx.destination.images.find_images(**{MARKER: source_id})
        # Nova hands an image's properties on to snapshots of its servers, our marker too: those are not copies
        found = [image for image in marked if not SNAPSHOT_PROPERTIES & image.properties.keys()]
        if all(image.id != source_id for image in found):
            try:
                same = ctx.destination.images.get_image(source_id)
            except NotFound:
                return found
            found = [same, *found]
        return found

    def _active(self, ctx: Context, step: PlannedStep) -> Image | None:
        for found in self._candidates(ctx, step):
            if found.status == "active":
                self._compare(ctx, step, found)
                return found
        return None

    def _copy(self, ctx: Context, step: PlannedStep) -> Image:
        want = step.params["image"]
        left = self._candidates(ctx, step)
        for image in left:
            if image.status in ("saving", "uploading", "importing"):
                raise StepError(
                    f"Image {want['name']} ({image.id}) at {ctx.destination.name} is {image.status}: "
                    f"its upload is under way, or was cut off.",
                    remedy="wait until it ends, or delete that image, then run again.",
                )
        queued = [image for image in left if image.status == "queued"]
        made = queued[0] if queued else self._record(ctx, step)
        md5 = hashlib.md5(usedforsecurity=False)
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as digester:
            copied = _Digested(ctx.source.images.download(step.params["source_id"]), md5, digester)
            ctx.destination.images.upload(made.id, copied)
        if want["checksum"] and md5.hexdigest() != want["checksum"]:
            ctx.destination.images.delete_image(made.id)
            raise StepError(
                f"Image {want['name']} ({step.params['source_id']}) of {ctx.source.name} read back with MD5 "
                f"{md5.hexdigest()}, its record says {want['checksum']}.",
                remedy="the source's image file is damaged: replace it, or carry its servers by snapshot.",
            )
        return replace(made, size_bytes=copied.size_bytes, checksum=md5.hexdigest())

    def _record(self, ctx: Context, step: PlannedStep) -> Image:
        want = dict(step.params["image"])
        properties = {**want["properties"], MARKER: step.params["source_id"]}
        for name in ("kernel_id", "ramdisk_id"):
            if properties.get(name):
                properties[name] = ctx.mapped("image", properties[name])
        owner = want.pop("owner_id")
        image = Image(
            id="",
            status="queued",
            owner_id=None,
            **{**want, "tags": tuple(want["tags"]), "member_ids": tuple(want["member_ids"])},
        )
        image = replace(image, protected=False)
        owner_id = ctx.mapped("project", owner) if owner else None
        try:
            return ctx.destination.images.create_image(
                image, image_id=step.params["source_id"], owner_id=owner_id, properties=properties
            )
        except Conflict:
            # Glance never gives an id out twice, not even after deletion: a copy after a roll-back gets a new one
            return ctx.destination.images.create_image(image, owner_id=owner_id, properties=properties)

    def _share(self, ctx: Context, step: PlannedStep, image_id: str) -> None:
        for member in step.params["image"]["member_ids"]:
            ctx.destination.images.add_member(image_id, ctx.mapped("project", member))
        if step.params["image"]["protected"]:
            ctx.destination.images.set_protected(image_id, protected=True)

    def _sharing(self, ctx: Context, step: PlannedStep, found: Image) -> dict[str, tuple[Any, Any]]:
        needed = {ctx.mapped("project", member) for member in step.params["image"]["member_ids"]}
        return {
            "members": (sorted(needed), sorted(needed & set(found.member_ids))),
            "protected": (True, found.protected or not step.params["image"]["protected"]),
        }

    def _compare(self, ctx: Context, step: PlannedStep, found: Image) -> None:
        want = step.params["image"]
        pairs: dict[str, tuple[Any, Any]] = {"status": ("active", found.status)}
        for name in ("size_bytes", "checksum", "disk_format", "container_format"):
            if want[name] is not None:
                pairs[name] = (want[name], getattr(found, name))
        expect(f"image {want['name']} ({found.id}) at {ctx.destination.name}", pairs)


class _Digested:
    """Pass chunks on while another thread digests them, one chunk behind."""

    def __init__(self, chunks: Iterable[bytes], digest: Any, pool: ThreadPoolExecutor) -> None:
        self._chunks, self._digest, self._pool = chunks, digest, pool
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        pending: Future[None] | None = None
        for chunk in self._chunks:
            if pending is not None:
                pending.result()
            pending = self._pool.submit(self._digest.update, chunk)
            self.size_bytes += len(chunk)
            yield chunk
        if pending is not None:
            pending.result()


class EnsureKeypair(Step):
    """A keypair's public half, as its owner (or, where the owner cannot be, as the operator)."""

    kind = "keypair"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt a keypair of that name and key."""
        for found in ctx.acting(step.params).compute.list_keypairs():
            if found.name == step.params["name"]:
                if _key(found.public_key) != _key(step.params["public_key"]):
                    raise StepError(
                        f"Keypair {found.name} exists at {ctx.destination.name} with another key.",
                        remedy="delete or rename it there, then run again.",
                    )
                return {"name": found.name, "fingerprint": found.fingerprint}
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Import the public key."""
        made = ctx.acting(step.params).compute.create_keypair(step.params["name"], step.params["public_key"])
        return {"name": made.name, "fingerprint": made.fingerprint}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The key is listed with the same content."""
        found = self.look(ctx, step)
        expect(f"keypair {step.params['name']} at {ctx.destination.name}", {"existence": (True, found is not None)})
        return found or {}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a keypair that we imported."""
        if not ours:
            return {"kept": True}
        try:
            ctx.acting(step.params).compute.delete_keypair(step.params["name"])
        except CloudAuthError:
            # only its owner can delete it, and the owner has a password of its own by now
            return {"kept": step.params["name"], "why": "its owner changed the one-time password"}
        return {"deleted": step.params["name"]}


def _begun_by_us(ctx: Context, step: PlannedStep, kind: str) -> bool:
    """Whether we set out to make it and never got as far as noting that it is made."""
    return ctx.journal.made_by_us(step.key) and ctx.journal.mapping(kind, step.params["source_id"]) is None


def _key(public_key: str) -> list[str]:
    """Type and data of an OpenSSH public key; the comment may differ."""
    return public_key.split()[:2]
