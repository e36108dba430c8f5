"""How far a run is, while it works: bytes, rate, time left, each server's state; and buttons to stop it.

What is shown comes from the journal. So the same panel can be opened again from another notebook, after the page was
reloaded or on another computer, and its buttons do there what they do here: they ask the run to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from datetime import UTC, datetime
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from pumphouse.approval import account
from pumphouse.errors import PumphouseError
from pumphouse.journal import Journal, RunRow
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.notebook.html import BAD, BUSY, GOOD, OFF, WARN, Cell, Column, Display, Tone, render
from pumphouse.notebook.widgets import Twin, attention, caption, heard_at_once, words_button
from pumphouse.plan.model import Plan
from pumphouse.session import Run
from pumphouse.session.standing import Follower, ServerStanding, Standing
from pumphouse.steps.progress import duration_text, size_text
from pumphouse.stopping import StopKind, ask_to_stop

#: Seconds between two looks at the journal.
EVERY_S = 0.5
#: Servers shown at a time, those first that something happens to.
ROWS = 30

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
    note = f"… and {hidden:,} more servers." if hidden else ""
    return render(f"{title}: {sentence(standing, over=over)}", columns, rows, note)


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
    if standing.stop is not None:
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


class Panel:
    """The progress of one run's work on one plan, looked up in the journal every half second until :meth:`close`."""

    def __init__(self, journal: Journal, plan: Plan, run_id: str, phases: tuple[str, ...] = ()) -> None:
        self._journal, self._plan, self._run_id = journal, plan, run_id
        self._follower = Follower(journal, plan, run_id, phases)
        self._title = _TITLES.get(phases[0], phases[0].capitalize()) if phases else f"{plan.kind.capitalize()} plan"
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._sure = False
        self.bar = widgets.IntProgress(0, 0, 1, layout=widgets.Layout(width="auto", height="12px"))
        self.table = widgets.HTML()
        self.after_button = words_button(
            "Stop after these servers", "Servers that are begun are finished; no other begins"
        )
        self.abort_button = words_button("Stop now", "No further step begins; a server may stay down")
        for button in (self.after_button, self.abort_button):
            heard_at_once(button)
        self.said = widgets.HTML()
        self.after_button.on_click(lambda _: self._ask(StopKind.AFTER_SERVER))
        self.abort_button.on_click(lambda _: self._abort())
        self.widget = widgets.VBox(
            [self.table, self.bar, widgets.HBox([self.after_button, self.abort_button]), self.said]
        )
        self.refresh()

    def refresh(self) -> Standing:
        """Look at the journal once and show what it says."""
        standing = self.look()
        self.table.value = show_standing(standing, self._title).html
        self.bar.max, self.bar.value = max(standing.steps, 1), standing.verified
        self.after_button.disabled = standing.stop is not None or standing.complete
        self.abort_button.disabled = standing.complete or (
            standing.stop is not None and standing.stop.kind is StopKind.NOW
        )
        return standing

    def look(self) -> Standing:
        """What the journal says now."""
        return self._follower.look(datetime.now(UTC))

    def static(self, *, again: bool = False, over: bool = False) -> Display:
        """What the journal says now, as a table; ``again``: all of it was done before this cell ran."""
        standing = self.look()
        title = (
            f"{self._title}: nothing to do, all of it was done before" if again and standing.complete else self._title
        )
        return show_standing(standing, title, over=over)

    def start(self) -> Panel:
        """Look again and again, in a thread of its own, until :meth:`close`."""
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Look no more; the buttons do nothing from now on."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.after_button.disabled = self.abort_button.disabled = True

    def _follow(self) -> None:
        while not self._end.wait(EVERY_S):
            try:
                self.refresh()
                if self._journal.get_run(self._run_id).state == "ended":
                    self.said.value = caption("This run has ended.")
                    self.after_button.disabled = self.abort_button.disabled = True
                    return
            except PumphouseError as problem:
                self.said.value = attention(f"The journal cannot be read: {problem.message}")

    def _abort(self) -> None:
        """The first click says what it would mean, the second one does it."""
        if not self._sure:
            self._sure = True
            busy = [server.name for server in self.look().servers if server.state == "under way"]
            down = f" These are half-way and may stay down: {', '.join(busy[:10])}." if busy else ""
            self.abort_button.description = "Yes, stop now"
            self.said.value = attention(
                f"Steps under way end, and no further step begins.{down} Press once more to do it."
            )
            return
        self._ask(StopKind.NOW)

    def _ask(self, kind: StopKind) -> None:
        try:
            ask_to_stop(self._journal, self._run_id, self._plan.hash, kind, by=account())
        except PumphouseError as problem:
            self.said.value = attention(str(problem))
            return
        words = {
            StopKind.AFTER_SERVER: "Asked to stop: what is begun is finished, nothing else begins.",
            StopKind.NOW: "Asked to stop now: steps under way end, nothing else begins.",
        }
        self.said.value = caption(words[kind])
        self.refresh()


class CellLines:
    """Prints lines into the cell that is at work, whichever thread they come from.

    While somebody presses a button of the panel, the kernel takes that for what is being done, and what other threads
    print would go there; so each line is printed in the context of the cell.
    """

    def __init__(self) -> None:
        self._cell: Context | None = None

    def __call__(self, line: str) -> None:
        """Print one line."""
        context = self._cell.copy() if self._cell is not None else copy_context()
        context.run(print, line, flush=True)

    @contextmanager
    def watching(self, run: Run, plan: Plan, phase: str) -> Iterator[Panel]:
        """As :func:`watching`, with the lines going to this cell."""
        self._cell = copy_context()
        try:
            with watching(run, plan, phase) as panel:
                yield panel
        finally:
            self._cell = None


@contextmanager
def watching(run: Run, plan: Plan, phase: str) -> Iterator[Panel]:
    """Show a panel below the cell while a phase is carried out; afterwards only what it came to stays."""
    panel = Panel(run.journal, plan, run.id, (phase,))
    again = panel.look().complete
    shown = display(Twin(panel.widget, panel.static()), display_id=True)
    panel.start()
    try:
        yield panel
    finally:
        panel.close()
        if shown is not None:  # there is none outside a kernel
            shown.update(panel.static(again=again, over=True))


class Watched:
    """Every run of the site that is under way, each with its panel; see :func:`watch`."""

    def __init__(self, panels: list[tuple[RunRow, Panel]]) -> None:
        self.panels = [panel for _run, panel in panels]
        heads = [
            f"{run.notebook}, begun by {run.operator} at {run.started_at:%H:%M:%S} UTC (run {run.id})"
            for run, _ in panels
        ]
        self._heads = heads
        rows: list[Any] = []
        for head, panel in zip(heads, self.panels, strict=True):
            rows += [widgets.HTML(caption(head)), panel.widget]
        self.widget = widgets.VBox(rows)

    def static(self) -> Display:
        """What is under way, as tables."""
        if not self.panels:
            return render("Under way: nothing", [Column("")], [])
        shown = [panel.static() for panel in self.panels]
        html = "".join(caption(head) + one.html for head, one in zip(self._heads, shown, strict=True))
        text = "\n\n".join(f"{head}\n{one.text}" for head, one in zip(self._heads, shown, strict=True))
        return Display(html, text)

    def __repr__(self) -> str:
        return self.static().text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if not self.panels:
            return {"text/html": self.static().html, "text/plain": self.static().text}
        return Twin(self.widget, self.static())._repr_mimebundle_(include, exclude)


def watch(run: Run) -> Watched:
    """The runs of this site that carry out steps now, whoever began them and wherever (read only).

    Each panel goes on by itself after the cell has ended, and can stop its run.
    """
    panels = []
    for row in run.journal.list_runs():
        if row.state == "ended" or row.id == run.id:
            continue
        scopes = [event for event in run.journal.events(run_id=row.id, step_key=SCOPE_KEY) if event.plan_hash]
        if not scopes:
            continue
        document = run.journal.plan_document(scopes[-1].plan_hash)
        if document is not None:
            plan = Plan.from_document(document)
            phases = tuple(
                dict.fromkeys(step.phase for step in plan.steps if step.key in set(scopes[-1].data["steps"]))
            )
            panels.append((row, Panel(run.journal, plan, row.id, phases).start()))
    return Watched(panels)
