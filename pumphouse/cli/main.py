"""The command group and the commands that no other module brings."""

from __future__ import annotations

import getpass
import json
import sys
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path

import click

from pumphouse.approval import approve, other_ticket
from pumphouse.checks.releases import describe
from pumphouse.cli.init import desk_command, init_command, stop_command
from pumphouse.cli.plans import change_asked, find_plan, plans_command, show_command
from pumphouse.findings import SEVERITIES, Finding, blocking
from pumphouse.inventory import BUILDERS
from pumphouse.journal import Journal, StepState
from pumphouse.plan.model import Plan
from pumphouse.runner.cli import lint_command, run_command
from pumphouse.runner.options import json_option, one_paragraph, print_findings, site_option
from pumphouse.runner.records_cli import records_group
from pumphouse.session import begin, make_report
from pumphouse.site import load_site

#: Entry points that bring commands.
_BROUGHT = "pumphouse.commands"


class _Commands(click.Group):
    """A group to which other packages add commands; each is loaded when it is asked for, and no other waits for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group=_BROUGHT).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        for entry in () if known is not None else entry_points(group=_BROUGHT, name=cmd_name):
            found: click.Command = entry.load()
            return found
        return known


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pumphouse")
def main() -> None:
    """Empty an old OpenStack cloud (nova-network) into a new one, with a record of every change.

    \b
    Example:
      pumphouse lab up
      pumphouse run notebooks/02-check.ipynb --site lab/site.yaml -p projects=acme
    """


@main.command("inventory")
@site_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for one CSV file per table.")
@json_option
@one_paragraph
def inventory_command(site_file: str, out: Path | None, as_json: bool) -> None:
    """Read both clouds and count what they hold; changes nothing.

    \b
    Example:
      pumphouse inventory --site lab/site.yaml --out tables/
    """
    with begin(site_file, notebook="pumphouse inventory", report=_quiet, notice=_to_stderr) as run:
        taken = run.inventory()
        clouds = [cloud.facts for cloud in (run.source, run.destination)]
    facts = {cloud.side: asdict(cloud) for cloud in clouds}
    counts = {side: {name: len(taken.table(name, side)) for name in BUILDERS} for side in ("source", "destination")}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for side in counts:
            for name in BUILDERS:
                taken.table(name, side).to_csv(out / f"{side}-{name}.csv")
    if as_json:
        click.echo(json.dumps({"clouds": facts, **counts}, indent=2))
        return
    for cloud in clouds:
        click.echo(f"{cloud.side} {describe(cloud)}")
    click.echo(f"{'table':24}{clouds[0].cloud:>12}{clouds[1].cloud:>12}")
    for name in BUILDERS:
        click.echo(f"{name:24}{counts['source'][name]:>12,}{counts['destination'][name]:>12,}")


@main.command("check")
@site_option
@json_option
@one_paragraph
def check_command(site_file: str, as_json: bool) -> None:
    """Check the site against what a migration needs, and list what is dirty in the source. Changes nothing.

    Exit code 1 when a finding blocks; what is dirty blocks only the moves of what it is about.

    \b
    Example:
      pumphouse check --site lab/site.yaml
    """
    with begin(site_file, notebook="pumphouse check", report=_quiet, notice=_to_stderr) as run:
        findings = run.check()
        nodes = bool(run.site.hardware.nodes)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print_findings(findings)
        _print_verdict(findings, nodes=nodes)
    sys.exit(1 if blocking(findings) else 0)


@main.command("approve")
@click.argument("plan_hash")
@click.option("--by", help="Who approves; your account by default.")
@click.option("--reason", required=True, help="Why the plan may run.")
@click.option("--ticket", default="", help="Change ticket.")
@click.option("--second", default="", help="A second person who read the plan, too.")
@click.option("--replace", is_flag=True, help="Put this approval in the place of one that is there.")
@site_option
@one_paragraph
def approve_command(
    plan_hash: str, by: str | None, reason: str, ticket: str, second: str, replace: bool, site_file: str
) -> None:
    """Approve exactly one plan, by (the first digits of) its hash. Changes no cloud.

    The account that types this is noted beside the name that is given, and a ticket other than that of the run that
    asks is told. A plan that is finished, undone or superseded cannot be approved.

    \b
    Example:
      pumphouse approve 3f2a9c --by "Ada Reviewer" --reason "window of 23 Nov" --ticket CHG-1042
    """
    site = load_site(site_file)
    with closing(Journal.open(site.journal_url)) as journal:
        plan = find_plan(journal, plan_hash, site)
        state, change = journal.plan_state(plan.hash), change_asked(journal, plan)
    folder, by = site.work_dir / "approvals", by or getpass.getuser()
    for words, count in plan.lost_for_ever.items():
        click.echo(f"  irreversible: {words}{f' ({count} steps)' if count > 1 else ''}")
    path = approve(plan, folder, by=by, reason=reason, ticket=ticket, second=second, state=state, replace=replace)
    names = ", ".join(server.name for server in plan.servers)
    about = f"{plan.subject}{f': {names}' if names else ''}"
    click.echo(f"Approved {plan.kind} plan {plan.hash[:12]} of {about}.")
    click.echo(f"  {path}")
    if other := other_ticket(plan.hash, ticket, change):
        click.echo(f"Note: {other} The run's record will say so; --replace approves it anew.")


@main.command("journal")
@click.argument("run_id", required=False)
@site_option
@json_option
@one_paragraph
def journal_command(run_id: str | None, site_file: str, as_json: bool) -> None:
    """Show what was done: all runs and plans, or the events of one run.

    \b
    Example:
      pumphouse journal --site lab/site.yaml
      pumphouse journal 20261123T101500-1a2b3c4d --json
    """
    with closing(Journal.open(load_site(site_file).journal_url)) as journal:
        if run_id:
            _print_run(journal, run_id, as_json)
        else:
            _print_journal(journal, as_json)


def _print_journal(journal: Journal, as_json: bool) -> None:
    plans = [Plan.from_document(document) for document in journal.plan_documents()]
    if as_json:
        rows = {
            "runs": [_run_row(journal, run.id) for run in journal.list_runs()],
            "plans": [{**asdict(make_report(journal, p)), "state": journal.plan_state(p.hash)} for p in plans],
        }
        click.echo(json.dumps(rows, indent=2))
        return
    for run in journal.list_runs():
        click.echo(f"{run.id}  {run.result or run.state:<14}{run.operator:<12}{run.notebook}  {run.detail}".rstrip())
    for plan in plans:
        report = make_report(journal, plan)
        state = journal.plan_state(plan.hash)
        done = f"{report.verified}/{report.steps} steps verified"
        click.echo(f"plan {plan.hash[:12]}  {plan.kind:<12}{state:<11}{done}  {plan.subject}")
        for server in report.servers:
            click.echo(f"    {server.name:<24}{server.result}")
        if plan.kind == "move" and state in ("started", "finished"):
            states = journal.step_states(plan.hash)
            undoable = sum(1 for s in plan.steps if s.undo and states.get(s.key, StepState()).in_effect)
            click.echo(f"    {undoable} step(s) can be undone with notebooks/05-roll-back-move.ipynb")


def _print_run(journal: Journal, run_id: str, as_json: bool) -> None:
    run = _run_row(journal, run_id)
    events = [
        {**asdict(event), "at": event.at.isoformat(), "data": dict(event.data)}
        for event in journal.events(run_id=run_id)
    ]
    if as_json:
        click.echo(json.dumps({"run": run, "events": events}, indent=2))
        return
    click.echo(f"{run['id']}  {run['result'] or run['state']}  {run['notebook']}  by {run['operator']}")
    for event in events:
        click.echo(f"  {event['at'][:19]}Z  {event['event']:<12}{event['step_key']}")


def _run_row(journal: Journal, run_id: str) -> dict[str, object]:
    run = journal.get_run(run_id)
    return {
        **asdict(run),
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "parameters": dict(run.parameters),
    }


def _print_verdict(findings: tuple[Finding, ...], *, nodes: bool) -> None:
    """What it comes to, below the findings: where a terminal shows the end of a long list."""
    blocked, warned, told = (sum(one.severity == word for one in findings) for word in SEVERITIES)
    if not findings:
        click.echo(f"Nothing found: the site is fit for a migration. {_way_on(nodes)}")
        return
    colour, next_ = "green", f"nothing blocks. {_way_on(nodes)}"
    if blocked:
        first = next(one for one in findings if one.severity == "block")
        colour, next_ = "red", f"mend what blocks ({first.object} [{first.code}] above is the first), then check again."
    click.echo()
    counted = (("block", blocked), ("warn", warned), ("inform", told))
    counts = ", ".join(f"{count} {word}{'s' if count == 1 else ''}" for word, count in counted)
    click.echo(f"{click.style(counts, fg=colour, bold=True)}: {next_}")


def _way_on(nodes: bool) -> str:
    servers = "Go on with notebooks/02-check.ipynb (plan a move of servers)"
    hosts = ", or notebooks/06-acquire-nodes.ipynb (empty a host, take its node)" if nodes else ""
    return f"{servers}{hosts}."


def _to_stderr(line: str) -> None:
    """A cloud makes us wait: not part of the answer, but nobody should think that we hang."""
    click.echo(line, err=True)


def _quiet(_line: str) -> None:
    """Progress that nobody asked for."""


for _command in (init_command, desk_command, stop_command, plans_command, show_command):
    main.add_command(_command)
main.add_command(run_command)
main.add_command(records_group)
main.add_command(lint_command)
