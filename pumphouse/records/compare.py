"""Comparing two runs: a rehearsal in the lab and the real one, or yesterday's and today's.

What is compared is the template, the parameters, the plan and the outcome. Times, ids, request ids and digests of
what differs by nature are left out; servers and steps are matched by their names.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumphouse.errors import RunbookError
from pumphouse.records.archive import Archive, FolderArchive, site_archive
from pumphouse.records.manifest import Entry
from pumphouse.records.seal import ENVELOPE_SUFFIX, FILES_SUFFIX
from pumphouse.site import load_site

STORY_FILE = "summary.json"
_OWN_PARAMETERS = ("site", "operator")
_ABSENT = "(not there)"


@dataclass(frozen=True)
class Difference:
    """One difference: ``part`` is template, parameter, plan or outcome."""

    part: str
    what: str
    first: str
    second: str


def load_run(named: str, site_file: str = "") -> Mapping[str, Any]:
    """A run's summary by its record's file, or by run id or record name in the site's archive (read only).

    :raises RunbookError: when there is no such run, or it has no summary.
    """
    file = Path(named)
    if file.suffix == ".ipynb" and file.exists():
        archive: Archive = FolderArchive(file.parent)
        names = [f"{file.stem}{FILES_SUFFIX}/{STORY_FILE}", f"{file.stem}{FILES_SUFFIX}/{STORY_FILE}.gz"]
        found = _first(archive, names)
    else:
        archive = site_archive(load_site(site_file))
        entry = next((e for e in archive.entries() if named in (e.run_id, e.record)), None)
        if entry is None:
            raise RunbookError(
                f"{named} is neither a record nor a run of {archive.name}.",
                remedy="`pumphouse records list` lists all.",
            )
        found = summary_of(archive, entry)
    if not found:
        raise RunbookError(f"Run {named} has no {STORY_FILE}.", remedy="compare runs whose records were kept whole.")
    return found


def summary_of(archive: Archive, entry: Entry) -> Mapping[str, Any]:
    """A run's ``summary.json``; empty when it has none, or cannot be read (which is for a verification to say)."""
    stem = entry.envelope.removesuffix(ENVELOPE_SUFFIX)
    return _first(archive, [f"{stem}{FILES_SUFFIX}/{STORY_FILE}", f"{stem}{FILES_SUFFIX}/{STORY_FILE}.gz"])


def _first(archive: Archive, names: Iterable[str]) -> Mapping[str, Any]:
    for name in names:
        try:
            data = archive.read(name)
            found = json.loads(gzip.decompress(data) if name.endswith(".gz") else data)
        except (FileNotFoundError, ValueError, OSError, EOFError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("story"), dict):
            return found
    return {}


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """All differences between two summaries, ordered by part."""
    a, b = first["story"], second["story"]
    return [
        *_template(first["template"], second["template"]),
        *_mappings("parameter", "", _given(first), _given(second)),
        *_plans(a, b),
        *_outcome(first, second),
    ]


def _template(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    if a.get("path") != b.get("path"):
        yield Difference("template", "path", str(a.get("path")), str(b.get("path")))
    if a.get("sha256") != b.get("sha256"):
        yield Difference("template", "content", _version(a), _version(b))


def _version(template: Mapping[str, Any]) -> str:
    commit = template.get("commit")
    dirty = " with uncommitted changes" if template.get("dirty") else ""
    return f"SHA-256 {str(template.get('sha256'))[:16]}" + (f", commit {commit[:12]}{dirty}" if commit else "")


def _given(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary["parameters"].items() if name not in _OWN_PARAMETERS}


def _mappings(part: str, lead: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(a.keys() | b.keys()):
        if a.get(name, _ABSENT) != b.get(name, _ABSENT):
            yield Difference(part, f"{lead}{name}", _text(a.get(name, _ABSENT)), _text(b.get(name, _ABSENT)))


def _plans(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    kinds_a, kinds_b = ([plan["kind"] for plan in story.get("plans", ())] for story in (a, b))
    if kinds_a != kinds_b:
        yield Difference("plan", "kind", ", ".join(kinds_a) or "none", ", ".join(kinds_b) or "none")
    servers_a, servers_b = _servers(a), _servers(b)
    for name in sorted(servers_a.keys() ^ servers_b.keys()):
        here, there = (name in servers_a), (name in servers_b)
        yield Difference("plan", f"server {name}", "planned" if here else _ABSENT, "planned" if there else _ABSENT)
    for name in sorted(servers_a.keys() & servers_b.keys()):
        yield from _mappings("plan", f"server {name}, before: ", servers_a[name]["before"], servers_b[name]["before"])
    counts_a, counts_b = (
        Counter(name for plan in story.get("plans", ()) for name in plan.get("planned", ())) for story in (a, b)
    )
    for step in sorted(counts_a.keys() | counts_b.keys()):
        if counts_a[step] != counts_b[step]:
            yield Difference("plan", f"step {step}", _times(counts_a[step]), _times(counts_b[step]))


def _outcome(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    a, b = first["story"], second["story"]
    if first["result"] != second["result"]:
        yield Difference("outcome", "result", _said(first), _said(second))
    servers_a, servers_b = _servers(a), _servers(b)
    for name in sorted(servers_a.keys() & servers_b.keys()):
        row_a, row_b = servers_a[name], servers_b[name]
        for key in ("result", "answers"):
            if row_a.get(key) != row_b.get(key):
                yield Difference("outcome", f"server {name}: {key}", _text(row_a.get(key)), _text(row_b.get(key)))
        after_a, after_b = ({k: v for k, v in row["after"].items() if k != "id"} for row in (row_a, row_b))
        yield from _mappings("outcome", f"server {name}, after: ", after_a, after_b)
    results_a, results_b = ({_step_name(s): s["result"] for s in story.get("steps", ())} for story in (a, b))
    yield from _mappings("outcome", "step ", results_a, results_b)
    deviations_a, deviations_b = (len(story.get("deviations", ())) for story in (a, b))
    if deviations_a != deviations_b:
        yield Difference("outcome", "deviations", str(deviations_a), str(deviations_b))


def _servers(story: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Servers by project and name; of several with one name each gets a number."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in sorted(story.get("servers", ()), key=lambda row: (row["project"], row["name"], row["id"])):
        name, number = f"{row['project']}/{row['name']}", 1
        while name in found:
            number += 1
            name = f"{row['project']}/{row['name']} ({number})"
        found[name] = row
    return found


def _step_name(step: Mapping[str, Any]) -> str:
    return f"{step['kind']}: {step['server'] or step['title']}"


def _said(summary: Mapping[str, Any]) -> str:
    return f"{summary['result']}: {summary['detail']}" if summary.get("detail") else str(summary["result"])


def _times(count: int) -> str:
    return {0: _ABSENT, 1: "once"}.get(count, f"{count} times")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
