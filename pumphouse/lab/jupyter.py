"""``make lab``: JupyterLab on copies of the notebooks, with a running simulated site."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pumphouse.lab import process
from pumphouse.site import SITE_VARIABLE

_ROOT = Path(__file__).resolve().parents[2]
#: JupyterLab's settings: no question about news, no update check, and cells that stay drawn while one scrolls.
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


def prepare(directory: Path) -> tuple[Path, dict[str, str]]:
    """Start the site if need be and lay out the work folder; returns it with the environment for JupyterLab.

    The notebooks are copied: a template and its evidence are never the same file. Copies that are there stay.
    """
    info = process.up(directory)
    work = info.directory / "notebooks"
    work.mkdir(exist_ok=True)
    for template in sorted((_ROOT / "notebooks").glob("*.ipynb")):
        if not (work / template.name).exists():
            shutil.copy2(template, work / template.name)
    for name, values in _SETTINGS.items():
        file = info.directory / "jupyter-settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return work, {**os.environ, SITE_VARIABLE: str(info.site_file)}


def jupyter_command(work: Path, arguments: Sequence[str] = ()) -> list[str]:
    """How JupyterLab is started on a work folder that :func:`prepare` laid out."""
    root = ("--allow-root",) if os.geteuid() == 0 else ()
    options = (f"--ServerApp.root_dir={work}", f"--LabApp.user_settings_dir={work.parent / 'jupyter-settings'}")
    return [sys.executable, "-m", "jupyterlab", *options, *root, *arguments]


def main(directory: Path = Path("lab"), arguments: tuple[str, ...] = ()) -> None:
    """Become JupyterLab; the site goes on running until ``pumphouse lab down``."""
    work, environment = prepare(directory)
    site = environment[SITE_VARIABLE]
    sys.stderr.write(
        f"The simulated site is running (site file {site}).\n"
        f"JupyterLab opens on copies of the notebooks in {work}.\n"
        f"Afterwards: .venv/bin/pumphouse lab down --dir {directory}\n"
    )
    command = jupyter_command(work, arguments)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main(arguments=tuple(sys.argv[1:]))
