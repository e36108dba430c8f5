"""Finding what was made of a server at the destination, whatever the journal knows: it may be a backup's."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from pumphouse.clouds.api import Compute
from pumphouse.errors import StepError
from pumphouse.model import MARKER, Server
from pumphouse.plan.model import PlannedStep
from pumphouse.plan.ports import port_name
from pumphouse.probes import answers
from pumphouse.serving import ProbeSpec
from pumphouse.steps.base import Context

#: Between two looks whether an address has fallen silent, and for how long it is looked at: what was just deleted may
#: still be answering.
_POLL_S, _SILENCE_S = 0.2, 5.0
#: Probes whose yes can only come from whoever holds the address; a command may ask anybody.
_ASKS_THE_ADDRESS = ("tcp", "http", "ping")


def copies_of(
    ctx: Context,
    compute: Compute,
    source_id: str,
    name: str,
    addresses: Collection[str],
    *,
    project_id: str | None,
    made: str | None = None,
) -> list[Server]:
    """All that we made for a source server, whoever of the destination asks (read only).

    By our marker under its name, by id under any other, and, since the marker goes when the copy has been seen to
    serve, by the ports that carry our name; nova-network has none, there its name and one of its addresses tell.

    :param compute: the destination's Nova as whoever acts.
    :param project_id: the project at the destination; None when the journal does not know it: in all of them.
    :param made: an id that a step has noted.
    """
    neutron = ctx.destination.facts.network_service == "neutron"
    found: dict[str, Server] = {}
    for server in compute.list_servers(project_id=project_id, name=name):
        marked = server.metadata.get(MARKER) == source_id
        if marked or (not neutron and set(addresses) & {one.address for one in server.addresses}):
            found[server.id] = server
    ids = {made, ctx.journal.mapping("server", source_id)}
    if neutron:
        ids |= {port.server_id for port in ctx.destination.neutron.list_ports(name=port_name(source_id))}
    for server_id in ids - {None, "", *found}:
        known = compute.find_server(str(server_id))
        if known is not None:  # in whichever project: that may have been deleted and made anew under its copies
            found[known.id] = known
    return list(found.values())


def require_booted_by_us(ctx: Context, step: PlannedStep, copies: Iterable[Server], made: str | None) -> None:
    """What only has the place of a copy, and was booted from something else, is a server of its owner's (read only).

    :raises StepError: when there is one; nothing is deleted then.
    """
    source_id = step.params["source_id"]
    known = {made, ctx.journal.mapping("server", source_id)}
    for found in copies:
        if found.id in known or found.metadata.get(MARKER) == source_id:
            continue
        if ctx.journal.mapping("image", step.params["image_id"]) in (None, found.image_id):
            continue
        raise StepError(
            f"Server {found.name} ({found.id}) at {ctx.destination.name} has the port or the address of the copy of "
            f"{step.params['name']} ({source_id}), but was booted from another image: it is not deleted.",
            remedy="ask its owner. Delete it there, or take the port or address away from it, then run again.",
        )


def require_no_copy(ctx: Context, server: Server, spec: ProbeSpec) -> None:
    """Starting a source while its copy is there would make two live copies, whatever the journal says.

    :param spec: how its guest is asked: nobody may answer for it, neither.
    """
    addresses = [one.address for one in server.addresses if one.version == 4]
    project_id = ctx.journal.mapping("project", server.project_id)
    compute = ctx.destination.compute
    copies = copies_of(ctx, compute, server.id, server.name, addresses, project_id=project_id)
    if copies:
        raise StepError(
            f"Server {server.name} ({server.id}) is not started at {ctx.source.name}: its copy "
            f"{', '.join(copy.id for copy in copies)} is still at {ctx.destination.name}.",
            remedy="run the roll back again; it deletes the copy first. If it does not, the journal does not know of "
            "the copy (a backup was restored?): if the source is to live, delete the copy by hand, then run again.",
        )
    if server.status == "ACTIVE" or spec.kind not in _ASKS_THE_ADDRESS:
        return
    for address in addresses:
        _require_silence(ctx, server, spec, address)


def _require_silence(ctx: Context, server: Server, spec: ProbeSpec, address: str) -> None:
    end = time.monotonic() + _SILENCE_S
    while _answered(spec, address):
        now = ctx.source.compute.get_server(server.id)
        if now.status == "ACTIVE" or now.task_state is not None:
            return  # its own guest: a run that was cut off had started it
        if time.monotonic() > end:
            raise StepError(
                f"Server {server.name} ({server.id}) is {server.status} at {ctx.source.name} and not started: "
                f"somebody else answers on its address {address}.",
                remedy="find who has the address (another cloud's copy?) and take it away there; then run again.",
            )
        time.sleep(_POLL_S)


def _answered(spec: ProbeSpec, address: str) -> bool:
    try:
        return answers(spec, address)
    except StepError:
        return False  # a probe that cannot be made on this machine says nothing, and must not keep a server down
