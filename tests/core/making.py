"""Small plans, sites and journal entries, made by hand so that a test shows all that matters to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pumphouse.databases import DatabaseFacts
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan, PlannedStep, PlanServer, order
from pumphouse.plan.move import plan_move
from pumphouse.selection import Choice, Selection
from pumphouse.site import Site
from tests.factories import make_snapshot, uid

#: The servers of project acme in tests/factories.py: all of them can move once every host is up.
ACME = ("acme-web1", "acme-web2", "acme-db1", "acme-db2", "acme-cache", "acme-batch")


def make_site(folder: Path, **overrides: Any) -> Site:
    values: dict[str, Any] = {
        "path": folder / "site.yaml",
        "name": "test",
        "clouds_yaml": None,
        "source_cloud": "old",
        "destination_cloud": "new",
        "records_dir": folder / "records",
        "work_dir": folder / "work",
        "outage_s": 0.0,
    }
    return Site(**values | overrides)


def chosen(*ids: str) -> Selection:
    """A selection of these server ids."""
    return Selection(ids, Choice(ids=ids))


def make_step(key: str, *needs: str, **overrides: Any) -> PlannedStep:
    values: dict[str, Any] = {
        "key": key,
        "kind": key.partition(":")[0],
        "phase": "prepare",
        "title": f"do {key}",
        "changes": "destination",
        "needs": needs,
    }
    return PlannedStep(**values | overrides)


def plan_server(name: str, **overrides: Any) -> PlanServer:
    values: dict[str, Any] = {
        "id": uid(name),
        "name": name,
        "project": "acme",
        "host": "node-1",
        "status": "ACTIVE",
        "addresses": ("10.10.0.11",),
        "floating_ips": (),
        "fingerprint": "0123456789ab",
    }
    return PlanServer(**values | overrides)


def make_plan(*steps: PlannedStep, **overrides: Any) -> Plan:
    values: dict[str, Any] = {
        "kind": "move",
        "source": "old",
        "destination": "new",
        "selection_digest": "d" * 64,
        "servers": (),
        "steps": order(steps),
    }
    return Plan(**values | overrides)


def keep_plan(journal: Journal, plan: Plan, state: str = "started") -> None:
    """Put a plan into the journal, in a state."""
    journal.save_plan(plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document)
    journal.set_plan_state(plan.hash, state)


def did(journal: Journal, run_id: str, plan: Plan, *keys: str, absent: bool = True, **outcome: Any) -> None:
    """Journal these steps as an uninterrupted run does; ``absent`` False: their objects were there before us."""
    for key in keys:
        if absent:
            journal.write(run_id, plan.hash, key, "intent", {"absent": True})
        journal.write(run_id, plan.hash, key, "done", {"id": f"new-{key}", **outcome})
        journal.write(run_id, plan.hash, key, "verified")


def healthy(**overrides: Any) -> Snapshot:
    """The sample source with all hosts up; tables can be replaced by keyword."""
    up = tuple(replace(service, state="up") for service in make_snapshot().services)
    return make_snapshot("source", **{"services": up} | overrides)


def planned(
    folder: Path,
    *names: str,
    source: Snapshot | None = None,
    destination: Snapshot | None = None,
    secrets: frozenset[str] = frozenset(),
    held: frozenset[str] = frozenset(),
    databases: DatabaseFacts | None = None,
    **site: Any,
) -> tuple[Plan, tuple[Any, ...]]:
    """Plan moving servers of the sample source by name; all of acme by default."""
    inventory = Inventory(source or healthy(), destination or make_snapshot("destination"))
    selection = chosen(*(uid(name) for name in names or ACME))
    return plan_move(
        inventory,
        selection,
        make_site(folder, **site),
        secrets_known=secrets,
        secrets_held=held,
        databases=databases,
    )


def acme_servers(*replaced: Any) -> tuple[Any, ...]:
    """The sample servers, with these in the place of those that have the same id."""
    ids = {server.id for server in replaced}
    return (*(server for server in make_snapshot().servers if server.id not in ids), *replaced)
