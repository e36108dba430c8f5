"""Servers that are in service nowhere at this moment, as the journal knows: where each is and since when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pumphouse.errors import PlanError
from pumphouse.journal import Event, Journal, StepState
from pumphouse.journal.store import SCOPE_KEY, STEP_EVENTS
from pumphouse.plan.model import Plan, PlanServer

#: Kinds of steps by which a server that stops at the source comes to serve at the destination.
_CUTOVER = ("stop", "snapshot", "boot", "settle")
_WENT = ("done", "verified")


@dataclass(frozen=True)
class Down:
    """A server between two clouds, or between two hosts.

    ``where`` says in words how far it came; ``since`` is when it was told to stop (aware UTC). ``sure`` is false where
    the journal cannot tell whether that happened, and for a server that was not running before (``ran``).
    """

    server_id: str
    name: str
    where: str
    since: datetime
    sure: bool
    ran: bool = True

    def __str__(self) -> str:
        verb = "down" if self.sure else "maybe down" if self.ran else "half-way"
        return f"{self.name}: {verb} since {self.since:%Y-%m-%d %H:%M:%S} UTC; {self.where}"


def servers_down(journal: Journal, plan: Plan) -> tuple[Down, ...]:
    """Servers of a plan that are stopped or half-way (read only), in the plan's order.

    Of a roll back, those that the move left down, and those that it is just taking back.
    """
    if plan.kind == "acquire":
        return tuple(_leaving(journal, plan))
    moves = {plan.hash: plan} if plan.kind == "move" else {}
    if plan.kind == "rollback":
        for plan_hash in dict.fromkeys(str(step.params["plan_hash"]) for step in plan.steps):
            document = journal.plan_document(plan_hash)
            if document is not None:
                moves[plan_hash] = _read(document, plan)
    wanted = {server.id for server in plan.servers}
    found: dict[str, Down] = {}
    for move in moves.values():
        states, since = journal.step_states(move.hash), _since(journal.events(plan_hash=move.hash))
        for server in move.servers:
            if server.id in wanted and server.id in since and not _serves(server.id, states):
                found[server.id] = _of_move(move, server, states, since[server.id])
    return tuple(found[server.id] for server in plan.servers if server.id in found)


def down_after(journal: Journal, run_id: str) -> tuple[Down, ...]:
    """Servers of the plans that a run carried out, or began to, which are down now (read only)."""
    found: dict[str, Down] = {}
    for plan_hash in dict.fromkeys(event.plan_hash for event in journal.events(run_id=run_id, step_key=SCOPE_KEY)):
        document = journal.plan_document(plan_hash)
        with suppress(PlanError):  # of an older schema: none of its servers can be told of
            for server in servers_down(journal, Plan.from_document(document)) if document is not None else ():
                found[server.server_id] = server
    return tuple(found.values())


def in_words(servers: Collection[Down]) -> str:
    """A sentence with the names of those that ran before; empty for none."""
    ran = [server for server in servers if server.ran]
    if not ran:
        return ""
    surely = any(server.sure for server in ran)
    return f"{'Down' if surely else 'Maybe down'} now: {', '.join(server.name for server in ran)}."


def _read(document: Mapping[str, object], plan: Plan) -> Plan:
    try:
        return Plan.from_document(document)
    except PlanError:
        return plan  # of an older schema: none of its servers can be told of


def _since(events: Iterable[Event]) -> dict[str, datetime]:
    """Server id -> when it went out of service; those that serve, here or there, are not in it."""
    down: dict[str, datetime] = {}
    for event in events:
        kind, _, server_id = event.step_key.partition(":")
        if event.event not in STEP_EVENTS or kind not in _CUTOVER:
            continue
        match kind, event.event:
            case ("stop", "intent") | ("boot", "undo-intent"):
                down.setdefault(server_id, event.at)
            case ("settle", "verified" | "skipped") | ("stop", "refused" | "undone"):
                down.pop(server_id, None)
    return down


def _serves(server_id: str, states: Mapping[str, StepState]) -> bool:
    """Whether it was seen to serve at the destination, and nothing of that is being taken back."""
    boot = states.get(f"boot:{server_id}", StepState())
    return states.get(f"settle:{server_id}", StepState()).state == "verified" and boot.state not in (
        "undoing",
        "undone",
    )


def _of_move(move: Plan, server: PlanServer, states: Mapping[str, StepState], since: datetime) -> Down:
    own = {kind: states.get(f"{kind}:{server.id}", StepState()) for kind in _CUTOVER}
    taken_back = any(state.state in ("undoing", "undone") for state in own.values())
    stop, boot = own["stop"], own["boot"]
    stopped = stop.state in _WENT or bool(stop.outcome)
    if taken_back:
        where = f"its way back to {move.source} was begun, and it is not in service there yet"
    elif boot.state in _WENT or (own["settle"].begun and boot.outcome):
        where = f"stopped at {move.source}, booted at {move.destination}, not seen to serve there yet"
    elif boot.begun:
        where = f"stopped at {move.source}; its boot at {move.destination} was begun and is not known to have ended"
    elif stopped:
        where = f"stopped at {move.source}, not booted at {move.destination} yet"
    else:
        where = f"its stop at {move.source} was begun and is not known to have ended"
    if server.status != "ACTIVE":
        where += f" (it was {server.status} before: no outage)"
    ran = server.status == "ACTIVE"
    return Down(server.id, server.name, where, since, sure=ran and (stopped or taken_back), ran=ran)


def _leaving(journal: Journal, plan: Plan) -> Iterable[Down]:
    """Servers on their way from one host of the source to another: Nova may have stopped them for it."""
    begun: dict[str, datetime] = {}
    for event in journal.events(plan_hash=plan.hash):
        kind, _, server_id = event.step_key.partition(":")
        if kind != "leave-host":
            continue
        if event.event == "intent":
            begun.setdefault(server_id, event.at)
        elif event.event in ("done", "verified", "skipped", "refused"):
            begun.pop(server_id, None)
    for server in plan.servers:
        if server.id in begun:
            where = f"its move off {server.host or 'its host'} was begun and is not known to have ended"
            yield Down(server.id, server.name, where, begun[server.id], sure=False)
