"""Keeping what the source's controllers know: the operator's own command, and a look at what it wrote."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumphouse.errors import StepError
from pumphouse.plan.hardware.decommission import Archive
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect

#: File systems round the time of a change, the coarsest to two seconds.
_GRAIN_S = 2.0
_PIECE_BYTES = 1 << 20


class ArchiveSource(Step):
    """Run the operator's command, and see that the archive is there, not empty, and new."""

    kind = "archive"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself: an archive that was there before may be anything."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Run it, without a shell; its output goes to a file, for it may hold what no record should."""
        params, began = step.params, time.time()
        log = ctx.site.work_dir / "archives" / f"{ctx.plan.hash[:12]}.log"
        _run(params["command"], log, timeout_s=params["timeout_s"])
        found = look_at_archive(params["file"])
        if found["changed_s"] < began - _GRAIN_S:
            raise StepError(
                f"Archive {params['file']} was last changed {_moment(found['changed_s'])}, before its command began: "
                "the command ended well, but did not write it.",
                remedy="correct the command or the file's name; then run again with a new plan.",
            )
        return {**found, "log": str(log), "seconds": round(time.time() - began, 1)}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again: the same bytes."""
        found = look_at_archive(step.params["file"])
        expect(f"archive {step.params['file']}", {"sha256": (outcome["sha256"], found["sha256"])})
        return {
            "file": step.params["file"],
            "size_bytes": found["size_bytes"],
            "sha256": found["sha256"],
            "made": _moment(found["changed_s"]),
        }

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """It stays."""
        return {"kept": "the archive stays"}


def look_at_archive(name: str) -> dict[str, Any]:
    """Size, digest and time of the archive (reads all of it).

    :raises StepError: when it is not there, no file, or empty.
    """
    path = Path(name)
    try:
        size_bytes = path.stat().st_size if path.is_file() else 0
        if not size_bytes:
            raise StepError(
                f"Archive {name} is {'empty' if path.is_file() else 'not there, or no file'}.",
                remedy="see that the command writes it; nothing of the source was touched.",
            )
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
        changed_s = path.stat().st_mtime
    except OSError as error:
        raise StepError(
            f"Archive {name} cannot be read: {error.strerror or error}.", remedy="make it readable; then run again."
        ) from error
    return {"size_bytes": size_bytes, "sha256": digest.hexdigest(), "changed_s": changed_s}


def require_archive(ctx: Context, archive: PlannedStep, *, ended: bool = False) -> None:
    """The archive is still what the journal says of it, and not too old to be worth anything (read only).

    :param ended: a controller went already: how old the archive was then is what counts, and no other can be made.
    :raises StepError: when it is not.
    """
    said = ctx.journal.step_state(ctx.plan.hash, archive.key).outcome
    found = look_at_archive(archive.params["file"])
    if found["sha256"] != said.get("sha256"):
        raise StepError(
            f"Archive {archive.params['file']} is not the one any more that was made and looked at.",
            remedy="put that one back, or plan anew, which archives again.",
        )
    if not ended and is_stale(said, archive.params["fresh_s"]):
        raise StepError(
            f"Archive {archive.params['file']} was made {_moment(found['changed_s'])}, more than "
            f"{archive.params['fresh_s']:g} s ago.",
            remedy="run the notebook again: it plans anew, and archives again.",
        )


def is_stale(outcome: Outcome, fresh_s: float) -> bool:
    """Whether an archive is older than it may be."""
    return time.time() - float(outcome.get("changed_s", 0.0)) > fresh_s


def problem_of(archive: Archive) -> str:
    """Why the command cannot work, as far as can be told without running it (read only); empty: nothing is wrong."""
    program, folder = archive.command[0], Path(archive.file).expanduser().parent
    if shutil.which(program) is None:
        return f"has a command that cannot be run here: {program} is no program on the path."
    if not Path(archive.file).is_absolute():
        return f"is to be written to {archive.file}, which depends on the folder that one is in."
    if not folder.is_dir():
        return f"is to be written to {archive.file}, but there is no folder {folder}."
    return ""


def _run(command: list[str], log: Path, *, timeout_s: float) -> None:
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603  no shell; the approved plan names the program
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise StepError(
                f"The archive's command {command[0]} could not be started: {error}.",
                remedy="correct it, and run again with a new plan.",
            ) from error
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StepError(
                f"The archive's command {command[0]} did not end within {timeout_s:g} s; it was ended. See {log}.",
                remedy="give it more time (archive_timeout_s), or make it faster.",
            ) from error
        finally:
            _end(process)
    if not code and _goes_on(process):
        raise StepError(
            f"The archive's command {command[0]} ended, but what it started goes on: the archive may be half of it.",
            remedy="let the command wait for what it starts; then run again.",
        )
    if code:
        raise StepError(
            f"The archive's command {command[0]} ended with exit code {code}. What it said is in {log}.",
            remedy="mend what it says; then run again.",
        )


def _goes_on(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything that a command started is there after its own end."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """One that is late is ended, with what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
