"""Choosing servers: exactly what was asked for, or an error that says why not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import SelectionError
from pumphouse.inventory import Inventory
from pumphouse.model import Project
from pumphouse.selection import Choice, Selection, select_servers
from tests.factories import kid, make_projects, make_server, make_servers, make_snapshot, uid

IDS = st.text(min_size=1, max_size=20).filter(str.strip)
ACME = tuple(sorted(server.id for server in make_servers() if server.project_id == kid("acme")))


@pytest.fixture(scope="module")
def servers() -> pd.DataFrame:
    return Inventory(make_snapshot()).servers


def test_by_name_id_host_and_project(servers: pd.DataFrame) -> None:
    assert select_servers(servers, names=["acme-web1"]).server_ids == (uid("acme-web1"),)
    assert select_servers(servers, ids=[uid("twin-a")]).server_ids == (uid("twin-a"),)
    assert set(select_servers(servers, hosts=["node-3"]).server_ids) == {uid("acme-db1"), uid("acme-cache")}
    assert select_servers(servers, projects=["acme"]).server_ids == ACME
    assert select_servers(servers, projects=[kid("acme")]).server_ids == ACME


def test_the_lists_are_a_union_and_the_query_filters_it(servers: pd.DataFrame) -> None:
    chosen = select_servers(servers, names=["beta-stuck"], ids=[uid("acme-web1")], hosts=["node-3"])
    assert set(chosen.server_ids) == {uid(n) for n in ("beta-stuck", "acme-web1", "acme-db1", "acme-cache")}
    chosen = select_servers(servers, hosts=["node-3"], names=["acme-web1"], query="ram_mib > 2048")
    assert chosen.server_ids == (uid("acme-db1"),)
    chosen = select_servers(servers, query="project_name == 'acme'")
    assert chosen.server_ids == ACME


def test_the_same_twice_is_once(servers: pd.DataFrame) -> None:
    selection = select_servers(servers, names=["acme-web1", "acme-web1"], ids=[uid("acme-web1")])
    assert len(selection) == 1
    assert selection.chosen_by.names == ("acme-web1",)


def test_a_part_of_the_table_is_a_table(servers: pd.DataFrame) -> None:
    active = servers[servers["status"] == "ACTIVE"]
    assert uid("acme-batch") not in select_servers(active, projects=["acme"]).server_ids
    with pytest.raises(SelectionError, match="acme-batch"):
        select_servers(active, names=["acme-batch"])


@pytest.mark.parametrize("asked", [{}, {"names": []}, {"query": ""}, {"query": "   "}, {"ids": (), "hosts": []}])
def test_nothing_asked_for_is_an_error_and_never_everything(servers: pd.DataFrame, asked: dict[str, Any]) -> None:
    with pytest.raises(SelectionError, match="all empty"):
        select_servers(servers, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"query": "status == 'PAUSED'"},
        {"hosts": ["node-3"], "query": "status == 'ERROR'"},
    ],
)
def test_nothing_found_is_an_error_that_names_what_was_asked(servers: pd.DataFrame, asked: dict[str, Any]) -> None:
    with pytest.raises(SelectionError) as caught:
        select_servers(servers, **asked)
    assert "No server matches" in str(caught.value)
    assert asked["query"] in str(caught.value)
    assert all(host in str(caught.value) for host in asked.get("hosts", ()))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"names": ["acme-wep1", "acme-web1"]}, "server 'acme-wep1' (did you mean 'acme-web1'"),
        ({"names": ["ACME-WEB1"]}, "'ACME-WEB1'"),
        ({"ids": ["acme-web1"]}, "server id 'acme-web1'"),
        ({"hosts": ["node-33"]}, "host 'node-33' (did you mean 'node-3'"),
        ({"projects": ["acne"]}, "project with servers 'acne' (did you mean 'acme'"),
        ({"projects": ["services"]}, "project with servers 'services'"),
        ({"names": [f"x{n}" for n in range(30)]}, "and 20 more"),
    ],
)
def test_what_does_not_exist_is_named_with_close_matches(
    servers: pd.DataFrame, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(SelectionError) as caught:
        select_servers(servers, **asked)
    assert words in str(caught.value)
    assert "Remedy:" in str(caught.value)


def test_a_name_that_two_servers_have_is_refused_with_their_ids(servers: pd.DataFrame) -> None:
    with pytest.raises(SelectionError) as caught:
        select_servers(servers, names=["acme-web1", "twin"])
    assert uid("twin-a") in str(caught.value)
    assert uid("twin-b") in str(caught.value)
    assert "ids=[...]" in str(caught.value)


def test_a_project_name_in_two_domains_is_refused_with_their_ids() -> None:
    snapshot = make_snapshot(
        projects=(*make_projects(), Project("f00", "acme")),
        servers=(*make_servers(), make_server("other", project_id="f00")),
    )
    table = Inventory(snapshot).servers
    with pytest.raises(SelectionError, match=r"Several projects are named 'acme': .*f00"):
        select_servers(table, projects=["acme"])
    assert select_servers(table, projects=["f00"]).server_ids == (uid("other"),)


@pytest.mark.parametrize("what", ["names", "ids", "hosts", "projects"])
@pytest.mark.parametrize("value", ["acme-web1", 1, None, [1], [None], [""], ["  "], b"acme-web1", "(1, 2)"])
def test_lists_must_be_lists_of_texts(servers: pd.DataFrame, what: str, value: Any) -> None:
    with pytest.raises(SelectionError, match=what):
        select_servers(servers, **{what: value})


@pytest.mark.parametrize("value", [1, None, ["status == 'ACTIVE'"], True])
def test_a_query_must_be_text(servers: pd.DataFrame, value: Any) -> None:
    with pytest.raises(SelectionError, match="query"):
        select_servers(servers, query=value)


def test_unknown_ways_to_choose_are_refused() -> None:
    with pytest.raises(SelectionError, match="tenants"):
        Choice.of(tenants=["acme"])


def test_another_table_is_refused(servers: pd.DataFrame) -> None:
    inventory = Inventory(make_snapshot())
    for table in (inventory.images, inventory.assignments, servers.reset_index(), servers.drop(columns="host")):
        with pytest.raises(SelectionError, match="not a servers table"):
            select_servers(table, query="name == 'x'")
    with pytest.raises(SelectionError, match="unique"):
        select_servers(pd.concat([servers, servers]), names=["acme-web1"])


def test_no_servers_at_all_is_an_error() -> None:
    empty = Inventory(make_snapshot(servers=())).servers
    for asked in ({"names": ["a"]}, {"query": "vcpus > 1"}, {"projects": ["acme"]}):
        with pytest.raises(SelectionError):
            select_servers(empty, **asked)


# --- the object and its file ---------------------------------------------------------------------------


def test_a_selection_is_never_empty() -> None:
    with pytest.raises(SelectionError, match="No server is selected"):
        Selection((), Choice())


@given(st.lists(IDS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_ids_never_matters(ids: list[str], random: Any) -> None:
    turned = [*ids, *ids[:2]]
    random.shuffle(turned)
    one, other = Selection(tuple(ids), Choice()), Selection(tuple(turned), Choice(query="x"))
    assert one.server_ids == other.server_ids == tuple(sorted(set(ids)))
    assert one.digest == other.digest


@given(st.sets(IDS, min_size=1, max_size=5), st.sets(IDS, min_size=1, max_size=5))
def test_other_ids_have_another_digest(one: set[str], other: set[str]) -> None:
    same = Selection(tuple(one), Choice()).digest == Selection(tuple(other), Choice()).digest
    assert same == (one == other)


def test_the_digest_is_what_the_documentation_says() -> None:
    selection = Selection(("b", "ü", "a"), Choice())
    assert selection.digest == hashlib.sha256(b'["a","b","\\u00fc"]').hexdigest()


@given(
    st.lists(IDS, min_size=1, max_size=8),
    st.builds(
        Choice,
        names=st.lists(IDS, max_size=3).map(tuple),
        ids=st.lists(IDS, max_size=3).map(tuple),
        hosts=st.lists(IDS, max_size=3).map(tuple),
        projects=st.lists(IDS, max_size=3).map(tuple),
        query=st.text(max_size=20),
    ),
)
@settings(deadline=None)
def test_file_round_trip(tmp_path_factory: pytest.TempPathFactory, ids: list[str], choice: Choice) -> None:
    folder = tmp_path_factory.mktemp("selection")
    selection = Selection(tuple(ids), choice)
    path = selection.save(folder / "s.json")
    again = Selection.load(path, digest=selection.digest)
    assert again == selection
    assert again.save(folder / "t.json").read_bytes() == path.read_bytes()


def test_the_file_is_canonical_whatever_pythons_hash_seed(tmp_path: Path) -> None:
    # a set's order changes with the seed
    script = (
        "import sys; from pumphouse.selection import Choice, Selection;"
        "ids = {f's{n}' for n in range(50)}; Selection(tuple(ids), Choice(names=ids)).save(sys.argv[1])"
    )
    contents = set()
    for seed in ("1", "2"):
        path = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", script, str(path)],
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"server_ids": ["a"]}, "do not match its digest"),
        ({"server_ids": ["b", "a"]}, "do not match its digest"),
        ({"server_ids": []}, "No server is selected"),
        ({"server_ids": "ab"}, "server_ids: list expected"),
        ({"server_ids": ["a", 1]}, "server_ids[1]: str expected"),
        ({"digest": "0" * 64}, "do not match its digest"),
        ({"digest": None}, "digest: str expected"),
        ({"schema": 2}, "schema is 2"),
        ({"kind": "pumphouse-snapshot"}, "not a pumphouse-selection"),
        ({"extra": 1}, "'extra' is unknown"),
        ({"chosen_by": {}}, "is missing"),
    ],
)
def test_a_changed_file_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = Selection(("a", "b"), Choice(query="x")).save(tmp_path / "s.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SelectionError) as caught:
        Selection.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_binary_and_unwritable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match=r"gone\.json cannot be read"):
        Selection.load(tmp_path / "gone.json")
    (tmp_path / "s.json").write_bytes(b"\xff")
    with pytest.raises(SelectionError, match="not text"):
        Selection.load(tmp_path / "s.json")
    with pytest.raises(SelectionError, match="cannot be written"):
        Selection(("a",), Choice()).save(tmp_path / "s.json" / "below-a-file.json")


def test_another_digest_than_expected_is_refused(tmp_path: Path) -> None:
    path = Selection(("a",), Choice()).save(tmp_path / "s.json")
    with pytest.raises(SelectionError, match="was expected"):
        Selection.load(path, digest="0" * 64)


def test_rows_gives_the_table_in_order_and_refuses_what_is_gone(servers: pd.DataFrame) -> None:
    selection = select_servers(servers, projects=["acme"])
    assert tuple(selection.rows(servers).index) == selection.server_ids
    with pytest.raises(SelectionError, match=f"1 of 6 selected servers do not exist .*{ACME[2]}"):
        selection.rows(servers.drop(index=ACME[2]))
