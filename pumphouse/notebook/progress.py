"""How far a run is, without a widget: the table of a standing, and what somebody who watches may ask of the run.

The panel in a cell and what JupyterLab shows of it after a reload are both drawn from here, and so say the same.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pumphouse.approval import account
from pumphouse.journal import Journal
from pumphouse.notebook.html import BAD, BUSY, GOOD, OFF, WARN, Cell, Column, Display, Tone, heading, render
from pumphouse.plan.model import Plan
from pumphouse.session.standing import Follower, ServerStanding, Standing
from pumphouse.steps.progress import duration_text, size_text
from pumphouse.stopping import StopKind, ask_to_stop

#: Servers shown at a time, those first that something happens to.
ROWS = 30
#: What the buttons are called, and what they do.
BUTTONS = {
    StopKind.AFTER_SERVER: ("Stop after these servers", "Servers that are begun are finished; no other begins"),
    StopKind.NOW: ("Stop now", "No further step begins; a server may stay down"),
}
#: The same where no server is at stake, but nodes and hosts.
NODE_BUTTONS = {
    StopKind.AFTER_SERVER: ("Stop after these nodes", "Nodes that are begun are finished; no other begins"),
    StopKind.NOW: ("Stop now", "No further step begins; a node may stay on its way"),
}
#: Why the milder button is off, where nothing is left to begin.
_ALL_BEGUN = "All that this cell works on is begun and would be finished all the same: only “Stop now” stops it."
#: What the sharper button is called when it has been pressed once.
SURE = "Yes, stop now"
#: Said when a request was journalled.
ASKED = {
    StopKind.AFTER_SERVER: "Asked to stop: what is begun is finished, nothing else begins.",
    StopKind.NOW: "Asked to stop now: steps under way end, nothing else begins.",
}
_STATES: dict[str, tuple[int, Tone]] = {
    "failed": (0, BAD),
    "under way": (1, BUSY),
    "half-way": (2, WARN),
    "waiting": (3, OFF),
    "done": (4, GOOD),
}
_TITLES = {
    "prepare": "Making everything ready",
    "cutover": "Cutting over",
    "finalise": "Deleting the sources",
    "undo": "Taking back",
    "evacuate": "Emptying hosts",
    "release": "Releasing nodes",
    "discover": "Waiting for Fuel to discover",
    "install": "Installing",
    "prove": "Proving that it serves",
}


def show_standing(standing: Standing, title: str = "Progress", *, over: bool = False) -> Display:
    """A standing as a table: what is done, what is under way, what is left (static, readable in a record).

    :param over: nothing works on it any more, so that no end is foretold.
    """
    rows = [_row(server) for server in sorted(standing.servers, key=_urgency)[:ROWS]]
    columns = [
        Column("state", kind="word"),
        Column("server"),
        Column("project"),
        Column("steps", kind="number"),
        Column("down", "s", "number"),
        Column("now", kind="prose"),
    ]
    if not standing.servers:  # hardware: what is under way says more than an empty table
        columns, rows = columns[:1] + columns[-1:], [[Cell("under way", BUSY), Cell(one)] for one in standing.under_way]
    hidden = max(0, len(standing.servers) - len(rows))
    notes = [f"… and {hidden:,} more servers."] if hidden else []
    if not (standing.others or standing.complete or standing.stop or over):
        notes.append(_ALL_BEGUN)
    title = f"{title}: {sentence(standing, over=over)}"
    return render(title, columns, rows, " ".join(notes)) if rows else heading(title, " ".join(notes))


def sentence(standing: Standing, *, over: bool = False) -> str:
    """One line: steps, servers, bytes, rate and what is left."""
    parts = [f"{standing.verified} of {standing.steps} steps verified"]
    if standing.servers:
        parts.append(f"{standing.count('done')} of {len(standing.servers)} servers done")
    if standing.failed:
        parts.append(f"{standing.failed} failed")
    if standing.copy_bytes:
        copied = f"{size_text(standing.copied_bytes)} of {size_text(standing.copy_bytes)} of images copied"
        parts.append(copied + (f" at {size_text(standing.bytes_per_s)}/s" if standing.bytes_per_s else ""))
    if not standing.complete and not over:
        known = standing.left_s is not None
        parts.append(f"about {duration_text(standing.left_s or 0.0)} left" if known else "time left not known yet")
    if standing.stop is not None and not standing.complete:
        parts.append(f"stopping, as {standing.stop.by} asked")
    return " · ".join(parts)


def _urgency(server: ServerStanding) -> tuple[int, str]:
    return _STATES[server.state][0], server.name


def _row(server: ServerStanding) -> list[Cell]:
    return [
        Cell(server.state, _STATES[server.state][1]),
        Cell(server.name, strong=True),
        Cell(server.project),
        Cell(f"{server.done} of {server.steps}"),
        Cell(None if server.down_s is None else f"{server.down_s:.0f}"),
        Cell(server.now or None),
    ]


class Following:
    """One run's work on some phases of a plan, as the journal tells it; and the two ways to stop it."""

    def __init__(self, journal: Journal, plan: Plan, run_id: str, phases: tuple[str, ...] = ()) -> None:
        self._journal, self._plan, self._run_id = journal, plan, run_id
        self._follower = Follower(journal, plan, run_id, phases)
        self.title = _TITLES.get(phases[0], phases[0].capitalize()) if phases else f"{plan.kind.capitalize()} plan"

    def look(self) -> Standing:
        """What the journal says now (read only)."""
        return self._follower.look(datetime.now(UTC))

    def static(self, *, again: bool = False, over: bool = False) -> Display:
        """What the journal says now, as a table; ``again``: all of it was done before this cell ran."""
        standing = self.look()
        title = f"{self.title}: nothing to do, all of it was done before" if again and standing.complete else self.title
        return show_standing(standing, title, over=over)

    def show(self, standing: Standing) -> Display:
        """A standing under this title."""
        return show_standing(standing, self.title)

    def ended(self) -> bool:
        """Whether the run is over, however it ended."""
        return self._journal.get_run(self._run_id).state == "ended"

    def ask(self, kind: StopKind) -> str:
        """Ask the run to stop, in the name of whom this process runs for; returns words that say so.

        :raises JournalError: when the run has ended, or does not carry out the plan.
        """
        ask_to_stop(self._journal, self._run_id, self._plan.hash, kind, by=account())
        return ASKED[kind]


def buttons(standing: Standing) -> dict[StopKind, tuple[str, str]]:
    """What the buttons are called for what is at stake, and what they do, or why there is nothing that they would."""
    named = BUTTONS if standing.servers else NODE_BUTTONS
    if standing.others or standing.complete:
        return named
    return {**named, StopKind.AFTER_SERVER: (named[StopKind.AFTER_SERVER][0], _ALL_BEGUN)}


def may_ask(standing: Standing, kind: StopKind) -> bool:
    """Whether asking for that stop would still change something."""
    if standing.complete or (kind is StopKind.AFTER_SERVER and not standing.others):
        return False
    return standing.stop is None or (kind is StopKind.NOW and standing.stop.kind is not StopKind.NOW)


def cost_of_stopping(standing: Standing) -> str:
    """What stopping now would mean, before it is done."""
    # a server with one step is done when that ends, which is waited for
    busy = [one.name for one in standing.servers if one.state == "under way" and one.steps > 1]
    down = f" These are half-way and may stay down: {', '.join(busy[:10])}." if busy else ""
    if not standing.servers and standing.under_way:
        down = f" Under way: {', '.join(standing.under_way)}."
    return f"Steps under way end, and no further step begins.{down} Press once more to do it."
