"""The page of a record.

A page is one file. Its content security policy forbids scripts and any request, so it looks the same offline, in a
year, and for a reader who must not be tracked; prose and outputs come first, code is folded away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic
from pumphouse.records import sheet as sheets

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
#: Links among templates lead nowhere beside a page: its neighbours are records, under other names.
_NOTEBOOK_LINK = re.compile(r'<a href="(?![a-z]+:)[^"]*\.ipynb[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
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
        data = record.read_bytes()
    except OSError as error:
        raise _unreadable(record.name, error) from error
    write_page(out, record_page(record.name, data))
    return out


def record_page(name: str, data: bytes) -> str:
    """The page of a record.

    :raises RunbookError: when the record is no notebook.
    """
    try:
        notebook = nbformat.reads(data.decode("utf-8"), as_version=4)
    except (ValueError, nbformat.ValidationError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(name, error) from error
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            _keep_shown(output)
    facts = notebook["metadata"].get("pumphouse", {})
    page = _page(notebook, facts, name) | {"sha256": hashlib.sha256(data).hexdigest()}
    _drop_title(notebook, page["title"])
    from nbconvert import HTMLExporter  # most commands make no page, and none shall wait for it

    exporter = HTMLExporter(
        template_name="record",
        extra_template_basedirs=[str(templates())],
        exclude_anchor_links=True,
    )
    exporter.register_filter("inert", lambda text: _ACTIVE.sub("&lt;", text))
    exporter.config.NbConvertBase.display_data_priority = _MIME_PRIORITY
    exporter.display_data_priority = _MIME_PRIORITY
    body, _ = exporter.from_notebook_node(notebook, resources={"pumphouse": page})
    return _NOTEBOOK_LINK.sub(r"\1", str(body))


def _page(notebook: Any, facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    result = facts.get("result", "unknown")
    given = facts.get("parameters", {})
    explained = " ".join(filter(None, (sheets.explain(result), facts.get("detail", ""))))
    return {
        "policy": POLICY,
        "css": style(),
        "title": _title(notebook) or name,
        "result": result,
        "explained": explained,
        "facts": [(key, value) for key, value in facts.get("facts", ()) if value],
        "parameters": [(key, _value(value)) for key, value in given.items() if not sheets.is_empty(value)],
        "left_empty": [key for key, value in given.items() if sheets.is_empty(value)],
        "summary": _rest_of_summary(notebook),
        "hidden": {sheets.SUMMARY_ID},
        "cells": {cell.get("id"): _label(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"},
        "run_id": facts.get("run_id", "unknown"),
        "name": name,
    }


def _rest_of_summary(notebook: Any) -> str:
    """The summary cell without what the banner and the facts show: deviations and the servers' table."""
    for cell in notebook["cells"]:
        if cell.get("id") == sheets.SUMMARY_ID:
            blocks = str(cell["source"]).split("\n\n")
            kept = [
                block for block in blocks if not block.startswith(("# Result", "| | |", "| Parameter", "Left empty"))
            ]
            return "\n\n".join(kept[1:])
    return ""


def _unreadable(name: str, error: Exception) -> RunbookError:
    return RunbookError(
        f"Record {name} cannot be read: {' '.join(str(error).split())[:200]}.", remedy="name a record (*.ipynb)."
    )


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


def moment(text: Any) -> datetime | None:
    """A time of ISO 8601, or None."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def clock(at: datetime | None) -> str:
    """A time for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def took(start: datetime | None, end: datetime | None) -> str:
    """How long something took, for people."""
    if start is None or end is None:
        return ""
    seconds = max(int((end - start).total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}… ({len(text)} characters)"


def templates() -> Path:
    """Folder of the pages' templates."""
    return Path(str(resources.files("pumphouse.records") / "templates"))


def style() -> str:
    """The style sheet of all pages."""
    return (templates() / "style.css").read_text(encoding="utf-8")


def write_page(out: Path, text: str) -> None:
    """Write a page atomically.

    :raises RunbookError: when it cannot be written.
    """
    try:
        write_atomic(out, text)
    except OSError as error:
        raise RunbookError(
            f"Page {out} cannot be written: {error.strerror or error}.", remedy="choose another folder with --out."
        ) from error
