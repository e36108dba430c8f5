"""One object that a notebook opens: ``run = pumphouse.begin(...)``; one verb of it per action cell."""

from pumphouse.session.fidelity import Fidelity
from pumphouse.session.report import ObjectReport, Report, ServerReport, make_report
from pumphouse.session.run import Run, begin

__all__ = ["Fidelity", "ObjectReport", "Report", "Run", "ServerReport", "begin", "make_report"]
