"""Taking up a plan that was approved, though some of its servers have changed since: the others move under it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from pumphouse.findings import Finding
from pumphouse.inventory import Snapshot
from pumphouse.journal import Journal, PlanState
from pumphouse.model import Server
from pumphouse.plan.changes import changed_servers
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.model import Plan, PlanServer
from pumphouse.putback import half_way


def approved_before(
    journal: Journal,
    made: Plan,
    findings: tuple[Finding, ...],
    is_approved: Callable[[Plan], bool],
    source: Snapshot,
) -> tuple[Plan, tuple[Finding, ...]] | None:
    """An approved plan that only some of its own servers keep from being the one just made, and what to say of it.

    :param made: the plan as it would be made now, with its findings.
    :param source: where a server that is not in that plan must be gone from: else it was left out on purpose.
    """
    for document in reversed(journal.plan_documents(kind="move", states=("proposed",))):
        plan = Plan.from_document(document)
        if plan.hash == made.hash or not is_approved(plan):
            continue
        changed = changed_servers(plan, made)
        lost = {server.id for server in plan.servers} - {server.id for server in made.servers}
        chosen = any(source.server(server_id) is not None for server_id in lost)
        if changed is None or chosen or len(changed) == len(plan.servers):
            continue
        return plan, (*_others(plan, changed, findings), *_said(plan, changed))
    return None


def left_over(journal: Journal, server_ids: Collection[str], source: Snapshot) -> Plan | None:
    """A move that left servers half-way, of which all are chosen but those that somebody deleted at the source since.

    Its selection cannot be made any more, and no other plan may finish it.
    """
    chosen = set(server_ids)
    for document in journal.plan_documents(kind="move", states=("started",)):
        plan = Plan.from_document(document)
        all_of_it = {server.id for server in plan.servers}
        deleted = not any(source.server(server_id) for server_id in all_of_it - chosen)
        if chosen < all_of_it and deleted and half_way(plan, journal.step_states(plan.hash)):
            return plan
    return None


def resumed(journal: Journal, plan: Plan) -> Finding:
    """What is said of a plan that an earlier run began, and may have finished."""
    words = "was begun by an earlier run; what is verified is not done again."
    if journal.plan_state(plan.hash) == PlanState.FINISHED and (ended_at := finished_at(journal, plan)) is not None:
        words = f"was finished at {ended_at:%Y-%m-%d %H:%M:%S} UTC: what is verified is not done again."
    return Finding("info", "resumed", f"plan {plan.hash[:12]}", words)


def finished_at(journal: Journal, plan: Plan) -> datetime | None:
    """When the last step of a finished plan came to its end; finding it in place later does not count."""
    ends = [event.at for event in journal.events(plan_hash=plan.hash) if event.event in ("verified", "undone")]
    return max(ends, default=None)


def as_then(planned: PlanServer, now: Server | None) -> bool:
    """Whether a server is as it was when it was planned."""
    if now is None or (fingerprint(now), now.status) != (planned.fingerprint, planned.status):
        return False
    updated_at = now.updated_at.isoformat() if now.updated_at else None
    same_floating = sorted(now.floating_ips) == sorted(planned.floating_ips)
    return same_floating and planned.updated_at in (None, updated_at)


def _others(plan: Plan, changed: frozenset[str], findings: tuple[Finding, ...]) -> list[Finding]:
    names = {f"server {plan.server(server_id).name}" for server_id in changed}
    return [finding for finding in findings if finding.object not in names]


def _said(plan: Plan, changed: frozenset[str]) -> list[Finding]:
    return [
        Finding(
            "warn",
            "changed-since-plan",
            f"server {plan.server(server_id).name}",
            f"({server_id}) changed or went since the plan was approved.",
            "it is not touched, and fails the run at its end; plan it anew on its own.",
        )
        for server_id in sorted(changed)
    ]
