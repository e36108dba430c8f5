"""Run a runbook: its notebooks in order, each a run of its own below the runbook's run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumphouse.errors import PumphouseError
from pumphouse.journal import Journal
from pumphouse.records import sheet as sheets
from pumphouse.records.hold import hold_run
from pumphouse.records.keys import signer_for
from pumphouse.records.sheet import Sheet
from pumphouse.records.store import default_policy
from pumphouse.runner.execute import Reporter, open_journal, refuse_secrets, run_notebook
from pumphouse.runner.outcome import RunOutcome
from pumphouse.runner.parameters import resolve_parameters
from pumphouse.runner.runbook import Call, Runbook, load_runbook, runbook_digest
from pumphouse.runner.signals import StopSwitch
from pumphouse.runner.template import OPERATOR_PARAMETER, SITE_PARAMETER
from pumphouse.session.closing import Closing
from pumphouse.session.recover import recover_lost_runs
from pumphouse.site import Site

StepReporter = Callable[[int, int, str, RunOutcome | None], None]
"""Called with number, count, label and None before a notebook, and with its outcome after it."""

#: Parameters of a notebook that are filled in when it is run.
_SET_BY_RUNNER = (SITE_PARAMETER, OPERATOR_PARAMETER)


def run_runbook(
    path: str | Path,
    parameters: Mapping[str, Any],
    site: Site,
    *,
    journal: Journal | None = None,
    operator: str | None = None,
    cell_timeout_s: int | None = None,
    reporter: Reporter | None = None,
    step_reporter: StepReporter | None = None,
    switch: StopSwitch | None = None,
    go_on: bool = False,
) -> RunOutcome:
    """Execute a runbook headlessly; it stops at the first notebook that neither succeeds nor finds nothing to do.

    Every notebook and every parameter of every step is checked before the first one runs.

    :param go_on: leave out the notebooks at its beginning that succeeded in earlier runs of this very runbook, with
        the same parameters of their own: what the earlier run left behind (an empty host, say) may be nothing that they
        could begin with again.

    :returns: the outcome with one outcome per notebook that ran in ``steps``; the runbook's result is that of the
        notebook that stopped it, else ``succeeded``, or ``nothing-to-do`` if all of them found nothing to do.
    :raises RunbookError: the runbook or a notebook in it cannot be run as it is. Nothing was run.
    :raises ParameterError: a parameter of the runbook or of a step does not fit. Nothing was run.
    """
    runbook = load_runbook(path)
    values = runbook.resolve(parameters)
    policy = default_policy(site)
    signer = signer_for(site)
    refuse_secrets(runbook.file.name, values, policy.redactor)
    runbook.require_known(values, site.hardware)
    calls = runbook.calls(values, site.path)
    who = operator or sheets.current_operator()
    book = journal or open_journal(site, reporter)
    stops = switch or StopSwitch()
    try:
        recover_lost_runs(book, site, signer)
        with stops.listening():
            started_at = datetime.now(UTC)
            run_id = book.new_run_id()
            sheet = Sheet(run_id, runbook.facts, who, started_at, values, site.name)
            with hold_run(site.records_dir, run_id) as hold:
                book.start_run(
                    notebook=runbook.facts.path,
                    template_digest=runbook_digest(runbook),
                    parameters=values,
                    operator=who,
                    record=None,
                    run_id=run_id,
                )
                outcomes: list[RunOutcome] = []
                done = _done_before(book, runbook_digest(runbook), calls, site) if go_on else 0
                try:
                    for number, call in enumerate(calls[done:], done + 1):
                        if stops.thrown:
                            break
                        if step_reporter is not None:
                            step_reporter(number, len(calls), call.label, None)
                        outcome = run_notebook(
                            call.template.file,
                            call.parameters,
                            site,
                            journal=book,
                            operator=who,
                            parent_id=run_id,
                            cell_timeout_s=cell_timeout_s,
                            reporter=reporter,
                            switch=stops,
                            template=call.template,
                        )
                        outcomes.append(outcome)
                        if step_reporter is not None:
                            step_reporter(number, len(calls), call.label, outcome)
                        if not outcome.ok:
                            break
                    result, detail = _sum_up(calls[done:], outcomes, stops)
                    if done:
                        detail = f"{done} of {len(calls)} notebooks succeeded in earlier runs. {detail}".rstrip()
                except PumphouseError as error:
                    result, detail = sheets.INTERRUPTED, f"The runbook could not go on: {error}"
                sheet = sheet.ended(result, detail)
                sheet, problem = Closing(book, site, policy, signer).close(sheet)
                if problem:
                    hold.keep = True
                    sheet = sheet.ended(sheets.FAILED, problem)
        return _outcome(runbook, sheet, outcomes)
    finally:
        if journal is None:
            book.close()


def _done_before(book: Journal, digest: str, calls: list[Call], site: Site) -> int:
    """How many notebooks at the beginning have succeeded, with their parameters, in runs of this runbook (read only).

    The runbook's own parameters need not be the same: a list whose end was corrected goes on where it was.
    """
    rows = book.list_runs()
    earlier = {row.id for row in rows if row.template_digest == digest}
    succeeded = [
        (row.template_digest, row.parameters)
        for row in rows
        if row.parent_id in earlier and row.result in (sheets.SUCCEEDED, sheets.NOTHING_TO_DO)
    ]
    for number, call in enumerate(calls):
        wanted = resolve_parameters(call.template.parameters, call.template.check(call.parameters, site.path))
        found = next((one for one in succeeded if one[0] == call.template.facts.sha256 and _same(one[1], wanted)), None)
        if found is None:
            return number
        succeeded.remove(found)
    return len(calls)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs were asked for the same; the journal is one site's, and the runner itself says who runs it."""

    def told(given: Mapping[str, Any]) -> str:
        asked = {key: value for key, value in given.items() if key not in _SET_BY_RUNNER}
        return json.dumps(asked, sort_keys=True, default=str)

    return told(one) == told(other)


def _sum_up(calls: list[Call], outcomes: list[RunOutcome], stops: StopSwitch) -> tuple[str, str]:
    last = outcomes[-1] if outcomes else None
    if last is not None and not last.ok:
        left = (
            f" {len(calls) - len(outcomes)} of {len(calls)} notebooks were not run."
            if len(calls) > len(outcomes)
            else ""
        )
        return last.result, f"{last.notebook}: {last.detail}{left}"
    if len(outcomes) < len(calls):
        return sheets.ABORTED, f"Stopped by {stops.reason} after {len(outcomes)} of {len(calls)} notebooks."
    if not calls:
        return sheets.NOTHING_TO_DO, "The lists that its steps go over are empty."
    if all(outcome.result == sheets.NOTHING_TO_DO for outcome in outcomes):
        return sheets.NOTHING_TO_DO, ""
    return sheets.SUCCEEDED, f"All {len(calls)} notebooks succeeded."


def _outcome(runbook: Runbook, sheet: Sheet, outcomes: list[RunOutcome]) -> RunOutcome:
    return RunOutcome(
        run_id=sheet.run_id,
        notebook=runbook.facts.path,
        result=sheet.result,
        detail=sheet.detail,
        record=None,
        started_at=sheet.started_at,
        ended_at=sheet.ended_at or datetime.now(UTC),
        steps=tuple(outcomes),
    )
