"""Sealing a run: its files are scanned, named by digest in a signed statement, and chained into the manifest.

Fails closed: files in which the scan finds a secret leave the archive for a quarantine beside the site's work files,
and the run's line says so instead of naming them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic_bytes
from pumphouse.records.archive import Archive, FolderArchive
from pumphouse.records.envelope import Envelope, Statement, sha256
from pumphouse.records.keys import Signer
from pumphouse.records.manifest import Entry, Head
from pumphouse.records.redact import Redactor
from pumphouse.records.scan import Scanner

ENVELOPE_SUFFIX = ".dsse.json"
FILES_SUFFIX = ".files"


@dataclass(frozen=True)
class RunFiles:
    """A run's files below one folder: ``STEM.ipynb`` and what lies in ``STEM.files/``."""

    folder: Path
    stem: str

    @property
    def record(self) -> Path:
        """The executed notebook (which a runbook does not have)."""
        return self.folder / f"{self.stem}.ipynb"

    @property
    def side_folder(self) -> Path:
        """Where the run's side files are."""
        return self.folder / f"{self.stem}{FILES_SUFFIX}"

    def names(self) -> list[str]:
        """All that is there, relative to the folder."""
        found = [self.record] if self.record.exists() else []
        if self.side_folder.is_dir():
            found += [file for file in self.side_folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
        return sorted(file.relative_to(self.folder).as_posix() for file in found)

    def write(self, name: str, data: bytes) -> None:
        """Write a side file."""
        try:
            write_atomic_bytes(self.side_folder / name, data)
        except OSError as error:
            raise RunbookError(
                f"Side file {name} of record {self.stem} cannot be written: {error.strerror or error}.",
                remedy="check free space and rights of the records folder (`records` in site.yaml).",
            ) from error


def scan_files(files: RunFiles, redactor: Redactor) -> list[str]:
    """What the scan finds in a run's files (read only); a file that cannot be scanned counts as found."""
    scanner = Scanner(redactor)
    found = []
    for name in files.names():
        try:
            found += scanner.scan([(name, (files.folder / name).read_bytes())])
        except (OSError, ValueError, EOFError, RecursionError) as error:
            found.append(f"{name}: it cannot be scanned ({type(error).__name__})")
    return found


def quarantine(files: RunFiles, folder: Path) -> Path:
    """Move a run's files out of the archive into ``folder`` (mode 0700); returns where they are."""
    place = folder / files.stem
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.chmod(0o700)
        for name in files.names():
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(files.folder / name, target)
            target.chmod(0o600)
        shutil.rmtree(files.side_folder, ignore_errors=True)
    except OSError as error:
        raise RunbookError(
            f"Record {files.stem} holds a secret and cannot be moved to {folder}: {error.strerror or error}.",
            remedy="remove it from the archive by hand; it is not listed in the manifest.",
        ) from error
    return place


def seal_run(archive: Archive, files: RunFiles, facts: Mapping[str, Any], signer: Signer | None) -> Entry:
    """Store a run's files and add its line; ``number``, ``previous``, digests and envelope are filled in here.

    :param facts: the other fields of :class:`~pumphouse.records.manifest.Entry`.
    :raises RunbookError: when something cannot be written; the run is not listed then.
    """
    digests = {}
    for name in files.names():
        data = (files.folder / name).read_bytes()
        digests[name] = sha256(data)
        archive.store(name, data)
    record = files.record.name if files.record.name in digests else None
    envelope_name = f"{files.stem}{ENVELOPE_SUFFIX}"

    def make(head: Head) -> Entry:
        given = {
            **facts,
            "record": record,
            "sha256": digests.get(files.record.name),
            "number": head.number + 1,
            "previous": head.digest,
            "torn": head.torn,
            "envelope": envelope_name,
        }
        envelope = Envelope.of(Statement(digests, Entry(**given).stated()), signer).to_bytes()
        archive.store(envelope_name, envelope)
        return Entry(**given, envelope_sha256=sha256(envelope))

    entry = archive.append(make)
    if not isinstance(archive, FolderArchive) or archive.folder != files.folder:
        _clear(files, digests)
    return entry


def _clear(files: RunFiles, names: Iterable[str]) -> None:
    """What lies in a bucket now need not stay on its way there."""
    for name in names:
        (files.folder / name).unlink(missing_ok=True)
    shutil.rmtree(files.side_folder, ignore_errors=True)
