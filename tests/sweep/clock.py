"""Time that passes when somebody waits for it: a process under test that sleeps for a minute goes on at once.

:func:`install` comes before pumphouse is imported: its functions keep ``time.sleep`` as a default argument.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_sleep, _monotonic = time.sleep, time.monotonic
_slept_s = 0.0
_hurried = False
#: Real seconds of every sleep: what was asked for has a moment to happen.
PAUSE_S = 0.001


def _jump(seconds: float) -> None:
    global _slept_s
    if not _hurried:
        _sleep(seconds)
        return
    _slept_s += max(0.0, seconds)
    _sleep(min(seconds, PAUSE_S) if seconds > 0 else 0)


def _now() -> float:
    return _monotonic() + _slept_s


def install() -> None:
    """Take the clock into our hands; it goes as ever until :func:`hurry`."""
    time.sleep, time.monotonic = _jump, _now  # type: ignore[assignment]


def hurry() -> None:
    """From now on this process (and what it forks) sleeps in no time, and its monotonic clock believes it."""
    global _hurried
    _hurried = True


@contextmanager
def unhurried() -> Iterator[None]:
    """In the block sleeps take their time: somebody waits for what cannot be hurried."""
    global _hurried
    before, _hurried = _hurried, False
    try:
        yield
    finally:
        _hurried = before


def real() -> float:
    """Seconds of the machine's own clock."""
    return _monotonic()


def pause(seconds: float) -> None:
    """Really sleep."""
    _sleep(seconds)
