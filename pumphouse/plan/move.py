"""Planning a move: from a selection and two snapshots to ordered steps, notes and findings."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.errors import SelectionError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.identity import acting, add_people, add_project
from pumphouse.plan.model import Note, Plan, PlanServer, order
from pumphouse.plan.networks import (
    add_floating_ips,
    add_port,
    add_security_group,
    fixed_ips,
    groups_of,
    port_id,
    port_name,
)
from pumphouse.plan.resources import add_flavor, add_image, add_keypair
from pumphouse.selection import Selection
from pumphouse.site import Site

#: States in which a server can be moved.
MOVABLE = ("ACTIVE", "SHUTOFF")


def plan_move(
    inventory: Inventory,
    selection: Selection,
    site: Site,
    *,
    secrets_known: frozenset[str] = frozenset(),
    moved: Mapping[str, str] | None = None,
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan moving the selected servers and all they need (read only; asks no cloud).

    :param secrets_known: names of users whose one-time secret we hold from an earlier plan.
    :param moved: ids of servers that another plan has begun to cut over, with that plan's hash. They are left out:
        their source is stopped because we stopped it, not because its owner wants it so.
    :returns: the plan, and what stands in its way as findings; a plan with blocking findings must not run.
    :raises SelectionError: when a selected server is not in the source's snapshot, or all were moved already.
    """
    if inventory.destination is None:
        raise SelectionError("A move needs both clouds' inventories.", remedy="take the destination's too.")
    draft = Draft(inventory.source, inventory.destination, site, secrets_known)
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
        for group in draft.source.security_groups_of(project.id):
            add_security_group(draft, project, group)
    for server in draft.servers:
        _add_server(draft, server)
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
        draft.source.image(server.image_id),
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
    )


def _add_server(draft: Draft, server: Server) -> None:
    label = f"server {server.name}"
    _check_state(draft, server)
    who, who_needs = acting(draft, server)
    flavor = add_flavor(draft, server)
    image = add_image(draft, server.image_id, server)
    keypair, key_name = add_keypair(draft, server, who, who_needs)
    groups = groups_of(draft, server)
    fixed = fixed_ips(server)
    ports = [port for a in fixed if (port := add_port(draft, server, a, groups))]
    if not fixed:
        draft.block(
            "no-address",
            label,
            "it has no fixed IP, so its identity on the network cannot be kept.",
            "leave it out.",
        )
    if len(fixed) != len(server.addresses):
        draft.block(
            "ipv6-not-carried",
            label,
            f"its IPv6 addresses stay behind: {', '.join(a.address for a in server.addresses if a not in fixed)}.",
            "accept `ipv6-not-carried` to move it with its IPv4 addresses alone, or leave it out.",
        )
    if flavor is None or image is None or not ports or len(ports) != len(fixed):
        return
    address = fixed[0].address
    draft.notes.append(
        Note(label, f"is rebuilt from image {draft.steps[image].params['image']['name']}: root-disk changes are lost")
    )
    ready = [flavor, image, *ports, *who_needs, *([keypair] if keypair else [])]
    ready += [f"security-group-rules:{group}" for group in groups]
    stop = draft.add(
        f"stop:{server.id}",
        phase="cutover",
        changes="source",
        title=f"stop {server.name} at the source",
        needs=tuple(ready),
        params={"server_id": server.id, "name": server.name, "address": address},
        server_id=server.id,
        undo="started again",
    )
    boot = draft.add(
        f"boot:{server.id}",
        phase="cutover",
        title=f"boot {server.name} at the destination",
        needs=(stop, *ready),
        params={
            **who,
            "source_id": server.id,
            "name": server.name,
            "flavor_id": server.flavor_id,
            "image_id": server.image_id,
            "port_ids": [port_id(server, a.address) for a in fixed],
            "addresses": [{"address": a.address, "mac": a.mac} for a in fixed],
            "key_name": key_name,
            "metadata": dict(sorted(server.metadata.items())),
            "config_drive": server.config_drive,
        },
        server_id=server.id,
        undo="deleted",
    )
    floating = add_floating_ips(draft, server, stop)
    draft.add(
        f"settle:{server.id}",
        phase="cutover",
        title=f"{server.name} serves at the destination",
        needs=(boot, *floating),
        params={
            **who,
            "source_id": server.id,
            "name": server.name,
            "was": server.status,
            "address": address,
            "metadata": dict(sorted(server.metadata.items())),
        },
        server_id=server.id,
        undo="nothing of its own",
    )


def _check_state(draft: Draft, server: Server) -> None:
    label = f"server {server.name}"
    if server.status not in MOVABLE:
        why = f" ({server.fault})" if server.fault else ""
        draft.block(
            "server-state",
            label,
            f"({server.id}) is {server.status}{why}; only {' and '.join(MOVABLE)} servers move.",
            "repair it in the source, or leave it out, e.g. with the query `status in ['ACTIVE', 'SHUTOFF']`.",
        )
    if server.task_state is not None:
        draft.block(
            "server-busy",
            label,
            f"({server.id}) has task {server.task_state} under way, or is stuck in it.",
            "wait for it, or reset its state in the source; then take the inventory again.",
        )
    if server.volume_ids:
        draft.block(
            "server-volumes",
            label,
            f"({server.id}) has volumes attached ({', '.join(server.volume_ids)}): only ephemeral servers move.",
            "detach the volumes, or leave the server out.",
        )
    moved = [p.server_id for p in draft.destination.ports if p.name == port_name(server) and p.server_id]
    if moved:
        draft.block(
            "already-moved",
            label,
            f"({server.id}) has a copy at {draft.destination.facts.cloud} already, {moved[0]}.",
            "leave it out; go on with the plan that moved it, or roll that back first.",
        )
    down = [
        s for s in draft.source.services if s.binary == "nova-compute" and s.host == server.host and s.state != "up"
    ]
    if down and server.status == "ACTIVE":
        draft.block(
            "host-down",
            label,
            f"({server.id}) is on {server.host}, whose nova-compute is down: a stop would never end.",
            "bring the host's nova-compute back, or evacuate the server first.",
        )
