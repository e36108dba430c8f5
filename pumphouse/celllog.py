"""Which cells a kernel ran and which it runs, and on what: a file beside its connection file, for JupyterLab's server.

A page that is loaded anew knows only what was saved, and a busy kernel answers nobody. So the page asks the server
(:mod:`pumphouse.reload`), which reads here which cell is at work, or has ended since, and which run of which site it
carries out. Nothing secret is in the file; its owner alone may read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SCHEMA = 1
_PREFIX = "pumphouse-"


class CellLog:
    """The last execution of every cell; written whenever one begins, takes a plan up or ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._cells: dict[str, dict[str, Any]] = {}
        self._busy: dict[str, Any] | None = None
        self._write()

    def begin(self, request: Mapping[str, Any]) -> None:
        """The kernel takes up a request (a message of Jupyter's protocol).

        Only JupyterLab says in it which cell that is: a batch leaves nothing here.
        """
        cell_id, header = request.get("metadata", {}).get("cellId"), request.get("header", {})
        if not cell_id:
            return
        self._busy = {
            "id": str(cell_id),
            "message": str(header.get("msg_id", "")),
            "page": str(header.get("session", "")),
            "count": None,
            "ended": False,
            "failed": False,
            "works_on": None,
        }
        self._cells.pop(str(cell_id), None)  # the order is the one in which they were run last
        self._cells[str(cell_id)] = self._busy
        self._write()

    def works_on(self, site: Path, run_id: str, plan_hash: str, phase: str) -> None:
        """The cell that is at work carries out a phase of a plan."""
        if self._busy is not None:
            self._busy["works_on"] = {"site": str(site), "run": run_id, "plan": plan_hash, "phase": phase}
            self._write()

    def end(self, count: int | None, *, failed: bool) -> None:
        """The cell that was at work has ended as the kernel's ``count``-th."""
        if self._busy is not None:
            self._busy.update(count=count, ended=True, failed=failed)
            self._busy = None
            self._write()

    def remove(self) -> None:
        """The kernel ends: nobody can go on with its cells."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        # what is shown after a reload is a comfort: a full disk here must not end a move
        with suppress(OSError):
            whole = self._file.with_suffix(".new")
            whole.touch(mode=0o600)
            whole.write_text(json.dumps({"schema": SCHEMA, "cells": list(self._cells.values())}), encoding="utf-8")
            whole.replace(self._file)


def log_file(connection_file: Path) -> Path:
    """Where the kernel with that connection file leaves its log."""
    return connection_file.with_name(_PREFIX + connection_file.name.removeprefix("kernel-"))


def read_cells(log: Path) -> list[dict[str, Any]]:
    """A kernel's log, oldest execution first; empty when there is none, or when another version wrote it."""
    try:
        written = json.loads(log.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(written, dict) or written.get("schema") != SCHEMA:
        return []
    return list(written["cells"])
