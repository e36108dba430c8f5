"""After the hold: keep the source from reusing the address, then delete the stopped source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pumphouse.errors import StepError
from pumphouse.model import Server
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import answers
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.guards import probe_of

#: By how much the clocks of two machines may differ without any being wrong.
_SKEW = timedelta(minutes=1)


class ReserveFixedIp(Step):
    """Keep the source from handing the moved address to another server once the old one is deleted."""

    kind = "reserve-fixed-ip"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Already reserved."""
        state = ctx.source.nova_network.fixed_ip_state(step.params["address"])
        return {"state": state} if state == "reserved" else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Reserve it."""
        ctx.source.nova_network.reserve_fixed_ip(step.params["address"])
        return {"state": "reserved"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, the source does not call it free."""
        state = ctx.source.nova_network.fixed_ip_state(step.params["address"])
        if ctx.source.nova_network.tells_reservations():
            # until Nova 2.4 the API shows a reserved address that nobody uses as free
            expect(f"fixed IP {step.params['address']} at {ctx.source.name}", {"free": (False, state == "free")})
        return {"state": state}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Release the reservation."""
        if not ours:
            return {"kept": True}
        network, address = ctx.source.nova_network, step.params["address"]
        network.unreserve_fixed_ip(address)
        state = network.fixed_ip_state(address)
        expect(f"fixed IP {address} at {ctx.source.name}", {"reserved": (False, state == "reserved")})
        return {"state": state}


class DeleteSource(Step):
    """Delete the stopped source server. Irreversible: its root disk is gone."""

    kind = "delete-source"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Already gone."""
        found = ctx.source.compute.find_server(step.params["source_id"])
        return {"deleted": step.params["source_id"]} if found is None else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Look at both copies once more, then delete the source's."""
        params = step.params
        moved = ctx.destination.compute.find_server(params["destination_id"])
        if moved is None:
            raise StepError(
                f"Server {params['name']} has no copy {params['destination_id']} at {ctx.destination.name} any more: "
                f"its source {params['source_id']} is not deleted.",
                remedy="find out who deleted the copy; a roll back returns the source to service.",
            )
        _require_held(ctx, step, moved)
        if moved.status != params["arrives"] or moved.task_state is not None:
            raise StepError(
                f"Server {moved.name} ({moved.id}) is {moved.status} (task {moved.task_state}) at "
                f"{ctx.destination.name}, not {params['arrives']}: its source is not deleted.",
                remedy="bring it back to that state, or roll back; then finalise again.",
            )
        spec = probe_of(ctx, params)
        if params["answered"] and not answers(spec, params["address"]):
            raise StepError(
                f"Server {moved.name} ({moved.id}) does not answer on {params['address']}: its source is not deleted.",
                remedy="bring its service back, or roll back; then finalise again.",
            )
        source = ctx.source.compute.get_server(params["source_id"])
        if source.status not in params["rests"] or source.task_state is not None:
            raise StepError(
                f"Server {source.name} ({source.id}) is {source.status} (task {source.task_state}) at "
                f"{ctx.source.name}, not {' or '.join(params['rests'])}: it stays.",
                remedy="somebody uses the source's copy again: find out who before either copy is deleted.",
            )
        ctx.source.compute.delete_server(source.id)
        ctx.source.compute.wait_server_gone(source.id, timeout_s=ctx.site.action_timeout_s)
        return {"deleted": source.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The source does not list it, the destination does."""
        gone = ctx.source.compute.find_server(step.params["source_id"]) is None
        moved = ctx.destination.compute.get_server(step.params["destination_id"])
        expect(
            f"server {moved.name} after deleting its source",
            {"source gone": (True, gone), "destination status": (step.params["arrives"], moved.status)},
        )
        return {"deleted": step.params["source_id"], "destination_id": moved.id, "status": moved.status}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Impossible."""
        raise StepError(
            f"Server {step.params['name']} was deleted at {ctx.source.name}: that cannot be undone.",
            remedy="move it back from the destination as a new server.",
        )


def _require_held(ctx: Context, step: PlannedStep, moved: Server) -> None:
    """The hold must be over by every clock that we know: nobody sees whether it is ours that was set wrong.

    Neither may ours have been wrong when the server was seen to serve: its copy is as old as the destination says.
    """
    params = step.params
    if not params.get("held_until"):
        return
    ours, held = datetime.now(UTC), datetime.fromisoformat(params["held_until"])
    known = [("this machine", ours, held)]
    for cloud in (ctx.source, ctx.destination):
        if cloud.clock_ahead_s is not None:
            theirs = ours + timedelta(seconds=cloud.clock_ahead_s)
            known.append((cloud.name, theirs, held - _SKEW))
            if cloud is ctx.destination and moved.created_at is not None:
                old_enough = moved.created_at + timedelta(seconds=params.get("hold_s", 0.0))
                known.append((cloud.name, theirs, old_enough - _SKEW))
    for whose, now, until in known:
        if now < until:
            raise StepError(
                f"Server {params['name']} is held until {until:%Y-%m-%d %H:%M:%S} UTC by the clock of {whose}, where "
                f"it is {now:%Y-%m-%d %H:%M:%S}: its source is not deleted.",
                remedy="finalise again after that (the hold is limits.hold_s in site.yaml); set a clock that is wrong.",
            )
