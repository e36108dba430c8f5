"""Moves between hosts at the lab's destination: what Nova 34 refused, and how it shows what goes on."""

from __future__ import annotations

from typing import Any

import pytest

from .running import SDK_WARNINGS, wait_until
from .stage import Stage

pytestmark = SDK_WARNINGS
NOBODY = "70a599e0-31e7-49b7-b260-868f441e862b"
LIVE = {"block_migration": True, "disk_over_commit": False}


@pytest.fixture
def server(stage: Stage) -> Any:
    """A server at rest."""
    return stage.admin.compute.get_server(stage.active(stage.boot()).id)


def act(stage: Stage, server: Any, body: Any, version: str | None = None) -> Any:
    """An administrator's action; its answer."""
    return stage.admin.compute.post(f"/servers/{server.id}/action", json=body, microversion=version)


def test_refusals_are_those_of_the_real_one(stage: Stage, server: Any) -> None:
    here = server.compute_host
    other = "node-1" if here != "node-1" else "node-2"
    missing, unexpected = "is a required property", "Additional properties are not allowed"
    table: list[tuple[dict[str, Any], str | None, int, str]] = [
        ({"os-migrateLive": {}}, None, 400, missing),
        ({"os-migrateLive": {"host": other, "block_migration": True}}, None, 400, "'disk_over_commit' " + missing),
        ({"os-migrateLive": {"host": other, **LIVE}}, "2.25", 400, unexpected),
        ({"os-migrateLive": {"host": "nohost", **LIVE}}, None, 400, "Compute host nohost could not be found."),
        ({"os-migrateLive": {"host": here, **LIVE}}, None, 400, f"to current host ({here})."),
        ({"confirmResize": None}, None, 409, f"Cannot 'confirmResize' instance {server.id} while it is in vm_state"),
        ({"revertResize": None}, None, 409, "Cannot 'revertResize'"),
        ({"evacuate": {"host": other}}, None, 400, "'onSharedStorage' " + missing),
        ({"evacuate": {"host": other, "onSharedStorage": False}}, "2.14", 400, unexpected),
        ({"evacuate": {"host": other, "onSharedStorage": False}}, None, 400, f"service of {here} is still in use."),
        ({"evacuate": {"host": here, "onSharedStorage": False}}, None, 400, "can't be the same one."),
        ({"evacuate": {"host": "nohost", "onSharedStorage": False}}, None, 404, "Compute host nohost not found."),
        ({"rebuild": {}}, None, 400, "'imageRef' " + missing),
        ({"rebuild": {"imageRef": "x"}}, None, 400, "'x' is not a 'uuid'"),
        ({"rebuild": {"imageRef": NOBODY}}, None, 400, "Cannot find image for rebuild"),
    ]
    for body, version, status, words in table:
        answer = act(stage, server, body, version)
        assert (answer.status_code, words in answer.text) == (status, True), (body, answer.status_code, answer.text)
    for action in ("os-migrateLive", "migrate", "evacuate"):
        assert stage.member.compute.post(f"/servers/{server.id}/action", json={action: None}).status_code == 403


def test_a_cold_migration_goes_through_its_states(stage: Stage, server: Any) -> None:
    # 2.1 neither refuses a host nor looks at it
    assert act(stage, server, {"migrate": {"host": "nohost"}}).status_code == 202
    seen = set()

    def done() -> bool:
        found = stage.admin.compute.get_server(server.id)
        seen.add((found.status, found.task_state))
        return bool(found.status == "VERIFY_RESIZE" and found.task_state is None)

    wait_until(done)
    assert {status for status, _ in seen} <= {"RESIZE", "VERIFY_RESIZE"}
    [row] = stage.admin.compute.get("/os-migrations").json()["migrations"]
    assert (row["instance_uuid"], row["source_compute"], row["status"]) == (server.id, server.compute_host, "finished")
    newest = stage.admin.compute.get("/os-migrations", microversion="2.80").json()["migrations"][0]
    assert newest.keys() - row.keys() == {"uuid", "migration_type", "user_id", "project_id"}
    assert act(stage, server, {"migrate": None}).status_code == 409
    assert act(stage, server, {"revertResize": None}).status_code == 202
    wait_until(lambda: stage.admin.compute.get_server(server.id).status == "ACTIVE")
    assert stage.admin.compute.get_server(server.id).compute_host == server.compute_host
    assert stage.admin.compute.get("/os-migrations").json()["migrations"][0]["status"] == "reverted"
    stage.answers()


def test_a_dead_hosts_server_is_made_anew(stage: Stage, server: Any) -> None:
    compute = stage.admin.compute
    services = compute.get("/os-services", microversion="2.53").json()["services"]
    service_id = next(one["id"] for one in services if one["host"] == server.compute_host)
    down = compute.put(f"/os-services/{service_id}", json={"forced_down": True}, microversion="2.53")
    assert down.json()["service"]["state"] == "down"
    refused = act(stage, server, {"os-migrateLive": {"host": None, **LIVE}})
    assert (refused.status_code, "unavailable at this time" in refused.text) == (400, True)
    answer = act(stage, server, {"evacuate": {"onSharedStorage": False}})
    assert (answer.status_code, "adminPass" in answer.json()) == (200, True)
    wait_until(
        lambda: (s := compute.get_server(server.id)).status == "ACTIVE" and s.compute_host != server.compute_host
    )
    assert compute.get_server(server.id).addresses == server.addresses
    stage.answers()


def test_a_service_is_deleted_when_its_host_is_empty(stage: Stage, server: Any) -> None:
    compute = stage.admin.compute
    services = [one for one in compute.get("/os-services").json()["services"] if one["binary"] == "nova-compute"]
    full = next(one for one in services if one["host"] == server.compute_host)
    free = next(one for one in services if one["host"] != server.compute_host)
    held = compute.delete(f"/os-services/{full['id']}")
    assert (held.status_code, "is hosting instances" in held.text) == (409, True)
    gone = [compute.delete(f"/os-services/{free['id']}") for _ in range(2)]
    assert [answer.status_code for answer in gone] == [204, 404]
    assert f"Service {free['id']} not found." in gone[1].text
    assert compute.delete("/os-services/12", microversion="2.53").status_code == 400
    names = {one["hypervisor_hostname"] for one in compute.get("/os-hypervisors").json()["hypervisors"]}
    assert names == {one["host"] for one in services} - {free["host"]}
