"""A picker's widget: filters, a grid, trees where there are any, and what the choice adds up to.

The grid is itables' ITable (DataTables): real table rows that screen readers and keyboards reach. Filters work on the
whole table in Python, so that "all that match" means all of them, shown or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets
import pandas as pd
from itables.widget import ITable

from pumphouse.notebook.html import clean
from pumphouse.notebook.sheets import NONE, Sheet
from pumphouse.notebook.tree import OwnKeys, Tree
from pumphouse.notebook.widgets import words_button

#: Rows of one page of the grid.
PAGE = 12
_ALL = ""
_BLOCKED = "(would be refused)"
# a box before each row, since a colour alone would not tell which ones are chosen
_CSS = (
    "table.ph-grid{font-size:12.5px}"
    "table.ph-grid>tbody>tr>td,table.ph-grid>thead>tr>th{white-space:nowrap}"
    "div.dt-container{overflow-x:auto}"
    "table.ph-grid>tbody>tr>td:first-child::before{content:'☐';margin-right:.6em;font-size:1.15em}"
    "table.ph-grid>tbody>tr.selected>td:first-child::before{content:'☑'}"
    # a tint, so that the marks of states keep their contrast; the box says the same without colour
    "table.ph-grid>tbody>tr.selected{background-color:transparent!important}"
    "table.ph-grid>tbody>tr.selected>*,table.ph-grid.dataTable.display>tbody>tr.selected:hover>*"
    "{box-shadow:inset 0 0 0 9999px rgba(26,111,181,.16)!important;"
    "color:inherit!important}"
    "table.ph-grid>tbody>tr:focus-visible{outline:2px solid #1a6fb5;outline-offset:-2px}"
    "table.ph-grid>tbody>tr>td,table.ph-grid>thead>tr>th{text-align:left}"
    "table.ph-grid>tbody>tr>td.dt-type-numeric{text-align:right}"
    "table.ph-grid caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
)
#: DataTables' options; itables forgets its own ones at each update, so that they are given again.
_OPTIONS: dict[str, Any] = {
    "select": {"style": "multi+shift", "keys": True, "info": False},
    "classes": "display compact ph-grid",
    "css": _CSS,
    "maxBytes": 0,
    "maxColumns": 0,
    "showIndex": False,
    "autoWidth": False,
    "style": "width:100%;margin:0",
    "allow_html": False,
    "pageLength": PAGE,
    "order": [],
    "layout": {"topStart": None, "topEnd": None, "bottomStart": "info", "bottomEnd": "paging"},
}


class PickerView:
    """What a person touches; ``choose`` is called with all ids that are chosen now, the filtered out ones too.

    ``single``: one at most; choosing another lets go of the first.
    """

    def __init__(self, sheet: Sheet, choose: Callable[[frozenset[str]], None], *, single: bool = False) -> None:
        self._sheet, self._tell, self._single = sheet, choose, single
        self._ids = list(sheet.ids)
        self._chosen: frozenset[str] = frozenset()
        self._listed: list[str] = []
        self._quiet = False
        self._options = {
            **_OPTIONS,
            "select": {"style": "single" if single else "multi+shift", "keys": True, "info": False},
            "language": {
                "info": "rows _START_ to _END_ of _TOTAL_",
                "emptyTable": f"no {sheet.noun} matches the filters",
            },
        }
        self._build()
        self._filter()

    @property
    def listed(self) -> list[str]:
        """Ids that the filters let through, in the grid's order before a person sorts it."""
        return list(self._listed)

    @property
    def shown(self) -> pd.DataFrame:
        """All rows as the grid shows them, in words."""
        return self._sheet.rows

    def show(self, chosen: frozenset[str], totals: str, lines: Sequence[str]) -> None:
        """Show what is chosen, and words about it."""
        self._chosen = chosen
        with self._quietly():
            rows = [number for number, server_id in enumerate(self._listed) if server_id in chosen]
            if rows != self.grid.selected_rows:
                self.grid.selected_rows = rows
        if self.only_chosen.value:
            self._filter()
        for tree in self._trees.values():
            tree.show(chosen)
        told = "".join(f"<div>{escape(clean(line))}</div>" for line in lines)
        head = f"<b>{escape(clean(totals))}</b>" if chosen else f"<b>No {self._sheet.noun} is chosen yet.</b>"
        self.summary.value = f'<div role="status" style="line-height:1.5">{head}{told}</div>'
        self._count()

    # --- building ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.text_filter = widgets.Text(
            description="Find",
            placeholder=self._sheet.hint,
            layout=widgets.Layout(width="auto", flex="1 1 20em"),
        )
        self.filters = {name: self._dropdown(name) for name in self._sheet.filters}
        codes = sorted({code for found in self._sheet.findings.values() for code in found})
        options = [("any finding", _ALL), ("(would be refused)", _BLOCKED), *((code, code) for code in codes)]
        self.filters["finding"] = widgets.Dropdown(description="Finding", options=options, value=_ALL, layout=_fill())
        self.only_chosen = widgets.Checkbox(
            description="Only the chosen ones", indent=False, layout=widgets.Layout(width="auto")
        )
        noun = self._sheet.noun
        self.grid = ITable(self._sheet.rows, caption=self._sheet.caption, **self._options)
        self.add_button = words_button("Choose all that match", f"choose every {noun} that the filters let through")
        self.drop_button = words_button("Drop all that match", f"choose no {noun} that the filters let through")
        self.clear_button = words_button("Clear filters", f"show every {noun} again; the choice stays")
        self.reset_button = words_button("Back to preset", "choose what the parameters say")
        self.counts = widgets.HTML()
        self.summary = widgets.HTML()
        self._trees: dict[int, Tree] = {}
        for filtering in (self.text_filter, self.only_chosen, *self.filters.values()):
            filtering.observe(lambda _: self._filter(), names="value")
        self.grid.observe(self._on_rows, names="selected_rows")
        self.add_button.on_click(lambda _: self._tell(self._chosen | set(self._listed)))
        self.drop_button.on_click(lambda _: self._tell(self._chosen - set(self._listed)))
        self.clear_button.on_click(lambda _: self._clear())
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        many = [self.add_button, self.drop_button] if not self._single else []
        listing = widgets.VBox(
            [
                widgets.HBox([self.text_filter, self.only_chosen], layout=wrap),
                widgets.GridBox(
                    list(self.filters.values()),
                    layout=widgets.Layout(grid_template_columns="repeat(auto-fill, minmax(18em, 1fr))"),
                ),
                self.grid,
                self.counts,
                widgets.HBox([*many, self.clear_button, self.reset_button], layout=wrap),
            ]
        )
        places = [listing, *(widgets.VBox() for _ in self._sheet.trees)]
        self.tabs = widgets.Tab(places, titles=("List", *self._sheet.trees), selected_index=0)
        self.tabs.observe(lambda _: self._open_tab(), names="selected_index")
        self.widget = widgets.VBox(
            [self.summary, self.tabs if self._sheet.trees else listing, OwnKeys(table=self._sheet.caption)]
        )

    def _dropdown(self, name: str) -> widgets.Dropdown:
        values = self._sheet.filters[name]
        known = sorted({str(value) for value in values.dropna()})
        options = [(f"any {name}", _ALL), *((value, value) for value in known)]
        if values.isna().any():
            options.append((NONE, NONE))
        return widgets.Dropdown(description=name.capitalize(), options=options, value=_ALL, layout=_fill())

    def _open_tab(self) -> None:
        """A tree is made when somebody looks at it first: most never do."""
        place = self.tabs.selected_index
        if not place or place in self._trees:
            return
        make = list(self._sheet.trees.values())[place - 1]
        tree = Tree(make(), self._toggled)
        tree.show(self._chosen)
        self._trees[place] = tree
        self.tabs.children[place].children = (tree,)

    # --- what a person does ------------------------------------------------------------------------

    def _toggled(self, server_ids: frozenset[str], on: bool) -> None:
        self._tell(self._chosen | server_ids if on else self._chosen - server_ids)

    def _on_rows(self, change: Any) -> None:
        if not self._quiet:
            # what the filters hide stays chosen
            picked = {self._listed[row] for row in change["new"] if row < len(self._listed)}
            if self._single:
                self._tell(frozenset(picked - self._chosen or picked & self._chosen))
            else:
                self._tell((self._chosen - set(self._listed)) | picked)

    def _clear(self) -> None:
        with self._quietly():
            self.text_filter.value, self.only_chosen.value = "", False
            for one in self.filters.values():
                one.value = _ALL
        self._filter()

    def _filter(self) -> None:
        if self._quiet:
            return
        keep = self._matching()
        listed = [server_id for server_id, kept in zip(self._ids, keep, strict=True) if kept]
        if listed != self._listed:
            self._listed = listed
            rows = [number for number, server_id in enumerate(listed) if server_id in self._chosen]
            with self._quietly(), self.grid.hold_sync():
                self.grid.update(self._sheet.rows[keep], **self._options, selected_rows=rows)
        self._count()

    def _matching(self) -> list[bool]:
        found = [True] * len(self._ids)
        for name, values in self._sheet.filters.items():
            wanted = self.filters[name].value
            if wanted != _ALL:
                fits = values.isna() if wanted == NONE else (values == wanted).fillna(value=False)
                found = [kept and bool(fit) for kept, fit in zip(found, fits, strict=True)]
        if words := self.text_filter.value.casefold().split():
            found = [
                kept and all(word in text for word in words)
                for kept, text in zip(found, self._sheet.texts, strict=True)
            ]
        if code := self.filters["finding"].value:
            found = [kept and self._has(one, code) for kept, one in zip(found, self._ids, strict=True)]
        if self.only_chosen.value:
            found = [kept and one in self._chosen for kept, one in zip(found, self._ids, strict=True)]
        return found

    def _has(self, one: str, code: str) -> bool:
        return bool(self._sheet.obstacles.get(one)) if code == _BLOCKED else code in self._sheet.findings.get(one, ())

    def _count(self) -> None:
        hidden = len(self._chosen - set(self._listed))
        words = f"{len(self._listed):,} of {self._sheet.count(len(self._ids))} match"
        if hidden:
            words += f" · {hidden:,} chosen {'one is' if hidden == 1 else 'ones are'} not among them"
        self.counts.value = f'<div role="status">{words}</div>'

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


def _fill() -> widgets.Layout:
    return widgets.Layout(width="auto")
