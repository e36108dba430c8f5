"""What a notebook finds again when its page is loaded anew while a cell works: JupyterLab's side of the progress.

A widget lives in its page, and a busy kernel answers no new one. So JupyterLab's server is asked instead: it reads from
the kernel's log which cell is at work, and from the journal how far the run is (:mod:`pumphouse.reload.server`); a
script in the page (``labextension``) shows it in that cell, with the same two stop buttons, and takes up what the cell
prints from then on. Nothing here changes a cloud, and nothing of it is saved with a notebook.

``pumphouse desk`` and ``make lab`` start JupyterLab with both; a JupyterLab that was started otherwise does without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: The folder that JupyterLab is told to look for extensions in.
LABEXTENSIONS = Path(__file__).parent / "labextension"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Asked for by Jupyter's server."""
    return [{"module": "pumphouse.reload"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Called by Jupyter's server when it starts."""
    from pumphouse.reload.server import handlers

    serverapp.web_app.add_handlers(".*$", handlers(serverapp.base_url))
