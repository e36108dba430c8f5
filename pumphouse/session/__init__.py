"""One object that a notebook opens: ``run = pumphouse.begin(...)``; one verb of it per action cell."""

from pumphouse.session.report import Report, ServerReport, make_report
from pumphouse.session.run import Run, begin

__all__ = ["Report", "Run", "ServerReport", "begin", "make_report"]
