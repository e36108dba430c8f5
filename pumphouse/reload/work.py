"""How far the work of a kernel's cells is, from the journal (read only, but for requests to stop)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pumphouse.errors import JournalError, PumphouseError
from pumphouse.journal import Journal
from pumphouse.notebook.progress import SURE, Following, buttons, cost_of_stopping, may_ask
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
from pumphouse.stopping import StopKind

#: Plans that are followed at a time; the one that was asked for longest ago goes first.
_FOLLOWED = 8


@dataclass(frozen=True)
class Work:
    """Which phase of which plan a cell carries out, in which run of which site."""

    site: str
    run: str
    plan: str
    phase: str


class Followed:
    """Follows what cells work on; may be asked from any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[Work, tuple[Journal, Following]] = OrderedDict()
        self._lock = threading.Lock()

    def show(self, cells: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Cells of a kernel's log, each with how far its work is: ``work`` is None where it has none."""
        return [{**cell, "work": self._show(_work(cell), over=cell["ended"])} for cell in cells]

    def stop(self, cells: Collection[Mapping[str, Any]], cell_id: str, kind: StopKind) -> str:
        """Ask the run that one of these cells carries out to stop; returns words that say so.

        :raises JournalError: when that cell is not at work any more.
        """
        for cell in cells:
            work = _work(cell)
            if cell["id"] == cell_id and not cell["ended"] and work is not None:
                return self._following(work).ask(kind)
        raise JournalError(
            "This cell carries out nothing now: there is nothing to stop.",
            remedy="00-start shows which runs are under way.",
        )

    def close(self) -> None:
        """Close every journal."""
        with self._lock:
            for journal, _following in self._known.values():
                journal.close()
            self._known.clear()

    def _show(self, work: Work | None, *, over: bool) -> dict[str, Any] | None:
        if work is None:
            return None
        try:
            following = self._following(work)
            standing = following.look()
        except PumphouseError as problem:
            return {"run": work.run, "problem": f"The journal cannot be read: {problem}"}
        shown = following.static(over=True) if over else following.show(standing)
        shown_buttons = [
            {"kind": str(kind), "label": label, "title": title, "on": not over and may_ask(standing, kind)}
            for kind, (label, title) in buttons(standing).items()
        ]
        return {
            "run": work.run,
            "problem": "",
            "html": shown.html,
            "text": shown.text,
            "steps": standing.steps,
            "verified": standing.verified,
            "buttons": shown_buttons,
            "sure": {"kind": str(StopKind.NOW), "label": SURE, "words": cost_of_stopping(standing)},
        }

    def _following(self, work: Work) -> Following:
        with self._lock:
            known = self._known.get(work)
            if known is None:
                known = self._known[work] = _open(work)
                while len(self._known) > _FOLLOWED:
                    _oldest, (journal, _) = self._known.popitem(last=False)
                    journal.close()
            self._known.move_to_end(work)
            return known[1]


def _open(work: Work) -> tuple[Journal, Following]:
    journal = Journal.open(load_site(work.site).journal_url)
    document = journal.plan_document(work.plan)
    if document is None:
        journal.close()
        raise JournalError(
            f"The journal of {work.site} knows no plan {work.plan[:12]}.",
            remedy="`pumphouse journal` shows what it knows.",
        )
    return journal, Following(journal, Plan.from_document(document), work.run, (work.phase,))


def _work(cell: Mapping[str, Any]) -> Work | None:
    return Work(**cell["works_on"]) if cell["works_on"] else None
