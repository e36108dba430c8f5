"""The words and tables of a record's summary, from its sheet and the story that the journal tells."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pumphouse.records.sheet import Sheet, Template

SHOWN = 25
"""Rows of a table in a record; the rest is in its side file ``summary.json``."""
_MIB = 1024 * 1024
_STEP_WORDS = {"skipped": "in place already", "intent": "begun, outcome unknown", "done": "done, not verified"}
_GOOD_RESULTS = ("moved", "finalised", "source deleted", "back at the source", "never left the source")


def story_facts(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """What an auditor asks first: name and plain text; an empty text has nothing to say."""
    story = sheet.story
    change = story.get("change") or sheet.parameters.get("change")
    yield "Request", f"change {change}" if change else "no change ticket was named"
    yield "Run by", sheet.operator
    yield "Approval", "; ".join(map(_approval, story.get("approvals", ()))) or _no_approval(story)
    for plan in story.get("plans", ()):
        yield "Plan", _plan(plan)
    clouds = [_cloud(cloud) for cloud in story.get("clouds", ())]
    yield "Clouds", " → ".join(clouds) or sheet.clouds
    yield "Site", sheet.site
    yield "Template", _template(sheet.template)
    yield "Run", sheet.run_id + (f", part of {sheet.parent_id}" if sheet.parent_id else "")
    yield "Started", _when(sheet.started_at)
    yield "Ended", _ended(sheet.started_at, sheet.ended_at)
    yield "Servers", _counts(story.get("servers", ()))
    yield "Down now", " ".join(f"{row['said']}." for row in story.get("down", ()))
    yield "Downtime", _downtime(story.get("servers", ()))
    yield "Steps", _steps(story.get("steps", ()))
    yield "Fidelity", str((story.get("ledger") or {}).get("summary") or "")
    yield "Findings", _findings(story.get("findings") or {})
    yield "Back-out", " ".join(story.get("back_out", ())) or ("nothing was changed" if "steps" in story else "")
    yield (
        "Left to do",
        " ".join(dict.fromkeys(text for plan in story.get("plans", ()) for text in plan.get("left", ()))),
    )
    yield "Ways on", "; ".join(f"{way['words']}: {way['command']}" for way in story.get("ways", ()))
    if "signed" in story:
        key = story["signed"]
        yield "Seal", f"signed with key {key[:16]}" if key else "chained in the manifest, not signed"


def server_table(story: Mapping[str, Any]) -> list[str]:
    """Markdown lines: every server before and after, failed ones first."""
    rows = sorted(story.get("servers", ()), key=lambda row: (row["result"] in _GOOD_RESULTS, row["name"]))
    if not rows:
        return []
    head = ["server", "project", "result", "how carried", "before", "after", "differs", "downtime (s)", "answers"]
    lines = ["", f"**Servers, before and after** ({len(rows):,})", "", _row(head), _row(["---"] * len(head))]
    down = {one["id"]: _down(one) for one in story.get("down", ())}
    for row in rows[:SHOWN]:
        before, after = row["before"], row["after"]
        lines.append(
            _row(
                [
                    row["name"],
                    _projects(row),
                    row["result"] + (f": {row['problem']}" if row.get("problem") else ""),
                    row.get("carried") or "-",
                    state_words(before),
                    state_words(after) or "not read",
                    ", ".join(differences(before, after)) or ("nothing" if before.keys() & after.keys() else "-"),
                    down.get(row["id"])
                    or ("not measured" if row["downtime_s"] is None else f"{row['downtime_s']:.1f}"),
                    {True: "yes", False: "no", None: "not asked"}[row["answers"]],
                ]
            )
        )
    if len(rows) > SHOWN:
        lines += ["", f"… and {len(rows) - SHOWN:,} more servers in the record's `summary.json`."]
    return lines


def _down(row: Mapping[str, Any]) -> str:
    return f"{'down' if row['sure'] else 'maybe down'} since {_clock(row['since'])}"


def step_table(story: Mapping[str, Any]) -> str:
    """Markdown: the steps of this run with their times and request ids; failed ones, then the slowest, if many."""
    steps = list(story.get("steps", ()))
    if not steps:
        return ""
    shown = set(range(len(steps)))
    if len(steps) > 4 * SHOWN:
        ranked = sorted(shown, key=lambda number: (not steps[number]["errors"], -steps[number]["seconds"]))
        shown = set(ranked[: 4 * SHOWN])
    head = ["step", "result", "began (UTC)", "seconds", "request ids"]
    lines = [
        f"## Steps of this run ({len(steps):,})",
        "",
        "From the journal.",
        "",
        _row(head),
        _row(["---"] * len(head)),
    ]
    for number, step in enumerate(steps):
        if number in shown:
            requests = step["requests"]
            more = f" and {len(requests) - 2} more" if len(requests) > 2 else ""
            result = _STEP_WORDS.get(step["result"], step["result"]) + "".join(f"; {error}" for error in step["errors"])
            began = _clock(step["started_at"])
            lines.append(_row([step["title"], result, began, f"{step['seconds']:.1f}", ", ".join(requests[:2]) + more]))
    if len(shown) < len(steps):
        lines += ["", f"… and {len(steps) - len(shown):,} quicker ones in the record's `summary.json`."]
    return "\n".join(lines) + "\n"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of what was read both before and after and is not the same."""
    return [
        name.replace("_", " ")
        for name, was in before.items()
        if name in after and (sorted(was) if isinstance(was, list) else was) != _sorted(after[name])
    ]


def _projects(row: Mapping[str, Any]) -> str:
    there = row.get("destination_project")
    return f"{row['project']} → {there}" if there and there != row["project"] else str(row["project"])


def plain_cell(text: str) -> str:
    """Text for a markdown table: no markup of its own, one line."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{char}" if char in "\\|*_`[]#~$" else char for char in plain)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell if cell == '---' else plain_cell(str(cell)) for cell in cells)} |"


def state_words(state: Mapping[str, Any]) -> str:
    """A server's state before or after, for people."""
    named = [str(state[key]) for key in ("status", "host") if state.get(key)]
    if state.get("source"):
        named.append(f"source {state['source']}")
    words = ", ".join([*named, *state.get("addresses", ()), *state.get("floating_ips", ())])
    return f"{state['when']}: {words}" if state.get("when") else words


def _approval(approval: Mapping[str, Any]) -> str:
    if approval.get("before_start"):
        flags = ["before the start"]
    else:
        flags = ["before the first change" if approval.get("before_change") else "NOT BEFORE THE FIRST CHANGE"]
    same = "BY THE OPERATOR" if approval.get("same_person") else "not the operator"
    flags.append("FROM THE OPERATOR'S ACCOUNT" if same.islower() and approval.get("same_account") else same)
    ticket = f", ticket {approval['ticket']}" if approval.get("ticket") else ""
    who = " and ".join(str(one) for one in (approval.get("approved_by"), approval.get("second")) if one)
    return f"{who} at {_clock(approval.get('approved_at'))} ({', '.join(flags)}){ticket}: {approval.get('reason')}"


def _no_approval(story: Mapping[str, Any]) -> str:
    return "none: no step was begun" if "steps" in story and not story["steps"] else ""


def _plan(plan: Mapping[str, Any]) -> str:
    done = f"{plan['verified']} of {plan['steps']} steps verified"
    failed = f", {plan['failed']} failed" if plan["failed"] else ""
    size = f", {plan['copy_bytes'] / _MIB:,.1f} MiB of images" if plan["copy_bytes"] else ""
    subject = plan.get("subject") or f"{plan['servers']} server(s)"  # records from before it was said lack it
    return f"{plan['kind']} of {subject}{size}: {done}{failed}, {plan['state']}; hash {plan['hash']}"


def _cloud(cloud: Mapping[str, Any]) -> str:
    about = [str(cloud[key]) for key in ("release", "region", "network_service") if cloud.get(key)]
    return f"{cloud.get('cloud')} at {cloud.get('auth_url')}" + (f" ({', '.join(about)})" if about else "")


def _counts(servers: Iterable[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for row in servers:
        counts[row["result"]] = counts.get(row["result"], 0) + 1
    return ", ".join(f"{number} {result}" for result, number in sorted(counts.items()))


def _downtime(servers: Iterable[Mapping[str, Any]]) -> str:
    measured = sorted(row["downtime_s"] for row in servers if row["downtime_s"] is not None)
    if not measured:
        return ""
    middle = measured[len(measured) // 2]
    return f"{len(measured)} measured: median {middle:.1f} s, longest {measured[-1]:.1f} s"


def _steps(steps: Iterable[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        counts[step["result"]] = counts.get(step["result"], 0) + 1
    return ", ".join(f"{number} {_STEP_WORDS.get(result, result)}" for result, number in sorted(counts.items()))


def _findings(findings: Mapping[str, Any]) -> str:
    counts = findings.get("counts") or {}
    listed = ", ".join(f"{number} {word}" for word, number in counts.items()) or ("none" if findings else "")
    accepted = findings.get("accepted") or []
    return listed + (f"; accepted: {', '.join(accepted)}" if accepted else "")


def _template(template: Template) -> str:
    text = f"{template.path}, SHA-256 {template.sha256[:16]}…" if template.sha256 else template.path
    if template.commit:
        text += f", commit {template.commit[:12]}" + (
            ", its repository with uncommitted changes" if template.dirty else ""
        )
    return text


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ended(start: datetime, end: datetime | None) -> str:
    return "not yet" if end is None else f"{_when(end)}, after {max((end - start).total_seconds(), 0):.0f} s"


def _clock(text: Any) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except (TypeError, ValueError):
        return str(text)
