"""The ledger as a notebook shows it: what changes and what stays behind in sight, the rest folded away."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumphouse.errors import PlanError
from pumphouse.inventory import Inventory
from pumphouse.journal import Journal
from pumphouse.ledger import COLUMNS, Treatment
from pumphouse.notebook.ledger import show_ledger
from pumphouse.session.fidelity import Fidelity, take_ledger
from tests.core.making import healthy, make_plan, planned
from tests.factories import make_snapshot, uid


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(f"sqlite:///{tmp_path / 'journal.db'}")
    yield opened
    opened.close()


@pytest.fixture
def fidelity(tmp_path: Path, journal: Journal) -> Fidelity:
    plan, _ = planned(tmp_path)
    journal.write("run", plan.hash, "server:1", "done", mapping=("server", uid("acme-web1"), "its-copy"))
    return take_ledger(plan, Inventory(healthy(), make_snapshot("destination")), journal, tmp_path / "ledgers")


def test_the_table_is_kept_in_a_private_file(fidelity: Fidelity) -> None:
    document = json.loads(fidelity.file.read_text(encoding="utf-8"))
    assert document["columns"] == list(COLUMNS)
    assert document["plan"] == fidelity.plan_hash
    assert len(document["rows"]) == len(fidelity.table)
    assert stat.S_IMODE(fidelity.file.stat().st_mode) == 0o600


def test_the_counts_are_the_tables(fidelity: Fidelity) -> None:
    assert sum(fidelity.counts.values()) == int(fidelity.by_type[[str(t) for t in Treatment]].to_numpy().sum())
    assert f"{fidelity.counts['dropped']:,} dropped" in fidelity.sentence
    assert len(fidelity.rows(Treatment.MAPPED)) > 10


def test_mapped_and_dropped_are_in_sight_and_the_rest_is_folded(fidelity: Fidelity) -> None:
    shown = show_ledger(fidelity)
    before, _, after = shown.html.partition("<details>")
    assert "its-copy" in before
    assert "OS-EXT-SRV-ATTR:host" in before
    assert "addresses.*[].addr" not in before
    assert "addresses.*[].addr" in after
    assert after.count("</details>") == 2
    assert "its-copy" in shown.text
    assert "hostId" not in shown.text
    assert f"Copied: {len(fidelity.rows(Treatment.COPIED)):,} rows, in the file" in shown.text
    assert str(fidelity.file.parent) not in shown.html


def test_only_a_move_has_one(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(PlanError, match="only a move carries fields"):
        take_ledger(make_plan(kind="finalise"), Inventory(healthy()), journal, tmp_path)
