"""The desk in front of a site: a folder with copies of the notebooks, and JupyterLab set up to run them.

A template and its evidence are never the same file, so the notebooks are copied; copies that are there stay.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from pumphouse.reload import LABEXTENSIONS
from pumphouse.site import SITE_VARIABLE

_CONFIG_PATH = "JUPYTER_CONFIG_PATH"
#: The notebook that is opened first.
LAUNCHER = "00-start.ipynb"
#: JupyterLab's settings: no question about news, no update check, names of notebooks that are not cut off, cells that
#: stay drawn while one scrolls; and what a cell shows is saved soon: what was not saved is not there after a reload.
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosaveInterval": 10},
    "@jupyterlab/filebrowser-extension/browser": {"showLastModifiedColumn": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
#: Makes JupyterLab's server tell a page that is loaded anew how far a run is.
_SERVER = {"ServerApp": {"jpserver_extensions": {"pumphouse.reload": True}}}
#: Run by every kernel when it starts, so that errors read well before the first cell has run.
_STARTUP = """from pumphouse.notebook.cells import install_cell_log
from pumphouse.notebook.faults import install_faults

install_faults()
install_cell_log()
"""


def lay_out(directory: Path, templates: Path, site_file: Path) -> tuple[Path, dict[str, str]]:
    """Make the desk of a site in a folder; returns the folder of the copies and JupyterLab's environment."""
    work = directory / "notebooks"
    work.mkdir(parents=True, exist_ok=True)
    for template in sorted(templates.glob("*.ipynb")):
        if not (work / template.name).exists():
            shutil.copy2(template, work / template.name)
    for name, values in _SETTINGS.items():
        file = directory / "jupyter-settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    server = directory / "jupyter-config" / "jupyter_server_config.d" / "pumphouse.json"
    server.parent.mkdir(parents=True, exist_ok=True)
    server.write_text(json.dumps(_SERVER, indent=2) + "\n", encoding="utf-8")
    startup = directory / "ipython" / "profile_default" / "startup" / "00-pumphouse.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text(_STARTUP, encoding="utf-8")
    others = os.environ.get(_CONFIG_PATH, "")
    return work, {
        **os.environ,
        SITE_VARIABLE: str(site_file.resolve()),
        "IPYTHONDIR": str(directory / "ipython"),
        _CONFIG_PATH: os.pathsep.join(filter(None, (str(directory / "jupyter-config"), others))),
    }


def jupyter_command(work: Path, arguments: Sequence[str] = ()) -> list[str]:
    """How JupyterLab is started on a folder that :func:`lay_out` made."""
    root = ("--allow-root",) if os.geteuid() == 0 else ()
    # of what it logs, people need the address, which it says at its highest level, last
    quiet = ("--Application.log_level=WARN", *(() if has_browser() else ("--no-browser",)))
    first = (f"--LabApp.default_url=/lab/tree/{LAUNCHER}",) if (work / LAUNCHER).exists() else ()
    options = (
        f"--ServerApp.root_dir={work}",
        f"--LabApp.user_settings_dir={work.parent / 'jupyter-settings'}",
        # tabs that were left open at another site's desk do not come up at this one
        f"--LabApp.workspaces_dir={work.parent / 'jupyter-workspaces'}",
        f"--LabApp.extra_labextensions_path={LABEXTENSIONS}",
    )
    return [sys.executable, "-m", "jupyterlab", *options, *first, *root, *quiet, *arguments]


def has_browser() -> bool:
    """Whether this machine has a web browser that could be opened."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def where_to_look() -> str:
    """A sentence about where JupyterLab shows itself, before it starts."""
    if has_browser():
        return "Your web browser opens on 00-start."
    return "There is no web browser here: open the address below in yours, as soon as it is there."
