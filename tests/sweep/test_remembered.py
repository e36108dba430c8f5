"""What a folder tells a later run: the same, whatever it was called and when it was; another, whatever it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from pumphouse.journal import Journal
from tests.labsite import LabSite
from tests.sweep.world import JOURNAL, World

Entry = tuple[str, Mapping[str, Any]]


def told(folder: Path, *entries: Entry, result: str = "failed", files: tuple[str, ...] = ()) -> list[str]:
    folder.mkdir()
    for name in files:
        (folder / name).write_text(str(folder), encoding="utf-8")
    journal = Journal.open(f"sqlite:///{folder / JOURNAL}")
    run_id = journal.start_run(notebook="sweep", template_digest="t", parameters={}, operator="olga", record=None)
    for event, data in entries:
        journal.write(run_id, "plan", "step:1", event, data)
    journal.end_run(run_id, result, f"ended in {folder}")
    journal.close()
    found = World(cast(LabSite, None), folder).remembered()
    return sorted(map(str, found))


INTENT: Entry = ("intent", {"absent": True})


def test_names_times_words_and_waiting_tell_nothing(tmp_path: Path) -> None:
    one = told(tmp_path / "a", INTENT, ("failed", {"error": "no way", "type": "CloudUnreachable"}), files=("x",))
    other = told(
        tmp_path / "b", INTENT, ("waited", {"pause_s": 2.5}), INTENT, ("failed", {"error": "503", "type": "ApiError"}),
        files=("x",),
    )  # fmt: skip
    assert one == other


@pytest.mark.parametrize(
    ("entries", "result", "files"),
    [
        ((INTENT,), "failed", ()),  # an event less
        ((INTENT, ("done", {"id": "a"})), "failed", ()),  # another outcome
        ((INTENT, ("done", {"id": "b"})), "succeeded", ()),
        ((INTENT, ("done", {"id": "b"})), "failed", ("x",)),
        (((INTENT[0], {"absent": False}), ("done", {"id": "b"})), "failed", ()),
        ((INTENT, ("failed", {"type": "PlanStale"})), "failed", ()),
    ],
)
def test_anything_else_does(tmp_path: Path, entries: tuple[Entry, ...], result: str, files: tuple[str, ...]) -> None:
    sound = told(tmp_path / "a", INTENT, ("done", {"id": "b"}))
    assert told(tmp_path / "b", *entries, result=result, files=files) != sound


def test_an_error_that_a_run_heeds_is_told_from_others(tmp_path: Path) -> None:
    stale = told(tmp_path / "a", INTENT, ("failed", {"error": "e", "type": "PlanStale"}))
    assert stale != told(tmp_path / "b", INTENT, ("failed", {"error": "e", "type": "StepError"}))
