"""How far a run is, while it works: bytes, rate, time left, each server's state; and buttons to stop it.

What is shown comes from the journal. So the same panel can be opened again from another notebook or on another
computer, and its buttons do there what they do here: they ask the run to stop. A widget does not outlive its page:
what a page that is loaded anew shows in the cell is drawn by :mod:`pumphouse.reload`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from pumphouse.errors import PumphouseError
from pumphouse.journal import Journal, RunRow
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.notebook.cells import cell_works_on
from pumphouse.notebook.html import Column, Display, render
from pumphouse.notebook.progress import SURE, Following, buttons, cost_of_stopping, may_ask
from pumphouse.notebook.tree import OwnKeys
from pumphouse.notebook.widgets import Twin, attention, caption, heard_at_once, words_button
from pumphouse.plan.model import Plan
from pumphouse.session import Run
from pumphouse.session.standing import Standing
from pumphouse.stopping import StopKind

#: Seconds between two looks at the journal.
EVERY_S = 0.5


class Panel:
    """The progress of one run's work on one plan, looked up in the journal every half second until :meth:`close`."""

    def __init__(self, journal: Journal, plan: Plan, run_id: str, phases: tuple[str, ...] = ()) -> None:
        self._following = Following(journal, plan, run_id, phases)
        self.look, self.static = self._following.look, self._following.static
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._sure = False
        self.bar = widgets.IntProgress(0, 0, 1, layout=widgets.Layout(width="auto", height="12px"))
        self.table = widgets.HTML()
        self._words = buttons(self.look())
        self.after_button = words_button(*self._words[StopKind.AFTER_SERVER])
        self.abort_button = words_button(*self._words[StopKind.NOW])
        for button in (self.after_button, self.abort_button):
            heard_at_once(button)
        self.said = widgets.HTML()
        self.after_button.on_click(lambda _: self._ask(StopKind.AFTER_SERVER))
        self.abort_button.on_click(lambda _: self._abort())
        self.widget = widgets.VBox(
            [self.table, self.bar, widgets.HBox([self.after_button, self.abort_button]), self.said, OwnKeys()]
        )
        self.refresh()

    def refresh(self) -> Standing:
        """Look at the journal once and show what it says."""
        standing = self.look()
        self.table.value = self._following.show(standing).html
        self.bar.max, self.bar.value = max(standing.steps, 1), standing.verified
        self.after_button.tooltip = buttons(standing)[StopKind.AFTER_SERVER][1]
        self.after_button.disabled = not may_ask(standing, StopKind.AFTER_SERVER)
        self.abort_button.disabled = not may_ask(standing, StopKind.NOW)
        return standing

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
                if self._following.ended():
                    self.said.value = caption("This run has ended.")
                    self.after_button.disabled = self.abort_button.disabled = True
                    return
            except PumphouseError as problem:
                self.said.value = attention(f"The journal cannot be read: {problem.message}")

    def _abort(self) -> None:
        """The first click says what it would mean, the second one does it."""
        if not self._sure:
            self._sure = True
            self.abort_button.description = SURE
            self.said.value = attention(cost_of_stopping(self.look()))
            return
        self._ask(StopKind.NOW)

    def _ask(self, kind: StopKind) -> None:
        self._sure, self.abort_button.description = False, self._words[StopKind.NOW][0]
        try:
            words = self._following.ask(kind)
        except PumphouseError as problem:
            self.said.value = attention(str(problem))
            return
        self.said.value = caption(words)
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
    cell_works_on(run.site.path, run.id, plan.hash, phase)
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
