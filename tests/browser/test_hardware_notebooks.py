"""A consultant takes nodes over in JupyterLab, by notebooks 06 to 11: chooses, reads the plan, approves, goes on.

What became of the machines is asked of the lab's physics, and plans are compared with those that are made headlessly.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pumphouse.journal import Journal
from pumphouse.lab.jupyter import prepare
from pumphouse.order import Order
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
from tests.browser.conftest import Shoot
from tests.browser.jupyterlab import CELL_MS, ERROR, JupyterLab, NotebookPage, jupyterlab, preset
from tests.browser.layout import table_faults
from tests.hardware.hall import LabHall
from tests.labsite import SDK_WARNS_OF_ITSELF, start_lab

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

FORM = "pumphouse.approval_form("
BLOCKS = "run.require_clean("
REPORT = "pumphouse.show_report("
CHOSEN = "pumphouse.keep_order("


@pytest.fixture(scope="module")
def hall(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHall]:
    """Both clouds, their machines and a Fuel master; each test has nodes of its own."""
    lab = start_lab(tmp_path_factory, name="racks", scale=0.02, hardware=True, content="plain", rate_limit="off")
    found = LabHall(lab)
    found.ground()
    yield found
    lab.stop()


@pytest.fixture(scope="module")
def bare(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHall]:
    """All hardware in the old cloud; two nodes are acquired already, Fuel is still to be installed."""
    lab = start_lab(tmp_path_factory, name="bare", scale=0.02, destination="fuel", content="plain", rate_limit="off")
    found = LabHall(lab)
    for node in ("cmp-04", "cmp-05"):
        with found.run() as run:
            found.carry_out(run, run.hardware.plan_acquire(node))
    yield found
    lab.stop()


@pytest.fixture(scope="module")
def desk(hall: LabHall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    work, environment = prepare(hall.lab.directory)
    with jupyterlab(work, environment, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def bare_desk(bare: LabHall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    work, environment = prepare(bare.lab.directory)
    with jupyterlab(work, environment, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


def show(cell: Locator) -> None:
    """Bring a cell to the top of the window."""
    cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")


def pick(notebook: NotebookPage, cell: str, *names: str) -> Locator:
    """Click rows of a picker, in this order; each is chosen before the next is clicked."""
    picker = notebook.with_source(cell)
    show(picker)
    for name in names:
        row = picker.locator("table.ph-grid tbody tr").filter(has_text=name)
        row.click()
        expect(row).to_have_class(re.compile("selected"))
    show(picker)
    return picker


def approve(notebook: NotebookPage) -> None:
    """Fill in the form; what cannot be undone wants its phrase typed."""
    form = notebook.with_source(FORM)
    form.get_by_label("Approved by").fill("Ada Reviewer")
    form.get_by_label("Reason").fill("browser test")
    button = form.get_by_role("button", name="Approve plan")
    confirm = form.get_by_label("Confirm")
    if confirm.is_visible():
        expect(button).to_be_disabled()
        confirm.fill(str(confirm.get_attribute("placeholder")).partition("type: ")[2])
    expect(button).to_be_enabled()
    button.click()
    expect(form).to_contain_text("Run the next cell")


def approved_plan(hall: LabHall, kind: str) -> Plan:
    """The last plan of a kind in the journal, which has to be finished."""
    with contextlib.closing(Journal.open(load_site(hall.lab.site_file).journal_url)) as journal:
        plan = Plan.from_document(journal.plan_documents(kind=kind)[-1])
        assert journal.plan_state(plan.hash) == "finished"
    return plan


def to_the_end(notebook: NotebookPage, shoot: Shoot, name: str, after: str = CHOSEN) -> None:
    """Plan, approve, run the rest, and see that everything is done and nothing on the page is broken."""
    notebook.run_cell_by_cell(after=after, until=FORM)
    show(notebook.with_source("pumphouse.show_plan("))
    shoot(notebook.page, f"{name}-plan")
    approve(notebook)
    show(notebook.with_source(FORM))
    shoot(notebook.page, f"{name}-approved")
    notebook.run_cell_by_cell(after=FORM)
    report = notebook.with_source(REPORT)
    expect(report).to_contain_text(re.compile(r"Result: (\d+) of \1 steps done and verified"))
    show(report)
    shoot(notebook.page, f"{name}-end")
    assert table_faults(notebook.page) == []


def test_a_host_is_chosen_acquired_and_given_back(
    hall: LabHall, desk: JupyterLab, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    with hall.run() as run:
        headless = run.hardware.plan_acquire("cmp-02")
    before = hall.servers()
    (notebook,) = desk.open(**{"06-acquire-nodes": new_page()})
    notebook.run_cell_by_cell(until="pumphouse.select_hosts(")
    show(notebook.with_source("pumphouse.show_site(run.hardware.look(node"))
    shoot(notebook.page, "hosts-site")
    notebook.begin(notebook.with_source(CHOSEN))
    notebook.wait_for(notebook.with_source(CHOSEN))
    expect(notebook.with_source(CHOSEN).locator(ERROR)).to_contain_text("No host is chosen.")
    picker = pick(notebook, "pumphouse.select_hosts(", "compute3", "compute2")
    expect(picker).to_contain_text("1 host · 3 servers (")
    expect(picker.locator("tr.selected")).to_have_count(1)
    shoot(notebook.page, "hosts-picked")
    notebook.select(notebook.with_source(CHOSEN))
    notebook.run(notebook.with_source(CHOSEN))
    expect(notebook.with_source(CHOSEN)).to_contain_text("Host to acquire: 1 host")
    to_the_end(notebook, shoot, "acquire")
    assert approved_plan(hall, "acquire").hash == headless.hash
    assert (hall.machine("cmp-02")["power"], hall.vlan("cmp-02")) == ("off", 100)
    after = hall.servers()
    assert {name: status for name, (_, status) in after.items()} == {n: s for n, (_, s) in before.items()}
    assert all(host != "compute2" for host, _ in after.values())

    (notebook,) = desk.open(**{"10-give-back-node": new_page()})
    notebook.run_cell_by_cell(until="pumphouse.select_nodes(")
    picker = pick(notebook, "pumphouse.select_nodes(", "cmp-03")
    expect(picker).to_contain_text("The journal knows nothing that was done to node cmp-03")
    pick(notebook, "pumphouse.select_nodes(", "cmp-02")
    expect(picker).not_to_contain_text("The journal knows nothing")
    shoot(notebook.page, "nodes-give-back")
    notebook.run_cell_by_cell(after="pumphouse.select_nodes(", until=CHOSEN)
    to_the_end(notebook, shoot, "give-back")
    assert (hall.machine("cmp-02")["power"], hall.vlan("cmp-02")) == ("on", 200)
    hall.conscience()


def test_a_node_is_chosen_by_keyboard_and_transferred(
    hall: LabHall, desk: JupyterLab, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    preset(desk.work / "08-transfer-node.ipynb", "copy_disks", "False")
    (notebook,) = desk.open(**{"08-transfer-node": new_page()})
    notebook.run_cell_by_cell(until="pumphouse.select_nodes(")
    picker = notebook.with_source("pumphouse.select_nodes(")
    picker.get_by_label("Find", exact=True).focus()
    notebook.page.keyboard.type("spare-01")
    expect(picker).to_contain_text("1 of 14 nodes match")
    picker.locator("table.ph-grid tbody tr").first.focus()
    notebook.page.keyboard.press("Space")
    expect(picker).to_contain_text("1 node · spare-01 · spare · belongs to nobody")
    picker.get_by_role("button", name="Clear filters").click()
    expect(picker).to_contain_text("14 of 14 nodes match")
    show(picker)
    shoot(notebook.page, "nodes-picked")
    notebook.run_cell_by_cell(after="pumphouse.select_nodes(", until=CHOSEN)
    to_the_end(notebook, shoot, "transfer")
    plan = approved_plan(hall, "transfer")
    with hall.run() as run:
        assert run.hardware.plan_transfer("spare-01", copy_disks=False).hash == plan.hash
    assert hall.machine("spare-01")["runs"] == "destination"
    assert hall.canaries() == []


def test_hosts_are_put_in_order_and_a_runbook_reads_it(
    hall: LabHall, desk: JupyterLab, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    (notebook,) = desk.open(**{"11-order-hosts": new_page()})
    page = notebook.page
    notebook.run_cell_by_cell(until="order_of_hosts = ")
    picker = pick(notebook, "order_of_hosts = ", "compute3", "compute1", "compute4")
    up = picker.get_by_role("button", name="move compute4 up")
    up.focus()
    page.keyboard.press("Enter")
    expect(picker.locator("ol li").nth(1)).to_contain_text("compute4")
    # whoever moves one by keyboard goes on moving it
    expect(picker.get_by_role("button", name="move compute4 up")).to_be_focused()
    page.keyboard.press("Enter")
    expect(picker.locator("ol li").nth(0)).to_contain_text("compute4")
    expect(picker.get_by_role("button", name="move compute4 down")).to_be_focused()
    picker.get_by_role("button", name="drop compute3").click()
    expect(picker.locator("ol li")).to_have_count(2)
    pick(notebook, "order_of_hosts = ", "compute3")
    shoot(page, "hosts-in-order")
    notebook.run_cell_by_cell(after="order_of_hosts = ")
    kept = notebook.with_source("pumphouse.keep_order(order_of_hosts")
    expect(kept).to_contain_text("Hosts, in the order in which they go over: 3 hosts")
    file = str(kept.locator(".ph-note").text_content()).partition("=@")[2]
    assert Order.load(file) == Order("hosts", ("compute4", "compute1", "compute3"))
    expect(notebook.with_source("pumphouse.keep_order(order_of_nodes")).to_contain_text("none is chosen")
    assert table_faults(page) == []
    code, outcome = hall.headless("notebooks/11-order-hosts.ipynb", hosts=f"@{file}")
    assert (code, outcome["result"]) == (0, "succeeded"), outcome


def test_the_end_of_the_source_says_what_is_left_there(
    hall: LabHall, desk: JupyterLab, new_page: Callable[[], Page], shoot: Shoot, tmp_path: Path
) -> None:
    book = desk.work / "09-decommission.ipynb"
    preset(book, "archive", repr([sys.executable, "--version"]))
    preset(book, "archive_file", repr(str(tmp_path / "archive.tar")))
    (notebook,) = desk.open(**{"09-decommission": new_page()})
    notebook.run_cell_by_cell(until="pumphouse.select_nodes(")
    picker = notebook.with_source("pumphouse.select_nodes(")
    expect(picker).to_contain_text("None means: all controllers of site.yaml, in a safe order.")
    pick(notebook, "pumphouse.select_nodes(", "net-01", "ctl-01")
    shoot(notebook.page, "nodes-decommission")
    notebook.run_cell_by_cell(after="pumphouse.select_nodes(", until="pumphouse.show_findings(")
    expect(notebook.with_source(CHOSEN)).to_contain_text("Controllers: 2 nodes")
    show(notebook.with_source("pumphouse.show_plan("))
    shoot(notebook.page, "decommission-plan")
    blocked = notebook.with_source(BLOCKS)
    notebook.begin(blocked)
    notebook.wait_for(blocked)
    expect(blocked.locator(ERROR)).to_contain_text("[server-left] server shop")
    show(notebook.with_source("pumphouse.show_findings("))
    shoot(notebook.page, "decommission-refused")
    assert table_faults(notebook.page) == []
    assert hall.machine("net-01")["power"] == hall.machine("ctl-01")["power"] == "on"


def test_the_new_cloud_is_made_of_nodes_chosen_for_two_roles(
    bare: LabHall, bare_desk: JupyterLab, new_page: Callable[[], Page], shoot: Shoot
) -> None:
    cidr = str(bare.lab.facts["floating_cidr"])
    gateway = f"{cidr.rpartition('.')[0]}.1"
    book = bare_desk.work / "07-fuel-master.ipynb"
    preset(book, "public", repr({"cidr": cidr, "gateway": gateway, "hosts": 6, "floating": 8}))
    preset(book, "master", '"spare-01"')
    preset(book, "medium", '"pxe"')
    (notebook,) = bare_desk.open(**{"07-fuel-master": new_page()})
    notebook.run_cell_by_cell(until="as_computes = ")
    pick(notebook, "as_controllers = ", "cmp-04")
    shoot(notebook.page, "nodes-controllers")
    pick(notebook, "as_computes = ", "cmp-01", "cmp-05")
    expect(notebook.with_source("as_computes = ")).to_contain_text("cmp-01: node cmp-01 serves the source")
    notebook.with_source("as_computes = ").get_by_role("button", name="drop cmp-01").click()
    notebook.run_cell_by_cell(after="as_computes = ", until="pumphouse.keep_order(as_computes")
    to_the_end(notebook, shoot, "fuel-master", after="pumphouse.keep_order(as_computes")
    for name in ("cmp-04", "cmp-05"):
        assert bare.machine(name)["runs"] == "destination"
    bare.conscience()
    expect(notebook.page.get_by_text("Traceback")).to_have_count(0, timeout=CELL_MS)
