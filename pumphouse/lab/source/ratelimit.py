"""Nova's rate limits: a leaking bucket per user and limit, as its middleware of 2013 keeps them.

A bucket may be filled at once and empties evenly over its period. The clock may run faster than the wall's, so that
tests need not wait minutes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MINUTE_S, DAY_S = 60, 86400
_UNITS = {1: "second", MINUTE_S: "minute", 3600: "hour", DAY_S: "day"}


@dataclass(frozen=True)
class Limit:
    """So many requests of one method in a period, for URIs that match.

    :param uri: how Nova writes the URIs in refusals and in ``GET /limits``.
    :param regex: searched at the beginning of the path below the project, with its query.
    """

    verb: str
    uri: str
    regex: str
    value: int
    period_s: int

    @property
    def unit(self) -> str:
        """The period's name."""
        return _UNITS[self.period_s]


@dataclass(frozen=True)
class Refusal:
    """A request too many: which limit, and the seconds (of the wall's clock) until there is room again."""

    limit: Limit
    wait_s: float

    @property
    def retry_after(self) -> str:
        """The value of Retry-After: whole seconds, rounded up."""
        return str(math.ceil(self.wait_s))

    @property
    def details(self) -> str:
        """Nova's sentence."""
        return (
            f"Only {self.limit.value} {self.limit.verb} request(s) can be made to {self.limit.uri} "
            f"every {self.limit.unit}."
        )


@dataclass
class _Bucket:
    level_s: float = 0.0
    at_s: float | None = None


@dataclass
class RateLimiter:
    """The limits of one Nova.

    :param on: False lets everything pass.
    :param scale: factor on all waiting; 0.1 makes the clock run ten times as fast, 0 lets everything pass.
    :param clock: the wall's clock in seconds.
    """

    limits: tuple[Limit, ...]
    on: bool = True
    scale: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[tuple[str, Limit], _Bucket] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether any request can be refused."""
        return self.on and self.scale > 0 and bool(self.limits)

    def check(self, user_id: str, verb: str, path: str) -> Refusal | None:
        """Count a request, or refuse it.

        :param path: the path below the project's, with its query.
        """
        if not self.active:
            return None
        refused = []
        for limit in self.limits:
            if limit.verb == verb and re.match(limit.regex, path):
                wait_s = self._pour(user_id, limit)
                if wait_s > 0:
                    refused.append(Refusal(limit, wait_s * self.scale))
        return min(refused, key=lambda r: r.wait_s, default=None)

    def _pour(self, user_id: str, limit: Limit) -> float:
        bucket = self._buckets.setdefault((user_id, limit), _Bucket())
        now_s = self.clock() / self.scale
        level_s = bucket.level_s if bucket.at_s is None else max(bucket.level_s - (now_s - bucket.at_s), 0.0)
        bucket.at_s = now_s
        filled_s = level_s + limit.period_s / limit.value
        # buckets are filled in fractions: the last request that fits must not fail by a rounding error
        over_s = filled_s - limit.period_s
        if over_s > 1e-9:
            bucket.level_s = level_s
            return over_s
        bucket.level_s = filled_s
        return 0.0

    def remaining(self, user_id: str, limit: Limit) -> int:
        """How many more requests would pass now."""
        bucket = self._buckets.get((user_id, limit))
        if bucket is None or bucket.at_s is None or not self.active:
            return limit.value
        level_s = max(bucket.level_s - (self.clock() / self.scale - bucket.at_s), 0.0)
        return int((limit.period_s - level_s) / limit.period_s * limit.value + 1e-9)

    def reset(self) -> None:
        """Empty all buckets."""
        self._buckets.clear()
