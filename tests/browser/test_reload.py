"""The page is loaded anew while a cell works: the cell goes on in its place, with bytes, rate, time left and stops."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from pumphouse.journal import Journal
from pumphouse.lab.jupyter import prepare
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
from pumphouse.stopping import STOP_KEY
from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, ERROR, JupyterLab, NotebookPage, jupyterlab, preset, read_notebook
from tests.browser.layout import table_faults
from tests.browser.test_jupyterlab import FORM, REPORT, approve_by_keyboard, show
from tests.labsite import LabSite, start_lab

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = "03-move-servers"
GATE = "run.require_approval("
PREPARE = "run.prepare("
CUT_OVER = "run.cut_over("
#: How long one call takes while a page is loaded anew, however slow this machine is.
SLOW_S = 25
COPIED = re.compile(r"[\d.]+ [KM]iB of 8.0 MiB of images copied at [\d.]+ [KM]iB/s · about (\d+ min )?\d+ s left")
ENDED = re.compile(r"^\[\d+\]:$")
SAVES = f"**/api/contents/{NOTEBOOK}.ipynb*"
CELLS = "**/pumphouse/cells/*"


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab that takes its time, with a site that does one step after the other."""
    site = start_lab(tmp_path_factory, name="reload", scale=0.7).one_by_one()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def jupyter(lab: LabSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """JupyterLab as `make lab` opens it."""
    work, environment = prepare(lab.directory)
    preset(work / f"{NOTEBOOK}.ipynb", "projects", '["globex"]')
    with jupyterlab(work, environment, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def move(jupyter: JupyterLab, new_page: Callable[[], Page]) -> NotebookPage:
    """The move notebook, up to its approval."""
    (opened,) = jupyter.open(**{NOTEBOOK: new_page()})
    opened.run_cell_by_cell(until=FORM)
    approve_by_keyboard(opened.page, opened.with_source(FORM))
    opened.run_cell_by_cell(after=FORM, until=GATE)
    return opened


def reload(move: NotebookPage) -> None:
    """As F5 does it."""
    move.page.reload(wait_until="domcontentloaded")
    expect(move.cells.first).to_be_visible(timeout=CELL_MS)


def progress_in(cell: Locator) -> Locator:
    """What a cell shows of its work in a page that was loaded anew, found as a screen reader finds it."""
    return cell.get_by_role("region", name="Progress of this cell")


def ended(cell: Locator) -> None:
    """Wait until the page shows a cell as ended, with nothing live left in it."""
    expect(cell.locator(".jp-InputPrompt")).to_have_text(ENDED, timeout=CELL_MS)
    expect(progress_in(cell)).to_have_count(0, timeout=CELL_MS)


def copied(live: Locator) -> str:
    """How much the live line tells of."""
    found = re.search(r"([\d.]+ (?:B|KiB|MiB)) of 8.0 MiB of images copied", live.inner_text())
    assert found is not None
    return found[1]


def size_of(words: str) -> float:
    """The same in bytes."""
    number, unit = words.split()
    return float(number) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]


def save_late(route: Route) -> None:
    """A notebook that is written at once, by a server whose answer takes its time."""
    answer = route.fetch()
    time.sleep(1.5 if route.request.method == "PUT" else 0.0)
    route.fulfill(response=answer)


def tell_late(route: Route) -> None:
    """Several cells have ended when the page hears of the first."""
    time.sleep(2)
    route.continue_()


def states(lab: LabSite) -> list[str]:
    """The states of the servers that began to serve."""
    journal = Journal.open(load_site(lab.site_file).journal_url)
    (document,) = journal.plan_documents(kind="move", states=("started", "finished"))
    known = journal.step_states(Plan.from_document(document).hash)
    journal.close()
    return [state.state for key, state in known.items() if key.startswith("settle:")]


def saved(jupyter: JupyterLab, source: str) -> list[nbformat.NotebookNode]:
    """The outputs of a cell as they are in the notebook's file."""
    book = read_notebook(jupyter.work / f"{NOTEBOOK}.ipynb")
    (cell,) = [cell for cell in book.cells if source in cell.source]
    return list(cell.outputs)


def test_bytes_rate_and_time_left_move_on_in_the_reloaded_page(move: NotebookPage, lab: LabSite, shoot: Shoot) -> None:
    lab.control("POST", "/timing", image_mib_per_s=0.15)
    cell = move.with_source(PREPARE)
    move.begin(cell)
    expect(cell).to_contain_text(" of images copied at ", timeout=CELL_MS)
    reload(move)
    live = progress_in(cell)
    expect(live).to_contain_text(COPIED, timeout=CELL_MS)
    expect(live).to_be_in_viewport()
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    expect(live.get_by_role("progressbar", name="Steps verified")).to_have_count(1)
    for name in ("Stop after these servers", "Stop now"):
        expect(live.get_by_role("button", name=name)).to_be_enabled()
    shoot(move.page, "reloaded")
    before = copied(live)
    expect(live).not_to_contain_text(f" {before} of 8.0 MiB of images copied")
    assert size_of(copied(live)) > size_of(before)
    assert table_faults(move.page) == []
    lab.control("POST", "/timing", image_mib_per_s=2000.0)
    ended(cell)
    outputs = cell.locator(".jp-OutputArea-output")
    expect(outputs.first).to_contain_text("Making everything ready: 30 of 30 steps verified · 3 of 3 servers done")
    # lines that were printed after the reload
    expect(cell).to_contain_text("done     port ")


def test_a_stop_is_asked_for_by_keyboard_after_the_reload(move: NotebookPage, lab: LabSite, shoot: Shoot) -> None:
    move.wait_until_idle()
    cell = move.with_source(CUT_OVER)
    with lab.fault(service="destination.compute", method="POST", path="/servers$", kind="delay", delay_s=SLOW_S):
        move.begin(cell)
        expect(cell).to_contain_text("0 of 3 servers done", timeout=CELL_MS)
        reload(move)
        live = progress_in(cell)
        expect(live.locator("tr", has_text="under way")).to_have_count(1, timeout=CELL_MS)
        expect(live.locator("tr", has_text="waiting")).to_have_count(2)
        now = live.get_by_role("button", name="Stop now")
        now.focus()
        move.page.keyboard.press("Enter")
        expect(live.get_by_role("status")).to_contain_text("may stay down: ")
        expect(live.get_by_role("button", name="Yes, stop now")).to_be_focused()
        move.page.keyboard.press("Shift+Tab")
        expect(live.get_by_role("button", name="Stop after these servers")).to_be_focused()
        move.page.keyboard.press("Space")
        expect(live.get_by_role("status")).to_contain_text("Asked to stop: what is begun is finished")
        expect(live.get_by_role("button", name="Stop after these servers")).to_be_disabled()
        shoot(move.page, "reloaded-stopping")
    ended(cell)
    expect(cell.locator(ERROR)).to_contain_text("Nothing is half-way.")
    assert states(lab) == ["verified"]


def test_what_is_saved_then_is_what_it_would_be_without_the_reload(move: NotebookPage, jupyter: JupyterLab) -> None:
    move.wait_until_saved()
    for source, kinds in (
        (PREPARE, ["display_data", "stream"]),
        (CUT_OVER, ["display_data", "stream", "error", "display_data"]),
    ):
        outputs = saved(jupyter, source)
        assert [one.output_type for one in outputs] == kinds
        assert set(outputs[0].data) == {"text/html", "text/plain"}
        assert "<button" not in outputs[0].data["text/html"]
        assert "<script" not in outputs[0].data["text/html"]
    text = (jupyter.work / f"{NOTEBOOK}.ipynb").read_text(encoding="utf-8")
    assert "begun before this page" not in text


def test_cells_that_were_to_follow_find_their_places(move: NotebookPage, lab: LabSite, shoot: Shoot) -> None:
    cell = move.with_source(CUT_OVER)
    with lab.fault(service="destination.compute", method="POST", path="/servers$", kind="delay", delay_s=SLOW_S):
        move.select(cell)
        move.run_below()
        expect(cell).to_contain_text("1 of 3 servers done", timeout=CELL_MS)
        reload(move)
        expect(progress_in(cell)).to_contain_text("1 of 3 servers done", timeout=CELL_MS)
        # three cells end one after the other, or for the page at once: no save meets the one before it
        move.page.route(SAVES, save_late)
        move.page.route(CELLS, tell_late)
    ended(cell)
    report = move.with_source(REPORT)
    expect(report).to_contain_text("steps done and verified", timeout=CELL_MS)
    expect(report.locator(".jp-InputPrompt")).to_have_text(ENDED)
    expect(move.with_source('run.verify(plan, "cutover")')).to_contain_text("Read again: 10 steps")
    assert states(lab) == ["verified"] * 3
    assert lab.violations() == []
    move.wait_until_saved()
    expect(move.page.locator(".jp-Dialog")).to_have_count(0)
    move.page.unroute_all(behavior="wait")  # the page looks every second: some answer is always on its way
    show(cell)
    shoot(move.page, "reloaded-ended")


def test_what_ended_while_no_page_was_open_is_told(move: NotebookPage, jupyter: JupyterLab, shoot: Shoot) -> None:
    move.save()
    file = Path(jupyter.work / f"{NOTEBOOK}.ipynb")
    older = read_notebook(file)
    for cell in older.cells:
        if cell.cell_type == "code" and (CUT_OVER in cell.source or REPORT in cell.source):
            cell.outputs, cell.execution_count = [], None
    # what the file was, had the page been closed before these two cells ended
    move.page.goto("about:blank")
    nbformat.write(older, file)
    (again,) = jupyter.open(**{NOTEBOOK: move.page})
    cell = again.with_source(CUT_OVER)
    expect(cell).to_contain_text("Cutting over: 10 of 10 steps verified", timeout=CELL_MS)
    for one in (cell, again.with_source(REPORT)):
        expect(one.get_by_role("note")).to_contain_text("This cell ended after the notebook was saved last")
    # what ended before the file was saved needs no word
    expect(again.with_source('run.verify(plan, "cutover")').get_by_role("note")).to_have_count(0)
    show(cell)
    shoot(again.page, "ended-meanwhile")
    again.select(cell)
    again.run(cell)
    expect(cell.get_by_role("note")).to_have_count(0)


def test_a_second_window_shows_the_progress_and_leaves_the_outputs_to_the_first(
    move: NotebookPage, jupyter: JupyterLab, lab: LabSite, new_page: Callable[[], Page]
) -> None:
    move.save()
    before = saved(jupyter, PREPARE)
    cell = move.with_source("inventory = run.inventory()")
    with lab.fault(service="source.compute", method="GET", path="/servers/detail", kind="delay", delay_s=SLOW_S):
        move.begin(cell)
        other = NotebookPage(new_page())
        other.page.goto(f"{jupyter.url}/lab/tree/{NOTEBOOK}.ipynb?reset&token={jupyter.token}")
        mirrored = other.with_source("inventory = run.inventory()")
        expect(progress_in(mirrored)).to_be_visible(timeout=CELL_MS)
    expect(progress_in(mirrored)).to_have_count(0, timeout=CELL_MS)
    move.wait_for(cell)
    other.wait_until_saved()
    move.save()
    assert saved(jupyter, PREPARE) == before
    other.page.close()


def test_both_ways_of_asking_are_in_the_journal(lab: LabSite) -> None:
    journal = Journal.open(load_site(lab.site_file).journal_url)
    events = journal.events(step_key=STOP_KEY)
    journal.close()
    assert [(event.event, event.data["kind"]) for event in events] == [
        ("stop-asked", "after-server"),
        ("stopped", "after-server"),
    ]
    assert "@" in events[0].data["by"]
