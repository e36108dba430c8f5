"""A server's cutover: stop at the source, boot at the destination, move its floating IPs, see it serve."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from pumphouse.errors import CloudError, PlanStale, PumphouseError, StepError, VerificationFailed
from pumphouse.model import Server, ServerSpec
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import answers, wait_answer, watch
from pumphouse.steps.base import MARKER, Context, Outcome, Step, expect


class StopServer(Step):
    """Shut the server down at the source; it stays there, stopped, until it is finalised."""

    kind = "stop"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Already stopped; and still the server that was planned."""
        server = ctx.source.compute.get_server(step.params["server_id"])
        self._unchanged(ctx, server)
        ours = ctx.journal.step_state(ctx.plan.hash, step.key).ours
        if ours and server.task_state == "powering-off":
            return None  # an earlier run of ours asked for it: it is waited for
        if server.task_state is not None:
            raise StepError(
                f"Server {server.name} ({server.id}) of {ctx.source.name} is busy: task {server.task_state}.",
                remedy="wait until the task has ended, then run again.",
            )
        if not ours:
            self._as_planned(ctx, server)
        return {"stop_s": None, "last_answer_at": None} if server.status == "SHUTOFF" else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether the guest answers now: what it must do at the destination too."""
        spec = ctx.site.probe_for(step.params["name"], step.params["server_id"])
        if spec.kind == "none" or not step.params["address"]:
            return {"answered_before": None}
        # an earlier run of ours may have silenced it
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("answered_before")
        return {"answered_before": bool(begun) or answers(spec, step.params["address"])}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Stop it, probing the guest until it falls silent."""
        server_id = step.params["server_id"]
        spec = ctx.site.probe_for(step.params["name"], server_id)
        begun = time.monotonic()
        with watch(spec, step.params["address"]) as last:
            ctx.source.compute.stop_server(server_id)
            ctx.source.compute.wait_server(server_id, "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
        return {"stop_s": round(time.monotonic() - begun, 3), "last_answer_at": _iso(last.at)}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The source says SHUTOFF and has no task under way."""
        server = ctx.source.compute.get_server(step.params["server_id"])
        expect(
            f"server {server.name} at {ctx.source.name}",
            {"status": ("SHUTOFF", server.status), "task": (None, server.task_state)},
        )
        return {"status": server.status}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Unlock it and start it again at the source, unless it was stopped before us; wait until it serves."""
        server = ctx.source.compute.get_server(step.params["server_id"])
        _require_no_copy(ctx, server)
        ctx.source.compute.unlock_server(server.id)
        if not ours:
            return {"kept": server.status}
        begun = time.monotonic()
        if server.status != "ACTIVE":
            ctx.source.compute.start_server(server.id)
        server = ctx.source.compute.wait_server(server.id, "ACTIVE", timeout_s=ctx.site.action_timeout_s)
        started_s = round(time.monotonic() - begun, 3)
        answered = None
        spec = ctx.site.probe_for(server.name, server.id)
        if outcome.get("answered_before"):
            answered = wait_answer(spec, step.params["address"])
            if answered is None:
                raise VerificationFailed(
                    f"Server {server.name} ({server.id}) is ACTIVE again at {ctx.source.name}, "
                    f"but {step.params['address']} does not answer after {spec.timeout_s:g} s as it did before.",
                    remedy="look at its console; the roll back can be run again.",
                )
        return {"status": server.status, "start_s": started_s, "answered_at": _iso(answered)}

    def _unchanged(self, ctx: Context, server: Server) -> None:
        planned = ctx.plan.server(server.id)
        now = fingerprint(server)
        if now != planned.fingerprint:
            raise PlanStale(
                f"Server {server.name} ({server.id}) of {ctx.source.name} changed since the plan was made: "
                f"planned {planned.fingerprint}, now {now}.",
                remedy="nothing of this server was touched. Plan it anew on its own, or with others not yet moved.",
            )

    def _as_planned(self, ctx: Context, server: Server) -> None:
        planned = ctx.plan.server(server.id)
        now = {"status": server.status, "floating IPs": sorted(server.floating_ips)}
        then = {"status": planned.status, "floating IPs": sorted(planned.floating_ips)}
        differs = [f"{name} was {then[name]}, is {now[name]}" for name in now if now[name] != then[name]]
        if differs:
            raise PlanStale(
                f"Server {server.name} ({server.id}) of {ctx.source.name} changed since the plan was made: "
                f"{'; '.join(differs)}.",
                remedy="nothing of this server was touched. Plan it anew on its own, or with others not yet moved.",
            )


class BootServer(Step):
    """Boot the server at the destination, from the copied image, on the prepared ports."""

    kind = "boot"
    maps = "server"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the server that carries our marker; clear away one that failed to build."""
        cloud = ctx.acting(step.params)
        for found in cloud.compute.list_servers(project_id=cloud.project_id):
            if not self._is_ours(ctx, step, found):
                continue
            if found.status == "ERROR":
                ctx.report(f"{found.name}: a failed build ({found.fault or 'no reason given'}) is removed first")
                cloud.compute.delete_server(found.id)
                cloud.compute.wait_server_gone(found.id, timeout_s=ctx.site.action_timeout_s)
                continue
            cloud.compute.wait_server(found.id, "ACTIVE", "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
            return {"id": found.id, "boot_s": None}
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Boot, after asking the source once more that its copy is down."""
        params = step.params
        # from here on its owner must not start the source: that would be a second live copy
        ctx.source.compute.lock_server(params["source_id"])
        try:
            self._source_is_down(ctx, step)
        except PumphouseError:
            ctx.source.compute.unlock_server(params["source_id"])
            raise
        cloud = ctx.acting(params)
        begun = time.monotonic()
        server_id = cloud.compute.create_server(
            ServerSpec(
                name=params["name"],
                flavor_id=ctx.mapped("flavor", params["flavor_id"]),
                image_id=ctx.mapped("image", params["image_id"]),
                port_ids=tuple(ctx.mapped("port", port) for port in params["port_ids"]),
                key_name=params["key_name"],
                metadata={**params["metadata"], MARKER: params["source_id"]},
                config_drive=params["config_drive"],
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
        """Name, flavor, image, key, metadata, addresses and MACs are the source's."""
        params = step.params
        found = ctx.destination.compute.get_server(outcome["id"])
        metadata = {k: v for k, v in found.metadata.items() if k != MARKER}
        ports = {p.address: p.mac.lower() for p in ctx.destination.neutron.list_ports(server_id=found.id)}
        expect(
            f"server {found.name} ({found.id}) at {ctx.destination.name}",
            {
                "name": (params["name"], found.name),
                "status": (True, found.status in ("ACTIVE", "SHUTOFF")),
                "flavor": (ctx.mapped("flavor", params["flavor_id"]), found.flavor_id),
                "image": (ctx.mapped("image", params["image_id"]), found.image_id),
                "keypair": (params["key_name"], found.key_name),
                "metadata": (True, metadata == dict(params["metadata"])),
                "addresses": (
                    {
                        a["address"]: a["mac"].lower() if a["mac"] else ports.get(a["address"])
                        for a in params["addresses"]
                    },
                    ports,
                ),
            },
        )
        return {"id": found.id, "host": found.host, "addresses": ports, "user_id": found.user_id}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete the destination's copy and wait until it is gone."""
        if not ours:
            return {"kept": outcome.get("id")}
        _require_source(ctx, step.params["source_id"])
        # as the administrator: its owner may have changed the one-time password since
        compute = ctx.destination.compute
        gone = []
        for found in compute.list_servers(project_id=ctx.mapped("project", step.params["project_id"])):
            if found.id == outcome.get("id") or self._is_ours(ctx, step, found):
                compute.delete_server(found.id)
                compute.wait_server_gone(found.id, timeout_s=ctx.site.action_timeout_s)
                gone.append(found.id)
        return {"deleted": gone}

    def _is_ours(self, ctx: Context, step: PlannedStep, found: Server) -> bool:
        if found.metadata.get(MARKER) == step.params["source_id"]:
            return True
        return found.id == ctx.journal.mapping("server", step.params["source_id"])

    def _source_is_down(self, ctx: Context, step: PlannedStep) -> None:
        source = ctx.source.compute.get_server(step.params["source_id"])
        if source.status != "SHUTOFF" or source.task_state is not None:
            addresses = ", ".join(ctx.plan.server(source.id).addresses)
            raise StepError(
                f"Server {source.name} ({source.id}) is {source.status} (task {source.task_state}) at "
                f"{ctx.source.name}: booting a copy would make two live copies of {addresses}.",
                remedy="somebody started it again: make and approve the plan again.",
            )
        spec = ctx.site.probe_for(source.name, source.id)
        for address in step.params["addresses"]:
            if answers(spec, address["address"]):
                raise StepError(
                    f"Server {source.name} ({source.id}) is SHUTOFF at {ctx.source.name}, but {address['address']} "
                    f"still answers.",
                    remedy="find who else holds the address before anything boots with it.",
                )


class MoveFloatingIp(Step):
    """Take a floating IP off the source's server and bind the same address at the destination."""

    kind = "floating-ip"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when the source let go and the destination's port has it."""
        found = ctx.destination.neutron.find_floating_ip(step.params["address"])
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
        return {"made": begun or ctx.destination.neutron.find_floating_ip(step.params["address"]) is None}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Source first: an address must never answer from both clouds; given back when the destination refuses it."""
        params = step.params
        self._held_by_nobody_else(ctx, step)
        ctx.source.nova_network.disassociate_floating_ip(params["server_id"], params["address"])
        self._wait_released(ctx, step)
        try:
            return self._bind(ctx, step)
        except CloudError:
            self._give_back(ctx, step)
            raise

    def _bind(self, ctx: Context, step: PlannedStep) -> Outcome:
        params = step.params
        project_id = ctx.mapped("project", params["project_id"])
        found = ctx.destination.neutron.find_floating_ip(params["address"])
        if found is None:
            found = ctx.destination.neutron.create_floating_ip(
                external_network_id=params["external_network_id"], project_id=project_id, address=params["address"]
            )
        elif found.project_id != project_id or found.fixed_address not in (None, params["fixed_address"]):
            self._give_back(ctx, step)
            raise StepError(
                f"Floating IP {params['address']} ({found.id}) is taken at {ctx.destination.name} by project "
                f"{found.project_id}; it was given back to the source's server.",
                remedy="free it at the destination, then run again.",
            )
        ctx.destination.neutron.bind_floating_ip(found.id, ctx.mapped("port", params["port_id"]))
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
        """Destination first: unbind (release it if we allocated it), then bind it at the source again."""
        params = step.params
        if not ours:
            return {"kept": True}
        _require_source(ctx, params["server_id"])
        found = ctx.destination.neutron.find_floating_ip(params["address"])
        mine = found is not None and found.project_id == ctx.mapped("project", params["project_id"])
        if found is not None and mine:
            ctx.destination.neutron.bind_floating_ip(found.id, None)
            if outcome.get("made", True):
                ctx.destination.neutron.delete_floating_ip(found.id)
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
        for floating in ctx.source.nova_network.list_floating_ips():
            if floating.address == address and floating.server_id not in (None, server_id):
                raise PlanStale(
                    f"Floating IP {address} of {ctx.source.name} belongs to server {floating.server_id} now, not to "
                    f"{server_id} as planned.",
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
        spec = ctx.site.probe_for(params["name"], params["source_id"])
        first_answer = None
        if params["was"] == "ACTIVE" and spec.kind != "none" and params["address"]:
            first_answer = wait_answer(spec, params["address"])
            if first_answer is None and stopped.intent_data.get("answered_before"):
                raise VerificationFailed(
                    f"Server {params['name']} ({server_id}) is ACTIVE at {ctx.destination.name}, but "
                    f"{params['address']} does not answer after {spec.timeout_s:g} s, as it did at the source.",
                    remedy="look at its console; run again when it answers, or roll back.",
                )
        cloud.compute.delete_server_metadata(server_id, MARKER)
        if params["was"] == "SHUTOFF":
            cloud.compute.stop_server(server_id)
            cloud.compute.wait_server(server_id, "SHUTOFF", timeout_s=ctx.site.action_timeout_s)
        last_answer = _unix(stopped.outcome.get("last_answer_at"))
        measured = first_answer is not None and last_answer is not None
        return {
            "answers": None if spec.kind == "none" or params["was"] != "ACTIVE" else first_answer is not None,
            "answered_at": _iso(first_answer),
            "downtime_s": round(float(first_answer or 0) - float(last_answer or 0), 2) if measured else None,
        }

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """State, metadata and floating IPs are the source's; the source's copy is down."""
        params = step.params
        found = ctx.destination.compute.get_server(ctx.mapped("server", params["source_id"]))
        source = ctx.source.compute.get_server(params["source_id"])
        pairs: dict[str, tuple[Any, Any]] = {
            "status": (params["was"], found.status),
            "metadata": (True, dict(params["metadata"]) == dict(found.metadata)),
            "source's status": ("SHUTOFF", source.status),
        }
        expect(f"server {found.name} ({found.id}) at {ctx.destination.name}", pairs)
        return {"status": found.status, "host": found.host, "downtime_s": outcome.get("downtime_s")}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing of its own: undoing the boot removes the copy."""
        return {}


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
        if ours:
            ctx.source.nova_network.unreserve_fixed_ip(step.params["address"])
        return {"kept": not ours}


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
        moved = ctx.destination.compute.get_server(params["destination_id"])
        if moved.status != params["was"] or moved.task_state is not None:
            raise StepError(
                f"Server {moved.name} ({moved.id}) is {moved.status} (task {moved.task_state}) at "
                f"{ctx.destination.name}, not {params['was']}: its source is not deleted.",
                remedy="bring it back to that state, or roll back; then finalise again.",
            )
        spec = ctx.site.probe_for(params["name"], params["source_id"])
        if params["answered"] and not answers(spec, params["address"]):
            raise StepError(
                f"Server {moved.name} ({moved.id}) does not answer on {params['address']}: its source is not deleted.",
                remedy="bring its service back, or roll back; then finalise again.",
            )
        source = ctx.source.compute.get_server(params["source_id"])
        if source.status != "SHUTOFF" or source.task_state is not None:
            raise StepError(
                f"Server {source.name} ({source.id}) is {source.status} (task {source.task_state}) at "
                f"{ctx.source.name}, not SHUTOFF: it stays.",
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
            {"source gone": (True, gone), "destination status": (step.params["was"], moved.status)},
        )
        return {"deleted": step.params["source_id"], "destination_id": moved.id, "status": moved.status}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Impossible."""
        raise StepError(
            f"Server {step.params['name']} was deleted at {ctx.source.name}: that cannot be undone.",
            remedy="move it back from the destination as a new server.",
        )


def _require_no_copy(ctx: Context, server: Server) -> None:
    """Starting a source while its copy is there would make two live copies, whatever the journal says."""
    project_id = ctx.journal.mapping("project", server.project_id)
    if project_id is None:
        return
    moved = ctx.journal.mapping("server", server.id)
    copies = [
        found.id
        for found in ctx.destination.compute.list_servers(project_id=project_id)
        if found.id == moved or found.metadata.get(MARKER) == server.id
    ]
    if copies:
        raise StepError(
            f"Server {server.name} ({server.id}) is not started at {ctx.source.name}: its copy {', '.join(copies)} is "
            f"still at {ctx.destination.name}.",
            remedy="run the roll back again; it deletes the copy first.",
        )


def _require_source(ctx: Context, source_id: str) -> None:
    """Before the destination's copy loses anything: there must be a source to go back to."""
    source = ctx.source.compute.find_server(source_id)
    if source is None or source.task_state is not None:
        state = "gone" if source is None else f"busy (task {source.task_state})"
        raise StepError(
            f"Server {source_id} of {ctx.source.name} is {state}: its copy at {ctx.destination.name} stays as it is.",
            remedy="keep the copy if the source is gone or being deleted; otherwise wait for the task, then run again.",
        )


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _unix(at: str | None) -> float | None:
    return None if at is None else datetime.fromisoformat(at).timestamp()
