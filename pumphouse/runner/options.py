"""Options and manners that all commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from pumphouse.errors import PumphouseError
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
