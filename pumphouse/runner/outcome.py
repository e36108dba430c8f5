"""What a run came to, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pumphouse.findings import Finding
from pumphouse.records import sheet as sheets
from pumphouse.session.ways import Way

EXIT_OK = 0
"""Succeeded, or nothing to do."""
EXIT_FAILED = 1
"""A cell or a step failed."""
EXIT_USAGE = 2
"""Nothing was run: wrong arguments, parameters, template or site."""
EXIT_REFUSED = 3
"""A check blocks, or an approval is missing."""
EXIT_STOPPED = 4
"""Aborted by a person, or interrupted (kernel death, cell timeout, lost process)."""

EXIT_CODES = {
    sheets.SUCCEEDED: EXIT_OK,
    sheets.NOTHING_TO_DO: EXIT_OK,
    sheets.FAILED: EXIT_FAILED,
    sheets.REFUSED: EXIT_REFUSED,
    sheets.ABORTED: EXIT_STOPPED,
    sheets.INTERRUPTED: EXIT_STOPPED,
}


@dataclass(frozen=True)
class Afterwards:
    """Where a run left things, for whoever reads its last lines.

    ``servers`` are the record's rows of servers, ``down`` a line for each that is in service nowhere now, ``ways`` the
    sensible commands to go on with, ``kept`` orders of hosts or nodes as a runbook takes them, ``plan_file`` the plan
    that a refused run wrote for its approver.
    """

    servers: tuple[Mapping[str, Any], ...] = ()
    down: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()
    kept: tuple[str, ...] = ()
    plan_file: Path | None = None


@dataclass(frozen=True)
class RunOutcome:
    """One ended run.

    ``record`` is the executed notebook; None for a runbook, whose notebooks are in ``steps``, for a record that was
    withheld, and for one that lies in a bucket, whose ``location`` says where. ``findings`` are those of the check that
    refused it, blocking ones first.
    """

    run_id: str
    notebook: str
    result: str
    detail: str
    record: Path | None
    started_at: datetime
    ended_at: datetime
    steps: tuple[RunOutcome, ...] = ()
    location: str = ""
    findings: tuple[Finding, ...] = ()
    afterwards: Afterwards = Afterwards()

    @property
    def ok(self) -> bool:
        """Whether the run succeeded or found nothing to do."""
        return self.result in (sheets.SUCCEEDED, sheets.NOTHING_TO_DO)

    @property
    def exit_code(self) -> int:
        """Exit code of a process that did nothing but this run."""
        return EXIT_CODES[self.result]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; ``record`` is a file name in the records folder."""
        return {
            "run_id": self.run_id,
            "notebook": self.notebook,
            "result": self.result,
            "detail": self.detail,
            "record": (None if self.record is None else self.record.name) or self.location or None,
            "started_at": sheets.stamp(self.started_at),
            "ended_at": sheets.stamp(self.ended_at),
            "exit_code": self.exit_code,
            "findings": [asdict(finding) for finding in self.findings],
            "down": list(self.afterwards.down),
            "ways": [asdict(way) for way in self.afterwards.ways],
            "kept": list(self.afterwards.kept),
            "steps": [step.to_json() for step in self.steps],
        }
