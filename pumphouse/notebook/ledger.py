"""Showing a plan's fidelity ledger: counts, what changes, what stays behind; the rest folded away."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd

from pumphouse.ledger import Treatment
from pumphouse.notebook.html import GOOD, NOTE, OFF, WARN, Cell, Column, Display, Tone, joined, render
from pumphouse.session import Fidelity

_TONES: dict[str, Tone] = {
    Treatment.COPIED: GOOD,
    Treatment.MAPPED: NOTE,
    Treatment.DERIVED: OFF,
    Treatment.DROPPED: WARN,
}
#: Rows of one table; the file beside the record has more.
ROWS = 200


def show_ledger(fidelity: Fidelity) -> Display:
    """How many fields of each type are treated how; all that is mapped or dropped; the rest folded away."""
    return joined(
        _counts(fidelity),
        _changes("Mapped: what has another value at the destination", fidelity.rows(Treatment.MAPPED)),
        _changes("Dropped: what stays behind", fidelity.rows(Treatment.DROPPED)),
        _folded("Copied", _changes("", fidelity.rows(Treatment.COPIED))),
        _folded("Derived", _changes("", fidelity.rows(Treatment.DERIVED))),
    )


def _counts(fidelity: Fidelity) -> Display:
    rows = [
        [Cell(str(kind), strong=True), *(Cell(f"{int(number):,}") for number in numbers)]
        for kind, numbers in zip(fidelity.by_type.index, fidelity.by_type.itertuples(index=False), strict=True)
    ]
    columns = [Column("type"), *(Column(str(name), kind="number") for name in fidelity.by_type.columns)]
    note = f"Plan {fidelity.plan_hash[:12]}: {fidelity.sentence}. All rows: {fidelity.file.name}"
    return render("Fidelity ledger", columns, rows, note=note)


def _changes(title: str, table: pd.DataFrame) -> Display:
    columns = [
        Column("type"),
        Column("object"),
        Column("field", kind="id"),
        Column("treatment", kind="word"),
        Column("source"),
        Column("destination"),
        Column("why", kind="prose"),
    ]
    rows = [_row(values) for values in table.head(ROWS).to_dict("records")]
    left = len(table) - len(rows)
    return render(title, columns, rows, note=f"… and {left:,} more rows in the file." if left > 0 else "")


def _row(values: dict[Any, Any]) -> list[Cell]:
    treatment = str(values["treatment"])
    return [
        Cell(str(values["type"])),
        Cell(str(values["object"]), strong=True),
        Cell(str(values["field"])),
        Cell(treatment, _TONES.get(treatment)),
        *(_value(values[name]) for name in ("source_value", "destination_value")),
        Cell(str(values["reason"])),
    ]


def _value(value: Any) -> Cell:
    return Cell(None if pd.isna(value) else str(value))


def _folded(title: str, display: Display) -> Display:
    """Folded away in HTML; as text only a line that says what is left out, since nobody can unfold it there."""
    lines: Iterable[str] = display.text.splitlines()
    count = max(0, len(list(lines)) - 2)
    html = f"<details><summary>{escape(title)} ({count:,} rows)</summary>{display.html}</details>"
    return Display(html, f"{title}: {count:,} rows, in the file")
