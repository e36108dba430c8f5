"""Showing a run: who and where, the plan, the approval, evidence and what became of each server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pumphouse.approval import Approval, doubt
from pumphouse.notebook.display import MIB, show_facts
from pumphouse.notebook.html import BAD, BUSY, GOOD, NOTE, OFF, WARN, Cell, Column, Display, heading, joined, render
from pumphouse.notebook.sides import show_unreached
from pumphouse.plan.model import PHASES, Plan
from pumphouse.session import Report, Run
from pumphouse.session.looking import Unreached
from pumphouse.session.rack import NodeState

#: Kinds of plans that are about servers; all others are about hosts and nodes.
_OF_SERVERS = ("move", "finalise", "rollback")
_RESULT_TONES = {
    "moved": GOOD,
    "on another host": GOOD,
    "source deleted": GOOD,
    "finalised": GOOD,
    "back at the source": GOOD,
    "never left the source": GOOD,
    "failed": BAD,
    "untouched": OFF,
    "rolled back": OFF,
    "prepared": BUSY,
}
_ANSWERS = {True: "yes", False: "no", None: "not asked"}


def show_run(run: Run) -> Display:
    """Who runs what against which clouds, for which change."""
    rows = [
        [Cell("run"), Cell(run.id, strong=True)],
        [Cell("operator"), Cell(run.operator)],
        [Cell("change"), Cell(run.change or None)],
        [Cell("site"), Cell(run.site.name)],
    ]
    head = render("Run", [Column(""), Column("")], rows)
    facts = [cloud.facts for cloud in run.clouds]
    parts = [head, show_facts(*facts)] if facts else [head]
    lost = [
        Unreached(cloud.side, cloud.name, cloud.problem.message, cloud.problem.remedy or "")
        for cloud in run.unreached
        if cloud.problem is not None
    ]
    return joined(*parts, show_unreached(lost)) if lost else joined(*parts)


def show_plan(plan: Plan) -> Display:
    """Servers, steps in order, what is carried differently, and the hash that an approval is bound to."""
    title = f"{plan.kind.capitalize()} plan {plan.hash[:12]}: "
    title += f"{_count(len(plan.servers), 'server')}, " if plan.servers else ""
    title += _count(len(plan.steps), "step")
    title += f", {plan.copy_bytes / MIB:,.1f} MiB of images to copy" if plan.kind == "move" else ""
    note = f"Full hash {plan.hash}. Approve it with: pumphouse approve {plan.hash[:12]} --by NAME --reason WHY"
    told = [_notes(plan)] if plan.notes or plan.kind in _OF_SERVERS else []
    return joined(_servers(plan, title, note), _steps(plan), *told)


def _servers(plan: Plan, title: str, note: str) -> Display:
    """Its servers; plans about nodes may have none, and tell neither flavors nor images, which stay as they are."""
    if not plan.servers:
        return heading(title, note)
    made_of = plan.kind in _OF_SERVERS
    columns = [
        Column("server"),
        Column("project"),
        Column("state", kind="word"),
        Column("host"),
        Column("fixed IPs"),
        Column("floating IPs"),
        *([Column("flavor"), Column("image")] if made_of else []),
    ]
    rows = [
        [
            Cell(server.name, strong=True),
            Cell(server.project),
            Cell(server.status, GOOD if server.status == "ACTIVE" else OFF),
            Cell(server.host),
            Cell(", ".join(server.addresses)),
            Cell(", ".join(server.floating_ips) or None),
            *([Cell(server.flavor or None), Cell(server.image or None)] if made_of else []),
        ]
        for server in plan.servers
    ]
    return render(title, columns, rows, note=note)


def _steps(plan: Plan) -> Display:
    rows = [
        [
            Cell(str(number)),
            Cell(step.phase),
            Cell(step.title, strong=step.undo is None),
            Cell(step.changes),
            Cell(step.undo, None) if step.undo else Cell(f"irreversible: {step.cost}" if step.cost else None, WARN),
        ]
        for number, step in enumerate(sorted(plan.steps, key=lambda step: PHASES.index(step.phase)), 1)
    ]
    counts = Counter(step.changes for step in plan.steps)
    note = ", ".join(f"{number} change {what}" for what, number in sorted(counts.items()))
    heads = [Column("#", kind="number"), Column("phase"), Column("step"), Column("changes"), Column("undo")]
    return render("Steps in order", heads, rows, note=note)


def _notes(plan: Plan) -> Display:
    rows = [[Cell(note.object, strong=True), Cell(note.text)] for note in plan.notes]
    title = "Carried differently, or not" if plan.kind in _OF_SERVERS else "What becomes of it, and why"
    return render(title, [Column("object"), Column("what and why")], rows)


def show_nodes(nodes: Iterable[NodeState]) -> Display:
    """Nodes as their devices describe them; who does not answer is told if somebody does not."""
    known = tuple(nodes)
    silent = any(one.problems for one in known)
    rows = [
        [
            Cell(one.node, strong=True),
            Cell(one.role),
            Cell(one.owner or "nobody", None if one.owner else OFF),
            Cell(one.host or None),
            Cell(one.service or None),
            Cell(None if one.servers is None else str(one.servers)),
            Cell(one.power or (None if one.asked else "not asked"), GOOD if one.power == "on" else OFF),
            Cell(None if one.vlan is None else str(one.vlan)),
            Cell(" ".join((one.fuel, one.fuel_name)).strip() or None),
            Cell(one.serial or None),
            *([Cell(" ".join(one.problems) or None, BAD if one.problems else None)] if silent else []),
        ]
        for one in known
    ]
    columns = [
        Column("node"),
        Column("role"),
        Column("belongs to", kind="word"),
        Column("host"),
        Column("nova-compute", kind="word"),
        Column("servers", kind="number"),
        Column("power", kind="word"),
        Column("VLAN", kind="number"),
        Column("in Fuel"),
        Column("serial", kind="id"),
        *([Column("no answer from", kind="prose")] if silent else []),
    ]
    return render(f"Nodes ({len(rows)})", columns, rows)


def show_approval(approval: Approval, run: Run) -> Display:
    """Who approved, when and why; and whether approver and operator are the same person."""
    against = doubt(approval, run.operator)
    same = against == "BY THE OPERATOR"
    typed = f"{approval.account}: {against}" if against and not same else approval.account
    rows = [
        [Cell("plan"), Cell(approval.plan_hash)],
        [Cell("approved by"), Cell(approval.approved_by, WARN if against else GOOD, strong=True)],
        [Cell("second person"), Cell(approval.second or None)],
        [Cell("typed by"), Cell(typed or None, WARN if against and not same else None)],
        [Cell("run by"), Cell(run.operator + (" (the same person)" if same else ""))],
        [Cell("approved at"), Cell(_moment(approval.approved_at))],
        [Cell("reason"), Cell(approval.reason)],
        [Cell("ticket"), Cell(approval.ticket or None)],
    ]
    return render("Approval", [Column(""), Column("")], rows)


def show_evidence(rows: Iterable[Mapping[str, Any]]) -> Display:
    """What the clouds say when read again: one row per verified step."""
    made = [
        [
            Cell("verified", GOOD),
            Cell(str(row["what"]), strong=True),
            Cell(row.get("words") or _pairs(row["evidence"]) or None),
        ]
        for row in rows
    ]
    columns = [Column("result", kind="word"), Column("step"), Column("read back from the clouds")]
    return render(f"Read again: {_count(len(made), 'step')}", columns, made)


def _pairs(evidence: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_words(value)}" for key, value in evidence.items() if value is not None)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " and ".join(f"{key} ({_words(item)})" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " and ".join(map(_words, value)) or "none"
    return str(value)


def show_report(report: Report | None) -> Display:
    """What became of each server, with downtime beside the clouds' own times."""
    if report is None:
        return heading("Result: this notebook only reads")
    title = f"Result: {report.verified} of {_count(report.steps, 'step')} done and verified"
    if report.failed:
        title += f", {report.failed} failed"
    note = " ".join(report.left)
    shown = _stayed(report, title, note) if report.kind == "acquire" else _carried(report, title, note)
    return joined(shown, _objects(report)) if report.objects else shown


def _stayed(report: Report, title: str, note: str) -> Display:
    """What became of servers that left a host inside the source."""
    rows = [
        [
            Cell(server.result, _RESULT_TONES.get(server.result, WARN)),
            Cell(server.name, strong=True),
            Cell(server.project),
            Cell(server.host),
            Cell(", ".join(server.addresses)),
            Cell(_ANSWERS[server.answers]),
            Cell(server.problem),
        ]
        for server in report.servers
    ]
    names = ("server", "project", "now on", "fixed IPs")
    columns = [Column("result", kind="word"), *map(Column, names), Column("answers", kind="word"), Column("problem")]
    return render(title, columns, rows, note=note) if rows else heading(title, note)


def _carried(report: Report, title: str, note: str) -> Display:
    rows = [
        [
            Cell(server.result, _RESULT_TONES.get(server.result, WARN)),
            Cell(server.name, strong=True),
            Cell(server.project),
            Cell(", ".join(server.addresses)),
            Cell(", ".join(server.floating_ips) or None),
            Cell(_seconds(server.stop_s)),
            Cell(_seconds(server.boot_s)),
            Cell(_seconds(server.downtime_s)),
            Cell(_ANSWERS[server.answers]),
            Cell(server.problem),
        ]
        for server in report.servers
    ]
    columns = [
        Column("result", kind="word"),
        Column("server"),
        Column("project"),
        Column("fixed IPs"),
        Column("floating IPs"),
        Column("stop", "s", "number"),
        Column("boot", "s", "number"),
        Column("downtime", "s", "number"),
        Column("answers", kind="word"),
        Column("problem"),
    ]
    return render(title, columns, rows, note=note) if rows or not report.objects else heading(title, note)


def _objects(report: Report) -> Display:
    tones = {"kept": NOTE, "failed": BAD, "not undone yet": BUSY, "not done yet": BUSY, "not begun": OFF}
    rows = [
        [Cell(item.name, strong=True), Cell(item.result, tones.get(item.result, GOOD)), Cell(item.why or None)]
        for item in report.objects
    ]
    undone = report.kind == "rollback"
    what = "what the move had made or used" if undone else "step"
    columns = [Column(what), Column("now", kind="word"), Column("why", kind="prose")]
    return render("What went and what stayed" if undone else "Nodes and hosts", columns, rows)


def _moment(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return text


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
