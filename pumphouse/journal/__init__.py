"""The journal: a write-ahead log of what was intended, what was done and what was verified.

It is the truth about a run; the executed notebook is only its readable face. Events are appended and
never changed. Intent is committed before a call leaves, the outcome after it, so that a killed process
leaves enough behind to go on. SQLite by default, any SQLAlchemy database by URL.
"""

from pumphouse.journal.states import PlanState
from pumphouse.journal.store import Event, Journal, RunRow, StepState

__all__ = ["Event", "Journal", "PlanState", "RunRow", "StepState"]
