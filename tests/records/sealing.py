"""Sealed runs for tests: no notebooks are executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pumphouse.records.archive import FolderArchive
from pumphouse.records.keys import Signer
from pumphouse.records.manifest import Entry
from pumphouse.records.seal import RunFiles, seal_run

TIMES = {"started_at": "2031-04-05T06:07:08+00:00", "ended_at": "2031-04-05T06:09:10+00:00"}


def seal(
    folder: Path, run_id: str, result: str = "succeeded", *, stem: str = "", signer: Signer | None = None, **more: Any
) -> Entry:
    """Seal a run into a folder; its files are what lies there under ``stem`` (default: the run's id)."""
    facts = {
        "run_id": run_id,
        "notebook": "10-look.ipynb",
        "result": result,
        "operator": "Ada",
        "detail": "said so",
        **TIMES,
        **more,
    }
    return seal_run(FolderArchive(folder), RunFiles(folder, stem or run_id), facts, signer)
