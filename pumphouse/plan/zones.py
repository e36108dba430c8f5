"""Availability zones: which one a server is booted into at the destination."""

from __future__ import annotations

from pumphouse.model import Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Nova's own name for hosts that nobody put into a zone. Asking for it would pin a server to it for ever.
DEFAULT_ZONE = "nova"


def zone_for(draft: Draft, server: Server) -> str | None:
    """The zone to ask for, or None: the destination's scheduler decides.

    ``destination.availability_zones`` in site.yaml maps the source's zones (to null: any); one that is not named there
    keeps its name, except Nova's own.
    """
    here = server.availability_zone
    mapping = draft.site.availability_zones
    if here is None or (here not in mapping and here == DEFAULT_ZONE):
        return None
    wanted = mapping.get(here, here)
    if wanted is None:
        draft.notes.append(Note(f"availability zone {here}", "is not kept: the destination's scheduler decides"))
        return None
    if wanted != here:
        draft.notes.append(Note(f"availability zone {here}", f"becomes {wanted} at the destination"))
    if draft.destination.has_gap("availability_zones"):
        return wanted
    there = {zone.name: zone for zone in draft.destination.availability_zones}
    if wanted not in there:
        wrong = f"{draft.destination.facts.cloud} has no zone {wanted}"
    elif not there[wanted].available:
        wrong = f"no host of zone {wanted} is up at {draft.destination.facts.cloud}"
    else:
        return wanted
    draft.block(
        "zone-missing",
        f"server {server.name}",
        f"is in availability zone {here}, but {wrong}.",
        "map it in site.yaml, destination.availability_zones (null: any zone), or make the zone there.",
    )
    return wanted
