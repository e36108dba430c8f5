"""``pumphouse lab``: start, show and stop a simulated site."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pumphouse.errors import PumphouseError
from pumphouse.lab import process
from pumphouse.lab.process import LabInfo
from pumphouse.lab.server import LabOptions
from pumphouse.lab.source import RELEASES

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lab"),
    show_default=True,
    help="Directory of the lab and of its site files.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.group(name="lab")
def lab_group() -> None:
    """Start, show and stop a simulated site: an old nova-network cloud and a new Neutron cloud on loopback.

    \b
    Example:
      pumphouse lab up --dir lab
      pumphouse inventory --site lab/site.yaml
      pumphouse lab down --dir lab
    """


@lab_group.command()
@_directory
@click.option(
    "--size", type=click.IntRange(0, 20000), default=0, show_default=True, help="Servers more than the usual."
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 1000),
    default=1.0,
    show_default=True,
    help="Factor on all durations; 0.1 is ten times faster.",
)
@click.option("--release", type=click.Choice(sorted(RELEASES)), default="icehouse", show_default=True)
@_as_json
def up(directory: Path, size: int, scale: float, release: str, as_json: bool) -> None:
    """Start a lab; it goes on in the background.

    \b
    Example:
      pumphouse lab up --dir lab --scale 0.2
    """
    try:
        was_running = process.status(directory).running
        info = process.up(directory, LabOptions(size=size, scale=scale, release=release))
    except PumphouseError as error:
        raise click.ClickException(str(error)) from error
    _show(info, "The lab was running already" if was_running else "The lab is up", as_json=as_json)


@lab_group.command()
@_directory
@_as_json
def status(directory: Path, as_json: bool) -> None:
    """Say whether a lab runs; exit code 1 when not.

    \b
    Example:
      pumphouse lab status --dir lab --json
    """
    try:
        info = process.status(directory)
    except PumphouseError as error:
        raise click.ClickException(str(error)) from error
    _show(info, "The lab is up" if info.running else "No lab runs", as_json=as_json)
    if not info.running:
        raise click.exceptions.Exit(1)


@lab_group.command()
@_directory
@_as_json
def down(directory: Path, as_json: bool) -> None:
    """Stop a lab; both clouds are gone then, journal and records stay.

    \b
    Example:
      pumphouse lab down --dir lab
    """
    try:
        was_running = process.status(directory).running
        info = process.down(directory)
    except PumphouseError as error:
        raise click.ClickException(str(error)) from error
    _show(info, "The lab is stopped" if was_running else "No lab was running", as_json=as_json)


def _show(info: LabInfo, headline: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(info.as_json(), indent=1))
        return
    click.echo(f"{headline} in {info.directory}.")
    if not info.running:
        return
    facts = info.facts
    click.echo(f"  old cloud    {facts['source_auth_url']}  ({facts['release']}, {facts['servers']} servers)")
    click.echo(f"  new cloud    {facts['destination_auth_url']}")
    click.echo(f"  guests       {facts['fixed_cidr']} port {facts['guest_port']}")
    click.echo(f"  site file    {info.site_file}")
