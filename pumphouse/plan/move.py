"""Planning a move: from a selection and two snapshots to ordered steps, notes and findings."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.databases import DatabaseFacts
from pumphouse.errors import SelectionError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.groups import add_security_group, note_members_that_stay, note_same_net
from pumphouse.plan.identity import add_people, add_project
from pumphouse.plan.model import Note, Plan, PlanServer, order
from pumphouse.plan.network_quotas import add_network_quota
from pumphouse.plan.passwords import add_passwords
from pumphouse.plan.ports import add_spare_floating_ips, fixed_ips
from pumphouse.plan.quotas import add_quota
from pumphouse.plan.resources import add_other_keypairs
from pumphouse.plan.servers import add_server
from pumphouse.plan.states import root_image
from pumphouse.plan.user_data import note_databases
from pumphouse.selection import Selection
from pumphouse.site import Site


def plan_move(
    inventory: Inventory,
    selection: Selection,
    site: Site,
    *,
    secrets_known: frozenset[str] = frozenset(),
    secrets_held: frozenset[str] = frozenset(),
    databases: DatabaseFacts | None = None,
    moved: Mapping[str, str] | None = None,
    taken: frozenset[str] = frozenset(),
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan moving the selected servers and all they need (read only; asks no cloud).

    :param secrets_known: names of users whose one-time secret we hold from an earlier plan, and which opens.
    :param secrets_held: names of all users whose secret we hold.
    :param databases: what Keystone's and Nova's databases told, where site.yaml names them.
    :param moved: ids of servers that another plan has begun to cut over, with that plan's hash. They are left out:
        their source is stopped because we stopped it, not because its owner wants it so.
    :param taken: what :func:`pumphouse.plan.networks.taken_addresses` found: addresses in use that no server shows.
    :returns: the plan, and what stands in its way as findings; a plan with blocking findings must not run.
    :raises SelectionError: when a selected server is not in the source's snapshot, or all were moved already.
    """
    if inventory.destination is None:
        raise SelectionError("A move needs both clouds' inventories.", remedy="take the destination's too.")
    draft = Draft(
        inventory.source,
        inventory.destination,
        site,
        secrets_known,
        secrets_held | secrets_known,
        databases or DatabaseFacts(),
        taken=taken,
        probe=selection.probe_spec,
    )
    selected = tuple(_server(draft, server_id) for server_id in selection.server_ids)
    draft.servers = tuple(server for server in selected if server.id not in (moved or {}))
    for server in selected:
        if moved and server.id in moved:
            _leave_out(draft, server, moved[server.id])
    if not draft.servers:
        raise SelectionError(
            f"All {len(selected)} selected servers were moved, or begun to, by earlier plans.",
            remedy="to finish them run the notebook with those plans' selections; `pumphouse journal` shows the plans.",
        )
    projects = [add_project(draft, project_id) for project_id in sorted({s.project_id for s in draft.servers})]
    for project in projects:
        add_people(draft, project)
        add_quota(draft, project)
        add_network_quota(draft, project)
        for group in draft.source.security_groups_of(project.id):
            add_security_group(draft, project, group)
    for server in draft.servers:
        add_server(draft, server)
    add_other_keypairs(draft)
    add_passwords(draft)
    note_databases(draft)
    for project in projects:
        add_spare_floating_ips(draft, project)
    note_members_that_stay(draft)
    note_same_net(draft)
    plan = Plan(
        kind="move",
        source=draft.source.facts.cloud,
        destination=draft.destination.facts.cloud,
        selection_digest=selection.digest,
        servers=tuple(_plan_server(draft, server) for server in draft.servers),
        steps=order(draft.steps.values()),
        notes=tuple(sorted(set(draft.notes), key=lambda note: (note.object, note.text))),
        copy_bytes=draft.copy_bytes,
    )
    return plan, tuple(draft.findings)


def _leave_out(draft: Draft, server: Server, plan_hash: str) -> None:
    text = f"is left out: plan {plan_hash[:12]} has moved it, or begun to"
    draft.notes.append(Note(f"server {server.name}", text))
    draft.findings.append(Finding("info", "already-moved", f"server {server.name}", f"({server.id}) {text}."))


def _server(draft: Draft, server_id: str) -> Server:
    found = draft.source.server(server_id)
    if found is None:
        raise SelectionError(
            f"Server {server_id} is selected, but {draft.source.facts.cloud} does not have it.",
            remedy="take the inventory again and choose from that.",
        )
    return found


def _plan_server(draft: Draft, server: Server) -> PlanServer:
    project, image, flavor = (
        draft.source.project(server.project_id),
        draft.source.image(root_image(draft.source, server)),
        draft.source.flavor(server.flavor_id),
    )
    return PlanServer(
        id=server.id,
        name=server.name,
        project=project.name if project else server.project_id,
        host=server.host,
        status=server.status,
        addresses=tuple(address.address for address in fixed_ips(server)),
        floating_ips=tuple(sorted(server.floating_ips)),
        fingerprint=fingerprint(server),
        flavor=flavor.name if flavor else server.flavor_id,
        image=image.name if image else str(server.image_id),
        updated_at=server.updated_at.isoformat() if server.updated_at else None,
    )
