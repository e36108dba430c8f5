"""The end of the source: nothing is left there, and its controllers lose power one by one."""

from __future__ import annotations

from pumphouse.errors import CloudUnreachable, StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step
from pumphouse.steps.hardware.archive import require_archive
from pumphouse.steps.hardware.guards import require_not_deployed, require_same_serial
from pumphouse.steps.hardware.power import switched_back_on, verified_off
from pumphouse.steps.hardware.remains import remnants_of


class SourceSpent(Step):
    """Nothing is left at the source that is not accounted for; changes nothing."""

    kind = "source-spent"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Always asked anew."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Ask the source what it holds, and the destination what it has of that."""
        return {"left behind": require_spent(ctx, step)}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """What was found when it was asked."""
        return {"unaccounted": 0, "left behind": outcome["left behind"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {}


class ControllerOff(Step):
    """Switch a controller of the source off, if nothing is left there and the archive is what it was."""

    kind = "controller-off"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Off already; and the machine is the one that was meant. Else everything is asked again."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            is_off = bmc.power() == "off"
        self._may(ctx, step)
        return {"serial": serial} if is_off else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, hard: what it knows is in the archive."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            bmc.set_power("off")
        return {"serial": serial}

    def _may(self, ctx: Context, step: PlannedStep) -> None:
        require_not_deployed(ctx, step.params["node"])
        states = ctx.journal.step_states(ctx.plan.hash)
        ended = any(key in states and states[key].in_effect for key in step.params["before"])
        require_archive(ctx, ctx.plan.step(step.params["archive"]), ended=ended)
        going = any(key in states and states[key].in_effect for key in (*step.params["before"], step.key))
        if going:
            ctx.source.expect_end()
        try:
            require_spent(ctx, ctx.plan.step(step.params["spent"]))
        except CloudUnreachable:
            if not going:
                raise
            # nobody can have made anything at a cloud that was spent and has not answered since
            ctx.report(f"{ctx.source.name} does not answer any more: it was asked before its controllers went.")

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, the BMC says that it has no power; unless we have switched it on since."""
        return verified_off(ctx, step, outcome)

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Boot it from its disk again."""
        if not ours:
            return {"kept": True}
        return switched_back_on(ctx, step.params)


def require_spent(ctx: Context, spent: PlannedStep) -> list[str]:
    """The source holds nothing that is not accounted for (read only); returns what is left on the operator's word.

    :raises StepError: naming what is left.
    """
    found = remnants_of(
        ctx.source, ctx.destination, ctx.journal, retiring=spent.params["retiring"], leave=spent.params["leave"]
    )
    late = [one for one in found if one.lost and one.lost not in spent.params["lost"]]
    if late:
        named = "; ".join(f"{one.object} {one.why}" for one in late)
        raise StepError(
            f"{ctx.source.name} holds {len(late)} thing(s) that go by a name that is left behind, and that the "
            f"approved plan does not show: {named}. Its controllers keep their power.",
            remedy="move them; or plan anew (another `leave`, by ids), so that whoever approves it sees them.",
        )
    left = [one for one in found if not one.accounted]
    if left:
        named = "; ".join(f"{one.object} {one.why.rstrip('.')}" for one in left)
        raise StepError(
            f"{ctx.source.name} still holds {len(left)} thing(s) that nobody accounts for: {named}. Its controllers "
            "keep their power.",
            remedy=" ".join(dict.fromkeys(f"{one.object}: {one.remedy}" for one in left)),
        )
    return [f"{one.object} {one.why}" for one in found]
