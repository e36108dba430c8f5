"""After the hold: keep the source from reusing the address, then delete the stopped source."""

from __future__ import annotations

from datetime import UTC, datetime

from pumphouse.errors import StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import answers
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.guards import probe_of


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
        held_until = datetime.fromisoformat(params["held_until"]) if params.get("held_until") else None
        if held_until is not None and datetime.now(UTC) < held_until:
            raise StepError(
                f"Server {params['name']} is held until {held_until:%Y-%m-%d %H:%M:%S} UTC: its source is not deleted.",
                remedy="finalise again after that; the hold is limits.hold_s in site.yaml.",
            )
        moved = ctx.destination.compute.get_server(params["destination_id"])
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
