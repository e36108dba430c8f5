"""Where records are written: papermill's ``record://`` scheme.

papermill saves a notebook with a plain ``open(path, "w")`` after every cell. Here each save is redacted, goes
to a temporary file in the same folder, is flushed to the disk and renamed, so that at any moment the path holds
a whole record without secrets, or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic, write_atomic_bytes
from pumphouse.records.redact import Redactor
from pumphouse.records.secrets import collect_names, collect_secrets

SCHEME = "record://"
LONG_OUTPUT_CHARS = 32 * 1024
"""What a cell prints beyond that goes to a side file."""
_SHOWN_CHARS = 4 * 1024
_SHOWN_ROWS = 100
_TABLE_BODY = re.compile(r"(?P<head><tbody[^>]*>)(?P<rows>.*?)</tbody>", re.DOTALL)
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class WritePolicy:
    """What applies to every write of one record.

    :param redactor: takes the secrets out.
    :param aliases: absolute folders and what a record says instead; records name no path of this machine.
    """

    redactor: Redactor
    aliases: Mapping[str, str] = field(default_factory=dict)


class _Policies:
    """The policies of the records that this process has open.

    papermill gives a handler nothing but a path, so what belongs to a path has to be looked up somewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, WritePolicy] = {}

    def add(self, file: Path, policy: WritePolicy) -> None:
        with self._lock:
            self._open[file] = policy

    def remove(self, file: Path) -> None:
        with self._lock:
            self._open.pop(file, None)

    def get(self, file: Path) -> WritePolicy | None:
        with self._lock:
            return self._open.get(file)


_policies = _Policies()


@contextlib.contextmanager
def open_record(file: Path, policy: WritePolicy) -> Iterator[str]:
    """Have ``policy`` applied to every write of ``file``; yields the ``record://`` path to give to papermill."""
    resolved = file.absolute()
    _policies.add(resolved, policy)
    try:
        # papermill treats an output path as a format string
        yield SCHEME + str(resolved).replace("{", "{{").replace("}", "}}")
    finally:
        _policies.remove(resolved)


def default_policy(site: Any = None) -> WritePolicy:
    """Redaction of all that the site (None: this account) is known to hold, and of this machine's paths."""
    folder = site.path.parent if site is not None else None
    return WritePolicy(site_redactor(site), path_aliases(folder))


def site_redactor(site: Any = None) -> Redactor:
    """A redactor of all that the site (None: this account) is known to hold, which leaves its names alone."""
    return Redactor(lambda: collect_secrets(site), lambda: collect_names(site))


def path_aliases(site_dir: Path | None = None) -> dict[str, str]:
    """Folders of this machine and what a record calls them; the longest match wins."""
    library = Path(__file__).resolve().parents[2]
    aliases = {
        tempfile.gettempdir(): "[tmp]",
        str(Path.home()): "~",
        sys.base_prefix: "[python]",
        sys.prefix: "[python]",
        str(library): "[pumphouse]",
    }
    if site_dir is not None:
        aliases[str(site_dir)] = "."
    return {folder: name for folder, name in aliases.items() if len(Path(folder).parts) > 1}


class RecordHandler:
    """papermill's IO handler for ``record://PATH`` (entry point ``papermill.io``)."""

    @classmethod
    def read(cls, path: str) -> str:
        """The record's text."""
        return record_file(path).read_text(encoding="utf-8")

    @classmethod
    def write(cls, buf: str, path: str) -> None:
        """Redact the notebook text and put it in place atomically; the folder is made if need be.

        :raises RunbookError: when the record cannot be written (disk full, no rights).
        """
        file = record_file(path)
        policy = _policies.get(file.absolute()) or default_policy()
        notebook = nbformat.reads(buf, as_version=4)
        clean(notebook, policy, file)
        try:
            move_long_outputs(notebook, file)
            text = nbformat.writes(notebook) + "\n"
            # papermill saves a finished notebook once more: a record that is complete is left alone
            if not (file.exists() and file.read_text(encoding="utf-8") == text):
                write_atomic(file, text)
        except OSError as error:
            raise RunbookError(
                f"Record {file.name} cannot be written to {file.parent}: {error.strerror or error}.",
                remedy="check free space and rights of the records folder (`records` in site.yaml).",
            ) from error

    @classmethod
    def listdir(cls, path: str) -> list[str]:
        """The records of a folder, as ``record://`` paths."""
        return [f"{SCHEME}{file}" for file in sorted(record_file(path).glob("*.ipynb"))]

    @classmethod
    def pretty_path(cls, path: str) -> str:
        """The file's name, for log lines."""
        return record_file(path).name


def move_long_outputs(notebook: Any, file: Path) -> None:
    """Put what a cell printed at length into a side file; head, tail, size and digest stay in the cell."""
    folder = file.with_name(f"{file.stem}.files")
    for cell in notebook["cells"]:
        for number, output in enumerate(cell.get("outputs", [])):
            name = f"output-{cell.get('id', 'cell')}-{number}.txt"
            if output["output_type"] == "stream" and len(output["text"]) > LONG_OUTPUT_CHARS:
                data = _keep(folder / name, output["text"])
                output["text"] = _shortened(output["text"], name, data)
            elif "data" in output:
                _shorten_displays(output["data"], folder, name)


def _shorten_displays(data: Any, folder: Path, name: str) -> None:
    """A table's first rows stay; the whole of it, as text, is kept beside the record."""
    text = data.get("text/plain")
    if not isinstance(text, str) or len(text) <= LONG_OUTPUT_CHARS:
        return
    kept = _keep(folder / name, text)
    data["text/plain"] = _shortened(text, name, kept)
    page = data.get("text/html")
    if isinstance(page, str) and len(page) > LONG_OUTPUT_CHARS:
        note = f"the whole table is in {name}, {len(kept):,} bytes, SHA-256 {hashlib.sha256(kept).hexdigest()}"
        data["text/html"] = _TABLE_BODY.sub(lambda match: _first_rows(match, note), page)


def _first_rows(match: re.Match[str], note: str) -> str:
    rows = match["rows"].split("</tr>")
    left = len(rows) - 1 - _SHOWN_ROWS
    if left <= 0:
        return match[0]
    shown = "</tr>".join(rows[:_SHOWN_ROWS])
    return f'{match["head"]}{shown}</tr><tr><td colspan="99">… and {left:,} more rows: {note}</td></tr></tbody>'


def _keep(side: Path, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    if not (side.exists() and side.read_bytes() == data):
        write_atomic_bytes(side, data)
    return data


def _shortened(text: str, name: str, data: bytes) -> str:
    head, tail = text[:_SHOWN_CHARS], text[-_SHOWN_CHARS:]
    head = head[: head.rfind("\n") + 1] or head
    tail = tail[tail.find("\n") + 1 :] or tail
    lines = text.count("\n") + (not text.endswith("\n"))
    digest = hashlib.sha256(data).hexdigest()
    return f"{head}\n[… {lines:,} lines, {len(data):,} bytes in all: {name}, SHA-256 {digest} …]\n\n{tail}"


def record_file(path: str) -> Path:
    """The file behind a ``record://`` path."""
    return Path(path.removeprefix(SCHEME))


def clean(notebook: Any, policy: WritePolicy, file: Path) -> None:
    """Make a notebook in memory fit for the archive: no secrets, no paths of this machine, no widget state."""
    notebook["metadata"].pop("widgets", None)
    ours = notebook["metadata"].get("pumphouse", {})
    papermill = notebook["metadata"].get("papermill")
    if papermill is not None:
        papermill["output_path"] = file.name
        template = ours.get("template", {}).get("path")
        given = papermill.get("input_path")
        papermill["input_path"] = template or (Path(given).name if isinstance(given, str) else None)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"].pop(_WIDGET_VIEW, None)
    policy.redactor.notebook(notebook)
    hide_paths(notebook, policy.aliases)


def hide_paths(notebook: Any, aliases: Mapping[str, str]) -> None:
    """Replace absolute folders in every text of a notebook by their aliases."""
    for cell in notebook["cells"]:
        for key in ("source", "metadata", "outputs"):
            if key in cell:
                cell[key] = hide_in_value(cell[key], aliases)
    notebook["metadata"] = hide_in_value(notebook["metadata"], aliases)


def hide_in_value(node: Any, aliases: Mapping[str, str]) -> Any:
    """A JSON-like structure with absolute folders replaced (in place where it can be changed); pictures stay."""
    if isinstance(node, str):
        return hide_in_text(node, aliases)
    if isinstance(node, dict):
        for key, value in node.items():
            if not str(key).startswith(("image/", "audio/", "video/")):
                node[key] = hide_in_value(value, aliases)
    elif isinstance(node, list):
        node[:] = [hide_in_value(item, aliases) for item in node]
    return node


def hide_in_text(text: str, aliases: Mapping[str, str]) -> str:
    """The text with absolute folders replaced by their aliases; ``.`` disappears before a file's name."""
    if not any(folder in text for folder in aliases):
        return text
    longest_first = sorted(aliases, key=len, reverse=True)
    pattern = re.compile(
        # not inside another path, unless a traceback's colour code stands before it
        rf"(?P<lead>\x1b\[[0-9;]*m|(?<![\w.~-]))(?P<folder>{'|'.join(map(re.escape, longest_first))})"
        r"(?P<slash>/|(?![\w-]|\.\w))"
    )

    def swap(match: re.Match[str]) -> str:
        name = aliases[match["folder"]]
        return match["lead"] + ("" if name == "." and match["slash"] else name + match["slash"])

    return pattern.sub(swap, text)
