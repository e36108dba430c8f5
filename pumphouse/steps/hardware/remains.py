"""Reading what a source that is to end still holds, and what speaks for it."""

from __future__ import annotations

from collections.abc import Collection

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError
from pumphouse.journal import Journal, StepState
from pumphouse.plan.hardware.remains import Accounts, Remnant, SourceRemains, account
from pumphouse.plan.model import Plan


def read_remains(source: Cloud) -> SourceRemains:
    """Servers, images, floating IPs and services of all projects (read only)."""
    floating_ips = tuple(source.network.list_floating_ips())
    return SourceRemains(
        servers=tuple(source.compute.list_servers()),
        images=tuple(source.images.list_images()),
        floating_ips=floating_ips,
        services=tuple(source.compute.list_services()),
        projects=_project_names(source) if any(one.project_id for one in floating_ips) else {},
    )


def _project_names(source: Cloud) -> dict[str, str]:
    """Names only make the findings easier to read: a Keystone that does not tell them changes nothing else."""
    try:
        return {project.id: project.name for project in source.identity.list_projects()}
    except CloudError:
        return {}


def read_accounts(
    destination: Cloud, journal: Journal, *, retiring: Collection[str], leave: Collection[str]
) -> Accounts:
    """What the journal says was carried, as far as the destination has it at this moment (read only)."""
    there = {image.id for image in destination.images.list_images() if image.status == "active"}
    carried = {source_id: new for (kind, source_id), new in journal.mappings().items() if kind == "image"}
    return Accounts(
        moved=_moved(journal),
        images={source_id for source_id, new in carried.items() if new in there},
        addresses={one.address for one in destination.network.list_floating_ips()},
        retiring=set(retiring),
        leave=set(leave),
    )


def remnants_of(
    source: Cloud, destination: Cloud, journal: Journal, *, retiring: Collection[str], leave: Collection[str]
) -> tuple[Remnant, ...]:
    """What is left at the source and not at the destination, accounted for or not (read only)."""
    return account(read_remains(source), read_accounts(destination, journal, retiring=retiring, leave=leave))


def _moved(journal: Journal) -> set[str]:
    """Source ids of servers that are verified at the destination."""
    found: set[str] = set()
    for document in journal.plan_documents(kind="move", states=("started", "finished")):
        plan = Plan.from_document(document)
        states = journal.step_states(plan.hash)
        found |= {s.id for s in plan.servers if states.get(f"settle:{s.id}", StepState()).state == "verified"}
    return found
