"""Choosing hosts or nodes in a notebook, in order: set by parameters, adjusted by a person, read by the next cell.

Like the picker of servers these widgets change nothing but their own value, and are a plain table in a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets
import pandas as pd

from pumphouse.errors import SelectionError
from pumphouse.findings import Finding, blocking
from pumphouse.nodes.spec import Hardware
from pumphouse.notebook.grid import PickerView
from pumphouse.notebook.html import WARN, Cell, Column, Display, heading, joined, render
from pumphouse.notebook.lineup import Lineup
from pumphouse.notebook.resume import BegunOrder, begun_order
from pumphouse.notebook.sheets import Sheet, sheet_of_hosts, sheet_of_nodes
from pumphouse.notebook.widgets import Twin, caption, words_button
from pumphouse.order import Order
from pumphouse.session import Run
from pumphouse.session.hosts import HostState
from pumphouse.session.rack import NodeState
from pumphouse.session.story import ORDER

#: Obstacles that are told in whole sentences; the grid has the codes of all.
_SENTENCES = 4


def select_hosts(
    hosts: Iterable[HostState],
    *,
    preset: str | Sequence[str] = (),
    single: bool = False,
    none: str = "",
    title: str = "Hosts",
    run: Run | None = None,
) -> OrderPicker:
    """A picker of the source's compute hosts, already set to what the parameters ask for (asks nobody).

    :param hosts: what ``run.hardware.hosts()`` told.
    :param preset: hosts in their order, by nova's names or those of their nodes in ``site.yaml``; empty texts name
        none.
    :param single: one host at most.
    :param none: what choosing none means; empty: that :attr:`OrderPicker.value` raises then.
    :param title: what they are chosen for.
    :param run: where nothing is preset and a person runs the notebook, what was kept (:func:`keep_order`) for its last
        plan that was begun and is not finished is chosen, so that running everything again after a restart goes on.
    :raises SelectionError: the preset names what is no host, or one twice.
    """
    known = tuple(hosts)
    by_node = {one.node: one.host for one in known if one.node}
    names = {one.host: one.host for one in known}
    chosen = _preset("hosts", preset, {**by_node, **names}, "the source has no compute host", single=single)
    rules = {one.host: one.obstacles for one in known}
    about = {one.host: _words_of_host(one) for one in known}
    return OrderPicker(
        "hosts",
        sheet_of_hosts(known),
        chosen,
        Facts(lambda names: _host_totals(known, names), rules, about, {one.host: one.servers for one in known}),
        Rules(single, none, title),
        begun=begun_order(run, title, rules) if run is not None and not chosen else None,
    )


def select_nodes(
    nodes: Iterable[NodeState],
    hardware: Hardware,
    *,
    obstacles: Mapping[str, Sequence[Finding]] | None = None,
    preset: str | Sequence[str] = (),
    single: bool = False,
    none: str = "",
    title: str = "Nodes",
    run: Run | None = None,
) -> OrderPicker:
    """A picker of the site's nodes, already set to what the parameters ask for (asks nobody).

    :param nodes: what ``run.hardware.look()`` told.
    :param hardware: ``run.site.hardware``: names of VLANs, and of nodes.
    :param obstacles: what ``run.hardware.obstacles(kind)`` told: what keeps each node from what it is chosen for.
    :param preset: nodes in their order, by their names in ``site.yaml`` or those of their nova hosts; empty texts name
        none.
    :param single: one node at most.
    :param none: what choosing none means; empty: that :attr:`OrderPicker.value` raises then.
    :param title: what they are chosen for.
    :param run: where nothing is preset and a person runs the notebook, what was kept (:func:`keep_order`) for its last
        plan that was begun and is not finished is chosen, so that running everything again after a restart goes on.
    :raises SiteError: ``site.yaml`` describes no such node.
    :raises SelectionError: the preset names a node twice, or one that was not looked at.
    """
    known = tuple(nodes)
    asked = [preset] if isinstance(preset, str) else list(preset)
    wanted = [hardware.node(name).name for name in asked if name]
    names = {one.node: one.node for one in known}
    chosen = _preset("nodes", wanted, names, "nobody looked at a node", single=single)
    rules = {one.node: _rules_of(one, (obstacles or {}).get(one.node, ())) for one in known}
    about = {one.node: _words_of_node(one) for one in known}
    return OrderPicker(
        "nodes",
        sheet_of_nodes(known, rules, hardware),
        chosen,
        Facts(lambda names: _node_totals(known, names), rules, about, {one.node: one.servers or 0 for one in known}),
        Rules(single, none, title),
        begun=begun_order(run, title, rules) if run is not None and not chosen else None,
    )


@dataclass(frozen=True)
class Facts:
    """What a picker tells of its things: what some add up to, what keeps each from being taken, words, servers."""

    totals: Callable[[Sequence[str]], str]
    obstacles: Mapping[str, Sequence[Finding]]
    about: Mapping[str, str]
    servers: Mapping[str, int]


@dataclass(frozen=True)
class Rules:
    """How many may be chosen, what none means, and what they are chosen for."""

    single: bool = False
    none: str = ""
    title: str = ""


class OrderPicker:
    """A widget over hosts or nodes. ``value`` is the :class:`~pumphouse.order.Order` as it stands now."""

    def __init__(
        self,
        things: str,
        sheet: Sheet,
        preset: tuple[str, ...],
        facts: Facts,
        rules: Rules,
        *,
        begun: BegunOrder | None = None,
    ) -> None:
        self._things, self._sheet, self._preset, self._facts, self._rules = things, sheet, preset, facts, rules
        self._begun = begun
        self._names = begun.names if begun is not None else preset
        self.view = PickerView(sheet, self._choose, single=rules.single)
        self.view.reset_button.on_click(lambda _: self._arrange(self._preset))
        self.lineup = Lineup(self._arrange)
        self.by_name = words_button("By name", f"order the chosen {things} by name")
        self.by_servers = words_button("Fewest servers first", f"order the chosen {things} by their servers")
        self.by_name.on_click(lambda _: self._arrange(tuple(sorted(self._names))))
        self.by_servers.on_click(lambda _: self._arrange(tuple(sorted(self._names, key=self._weight))))
        self._heading = widgets.HTML()
        self._order = widgets.VBox(
            [self._heading, self.lineup, widgets.HBox([self.by_name, self.by_servers])],
            layout=widgets.Layout(display="none"),
        )
        title = widgets.HTML(f"<b>{escape(rules.title)}</b>" if rules.title else "")
        self.widget = widgets.VBox([title, *self.view.widget.children[:-1], self._order, self.view.widget.children[-1]])
        self._tell()

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen ones in their order; may be empty."""
        return self._names

    @property
    def title(self) -> str:
        """What is chosen for."""
        return self._rules.title

    @property
    def single(self) -> bool:
        """Whether one at most is chosen."""
        return self._rules.single

    @property
    def none(self) -> str:
        """What choosing none means; empty where something has to be chosen."""
        return self._rules.none

    @property
    def name(self) -> str:
        """The one that is chosen, of a picker of one.

        :raises SelectionError: none is chosen, or several are.
        """
        order = self.value
        if len(order) > 1:
            raise SelectionError(f"{len(order)} {self._things} are chosen: {order}.", remedy="choose one of them.")
        return order.names[0]

    @property
    def value(self) -> Order:
        """What is chosen.

        :raises SelectionError: nothing is chosen.
        """
        if not self._names:
            raise SelectionError(
                f"No {self._sheet.noun} is chosen.",
                remedy=f"choose {'one' if self._rules.single else 'some'} in the picker above; or name "
                f"{'it' if self._rules.single else 'them'} with the notebook's parameter "
                f"({'node' if self._rules.single else self._things}).",
            )
        return Order.of(self._things, self._names)

    def static(self) -> Display:
        """The choice as a plain table, in its order."""
        head = f"{self._rules.title}: " if self._rules.title else ""
        if not self._names:
            return heading(f"{head}none is chosen{f': {self._rules.none}' if self._rules.none else ' yet'}")
        shown = self._sheet.rows.set_index(self._sheet.rows.columns[0], drop=False)
        shown.index = list(self._sheet.ids)
        columns = [Column("#", kind="number"), *(Column(str(name)) for name in shown.columns)]
        rows = [
            [Cell(str(place)), *(_cell(value) for value in shown.loc[name])]
            for place, name in enumerate(self._names, 1)
        ]
        shown_rows = render(head + self._facts.totals(self._names), columns, rows)
        blocked = [[Cell(name, WARN, strong=True), Cell(why)] for name, why in self._blocked()]
        if not blocked:
            return shown_rows
        heads = [Column(self._sheet.noun), Column("why", kind="prose")]
        return joined(shown_rows, render("What stands in the way", heads, blocked))

    def __repr__(self) -> str:
        return self.static().text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return Twin(self.widget, self.static())._repr_mimebundle_(include, exclude)

    # --- what a person does ------------------------------------------------------------------------

    def _choose(self, chosen: Collection[str]) -> None:
        """Who is chosen now: new ones come last, in the order in which they stand in the list."""
        kept = tuple(name for name in self._names if name in chosen)
        self._arrange((*kept, *(name for name in self._sheet.ids if name in chosen and name not in kept)))

    def _arrange(self, names: tuple[str, ...]) -> None:
        if names != self._names:
            self._names = names
            self._tell()

    def _weight(self, name: str) -> tuple[int, str]:
        return self._facts.servers.get(name, 0), name

    def _tell(self) -> None:
        told = self._facts.totals(self._names) if self._names else ""
        self.view.show(frozenset(self._names), told, self._lines())
        self.lineup.show(self._names, self._facts.about)
        self._heading.value = caption("In this order:")
        self._order.layout.display = "none" if self._rules.single or not self._names else ""

    def _blocked(self) -> list[tuple[str, str]]:
        """What keeps the chosen ones from being taken: name and sentence, one for each code."""
        rows = []
        for name in self._names:
            found = blocking(self._facts.obstacles.get(name, ()))
            counts = Counter(one.code for one in found)
            first = {one.code: one for one in reversed(found)}
            for code, number in counts.items():
                more = f" ({number - 1} more like this)" if number > 1 else ""
                rows.append((name, f"{first[code].object} {first[code].message}{more}"))
        return rows

    def _lines(self) -> list[str]:
        if not self._names:
            return [f"None means: {self._rules.none}."] if self._rules.none else []
        rows = self._blocked()
        again = [self._begun.words] if self._begun is not None and self._begun.names == self._names else []
        lines = [f"{WARN.symbol} {name}: {why}" for name, why in rows[:_SENTENCES]]
        left = len(rows) - len(lines)
        return [*again, *lines, *([f"{WARN.symbol} and {left} more; the check says all."] if left else [])]


def _preset(
    things: str, preset: str | Sequence[str], known: Mapping[str, str], unknown: str, *, single: bool
) -> tuple[str, ...]:
    """The names that are asked for, as the picker calls them."""
    asked = [name for name in ([preset] if isinstance(preset, str) else preset) if name]
    if strangers := [name for name in asked if name not in known]:
        raise SelectionError(
            f"{unknown[:1].upper()}{unknown[1:]} {', '.join(strangers)}.",
            remedy=f"use one of: {', '.join(sorted(set(known.values()))) or 'none'}.",
        )
    names = tuple(known[name] for name in asked)
    if single and len(names) > 1:
        raise SelectionError(f"{len(names)} {things} are given: {', '.join(names)}.", remedy="give one of them.")
    return Order.of(things, names).names if names else ()


def _rules_of(one: NodeState, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """A node that the destination has is nobody's to take any more, whatever else is found."""
    if one.owner != "destination":
        return tuple(found)
    name = f" ({one.fuel_name})" if one.fuel_name else ""
    gone = f"belongs to the destination already{name}: its disks are overwritten."
    return (Finding("block", "is-transferred", f"node {one.node}", gone, "choose another node."),)


def _host_totals(hosts: Sequence[HostState], names: Collection[str]) -> str:
    chosen, left = [one for one in hosts if one.host in names], [one for one in hosts if one.host not in names]
    able = [one for one in left if (one.status, one.state) == ("enabled", "up")]
    parts = [
        _count(len(chosen), "host"),
        _count(sum(one.servers for one in chosen), "server") + f" ({sum(one.running for one in chosen)} running)",
    ]
    if all(one.vcpus_used is not None for one in chosen):
        parts.append(f"{sum(one.vcpus_used or 0 for one in chosen):,} vCPU in use")
    if all(one.ram_used_mib is not None for one in chosen):
        parts.append(f"{sum(one.ram_used_mib or 0 for one in chosen):,} MiB RAM in use")
    free = sum((one.ram_mib or 0) - (one.ram_used_mib or 0) for one in able)
    parts.append(
        f"the other {_count(len(able), 'host')} that {'take' if len(able) != 1 else 'takes'} servers: {free:,} MiB free"
    )
    return " · ".join(parts)


def _node_totals(nodes: Sequence[NodeState], names: Collection[str]) -> str:
    chosen = [one for one in nodes if one.node in names]
    if len(chosen) == 1:
        return f"1 node · {chosen[0].node} · {_words_of_node(chosen[0])}"
    owners = Counter(one.owner or "nobody" for one in chosen)
    parts = [_count(len(chosen), "node"), ", ".join(f"{number} of {owner}" for owner, number in sorted(owners.items()))]
    if any(one.servers for one in chosen):
        parts.append(_count(sum(one.servers or 0 for one in chosen), "server") + " of the source")
    return " · ".join(parts)


def _words_of_host(one: HostState) -> str:
    ram = f", {one.ram_used_mib:,} MiB" if one.ram_used_mib is not None else ""
    return f"{_count(one.servers, 'server')}{ram}" + (f" · {WARN.symbol}" if blocking(one.obstacles) else "")


def _words_of_node(one: NodeState) -> str:
    parts = (one.role, f"belongs to {one.owner or 'nobody'}", f"power {one.power}" if one.power else "")
    return " · ".join(part for part in parts if part)


def _cell(value: Any) -> Cell:
    return Cell(None if pd.isna(value) or value == "" else str(value))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def keep_order(picker: OrderPicker, run: Run, *, parameter: str = "") -> Display:
    """Write the chosen order to its canonical file, and show how a runbook gets it (changes no cloud).

    Nothing is written where nothing is chosen and the picker says what that means. A choice of one is no order: it is
    shown, and the journal knows it.

    :param parameter: the list that takes it; by default ``hosts`` or ``nodes``, whichever they are.
    :raises SelectionError: nothing is chosen, and that means nothing; or the file cannot be written.
    """
    if not picker.names and picker.none:
        return heading(f"{picker.title}: none is chosen: {picker.none}")
    order = picker.value
    chosen: dict[str, Any] = {"title": picker.title, "things": order.things, "names": order.names}
    note = ""
    if not picker.single:
        file, name = run.keep(order), parameter or order.things
        chosen |= {"file": file.name, "parameter": name}
        note = f"Kept in {file}; for a runbook or notebook: -p {name}=@{file}"
    run.journal.write(run.id, "", ORDER, "chosen", chosen)
    rows = [[Cell(str(place)), Cell(name, strong=True)] for place, name in enumerate(order.names, 1)]
    columns = [Column("#", kind="number"), Column(order.things[:-1])]
    return render(f"{picker.title}: {_count(len(order), order.things[:-1])}", columns, rows, note)
