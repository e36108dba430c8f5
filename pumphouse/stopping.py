"""Asking a run to stop: a line in the journal, read by whoever executes before the next step begins.

The request may come from another process (a button in another notebook, ``pumphouse stop``): the journal is what they
share. It is meant for one run and one plan, and is spent when that run has stopped for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pumphouse.errors import JournalError, Stopped
from pumphouse.journal import Event, Journal
from pumphouse.journal.store import SCOPE_KEY

#: Step key of requests to stop, and of the line that says that one was followed.
STOP_KEY = "@stop"
_ASKED, _STOPPED = "stop-asked", "stopped"


class StopKind(StrEnum):
    """How to stop. A step under way ends and journals its outcome: nothing is cut off half-way.

    But where it only waits for a cloud, a device or another run that is not there, that wait is given up; the step is
    left as one that was begun, and is looked at and gone on with when the plan is carried out again.
    """

    #: Servers (nodes, hosts) that are begun are finished; no other one is begun.
    AFTER_SERVER = "after-server"
    #: No further step begins, so that a server may stay down.
    NOW = "now"


@dataclass(frozen=True)
class StopRequest:
    """Who asked a run to stop, how and when (aware UTC)."""

    run_id: str
    plan_hash: str
    kind: StopKind
    by: str
    asked_at: datetime


def ask_to_stop(journal: Journal, run_id: str, plan_hash: str, kind: StopKind, *, by: str) -> None:
    """Ask a run that carries out a plan to stop (changes no cloud).

    :raises JournalError: when the run has ended, or does not carry out that plan.
    """
    run = journal.get_run(run_id)
    scoped = journal.events(run_id=run_id, plan_hash=plan_hash, step_key=SCOPE_KEY)
    if run.state == "ended" or not scoped:
        raise JournalError(
            f"Run {run_id} {'has ended' if run.state == 'ended' else 'carries out no step'} of plan {plan_hash[:12]}: "
            f"there is nothing to stop.",
            remedy="`pumphouse journal` shows which runs are under way.",
        )
    journal.write(run_id, plan_hash, STOP_KEY, _ASKED, {"kind": str(kind), "by": by})


def pending_stop(journal: Journal, run_id: str, plan_hash: str) -> StopRequest | None:
    """The request that a run has yet to follow (read only); the sharper one when there are several."""
    asked: list[Event] = []
    for event in journal.events(run_id=run_id, plan_hash=plan_hash, step_key=STOP_KEY):
        asked = [] if event.event == _STOPPED else [*asked, event]
    if not asked:
        return None
    event = next((one for one in asked if one.data["kind"] == StopKind.NOW), asked[-1])
    return StopRequest(run_id, plan_hash, StopKind(event.data["kind"]), str(event.data["by"]), event.at)


def note_stopped(journal: Journal, request: StopRequest) -> None:
    """Journal that a request was followed; running on is up to a person then."""
    journal.write(request.run_id, request.plan_hash, STOP_KEY, _STOPPED, {"kind": str(request.kind), "by": request.by})


def was_stopped(events: Iterable[Event]) -> bool:
    """Whether the last thing that a run's events tell of carrying out a plan is that it stopped as asked."""
    last = _last_word(events)
    return last is not None and last.event == _STOPPED


def stop_of(events: Iterable[Event]) -> Event | None:
    """The request to stop by which a run's events end, followed or not; None: it was not asked, or it went on since."""
    last = _last_word(events)
    return last if last is not None and last.step_key == STOP_KEY else None


def _last_word(events: Iterable[Event]) -> Event | None:
    return next((one for one in reversed([*events]) if one.step_key in (STOP_KEY, SCOPE_KEY)), None)


class Ear:
    """Hears for the steps of one execution whether somebody asked it to stop (see :mod:`pumphouse.pausing`)."""

    def __init__(self, journal: Journal, run_id: str, plan_hash: str) -> None:
        self._journal, self._run_id, self._plan_hash = journal, run_id, plan_hash
        self._over = threading.Event()

    def end(self) -> None:
        """That this process is to end: no wait is wanted any more."""
        self._over.set()

    def ended(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._over.is_set()

    def asked(self) -> StopRequest | None:
        """What somebody asked for (read only)."""
        return pending_stop(self._journal, self._run_id, self._plan_hash)

    def of(self, title: str, *, finishes: bool) -> Hearer:
        """The listener of one step.

        :param finishes: its server is begun, and is finished when the run is to stop after such servers.
        """
        return Hearer(self, title, finishes)


@dataclass(frozen=True)
class Hearer:
    """Listens for one step."""

    ear: Ear
    title: str
    finishes: bool

    def ended(self) -> bool:
        """Whether this process is to end."""
        return self.ear.ended()

    def require_going_on(self) -> None:
        """:raises Stopped: when the process is to end, or somebody asked the run to stop and means this step, too."""
        request = None if self.ended() else self.ear.asked()
        meant = request is not None and (request.kind is StopKind.NOW or not self.finishes)
        if self.ended() or meant:
            raise Stopped(
                f"{self.title}: given up while it waited; what it had begun is in the journal.",
                remedy="carry the plan out again: it is looked at first, then gone on with.",
            )
