"""Planning what comes after a move: deleting the sources (finalise) or going back (roll back)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import UTC, datetime, timedelta

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.journal import Journal, StepState
from pumphouse.plan.model import Note, Plan, PlannedStep, order


def moves_of(
    journal: Journal, server_ids: Iterable[str], *, prepared: bool = False
) -> list[tuple[Plan, tuple[str, ...]]]:
    """The move plans that were begun for these servers, oldest first, each with those of its servers.

    :param prepared: also plans of which nothing but shared preparation was done.
    :raises PlanError: when none of them was moved.
    """
    wanted = set(server_ids)
    if not wanted:
        raise PlanError("No server is named.", remedy="select servers that were moved.")
    found = []
    for document in journal.plan_documents(kind="move", states=("started", "finished")):
        plan = Plan.from_document(document)
        states = journal.step_states(plan.hash)
        begun = {
            step.server_id
            for step in plan.steps
            if step.server_id in wanted and states.get(step.key, StepState()).in_effect
        }
        if prepared and not begun and any(state.in_effect for state in states.values()):
            begun = {server.id for server in plan.servers if server.id in wanted}
        if begun:
            found.append((plan, tuple(sorted(str(server_id) for server_id in begun))))
    if not found:
        raise PlanError(
            f"The journal knows no move of server(s) {', '.join(sorted(wanted))}, or it was rolled back.",
            remedy="select servers that were moved; `pumphouse journal` lists them.",
        )
    return found


def _not_moved(server_ids: Iterable[str], moves: Iterable[tuple[Plan, tuple[str, ...]]]) -> list[Finding]:
    known = {server_id for _, ids in moves for server_id in ids}
    return [
        Finding("info", "not-moved", f"server {server_id}", "is left out: the journal knows no move of it in effect.")
        for server_id in sorted(set(server_ids) - known)
    ]


def plan_finalise(
    journal: Journal, selection_digest: str, server_ids: Iterable[str], *, hold_s: float, now: datetime | None = None
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan deleting the stopped sources of moved servers (read only).

    :param hold_s: seconds that must have passed since a server was seen to serve at the destination.
    :raises PlanError: when none of them was moved; those that were not are left out.
    """
    now = now or datetime.now(UTC)
    ids_asked = tuple(server_ids)
    steps, servers, notes = [], [], []
    moves = moves_of(journal, ids_asked)
    findings = _not_moved(ids_asked, moves)
    settled_by: dict[str, str] = {}  # a server may have been made ready by one plan and moved by a later one
    for move, ids in moves:
        states = journal.step_states(move.hash)
        for server_id in ids:
            if server_id not in settled_by or states.get(f"settle:{server_id}", StepState()).state == "verified":
                settled_by[server_id] = move.hash
    for move, ids in moves:
        events = {(e.step_key, e.event): e for e in journal.events(plan_hash=move.hash)}
        states = journal.step_states(move.hash)
        for server_id in ids:
            if settled_by[server_id] != move.hash:
                continue
            server = move.server(server_id)
            servers.append(server)
            label = f"server {server.name}"
            settled = states.get(f"settle:{server_id}", StepState())
            verified = events.get((f"settle:{server_id}", "verified"))
            if settled.state != "verified" or verified is None:
                findings.append(
                    Finding(
                        "block",
                        "not-verified",
                        label,
                        f"({server_id}) is not verified at the destination (settle is {settled.state}).",
                        "finish the move first, or roll it back.",
                    )
                )
                continue
            before = states.get(f"stop:{server_id}", StepState()).intent_data.get("answered_before")
            if before and not settled.outcome.get("answers"):
                findings.append(
                    Finding(
                        "block",
                        "answers-differ",
                        label,
                        f"({server_id}) answered at the source before its stop, but was not seen to answer since.",
                        "bring its service back and run the move's notebook again, or roll it back.",
                    )
                )
            held_s = (now - verified.at).total_seconds()
            if held_s < hold_s:
                findings.append(
                    Finding(
                        "block",
                        "hold-time",
                        label,
                        f"({server_id}) has served at the destination for {held_s:.0f} s; the hold is {hold_s:.0f} s.",
                        f"wait {hold_s - held_s:.0f} s more, or lower limits.hold_s in site.yaml.",
                    )
                )
            reserve = [
                PlannedStep(
                    key=f"reserve-fixed-ip:{address}",
                    kind="reserve-fixed-ip",
                    phase="finalise",
                    title=f"reserve {address} of {server.name} at the source",
                    changes="source",
                    params={"address": address},
                    server_id=server_id,
                    undo="unreserved",
                )
                for address in server.addresses
            ]
            settle = move.step(f"settle:{server_id}")
            steps += reserve
            steps.append(
                PlannedStep(
                    key=f"delete-source:{server_id}",
                    kind="delete-source",
                    phase="finalise",
                    title=f"delete {server.name} at the source",
                    changes="source",
                    needs=tuple(step.key for step in reserve),
                    params={
                        "source_id": server_id,
                        "destination_id": journal.mapping("server", server_id),
                        "name": server.name,
                        "rests": settle.params["rests"],
                        "arrives": settle.params["arrives"],
                        "address": settle.params["address"],
                        "answered": bool(settled.outcome.get("answers")),
                        "held_until": (verified.at + timedelta(seconds=hold_s)).isoformat(),
                        "hold_s": hold_s,
                        **({"probe": settle.params["probe"]} if "probe" in settle.params else {}),
                    },
                    server_id=server_id,
                    cost="the source's root disk is gone for ever",
                )
            )
            notes += [
                Note(f"floating IP {floating}", "stays allocated in the source, so that it cannot be given out there")
                for floating in server.floating_ips
            ]
    first = moves[0][0]
    plan = Plan(
        kind="finalise",
        source=first.source,
        destination=first.destination,
        selection_digest=selection_digest,
        servers=tuple(servers),
        steps=order(steps),
        notes=tuple(notes),
    )
    return plan, tuple(findings)


def plan_rollback(
    journal: Journal, selection_digest: str, server_ids: Iterable[str], *, gone: Mapping[str, str] | None = None
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan taking moved servers back: in reverse, everything that was done and not undone (read only).

    What servers share (images, networks, projects …) goes only when pumphouse made it and no other move needs it.

    :param gone: what :func:`pumphouse.plan.behind.gone_with` found: what was made ready for them is taken back as well.
    :raises PlanError: when none of them was moved; those that were not are left out.
    """
    gone = gone or {}
    ids_asked = (*server_ids, *gone)
    moves = moves_of(journal, ids_asked, prepared=True)
    findings = _not_moved(ids_asked, moves)
    text = "was deleted at the source before it had a copy: what was made ready for it is taken back."
    findings += [Finding("warn", "source-gone", f"server {name}", f"({id_}) {text}") for id_, name in gone.items()]
    chosen: list[tuple[Plan, PlannedStep]] = []
    servers, notes = [], []
    going = {move.hash: set(ids) for move, ids in moves}
    kept = still_needed(journal, going)
    deleted = finalised(journal)
    for move, ids in reversed(moves):
        states = journal.step_states(move.hash)
        for server_id in ids:
            servers.append(move.server(server_id))
            if server_id in deleted:
                findings.append(
                    Finding(
                        "block",
                        "finalised",
                        f"server {move.server(server_id).name}",
                        f"({server_id}) was deleted at the source when it was finalised: it cannot go back.",
                        "leave it out; move it back as a new server if need be.",
                    )
                )
        notes += [
            Note(step.title, _goes(journal, step) if step.key not in kept else _STAYS)
            for step in move.steps
            if step.server_id is None and states.get(step.key, StepState()).in_effect
        ]
        chosen += [
            (move, step)
            for step in move.steps
            if states.get(step.key, StepState()).in_effect
            and (step.server_id in ids or (step.server_id is None and step.key not in kept))
        ]
    # people keep their roles and networks their router until all that goes is gone: only then can be seen who stays
    last = [_undo_key(move, step.key) for move, step in chosen if step.server_id or step.kind == "image"]
    # across plans: what one plan made, the servers of another may stand on
    dependants: dict[str, list[str]] = defaultdict(list)
    for move, step in chosen:
        for need in step.needs:
            # a source starts as soon as its copy is gone; its floating IPs must not keep it down
            if not (need.startswith("stop:") and step.kind == "floating-ip"):
                dependants[need].append(_undo_key(move, step.key))
    steps = [
        PlannedStep(
            key=_undo_key(move, step.key),
            kind="undo",
            phase="undo",
            title=f"undo: {step.title}",
            changes=step.changes,
            needs=(*dependants[step.key], *(last if step.kind in ("assignment", "router") else ())),
            params={"plan_hash": move.hash, "step_key": step.key},
            server_id=step.server_id,
            cost="what its users wrote at the destination since the move is lost" if step.kind == "boot" else "",
        )
        for move, step in chosen
    ]
    first = moves[0][0]
    plan = Plan(
        kind="rollback",
        source=first.source,
        destination=first.destination,
        selection_digest=selection_digest,
        servers=tuple({server.id: server for server in servers}.values()),
        steps=order(steps),
        notes=tuple(dict.fromkeys(notes)),
        sequence=sum(event.event == "undone" for move, _ in moves for event in journal.events(plan_hash=move.hash)),
    )
    return plan, tuple(findings)


#: Why a roll back leaves what servers share.
_STAYS = "stays: servers that do not go back stand on it"


def _goes(journal: Journal, step: PlannedStep) -> str:
    """What undoing a shared step will do with its object, as far as the journal knows."""
    if not journal.made_by_us(step.key):
        return "stays: it was there before pumphouse"
    undo = (step.undo or "undone").partition(", if ")[0]
    return f"{undo}: pumphouse made it, and no other move needs it (kept if somebody has come to use it since)"


def _undo_key(move: Plan, key: str) -> str:
    return f"undo:{move.hash[:12]}:{key}"


def still_needed(journal: Journal, going: Mapping[str, Collection[str]]) -> set[str]:
    """Keys of shared steps that servers which are not going back still stand on (read only).

    :param going: hash of a move plan -> ids of those of its servers that go back.
    """
    documents = journal.plan_documents(kind="move", states=("started", "finished"))
    plans = [Plan.from_document(document) for document in documents]
    effective = {
        plan.hash: {key for key, state in journal.step_states(plan.hash).items() if state.in_effect} for plan in plans
    }
    # what a shared object stands on is what any plan says: a later one may have found some of it in place
    shared: dict[str, set[str]] = {}
    for plan in plans:
        for step in plan.steps:
            if step.server_id is None and step.key in effective[plan.hash]:
                shared.setdefault(step.key, set()).update(step.needs)
    needed: set[str] = set()
    for plan in plans:
        needed |= _stood_on(plan, effective[plan.hash], shared, going.get(plan.hash))
    return needed


def _stood_on(
    plan: Plan, effective: Set[str], shared: Mapping[str, Set[str]], going: Collection[str] | None
) -> set[str]:
    """What the servers of one plan that do not go back stand on; ``going`` None: none of its servers goes back."""
    staying = {
        step.server_id
        for step in plan.steps
        if step.server_id is not None and step.server_id not in (going or ()) and step.key in effective
    }
    pending = [step.key for step in plan.steps if step.server_id in staying]
    if going is None:
        # prepared, perhaps not cut over yet: taking its ground away would fail it after its stop
        pending += [step.key for step in plan.steps if step.key in effective]
    by_key = {step.key: step for step in plan.steps}
    needed: set[str] = set()
    while pending:
        key = pending.pop()
        if key not in needed:
            needed.add(key)
            pending.extend(shared.get(key, ()))
            if key in by_key:
                pending.extend(by_key[key].needs)
    # nothing stands on a user's own password, but a user who stays keeps it
    needed.update(s.key for s in plan.steps if s.kind == "password" and f"user:{s.params['user_id']}" in needed)
    if going is None:
        # each plan borrows a user's one-time secret for itself
        needed.difference_update(s.key for s in plan.steps if s.kind == "secret")
    return needed


def finalised(journal: Journal) -> set[str]:
    """Ids of servers whose source was deleted when their move was finalised (read only)."""
    gone = set()
    for document in journal.plan_documents(kind="finalise", states=("started", "finished")):
        plan = Plan.from_document(document)
        for key, state in journal.step_states(plan.hash).items():
            # one that failed or was cut off may not have deleted: undoing looks at the source before it takes anything
            if key.startswith("delete-source:") and state.state in ("done", "verified"):
                gone.add(key.partition(":")[2])
    return gone


def cut_over_by(journal: Journal) -> dict[str, tuple[str, bool]]:
    """Server id -> hash of the move plan that has begun to cut it over and was not rolled back; whether it serves there
    (read only).
    """
    found = {}
    for document in journal.plan_documents(kind="move", states=("started", "finished")):
        plan = Plan.from_document(document)
        states = journal.step_states(plan.hash)
        for server in plan.servers:
            if states.get(f"stop:{server.id}", StepState()).in_effect:
                settled = states.get(f"settle:{server.id}", StepState()).state == "verified"
                found[server.id] = (plan.hash, settled)
    return found
