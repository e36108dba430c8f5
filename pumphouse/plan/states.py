"""What becomes of a server in each of Nova's states: one table, which doc/moving.md shows.

A server is rebuilt from its image, so what it holds in RAM is lost. A source that is paused, suspended or shelved
answers nobody already: it is left exactly as it is and locked, so that a roll back finds what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from pumphouse.inventory import Snapshot
from pumphouse.model import Server


@dataclass(frozen=True)
class Treatment:
    """How a server of one state moves, or why not.

    ``code`` names the finding ("": none), ``why`` and ``remedy`` are its words. ``rests`` are the states in which its
    source waits, the first of them after our stop; none: it does not move. ``arrives`` is its copy's state.
    """

    rests: tuple[str, ...] = ()
    arrives: str = ""
    code: str = ""
    why: str = ""
    remedy: str = ""

    @property
    def moves(self) -> bool:
        """Whether there are steps for it, even if an operator has to accept something first."""
        return bool(self.rests)

    @property
    def stopped_by_us(self) -> bool:
        """Whether its source is running, so that moving it begins with a stop."""
        return self.arrives == "ACTIVE"


_BUSY = "wait until Nova has done it, then take the inventory again; if it never ends, reset its state in the source."
_ACCEPT = "accept `state-not-kept`; or let its owner {verb} it, then take the inventory again."


def _frozen(state: str, verb: str) -> Treatment:
    return Treatment(
        (state,),
        "SHUTOFF",
        "state-not-kept",
        f"is {state}: what it holds in RAM stays behind; its copy is built from the image and arrives stopped.",
        _ACCEPT.format(verb=verb),
    )


def _under_way(what: str) -> Treatment:
    return Treatment(code="server-busy", why=f"is {what}.", remedy=_BUSY)


def _blocked(why: str, remedy: str) -> Treatment:
    return Treatment(code="server-state", why=why, remedy=remedy)


SHELVED = ("SHELVED", "SHELVED_OFFLOADED")
_SHELVED = Treatment(
    SHELVED,
    "SHUTOFF",
    "state-not-kept",
    "is shelved, and the image of its disk cannot be told: its copy is built from its first image and arrives stopped.",
    _ACCEPT.format(verb="unshelve"),
)

#: Nova's server status -> what becomes of it (``nova/api/openstack/common.py``, the same since Havana).
STATES: dict[str, Treatment] = {
    "ACTIVE": Treatment(("SHUTOFF",), "ACTIVE"),
    "SHUTOFF": Treatment(("SHUTOFF",), "SHUTOFF"),
    "PAUSED": _frozen("PAUSED", "unpause"),
    "SUSPENDED": _frozen("SUSPENDED", "resume"),
    "SHELVED": _SHELVED,
    "SHELVED_OFFLOADED": _SHELVED,
    "RESCUE": _blocked(
        "is being rescued: its own disk is not the one it runs from.",
        "let its owner end the rescue (`nova unrescue`), then take the inventory again.",
    ),
    "VERIFY_RESIZE": _blocked(
        "waits for its resize to be confirmed or reverted: it has two disks and two flavors until then.",
        "confirm it or revert it in the source (`nova resize-confirm`, `nova resize-revert`), then take the inventory "
        "again.",
    ),
    "ERROR": _blocked(
        "is in ERROR.",
        "find out why; reset its state in the source (`nova reset-state --active`) if it is well, delete it if it "
        "never was; or leave it out.",
    ),
    "DELETED": _blocked("is deleted.", "leave it out."),
    "SOFT_DELETED": _blocked("is deleted, but can be restored.", "restore it in the source, or leave it out."),
    "BUILD": _under_way("being built"),
    "REBUILD": _under_way("being rebuilt"),
    "RESIZE": _under_way("being resized or migrated"),
    "REVERT_RESIZE": _under_way("going back from a resize"),
    "MIGRATING": _under_way("being migrated live"),
    "REBOOT": _under_way("being rebooted"),
    "HARD_REBOOT": _under_way("being rebooted the hard way"),
    "PASSWORD": _under_way("getting another password"),
}
_UNKNOWN = _blocked(
    "is in a state that pumphouse does not know.",
    "bring it to ACTIVE or SHUTOFF in the source, or leave it out.",
)


def treatment(status: str) -> Treatment:
    """What becomes of a server of that status; an unknown one does not move."""
    return STATES.get(status, _UNKNOWN)


def root_image(source: Snapshot, server: Server) -> str | None:
    """The image that a server's copy boots from: its own, or for a shelved one the image of its disk.

    Shelving leaves ``<name>-shelved`` with the property ``instance_uuid`` (nova/compute/manager.py, Havana and later).
    """
    if server.status in SHELVED:
        found = [
            image.id
            for image in source.images
            if image.properties.get("instance_uuid") == server.id
            and image.name == f"{server.name}-shelved"
            and image.status == "active"
        ]
        if len(found) == 1:
            return found[0]
    return server.image_id
