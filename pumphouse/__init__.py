"""pumphouse: empty an old OpenStack cloud into a new one, server by server, with a record of every change.

A notebook opens a :class:`~pumphouse.session.Run` with :func:`begin` and calls one verb of it per cell.
Everything here is loaded when first used, so that importing a part never loads the whole.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "PumphouseError": "pumphouse.errors",
    "Run": "pumphouse.session",
    "approval_form": "pumphouse.notebook.approving",
    "begin": "pumphouse.notebook.opening",
    "Site": "pumphouse.site",
    "keep_order": "pumphouse.notebook.ordering",
    "load_site": "pumphouse.site",
    "select": "pumphouse.notebook",
    "select_hosts": "pumphouse.notebook.ordering",
    "select_nodes": "pumphouse.notebook.ordering",
    "show": "pumphouse.notebook",
    "show_approval": "pumphouse.notebook.runs",
    "show_evidence": "pumphouse.notebook.runs",
    "show_facts": "pumphouse.notebook",
    "show_findings": "pumphouse.notebook",
    "show_graph": "pumphouse.notebook.graph",
    "show_ledger": "pumphouse.notebook.ledger",
    "show_nodes": "pumphouse.notebook.runs",
    "show_map": "pumphouse.notebook.sides",
    "show_plan": "pumphouse.notebook.runs",
    "show_report": "pumphouse.notebook.runs",
    "show_run": "pumphouse.notebook.runs",
    "show_sides": "pumphouse.notebook.sides",
    "show_site": "pumphouse.notebook.sitemap",
    "show_way": "pumphouse.notebook.way",
    "watch": "pumphouse.notebook.panel",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pumphouse' has no attribute '{name}'")
