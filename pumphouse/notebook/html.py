"""Small tables as HTML and as text: static, without script, calm in JupyterLab and in an archived page.

Everything is cleaned and escaped. Colour is only ever beside a symbol and a word, and what matters for reading
(alignment, colours of symbols) is inline, because JupyterLab drops style sheets from untrusted notebooks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

STYLE = (
    "<style>"
    "div.ph{margin:.4em 0 1em;font-size:13px;line-height:1.5}"
    # a shade at the right edge, until the last column is in sight, says that there is more where scrollbars hide
    "div.ph div.ph-s{overflow-x:auto;scrollbar-width:thin;background:"
    "linear-gradient(to left,var(--jp-layout-color0,var(--ground,Canvas)) 40%,transparent) right/3em 100% no-repeat "
    "local,linear-gradient(to left,rgba(128,128,128,.45),transparent) right/.9em 100% no-repeat scroll}"
    "div.ph p{margin:.3em 0}"
    "div.ph p.ph-title{font-weight:600;margin:0 0 .35em}"
    "div.ph p.ph-note{opacity:.7;margin:.5em 0 0}"
    "div.ph table.ph-t{border-collapse:collapse;border:0;margin:0;font-size:inherit;background:none;max-width:none}"
    "div.ph table.ph-t tr{background:none}"
    "div.ph table.ph-t tbody tr:nth-child(odd){background:none}"
    "div.ph table.ph-t th{font-weight:600;white-space:nowrap;vertical-align:bottom;background:none;border:0;"
    "border-bottom:1.5px solid rgba(128,128,128,.65);padding:.25em 1.1em .25em 0}"
    "div.ph table.ph-t td{vertical-align:baseline;border:0;border-bottom:1px solid rgba(128,128,128,.2);"
    "padding:.25em 1.1em .25em 0;white-space:nowrap;word-break:normal}"
    # a long value may be broken anywhere, but never squeezes its column to single letters
    "div.ph table.ph-t td.ph-l{white-space:normal;overflow-wrap:anywhere;min-width:16em;max-width:40em}"
    "div.ph table.ph-t td.ph-n{font-variant-numeric:tabular-nums}"
    "div.ph table.ph-t td.ph-id{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.9em}"
    "div.ph .ph-u{font-weight:400;opacity:.65}"
    "div.ph .ph-na{opacity:.4}"
    # paper does not scroll
    "@media print{div.ph div.ph-s{overflow:visible;background:none}"
    "div.ph table.ph-t th,div.ph table.ph-t td,div.ph table.ph-t td.ph-l,div.ph table.ph-t td.ph-id"
    "{white-space:normal;min-width:0;padding-right:.6em;font-size:9px}"
    "div.ph table.ph-t td,div.ph table.ph-t td.ph-l{overflow-wrap:anywhere}}"
    "</style>"
)
ABSENT = "–"
_CELL_CHARACTERS = 48
#: What a sentence has in backticks: a word to be typed.
_QUOTED = re.compile(r"`([^`]+)`")
_UNBROKEN_CHARACTERS = 36
_DIRECTIONS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


@dataclass(frozen=True)
class Tone:
    """A symbol and its colour (distinct in grey and to the colour-blind by the symbol)."""

    symbol: str
    colour: str


GOOD = Tone("●", "#00785a")
OFF = Tone("○", "#767676")
BUSY = Tone("◐", "#a06000")
BAD = Tone("✖", "#c23b00")
WARN = Tone("▲", "#a06000")
NOTE = Tone("ℹ", "#3b6ea5")


@dataclass(frozen=True)
class Cell:
    """One value as it is read: ``text`` None is absent; ``tone`` puts a symbol before it; ``notebook`` is a link to one
    that lies beside this notebook.
    """

    text: str | None
    tone: Tone | None = None
    strong: bool = False
    notebook: str = ""


@dataclass(frozen=True)
class Column:
    """A heading with its unit.

    ``kind``: ``text``, ``number``, ``id`` (monospaced), ``word`` or ``prose`` (never cut; the text form cuts long
    cells of any other kind). Only long values of ``text`` and ``prose`` are broken into lines.
    """

    label: str
    unit: str = ""
    kind: str = "text"


@dataclass(frozen=True, repr=False)
class Display:
    """What a notebook shows: HTML where it can, the same as text elsewhere."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def render(title: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], note: str = "") -> Display:
    """A table with a title above and a note below; no rows are shown as "(none)"."""
    return Display(_html(title, columns, rows, note), _text(title, columns, rows, note))


def heading(title: str, note: str = "") -> Display:
    """A title with a note below, and no table."""
    below = f'<p class="ph-note">{_safe(note)}</p>' if note else ""
    html = f'{STYLE}<div class="ph"><p class="ph-title">{_safe(title)}</p>{below}</div>'
    return Display(html, "\n".join(one_line(text) for text in (title, note) if text))


def joined(*displays: Display) -> Display:
    """Several displays one after the other."""
    return Display("".join(item.html for item in displays), "\n\n".join(item.text for item in displays))


def clean(text: str) -> str:
    """Text without what could act or mislead: control characters, half characters, changes of direction."""
    return "".join(_clean(char) for char in text)


def one_line(text: str) -> str:
    """Clean text without line breaks, so that nothing can forge a second line."""
    return " ".join(clean(text).split())


def _clean(char: str) -> str:
    if char.isspace():
        return char if char in " \u00a0\u202f" else " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in ("Cc", "Cs") or char in _DIRECTIONS else char


def _html(title: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], note: str) -> str:
    parts = [STYLE, '<div class="ph">']
    if title:
        parts.append(f'<p class="ph-title">{_safe(title)}</p>')
    parts.append('<div class="ph-s"><table class="ph-t"><thead><tr>')
    for column in columns:
        unit = f' <span class="ph-u">({_safe(column.unit)})</span>' if column.unit else ""
        parts.append(f'<th scope="col" style="text-align:{_align(column)}">{_safe(column.label)}{unit}</th>')
    parts.append("</tr></thead><tbody>")
    for row in rows:
        cells = "".join(_html_cell(column, cell) for column, cell in zip(columns, row, strict=True))
        parts.append(f"<tr>{cells}</tr>")
    if not rows:
        parts.append(f'<tr><td colspan="{len(columns)}" style="text-align:left"><em>(none)</em></td></tr>')
    parts.append("</tbody></table></div>")
    if note:
        parts.append(f'<p class="ph-note">{_safe(note)}</p>')
    parts.append("</div>")
    return "".join(parts)


def _html_cell(column: Column, cell: Cell) -> str:
    kinds = {"number": "ph-n", "id": "ph-id"}
    name = "ph-l" if _is_long(column, cell) else kinds.get(column.kind, "")
    kind = f' class="{name}"' if name else ""
    if cell.text is None:
        inner = f'<span class="ph-na">{ABSENT}</span>'
    else:
        inner = _safe(cell.text)
        if column.kind == "prose":
            inner = _QUOTED.sub(r"<code>\1</code>", inner)
        if cell.notebook:
            inner = f'<a href="{quote(cell.notebook, safe="")}">{inner}</a>'
        if cell.strong:
            inner = f"<strong>{inner}</strong>"
        if cell.tone is not None:
            inner = f'<span style="color:{cell.tone.colour}">{cell.tone.symbol}</span> {inner}'
    return f'<td{kind} style="text-align:{_align(column)}">{inner}</td>'


def _is_long(column: Column, cell: Cell) -> bool:
    return column.kind in ("text", "prose") and cell.text is not None and len(cell.text) > _UNBROKEN_CHARACTERS


def _safe(text: str) -> str:
    return escape(clean(text))


def _align(column: Column) -> str:
    return "right" if column.kind == "number" else "left"


def _text(title: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], note: str) -> str:
    head = [one_line(f"{column.label} ({column.unit})" if column.unit else column.label) for column in columns]
    body = [[_text_cell(column, cell) for column, cell in zip(columns, row, strict=True)] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(head, *body, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column.kind == "number" else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [one_line(title)] if title else []
    lines += [line(head), "  ".join("-" * width for width in widths)]
    lines += [line(row) for row in body] or ["(none)"]
    if note:
        lines.append(one_line(note))
    return "\n".join(lines)


def _text_cell(column: Column, cell: Cell) -> str:
    if cell.text is None:
        return ABSENT
    text = one_line(cell.text)
    if len(text) > _CELL_CHARACTERS and column.kind != "prose" and not cell.strong:
        text = text[: _CELL_CHARACTERS - 1] + "…"
    return f"{cell.tone.symbol} {text}" if cell.tone else text
