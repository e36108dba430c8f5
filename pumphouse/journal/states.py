"""The words in which the journal says where a plan stands."""

from __future__ import annotations

from enum import StrEnum


class PlanState(StrEnum):
    """Where a plan stands.

    ``proposed``: made, nothing done. ``started``: some of it was done. ``finished``: all steps are verified.
    ``undone``: what it moved was rolled back. ``superseded``: it was begun and given up for a later plan.
    """

    PROPOSED = "proposed"
    STARTED = "started"
    FINISHED = "finished"
    UNDONE = "undone"
    SUPERSEDED = "superseded"

    @property
    def is_over(self) -> bool:
        """Whether nothing of the plan is left to do, whoever approves it."""
        return self in (PlanState.FINISHED, PlanState.UNDONE, PlanState.SUPERSEDED)
