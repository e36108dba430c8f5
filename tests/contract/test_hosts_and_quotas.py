"""Zones, aggregates, locks, quotas and Nova's own account, on either side and in every release."""

from __future__ import annotations

import pytest

from pumphouse.clouds import OpenStackCloud
from tests.contract.conftest import Both, Undo, name


def test_zones_are_those_to_boot_into(both: Both) -> None:
    for cloud in both:
        zones = {zone.name: zone.available for zone in cloud.compute.list_availability_zones()}
        assert "internal" not in zones
        assert {server.availability_zone for server in cloud.compute.list_servers()} - {None} <= zones.keys()
        assert zones.get("nova") in (True, None)


def test_aggregates_tell_their_metadata_without_their_zone(both: Both) -> None:
    for cloud in both:
        for aggregate in cloud.compute.list_aggregates():
            assert aggregate.name
            assert "availability_zone" not in aggregate.metadata
            hosts = {service.host for service in cloud.compute.list_services()}
            assert set(aggregate.hosts) <= hosts


@pytest.fixture
def project(destination: OpenStackCloud, undo: Undo) -> str:
    """A project of its own at the destination."""
    made = destination.identity.create_project(name("project"))
    undo(destination.identity.delete_project, made.id)
    return made.id


def test_a_quota_is_set_in_part_and_reset_as_a_whole(both: Both, project: str) -> None:
    compute = both[1].compute
    default = dict(compute.get_default_quota().limits)
    compute.set_quota(project, {"instances": 3, "ram": -1})
    assert dict(compute.get_quota(project).limits) == {**default, "instances": 3, "ram": -1}
    for _ in range(2):
        compute.reset_quota(project)
        assert dict(compute.get_quota(project).limits) == default


def test_use_is_told_of_others_since_havana(both: Both) -> None:
    source, _ = both
    own = source.compute.find_usage(source.project_id)
    assert own is not None
    assert own.used["instances"] >= 0
    others = [project for project in source.identity.list_projects() if project.id != source.project_id]
    told = [source.compute.find_usage(project.id) for project in others]
    if source.facts.release == "grizzly":
        assert told == [None] * len(others)
        return
    used = {usage.project_id: usage.used["instances"] for usage in told if usage is not None}
    assert used.keys() == {project.id for project in others}
    held = {project.id: len(source.compute.list_servers(project_id=project.id)) for project in others}
    assert sum(used[project_id] == count for project_id, count in held.items()) >= len(held) - 1


def test_locks_are_told_where_the_api_can(both: Both) -> None:
    source, _ = both
    locked = source.compute.list_locked()
    server = source.compute.list_servers()[0]
    if source.facts.compute_api == "v2":
        assert locked is None
        assert source.compute.is_locked(server.id) is None
        return
    assert locked is not None
    assert source.compute.is_locked(server.id) == (server.id in locked)


def test_servers_are_found_by_name_whatever_it_is_made_of(both: Both) -> None:
    for cloud in both:
        servers = cloud.compute.list_servers()
        odd = [server for server in servers if not server.name.replace("-", "").isalnum()]
        for server in [*servers[:1], *odd]:
            found = cloud.compute.list_servers(name=server.name)
            assert server in found
            assert {one.name for one in found} == {server.name}
            assert server in cloud.compute.list_servers(name=server.name, project_id=server.project_id)
        assert cloud.compute.list_servers(name="nobody.is called this") == []


def test_a_floating_ip_tells_its_holder_alone(both: Both) -> None:
    network = both[0].nova_network
    for floating in network.list_floating_ips():
        assert network.floating_ip_holder(floating.address) == floating.server_id
    assert network.floating_ip_holder("192.0.2.250") is None
