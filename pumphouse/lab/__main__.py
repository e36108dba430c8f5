"""``python -m pumphouse.lab``: the commands of ``pumphouse lab``, and ``serve``, the lab's own process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from pumphouse.lab.cli import lab_group
from pumphouse.lab.server import CONTENTS, DESTINATIONS, FUEL_RELEASES, RATE_LIMITS, LabOptions, serve
from pumphouse.lab.source import RELEASES


@lab_group.command(name="serve")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), default=Path("lab"))
@click.option("--size", type=int, default=0)
@click.option("--scale", type=float, default=1.0)
@click.option("--release", type=click.Choice(sorted(RELEASES)), default="icehouse")
@click.option("--osapi-max-limit", type=click.IntRange(1), default=1000, help="The old Nova's largest page.")
@click.option("--owner-pid", type=int, default=0, help="End when this process is gone.")
@click.option("--destination", type=click.Choice(DESTINATIONS), default="neutron")
@click.option("--rate-limit", type=click.Choice(RATE_LIMITS), default="release")
@click.option("--rate-scale", type=click.FloatRange(0), default=1.0)
@click.option("--hardware", type=bool, default=False)
@click.option("--content", type=click.Choice(CONTENTS), default="usual")
@click.option("--fuel-release", type=click.Choice(FUEL_RELEASES), default="8.0")
def serve_command(directory: Path, **options: Any) -> None:
    """Run a lab in the foreground until it is interrupted.

    \b
    Example:
      python -m pumphouse.lab serve --dir lab
    """
    asyncio.run(serve(directory.resolve(), LabOptions(**options)))


if __name__ == "__main__":
    lab_group(prog_name="python -m pumphouse.lab")
