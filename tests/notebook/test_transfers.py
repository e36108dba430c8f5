"""How far a transfer is, is written into the journal now and then, and never in its way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pumphouse.errors import JournalError
from pumphouse.steps.progress import BYTES_KEY, Progress, bytes_noted, duration_text
from tests.notebook.desk_of import desk_run, move_of


def test_bytes_are_noted_every_few_seconds(tmp_path: Path) -> None:
    run, now = desk_run(tmp_path), [0.0]
    plan = run.keep(move_of("web"), "started")
    ctx: Any = SimpleNamespace(journal=run.journal, run_id=run.id, plan=plan)
    note = bytes_noted(ctx, plan.step("image:one"))
    progress = Progress(lambda _line: None, "image", 100, clock=lambda: now[0], note=note, note_s=2.0)
    for second in range(1, 6):
        now[0] = float(second)
        progress(10 * second)
    noted = [event.data for event in run.journal.events(step_key=BYTES_KEY)]
    assert noted == [
        {"step": "image:one", "passed_bytes": 20, "bytes_per_s": 10},
        {"step": "image:one", "passed_bytes": 40, "bytes_per_s": 10},
    ]
    # they are no part of any step's life
    assert run.journal.step_states(plan.hash) == {}
    run.journal.close()


def test_a_journal_that_cannot_be_written_breaks_no_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = desk_run(tmp_path)
    plan = run.keep(move_of("web"), "started")

    def refuse(*_words: Any, **_more: Any) -> None:
        raise JournalError("locked")

    monkeypatch.setattr(run.journal, "write", refuse)
    ctx: Any = SimpleNamespace(journal=run.journal, run_id=run.id, plan=plan)
    bytes_noted(ctx, plan.step("image:one"))(1, 1.0)
    run.journal.close()


@pytest.mark.parametrize(("seconds", "words"), [(12.4, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")])
def test_durations_are_for_people(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words
