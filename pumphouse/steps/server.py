"""Stopping a server at the source and booting it at the destination."""

from __future__ import annotations

import time

from pumphouse.clouds.api import Compute
from pumphouse.errors import CloudError, NotFound, PlanStale, PumphouseError, StepError, VerificationFailed
from pumphouse.model import MARKER, Server, ServerSpec
from pumphouse.plan.downtime import measured_rates, predict
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import answers, wait_answer, watch
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.copies import copies_of, require_booted_by_us, require_no_copy
from pumphouse.steps.guards import STARTED_AGAIN, iso, one_of, probe_of, require_source
from pumphouse.steps.nics import attachment
from pumphouse.steps.stale import gone, require_as_carried, require_as_planned, require_unchanged
from pumphouse.steps.user_data import compared_user_data, user_data_of


class StopServer(Step):
    """Shut the server down at the source; it stays there, stopped, until it is finalised."""

    kind = "stop"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Already stopped; and still the server that was planned."""
        server = ctx.source.compute.find_server(step.params["server_id"])
        if server is None:
            raise gone(ctx, ctx.plan.server(step.params["server_id"]))
        require_unchanged(ctx, server)
        ours = ctx.journal.step_state(ctx.plan.hash, step.key).ours
        if ours and server.task_state == "powering-off":
            return None  # an earlier run of ours asked for it: it is waited for
        if server.task_state is not None:
            raise StepError(
                f"Server {server.name} ({server.id}) of {ctx.source.name} is busy: task {server.task_state}.",
                remedy="wait until the task has ended, then run again.",
            )
        if not ours:
            require_as_planned(ctx, server)
        return {"stop_s": None, "last_answer_at": None} if server.status in step.params["rests"] else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether the guest answers now: what it must do at the destination too; and how long it will be down.

        :raises StepError: when that is longer than its budget, and no earlier run of ours has stopped it.
        """
        earlier = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data
        foretold = self._within_budget(ctx, step, begun=bool(earlier))
        spec = probe_of(ctx, step.params)
        if spec.kind == "none" or not step.params["address"]:
            return {"answered_before": None, **foretold}
        # an earlier run of ours may have silenced it
        answered = bool(earlier.get("answered_before")) or answers(spec, step.params["address"])
        return {"answered_before": answered, **foretold}

    def _within_budget(self, ctx: Context, step: PlannedStep, *, begun: bool) -> Outcome:
        rates = measured_rates(ctx.journal)
        foretold = predict(ctx.plan, step.params["server_id"], rates)
        if foretold is None:
            return {}
        if foretold.over and not begun:
            raise StepError(
                f"{step.title}: not begun, since {foretold} ({rates.basis}).",
                remedy="raise its downtime_budget_s in site.yaml and make the plan again, or leave it out.",
            )
        return {"predicted_s": foretold.seconds, "downtime_budget_s": foretold.budget_s}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Stop it, probing the guest until it falls silent."""
        server_id = step.params["server_id"]
        spec = probe_of(ctx, step.params)
        begun = time.monotonic()
        with watch(spec, step.params["address"]) as last:
            ctx.source.compute.stop_server(server_id)
            ctx.source.compute.wait_server(server_id, "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
        return {"stop_s": round(time.monotonic() - begun, 3), "last_answer_at": iso(last.at)}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The source is down (stopped, or paused, suspended or shelved as it was) and has no task under way."""
        server = ctx.source.compute.get_server(step.params["server_id"])
        expect(
            f"server {server.name} at {ctx.source.name}",
            {"status": one_of(step.params["rests"], server.status), "task": (None, server.task_state)},
        )
        return {"status": server.status}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Unlock it and start it again at the source, unless it was stopped before us; wait until it serves.

        One that somebody deleted there since cannot come back; nothing of it is at the destination, or its copy stayed.
        """
        server = ctx.source.compute.find_server(step.params["server_id"])
        if server is None:
            return {"gone": step.params["server_id"]}
        require_no_copy(ctx, server, probe_of(ctx, step.params))
        if not step.params["locked"]:
            ctx.source.compute.unlock_server(server.id)
        if not ours:
            return {"kept": ctx.source.compute.get_server(server.id).status}
        begun = time.monotonic()
        if server.status != "ACTIVE":
            ctx.source.compute.start_server(server.id)
        server = ctx.source.compute.wait_server(server.id, "ACTIVE", timeout_s=ctx.site.action_timeout_s)
        started_s = round(time.monotonic() - begun, 3)
        answered = None
        spec = probe_of(ctx, step.params)
        if outcome.get("answered_before"):
            answered = wait_answer(spec, step.params["address"])
            if answered is None:
                raise VerificationFailed(
                    f"Server {server.name} ({server.id}) is ACTIVE again at {ctx.source.name}, "
                    f"but {step.params['address']} does not answer after {spec.timeout_s:g} s as it did before.",
                    remedy="look at its console; the roll back can be run again.",
                )
        return {"status": server.status, "start_s": started_s, "answered_at": iso(answered)}


class BootServer(Step):
    """Boot the server at the destination, from the copied image, on the prepared ports."""

    kind = "boot"
    maps = "server"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the server that we made; clear away one that failed to build."""
        cloud = ctx.acting(step.params)
        for found in self._copies(ctx, step, cloud.compute, cloud.project_id):
            # without our marker it has served: whatever became of it since, it is not ours to clear away
            if found.status == "ERROR" and MARKER in found.metadata:
                ctx.report(f"{found.name}: a failed build ({found.fault or 'no reason given'}) is removed first")
                cloud.compute.delete_server(found.id)
                cloud.compute.wait_server_gone(found.id, timeout_s=ctx.site.action_timeout_s)
                continue
            cloud.compute.wait_server(found.id, "ACTIVE", "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
            return {"id": found.id, "boot_s": None}
        return None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Which operator boots it, where no owner does: another one may go on from here."""
        return {} if step.params["as"] == "owner" else {"booted_by": ctx.destination.user_id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Boot, after asking the source once more that its copy is down."""
        params = step.params
        # from here on its owner must not start the source: that would be a second live copy
        try:
            ctx.source.compute.lock_server(params["source_id"])
        except NotFound as error:
            raise StepError(
                f"Server {params['name']} ({params['source_id']}) is gone from {ctx.source.name}: somebody deleted it "
                f"after its stop. No copy was booted.",
                remedy="roll back servers of this plan or project: what was made ready for it is removed with them.",
                request_id=error.request_id,
            ) from error
        try:
            self._source_is_down(ctx, step)
        except PumphouseError:
            if not params["locked"]:
                ctx.source.compute.unlock_server(params["source_id"])
            raise
        cloud = ctx.acting(params)
        begun = time.monotonic()
        server_id = cloud.compute.create_server(
            ServerSpec(
                name=params["name"],
                flavor_id=ctx.mapped("flavor", params["flavor_id"]),
                image_id=ctx.mapped("image", params["image_id"]),
                key_name=params["key_name"],
                metadata={**params["metadata"], MARKER: params["source_id"]},
                availability_zone=params["availability_zone"],
                config_drive=params["config_drive"],
                user_data=user_data_of(ctx, params),
                **attachment(ctx).ask(ctx, cloud, params),
            )
        )
        try:
            cloud.compute.wait_server(server_id, "ACTIVE", timeout_s=ctx.site.action_timeout_s)
        except CloudError as error:
            raise StepError(
                f"Server {params['name']} ({server_id}) did not become ACTIVE at {ctx.destination.name}: "
                f"{error.message} Its source is stopped, not lost.",
                remedy="mend the cause and run again (the failed copy is replaced), or roll back to start the source.",
                request_id=error.request_id,
            ) from error
        return {"id": server_id, "boot_s": round(time.monotonic() - begun, 3)}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """All that was asked for is there: owner, name, flavor, image, key, zone, metadata, groups, addresses, MACs."""
        params = step.params
        found = ctx.destination.compute.get_server(outcome["id"])
        metadata = {k: v for k, v in found.metadata.items() if k != MARKER}
        nics = attachment(ctx).seen(ctx, found)
        zone = params["availability_zone"]
        groups = sorted(ctx.mapped("security_group", group) for group in params["security_group_ids"])
        expect(
            f"server {found.name} ({found.id}) at {ctx.destination.name}",
            {
                "name": (params["name"], found.name),
                "project": (ctx.mapped("project", params["project_id"]), found.project_id),
                "owner": one_of(self._owners(ctx, step), found.user_id),
                "status": one_of(("ACTIVE", "SHUTOFF"), found.status),
                "flavor": (ctx.mapped("flavor", params["flavor_id"]), found.flavor_id),
                "image": (ctx.mapped("image", params["image_id"]), found.image_id),
                "keypair": (params["key_name"], found.key_name),
                "availability zone": (zone or found.availability_zone, found.availability_zone),
                "config drive": (params["config_drive"], found.config_drive),
                "metadata": (True, metadata == dict(params["metadata"])),
                **compared_user_data(ctx, params, found.id),
                "security groups": (groups, sorted(nics.group_ids)),
                "addresses": (
                    {
                        a["address"]: a["mac"].lower() if a["mac"] else nics.addresses.get(a["address"])
                        for a in params["addresses"]
                    },
                    dict(nics.addresses),
                ),
            },
        )
        return {
            "id": found.id,
            "host": found.host,
            "availability_zone": found.availability_zone,
            "addresses": dict(nics.addresses),
            "security_groups": len(groups),
            "user_id": found.user_id,
        }

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete the destination's copy and wait until it is gone.

        What carries our marker or our ports is ours even if this journal did not see it made: a backup may not have.
        """
        # as the administrator: its owner may have changed the one-time password since
        compute = ctx.destination.compute
        gone = []
        project_id = ctx.mapped("project", step.params["project_id"])
        copies = self._copies(ctx, step, compute, project_id, outcome.get("id"))
        if copies:
            require_source(ctx, step.params["source_id"])
        require_booted_by_us(ctx, step, copies, outcome.get("id"))
        for found in copies:
            compute.delete_server(found.id)
            compute.wait_server_gone(found.id, timeout_s=ctx.site.action_timeout_s)
            gone.append(found.id)
        return {"deleted": gone}

    def _copies(
        self, ctx: Context, step: PlannedStep, compute: Compute, project_id: str, made: str | None = None
    ) -> list[Server]:
        params = step.params
        addresses = [one["address"] for one in params["addresses"]]
        source_id, name = params["source_id"], params["name"]
        return copies_of(ctx, compute, source_id, name, addresses, project_id=project_id, made=made)

    def _owners(self, ctx: Context, step: PlannedStep) -> list[str]:
        """Whose it may be: its owner's, or any operator's who set out to boot it under this plan."""
        if step.params["as"] == "owner":
            return [ctx.mapped("user", step.params["user_id"])]
        events = ctx.journal.events(plan_hash=ctx.plan.hash, step_key=step.key)
        noted = {str(event.data["booted_by"]) for event in events if "booted_by" in event.data}
        return sorted(noted) or [ctx.destination.user_id]

    def _source_is_down(self, ctx: Context, step: PlannedStep) -> None:
        source = ctx.source.compute.get_server(step.params["source_id"])
        if source.status not in step.params["rests"] or source.task_state is not None:
            addresses = ", ".join(ctx.plan.server(source.id).addresses)
            raise StepError(
                f"Server {source.name} ({source.id}) is {source.status} (task {source.task_state}) at "
                f"{ctx.source.name}: booting a copy would make two live copies of {addresses}.",
                remedy=STARTED_AGAIN,
            )
        try:
            require_unchanged(ctx, source)
            require_as_carried(ctx, source)
        except PlanStale as stale:
            raise PlanStale(
                f"{stale.message} It is down at {ctx.source.name}, and no copy was booted.",
                remedy="roll it back, which returns it to service as it is now, and plan it anew.",
            ) from stale
        spec = probe_of(ctx, step.params)
        for address in step.params["addresses"]:
            if answers(spec, address["address"]):
                raise StepError(
                    f"Server {source.name} ({source.id}) is {source.status} at {ctx.source.name}, but "
                    f"{address['address']} still answers.",
                    remedy="find who else holds the address before anything boots with it.",
                )
