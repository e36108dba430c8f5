"""``pumphouse.begin`` as notebooks call it: the run, with errors as sentences and progress that can be seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import display

from pumphouse import session
from pumphouse.errors import PumphouseError, SiteError
from pumphouse.notebook.cells import install_cell_log
from pumphouse.notebook.faults import install_faults
from pumphouse.notebook.guide import show_way_to_a_site
from pumphouse.notebook.panel import CellLines
from pumphouse.session import Run
from pumphouse.session.run import RUN_ID_VARIABLE

_KEPT = "_pumphouse_run"


def begin(site: str | Path = "", *, change: str = "", operator: str = "", notebook: str = "", **others: Any) -> Run:
    """Open a run as :func:`pumphouse.session.begin` does, which tells of the parameters and errors.

    In a kernel, the same cell run again takes the run up that it began before, so that nothing is begun twice; with
    other parameters it closes that run first. Errors are shown as sentences from here on, and while steps are carried
    out a panel shows how far they are.
    """
    install_faults()
    install_cell_log()
    shell = get_ipython()
    asked = (str(site), change, operator, notebook, tuple(sorted(others.items())))
    kept = shell.user_ns.get(_KEPT) if shell is not None and RUN_ID_VARIABLE not in os.environ else None
    if kept is not None:
        before, run = kept
        if before == asked and not run.ended:
            print(f"This cell was run before: run {run.id} goes on. Nothing was begun anew.")  # noqa: T201 (for the person)
            return run  # type: ignore[no-any-return]
        _close(run)
    if shell is not None:
        lines = CellLines()
        others = {"report": lines, "watch": lines.watching, **others}
    try:
        run = session.begin(site, change=change, operator=operator, notebook=notebook, **others)
    except SiteError as problem:
        if shell is not None and isinstance(problem.__cause__, FileNotFoundError):
            display(show_way_to_a_site())
        raise
    if shell is not None:
        shell.user_ns[_KEPT] = (asked, run)
    return run


def _close(run: Run) -> None:
    """Close what the same cell began before; a run that cannot be closed is recovered by the next one."""
    try:
        ended = run.ended
        result = run.end()
        run.close()
    except PumphouseError as problem:
        print(f"The run that this cell began before could not be closed: {problem}")  # noqa: T201 (for the person)
        return
    if not ended:
        print(f"Run {run.id}, which this cell began before, is closed ({result}). Another one begins.")  # noqa: T201
