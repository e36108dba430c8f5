"""Side by side, the map of hosts, and the graph of a plan."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pumphouse.inventory import Inventory
from pumphouse.notebook.graph import show_graph
from pumphouse.notebook.sides import fill, show_map, show_sides
from tests.core.making import make_plan, make_step
from tests.factories import make_snapshot
from tests.notebook.desk_of import move_of

BOTH = make_snapshot()
OTHER = replace(BOTH, facts=replace(BOTH.facts, side="destination", cloud="new"), servers=BOTH.servers[:2])


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_both_clouds_are_counted_and_told_apart_by_name() -> None:
    text = show_sides(Inventory(BOTH, OTHER)).text
    (servers,) = lines(text, "servers")
    assert servers.split()[1:4] == [str(len(BOTH.servers)), "2", "2"]
    (projects,) = lines(text, "projects")
    assert "nothing" in projects


def test_columns_add_up_though_names_repeat() -> None:
    """Three servers of the source, two of one name; the third is in both."""
    first = BOTH.servers[0]
    servers = (first, replace(first, id="2", name="twin"), replace(first, id="3", name="twin"))
    text = show_sides(Inventory(replace(BOTH, servers=servers), replace(OTHER, servers=servers[:1]))).text
    (line,) = lines(text, "servers")
    assert line.split()[1:4] == ["3", "1", "1"]
    assert "2 under 1 name: " in line
    assert "/twin (2 times)" in line
    again = show_sides(Inventory(replace(BOTH, servers=servers), replace(OTHER, servers=servers))).text
    assert "2 (3 and 3 of that name)" in lines(again, "servers")[0]


def test_the_map_says_how_full_each_host_is() -> None:
    text = show_map(Inventory(BOTH, OTHER)).text
    assert "Hosts of the source" in text
    assert "Hosts of the destination" in text
    assert "acme-web1" in lines(text, "node-1")[0]
    assert "█" in text


@pytest.mark.parametrize(
    ("used", "total", "bar"),
    [
        (0, 8, "░░░░░░░░░░░░   0%"),
        (2, 8, "███░░░░░░░░░  25%"),
        (12, 8, "████████████ 150%"),
        (3, 0, None),
        (None, 8, None),
    ],
)
def test_a_bar_reads_without_colour(used: int | None, total: int, bar: str | None) -> None:
    assert fill(used, total) == bar


def test_the_graph_shows_each_kind_once_and_what_it_needs() -> None:
    display = show_graph(move_of("web", "db"))
    svg = ET.fromstring(display.html[display.html.index("<svg") : display.html.index("</svg>") + 6])
    words = [node.text for node in svg.iter() if node.tag.endswith("text")]
    assert words == ["image", "1", "stop", "2", "boot", "2", "settle", "2"]
    assert svg.get("role") == "img"
    # image, stop, boot, settle in a row: an arrow is a line and a head
    assert sum(node.tag.endswith("path") for node in svg.iter()) == 2 * 3
    assert "2 × boot ← stop" in display.text


def test_an_arrow_that_another_way_implies_is_left_out() -> None:
    steps = [make_step("a:1"), make_step("b:1", "a:1"), make_step("c:1", "a:1", "b:1")]
    display = show_graph(make_plan(*steps))
    assert display.html.count("<path") == 2 * 2
    assert "1 × c ← a, b" in display.text


def test_titles_in_the_graph_are_harmless() -> None:
    display = show_graph(make_plan(make_step("a:1", title="<script>alert(1)</script>", undo="x")))
    assert "<script" not in display.html
