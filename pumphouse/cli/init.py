"""``pumphouse init``: a commented site file from what both clouds can be asked. And ``pumphouse stop``, ``desk``."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from pumphouse.approval import account
from pumphouse.clouds import connect
from pumphouse.clouds.config import load_region, logins
from pumphouse.errors import JournalError, SiteError
from pumphouse.fileio import write_atomic
from pumphouse.inventory import Snapshot, take_snapshot
from pumphouse.journal import Journal
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.runner.options import one_paragraph, site_option
from pumphouse.site import load_site
from pumphouse.sitedraft import draft_site
from pumphouse.stopping import StopKind, ask_to_stop


@click.command("init")
@click.option("--source", required=True, metavar="ENTRY", help="The old cloud's entry in clouds.yaml.")
@click.option("--destination", required=True, metavar="ENTRY", help="The new cloud's entry in clouds.yaml.")
@click.option(
    "--clouds",
    type=click.Path(dir_okay=False, path_type=Path),
    help="clouds.yaml; by default the one beside the site file, else where openstacksdk looks.",
)
@click.option("--name", default="", help="What the site is called; by default the folder's name.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("site.yaml"),
    show_default=True,
    metavar="FILE",
)
@one_paragraph
def init_command(source: str, destination: str, clouds: Path | None, name: str, out: Path) -> None:
    """Write a commented site.yaml by asking both clouds what can be asked. Changes no cloud, overwrites no file.

    \b
    Example:
      pumphouse init --source old --destination new
    """
    beside = out.parent / "clouds.yaml"
    clouds = clouds or (beside if beside.exists() else None)
    for entry, option in ((source, "--source"), (destination, "--destination")):
        load_region(entry, clouds, named_by=option)
    if out.exists():
        raise SiteError(
            f"Site file {out} is there already.", remedy="name another file with --out, or remove it first."
        )
    taken = [_ask(entry, side, clouds) for entry, side in ((source, "source"), (destination, "destination"))]
    shown = None if clouds is None else Path(os.path.relpath(clouds, out.parent.resolve()))
    text = draft_site(*taken, name=name or out.resolve().parent.name, clouds_yaml=shown, logins=logins(clouds))
    write_atomic(out, text)
    load_site(out)
    questions = text.count("# TO DECIDE")
    click.echo(f"{out} is written: {questions} question(s) in it are for you (look for TO DECIDE).")
    click.echo("Then: pumphouse check, and pumphouse desk to open the notebooks.")


def _ask(entry: str, side: str, clouds: Path | None) -> Snapshot:
    click.echo(f"Reading {entry} …", err=True)
    with closing(connect(entry, side=side, clouds_yaml=clouds)) as cloud:
        return take_snapshot(cloud, progress=None)


@click.command("stop")
@click.argument("run_id")
@click.option("--now", is_flag=True, help="Begin no further step, even if a server stays down.")
@site_option
@one_paragraph
def stop_command(run_id: str, now: bool, site_file: str) -> None:
    """Ask a run that is under way to stop: after the servers that are begun, or --now. Changes no cloud itself.

    Steps under way always end. Running the same notebook again goes on.

    \b
    Example:
      pumphouse stop 20261123T101500-1a2b3c4d
    """
    with closing(Journal.open(load_site(site_file).journal_url)) as journal:
        journal.get_run(run_id)
        scopes = [event for event in journal.events(run_id=run_id, step_key=SCOPE_KEY) if event.plan_hash]
        if not scopes:
            raise JournalError(
                f"Run {run_id} carries out no steps: there is nothing to stop.",
                remedy="`pumphouse journal` shows which runs are under way.",
            )
        kind = StopKind.NOW if now else StopKind.AFTER_SERVER
        ask_to_stop(journal, run_id, scopes[-1].plan_hash, kind, by=account())
    what = "no further step begins" if now else "servers that are begun are finished, no other begins"
    click.echo(f"Asked run {run_id} to stop: {what}.")


@click.command("desk")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("desk"),
    show_default=True,
    help="Where the copies of the notebooks lie.",
)
@click.option(
    "--notebooks",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path("notebooks"),
    show_default=True,
    help="The templates.",
)
@site_option
@one_paragraph
def desk_command(directory: Path, notebooks: Path, site_file: str) -> None:
    """Open JupyterLab on copies of the notebooks, set up for a site, with 00-start first.

    \b
    Example:
      pumphouse desk --site customer-x/site.yaml --dir customer-x/desk
    """
    from pumphouse.notebook.desk import jupyter_command, lay_out, where_to_look  # widgets: only this command waits

    site = load_site(site_file)
    work, environment = lay_out(directory.resolve(), notebooks, site.path)
    command = jupyter_command(work)
    click.echo(where_to_look(), err=True)
    os.execve(command[0], command, environment)  # noqa: S606 (becomes JupyterLab, as asked)
