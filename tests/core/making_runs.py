"""Runs for tests; apart from the other helpers because worker processes load it and nothing heavy with it."""

from __future__ import annotations

from typing import Any

from pumphouse.journal import Journal


def start_run(journal: Journal, **overrides: Any) -> str:
    values: dict[str, Any] = {
        "notebook": "test",
        "template_digest": "",
        "parameters": {},
        "operator": "tester",
        "record": None,
    }
    return journal.start_run(**values | overrides)
