"""Planning a server's cutover: stop, boot, floating IPs, settle; and what keeps it from moving."""

from __future__ import annotations

from dataclasses import replace

from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.flavors import add_flavor
from pumphouse.plan.groups import groups_of
from pumphouse.plan.identity import acting
from pumphouse.plan.model import Note
from pumphouse.plan.nova_network import is_nova
from pumphouse.plan.passwords import add_secret
from pumphouse.plan.ports import add_floating_ips, add_port, fixed_ips, networks_of, nics, port_id, port_name
from pumphouse.plan.resources import add_keypair
from pumphouse.plan.snapshot import add_root, add_snapshot
from pumphouse.plan.states import SHELVED, root_image, treatment
from pumphouse.plan.user_data import user_data_param
from pumphouse.plan.zones import zone_for
from pumphouse.serving import Expected


def add_server(draft: Draft, server: Server) -> None:
    """The steps of one server, and what stands in their way as findings."""
    label = f"server {server.name}"
    image_id = root_image(draft.source, server)
    if not _check_state(draft, server, image_id):
        return
    fate = treatment(server.status)
    who, who_needs = acting(draft, server)
    flavor = add_flavor(draft, server)
    root = add_root(draft, server, image_id)
    zone = zone_for(draft, server)
    keypair, key_name = add_keypair(draft, server, who, who_needs)
    groups = groups_of(draft, server, networks_of(draft, server))
    fixed, interfaces = fixed_ips(server), nics(server)
    ports = [port for nic in interfaces if (port := add_port(draft, server, nic, groups))]
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
    if flavor is None or root is None or not ports or len(ports) != len(interfaces):
        return
    address = fixed[0].address
    ahead = [port for port in ports if draft.steps[port].phase == "prepare"]
    ready = [flavor, *root.ready, *ahead, *who_needs, *([keypair] if keypair else [])]
    ready += [f"security-group-rules:{group}" for group in groups]
    ready += [key for key in (f"quota:{server.project_id}",) if key in draft.steps]
    ready += add_secret(draft, server, who)
    expected = expected_of(draft, server).document
    stop = draft.add(
        f"stop:{server.id}",
        phase="cutover",
        changes="source",
        title=f"stop {server.name} at the source" if fate.stopped_by_us else f"leave {server.name} {server.status}",
        needs=tuple(ready),
        params={
            "server_id": server.id,
            "name": server.name,
            "address": address,
            "rests": list(fate.rests),
            "locked": server.locked,
            **expected,
        },
        server_id=server.id,
        undo="started again" if fate.stopped_by_us else f"left {server.status}",
    )
    boot = draft.add(
        f"boot:{server.id}",
        phase="cutover",
        title=f"boot {server.name} at the destination",
        needs=(stop, *ready, *ports, *((add_snapshot(draft, server, stop, root),) if root.by_snapshot else ())),
        params={
            **who,
            "source_id": server.id,
            "name": server.name,
            "rests": list(fate.rests),
            "locked": server.locked,
            "flavor_id": server.flavor_id,
            "image_id": root.image_id,
            "availability_zone": zone,
            "port_ids": [port_id(server, nic[0].address) for nic in interfaces],
            "addresses": [{"address": a.address, "mac": None if is_nova(draft) else a.mac} for a in fixed],
            "security_group_ids": groups,
            "key_name": key_name,
            "metadata": dict(sorted(server.metadata.items())),
            "config_drive": server.config_drive,
            "probe": expected["probe"],
            **user_data_param(draft, server),
        },
        server_id=server.id,
        undo="deleted",
    )
    floating = add_floating_ips(draft, server, stop)
    draft.add(
        f"settle:{server.id}",
        phase="cutover",
        # of one that was off nobody asks whether it serves
        title=f"{server.name} {'serves' if server.status == 'ACTIVE' else 'runs'} at the destination",
        needs=(boot, *floating),
        params={
            **who,
            "source_id": server.id,
            "name": server.name,
            "rests": list(fate.rests),
            "arrives": fate.arrives,
            "locked": server.locked,
            "address": address,
            "floating_ips": sorted(server.floating_ips),
            "metadata": dict(sorted(server.metadata.items())),
            **expected,
        },
        server_id=server.id,
        undo="nothing of its own",
    )


def expected_of(draft: Draft, server: Server) -> Expected:
    """What is expected of a server: its selection's word on the probe, else the site's."""
    project = draft.source.project(server.project_id)
    found = draft.site.expected(server.name, server.id, project.name if project else server.project_id)
    return replace(found, probe=draft.probe) if draft.probe is not None else found


def _check_state(draft: Draft, server: Server, image_id: str | None) -> bool:
    """Say what keeps a server from moving; False when its state does not allow any steps."""
    label = f"server {server.name}"
    fate = treatment(server.status)
    why = f" Nova says: {server.fault.strip()}" if server.fault else ""
    disk_kept = server.status in SHELVED and image_id != server.image_id
    if disk_kept:
        draft.notes.append(Note(label, "is shelved: its copy is built from the image of its disk and arrives stopped"))
    elif fate.code:
        draft.block(fate.code, label, f"({server.id}) {fate.why}{why}", fate.remedy)
    if fate.moves and not fate.stopped_by_us:
        draft.notes.append(
            Note(label, f"is {server.status}: its copy runs until verified, since Nova makes none without a start")
        )
    if fate.moves and server.locked is None:
        draft.notes.append(Note("locks", "this release's API does not tell who locked a server: all arrive unlocked"))
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
    moved = [p.server_id for p in draft.destination.ports_named(port_name(server.id)) if p.server_id]
    if moved:
        draft.block(
            "already-moved",
            label,
            f"({server.id}) has a copy at {draft.destination.facts.cloud} already, {moved[0]}.",
            "leave it out; go on with the plan that moved it, or roll that back first.",
        )
    _check_host(draft, server)
    return fate.moves


def _check_host(draft: Draft, server: Server) -> None:
    """Say that nobody would carry out a stop."""
    states = {service.host: service.state for service in draft.source.services if service.binary == "nova-compute"}
    if server.status != "ACTIVE" or not states or states.get(server.host or "") == "up":
        return
    where = f"is on {server.host}, whose nova-compute is down"
    if server.host not in states:
        where = f"is on {server.host}, where Nova knows of no nova-compute" if server.host else "is on no host"
    draft.block(
        "host-down",
        f"server {server.name}",
        f"({server.id}) {where}: a stop would never end.",
        "bring the host's nova-compute back, or evacuate the server first."
        if server.host in states
        else "find its guest and correct its host in Nova's database; or leave the server out.",
    )
