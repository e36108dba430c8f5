"""Choosing servers in a notebook: set by parameters, adjusted by a person, read by the next cell.

The widget changes nothing but :attr:`Picker.value`. Shown in a record without a kernel it is a plain table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from pumphouse.errors import SelectionError
from pumphouse.inventory import SCHEMAS, Inventory
from pumphouse.notebook.display import MIB, show
from pumphouse.notebook.html import Display
from pumphouse.selection import Choice, Selection, check_table, choose

LISTED = 500
ROWS = 16
_ALL = ""


@dataclass(frozen=True)
class Totals:
    """What some servers add up to. Images count once each; ``unsized`` servers have a flavor that was deleted."""

    servers: int
    vcpus: int
    ram_mib: int
    disk_gib: int
    images: int
    image_bytes: int
    unsized: int

    @classmethod
    def of(cls, servers: pd.DataFrame) -> Totals:
        """The totals of these rows of a servers table."""
        images = servers.dropna(subset=["image_id"]).drop_duplicates("image_id")
        return cls(
            servers=len(servers),
            vcpus=int(servers["vcpus"].sum()),
            ram_mib=int(servers["ram_mib"].sum()),
            disk_gib=int(servers["disk_gib"].sum() + servers["ephemeral_gib"].sum()),
            images=len(images),
            image_bytes=int(images["image_size_bytes"].sum()),
            unsized=int(servers["vcpus"].isna().sum()),
        )

    def __str__(self) -> str:
        text = (
            f"{self.servers:,} {'server' if self.servers == 1 else 'servers'} · {self.vcpus:,} vCPU"
            f" · {self.ram_mib:,} MiB RAM · {self.disk_gib:,} GiB disk"
            f" · {self.image_bytes / MIB:,.1f} MiB in {self.images:,} {'image' if self.images == 1 else 'images'}"
        )
        return text + (f" · {self.unsized} of unknown size" if self.unsized else "")


def select(
    inventory: Inventory | pd.DataFrame,
    *,
    preset: Mapping[str, Any] | Choice | Selection | None = None,
    names: Sequence[str] = (),
    ids: Sequence[str] = (),
    hosts: Sequence[str] = (),
    projects: Sequence[str] = (),
    query: str = "",
    file: str | Path = "",
    digest: str = "",
) -> Picker:
    """A picker of the source's servers (read only), already set to what the parameters ask for.

    :param inventory: an inventory, or (part of) its servers table.
    :param preset: the other arguments as a mapping, or a Selection; not together with them.
    :param file: a selection file, instead of the arguments of
        :func:`pumphouse.selection.select_servers`; ``digest`` is the one that it must have.
    :raises SelectionError: the preset names what does not exist, is ambiguous, or matches nothing. A preset
        that asks for nothing is for a person to fill: until then :attr:`Picker.value` raises.
    """
    servers = inventory.servers if isinstance(inventory, Inventory) else inventory
    check_table(servers, tuple(SCHEMAS["servers"].columns))
    asked = {
        "names": names,
        "ids": ids,
        "hosts": hosts,
        "projects": projects,
        "query": query,
        "file": file,
        "digest": digest,
    }
    return Picker(servers, _preset(servers, preset, {key: value for key, value in asked.items() if value}))


class Picker:
    """A widget over a servers table. ``value`` is the Selection as it stands now."""

    def __init__(self, servers: pd.DataFrame, preset: Selection | None) -> None:
        self._servers = servers.sort_values(["project_name", "name"], kind="stable")
        self._preset = preset
        self._chosen: set[str] = set(preset.server_ids) if preset else set()
        self._quiet = False
        self._build()
        self._refresh()

    @property
    def value(self) -> Selection:
        """What is chosen: the preset's own Selection while nobody changed it, else one by ids.

        :raises SelectionError: nothing is chosen.
        """
        if self._preset is not None and self._chosen == set(self._preset.server_ids):
            return self._preset
        if not self._chosen:
            raise SelectionError(
                "No server is chosen.",
                remedy="choose servers in the widget, or set the notebook's selection parameters.",
            )
        ids = tuple(sorted(self._chosen))
        return Selection(ids, Choice(ids=ids))

    @property
    def chosen(self) -> pd.DataFrame:
        """The chosen rows of the servers table; may be empty."""
        return self._servers.loc[self._servers.index.isin(self._chosen)]

    @property
    def totals(self) -> Totals:
        """What the chosen servers add up to."""
        return Totals.of(self.chosen)

    # --- how it looks ------------------------------------------------------------------------------

    def static(self) -> Display:
        """The choice as a plain table."""
        if not self._chosen:
            return show(self.chosen, title="Selection: no server is chosen yet")
        return show(self.chosen, title=f"Selection: {self.totals}")

    def __repr__(self) -> str:
        return self.static().text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_(include=include, exclude=exclude))
        static = self.static()
        return {**bundle, "text/html": static.html, "text/plain": static.text}

    # --- the widget --------------------------------------------------------------------------------

    def _build(self) -> None:
        def values(column: str) -> list[tuple[str, str]]:
            known = sorted({str(value) for value in self._servers[column].dropna()})
            return [(f"any {column.removesuffix('_name')}", _ALL), *((value, value) for value in known)]

        # not 100%: with their margins, full widths make JupyterLab draw a scrollbar
        wide, narrow = widgets.Layout(width="auto", flex="1 1 auto"), widgets.Layout(width="15em")
        self.text_filter = widgets.Text(placeholder="part of a name, address, image, flavor or id", layout=wide)
        self.project_filter = widgets.Dropdown(options=values("project_name"), value=_ALL, layout=narrow)
        self.host_filter = widgets.Dropdown(options=values("host"), value=_ALL, layout=narrow)
        self.servers_list = widgets.SelectMultiple(
            options=(), rows=min(max(len(self._servers), 5), ROWS), layout=widgets.Layout(width="auto")
        )
        self.add_button = widgets.Button(description="Add all listed", tooltip="choose every server in the list")
        self.drop_button = widgets.Button(description="Drop all listed", tooltip="choose no server of the list")
        self.reset_button = widgets.Button(description="Back to preset", tooltip="choose what the parameters say")
        self.summary = widgets.HTML()
        self.widget = widgets.VBox(
            [
                widgets.HBox([self.text_filter, self.project_filter, self.host_filter]),
                self.servers_list,
                widgets.HBox([self.add_button, self.drop_button, self.reset_button]),
                self.summary,
            ]
        )
        for one in (self.text_filter, self.project_filter, self.host_filter):
            one.observe(self._on_filter, names="value")
        self.servers_list.observe(self._on_choice, names="value")
        self.add_button.on_click(lambda _: self._choose(self._chosen | self._listed()))
        self.drop_button.on_click(lambda _: self._choose(self._chosen - self._listed()))
        self.reset_button.on_click(lambda _: self._choose(set(self._preset.server_ids) if self._preset else set()))

    def _on_filter(self, _: Any) -> None:
        self._refresh()

    def _on_choice(self, change: Any) -> None:
        if not self._quiet:
            # what the filters hide stays chosen
            self._choose((self._chosen - self._listed()) | set(change["new"]))

    def _choose(self, server_ids: set[str]) -> None:
        self._chosen = server_ids
        self._refresh()

    def _listed(self) -> set[str]:
        return {server_id for _, server_id in self.servers_list.options}

    def _refresh(self) -> None:
        matching = self._matching()
        options = [(_label(row), str(row.Index)) for row in matching.head(LISTED).itertuples()]
        with self._quietly():
            if tuple(self.servers_list.options) != tuple(options):
                self.servers_list.options = options
            self.servers_list.value = tuple(server_id for _, server_id in options if server_id in self._chosen)
        hidden = len(self._chosen - {server_id for _, server_id in options})
        notes = [f"<b>{escape(str(self.totals))}</b>", f"{len(options):,} of {len(self._servers):,} listed"]
        if len(matching) > len(options):
            notes.append(f"{len(matching) - len(options):,} more match: narrow the filters to see them")
        if hidden:
            notes.append(f"{hidden:,} chosen ones are not in the list")
        notes.append("Ctrl or Shift for several")
        self.summary.value = "<br>".join([notes[0], " · ".join(notes[1:])])

    def _matching(self) -> pd.DataFrame:
        found = self._servers
        if self.project_filter.value != _ALL:
            found = found[(found["project_name"] == self.project_filter.value).fillna(value=False)]
        if self.host_filter.value != _ALL:
            found = found[(found["host"] == self.host_filter.value).fillna(value=False)]
        words = self.text_filter.value.casefold().split()
        if words:
            searched = found[["name", "fixed_ips", "floating_ips", "image_name", "flavor_name", "status"]].fillna("")
            texts = [" ".join(row).casefold() for row in searched.reset_index().astype(str).to_numpy()]
            found = found[[all(word in text for word in words) for text in texts]]
        return found

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def _label(row: Any) -> str:
    words = (row.name, row.project_name, row.host, row.status, row.fixed_ips)
    return "   ".join(str(word) for word in words if isinstance(word, str) and word)


def _preset(
    servers: pd.DataFrame, preset: Mapping[str, Any] | Choice | Selection | None, asked: Mapping[str, Any]
) -> Selection | None:
    if preset is not None and asked:
        raise SelectionError(
            f"The selection is given twice: as a preset and as {', '.join(asked)}.", remedy="give one of the two."
        )
    if isinstance(preset, Selection):
        preset.rows(servers)
        return preset
    if isinstance(preset, Choice):
        return choose(servers, preset) if preset else None
    given = dict(asked if preset is None else preset)
    file, digest = given.pop("file", ""), str(given.pop("digest", ""))
    choice = Choice.of(**given)
    if not file:
        if digest:
            raise SelectionError("A digest is given without a selection file.", remedy="give the file, too.")
        return choose(servers, choice) if choice else None
    if choice:
        raise SelectionError(
            f"The selection is given twice: as file {file} and as {choice}.", remedy="give one of the two."
        )
    selection = Selection.load(file, digest=digest)
    selection.rows(servers)
    return selection
