"""Which servers: chosen once, written down canonically, never guessed.

A :class:`Selection` is the sorted ids of servers with the words that chose them. It is never empty, and
nothing asked for is never "everything". Papermill gets the file and its digest, not the ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pumphouse.errors import SelectionError
from pumphouse.fileio import write_named
from pumphouse.inventory import codec
from pumphouse.inventory.query import matching
from pumphouse.near import did_you_mean
from pumphouse.serving import ProbeSpec

SCHEMA_VERSION = 1
KIND = "pumphouse-selection"

_NEEDED = ("name", "project_id", "project_name", "host")


@dataclass(frozen=True)
class Choice:
    """What was asked for: the union of the four lists, filtered by ``query`` (alone: a query over all servers).

    Lists are kept sorted, without repeats. Falsy when nothing was asked for.

    :raises SelectionError: a list is none (a bare string, say), or holds something empty or no text.
    """

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    query: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "query":
                words = sorted(set(_words(item.name, getattr(self, item.name))))
                object.__setattr__(self, item.name, tuple(words))
        if not isinstance(self.query, str):
            raise SelectionError(
                f"The selection's query is a {type(self.query).__name__}, not text.",
                remedy="write it as a string, e.g. query='status == \"ACTIVE\" and ram_mib <= 2048'.",
            )
        object.__setattr__(self, "query", self.query.strip())

    @classmethod
    def of(cls, **asked: Any) -> Choice:
        """A choice from any sequences, as notebook parameters hold them.

        :raises SelectionError: also when a key is none of names, ids, hosts, projects and query.
        """
        known = [item.name for item in fields(cls)]
        if unknown := [key for key in asked if key not in known]:
            raise SelectionError(
                f"Servers cannot be chosen by {', '.join(map(str, unknown))}.", remedy=f"use {', '.join(known)}."
            )
        return cls(**asked)

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) for item in fields(self))

    def __str__(self) -> str:
        asked = [
            f"{item.name}: {', '.join(getattr(self, item.name))}"
            for item in fields(self)
            if item.name != "query" and getattr(self, item.name)
        ]
        return "; ".join(asked + ([f"query: {self.query}"] if self.query else [])) or "nothing"


@dataclass(frozen=True)
class Selection:
    """The chosen servers: sorted ids without repeats, at least one, and what chose them.

    ``probe``: how all of them are to be asked whether they serve (``none``, ``ping``, ``tcp:22``,
    ``http:80/health``), whatever ``site.yaml`` says; empty: as it says.

    :raises SelectionError: no id, an id that is not text, or a probe that is none.
    """

    server_ids: tuple[str, ...]
    chosen_by: Choice
    probe: str = ""

    def __post_init__(self) -> None:
        ids = tuple(sorted(set(_words("server_ids", self.server_ids))))
        if not ids:
            raise SelectionError(
                f"No server is selected (asked for {self.chosen_by}).",
                remedy="name at least one server; an empty selection never means everything.",
            )
        object.__setattr__(self, "server_ids", ids)
        if self.probe != "":
            check_probe(self.probe)

    @property
    def probe_spec(self) -> ProbeSpec | None:
        """The probe of all its servers; None: as ``site.yaml`` says."""
        return ProbeSpec.parse(self.probe) if self.probe else None

    def __len__(self) -> int:
        return len(self.server_ids)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical JSON of the sorted ids and the probe, not of how they were chosen."""
        chosen = {"probe": self.probe, "server_ids": self.server_ids} if self.probe else self.server_ids
        canonical = json.dumps(chosen, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def rows(self, servers: pd.DataFrame) -> pd.DataFrame:
        """The selected rows of a servers table, in the selection's order.

        :raises SelectionError: the table lacks some of the servers (deleted since, or another cloud's table).
        """
        missing = [server_id for server_id in self.server_ids if server_id not in servers.index]
        if missing:
            raise SelectionError(
                f"{len(missing)} of {len(self)} selected servers do not exist in this cloud: {_some(missing)}.",
                remedy="check that the selection was made from this cloud, or select again.",
            )
        return servers.loc[list(self.server_ids)]

    def save(self, path: str | Path) -> Path:
        """Write the canonical file, atomically; the same selection gives the same bytes."""
        file = Path(path)
        document = {
            "kind": KIND,
            "schema": SCHEMA_VERSION,
            "server_ids": list(self.server_ids),
            "chosen_by": codec.encode(self.chosen_by),
            "digest": self.digest,
        }
        if self.probe:
            document["probe"] = self.probe
        return write_named(file, codec.dump_json(document), "Selection file", SelectionError)

    @classmethod
    def load(cls, path: str | Path, *, digest: str = "") -> Selection:
        """Read a file that :meth:`save` wrote.

        :param digest: when given, the digest that the file must have (e.g. a papermill parameter).
        :raises SelectionError: the file is missing, malformed, edited by hand, or not the expected one.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise SelectionError(
                f"Selection file {file} cannot be read: {error.strerror}.",
                remedy="check the path; a selection is written by Selection.save().",
            ) from error
        except UnicodeDecodeError as error:
            raise SelectionError(f"Selection file {file} is not text.", remedy="select and save again.") from error
        try:
            document = codec.open_document(text, kind=KIND, schema=SCHEMA_VERSION)
            stored = codec.decode(_Stored, {"probe": "", **document}, "file")
            selection = cls(stored.server_ids, stored.chosen_by, stored.probe)
        except (ValueError, SelectionError) as error:
            raise SelectionError(
                f"Selection file {file} cannot be used: {getattr(error, 'message', error)}",
                remedy="select and save again.",
            ) from error
        if selection.digest != stored.digest or selection.server_ids != stored.server_ids:
            raise SelectionError(
                f"Selection file {file}: its ids do not match its digest, so it was changed after it was written.",
                remedy="select and save again; don't edit the file by hand.",
            )
        if digest and digest != selection.digest:
            raise SelectionError(
                f"Selection file {file} has digest {selection.digest[:12]}…, and {digest[:12]}… was expected.",
                remedy="pass the file that belongs to that digest, or the digest of this file.",
            )
        return selection


@dataclass(frozen=True)
class _Stored:
    server_ids: tuple[str, ...]
    chosen_by: Choice
    digest: str
    probe: str


def select_servers(
    servers: pd.DataFrame,
    *,
    names: Sequence[str] = (),
    ids: Sequence[str] = (),
    hosts: Sequence[str] = (),
    projects: Sequence[str] = (),
    query: str = "",
    probe: str = "",
) -> Selection:
    """Choose servers from a servers table (``Inventory.servers`` or a part of it).

    Takes the union of what ``names``, ``ids``, ``hosts`` and ``projects`` (names or ids) ask for; ``query``
    then keeps the rows for which it is true. A query alone chooses from all rows.

    :param query: a pandas query over the table's columns and ``server_id``: comparisons, ``in``, ``and``,
        ``or``, ``not``, arithmetic and ``column.str.contains(...)`` and its like; nothing else can run. As in
        pandas a missing text equals nothing, so ``host != "node-1"`` holds for a server without host; any
        other condition on a missing value is not true.
    :param probe: see :class:`Selection`.
    :raises SelectionError: nothing was asked for, nothing is left, a name is unknown or ambiguous, or the
        query is not one.
    """
    chosen = choose(servers, Choice.of(names=names, ids=ids, hosts=hosts, projects=projects, query=query))
    return replace(chosen, probe=probe)


def check_probe(probe: str) -> None:
    """:raises SelectionError: when that is no probe that a selection can bring."""
    try:
        ProbeSpec.parse(probe)
    except (ValueError, AttributeError) as error:
        raise SelectionError(
            "The selection's probe is none: a probe is `none`, `ping`, `tcp:PORT` or `http:PORT/PATH`.",
            remedy="correct it, or leave it out; commands are named by rules in site.yaml only.",
        ) from error


def choose(servers: pd.DataFrame, choice: Choice) -> Selection:
    """:func:`select_servers` with the question as one object."""
    check_table(servers)
    if not choice:
        raise SelectionError(
            "Nothing was selected: names, ids, hosts, projects and query are all empty.",
            remedy="give at least one; to take all servers of a project, name the project.",
        )
    if choice.names or choice.ids or choice.hosts or choice.projects:
        chosen = {
            *_by_name(servers, choice.names),
            *_by_value(servers, servers.index.to_series(), choice.ids, "server id"),
            *_by_value(servers, servers["host"], choice.hosts, "host"),
            *_by_project(servers, choice.projects),
        }
        found = servers.loc[servers.index.isin(chosen)]
    else:
        found = servers
    if choice.query:
        found = found.loc[matching(found, choice.query)]
    if found.empty:
        raise SelectionError(
            f"No server matches {choice}.",
            remedy="widen the query or check its values against the servers table."
            if choice.query
            else "check the lists against the servers table.",
        )
    return Selection(tuple(str(server_id) for server_id in found.index), choice)


def check_table(servers: pd.DataFrame, columns: Sequence[str] = _NEEDED) -> None:
    """Refuse what is not a servers table, or lacks ``columns``.

    :raises SelectionError: naming what is missing.
    """
    missing = [column for column in columns if column not in servers.columns]
    if missing or servers.index.name != "server_id" or not servers.index.is_unique:
        raise SelectionError(
            "This is not a servers table: it must be indexed by unique server_id"
            + (f" and lacks {', '.join(missing)}." if missing else "."),
            remedy="pass Inventory.servers or some of its rows.",
        )


def _words(what: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SelectionError(
            f"{what} must be a list of texts, and is a {type(values).__name__}.",
            remedy=f"write {what}=['...'], also for a single one.",
        )
    words = tuple(values)
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise SelectionError(
                f"{what} holds a value that is empty or no text: {word!r}.", remedy=f"remove it from {what}."
            )
    return words


def _by_name(servers: pd.DataFrame, names: Sequence[str]) -> list[str]:
    chosen = _by_value(servers, servers["name"], names, "server")
    twice = {
        name: [str(server_id) for server_id in servers.index[(servers["name"] == name).fillna(value=False)]]
        for name in dict.fromkeys(names)
    }
    ambiguous = [f"'{name}' ({', '.join(ids)})" for name, ids in twice.items() if len(ids) > 1]
    if ambiguous:
        raise SelectionError(
            f"Several servers have the same name: {'; '.join(ambiguous)}.",
            remedy="choose them by id: ids=[...].",
        )
    return chosen


def _by_project(servers: pd.DataFrame, projects: Sequence[str]) -> list[str]:
    names = servers["project_name"]
    for project in projects:
        owners = sorted(map(str, servers["project_id"][(names == project).fillna(value=False)].unique()))
        if len(owners) > 1:
            raise SelectionError(
                f"Several projects are named '{project}': {', '.join(owners)}.",
                remedy="give the project's id instead.",
            )
    by_id = [project for project in projects if (servers["project_id"] == project).fillna(value=False).any()]
    by_name = [project for project in projects if project not in by_id]
    return _by_value(servers, servers["project_id"], by_id, "project") + _by_value(
        servers, names, by_name, "project with servers"
    )


def _by_value(servers: pd.DataFrame, column: pd.Series[Any], values: Sequence[str], what: str) -> list[str]:
    known = {str(value) for value in column.dropna()}
    unknown = [value for value in dict.fromkeys(values) if value not in known]
    if unknown:
        lines = [f"'{value}'{did_you_mean(value, sorted(known))}" for value in unknown[:10]]
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise SelectionError(
            f"The servers table knows no {what} {', '.join(lines)}{more}.",
            remedy="correct the spelling (case counts), or look the values up in the servers table.",
        )
    return [str(server_id) for server_id in servers.index[column.isin(list(values)).to_numpy()]]


def _some(values: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(values[:limit]) + more
