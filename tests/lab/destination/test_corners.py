"""Rarer paths of the lab's destination: other ways to log in, sorting, states besides running and stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import openstack.exceptions
import pytest
import requests
from openstack.connection import Connection

from pumphouse.lab.world import Guest

from .running import SDK_WARNINGS, Running
from .stage import FIXED, FLOATING, Stage

pytestmark = SDK_WARNINGS
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


@pytest.fixture
def conn(lab: Running) -> Connection:
    return lab.connect()


def _login(lab: Running, identity: dict[str, Any], scope: Any = None) -> requests.Response:
    auth: dict[str, Any] = {"identity": identity} | ({"scope": scope} if scope is not None else {})
    return requests.post(f"{lab.info.auth_url}/auth/tokens", json={"auth": auth}, timeout=10)


def _password(name: str, password: str) -> dict[str, Any]:
    user = {"name": name, "password": password, "domain": {"name": "Default"}}
    return {"methods": ["password"], "password": {"user": user}}


def test_a_token_can_be_rescoped_and_revoked(lab: Running, conn: Connection) -> None:
    project = conn.identity.create_project(name="second")
    role = conn.identity.find_role("member")
    conn.identity.assign_project_role_to_user(project, conn.current_user_id, role)
    first = _login(lab, _password("admin", lab.info.admin_password), "unscoped")
    assert (first.status_code, "project" in first.json()["token"]) == (201, False)
    by_token = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}
    scope = {"project": {"name": "second", "domain": {"id": "default"}}}
    second = _login(lab, by_token, scope)
    assert second.json()["token"]["project"]["id"] == project.id
    assert {item["name"] for item in second.json()["token"]["roles"]} == {"member", "reader"}
    token = second.headers["X-Subject-Token"]
    headers = {"X-Auth-Token": conn.auth_token, "X-Subject-Token": token}
    assert requests.delete(f"{lab.info.auth_url}/auth/tokens", headers=headers, timeout=10).status_code == 204
    again = requests.get(f"{lab.info.auth_url}/auth/tokens", headers=headers, timeout=10)
    assert (again.status_code, again.json()["error"]["message"]) == (404, "Failed to validate token")


def test_other_scopes(lab: Running, conn: Connection) -> None:
    whole = _login(lab, _password("admin", lab.info.admin_password), {"system": {"all": True}})
    assert whole.json()["token"]["system"] == {"all": True}
    project = conn.identity.create_project(name="home")
    user = conn.identity.create_user(name="hanna", password="pw", default_project_id=project.id)
    conn.identity.assign_project_role_to_user(project, user, conn.identity.find_role("member"))
    assert _login(lab, _password("hanna", "pw")).json()["token"]["project"]["id"] == project.id
    assert _login(lab, _password("hanna", "pw"), {"system": {"all": True}}).status_code == 401
    assert _login(lab, _password("hanna", "pw"), {"domain": {"id": "default"}}).status_code == 401
    assert _login(lab, {"methods": ["totp"]}).status_code == 401
    conn.identity.update_project(project, is_enabled=False)
    assert _login(lab, _password("hanna", "pw"), {"project": {"id": project.id}}).status_code == 401


def test_a_user_changes_its_own_password(lab: Running, conn: Connection) -> None:
    user = conn.identity.create_user(name="petra", password="old")
    change = {"user": {"original_password": "wrong", "password": "new"}}
    assert conn.identity.post(f"/users/{user.id}/password", json=change).status_code == 401
    change["user"]["original_password"] = "old"
    assert conn.identity.post(f"/users/{user.id}/password", json=change).status_code == 204
    assert _login(lab, _password("petra", "new")).status_code == 201
    assert _login(lab, _password("petra", "old")).status_code == 401


def test_effective_role_assignments_include_implied_roles(conn: Connection) -> None:
    user = conn.identity.create_user(name="ines")
    project = conn.identity.create_project(name="implied")
    conn.identity.assign_project_role_to_user(project, user, conn.identity.find_role("member"))
    path = f"/role_assignments?user.id={user.id}"
    assert len(conn.identity.get(path).json()["role_assignments"]) == 1
    assert len(conn.identity.get(f"{path}&effective").json()["role_assignments"]) == 2


def test_images_are_sorted_and_filtered(fresh_lab: Running) -> None:
    conn = fresh_lab.connect()
    for name, tags in (("b", ["x", "y"]), ("c", ["x"]), ("a", [])):
        conn.image.post("/images", json={"name": name, "tags": tags, "disk_format": "raw", "container_format": "bare"})

    def names(query: str) -> list[str]:
        return [item["name"] for item in conn.image.get(f"/images?{query}").json()["images"]]

    assert names("") == ["a", "c", "b"]
    assert names("sort=name:asc") == ["a", "b", "c"]
    assert names("sort_key=name&sort_dir=desc") == ["c", "b", "a"]
    assert names("tag=x&tag=y") == ["b"]
    assert names("name=in:a,b&sort=name:asc") == ["a", "b"]
    assert names("size_min=1") == []
    assert names("owner=nobody") == []
    assert names("visibility=shared&sort=name:asc&limit=2") == ["a", "b"]
    assert conn.image.get("/images?limit=-1").status_code == 400
    assert conn.image.get("/images?sort=colour").status_code == 400


def test_what_may_not_be_patched(conn: Connection) -> None:
    image = conn.image.create_image("p", data=b"x", disk_format="raw", container_format="bare", wait=True)

    def patch(**change: Any) -> int:
        return int(conn.image.patch(f"/images/{image.id}", json=[change], headers=PATCH).status_code)

    assert patch(op="remove", path="/name") == 403
    assert patch(op="replace", path="/id", value="x") == 403
    assert patch(op="replace", path="/disk_format", value="qcow2") == 403
    assert patch(op="replace", path="/min_disk", value="many") == 400
    assert patch(op="test", path="/name", value="p") == 400
    assert patch(op="add", path="/a~1b", value="slash") == 200
    assert conn.image.get(f"/images/{image.id}").json()["a/b"] == "slash"


def test_paused_and_suspended_servers_are_silent(stage: Stage) -> None:
    compute = stage.member.compute
    server = stage.active(stage.boot())
    stage.answers()
    for off, status, on in (("pause", "PAUSED", "unpause"), ("suspend", "SUSPENDED", "resume")):
        getattr(compute, f"{off}_server")(server)
        compute.wait_for_server(server, status=status, interval=0.05, wait=20)
        assert stage.guest() is None
        getattr(compute, f"{on}_server")(server)
        stage.active(server)
        stage.answers()


def test_a_locked_server_is_left_alone_by_members(stage: Stage) -> None:
    server = stage.active(stage.boot())
    stage.admin.compute.lock_server(server, locked_reason="audit")
    with pytest.raises(openstack.exceptions.ConflictException, match="is locked"):
        stage.member.compute.stop_server(server)
    with pytest.raises(openstack.exceptions.ConflictException, match="is locked"):
        stage.member.compute.delete_server(server)
    assert stage.admin.compute.get_server(server.id).locked_reason == "audit"
    stage.admin.compute.unlock_server(server)
    stage.member.compute.stop_server(server)


def test_a_task_under_way_refuses_the_next(stage: Stage) -> None:
    server = stage.active(stage.boot())
    stage.member.compute.stop_server(server)
    with pytest.raises(openstack.exceptions.ConflictException, match="while it is in task_state powering-off"):
        stage.member.compute.reboot_server(server, "SOFT")
    stage.gone(server)
    assert stage.guest() is None
    assert not stage.lab.inside(lambda: stage.lab.world.layer2.guests)


def test_deleted_servers_can_be_looked_back_at(stage: Stage) -> None:
    server = stage.active(stage.boot())
    before = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    stage.gone(server)
    old = stage.admin.compute.get("/servers/detail?all_tenants=1&deleted=true").json()["servers"]
    assert [(item["id"], item["status"]) for item in old] == [(server.id, "DELETED")]
    since = {"all_tenants": "1", "changes-since": before}
    changed = stage.admin.compute.get("/servers/detail", params=since).json()["servers"]
    assert [item["id"] for item in changed] == [server.id]
    assert stage.member.compute.get("/servers/detail?changes-since=x").status_code == 400


def test_list_filters(stage: Stage) -> None:
    server = stage.active(stage.boot())
    host = stage.admin.compute.get_server(server.id).compute_host

    def count(query: str) -> int:
        return len(stage.admin.compute.get(f"/servers?all_tenants=1&{query}").json()["servers"])

    for query in (f"host={host}", "status=active", "ip=127.77.0.5", f"image={stage.image_id}", "flavor=f1", "name=^we"):
        assert count(query) == 1, query
    for query in ("host=moon", "status=SHUTOFF", "ip=127.79", "flavor=f9", "name=^eb", "vm_state=stopped"):
        assert count(query) == 0, query


def test_disabled_hosts_get_no_servers(stage: Stage) -> None:
    for service in stage.admin.compute.services(binary="nova-compute"):
        if service.host != "node-3":
            stage.admin.compute.disable_service(service)
    assert stage.admin.compute.get_server(stage.active(stage.boot()).id).compute_host == "node-3"


def test_a_port_deleted_under_a_running_server_takes_its_address_along(stage: Stage) -> None:
    server = stage.active(stage.boot())
    stage.admin.network.update_ip(stage.floating_id, port_id=stage.port_id)
    stage.admin.network.delete_port(stage.port_id)
    assert not stage.lab.world.layer2.floating[FLOATING]
    assert stage.admin.network.get_ip(stage.floating_id).port_id is None
    assert list(stage.member.compute.server_interfaces(server)) == []
    stage.gone(server)
    assert not stage.lab.inside(lambda: stage.lab.world.layer2.guests)


def test_a_floating_ip_moves_from_one_server_to_another(stage: Stage) -> None:
    first = stage.active(stage.boot())
    second = stage.active(stage.boot(name="two", networks=[{"uuid": stage.network_id}]))
    (other,) = stage.admin.network.ports(device_id=second.id)
    stage.admin.network.update_ip(stage.floating_id, port_id=stage.port_id)
    assert stage.lab.world.layer2.floating[FLOATING] == {("destination", first.id)}
    stage.admin.network.update_ip(stage.floating_id, port_id=other.id)
    assert stage.lab.world.layer2.floating[FLOATING] == {("destination", second.id)}
    assert stage.lab.world.layer2.violations == []


def test_routers_by_port_and_without_gateway(stage: Stage) -> None:
    network = stage.admin.network
    router = network.create_router(name="second")
    assert router.external_gateway_info is None
    fixed = [{"subnet_id": stage.subnet_id, "ip_address": "127.77.0.9"}]
    port = network.create_port(network_id=stage.network_id, fixed_ips=fixed)
    network.add_interface_to_router(router, port_id=port.id)
    assert network.get_port(port.id).device_owner == "network:router_interface"
    with pytest.raises(openstack.exceptions.ConflictException, match="already has an attached device"):
        network.add_interface_to_router(router, port_id=port.id)
    public = network.find_network("public")
    network.update_router(router, external_gateway_info={"network_id": public.id})
    assert network.get_router(router.id).external_gateway_info["network_id"] == public.id
    network.update_router(router, external_gateway_info={})
    assert network.get_router(router.id).external_gateway_info is None
    network.remove_interface_from_router(router, port_id=port.id)
    network.delete_router(router)
    assert network.find_port(port.id) is None


def test_who_shares_a_network_may_not_choose_addresses_on_it(stage: Stage) -> None:
    shared = stage.admin.network.create_network(name="shared", is_shared=True)
    subnet = stage.admin.network.create_subnet(network_id=shared.id, cidr="127.79.0.0/24", ip_version=4)
    assert stage.member.network.create_port(network_id=shared.id).fixed_ips[0]["subnet_id"] == subnet.id
    for change in ({"mac_address": "fa:16:3e:00:00:99"}, {"fixed_ips": [{"ip_address": "127.79.0.9"}]}):
        with pytest.raises(openstack.exceptions.ForbiddenException, match="disallowed by policy"):
            stage.member.network.create_port(network_id=shared.id, **change)


def test_tags_sorting_and_fields(stage: Stage) -> None:
    network = stage.admin.network
    path = f"/networks/{stage.network_id}"
    assert network.put(f"{path}/tags/blue").status_code == 201
    assert [item.id for item in network.networks(tags="blue")] == [stage.network_id]
    assert network.delete(f"{path}/tags/blue").status_code == 204
    assert network.delete(f"{path}/tags/blue").status_code == 404
    names = [item["name"] for item in network.get("/networks?sort_key=name&sort_dir=desc").json()["networks"]]
    assert names == ["public", "novanetwork"]
    assert network.get(f"{path}?fields=name").json() == {"network": {"name": "novanetwork"}}


def test_the_old_proxies_still_show_floating_ips_and_groups(stage: Stage) -> None:
    shown = stage.member.compute.get("/os-floating-ips", microversion="2.1").json()["floating_ips"]
    assert [(item["ip"], item["pool"]) for item in shown] == [(FLOATING, "public")]
    groups = stage.member.compute.get("/os-security-groups", microversion="2.1").json()["security_groups"]
    assert [group["name"] for group in groups] == ["default"]


def test_default_quotas_can_be_changed_for_all(stage: Stage) -> None:
    answer = stage.admin.compute.put("/os-quota-class-sets/default", json={"quota_class_set": {"instances": 3}})
    assert answer.status_code == 200
    assert stage.admin.compute.get_quota_set(stage.project_id).instances == 3


def test_an_address_alive_elsewhere_is_a_violation(stage: Stage) -> None:
    """The law the lab keeps: the destination may not wake an address that the source still holds."""
    layer2 = stage.lab.world.layer2
    stage.lab.run(layer2.power_on(Guest("source", "old", "old", FIXED, "fa:16:3e:00:00:50")))
    stage.active(stage.boot())
    stage.lab.until(lambda: layer2.violations)
    assert [(item.kind, item.address) for item in layer2.violations] == [("duplicate-fixed-ip", FIXED)]
    stage.lab.run(layer2.power_off("source", "old"))
    stage.answers()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": " m1"}, "The name must be: printable characters."),
        ({"name": "m1\t"}, "The name must be: printable characters."),
        ({"id": "m1/small"}, "does not match"),
        ({"rxtx_factor": 0}, "rxtx_factor"),
    ],
)
def test_names_that_nova_takes_no_more(conn: Connection, changes: dict[str, Any], words: str) -> None:
    flavor = {"id": "odd", "name": "odd", "ram": 64, "vcpus": 1, "disk": 1}
    refused = conn.compute.post("/flavors", json={"flavor": flavor | changes})
    assert (refused.status_code, words in refused.text) == (400, True), refused.text


def test_keys_that_nova_takes_no_more(conn: Connection) -> None:
    conn.compute.post("/flavors", json={"flavor": {"id": "odd", "name": "odd", "ram": 64, "vcpus": 1, "disk": 1}})
    for key, status in (("a:b.c-d e_f", 200), ("a/b", 400), ("ключ", 400)):
        answer = conn.compute.post("/flavors/odd/os-extra_specs", json={"extra_specs": {key: "1"}})
        assert answer.status_code == status, answer.text
