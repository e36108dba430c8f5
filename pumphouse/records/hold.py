"""A lock for every run that is under way: the system lets go of it when the process dies, and so the run is found.

The lock is a file in ``.runs`` of the local records folder, named after the record or the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from pumphouse.errors import RunbookError

LOCKS = ".runs"


class Hold:
    """A run's lock. ``keep`` it when the run could not be closed properly: the next run will then close it."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.keep = False
        self._file = file
        # a notebook that is simply closed never lets go by itself
        self._close = weakref.finalize(self, os.close, descriptor)

    def let_go(self) -> None:
        """Release the lock; its file goes too, unless it is to be kept."""
        if not self.keep:
            self._file.unlink(missing_ok=True)
        self._close()


def take_hold(records_dir: Path, name: str) -> Hold:
    """Take a run's lock until :meth:`Hold.let_go`, or the end of the process.

    :param name: the record's file name (known before the journal gives out a run id), or a run id.
    :raises RunbookError: when the records folder cannot be written.
    """
    file = records_dir / LOCKS / f"{name}.lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return Hold(file, _take(file))
    except OSError as error:
        raise RunbookError(
            f"Records folder {records_dir} cannot be written: {error.strerror or error}.",
            remedy="check `records` in site.yaml: without a record nothing is run.",
        ) from error


@contextlib.contextmanager
def hold_run(records_dir: Path, name: str) -> Iterator[Hold]:
    """Hold a run's lock for a block; an exception leaves its file behind, so that the run is closed by the next.

    :raises RunbookError: when the records folder cannot be written.
    """
    hold = take_hold(records_dir, name)
    try:
        yield hold
    except BaseException:
        hold.keep = True
        raise
    finally:
        hold.let_go()


def abandoned(records_dir: Path) -> Iterator[str]:
    """Names of locks that nobody holds any more, each held while it is looked at. They stay: see :func:`forget`."""
    for file in sorted((records_dir / LOCKS).glob("*.lock")):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), file.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file.name.removesuffix(".lock")


def forget(records_dir: Path, name: str) -> None:
    """Remove the lock of a run that is closed now. One that our journal does not know may be another journal's run."""
    (records_dir / LOCKS / f"{name}.lock").unlink(missing_ok=True)


def _take(file: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # somebody who looked for lost runs may have removed the file between our opening and our locking it
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == file.stat().st_ino:
                return descriptor
        os.close(descriptor)
