"""The picker: the preset's Selection without a person, theirs with one, and a table that needs no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import ipywidgets
import pandas as pd
import pytest

from pumphouse.errors import SelectionError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.notebook import Picker, Totals, select
from pumphouse.selection import Choice, Selection, select_servers
from tests.factories import kid, make_image, make_server, make_snapshot, uid
from tests.notebook.desk_of import desk_run, move_of

VIEW = "application/vnd.jupyter.widget-view+json"
INVENTORY = Inventory(make_snapshot())


@pytest.fixture(autouse=True)
def _close_widgets() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def listed(picker: Picker) -> list[str]:
    return picker.view.listed


def marked(picker: Picker) -> set[str]:
    """Ids of the rows that the grid shows as chosen."""
    return {picker.view.listed[row] for row in picker.view.grid.selected_rows}


def mark(picker: Picker, *names: str) -> None:
    """What the browser tells when rows were clicked or keyed: all rows of the list that are chosen now."""
    wanted = ids(*names)
    picker.view.grid.selected_rows = [n for n, server_id in enumerate(listed(picker)) if server_id in wanted]


def ids(*names: str) -> set[str]:
    return {uid(name) for name in names}


@pytest.mark.parametrize(
    "asked",
    [
        {"names": ["acme-web1", "acme-db1"]},
        {"projects": ["acme"], "query": "ram_mib > 2048"},
        {"hosts": ["node-3"], "ids": [uid("twin-a")]},
        {"query": "status == 'ERROR'"},
    ],
)
@pytest.mark.parametrize("as_preset", [True, False])
def test_without_a_person_the_value_is_exactly_the_presets(asked: dict[str, Any], as_preset: bool) -> None:
    picker = select(INVENTORY, preset=asked) if as_preset else select(INVENTORY, **asked)
    assert picker.value == select_servers(INVENTORY.servers, **asked)
    assert marked(picker) == set(picker.value.server_ids)


def test_a_probe_stays_with_whatever_is_chosen(tmp_path: Path) -> None:
    """Also after a person dropped a server: the others must be asked as the parameters, or the file, said."""
    both = {"names": ["acme-web1", "acme-db1"]}
    file = select_servers(INVENTORY.servers, **both, probe="ping").save(tmp_path / "s.json")
    for picker, probe in (
        (select(INVENTORY, preset={**both, "probe": "http:80/"}), "http:80/"),
        (select(INVENTORY, **both, probe="http:80/"), "http:80/"),
        (select(INVENTORY, file=file), "ping"),
        (select(INVENTORY, file=file, probe="none"), "none"),
        (select(INVENTORY, preset={"names": [], "probe": "tcp:22"}), "tcp:22"),
    ):
        if picker.chosen.empty:
            mark(picker, "acme-db1", "acme-web1")
        assert picker.value.probe == probe
        assert set(picker.value.server_ids) == ids("acme-web1", "acme-db1")
        mark(picker, "acme-db1")
        assert (set(picker.value.server_ids), picker.value.probe) == (ids("acme-db1"), probe)
    for wrong in ("http", "command", "tcp:0"):
        with pytest.raises(SelectionError, match="probe is"):
            select(INVENTORY, preset={"names": [], "probe": wrong})


def test_a_selection_a_choice_and_a_file_are_presets_too(tmp_path: Path) -> None:
    selection = select_servers(INVENTORY.servers, projects=["beta"])
    path = selection.save(tmp_path / "s.json")
    for picker in (
        select(INVENTORY, preset=selection),
        select(INVENTORY, preset=Choice(projects=("beta",))),
        select(INVENTORY, preset={"file": str(path)}),
        select(INVENTORY.servers, file=path, digest=selection.digest),
    ):
        assert picker.value == selection


def test_an_empty_preset_waits_for_a_person_and_is_never_everything() -> None:
    for preset in (None, {}, {"names": [], "query": "", "file": ""}, Choice()):
        picker = select(INVENTORY, preset=preset)
        with pytest.raises(SelectionError, match="No server is chosen"):
            _ = picker.value
        assert picker.totals.servers == 0
        assert "no server is chosen" in repr(picker)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"names": ["acme-wep1"]}, "did you mean 'acme-web1'"),
        ({"names": ["twin"]}, "same name"),
        ({"query": "status == 'PAUSED'"}, "No server matches"),
        ({"names": "acme-web1"}, "must be a list"),
        ({"preset": {"tenants": ["acme"]}}, "tenants"),
        ({"preset": {"names": None}}, "must be a list"),
        ({"preset": {"names": ["acme-web1"]}, "hosts": ["node-1"]}, "given twice"),
        ({"file": "x.json", "hosts": ["node-1"]}, "given twice"),
        ({"file": "gone.json"}, "cannot be read"),
        ({"digest": "abc"}, "without a selection file"),
        ({"preset": Selection(("elsewhere",), Choice())}, "do not exist in this cloud: elsewhere"),
    ],
)
def test_a_wrong_preset_is_refused_before_anything_is_shown(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SelectionError) as caught:
        select(INVENTORY, **asked)
    assert words in str(caught.value)


def test_a_file_of_another_cloud_or_digest_is_refused(tmp_path: Path) -> None:
    path = Selection(("elsewhere",), Choice()).save(tmp_path / "s.json")
    with pytest.raises(SelectionError, match="elsewhere"):
        select(INVENTORY, file=path)
    with pytest.raises(SelectionError, match="was expected"):
        select(INVENTORY, file=path, digest="0" * 64)


def test_another_table_is_refused() -> None:
    with pytest.raises(SelectionError, match="not a servers table"):
        select(INVENTORY.images)
    with pytest.raises(SelectionError, match="lacks vcpus"):
        select(INVENTORY.servers.drop(columns="vcpus"))


# --- with a person -------------------------------------------------------------------------------------


def test_a_click_chooses_by_ids() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    mark(picker, "acme-web2", "acme-db1")
    expected = tuple(sorted(ids("acme-web2", "acme-db1")))
    assert picker.value == Selection(expected, Choice(ids=expected))
    assert select_servers(INVENTORY.servers, ids=picker.value.chosen_by.ids) == picker.value


def test_filters_narrow_the_list_and_never_the_choice() -> None:
    picker = select(INVENTORY, names=["acme-web1", "acme-db1"])
    picker.view.filters["project"].value = "beta"
    assert set(listed(picker)) == ids("beta-broken", "beta-stuck", "twin-a", "twin-b")
    assert marked(picker) == set()
    assert "2 chosen ones are not among them" in picker.view.counts.value
    mark(picker, "beta-stuck")
    assert set(picker.value.server_ids) == ids("acme-web1", "acme-db1", "beta-stuck")
    picker.view.filters["project"].value = ""
    assert marked(picker) == ids("acme-web1", "acme-db1", "beta-stuck")
    mark(picker, "beta-stuck")
    assert picker.value.server_ids == (uid("beta-stuck"),)


@pytest.mark.parametrize(
    ("text", "others", "found"),
    [
        ("WEB 10.10.0.12", {}, {"acme-web2"}),
        ("m1.medium", {}, {"acme-db1", "acme-db2"}),
        ("m1.medium", {"host": "node-3"}, {"acme-db1"}),
        ("", {"host": "node-3"}, {"acme-db1", "acme-cache"}),
        ("", {"flavor": "m1.medium", "project": "acme"}, {"acme-db1", "acme-db2"}),
        ("", {"state": "ERROR"}, {"beta-broken"}),
        ("no such thing", {}, set()),
    ],
)
def test_filters_by_text_and_values(text: str, others: dict[str, str], found: set[str]) -> None:
    picker = select(INVENTORY)
    picker.view.text_filter.value = text
    for name, value in others.items():
        picker.view.filters[name].value = value
    assert set(listed(picker)) == ids(*found)
    picker.view.clear_button.click()
    assert len(listed(picker)) == len(INVENTORY.servers)


def test_part_of_an_id_finds_its_server() -> None:
    picker = select(INVENTORY)
    picker.view.text_filter.value = uid("acme-cache")[:8]
    assert listed(picker) == [uid("acme-cache")]


def test_servers_are_filtered_by_what_was_found_about_them() -> None:
    twins = [server_id for server_id, name in INVENTORY.servers["name"].items() if name == "twin"]
    findings = [
        Finding("info", "flavor-deleted", "server acme-db1", "has a flavor that was deleted."),
        Finding("info", "name-repeats", "server twin", f"({twins[0]} of project beta) is not the only one."),
        Finding("warn", "service-down", "nova-compute on node-1", "is down."),
    ]
    picker = select(INVENTORY, findings=findings)
    options = [value for _label, value in picker.view.filters["finding"].options]
    assert options[2:] == ["flavor-deleted", "name-repeats"]
    picker.view.filters["finding"].value = "flavor-deleted"
    assert listed(picker) == [uid("acme-db1")]
    picker.view.filters["finding"].value = "name-repeats"
    assert listed(picker) == [twins[0]]
    picker.view.filters["finding"].value = options[1]
    assert {INVENTORY.servers.loc[server_id, "status"] for server_id in listed(picker)} >= {"ERROR"}


def test_what_would_be_refused_is_among_the_totals() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    assert "would be refused" not in picker.view.summary.value
    mark(picker, "acme-web1", "beta-broken")
    assert "1 would be refused as they are: 1 server-state" in picker.view.summary.value


def test_the_downtime_is_foretold_or_said_not_to_be_known() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    assert "Predicted downtime: not measured yet" in picker.view.summary.value
    told = select(INVENTORY, names=["acme-web1"], forecast=lambda ids: f"{len(ids)} times 3 s")
    assert "Predicted downtime: 1 times 3 s" in told.view.summary.value


def test_buttons_change_the_choice_only() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    preset = picker.value
    picker.view.filters["host"].value = "node-3"
    picker.view.add_button.click()
    assert set(picker.value.server_ids) == ids("acme-web1", "acme-db1", "acme-cache")
    picker.view.drop_button.click()
    assert picker.value == preset
    mark(picker, "acme-db1")
    picker.view.reset_button.click()
    assert picker.value == preset
    picker.view.filters["host"].value = ""
    picker.view.drop_button.click()
    with pytest.raises(SelectionError):
        _ = picker.value


def test_only_the_chosen_ones_can_be_listed() -> None:
    picker = select(INVENTORY, names=["acme-web1", "acme-db1"])
    picker.view.only_chosen.value = True
    assert set(listed(picker)) == ids("acme-web1", "acme-db1")
    mark(picker, "acme-db1")
    assert listed(picker) == [uid("acme-db1")]


def test_the_presets_selection_comes_back_when_a_person_undoes_their_change() -> None:
    picker = select(INVENTORY, projects=["acme"])
    preset, before = picker.value, list(picker.view.grid.selected_rows)
    picker.view.grid.selected_rows = before[:2]
    assert picker.value != preset
    picker.view.grid.selected_rows = before
    assert picker.value == preset
    assert picker.value.chosen_by == Choice(projects=("acme",))


@pytest.mark.parametrize(("tab", "key", "members"), [(1, "beta", 4), (2, "node-3", 2)])
def test_a_tree_chooses_a_whole_group_or_one_of_it(tab: int, key: str, members: int) -> None:
    picker = select(INVENTORY)
    picker.view.tabs.selected_index = tab
    (tree,) = picker.view.tabs.children[tab].children
    assert tree.members == {}

    def group() -> dict[str, Any]:
        return next(dict(one) for one in tree.groups if one["key"] == key)

    tree._handle_custom_msg({"kind": "toggle", "key": key, "member": None, "on": True}, [])
    assert (group()["chosen"], group()["total"], len(picker.value)) == (members, members, members)
    assert len(marked(picker)) == members
    tree._handle_custom_msg({"kind": "open", "keys": [key]}, [])
    first = tree.members[key][0]
    assert first["chosen"]
    tree._handle_custom_msg({"kind": "toggle", "key": key, "member": first["id"], "on": False}, [])
    assert (group()["chosen"], len(picker.value)) == (members - 1, members - 1)
    assert not tree.members[key][0]["chosen"]
    tree._handle_custom_msg({"kind": "toggle", "key": "no such group", "member": None, "on": True}, [])
    tree._handle_custom_msg({"kind": "toggle", "key": key, "member": uid("acme-web1"), "on": True}, [])
    assert len(picker.value) == members - 1


def test_totals_follow_the_choice_and_count_an_image_once() -> None:
    picker = select(INVENTORY, projects=["acme"])
    assert picker.totals == Totals(6, 8, 16384, 160, 2, 24 << 20, 0)
    told = "6 servers · 8 vCPU · 16,384 MiB RAM · 160 GiB disk · 24.0 MiB in 2 images to copy"
    assert told in picker.view.summary.value
    mark(picker, "acme-web1", "twin-a")
    # the other server's image is gone: there is nothing to copy
    assert picker.totals == Totals(2, 1, 2048, 20, 1, 12 << 20, 1)
    assert "1 of unknown size" in picker.view.summary.value


def test_kernels_and_ramdisks_count_among_what_is_copied() -> None:
    server = make_server(image_id=uid("ami"))
    ami = make_image("ami", properties={"kernel_id": uid("aki")})
    source = make_snapshot(servers=(server,), images=(ami, make_image("aki", size_bytes=5 << 20)))
    picker = select(Inventory(source), ids=[server.id])
    assert "17.0 MiB in 2 images to copy" in picker.view.summary.value


def test_a_moved_server_is_marked_until_it_is_finalised(tmp_path: Path) -> None:
    """Its source is there, stopped: it must not be taken for one that has yet to move."""
    run: Any = desk_run(tmp_path)
    move = run.keep(move_of("acme-web1", "acme-db1"), "started")
    moving = run.begin("03-move-servers")
    for name, events in (("acme-web1", ("stop", "boot", "settle")), ("acme-db1", ("stop",))):
        run.tell(moving, move, *((f"{kind}:{uid(name)}", "verified") for kind in events))
    picker = select(INVENTORY, run=run)
    told = dict(zip(picker.view.listed, picker.view.shown["findings"], strict=True))
    assert told[uid("acme-web1")] == f"moved by plan {move.hash[:12]}"
    assert f"being moved by plan {move.hash[:12]}" in told[uid("acme-db1")]
    assert sum("moved" in words for words in told.values()) == 2
    for code, name in (("moved", "acme-web1"), ("being-moved", "acme-db1")):
        picker.view.filters["finding"].value = code
        assert picker.view.listed == [uid(name)]
    run.tell(moving, move, *((f"{kind}:{uid('acme-db1')}", "undone") for kind in ("stop",)))
    gone = run.keep(move_of("acme-web1", kind="finalise", sequence=1), "started")
    run.tell(moving, gone, (f"delete-source:{uid('acme-web1')}", "verified"))
    assert not any("moved by" in one for one in select(INVENTORY, run=run).view.shown["findings"])
    run.journal.close()


def test_all_that_match_are_chosen_however_many_there_are() -> None:
    big = Inventory(make_snapshot(servers=[make_server(f"s{n:04}") for n in range(750)]))
    picker = select(big, projects=["acme"])
    assert (len(listed(picker)), len(marked(picker))) == (750, 750)
    picker.view.text_filter.value = "s07"
    picker.view.drop_button.click()
    assert len(picker.value) == 700
    picker.view.text_filter.value = "s0749"
    assert listed(picker) == [uid("s0749")]
    picker.view.add_button.click()
    assert len(picker.value) == 701


def test_equal_labels_stay_apart() -> None:
    twins = [make_server("same", id=f"id-{n}", address="10.10.0.9") for n in range(3)]
    picker = select(Inventory(make_snapshot(servers=twins)), ids=["id-1"])
    assert marked(picker) == {"id-1"}
    picker.view.grid.selected_rows = [listed(picker).index("id-2")]
    assert picker.value.server_ids == ("id-2",)


# --- what a record keeps -------------------------------------------------------------------------------


def test_the_mimebundle_has_the_widget_and_a_static_twin_without_script() -> None:
    evil = make_server("<script>alert(1)</script>", id="evil")
    inventory = Inventory(make_snapshot(servers=[evil, make_server("other")]))
    picker = select(inventory, ids=["evil"])

    bundle = picker._repr_mimebundle_()

    assert bundle[VIEW]["model_id"] == picker.widget.model_id
    assert "<script" not in bundle["text/html"]
    assert "<script" not in picker.view.summary.value
    assert "<script" not in str(picker.view.grid._dt_args["data_json"])
    tree = ET.fromstring(f"<body>{bundle['text/html']}</body>")
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    assert "<script>alert(1)</script>" in cells
    assert "evil" in cells
    assert "other" not in cells
    assert "1 server · 1 vCPU · 2,048 MiB RAM" in bundle["text/html"]
    assert "evil" in bundle["text/plain"]


def test_the_static_twin_follows_the_choice() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    mark(picker, "acme-db1")
    html = picker._repr_mimebundle_()["text/html"]
    assert uid("acme-db1") in html
    assert uid("acme-web1") not in html


def test_choosing_changes_neither_the_inventory_nor_the_table() -> None:
    servers = INVENTORY.servers
    before = servers.copy()
    picker = select(servers, projects=["acme"])
    picker.view.text_filter.value = "db"
    picker.view.add_button.click()
    pd.testing.assert_frame_equal(servers, before)
    assert picker.chosen["project_id"].unique().tolist() == [kid("acme")]
