"""What became of a plan's servers while it waited: whether anything but some of its servers changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pumphouse.plan.model import Plan, PlannedStep


def changed_servers(old: Plan, new: Plan) -> frozenset[str] | None:
    """Ids of servers that changed or went since an old plan was made; None when more than that changed.

    When Nova last touched a record does not count: what somebody did to a server is asked for when it is to be stopped.

    :param new: the plan that would be made now, of the same servers or of those that are left.
    """
    then = {server.id: replace(server, updated_at=None, host=None) for server in old.servers}
    now = {server.id: replace(server, updated_at=None, host=None) for server in new.servers}
    ends = [(plan.kind, plan.source, plan.destination) for plan in (old, new)]
    if not now.keys() <= then.keys() or ends[0] != ends[1]:
        return None
    differ = {server_id for server_id, server in then.items() if now.get(server_id) != server}
    for server_id in then.keys() - differ:
        if _own(old, server_id) != _own(new, server_id):
            return None  # the same server, to be moved in another way
    if _shared(old, differ) != _shared(new, differ):
        return None
    return frozenset(differ)


def _own(plan: Plan, server_id: str) -> dict[str, PlannedStep]:
    return {step.key: step for step in plan.steps if step.server_id == server_id}


def _shared(plan: Plan, without: set[str]) -> dict[str, PlannedStep]:
    """Steps that servers share, but those which only servers that are left out need."""
    steps = {step.key: step for step in plan.steps}
    theirs = _needed(steps, (key for key, step in steps.items() if step.server_id in without))
    kept = _needed(steps, (key for key in steps if key not in theirs))
    return {
        key: replace(step, needs=tuple(need for need in step.needs if need in kept))
        for key, step in steps.items()
        if key in kept and step.server_id is None
    }


def _needed(steps: Mapping[str, PlannedStep], roots: Iterable[str]) -> set[str]:
    found: set[str] = set()
    todo = list(roots)
    while todo:
        key = todo.pop()
        if key not in found and key in steps:
            found.add(key)
            todo.extend(steps[key].needs)
    return found
