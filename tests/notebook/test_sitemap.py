"""The picture of the site: every node under its owner, readable without colours, without scripts, without a kernel."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree as ET

import pytest

from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.notebook.runs import show_nodes
from pumphouse.notebook.sitemap import show_site
from pumphouse.session.rack import NodeState, look_at_nodes

SVG = "{http://www.w3.org/2000/svg}"
HARDWARE = Hardware(
    nodes={name: NodeSpec(name, (f"52:54:00:00:00:0{number}",)) for number, name in enumerate("abcd")},
    admin_vlan=100,
    private_vlan=200,
)
NODES = (
    NodeState("a", "compute", "compute1", owner="source", power="on", vlan=200, servers=3),
    NodeState("b", "controller", "", owner="destination", power="on", vlan=100, fuel_name="node-7", roles=("compute",)),
    NodeState("c<script>", "spare", "", power="off", vlan=999, problems=("its BMC is silent",)),
)


def picture(*nodes: NodeState) -> ET.Element:
    found = re.search(r"<svg.*?</svg>", show_site(nodes, HARDWARE).html)
    assert found is not None
    return ET.fromstring(found[0])


def test_every_node_stands_under_its_owner() -> None:
    drawn = picture(*NODES)
    heads = {str(t.text).partition(" (")[0]: t.get("x") for t in drawn.findall(f"{SVG}text")}
    assert heads.keys() == {"Source", "Nobody", "Destination"}
    boxes = {}
    for group in drawn.findall(f"{SVG}g"):
        frame, texts = group.find(f"{SVG}rect"), [str(text.text) for text in group.findall(f"{SVG}text")]
        assert frame is not None
        boxes[texts[0]] = (frame.get("x"), frame.get("stroke-dasharray"), *texts[1:])
    assert boxes == {
        "a": (heads["Source"], "5 3", "compute · compute1 · 3 servers", "VLAN 200 Private · ● on"),
        "b": (heads["Destination"], None, "compute · node-7", "VLAN 100 Admin · ● on"),
        "c<script>": (heads["Nobody"], "1 4", "spare", "VLAN 999 · ○ off ✖ no answer"),
    }


def test_it_is_whole_without_colour_script_or_net() -> None:
    shown = show_site(NODES, HARDWARE)
    assert "<script" not in shown.html
    assert not re.search(r"(?:href|src)=|url\(", shown.html.partition("</style>")[2].partition("</svg>")[0])
    assert "Source: a: compute · compute1 · 3 servers · VLAN 200 Private · ● on" in shown.text
    assert "2 more of site.yaml are not in this picture" in shown.html  # neither c, which has another name, nor d
    assert "its BMC is silent" in shown.html
    assert "not asked" not in shown.html


def test_nodes_whose_power_nobody_asked_for_are_counted_apart_from_those_that_are_not_shown() -> None:
    rest = Hardware(nodes={name: NodeSpec(name, (f"52:54:00:00:00:0{n}",)) for n, name in enumerate("abc")})
    nodes = look_at_nodes(rest, cast("Nodes", SimpleNamespace(node=rest.nodes.__getitem__)), None, names="a", rest=True)
    shown = show_site(nodes, rest).html
    assert "The BMCs of 2 were not asked" in shown
    assert "not in this picture" not in shown
    assert show_nodes(nodes).text.count("not asked") == 2
    assert "1 more of site.yaml are not in this picture" in show_site(nodes[:2], rest).html


@pytest.mark.parametrize("owner", ["source", "destination", "fuel", ""])
def test_before_and_after_have_the_same_places(owner: str) -> None:
    drawn = picture(NodeState("a", "compute", "compute1", owner=owner))
    heads = [str(text.text) for text in drawn.findall(f"{SVG}text")]
    assert [head for head in heads if head.startswith(("Source", "Destination"))] == [
        f"Source ({int(owner == 'source')})",
        f"Destination ({int(owner == 'destination')})",
    ]
    sizes = [int(drawn.get(name, "0")) for name in ("width", "height")]
    frame = drawn.find(f"{SVG}g/{SVG}rect")
    assert frame is not None
    ends = [int(frame.get(at, "0")) + int(frame.get(size, "0")) for at, size in (("x", "width"), ("y", "height"))]
    assert all(end <= size for end, size in zip(ends, sizes, strict=True))


def test_a_site_without_nodes_says_how_to_describe_them() -> None:
    shown = show_site((), Hardware(nodes={}, admin_vlan=None, private_vlan=None))
    assert "describes no node" in shown.html
    assert "doc/hardware.md" in shown.text
    assert "<svg" not in shown.html
