"""The pages of an archive in a browser without a network: nothing is asked for, filters work, paper shows all."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from pumphouse.records.archive import FolderArchive
from pumphouse.records.pages import render_archive
from tests.browser.conftest import Shoot
from tests.records.sealing import seal

pytestmark = pytest.mark.browser

HOSTILE = (
    '<img src="{url}/x.png" onerror="document.title=1"><script src="{url}/x.js"></script><link href="{url}/x.css">'
)


def server(name: str, host: str, result: str = "moved") -> dict[str, Any]:
    before = {"status": "ACTIVE", "host": host, "addresses": ["10.0.0.1"], "floating_ips": []}
    facts = {"id": f"id-{name}", "name": name, "project": "acme", "result": result, "problem": None}
    after = {"status": "ACTIVE", "host": "new-1", "addresses": ["10.0.0.1"]}
    return {**facts, "before": before, "after": after, "downtime_s": 2.5, "answers": True}


RUNS = (
    ("one", "succeeded", "acme", "CHG-1", "2031-04-05", [server("web1", "node-1"), server("web2", "node-2")]),
    ("two", "failed", "shop", "CHG-2", "2031-04-06", [server("db1", "node-2", "failed")]),
    ("three", "succeeded", "acme", "CHG-3", "2031-04-07", [server("web1", "node-1", "source deleted")]),
)


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Whoever asks for anything has to knock here."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def index(listener: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hostile = HOSTILE.format(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    records = tmp_path_factory.mktemp("records")
    for run, result, project, ticket, day, servers in RUNS:
        cell = nbformat.v4.new_code_cell("show()", outputs=[])
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": f"<p>kept</p>{hostile}"})]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), records / f"{run}.ipynb")
        (records / f"{run}.files").mkdir()
        story = {"servers": servers, "approvals": []}
        (records / f"{run}.files" / "summary.json").write_text(json.dumps({"story": story}))
        facts = {"change": ticket, "projects": (project,), "plans": ("ab" * 32,), "detail": hostile}
        seal(records, run, result, **facts, started_at=f"{day}T06:07:08+00:00", ended_at=f"{day}T06:09:10+00:00")
    return render_archive(FolderArchive(records), tmp_path_factory.mktemp("www"))


@pytest.fixture
def page(new_page: Callable[[], Page]) -> Page:
    """A window without a network."""
    page = new_page()
    page.context.set_offline(True)
    return page


def test_no_request_leaves_any_page(index: Path, listener: socket.socket, new_page: Callable[[], Page]) -> None:
    page = new_page()
    page.context.set_offline(False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for file in sorted(index.parent.glob("*.html")):
        page.goto(file.as_uri(), wait_until="load")
        assert page.title() != "1"
        page.evaluate("url => fetch(url).catch(() => 0)", url)  # as a script of the page would
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_it_all_works_without_a_network(index: Path, page: Page, shoot: Shoot) -> None:
    page.goto(index.as_uri())
    shoot(page, "records-index")
    page.get_by_role("link", name="Servers and their history").click()
    expect(page.get_by_role("heading", name="Servers", exact=True)).to_be_visible()
    shoot(page, "records-servers")
    page.get_by_role("link", name="10-look.ipynb").first.click()
    expect(page.get_by_text("kept")).to_be_visible()


def runs_shown(page: Page) -> set[str]:
    rows = page.locator("tr[data-row]:visible").all_inner_texts()
    return {run for run, *_ in RUNS if any(f": {run}" in row for row in rows)}


def test_filters(index: Path, page: Page) -> None:
    page.goto(index.as_uri())
    everything = {run for run, *_ in RUNS}
    assert runs_shown(page) == everything
    for label, value, wanted in (
        ("Project", "shop", {"two"}),
        ("Host", "node-2", {"one", "two"}),
        ("Ticket", "CHG-3", {"three"}),
        ("Result", "succeeded", {"one", "three"}),
    ):
        page.get_by_label(label, exact=True).select_option(value)
        assert runs_shown(page) == wanted, label
        page.get_by_role("button", name="Clear").click()
        assert runs_shown(page) == everything
    page.get_by_label("Server").fill("WEB1")
    assert runs_shown(page) == {"one", "three"}
    page.get_by_label("From").fill("2031-04-06")
    assert runs_shown(page) == {"three"}
    expect(page.locator("#count")).to_have_text("1 of 3 shown")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Until").fill("2031-04-06")
    assert runs_shown(page) == {"one", "two"}


def test_a_servers_history_across_runs(index: Path, page: Page) -> None:
    page.goto((index.parent / "servers.html").as_uri())
    history = page.locator("#server-id-web1 tbody tr")
    expect(history).to_have_count(2)
    assert "moved" in history.first.inner_text()
    assert "source deleted" in history.last.inner_text()
    page.get_by_label("Server, project or id").fill("db")
    expect(page.locator("section.history:visible")).to_have_count(1)


def test_on_paper(index: Path, page: Page, shoot: Shoot) -> None:
    page.goto(index.as_uri())
    page.emulate_media(media="print")
    shoot(page, "records-index-print")
    expect(page.locator(".filters")).to_be_hidden()
    expect(page.locator("tr[data-row]:visible")).to_have_count(3)
