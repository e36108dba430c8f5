"""The manifest: one line for every run, failed, refused and aborted ones too, each bound to the one before it.

A line carries its number, the SHA-256 of the line before it and that of the run's envelope (:mod:`.envelope`), which in
turn names every file of the run and repeats the line. So no line can be changed, moved or left out without breaking
the chain, and with signatures nobody but the key's owner can make another chain. The end of the chain can be cut off
all the same: that shows only against a head that was written down elsewhere (:mod:`.anchor`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pumphouse.records.envelope import sha256

SCHEMA_VERSION = 2
MANIFEST_NAME = "MANIFEST.jsonl"
_MAY_BE_NONE = {"record", "sha256", "parent_id", "torn"}
FIRST = "0" * 64
"""What the first line gives as the line before it."""


@dataclass(frozen=True)
class Entry:
    """One line of the manifest.

    ``number`` counts from 1; ``previous`` is the SHA-256 of the line before. ``record`` is the executed notebook's file
    name and ``sha256`` its digest; a runbook and a run whose record was withheld have none. ``envelope`` names the
    signed statement. ``torn`` acknowledges half lines before this one that a crash
    left (their SHA-256).
    """

    run_id: str
    notebook: str
    result: str
    started_at: str
    ended_at: str
    operator: str = ""
    detail: str = ""
    change: str = ""
    projects: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    record: str | None = None
    sha256: str | None = None
    parent_id: str | None = None
    number: int = 1
    previous: str = FIRST
    torn: str | None = None
    envelope: str = ""
    envelope_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """The line as a mapping, schema number first."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"schema": SCHEMA_VERSION, **facts, "projects": list(self.projects), "plans": list(self.plans)}

    def to_line(self) -> bytes:
        """The line's bytes, without a line feed."""
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True).encode()

    def stated(self) -> dict[str, Any]:
        """What the signed statement repeats: all but the envelope's own digest."""
        facts = self.to_json()
        del facts["envelope_sha256"]
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Entry:
        """Read :meth:`to_json` back.

        :raises ValueError: when it is no line of this schema.
        """
        try:
            given = dict(facts)
            if given.pop("schema") != SCHEMA_VERSION:
                raise ValueError("a line of another schema")
            given["projects"], given["plans"] = tuple(given["projects"]), tuple(given["plans"])
            entry = cls(**given)
            texts = {name: value for name, value in vars(entry).items() if name not in ("number", "projects", "plans")}
            missing = {name for name, value in texts.items() if value is None}
            whole = (
                type(entry.number) is int
                and missing <= _MAY_BE_NONE
                and all(isinstance(texts[name], str) for name in texts.keys() - missing)
                and all(isinstance(text, str) for text in (*entry.projects, *entry.plans))
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no line of a manifest: {error!r}") from error
        if not whole:
            raise ValueError("no line of a manifest: a field of another type")
        return entry

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Read a line.

        :raises ValueError: when it cannot be read, or was written in another form than ours.
        """
        try:
            entry = cls.from_json(json.loads(line))
        except RecursionError as error:
            raise ValueError("a line of endless brackets") from error
        if entry.to_line() != line:
            raise ValueError("a line that was written by something else")
        return entry


@dataclass(frozen=True)
class Head:
    """The chain's end: number and SHA-256 of its last line; ``torn`` of half lines after it, if any."""

    number: int = 0
    digest: str = FIRST
    torn: str | None = None

    def __str__(self) -> str:
        return f"run {self.number}, head sha256:{self.digest}"


def split_lines(text: bytes) -> list[bytes]:
    """A manifest's lines. A line feed and nothing else ends one: a byte that was changed between them must show."""
    lines = text.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def read_entries(lines: Iterable[bytes]) -> list[Entry]:
    """All lines that can be read; what is wrong with the others is :mod:`.verify`'s to say."""
    found = []
    for line in lines:
        try:
            found.append(Entry.from_line(line))
        except ValueError:
            continue
    return found


def head_of(lines: Sequence[bytes]) -> Head:
    """The head of these lines: what the next line has to follow."""
    torn: list[bytes] = []
    for line in reversed(lines):
        try:
            last = Head(Entry.from_line(line).number, sha256(line))
        except ValueError:
            torn.insert(0, line)
        else:
            break
    else:
        last = Head()
    return replace(last, torn=torn_digest(torn)) if torn else last


def torn_digest(lines: Iterable[bytes]) -> str:
    """What ``torn`` says of half lines: the SHA-256 of them all."""
    return sha256(b"\n".join(lines))
