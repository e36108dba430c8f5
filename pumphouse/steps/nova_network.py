"""Addresses at a destination that has nova-network itself: kept back while the source uses them, opened one by one."""

from __future__ import annotations

from pumphouse.errors import StepError
from pumphouse.model import MARKER
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step


class KeepOff(Step):
    """Addresses of a network made at the destination that are still the source's to use: reserved there."""

    kind = "keep-off"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Done when the journal says so: old releases tell no reserved address from a free one."""
        said = [e.event for e in ctx.journal.events(step_key=step.key) if e.event in ("verified", "undone")]
        return {"reserved": len(step.params["addresses"])} if said[-1:] == ["verified"] else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Reserve every one of them; repeating is harmless."""
        ctx.report(f"{step.title}: reserving them at {ctx.destination.name}, one by one")
        for address in step.params["addresses"]:
            ctx.destination.nova_network.reserve_fixed_ip(address)
        return {"reserved": len(step.params["addresses"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """None of a sample is unknown to the destination, and none is free where it tells."""
        nova, listed = ctx.destination.nova_network, step.params["addresses"]
        sample = sorted({listed[0], listed[len(listed) // 2], listed[-1]})
        wrong = {"outside", "free"} if nova.tells_reservations() else {"outside"}
        strange = [address for address in sample if nova.fixed_ip_state(address) in wrong]
        if strange:
            raise StepError(
                f"{', '.join(strange)} of network {step.params['source_name']} cannot be kept back at "
                f"{ctx.destination.name}.",
                remedy="look at the network there; then run again, or roll back.",
            )
        return {"reserved": len(listed)}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing of its own: its network goes, and the reservations with it."""
        return {}


class OpenFixedIp(Step):
    """The server's address, free at the destination from now on, for the boot that takes it."""

    kind = "open-fixed-ip"
    maps = "port"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when the server that we booted has it.

        :raises StepError: when somebody else has.
        """
        params = step.params
        if ctx.destination.nova_network.fixed_ip_state(params["address"]) != "used":
            return None
        project_id = ctx.mapped("project", params["project_id"])
        moved = ctx.journal.mapping("server", step.server_id or "")
        for server in ctx.destination.compute.list_servers(project_id=project_id):
            mine = server.id == moved or server.metadata.get(MARKER) == step.server_id
            if mine and any(address.address == params["address"] for address in server.addresses):
                return self._outcome(ctx, step)
        raise StepError(
            f"Address {params['address']} is in use at {ctx.destination.name}, and not by the server that moves.",
            remedy="if that is this server's copy (was a backup of the journal restored?), keep it and restore the "
            "newer journal; else delete whoever has it there (the address is free some minutes after), then run again.",
        )

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Give up the reservation; the server is down at the source by now."""
        ctx.destination.nova_network.unreserve_fixed_ip(step.params["address"])
        return self._outcome(ctx, step)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Free, or the moved server's."""
        state = ctx.destination.nova_network.fixed_ip_state(step.params["address"])
        if state not in ("free", "used"):
            raise StepError(
                f"Address {step.params['address']} is {state} at {ctx.destination.name}.",
                remedy="look at the network there; then run again, or roll back.",
            )
        return {**outcome, "state": state}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Reserve it again, where the plan keeps the network's addresses reserved: the source is about to use it."""
        if not ours or f"keep-off:{step.params['network_id']}" not in {one.key for one in ctx.plan.steps}:
            return {"kept": True}
        ctx.destination.nova_network.reserve_fixed_ip(step.params["address"])
        return {"reserved": step.params["address"]}

    @staticmethod
    def _outcome(ctx: Context, step: PlannedStep) -> Outcome:
        return {"id": f"{ctx.mapped('network', step.params['network_id'])}/{step.params['address']}"}
