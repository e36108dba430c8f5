"""Errors in a notebook: sentences with a remedy, the traceback folded away, and the cell fails all the same.

What a cell raises on purpose (:class:`~pumphouse.errors.PumphouseError`) reads like a message to a person. A name that
is missing because an earlier cell was not run is told by that cell's heading. Anything else keeps its own traceback.
"""

from __future__ import annotations

import ast
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import display

from pumphouse.errors import PumphouseError
from pumphouse.notebook.html import STYLE, Display, clean

#: Where Jupyter's server tells a kernel which notebook it belongs to.
_SESSION_VARIABLE = "JPY_SESSION_NAME"
_INTERRUPTED = (
    "Interrupted.",
    "Remedy: steps that were under way have ended, and the journal knows their outcome. Run the cell again to go on.",
)


def install_faults() -> None:
    """Show errors as sentences in this kernel; outside IPython, or when it is done already, nothing happens."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((PumphouseError, NameError, KeyboardInterrupt), _handle)


def _handle(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    """IPython calls this in place of showing a traceback; the cell has failed whatever happens here."""
    lines: Sequence[str] | None = None
    if isinstance(error, NameError):
        lines = _missing_cell(error, _source_of(shell))
    elif isinstance(error, KeyboardInterrupt):
        lines = _INTERRUPTED
    if lines is not None:
        words = [clean_lines(line) for line in lines]
        error._render_traceback_ = lambda: words  # type: ignore[attr-defined]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    if isinstance(error, PumphouseError):
        display(folded_trace(error))


def clean_lines(text: str) -> str:
    """Text without what could act on a terminal, line breaks kept."""
    return "\n".join(clean(line) for line in text.split("\n"))


def folded_trace(error: BaseException) -> Display:
    """Where an error was raised, for whoever mends it: folded away in HTML, one line as text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else "nowhere"
    whole = escape(clean_lines("".join(traceback.format_exception(error))))
    html = (
        f'{STYLE}<div class="ph"><details><summary>Where it happened (for a report of the fault)</summary>'
        f'<pre style="white-space:pre-wrap">{whole}</pre></details></div>'
    )
    return Display(html, f"Raised in {place}.")


def _missing_cell(error: NameError, notebook: Any) -> list[str] | None:
    """Which cell should have been run first, or None when no cell of the notebook makes that name."""
    if notebook is None or not error.name:
        return None
    heading = ""
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), heading)
        elif cell["cell_type"] == "code" and error.name in set(_made_by(text)):
            line = next((line for line in text.splitlines() if error.name in line), "")
            where = f"the cell under “{heading}”" if heading else "an earlier cell"
            return [
                f"Not yet: this cell needs “{error.name}”, and {where}, which makes it, was not run in this kernel:",
                f"    {line.strip()}",
                "Remedy: run the cells in order (Run > Run All Above Selected Cell), then this one. Nothing was done.",
            ]
    return None


def _made_by(source: str) -> Iterator[str]:
    """Names that a cell assigns or imports."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)


def _source_of(shell: Any) -> Any:
    """The notebook that this kernel runs, as it was saved last; None where that cannot be told."""
    named = os.environ.get(_SESSION_VARIABLE, "")
    candidates = [Path(named)] if named.endswith(".ipynb") else []
    candidates += [Path.cwd() / Path(named).name] if candidates else []
    asked = str(shell.user_ns.get("In", [""])[-1]).strip()
    candidates += sorted(Path.cwd().glob("*.ipynb"))
    for file in candidates:
        try:
            notebook = json.loads(file.read_text(encoding="utf-8"))
            if any("".join(cell["source"]).strip() == asked for cell in notebook["cells"]):
                return notebook
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
