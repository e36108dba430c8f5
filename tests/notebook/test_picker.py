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
from pumphouse.inventory import Inventory
from pumphouse.notebook import Picker, Totals, select
from pumphouse.notebook.picker import LISTED
from pumphouse.selection import Choice, Selection, select_servers
from tests.factories import kid, make_server, make_snapshot, uid

VIEW = "application/vnd.jupyter.widget-view+json"
INVENTORY = Inventory(make_snapshot())


@pytest.fixture(autouse=True)
def _close_widgets() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def listed(picker: Picker) -> list[str]:
    return [server_id for _, server_id in picker.servers_list.options]


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
    assert set(picker.servers_list.value) == set(picker.value.server_ids)


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
        ({"names": ["acme-wep1"]}, "close: acme-web1"),
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
    picker.servers_list.value = (uid("acme-web2"), uid("acme-db1"))
    expected = tuple(sorted(ids("acme-web2", "acme-db1")))
    assert picker.value == Selection(expected, Choice(ids=expected))
    assert select_servers(INVENTORY.servers, ids=picker.value.chosen_by.ids) == picker.value


def test_filters_narrow_the_list_and_never_the_choice() -> None:
    picker = select(INVENTORY, names=["acme-web1", "acme-db1"])
    picker.project_filter.value = "beta"
    assert set(listed(picker)) == ids("beta-broken", "beta-stuck", "twin-a", "twin-b")
    assert picker.servers_list.value == ()
    assert "2 chosen ones are not in the list" in picker.summary.value
    picker.servers_list.value = (uid("beta-stuck"),)
    assert set(picker.value.server_ids) == ids("acme-web1", "acme-db1", "beta-stuck")
    picker.project_filter.value = ""
    assert set(picker.servers_list.value) == ids("acme-web1", "acme-db1", "beta-stuck")
    picker.servers_list.value = (uid("beta-stuck"),)
    assert picker.value.server_ids == (uid("beta-stuck"),)


def test_text_and_host_filters() -> None:
    picker = select(INVENTORY)
    picker.text_filter.value = "WEB 10.10.0.12"
    assert listed(picker) == [uid("acme-web2")]
    picker.text_filter.value = "m1.medium"
    assert set(listed(picker)) == ids("acme-db1", "acme-db2")
    picker.host_filter.value = "node-3"
    assert listed(picker) == [uid("acme-db1")]
    picker.text_filter.value = uid("acme-cache")[:8]
    assert listed(picker) == [uid("acme-cache")]
    picker.text_filter.value = "no such thing"
    assert listed(picker) == []
    picker.text_filter.value = ""
    assert set(listed(picker)) == ids("acme-db1", "acme-cache")


def test_buttons_change_the_choice_only() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    preset = picker.value
    picker.host_filter.value = "node-3"
    picker.add_button.click()
    assert set(picker.value.server_ids) == ids("acme-web1", "acme-db1", "acme-cache")
    picker.drop_button.click()
    assert picker.value == preset
    picker.servers_list.value = (uid("acme-db1"),)
    picker.reset_button.click()
    assert picker.value == preset
    picker.host_filter.value = ""
    picker.drop_button.click()
    with pytest.raises(SelectionError):
        _ = picker.value


def test_the_presets_selection_comes_back_when_a_person_undoes_their_change() -> None:
    picker = select(INVENTORY, projects=["acme"])
    preset = picker.value
    before = picker.servers_list.value
    picker.servers_list.value = before[:2]
    assert picker.value != preset
    picker.servers_list.value = before
    assert picker.value == preset
    assert picker.value.chosen_by == Choice(projects=("acme",))


def test_totals_follow_the_choice_and_count_an_image_once() -> None:
    picker = select(INVENTORY, projects=["acme"])
    assert picker.totals == Totals(6, 8, 16384, 160, 2, 24 << 20, 0)
    assert "6 servers · 8 vCPU · 16,384 MiB RAM · 160 GiB disk · 24.0 MiB in 2 images" in picker.summary.value
    picker.servers_list.value = (uid("acme-web1"), uid("twin-a"))
    assert picker.totals == Totals(2, 1, 2048, 20, 2, 12 << 20, 1)
    assert "1 of unknown size" in picker.summary.value


def test_a_big_cloud_lists_a_part_and_says_so() -> None:
    big = Inventory(make_snapshot(servers=[make_server(f"s{n:04}") for n in range(LISTED + 250)]))
    picker = select(big, projects=["acme"])
    assert len(listed(picker)) == LISTED
    assert len(picker.value) == LISTED + 250
    assert "250 more match" in picker.summary.value
    # dropping what is listed leaves what is not
    picker.drop_button.click()
    assert len(picker.value) == 250
    picker.text_filter.value = "s0749"
    assert listed(picker) == [uid("s0749")]


def test_equal_labels_stay_apart() -> None:
    twins = [make_server("same", id=f"id-{n}", address="10.10.0.9") for n in range(3)]
    picker = select(Inventory(make_snapshot(servers=twins)), ids=["id-1"])
    assert picker.servers_list.value == ("id-1",)
    picker.servers_list.value = ("id-2",)
    assert picker.value.server_ids == ("id-2",)


# --- what a record keeps -------------------------------------------------------------------------------


def test_the_mimebundle_has_the_widget_and_a_static_twin_without_script() -> None:
    evil = make_server("<script>alert(1)</script>", id="evil")
    inventory = Inventory(make_snapshot(servers=[evil, make_server("other")]))
    picker = select(inventory, ids=["evil"])

    bundle = picker._repr_mimebundle_()

    assert bundle[VIEW]["model_id"] == picker.widget.model_id
    assert "<script" not in bundle["text/html"]
    assert "<script" not in picker.summary.value
    tree = ET.fromstring(f"<body>{bundle['text/html']}</body>")
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    assert "<script>alert(1)</script>" in cells
    assert "evil" in cells
    assert "other" not in cells
    assert "1 server · 1 vCPU · 2,048 MiB RAM" in bundle["text/html"]
    assert "evil" in bundle["text/plain"]


def test_the_static_twin_follows_the_choice() -> None:
    picker = select(INVENTORY, names=["acme-web1"])
    picker.servers_list.value = (uid("acme-db1"),)
    html = picker._repr_mimebundle_()["text/html"]
    assert uid("acme-db1") in html
    assert uid("acme-web1") not in html


def test_choosing_changes_neither_the_inventory_nor_the_table() -> None:
    servers = INVENTORY.servers
    before = servers.copy()
    picker = select(servers, projects=["acme"])
    picker.text_filter.value = "db"
    picker.add_button.click()
    pd.testing.assert_frame_equal(servers, before)
    assert picker.chosen["project_id"].unique().tolist() == [kid("acme")]
