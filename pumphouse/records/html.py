"""Pages for people: one per record, and an index of all runs.

A page is one file. Its content security policy forbids scripts and any request, so it looks the same offline, in a
year, and for a reader who must not be tracked; prose and outputs come first, code is folded away.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import nbformat
from nbconvert import HTMLExporter

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic
from pumphouse.records import sheet as sheets
from pumphouse.records.manifest import MANIFEST_NAME, Entry, read_manifest, verify_manifest

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_ACTIVE = re.compile(r"<(?=/?(?:script|meta|base|link|iframe|object|embed)\b)", re.IGNORECASE)
_MIME_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/markdown",
    "text/latex",
    "text/plain",
]


def render_html(record: Path, out: Path) -> Path:
    """Write a record's page (reads the record, writes ``out`` atomically); returns ``out``.

    :raises RunbookError: when the record is no notebook or the page cannot be written.
    """
    try:
        notebook = nbformat.read(record, as_version=4)
    except (OSError, ValueError) as error:
        raise RunbookError(
            f"Record {record} cannot be read: {' '.join(str(error).split())[:200]}.", remedy="name a record (*.ipynb)."
        ) from error
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            _keep_shown(output)
    facts = notebook["metadata"].get("pumphouse", {})
    page = _page(notebook, facts, record.name)
    _drop_title(notebook, page["title"])
    exporter = HTMLExporter(
        template_name="record",
        extra_template_basedirs=[str(_templates())],
        exclude_anchor_links=True,
    )
    exporter.register_filter("inert", lambda text: _ACTIVE.sub("&lt;", text))
    exporter.config.NbConvertBase.display_data_priority = _MIME_PRIORITY
    exporter.display_data_priority = _MIME_PRIORITY
    body, _ = exporter.from_notebook_node(notebook, resources={"pumphouse": page})
    _write(out, body)
    return out


def render_index(records_dir: Path, out: Path) -> Path:
    """Write the list of all runs, and the pages of records that have none yet; returns ``out``.

    :raises RunbookError: when a page cannot be written.
    """
    entries = read_manifest(records_dir)
    problems = verify_manifest(records_dir)
    manifest = records_dir / MANIFEST_NAME
    lines = manifest.read_bytes().splitlines() if manifest.exists() else []
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_templates()), autoescape=True)
    text = environment.get_template("index.html.j2").render(
        policy=_POLICY,
        css=_css(),
        rows=[_row(entry, entries, records_dir, out.parent) for entry in _families(entries)],
        problems=problems,
        summary=_summary(entries),
        head=hashlib.sha256(lines[-1]).hexdigest() if lines else "none",
    )
    _write(out, text)
    return out


def render_archive(records_dir: Path, out_dir: Path | None = None) -> Path:
    """Every record's page and the index, in ``out_dir`` (default: next to the records); returns the index."""
    folder = out_dir or records_dir
    for record in sorted(records_dir.glob("*.ipynb")):
        page = folder / f"{record.stem}.html"
        if not page.exists() or page.stat().st_mtime_ns <= record.stat().st_mtime_ns:
            render_html(record, page)
    return render_index(records_dir, folder / "index.html")


def _page(notebook: Any, facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    template = facts.get("template", {})
    started, ended = _moment(facts.get("started_at")), _moment(facts.get("ended_at"))
    commit = template.get("commit")
    commit_text = (
        f", commit {commit[:12]}{' with uncommitted changes' if template.get('dirty') else ''}" if commit else ""
    )
    shown = [
        ("Run", facts.get("run_id", "")),
        ("Part of", facts.get("parent_id") or ""),
        ("Started", _clock(started)),
        ("Ended", _clock(ended)),
        ("Took", _took(started, ended)),
        ("Operator", facts.get("operator", "")),
        ("Site", facts.get("site", "")),
        ("Clouds", facts.get("clouds", "")),
        ("Template", f"{template.get('path', 'unknown')}, SHA-256 {template.get('sha256', '')[:16]}{commit_text}"),
        ("With", ", ".join(f"{key} {value}" for key, value in facts.get("versions", {}).items())),
    ]
    result = facts.get("result", "unknown")
    given = facts.get("parameters", {})
    explained = " ".join(filter(None, (sheets.explain(result), facts.get("detail", ""))))
    return {
        "policy": _POLICY,
        "css": _css(),
        "title": _title(notebook) or name,
        "result": result,
        "explained": explained,
        "facts": [(key, value) for key, value in shown if value],
        "parameters": [(key, _value(value)) for key, value in given.items() if not sheets.is_empty(value)],
        "left_empty": [key for key, value in given.items() if sheets.is_empty(value)],
        "hidden": {sheets.SUMMARY_ID},
        "cells": {cell.get("id"): _label(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"},
        "run_id": facts.get("run_id", "unknown"),
        "name": name,
    }


def _keep_shown(output: Any) -> None:
    """Leave out what the page cannot show (scripts, widget views), so that the next best form is chosen."""
    if "data" in output:
        output["data"] = {mime: data for mime, data in output["data"].items() if mime in _MIME_PRIORITY}
        if not output["data"]:
            output["data"] = {"text/plain": "(an interactive display, not kept)"}


def _label(cell: Any) -> dict[str, str]:
    facts = cell["metadata"].get("papermill", {})
    status = facts.get("status", "completed")
    tags = [tag for tag in cell["metadata"].get("tags", []) if tag.startswith("ph-") or "parameters" in tag]
    seconds = facts.get("duration")
    words = {
        "completed": f"ran {seconds:.1f} s" if isinstance(seconds, int | float) else "ran",
        "failed": "ended the run",
        "pending": "never ran",
        "running": "was running when the record was last written",
        "skipped": "display for a person, skipped",
    }
    label = f"Code{' (' + ', '.join(tags) + ')' if tags else ''}: {words.get(status, status)}"
    return {"label": label, "kind": "never" if status in ("pending", "failed", "running") else "ran"}


def _title(notebook: Any) -> str:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and cell.get("id") != sheets.SUMMARY_ID:
            for line in cell["source"].splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return ""


def _drop_title(notebook: Any, title: str) -> None:
    """The banner shows the title already."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and cell["source"].startswith(f"# {title}\n"):
            cell["source"] = cell["source"].removeprefix(f"# {title}\n").lstrip()
            return


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


def _row(entry: Entry, entries: list[Entry], records_dir: Path, page_dir: Path) -> dict[str, Any]:
    started, ended = _moment(entry.started_at), _moment(entry.ended_at)
    page = page_dir / f"{Path(entry.record).stem}.html" if entry.record else None
    record = records_dir / entry.record if entry.record else None
    return {
        "run_id": entry.run_id,
        "notebook": entry.notebook,
        "result": entry.result,
        "ok": entry.result in (sheets.SUCCEEDED, sheets.NOTHING_TO_DO),
        # a runbook's detail repeats that of its last notebook, which is listed below it
        "detail": "" if any(other.parent_id == entry.run_id for other in entries) else entry.detail,
        "child": entry.parent_id is not None,
        "started": _clock(started).removesuffix(" UTC"),
        "took": _took(started, ended),
        "operator": entry.operator,
        "page": quote(page.name) if page is not None and page.exists() else "",
        "record": quote(os.path.relpath(record, page_dir)) if record is not None and record.exists() else "",
    }


def _summary(entries: list[Entry]) -> str:
    counts = {result: sum(1 for entry in entries if entry.result == result) for result in sheets.RESULTS}
    listed = ", ".join(f"{number} {result}" for result, number in counts.items() if number)
    return f"{len(entries)} runs: {listed}." if entries else "No run has ended yet."


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _took(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return ""
    seconds = max(int((end - start).total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}… ({len(text)} characters)"


def _templates() -> Path:
    return Path(str(resources.files("pumphouse.records") / "templates"))


def _css() -> str:
    return (_templates() / "style.css").read_text(encoding="utf-8")


def _write(out: Path, text: str) -> None:
    try:
        write_atomic(out, text)
    except OSError as error:
        raise RunbookError(
            f"Page {out} cannot be written: {error.strerror or error}.", remedy="choose another folder with --out."
        ) from error
