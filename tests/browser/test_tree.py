"""The trees beside the grid, with thousands of servers in one group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from pumphouse.notebook.desk import lay_out
from tests.benchmarks.picker import PICKER, clicked, inventory_of, write_notebook
from tests.browser.jupyterlab import jupyterlab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

SERVERS = 5000


def test_a_tree_of_thousands_is_changed_where_it_stands(new_page: Callable[[], Page], tmp_path: Path) -> None:
    file = inventory_of(SERVERS).source.save(tmp_path / "old.json")
    (tmp_path / "templates").mkdir()
    write_notebook(tmp_path / "templates" / "picker.ipynb", PICKER.format(file=str(file)))
    work, environment = lay_out(tmp_path / "desk", tmp_path / "templates", tmp_path / "site.yaml")
    with jupyterlab(work, environment, tmp_path) as lab:
        (notebook,) = lab.open(picker=new_page())
        notebook.begin(notebook.code.first)
        page = notebook.page
        page.get_by_role("tab", name="By project").click(timeout=60_000)
        group = page.locator(".ph-tree summary").first
        group.wait_for()
        clicked(page, group, f".ph-tree-member:nth-child({SERVERS + 1})")
        boxes = page.locator(".ph-tree-member input")
        boxes.first.evaluate("one => { one.dataset.mine = 'yes'; one.focus(); }")
        clicked(page, boxes.first, "[role=status]", "1 server ·")
        clicked(page, group.locator("input"), "[role=status]", f"{SERVERS:,} servers ·")
        found = page.evaluate(
            """() => {
                const boxes = [...document.querySelectorAll(".ph-tree-member input")];
                return [boxes.length, boxes.every((one) => one.checked), boxes[0].dataset.mine];
            }"""
        )
        assert found == [SERVERS, True, "yes"]
        clicked(page, boxes.nth(7), "[role=status]", f"{SERVERS - 1:,} servers ·")
        assert group.locator("input").evaluate("one => one.indeterminate")
