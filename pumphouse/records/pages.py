"""The site of an archive: a page of every record, an index of all runs with filters, and every server's history.

Everything a page needs is in the page. Its content security policy lets one script run, named by its digest, which
filters rows; it lets no request leave, and without scripts the same rows are there, unfiltered.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from pumphouse.errors import RunbookError
from pumphouse.records import sheet as sheets
from pumphouse.records.archive import Archive, FolderArchive
from pumphouse.records.compare import summary_of
from pumphouse.records.envelope import UNKNOWN_KEY
from pumphouse.records.html import POLICY, clock, moment, record_page, style, templates, took, write_page
from pumphouse.records.manifest import Entry
from pumphouse.records.summary import differences, state_words
from pumphouse.records.verify import verify_archive

INDEX, SERVERS = "index.html", "servers.html"


def render_archive(archive: Archive, out_dir: Path | None = None) -> Path:
    """Write all pages into ``out_dir`` (default: next to the records, if they are in a folder); returns the index.

    A record's page is made again only if the record is newer.

    :raises RunbookError: when a page cannot be written, or no folder is named for a bucket's pages.
    """
    local = archive.folder if isinstance(archive, FolderArchive) else None
    folder = out_dir or local
    if folder is None:
        raise RunbookError(f"Pages of {archive.name} need a folder.", remedy="name one with --out.")
    for name in archive.names():
        if name.endswith(".ipynb") and "/" not in name:
            _render_record(archive, name, folder / f"{Path(name).stem}.html")
    entries = archive.entries()
    stories = {entry.run_id: summary_of(archive, entry) for entry in entries}
    _render(folder / SERVERS, "servers.html.j2", servers=_histories(entries, stories), script=_script())
    verdict = verify_archive(archive)
    rows = [_row(entry, entries, stories[entry.run_id], folder, local) for entry in _families(entries)]
    _render(
        folder / INDEX,
        "index.html.j2",
        rows=rows,
        choices=_choices(rows),
        problems=[str(problem) for problem in verdict.problems if problem.kind != UNKNOWN_KEY],
        notices=verdict.notices,
        summary=_summary(entries),
        head=verdict.head if verdict.runs else "none",
        script=_script(),
    )
    return folder / INDEX


def _render_record(archive: Archive, name: str, page: Path) -> None:
    if isinstance(archive, FolderArchive):
        record = archive.folder / name
        if page.exists() and page.stat().st_mtime_ns > record.stat().st_mtime_ns:
            return
    try:
        text = record_page(name, archive.read(name))
    except RunbookError:
        page.unlink(missing_ok=True)  # it was damaged since: the index says so, and an old page would hide it
    else:
        write_page(page, text)


def _render(out: Path, template: str, *, script: str, **content: Any) -> None:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(templates()), autoescape=True)
    text = environment.get_template(template).render(
        policy=f"{POLICY}; script-src 'sha256-{digest}'", css=style(), script=script, **content
    )
    write_page(out, text)


def _script() -> str:
    return (templates() / "filter.js").read_text(encoding="utf-8")


def _families(entries: list[Entry]) -> list[Entry]:
    """Newest first, the notebooks of a runbook in their order below it."""
    children: dict[str, list[Entry]] = {}
    known = {entry.run_id for entry in entries}
    tops: list[Entry] = []
    for entry in entries:
        if entry.parent_id in known and entry.parent_id is not None:
            children.setdefault(entry.parent_id, []).append(entry)
        else:
            tops.append(entry)
    tops.sort(key=lambda entry: entry.started_at, reverse=True)
    return [row for top in tops for row in (top, *children.get(top.run_id, []))]


def _row(
    entry: Entry, entries: list[Entry], summary: Mapping[str, Any], pages: Path, records: Path | None
) -> dict[str, Any]:
    started = moment(entry.started_at)
    servers = summary.get("story", {}).get("servers", [])
    hosts = {row[when].get("host") for row in servers for when in ("before", "after")}
    record = records / entry.record if entry.record and records is not None else None
    tickets = {entry.change, *(row.get("ticket") for row in summary.get("story", {}).get("approvals", []))}
    return {
        "run_id": entry.run_id,
        "number": entry.number,
        "notebook": entry.notebook,
        "result": entry.result,
        "ok": entry.result in (sheets.SUCCEEDED, sheets.NOTHING_TO_DO),
        # a runbook's detail repeats that of its last notebook, which is listed below it
        "detail": "" if any(other.parent_id == entry.run_id for other in entries) else entry.detail,
        "child": entry.parent_id is not None,
        "date": f"{started:%Y-%m-%d}" if started else "",
        "started": clock(started).removesuffix(" UTC"),
        "took": took(started, moment(entry.ended_at)),
        "operator": entry.operator,
        "tickets": sorted(filter(None, tickets)),
        "projects": list(entry.projects),
        "plans": list(entry.plans),
        "servers": sorted({row["name"] for row in servers}),
        "hosts": sorted(filter(None, hosts)),
        "sha256": entry.sha256 or "",
        "page": _page_link(entry, pages),
        "record": quote(os.path.relpath(record, pages)) if record is not None and record.exists() else "",
    }


def _page_link(entry: Entry, pages: Path) -> str:
    page = pages / f"{Path(entry.record).stem}.html" if entry.record else None
    return quote(page.name) if page is not None and page.exists() else ""


def _choices(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    rows = list(rows)
    return {
        "project": sorted({name for row in rows for name in row["projects"]}),
        "host": sorted({name for row in rows for name in row["hosts"]}),
        "ticket": sorted({name for row in rows for name in row["tickets"]}),
        "result": [result for result in sheets.RESULTS if any(row["result"] == result for row in rows)],
    }


def _histories(entries: Iterable[Entry], stories: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every server with what each run did to it, oldest first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: entry.started_at):
        for row in stories[entry.run_id].get("story", {}).get("servers", []):
            server = found.setdefault(
                (row["project"], row["id"]),
                {"name": row["name"], "project": row["project"], "id": row["id"], "runs": []},
            )
            server["runs"].append(_passage(entry, row))
    return sorted(found.values(), key=lambda server: (server["project"], server["name"], server["id"]))


def _passage(entry: Entry, row: Mapping[str, Any]) -> dict[str, Any]:
    before, after = row["before"], row["after"]
    return {
        "started": clock(moment(entry.started_at)).removesuffix(" UTC"),
        "notebook": entry.notebook,
        "run_id": entry.run_id,
        "page": quote(f"{Path(entry.record).stem}.html") if entry.record else "",
        "result": row["result"],
        "run_result": entry.result,
        "problem": row.get("problem") or "",
        "before": state_words(before),
        "after": state_words(after) or "not read",
        "differs": ", ".join(differences(before, after)),
        "downtime": "" if row["downtime_s"] is None else f"{row['downtime_s']:.1f}",
    }


def _summary(entries: list[Entry]) -> str:
    counts = Counter(entry.result for entry in entries)
    listed = ", ".join(f"{counts[result]} {result}" for result in sheets.RESULTS if counts[result])
    return f"{len(entries)} runs: {listed}." if entries else "No run has ended yet."
