"""The fidelity ledger: for every object of a plan, what becomes of each field that the source has of it.

A field is *copied*, *mapped* to another value that says the same, *derived* at the destination, or *dropped*, and the
ledger says why. The rules are data, one module per service; where the treatment depends on the plan it is computed
from the plan. Nothing is left out: a field for which there is no rule is a defect (:data:`RULES`, ``unaccounted``).
"""

from pumphouse.ledger.rules import Rule, RuleBook, Treatment, join, leaves, shown, split, values_at
from pumphouse.ledger.table import COLUMNS, RULES, Entry, Gathered, entries, gather, ledger, summary

__all__ = [
    "COLUMNS",
    "RULES",
    "Entry",
    "Gathered",
    "Rule",
    "RuleBook",
    "Treatment",
    "entries",
    "gather",
    "join",
    "leaves",
    "ledger",
    "shown",
    "split",
    "summary",
    "values_at",
]
