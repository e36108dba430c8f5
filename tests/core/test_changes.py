"""What became of a plan's servers while it waited for its approval: some of them, or more than that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pumphouse.plan.changes import changed_servers
from pumphouse.plan.model import Plan
from pumphouse.site import Carry
from tests.core.making import ACME, acme_servers, healthy, planned
from tests.factories import make_snapshot, uid

WEB1, REST = ACME[0], ACME[1:]


def of(name: str) -> Any:
    return next(server for server in make_snapshot().servers if server.name == name)


def plan(folder: Path, *names: str, servers: tuple[Any, ...] = (), **site: Any) -> Plan:
    made, _ = planned(folder, *(names or ACME), source=healthy(servers=servers) if servers else None, **site)
    return made


def test_nothing_changed_is_no_server(tmp_path: Path) -> None:
    assert changed_servers(plan(tmp_path), plan(tmp_path)) == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"role": "other"}},
        {"status": "SHUTOFF"},
        {"key_name": None},
        {"floating_ips": ()},
        {"security_groups": ()},
    ],
)
def test_a_server_that_was_edited_is_the_one_that_changed(change: dict[str, Any], tmp_path: Path) -> None:
    edited = plan(tmp_path, servers=acme_servers(replace(of(WEB1), **change)))
    assert changed_servers(plan(tmp_path), edited) == {uid(WEB1)}


def test_a_server_that_went_is_one_that_changed(tmp_path: Path) -> None:
    left = tuple(server for server in make_snapshot().servers if server.name != WEB1)
    assert changed_servers(plan(tmp_path), plan(tmp_path, *REST, servers=left)) == {uid(WEB1)}


def test_when_nova_touched_a_record_does_not_count(tmp_path: Path) -> None:
    touched = replace(of(WEB1), updated_at=datetime(2030, 1, 1, tzinfo=UTC), host="node-2")
    now = plan(tmp_path, servers=acme_servers(touched))
    assert now.hash != plan(tmp_path).hash
    assert changed_servers(plan(tmp_path), now) == frozenset()


@pytest.mark.parametrize(
    "site", [{"on_failure": "back"}, {"downtime_budget_s": 5.0}, {"carry": Carry("snapshot")}, {"rename": "x{name}"}]
)
def test_another_way_of_moving_the_same_servers_is_more_than_that(site: dict[str, Any], tmp_path: Path) -> None:
    old, new = plan(tmp_path), plan(tmp_path, **site)
    assert changed_servers(old, new) == (None if old.hash != new.hash else frozenset())
    assert (old.hash == new.hash) == ("rename" in site)


def test_another_server_is_more_than_that(tmp_path: Path) -> None:
    assert changed_servers(plan(tmp_path, *REST), plan(tmp_path)) is None


def test_another_kind_of_plan_is_more_than_that(tmp_path: Path) -> None:
    assert changed_servers(plan(tmp_path), replace(plan(tmp_path), kind="rollback")) is None
