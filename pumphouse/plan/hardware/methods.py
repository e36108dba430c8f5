"""How each server leaves its host: chosen from what the cloud and the server allow, or told by the operator."""

from __future__ import annotations

from dataclasses import dataclass

from pumphouse.model import Server

#: Ways to leave a host, and what they mean for the server.
METHODS = {
    "live": "live migration on shared storage: it goes on running",
    "block": "live migration with its disk copied: it goes on running",
    "cold": "cold migration: its disk is copied while it is stopped; on the other host it starts again if it ran",
    "evacuate": "built anew elsewhere from its disk on shared storage, after its node was powered off",
    "rebuild": "built anew elsewhere from its image, after its node was powered off: what it wrote is lost",
}
#: Methods for which the host must be dead, and be so for certain.
FENCED = frozenset({"evacuate", "rebuild"})
_MOVABLE = {
    "live": ("ACTIVE",),
    "block": ("ACTIVE",),
    "cold": ("ACTIVE", "SHUTOFF"),
    "evacuate": ("ACTIVE", "SHUTOFF"),
    "rebuild": ("ACTIVE", "SHUTOFF"),
}


@dataclass(frozen=True)
class Choice:
    """How one server leaves and why; ``problem`` says why it cannot, with its ``remedy``."""

    method: str
    why: str
    problem: str = ""
    remedy: str = ""


def choose(server: Server, *, told: str, up: bool, shared: bool, fenced: bool) -> Choice:
    """The method for one server.

    :param told: what the operator said: one of :data:`METHODS`, or ``auto``.
    :param up: whether the host's nova-compute gives signs of life.
    :param shared: whether the servers' disks are on storage that all hosts have (no API tells).
    :param fenced: whether the plan powers the node off first.
    """
    if server.task_state is not None:
        return Choice("", "", f"is busy: task {server.task_state}", "wait until Nova has done it, then plan again.")
    if fenced or not up:
        dead = "its node is powered off first" if up else "its host is down"
        method, why = ("evacuate" if shared else "rebuild"), dead
    elif server.status == "SHUTOFF":
        method, why = "cold", "it is stopped: only a running server migrates live"
    else:
        method = "live" if shared else "block"
        why = "it runs; its disk is on shared storage" if shared else "it runs; no shared storage was named"
    if told != "auto":
        stopped = told in ("live", "block") and server.status == "SHUTOFF"
        if stopped:
            why = f"{told} was told, but {why}"
        else:
            method, why = told, "told by the operator"
    if server.status not in _MOVABLE[method]:
        remedy = f"let its owner bring it to {' or '.join(_MOVABLE[method])}, or delete it; then plan again."
        if server.status == "VERIFY_RESIZE":
            remedy = "confirm or revert its resize, then plan again."
        return Choice(method, why, f"is {server.status}: Nova does not move such a server", remedy)
    return Choice(method, why)
