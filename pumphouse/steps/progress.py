"""How far a long transfer has come, in lines that are worth a record: bytes, rate and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Called with the bytes passed so far; reports at most one line every ``every_s`` seconds.

    :param report: takes one line per event.
    :param what: the object, first in each line.
    :param total_bytes: ``None`` where it is not known: then there is no end to foretell.
    :param clock: seconds, ever growing.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        what: str,
        total_bytes: int | None,
        *,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._what, self._total_bytes = report, what, total_bytes
        self._every_s, self._clock = every_s, clock
        self._begun = self._last = clock()
        self._passed_bytes = 0

    def __call__(self, passed_bytes: int) -> None:
        """So many bytes have passed in all."""
        self._passed_bytes = passed_bytes
        now = self._clock()
        if now - self._last >= self._every_s:
            self._last = now
            self._report(self.line())

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
            text += f", {_duration((total - passed) / rate)} left"
        return text


def size_text(size_bytes: float) -> str:
    """A number of bytes for people, in binary units."""
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes /= 1024
        unit += 1
    return f"{size_bytes:.{1 if unit else 0}f} {_UNITS[unit]}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
