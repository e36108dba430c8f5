"""Servers that another plan has moved, or begun to, are not taken for servers that their owner stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumphouse.errors import SelectionError
from pumphouse.inventory import Inventory
from pumphouse.plan.move import plan_move
from tests.core.making import chosen, healthy, make_site
from tests.factories import make_snapshot

OTHER = "f" * 64


def test_a_server_that_another_plan_moved_is_left_out_and_named(tmp_path: Path) -> None:
    source = healthy()
    done, *rest = source.servers
    stopped = replace(source, servers=(replace(done, status="SHUTOFF"), *rest))
    inventory = Inventory(stopped, make_snapshot("destination"))
    selection = chosen(*(server.id for server in source.servers))

    plan, findings = plan_move(inventory, selection, make_site(tmp_path), moved={done.id: OTHER})

    assert {server.id for server in plan.servers} == {server.id for server in rest}
    assert not any(step.server_id == done.id for step in plan.steps)
    assert plan.selection_digest == selection.digest
    left_out = [finding for finding in findings if finding.code == "already-moved"]
    assert [(f.severity, f.object) for f in left_out] == [("info", f"server {done.name}")]
    assert OTHER[:12] in left_out[0].message
    assert any(note.object == f"server {done.name}" and "left out" in note.text for note in plan.notes)


def test_a_selection_of_nothing_but_moved_servers_is_an_error(tmp_path: Path) -> None:
    source = healthy()
    ids = [server.id for server in source.servers]
    inventory = Inventory(source, make_snapshot("destination"))

    with pytest.raises(SelectionError, match=r"were moved, or begun to, by earlier plans") as caught:
        plan_move(inventory, chosen(*ids), make_site(tmp_path), moved=dict.fromkeys(ids, OTHER))

    assert "pumphouse journal" in str(caught.value.remedy)
