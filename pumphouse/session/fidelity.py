"""The ledger of a plan as a run takes it: table, counts and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pumphouse.errors import PlanError
from pumphouse.fileio import write_atomic
from pumphouse.inventory import Inventory
from pumphouse.journal import Journal
from pumphouse.ledger import COLUMNS, Treatment, gather, summary
from pumphouse.plan.model import Plan

LEDGER_SCHEMA = 1
#: In the file, more than so many objects of one treatment with values of their own become one row.
EACH_IN_FILE = 200


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What becomes of every field of every object in a plan.

    ``table`` and ``by_type`` are those of :func:`pumphouse.ledger.ledger` and :func:`pumphouse.ledger.summary`;
    ``file`` holds the longer table as JSON.
    """

    plan_hash: str
    table: pd.DataFrame
    by_type: pd.DataFrame
    file: Path

    @property
    def counts(self) -> dict[str, int]:
        """Treatment -> how many fields of all types are treated so."""
        return {str(treatment): int(self.by_type[str(treatment)].sum()) for treatment in Treatment}

    @property
    def sentence(self) -> str:
        """The counts in words."""
        told = ", ".join(f"{number:,} {word}" for word, number in self.counts.items())
        return (
            f"{int(self.by_type['objects'].sum()):,} objects of {len(self.by_type)} types; of the fields that the "
            f"supported releases show of such types {told}"
        )

    def rows(self, treatment: Treatment) -> pd.DataFrame:
        """The table's rows of one treatment."""
        return self.table[self.table["treatment"] == str(treatment)]


def take_ledger(plan: Plan, inventory: Inventory, journal: Journal, folder: Path) -> Fidelity:
    """Make the ledger of a move plan and write it down (read only on both clouds; mode 0600).

    :raises PlanError: when it is not a move plan.
    """
    if plan.kind != "move":
        raise PlanError(
            f"Plan {plan.hash[:12]} is a {plan.kind} plan: only a move carries fields.",
            remedy="look at the ledger of the move that it belongs to.",
        )
    known = journal.mappings()
    found = gather(plan, inventory, mapped=lambda kind, key: known.get((kind, key)))
    table = found.table()
    by_type = summary(table)
    rows = found.rows(each=EACH_IN_FILE)
    document = {"schema": LEDGER_SCHEMA, "plan": plan.hash, "columns": list(COLUMNS), "rows": rows}
    file = folder / f"{plan.hash}.json"
    write_atomic(file, json.dumps(document, ensure_ascii=False) + "\n", mode=0o600)
    return Fidelity(plan.hash, table, by_type, file)
