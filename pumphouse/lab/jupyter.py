"""``make lab``: JupyterLab on copies of the notebooks, with a running simulated site."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pumphouse.lab import process
from pumphouse.site import SITE_VARIABLE

_ROOT = Path(__file__).resolve().parents[2]


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
    return work, {**os.environ, SITE_VARIABLE: str(info.site_file)}


def main(directory: Path = Path("lab"), arguments: tuple[str, ...] = ()) -> None:
    """Become JupyterLab; the site goes on running until ``pumphouse lab down``."""
    work, environment = prepare(directory)
    site = environment[SITE_VARIABLE]
    sys.stderr.write(
        f"The simulated site is running (site file {site}).\n"
        f"JupyterLab opens on copies of the notebooks in {work}.\n"
        f"Afterwards: .venv/bin/pumphouse lab down --dir {directory}\n"
    )
    root = () if hasattr(os, "geteuid") and os.geteuid() else ("--allow-root",)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={work}", *root, *arguments]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main(arguments=tuple(sys.argv[1:]))
