"""What a person began in this notebook and did not finish: chosen again after the kernel was restarted."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pumphouse.journal.store import SCOPE_KEY
from pumphouse.plan.model import Plan
from pumphouse.selection import Choice, Selection
from pumphouse.session import Run


@dataclass(frozen=True)
class Begun:
    """The servers of a plan that is under way, and words that say so."""

    selection: Selection
    words: str


def begun_before(run: Run, servers: pd.DataFrame) -> Begun | None:
    """The last plan that this operator began with this notebook by hand and that is not finished (read only).

    Nothing for a run of the runner: there the parameters alone choose. A plan of other servers than those that the
    source has is none either.
    """
    if not run.by_hand:
        return None
    mine = run.journal.get_run(run.id)
    for row in reversed(run.journal.list_runs()):
        if row.id == run.id or (row.notebook, row.operator) != (mine.notebook, mine.operator):
            continue
        scopes = [event for event in run.journal.events(run_id=row.id, step_key=SCOPE_KEY) if event.plan_hash]
        if not scopes:
            continue
        document = run.journal.plan_document(scopes[-1].plan_hash)
        if document is None or run.journal.plan_state(scopes[-1].plan_hash) != "started":
            return None
        plan = Plan.from_document(document)
        ids = tuple(server.id for server in plan.servers)
        selection = Selection(ids, Choice(ids=ids)) if ids else None
        if selection is None or selection.digest != plan.selection_digest or not set(ids) <= set(servers.index):
            return None
        words = f"Run {row.id} began plan {plan.hash[:12]} with these servers and did not finish it: they are chosen."
        return Begun(selection, words)
    return None
