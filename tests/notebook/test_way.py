"""The way through the runbooks: what each notebook says of itself, and which one is sensible next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pumphouse.approval import approve
from pumphouse.notebook.way import ago, next_step, pages_of, show_way
from tests.factories import uid
from tests.notebook.desk_of import DeskRun, desk_run, move_of

TEMPLATES = Path(__file__).parents[2] / "notebooks"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[DeskRun]:
    made = desk_run(tmp_path, notebook="00-start")
    yield made
    made.journal.close()


def step(run: Any, now: datetime | None = None) -> tuple[str, str]:
    found = next_step(run, pages_of(TEMPLATES), now or datetime.now(UTC))
    return found.notebook[:2], found.words


def test_every_template_says_what_it_is_for_and_what_it_changes() -> None:
    pages = pages_of(TEMPLATES)
    assert [page.file for page in pages] == sorted(file.name for file in TEMPLATES.glob("*.ipynb"))
    for page in pages:
        assert page.title, page.file
        assert page.purpose, page.file
        assert page.impact, page.file


def test_a_new_site_is_looked_at_first_then_checked(run: DeskRun) -> None:
    assert step(run)[0] == "01"
    run.journal.end_run(run.begin("01-inventory"), "succeeded")
    assert step(run)[0] == "02"
    run.journal.end_run(run.begin("notebooks/02-check.ipynb"), "succeeded")
    assert step(run) == ("02", "nothing is under way: plan the next move.")


def test_a_plan_goes_from_approval_over_moving_to_finalising(run: DeskRun) -> None:
    for notebook in ("01-inventory", "02-check"):
        run.journal.end_run(run.begin(notebook), "succeeded")
    plan = run.keep(move_of("web"), "proposed")
    notebook, words = step(run)
    assert notebook == "03"
    assert words.startswith(f"The move plan {plan.hash[:12]} of web waits for approval: its gate has a form")
    approve(plan, run.site.work_dir / "approvals", by="Ada", reason="window")
    assert step(run) == ("03", f"The move plan {plan.hash[:12]} of web is approved and waits.")
    run.keep(plan, "started")
    assert "was begun and is not finished" in step(run)[1]
    run.tell(run.id, plan, (f"settle:{uid('web')}", "verified"))
    run.keep(plan, "finished")
    assert "The sources of 1 moved servers can be deleted in" in step(run)[1]
    assert step(run, datetime.now(UTC) + timedelta(seconds=run.site.hold_s + 60))[0] == "04"


def test_what_is_begun_goes_on_in_the_notebook_that_began_it(run: DeskRun) -> None:
    plan = run.keep(replace(move_of("web"), kind="rollback"), "started")
    assert step(run)[0] == "05"
    other = run.begin("notebooks/03-move-servers.ipynb")
    run.set_out(other, plan)
    assert step(run) == (
        "03",
        f"The rollback plan {plan.hash[:12]} of web is under way in run {other}: watch it below.",
    )
    run.journal.end_run(other, "aborted")
    assert "was begun and is not finished" in step(run)[1]


def test_a_plan_that_a_later_one_replaced_waits_no_more(run: DeskRun) -> None:
    run.keep(move_of("web"), "proposed")
    later = run.keep(move_of("web", "db"), "proposed")
    assert later.hash[:12] in step(run)[1]


def test_the_way_is_a_table_with_links_and_how_it_went(run: DeskRun) -> None:
    run.journal.end_run(run.begin("01-inventory"), "failed")
    display = show_way(run, folder=TEMPLATES)  # type: ignore[arg-type]
    assert '<a href="01-inventory.ipynb">' in display.html
    assert "00-start" not in display.html
    (line,) = [line for line in display.text.splitlines() if "Inventory of both clouds" in line and "✖" in line]
    assert re.search(r"✖ failed \d+ s ago \(", line)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s ago (11:59 UTC)"), (600, "10 min 0 s ago (11:50 UTC)"), (90000, "1 day ago (2026-11-22 11:00 UTC)")],
)
def test_times_are_relative_and_absolute(seconds: int, words: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


def test_what_is_no_notebook_of_ours_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "empty.ipynb").write_text('{"cells": []}')
    (tmp_path / "plain.ipynb").write_text('{"cells": [{"cell_type": "markdown", "source": ["hello"]}]}')
    assert pages_of(tmp_path) == []
