"""Flavors at the destination: same id, name, sizes, extra specs and access."""

from __future__ import annotations

from typing import Any

from pumphouse.errors import StepError
from pumphouse.model import Flavor
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, begun_by_us, expect

#: Fields of a flavor that must be equal for adopting one; how a server behaves hangs on each, and on the extra specs.
FLAVOR_FIELDS = (
    "name",
    "vcpus",
    "ram_mib",
    "disk_gib",
    "ephemeral_gib",
    "swap_mib",
    "rxtx_factor",
    "is_public",
)


class EnsureFlavor(Step):
    """A flavor like the source's, under the id that the plan chose (the source's own, unless that is taken).

    Projects that lack access to one that is there already are given it.
    """

    kind = "flavor"
    maps = "flavor"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt an equal flavor of that id, if every project of the plan has access to it."""
        found = ctx.destination.compute.find_flavor(self._id(step))
        if found is None:
            return None
        want = step.params["flavor"]
        differs = [name for name in FLAVOR_FIELDS if getattr(found, name) != want[name]]
        if differs:
            raise StepError(
                f"Flavor {want['name']} ({found.id}) exists at {ctx.destination.name} with other {', '.join(differs)}.",
                remedy="delete or rename the one at the destination, then make the plan again.",
            )
        if begun_by_us(ctx, step, "flavor") and not self._is_complete(ctx, step, found):
            return None
        return None if self._without_access(ctx, step, found) else {"id": found.id}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether there is none yet: one whose access list only grows does not become ours."""
        begun = begun_by_us(ctx, step, "flavor")
        return {"absent": begun or ctx.destination.compute.find_flavor(self._id(step)) is None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the flavor, or add to its access list; one that a crash of ours left incomplete is removed first."""
        compute, begun = ctx.destination.compute, ctx.journal.mapping("flavor", step.params["source_id"]) is None
        left = compute.find_flavor(self._id(step))
        state = ctx.journal.step_state(ctx.plan.hash, step.key)
        if left is not None and begun and state.ours and not self._is_complete(ctx, step, left):
            compute.delete_flavor(left.id)
            left = None
        if left is not None:
            granted = self._without_access(ctx, step, left)
            for project_id in granted:
                compute.add_flavor_access(left.id, project_id)
            return {"id": left.id, "granted": granted}
        want = dict(step.params["flavor"])
        want.pop("disabled", None)
        access = tuple(ctx.mapped("project", project) for project in want.pop("access_project_ids"))
        made = compute.create_flavor(Flavor(**{**want, "id": self._id(step)}, access_project_ids=access))
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Every field is as at the source."""
        want = step.params["flavor"]
        found = ctx.destination.compute.find_flavor(outcome["id"])
        if found is None:
            expect(f"flavor {want['name']} at {ctx.destination.name}", {"existence": (True, False)})
            return {}
        pairs: dict[str, tuple[Any, Any]] = {name: (want[name], getattr(found, name)) for name in FLAVOR_FIELDS}
        pairs |= self._specs(step, found)
        pairs["access"] = ([], self._without_access(ctx, step, found))
        expect(f"flavor {want['name']} ({found.id}) at {ctx.destination.name}", pairs)
        return {"id": found.id}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a flavor that we made; take back the access that we gave to another's."""
        if ours:
            ctx.destination.compute.delete_flavor(self._id(step))
            return {"deleted": self._id(step)}
        granted = list(outcome.get("granted", ()))
        for project_id in granted:
            ctx.destination.compute.remove_flavor_access(self._id(step), project_id)
        return {"kept": True, "access taken back": granted} if granted else {"kept": True}

    def _id(self, step: PlannedStep) -> str:
        return str(step.params["flavor"]["id"])

    def _specs(self, step: PlannedStep, found: Flavor) -> dict[str, tuple[Any, Any]]:
        want = step.params["flavor"]["extra_specs"]
        names = sorted({*want, *found.extra_specs})
        return {f"extra spec {name}": (want.get(name), found.extra_specs.get(name)) for name in names}

    def _without_access(self, ctx: Context, step: PlannedStep, found: Flavor) -> list[str]:
        if found.is_public:
            return []
        needed = {ctx.mapped("project", project) for project in step.params["flavor"]["access_project_ids"]}
        return sorted(needed - set(found.access_project_ids))

    def _is_complete(self, ctx: Context, step: PlannedStep, found: Flavor) -> bool:
        specs = all(want == have for want, have in self._specs(step, found).values())
        return specs and not self._without_access(ctx, step, found)
