"""What a notebook or a runbook cannot begin without, said before anything runs, in the same words for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumphouse.errors import ParameterError, RunbookError
from pumphouse.near import did_you_mean
from pumphouse.nodes.spec import Hardware
from pumphouse.records.sheet import is_empty
from pumphouse.runner.parameters import CommandLineText, Parameter

#: What a parameter may hold names of.
KINDS = ("nodes", "hosts", "files")
_KEY = "pumphouse"


@dataclass(frozen=True)
class Needs:
    """What a template says of its parameters in its ``parameters`` cell's metadata, under ``pumphouse``.

    ``needs``: groups of parameters of which at least one has to have a value where nobody can choose instead.
    ``of``: parameter -> ``nodes`` or ``hosts``: it holds names of those that ``site.yaml`` describes; or ``files``: it
    is a file's, and one that was typed is meant from the folder in which it was typed, not from the notebook's.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    of: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, notebook: Any, known: Mapping[str, Parameter], name: str) -> Needs:
        """What a notebook in memory says.

        :raises RunbookError: when it names what is none of its parameters.
        """
        said: Mapping[str, Any] = {}
        for cell in notebook["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                said = cell["metadata"].get(_KEY, {})
        groups, of = tuple(tuple(group) for group in said.get("needs", ())), dict(said.get("of", {}))
        strange = {*(one for group in groups for one in group), *of} - known.keys()
        if strange or set(of.values()) - set(KINDS):
            raise RunbookError(
                f"Notebook {name}: the metadata of its parameters cell speaks of {', '.join(sorted(strange)) or of}.",
                remedy=f"name parameters of the cell, and {' or '.join(KINDS)}.",
            )
        return cls(groups, of)

    def placed(self, given: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
        """The values with the files that were typed found from here, unless only the notebook's folder has them."""
        placed = dict(checked)
        for name in (name for name, kind in self.of.items() if kind == "files"):
            if isinstance(given.get(name), CommandLineText) and given[name] and Path(given[name]).exists():
                placed[name] = str(Path(given[name]).absolute())
        return placed

    def missing(self, values: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
        """Groups of which no parameter has a value."""
        return tuple(group for group in self.groups if all(is_empty(values.get(name)) for name in group))


def require_values(
    what: str, name: str, known: Mapping[str, Parameter], missing: Sequence[Sequence[str]], hints: str = ""
) -> None:
    """:raises ParameterError: when anything is missing, naming every parameter with its type and help."""
    if not missing:
        return
    groups = [group[0] if len(group) == 1 else f"any of {', '.join(group)}" for group in missing]
    listing = "; ".join(f"{one}: {known[one].type}, {known[one].help}" for group in missing for one in group)
    raise ParameterError(
        f"{what} {name}: no value for {', nor for '.join(groups) if len(groups) > 1 else groups[0]}.",
        remedy=f"give -p NAME=VALUE: {listing}.{hints}",
    )


def require_known(what: str, name: str, of: Mapping[str, str], values: Mapping[str, Any], hardware: Hardware) -> None:
    """Every node and host that is named is one of the site's, lest it be found out when its turn comes.

    :raises ParameterError: naming the first that is not.
    """
    hosts = {node.host for node in hardware.nodes.values() if node.host}
    for parameter, kind in of.items():
        if kind == "files":
            continue
        known = hosts if kind == "hosts" else hosts | set(hardware.nodes)
        strange = next((one for one in _names(values.get(parameter)) if one not in known), None)
        if strange is not None:
            near = did_you_mean(str(strange), sorted(known))
            raise ParameterError(
                f"{what} {name}: '{parameter}' names {strange!r}, and site.yaml describes no "
                f"{'nova host' if kind == 'hosts' else 'node'} of that name{near}.",
                remedy=f"use some of: {', '.join(sorted(known)) or 'none'}.",
            )


def _names(value: Any) -> Iterable[Any]:
    given = value if isinstance(value, list) else [value]
    return [one for one in given if one]
