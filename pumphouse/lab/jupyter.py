"""``make lab``: JupyterLab on copies of the notebooks, with a running simulated site."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pumphouse.lab import process
from pumphouse.lab.server import LabOptions
from pumphouse.notebook.desk import jupyter_command, lay_out, where_to_look
from pumphouse.site import SITE_VARIABLE

_ROOT = Path(__file__).resolve().parents[2]


def prepare(directory: Path) -> tuple[Path, dict[str, str]]:
    """Start the site if need be and lay out the work folder; returns it with the environment for JupyterLab.

    It has hardware, so that every notebook of the folder has something to work on.
    """
    info = process.up(directory, LabOptions(hardware=True))
    return lay_out(info.directory, _ROOT / "notebooks", info.site_file)


def main(directory: Path = Path("lab"), arguments: tuple[str, ...] = ()) -> None:
    """Become JupyterLab; the site goes on running until ``pumphouse lab down``."""
    work, environment = prepare(directory)
    site = environment[SITE_VARIABLE]
    sys.stderr.write(
        f"The simulated site is running (site file {site}).\n"
        f"JupyterLab works on copies of the notebooks in {work}.\n"
        f"Afterwards: .venv/bin/pumphouse lab down --dir {directory}\n"
        f"{where_to_look()}\n"
    )
    command = jupyter_command(work, arguments)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main(arguments=tuple(sys.argv[1:]))
