"""What became of each server of a plan, read from the journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pumphouse.journal import Journal, StepState
from pumphouse.plan.model import Plan, PlannedStep

#: What a server's last verified step makes of it, by plan kind; first match wins.
_RESULTS = {
    "move": (("settle", "moved"), ("boot", "booted, not verified"), ("stop", "stopped at the source")),
    "finalise": (("delete-source", "source deleted"),),
    "rollback": (),
}


@dataclass(frozen=True)
class ServerReport:
    """One server's result. Times in seconds; ``None``: not measured. ``problem`` is the failed step's error."""

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


@dataclass(frozen=True)
class Report:
    """What a plan's execution came to."""

    plan_hash: str
    kind: str
    steps: int
    verified: int
    failed: int
    servers: tuple[ServerReport, ...]
    left: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every step of the plan is verified."""
        return self.verified == self.steps


def make_report(journal: Journal, plan: Plan) -> Report:
    """Read a plan's state from the journal (read only)."""
    states = journal.step_states(plan.hash)
    done = sum(states.get(step.key, StepState()).state == "verified" for step in plan.steps)
    failed = [step for step in plan.steps if states.get(step.key, StepState()).state == "failed"]
    servers = tuple(_server(journal, plan, server.id, states) for server in plan.servers)
    left = []
    if plan.kind == "move" and any(server.result == "moved" for server in servers):
        left.append("The sources are stopped, not deleted: finalise them after the hold, or roll back.")
    if failed:
        left.append(f"{len(failed)} step(s) failed: mend the causes and run the notebook again, or roll back.")
    if done < len(plan.steps) and not failed:
        left.append(f"{len(plan.steps) - done} step(s) are not done yet.")
    return Report(plan.hash, plan.kind, len(plan.steps), done, len(failed), servers, tuple(left))


def _server(journal: Journal, plan: Plan, server_id: str, states: Mapping[str, StepState]) -> ServerReport:
    server = plan.server(server_id)
    steps = {step.kind: step for step in plan.steps if step.server_id == server_id}
    stop = _state(states, steps, "stop")
    boot = _state(states, steps, "boot")
    settle = _state(states, steps, "settle")
    problems = [
        state.error
        for step in plan.steps
        if step.server_id == server_id and (state := states.get(step.key, StepState())).state == "failed"
    ]
    return ServerReport(
        name=server.name,
        id=server.id,
        project=server.project,
        result=_result(plan, server_id, states),
        addresses=server.addresses,
        floating_ips=server.floating_ips,
        destination_id=journal.mapping("server", server_id),
        stop_s=stop.outcome.get("stop_s"),
        boot_s=boot.outcome.get("boot_s"),
        downtime_s=settle.outcome.get("downtime_s"),
        answers=settle.outcome.get("answers"),
        problem=problems[0] if problems else None,
    )


def _result(plan: Plan, server_id: str, states: Mapping[str, StepState]) -> str:
    own = [step for step in plan.steps if step.server_id == server_id]
    found = {step.kind: states.get(step.key, StepState()).state for step in own}
    if "failed" in found.values():
        return "failed"
    if plan.kind == "rollback":
        if not own:
            return "never left the source"
        return "back at the source" if all(s == "verified" for s in found.values()) else "not complete"
    if "undone" in found.values() and set(found.values()) <= {"undone", "new"}:
        return "rolled back"
    for kind, words in _RESULTS[plan.kind]:
        if found.get(kind) == "verified":
            return words
    return "untouched" if not own or set(found.values()) == {"new"} else "prepared"


def _state(states: Mapping[str, StepState], steps: Mapping[str, PlannedStep], kind: str) -> StepState:
    return states.get(steps[kind].key, StepState()) if kind in steps else StepState()
