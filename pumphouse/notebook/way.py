"""The way through the runbooks: what each notebook is for, how it went last, and which one is sensible next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pumphouse.approval import require_approval
from pumphouse.errors import ApprovalMissing
from pumphouse.journal import Journal, RunRow
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.notebook.html import BAD, BUSY, GOOD, NOTE, OFF, WARN, Cell, Column, Display, Tone, joined, render
from pumphouse.plan.after import finalised
from pumphouse.plan.model import Plan
from pumphouse.session import Run
from pumphouse.steps.progress import duration_text

_RESULTS: dict[str, Tone] = {
    "succeeded": GOOD,
    "nothing-to-do": GOOD,
    "refused": WARN,
    "aborted": WARN,
    "failed": BAD,
    "interrupted": BAD,
}
#: Which notebook carries a kind of plan out, as long as none has; afterwards the journal knows.
_CARRIED_BY = {"move": "03-", "finalise": "04-", "rollback": "05-"}


@dataclass(frozen=True)
class Page:
    """A notebook that lies in this folder, in its own words."""

    file: str
    title: str
    purpose: str
    impact: str

    @property
    def stem(self) -> str:
        """Its name as runs know it."""
        return Path(self.file).stem


@dataclass(frozen=True)
class Next:
    """What to do next, in which notebook (empty: none, then ``title`` says what), and why."""

    notebook: str
    words: str
    title: str = "nothing"


def show_way(run: Run, *, folder: str | Path = ".", now: datetime | None = None) -> Display:
    """The notebooks of a folder in their order, how each went last, and what is sensible next (read only)."""
    now = now or datetime.now(UTC)
    pages = [page for page in pages_of(Path(folder)) if page.stem != _own_name(run)]
    last: dict[str, RunRow] = {}
    for row in run.journal.list_runs():
        if row.id != run.id:
            last[Path(row.notebook).stem] = row
    sensible = next_step(run, pages, now)
    rows = []
    for page in pages:
        is_next = page.file == sensible.notebook
        rows.append(
            [
                Cell("next", BUSY, strong=True) if is_next else Cell(""),
                Cell(page.title, strong=is_next, notebook=page.file),
                _went(last.get(page.stem), now),
                Cell(_first_sentence(page.purpose)),
                Cell(_first_sentence(page.impact)),
            ]
        )
    columns = [
        Column("", kind="word"),
        Column("notebook"),
        Column("last run", kind="word"),
        Column("what for", kind="prose"),
        Column("what it changes", kind="prose"),
    ]
    head = render("Next", [Column(""), Column("why", kind="prose")], [_next_row(pages, sensible)])
    return joined(head, render("The way through the runbooks", columns, rows))


def next_step(run: Run, pages: Sequence[Page], now: datetime) -> Next:
    """The most sensible next notebook: finish what is begun, then carry out what is approved, then go on."""
    journal = run.journal
    plans = [Plan.from_document(document) for document in journal.plan_documents()]
    for plan in reversed(plans):
        if journal.plan_state(plan.hash) == "started":
            busy = _works_on(journal, plan, run.id)
            words = (
                f"is under way in run {busy}: watch it below."
                if busy
                else "was begun and is not finished: run it again to go on, or roll it back."
            )
            return Next(_carrier(journal, plan, pages), f"{_named(plan)} {words}")
    waiting = [plan for plan in plans if journal.plan_state(plan.hash) == "proposed" and _is_last(plan, plans)]
    for plan in reversed(waiting):
        try:
            require_approval(plan, run.site.work_dir / "approvals")
        except ApprovalMissing:
            continue
        return Next(_carrier(journal, plan, pages), f"{_named(plan)} is approved and waits.")
    if waiting:
        plan = waiting[-1]
        words = f"{_named(plan)} waits for approval: its gate has a form, or `pumphouse approve {plan.hash[:12]}`."
        return Next(_carrier(journal, plan, pages), words)
    if run.unreached:
        down = " and ".join(f"the {cloud.side} ({cloud.name})" for cloud in run.unreached)
        words = f"{down} cannot be reached: do what stands above, then run this notebook again."
        return Next("", words, "reach both clouds")
    moved, ready_at = _moved(journal, plans, timedelta(seconds=run.site.hold_s))
    if moved and ready_at <= now:
        return Next(_begins(pages, "04-"), f"{moved} moved servers have served for the hold: their sources can go.")
    seen = {Path(row.notebook).stem for row in journal.list_runs()}
    for start, words in (
        ("01-", "nothing was looked at yet: read both clouds first."),
        ("02-", "see what is dirty, and plan a first move."),
    ):
        file = _begins(pages, start)
        if file and Path(file).stem not in seen:
            return Next(file, words)
    held = (
        f" The sources of {moved} moved servers can be deleted in {duration_text((ready_at - now).total_seconds())}."
        if moved
        else ""
    )
    return Next(_begins(pages, "02-"), f"nothing is under way: plan the next move.{held}")


def pages_of(folder: Path) -> list[Page]:
    """The notebooks of a folder that have a title and a purpose, by name."""
    found = []
    for file in sorted(folder.glob("*.ipynb")):
        try:
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
            first = "".join(cells[0]["source"]) if cells and cells[0]["cell_type"] == "markdown" else ""
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if first.startswith("# "):
            title = first.splitlines()[0].lstrip("# ").strip()
            found.append(Page(file.name, title, _section(first, "Purpose"), _section(first, "Impact")))
    return found


def _section(text: str, name: str) -> str:
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(f"**{name}.**"):
            return " ".join(paragraph.removeprefix(f"**{name}.**").split())
    return ""


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "." if text else ""


def _went(row: RunRow | None, now: datetime) -> Cell:
    if row is None:
        return Cell("never", OFF)
    if row.result is None:
        return Cell(f"under way, begun {ago(row.started_at, now)}", BUSY)
    return Cell(f"{row.result} {ago(row.ended_at or row.started_at, now)}", _RESULTS.get(row.result, NOTE))


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, for people, with the time itself: ``3 min ago (14:05 UTC)``."""
    seconds = (now - moment).total_seconds()
    days = int(seconds // 86400)
    words = f"{days} day{'s' if days > 1 else ''}" if days else duration_text(max(seconds, 0.0))
    stamp = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if days else f"{moment.astimezone(UTC):%H:%M} UTC"
    return f"{words} ago ({stamp})"


def _next_row(pages: Sequence[Page], sensible: Next) -> list[Cell]:
    title = next((page.title for page in pages if page.file == sensible.notebook), sensible.title)
    return [Cell(title, BUSY, strong=True, notebook=sensible.notebook), Cell(sensible.words)]


def _own_name(run: Run) -> str:
    return Path(run.journal.get_run(run.id).notebook).stem


def _named(plan: Plan) -> str:
    names = ", ".join(server.name for server in plan.servers[:4])
    more = f" and {len(plan.servers) - 4} more" if len(plan.servers) > 4 else ""
    return f"The {plan.kind} plan {plan.hash[:12]}" + (f" of {names}{more}" if names else "")


def _carrier(journal: Journal, plan: Plan, pages: Sequence[Page]) -> str:
    """The notebook that carried the plan out last, or carries out its kind."""
    scopes = journal.events(plan_hash=plan.hash, step_key=SCOPE_KEY)
    if scopes:
        stem = Path(journal.get_run(scopes[-1].run_id).notebook).stem
        known = next((page.file for page in pages if page.stem == stem), "")
        if known:
            return known
    named = next((page.file for page in pages if f"-{plan.kind}-" in page.file), "")
    return _begins(pages, _CARRIED_BY[plan.kind]) if plan.kind in _CARRIED_BY else named


def _works_on(journal: Journal, plan: Plan, own_run_id: str) -> str:
    """The run that carries the plan out at this moment; a dead one was closed when our own run began."""
    scopes = journal.events(plan_hash=plan.hash, step_key=SCOPE_KEY)
    last = scopes[-1].run_id if scopes else own_run_id
    return "" if last == own_run_id or journal.get_run(last).state == "ended" else last


def _begins(pages: Sequence[Page], start: str) -> str:
    return next((page.file for page in pages if page.file.startswith(start)), "")


def _is_last(plan: Plan, plans: Sequence[Plan]) -> bool:
    """Whether no later plan is about one of the same servers."""
    mine = {server.id for server in plan.servers}
    later = plans[plans.index(plan) + 1 :]
    return not any(mine & {server.id for server in other.servers} for other in later)


def _moved(journal: Journal, plans: Sequence[Plan], hold: timedelta) -> tuple[int, datetime]:
    """How many servers serve at the destination whose source is still there, and when the first of them may go."""
    gone, first, count = finalised(journal), datetime.max.replace(tzinfo=UTC), 0
    for plan in plans:
        if plan.kind != "move" or journal.plan_state(plan.hash) not in ("started", "finished"):
            continue
        for event in journal.events(plan_hash=plan.hash):
            server_id = event.step_key.partition(":")[2]
            if event.step_key.startswith("settle:") and event.event == "verified" and server_id not in gone:
                count += 1
                first = min(first, event.at + hold)
    return count, first
