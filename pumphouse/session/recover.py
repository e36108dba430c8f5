"""Runs whose process vanished (SIGKILL, power loss, a closed notebook): found by their lock, closed as interrupted.

One that somebody had asked to stop is closed as aborted: what ended it was that person's decision.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import nbformat

from pumphouse.down import down_after, in_words
from pumphouse.errors import RunbookError
from pumphouse.journal import Journal, RunRow
from pumphouse.records import sheet as sheets
from pumphouse.records.archive import site_archive
from pumphouse.records.hold import abandoned, forget
from pumphouse.records.keys import Signer
from pumphouse.records.sheet import Sheet, Template
from pumphouse.records.store import default_policy
from pumphouse.session.closing import Closing, begin_hand_record
from pumphouse.site import Site
from pumphouse.stopping import stop_of

LOST = "The process that ran it ended without a word."


def recover_lost_runs(journal: Journal, site: Site, signer: Signer | None = None) -> list[str]:
    """Close every run of this site whose process is gone; returns their ids.

    Each gets its line in the manifest and a record as complete as the journal is. Only runs with a lock of their own
    are looked at, and a lock that is held belongs to a run that is alive. Machines with journals of their own may share
    a records folder: what this journal does not know is left to the one that does.

    :raises RunbookError: when one cannot be closed; its lock stays for the next try.
    """
    recovered: list[str] = []
    for name in abandoned(site.records_dir):
        for row in journal.list_runs():
            if name in (row.record, row.id):
                _close(journal, site, row, signer)
                recovered.append(row.id)
                forget(site.records_dir, name)
    return recovered


def _close(journal: Journal, site: Site, row: RunRow, signer: Signer | None) -> None:
    if row.id in {entry.run_id for entry in site_archive(site).entries()}:
        return  # the process died after the last thing it had to do
    stem = (row.record or row.id).removesuffix(".ipynb")
    facts = _facts(site, row)
    known: dict[str, Any] = facts.get("template", {})
    sheet = Sheet(
        run_id=row.id,
        template=Template(
            known.get("path", row.notebook), row.template_digest, known.get("commit"), known.get("dirty")
        ),
        operator=row.operator,
        started_at=row.started_at,
        parameters=row.parameters,
        site=facts.get("site", site.name),
        clouds=facts.get("clouds", ""),
        parent_id=row.parent_id,
    )
    sheet = _cut_off(journal, sheet) if row.result is None else sheet.ended(row.result, row.detail, at=row.ended_at)
    policy = default_policy(site)
    if row.record is None and not row.template_digest:
        begin_hand_record(site, policy, sheet)  # a person's run; a runbook has a digest
    _, problem = Closing(journal, site, policy, signer, stem=stem).close(sheet, finish=_mark)
    if problem:
        raise RunbookError(
            f"Run {row.id}, which was lost, cannot be closed: {problem}",
            remedy="mend the cause; the next run tries again.",
        )


def _cut_off(journal: Journal, sheet: Sheet) -> Sheet:
    """It ended some time after its last word; when that was found, which may be days later, is not its end."""
    events = journal.events(run_id=sheet.run_id)
    last = max((event.at for event in events), default=sheet.started_at)
    found = (
        f"The journal last heard of it at {_clock(last)}; that it had ended was found at {_clock(datetime.now(UTC))}."
    )
    down = in_words(down_after(journal, sheet.run_id))
    stop = stop_of(events)
    if stop is not None:
        asked = f"{stop.data['by']} asked it to stop. Its process ended afterwards."
        return sheet.ended(sheets.ABORTED, f"{asked} {found} {down}".rstrip(), at=last)
    return sheet.ended(sheets.INTERRUPTED, f"{LOST} {found} {down}".rstrip(), at=last)


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _facts(site: Site, row: RunRow) -> dict[str, Any]:
    try:
        notebook = nbformat.read(site.records_dir / str(row.record), as_version=4)
    except (OSError, ValueError):
        return {}
    return dict(notebook["metadata"].get("pumphouse", {}))


def _mark(notebook: Any) -> None:
    """Say of the cell that was running that it did not end well."""
    for cell in notebook["cells"]:
        status = cell["metadata"].get("papermill", {})
        if status.get("status") == "running":
            status.update(status="failed", exception=True)
    papermill = notebook["metadata"].get("papermill")
    if papermill is not None and notebook["metadata"].get("pumphouse", {}).get("result") == sheets.RUNNING:
        papermill.update(exception=True, end_time=datetime.now(UTC).isoformat())
