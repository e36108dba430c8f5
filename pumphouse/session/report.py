"""What became of each server of a plan, read from the journal alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pumphouse.errors import ClaimHeld
from pumphouse.journal import Journal, StepState
from pumphouse.journal.store import STEP_EVENTS
from pumphouse.plan.after import finalised
from pumphouse.plan.model import Plan, PlannedStep

#: What a step that was begun, and of which nobody knows whether it happened, makes of its server.
_BEGUN = {
    "stop": "stop begun, outcome unknown",
    "boot": "boot begun, outcome unknown",
    "delete-source": "deletion begun, outcome unknown",
    "leave-host": "leaving its host begun, outcome unknown",
}
#: What a server's last verified step makes of it, by plan kind; first match wins.
_RESULTS = {
    "move": (("settle", "moved"), ("boot", "booted, not verified"), ("stop", "stopped at the source")),
    "finalise": (("delete-source", "source deleted"),),
    "rollback": (),
    "acquire": (("leave-host", "on another host"),),
}


@dataclass(frozen=True)
class ServerReport:
    """One server's result. Times in seconds; ``None``: not measured. ``problem`` is the failed step's error.

    ``host``: where it was read to be when it had left its host, inside the source.
    """

    name: str
    id: str
    project: str
    result: str
    addresses: tuple[str, ...]
    floating_ips: tuple[str, ...]
    destination_id: str | None
    stop_s: float | None
    boot_s: float | None
    downtime_s: float | None
    answers: bool | None
    problem: str | None
    host: str | None = None


@dataclass(frozen=True)
class ObjectReport:
    """What a roll back did with one object that servers share, or with what it left of a server's own, and why."""

    name: str
    result: str
    why: str


@dataclass(frozen=True)
class Report:
    """What a plan's execution came to; ``objects`` are told of roll backs, and of plans about nodes."""

    plan_hash: str
    kind: str
    steps: int
    verified: int
    failed: int
    servers: tuple[ServerReport, ...]
    left: tuple[str, ...]
    objects: tuple[ObjectReport, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every step of the plan is verified."""
        return self.verified == self.steps

    def __str__(self) -> str:
        head = f"{self.kind} plan {self.plan_hash[:12]}: {self.verified} of {self.steps} steps done and verified"
        lines = [head + (f", {self.failed} failed" if self.failed else "")]
        width = max((len(server.name) for server in self.servers), default=0)
        lines += [f"  {server.name:<{width}}  {_line(server)}" for server in self.servers]
        lines += [f"  {item.name}: {item.result}{f' ({item.why})' if item.why else ''}" for item in self.objects]
        return "\n".join([*lines, *self.left])


def _line(server: ServerReport) -> str:
    addresses = ", ".join((*server.addresses, *server.floating_ips))
    downtime = "" if server.downtime_s is None else f", down for {server.downtime_s:.1f} s"
    return f"{server.result}  {addresses}{downtime}{f': {server.problem}' if server.problem else ''}"


def make_report(journal: Journal, plan: Plan) -> Report:
    """Read a plan's state from the journal (read only)."""
    states = journal.step_states(plan.hash)
    done = sum(states.get(step.key, StepState()).state == "verified" for step in plan.steps)
    failed = [step for step in plan.steps if states.get(step.key, StepState()).state == "failed"]
    gone = finalised(journal) if plan.kind == "move" else set()
    own: dict[str | None, list[PlannedStep]] = {}
    for step in plan.steps:
        own.setdefault(step.server_id, []).append(step)
    # each server is looked at with its own steps alone: thousands of servers have tens of thousands
    alone = (replace(plan, servers=(server,), steps=tuple(own.get(server.id, ()))) for server in plan.servers)
    arrived = _arrived(journal, plan)
    held = _held(journal, plan, states) if done < len(plan.steps) else {}
    servers = tuple(_server(journal, part, part.servers[0].id, states, gone, arrived, held) for part in alone)
    left = []
    if plan.kind == "move" and any(server.result == "moved" for server in servers):
        left.append("The sources are stopped, not deleted: finalise them after the hold, or roll back.")
    if failed:
        left.append(f"{len(failed)} step(s) failed: mend the causes and run the notebook again, or roll back.")
    if held:
        left.append(f"{len(held)} step(s) were left alone, since another run was at work on what they are about.")
    if done < len(plan.steps) and not failed:
        left.append(f"{len(plan.steps) - done} step(s) are not done yet.")
    objects = _objects(plan, states, held) if plan.kind in ("rollback", "give-back") else _hardware(plan, states, held)
    return Report(plan.hash, plan.kind, len(plan.steps), done, len(failed), servers, tuple(left), objects)


def _arrived(journal: Journal, plan: Plan) -> dict[str, Mapping[str, Any]]:
    """What was read of each server that left its host, by its id."""
    leaving = {step.key: step.server_id for step in plan.steps if step.kind == "leave-host" and step.server_id}
    events = journal.events(plan_hash=plan.hash) if leaving else []
    return {
        leaving[event.step_key]: event.data.get("evidence") or {}
        for event in events
        if event.event == "verified" and event.step_key in leaving
    }


def _held(journal: Journal, plan: Plan, states: Mapping[str, StepState]) -> dict[str, str]:
    """Steps that were tried last while another run had what they are about, and what was said of it.

    They are no failures of the plan: what that run journals stands.
    """
    last = {event.step_key: event for event in journal.events(plan_hash=plan.hash) if event.event in STEP_EVENTS}
    return {
        key: str(event.data.get("error", ""))
        for key, event in last.items()
        if (event.event, event.data.get("type")) == ("failed", ClaimHeld.__name__) and states[key].state != "verified"
    }


def _objects(plan: Plan, states: Mapping[str, StepState], held: Mapping[str, str]) -> tuple[ObjectReport, ...]:
    found = []
    for step in plan.steps:
        state = states.get(step.key, StepState())
        result, why = _fate(state)
        if step.server_id is None or step.key in held or result in ("kept", "failed"):
            found.append(ObjectReport(step.title.removeprefix("undo: "), result, why or held.get(step.key, "")))
    return tuple(found)


def _hardware(plan: Plan, states: Mapping[str, StepState], held: Mapping[str, str]) -> tuple[ObjectReport, ...]:
    """Of a plan about nodes or hosts: what became of each step that is no server's."""
    if not any(step.node or step.host for step in plan.steps):
        return ()
    words = {"verified": "done", "failed": "failed", "undone": "undone", "new": "not begun"}
    found = []
    for step in plan.steps:
        if step.server_id is None:
            state = states.get(step.key, StepState())
            why = state.error or held.get(step.key, "")
            found.append(ObjectReport(step.title, words.get(state.state, "not done yet"), why))
    return tuple(found)


def _fate(state: StepState) -> tuple[str, str]:
    """(what became of it, why) from the evidence that undoing it gave."""
    if state.state != "verified":
        return ("failed", state.error or "") if state.state == "failed" else ("not undone yet", "")
    evidence = state.outcome.get("evidence") or {}
    if evidence.get("kept"):
        kept = evidence["kept"]
        reason = evidence.get("why") or (kept if isinstance(kept, str) and " " in kept else "")
        return "kept", str(reason or "it was there before pumphouse")
    for key, word in (("deleted", "deleted"), ("revoked", "revoked"), ("returned", "given back"), ("gone", "gone")):
        if key in evidence:
            return word, "pumphouse made it, and nothing that stays needs it" if key == "deleted" else ""
    return ("not there any more", "") if "kept" in evidence else ("undone", "")


def _server(
    journal: Journal,
    plan: Plan,
    server_id: str,
    states: Mapping[str, StepState],
    gone: Collection[str],
    arrived: Mapping[str, Mapping[str, Any]],
    held: Mapping[str, str],
) -> ServerReport:
    server = plan.server(server_id)
    there = arrived.get(server_id, {})
    steps = {step.kind: step for step in plan.steps if step.server_id == server_id}
    stop = _state(states, steps, "stop")
    boot = _state(states, steps, "boot")
    settle = _state(states, steps, "settle")
    problems = [
        state.error
        for step in plan.steps
        if step.server_id == server_id and (state := states.get(step.key, StepState())).state == "failed"
    ] + [held[step.key] for step in plan.steps if step.server_id == server_id and step.key in held]
    return ServerReport(
        name=server.name,
        id=server.id,
        project=server.project,
        result=_result(plan, server_id, states, gone),
        addresses=server.addresses,
        floating_ips=server.floating_ips,
        destination_id=journal.mapping("server", server_id),
        stop_s=stop.outcome.get("stop_s"),
        boot_s=boot.outcome.get("boot_s"),
        downtime_s=settle.outcome.get("downtime_s"),
        answers=there.get("answers") if there else settle.outcome.get("answers"),
        problem=problems[0] if problems else None,
        host=there.get("host"),
    )


def _result(plan: Plan, server_id: str, states: Mapping[str, StepState], gone: Collection[str]) -> str:
    own = [step for step in plan.steps if step.server_id == server_id]
    reached = {states.get(step.key, StepState()).state for step in own}
    if "failed" in reached:
        return "failed"
    if plan.kind == "rollback":
        if not own:
            return "never left the source"
        if reached == {"new"}:
            return "untouched"
        return "back at the source" if reached == {"verified"} else "not complete"
    found = {step.kind: states.get(step.key, StepState()).state for step in own}
    if "undone" in found.values() and set(found.values()) <= {"undone", "new"}:
        return "rolled back"
    if server_id in gone and found.get("settle") == "verified":
        return "finalised"
    for kind, words in _RESULTS.get(plan.kind, ()):
        if found.get(kind) == "verified":
            return words
        if found.get(kind) in ("intent", "done") and kind in _BEGUN:
            return _BEGUN[kind]
    return "untouched" if not own or set(found.values()) == {"new"} else "prepared"


def _state(states: Mapping[str, StepState], steps: Mapping[str, PlannedStep], kind: str) -> StepState:
    return states.get(steps[kind].key, StepState()) if kind in steps else StepState()
