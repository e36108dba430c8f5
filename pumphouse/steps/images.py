"""Images at the destination: one copy of each, streamed from Glance to Glance."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pumphouse.errors import ApiError, CloudError, CloudUnreachable, Conflict, NotFound, StepError
from pumphouse.model import MARKER, Image
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, begun_by_us, expect
from pumphouse.steps.progress import Progress, bytes_noted, size_text

#: Properties that Nova gives to snapshots of servers and to nothing else.
SNAPSHOT_PROPERTIES = frozenset({"base_image_ref", "instance_uuid"})
#: Properties that name the images which an image boots with: ids, so that they are mapped.
PARTS = ("kernel_id", "ramdisk_id")
#: How often a transfer is begun, the first time included.
ATTEMPTS = 3
#: Seconds that Glance gets to notice that an upload broke off, before its record is given up.
SETTLE_S = 60.0

_UNDER_WAY = ("saving", "uploading", "importing")
_TRANSIENT = frozenset({408, 500, 502, 503, 504})


class EnsureImage(Step):
    """A copy of an image: same id where Glance lets us, same bytes, properties, owner and sharing.

    With ``twin_id`` among its parameters it makes no copy of its own: that image has the same content and the same
    record, so that one copy serves both.
    """

    kind = "image"
    maps = "image"
    wait: Callable[[float], None] = staticmethod(time.sleep)

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt an active image of the same content with the same id or our marker, if it is shared as planned."""
        if step.params.get("twin_id"):
            found = ctx.destination.images.get_image(ctx.mapped("image", step.params["twin_id"]))
            self._compare(ctx, step, found)
            return {**_outcome(found), "twin_id": step.params["twin_id"]}
        found_active = self._active(ctx, step)
        if found_active is None or begun_by_us(ctx, step, "image"):
            return None
        if any(want != have for want, have in self._sharing(ctx, step, found_active).values()):
            return None
        return _outcome(found_active)

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether there is none yet: one that only has to be shared does not become ours."""
        return {"absent": self._active(ctx, step) is None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the record, stream the bytes from Glance to Glance, share it; bytes that are there stay."""
        there = self._candidates(ctx, step)
        made = self._whole(ctx, step, there)
        evidence: dict[str, Any] = {}
        if made is None:
            made, evidence = self._copy(ctx, step, there)
        self._share(ctx, step, made)
        return {**_outcome(made), **evidence}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Active, with the source's size and MD5, owned, shared and protected as there."""
        found = ctx.destination.images.get_image(outcome["id"])
        self._compare(ctx, step, found)
        expect(f"image {found.name} ({found.id}) at {ctx.destination.name}", self._sharing(ctx, step, found))
        if outcome.get("hash_value"):
            pair = (outcome["hash_value"], found.hash_value)
            expect(f"image {found.name} ({found.id}) at {ctx.destination.name}", {str(found.hash_algo): pair})
        return _outcome(found)

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a copy that we made."""
        if not ours:
            return {"kept": True}
        made = {outcome.get("id"), step.params["source_id"]}
        gone = [image for image in self._candidates(ctx, step) if image.id in made or image.status == "queued"]
        for image in gone:
            if image.protected or step.params["image"]["protected"]:
                ctx.destination.images.set_protected(image.id, protected=False)
            ctx.destination.images.delete_image(image.id)
        return {"deleted": [image.id for image in gone]}

    # -- looking ------------------------------------------------------------------------------
    def _candidates(self, ctx: Context, step: PlannedStep) -> list[Image]:
        source_id = step.params["source_id"]
        marked = ctx.destination.images.find_images(**{MARKER: source_id})
        own = step.params["image"]["properties"]
        # Nova hands an image's properties on to snapshots of its servers, our marker too: those are not copies
        found = [
            image
            for image in marked
            if all(image.properties.get(name) == own.get(name) for name in SNAPSHOT_PROPERTIES)
        ]
        if all(image.id != source_id for image in found):
            try:
                same = ctx.destination.images.get_image(source_id)
            except NotFound:
                return found
            found = [same, *found]
        return found

    def _active(self, ctx: Context, step: PlannedStep) -> Image | None:
        return self._whole(ctx, step, self._candidates(ctx, step))

    def _whole(self, ctx: Context, step: PlannedStep, there: list[Image]) -> Image | None:
        for found in there:
            if found.status == "active":
                self._compare(ctx, step, found)
                return found
        return None

    def _compare(self, ctx: Context, step: PlannedStep, found: Image) -> None:
        want = step.params["image"]
        pairs: dict[str, tuple[Any, Any]] = {"status": ("active", found.status)}
        for name in ("size_bytes", "checksum", "disk_format", "container_format"):
            if want[name] is not None:
                pairs[name] = (want[name], getattr(found, name))
        expect(f"image {want['name']} ({found.id}) at {ctx.destination.name}", pairs)

    def _sharing(self, ctx: Context, step: PlannedStep, found: Image) -> dict[str, tuple[Any, Any]]:
        if step.params.get("twin_id"):
            return {}
        want = step.params["image"]
        needed = {ctx.mapped("project", member) for member in want["member_ids"]}
        pairs: dict[str, tuple[Any, Any]] = {
            "members": (sorted(needed), sorted(needed & set(found.member_ids))),
            "protected": (True, found.protected or not want["protected"]),
        }
        owner = self._owner(ctx, step)
        if owner is not None and found.properties.get(MARKER) == step.params["source_id"]:
            # a copy that an earlier plan left with the operator comes to its owner when the owner moves
            pairs["owner"] = (owner, found.owner_id)
        return pairs

    def _owner(self, ctx: Context, step: PlannedStep) -> str | None:
        owner = step.params["image"]["owner_id"]
        return ctx.mapped("project", owner) if owner else None

    # -- copying ------------------------------------------------------------------------------
    def _copy(self, ctx: Context, step: PlannedStep, there: list[Image]) -> tuple[Image, dict[str, Any]]:
        name = step.params["image"]["name"]
        record = self._fillable(ctx, step, there)
        for attempt in range(1, ATTEMPTS + 1):
            record = record or self._record(ctx, step)
            try:
                return self._transfer(ctx, step, record, attempt)
            except CloudError as error:
                record = self._settled(ctx, step, record, remove_stuck=True)
                if record is not None and record.status == "active":
                    # only the answer was lost
                    return record, {"attempts": attempt}
                if attempt == ATTEMPTS or not _worth_repeating(error):
                    raise
                ctx.report(f"image {name}: attempt {attempt} broke off, begun again from the start: {error.message}")
        raise AssertionError("the last attempt returns or raises")

    def _transfer(self, ctx: Context, step: PlannedStep, record: Image, attempt: int) -> tuple[Image, dict[str, Any]]:
        """One attempt; bytes are read at the source and written at the destination at the same time."""
        want = step.params["image"]
        progress = Progress(ctx.report, f"image {want['name']}", want["size_bytes"], note=bytes_noted(ctx, step))
        chunks = ctx.source.images.download(step.params["source_id"])
        made = ctx.destination.images.upload(record.id, chunks, size_bytes=want["size_bytes"], passed=progress)
        seconds = max(progress.seconds, 1e-3)
        if want["checksum"] and made.checksum and made.checksum != want["checksum"]:
            ctx.destination.images.delete_image(made.id)
            raise StepError(
                f"Image {want['name']} ({step.params['source_id']}) of {ctx.source.name} read back with MD5 "
                f"{made.checksum}, its record says {want['checksum']}.",
                remedy="the source's image file is damaged: replace it, or carry its servers by snapshot.",
            )
        rate = (made.size_bytes or 0) / seconds
        ctx.report(f"copied   image {want['name']}: {size_text(made.size_bytes or 0)}, {size_text(rate)}/s")
        evidence: dict[str, Any] = {"seconds": round(seconds, 3), "bytes_per_s": round(rate), "attempts": attempt}
        return made, evidence

    def _fillable(self, ctx: Context, step: PlannedStep, there: list[Image]) -> Image | None:
        """The queued record of an attempt that broke off in a run that died."""
        for image in there:
            if image.status in _UNDER_WAY:
                ours = image.properties.get(MARKER) == step.params["source_id"]
                settled = self._settled(ctx, step, image) if ours else image
                if settled is not None and settled.status in _UNDER_WAY:
                    raise StepError(
                        f"Image {image.name} ({image.id}) at {ctx.destination.name} is {image.status}: "
                        f"its upload is under way, or was cut off.",
                        remedy="wait until it ends, or delete that image, then run again.",
                    )
                image = settled or image
            if image.status == "queued":
                return image
        return None

    def _settled(self, ctx: Context, step: PlannedStep, record: Image, *, remove_stuck: bool = False) -> Image | None:
        """A record once Glance has noticed that its upload broke off; one that is no use any more is removed.

        An active one whose bytes are not the source's is removed as well, and with ``remove_stuck`` one that Glance
        does not let go of. None: there is no record left.
        """
        end = time.monotonic() + SETTLE_S
        while True:
            try:
                found = ctx.destination.images.get_image(record.id)
            except NotFound:
                return None
            if found.status not in _UNDER_WAY or time.monotonic() > end:
                break
            self.wait(0.2)
        wrong = found.status == "active" and not self._is_whole(step, found)
        stuck = remove_stuck and found.status in _UNDER_WAY
        if wrong or stuck or found.status in ("killed", "deactivated"):
            ctx.destination.images.delete_image(found.id)
            return None
        return found

    def _is_whole(self, step: PlannedStep, found: Image) -> bool:
        want = step.params["image"]
        told = [name for name in ("size_bytes", "checksum") if want[name] is not None]
        return "checksum" in told and all(want[name] == getattr(found, name) for name in told)

    def _record(self, ctx: Context, step: PlannedStep) -> Image:
        want = dict(step.params["image"])
        properties = {**want["properties"], MARKER: step.params["source_id"]}
        for name in PARTS:
            if properties.get(name):
                properties[name] = ctx.mapped("image", properties[name])
        for name in ("owner_id", "pending_ids"):
            want.pop(name, None)
        image = Image(
            id="",
            status="queued",
            owner_id=None,
            **{**want, "tags": tuple(want["tags"]), "member_ids": tuple(want["member_ids"])},
        )
        image = replace(image, protected=False)
        create = ctx.destination.images.create_image
        owner_id = self._owner(ctx, step)
        try:
            made = create(image, image_id=step.params["source_id"], owner_id=owner_id, properties=properties)
        except Conflict:
            # Glance never gives an id out twice, not even after deletion: a copy after a roll-back gets a new one
            made = create(image, owner_id=owner_id, properties=properties)
        rewritten = sorted(name for name, value in properties.items() if made.properties.get(name) != value)
        if rewritten:
            ctx.report(f"image {image.name}: Glance at {ctx.destination.name} rewrote {', '.join(rewritten)}")
        return made

    def _share(self, ctx: Context, step: PlannedStep, made: Image) -> None:
        want, images = step.params["image"], ctx.destination.images
        owner = self._sharing(ctx, step, made).get("owner")
        if owner is not None and owner[0] != owner[1]:
            visibility = "shared" if want["visibility"] == "private" and made.member_ids else want["visibility"]
            images.set_owner(made.id, owner[0], visibility=visibility)
        for member in want["member_ids"]:
            accept = member not in want.get("pending_ids", ())
            images.add_member(made.id, ctx.mapped("project", member), accept=accept)
        if want["protected"]:
            images.set_protected(made.id, protected=True)


def _outcome(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "size_bytes": image.size_bytes,
        "checksum": image.checksum,
        "hash_algo": image.hash_algo,
        "hash_value": image.hash_value,
    }


def _worth_repeating(error: CloudError) -> bool:
    return isinstance(error, CloudUnreachable) or (isinstance(error, ApiError) and error.status in _TRANSIENT)
