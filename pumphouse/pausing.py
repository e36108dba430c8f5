"""Waiting for something that is gone, in a way that can be ended: a run that was asked to stop hears it meanwhile.

Whoever carries out a step says who listens (:func:`listening`); clouds, devices and the journal wait with :func:`pause`
and :func:`linger`, and know nothing of runs. Without a listener both just sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

#: Seconds between two moments at which a listener is asked.
EAR_S = 0.5


class Listener(Protocol):
    """Who knows whether this wait is still wanted."""

    def ended(self) -> bool:
        """Whether this process is to end: known without asking anybody."""

    def require_going_on(self) -> None:
        """:raises Stopped: when somebody asked to stop, or :meth:`ended`; asks the journal."""


_listener: ContextVar[Listener | None] = ContextVar("pumphouse_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have this thread's waits ended by that listener in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def pause(seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep, for a cloud or a device that is gone.

    :raises Stopped: as soon as the listener says so.
    """
    listener = _listener.get()
    if listener is None:
        sleep(seconds)
        return
    listener.require_going_on()
    for part in _parts(seconds):
        sleep(part)
        listener.require_going_on()


def linger(seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Sleep, for a journal that is gone, so that nobody can be asked through it; False: this process is to end."""
    listener = _listener.get()
    if listener is None:
        sleep(seconds)
        return True
    for part in _parts(seconds):
        if listener.ended():
            return False
        sleep(part)
    return not listener.ended()


def _parts(seconds: float) -> Iterator[float]:
    while seconds > 0:
        yield min(EAR_S, seconds)
        seconds -= EAR_S
