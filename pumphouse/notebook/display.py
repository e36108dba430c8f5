"""What notebooks show: tables, the two clouds, findings. All of it reads only, and renders without a kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import pandas as pd

from pumphouse.inventory import SCHEMAS, InventoryError
from pumphouse.model import CloudFacts
from pumphouse.notebook.html import BAD, BUSY, GOOD, NOTE, OFF, WARN, Cell, Column, Display, Tone, render

MIB = 1 << 20

_UNITS = {"_mib": "MiB", "_gib": "GiB", "_bytes": "MiB", "_at": "UTC", "_s": "s"}
_WORDS = {
    "vcpus": "vCPUs",
    "ram": "RAM",
    "id": "id",
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "mac": "MAC",
    "dns": "DNS",
    "dhcp": "DHCP",
    "url": "URL",
}
_TONES: dict[str, Tone] = {
    **dict.fromkeys(("active", "up", "enabled", "succeeded", "done", "verified"), GOOD),
    **dict.fromkeys(("shutoff", "disabled", "stopped", "queued", "deactivated", "paused", "suspended", "shelved"), OFF),
    **dict.fromkeys(("shelved_offloaded", "pending", "skipped"), OFF),
    **dict.fromkeys(("error", "down", "killed", "crashed", "failed", "deleted", "unknown"), BAD),
}
_SEVERITIES: dict[str, tuple[int, Tone]] = {"block": (1, BAD), "warn": (2, WARN), "info": (3, NOTE)}


class FindingLike(Protocol):
    """What :func:`show_findings` needs of a finding."""

    @property
    def severity(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def object(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def remedy(self) -> str: ...


def show(
    table: pd.DataFrame, *, rows: int = 20, columns: str | Sequence[str] | None = None, title: str | None = None
) -> Display:
    """A table for people: units in the headings, words beside colours, no row numbers.

    :param rows: at most so many; the rest is counted below.
    :param columns: names (the index's too); ``"all"``; by default the essential ones of an inventory
        table, and all of any other.
    :param title: by default the inventory table's name and its number of rows.
    :raises InventoryError: a column does not exist.
    """
    names = _columns(table, columns)
    head = table.head(rows)
    values = [head.index if name == table.index.name else head[name] for name in names]
    numeric = [pd.api.types.is_numeric_dtype(v.dtype) and not pd.api.types.is_bool_dtype(v.dtype) for v in values]
    heads = [_heading(name, number) for name, number in zip(names, numeric, strict=True)]
    cells = [[_cell(name, value) for name, value in zip(names, row, strict=True)] for row in zip(*values, strict=True)]
    known = table.attrs.get("table")
    if title is None:
        words = _label(str(known))
        title = f"{words[:1].upper()}{words[1:]} ({len(table):,})" if known in SCHEMAS else ""
    return render(title, heads, cells, _note(table, len(head), names))


def show_facts(source: CloudFacts, destination: CloudFacts | None = None) -> Display:
    """The two clouds side by side, as they described themselves when we connected."""
    clouds = [source] if destination is None else [source, destination]
    lines: list[tuple[str, list[Cell]]] = [
        ("cloud", [Cell(item.cloud, strong=True) for item in clouds]),
        ("authentication URL", [Cell(_without_user(item.auth_url)) for item in clouds]),
        ("region", [Cell(item.region) for item in clouds]),
        ("release", [Cell(item.release) for item in clouds]),
        ("identity API", [Cell(item.identity_api) for item in clouds]),
        ("image API", [Cell(item.image_api) for item in clouds]),
        ("compute API", [Cell(item.compute_api) for item in clouds]),
        ("network service", [Cell(item.network_service) for item in clouds]),
        ("we are", [Cell(f"{item.user_name} in project {item.project_name}") for item in clouds]),
        ("TLS", [Cell(item.tls, GOOD if item.tls_verified else WARN) for item in clouds]),
        ("evidence", [Cell("; ".join(item.evidence) or None) for item in clouds]),
    ]
    names = dict.fromkeys(name for item in clouds for name in item.abilities)
    lines += [(name, [Cell(item.abilities.get(name)) for item in clouds]) for name in names]
    columns = [Column(""), *(Column(item.side) for item in clouds)]
    return render("Clouds", columns, [[Cell(label), *cells] for label, cells in lines])


def show_findings(findings: Iterable[FindingLike]) -> Display:
    """All findings, the blocking ones first; none is ever left out. A severity we don't know counts as blocking."""
    ordered = sorted(findings, key=lambda item: (_severity(item.severity)[0], item.code, item.object))
    counts = Counter(item.severity for item in ordered)
    summary = " · ".join(f"{number} {word}" for word, number in counts.items())
    blocked = any(_severity(item.severity)[0] <= 1 for item in ordered)
    verdict = "✖ blocked" if blocked else "● nothing blocks"
    columns = [
        Column("severity", kind="word"),
        Column("object"),
        Column("finding", kind="prose"),
        Column("remedy", kind="prose"),
        Column("code", kind="id"),
    ]
    rows = [
        [
            Cell(item.severity, _severity(item.severity)[1], strong=True),
            Cell(item.object, strong=True),
            Cell(item.message),
            Cell(item.remedy or None),
            Cell(item.code),
        ]
        for item in ordered
    ]
    return render(f"Findings: {verdict}" + (f" ({summary})" if summary else ""), columns, rows)


def _severity(word: str) -> tuple[int, Tone]:
    return _SEVERITIES.get(word, (0, BAD))


def _columns(table: pd.DataFrame, columns: str | Sequence[str] | None) -> list[str]:
    everything = [str(name) for name in table.columns]
    index = [str(table.index.name)] if table.index.name is not None else []
    schema = SCHEMAS.get(str(table.attrs.get("table")))
    if columns is None:
        # a table with other columns than the schema's was cut by its user: show what they kept
        if schema is not None and set(everything) == set(schema.columns):
            return [name for name in schema.brief if name in everything or name in index]
        return index + everything if schema is None else everything
    if columns == "all":
        return index + everything
    names = [columns] if isinstance(columns, str) else list(columns)
    if unknown := [name for name in names if name not in everything and name not in index]:
        raise InventoryError(
            f"The table has no column {', '.join(map(repr, unknown))}.",
            remedy=f"use some of {', '.join(index + everything)}.",
        )
    return names


def _note(table: pd.DataFrame, shown: int, names: Sequence[str]) -> str:
    notes = []
    if len(table) > shown:
        notes.append(f"… and {len(table) - shown:,} more ({len(table):,} in all).")
    total = len(table.columns) + (table.index.name is not None)
    if len(names) < total and table.attrs.get("table") in SCHEMAS:
        notes.append(f"{len(names)} of {total} columns shown.")
    return " ".join(notes)


def _heading(name: str, numeric: bool) -> Column:
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    kind = (
        "number" if numeric else "id" if name.endswith("_id") or name in ("fingerprint", "checksum", "mac") else "text"
    )
    if name.endswith("_at") or name in ("status", "state", "task_state", "address", "cidr", "fixed_address"):
        kind = "word"
    return Column(_label(name), unit, kind)


def _label(name: str) -> str:
    for suffix in _UNITS:
        name = name.removesuffix(suffix)
    if name != "name":
        name = name.removesuffix("_name")
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def _cell(name: str, value: Any) -> Cell:
    if pd.isna(value) or value == "":
        return Cell(None)
    if isinstance(value, pd.Timestamp):
        return Cell(value.strftime("%Y-%m-%d %H:%M:%S"))
    if name.endswith("_bytes"):
        return Cell(f"{value / MIB:,.1f}")
    if pd.api.types.is_bool(value):
        return Cell("yes" if value else "no")
    if isinstance(value, float):
        return Cell(f"{value:,.2f}")
    if name in ("status", "state", "outcome"):
        return Cell(str(value), tone_of(str(value)))
    if pd.api.types.is_integer(value):
        return Cell(f"{value:,}" if name != "vlan_id" and not name.startswith("port_") else str(value))
    return Cell(str(value))


def tone_of(state: str) -> Tone:
    """How a server's state is marked."""
    return _TONES.get(state.lower(), BUSY)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
