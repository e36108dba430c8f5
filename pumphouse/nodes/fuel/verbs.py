"""What all parts of the Fuel client share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pumphouse.errors import FuelTaskFailed, NodeRefused, NodeUnreachable
from pumphouse.nodes.fuel import parse
from pumphouse.nodes.fuel.model import FuelEnvironment, FuelNode, FuelTask, FuelVersion
from pumphouse.nodes.fuel.wire import Wire

Report = Callable[[str], None]
Found = TypeVar("Found")

_PATIENCE_S = 300.0
"""How long a master may be away while something is waited for: its services are restarted now and then."""


_FIRST, _LAST = (5, 1), (8, 0)


def silent(_line: str) -> None:
    """A report that nobody reads."""


class Verbs(ABC):
    """The wire, the clock, and the verbs that one part needs of another.

    :param poll_s: seconds between two looks at something that is waited for.
    """

    def __init__(self, wire: Wire, *, poll_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.wire = wire
        self.name = wire.name
        self._poll_s = poll_s
        self._clock = clock
        self._version: FuelVersion | None = None

    def version(self) -> FuelVersion:
        """Release and API of the master (read only; needs no login)."""
        if self._version is None:
            self._version = parse.version(self.wire.version())
        return self._version

    @abstractmethod
    def list_nodes(self, environment_id: int | None = None) -> list[FuelNode]:
        """Nodes of one environment, or all."""

    @abstractmethod
    def get_environment(self, environment_id: int) -> FuelEnvironment:
        """An environment."""

    @abstractmethod
    def running_task(self, environment_id: int) -> FuelTask | None:
        """What goes on in an environment."""

    @abstractmethod
    def wait_task(
        self, task_id: int, *, node_ids: Iterable[int] = (), timeout_s: float | None = None, report: Report = silent
    ) -> FuelTask:
        """Wait for a task."""

    def _until(self, timeout_s: float) -> Iterator[float]:
        """Rounds of looking, ``poll_s`` apart, until the time is up; there is always one more look at its end."""
        end = self._clock() + timeout_s
        while True:
            left_s = end - self._clock()
            yield left_s
            if left_s <= 0:
                return
            self.wire.sleep(min(self._poll_s, max(left_s, 0.0)))

    def _wait(self, timeout_s: float, report: Report, look: Callable[[], Found | None]) -> Found | None:
        """Look until something is found, or None when the time is up; the master may be away for a while meanwhile."""
        away_since: float | None = None
        for left_s in self._until(timeout_s):
            try:
                found = look()
            except (NodeUnreachable, NodeRefused) as error:
                if isinstance(error, NodeRefused) and error.status < 500:
                    raise
                now = self._clock()
                if away_since is None:
                    away_since = now
                    report(f"{error.message} Waiting for it to come back.")
                if now - away_since > _PATIENCE_S or left_s <= 0:
                    raise
                continue
            away_since = None
            if found is not None:
                return found
        return None

    def _tried(self) -> None:
        """Refuse to begin anything on a release whose ways nobody has tried: a deployment overwrites disks."""
        version = self.version()
        if not _FIRST <= version.number <= _LAST:
            raise self._refuse(
                f"it is release {version.release}, and only 5.1 to 8.0 were tried", "deploy with Fuel's own client."
            )

    def _refuse(self, what: str, remedy: str) -> NodeRefused:
        return NodeRefused(f"{self.name}: {what}.", remedy=remedy)

    def _idle(self, environment_id: int, verb: str) -> None:
        running = self.running_task(environment_id)
        if running is not None:
            raise self._refuse(
                f"environment {environment_id} cannot be {verb}: task {running.id} ({running.name}) {running.status}",
                "wait until it is over.",
            )

    def _task_failed(self, task: FuelTask, nodes: Iterable[FuelNode]) -> FuelTaskFailed:
        named = ", ".join(
            f"{node.name} ({node.fqdn or f'node-{node.id}'}, {node.error_type or 'error'})" for node in nodes
        )
        return FuelTaskFailed(
            f"{self.name}: task {task.id} ({task.name}) ended in error: {task.message or 'no reason given'}."
            + (f" Nodes in error: {named}." if named else ""),
            remedy="Fuel puts all nodes of a failed task into error: find the one that its message names in Astute's "
            "and Puppet's logs, correct the cause, then deploy again (after `reset` where Fuel demands it).",
        )
