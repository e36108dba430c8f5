"""A run that a person begins (JupyterLab, a script, ``pumphouse check``): its journal row, its lock, its record.

Nobody executes the notebook for us then, so the record holds the summary and the journal's slice, not the cells.
"""

from __future__ import annotations

from pumphouse.errors import JournalError
from pumphouse.journal import Journal
from pumphouse.records import sheet as sheets
from pumphouse.records.hold import Hold, take_hold
from pumphouse.records.keys import Signer, signer_for
from pumphouse.records.sheet import Sheet, Template
from pumphouse.records.store import default_policy
from pumphouse.session.closing import Closing, begin_hand_record
from pumphouse.session.recover import recover_lost_runs
from pumphouse.site import Site

INTERACTIVE = "interactive"


class RunByHand:
    """From the row in the journal to the line in the manifest; begin one with :meth:`start`."""

    def __init__(self, journal: Journal, site: Site, signer: Signer | None, run_id: str, hold: Hold) -> None:
        self._journal, self._site, self._signer, self._hold = journal, site, signer, hold
        self.id = run_id
        self.ended = False

    @classmethod
    def start(cls, journal: Journal, site: Site, *, notebook: str, change: str, operator: str) -> RunByHand:
        """Close the runs that were lost, then begin one.

        :raises RunbookError: when the signing key cannot be used, or the records folder cannot be written.
        """
        signer = signer_for(site)
        recover_lost_runs(journal, site, signer)
        run_id = journal.new_run_id()
        # the lock comes first: a row without one would never be found, should this process vanish here
        hold = take_hold(site.records_dir, run_id)
        try:
            journal.start_run(
                notebook=notebook or INTERACTIVE,
                template_digest="",
                parameters={"site": site.name, "change": change},
                operator=operator,
                record=None,
                run_id=run_id,
            )
        except BaseException:
            hold.let_go()
            raise
        return cls(journal, site, signer, run_id, hold)

    def end(self, result: str, detail: str = "") -> None:
        """Close the run, with a record that an auditor can open.

        :raises JournalError: when it could not be closed; the next run tries again.
        """
        if self.ended:
            return
        self.ended = True
        row = self._journal.get_run(self.id)
        sheet = Sheet(
            run_id=row.id,
            template=Template(row.notebook, ""),
            operator=row.operator,
            started_at=row.started_at,
            parameters=row.parameters,
            site=self._site.name,
            clouds=f"{self._site.source_cloud} to {self._site.destination_cloud}",
        ).ended(result, detail)
        policy = default_policy(self._site)
        begin_hand_record(self._site, policy, sheet)
        sheet, problem = Closing(self._journal, self._site, policy, self._signer).close(sheet)
        self._hold.keep = bool(problem)
        self._hold.let_go()
        if problem or (sheet.result == sheets.FAILED and result != sheets.FAILED):
            raise JournalError(
                f"Run {self.id}: {problem or sheet.detail}", remedy="mend the cause; the next run tries again."
            )
