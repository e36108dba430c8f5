"""How far a long transfer has come, in lines that are worth a record: bytes, rate and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pumphouse.errors import JournalError
from pumphouse.plan.model import PlannedStep

if TYPE_CHECKING:
    from pumphouse.steps.base import Context

#: Step key of events that say how far a transfer is; they are no part of any step's life.
BYTES_KEY = "@bytes"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Called with the bytes passed so far; reports at most one line every ``every_s`` seconds.

    :param report: takes one line per event.
    :param what: the object, first in each line.
    :param total_bytes: ``None`` where it is not known: then there is no end to foretell.
    :param clock: seconds, ever growing.
    :param note: takes bytes passed and bytes per second, every ``note_s`` seconds: for whoever watches from elsewhere.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        what: str,
        total_bytes: int | None,
        *,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[int, float], None] = lambda _passed_bytes, _rate: None,
        note_s: float = 2.0,
    ) -> None:
        self._report, self._what, self._total_bytes = report, what, total_bytes
        self._every_s, self._clock = every_s, clock
        self._note, self._note_s = note, note_s
        self._begun = self._last = self._noted = clock()
        self._passed_bytes = 0

    def __call__(self, passed_bytes: int) -> None:
        """So many bytes have passed in all."""
        self._passed_bytes = passed_bytes
        now = self._clock()
        if now - self._last >= self._every_s:
            self._last = now
            self._report(self.line())
        if now - self._noted >= self._note_s:
            self._noted = now
            self._note(passed_bytes, passed_bytes / self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the transfer began."""
        return self._clock() - self._begun

    def line(self) -> str:
        """Bytes, rate and time left, e.g. ``image web: 1.5 of 2.0 GiB (75 %), 98.3 MiB/s, 5 s left``."""
        seconds, passed, total = self.seconds, self._passed_bytes, self._total_bytes
        rate = passed / seconds if seconds > 0 else 0.0
        text = f"{self._what}: {size_text(passed)}"
        if total:
            text += f" of {size_text(total)} ({100 * passed // total} %)"
        text += f", {size_text(rate)}/s"
        if total and rate and passed < total:
            text += f", {duration_text((total - passed) / rate)} left"
        return text


def bytes_noted(ctx: Context, step: PlannedStep) -> Callable[[int, float], None]:
    """Writes into the journal how far a step's transfer is, so that it can be seen from anywhere."""

    def note(passed_bytes: int, rate: float) -> None:
        data = {"step": step.key, "passed_bytes": passed_bytes, "bytes_per_s": round(rate)}
        # how far it is, is not how it ends: that line alone must be written
        with suppress(JournalError):
            ctx.journal.write(ctx.run_id, ctx.plan.hash, BYTES_KEY, "bytes", data)

    return note


def size_text(size_bytes: float) -> str:
    """A number of bytes for people, in binary units."""
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes /= 1024
        unit += 1
    return f"{size_bytes:.{1 if unit else 0}f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Seconds for people: ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
