"""What a person began in this notebook, finished or not: chosen again after the kernel was restarted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from pumphouse.errors import PlanError
from pumphouse.journal import Journal
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.plan.after import moves_of
from pumphouse.plan.model import Plan
from pumphouse.selection import Choice, Selection
from pumphouse.session import Run
from pumphouse.session.story import ORDER, PLAN
from pumphouse.session.takeup import finished_at


@dataclass(frozen=True)
class Begun:
    """The servers of a plan that is under way, or ``finished``, and words that say so."""

    selection: Selection
    words: str
    finished: bool = False


@dataclass(frozen=True)
class BegunOrder:
    """The hosts or nodes that somebody chose for a plan that is under way, and words that say so."""

    names: tuple[str, ...]
    words: str


def begun_before(run: Run, servers: pd.DataFrame, probe: str = "") -> Begun | None:
    """The last plan that this operator carried out with this notebook by hand, unless it was overtaken (read only).

    Nothing for a run of the runner: there the parameters alone choose. A plan of other servers than those that the
    source has is none either, nor is a finished one of which something was taken back, or after which this operator
    has planned something else here.

    :param probe: how the servers are to be asked whether they serve, as the parameters say it; part of the choice.
    """
    begun = _last_begun(run)
    if begun is None:
        return None
    run_id, plan, finished = begun
    ids = tuple(server.id for server in plan.servers)
    selection = Selection(ids, Choice(ids=ids), probe) if ids else None
    if selection is None or selection.digest != plan.selection_digest or not set(ids) <= set(servers.index):
        return None
    if not finished:
        words = f"Run {run_id} began plan {plan.hash[:12]} with these servers and did not finish it: they are chosen."
        return Begun(selection, words)
    if not _stands(run.journal, plan):
        return None
    ended_at = finished_at(run.journal, plan)
    when = f" at {ended_at:%Y-%m-%d %H:%M} UTC" if ended_at else ""
    words = (
        f"Plan {plan.hash[:12]} of these servers was finished{when}: "
        f"nothing is left to do. Running all cells does nothing again and shows its evidence and report. "
        f"For a new selection choose other servers: these are dropped then."
    )
    return Begun(selection, words, finished=True)


def begun_order(run: Run, title: str, known: Collection[str]) -> BegunOrder | None:
    """What was chosen in the picker of this title for such a plan (read only), if all of it is there still."""
    begun = _last_begun(run)
    if begun is None or begun[2]:
        return None
    run_id, plan, _finished = begun
    kept = [event for event in run.journal.events(run_id=run_id, step_key=ORDER) if event.data["title"] == title]
    names = tuple(kept[-1].data["names"]) if kept else ()
    if not names or not set(names) <= set(known):
        return None
    words = f"Run {run_id} began plan {plan.hash[:12]} with this choice and did not finish it: it is chosen again."
    return BegunOrder(names, words)


def _stands(journal: Journal, plan: Plan) -> bool:
    """Whether what a finished plan did is in effect as it left it, so that there is nothing to do."""
    if plan.kind == "move":
        states = journal.step_states(plan.hash)
        return all(step.key in states and states[step.key].state == "verified" for step in plan.steps)
    try:
        moves_of(journal, [server.id for server in plan.servers], prepared=True)
    except PlanError:
        return plan.kind == "rollback"
    return False


def _last_begun(run: Run) -> tuple[str, Plan, bool] | None:
    """The run in which this operator last carried out steps with this notebook by hand; whether its plan is over."""
    if not run.by_hand:
        return None
    mine = run.journal.get_run(run.id)
    planned: set[str] = set()
    for row in reversed(run.journal.list_runs()):
        if row.id == run.id or (row.notebook, row.operator) != (mine.notebook, mine.operator):
            continue
        scopes = [event for event in run.journal.events(run_id=row.id, step_key=SCOPE_KEY) if event.plan_hash]
        planned |= {event.plan_hash for event in run.journal.events(run_id=row.id, step_key=PLAN)}
        if not scopes:
            continue
        plan_hash = scopes[-1].plan_hash
        document, state = run.journal.plan_document(plan_hash), run.journal.plan_state(plan_hash)
        finished = state == "finished"
        if document is None or not (finished or state == "started") or (finished and planned - {plan_hash}):
            return None
        return row.id, Plan.from_document(document), finished
    return None
