"""A server leaves its host for another one of the same cloud."""

from __future__ import annotations

from pumphouse.errors import StepError, VerificationFailed
from pumphouse.model import Server
from pumphouse.plan.hardware.methods import FENCED
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import answers, wait_answer
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import require_off


class LeaveHost(Step):
    """Move a server off its host by the method that was planned; status, task and host are waited for together."""

    kind = "leave-host"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Elsewhere already, at rest; or deleted by its owner meanwhile."""
        server = ctx.source.compute.find_server(step.params["server_id"])
        if server is None:
            return {"host": None, "gone": True}
        ours = ctx.journal.step_state(ctx.plan.hash, step.key).ours
        if server.host != step.params["host"] and server.status == step.params["status"] and server.task_state is None:
            return {"host": server.host}
        if not ours:
            self._as_planned(ctx, step, server)
        return None

    def _as_planned(self, ctx: Context, step: PlannedStep, server: Server) -> None:
        if server.task_state is not None or server.status != step.params["status"]:
            raise StepError(
                f"Server {server.name} ({server.id}) of {ctx.source.name} is {server.status}"
                f"{f', task {server.task_state}' if server.task_state else ''}; the plan was made for "
                f"{step.params['status']}.",
                remedy="wait until its task has ended, or plan again with the server as it is now.",
            )

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether its guest answers now: then it must afterwards."""
        spec = ctx.site.expected(step.params["name"], step.params["server_id"]).probe
        if spec.kind == "none" or not step.params["address"] or step.params["status"] != "ACTIVE":
            return {"answered_before": None}
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("answered_before")
        return {"answered_before": bool(begun) or answers(spec, step.params["address"])}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Ask for the move, unless an earlier run did; wait for its end."""
        params, hosts, bound_s = step.params, ctx.source.hosts, ctx.site.action_timeout_s
        server = ctx.source.compute.get_server(params["server_id"])
        if server.task_state is None and server.host == params["host"]:
            self._ask(ctx, step)
        if params["method"] == "cold":
            server = hosts.wait_moved(server.id, leaving=params["host"], timeout_s=bound_s)
            if server.status == "VERIFY_RESIZE":
                hosts.confirm_resize(server.id)
        else:
            hosts.wait_moved(server.id, leaving=params["host"], timeout_s=bound_s)
        found = hosts.wait_settled(server.id, [params["status"]], timeout_s=bound_s)
        return {"host": found.host}

    def _ask(self, ctx: Context, step: PlannedStep) -> None:
        params, hosts = step.params, ctx.source.hosts
        target = params["target"] or None
        if params["method"] in FENCED:
            node = ctx.nodes.node(params["host"])
            require_off(ctx, {"node": node.name, "serial": node.serial})
            self._require_silent(ctx, step)
            hosts.evacuate(params["server_id"], host=target, shared_storage=params["method"] == "evacuate")
        elif params["method"] == "cold":
            hosts.migrate(params["server_id"])
        else:
            hosts.live_migrate(params["server_id"], host=target, block=params["method"] == "block")

    def _require_silent(self, ctx: Context, step: PlannedStep) -> None:
        """Nova may have called a host down for long: only its guests tell that it was this node that ran them."""
        params = step.params
        spec = ctx.site.expected(params["name"], params["server_id"]).probe
        if params["address"] and answers(spec, params["address"]):
            raise StepError(
                f"Server {params['name']} ({params['server_id']}) answers at {params['address']}, though the node of "
                f"its host {params['host']} has no power: it runs on another machine, and is not built anew beside "
                "itself.",
                remedy=f"find out which machine is {params['host']}, or who else has that address. Give the node back, "
                "which switches it on again; then correct nodes.NAME.host in site.yaml.",
            )

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """On another host, as it was, and answering if it did."""
        params = step.params
        if outcome.get("gone"):
            expect(
                f"server {params['name']}",
                {"there": (False, ctx.source.compute.find_server(params["server_id"]) is not None)},
            )
            return {"gone": True}
        server = ctx.source.compute.get_server(params["server_id"])
        expect(
            f"server {server.name} at {ctx.source.name}",
            {
                "status": (params["status"], server.status),
                "task": (None, server.task_state),
                "still on its host": (False, server.host == params["host"]),
            },
        )
        answered = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("answered_before")
        spec = ctx.site.expected(server.name, server.id).probe
        if answered and wait_answer(spec, params["address"]) is None:
            raise VerificationFailed(
                f"Server {server.name} ({server.id}) is {server.status} on {server.host}, but {params['address']} does "
                f"not answer after {spec.timeout_s:g} s as it did before.",
                remedy="look at its console; run again when it answers.",
            )
        return {"host": server.host, "status": server.status, "answers": answered}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """It stays where it went."""
        return {"kept": "it serves on the host where it went"}
