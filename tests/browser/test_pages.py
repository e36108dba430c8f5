"""A record's page in a browser: its widest tables are whole, on a screen and on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page

from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.notebook import Display, select, show, show_findings
from pumphouse.records.html import render_html
from tests.browser.conftest import Shoot
from tests.browser.layout import table_faults
from tests.factories import make_snapshot

pytestmark = pytest.mark.browser

LONG = "a-name-as-long-as-nova-allows-" * 8


def make_page(folder: Path, *shown: Display) -> Path:
    """The page of a record whose cells show these."""
    cells = []
    for display in shown:
        cell = nbformat.v4.new_code_cell("pumphouse.show(...)", execution_count=1)
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": display.html, "text/plain": display.text})]
        cells.append(cell)
    record = folder / "record.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), record)
    return render_html(record, folder / "record.html")


@pytest.mark.parametrize("width", [1200, 700])
def test_wide_tables_scroll_inside_their_box(
    width: int, tmp_path: Path, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    inventory = Inventory(make_snapshot())
    finding = Finding("block", "server-state", f"server {LONG}", "is in ERROR. " * 20, "leave it out.")
    path = make_page(
        tmp_path,
        show(inventory.servers),
        show(inventory.servers, columns="all"),
        show(inventory.flavors),
        select(inventory, projects=["acme"]).static(),
        show_findings([finding]),
    )
    page = new_page()
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(path.as_uri())
    shoot(page, f"record-{width}")

    assert page.locator("div.ph-s").count() == 5
    assert table_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    (narrowest,) = {box["width"] for box in [page.get_by_text(LONG).bounding_box()] if box}
    assert narrowest > 150


def test_on_paper_every_column_is_there(tmp_path: Path, new_page: Callable[[], Page], shoot: Shoot) -> None:
    page = new_page()
    page.set_viewport_size({"width": 720, "height": 1000})
    page.emulate_media(media="print")
    page.goto(make_page(tmp_path, show(Inventory(make_snapshot()).servers)).as_uri())
    shoot(page, "record-print")

    last = page.locator("div.ph-s th").last.bounding_box()
    assert last is not None
    assert last["x"] + last["width"] <= 720
