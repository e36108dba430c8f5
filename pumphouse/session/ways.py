"""How to go on from where a plan stands: commands that can be typed, for the terminal and for the record."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pumphouse.journal import Journal, PlanState
from pumphouse.plan.model import Plan

#: Notebook that carries out plans of a kind.
NOTEBOOKS = {
    "move": "03-move-servers.ipynb",
    "finalise": "04-finalise-move.ipynb",
    "rollback": "05-roll-back-move.ipynb",
    "acquire": "06-acquire-nodes.ipynb",
    "fuel": "07-fuel-master.ipynb",
    "transfer": "08-transfer-node.ipynb",
    "decommission": "09-decommission.ipynb",
    "give-back": "10-give-back-node.ipynb",
}
#: What comes after a finished plan of a kind, in words, and the kind of the plan that does it.
_AFTER = {
    "move": (("after the hold, delete the sources", "finalise"), ("or take them back", "rollback")),
    "acquire": (("take the node over", "transfer"), ("or give it back", "give-back")),
    "rollback": (("move them again", "move"),),
}
#: What takes back a plan of a kind that is half-way.
_BACK = {"move": "rollback", "acquire": "give-back"}
#: More servers than that are named by the selection's file or not at all.
_MOST_IDS = 20


@dataclass(frozen=True)
class Way:
    """One way on: ``words`` say what it comes to, ``command`` can be typed."""

    words: str
    command: str


@dataclass(frozen=True)
class Places:
    """Where things are, as a command names them.

    :param notebooks: the folder of the templates.
    :param work: the site's work folder; ``here`` is the same as this process finds it.
    :param site: the site file; empty: the command leaves it out.
    :param change: the change ticket of the run; empty: none.
    """

    notebooks: str
    work: str
    here: Path
    site: str = ""
    change: str = ""


def from_here(path: Path) -> str:
    """A path as it is typed here: relative where it lies below this folder."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)


def ways_on(journal: Journal, plan: Plan, places: Places) -> tuple[Way, ...]:
    """What a person may do next with a plan, most sensible first (read only); nothing for one that is over."""
    state = journal.plan_state(plan.hash)
    if state in (PlanState.UNDONE, PlanState.SUPERSEDED):
        return ()
    return tuple(_ways(plan, state, places))


def _ways(plan: Plan, state: PlanState | None, places: Places) -> Iterator[Way]:
    if state == PlanState.FINISHED:
        for words, kind in _AFTER.get(plan.kind, ()):
            yield from _run(words, kind, plan, places)
        return
    if state in (PlanState.PROPOSED, None):
        site = ["--site", places.site] if places.site else []
        ticket = ["--ticket", places.change] if places.change else []
        yield Way("read the plan", shlex.join(["pumphouse", "show", plan.hash[:12], *site]))
        command = shlex.join(["pumphouse", "approve", plan.hash[:12], *ticket, *site])
        yield Way("approve it", f"{command} --by NAME --reason WHY")
        yield from _run("then carry it out", plan.kind, plan, places)
        return
    yield from _run("go on where it stands", plan.kind, plan, places)
    if plan.kind in _BACK:
        yield from _run("or take it back", _BACK[plan.kind], plan, places)


def _run(words: str, kind: str, plan: Plan, places: Places) -> Iterator[Way]:
    subject = _subject(plan, places)
    if kind not in NOTEBOOKS or not subject:
        return
    words_of = ["pumphouse", "run", f"{places.notebooks}/{NOTEBOOKS[kind]}", "-p", subject]
    words_of += ["-p", f"change={places.change}"] if places.change else []
    words_of += ["--site", places.site] if places.site else []
    yield Way(words, shlex.join(words_of))


def _subject(plan: Plan, places: Places) -> str:
    """The parameter that chooses what the plan is about; empty: its notebook takes more than one can be told here."""
    if plan.kind in ("acquire", "transfer", "give-back"):
        nodes = list(dict.fromkeys(step.node for step in plan.steps if step.node))
        return f"node={nodes[0]}" if len(nodes) == 1 else ""
    if plan.kind not in ("move", "finalise", "rollback"):
        return ""
    name = f"selections/{plan.selection_digest[:16]}.json"
    if (places.here / name).is_file():
        return f"selection_file={places.work}/{name}"
    return f"ids={','.join(server.id for server in plan.servers)}" if len(plan.servers) <= _MOST_IDS else ""
