"""Options and manners that all commands share."""

from __future__ import annotations

import functools
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import click

from pumphouse.errors import PumphouseError
from pumphouse.findings import Finding
from pumphouse.records import sheet as sheets
from pumphouse.runner.outcome import EXIT_USAGE

_P = ParamSpec("_P")
_R = TypeVar("_R")
RESULT_COLOURS = {
    sheets.SUCCEEDED: "green",
    sheets.NOTHING_TO_DO: "cyan",
    sheets.FAILED: "red",
    sheets.REFUSED: "yellow",
    sheets.ABORTED: "yellow",
    sheets.INTERRUPTED: "red",
}

_MARKS = {"block": ("✖ blocks", "red"), "warn": ("▲ warns", "yellow"), "info": ("ℹ informs", "cyan")}
#: Lines are broken at the terminal's width, but never narrower or wider than this.
_NARROW, _WIDE = 60, 120

site_option = click.option(
    "--site",
    "site_file",
    default="site.yaml",
    show_default=True,
    envvar="PUMPHOUSE_SITE",
    metavar="FILE",
    help="The site to work on (also PUMPHOUSE_SITE).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def one_paragraph(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn our errors into one paragraph and exit code 2, without a traceback."""

    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except PumphouseError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            sys.exit(EXIT_USAGE)

    return wrapped


def print_findings(findings: Iterable[Finding]) -> None:
    """Findings on standard output, each with severity, object and code, then cause and remedy below; none is cut."""
    width = max(_NARROW, min(_WIDE, shutil.get_terminal_size().columns))
    for finding in findings:
        word, colour = _MARKS[finding.severity]
        object_ = click.style(finding.object, bold=True)
        click.echo(f"{click.style(f'{word:<10}', fg=colour)} {object_}  [{finding.code}]")
        for text in (finding.message, f"Remedy: {finding.remedy}" if finding.remedy else ""):
            for line in textwrap.wrap(text, width - 11, break_long_words=False, break_on_hyphens=False):
                click.echo(f"{'':11}{line}")
