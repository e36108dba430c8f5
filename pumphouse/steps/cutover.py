"""The end of a server's cutover: see it serve, measure its downtime, leave it as it was at the source."""

from __future__ import annotations

from typing import Any

from pumphouse.errors import VerificationFailed
from pumphouse.model import MARKER, Server
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import wait_answer
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.guards import iso, one_of, probe_of, unix
from pumphouse.steps.nics import attachment


class SettleServer(Step):
    """See the guest serve, measure its downtime, remove our marker, restore a stopped server's state."""

    kind = "settle"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself: it is what verifies the move."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Wait for the answer, then take the marker off."""
        params = step.params
        server_id = ctx.mapped("server", params["source_id"])
        cloud = ctx.acting(params)
        stopped = ctx.journal.step_state(ctx.plan.hash, f"stop:{params['source_id']}")
        spec = probe_of(ctx, params)
        first_answer = None
        if params["arrives"] == "ACTIVE" and spec.kind != "none" and params["address"]:
            first_answer = wait_answer(spec, params["address"])
            if first_answer is None and stopped.intent_data.get("answered_before"):
                raise VerificationFailed(
                    f"Server {params['name']} ({server_id}) is ACTIVE at {ctx.destination.name}, but "
                    f"{params['address']} does not answer after {spec.timeout_s:g} s, as it did at the source.",
                    remedy="look at its console; run again when it answers, or roll back.",
                )
        cloud.compute.delete_server_metadata(server_id, MARKER)
        if params["arrives"] == "SHUTOFF":
            cloud.compute.stop_server(server_id)
            cloud.compute.wait_server(server_id, "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
        if params["locked"]:
            cloud.compute.lock_server(server_id)
        last_answer = unix(stopped.outcome.get("last_answer_at"))
        # an answer before the last one: somebody set this machine's clock back in between
        measured = first_answer is not None and last_answer is not None and first_answer >= last_answer
        return {
            "answers": None if spec.kind == "none" or params["arrives"] != "ACTIVE" else first_answer is not None,
            "answered_at": iso(first_answer),
            "downtime_s": round(float(first_answer or 0) - float(last_answer or 0), 2) if measured else None,
            "probe": str(spec),
        }

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """State, lock, metadata and floating IPs are the source's; the source's copy is down."""
        params = step.params
        found = ctx.destination.compute.get_server(ctx.mapped("server", params["source_id"]))
        source = ctx.source.compute.get_server(params["source_id"])
        pairs: dict[str, tuple[Any, Any]] = {
            "status": (params["arrives"], found.status),
            "task": (None, found.task_state),
            "metadata": (True, dict(params["metadata"]) == dict(found.metadata)),
            "source's status": one_of(params["rests"], source.status),
            "floating IPs": (sorted(params["floating_ips"]), self._floating(ctx, step, found)),
            # given to it since the plan was made: nobody would look for it at a server that is down
            "floating IPs left at the source": ([], sorted(source.floating_ips)),
        }
        if params["locked"]:
            pairs["locked"] = (True, ctx.destination.compute.is_locked(found.id) is not False)
        expect(f"server {found.name} ({found.id}) at {ctx.destination.name}", pairs)
        return {"status": found.status, "host": found.host, "downtime_s": outcome.get("downtime_s")}

    def _floating(self, ctx: Context, step: PlannedStep, found: Server) -> list[str]:
        return sorted(attachment(ctx).floating(ctx, found, step.params["floating_ips"]))

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing of its own: undoing the boot removes the copy."""
        return {}
