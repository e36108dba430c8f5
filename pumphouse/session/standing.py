"""How far the carrying out of a plan has come, read from the journal alone: from any process, at any moment."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pumphouse.journal import Event, Journal
from pumphouse.journal.store import STEP_EVENTS
from pumphouse.plan.model import Plan, PlannedStep, PlanServer
from pumphouse.steps.progress import BYTES_KEY
from pumphouse.stopping import StopRequest, pending_stop

_DONE = ("verified", "skipped", "undone")
_UNDER_WAY = ("intent", "done", "undo-intent")
#: Steps that must have ended before the time that is left is estimated.
_ENOUGH = 3


@dataclass(frozen=True)
class ServerStanding:
    """One server: ``state`` is waiting, under way, half-way, done or failed; ``now`` says what happens to it.

    ``down_s``: seconds since it was told to stop, until it served again; ``None``: not stopped, or by no step.
    """

    id: str
    name: str
    project: str
    state: str
    now: str
    done: int
    steps: int
    down_s: float | None = None


@dataclass(frozen=True)
class Standing:
    """Steps, servers, bytes and time of some phases of a plan. ``left_s`` is ``None`` while it cannot be estimated."""

    plan_hash: str
    steps: int
    verified: int
    failed: int
    under_way: tuple[str, ...]
    servers: tuple[ServerStanding, ...]
    copy_bytes: int
    copied_bytes: int
    bytes_per_s: float
    left_s: float | None
    stop: StopRequest | None
    #: whether anything is left to begin beside the servers, nodes and hosts that are begun
    others: bool = True

    @property
    def complete(self) -> bool:
        """Whether every step is verified."""
        return self.verified == self.steps

    def count(self, state: str) -> int:
        """How many servers are in a state."""
        return sum(server.state == state for server in self.servers)


@dataclass
class _Life:
    """What was journalled of one step last, and when its last attempt began."""

    last: str = ""
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""


@dataclass
class Follower:
    """Follows one plan in the journal; asking again reads only what was added since (read only, from any thread).

    :param phases: the phases that count; all when empty.
    :param run_id: the run that carries it out: requests to stop are made to a run.
    """

    journal: Journal
    plan: Plan
    run_id: str
    phases: tuple[str, ...] = ()
    _seen: int = 0
    _lives: dict[str, _Life] = field(default_factory=dict)
    _bytes: dict[str, tuple[int, float]] = field(default_factory=dict)
    _begun_at: datetime | None = None
    _here: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # a button and the thread that follows must not both take in one event
        self._steps = self.plan.phase(*self.phases) if self.phases else self.plan.steps
        self._sizes = {step.key: _size(step) for step in self._steps}
        self._of: dict[str, list[PlannedStep]] = {}
        for step in self._steps:
            if step.server_id:
                self._of.setdefault(step.server_id, []).append(step)

    def look(self, now: datetime) -> Standing:
        """Where things stand at ``now`` (aware UTC)."""
        with self._lock:
            self._read(self.journal.events(plan_hash=self.plan.hash, after=self._seen))
            return self._stand(now)

    def _told(self) -> Iterable[PlanServer]:
        """All servers of the plan; of phases about nodes and hosts only those that have steps there."""
        if any(step.server_id is None and (step.node or step.host) for step in self._steps):
            return [server for server in self.plan.servers if server.id in self._of]
        return self.plan.servers

    def _stand(self, now: datetime) -> Standing:
        lives = [self._lives.get(step.key, _Life()) for step in self._steps]
        done = [step for step, life in zip(self._steps, lives, strict=True) if life.last in _DONE]
        under_way = [step for step, life in zip(self._steps, lives, strict=True) if life.last in _UNDER_WAY]
        copied = sum(self._sizes[step.key] for step in done)
        flying = [self._bytes[step.key] for step in under_way if step.key in self._bytes]
        copied += sum(passed for passed, _rate in flying)
        total = sum(self._sizes.values())
        rate = sum(rate for _passed, rate in flying)
        return Standing(
            plan_hash=self.plan.hash,
            steps=len(self._steps),
            verified=len(done),
            failed=sum(life.last in ("failed", "refused") for life in lives),
            under_way=tuple(step.title for step in under_way),
            servers=tuple(self._server(server.id, server.name, server.project, now) for server in self._told()),
            copy_bytes=total,
            copied_bytes=min(copied, total),
            bytes_per_s=rate,
            left_s=self._left(now, len(self._steps) - len(done), total - copied, rate),
            stop=pending_stop(self.journal, self.run_id, self.plan.hash),
            others=self._others(),
        )

    def _others(self) -> bool:
        """As the executor has it: what several share is nobody's, and what was only prepared is not begun."""
        begun = {step.owner for step in self.plan.steps if step.phase != "prepare" and step.key in self._lives}
        waiting = [step for step in self._steps if step.key not in self._lives]
        return any(step.owner is None or step.owner not in begun for step in waiting)

    def _read(self, events: Iterable[Event]) -> None:
        for event in events:
            self._seen = max(self._seen, event.id)
            if event.step_key == BYTES_KEY:
                self._bytes[str(event.data["step"])] = (event.data["passed_bytes"], event.data["bytes_per_s"])
            elif event.event in STEP_EVENTS:
                self._advance(event)

    def _advance(self, event: Event) -> None:
        life = self._lives.setdefault(event.step_key, _Life())
        life.last, life.error = event.event, str(event.data.get("error", ""))
        if event.event in ("intent", "undo-intent"):
            life.begun_at, life.ended_at = event.at, None
        elif event.event in ("verified", "undone", "failed"):
            life.ended_at = event.at
        if event.run_id == self.run_id and event.step_key in self._sizes:
            self._begun_at = self._begun_at or event.at
            self._here += event.event in ("verified", "undone")

    def _server(self, server_id: str, name: str, project: str, now: datetime) -> ServerStanding:
        steps = self._of.get(server_id, [])
        lives = [(step, self._lives.get(step.key, _Life())) for step in steps]
        done = sum(life.last in _DONE for _step, life in lives)
        failed = next((life.error for _step, life in lives if life.last in ("failed", "refused")), None)
        busy = next((step.title for step, life in reversed(lives) if life.last in _UNDER_WAY), None)
        if failed is not None:
            state, words = "failed", failed
        elif busy is not None:
            state, words = "under way", busy
        elif steps and done == len(steps):
            state, words = "done", steps[-1].title
        elif done:
            waits = next(step.title for step, life in lives if life.last not in _DONE)
            state, words = "half-way", f"next: {waits}"
        else:
            state, words = "waiting", ""
        return ServerStanding(server_id, name, project, state, words, done, len(steps), self._down(server_id, now))

    def _down(self, server_id: str, now: datetime) -> float | None:
        stop, settle = self._lives.get(f"stop:{server_id}"), self._lives.get(f"settle:{server_id}")
        if stop is None or stop.begun_at is None or f"stop:{server_id}" not in self._sizes:
            return None
        back = settle.ended_at if settle is not None and settle.last in _DONE else None
        return max(0.0, ((back or now) - stop.begun_at) / timedelta(seconds=1))

    def _left(self, now: datetime, steps: int, size_bytes: int, rate: float) -> float | None:
        if steps == 0:
            return 0.0
        if self._begun_at is None or self._here < _ENOUGH:
            return size_bytes / rate if rate and size_bytes > 0 else None
        by_steps = (now - self._begun_at) / timedelta(seconds=1) / self._here * steps
        return max(by_steps, size_bytes / rate) if rate and size_bytes > 0 else by_steps


def _size(step: PlannedStep) -> int:
    """Bytes that a step copies."""
    if step.kind != "image" or step.params.get("twin_id"):
        return 0
    return int(step.params.get("image", {}).get("size_bytes") or 0)
