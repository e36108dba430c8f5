"""The ledger of a plan as a table: small whatever the plan's size, because what is alike stands in one row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import pandas as pd

from pumphouse.inventory import Inventory
from pumphouse.ledger import compute, identity, images, networks, others
from pumphouse.ledger.cases import World, cases
from pumphouse.ledger.rules import Rule, RuleBook, Treatment, Verdict
from pumphouse.plan.model import Plan

#: The rules of all types that a source shows.
RULES = RuleBook({**identity.RULES, **images.RULES, **compute.RULES, **networks.RULES, **others.RULES})

#: Columns of :func:`ledger`; all are text but ``objects``.
COLUMNS = (
    *("type", "object", "objects", "field", "treatment", "source_value", "destination_value", "destination_field"),
    "reason",
)
#: How many different objects of one treatment get a row each, unless asked otherwise.
EACH = 25
_NAMES = 3


Values = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of one field of one object; ``key`` is the object's (empty: all objects of the type alike)."""

    type: str
    key: str
    label: str
    field: str
    treatment: Treatment
    source: str | None
    destination: str | None
    to: str
    reason: str


def entries(
    plan: Plan, inventory: Inventory, *, mapped: Callable[[str, str], str | None] | None = None
) -> Iterator[Entry]:
    """The ledger line by line, for every object of a plan (read only; asks no cloud).

    :param mapped: (kind, source id) -> destination id, as the journal knows them; without it what has an id of its
        own at the destination is told by a phrase.
    """
    seen: set[str] = set()
    world = World.of(plan, inventory, mapped)
    # nova-network's records look the same on both sides; the rules name Neutron's fields
    alike = frozenset(networks.RULES) if world.is_nova else frozenset()
    for case in cases(world):
        for rule in RULES.of(case.kind):
            if rule.decide is not None:
                found = rule.decide(case)
                for verdict in (found,) if isinstance(found, Verdict) else found:
                    yield _entry(rule, case.kind, case.key, case.label, verdict, alike)
            elif case.kind not in seen:
                yield _entry(rule, case.kind, "", "", Verdict(rule.treatment), alike)
        seen.add(case.kind)


def _entry(rule: Rule, kind: str, key: str, label: str, verdict: Verdict, alike: Collection[str]) -> Entry:
    return Entry(
        kind,
        key,
        label,
        verdict.field or rule.field,
        verdict.treatment,
        verdict.source,
        verdict.destination,
        rule.field if kind in alike else rule.to or rule.field,
        verdict.reason or rule.reason,
    )


@dataclass
class Gathered:
    """The ledger of a plan, with what is alike put together; :func:`gather` makes it."""

    objects: dict[str, set[str]] = field(default_factory=dict)
    groups: dict[tuple[str, str, Treatment, str, str], dict[Values, list[str]]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count one line."""
        if entry.key:
            self.objects.setdefault(entry.type, set()).add(entry.key)
        group = (entry.type, entry.field, entry.treatment, entry.to, entry.reason)
        self.groups.setdefault(group, {}).setdefault((entry.source, entry.destination), []).append(entry.label)

    def rows(self, *, each: int | None = EACH) -> list[list[str | int | None]]:
        """Rows as :func:`ledger` describes them, in the order of :data:`COLUMNS`."""
        rows: list[list[str | int | None]] = []
        for (kind, name, treatment, to, reason), values in self.groups.items():
            every = len(self.objects.get(kind, ()))
            if each is not None and len(values) > each:
                words = f"({len(values):,} different)"
                values = {(words, words): [label for found in values.values() for label in found]}
            for (source, destination), labels in values.items():
                number = len(labels) if any(labels) else every
                rows.append([kind, _names(labels), number, name, str(treatment), source, destination, to, reason])
        return rows

    def table(self, *, each: int | None = EACH) -> pd.DataFrame:
        """The rows as :func:`ledger` returns them."""
        table = pd.DataFrame(self.rows(each=each), columns=list(COLUMNS))
        text = {name: "string" for name in COLUMNS if name != "objects"}
        return table.astype({**text, "objects": "Int64"})


def gather(plan: Plan, inventory: Inventory, *, mapped: Callable[[str, str], str | None] | None = None) -> Gathered:
    """All lines of a plan's ledger, put together (read only; asks no cloud)."""
    found = Gathered()
    for entry in entries(plan, inventory, mapped=mapped):
        found.add(entry)
    return found


def ledger(
    plan: Plan,
    inventory: Inventory,
    *,
    mapped: Callable[[str, str], str | None] | None = None,
    each: int | None = EACH,
) -> pd.DataFrame:
    """What becomes of every field of every object in a plan (read only; asks no cloud).

    One row per type, field, treatment and pair of values:

    ``type``: the API's word for the kind of object · ``object``: the names of those that the row is about ·
    ``objects``: how many these are (Int64) · ``field``: as the source's API names it; ``db:`` where only its database
    has it · ``treatment``: copied, mapped, derived or dropped · ``source_value``, ``destination_value``: <NA> where
    there is none or it is not known; secrets read "(not shown)" · ``destination_field``: where the destination shows
    it · ``reason``: why, as a sentence.

    :param mapped: (kind, source id) -> destination id, e.g. :meth:`pumphouse.journal.Journal.mapping`.
    :param each: when more than so many pairs of values share field, treatment and reason they become one row that
        counts them; None: never.
    """
    return gather(plan, inventory, mapped=mapped).table(each=each)


def _names(labels: list[str]) -> str:
    found = [label for label in dict.fromkeys(labels) if label]
    if not found:
        return "all"
    more = len(found) - _NAMES
    return ", ".join(found[:_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """How many fields of each type are copied, mapped, derived and dropped (a field may be treated in several ways).

    One row per type: ``type`` (index), ``objects`` and one Int64 column per treatment.
    """
    counted = table.groupby(["type", "treatment"], sort=False)["field"].nunique().unstack(fill_value=0)
    counted = counted.reindex(columns=[str(t) for t in Treatment], fill_value=0).astype("Int64")
    counted.insert(0, "objects", table.groupby("type")["objects"].max())
    counted.columns.name = None
    return counted.reindex(list(dict.fromkeys(table["type"])))
