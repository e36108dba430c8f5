"""``MANIFEST.jsonl``: one line for every run, failed and refused ones too, each bound to the one before it.

A line carries the SHA-256 of the line before, so that a line cannot be changed or left out without breaking
the chain. The chain is kept by the same person who runs the runs: it proves that the archive is consistent, and
proves it to others only when its head is written down elsewhere (a ticket, a signed tag).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumphouse.errors import RunbookError

SCHEMA_VERSION = 1
MANIFEST_NAME = "MANIFEST.jsonl"
_LOCK_NAME = ".manifest.lock"
_FIRST = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One line of the manifest. ``record`` is a file name in the same folder; a runbook has none of its own."""

    run_id: str
    notebook: str
    result: str
    started_at: str
    ended_at: str
    operator: str = ""
    detail: str = ""
    record: str | None = None
    sha256: str | None = None
    parent_id: str | None = None
    previous: str = _FIRST

    def to_json(self) -> dict[str, Any]:
        """The line as a mapping, schema number first."""
        return {"schema": SCHEMA_VERSION, **self.__dict__}


def append_entry(records_dir: Path, entry: Mapping[str, Any]) -> str:
    """Add a run to the manifest; ``sha256`` and ``previous`` are filled in here. Returns the line's SHA-256.

    Processes that end at the same moment take turns. A line that a crash cut in half stays where it is, as a line of
    its own: evidence is never rewritten.

    :raises RunbookError: when the manifest cannot be written.
    """
    try:
        with _locked(records_dir):
            manifest = records_dir / MANIFEST_NAME
            text = manifest.read_bytes() if manifest.exists() else b""
            lines = text.splitlines()
            record = entry.get("record")
            file = records_dir / str(record) if record else None
            facts = dict(entry)
            facts["record"] = record if file is not None and file.exists() else None
            facts["sha256"] = digest(file) if file is not None and file.exists() else None
            facts["previous"] = hashlib.sha256(lines[-1]).hexdigest() if lines else _FIRST
            line = json.dumps(Entry(**facts).to_json(), ensure_ascii=False, sort_keys=True).encode("utf-8")
            lead = b"" if not text or text.endswith(b"\n") else b"\n"
            with manifest.open("ab", buffering=0) as out:
                out.write(lead + line + b"\n")
                os.fsync(out.fileno())
            return hashlib.sha256(line).hexdigest()
    except OSError as error:
        raise RunbookError(
            f"Manifest {MANIFEST_NAME} in {records_dir} cannot be written: {error.strerror or error}.",
            remedy="check free space and rights of the records folder (`records` in site.yaml).",
        ) from error


def read_manifest(records_dir: Path) -> list[Entry]:
    """All runs of the manifest, oldest first; a line that cannot be read is left out (see :func:`verify_manifest`)."""
    return [entry for _, entry in _lines(records_dir) if entry is not None]


def verify_manifest(records_dir: Path) -> list[str]:
    """Everything that is wrong with the archive, as sentences; empty when manifest and records agree (read only).

    Looks for lines that cannot be read, a broken chain, records that are missing or were changed, and
    records that no line names.
    """
    problems: list[str] = []
    previous = _FIRST
    named: set[str] = set()
    for number, (line, entry) in enumerate(_lines(records_dir), 1):
        if entry is None:
            problems.append(f"{MANIFEST_NAME} line {number} cannot be read (a crash cut it short, or it was edited).")
        else:
            if entry.previous != previous:
                problems.append(f"{MANIFEST_NAME} line {number} does not follow the line before it.")
            if entry.record is not None:
                named.add(entry.record)
                problems += _check_record(records_dir / entry.record, entry)
        previous = hashlib.sha256(line).hexdigest()
    problems += [
        f"Record {file.name} is not in {MANIFEST_NAME} (its run is under way, or never ended)."
        for file in sorted(records_dir.glob("*.ipynb"))
        if file.name not in named
    ]
    return problems


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_record(file: Path, entry: Entry) -> list[str]:
    if not file.exists():
        return [f"Record {file.name} of run {entry.run_id} is missing."]
    if digest(file) != entry.sha256:
        return [f"Record {file.name} of run {entry.run_id} was changed after the run ended."]
    return []


def _lines(records_dir: Path) -> Iterator[tuple[bytes, Entry | None]]:
    manifest = records_dir / MANIFEST_NAME
    if not manifest.exists():
        return
    for line in manifest.read_bytes().splitlines():
        try:
            facts = json.loads(line)
            facts.pop("schema")
            yield line, Entry(**facts)
        except (ValueError, TypeError, KeyError, AttributeError):
            yield line, None


@contextlib.contextmanager
def _locked(records_dir: Path) -> Iterator[None]:
    records_dir.mkdir(parents=True, exist_ok=True)
    with (records_dir / _LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
