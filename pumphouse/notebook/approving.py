"""The form in which somebody approves exactly one plan. It writes the same file that ``pumphouse approve`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from pumphouse.approval import account, approve, doubt, require_approval
from pumphouse.errors import ApprovalMissing, PumphouseError
from pumphouse.notebook.html import BAD, GOOD, OFF, WARN, Cell, Column, Display, clean, render
from pumphouse.notebook.runs import show_approval
from pumphouse.notebook.tree import OwnKeys
from pumphouse.notebook.widgets import Twin, attention, caption, words_button
from pumphouse.plan.model import Plan
from pumphouse.session import Run

#: What the record says of an approval that was typed where the run is.
_AGAINST = "FROM THE OPERATOR'S ACCOUNT"


def approval_form(plan: Plan, run: Run, *, file: str = "") -> ApprovalForm:
    """A form bound to the plan's hash: who, why, which ticket, a second person. An approval that is there is shown.

    Where the plan destroys something for ever, a phrase that holds the hash has to be typed first. Nothing is approved
    by running the cell.

    :param file: where the approval is looked for; the site's work folder by default.
    """
    return ApprovalForm(plan, run, file=file)


class ApprovalForm:
    """A widget that can write one approval; its static twin says whether there is one."""

    def __init__(self, plan: Plan, run: Run, *, file: str = "") -> None:
        self._plan, self._run, self._file = plan, run, file
        self._folder = run.site.work_dir / "approvals"
        self._lost = plan.lost_for_ever
        self.phrase = f"irreversible {plan.hash[:6]}" if self._lost else ""
        self.widget = self._build()

    def static(self) -> Display:
        """The approval, or that there is none and how one is given."""
        try:
            return show_approval(require_approval(self._plan, self._folder, file=self._file), self._run)
        except ApprovalMissing as missing:
            rows = [
                [Cell("plan"), Cell(self._plan.hash)],
                [Cell("approved by"), Cell("nobody yet", OFF, strong=True)],
                *([Cell("irreversible"), Cell(f"{words} ({count})", BAD)] for words, count in self._lost.items()),
                [Cell("to do"), Cell(missing.remedy)],
            ]
            return render("Approval", [Column(""), Column("", kind="prose")], rows)

    def __repr__(self) -> str:
        return self.static().text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return Twin(self.widget, self.static())._repr_mimebundle_(include, exclude)

    def _build(self) -> widgets.VBox:
        def line(label: str, hint: str) -> widgets.Text:
            layout = widgets.Layout(width="auto", max_width="48em")
            return widgets.Text(description=label, placeholder=hint, layout=layout, style={"description_width": "9em"})

        self.by = line("Approved by", "name of who has read the plan and says yes")
        self.reason = line("Reason", "why it may run, e.g. the agreed window")
        self.ticket = line("Ticket", "change ticket")
        self.ticket.value = self._run.change
        self.second = line("Second person", "who else has read it; may stay empty")
        self.confirm = line("Confirm", f"type: {self.phrase}")
        self.button = words_button(f"Approve plan {self._plan.hash[:12]}", "writes the approval; changes no cloud")
        self.said = widgets.HTML()
        self.head = widgets.HTML()
        for one in (self.by, self.second, self.reason, self.confirm):
            one.observe(lambda _: self._weigh(), names="value")
        self.button.on_click(lambda _: self._approve())
        fields = [self.by, self.second, self.reason, self.ticket, *([self.confirm] if self._lost else [])]
        self._fields, self._keys = fields, OwnKeys(pressed=self._approve)
        self._show_state()
        return widgets.VBox([self.head, *fields, widgets.HBox([self.button]), self.said, self._keys])

    def _show_state(self) -> None:
        """What stands above the form; fields are closed when there is an approval."""
        try:
            found = require_approval(self._plan, self._folder, file=self._file)
        except ApprovalMissing:
            found = None
        if found is not None:
            self.head.value = show_approval(found, self._run).html
            for one in (*self._fields, self.button):
                one.layout.display = "none"
            return
        plan = self._plan
        steps = f"{len(plan.steps)} step{'' if len(plan.steps) == 1 else 's'}"
        about = f"{plan.kind} of {escape(clean(plan.subject))}, {steps}"
        words = f"<b>Approve exactly this plan</b>: {about}"
        lost = "".join(
            f'<div><span style="color:{BAD.colour}">{BAD.symbol}</span> '
            f"<b>Irreversible</b>, {_times(count)}: {escape(clean(text))}. Type <code>{self.phrase}</code> below.</div>"
            for text, count in self._lost.items()
        )
        hash_line = f'<div style="font-family:monospace">{plan.hash}</div>'
        self.head.value = f'<div style="line-height:1.5"><div>{words}.</div>{hash_line}{lost}</div>'
        self._weigh()

    def _weigh(self) -> None:
        """The button works only when all is said that has to be."""
        missing = [one.description.lower() for one in (self.by, self.reason) if not one.value.strip()]
        if self._lost and self.confirm.value.strip() != self.phrase:
            missing.append(f"the words “{self.phrase}”")
        self.button.disabled = bool(missing)
        people = {self.by.value.strip(), self.second.value.strip()} - {""}
        if missing:
            self.said.value = caption(f"Still needed: {', '.join(missing)}.")
        elif people == {self._run.operator}:
            self.said.value = attention(
                f"{self._run.operator} also runs this: the record will say that nobody else looked at the plan."
            )
        else:
            self.said.value = attention(
                f"Typed here this is {_AGAINST}, {account()}: the record will say so. "
                f"A reviewer's own account says more: pumphouse approve {self._plan.hash[:12]}"
            )

    def _approve(self, typed: Sequence[str] = ()) -> None:
        # a field that is still on its way from the browser may overwrite what is set here: only what came is written
        for field, text in zip(self._fields, typed, strict=False):
            field.value = text
        by, second, reason, ticket = typed[:4] or [field.value for field in self._fields[:4]]
        if self.button.disabled:
            return
        try:
            approve(
                self._plan,
                self._folder,
                by=by,
                reason=reason,
                ticket=ticket,
                second=second,
                state=self._run.journal.plan_state(self._plan.hash),
            )
        except PumphouseError as problem:
            self.said.value = attention(str(problem))
            return
        self._show_state()
        against = doubt(require_approval(self._plan, self._folder), self._run.operator)
        tone, words = (WARN, f"Approved {against}, and the record will say so.") if against else (GOOD, "Approved.")
        mark = f'<span style="color:{tone.colour}">{tone.symbol}</span>'
        self.said.value = f'<div role="status">{mark} {escape(words)} Run the next cell to go on.</div>'


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
