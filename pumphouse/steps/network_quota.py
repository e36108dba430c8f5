"""Neutron's limits for a project, and floating IPs that a project holds without a server."""

from __future__ import annotations

from pumphouse.errors import StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of


class SetNetworkQuota(Step):
    """The limits that nova-network gave the project, as Neutron's."""

    kind = "network-quota"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when Neutron shows these limits."""
        use = ground_of(ctx.destination).quota_use(self._project(ctx, step))
        shown = {name: use[name][0] for name in step.params["limits"] if name in use}
        return {"limits": shown} if shown == step.params["limits"] else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """The project's own limits, None when it has the defaults: undoing sets them back."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data
        if "was" in begun:
            return {"was": begun["was"]}
        own = ground_of(ctx.destination).own_quota(self._project(ctx, step))
        return {"was": dict(own.limits) if own else None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Set them."""
        ground_of(ctx.destination).set_quota(self._project(ctx, step), step.params["limits"])
        return {"limits": dict(step.params["limits"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Neutron shows them."""
        use = ground_of(ctx.destination).quota_use(self._project(ctx, step))
        limits = step.params["limits"]
        expect(step.title, {name: (limit, use.get(name, (None, 0))[0]) for name, limit in limits.items()})
        return {"limits": dict(limits), "used": {name: use[name][1] for name in limits}}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Set the limits back."""
        if not ours:
            return {"kept": True}
        project_id, was = self._project(ctx, step), outcome.get("was")
        if was is None:
            ground_of(ctx.destination).reset_quota(project_id)
            return {"limits": "default"}
        ground_of(ctx.destination).set_quota(project_id, was)
        return {"limits": was}

    @staticmethod
    def _project(ctx: Context, step: PlannedStep) -> str:
        return ctx.mapped("project", step.params["source_id"])


class KeepFloatingIp(Step):
    """A floating IP without server: allocated to the project at the destination, so that nobody else gets it."""

    kind = "spare-floating-ip"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Already the project's, bound or not: somebody may have put it to use since."""
        found = ground_of(ctx.destination).find_floating_ip(step.params["address"])
        if found is None:
            return None
        if found.project_id != ctx.mapped("project", step.params["project_id"]):
            raise StepError(
                f"Floating IP {found.address} ({found.id}) at {ctx.destination.name} belongs to project "
                f"{found.project_id}.",
                remedy="release it there, then run again.",
            )
        return {"id": found.id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Allocate that very address."""
        made = ground_of(ctx.destination).create_floating_ip(
            external_network_id=step.params["external_network_id"],
            project_id=ctx.mapped("project", step.params["project_id"]),
            address=step.params["address"],
        )
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The project holds it."""
        expect(step.title, {"id": (outcome["id"], (self.look(ctx, step) or {}).get("id"))})
        return {"id": outcome["id"], "address": step.params["address"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Release it, unless it was there before us or serves a server by now."""
        found = ground_of(ctx.destination).find_floating_ip(step.params["address"])
        mine = found is not None and found.project_id == ctx.mapped("project", step.params["project_id"])
        if not ours or found is None or not mine or found.fixed_address is not None:
            return {"kept": found is not None}
        ground_of(ctx.destination).delete_floating_ip(found.id)
        return {"released": step.params["address"]}
