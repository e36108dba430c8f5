"""Progress as lines: one event, one line, from any thread, the same in a cell, a record and a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from pumphouse.notebook.html import one_line


class Reporter:
    """Prints ``21:30:05Z  message``; pass it wherever a ``progress`` callable is asked for.

    :param stream: where to; by default ``sys.stdout`` as it is at each call (a kernel replaces it per cell).
    :param now: the clock, aware UTC.
    """

    def __init__(
        self, stream: TextIO | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._stream = stream
        self._now = now
        self._lock = threading.Lock()

    def __call__(self, message: str) -> None:
        """Print one event. Line breaks and control characters in it become spaces."""
        line = f"{self._now().astimezone(UTC):%H:%M:%S}Z  {one_line(message)}\n"
        with self._lock:
            stream = self._stream or sys.stdout
            stream.write(line)
            stream.flush()
