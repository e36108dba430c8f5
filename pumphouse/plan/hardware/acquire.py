"""Planning to acquire a node: its servers go to other hosts of the source, then it is powered off and unplugged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.model import Server
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.hardware.draft import NOTHING, HardwareDraft
from pumphouse.plan.hardware.facts import HostFacts, NodeFacts
from pumphouse.plan.hardware.methods import FENCED, METHODS, choose
from pumphouse.plan.model import Plan, PlanServer

STUCK = ("keep-disabled", "enable")


@dataclass(frozen=True)
class Wishes:
    """What the operator decides.

    ``method``: ``auto`` or one of :data:`~pumphouse.plan.hardware.methods.METHODS`, for all servers; ``methods``: for
    single ones, by id or name. ``shared_storage``: their disks are on storage that all hosts have. ``target``: the host
    to go to; empty: the scheduler's choice, or for those that need one the roomiest. ``stuck``: what becomes of the
    host when a server does not move.
    """

    method: str = "auto"
    methods: Mapping[str, str] = field(default_factory=dict)
    shared_storage: bool = False
    target: str = ""
    stuck: str = "keep-disabled"

    def __post_init__(self) -> None:
        wrong = {self.method, *self.methods.values()} - {"auto", *METHODS}
        if wrong:
            raise PlanError(
                f"No way for a server to leave its host: {', '.join(sorted(wrong))}.",
                remedy=f"use auto, {', '.join(METHODS)}.",
            )
        if self.stuck not in STUCK:
            raise PlanError(
                f"Not known what to do with a stuck host: {self.stuck!r}.", remedy=f"use {' or '.join(STUCK)}."
            )

    def told(self, server: Server) -> str:
        """The word for one server."""
        return self.methods.get(server.id) or self.methods.get(server.name) or self.method


def plan_acquire(
    facts: NodeFacts, wishes: Wishes, *, digest: str, source: str, destination: str
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan emptying a host and taking its node out of the source (asks nobody).

    :returns: the plan, and what stands in its way as findings.
    :raises PlanError: when the node is no compute host of the source.
    """
    node, host = facts.node, facts.host
    if host is None or host.service is None:
        raise PlanError(
            f"Node {node.name} is no compute host of {source}{f' ({node.host})' if node.host else ''}.",
            remedy="name its nova host in site.yaml (nodes.NAME.host), or transfer the node as it is.",
        )
    draft = HardwareDraft("acquire", source, destination, digest)
    _check(draft, host, wishes)
    seen = draft.see_port(node, facts.port, phase="evacuate")
    disable = draft.add(
        f"host-disable:{host.host}",
        title=f"disable nova-compute on {host.host}",
        phase="evacuate",
        changes="source",
        needs=seen,
        params={"host": host.host, "node": node.name, "stuck": wishes.stuck},
        undo="enabled again, if pumphouse disabled it",
        host=host.host,
    )
    # who can leave a living host does so before it loses power
    living = [server for server in host.servers if host.is_up and wishes.told(server) not in FENCED]
    others = [server for server in host.servers if server not in living]
    room = dict(host.room)
    leaving = _servers(draft, host, living, wishes, [disable], room)
    if others:
        fence = _fence(draft, facts, host, (disable, *leaving))
        leaving += _servers(draft, host, others, wishes, [disable, fence], room, fenced=True)
    empty = draft.add(
        f"host-empty:{host.host}",
        title=f"no server is left on {host.host}",
        phase="release",
        changes="source",
        needs=(disable, *leaving),
        params={"host": host.host},
        undo=NOTHING,
        host=host.host,
    )
    off = draft.power_off(node, phase="release", needs=(empty,))
    draft.admin_vlan(node, facts.admin_vlan, phase="release", needs=(off,))
    return draft.finish()


def _fence(draft: HardwareDraft, facts: NodeFacts, host: HostFacts, needs: tuple[str, ...]) -> str:
    node = facts.node
    if node.bmc is None:
        draft.block(
            "no-fence",
            f"host {host.host}",
            "cannot be made sure to be dead: node " + node.name + " has no BMC in site.yaml. A host that Nova calls "
            "down may still run its guests, and building them anew elsewhere would give each address two of them.",
            "describe the BMC (nodes.NAME.bmc), or bring the host up and migrate.",
        )
    return draft.add(
        f"node-fence:{node.name}",
        title=f"power off {node.name} with its servers, and wait until Nova sees {host.host} down",
        phase="evacuate",
        changes="source",
        needs=needs,
        params={"node": node.name, "host": host.host, "serial": node.serial},
        undo="powered on, booting from disk; servers that were built anew elsewhere stay there",
        node=node.name,
        host=host.host,
    )


def _servers(
    draft: HardwareDraft,
    host: HostFacts,
    servers: Iterable[Server],
    wishes: Wishes,
    ready: list[str],
    room: dict[str, int | None],
    *,
    fenced: bool = False,
) -> tuple[str, ...]:
    keys = []
    for server in sorted(servers, key=lambda s: (-host.ram_mib.get(s.id, 0), s.name, s.id)):
        label = f"server {server.name}"
        choice = choose(server, told=wishes.told(server), up=host.is_up, shared=wishes.shared_storage, fenced=fenced)
        draft.servers.append(_plan_server(host, server))
        if choice.problem:
            draft.block("server-stuck", label, f"({server.id}) {choice.problem}.", choice.remedy)
            continue
        if not wishes.target and not _has_zone(host, server):
            draft.block(
                "no-host-in-zone",
                label,
                f"({server.id}) is in zone {server.availability_zone}, in which no other host is up and enabled: the "
                "scheduler finds none.",
                "name the host that it goes to (target): that asks no scheduler.",
            )
        target = wishes.target or (next(iter(room), "") if choice.method in FENCED else "")
        if target in room:
            room[target] = (room[target] or 0) - host.ram_mib.get(server.id, 0)
            roomiest = sorted(room.items(), key=lambda item: (-(item[1] or 0), item[0]))
            room.clear()
            room.update(roomiest)
        if choice.method == "rebuild":
            draft.block(
                "disk-lost",
                label,
                f"({server.id}) is built anew from its image: what it wrote to its disk is lost.",
                "accept `disk-lost` if the server is stateless; or say that its disk is on shared storage, or migrate.",
            )
        draft.note(label, f"{METHODS[choice.method]} ({choice.why}); to {target or 'the scheduler’s choice'}")
        keys.append(
            draft.add(
                f"leave-host:{server.id}",
                title=f"{server.name} leaves {host.host} ({choice.method})",
                phase="evacuate",
                changes="source",
                needs=tuple(ready),
                params={
                    "server_id": server.id,
                    "name": server.name,
                    "host": host.host,
                    "method": choice.method,
                    "target": target,
                    "status": server.status,
                    "address": next((a.address for a in server.addresses if a.version == 4), ""),
                },
                cost="it stays on the host where it went; migrate it by hand if it is to come back",
                server_id=server.id,
                host=host.host,
            )
        )
    return tuple(keys)


def _has_zone(host: HostFacts, server: Server) -> bool:
    zone = server.availability_zone
    return not zone or not host.room or any(host.zone_of(other) == zone for other in host.room)


def _check(draft: HardwareDraft, host: HostFacts, wishes: Wishes) -> None:
    label, room = f"host {host.host}", host.room
    if host.serves_more:
        draft.block(
            "host-serves-more",
            label,
            f"runs {', '.join(host.serves_more)} as well: the source stops working without them.",
            "choose another node, or move those services first; controllers go last (decommission).",
        )
    if host.servers and not room:
        draft.block(
            "no-other-host",
            label,
            f"holds {len(host.servers)} servers, and no other compute host is up and enabled.",
            "enable another host, or move the servers to the destination first.",
        )
    if wishes.target and wishes.target not in room:
        draft.block(
            "no-such-target",
            f"host {wishes.target}",
            "is no other compute host that is up and enabled.",
            f"use one of: {', '.join(room) or 'none'}; or leave it to the scheduler.",
        )
    needed = sum(host.ram_mib.get(server.id, 0) for server in host.servers)
    known = [free for free in room.values() if free is not None]
    if known and len(known) == len(room) and needed > sum(known):
        draft.warn(
            "little-room",
            label,
            f"its servers want {needed} MiB of RAM, the other hosts have {sum(known)} MiB free; whether Nova "
            "overcommits is for its scheduler to say.",
            "move some servers to the destination first.",
        )
    for server in host.unconfirmed:
        draft.block(
            "resize-unconfirmed",
            f"server {server.name}",
            f"({server.id}) waits for its migration to be confirmed, and may have its old disk on {host.host}.",
            "confirm or revert it, then plan again.",
        )


def _plan_server(host: HostFacts, server: Server) -> PlanServer:
    return PlanServer(
        id=server.id,
        name=server.name,
        project=host.projects.get(server.project_id, server.project_id),
        host=server.host,
        status=server.status,
        addresses=tuple(address.address for address in server.addresses if address.address not in server.floating_ips),
        floating_ips=tuple(sorted(server.floating_ips)),
        fingerprint=fingerprint(server),
        flavor=server.flavor_id,
        image=str(server.image_id or ""),
    )
