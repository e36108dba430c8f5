"""Rules that no recording shows: what the old cloud refuses, and the small verbs in a row.

Each test meets a cloud of its own, in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.recorded import Recorded, Reply, running, send

Ask = Callable[..., Awaitable[Reply]]
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
NOBODY = "11111111-1111-1111-1111-111111111111"


def asker(site: Recorded) -> Ask:
    """Ask as somebody: ``await ask("alice", "compute", "GET", "/servers", body)``."""
    homes = {"admin": "admin", "alice": "alpha", "bob": "beta", "carol": "gamma"}
    tokens = {name: site.token(name, home) for name, home in homes.items()}

    async def ask(who: str, service: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        prefix = f"/v2/{{project:{homes[who]}}}" if service == "compute" else ""
        path, _, text = path.partition("?")
        query = dict(pair.split("=", 1) for pair in text.split("&")) if text else {}
        fact = {"service": service, "method": method, "path": prefix + path, "accept": "*/*", "query": query}
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return await send(site, fact | {"request": body, "send": sent}, token=tokens[who])

    return ask


REFUSALS: list[tuple[str, str, str, str, Any, int]] = [
    # Keystone
    ("admin", "identity", "POST", "/v2.0/tokens", {}, 400),
    ("admin", "identity", "POST", "/v2.0/tokens", {"auth": {}}, 400),
    ("admin", "identity", "POST", "/v2.0/tokens", {"auth": {"token": {"id": "nobody"}}}, 401),
    ("admin", "identity", "GET", "/v2.0/extensions/OS-NOSUCH", None, 404),
    ("admin", "identity-admin", "GET", "/v2.0/tokens/nosuch", None, 404),
    ("admin", "identity-admin", "DELETE", "/v2.0/tokens/nosuch", None, 404),
    ("admin", "identity-admin", "GET", "/v2.0/tenants?limit=x", None, 400),
    ("admin", "identity-admin", "GET", "/v2.0/tenants?marker=x", None, 400),
    ("admin", "identity-admin", "GET", "/v2.0/tenants?name=x", None, 404),
    ("admin", "identity-admin", "GET", "/v2.0/users?name=x", None, 404),
    ("admin", "identity-admin", "POST", "/v2.0/tenants", {"tenant": {"name": ""}}, 400),
    ("admin", "identity-admin", "POST", "/v2.0/users", {"user": {"name": ""}}, 400),
    ("admin", "identity-admin", "POST", "/v2.0/users", {"user": {"name": "alice"}}, 409),
    ("admin", "identity-admin", "POST", "/v2.0/users", {"user": {"name": "x", "tenantId": "y"}}, 404),
    ("admin", "identity-admin", "PUT", "/v2.0/users/{user:bob}", {"user": {"name": "alice"}}, 409),
    ("admin", "identity-admin", "POST", "/v2.0/OS-KSADM/roles", {"role": {}}, 400),
    ("admin", "identity-admin", "GET", "/v2.0/OS-KSADM/roles/x", None, 404),
    ("admin", "identity-admin", "DELETE", "/v2.0/OS-KSADM/roles/x", None, 404),
    (
        "admin",
        "identity-admin",
        "PUT",
        "/v2.0/tenants/{project:alpha}/users/{user:bob}/roles/OS-KSADM/x",
        None,
        404,
    ),
    ("admin", "identity", "POST", "/v3/auth/tokens", {"auth": {}}, 400),
    ("admin", "identity", "GET", "/v3/auth/tokens", None, 404),
    ("alice", "identity", "GET", "/v3/projects", None, 403),
    ("alice", "identity", "GET", "/v3/users/{user:bob}/projects", None, 403),
    ("admin", "identity", "POST", "/v3/projects", {"project": {}}, 400),
    ("admin", "identity", "PATCH", "/v3/projects/{project:beta}", {"project": {"name": "alpha"}}, 409),
    ("admin", "identity", "POST", "/v3/users", {"user": {}}, 400),
    ("admin", "identity", "POST", "/v3/users", {"user": {"name": "alice"}}, 409),
    ("admin", "identity", "POST", "/v3/users", {"user": {"name": "x", "default_project_id": "y"}}, 404),
    ("admin", "identity", "POST", "/v3/roles", {"role": {}}, 400),
    ("admin", "identity", "POST", "/v3/roles", {"role": {"name": "admin"}}, 409),
    ("admin", "identity", "GET", "/v3/roles/x", None, 404),
    ("admin", "identity", "GET", "/v3/domains/x", None, 404),
    ("admin", "identity", "GET", "/v3/credentials", None, 404),
    ("alice", "identity", "POST", "/v3/users/{user:alice}/password", {"user": {"original_password": "x"}}, 401),
    # Glance
    ("alice", "image", "GET", "/v2/images?limit=x", None, 400),
    ("alice", "image", "GET", "/v2/images?limit=-1", None, 400),
    ("alice", "image", "GET", "/v2/images?marker=x", None, 400),
    ("alice", "image", "GET", "/v2/images?sort_key=x", None, 400),
    ("alice", "image", "POST", "/v2/images", [1], 400),
    ("alice", "image", "POST", "/v2/images", {"status": "active"}, 403),
    ("alice", "image", "POST", "/v2/images", {"tags": "x"}, 400),
    ("alice", "image", "POST", "/v2/images", {"protected": "x"}, 400),
    ("alice", "image", "PATCH", "/v2/images/{image:alpha-private}", [], 415),
    ("bob", "image", "GET", "/v2/images/{image:alpha-private}", None, 404),
    ("bob", "image", "DELETE", "/v2/images/{image:golden-protected}", None, 403),
    ("bob", "image", "PUT", "/v2/images/{image:beta-shared}/tags/x", None, 204),
    ("bob", "image", "DELETE", "/v2/images/{image:beta-shared}/tags/x", None, 404),
    ("bob", "image", "GET", "/v2/images/{image:golden-protected}/members", None, 403),
    ("bob", "image", "POST", "/v2/images/{image:beta-shared}/members", {}, 400),
    ("bob", "image", "POST", "/v2/images/{image:beta-shared}/members", {"member": "{project:gamma}"}, 409),
    ("carol", "image", "POST", "/v2/images/{image:beta-shared}/members", {"member": "x"}, 403),
    ("carol", "image", "PUT", "/v2/images/{image:beta-shared}/members/x", {"status": "accepted"}, 404),
    ("carol", "image", "PUT", "/v2/images/{image:beta-shared}/members/{project:gamma}", {"status": "x"}, 400),
    ("carol", "image", "DELETE", "/v2/images/{image:beta-shared}/members/{project:gamma}", None, 403),
    ("bob", "image", "DELETE", "/v2/images/{image:beta-shared}/members/x", None, 404),
    ("bob", "image", "GET", "/v2/schemas/nosuch", None, 404),
    ("bob", "image", "GET", "/v1/images/detail?marker=x", None, 400),
    ("bob", "image", "GET", "/v1/images/detail?limit=x", None, 400),
    ("bob", "image", "GET", "/v1/images/{image:alpha-queued}", None, 404),
    ("alice", "image", "GET", "/v1/images/{image:alpha-queued}", None, 404),
    ("alice", "image", "DELETE", "/v1/images/{image:golden-protected}", None, 403),
    ("admin", "image", "DELETE", "/v1/images/{image:golden-protected}", None, 403),
    ("bob", "image", "DELETE", "/v1/images/{image:beta-shared}/members/x", None, 404),
    ("bob", "image", "GET", "/v1/shared-images/{project:alpha}", None, 403),
    # Nova: servers
    ("alice", "compute", "POST", "/servers", {"server": {"name": " "}}, 400),
    ("alice", "compute", "POST", "/servers", {"server": {"name": "x", "imageRef": NOBODY}}, 400),
    ("alice", "compute", "GET", "/servers?limit=x", None, 400),
    ("alice", "compute", "GET", "/servers?name=(", None, 400),
    ("alice", "compute", "GET", "/servers?status=deleted", None, 403),
    ("alice", "compute", "PUT", "/servers/{server:web1}", {"server": {"name": " "}}, 400),
    ("alice", "compute", "GET", "/servers/{server:web1}/metadata/nosuch", None, 404),
    ("alice", "compute", "PUT", "/servers/{server:web1}/metadata/role", {"meta": {"other": "x"}}, 400),
    ("alice", "compute", "GET", "/servers/{server:web1}/ips/nosuch", None, 404),
    ("alice", "compute", "GET", "/servers/{server:web1}/os-instance-actions/nosuch", None, 404),
    ("alice", "compute", "GET", "/servers/{server:web1}/diagnostics", None, 403),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"dance": None}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"reboot": {"type": "x"}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"createImage": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"createBackup": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"rebuild": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"rebuild": {"imageRef": NOBODY}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"resize": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"resize": {"flavorRef": "99"}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addFloatingIp": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addFloatingIp": {"address": "172.24.4.227"}}, 403),
    (
        "alice",
        "compute",
        "POST",
        "/servers/{server:web1}/action",
        {"addFloatingIp": {"address": "172.24.4.226", "fixed_address": "10.10.0.99"}},
        400,
    ),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addFixedIp": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addFixedIp": {"networkId": "x"}}, 404),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"removeFixedIp": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addSecurityGroup": {}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addSecurityGroup": {"name": "nosuch"}}, 404),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"addSecurityGroup": {"name": "web"}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"removeSecurityGroup": {"name": "db"}}, 400),
    ("admin", "compute", "POST", "/servers/{server:web1}/action", {"os-resetState": {"state": "x"}}, 400),
    ("alice", "compute", "POST", "/servers/{server:web1}/action", {"os-resetState": {"state": "error"}}, 403),
    (
        "admin",
        "compute",
        "POST",
        "/servers/{server:web1}/action",
        {"os-migrateLive": {"host": "nohost", "block_migration": False, "disk_over_commit": False}},
        400,
    ),
    # Nova: the rest
    ("alice", "compute", "POST", "/flavors", {"flavor": {}}, 403),
    ("admin", "compute", "POST", "/flavors", {"flavor": {"name": ""}}, 400),
    ("admin", "compute", "POST", "/flavors", {"flavor": {"name": "x"}}, 400),
    ("admin", "compute", "POST", "/flavors", {"flavor": {"name": "x", "ram": 0, "vcpus": 1}}, 400),
    ("admin", "compute", "POST", "/flavors", {"flavor": {"name": "x", "id": "1", "ram": 1, "vcpus": 1}}, 409),
    ("admin", "compute", "GET", "/flavors?is_public=x", None, 400),
    ("admin", "compute", "GET", "/flavors?minRam=x", None, 400),
    ("bob", "compute", "GET", "/flavors/{flavor:p1.private}", None, 404),
    ("admin", "compute", "POST", "/flavors/1/action", {"x": {}}, 400),
    (
        "admin",
        "compute",
        "POST",
        "/flavors/{flavor:p1.private}/action",
        {"removeTenantAccess": {"tenant": "x"}},
        404,
    ),
    ("admin", "compute", "GET", "/flavors/1/os-extra_specs/x", None, 404),
    ("admin", "compute", "PUT", "/flavors/1/os-extra_specs/x", {"y": "1"}, 400),
    ("admin", "compute", "DELETE", "/flavors/1/os-extra_specs/x", None, 404),
    ("alice", "compute", "GET", "/os-keypairs/nosuch", None, 404),
    ("alice", "compute", "POST", "/os-keypairs", {"keypair": {"name": ""}}, 400),
    ("alice", "compute", "GET", "/os-security-groups/x", None, 400),
    ("alice", "compute", "GET", "/os-security-groups/99", None, 404),
    ("alice", "compute", "POST", "/os-security-groups", {"security_group": {"name": "x"}}, 400),
    ("alice", "compute", "POST", "/os-security-groups", {}, 422),
    ("alice", "compute", "DELETE", "/os-security-groups/1", None, 400),
    ("alice", "compute", "DELETE", "/os-security-groups/2", None, 400),
    ("bob", "compute", "DELETE", "/os-security-groups/2", None, 404),
    ("alice", "compute", "DELETE", "/os-security-group-rules/99", None, 404),
    ("alice", "compute", "GET", "/os-fixed-ips/10.10.0.2", None, 403),
    ("admin", "compute", "POST", "/os-fixed-ips/10.10.0.2/action", {"x": None}, 400),
    ("admin", "compute", "POST", "/os-fixed-ips/10.99.0.2/action", {"reserve": None}, 404),
    ("alice", "compute", "GET", "/os-floating-ips/99", None, 404),
    ("alice", "compute", "GET", "/os-floating-ips/3", None, 404),
    ("admin", "compute", "POST", "/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "x"}}, 400),
    ("admin", "compute", "PUT", "/os-floating-ips-bulk/delete", {"ip_range": "x"}, 400),
    ("alice", "compute", "POST", "/os-networks", {"network": {}}, 403),
    ("admin", "compute", "POST", "/os-networks", {"network": {}}, 400),
    ("admin", "compute", "POST", "/os-networks", {"network": {"label": "x"}}, 400),
    ("admin", "compute", "POST", "/os-networks", {"network": {"label": "x", "cidr": "y"}}, 400),
    ("admin", "compute", "POST", "/os-networks/{network:second}/action", {"x": None}, 400),
    ("alice", "compute", "GET", "/os-quota-sets/{project:beta}", None, 403),
    ("alice", "compute", "PUT", "/os-quota-sets/{project:alpha}", {"quota_set": {}}, 403),
    ("admin", "compute", "PUT", "/os-quota-sets/{project:alpha}", {"quota_set": {"x": 1}}, 400),
    ("admin", "compute", "PUT", "/os-quota-sets/{project:alpha}", {"quota_set": {"cores": "x"}}, 400),
    ("admin", "compute", "PUT", "/os-quota-sets/{project:alpha}", {"quota_set": {"cores": -2}}, 400),
    ("admin", "compute", "PUT", "/os-quota-sets/{project:alpha}", {"quota_set": {"instances": 1}}, 400),
    ("admin", "compute", "PUT", "/os-services/disable", {}, 400),
    (
        "admin",
        "compute",
        "PUT",
        "/os-services/disable-log-reason",
        {"host": "compute1", "binary": "nova-compute"},
        400,
    ),
    ("admin", "compute", "DELETE", "/os-services/99", None, 404),
    ("admin", "compute", "GET", "/os-hosts/nohost", None, 404),
    ("admin", "compute", "PUT", "/os-hosts/compute1", {"colour": "red"}, 400),
    ("admin", "compute", "GET", "/os-hypervisors/nohost/search", None, 404),
    ("alice", "compute", "GET", "/os-availability-zone/detail", None, 403),
    ("admin", "compute", "GET", "/os-aggregates/x", None, 404),
    ("admin", "compute", "POST", "/os-aggregates", {"aggregate": {"name": "rack3"}}, 409),
    ("admin", "compute", "POST", "/os-aggregates/1/action", {"x": {}}, 400),
    ("admin", "compute", "POST", "/os-aggregates/1/action", {"remove_host": {"host": "compute1"}}, 404),
    ("alice", "compute", "GET", "/images/{image:beta-shared}", None, 404),
    ("alice", "compute", "DELETE", "/images/{image:golden-protected}", None, 403),
    ("alice", "compute", "GET", "/os-migrations", None, 403),
    ("alice", "compute", "POST", "/os-server-groups", {"server_group": {}}, 400),
    ("admin", "compute", "GET", "/os-simple-tenant-usage?start=x", None, 400),
    ("alice", "compute", "GET", "/os-simple-tenant-usage/{project:beta}", None, 403),
    ("alice", "compute", "GET", "/extensions/nosuch", None, 404),
    ("alice", "compute", "PATCH", "/servers/{server:web1}", {}, 404),
]


@pytest.mark.parametrize(
    ("who", "service", "method", "path", "body", "status"),
    REFUSALS,
    ids=[f"{row[0]} {row[2]} {row[3]} {row[4]}"[:90] for row in REFUSALS],
)
def test_an_answer(tmp_path: Path, who: str, service: str, method: str, path: str, body: Any, status: int) -> None:
    async def scene() -> Reply:
        async with running(tmp_path) as site:
            return await asker(site)(who, service, method, path, body)

    reply = asyncio.run(scene())
    assert reply.status == status, reply.body


def play(tmp_path: Path, scene: Callable[[Recorded, Ask], Awaitable[None]]) -> None:
    """Run a scene on a fresh cloud."""

    async def run() -> None:
        async with running(tmp_path) as site:
            await scene(site, asker(site))

    asyncio.run(run())


def test_users_and_roles_over_v2(tmp_path: Path) -> None:
    async def scene(site: Recorded, ask: Ask) -> None:
        async def v2(method: str, path: str, body: Any = None) -> Reply:
            return await ask("admin", "identity-admin", method, f"/v2.0{path}", body)

        made = await v2("POST", "/users", {"user": {"name": "n", "password": "p", "tenantId": "{project:beta}"}})
        user_id = made.json()["user"]["id"]
        roles = (await v2("GET", f"/tenants/{{project:beta}}/users/{user_id}/roles")).json()["roles"]
        assert [r["name"] for r in roles] == ["_member_"]
        login = {"auth": {"passwordCredentials": {"username": "n", "password": "p"}, "tenantName": "beta"}}
        assert (await v2("POST", "/tokens", login)).status == 200
        changed = await v2("PUT", f"/users/{user_id}/OS-KSADM/password", {"user": {"password": "q"}})
        assert changed.status == 200
        assert (await v2("POST", "/tokens", login)).status == 401
        assert (await v2("PUT", f"/users/{user_id}", {"user": {"tenantId": "{project:gamma}"}})).status == 200
        users = (await v2("GET", "/tenants/{project:gamma}/users")).json()["users"]
        assert user_id in [u["id"] for u in users]
        disabled = await v2("PUT", f"/users/{user_id}/OS-KSADM/enabled", {"user": {"enabled": False}})
        assert disabled.json()["user"]["enabled"] is False
        role = (await v2("POST", "/OS-KSADM/roles", {"role": {"name": "r"}})).json()["role"]
        assert (await v2("GET", f"/OS-KSADM/roles/{role['id']}")).json()["role"] == role
        grant = f"/tenants/{{project:beta}}/users/{user_id}/roles/OS-KSADM/{role['id']}"
        assert (await v2("PUT", grant)).status == 200
        assert (await v2("DELETE", f"/OS-KSADM/roles/{role['id']}")).status == 204
        assert (await v2("DELETE", grant)).status == 404
        tenant = (await v2("POST", "/tenants", {"tenant": {"name": "t", "enabled": False}})).json()["tenant"]
        renamed = await v2("POST", f"/tenants/{tenant['id']}", {"tenant": {"name": "u", "enabled": False}})
        assert renamed.json()["tenant"]["name"] == "u"
        page = (await v2("GET", f"/tenants?marker={sorted(site.state.projects)[0]}")).json()["tenants"]
        assert len(page) == len(site.state.projects) - 1

    play(tmp_path, scene)


def test_users_and_roles_over_v3(tmp_path: Path) -> None:
    async def scene(site: Recorded, ask: Ask) -> None:
        async def v3(method: str, path: str, body: Any = None, who: str = "admin", **headers: str) -> Reply:
            return await ask(who, "identity", method, f"/v3{path}", body, **headers)

        made = await v3("POST", "/users", {"user": {"name": "n", "password": "p", "email": "n@example.com"}})
        user_id = made.json()["user"]["id"]
        role = (await v3("POST", "/roles", {"role": {"name": "r"}})).json()["role"]
        grant = f"/projects/{{project:beta}}/users/{user_id}/roles/{role['id']}"
        assert (await v3("HEAD", grant)).status == 404
        assert [(await v3("PUT", grant)).status for _ in range(2)] == [204, 204]
        assert (await v3("HEAD", grant)).status == 204
        held = (await v3("GET", f"/projects/{{project:beta}}/users/{user_id}/roles")).json()["roles"]
        assert [r["name"] for r in held] == ["r"]
        query = f"user.id={user_id}&scope.project.id={{project:beta}}&role.id={role['id']}"
        assert len((await v3("GET", f"/role_assignments?{query}")).json()["role_assignments"]) == 1
        password = {"user": {"id": user_id, "password": "p"}}
        identity = {"methods": ["password"], "password": password}
        unscoped = await v3("POST", "/auth/tokens", {"auth": {"identity": identity}})
        assert "project" not in unscoped.json()["token"]
        changed = await v3("PATCH", f"/users/{user_id}", {"user": {"default_project_id": "{project:beta}"}})
        assert changed.json()["user"]["default_project_id"] == site.id("project", "beta")
        scoped = await v3("POST", "/auth/tokens", {"auth": {"identity": identity}})
        assert scoped.json()["token"]["project"]["name"] == "beta"
        token_id = scoped.headers["x-subject-token"]
        again = {"auth": {"identity": {"methods": ["token"], "token": {"id": token_id}}}}
        again["auth"]["scope"] = {"project": {"id": "{project:alpha}"}}
        assert (await v3("POST", "/auth/tokens", again)).status == 401
        assert (await v3("GET", "/auth/tokens", x_subject_token=token_id)).status == 200
        assert (await v3("GET", "/auth/tokens", who="alice", x_subject_token=token_id)).status == 403
        assert (await v3("DELETE", "/auth/tokens", x_subject_token=token_id)).status == 204
        new = {"user": {"original_password": "p", "password": "q"}}
        assert (await v3("POST", f"/users/{user_id}/password", new)).status == 204
        assert (await v3("POST", "/auth/tokens", {"auth": {"identity": identity}})).status == 401
        assert (await v3("DELETE", grant)).status == 204
        assert (await v3("DELETE", grant)).status == 404
        assert (await v3("GET", f"/roles/{role['id']}")).json()["role"]["name"] == "r"
        assert (await v3("DELETE", f"/roles/{role['id']}")).status == 204
        assert (await v3("GET", "/roles?name=admin")).json()["roles"][0]["name"] == "admin"
        assert (await v3("GET", "/domains/default")).status == 200
        disabled = await v3("PATCH", "/projects/{project:gamma}", {"project": {"enabled": False}})
        assert disabled.json()["project"]["enabled"] is False
        assert (await v3("GET", "/users/{user:carol}/projects", who="carol")).status == 401

    play(tmp_path, scene)


def test_image_patches(tmp_path: Path) -> None:
    async def scene(_site: Recorded, ask: Ask) -> None:
        async def patch(*changes: dict[str, Any]) -> Reply:
            path = "/v2/images/{image:alpha-private}"
            return await ask("alice", "image", "PATCH", path, list(changes), content_type=PATCH["content-type"])

        done = await patch(
            {"op": "replace", "path": "/name", "value": "renamed"},
            {"op": "add", "path": "/os_distro", "value": "debian"},
            {"op": "replace", "path": "/tags", "value": ["a", "b"]},
            {"op": "remove", "path": "/note"},
        )
        image = done.json()
        assert (image["name"], image["os_distro"], image["tags"]) == ("renamed", "debian", ["a", "b"])
        assert "note" not in image
        assert (await patch({"op": "add", "path": "/name", "value": "x"})).status == 409
        assert (await patch({"op": "replace", "path": "/nosuch", "value": "x"})).status == 409
        assert (await patch({"op": "remove", "path": "/name"})).status == 403
        assert (await patch({"op": "replace", "path": "/id", "value": "x"})).status == 403
        assert (await patch({"op": "replace", "path": "/checksum", "value": "x"})).status == 403
        assert (await patch({"op": "move", "path": "/name"})).status == 400
        assert (await patch({"replace": "/name", "value": "old form"})).json()["name"] == "old form"

    play(tmp_path, scene)


def test_v1_updates_purge_and_check(tmp_path: Path) -> None:
    async def scene(_site: Recorded, ask: Ask) -> None:
        async def put(path: str, **headers: str) -> Reply:
            return await ask("admin", "image", "PUT", f"/v1/images/{path}", None, **headers)

        kept = await put("{image:alpha-private}", x_image_meta_name="n", x_glance_registry_purge_props="False")
        assert kept.json()["image"]["properties"] == {"note": "owned by alpha"}
        purged = await put("{image:alpha-private}", x_image_meta_owner="someone", x_image_meta_is_public="True")
        assert purged.json()["image"]["properties"] == {}
        assert purged.json()["image"]["owner"] == "someone"
        assert (await put("{image:alpha-private}", x_image_meta_min_ram="x")).status == 400
        formats = {"x_image_meta_disk_format": "raw", "x_image_meta_container_format": "bare"}
        wrong = {**formats, "x_image_meta_checksum": "0" * 32}
        body = {"binary_bytes": 100}
        assert (await ask("admin", "image", "POST", "/v1/images", body, **wrong)).status == 400
        killed = await ask("admin", "image", "GET", "/v1/images/detail?is_public=None&status=killed")
        assert len(killed.json()["images"]) == 1
        reserved = await ask("admin", "image", "POST", "/v1/images", None, **formats)
        assert reserved.json()["image"]["status"] == "queued"
        brief = await ask("admin", "image", "GET", "/v1/images?property-my_prop=x")
        assert [i["name"] for i in brief.json()["images"]] == ["ubuntu-raw-v2"]

    play(tmp_path, scene)


def test_security_group_rules_are_checked(tmp_path: Path) -> None:
    async def scene(_site: Recorded, ask: Ask) -> None:
        async def add(**rule: Any) -> int:
            body = {"security_group_rule": {"parent_group_id": 2, **rule}}
            return (await ask("alice", "compute", "POST", "/os-security-group-rules", body)).status

        assert await add(ip_protocol="tcp", from_port=22, to_port=22, cidr="10.1.2.3/8") == 200
        assert await add(ip_protocol="tcp", from_port=22, to_port=22, cidr="10.0.0.0/8") == 400
        assert await add(ip_protocol="icmp", from_port=-1, to_port=-1) == 200
        assert await add(ip_protocol="gre", from_port=1, to_port=1) == 400
        assert await add(ip_protocol="tcp", from_port=0, to_port=70000) == 400
        assert await add(ip_protocol="tcp") == 400
        assert await add(cidr="0.0.0.0/0") == 400
        assert await add(ip_protocol="tcp", from_port=1, to_port=1, cidr="nonsense") == 400
        assert await add(group_id=3) == 200
        shown = (await ask("alice", "compute", "GET", "/os-security-groups/2")).json()["security_group"]
        cidrs = [r["ip_range"].get("cidr") for r in shown["rules"]]
        assert cidrs == ["0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/8", "0.0.0.0/0", None]
        rule_id = shown["rules"][0]["id"]
        assert (await ask("bob", "compute", "DELETE", f"/os-security-group-rules/{rule_id}")).status == 404
        assert (await ask("alice", "compute", "DELETE", f"/os-security-group-rules/{rule_id}")).status == 202
        body = {"security_group": {"name": "www", "description": "d"}}
        assert (await ask("alice", "compute", "PUT", "/os-security-groups/2", body)).status == 200
        assert (await ask("alice", "compute", "PUT", "/os-security-groups/1", body)).status == 400
        paged = await ask("alice", "compute", "GET", "/os-security-groups?offset=1&limit=1")
        assert len(paged.json()["security_groups"]) == 1

    play(tmp_path, scene)


def test_a_locked_server_is_its_users_no_more(tmp_path: Path) -> None:
    async def scene(site: Recorded, ask: Ask) -> None:
        async def act(who: str, **action: Any) -> int:
            return (await ask(who, "compute", "POST", "/servers/{server:web1}/action", action)).status

        assert await act("admin", lock=None) == 202
        assert await act("alice", **{"os-stop": None}) == 409
        assert (await ask("alice", "compute", "DELETE", "/servers/{server:web1}")).status == 409
        assert await act("admin", unlock=None) == 202
        assert await act("alice", resetNetwork=None) == 403
        assert await act("admin", resetNetwork=None) == 202
        assert await act("alice", **{"os-getVNCConsole": {"type": "xvpvnc"}}) == 200
        assert await act("alice", addFixedIp={"networkId": site.id("network", "novanetwork")}) == 202
        assert len(site.server("web1").addresses) == 2

    play(tmp_path, scene)


def test_hosts_zones_and_quotas(tmp_path: Path) -> None:
    async def scene(site: Recorded, ask: Ask) -> None:
        async def admin(method: str, path: str, body: Any = None) -> Reply:
            return await ask("admin", "compute", method, path, body)

        quota = "/os-quota-sets/{project:alpha}"
        assert (await admin("PUT", quota, {"quota_set": {"instances": 1, "force": "True"}})).status == 200
        assert (await admin("DELETE", quota)).status == 202
        assert (await admin("GET", quota)).json()["quota_set"]["instances"] == 10
        aggregate = (await admin("POST", "/os-aggregates", {"aggregate": {"name": "n"}})).json()["aggregate"]
        path = f"/os-aggregates/{aggregate['id']}"
        renamed = await admin("PUT", path, {"aggregate": {"name": "m", "availability_zone": "z"}})
        assert renamed.json()["aggregate"]["metadata"] == {"availability_zone": "z"}
        cleared = await admin("POST", f"{path}/action", {"set_metadata": {"metadata": {"availability_zone": None}}})
        assert cleared.json()["aggregate"]["availability_zone"] is None
        assert (await admin("GET", path)).json()["aggregate"]["name"] == "m"
        site.state.quotas[site.id("project", "admin")] = {"instances": -1}
        image_id = site.id("image", "cirros-0.3.2-x86_64")
        server = {"name": "x", "flavorRef": "1", "imageRef": image_id}
        for zone, status in (("az-rack3", 202), ("nozone", 400), ("nova:nohost", 400)):
            body = {"server": server | {"availability_zone": zone}}
            assert (await admin("POST", "/servers", body)).status == status
        forced = {"server": server | {"availability_zone": "nova:compute1"}}
        assert (await ask("alice", "compute", "POST", "/servers", forced)).status == 403
        two = await admin("POST", "/servers", {"server": server | {"min_count": 2}})
        assert two.status == 202
        assert {s.name for s in site.state.servers.values()} >= {"x-1", "x-2"}
        service = next(s for s in site.state.services if s.host == "compute3")
        assert (await admin("DELETE", f"/os-services/{service.id}")).status == 204
        group = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
        assert (await admin("POST", "/os-server-groups", group)).status == 200
        assert len((await admin("GET", "/os-server-groups")).json()["server_groups"]) == 1
        own = await ask("alice", "compute", "GET", "/os-simple-tenant-usage/{project:alpha}?start=2020-01-01T00:00:00")
        assert own.json()["tenant_usage"]["total_hours"] >= 0
        assert (await admin("GET", "/images/{image:web1-snap}")).json()["image"]["server"]["id"] == "x"
        assert (await admin("DELETE", "/images/{image:web1-snap}")).status == 204

    play(tmp_path, scene)


def test_no_host_fits(tmp_path: Path) -> None:
    async def scene(site: Recorded, ask: Ask) -> None:
        for service in site.state.services:
            service.disabled = service.binary == "nova-compute"
        body = {"server": {"name": "x", "flavorRef": "1", "imageRef": "{image:cirros-0.3.2-x86_64}"}}
        server_id = (await ask("alice", "compute", "POST", "/servers", body)).json()["server"]["id"]
        while site.state.tasks:
            await asyncio.sleep(0)
        shown = (await ask("alice", "compute", "GET", f"/servers/{server_id}")).json()["server"]
        assert (shown["status"], shown["fault"]["message"]) == ("ERROR", "No valid host was found. ")
        assert "details" not in shown["fault"]
        migrate = await ask("admin", "compute", "POST", "/servers/{server:web1}/action", {"migrate": None})
        assert migrate.status == 400

    play(tmp_path, scene)
