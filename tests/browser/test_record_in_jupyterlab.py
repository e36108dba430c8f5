"""An auditor opens a sealed record in a JupyterLab that knows nothing of the site: everything is there to read."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pumphouse.runner import run_notebook
from pumphouse.site import load_site
from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, jupyterlab
from tests.labsite import LabSite

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEMPLATES = Path(__file__).resolve().parents[2] / "notebooks"
#: What stands in a widget's place when its state is not in the notebook.
LOST_WIDGET = "Error displaying widget|Loading widget|model not found|VBox\\("


#: JupyterLab takes our style sheets out of a notebook that it does not trust: wide tables must then scroll.
SEEN = """table => {
  const last = table.querySelector('thead th:last-child');
  last.scrollIntoView({inline: 'end'});
  const box = last.getBoundingClientRect();
  const seen = document.elementFromPoint(box.right - 3, box.top + 3);
  return seen !== null && (seen === last || last.contains(seen));
}"""


def test_a_record_opens_in_jupyterlab(
    lab: LabSite, new_page: Callable[[], Page], shoot: Shoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUMPHOUSE_SITE", str(lab.site_file))
    done = run_notebook(
        TEMPLATES / "02-check.ipynb", {"site": str(lab.site_file), "projects": ["globex"]}, load_site(lab.site_file)
    )
    assert (done.result, done.record is not None) == ("succeeded", True), done.detail
    record = Path(str(done.record))
    there = tmp_path / "copy"
    there.mkdir()
    shutil.copy(record, there / "record.ipynb")
    digest = hashlib.sha256((there / "record.ipynb").read_bytes()).hexdigest()
    (tmp_path / "jupyter").mkdir()
    with jupyterlab(there, os.environ, tmp_path / "jupyter") as elsewhere:
        page = new_page()
        page.goto(f"{elsewhere.url}/lab/tree/record.ipynb?reset&token={elsewhere.token}", wait_until="domcontentloaded")
        book = page.locator(".jp-Notebook")
        first = book.locator(".jp-Cell").first
        expect(first).to_contain_text("Result: succeeded", timeout=CELL_MS)
        for fact in ("Request", "Run by", "Approval", "Clouds", "Template", "Back-out"):
            expect(first).to_contain_text(fact)
        shoot(page, "record-in-jupyterlab")
        for name in ("shop", "erp", "mail"):
            # the picker's static twin: what was chosen
            expect(book.locator("table", has_text=name).first).to_be_attached()
        expect(book.locator(f"text=/{LOST_WIDGET}/")).to_have_count(0)
        expect(book.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
        table = page.locator(".jp-OutputArea-output table", has_text="ACTIVE").first
        table.evaluate("table => table.scrollIntoView({block: 'center'})")
        expect(table).to_be_in_viewport()
        shoot(page, "record-in-jupyterlab-table")
        assert table.evaluate(SEEN)
        page.close()
    assert hashlib.sha256((there / "record.ipynb").read_bytes()).hexdigest() == digest
