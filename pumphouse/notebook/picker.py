"""Choosing servers in a notebook: set by parameters, adjusted by a person, read by the next cell.

The widget changes nothing but :attr:`Picker.value`. Shown in a record without a kernel it is a plain table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pumphouse.errors import SelectionError
from pumphouse.findings import Finding
from pumphouse.inventory import SCHEMAS, Inventory
from pumphouse.notebook.display import show
from pumphouse.notebook.grid import PickerView
from pumphouse.notebook.html import Display
from pumphouse.notebook.resume import Begun, begun_before
from pumphouse.notebook.sheets import sheet_of_servers
from pumphouse.notebook.totals import CopiedBytes, Totals, blocked_text, findings_of, obstacles
from pumphouse.notebook.widgets import Twin
from pumphouse.plan.after import cut_over_by, finalised
from pumphouse.plan.downtime import Rates, measured_rates
from pumphouse.plan.snapshot import copied_for
from pumphouse.selection import Choice, Selection, check_probe, check_table, choose
from pumphouse.session import Run
from pumphouse.site import Carry

#: Tells of some servers (ids) in words how long each will be down; None where nobody knows yet.
Forecast = Callable[[Sequence[str]], str | None]


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
    probe: str = "",
    findings: Iterable[Finding] = (),
    run: Run | None = None,
    forecast: Forecast | None = None,
) -> Picker:
    """A picker of the source's servers (read only), already set to what the parameters ask for.

    :param inventory: an inventory, or (part of) its servers table.
    :param preset: the other arguments as a mapping, or a Selection; not together with them.
    :param file: a selection file, instead of the arguments of
        :func:`pumphouse.selection.select_servers`; ``digest`` is the one that it must have.
    :param probe: how whatever is chosen is asked whether it serves (``tcp:22``, ``http:80/health``, ``ping``,
        ``none``), whatever ``site.yaml`` says; empty: as the file, or ``site.yaml``, says.
    :param findings: what checks say; servers can be filtered by the codes about them.
    :param run: where nothing is preset and a person runs the notebook, the servers of its last plan that was begun
        are chosen, so that running everything again after a restart goes on with it, or shows what it came to.
    :param forecast: tells in words how long servers will be down, among the totals; by default from what the run's
        journal holds of earlier cutovers.
    :raises SelectionError: the preset names what does not exist, is ambiguous, or matches nothing. A preset
        that asks for nothing is for a person to fill: until then :attr:`Picker.value` raises.
    """
    servers = inventory.servers if isinstance(inventory, Inventory) else inventory
    if isinstance(preset, Mapping):
        preset = dict(preset)
        probe = str(preset.pop("probe", "") or probe)
    if probe:
        check_probe(probe)
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
    chosen = _preset(servers, preset, {key: value for key, value in asked.items() if value})
    if chosen is not None and probe and probe != chosen.probe:
        chosen = replace(chosen, probe=probe)
    begun = begun_before(run, servers, probe) if run is not None and chosen is None else None
    if forecast is None and run is not None:
        forecast = _from_journal(measured_rates(run.journal))
    copied = None
    if isinstance(inventory, Inventory):
        carry = run.site.carry if run is not None else Carry()
        copied = partial(copied_for, inventory.source, inventory.destination, carry)
    marks = _moved(run) if run is not None else {}
    return Picker(
        servers, chosen, probe=probe, findings=findings, begun=begun, forecast=forecast, copied=copied, marks=marks
    )


def _moved(run: Run) -> dict[str, tuple[str, str]]:
    """Server id -> code and words of what the journal knows of its move: its source looks like any stopped server."""
    gone = finalised(run.journal)
    return {
        server_id: ("moved", f"moved by plan {plan_hash[:12]}")
        if serves
        else ("being-moved", f"being moved by plan {plan_hash[:12]}")
        for server_id, (plan_hash, serves) in cut_over_by(run.journal).items()
        if server_id not in gone
    }


def _from_journal(rates: Rates) -> Forecast:
    """What earlier cutovers took; a disk that is carried comes on top, which the plan foretells for each server."""
    words = f"{rates.cutover_s:.0f} s for each server, and longer where its disk is carried ({rates.basis})"
    return lambda _server_ids: words if rates.cutovers_s else f"not measured yet ({rates.basis})"


class Picker:
    """A widget over a servers table. ``value`` is the Selection as it stands now."""

    def __init__(
        self,
        servers: pd.DataFrame,
        preset: Selection | None,
        *,
        probe: str = "",
        findings: Iterable[Finding] = (),
        begun: Begun | None = None,
        forecast: Forecast | None = None,
        copied: CopiedBytes | None = None,
        marks: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self._servers = servers.sort_values(["project_name", "name"], kind="stable")
        self._preset, self._begun, self._forecast, self._copied = preset, begun, forecast, copied
        start = preset or (begun.selection if begun is not None else None)
        # whoever drops a server from a selection wants the others asked in the way that it names
        self._probe = start.probe if start is not None else probe
        self._chosen: frozenset[str] = frozenset(start.server_ids if start else ())
        self._obstacles = obstacles(self._servers)
        found = findings_of(self._servers, findings)
        self.view = PickerView(sheet_of_servers(self._servers, found, self._obstacles, marks or {}), self._choose)
        self.view.reset_button.on_click(lambda _: self.reset())
        self._tell()

    @property
    def widget(self) -> Any:
        """The whole widget."""
        return self.view.widget

    @property
    def value(self) -> Selection:
        """What is chosen: the preset's own Selection while nobody changed it, else one by ids.

        :raises SelectionError: nothing is chosen.
        """
        for known in (self._preset, self._begun.selection if self._begun else None):
            if known is not None and self._chosen == set(known.server_ids):
                return known
        if not self._chosen:
            raise SelectionError(
                "No server is chosen.",
                remedy="choose servers in the picker above; or name them with the notebook's parameters (projects, "
                "servers, ids, hosts, query), or a selection_file.",
            )
        ids = tuple(sorted(self._chosen))
        return Selection(ids, Choice(ids=ids), self._probe)

    @property
    def chosen(self) -> pd.DataFrame:
        """The chosen rows of the servers table; may be empty."""
        return self._servers.loc[self._servers.index.isin(self._chosen)]

    @property
    def totals(self) -> Totals:
        """What the chosen servers add up to."""
        return Totals.of(self.chosen, self._copied)

    def reset(self) -> None:
        """Choose what the parameters ask for again."""
        self._choose(frozenset(self._preset.server_ids if self._preset else ()))

    # --- how it looks ------------------------------------------------------------------------------

    def static(self) -> Display:
        """The choice as a plain table."""
        if not self._chosen:
            return show(self.chosen, title="Selection: no server is chosen yet")
        return show(self.chosen, title=f"Selection: {self.totals}")

    def __repr__(self) -> str:
        return self.static().text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return Twin(self.widget, self.static())._repr_mimebundle_(include, exclude)

    def _choose(self, server_ids: frozenset[str]) -> None:
        done = self._begun.selection.server_ids if self._begun is not None and self._begun.finished else ()
        if done and self._chosen == set(done) and server_ids > self._chosen:
            server_ids -= self._chosen  # a new choice begins: what is finished is no part of it
        if server_ids != self._chosen:
            self._chosen = server_ids
            self._tell()

    def _tell(self) -> None:
        """Show the choice and what it adds up to."""
        lines = [self._downtime(), blocked_text(self._chosen, self._obstacles)]
        if self._begun is not None and self._chosen == set(self._begun.selection.server_ids):
            lines.insert(0, self._begun.words)
        self.view.show(self._chosen, str(self.totals), [line for line in lines if line])

    def _downtime(self) -> str:
        if not self._chosen:
            return ""
        told = self._forecast(sorted(self._chosen)) if self._forecast is not None else None
        return f"Predicted downtime: {told or 'not measured yet'}"


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
