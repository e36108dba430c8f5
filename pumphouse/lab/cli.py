"""``pumphouse lab``: start, show and stop a simulated site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pumphouse.errors import PumphouseError
from pumphouse.lab import process
from pumphouse.lab.hardware.nailgun.release import NOT_IMPLEMENTED as NOT_IN_FUEL
from pumphouse.lab.process import LabInfo
from pumphouse.lab.server import CONTENTS, DESTINATIONS, FUEL_RELEASES, RATE_LIMITS, LabOptions
from pumphouse.lab.source import NOT_IMPLEMENTED, RELEASES

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
@click.option(
    "--destination",
    type=click.Choice(DESTINATIONS),
    default="neutron",
    show_default=True,
    help="The new cloud: current with Neutron, older (Icehouse) with nova-network, or none until Fuel deploys it.",
)
@click.option(
    "--osapi-max-limit",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Most records that the old Nova gives at once.",
)
@click.option(
    "--rate-limit",
    type=click.Choice(RATE_LIMITS),
    default="release",
    show_default=True,
    help="The old Nova's rate limits: as shipped (Grizzly: on), or switched.",
)
@click.option(
    "--rate-scale",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Factor on the rate limits' periods, on top of --scale.",
)
@click.option("--hardware", is_flag=True, help="Start BMCs, the switch's management and Fuel, too.")
@click.option(
    "--content",
    type=click.Choice(CONTENTS),
    default="usual",
    show_default=True,
    help="The old cloud's: all that goes wrong in ten years, or plain servers that can be moved as they are.",
)
@click.option(
    "--fuel-release", type=click.Choice(FUEL_RELEASES), default="8.0", show_default=True, help="The Fuel master's."
)
@_as_json
def up(directory: Path, as_json: bool, **options: Any) -> None:
    """Start a lab; it goes on in the background.

    \b
    Example:
      pumphouse lab up --dir lab --scale 0.2
      pumphouse lab up --dir lab --release grizzly
      pumphouse lab up --dir lab --hardware
    """
    try:
        was_running = process.status(directory).running
        info = process.up(directory, LabOptions(**options))
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


@lab_group.command()
@_as_json
def gaps(as_json: bool) -> None:
    """List what real services of the old cloud and Fuel have and the lab does not: it answers there as to an unknown
    path, or as said.

    \b
    Example:
      pumphouse lab gaps
    """
    listed = NOT_IMPLEMENTED | {"fuel": NOT_IN_FUEL}
    if as_json:
        click.echo(json.dumps(listed, indent=1))
        return
    for service, lines in listed.items():
        click.echo(f"{service}")
        for line in lines:
            click.echo(f"  {line}")


def _show(info: LabInfo, headline: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(info.as_json(), indent=1))
        return
    click.echo(f"{headline} in {info.directory}.")
    if not info.running:
        return
    facts = info.facts
    click.echo(f"  old cloud    {facts['source_auth_url']}  ({facts['release']}, {facts['servers']} servers)")
    new = f"{facts['destination_auth_url']}  ({facts['destination']})" if facts["destination_auth_url"] else "none yet"
    click.echo(f"  new cloud    {new}")
    if facts["fuel_release"]:
        click.echo(f"  hardware     BMCs, switch and Fuel {facts['fuel_release']}: see the site file")
    click.echo(f"  guests       {facts['fixed_cidr']} port {facts['guest_port']}")
    click.echo(f"  site file    {info.site_file}")
    click.echo("  not answered `pumphouse lab gaps` lists it")
