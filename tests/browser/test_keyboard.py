"""A whole move without a mouse: from the notebook's first cell over filter, rows and approval to a stop.

The test sets no focus: every control is reached with Tab, by the name that a screen reader says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, ERROR, JupyterLab, NotebookPage
from tests.browser.test_jupyterlab import FORM, SELECT
from tests.labsite import LabSite, start_lab

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = "03-move-servers"
CUT_OVER = "run.cut_over("
#: Lets answers of the kernel arrive late, by ``window.lag`` milliseconds.
LAGGING = """window.WebSocket = class extends WebSocket {
  set onmessage(act) { super.onmessage = (event) => setTimeout(() => act(event), window.lag ?? 0); }
};"""
#: Controls of a picker between its first and its last one, and some.
FAR = 60


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab with a site that moves one server after the other."""
    site = start_lab(tmp_path_factory, name="keys").one_by_one()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def move(jupyter: JupyterLab, new_page: Callable[[], Page]) -> NotebookPage:
    """The move notebook; its first cell has the focus when it opens."""
    page = new_page()
    page.add_init_script(LAGGING)
    (opened,) = jupyter.open(**{NOTEBOOK: page})
    return opened


def active(move: NotebookPage) -> Locator:
    """The cell that keys act on."""
    return move.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")


def run_to(move: NotebookPage, text: str) -> Locator:
    """Shift+Enter from the selected cell on, up to the one with a text, which is then selected."""
    for _ in range(move.cells.count()):
        here = active(move)
        expect(here).to_have_count(1)
        if text in here.inner_text():
            expect(here).to_be_focused()
            return move.with_source(text)
        is_code = "jp-CodeCell" in (here.get_attribute("class") or "")
        cell = move.cells.nth(int(here.get_attribute("data-windowed-list-index") or 0))
        move.page.keyboard.press("Shift+Enter")
        if is_code:
            expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"^\[\d+\]:$"), timeout=CELL_MS)
            expect(cell.locator(ERROR)).to_have_count(0)
        expect(cell).not_to_have_class(re.compile("jp-mod-active"))
    raise AssertionError(f"no cell has {text}")


def tab_to(move: NotebookPage, wanted: Locator, keys: str = "Tab") -> None:
    """Press Tab until a control has the focus."""
    expect(wanted).to_have_count(1, timeout=CELL_MS)
    for _ in range(FAR):
        if wanted.evaluate("wanted => wanted === document.activeElement"):
            return
        move.page.keyboard.press(keys)
    raise AssertionError(f"{wanted} cannot be reached with {keys}")


def out(move: NotebookPage, cell: Locator) -> None:
    """Escape leads from a widget back to its cell."""
    move.page.keyboard.press("Escape")
    expect(cell).to_be_focused()


def test_servers_are_filtered_and_chosen(move: NotebookPage, shoot: Shoot) -> None:
    picker, keys = run_to(move, SELECT), move.page.keyboard
    keys.press("Control+Enter")
    move.wait_for(picker)
    tab_to(move, picker.get_by_label("Find", exact=True))
    keys.type("shop")
    expect(picker).to_contain_text("1 of 39 servers match")
    rows = picker.get_by_role("table", name="Servers of the source").locator("tbody").get_by_role("row")
    expect(rows).to_have_count(1)
    tab_to(move, rows.first)
    keys.press("Space")
    expect(picker.get_by_role("status").first).to_contain_text("1 server · ")
    tab_to(move, picker.get_by_role("button", name="Clear filters"))
    keys.press("Enter")
    expect(picker).to_contain_text("39 of 39 servers match")
    tab_to(move, picker.get_by_label("Project", exact=True), "Shift+Tab")
    keys.type("globex")
    expect(picker).to_contain_text("3 of 39 servers match")
    tab_to(move, picker.get_by_role("button", name="Choose all that match"))
    keys.press("Space")
    expect(picker.get_by_role("status").first).to_contain_text("3 servers · ")
    shoot(move.page, "picker-by-keyboard")
    out(move, picker)
    # letters are JupyterLab's again: this one would have been typed into the filter
    keys.press("ArrowDown")
    expect(active(move)).to_contain_text("selection = choice.value")


def test_the_trees_are_reached_by_arrow_keys(move: NotebookPage) -> None:
    picker, keys = move.with_source(SELECT), move.page.keyboard
    keys.press("ArrowUp")
    expect(picker).to_be_focused()
    tab_to(move, picker.get_by_role("tab", name="List"))
    keys.press("ArrowRight")
    keys.press("Enter")
    tree = picker.locator(".ph-tree")
    tab_to(move, tree.get_by_label("globex"))
    expect(tree.get_by_label("globex")).to_be_checked()
    out(move, picker)
    keys.press("ArrowDown")


def test_a_plan_is_approved_and_a_server_moved_and_the_rest_stopped(
    move: NotebookPage, lab: LabSite, shoot: Shoot
) -> None:
    form, keys = run_to(move, FORM), move.page.keyboard
    keys.press("Control+Enter")
    move.wait_for(form)
    button = form.get_by_role("button", name="Approve plan")
    move.page.evaluate("window.lag = 700")
    typed = {"Approved by": "Ada Reviewer", "Second person": "Bo Second", "Reason": "agreed window", "Ticket": "CHG-9"}
    for label, words in typed.items():
        tab_to(move, form.get_by_label(label))
        keys.type(words)
    expect(button).to_be_enabled()
    keys.type("-bis")
    typed["Ticket"] += "-bis"
    keys.press("Tab")
    expect(button).to_be_focused()
    keys.press("Enter")
    expect(form.get_by_role("status").last).to_contain_text("Run the next cell to go on")
    move.page.evaluate("window.lag = 0")
    # all of it, though the button was pressed before the kernel had answered the last letter
    for label, words in typed.items():
        expect(form.get_by_role("row", name=re.compile(f"^{label} .*{words}$", re.IGNORECASE))).to_have_count(1)
    # its button is gone: the keyboard is with the cell again
    expect(form).to_be_focused()
    keys.press("ArrowDown")
    cell = run_to(move, CUT_OVER)
    with lab.fault(service="destination.compute", method="POST", path="/servers$", kind="delay", delay_s=15):
        keys.press("Control+Enter")
        expect(cell).to_contain_text("under way", timeout=CELL_MS)
        tab_to(move, cell.get_by_role("button", name="Stop after these servers"))
        keys.press("Enter")
        expect(cell.get_by_role("status").last).to_contain_text("Asked to stop: what is begun is finished")
        expect(cell).to_be_focused()
        shoot(move.page, "stopped-by-keyboard")
    move.wait_for(cell)
    expect(cell.locator(ERROR)).to_contain_text("Nothing is half-way.")
    assert lab.violations() == []


def test_every_control_has_a_name(move: NotebookPage) -> None:
    """As the browser tells it to screen readers: nothing that can be reached is without a name."""
    for source in (SELECT, FORM, CUT_OVER):
        cell = move.with_source(source).locator(".jp-Cell-outputWrapper")
        for role in ("button", "textbox", "combobox", "checkbox", "progressbar", "tab"):
            for control in cell.get_by_role(role).all():
                said = control.aria_snapshot()
                assert re.match(rf"- '?{role} \"\S", said), f"{source}: {said}"
