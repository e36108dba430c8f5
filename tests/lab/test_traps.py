"""What silently goes wrong between openstacksdk and a 2014 cloud goes wrong in the lab, too."""

from __future__ import annotations

from typing import Any

import openstack
import pytest
import requests

from tests.lab.conftest import Connection, Wait
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


@pytest.mark.filterwarnings("ignore::openstack.warnings.LegacyAPIWarning")
def test_sdk_paging_loses_the_records_of_later_pages(small_pages: LabSite) -> None:
    connection = small_pages.connect("old")
    servers = list(connection.compute.servers(all_projects=True))
    assert len(servers) == 14
    assert [s.status is None for s in servers] == [False] * 3 + [True] * 11
    with pytest.raises(AttributeError):
        connection.list_servers(all_projects=True)
    connection.close()


def test_marker_loop_until_an_empty_page_gets_all_records(small_pages: LabSite) -> None:
    connection = small_pages.connect("old")
    found: list[dict[str, Any]] = []
    while True:
        query = "all_tenants=1&limit=1000" + (f"&marker={found[-1]['id']}" if found else "")
        page = connection.compute.get(f"/servers/detail?{query}").json()["servers"]
        if not page:
            break
        assert len(page) <= 3
        found += page
    assert len({s["id"] for s in found}) == 14
    assert all("status" in s for s in found)
    connection.close()


def test_flavors_beyond_a_page_come_back_empty(small_pages: LabSite) -> None:
    connection = small_pages.connect("old")
    flavors = list(connection.compute.flavors())
    assert len(flavors) == 7
    assert [f.ram for f in flavors[3:]] == [0, 0, 0, 0]
    connection.close()


def test_v2password_lists_only_own_tenants_on_the_public_port(lab: LabSite) -> None:
    connection = lab.connect("old", auth_type="v2password")
    assert [t.name for t in connection.identity.tenants()] == ["admin"]
    with pytest.raises(openstack.exceptions.NotFoundException):
        list(connection.identity.users())
    connection.close()


def test_v3_lists_all_projects_even_with_a_v2_token(old: Connection) -> None:
    assert {p.name for p in old.identity.projects()} >= {"admin", "service", "acme", "globex", "initech"}


def test_a_snapshots_owner_is_misread(old: Connection, server: Any, until: Wait) -> None:
    image = old.compute.create_server_image(server.id, "snap")
    raw = until(lambda: (i := old.image.get(f"/images/{image.id}").json())["status"] == "active" and i)
    assert raw["owner"] == old.current_project_id
    assert raw["owner_id"] == server.project_id
    assert old.image.get_image(image.id).owner == server.project_id
    assert len(old.image.download_image(image.id).content) == raw["size"]
    old.image.delete_image(image.id)


def test_downloading_a_queued_image_gives_nothing_and_no_error(acme: Connection) -> None:
    image = acme.image.find_image("acme-unfinished")
    answer = acme.image.download_image(image.id, stream=True)
    assert answer.status_code == 204
    assert answer.content == b""


def test_updating_a_found_image_removes_its_other_properties(acme: Connection) -> None:
    made = acme.image.post(
        "/images", json={"name": "props", "disk_format": "raw", "container_format": "bare", "x": "1"}
    )
    identifier = made.json()["id"]
    image = acme.image.find_image("props")
    acme.image.update_image(image, y="2")
    assert "x" not in acme.image.get(f"/images/{identifier}").json()
    acme.image.delete_image(identifier)


def test_updating_by_id_is_a_conflict(acme: Connection) -> None:
    image = acme.image.find_image("acme-unfinished")
    with pytest.raises(openstack.exceptions.ConflictException, match="409"):
        acme.image.update_image(image.id, name="other")


def test_raw_calls_do_not_raise(old: Connection) -> None:
    assert old.compute.get("/os-fixed-ips/10.99.0.1").status_code == 404


def test_unknown_filters_are_dropped(old: Connection, acme: Connection) -> None:
    everybody = {s.id for s in old.compute.servers(all_projects=True)}
    assert {s.id for s in old.compute.servers(all_projects=True, bogus="1")} == everybody
    assert list(old.compute.servers(all_projects=True, host="compute1")) == []
    on_host = list(old.compute.servers(all_projects=True, compute_host="compute1"))
    assert on_host
    assert len(on_host) < len(everybody)
    assert [k.name for k in old.compute.keypairs(user_id=acme.current_user_id)] == ["admin-key"]
    assert list(old.image.images(sort="name:asc")) == []
    assert {s.project_id for s in acme.compute.servers(all_projects=True)} == {acme.current_project_id}


def test_a_servers_flavor_is_an_empty_shell(old: Connection) -> None:
    one = next(s for s in old.compute.servers(all_projects=True) if s.name == "web1")
    assert one.flavor.ram == 0
    assert one.flavor.id == "1"


def test_default_tenant_is_only_in_the_raw_record(lab: LabSite, old: Connection) -> None:
    raw = old.session.get("/users", endpoint_filter={"service_type": "identity", "interface": "admin"}).json()
    assert next(u for u in raw["users"] if u["name"] == "acme-user")["tenantId"]


def test_created_image_is_returned_stale(acme: Connection) -> None:
    image = acme.create_image("fresh", data=b"x" * 1000, disk_format="raw", container_format="bare", wait=False)
    assert acme.image.get_image(image.id).status == "active"
    assert "owner_specified.openstack.md5" in acme.image.get(f"/images/{image.id}").json()
    acme.image.delete_image(image.id)


def test_a_revoked_token_goes_on_working_where_it_was_seen(lab: LabSite) -> None:
    connection, other = lab.connect("old"), lab.connect("old")
    headers = {"X-Auth-Token": connection.auth_token}
    servers = f"{connection.compute.get_endpoint()}/servers"
    admin = connection.session.get_endpoint(service_type="identity", interface="admin")
    assert requests.get(servers, headers=headers, timeout=5).status_code == 200
    assert other.session.delete(f"{admin}/tokens/{connection.auth_token}").status_code == 204
    assert requests.get(servers, headers=headers, timeout=5).status_code == 200
    assert requests.get(f"{admin}/tenants", headers=headers, timeout=5).status_code == 401
    connection.close()
    other.close()
