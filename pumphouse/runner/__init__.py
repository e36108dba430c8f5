"""Running notebooks and runbooks headlessly.

:func:`run_notebook` takes a template from its validation to a record, a closed run in the journal and a line in the
manifest; :func:`run_runbook` does that for a sequence. The result of a run is ``succeeded`` only if the last cell was
reached and the journal's steps agree. ``cli`` holds the commands that wrap them.
"""

from pumphouse.runner.execute import run_notebook
from pumphouse.runner.outcome import (
    EXIT_CODES,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_USAGE,
    RunOutcome,
)
from pumphouse.runner.parameters import CommandLineText
from pumphouse.runner.runbook import Runbook, load_runbook
from pumphouse.runner.sequence import run_runbook
from pumphouse.runner.signals import StopSwitch
from pumphouse.runner.template import LoadedTemplate, load_template
from pumphouse.session.recover import recover_lost_runs
from pumphouse.session.run import RUN_ID_VARIABLE

__all__ = [
    "EXIT_CODES",
    "EXIT_FAILED",
    "EXIT_OK",
    "EXIT_REFUSED",
    "EXIT_STOPPED",
    "EXIT_USAGE",
    "RUN_ID_VARIABLE",
    "CommandLineText",
    "LoadedTemplate",
    "RunOutcome",
    "Runbook",
    "StopSwitch",
    "load_runbook",
    "load_template",
    "recover_lost_runs",
    "run_notebook",
    "run_runbook",
]
