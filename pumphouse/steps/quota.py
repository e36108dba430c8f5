"""Giving a project the compute quota that it had at the source."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect


class EnsureQuota(Step):
    """Some limits of a project's compute quota at the destination, as the source has them."""

    kind = "quota"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """All of them are set already."""
        now = self._now(ctx, step)
        return {"limits": now} if now == dict(step.params["limits"]) else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """The limits that acting replaces; the first ones, when an earlier run was cut off."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("before")
        return {"before": dict(begun) if begun else self._now(ctx, step)}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Set them; limits that the plan does not name stay."""
        ctx.destination.compute.set_quota(self._project(ctx, step), step.params["limits"])
        return {"limits": dict(step.params["limits"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, Nova shows these limits."""
        now = self._now(ctx, step)
        wanted: Mapping[str, int] = step.params["limits"]
        expect(
            f"quota of project {step.params['name']} at {ctx.destination.name}",
            {name: (limit, now.get(name)) for name, limit in wanted.items()},
        )
        return {"limits": now}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Set back what was there; back to the defaults where nothing else was ever set."""
        if not ours:
            return {"kept": True}
        compute, project_id = ctx.destination.compute, self._project(ctx, step)
        default = compute.get_default_quota().limits
        # where an earlier plan of ours had set it, this one found it in place: its project came with the defaults
        plain = {name: default[name] for name in step.params["limits"] if name in default}
        before: Mapping[str, int] = outcome.get("before", plain)
        if {**compute.get_quota(project_id).limits, **before} == dict(default):
            compute.reset_quota(project_id)
        else:
            compute.set_quota(project_id, before)
        now = self._now(ctx, step)
        expect(
            f"quota of project {step.params['name']} at {ctx.destination.name}",
            {name: (limit, now.get(name)) for name, limit in before.items()},
        )
        return {"limits": now}

    def _project(self, ctx: Context, step: PlannedStep) -> str:
        return ctx.mapped("project", step.params["source_id"])

    def _now(self, ctx: Context, step: PlannedStep) -> dict[str, int]:
        limits = ctx.destination.compute.get_quota(self._project(ctx, step)).limits
        return {name: limits[name] for name in step.params["limits"] if name in limits}
