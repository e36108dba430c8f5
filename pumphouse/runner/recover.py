"""Runs whose process vanished (SIGKILL, power loss): found by their lock, closed as ``interrupted``."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import nbformat

from pumphouse.errors import RunbookError
from pumphouse.journal import Journal, RunRow
from pumphouse.records import sheet as sheets
from pumphouse.records.manifest import append_entry, read_manifest
from pumphouse.records.sheet import Sheet, Template, write_sheet
from pumphouse.records.store import RecordHandler, default_policy, open_record
from pumphouse.site import Site

_LOCKS = ".runs"
LOST = "The process that ran it ended without a word."


@dataclass
class Hold:
    """A run's lock. ``keep`` it when the run could not be closed properly: the next run will then close it."""

    keep: bool = False


@contextlib.contextmanager
def hold_run(records_dir: Path, name: str) -> Iterator[Hold]:
    """Hold a lock while a run is under way; the system lets go of it when the process dies.

    :param name: the record's file name (known before the journal gives out a run id), or a runbook's run id.
    :raises RunbookError: when the records folder cannot be written.
    """
    folder = records_dir / _LOCKS
    file = folder / f"{name}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _take(file)
    except OSError as error:
        raise RunbookError(
            f"Records folder {records_dir} cannot be written: {error.strerror or error}.",
            remedy="check `records` in site.yaml: without a record nothing is run.",
        ) from error
    hold = Hold()
    try:
        yield hold
        if not hold.keep:
            file.unlink(missing_ok=True)
    finally:
        lock.close()


def recover_lost_runs(journal: Journal, site: Site) -> list[str]:
    """Close every run of this runner whose process is gone; returns their ids.

    Only runs with a lock file are looked at: a person's notebook in JupyterLab has none and may well be alive.
    """
    recovered: list[str] = []
    for file in sorted((site.records_dir / _LOCKS).glob("*.lock")):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), file.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name = file.name.removesuffix(".lock")
            for row in journal.list_runs():
                if name in (row.record, row.id):
                    _close(journal, site, row)
                    recovered.append(row.id)
            file.unlink(missing_ok=True)
    return recovered


def _take(file: Path) -> IO[str]:
    while True:
        lock = file.open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        # somebody who looked for lost runs may have removed the file between our opening and our locking it
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == file.stat().st_ino:
                return lock
        lock.close()


def _close(journal: Journal, site: Site, row: RunRow) -> None:
    if row.result is None:
        journal.end_run(row.id, sheets.INTERRUPTED, LOST)
        row = journal.get_run(row.id)
    if row.record is not None:
        _mark_record(site, row)
    if row.id not in {entry.run_id for entry in read_manifest(site.records_dir)}:
        append_entry(
            site.records_dir,
            {
                "run_id": row.id,
                "parent_id": row.parent_id,
                "notebook": row.notebook,
                "result": row.result,
                "detail": row.detail,
                "operator": row.operator,
                "started_at": sheets.stamp(row.started_at),
                "ended_at": sheets.stamp(row.ended_at),
                "record": row.record,
            },
        )


def _mark_record(site: Site, row: RunRow) -> None:
    file = site.records_dir / str(row.record)
    try:
        notebook = nbformat.read(file, as_version=4)
    except (OSError, ValueError):
        return
    facts = notebook["metadata"].get("pumphouse", {})
    if facts.get("result") != sheets.RUNNING:
        return
    known: dict[str, Any] = facts.get("template", {})
    template = Template(known.get("path", row.notebook), row.template_digest, known.get("commit"), known.get("dirty"))
    sheet = Sheet(
        run_id=row.id,
        template=template,
        operator=row.operator,
        started_at=row.started_at,
        parameters=row.parameters,
        site=facts.get("site", site.name),
        clouds=facts.get("clouds", ""),
        parent_id=row.parent_id,
    )
    write_sheet(notebook, sheet.ended(str(row.result), row.detail, at=row.ended_at))
    for cell in notebook["cells"]:
        status = cell["metadata"].get("papermill", {})
        if status.get("status") == "running":
            status.update(status="failed", exception=True)
    papermill = notebook["metadata"].get("papermill", {})
    papermill.update(exception=True, end_time=(row.ended_at or datetime.now(UTC)).isoformat())
    with open_record(file, default_policy(site)):
        RecordHandler.write(nbformat.writes(notebook), str(file))
