"""What must hold before a server's copy loses anything; how a server is probed; and times in the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pumphouse.errors import StepError
from pumphouse.serving import ProbeSpec
from pumphouse.steps.base import Context

#: What to do about a source that somebody started again after our stop.
STARTED_AGAIN = (
    "find out who started it, and why. To move it all the same, stop it and run again; to leave it in service, roll it "
    "back, which changes nothing of it, and plan it anew."
)
#: Between two looks at a source whose task is waited for.
TASK_POLL_S = 0.2


def require_source(ctx: Context, source_id: str) -> None:
    """Before the destination's copy loses anything: there must be a source to go back to.

    A task that is under way is waited for: another step of the same roll back may just be starting the source.

    :raises StepError: when the source is gone or being deleted, or its task does not end in ``action_timeout_s``.
    """
    end = time.monotonic() + ctx.site.action_timeout_s
    while True:
        source = ctx.source.compute.find_server(source_id)
        if source is not None and source.task_state is None:
            return
        if source is None or source.task_state == "deleting" or time.monotonic() > end:
            break
        time.sleep(TASK_POLL_S)
    state = "gone" if source is None else f"busy (task {source.task_state})"
    raise StepError(
        f"Server {source_id} of {ctx.source.name} is {state}: its copy at {ctx.destination.name} stays as it is.",
        remedy="keep the copy if the source is gone or being deleted; otherwise wait for the task, then run again.",
    )


def probe_of(ctx: Context, params: Mapping[str, Any]) -> ProbeSpec:
    """How a server is asked whether it serves: as its plan says, since that was approved."""
    if "probe" in params:
        return ProbeSpec.of(params["probe"])
    # a plan of before plans said it
    return ctx.site.expected(params["name"], str(params.get("source_id") or params.get("server_id"))).probe


def one_of(allowed: Sequence[str], found: str | None) -> tuple[str | None, str | None]:
    """(expected, found) for :func:`pumphouse.steps.base.expect`, where any of several states will do."""
    return (found if found in allowed else allowed[0]), found


def iso(at: float | None) -> str | None:
    """A Unix time as the journal keeps it: ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def unix(at: str | None) -> float | None:
    """What :func:`iso` wrote, as Unix time."""
    return None if at is None else datetime.fromisoformat(at).timestamp()
