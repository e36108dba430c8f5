"""Run one notebook: validate, journal, execute, tell the truth about the end."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import papermill

from pumphouse.down import down_after, in_words
from pumphouse.errors import ParameterError, PumphouseError
from pumphouse.findings import Finding, blocking, ordered
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.records import sheet as sheets
from pumphouse.records.engine import Ending, Execution, NotebookStopped, Progress, conclude_from_ending
from pumphouse.records.hold import Hold, hold_run
from pumphouse.records.keys import Signer, signer_for
from pumphouse.records.redact import Redactor
from pumphouse.records.sheet import Sheet
from pumphouse.records.store import WritePolicy, hide_in_text, open_record, path_aliases, site_redactor
from pumphouse.runner.outcome import Afterwards, RunOutcome
from pumphouse.runner.parameters import resolve_parameters
from pumphouse.runner.signals import StopSwitch
from pumphouse.runner.template import OPERATOR_PARAMETER, SITE_PARAMETER, LoadedTemplate, load_template
from pumphouse.session.closing import Closing
from pumphouse.session.recover import recover_lost_runs
from pumphouse.session.run import RUN_ID_VARIABLE
from pumphouse.session.story import CHECK, ORDER
from pumphouse.session.ways import Places, Way, from_here, ways_on
from pumphouse.site import Site

Reporter = Callable[[Progress], None]


def run_notebook(
    path: str | Path,
    parameters: Mapping[str, Any],
    site: Site,
    *,
    journal: Journal | None = None,
    operator: str | None = None,
    parent_id: str | None = None,
    cell_timeout_s: int | None = None,
    reporter: Reporter | None = None,
    switch: StopSwitch | None = None,
    template: LoadedTemplate | None = None,
) -> RunOutcome:
    """Execute a template headlessly; what it does to the clouds is the notebook's affair.

    Ends with a record in ``site.records_dir``, the run closed in the journal and a line in the manifest, whatever
    happens to the kernel. SIGINT and SIGTERM interrupt the cell; the result is then ``aborted``.

    :param parameters: values for the template's parameters; the rest keep their defaults.
    :param operator: who runs it; default ``PUMPHOUSE_OPERATOR`` or the account's name.
    :param cell_timeout_s: a cell that runs longer is interrupted, and the run with it.
    :param reporter: called at the start and end of every code cell, and for every line that an action prints.
    :param template: what :func:`load_template` returned for ``path``, if it was called already.
    :returns: the outcome; its ``result`` is ``succeeded`` only if the last cell was reached *and* the journal agrees.
    :raises ParameterError: unknown names, wrong types, or a secret as a value. Nothing was run.
    :raises RunbookError: the template cannot be run as it is, or records cannot be written. Nothing was run.
    """
    template = template or load_template(path)
    redactor = site_redactor(site)
    signer = signer_for(site)
    checked = template.check(parameters, site.path)
    template.require_enough(checked)
    template.require_known(checked, site.hardware)
    refuse_secrets(template.file.name, checked, redactor)
    who = checked.get(OPERATOR_PARAMETER) or operator or sheets.current_operator()
    if OPERATOR_PARAMETER in template.parameters:
        checked[OPERATOR_PARAMETER] = who  # the session in the kernel must name the same person as the journal
    book = journal or open_journal(site, reporter)
    try:
        recover_lost_runs(book, site, signer)
        started_at = datetime.now(UTC)
        record = site.records_dir / _record_name(template, started_at)
        stops = switch or StopSwitch()
        with stops.listening(), hold_run(site.records_dir, record.name) as hold:
            job = _Job(
                template=template,
                checked=checked,
                site=site,
                journal=book,
                policy=WritePolicy(redactor, path_aliases(site.path.parent)),
                record=record,
                signer=signer,
            )
            job.start(started_at, who, parent_id)
            job.execute(cell_timeout_s, reporter, stops)
            return job.close(hold)
    finally:
        if journal is None:
            book.close()


def open_journal(site: Site, reporter: Reporter | None) -> Journal:
    """The site's journal for a whole run; that it is gone for a while is told to the reporter, else on standard error.

    :raises JournalError: when it cannot be opened.
    """

    def tell(line: str) -> None:
        if reporter is None:
            sys.stderr.write(f"{line}\n")
        else:
            reporter(Progress(0, 0, "", "output", text=line))

    return Journal.open(site.journal_url, outage_s=site.outage_s, notice=tell)


@dataclass
class _Job:
    """One run from its journal row to its manifest line."""

    template: LoadedTemplate
    checked: Mapping[str, Any]
    site: Site
    journal: Journal
    policy: WritePolicy
    record: Path
    signer: Signer | None
    sheet: Sheet = field(init=False)

    def start(self, started_at: datetime, operator: str, parent_id: str | None) -> None:
        resolved = resolve_parameters(self.template.parameters, self.checked)
        shown = {key: self._hide(value) for key, value in resolved.items()}
        run_id = self.journal.start_run(
            notebook=self.template.facts.path,
            template_digest=self.template.facts.sha256,
            parameters=shown,
            operator=operator,
            record=self.record.name,
            parent_id=parent_id,
        )
        self.sheet = Sheet(
            run_id=run_id,
            template=self.template.facts,
            operator=operator,
            started_at=started_at,
            parameters=shown,
            site=self.site.name,
            clouds=f"{self.site.source_cloud} to {self.site.destination_cloud}",
            parent_id=parent_id,
        )

    def execute(self, cell_timeout_s: int | None, reporter: Reporter | None, switch: StopSwitch) -> None:
        """Run the notebook; afterwards ``sheet`` is final, whatever happened."""
        execution = Execution(
            sheet=self.sheet,
            conclude=self.conclude,
            environment={RUN_ID_VARIABLE: self.sheet.run_id},
            kernel_dir=self.template.file.parent,
            reporter=None if reporter is None else self._redacted(reporter),
        )
        try:
            with switch.guarding() as execution.stop, open_record(self.record, self.policy) as output:
                papermill.execute_notebook(
                    self.template.notebook,
                    output,
                    parameters=dict(self.checked),
                    engine_name="pumphouse",
                    progress_bar=False,
                    execution_timeout=cell_timeout_s,
                    execution=execution,
                )
            self.sheet = execution.sheet
        except NotebookStopped:
            self.sheet = execution.sheet
        except Exception as error:  # noqa: BLE001 (whatever it was, the run has ended and that must be written down)
            said = str(error) if isinstance(error, PumphouseError) else f"{type(error).__name__}: {error}"
            self.sheet = self.sheet.ended(sheets.INTERRUPTED, self._hide(f"The run could not go on: {said}"))

    def conclude(self, ending: Ending) -> tuple[str, str]:
        """The result: what was seen of the notebook, corrected by what the journal holds."""
        result, detail = conclude_from_ending(ending)
        try:
            steps = self.journal.run_result(self.sheet.run_id)
            acted = self.journal.set_out(self.sheet.run_id)
            down = in_words(down_after(self.journal, self.sheet.run_id))
        except PumphouseError as error:
            return sheets.INTERRUPTED, self._hide(f"{detail} The journal could not be asked: {error}".strip())
        if ending.kind == "finished":
            result, detail = _finished(steps, ending.detail, acted=acted)
        elif result == sheets.REFUSED and steps == "failed":
            result, detail = sheets.FAILED, f"{detail} Before that, a step had failed."
        return result, self._hide(f"{detail} {down}".strip())

    def close(self, hold: Hold) -> RunOutcome:
        """Write journal and manifest; a run that cannot be closed did not succeed, whatever its notebook did."""
        closing = Closing(self.journal, self.site, self.policy, self.signer, stem=self.record.stem)
        self.sheet, problem = closing.close(self.sheet)
        if problem:
            hold.keep = True
            self.sheet = self.sheet.ended(sheets.FAILED, self._hide(f"{self.sheet.detail} {problem}".strip()))
        return RunOutcome(
            run_id=self.sheet.run_id,
            notebook=self.template.facts.path,
            result=self.sheet.result,
            detail=self.sheet.detail,
            record=self.record if self.record.exists() else None,
            started_at=self.sheet.started_at,
            ended_at=self.sheet.ended_at or datetime.now(UTC),
            location=f"{self.site.records_url}/{self.record.name}" if self._is_in_bucket(problem) else "",
            findings=self._refused_by() if self.sheet.result == sheets.REFUSED else (),
            afterwards=self._afterwards(),
        )

    def _afterwards(self) -> Afterwards:
        """What became of the servers, from the record's own story; ways on as they can be typed where we are."""
        story, refused = self.sheet.story, self.sheet.result == sheets.REFUSED
        plans = story.get("plans", ())
        ways: tuple[Way, ...] = ()
        try:
            document = self.journal.plan_document(plans[-1]["hash"]) if plans else None
            if document is not None:
                places = Places(
                    notebooks=from_here(self.template.file.parent),
                    work=from_here(self.site.work_dir),
                    here=self.site.work_dir,
                    site=from_here(self.site.path),
                    change=str(story.get("change") or ""),
                )
                ways = ways_on(self.journal, Plan.from_document(document), places)
        except PumphouseError:
            ways = ()  # its record says what can be said
        page = self.site.work_dir / "plans" / f"{plans[-1]['hash']}.json" if plans and refused else None
        return Afterwards(
            servers=tuple(story.get("servers", ())),
            down=tuple(str(row["said"]) for row in story.get("down", ()) if row["ran"]),
            ways=ways,
            kept=self._kept(),
            plan_file=page if page is not None and page.is_file() else None,
        )

    def _kept(self) -> tuple[str, ...]:
        """Orders of hosts and nodes that the run kept, each as a runbook takes it."""
        try:
            events = self.journal.events(run_id=self.sheet.run_id, step_key=ORDER)
        except PumphouseError:
            return ()
        files = {
            str(event.data["file"]): f"{event.data['title']}: -p {event.data['parameter']}=@"
            for event in events
            if event.data.get("file")
        }
        folder = self.site.work_dir / "selections"
        return tuple(f"{words}{from_here(folder / file)}" for file, words in files.items())

    def _refused_by(self) -> tuple[Finding, ...]:
        """What the last check of a refused run found, if it found what blocks."""
        try:
            events = self.journal.events(run_id=self.sheet.run_id, step_key=CHECK)
        except PumphouseError:
            return ()  # its detail and its record say what can be said
        rows = events[-1].data.get("findings", ()) if events else ()
        found = ordered(Finding(**{key: self._hide(text) for key, text in row.items()}) for row in rows)
        return found if blocking(found) else ()

    def _is_in_bucket(self, problem: str) -> bool:
        return self.site.records_url is not None and not problem and not self.record.exists()

    def _redacted(self, reporter: Reporter) -> Reporter:
        return lambda progress: reporter(replace(progress, text=self._hide(progress.text)))

    def _hide(self, value: Any) -> Any:
        clean = self.policy.redactor.value(value)
        return hide_in_text(clean, self.policy.aliases) if isinstance(clean, str) else clean


def _record_name(template: LoadedTemplate, started_at: datetime) -> str:
    stem = re.sub(r"[^\w.-]+", "-", template.file.stem)
    return f"{started_at:%Y%m%dT%H%M%SZ}-{stem}-{secrets.token_hex(4)}.ipynb"


def _finished(steps: str, late: str, *, acted: bool) -> tuple[str, str]:
    match steps:
        case sheets.SUCCEEDED:
            said = "Every step that this run set out to do is verified." if acted else "It only read: no step was due."
            return sheets.SUCCEEDED, f"{said} {late}".strip()
        case sheets.NOTHING_TO_DO:
            return sheets.NOTHING_TO_DO, late
        case "incomplete":
            return sheets.FAILED, "The last cell was reached, but the journal holds steps without a verified outcome."
        case _:
            return sheets.FAILED, "The last cell was reached, but the journal holds a step that failed."


def refuse_secrets(name: str, values: Mapping[str, Any], redactor: Redactor) -> None:
    """Refuse parameters that hold a secret: they would be stored in the journal and shown in the record.

    :raises ParameterError: naming notebook (or runbook) and parameter, never the value.
    """
    for key, value in values.items():
        if key != SITE_PARAMETER and redactor.holds_secret(value if isinstance(value, str) else repr(value)):
            raise ParameterError(
                f"{name}: the value of parameter '{key}' contains a secret of this site.",
                remedy="parameters are recorded; refer to secrets by clouds.yaml, secure.yaml or the environment.",
            )
