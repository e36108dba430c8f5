"""Where records lie: a folder, or (:mod:`.objectstore`) a bucket that speaks S3.

Both hold the same names. A folder keeps its chain in ``MANIFEST.jsonl``; a bucket keeps a line an object below
``MANIFEST/``, because objects cannot be appended to. A folder that was copied from a bucket is read in that form too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic_bytes
from pumphouse.records.manifest import MANIFEST_NAME, Entry, Head, head_of, read_entries, split_lines
from pumphouse.site import Site

LINES_FOLDER = "MANIFEST"
_LOCK_NAME = ".manifest.lock"
_DERIVED = {".html"}
"""Pages are made from records and can be made again: they are no evidence."""

MakeEntry = Callable[[Head], Entry]
"""Called with the head to follow; stores the run's envelope, returns the line. Called again if others were faster."""


class Archive(ABC):
    """Records and their manifest. Nothing in it is ever changed once it is listed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call it in messages."""

    @abstractmethod
    def lines(self) -> list[bytes]:
        """The manifest's lines, oldest first, without line feeds."""

    @abstractmethod
    def names(self) -> list[str]:
        """Every file of evidence, relative and with slashes; neither manifest, pages nor dot files."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content.

        :raises FileNotFoundError: when there is none.
        """

    @abstractmethod
    def store(self, name: str, data: bytes) -> None:
        """Put a file in place.

        :raises RunbookError: when it cannot be written.
        """

    @abstractmethod
    def append(self, make: MakeEntry) -> Entry:
        """Add a line to the manifest; processes that end at the same moment take turns, on whatever machine.

        :raises RunbookError: when it cannot be written.
        """

    def under_way(self) -> set[str]:
        """Names of records whose run has not ended, as far as this machine can tell."""
        return set()

    def entries(self) -> list[Entry]:
        """Every run that has ended, oldest first; lines that cannot be read are left out."""
        return read_entries(self.lines())

    def head(self) -> Head:
        """The chain's head."""
        return head_of(self.lines())


class FolderArchive(Archive):
    """An archive in a folder, which several machines may share over a file system with locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def lines(self) -> list[bytes]:
        """Lines of ``MANIFEST.jsonl``, else the files below ``MANIFEST/``."""
        manifest = self.folder / MANIFEST_NAME
        if manifest.exists():
            return split_lines(manifest.read_bytes())
        return [file.read_bytes() for file in sorted((self.folder / LINES_FOLDER).glob("*.json"))]

    def names(self) -> list[str]:
        """All files below the folder."""
        found = []
        for root, folders, files in os.walk(self.folder):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            here = Path(root).relative_to(self.folder)
            found += [(here / file).as_posix() for file in files if not file.startswith(".")]
        return sorted(
            name
            for name in found
            if name != MANIFEST_NAME
            and Path(name).suffix not in _DERIVED
            and not (name.startswith(f"{LINES_FOLDER}/") and not (self.folder / MANIFEST_NAME).exists())
        )

    def read(self, name: str) -> bytes:
        """Read the file."""
        try:
            return (self.folder / name).read_bytes()
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(name) from error

    def store(self, name: str, data: bytes) -> None:
        """Write the file atomically, unless it is there with that content."""
        file = self.folder / name
        try:
            if not (file.exists() and file.read_bytes() == data):
                write_atomic_bytes(file, data)
        except OSError as error:
            raise self._unwritable(name, error) from error

    def append(self, make: MakeEntry) -> Entry:
        """Append under a lock; a half line that a crash left stays, and the new line acknowledges it."""
        try:
            with self._locked():
                manifest = self.folder / MANIFEST_NAME
                text = manifest.read_bytes() if manifest.exists() else b""
                entry = make(head_of(split_lines(text)))
                lead = b"" if not text or text.endswith(b"\n") else b"\n"
                with manifest.open("ab") as out:
                    # buffered: a raw write to a disk that is getting full writes half a line and raises nothing
                    out.write(lead + entry.to_line() + b"\n")
                    out.flush()
                    os.fsync(out.fileno())
                return entry
        except OSError as error:
            raise self._unwritable(MANIFEST_NAME, error) from error

    def under_way(self) -> set[str]:
        """Records whose run's lock is held."""
        found = set()
        for file in (self.folder / ".runs").glob("*.lock"):
            with contextlib.suppress(OSError), file.open("r+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.add(file.name.removesuffix(".lock"))
        return found

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK_NAME).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _unwritable(self, name: str, error: OSError) -> RunbookError:
        what = f"Manifest {name}" if name == MANIFEST_NAME else f"Record file {name}"
        return RunbookError(
            f"{what} in {self.folder} cannot be written: {error.strerror or error}.",
            remedy="check free space and rights of the records folder (`records` in site.yaml).",
        )


def read_manifest(records_dir: Path) -> list[Entry]:
    """All runs of a folder's manifest, oldest first."""
    return FolderArchive(records_dir).entries()


def open_archive(where: str | Path) -> Archive:
    """The archive at a folder or an ``s3://bucket/prefix``.

    :raises RunbookError: when a bucket is named and boto3 is not installed.
    """
    if not str(where).startswith("s3://"):
        return FolderArchive(Path(where))
    try:
        from pumphouse.records.objectstore import BucketArchive
    except ImportError as error:
        raise RunbookError(
            f"Archive {where}: boto3 is not installed.", remedy="pip install 'pumphouse[s3]'."
        ) from error
    return BucketArchive(str(where))


def site_archive(site: Site) -> Archive:
    """Where the site's records lie."""
    return open_archive(site.records_url or site.records_dir)
