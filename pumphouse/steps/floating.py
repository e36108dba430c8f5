"""Moving a floating IP: off the source's server, then onto the destination's, never on both."""

from __future__ import annotations

import time
from contextlib import closing

from pumphouse.errors import ApiError, CloudError, PlanStale, StepError, VerificationFailed
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of
from pumphouse.steps.guards import require_source


class MoveFloatingIp(Step):
    """Take a floating IP off the source's server and bind the same address at the destination."""

    kind = "floating-ip"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when the source let go and the destination's port has it."""
        found = ground_of(ctx.destination).find_floating_ip(step.params["address"])
        if found is None or self._held_by_source(ctx, step):
            return None
        port_address = step.params["fixed_address"]
        bound = found.fixed_address == port_address and found.project_id == ctx.mapped(
            "project", step.params["project_id"]
        )
        return {"id": found.id} if bound else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether the destination has yet to allocate the address: undoing releases it then."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("made", False)
        return {"made": begun or ground_of(ctx.destination).find_floating_ip(step.params["address"]) is None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Source first: an address must never answer from both clouds; given back when the destination refuses it."""
        params = step.params
        self._held_by_nobody_else(ctx, step)
        ctx.source.nova_network.disassociate_floating_ip(params["server_id"], params["address"])
        self._wait_released(ctx, step)
        try:
            return self._bind(ctx, step)
        except CloudError as error:
            if not isinstance(error, ApiError) or not error.refused:
                # it may be bound there all the same: given back now, it could answer from both clouds
                raise StepError(
                    f"Whether floating IP {params['address']} is bound at {ctx.destination.name} is not known: "
                    f"{error.message} It is off the source's server {params['server_id']}.",
                    remedy="run again, which finds or binds it there; or roll back, which unbinds it there first.",
                    request_id=error.request_id,
                ) from error
            self._give_back(ctx, step)
            raise

    def _bind(self, ctx: Context, step: PlannedStep) -> Outcome:
        params = step.params
        project_id = ctx.mapped("project", params["project_id"])
        found = ground_of(ctx.destination).find_floating_ip(params["address"])
        if found is None:
            found = ground_of(ctx.destination).create_floating_ip(
                external_network_id=params["external_network_id"], project_id=project_id, address=params["address"]
            )
        elif found.project_id != project_id or found.fixed_address not in (None, params["fixed_address"]):
            self._give_back(ctx, step)
            raise StepError(
                f"Floating IP {params['address']} ({found.id}) is taken at {ctx.destination.name} by project "
                f"{found.project_id}; it was given back to the source's server.",
                remedy="free it at the destination, then run again.",
            )
        ground_of(ctx.destination).bind_floating_ip(
            found.id, ctx.mapped("port", params["port_id"]), fixed_address=params["fixed_address"]
        )
        return {"id": found.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Both clouds agree."""
        expect(
            f"floating IP {step.params['address']}",
            {
                "bound at the destination": (True, self.look(ctx, step) is not None),
                "bound at the source": (False, self._held_by_source(ctx, step)),
            },
        )
        return {"address": step.params["address"], "id": outcome["id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Destination first: unbind (release it if we allocated it), then bind it at the source again.

        The plan found it at the source: where it was in place, an earlier run moved it that this journal forgot.
        """
        params = step.params
        require_source(ctx, params["server_id"])
        found = ground_of(ctx.destination).find_floating_ip(params["address"])
        mine = found is not None and found.project_id == ctx.mapped("project", params["project_id"])
        if found is not None and mine:
            ground_of(ctx.destination).bind_floating_ip(found.id, None)
            if ours and outcome.get("made", True):
                ground_of(ctx.destination).delete_floating_ip(found.id)
        self._give_back(ctx, step)
        if not self._wait_held(ctx, step):
            raise VerificationFailed(
                f"Floating IP {params['address']} is not back at server {params['server_id']} of {ctx.source.name}.",
                remedy="associate it by hand, or run the roll back again.",
            )
        return {"returned": params["address"]}

    def _give_back(self, ctx: Context, step: PlannedStep) -> None:
        """Bind at the source, as the administrator or, where nova-network wants the project's own, as one of them."""
        params = step.params
        if self._held_by_source(ctx, step):
            return
        refused: list[CloudError] = []
        with closing(ctx.sources_in(params["project_id"])) as sources:
            for cloud in sources:
                try:
                    cloud.nova_network.associate_floating_ip(
                        params["server_id"], params["address"], fixed_address=params["fixed_address"]
                    )
                except CloudError as error:
                    refused.append(error)
                else:
                    return
        raise StepError(
            f"Floating IP {params['address']} could not be given back to server {params['server_id']} of "
            f"{ctx.source.name}: {' '.join(error.message for error in refused)}",
            remedy="name a user of that project in site.yaml, source.owners (nova-network after Icehouse lets nobody "
            "else bind it), or bind it by hand; then run again.",
        ) from refused[0]

    def _held_by_nobody_else(self, ctx: Context, step: PlannedStep) -> None:
        address, server_id = step.params["address"], step.params["server_id"]
        holder = ctx.source.nova_network.floating_ip_holder(address)
        if holder not in (None, server_id):
            raise PlanStale(
                f"Floating IP {address} of {ctx.source.name} belongs to server {holder} now, not to {server_id} as "
                f"planned.",
                remedy="give it back to the planned server, or plan the servers that are not yet moved anew.",
            )

    def _held_by_source(self, ctx: Context, step: PlannedStep) -> bool:
        server = ctx.source.compute.get_server(step.params["server_id"])
        return step.params["address"] in server.floating_ips

    def _wait_released(self, ctx: Context, step: PlannedStep) -> None:
        if not self._poll(ctx, step, held=False):
            raise StepError(
                f"Floating IP {step.params['address']} is still bound at {ctx.source.name}.",
                remedy="look at nova-network's log there, then run again.",
            )

    def _wait_held(self, ctx: Context, step: PlannedStep) -> bool:
        return self._poll(ctx, step, held=True)

    def _poll(self, ctx: Context, step: PlannedStep, *, held: bool) -> bool:
        end = time.monotonic() + min(60.0, ctx.site.action_timeout_s)
        while self._held_by_source(ctx, step) is not held:
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True
