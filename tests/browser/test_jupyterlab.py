"""A consultant moves a project in JupyterLab, cell by cell; then runs everything again; then meets a refusal."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.site import Site, load_site
from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, ERROR, JupyterLab, NotebookPage, preset
from tests.browser.layout import table_faults
from tests.labsite import LabSite

pytestmark = pytest.mark.browser

TEMPLATES = Path(__file__).resolve().parents[2] / "notebooks"
USED = ("02-check.ipynb", "03-move-servers.ipynb")
SERVERS = {"shop", "erp", "mail"}
SELECT = "choice = pumphouse.select("
CHOSEN = "selection = choice.value"
PLAN = "pumphouse.show_plan("
BLOCKS = "run.require_clean("
REPORT = "pumphouse.show_report("
FORM = "pumphouse.approval_form("


def digests() -> dict[str, str]:
    """SHA-256 of each template that is used here."""
    return {name: hashlib.sha256((TEMPLATES / name).read_bytes()).hexdigest() for name in USED}


def changes(lab: LabSite) -> list[str]:
    """Every request so far that may have changed a cloud; logging in is none."""
    rows = [row for row in lab.requests() if row["method"] not in ("GET", "HEAD") and "/tokens" not in row["path"]]
    return [f"{row['service']} {row['method']} {row['path']}" for row in rows]


def files(folder: Path) -> set[Path]:
    """All files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def show(cell: Locator) -> None:
    """Bring a cell to the top of the window."""
    cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")


def approve_by_keyboard(page: Page, form: Locator) -> None:
    """Fill the approval form in without touching the mouse, from its first field on."""
    form.get_by_label("Approved by").focus()
    button = form.get_by_role("button", name="Approve plan")
    expect(button).to_be_disabled()
    page.keyboard.type("Ada Reviewer")
    page.keyboard.press("Tab")
    page.keyboard.type("Bo Second")
    page.keyboard.press("Tab")
    page.keyboard.type("browser test")
    page.keyboard.press("Tab")
    page.keyboard.type("CHG-7")
    expect(button).to_be_enabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(form).to_contain_text("Run the next cell to go on")
    # all of what was typed, however slow the kernel was when the button was pressed
    for row, words in (("approved by", "Ada Reviewer"), ("second person", "Bo Second"), ("reason", "browser test")):
        expect(form.locator("tr", has_text=row)).to_contain_text(words)
    expect(form.locator("tr", has_text="ticket")).to_have_text(re.compile(r"ticket\s*CHG-7"))


@dataclass(frozen=True)
class Moved:
    """What is left after the check and the move notebook have run cell by cell."""

    site: Site
    journal: Journal
    plan: Plan
    check: NotebookPage
    check_plan: str
    check_faults: list[str]
    move: NotebookPage
    templates_before: dict[str, str]

    def events(self) -> int:
        """How many lines the journal has."""
        return len(self.journal.events())

    def results(self, notebook: str) -> list[str | None]:
        """The results of a notebook's runs, oldest first."""
        return [run.result for run in self.journal.list_runs() if run.notebook == notebook]


@pytest.fixture(scope="module")
def moved(lab: LabSite, jupyter: JupyterLab, new_page: Callable[[], Page], shoot: Shoot) -> Iterator[Moved]:
    """Project globex, moved by somebody at the keyboard and approved by somebody else."""
    before = digests()
    for name in USED:
        preset(jupyter.work / name, "projects", '["globex"]')
    # windows that are not in front are throttled by the browser
    check, move = jupyter.open(**{"02-check": new_page(), "03-move-servers": new_page()})
    check.page.bring_to_front()
    check.run_cell_by_cell()
    for name, text in (("check-inventory", "run.inventory()"), ("check-picker", SELECT), ("check-plan", PLAN)):
        show(check.with_source(text))
        shoot(check.page, name)
    check_plan = check.with_source(PLAN).locator(".jp-OutputArea-output").inner_text()
    check_faults = table_faults(check.page)
    check.save()

    site = load_site(lab.site_file)
    journal = Journal.open(site.journal_url)
    (document,) = journal.plan_documents(kind="move")
    plan = Plan.from_document(document)

    move.page.bring_to_front()
    move.run_cell_by_cell(until=FORM)
    form = move.with_source(FORM)
    approve_by_keyboard(move.page, form)
    show(form)
    shoot(move.page, "approved")
    move.run_cell_by_cell(after=FORM)
    for name, text in (("move-gate", "run.require_approval("), ("move-report", "run.cut_over("), ("move-end", REPORT)):
        show(move.with_source(text))
        shoot(move.page, name)
    move.save()
    yield Moved(site, journal, plan, check, check_plan, check_faults, move, before)
    journal.close()


def test_the_check_shows_the_plan_that_was_approved(moved: Moved) -> None:
    assert moved.plan.hash in moved.check_plan
    assert f"3 servers, {len(moved.plan.steps)} steps" in moved.check_plan


def test_every_server_is_reported_as_moved(moved: Moved) -> None:
    report = moved.move.with_source(REPORT).locator(".jp-OutputArea-output")

    steps = len(moved.plan.steps)
    expect(report).to_contain_text(f"Result: {steps} of {steps} steps done and verified")
    rows = [row.split("\t") for row in report.locator("tbody tr").all_inner_texts()]
    assert {row[1]: row[0] for row in rows} == dict.fromkeys(SERVERS, "● moved")


def test_evidence_and_approval_are_words_for_people(moved: Moved) -> None:
    evidence = moved.move.with_source('run.verify(plan, "cutover")').locator(".jp-OutputArea-output")
    (shop,) = [server for server in moved.plan.servers if server.name == "shop"]
    expect(evidence).to_contain_text(f"addresses={shop.addresses[0]} (fa:16:3e:")
    expect(evidence).not_to_contain_text("{")
    approval = moved.move.with_source("run.require_approval(").locator(".jp-OutputArea-output")
    expect(approval.locator("tr", has_text="approved at")).to_contain_text(" UTC")
    expect(approval.locator("tr", has_text="second person")).to_contain_text("Bo Second")


def test_the_journal_says_so_too(moved: Moved) -> None:
    assert moved.results("02-check")[0] == "succeeded"
    assert moved.results("03-move-servers")[0] == "succeeded"
    assert {state.state for state in moved.journal.step_states(moved.plan.hash).values()} == {"verified"}


def test_the_guests_changed_clouds_and_no_law_was_broken(moved: Moved, lab: LabSite) -> None:
    addresses = {address for server in moved.plan.servers for address in server.addresses}
    last = {row["address"]: row for row in lab.history() if row["address"] in addresses}

    assert {row["event"] for row in last.values()} == {"on"}
    ids = {moved.journal.mapping("server", server.id) for server in moved.plan.servers}
    assert {row["server_id"] for row in last.values()} == ids
    assert lab.violations() == []


def test_templates_are_untouched_and_the_copies_hold_the_evidence(moved: Moved, jupyter: JupyterLab) -> None:
    assert digests() == moved.templates_before
    for name in USED:
        copy = json.loads((jupyter.work / name).read_text(encoding="utf-8"))
        cells = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in cells)
        assert any(cell["outputs"] for cell in cells)


def test_no_table_is_broken_or_cut(moved: Moved) -> None:
    assert moved.check_faults == []
    moved.move.page.bring_to_front()
    assert table_faults(moved.move.page) == []


@pytest.fixture(scope="module")
def again(moved: Moved, lab: LabSite) -> dict[str, Any]:
    """Restart Kernel and Run All Cells, after the move."""
    before = {"changes": changes(lab), "history": lab.history()}
    moved.move.page.bring_to_front()
    moved.move.restart_and_run_all()
    return before


def test_running_everything_again_changes_nothing(moved: Moved, again: dict[str, Any], lab: LabSite) -> None:
    assert moved.results("03-move-servers") == ["succeeded", "nothing-to-do"]
    assert changes(lab) == again["changes"]
    assert lab.history() == again["history"]
    expect(moved.move.with_source(REPORT)).to_contain_text(f"of {len(moved.plan.steps)} steps done and verified")


def test_the_picker_changes_its_value_and_nothing_else(
    moved: Moved, again: dict[str, Any], lab: LabSite, shoot: Shoot
) -> None:
    page, cells = moved.move.page, moved.move.cells.count()
    picker = moved.move.with_source(SELECT)
    show(picker)
    rows = picker.locator("table.ph-grid tbody tr")
    expect(picker).to_contain_text("39 of 39 servers match")
    expect(picker).to_contain_text("3 servers · ")
    output = picker.locator(".jp-OutputArea-output")
    assert output.evaluate("box => [box.scrollWidth - box.clientWidth, box.scrollHeight - box.clientHeight]") == [0, 0]
    before = (moved.events(), changes(lab), lab.history(), files(moved.site.work_dir))

    # letters that are JupyterLab's own shortcuts outside an input field
    picker.get_by_label("Find", exact=True).click()
    page.keyboard.type("web")
    expect(rows).to_have_count(2)
    expect(picker).to_contain_text("2 of 39 servers match · 3 chosen ones are not among them")
    rows.filter(has_text="web1").click()
    expect(picker).to_contain_text("4 servers · ")
    expect(rows.filter(has_text="web1")).to_have_class(re.compile("selected"))
    shoot(page, "picker-filtered")
    page.get_by_role("button", name="Choose all that match").click()
    expect(picker).to_contain_text("5 servers · ")

    assert moved.move.cells.count() == cells
    assert (moved.events(), changes(lab), lab.history(), files(moved.site.work_dir)) == before
    chosen = moved.move.with_source(CHOSEN)
    moved.move.select(chosen)
    moved.move.run(chosen)
    expect(chosen).to_contain_text("5 servers, digest ")
    expect(chosen.locator("tbody tr")).to_have_count(5)

    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("button", name="Back to preset").click()
    expect(picker).to_contain_text("3 servers · ")
    moved.move.select(chosen)
    moved.move.run(chosen)
    expect(chosen).to_contain_text(f"3 servers, digest {moved.plan.selection_digest}")


def test_a_dirty_project_stops_at_the_check_with_a_sentence(moved: Moved, lab: LabSite, shoot: Shoot) -> None:
    notebook, before = moved.check, changes(lab)
    notebook.page.bring_to_front()

    notebook.retype('projects: list = ["globex"]', 'projects: list = ["initech"]')
    notebook.run_all()

    stopped = notebook.with_source(BLOCKS)
    said = stopped.locator(ERROR)
    expect(said).to_contain_text("ChecksFailed: 3 findings block this run; nothing was changed:", timeout=CELL_MS)
    expect(said).to_contain_text("[server-state] server printer: ")
    expect(said).to_contain_text("Remedy: mend each of them, or leave the objects out of the selection")
    show(stopped)
    shoot(notebook.page, "refused")
    expect(notebook.code.locator(ERROR)).to_have_count(1)
    expect(notebook.with_source(REPORT).locator(".jp-OutputArea-output")).to_have_count(0)
    assert table_faults(notebook.page) == []
    assert changes(lab) == before
