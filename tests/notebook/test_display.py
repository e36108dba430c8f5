"""What notebooks show: right, escaped, readable without colour, script or kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.inventory import BUILDERS, SCHEMAS, Inventory, InventoryError
from pumphouse.notebook import Display, show, show_facts, show_findings
from pumphouse.notebook.html import Cell, Column, clean, one_line, render
from tests.factories import make_facts, make_server, make_snapshot, uid

INVENTORY = Inventory(make_snapshot(), make_snapshot("destination"))
TABLE_TAGS = ("table", "thead", "tbody", "tr", "th", "td")
EVIL = "<script>alert(1)</script>&\"'"


@dataclass(frozen=True)
class Finding:
    severity: str
    code: str
    object: str
    message: str
    remedy: str = ""


def read(display: Display) -> tuple[list[str], list[list[str]], str]:
    """(headings, cells, all text) of a display's HTML, which must be well-formed and without script."""
    html = display._repr_html_()
    assert "<script" not in html
    assert not re.search(r"\son\w+=|javascript:|https?://(?!192\.0\.2\.)", html)
    tree = ET.fromstring(f"<body>{html}</body>")
    heads = ["".join(cell.itertext()) for cell in tree.iter("th")]
    rows = [["".join(cell.itertext()) for cell in row.iter("td")] for row in tree.iter("tr")]
    for style in list(tree.iter("style")):
        style.text = ""
    return heads, [row for row in rows if row], " ".join(tree.itertext())


def test_a_table_has_units_in_its_headings_and_no_row_numbers() -> None:
    heads, rows, text = read(show(INVENTORY.servers))
    assert "RAM (MiB)" in heads
    assert "disk (GiB)" in heads
    assert heads[0] == "name"
    assert heads[-1] == "server id"
    assert len(rows) == 10
    by_id = {row[-1]: dict(zip(heads, row, strict=True)) for row in rows}
    row = by_id[uid("acme-db1")]
    assert (row["name"], row["project"], row["RAM (MiB)"], row["flavor"]) == ("acme-db1", "acme", "4,096", "m1.medium")
    assert "Servers (10)" in text


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_every_inventory_table_shows_its_brief_columns_and_all_of_them(name: str, side: str) -> None:
    table = INVENTORY.table(name, side)
    heads, rows, _ = read(show(table))
    assert len(heads) == len(SCHEMAS[name].brief)
    assert len(rows) == max(len(table), 1)
    heads, _, _ = read(show(table, columns="all"))
    assert len(heads) == len(table.columns) + bool(SCHEMAS[name].index)


def test_words_stand_beside_colours() -> None:
    _, rows, _ = read(show(INVENTORY.servers, columns=["name", "status"]))
    words = dict(rows)  # type: ignore[arg-type]
    assert words["beta-broken"] == "✖ ERROR"
    assert words["acme-batch"] == "○ SHUTOFF"
    assert words["acme-web1"] == "● ACTIVE"
    _, rows, _ = read(show(INVENTORY.hosts, columns=["host", "state"]))
    assert ["node-3", "✖ down"] in rows


def test_missing_values_bytes_times_and_booleans_are_for_people() -> None:
    heads, rows, _ = read(show(INVENTORY.servers, columns=["name", "host", "created_at", "image_size_bytes"]))
    assert heads == ["name", "host", "created (UTC)", "image size (MiB)"]
    assert ["acme-web1", "node-1", "2014-05-01 12:00:00", "12.0"] in rows
    assert ["twin", "–", "–", "12.0"] in rows
    _, rows, _ = read(show(INVENTORY.images, columns=["name", "protected"]))
    assert sorted(rows) == [["acme-web", "no"], ["cirros", "yes"], ["half-made", "no"]]
    _, rows, _ = read(show(INVENTORY.security_group_rules, columns=["port_min"]))
    assert ["3306"] in rows


def test_a_long_table_shows_its_head_and_counts_the_rest() -> None:
    servers = Inventory(make_snapshot(servers=[make_server(f"s{n:04}") for n in range(1234)])).servers
    display = show(servers, rows=5)
    _, rows, text = read(display)
    assert [row[0] for row in rows] == ["s0000", "s0001", "s0002", "s0003", "s0004"]
    assert "… and 1,229 more (1,234 in all)." in text
    assert "… and 1,229 more" in repr(display)
    assert "more" not in read(show(servers.head(5), rows=5))[2]


def test_what_a_person_cut_is_shown_as_they_cut_it() -> None:
    heads, _, _ = read(show(INVENTORY.servers[["name", "key_name"]]))
    assert heads == ["name", "key"]
    heads, rows, _ = read(show(INVENTORY.servers.loc[[uid("acme-web1")]]))
    assert len(rows) == 1
    assert len(heads) == len(SCHEMAS["servers"].brief)


def test_any_other_table_is_shown_whole_with_a_named_index() -> None:
    table = pd.DataFrame({"wait_s": [1.5, None], "n": [1000, 2]}, index=pd.Index(["a", "b"], name="step"))
    heads, rows, _ = read(show(table, title="Steps"))
    assert heads == ["step", "wait (s)", "n"]
    assert rows == [["a", "1.50", "1,000"], ["b", "–", "2"]]
    heads, rows, _ = read(show(table.reset_index(drop=True)))
    assert heads == ["wait (s)", "n"]


def test_an_empty_table_says_none() -> None:
    heads, rows, text = read(show(INVENTORY.table("images", "destination")))
    assert rows == [["(none)"]]
    assert len(heads) == len(SCHEMAS["images"].brief)
    assert "Images (0)" in text


def test_unknown_columns_are_named() -> None:
    with pytest.raises(InventoryError, match=r"no column 'nmae'.*name"):
        show(INVENTORY.servers, columns=["nmae"])


def test_names_from_the_cloud_are_escaped() -> None:
    servers = Inventory(make_snapshot(servers=[make_server(EVIL)])).servers
    _, rows, _ = read(show(servers))
    assert rows[0][0] == EVIL
    _, rows, _ = read(show(pd.DataFrame({EVIL: [EVIL]}), title=EVIL))
    assert rows == [[EVIL]]


@given(st.text(st.characters(exclude_characters="\ufffe\uffff", exclude_categories=("Cs",)), max_size=30))
def test_any_text_survives_and_nothing_of_it_becomes_markup(text: str) -> None:
    display = render(text, [Column(text, text)], [[Cell(text)]], note=text)
    tree = ET.fromstring(f"<body>{display.html}</body>".encode())
    assert {item.tag for item in tree.iter()} <= {"body", "style", "div", "p", "span", *TABLE_TAGS}
    (cell,) = tree.iter("td")
    assert "".join(cell.itertext()) == clean(text)
    assert len(display.text.splitlines()) <= 5


@pytest.mark.parametrize("text", ["web-1", "Бета", "日本", "e\u0301", "👩\u200d💻", "a\u00a0b", "50 %"])
def test_honest_text_is_not_touched(text: str) -> None:
    assert clean(text) == text


def test_what_could_act_or_mislead_is_replaced() -> None:
    assert clean("a\x1b[31mb\x00c\ud800d\u202ee") == "a\ufffd[31mb\ufffdc\ufffdd\ufffde"
    assert clean("a\nb\tc\u2028d") == "a b c d"


def test_the_text_form_lines_up() -> None:
    lines = repr(show(INVENTORY.flavors, columns=["name", "ram_mib"])).splitlines()
    assert lines[0] == "Flavors (4)"
    assert lines[1:3] == ["name       RAM (MiB)", "---------  ---------"]
    assert lines[3:7] == [
        "acme.big      16,384",
        "m1.medium      4,096",
        "m1.small       2,048",
        "m1.tiny          512",
    ]


@given(st.text(max_size=40))
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()
    line.encode("utf-8")


# --- facts and findings --------------------------------------------------------------------------------


def test_facts_side_by_side() -> None:
    heads, rows, _ = read(show_facts(make_facts("source"), make_facts("destination")))
    assert heads == ["", "source", "destination"]
    facts = {row[0]: row[1:] for row in rows}
    assert facts["cloud"] == ["old", "new"]
    assert facts["network service"] == ["nova-network", "neutron"]
    assert facts["TLS"] == ["▲ not verified", "● verified"]
    assert facts["release"] == ["icehouse", "–"]
    assert facts["we are"] == ["admin in project admin", "admin in project admin"]
    assert read(show_facts(make_facts()))[0] == ["", "source"]


def test_abilities_are_rows_of_their_own() -> None:
    source = make_facts(abilities={"shelve": "no", "rate limits": "POST 10/minute"})
    destination = make_facts("destination", abilities={"Neutron": "84 extensions", "shelve": "yes"})
    _, rows, _ = read(show_facts(source, destination))
    facts = {row[0]: row[1:] for row in rows}
    assert facts["shelve"] == ["no", "yes"]
    assert facts["rate limits"] == ["POST 10/minute", "–"]
    assert facts["Neutron"] == ["–", "84 extensions"]


def test_facts_never_show_a_password_in_a_url() -> None:
    display = show_facts(make_facts(auth_url="http://admin:hunter2@192.0.2.10:5000/v2.0"))
    assert "hunter2" not in display._repr_html_() + repr(display)
    assert "http://192.0.2.10:5000/v2.0" in repr(display)


def test_findings_come_worst_first_and_all_of_them() -> None:
    findings = [
        Finding("info", "i", "server b", "is big"),
        *(Finding("warn", "w", f"server {n:03}", "is old", "wait") for n in range(200)),
        Finding("block", "e", "server a", EVIL, "reset it"),
    ]
    heads, rows, text = read(show_findings(findings))
    assert heads == ["severity", "object", "finding", "remedy", "code"]
    assert len(rows) == 202
    assert rows[0] == ["✖ block", "server a", EVIL, "reset it", "e"]
    assert rows[1][0] == "▲ warn"
    assert rows[-1] == ["ℹ info", "server b", "is big", "–", "i"]
    assert "✖ blocked (1 block · 200 warn · 1 info)" in text


def test_the_text_form_cuts_long_cells_but_never_a_finding() -> None:
    long = "word " * 30
    assert "wo…" in repr(render("", [Column("a")], [[Cell(long)]]))
    text = repr(show_findings([Finding("warn", "w", "x", long, long)]))
    assert text.count("word") == 60


def test_no_findings_and_none_that_block() -> None:
    assert "● nothing blocks" in read(show_findings([]))[2]
    assert "● nothing blocks (1 warn)" in read(show_findings([Finding("warn", "w", "x", "y")]))[2]


def test_a_severity_that_nobody_knows_counts_as_blocking() -> None:
    _, rows, text = read(show_findings([Finding("block", "b", "x", "y"), Finding("fatal", "f", "x", "y")]))
    assert rows[0][0] == "✖ fatal"
    assert "✖ blocked" in text


def test_what_a_sentence_has_in_backticks_is_shown_as_something_to_type() -> None:
    finding = Finding("warn", "owner", "user `x`", "log in with `<b>old</b>`.", "run `nova list`.")
    html = show_findings([finding]).html
    assert "<code>nova list</code>" in html
    assert "<code>&lt;b&gt;old&lt;/b&gt;</code>" in html
    assert "`nova list`" in show_findings([finding]).text
