"""Taking a snapshot, what may be missing from it, and looking things up in it."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pumphouse.errors import ApiError, CloudAuthError, CloudError, CloudUnreachable, SelectionError
from pumphouse.inventory import Gap, InventoryError, Snapshot, take_snapshot
from pumphouse.inventory.snapshot import ESSENTIAL
from pumphouse.model import Assignment, Keypair, Port, Project
from tests.factories import TAKEN_AT, kid, make_facts, make_projects, make_server, make_snapshot, uid
from tests.inventory.fakes import FakeCloud

OPTIONAL = (
    "users",
    "roles",
    "assignments",
    "security_groups",
    "floating_ips",
    "floating_pools",
    "services",
    "hypervisors",
    "default_quota",
)


def take(cloud: Any, **options: Any) -> Snapshot:
    return take_snapshot(cloud, now=lambda: TAKEN_AT, **options)


def test_a_source_is_read_completely() -> None:
    expected = make_snapshot()
    owner = FakeCloud(expected, keypairs=expected.keypairs)

    snapshot = take(FakeCloud(expected), owners=[owner])

    assert snapshot == expected
    assert snapshot.gaps == ()


def test_a_destination_is_read_completely_with_its_ports() -> None:
    expected = make_snapshot("destination", keypairs=(Keypair(kid("new-root"), "mine", "ssh-rsa A", "aa"),))
    assert expected.ports

    assert take(FakeCloud(expected, keypairs=expected.keypairs)) == expected


def test_nova_network_is_not_asked_for_ports() -> None:
    cloud = FakeCloud(make_snapshot())
    take(cloud)
    assert "ports" not in cloud.calls
    assert cloud.calls.count("servers") == 1


def test_lists_are_read_at_the_same_time_but_never_by_more_than_the_workers() -> None:
    # users and images meet at the barrier only if both are under way at once
    barrier = threading.Barrier(2, timeout=20)
    lock, busy, most = threading.Lock(), 0, 0

    def before(name: str) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        if name in ("users", "images"):
            barrier.wait()
        with lock:
            busy -= 1

    cloud = FakeCloud(make_snapshot(), before=before)
    take(cloud, workers=3)
    assert 2 <= most <= 3
    assert len(cloud.threads) <= 3


def test_one_worker_is_enough() -> None:
    assert take(FakeCloud(make_snapshot()), workers=1).servers == make_snapshot().servers


@pytest.mark.parametrize("table", ESSENTIAL)
def test_an_essential_list_that_fails_raises_its_own_error(table: str) -> None:
    error = ApiError("GET /x of cloud old answered 500.", status=500, request_id="req-1")
    cloud = FakeCloud(make_snapshot(), fails={table: error})
    with pytest.raises(ApiError) as caught:
        take(cloud)
    assert caught.value is error


def test_a_failure_cancels_what_has_not_begun() -> None:
    cloud = FakeCloud(make_snapshot(), fails={"projects": CloudUnreachable("Cloud old does not answer.")})
    with pytest.raises(CloudUnreachable):
        take(cloud, workers=1)
    # projects are asked first; with one worker the next list may have begun already, not more
    assert len(cloud.calls) <= 3


@pytest.mark.parametrize("table", OPTIONAL)
def test_any_other_list_that_fails_is_a_gap(table: str) -> None:
    error = ApiError("GET /x of cloud old answered 403.", status=403, remedy="ask its operator", request_id="req-1")
    lines: list[str] = []

    snapshot = take(
        FakeCloud(make_snapshot(), fails={table: error}),
        owners=[FakeCloud(make_snapshot())],
        progress=lines.append,
    )

    assert snapshot.gaps == (Gap(table, "GET /x of cloud old answered 403. [request req-1]", "ask its operator"),)
    assert snapshot.has_gap(table, "other")
    assert not snapshot.has_gap("servers")
    assert not getattr(snapshot, table)
    assert any("not readable" in line for line in lines)


def test_a_gap_always_has_a_remedy() -> None:
    snapshot = take(
        FakeCloud(make_snapshot("destination"), fails={"hypervisors": CloudError("No.")}),
    )
    (gap,) = snapshot.gaps
    assert "admin" in gap.remedy
    assert "hypervisors" in gap.remedy


def test_an_error_that_is_not_the_clouds_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        take(FakeCloud(make_snapshot(), fails={"users": ZeroDivisionError()}))


def test_quotas_that_fail_are_one_gap_and_the_others_stay() -> None:
    full = make_snapshot()
    missing = {kid("acme"), kid("beta")}
    part = dataclasses.replace(full, quotas=tuple(q for q in full.quotas if q.project_id not in missing))

    snapshot = take(FakeCloud(part), owners=[FakeCloud(full)])

    assert snapshot.quotas == part.quotas
    (gap,) = snapshot.gaps
    assert gap.table == "quotas"
    assert "1 more projects" in gap.reason
    assert "req-q" in gap.reason


def test_keypairs_are_the_union_of_what_each_owner_sees() -> None:
    source = make_snapshot()
    alices = [Keypair(kid("alice"), "a", "ssh-rsa A", "aa"), Keypair(kid("alice"), "b", "ssh-rsa B", "bb")]
    bobs = [Keypair(kid("bob"), "a", "ssh-rsa C", "cc")]
    own = [Keypair(kid("root"), "r", "ssh-rsa R", "rr")]
    owners = [FakeCloud(source, keypairs=alices), FakeCloud(source, keypairs=bobs), FakeCloud(source, keypairs=bobs)]

    snapshot = take(FakeCloud(source, keypairs=own), owners=owners)

    assert set(snapshot.keypairs) == {*alices, *bobs, *own}
    assert len(snapshot.keypairs) == 4
    assert snapshot.keypairs_of(kid("bob")) == tuple(bobs)


def test_an_owner_who_cannot_log_in_is_a_gap_and_the_others_count() -> None:
    source = make_snapshot()
    broken = FakeCloud(source, fails={"keypairs": CloudAuthError("Cloud old refused user bob.")})
    broken.name = "old-bob"
    keys = [Keypair(kid("alice"), "a", "ssh-rsa A", "aa")]

    snapshot = take(FakeCloud(source), owners=[broken, FakeCloud(source, keypairs=keys)])

    assert snapshot.keypairs == tuple(keys)
    (gap,) = snapshot.gaps
    assert gap.table == "keypairs"
    assert "old-bob" in gap.reason


def test_a_source_without_owners_knows_that_it_knows_no_keypairs() -> None:
    (gap,) = take(FakeCloud(make_snapshot())).gaps
    assert gap.table == "keypairs"
    assert "source.owners" in gap.remedy
    assert take(FakeCloud(make_snapshot("destination"))).gaps == ()


def test_progress_says_what_arrived() -> None:
    lines: list[str] = []
    take(FakeCloud(make_snapshot()), progress=lines.append)
    assert "old: 10 servers" in lines
    assert "old: 5 security groups" in lines


def test_rows_are_sorted_whatever_the_order_of_the_lists() -> None:
    servers = [make_server(name, id=name) for name in ("c", "a", "b")]
    assert [server.id for server in make_snapshot(servers=servers).servers] == ["a", "b", "c"]
    assert make_snapshot(servers=servers) == make_snapshot(servers=tuple(reversed(servers)))


def test_the_same_row_twice_counts_once_and_a_different_one_is_refused() -> None:
    one = Project("p", "one")
    assert make_snapshot(projects=(one, one)).projects == (one,)
    twice = Assignment("u", "p", "r")
    assert make_snapshot(assignments=[twice, Assignment("u", "p", "r")]).assignments == (twice,)
    with pytest.raises(InventoryError, match="lists projects p twice"):
        make_snapshot(projects=(one, Project("p", "other")))


def test_a_time_without_zone_is_refused_and_others_become_utc() -> None:
    with pytest.raises(InventoryError, match="zone"):
        make_snapshot(taken_at=datetime(2014, 1, 1))  # noqa: DTZ001 - the point of the test
    east = datetime(2014, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    assert make_snapshot(taken_at=east).taken_at.isoformat() == "2014-01-01T00:00:00+00:00"


def test_lookups_by_id_give_the_object_or_none() -> None:
    snapshot = make_snapshot()
    for table, lookup in (
        ("projects", snapshot.project),
        ("users", snapshot.user),
        ("roles", snapshot.role),
        ("flavors", snapshot.flavor),
        ("images", snapshot.image),
        ("networks", snapshot.network),
        ("security_groups", snapshot.security_group),
        ("servers", snapshot.server),
    ):
        rows = getattr(snapshot, table)
        assert rows
        assert [lookup(row.id) for row in rows] == list(rows)
        assert lookup("nobody") is None
        assert lookup(None) is None


def test_lookups_by_name_and_owner() -> None:
    snapshot = make_snapshot()
    acme = kid("acme")
    assert snapshot.project_named("acme") == snapshot.project(acme)
    assert snapshot.project_named("nobody") is None
    assert snapshot.role_named("ADMIN") == snapshot.role(kid("r-admin"))
    assert snapshot.user_named("bob") == snapshot.user(kid("bob"))
    assert snapshot.network_named("private") == snapshot.networks[0]
    assert {server.id for server in snapshot.servers_named("twin")} == {uid("twin-a"), uid("twin-b")}
    assert len(snapshot.servers_of(acme)) == 6
    assert len(snapshot.servers_on("node-1")) == 4
    assert {group.name for group in snapshot.security_groups_of(acme)} == {"default", "web", "db"}
    assert [group.id for group in snapshot.security_groups_named(acme, "web")] == ["2"]
    assert snapshot.security_groups_named(kid("beta"), "web") == ()
    assert len(snapshot.assignments_of(acme)) == 2
    assert {image.name for image in snapshot.images_of(acme)} == {"acme-web"}
    assert [item.address for item in snapshot.floating_ips_of(uid("acme-web1"))] == ["172.24.4.11"]
    assert snapshot.floating_ip("172.24.4.12") is not None
    assert snapshot.floating_ip("192.0.2.1") is None
    assert snapshot.keypair(kid("alice"), "alice-key") is not None
    assert snapshot.keypair(kid("bob"), "alice-key") is None
    assert snapshot.quota(acme) is not None
    assert snapshot.quota("nobody") is None


def test_ports_of_a_server() -> None:
    port = Port(uid("port"), "", uid("public"), kid("acme"), "172.24.4.50", "fa:16:3e:00:00:01", "ACTIVE", "s1")
    snapshot = make_snapshot("destination", ports=(*make_snapshot("destination").ports, port))
    assert snapshot.ports_of("s1") == (port,)
    assert snapshot.ports_of("s2") == ()


def test_a_name_that_several_have_is_an_error_that_lists_their_ids() -> None:
    snapshot = make_snapshot(projects=(*make_projects(), Project("f00", "acme")))
    with pytest.raises(
        SelectionError, match=f"2 projects named 'acme': .*{kid('acme')}.*f00.*Remedy: give the project's id"
    ):
        snapshot.project_named("acme")


def test_a_snapshot_pickles_for_other_processes() -> None:
    snapshot = make_snapshot()
    assert snapshot.project_named("acme") is not None
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot


def test_a_changed_row_makes_another_snapshot() -> None:
    snapshot = make_snapshot()
    assert snapshot.project(kid("acme")) is not None
    other = dataclasses.replace(snapshot, projects=())
    assert other != snapshot
    assert other.project(kid("acme")) is None
    assert make_facts("destination").network_service == "neutron"
