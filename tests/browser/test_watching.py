"""A consultant with a slow move: chooses by keyboard, stops it, goes on, loses the page, finds the run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pumphouse.journal import Journal
from pumphouse.lab.jupyter import prepare
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
from pumphouse.stopping import STOP_KEY
from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, ERROR, JupyterLab, NotebookPage, jupyterlab, preset
from tests.browser.layout import table_faults
from tests.browser.test_jupyterlab import FORM, REPORT, SELECT, approve_by_keyboard, show
from tests.labsite import LabSite, start_lab

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = "03-move-servers"
CUT_OVER = "run.cut_over("
PREPARE = "run.prepare("
GATE = "run.require_approval("


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab that takes its time, with a site that moves one server after the other."""
    site = start_lab(tmp_path_factory, name="slow", scale=0.7).one_by_one()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def jupyter(lab: LabSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """JupyterLab on the lab's work folder, as `make lab` opens it."""
    work, environment = prepare(lab.directory)
    preset(work / f"{NOTEBOOK}.ipynb", "change", '"CHG-7"')
    with jupyterlab(work, environment, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def move(jupyter: JupyterLab, new_page: Callable[[], Page]) -> NotebookPage:
    """The move notebook, with nothing preset."""
    (opened,) = jupyter.open(**{NOTEBOOK: new_page()})
    return opened


def plan_of(lab: LabSite) -> Plan:
    """The one plan that was carried out."""
    journal = Journal.open(load_site(lab.site_file).journal_url)
    (document,) = journal.plan_documents(kind="move", states=("started", "finished"))
    journal.close()
    return Plan.from_document(document)


def states(lab: LabSite) -> dict[str, str]:
    """Server name -> its last cut-over step's state in the journal."""
    journal, plan = Journal.open(load_site(lab.site_file).journal_url), plan_of(lab)
    known = journal.step_states(plan.hash)
    journal.close()
    return {s.name: known[f"settle:{s.id}"].state if f"settle:{s.id}" in known else "new" for s in plan.servers}


def outputs(cell: Locator) -> Locator:
    """What a cell shows."""
    return cell.locator(".jp-OutputArea-output")


def test_a_cell_out_of_order_names_the_one_that_is_missing(move: NotebookPage, shoot: Shoot) -> None:
    cell = move.with_source(CUT_OVER)
    move.begin(cell)
    said = cell.locator(ERROR)
    expect(said).to_contain_text("Not yet: this cell needs “run”", timeout=CELL_MS)
    expect(said).to_contain_text('notebook="03-move-servers"')
    expect(said).to_contain_text("Run All Above Selected Cell")
    expect(cell).not_to_contain_text("Traceback (most recent call last)")
    show(cell)
    shoot(move.page, "out-of-order")


def test_servers_are_chosen_by_keyboard_alone(move: NotebookPage, shoot: Shoot) -> None:
    move.run_cell_by_cell(until=SELECT)
    picker, page = move.with_source(SELECT), move.page
    for label in ("Find", "Project", "State", "Host", "Flavor", "Image", "Finding", "Only the chosen ones"):
        expect(picker.get_by_label(label, exact=True)).to_have_count(1)
    expect(picker).to_contain_text("No server is chosen yet.")
    # arrow keys are the grid's, not JupyterLab's
    expect(picker.locator(".widget-vbox[data-lm-suppress-shortcuts]")).to_have_count(1)
    picker.get_by_label("Project", exact=True).focus()
    page.keyboard.type("globex")
    expect(picker).to_contain_text("3 of 39 servers match")
    rows = picker.locator("table.ph-grid tbody tr")
    expect(rows).to_have_count(3)
    for place, words in ((0, "1 server · "), (1, "2 servers · ")):
        # as Tab does it; JupyterLab may move the focus by itself once the cell has ended
        rows.nth(place).focus()
        expect(rows.nth(place)).to_be_focused()
        page.keyboard.press("Space")
        expect(picker).to_contain_text(words)
    expect(picker.locator("table.ph-grid tbody tr.selected")).to_have_count(2)
    picker.get_by_role("button", name="Choose all that match").focus()
    page.keyboard.press("Enter")
    expect(picker).to_contain_text("3 servers · 3 vCPU · ")
    picker.get_by_role("tab", name="By project").click()
    tree = picker.locator(".ph-tree")
    expect(tree.get_by_label("globex")).to_be_checked()
    tree.locator("summary", has_text="globex").focus()
    page.keyboard.press("Enter")
    expect(tree.locator(".ph-tree-member")).to_have_count(3)
    show(picker)
    shoot(page, "picker-tree")
    picker.get_by_role("tab", name="List").click()


def test_a_stop_ends_after_the_server_that_is_begun(move: NotebookPage, lab: LabSite, shoot: Shoot) -> None:
    move.run_cell_by_cell(after=SELECT, until=FORM)
    approve_by_keyboard(move.page, move.with_source(FORM))
    move.run_cell_by_cell(after=FORM, until='run.verify(plan, "prepare")')
    cell = move.with_source(CUT_OVER)
    move.begin(cell)
    expect(outputs(cell).first).to_contain_text("under way", timeout=CELL_MS)
    show(cell)
    shoot(move.page, "progress")
    cell.get_by_role("button", name="Stop after these servers").click()
    expect(cell).to_contain_text("Asked to stop: what is begun is finished")
    move.wait_for(cell)
    expect(cell.locator(ERROR)).to_contain_text("Nothing is half-way.")
    expect(cell.locator(ERROR)).to_contain_text("run the same cell (or notebook) again")
    assert sorted(states(lab).values()) == ["new", "new", "verified"]
    # lines of steps that ended after the click are in the cell, too
    expect(cell).to_contain_text("serves at the destination (")
    show(cell)
    shoot(move.page, "stopped")
    assert table_faults(move.page) == []


def test_the_run_outlives_the_page_and_is_found_again(
    move: NotebookPage, jupyter: JupyterLab, lab: LabSite, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    (start,) = jupyter.open(**{"00-start": new_page()})
    move.page.bring_to_front()
    move.save()
    cell = move.with_source(CUT_OVER)
    # a boot that takes long, so that there is something to find, however slow this machine is
    with lab.fault(service="destination.compute", method="POST", path="/servers$", kind="delay", delay_s=10):
        move.begin(cell)
        expect(outputs(cell).first).to_contain_text("1 of 3 servers done", timeout=CELL_MS)
        move.page.reload(wait_until="domcontentloaded")
        start.page.bring_to_front()
        start.run_cell_by_cell(until="pumphouse.watch(")
        watched = start.with_source("pumphouse.watch(")
        expect(watched).to_contain_text("03-move-servers, begun by")
        expect(watched).to_contain_text("Cutting over:")
        show(watched)
        shoot(start.page, "watched")
        watched.get_by_role("button", name="Stop now").click()
        expect(watched).to_contain_text("no further step begins")
        watched.get_by_role("button", name="Yes, stop now").click()
        expect(watched).to_contain_text("Asked to stop now")
    way = start.with_source("pumphouse.show_way(")
    show(way)
    shoot(start.page, "way")
    assert table_faults(start.page) == []


def test_restarting_the_kernel_and_running_everything_goes_on(move: NotebookPage, lab: LabSite, shoot: Shoot) -> None:
    assert "new" in states(lab).values() or "intent" in states(lab).values(), "there is nothing left to go on with"
    move.page.bring_to_front()
    expect(move.cells.first).to_be_visible(timeout=CELL_MS)
    move.wait_until_idle()
    move.restart_and_run_all()
    expect(move.with_source(SELECT)).to_contain_text("did not finish it: they are chosen")
    expect(move.with_source(REPORT)).to_contain_text("steps done and verified")
    assert set(states(lab).values()) == {"verified"}
    assert lab.violations() == []
    show(move.with_source(REPORT))
    shoot(move.page, "resumed")


def test_running_cells_twice_is_harmless_and_says_so(move: NotebookPage, lab: LabSite) -> None:
    before = [row for row in lab.requests() if row["method"] not in ("GET", "HEAD") and "/tokens" not in row["path"]]
    bind = move.with_source("pumphouse.begin(")
    move.begin(bind)
    move.wait_for(bind)
    move.begin(bind)
    move.wait_for(bind)
    expect(bind).to_contain_text("goes on. Nothing was begun anew.")
    cell = move.with_source(GATE)
    move.begin(cell)
    move.wait_for(cell)
    for again in (PREPARE, CUT_OVER):
        cell = move.with_source(again)
        move.begin(cell)
        move.wait_for(cell)
        expect(outputs(cell).first).to_contain_text("nothing to do")
    after = [row for row in lab.requests() if row["method"] not in ("GET", "HEAD") and "/tokens" not in row["path"]]
    assert after == before


def test_both_stops_are_in_the_journal_with_who_asked(lab: LabSite) -> None:
    journal = Journal.open(load_site(lab.site_file).journal_url)
    events = journal.events(step_key=STOP_KEY)
    journal.close()
    assert [event.event for event in events] == ["stop-asked", "stopped"] * 2
    assert [event.data["kind"] for event in events[::2]] == ["after-server", "now"]
    assert all("@" in event.data["by"] for event in events)
