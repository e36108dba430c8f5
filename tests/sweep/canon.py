"""The same state, whatever ids and times it was made with: two worlds that differ in nothing else look equal here.

Ids that were there at the start keep their name. An id made since is named after the records that mention it, which are
named after the ids that they mention, and so on (the refinement by which graphs are compared).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_ID = re.compile(r"(?<![0-9a-f-])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f-])")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?")
_MAC = re.compile(r"fa:16:3e(?::[0-9a-f]{2}){3}")
_SUM = re.compile(r'"checksum": "([0-9a-f]{16})([0-9a-f]{16})"')
_SET = re.compile(r'\["[<>?0-9a-z-]{1,36}"(?:, "[<>?0-9a-z-]{1,36}")+\]')
_ROUNDS = 4
_NAMED = "ids of "

Records = list[tuple[str, Any]]


def normal(records: Iterable[tuple[str, Any]], *, known: frozenset[str], macs: frozenset[str]) -> dict[str, list[str]]:
    """Table by table, each record as a line without generated ids and times, sorted.

    Each table is there twice: with all generated ids alike, and with their names.

    :param known: ids that stay as they are.
    :param macs: so do these.
    """
    lines = [(table, _line(record, macs)) for table, record in records]
    made = sorted({i for _, line in lines for i in _ID.findall(line)} - known)
    where: dict[str, list[int]] = {i: [] for i in made}
    for number, (_, line) in enumerate(lines):
        for i in {*_ID.findall(line)} & where.keys():
            where[i].append(number)
    labels = dict.fromkeys(made, "?")
    for _ in range(_ROUNDS):
        labels = {i: _label([(lines[n][0], lines[n][1]) for n in where[i]], i, labels) for i in made}
    found: dict[str, list[str]] = {}
    for table, line in lines:
        found.setdefault(table, []).append(_ID.sub(lambda match: "ID" if match[0] in labels else match[0], line))
        found.setdefault(_NAMED + table, []).append(_named(line, labels))
    return {table: sorted(rows) for table, rows in sorted(found.items())}


def differences(want: Mapping[str, list[str]], have: Mapping[str, list[str]]) -> list[str]:
    """What one normal form has and the other has not; nothing when they are equal.

    Only where nothing else differs, the names of ids are looked at: one difference renames whatever hangs on it.
    """
    return _differences(want, have, named=False) or _differences(want, have, named=True)


def _differences(want: Mapping[str, list[str]], have: Mapping[str, list[str]], *, named: bool) -> list[str]:
    told = []
    for table in sorted(table for table in {*want, *have} if table.startswith(_NAMED) == named):
        left, right = list(want.get(table, [])), list(have.get(table, []))
        for line in list(left):
            if line in right:
                left.remove(line)
                right.remove(line)
        told += [f"missing in {table}: {line}" for line in left] + [f"too much in {table}: {line}" for line in right]
    return told


def ids_in(data: Any) -> frozenset[str]:
    """All ids in some plain data."""
    return frozenset(_ID.findall(json.dumps(data)))


def macs_in(data: Any) -> frozenset[str]:
    """All MACs in some plain data."""
    return frozenset(_MAC.findall(json.dumps(data)))


def _line(record: Any, macs: frozenset[str]) -> str:
    line = _TIME.sub("TIME", json.dumps(record, sort_keys=True))
    line = _SUM.sub(r'"checksum": "\1.\2"', line)  # an MD5 looks like an id
    return _MAC.sub(lambda match: match[0] if match[0] in macs else "MAC", line)


def _named(line: str, labels: Mapping[str, str]) -> str:
    return _unordered(_ID.sub(lambda match: labels.get(match[0], match[0]), line))


def _unordered(line: str) -> str:
    """Services list ids in the order of the ids, which are another time others: lists of words are sorted by names."""
    return _SET.sub(lambda match: json.dumps(sorted(json.loads(match[0]))), line)


def _label(mentions: list[tuple[str, str]], own: str, labels: Mapping[str, str]) -> str:
    def name(match: re.Match[str]) -> str:
        return "self" if match[0] == own else labels.get(match[0], match[0])

    text = json.dumps(sorted((table, _unordered(_ID.sub(name, line))) for table, line in mentions))
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:16]}>"
