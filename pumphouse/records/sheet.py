"""The cover sheet of a record: what an auditor wants to know first, as metadata and as a cell on top."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.records.summary import SHOWN, plain_cell, server_table, step_table, story_facts

SCHEMA_VERSION = 1
SUMMARY_ID = "ph-summary"
"""Cell id and tag of the summary cell; a template cannot carry that tag."""

APPENDIX_ID = "ph-appendix"
"""Cell id and tag of the table of steps at a record's end."""

SUCCEEDED, NOTHING_TO_DO, FAILED = "succeeded", "nothing-to-do", "failed"
REFUSED, ABORTED, INTERRUPTED, RUNNING = "refused", "aborted", "interrupted", "running"
RESULTS = (SUCCEEDED, NOTHING_TO_DO, FAILED, REFUSED, ABORTED, INTERRUPTED)

_EXPLAINED = {
    SUCCEEDED: "The run came to its end and nothing failed.",
    NOTHING_TO_DO: "Everything was in place already; nothing was changed.",
    FAILED: "Something did not work. What was done before it stays journalled.",
    REFUSED: "A check or a missing approval stopped the run before it went on to act.",
    ABORTED: "A person stopped the run. What was done before stays journalled.",
    INTERRUPTED: "The run was cut off. The journal knows how far it came.",
    RUNNING: "The run has not ended, or its end was never written down.",
}
_VERSIONED = ("pumphouse", "openstacksdk", "papermill")


@dataclass(frozen=True)
class Template:
    """Which notebook was run: path (relative to its git repository, else its name), SHA-256, commit, dirty flag."""

    path: str
    sha256: str
    commit: str | None = None
    dirty: bool | None = None

    @classmethod
    def of(cls, file: Path, content: bytes | None = None) -> Template:
        """Describe a template file (read only; runs ``git`` if the file lies in a repository)."""
        digest = hashlib.sha256(file.read_bytes() if content is None else content).hexdigest()
        top = _git(file, "rev-parse", "--show-toplevel")
        if top is None:
            return cls(file.name, digest)
        commit = _git(file, "rev-parse", "--verify", "HEAD")
        changed = _git(file, "status", "--porcelain", "--untracked-files=no")
        untracked = _git(file, "ls-files", "--error-unmatch", "--", file.name) is None
        return cls(_below(file, Path(top)), digest, commit, bool(changed) or untracked or commit is None)


@dataclass(frozen=True)
class Sheet:
    """What is known about a run. Frozen: its end is another sheet, made by :meth:`ended`.

    ``story`` is what the journal tells of it (:func:`pumphouse.session.story.tell_story`), filled in at the end.
    """

    run_id: str
    template: Template
    operator: str
    started_at: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    site: str = ""
    clouds: str = ""
    parent_id: str | None = None
    result: str = RUNNING
    detail: str = ""
    ended_at: datetime | None = None
    story: Mapping[str, Any] = field(default_factory=dict)

    def ended(self, result: str, detail: str = "", *, at: datetime | None = None) -> Sheet:
        """The sheet of the run that has ended like that."""
        return replace(self, result=result, detail=detail, ended_at=at or datetime.now(UTC))

    def to_metadata(self) -> dict[str, Any]:
        """``metadata.pumphouse`` of the record."""
        return {
            "schema": SCHEMA_VERSION,
            "run_id": self.run_id,
            "parent_id": self.parent_id,
            "result": self.result,
            "detail": self.detail,
            "started_at": stamp(self.started_at),
            "ended_at": stamp(self.ended_at),
            "operator": self.operator,
            "site": self.site,
            "clouds": self.clouds,
            "template": {
                "path": self.template.path,
                "sha256": self.template.sha256,
                "commit": self.template.commit,
                "dirty": self.template.dirty,
            },
            "versions": versions(),
            "parameters": dict(self.parameters),
            "facts": [[name, text] for name, text in self.facts()],
        }

    def facts(self) -> list[tuple[str, str]]:
        """What an auditor asks first, as names and plain text, in the order in which it is asked."""
        found = [(name, text) for name, text in story_facts(self) if text]
        return [*found, ("With", ", ".join(f"{name} {number}" for name, number in versions().items()))]

    def to_markdown(self) -> str:
        """The summary cell: result first, then who asked and approved, what was done where, the way back."""
        lines = [f"# Result: {self.result}", "", self.detail_text(), "", "| | |", "|---|---|"]
        lines += [f"| **{name}** | {plain_cell(text)} |" for name, text in self.facts()]
        deviations = self.story.get("deviations") or []
        if deviations:
            lines += ["", "**Deviations**", ""]
            lines += [f"- {plain_cell(text)}" for text in deviations[:SHOWN]]
            lines += [f"- … and {len(deviations) - SHOWN} more in `summary.json`"] if len(deviations) > SHOWN else []
        lines += server_table(self.story)
        given = {name: value for name, value in self.parameters.items() if not is_empty(value)}
        if given:
            lines += ["", "| Parameter | Value |", "|---|---|"]
            lines += [f"| `{name}` | {_value(value)} |" for name, value in given.items()]
        if len(given) < len(self.parameters):
            left = ", ".join(f"`{name}`" for name in self.parameters if name not in given)
            lines += ["", f"Left empty: {left}"]
        return "\n".join(lines) + "\n"

    def detail_text(self) -> str:
        """The result in a sentence or two."""
        return explain(self.result) + (f" {plain_cell(self.detail)}" if self.detail else "")


def is_empty(value: Any) -> bool:
    """Whether a parameter's value says nothing: an empty text, list or mapping, or None. 0 and False say something."""
    return value is None or value in ("", [], {})


def explain(result: str) -> str:
    """What a result means, in a sentence."""
    return _EXPLAINED.get(result, "")


def summary_cell(sheet: Sheet) -> Any:
    """A markdown cell for the top of the record; its id is fixed, so that two records can be compared."""
    cell = nbformat.v4.new_markdown_cell(sheet.to_markdown(), metadata={"tags": [SUMMARY_ID]})
    cell["id"] = SUMMARY_ID
    return cell


def write_sheet(notebook: Any, sheet: Sheet) -> None:
    """Put the sheet into a notebook in memory: metadata, and the summary cell on top (added or replaced)."""
    notebook["metadata"]["pumphouse"] = nbformat.from_dict(sheet.to_metadata())
    top = notebook["cells"][0] if notebook["cells"] else None
    if top is not None and top.get("id") == SUMMARY_ID:
        top["source"] = sheet.to_markdown()
    else:
        notebook["cells"].insert(0, summary_cell(sheet))


def write_appendix(notebook: Any, sheet: Sheet) -> None:
    """Put the table of steps at the notebook's end (replaced if it is there)."""
    text = step_table(sheet.story)
    cells = notebook["cells"]
    if cells and cells[-1].get("id") == APPENDIX_ID:
        cells.pop()
    if text:
        cell = nbformat.v4.new_markdown_cell(text, metadata={"tags": [APPENDIX_ID]})
        cell["id"] = APPENDIX_ID
        cells.append(cell)


def current_operator() -> str:
    """Who runs this: ``PUMPHOUSE_OPERATOR``, else the account's name."""
    named = os.environ.get("PUMPHOUSE_OPERATOR", "").strip()
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user id without a name
        return f"uid {os.getuid()}"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that matter to a run."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def stamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with seconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _git(file: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 (fixed program, arguments of our own)
            command, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _below(file: Path, folder: Path) -> str:
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return file.name


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > 200:
        text = f"{text[:200]}… ({len(text)} characters)"
    return plain_cell(text)
