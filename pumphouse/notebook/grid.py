"""The picker's widget: filters, a grid, trees by project and host, and what the choice adds up to.

The grid is itables' ITable (DataTables): real table rows that screen readers and keyboards reach. Filters work on the
whole table in Python, so that "all that match" means all of them, shown or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets
import pandas as pd
from itables.widget import ITable

from pumphouse.notebook.display import tone_of
from pumphouse.notebook.html import WARN, clean
from pumphouse.notebook.tree import Group, OwnKeys, Tree
from pumphouse.notebook.widgets import words_button

#: Rows of one page of the grid.
PAGE = 12
_ALL = ""
_NONE = "(none)"
_BLOCKED = "(would be refused)"
_SEARCHED = ("name", "project_name", "status", "host", "flavor_name", "image_name", "fixed_ips", "floating_ips")
_FILTERS = {
    "project": "project_name",
    "state": "status",
    "host": "host",
    "flavor": "flavor_name",
    "image": "image_name",
}
# a box before each row, since a colour alone would not tell which ones are chosen
_CSS = (
    "table.ph-grid{font-size:12.5px}"
    "table.ph-grid>tbody>tr>td,table.ph-grid>thead>tr>th{white-space:nowrap}"
    "div.dt-container{overflow-x:auto}"
    "table.ph-grid>tbody>tr>td:first-child::before{content:'☐';margin-right:.6em;font-size:1.15em}"
    "table.ph-grid>tbody>tr.selected>td:first-child::before{content:'☑'}"
    # a tint, so that the marks of states keep their contrast; the box says the same without colour
    "table.ph-grid>tbody>tr.selected{background-color:transparent!important}"
    "table.ph-grid>tbody>tr.selected>*{box-shadow:inset 0 0 0 9999px rgba(26,111,181,.16)!important;"
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
    "language": {"info": "rows _START_ to _END_ of _TOTAL_", "emptyTable": "no server matches the filters"},
}


class PickerView:
    """What a person touches; ``choose`` is called with all ids that are chosen now, the filtered out ones too."""

    def __init__(
        self,
        servers: pd.DataFrame,
        findings: Mapping[str, Sequence[str]],
        obstacles: Mapping[str, str],
        choose: Callable[[frozenset[str]], None],
    ) -> None:
        self._servers, self._findings, self._obstacles, self._tell = servers, findings, obstacles, choose
        self._ids = [str(server_id) for server_id in servers.index]
        self._texts = _texts(servers)
        self._rows = _rows(servers, findings, obstacles)
        self._chosen: frozenset[str] = frozenset()
        self._listed: list[str] = []
        self._quiet = False
        self._build()
        self._filter()

    @property
    def listed(self) -> list[str]:
        """Ids of the servers that the filters let through, in the grid's order before a person sorts it."""
        return list(self._listed)

    @property
    def shown(self) -> pd.DataFrame:
        """All rows as the grid shows them, in words."""
        return self._rows

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
        head = f"<b>{escape(clean(totals))}</b>" if chosen else "<b>No server is chosen yet.</b>"
        self.summary.value = f'<div role="status" style="line-height:1.5">{head}{told}</div>'
        self._count()

    # --- building ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.text_filter = widgets.Text(
            description="Find",
            placeholder="part of a name, address, image, flavor or id",
            layout=widgets.Layout(width="auto", flex="1 1 20em"),
        )
        self.filters = {name: self._dropdown(name, column) for name, column in _FILTERS.items()}
        codes = sorted({code for found in self._findings.values() for code in found})
        options = [("any finding", _ALL), ("(would be refused)", _BLOCKED), *((code, code) for code in codes)]
        self.filters["finding"] = widgets.Dropdown(description="Finding", options=options, value=_ALL, layout=_fill())
        self.only_chosen = widgets.Checkbox(
            description="Only the chosen ones", indent=False, layout=widgets.Layout(width="auto")
        )
        self.grid = ITable(self._rows, caption="Servers of the source", **_OPTIONS)
        self.add_button = words_button("Choose all that match", "choose every server that the filters let through")
        self.drop_button = words_button("Drop all that match", "choose no server that the filters let through")
        self.clear_button = words_button("Clear filters", "show every server again; the choice stays")
        self.reset_button = words_button("Back to preset", "choose what the parameters say")
        self.counts = widgets.HTML()
        self.summary = widgets.HTML()
        self._trees: dict[str, Tree] = {}
        for filtering in (self.text_filter, self.only_chosen, *self.filters.values()):
            filtering.observe(lambda _: self._filter(), names="value")
        self.grid.observe(self._on_rows, names="selected_rows")
        self.add_button.on_click(lambda _: self._tell(self._chosen | set(self._listed)))
        self.drop_button.on_click(lambda _: self._tell(self._chosen - set(self._listed)))
        self.clear_button.on_click(lambda _: self._clear())
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        listing = widgets.VBox(
            [
                widgets.HBox([self.text_filter, self.only_chosen], layout=wrap),
                widgets.GridBox(
                    list(self.filters.values()),
                    layout=widgets.Layout(grid_template_columns="repeat(auto-fill, minmax(18em, 1fr))"),
                ),
                self.grid,
                self.counts,
                widgets.HBox([self.add_button, self.drop_button, self.clear_button, self.reset_button], layout=wrap),
            ]
        )
        places = [listing, widgets.VBox(), widgets.VBox()]
        self.tabs = widgets.Tab(places, titles=("List", "By project", "By host"), selected_index=0)
        self.tabs.observe(lambda _: self._open_tab(), names="selected_index")
        self.widget = widgets.VBox([self.summary, self.tabs, OwnKeys()])

    def _dropdown(self, name: str, column: str) -> widgets.Dropdown:
        values = self._servers[column]
        known = sorted({str(value) for value in values.dropna()})
        options = [(f"any {name}", _ALL), *((value, value) for value in known)]
        if values.isna().any():
            options.append((_NONE, _NONE))
        return widgets.Dropdown(description=name.capitalize(), options=options, value=_ALL, layout=_fill())

    def _open_tab(self) -> None:
        """A tree is made when somebody looks at it first: most never do."""
        name = {1: "project_name", 2: "host"}.get(self.tabs.selected_index)
        if name is None or name in self._trees:
            return
        tree = Tree(_groups(self._servers, name), self._toggled)
        tree.show(self._chosen)
        self._trees[name] = tree
        self.tabs.children[self.tabs.selected_index].children = (tree,)

    # --- what a person does ------------------------------------------------------------------------

    def _toggled(self, server_ids: frozenset[str], on: bool) -> None:
        self._tell(self._chosen | server_ids if on else self._chosen - server_ids)

    def _on_rows(self, change: Any) -> None:
        if not self._quiet:
            # what the filters hide stays chosen
            picked = {self._listed[row] for row in change["new"] if row < len(self._listed)}
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
                self.grid.update(self._rows[keep], **_OPTIONS, selected_rows=rows)
        self._count()

    def _matching(self) -> list[bool]:
        keep = pd.Series(True, index=self._servers.index)
        for name, column in _FILTERS.items():
            wanted = self.filters[name].value
            if wanted == _NONE:
                keep &= self._servers[column].isna()
            elif wanted != _ALL:
                keep &= (self._servers[column] == wanted).fillna(value=False).astype(bool)
        found = keep.to_numpy(dtype=bool).tolist()
        if words := self.text_filter.value.casefold().split():
            found = [
                kept and all(word in text for word in words) for kept, text in zip(found, self._texts, strict=True)
            ]
        if code := self.filters["finding"].value:
            found = [kept and self._has(server_id, code) for kept, server_id in zip(found, self._ids, strict=True)]
        if self.only_chosen.value:
            found = [kept and server_id in self._chosen for kept, server_id in zip(found, self._ids, strict=True)]
        return found

    def _has(self, server_id: str, code: str) -> bool:
        return server_id in self._obstacles if code == _BLOCKED else code in self._findings.get(server_id, ())

    def _count(self) -> None:
        hidden = len(self._chosen - set(self._listed))
        words = f"{len(self._listed):,} of {len(self._ids):,} servers match"
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


def _texts(servers: pd.DataFrame) -> list[str]:
    columns = [servers[name].fillna("").astype(str) for name in _SEARCHED]
    return [" ".join(row).casefold() for row in zip(servers.index.astype(str), *columns, strict=True)]


def _rows(servers: pd.DataFrame, findings: Mapping[str, Sequence[str]], obstacles: Mapping[str, str]) -> pd.DataFrame:
    """What the grid shows of each server, in words."""

    def words(column: str) -> list[str]:
        return [clean(str(value)) for value in servers[column].fillna("")]

    def numbers(column: str) -> list[int | None]:
        return [None if pd.isna(value) else int(value) for value in servers[column]]

    said = []
    for server_id in map(str, servers.index):
        codes = sorted({*findings.get(server_id, ()), *([obstacles[server_id]] if server_id in obstacles else [])})
        mark = f"{WARN.symbol} " if server_id in obstacles else ""
        said.append(mark + ", ".join(codes) if codes else "")
    return pd.DataFrame(
        {
            "server": words("name"),
            "project": words("project_name"),
            "state": [f"{tone_of(value).symbol} {value}" if value else "" for value in words("status")],
            "findings": said,
            "host": words("host"),
            "flavor": words("flavor_name"),
            "vCPUs": pd.array(numbers("vcpus"), dtype="Int64"),
            "RAM (MiB)": pd.array(numbers("ram_mib"), dtype="Int64"),
            "disk (GiB)": pd.array(numbers("disk_gib"), dtype="Int64"),
            "image": words("image_name"),
            "fixed IPs": words("fixed_ips"),
        }
    )


def _groups(servers: pd.DataFrame, column: str) -> list[Group]:
    """Projects or hosts with their servers, by name; servers without one come last."""
    named = servers[column].fillna(_NONE).astype(str)
    found = []
    for name in sorted(set(named), key=lambda one: (one == _NONE, one)):
        rows = servers[named == name]
        sizes = f"{int(rows['vcpus'].sum()):,} vCPU, {int(rows['ram_mib'].sum()):,} MiB RAM"
        members = tuple(
            (str(server_id), clean(f"{title}  ({status})"))
            for server_id, title, status in zip(rows.index, rows["name"], rows["status"], strict=True)
        )
        found.append(Group(name, clean(name), sizes, members))
    return found
