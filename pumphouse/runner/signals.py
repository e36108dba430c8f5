"""SIGINT and SIGTERM while notebooks run: end the cell, finish the record, say ``aborted``."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pumphouse.records.stop import SIGNAL, StopRequest


class StopSwitch:
    """One wish to stop for a whole series of notebooks; each notebook's own request hangs on it."""

    def __init__(self, *, grace_s: float = 20.0) -> None:
        self.grace_s = grace_s
        self.reason = ""
        self._current: StopRequest | None = None

    @property
    def thrown(self) -> bool:
        """Whether a signal has come."""
        return bool(self.reason)

    @contextlib.contextmanager
    def guarding(self) -> Iterator[StopRequest]:
        """A request for one notebook, asked at once if a signal has come already."""
        request = StopRequest(grace_s=self.grace_s)
        if self.thrown:
            request.request(SIGNAL, self.reason)
        self._current = request
        try:
            yield request
        finally:
            self._current = None

    def throw(self, reason: str) -> None:
        """Ask whatever runs to stop; a second time kills its kernel."""
        self.reason = self.reason or reason
        if self._current is not None:
            self._current.request(SIGNAL, reason)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopSwitch]:
        """Take SIGINT and SIGTERM for the time being (in the main thread; elsewhere Python allows no handlers)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            self.throw(signal.Signals(number).name)

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
