"""Whether a source server is still what its plan was made for; what differs, in words."""

from __future__ import annotations

from datetime import datetime

from pumphouse.errors import PlanStale
from pumphouse.journal import StepState
from pumphouse.model import Server, ServerAction
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.group_changes import changed_groups
from pumphouse.plan.model import PlannedStep, PlanServer
from pumphouse.plan.states import treatment
from pumphouse.steps.base import Context

#: What Nova may note of a server without any change to what moves.
HARMLESS = frozenset({"create", "createImage", "createBackup", "live-migration", "migrate", "lock", "unlock"})
_REMEDY = "nothing of this server was touched. Plan it anew on its own, or with others not yet moved."


def require_unchanged(ctx: Context, server: Server) -> None:
    """:raises PlanStale: when what a move carries of the server is not what was planned."""
    planned = ctx.plan.server(server.id)
    now = fingerprint(server)
    if now != planned.fingerprint:
        differs = _carried(ctx, planned, server) or [f"planned {planned.fingerprint}, now {now}"]
        raise _stale(ctx, server.name, server.id, "; ".join(differs))


def require_as_planned(ctx: Context, server: Server) -> None:
    """:raises PlanStale: when its state is not what was planned, or somebody acted on it since."""
    planned = ctx.plan.server(server.id)
    # Nova takes a shelved server off its host when it likes
    status = planned.status if treatment(server.status) == treatment(planned.status) else server.status
    now = {"status": status, "floating IPs": sorted(server.floating_ips)}
    then = {"status": planned.status, "floating IPs": sorted(planned.floating_ips)}
    differs = [f"{name} was {then[name]}, is {now[name]}" for name in now if now[name] != then[name]]
    differs = differs or _acts(ctx, planned, server)
    if differs:
        raise _stale(ctx, server.name, server.id, "; ".join(differs))


def acts_on(ctx: Context, server_id: str) -> list[ServerAction]:
    """What may have changed a server at the source, oldest first (read only)."""
    return [action for action in ctx.source.compute.list_actions(server_id) if action.name not in HARMLESS]


def require_as_carried(ctx: Context, server: Server) -> None:
    """:raises PlanStale: when somebody acted on it since the snapshot of its root disk was taken, if one was."""
    noted = ctx.journal.step_state(ctx.plan.hash, f"snapshot:{server.id}").intent_data.get("acts")
    later = acts_on(ctx, server.id)[noted:] if noted is not None else []
    if later:
        differs = f"{'; '.join(map(_told, later))}, after the snapshot of its root disk was taken"
        raise _stale(ctx, server.name, server.id, differs)


def stale_servers(ctx: Context) -> dict[str, PlanStale]:
    """Servers of a move plan that changed since it was made, they or their security groups, and that nobody has begun
    to cut over (read only).
    """
    states = ctx.journal.step_states(ctx.plan.hash)
    begun = {
        step.server_id
        for step in ctx.plan.steps
        if step.phase != "prepare" and states.get(step.key, StepState()).in_effect
    }
    stopping = {step.server_id for step in ctx.plan.steps if step.kind == "stop"}
    left = [planned for planned in ctx.plan.servers if planned.id in stopping - begun]
    if ctx.plan.kind != "move" or not left:
        return {}
    # project by project: 2014's Nova tells volumes and MACs of each server only one by one
    projects = {step.params.get("project_id") for step in ctx.plan.steps if step.kind == "boot"} or {None}
    listed = [server for project in projects for server in ctx.source.compute.list_servers(project_id=project)]
    there = {server.id: server for server in listed}
    regrouped = changed_groups(ctx.plan, ctx.source.network.list_security_groups())
    found: dict[str, PlanStale] = {}
    for planned in left:
        server = there.get(planned.id)
        if server is not None and server.task_state is not None:
            continue  # what becomes of it is not known yet: its stop will tell
        try:
            if server is None or server.status == "DELETED":
                raise gone(ctx, planned)
            require_unchanged(ctx, server)
            require_as_planned(ctx, server)
            if planned.id in regrouped:
                raise _stale(ctx, planned.name, planned.id, "; ".join(regrouped[planned.id]))
        except PlanStale as stale:
            found[planned.id] = stale
    return found


def gone(ctx: Context, planned: PlanServer) -> PlanStale:
    """The error for a server that was deleted since its plan was made."""
    return _stale(ctx, planned.name, planned.id, "it is gone")


def _stale(ctx: Context, name: str, server_id: str, differs: str) -> PlanStale:
    return PlanStale(
        f"Server {name} ({server_id}) of {ctx.source.name} changed since the plan was made: {differs}.", remedy=_REMEDY
    )


def _carried(ctx: Context, planned: PlanServer, server: Server) -> list[str]:
    """What differs of what the plan holds; never a value of metadata, which may be a secret."""
    boot = next((step for step in ctx.plan.steps if step.kind == "boot" and step.server_id == server.id), None)
    pairs: list[tuple[str, object, object]] = [
        ("name", planned.name, server.name),
        ("addresses", sorted(planned.addresses), sorted(a.address for a in server.addresses if a.version == 4)),
    ]
    if boot is not None:
        pairs += [
            ("flavor", boot.params.get("flavor_id"), server.flavor_id),
            ("owner", boot.params.get("user_id"), server.user_id),
            ("project", boot.params.get("project_id"), server.project_id),
        ]
    differs = [f"{name} was {then}, is {now}" for name, then, now in pairs if then != now]
    return differs + _metadata(boot, server)


def _metadata(boot: PlannedStep | None, server: Server) -> list[str]:
    then = boot.params.get("metadata") if boot is not None else None
    if not isinstance(then, dict) or then == dict(server.metadata):
        return []
    keys = sorted(key for key in {*then, *server.metadata} if then.get(key) != server.metadata.get(key))
    return [f"metadata {', '.join(keys)} changed"]


def _acts(ctx: Context, planned: PlanServer, server: Server) -> list[str]:
    """What somebody did to it since: only asked for where Nova says that something changed."""
    if planned.updated_at is None or server.updated_at is None:
        return []
    then = datetime.fromisoformat(planned.updated_at)
    if server.updated_at <= then:
        return []
    # Nova tells a server's last change in whole seconds, and an action's begin in parts of them
    return [_told(act) for act in acts_on(ctx, server.id) if act.started_at.replace(microsecond=0) > then]


def _told(action: ServerAction) -> str:
    return f"{action.name} at {action.started_at:%Y-%m-%d %H:%M:%S} UTC"
