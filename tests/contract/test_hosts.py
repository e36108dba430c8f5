"""Compute hosts and moves between them: the same verbs on both sides and in every release."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ApiError, CloudError, NotFound
from pumphouse.model import Server, ServerSpec
from tests.contract.conftest import WAIT_S, Both, Maker, Undo, name

Boot = Callable[[OpenStackCloud], Server]


def compute_hosts(cloud: OpenStackCloud) -> list[str]:
    """Hosts that take servers."""
    services = [one for one in cloud.compute.list_services() if one.binary == "nova-compute"]
    return sorted(one.host for one in services if (one.status, one.state) == ("enabled", "up"))


@pytest.fixture
def boot(undo: Undo) -> Boot:
    """Boots a server of ours, and waits until it is ACTIVE."""

    def made(cloud: OpenStackCloud) -> Server:
        make = Maker(cloud, undo)
        server_id = cloud.compute.create_server(ServerSpec(name("mover"), make.flavor().id, make.image().id, ()))
        undo(cloud.compute.wait_server_gone, server_id, timeout_s=WAIT_S)
        undo(cloud.compute.delete_server, server_id)
        return cloud.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)

    return made


def test_a_host_is_taken_out_of_service_and_put_back(both: Both, undo: Undo) -> None:
    for cloud in both:
        host = compute_hosts(cloud)[0]
        undo(cloud.hosts.enable_service, host)
        disabled = cloud.hosts.disable_service(host, reason="ctr: first")
        assert (disabled.host, disabled.binary, disabled.status, disabled.state) == (
            host, "nova-compute", "disabled", "up",
        )  # fmt: skip
        told = None if cloud.facts.release == "grizzly" else "ctr: first"
        assert disabled.disabled_reason == told
        # whoever disabled it keeps his reason
        assert cloud.hosts.disable_service(host, reason="ctr: second").disabled_reason == told
        assert cloud.hosts.find_service(host) == cloud.hosts.wait_service(host, "up", timeout_s=5)
        for _ in range(2):
            enabled = cloud.hosts.enable_service(host)
            assert (enabled.status, enabled.disabled_reason) == ("enabled", None)


def test_a_host_that_nobody_has(both: Both) -> None:
    for cloud in both:
        nobody = "ctr-no-such-host"
        assert cloud.hosts.find_service(nobody) is None
        assert cloud.hosts.list_servers(nobody) == []
        cloud.hosts.delete_service(nobody)
        for verb in (cloud.hosts.disable_service, cloud.hosts.enable_service):
            with pytest.raises(NotFound, match=nobody):
                verb(nobody)


def test_a_service_that_is_up_keeps_its_record(both: Both) -> None:
    for cloud in both:
        host = compute_hosts(cloud)[0]
        with pytest.raises(CloudError, match=f"{host} is up"):
            cloud.hosts.delete_service(host)
        assert cloud.hosts.find_service(host) is not None


def test_only_old_novas_cannot_delete_services(both: Both) -> None:
    source, destination = both
    assert destination.hosts.deletes_services()
    assert source.hosts.deletes_services() == (source.facts.release not in ("grizzly", "havana"))


def test_servers_are_listed_by_host(both: Both) -> None:
    for cloud in both:
        everybody = cloud.compute.list_servers()
        for host in {one.host for one in everybody if one.host}:
            assert {one.id for one in cloud.hosts.list_servers(host)} == {
                one.id for one in everybody if one.host == host
            }


def test_a_server_moves_alive_and_cold(both: Both, boot: Boot) -> None:
    for cloud in both:
        server, hosts = boot(cloud), cloud.hosts
        assert server.host is not None
        others = [host for host in compute_hosts(cloud) if host != server.host]
        hosts.live_migrate(server.id, host=others[0], block=True)
        there = hosts.wait_moved(server.id, leaving=server.host, timeout_s=WAIT_S)
        assert (there.status, there.task_state, there.host) == ("ACTIVE", None, others[0])
        assert there.addresses == server.addresses
        with pytest.raises(ApiError) as same:
            hosts.live_migrate(server.id, host=others[0], block=True)
        assert same.value.status == 400

        hosts.migrate(server.id)
        moved = hosts.wait_moved(server.id, leaving=others[0], timeout_s=WAIT_S)
        assert (moved.status, moved.task_state) == ("VERIFY_RESIZE", None)
        assert moved.host not in (None, others[0])
        assert server.id in {one.id for one in hosts.list_unconfirmed(others[0])}
        assert server.id not in {one.id for one in hosts.list_unconfirmed(moved.host or "")}
        hosts.revert_resize(server.id)
        back = hosts.wait_settled(server.id, ("ACTIVE",), timeout_s=WAIT_S)
        assert back.host == others[0]

        hosts.migrate(server.id)
        moved = hosts.wait_moved(server.id, leaving=others[0], timeout_s=WAIT_S)
        hosts.confirm_resize(server.id)
        assert hosts.wait_settled(server.id, ("ACTIVE",), timeout_s=WAIT_S).host == moved.host
        hosts.confirm_resize(server.id)
        hosts.revert_resize(server.id)
        assert cloud.compute.get_server(server.id).host == moved.host
        assert server.id not in {one.id for one in hosts.list_unconfirmed(others[0])}


def test_a_disabled_host_gets_nobody(both: Both, boot: Boot, undo: Undo) -> None:
    for cloud in both:
        server, hosts = boot(cloud), compute_hosts(cloud)
        for host in hosts:
            if host not in (server.host, hosts[-1], hosts[-2]):
                undo(cloud.hosts.enable_service, host)
                cloud.hosts.disable_service(host)
        allowed = {hosts[-1], hosts[-2]} - {server.host}
        cloud.hosts.live_migrate(server.id, block=True)
        there = cloud.hosts.wait_moved(server.id, leaving=server.host or "", timeout_s=WAIT_S)
        assert there.host in allowed


def test_a_server_is_made_anew_where_it_is(both: Both, boot: Boot, undo: Undo) -> None:
    for cloud in both:
        server, image = boot(cloud), Maker(cloud, undo).image()
        cloud.hosts.rebuild(server.id, image.id)
        anew = cloud.hosts.wait_settled(server.id, ("ACTIVE",), timeout_s=WAIT_S)
        assert (anew.host, anew.image_id, anew.addresses) == (server.host, image.id, server.addresses)


def test_nobody_is_evacuated_from_a_host_that_is_up(both: Both, boot: Boot) -> None:
    for cloud in both:
        server = boot(cloud)
        target = next(host for host in compute_hosts(cloud) if host != server.host)
        with pytest.raises(ApiError) as refused:
            cloud.hosts.evacuate(server.id, host=target, shared_storage=False)
        assert refused.value.status == 400
        assert cloud.compute.get_server(server.id).host == server.host


def test_a_server_that_is_not_there(both: Both) -> None:
    for cloud in both:
        nobody = str(uuid.uuid4())
        for ask in (cloud.hosts.migrate, cloud.hosts.live_migrate, cloud.hosts.confirm_resize):
            with pytest.raises(NotFound, match=nobody):
                ask(nobody)
