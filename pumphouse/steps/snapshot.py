"""Carrying a server's root disk: a snapshot of the stopped source, copied to the destination."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pumphouse.errors import ActionTimeout, NotFound, StepError
from pumphouse.model import MARKER, Image
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.guards import STARTED_AGAIN
from pumphouse.steps.images import SNAPSHOT_PROPERTIES, EnsureImage
from pumphouse.steps.stale import acts_on

#: Property of a copied snapshot: which server's it is, and of which plan.
SNAPSHOT_OF = "pumphouse_snapshot_of"
#: What Nova notes about the server on a snapshot: ids and sizes of the source, which mean nothing at the destination.
BOOKKEEPING = frozenset(
    {"base_image_ref", "boot_roles", "image_location", "image_state", "image_type", "instance_uuid", "user_id"}
)
BOOKKEEPING_PREFIXES = ("instance_type_", "owner_", "clean_attempts", "network_allocated")
#: Seconds that an image may stay without data after Nova has ended its task.
_GRACE_S = 15.0


class CarrySnapshot(Step):
    """Snapshot the stopped source, copy that image as its project's own, delete the snapshot at the source.

    The stopped server keeps its disk: a snapshot can be made again at any time until it is finalised.
    """

    kind = "snapshot"
    maps = "image"
    wait: Callable[[float], None] = staticmethod(time.sleep)

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when this plan's copy is active and the source's snapshot is gone again."""
        copies = [image for image in self._copies(ctx, step) if image.status == "active"]
        if not copies or self._taken(ctx, step):
            return None
        noted = ctx.journal.step_state(ctx.plan.hash, step.key).outcome.get("checksum", copies[0].checksum)
        expect(f"snapshot of {step.params['name']} ({copies[0].id})", {"checksum": (noted, copies[0].checksum)})
        return {"id": copies[0].id, "checksum": copies[0].checksum, "size_bytes": copies[0].size_bytes}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """How often somebody had acted on the server before its snapshot: whatever comes later is not in it."""
        noted = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("acts")
        if noted is None or not self._taken(ctx, step):
            noted = len(acts_on(ctx, step.params["server_id"]))
        return {"acts": noted}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Take it (or find the one that an interrupted run took), copy it, delete it at the source."""
        begun = time.monotonic()
        taken = self._take(ctx, step)
        taken_s = round(time.monotonic() - begun, 3)
        begun = time.monotonic()
        copied = EnsureImage().act(ctx, self._as_image(ctx, step, taken))
        copy_s = round(time.monotonic() - begun, 3)
        ctx.source.images.delete_image(taken.id)
        return {**copied, "source_snapshot_id": taken.id, "snapshot_s": taken_s, "copy_s": copy_s}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The copy is active, whole and its project's own; nothing of ours is left in the source's Glance."""
        found = ctx.destination.images.get_image(outcome["id"])
        expect(
            f"snapshot of {step.params['name']} ({found.id}) at {ctx.destination.name}",
            {
                "status": ("active", found.status),
                "checksum": (outcome["checksum"], found.checksum),
                "size_bytes": (outcome["size_bytes"], found.size_bytes),
                "owner": (ctx.mapped("project", step.params["project_id"]), found.owner_id),
                "snapshots left at the source": ([], [image.id for image in self._taken(ctx, step)]),
            },
        )
        return {"id": found.id, "checksum": found.checksum, "size_bytes": found.size_bytes}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete the copy, and a snapshot that an interrupted run left at the source."""
        there = [image.id for image in self._copies(ctx, step)]
        here = [image.id for image in self._taken(ctx, step)]
        for image_id in there:
            ctx.destination.images.delete_image(image_id)
        for image_id in here:
            ctx.source.images.delete_image(image_id)
        return {"deleted": there, "deleted at the source": here}

    def _mark(self, ctx: Context, step: PlannedStep) -> str:
        # of this plan only: a server that went back has changed its disk by the time it moves again
        return f"{step.params['server_id']}/{ctx.plan.hash[:16]}"

    def _taken(self, ctx: Context, step: PlannedStep) -> list[Image]:
        return ctx.source.images.find_images(**{SNAPSHOT_OF: self._mark(ctx, step)})

    def _copies(self, ctx: Context, step: PlannedStep) -> list[Image]:
        found = ctx.destination.images.find_images(**{SNAPSHOT_OF: self._mark(ctx, step)})
        # Nova hands the mark on to later snapshots of the copy: those are its users'
        return [image for image in found if not SNAPSHOT_PROPERTIES & image.properties.keys()]

    # -- at the source ------------------------------------------------------------------------
    def _take(self, ctx: Context, step: PlannedStep) -> Image:
        server_id, name = step.params["server_id"], step.params["name"]
        # from here on its owner must not start the source: the snapshot would be older than the disk
        ctx.source.compute.lock_server(server_id)
        for image in self._taken(ctx, step):
            found = self._arrived(ctx, step, image.id)
            if found is not None:
                return found
        server = ctx.source.compute.get_server(server_id)
        if server.status not in step.params["rests"] or server.task_state is not None:
            raise StepError(
                f"Server {name} ({server_id}) is {server.status} (task {server.task_state}) at {ctx.source.name}: "
                f"a snapshot of it would not be consistent.",
                remedy=STARTED_AGAIN,
            )
        marks = {SNAPSHOT_OF: self._mark(ctx, step)}
        image_id = ctx.source.compute.create_server_image(server_id, f"pumphouse {name}", marks)
        found = self._arrived(ctx, step, image_id)
        if found is None:
            raise StepError(
                f"Nova at {ctx.source.name} gave up the snapshot {image_id} of server {name} ({server_id}). "
                f"Its source is stopped, not lost.",
                remedy="look at nova-compute's log and its host's disk space; run again, or roll back.",
            )
        return found

    def _arrived(self, ctx: Context, step: PlannedStep, image_id: str) -> Image | None:
        """The snapshot once it is active; None, and nothing left of it, when Nova gave it up."""
        timeout_s = ctx.site.action_timeout_s
        end, idle_since = time.monotonic() + timeout_s, None
        while True:
            try:
                image = ctx.source.images.get_image(image_id)
            except NotFound:
                return None
            if image.status == "active":
                return image
            server = ctx.source.compute.get_server(step.params["server_id"])
            idle_since = None if server.task_state else (idle_since or time.monotonic())
            given_up = idle_since is not None and time.monotonic() - idle_since > min(_GRACE_S, timeout_s)
            if image.status == "killed" or given_up:
                ctx.source.images.delete_image(image_id)
                return None
            if time.monotonic() > end:
                raise ActionTimeout(
                    f"Snapshot {image_id} of server {step.params['name']} was not active at {ctx.source.name} within "
                    f"{timeout_s:g} s (last status/task: {image.status}/{server.task_state}).",
                    remedy="raise limits.action_timeout_s in site.yaml and run again: it is taken up where it is.",
                )
            self.wait(0.5)

    # -- at the destination -------------------------------------------------------------------
    def _as_image(self, ctx: Context, step: PlannedStep, taken: Image) -> PlannedStep:
        """The snapshot as a planned image: of the server's project, without Nova's notes on the source's server."""
        if not taken.size_bytes:
            ctx.source.images.delete_image(taken.id)
            raise StepError(
                f"The snapshot {taken.id} of server {step.params['name']} of {ctx.source.name} has no data.",
                remedy="roll back, and carry it by rebuild (site.yaml, `carry`), or leave it out.",
            )
        kept = {
            name: value
            for name, value in taken.properties.items()
            if name not in BOOKKEEPING and not name.startswith(BOOKKEEPING_PREFIXES) and name != MARKER
        }
        document: dict[str, Any] = {
            "name": f"{step.params['name']} (carried)",
            "visibility": "private",
            "owner_id": step.params["project_id"],
            "size_bytes": taken.size_bytes,
            "checksum": taken.checksum,
            "disk_format": taken.disk_format,
            "container_format": taken.container_format,
            "min_disk_gib": taken.min_disk_gib,
            "min_ram_mib": taken.min_ram_mib,
            "protected": False,
            "hidden": False,
            "properties": dict(sorted(kept.items())),
            "tags": [],
            "member_ids": [],
            "pending_ids": [],
        }
        return replace(step, kind="image", params={"source_id": taken.id, "image": document})
