"""Closing a run: the journal's row, the record with its side files, the seal and the manifest's line.

One way for all: runs of the runner, runs by hand, and runs that are found dead later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.errors import PumphouseError
from pumphouse.journal import Event, Journal
from pumphouse.plan.model import Plan
from pumphouse.records import sheet as sheets
from pumphouse.records.archive import site_archive
from pumphouse.records.keys import Signer
from pumphouse.records.scan import Scanner
from pumphouse.records.seal import RunFiles, quarantine, scan_files, seal_run
from pumphouse.records.secrets import weak_secrets
from pumphouse.records.sheet import Sheet, write_appendix, write_sheet
from pumphouse.records.sidefiles import write_json, write_lines
from pumphouse.records.store import RecordHandler, WritePolicy, hide_in_value, open_record
from pumphouse.session.story import tell_story
from pumphouse.session.ways import Places, ways_on
from pumphouse.site import Site

STORY_NAME = "summary.json"
JOURNAL_NAME = "journal.jsonl"
QUARANTINE = "quarantine"
_WORDS = ("notebook", "operator", "change", "detail")
_WITHHELD = "[withheld: it holds a secret]"
_BY_HAND = """This run was begun by hand: its record holds what the journal knows of it, not the cells that were run.

Beside it: `journal.jsonl` (everything that was journalled), plans, approvals and inventories."""


class Closing:
    """Ends one run. Whatever goes wrong on the way is said in the sheet, and the other parts are done all the same."""

    def __init__(
        self, journal: Journal, site: Site, policy: WritePolicy, signer: Signer | None, *, stem: str = ""
    ) -> None:
        self._journal, self._site, self._policy, self._signer = journal, site, policy, signer
        self._stem = stem

    def close(self, sheet: Sheet, *, finish: Callable[[Any], None] | None = None) -> tuple[Sheet, str]:
        """Write everything; returns the final sheet, and what went wrong so that the run is not closed (or nothing).

        :param finish: changes the record's notebook before it is written for the last time.
        """
        files = RunFiles(self._site.records_dir, self._stem or sheet.run_id)
        problems: list[str] = []
        sheet = self._with_story(sheet)
        self._try(problems, lambda: self._end(sheet))
        self._try(problems, lambda: self._side_files(files, sheet))
        self._try(problems, lambda: self._record(files, sheet, finish))
        found = scan_files(files, self._policy.redactor)
        if found:
            sheet = self._withhold(files, sheet, found, problems)
        if not problems:
            self._try(problems, lambda: self._seal(files, sheet))
        said = f"The run was {sheet.result} but could not be closed: {' '.join(problems)}" if problems else ""
        return sheet, said

    def _end(self, sheet: Sheet) -> None:
        row = self._journal.get_run(sheet.run_id)
        if (row.state, row.result, row.detail) != ("ended", sheet.result, sheet.detail):
            self._journal.end_run(sheet.run_id, sheet.result, sheet.detail)

    def _with_story(self, sheet: Sheet) -> Sheet:
        try:
            story = tell_story(self._journal, sheet.run_id)
            story["ways"] = self._ways(sheet, story)
        except Exception as error:  # noqa: BLE001 (a record without its story is better than none; it says so)
            story = {"deviations": [f"The run's story could not be told from the journal: {type(error).__name__}."]}
        deviations = list(story.get("deviations", []))
        if sheet.template.dirty:
            deviations.append("The template's repository had changes that are in no commit.")
        deviations += weak_secrets(self._site)
        story = {**story, "deviations": deviations, "signed": self._signer.key_id if self._signer else None}
        # known secrets may stand in an error's text, which the journal keeps as it was
        return replace(sheet, story=self._policy.redactor.value(story))

    def _ways(self, sheet: Sheet, story: Mapping[str, Any]) -> list[dict[str, str]]:
        """How to go on from where the run's last plan stands, as commands typed beside the site file."""
        document = self._journal.plan_document(story["plans"][-1]["hash"]) if story["plans"] else None
        if document is None:
            return []
        folder = Path(sheet.template.path).parent.as_posix()
        places = Places(
            notebooks="notebooks" if folder in (".", "") else folder,
            work=os.path.relpath(self._site.work_dir, self._site.path.parent),
            here=self._site.work_dir,
            change=str(story.get("change") or ""),
        )
        return [asdict(way) for way in ways_on(self._journal, Plan.from_document(document), places)]

    def _side_files(self, files: RunFiles, sheet: Sheet) -> None:
        def write(name: str, content: Any) -> None:
            write_json(files, self._policy, name, content)

        run = self._journal.get_run(sheet.run_id)
        events = self._journal.events(run_id=sheet.run_id)
        facts = {**run.__dict__, "started_at": sheets.stamp(run.started_at), "ended_at": sheets.stamp(run.ended_at)}
        write_lines(files, self._policy, JOURNAL_NAME, [{"run": facts}, *map(_event_row, events)])
        write(STORY_NAME, {**sheet.to_metadata(), "story": dict(sheet.story)})
        work = self._site.work_dir
        for plan_hash in dict.fromkeys(event.plan_hash for event in events if event.plan_hash):
            document = self._journal.plan_document(plan_hash)
            if document is None:
                continue
            write(f"plan-{plan_hash[:16]}.json", {"hash": plan_hash, **document})
            selection = str(document.get("selection_digest", ""))[:16]
            for name, file in (
                (f"approval-{plan_hash[:16]}.json", work / "approvals" / f"{plan_hash}.json"),
                (f"ledger-{plan_hash[:16]}.json", work / "ledgers" / f"{plan_hash}.json"),
                (f"selection-{selection}.json", work / "selections" / f"{selection}.json"),
            ):
                if file.is_file():
                    write(name, _load(file))
        for side in ("source", "destination"):
            snapshot = work / "snapshots" / f"{sheet.run_id}-{side}.json"
            if snapshot.is_file():
                write(f"inventory-{side}.json", _load(snapshot))

    def _record(self, files: RunFiles, sheet: Sheet, finish: Callable[[Any], None] | None) -> None:
        if not files.record.exists():
            return
        notebook = nbformat.read(files.record, as_version=4)
        if finish is not None:
            finish(notebook)
        write_sheet(notebook, sheet)
        write_appendix(notebook, sheet)
        with open_record(files.record, self._policy):
            RecordHandler.write(nbformat.writes(notebook), str(files.record))

    def _withhold(self, files: RunFiles, sheet: Sheet, found: list[str], problems: list[str]) -> Sheet:
        said = (
            f"The run itself: {sheet.result}. Its record is withheld: {len(found)} of its files hold a secret "
            f"({found[0]}); they are in the quarantine of the site's work folder. Clean the cause, change the secret."
        )
        detail = self._passable(sheet.detail)
        sheet = sheet.ended(sheets.FAILED, f"{said} {detail}".strip(), at=sheet.ended_at)
        self._try(problems, lambda: quarantine(files, self._site.work_dir / QUARANTINE))
        self._try(problems, lambda: self._journal.end_run(sheet.run_id, sheet.result, sheet.detail))
        return sheet

    def _seal(self, files: RunFiles, sheet: Sheet) -> None:
        archive = site_archive(self._site)
        facts = hide_in_value(self._policy.redactor.value(manifest_facts(sheet)), self._policy.aliases)
        # the line and its envelope lie in the archive too, also those of a record that is withheld
        facts |= {name: self._passable(facts[name]) for name in _WORDS}
        seal_run(archive, files, facts, self._signer)

    def _passable(self, text: str) -> str:
        """The text, unless the scan finds a secret in it."""
        return _WITHHELD if Scanner(self._policy.redactor).scan([("it", text.encode("utf-8", "replace"))]) else text

    @staticmethod
    def _try(problems: list[str], act: Callable[[], Any]) -> None:
        """A failure of one part must not keep the others from being written."""
        try:
            act()
        except (PumphouseError, OSError, ValueError) as error:
            problems.append(str(error))


def begin_hand_record(site: Site, policy: WritePolicy, sheet: Sheet) -> None:
    """Write the notebook of a run that nobody executed for us; closing it fills in its summary.

    :raises RunbookError: when it cannot be written.
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(_BY_HAND, id="ph-by-hand")])
    write_sheet(notebook, sheet)
    record = site.records_dir / f"{sheet.run_id}.ipynb"
    with open_record(record, policy):
        RecordHandler.write(nbformat.writes(notebook), str(record))


def manifest_facts(sheet: Sheet) -> dict[str, Any]:
    """A manifest line's facts from a final sheet."""
    story = sheet.story
    return {
        "run_id": sheet.run_id,
        "parent_id": sheet.parent_id,
        "notebook": sheet.template.path,
        "result": sheet.result,
        "detail": sheet.detail,
        "operator": sheet.operator,
        "started_at": sheets.stamp(sheet.started_at),
        "ended_at": sheets.stamp(sheet.ended_at),
        "change": str(story.get("change") or sheet.parameters.get("change") or ""),
        "projects": tuple(story.get("projects", ())),
        "plans": tuple(plan["hash"] for plan in story.get("plans", ())),
    }


def _event_row(event: Event) -> dict[str, Any]:
    return {**event.__dict__, "at": event.at.isoformat(), "data": dict(event.data)}


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        # somebody's damaged file must not keep the run from being sealed
        return {"not_kept": f"{file.name} could not be read: {type(error).__name__}"}
