"""Keeping what a run has claimed while it works, and noticing when it slept: a stopped process, a closed laptop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from pumphouse.errors import ClaimHeld, JournalError
from pumphouse.journal import Journal

#: Seconds between two looks at the clocks.
TICK_S = 1.0
#: Seconds that a tick may be late before we call it sleep: a busy machine is late, too.
LATE_S = 10.0


class Keeper:
    """Prolongs a run's claims while the block runs, and tells of sleep and of clocks that were set.

    A process that slept longer than its lease may have lost a server to somebody else. So before a request that
    changes anything leaves, :meth:`permit` makes sure that the claims are still ours: at once where they were prolonged
    a moment ago, by asking the journal where not.

    :param report: takes one line per event.
    :param named: tells of a claim's key in words what it is on.
    :param wall: seconds since 1970, as the machine's clock has them.
    :param steady: seconds, ever growing, whatever is done to the clock; stands still while the machine sleeps.
    """

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        *,
        lease_s: float,
        report: Callable[[str], None],
        named: Callable[[str], str] = str,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        tick_s: float = TICK_S,
    ) -> None:
        self._journal, self._run_id, self._report, self._named = journal, run_id, report, named
        self.lease_s = lease_s
        self._wall, self._steady, self._tick_s = wall, steady, tick_s
        self._keys: set[str] = set()
        self._lost: set[str] = set()
        self._silent = False
        self._prolonged = (wall(), steady())
        self._seen = self._prolonged
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeper {run_id}", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10 * self._tick_s)

    def claimed(self, keys: Iterable[str]) -> None:
        """That these were just claimed."""
        with self._lock:
            self._keys.update(keys)
            self._lost.difference_update(keys)

    def released(self, key: str) -> None:
        """That this is given back; to be called before the journal forgets it."""
        with self._lock:
            self._keys.discard(key)

    def permit(self, keys: Iterable[str]) -> None:
        """Make sure that we still hold these.

        :raises ClaimHeld: when somebody took one of them over while we slept.
        :raises JournalError: when the journal cannot tell.
        """
        while True:
            with self._lock:
                expected, asked = set(self._keys), (self._wall(), self._steady())
                if self._age_s() <= self.lease_s / 3:
                    lost = sorted(self._lost & set(keys))
                    break
            # not under the lock: a journal that is gone is waited for, and the clocks are looked at meanwhile
            held = self._journal.renew(self._run_id, lease_s=self.lease_s)
            with self._lock:
                self._noted(expected, asked, held)
        if lost:
            raise ClaimHeld(
                f"{', '.join(map(self._named, lost))}: the claim of run {self._run_id} ended while this process slept, "
                f"and another run took it over.",
                remedy="`pumphouse journal` shows which; wait for it to end, then run the same notebook again.",
            )

    def tick(self) -> None:
        """Look at the clocks; prolong the claims when it is time, or when we slept."""
        with self._lock:
            wall, steady = self._wall(), self._steady()
            by_wall, by_steady = wall - self._seen[0], steady - self._seen[1]
            self._seen = (wall, steady)
            late_s = max(by_wall, by_steady) - self._tick_s
            if by_wall < -LATE_S:
                self._report(f"clock    was set back by {-by_wall:.0f} s")
            elif late_s > LATE_S:
                how = "slept, or the clock was set forward," if by_wall - by_steady > LATE_S else "did nothing"
                self._report(f"awake    this process {how} for {late_s:.0f} s; it goes on")
            if late_s <= LATE_S and self._age_s() <= self.lease_s / 3:
                return
            try:
                self._prolong()
                self._silent = False
            except JournalError as error:
                if not self._silent:
                    self._report(f"waiting  claims are not prolonged: {error.message}")
                self._silent = True

    def _age_s(self) -> float:
        """How long ago the claims were prolonged, by whichever clock makes it longer."""
        return max(self._wall() - self._prolonged[0], self._steady() - self._prolonged[1])

    def _prolong(self) -> None:
        asked, expected = (self._wall(), self._steady()), set(self._keys)
        self._noted(expected, asked, self._journal.renew(self._run_id, lease_s=self.lease_s, wait=False))

    def _noted(self, expected: set[str], asked: tuple[float, float], held: frozenset[str]) -> None:
        self._prolonged = asked
        gone = (expected & self._keys) - held
        for key in sorted(gone - self._lost):
            self._report(f"LOST     the claim on {self._named(key)}: another run took it over while this process slept")
        self._lost |= gone

    def _run(self) -> None:
        while not self._over.wait(self._tick_s):
            self.tick()
