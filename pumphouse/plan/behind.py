"""What clouds show of servers that go back and the journal does not know: sources deleted, copies behind its back."""

from __future__ import annotations

from collections.abc import Iterable

from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.journal import Journal, StepState
from pumphouse.plan.after import finalised
from pumphouse.plan.model import Plan
from pumphouse.plan.ports import port_name


def gone_with(journal: Journal, server_ids: Iterable[str], inventory: Inventory) -> dict[str, str]:
    """Servers that somebody deleted at the source after their move was begun and before they had a copy: id -> name
    (read only).

    Nobody can choose them any more. They are found with servers of their plan or of their project that go back.
    """
    source, chosen = inventory.source, set(server_ids)
    theirs = {server.project_id for server in source.servers if server.id in chosen}
    projects = {project.name for project in source.projects if project.id in theirs}
    deleted = finalised(journal)
    found: dict[str, str] = {}
    for document in journal.plan_documents(kind="move", states=("started", "finished")):
        plan = Plan.from_document(document)
        states = journal.step_states(plan.hash)
        together = any(server.id in chosen for server in plan.servers)
        for server in plan.servers:
            lost = source.server(server.id) is None and server.id not in deleted
            if not lost or not (together or server.project in projects):
                continue
            own = [step for step in plan.steps if step.server_id == server.id]
            begun = any(states.get(step.key, StepState()).in_effect for step in own)
            copied = journal.mapping("server", server.id) or _copies(inventory.destination, server.id)
            if begun and not copied:
                found[server.id] = server.name
    return found


def unknown_copies(rollback: Plan, destination: Snapshot | None) -> tuple[Finding, ...]:
    """Servers that a roll back would start though they have a copy that it does not know of (read only).

    The journal may be a backup's, from before the boot. Said before anything is undone, so that the move can go on.
    """
    keys = {step.params["step_key"] for step in rollback.steps}
    found = []
    for server in rollback.servers:
        copies = _copies(destination, server.id)
        if copies and f"stop:{server.id}" in keys and f"boot:{server.id}" not in keys:
            found.append(
                Finding(
                    "block",
                    "copy-unknown",
                    f"server {server.name}",
                    f"({server.id}) has a copy at {rollback.destination}, {copies[0]}, of which the journal does not "
                    f"know: it would not be removed.",
                    "was a backup of the journal restored? Run the move's notebook again, which takes the copy up; "
                    "then roll back.",
                )
            )
    return tuple(found)


def _copies(destination: Snapshot | None, server_id: str) -> list[str]:
    ports = destination.ports_named(port_name(server_id)) if destination is not None else ()
    return [port.server_id for port in ports if port.server_id]
