"""Writing files so that a crash leaves the old one or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pumphouse.errors import PumphouseError


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text file through a temporary one in the same folder; the folder is made if need be."""
    write_atomic_bytes(path, text.encode("utf-8"), mode=mode)


def write_atomic_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """As :func:`write_atomic`, for bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temp).chmod(mode)
        Path(temp).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temp).unlink(missing_ok=True)
        raise


def write_named(path: Path, text: str, what: str, error: type[PumphouseError], *, mode: int = 0o644) -> Path:
    """As :func:`write_atomic`; what fails is an ``error`` that names ``what`` and the file."""
    try:
        write_atomic(path, text, mode=mode)
    except OSError as problem:
        raise error(
            f"{what} {path} cannot be written: {problem.strerror}.", remedy="check the folder and its rights."
        ) from problem
    return path


def _sync_folder(folder: Path) -> None:
    """Make the new name last: after a power failure a synced file may still be missing from its folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
