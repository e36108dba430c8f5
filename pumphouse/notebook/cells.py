"""Keeps this kernel's :class:`~pumphouse.celllog.CellLog`, by which a reloaded page finds the cell that is at work."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from IPython import get_ipython

from pumphouse.celllog import CellLog, log_file

_KEPT = "_pumphouse_cells"


def install_cell_log() -> None:
    """Begin this kernel's log; without a kernel, or when it is done already, nothing happens."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None or hasattr(shell, _KEPT):
        return
    from ipykernel.connect import get_connection_file  # takes part of a second, which only kernels need

    try:
        log = CellLog(log_file(Path(get_connection_file())))
    except (OSError, RuntimeError):  # a kernel inside another program has no such file
        return
    setattr(shell, _KEPT, log)
    shell.events.register("pre_run_cell", lambda info: _began(log, kernel, info))
    shell.events.register("post_run_cell", lambda result: log.end(result.execution_count, failed=not result.success))
    atexit.register(log.remove)


def _began(log: CellLog, kernel: Any, info: Any) -> None:
    if info.store_history and not info.silent:  # what a page asks for by itself is no cell
        log.begin(kernel.get_parent("shell"))


def cell_works_on(site: Path, run_id: str, plan_hash: str, phase: str) -> None:
    """Leave word of what the cell at work carries out."""
    log = getattr(get_ipython(), _KEPT, None)
    if log is not None:
        log.works_on(site, run_id, plan_hash, phase)
