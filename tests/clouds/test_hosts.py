"""Moves between hosts that go wrong, hosts that are dead, and services whose records go: each release of the lab."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ActionTimeout, ApiError, CloudError, Conflict, ServerStayed
from pumphouse.model import Server, ServerSpec
from tests.clouds.labs import Old
from tests.clouds.stub import Answer, Stub
from tests.clouds.test_servers import NOVA, SERVER

WAIT_S = 30.0
TARGET = "compute5"


@pytest.fixture
def kept(old: Old) -> Iterator[Old]:
    """The old cloud of each release, which is afterwards as it was: a host that dies takes others' guests with it."""
    old.site.control("POST", "/checkpoints/hosts")
    yield old
    old.site.control("PUT", "/checkpoints/hosts")


@pytest.fixture
def refugee(kept: Old) -> Server:
    """A server of ours that runs on compute1, compute2 or compute3."""
    compute = kept.ours.compute
    image = next(one for one in kept.ours.images.list_images() if one.name == "cirros-0.3.2-x86_64")
    server_id = compute.create_server(ServerSpec("refugee", "1", image.id, (), availability_zone="nova"))
    return compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)


@contextlib.contextmanager
def host(old: Old, name: str | None, **state: bool) -> Iterator[str]:
    """A host that is dead, or refuses servers, while the block runs."""
    assert name is not None
    old.site.control("POST", "/hosts", host=name, **state)
    try:
        yield name
    finally:
        old.site.control("POST", "/hosts", host=name, alive=True)


def test_a_dead_hosts_server_is_made_anew_elsewhere(kept: Old, refugee: Server) -> None:
    hosts = kept.ours.hosts
    with host(kept, refugee.host, alive=False) as dead:
        assert hosts.wait_service(dead, "down", timeout_s=5).state == "down"
        with pytest.raises(ApiError) as refused:
            hosts.live_migrate(refugee.id, host=TARGET, block=True)
        assert refused.value.status == 400
        assert "unavailable at this time" in str(refused.value)
        hosts.evacuate(refugee.id, host=TARGET, shared_storage=False)
        there = hosts.wait_moved(refugee.id, leaving=dead, timeout_s=WAIT_S)
        assert (there.status, there.host, there.addresses) == ("ACTIVE", TARGET, refugee.addresses)


def test_an_evacuation_that_is_wrong_about_the_disk_fails_where_it_was(kept: Old, refugee: Server) -> None:
    hosts = kept.ours.hosts
    with host(kept, refugee.host, alive=False) as dead:
        hosts.evacuate(refugee.id, host=TARGET, shared_storage=True)
        with pytest.raises(CloudError, match=f"went to ERROR on {dead} .* shared storage"):
            hosts.wait_moved(refugee.id, leaving=dead, timeout_s=WAIT_S)
        with pytest.raises(Conflict):
            hosts.evacuate(refugee.id, host=TARGET, shared_storage=False)


def test_what_a_dead_host_is_told_sticks_and_keeps_the_server_there(kept: Old, refugee: Server) -> None:
    with host(kept, refugee.host, alive=False) as dead:
        kept.ours.compute.stop_server(refugee.id)
        with pytest.raises(ActionTimeout, match="ACTIVE/powering-off"):
            kept.ours.hosts.wait_moved(refugee.id, leaving=dead, timeout_s=0.1)
        with pytest.raises(Conflict, match="powering-off"):
            kept.ours.hosts.evacuate(refugee.id, host=TARGET, shared_storage=False)


def test_a_host_that_nobody_knows_takes_nobody(kept: Old, refugee: Server) -> None:
    hosts = kept.ours.hosts
    with host(kept, refugee.host, alive=False), pytest.raises(ApiError) as unknown:
        hosts.evacuate(refugee.id, host="nohost", shared_storage=False)
    assert unknown.value.status == 404
    with pytest.raises(ApiError, match="nohost"):
        hosts.live_migrate(refugee.id, host="nohost")


def test_a_live_migration_that_is_given_up_tells_nobody_but_us(kept: Old, refugee: Server) -> None:
    with host(kept, TARGET, takes=False):
        kept.ours.hosts.live_migrate(refugee.id, host=TARGET, block=True)
        with pytest.raises(ServerStayed, match=f"ACTIVE on {refugee.host} as before") as stayed:
            kept.ours.hosts.wait_moved(refugee.id, leaving=refugee.host or "", timeout_s=WAIT_S)
    assert refugee.id in str(stayed.value)


def test_a_cold_migration_that_is_given_up(kept: Old, refugee: Server) -> None:
    others = [name for name in ("compute1", "compute2", "compute3") if name != refugee.host]
    wrong = ServerStayed if kept.release == "grizzly" else CloudError
    with host(kept, others[0], takes=False), host(kept, others[1], takes=False):
        kept.ours.hosts.migrate(refugee.id)
        with pytest.raises(wrong, match="as before" if kept.release == "grizzly" else "went to ERROR"):
            kept.ours.hosts.wait_moved(refugee.id, leaving=refugee.host or "", timeout_s=WAIT_S)


def test_a_host_without_room_is_refused_at_once(kept: Old) -> None:
    compute = kept.ours.compute
    image = next(one for one in kept.ours.images.list_images() if one.name == "cirros-0.3.2-x86_64")
    server_id = compute.create_server(ServerSpec("giant", "5", image.id, (), availability_zone="nova"))
    server = compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    with pytest.raises(ApiError) as refused:
        kept.ours.hosts.live_migrate(server.id, host=TARGET, block=True)
    assert refused.value.status == 400
    assert TARGET in str(refused.value)


def test_the_record_of_a_host_that_still_holds_servers_stays(kept: Old) -> None:
    [held] = kept.ours.hosts.list_servers("compute4")
    with pytest.raises(CloudError, match=f"compute4 still holds 1 server.*{held.id}"):
        kept.ours.hosts.delete_service("compute4")
    assert kept.ours.hosts.find_service("compute4") is not None


def test_deleting_a_record_needs_a_release_that_can(kept: Old) -> None:
    hosts = kept.ours.hosts
    for server in hosts.list_servers("compute4"):
        hosts.evacuate(server.id, host="compute1", shared_storage=False)
        hosts.wait_moved(server.id, leaving="compute4", timeout_s=WAIT_S)
    if kept.release != "icehouse":
        with pytest.raises(CloudError, match="no call that deletes nova-compute on compute4"):
            hosts.delete_service("compute4")
        assert hosts.find_service("compute4") is not None
        return
    for _ in range(2):
        hosts.delete_service("compute4")
    assert hosts.find_service("compute4") is None
    assert "compute4" not in {one.host for one in kept.ours.compute.list_hypervisors()}


def test_servers_whose_old_disk_waits_are_told_by_their_migrations(kept: Old) -> None:
    hosts = kept.ours.hosts
    [waiting] = [one for one in kept.ours.compute.list_servers() if one.status == "VERIFY_RESIZE"]
    assert waiting.host == "compute1"
    assert [one.id for one in hosts.list_unconfirmed("compute2")] == [waiting.id]
    # Grizzly does not say where it came from
    assert [one.id for one in hosts.list_unconfirmed("compute3")] == ([waiting.id] if kept.release == "grizzly" else [])
    assert hosts.list_unconfirmed("compute1") == []


# --- what no lab does


def shows(**changes: object) -> Answer:
    """The server on h1, ACTIVE unless said otherwise."""
    return Answer(200, {"server": SERVER | {"OS-EXT-SRV-ATTR:host": "h1"} | changes})


def test_a_move_is_over_when_status_task_and_host_say_so(cloud: OpenStackCloud, stub: Stub) -> None:
    arrived = shows(**{"OS-EXT-SRV-ATTR:host": "h2"})
    stub.on(
        "GET",
        f"{NOVA}/servers/s1",
        shows(status="MIGRATING", **{"OS-EXT-STS:task_state": "migrating"}),
        shows(status="RESIZE", **{"OS-EXT-SRV-ATTR:host": "h2"}),
        shows(status="BUILD"),
        arrived,
    )
    assert cloud.hosts.wait_moved("s1", leaving="h1", timeout_s=60).host == "h2"
    assert len(stub.asked("GET", f"{NOVA}/servers/s1")) == 4


def test_a_service_that_comes_back_is_told(cloud: OpenStackCloud, stub: Stub) -> None:
    service = {"id": 7, "binary": "nova-compute", "host": "h1", "status": "disabled", "state": "down"}
    stub.on("GET", f"{NOVA}/os-services", Answer(200, {"services": [service]}))
    stub.on("GET", f"{NOVA}/servers/detail", Answer(200, {"servers": []}))
    stub.on("DELETE", f"{NOVA}/os-services/7", Answer(204))
    with pytest.raises(CloudError, match="still listed"):
        cloud.hosts.delete_service("h1")
    with pytest.raises(ActionTimeout, match=r"not up within 0 s \(last: down\)"):
        cloud.hosts.wait_service("h1", "up", timeout_s=0)
    stub.on("PUT", f"{NOVA}/os-services/enable", Answer(200, {"service": {}}))
    with pytest.raises(CloudError, match="is disabled after it was enabled"):
        cloud.hosts.enable_service("h1")


def test_a_lost_answer_to_a_move_is_not_asked_again(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("POST", f"{NOVA}/servers/s1/action", Answer(act="reset"))
    for ask in (cloud.hosts.migrate, cloud.hosts.live_migrate):
        stub.calls.clear()
        with pytest.raises(CloudError):
            ask("s1")
        assert len(stub.asked("POST", f"{NOVA}/servers/s1/action")) == 1


def test_a_confirmation_that_somebody_else_gave_is_fine(cloud: OpenStackCloud, stub: Stub) -> None:
    refused = Answer(409, {"conflictingRequest": {"message": "not resized", "code": 409}})
    stub.on("GET", f"{NOVA}/servers/s1", shows(status="VERIFY_RESIZE"), shows())
    stub.on("POST", f"{NOVA}/servers/s1/action", refused)
    cloud.hosts.confirm_resize("s1")
    stub.on("GET", f"{NOVA}/servers/s1", shows(status="VERIFY_RESIZE"))
    with pytest.raises(Conflict, match="not resized"):
        cloud.hosts.confirm_resize("s1")
