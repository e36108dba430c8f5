"""What a user asks of a server happens later, in Nova's own order of states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.conftest import Connection, Wait
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab

pytestmark = SDK_WARNS_OF_ITSELF


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab slow enough to watch it work."""
    site = start_lab(tmp_path_factory, name="slow", scale=0.4)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def user(slow: LabSite) -> Iterator[Connection]:
    """A member of acme in the slow lab."""
    connection = slow.connect("old-acme-user")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def admin(slow: LabSite) -> Iterator[Connection]:
    """The administrator of the slow lab."""
    connection = slow.connect("old")
    yield connection
    connection.close()


def boot(user: Connection, name: str, **more: Any) -> str:
    """Ask for a server; its id."""
    images = user.image.get("/images?name=cirros-0.3.2-x86_64").json()["images"]
    body = {"name": name, "flavorRef": "1", "imageRef": images[0]["id"], **more}
    answer = user.compute.post("/servers", json={"server": body})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def record(user: Connection, server_id: str) -> dict[str, Any]:
    """A server's record."""
    found: dict[str, Any] = user.compute.get(f"/servers/{server_id}").json()["server"]
    return found


def act(user: Connection, server_id: str, **action: Any) -> int:
    """Send an action; the status."""
    return int(user.compute.post(f"/servers/{server_id}/action", json=action).status_code)


def watch(user: Connection, server_id: str, until: Wait) -> list[tuple[str, str | None]]:
    """(status, task_state) as they changed, until no task is under way and the server is not being built."""
    seen: list[tuple[str, str | None]] = []

    def settled() -> bool:
        server = record(user, server_id)
        now = (server["status"], server["OS-EXT-STS:task_state"])
        if not seen or seen[-1] != now:
            seen.append(now)
        return now[1] is None and now[0] != "BUILD"

    until(settled)
    return seen


def network_id(user: Connection) -> str:
    """The id of the one network."""
    return str(user.compute.get("/os-networks").json()["networks"][0]["id"])


def free_address(lab: LabSite, last: int) -> str:
    """An address of the lab's network."""
    return f"{lab.facts['fixed_cidr'].rpartition('.')[0]}.{last}"


def test_booting_has_a_gap_between_its_tasks(user: Connection, until: Wait) -> None:
    seen = watch(user, boot(user, "boot"), until)
    assert seen == [
        ("BUILD", "scheduling"),
        ("BUILD", None),
        ("BUILD", "networking"),
        ("BUILD", "block_device_mapping"),
        ("BUILD", "spawning"),
        ("ACTIVE", None),
    ] or (seen[0] == ("BUILD", "scheduling") and seen[-1] == ("ACTIVE", None) and ("BUILD", "spawning") in seen)


def test_stop_start_and_their_conflicts(user: Connection, until: Wait) -> None:
    server_id = boot(user, "power")
    watch(user, server_id, until)
    assert act(user, server_id, **{"os-stop": None}) == 202
    assert record(user, server_id)["OS-EXT-STS:task_state"] == "powering-off"
    assert act(user, server_id, **{"os-stop": None}) == 409
    assert watch(user, server_id, until)[-1] == ("SHUTOFF", None)
    assert act(user, server_id, **{"os-stop": None}) == 409
    assert act(user, server_id, pause=None) == 409
    assert record(user, server_id)["addresses"]
    assert act(user, server_id, **{"os-start": None}) == 202
    assert watch(user, server_id, until) == [("SHUTOFF", "powering-on"), ("ACTIVE", None)]
    assert act(user, server_id, **{"os-start": None}) == 409


def test_delete_takes_a_moment_and_the_address_longer(
    slow: LabSite, user: Connection, admin: Connection, until: Wait
) -> None:
    address = free_address(slow, 200)
    wanted = [{"uuid": network_id(user), "fixed_ip": address}]
    server_id = boot(user, "doomed", networks=wanted)
    watch(user, server_id, until)
    assert user.compute.delete(f"/servers/{server_id}").status_code == 204
    assert record(user, server_id)["OS-EXT-STS:task_state"] == "deleting"
    until(lambda: user.compute.get(f"/servers/{server_id}").status_code == 404)
    assert admin.compute.get(f"/os-fixed-ips/{address}").json()["fixed_ip"]["hostname"] == "doomed"
    gone = admin.compute.get("/servers/detail?all_tenants=1&deleted=True").json()["servers"]
    assert [s["status"] for s in gone if s["id"] == server_id] == ["DELETED"]
    until(lambda: admin.compute.get(f"/os-fixed-ips/{address}").json()["fixed_ip"]["hostname"] is None)


def test_chosen_addresses(slow: LabSite, user: Connection, admin: Connection, until: Wait) -> None:
    network = network_id(user)
    images = user.image.get("/images?name=cirros-0.3.2-x86_64").json()["images"]

    def ask(address: str, uuid: str = network) -> int:
        body = {"name": "chosen", "flavorRef": "1", "imageRef": images[0]["id"]}
        body["networks"] = [{"uuid": uuid, "fixed_ip": address}]
        return int(user.compute.post("/servers", json={"server": body}).status_code)

    used = free_address(slow, 2)
    assert ask(used) == 500
    assert ask("10.99.0.5") == 404
    assert ask(free_address(slow, 210), "11111111-1111-1111-1111-111111111111") == 404
    reserved = free_address(slow, 211)
    assert admin.compute.post(f"/os-fixed-ips/{reserved}/action", json={"reserve": None}).status_code == 202
    server_id = boot(user, "on-reserved", networks=[{"uuid": network, "fixed_ip": reserved}])
    assert watch(user, server_id, until)[-1] == ("ERROR", None)
    assert "max scheduling attempts" in record(user, server_id)["fault"]["message"]
    assert admin.compute.post(f"/os-fixed-ips/{reserved}/action", json={"unreserve": None}).status_code == 202
    server_id = boot(user, "on-free", networks=[{"uuid": network, "fixed_ip": reserved}])
    watch(user, server_id, until)
    (entries,) = record(user, server_id)["addresses"].values()
    assert [e["addr"] for e in entries] == [reserved]


def test_a_reservation_outlives_the_server(slow: LabSite, user: Connection, admin: Connection, until: Wait) -> None:
    address = free_address(slow, 220)
    server_id = boot(user, "kept", networks=[{"uuid": network_id(user), "fixed_ip": address}])
    watch(user, server_id, until)
    assert admin.compute.post(f"/os-fixed-ips/{address}/action", json={"reserve": None}).status_code == 202
    assert user.compute.delete(f"/servers/{server_id}").status_code == 204
    until(lambda: admin.compute.get(f"/os-fixed-ips/{address}").json()["fixed_ip"]["hostname"] is None)
    again = boot(user, "again", networks=[{"uuid": network_id(user), "fixed_ip": address}])
    assert watch(user, again, until)[-1] == ("ERROR", None)


def test_floating_addresses(user: Connection, until: Wait) -> None:
    server_id = boot(user, "float")
    watch(user, server_id, until)
    made = user.compute.post("/os-floating-ips", json={"pool": "nova"}).json()["floating_ip"]
    body = {"address": made["ip"]}
    assert act(user, server_id, addFloatingIp=body) == 202
    assert act(user, server_id, addFloatingIp=body) == 202
    listed = {f["ip"]: f for f in user.compute.get("/os-floating-ips").json()["floating_ips"]}
    assert listed[made["ip"]]["instance_id"] is None
    shown = user.compute.get(f"/os-floating-ips/{made['id']}").json()["floating_ip"]
    assert shown["instance_id"] == server_id
    (entries,) = record(user, server_id)["addresses"].values()
    assert [(e["addr"], e["OS-EXT-IPS:type"]) for e in entries][1] == (made["ip"], "floating")
    assert act(user, server_id, removeFloatingIp=body) == 202
    assert act(user, server_id, removeFloatingIp=body) == 422
    assert act(user, server_id, addFloatingIp={"address": "1.2.3.4"}) == 404
    assert user.compute.delete(f"/os-floating-ips/{made['id']}").status_code == 202


def test_migrations_change_the_host(user: Connection, admin: Connection, until: Wait) -> None:
    server_id = boot(user, "wanderer")
    watch(user, server_id, until)
    before = record(admin, server_id)["OS-EXT-SRV-ATTR:host"]
    live = {"host": None, "block_migration": False, "disk_over_commit": False}
    assert act(user, server_id, **{"os-migrateLive": live}) == 403
    assert act(admin, server_id, **{"os-migrateLive": live}) == 202
    assert watch(admin, server_id, until) == [("MIGRATING", "migrating"), ("ACTIVE", None)]
    after = record(admin, server_id)["OS-EXT-SRV-ATTR:host"]
    assert after != before
    assert act(admin, server_id, migrate=None) == 202
    assert watch(admin, server_id, until)[-1] == ("VERIFY_RESIZE", None)
    assert record(admin, server_id)["OS-EXT-SRV-ATTR:host"] != after
    assert act(admin, server_id, migrate=None) == 409
    assert act(admin, server_id, confirmResize=None) == 204
    assert record(admin, server_id)["status"] == "VERIFY_RESIZE"
    until(lambda: record(admin, server_id)["status"] == "ACTIVE")


def test_evacuation_wants_a_dead_host(slow: LabSite, user: Connection, admin: Connection, until: Wait) -> None:
    server_id = boot(user, "refugee")
    watch(user, server_id, until)
    host = record(admin, server_id)["OS-EXT-SRV-ATTR:host"]
    target = "compute1" if host != "compute1" else "compute2"
    order = {"evacuate": {"host": target, "onSharedStorage": False}}
    assert act(admin, server_id, **order) == 400
    slow.control("POST", "/hosts", host=host, alive=False)
    try:
        assert act(admin, server_id, **order) == 200
        assert watch(admin, server_id, until)[-1] == ("ACTIVE", None)
        assert record(admin, server_id)["OS-EXT-SRV-ATTR:host"] == target
    finally:
        slow.control("POST", "/hosts", host=host, alive=True)


def test_a_stuck_server_stays_stuck_until_it_is_reset(slow: LabSite, admin: Connection) -> None:
    servers = admin.compute.get("/servers/detail?all_tenants=1&name=stapler").json()["servers"]
    assert servers[0]["OS-EXT-STS:task_state"] == "powering-off"
    server_id = servers[0]["id"]
    assert act(admin, server_id, **{"os-stop": None}) == 409
    assert act(admin, server_id, **{"os-resetState": {"state": "active"}}) == 202
    assert record(admin, server_id)["OS-EXT-STS:task_state"] is None


def test_metadata(user: Connection, until: Wait) -> None:
    server_id = boot(user, "meta", metadata={"a": "1"})
    watch(user, server_id, until)
    path = f"/servers/{server_id}/metadata"
    assert user.compute.post(path, json={"metadata": {"b": "2"}}).json() == {"metadata": {"a": "1", "b": "2"}}
    assert user.compute.put(path, json={"metadata": {"c": "3"}}).json() == {"metadata": {"c": "3"}}
    assert user.compute.delete(f"{path}/c").status_code == 204
    assert user.compute.delete(f"{path}/c").status_code == 404
    assert user.compute.get(path).json() == {"metadata": {}}


def test_quota_refusals_look_like_rate_limits(slow: LabSite, admin: Connection) -> None:
    globex = slow.connect("old-globex-user")
    project_id = globex.current_project_id
    admin.compute.put(f"/os-quota-sets/{project_id}", json={"quota_set": {"instances": 3}})
    images = globex.image.get("/images?name=cirros-0.3.2-x86_64").json()["images"]
    body = {"server": {"name": "over", "flavorRef": "1", "imageRef": images[0]["id"]}}
    answer = globex.compute.post("/servers", json=body)
    assert answer.status_code == 413
    assert answer.headers["Retry-After"] == "0"
    assert answer.json()["overLimit"]["retryAfter"] == "0"
    globex.close()


def test_projects_do_not_see_each_other(user: Connection, slow: LabSite) -> None:
    globex = slow.connect("old-globex-user")
    own = user.compute.get("/servers").json()["servers"][0]["id"]
    assert globex.compute.get(f"/servers/{own}").status_code == 404
    assert act(globex, own, **{"os-stop": None}) == 404
    assert globex.compute.get("/os-services").status_code == 403
    assert globex.compute.get("/os-floating-ips-bulk").status_code == 403
    assert [k["keypair"]["name"] for k in globex.compute.get("/os-keypairs").json()["keypairs"]] == ["globex-key"]
    globex.close()
