"""Projects, users, roles and role assignments at the destination."""

from __future__ import annotations

from pumphouse.errors import NotFound, StepError
from pumphouse.model import Assignment, Project, User
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of

#: Why a roll back leaves a project or its people.
IN_USE = "the project holds servers, floating IPs or images of its own"


class EnsureRole(Step):
    """A role of that name (compared as the destination compares: without case)."""

    kind = "role"
    maps = "role"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the role of that name."""
        found = ctx.destination.identity.find_role(step.params["name"])
        return {"id": found.id, "name": found.name} if found else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the role."""
        made = ctx.destination.identity.create_role(step.params["name"])
        return {"id": made.id, "name": made.name}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The role is found by name."""
        found = ctx.destination.identity.find_role(step.params["name"])
        expect(f"role {step.params['name']} at {ctx.destination.name}", {"id": (outcome["id"], found and found.id)})
        return {"id": outcome["id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a role that we made and that nobody holds."""
        found = ctx.destination.identity.find_role(step.params["name"])
        if not ours or found is None or found.id != outcome.get("id", found.id):
            return {"kept": found is not None}
        if any(held.role_id == found.id for held in ctx.destination.identity.list_assignments()):
            return {"kept": found.id, "why": "somebody holds it"}
        ctx.destination.identity.delete_role(found.id)
        return {"deleted": found.id}


class EnsureProject(Step):
    """A project of that name, description and state."""

    kind = "project"
    maps = "project"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the project of that name, if it is ours or the one that the plan shows as there already."""
        found = ctx.destination.identity.find_project(step.params["name"])
        if found is None:
            return None
        _require_expected(ctx, step, found)
        return {"id": found.id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the project, marked with the source's id."""
        made = ctx.destination.identity.create_project(
            step.params["name"],
            description=step.params["description"],
            enabled=step.params["enabled"],
            source_id=step.params["source_id"],
        )
        return {"id": made.id, "made": True}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The project is there, of that name and enabled as at the source; one just made is so in every field."""
        params = step.params
        found = ctx.destination.identity.get_project(outcome["id"])
        pairs: dict[str, tuple[object, object]] = {
            "name": (params["name"], found.name),
            "enabled": (params["enabled"], found.enabled),
        }
        if outcome.get("made"):
            pairs["description"] = (params["description"], found.description)
        expect(f"project {found.name} at {ctx.destination.name}", pairs)
        return {"id": found.id}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a project that we made and that holds nothing of its own, with Neutron's default group."""
        found = ctx.destination.identity.find_project(step.params["name"])
        if not ours or found is None or found.source_id != step.params["source_id"]:
            return {"kept": found is not None}
        if in_use(ctx, found.id):
            return {"kept": found.id, "why": IN_USE}
        if ctx.destination.facts.network_service == "neutron":  # nova-network lets nobody delete a default group
            for group in ctx.destination.neutron.list_security_groups(project_id=found.id):
                if group.name == "default":
                    ctx.destination.neutron.delete_security_group(group.id)
        ctx.destination.identity.delete_project(found.id)
        return {"deleted": found.id}


class EnsureUser(Step):
    """A user of that name; one that we make gets a one-time secret from the hand-over file."""

    kind = "user"
    maps = "user"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the user of that name, if it is ours or the one that the plan shows; its password stays its own."""
        found = ctx.destination.identity.find_user(step.params["name"])
        if found is None:
            return None
        _require_expected(ctx, step, found)
        return {"id": found.id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Store a secret, then make the user with it."""
        params = step.params
        default = params.get("default_project_id")
        made = ctx.destination.identity.create_user(
            params["name"],
            password=ctx.secrets.ensure(params["name"]),
            email=params["email"],
            enabled=params["enabled"],
            default_project_id=ctx.mapped("project", default) if default else None,
            description=params["description"],
            source_id=params["source_id"],
        )
        return {"id": made.id, "made": True}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The user is there by that name; one just made is as the source's in every field, disabled if that is."""
        params = step.params
        found = ctx.destination.identity.get_user(outcome["id"])
        pairs: dict[str, tuple[object, object]] = {"name": (params["name"], found.name)}
        if outcome.get("made"):
            default = params.get("default_project_id")
            pairs |= {
                "enabled": (params["enabled"], found.enabled),
                "e-mail": (params["email"] or None, found.email),
                "description": (params["description"], found.description),
                "default project": (ctx.mapped("project", default) if default else None, found.default_project_id),
            }
        expect(f"user {found.name} at {ctx.destination.name}", pairs)
        return {"id": found.id, "enabled": found.enabled}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a user that we made and that has no role left; its secret leaves the hand-over file with it."""
        name = step.params["name"]
        found = ctx.destination.identity.find_user(name)
        if not ours or found is None or found.source_id != step.params["source_id"]:
            if ours and found is None:
                ctx.secrets.forget(name)
            return {"kept": found is not None}
        if any(held.user_id == found.id for held in ctx.destination.identity.list_assignments()):
            return {"kept": found.id, "why": "it has roles that this move did not give, or that are still needed"}
        ctx.destination.identity.delete_user(found.id)
        ctx.secrets.forget(name)
        return {"deleted": found.id}


class EnsureAssignment(Step):
    """A user's role in a project."""

    kind = "assignment"

    def _wanted(self, ctx: Context, step: PlannedStep) -> Assignment:
        params = step.params
        user = ctx.destination.user_id if params.get("operator") else ctx.mapped("user", params["user_id"])
        return Assignment(user, ctx.mapped("project", params["project_id"]), ctx.mapped("role", params["role_id"]))

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Whether the user has the role already."""
        wanted = self._wanted(ctx, step)
        return _as_outcome(wanted) if ctx.destination.identity.has_role(wanted) else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Grant it."""
        wanted = self._wanted(ctx, step)
        ctx.destination.identity.grant_role(wanted)
        return _as_outcome(wanted)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Ask again."""
        expect(step.title, {"granted": (True, ctx.destination.identity.has_role(self._wanted(ctx, step)))})
        return outcome

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Revoke what we granted, unless the project still holds something of its own."""
        if not ours:
            return {"kept": True}
        wanted = self._wanted(ctx, step)
        if in_use(ctx, wanted.project_id):
            return {"kept": _as_outcome(wanted), "why": IN_USE}
        try:
            ctx.destination.identity.revoke_role(wanted)
        except NotFound:
            return {"gone": True}
        return {"revoked": _as_outcome(wanted)}


def _require_expected(ctx: Context, step: PlannedStep, found: Project | User) -> None:
    """What has the name of an object to carry is adopted when the plan, which was approved, says so."""
    kind, params = step.kind, step.params
    if found.source_id == params["source_id"] or ("adopts" not in params and found.source_id is None):
        return
    if found.source_id is not None:
        raise StepError(
            f"{kind.capitalize()} {found.name} ({found.id}) of {ctx.destination.name} was made from another source "
            f"{kind}, {found.source_id}.",
            remedy="rename one of the two, then make the plan again.",
        )
    if found.id != params["adopts"]:
        raise StepError(
            f"{ctx.destination.name} has a {kind} {found.name} ({found.id}) that pumphouse did not make and that the "
            f"plan does not show.",
            remedy="make the plan again: it shows the clash, and site.yaml (destination.clashes) decides about it.",
        )


def in_use(ctx: Context, project_id: str) -> bool:
    """Whether a destination project holds servers, floating IPs or images: then it and its people stay."""
    if ctx.destination.compute.list_servers(project_id=project_id):
        return True
    if any(floating.project_id == project_id for floating in ground_of(ctx.destination).list_floating_ips()):
        return True
    return any(image.owner_id == project_id for image in ctx.destination.images.list_images())


def _as_outcome(wanted: Assignment) -> dict[str, str]:
    return {"user_id": wanted.user_id, "project_id": wanted.project_id, "role_id": wanted.role_id}
