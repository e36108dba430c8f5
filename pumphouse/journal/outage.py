"""A journal's database that is gone for a while: which errors say so, and waiting for it.

A database that answered when the journal was opened and does not now (restarted, its network gone, its disk full, its
file locked) is waited for, since what was begun can be written nowhere else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from pumphouse.pausing import linger

#: Seconds between two tries.
POLL_S = 2.0
#: Seconds between two lines that tell of the same outage.
TELL_S = 60.0

#: SQLite's primary result codes (https://sqlite.org/rescode.html) that may pass: LOCKED by somebody, BUSY, an error of
#: the disk or its file system, FULL, and a file that cannot be opened now.
_SQLITE = {5: "locked", 6: "locked", 10: "I/O error", 13: "disk full", 14: "file cannot be opened"}
#: SQLSTATE classes (PostgreSQL's manual, appendix A) that may pass: connection, rollback (deadlock), resources, object
#: in use, operator intervention (shutdown, start-up), system error.
_SQLSTATES = ("08", "40", "53", "55", "57P", "58")


def passing(error: BaseException) -> str:
    """Why a database may be there again later, in a few words; empty: this error will be the same next time."""
    if not isinstance(error, DBAPIError):
        return ""
    driver = error.orig
    code = getattr(driver, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(int(code) & 0xFF, "")
    state = getattr(driver, "sqlstate", None)
    if state is not None:
        return f"SQLSTATE {state}" if str(state).startswith(_SQLSTATES) else ""
    # psycopg knows no state where there was no answer: refused, cut off, or not let in
    if type(driver).__module__.startswith("sqlite3"):
        return ""
    lost = error.connection_invalidated or type(driver).__name__ in ("OperationalError", "InterfaceError")
    return "no connection" if lost else ""


class Outage:
    """What all threads of one journal know of its database being gone.

    :param patience_s: for how long an outage is waited for; 0: not at all.
    :param notice: takes one line when it begins, every minute while it lasts, and when it is over.
    """

    def __init__(
        self,
        patience_s: float = 0.0,
        notice: Callable[[str], None] = lambda _line: None,
        *,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.patience_s = patience_s
        self._notice, self._steady, self._sleep = notice, steady, sleep
        self._lock = threading.Lock()
        self._since: float | None = None
        self._told = 0.0

    def wait(self, where: str, why: str) -> bool:
        """Pause before another try; False when it has lasted for too long, and at once from then on; and when this
        process is to end.
        """
        with self._lock:
            now = self._steady()
            if self._since is None:
                self._since, self._told = now, float("-inf")
            left_s = self._since + self.patience_s - now
            if left_s <= 0:
                return False
            if now - self._told >= TELL_S:
                self._told = now
                self._notice(
                    f"waiting  journal {where} is gone ({why}); nothing new is begun. Trying for {left_s:.0f} s more."
                )
        return linger(min(POLL_S, left_s), sleep=self._sleep)

    def over(self) -> None:
        """That the database answers."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
            if since is not None and self._told > float("-inf"):
                self._notice(f"back     the journal answers again after {self._steady() - since:.0f} s; going on")

    def lasted(self) -> str:
        """How long we waited in vain, for an error's message; empty when we did not."""
        with self._lock:
            return f" (waited {self.patience_s:g} s)" if self.patience_s and self._since is not None else ""
