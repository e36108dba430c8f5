"""Commands ``run`` and ``lint``: thin shells over the library.

Exit codes are those of :mod:`pumphouse.runner.outcome`. Errors are one paragraph on standard error; ``--json`` puts the
result, and nothing else, on standard output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pumphouse.errors import ParameterError, RunbookError
from pumphouse.lint import lint_paths
from pumphouse.records.engine import Progress
from pumphouse.runner.execute import run_notebook
from pumphouse.runner.farewell import print_servers, print_ways
from pumphouse.runner.options import RESULT_COLOURS, json_option, one_paragraph, print_findings, site_option
from pumphouse.runner.outcome import EXIT_FAILED, EXIT_OK, RunOutcome
from pumphouse.runner.parameters import CommandLineText
from pumphouse.runner.sequence import run_runbook
from pumphouse.site import load_site


@click.command("run")
@click.argument("what", metavar="RUNBOOK_OR_NOTEBOOK")
@click.option(
    "-p",
    "--parameter",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter: JSON, else text; a list also as a,b or @FILE (an order that a picker kept). Repeatable.",
)
@site_option
@click.option("--timeout", "cell_timeout_s", type=click.IntRange(min=1), metavar="SECONDS", help="Limit for one cell.")
@click.option("--operator", metavar="NAME", help="Who runs this (default: PUMPHOUSE_OPERATOR or your account).")
@click.option("--go-on", is_flag=True, help="Runbook: leave out what succeeded at its beginning in earlier runs of it.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@json_option
@one_paragraph
def run_command(
    what: str,
    given: tuple[str, ...],
    site_file: str,
    cell_timeout_s: int | None,
    operator: str | None,
    go_on: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a notebook or a runbook headlessly and write its record.

    A runbook (*.yaml) is a sequence of notebooks with parameters; all of them are checked before the first one
    runs. Ctrl-C interrupts the cell, finishes the record and ends the run as aborted.

    \b
    Example:
      pumphouse run runbooks/move-project.yaml --site lab/site.yaml -p projects=acme
      pumphouse run notebooks/01-inventory.ipynb --json

    \b
    Exit code: 0 succeeded or nothing to do, 1 failed, 2 wrong use (nothing was run),
    3 refused by a check or for want of an approval, 4 aborted or interrupted.
    """
    parameters = _parse(given)
    site = load_site(site_file)
    cells = None if quiet or as_json else _Sections()
    if Path(what).suffix in (".yaml", ".yml"):
        outcome = run_runbook(
            what,
            parameters,
            site,
            operator=operator,
            cell_timeout_s=cell_timeout_s,
            reporter=cells,
            step_reporter=None if quiet or as_json else _print_step,
            go_on=go_on,
        )
    elif Path(what).suffix == ".ipynb":
        outcome = run_notebook(what, parameters, site, operator=operator, cell_timeout_s=cell_timeout_s, reporter=cells)
    else:
        raise RunbookError(f"{what} is neither a notebook nor a runbook.", remedy="name a file *.ipynb or *.yaml.")
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_outcome(outcome)
    sys.exit(outcome.exit_code)


@click.command("lint")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@json_option
@one_paragraph
def lint_command(paths: tuple[str, ...], as_json: bool) -> None:
    """Check notebooks (files or folders) against the conventions; exit code 1 if one departs from them.

    \b
    Example:
      pumphouse lint notebooks/
    """
    problems = lint_paths(paths)
    if as_json:
        click.echo(json.dumps([problem.__dict__ for problem in problems], indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(str(problem))
        if not problems:
            click.echo("All notebooks follow the conventions.")
    sys.exit(EXIT_FAILED if problems else EXIT_OK)


def _parse(given: tuple[str, ...]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ParameterError(f"-p {item!r} has no value.", remedy="write -p NAME=VALUE.")
        if name in parameters:
            raise ParameterError(f"Parameter '{name}' is given twice.", remedy="give it once; a list is JSON.")
        parameters[name] = CommandLineText(value)
    return parameters


class _Sections:
    """A line per section of the notebook, and the lines that actions print while they run."""

    def __init__(self) -> None:
        self._heading = ""
        self._seconds = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.status == "output":
            click.echo(f"      {progress.text}", err=True)
            return
        if progress.seconds is None:
            if progress.cell > 1 and progress.heading != self._heading:
                self._end()
            self._heading = progress.heading
            return
        self._seconds += progress.seconds
        if progress.status == "failed":
            self._end(click.style("✖", fg="red"))
        elif progress.cell == progress.cells:
            self._end()

    def _end(self, mark: str = "✔") -> None:
        click.echo(f"  {mark} {self._heading} ({self._seconds:.1f} s)", err=True)
        self._seconds = 0.0


def _print_step(number: int, count: int, label: str, outcome: RunOutcome | None) -> None:
    if outcome is None:
        click.echo(click.style(f"{number}/{count} {label}", bold=True), err=True)
    else:
        click.echo(f"    {click.style(outcome.result, fg=RESULT_COLOURS[outcome.result])}", err=True)


def _print_outcome(outcome: RunOutcome) -> None:
    result = click.style(outcome.result, fg=RESULT_COLOURS[outcome.result], bold=True)
    click.echo(f"{outcome.notebook}: {result}. {outcome.detail}".rstrip())
    for run in outcome.steps or (outcome,):
        print_findings(run.findings)
        print_servers(run.afterwards)
        if run.record is not None or run.location:
            click.echo(f"  record: {run.record or run.location}")
    print_ways((outcome.steps or (outcome,))[-1].afterwards)
