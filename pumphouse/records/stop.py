"""Stopping a kernel in an orderly way, and remembering why."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

SIGNAL, TIMEOUT = "signal", "timeout"


class StopRequest:
    """One wish to end an execution: at most one reason, the first one given.

    The kernel is interrupted, so that the cell's own ``finally`` blocks run and the traceback gets into the record.
    An interrupt can get lost when it meets the kernel between two cells, so after half of ``grace_s`` it is repeated;
    after all of it the kernel is killed: a record that tells of a killed kernel is worth more than none because
    somebody lost patience with the runner itself.
    """

    def __init__(self, *, grace_s: float = 20.0) -> None:
        self._grace_s = grace_s
        self._kernel: Any = None
        self._busy = False
        self._timer: threading.Timer | None = None
        self.kind: str | None = None
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Whether anybody has asked."""
        return self.kind is not None

    def attach(self, provisioner: Any) -> None:
        """The kernel that is to be stopped from now on (a jupyter_client provisioner with ``pid`` and ``pgid``)."""
        self._kernel = provisioner

    def detach(self) -> None:
        """The kernel is gone: nothing is left to stop, and its process group may belong to somebody else soon."""
        self._kernel = None
        self._busy = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cell_begins(self) -> None:
        """A cell is about to be sent to the kernel; a request made before that interrupts it too."""
        self._busy = True

    def cell_ended(self) -> None:
        """The kernel is idle."""
        self._busy = False

    def request(self, kind: str, reason: str) -> None:
        """Ask the kernel to stop; asking a second time kills it. Safe in a signal handler."""
        if self.requested:
            self._signal(signal.SIGKILL)
            return
        self.kind, self.reason = kind, reason
        if self._kernel is None:
            return
        if self._busy:
            self._signal(signal.SIGINT)
        self._after(self._repeat)

    def _repeat(self) -> None:
        if self._busy:
            self._signal(signal.SIGINT)
        self._after(self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _after(self, action: Callable[[], None]) -> None:
        self._timer = threading.Timer(self._grace_s / 2, action)
        self._timer.daemon = True
        self._timer.start()

    def _signal(self, number: signal.Signals) -> None:
        kernel = self._kernel
        if kernel is None or kernel.pid is None or kernel.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if kernel.pgid and kernel.pgid != os.getpgrp():
                os.killpg(kernel.pgid, number)
            else:
                os.kill(kernel.pid, number)
