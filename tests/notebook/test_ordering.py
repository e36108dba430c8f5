"""The pickers of hosts and nodes: the preset without a person, theirs with one, always in order; and a plain table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import ipywidgets
import pytest

from pumphouse.errors import SelectionError, SiteError
from pumphouse.findings import Finding
from pumphouse.nodes.spec import Hardware
from pumphouse.notebook.ordering import OrderPicker, keep_order, select_hosts, select_nodes
from pumphouse.order import Order
from pumphouse.session import Run
from pumphouse.session.hosts import HostState
from pumphouse.session.rack import NodeState
from tests.core.making import make_plan, make_step
from tests.hardware.making import make_node
from tests.notebook.desk_of import DeskRun, desk_run

BUSY = Finding("block", "host-serves-more", "host h3", "runs nova-network as well.", "choose another.")
SILENT = Finding("warn", "source-silent", "old", "is silent.", "")
HOSTS = (
    HostState("h1", "n1", "nova", "enabled", "up", 3, 2, 8, 4, 8192, 4096),
    HostState("h2", "n2", "nova", "disabled", "up", 0, 0, 8, 0, 8192, 512),
    HostState("h3", "n3", "ssd", "enabled", "up", 1, 1, 8, 1, 4096, 1024, (BUSY,)),
    HostState("h<4>", "", "ssd", "enabled", "down", 2, 0),
)
NODES = (
    NodeState("n1", "compute", "h1", owner="source", power="on", vlan=200, service="enabled, up", servers=3),
    NodeState("n2", "compute", "h2", owner="destination", fuel="ready", fuel_name="node-7", roles=("compute",)),
    NodeState("n3", "controller", "h3", owner="source", vlan=100, problems=("its BMC is silent",)),
)
HARDWARE = Hardware(
    nodes={name: make_node(name, host=f"h{name[1:]}") for name in ("n1", "n2", "n3")}, admin_vlan=100, private_vlan=200
)


@pytest.fixture(autouse=True)
def _close_widgets() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def of_hosts(*preset: str, **rules: Any) -> OrderPicker:
    return select_hosts(HOSTS, preset=preset, **rules)


def of_nodes(*preset: str, **rules: Any) -> OrderPicker:
    return select_nodes(NODES, HARDWARE, preset=preset, **rules)


def mark(picker: OrderPicker, *names: str) -> None:
    """What the browser tells: all rows of the list that are chosen now."""
    picker.view.grid.selected_rows = [n for n, name in enumerate(picker.view.listed) if name in names]


def marked(picker: OrderPicker) -> set[str]:
    return {picker.view.listed[row] for row in picker.view.grid.selected_rows}


def buttons(widget: ipywidgets.Widget) -> set[str]:
    """What the buttons in a widget say."""
    inside = [buttons(child) for child in getattr(widget, "children", ())]
    return set().union(*inside, {widget.description} if isinstance(widget, ipywidgets.Button) else set())


def column(picker: OrderPicker, name: str) -> list[Any]:
    return [str(value) for value in picker.view.shown[name]]


@pytest.mark.parametrize("preset", [("h3", "h1"), ("n3", "h1"), ("", "h3", "n1")])
def test_without_a_person_the_value_is_the_preset_in_its_order(preset: tuple[str, ...]) -> None:
    picker = of_hosts(*preset)
    assert picker.value == Order("hosts", ("h3", "h1"))
    assert marked(picker) == {"h1", "h3"}
    assert [item["id"] for item in picker.lineup.items] == ["h3", "h1"]
    assert of_nodes("n3", "h1").value == Order("nodes", ("n3", "n1"))
    assert select_hosts(HOSTS, preset="h3", single=True).name == "h3"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"preset": ["h9"]}, "The source has no compute host h9.*h1, h2"),
        ({"preset": ["h1", "n1"]}, "h1 stands twice"),
        ({"preset": ["h1", "h2"], "single": True}, "2 hosts are given: h1, h2"),
    ],
)
def test_a_wrong_preset_is_refused_before_anything_is_shown(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SelectionError, match=words):
        select_hosts(HOSTS, **asked)


def test_a_node_that_site_yaml_does_not_describe_is_the_sites_error() -> None:
    with pytest.raises(SiteError, match="describes no node n9"):
        of_nodes("n9")


def test_nothing_chosen_is_never_everything() -> None:
    picker = of_hosts()
    assert picker.names == ()
    with pytest.raises(SelectionError, match="No host is chosen"):
        _ = picker.value
    assert "none is chosen yet" in repr(picker)
    told = of_nodes(none="all controllers, in a safe order")
    assert told.names == ()
    assert "None means: all controllers, in a safe order." in told.view.summary.value
    assert "none is chosen: all controllers, in a safe order" in repr(told)


def test_what_is_clicked_comes_last_and_moves_where_it_is_told_to() -> None:
    picker = of_hosts("h3")
    mark(picker, "h3", "h1")
    mark(picker, "h3", "h1", "h2")
    assert picker.names == ("h3", "h1", "h2")

    def told(**content: Any) -> None:
        picker.lineup._handle_custom_msg(content, [])

    told(kind="move", id="h2", by=-1)
    assert picker.value.names == ("h3", "h2", "h1")
    told(kind="move", id="h3", by=-1)
    told(kind="move", id="h9", by=-1)
    told(kind="nonsense", id="h3")
    assert picker.value.names == ("h3", "h2", "h1")
    told(kind="move", id="h3", by=1)
    assert picker.value.names == ("h2", "h3", "h1")
    told(kind="drop", id="h3")
    assert picker.value.names == ("h2", "h1")
    assert marked(picker) == {"h1", "h2"}
    assert [item["id"] for item in picker.lineup.items] == ["h2", "h1"]


def test_buttons_order_filter_and_take_back() -> None:
    picker = of_hosts("h3", "h1")
    picker.view.filters["servers"].value = "none"
    assert picker.view.listed == ["h2"]
    picker.view.add_button.click()
    assert picker.names == ("h3", "h1", "h2")
    picker.by_servers.click()
    assert picker.names == ("h2", "h3", "h1")
    picker.by_name.click()
    assert picker.names == ("h1", "h2", "h3")
    picker.view.reset_button.click()
    assert picker.names == ("h3", "h1")
    picker.view.clear_button.click()
    picker.view.text_filter.value = "N3"
    assert picker.view.listed == ["h3"]
    picker.view.clear_button.click()
    picker.view.filters["finding"].value = "host-serves-more"
    assert picker.view.listed == ["h3"]


def test_of_one_another_choice_takes_its_place() -> None:
    picker = of_hosts("h1", single=True)
    mark(picker, "h2")
    assert picker.name == "h2"
    assert picker.lineup.items[0]["id"] == "h2"
    mark(picker, "h2", "h3")  # a browser that lets two rows be chosen
    assert picker.name == "h3"
    picker.view.text_filter.value = "h1"
    mark(picker, "h1")
    assert picker.names == ("h1",)
    mark(picker)
    assert picker.names == ()
    assert "Choose all that match" not in buttons(picker.widget)
    assert "Choose all that match" in buttons(of_hosts().widget)


def test_each_row_says_how_it_stands_and_what_blocks_it() -> None:
    hosts = of_hosts()
    assert column(hosts, "blocked by") == ["", "", "▲ host-serves-more", ""]
    assert column(hosts, "nova-compute") == ["● enabled, up", "○ disabled, up", "● enabled, up", "○ enabled, down"]
    assert column(hosts, "RAM in use (MiB)") == ["4,096 of 8,192", "512 of 8,192", "1,024 of 4,096", ""]
    nodes = of_nodes(obstacles={"n1": (SILENT,), "n2": (BUSY,), "n3": (BUSY,)})
    assert column(nodes, "blocked by") == ["source-silent", "▲ is-transferred", "▲ host-serves-more"]
    assert column(nodes, "power") == ["● on", "not asked", "▲ no answer"]
    assert column(nodes, "VLAN") == ["200 Private", "", "100 Admin"]
    assert column(nodes, "belongs to") == ["source", "destination", "source"]


def test_totals_and_obstacles_follow_the_choice() -> None:
    picker = of_hosts("h1", "h3")
    said = picker.view.summary.value
    assert "2 hosts · 4 servers (3 running) · 5 vCPU in use · 5,120 MiB RAM in use" in said
    assert "the other 0 hosts that take servers: 0 MiB free" in said
    assert "h3: host h3 runs nova-network as well." in said
    mark(picker, "h1")
    assert "the other 1 host that takes servers: 3,072 MiB free" in picker.view.summary.value
    assert "nova-network" not in picker.view.summary.value


def test_the_static_twin_keeps_the_order_and_runs_no_script() -> None:
    picker = of_hosts("h<4>", "h1")
    bundle = picker._repr_mimebundle_()
    html = bundle["text/html"]
    assert "<script" not in html
    assert "h<4>" not in html
    assert html.index("h&lt;4&gt;") < html.index("h1")
    assert "2 hosts · 5 servers" in html
    assert "h3" not in bundle["text/plain"]


@pytest.mark.parametrize("names", [("h2", "h1"), ("cmp-ü", "a b")])
def test_an_order_is_kept_canonically(names: tuple[str, ...], tmp_path: Path) -> None:
    order = Order("hosts", names)
    first, second = order.save(tmp_path / "a.json"), Order.load(tmp_path / "a.json").save(tmp_path / "b.json")
    assert first.read_bytes() == second.read_bytes()
    assert Order.load(second) == order
    assert Order("hosts", names[::-1]).digest != order.digest
    assert Order("nodes", names).digest != order.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"h2"', '"h3"'), "do not match its digest"),
        (('"things": "hosts"', '"things": "racks"'), "cannot be used"),
        (('"pumphouse-order"', '"pumphouse-selection"'), "cannot be used"),
        (("{", "["), "cannot be used"),
    ],
)
def test_an_order_that_somebody_edited_is_refused(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    file = Order("hosts", ("h1", "h2")).save(tmp_path / "a.json")
    file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(SelectionError, match=words):
        Order.load(file)


def test_an_order_is_never_empty_and_names_nothing_twice(tmp_path: Path) -> None:
    for names, words in (((), "No host is chosen"), (("h1", "h1"), "stands twice"), (("h1", " "), "holds no name")):
        with pytest.raises(SelectionError, match=words):
            Order("hosts", names)
    with pytest.raises(SelectionError, match="cannot be read"):
        Order.load(tmp_path / "gone.json")


def keep(picker: OrderPicker, run: DeskRun, run_id: str, folder: Path) -> str:
    """Keep an order as a run does."""
    stand_in = SimpleNamespace(
        keep=lambda order: order.save(folder / "order.json"), journal=run.journal, id=run_id, by_hand=True
    )
    return keep_order(picker, cast(Run, stand_in)).text


def test_what_is_kept_is_a_file_and_a_line_of_the_journal(tmp_path: Path) -> None:
    run = desk_run(tmp_path)
    said = keep(of_hosts("h3", "h1", title="Over"), run, run.id, tmp_path)
    assert said.startswith("Over: 2 hosts")
    assert f"-p hosts=@{tmp_path / 'order.json'}" in said
    assert Order.load(tmp_path / "order.json") == Order("hosts", ("h3", "h1"))
    (event,) = run.journal.events(run_id=run.id, step_key="@order")
    kept = {"file": "order.json", "parameter": "hosts"}
    assert event.data == {"title": "Over", "things": "hosts", "names": ["h3", "h1"], **kept}
    (tmp_path / "order.json").unlink()
    assert "Kept in" not in keep(of_hosts("h3", single=True), run, run.id, tmp_path)
    assert not (tmp_path / "order.json").exists(), "one is no order"
    assert run.journal.events(run_id=run.id, step_key="@order")[-1].data["names"] == ["h3"]
    assert "none is chosen: all of them" in keep(of_nodes(none="all of them"), run, run.id, tmp_path)
    assert not (tmp_path / "order.json").exists()
    with pytest.raises(SelectionError, match="No node is chosen"):
        keep(of_nodes(), run, run.id, tmp_path)


@pytest.mark.parametrize(
    ("state", "by_hand", "title", "again"),
    [
        ("started", True, "Over", ("h3", "h1")),
        ("finished", True, "Over", ()),
        ("started", False, "Over", ()),
        ("started", True, "Other", ()),
    ],
)
def test_after_a_restart_the_choice_of_a_begun_plan_comes_back(
    state: str, by_hand: bool, title: str, again: tuple[str, ...], tmp_path: Path
) -> None:
    run = desk_run(tmp_path, by_hand=by_hand)
    plan = make_plan(make_step("node-off:n1", phase="release", node="n1"), kind="transfer", servers=())
    before = run.begin(run.notebook)
    keep(of_hosts("h3", "h1", title="Over"), run, before, tmp_path)
    run.set_out(before, plan)
    run.keep(plan, state)
    picker = of_hosts(title=title, run=cast(Run, run))
    assert picker.names == again
    assert ("did not finish it: it is chosen again" in picker.view.summary.value) == bool(again)
    assert of_hosts("h2", title=title, run=cast(Run, run)).names == ("h2",)  # parameters come first
    picker.view.reset_button.click()
    assert picker.names == ()
