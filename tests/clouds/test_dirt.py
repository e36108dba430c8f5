"""What ten years leave behind in a cloud's databases: one row of it never hides the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.errors import CloudError, NotFound
from pumphouse.model import Assignment
from tests.clouds.conftest import NOVA, entry, write_clouds
from tests.clouds.stub import PROJECT_ID, USER_ID, Answer, Call, Stub


def server(**fields: Any) -> dict[str, Any]:
    return {"id": "s1", "name": "web", "tenant_id": "p1", "status": "ACTIVE", "flavor": {"id": "1"}} | fields


def service(**fields: Any) -> dict[str, Any]:
    return {"binary": "nova-compute", "host": "node-1", "zone": "nova", "status": "enabled", "state": "up"} | fields


# --- Nova ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", [{}, None, {"id": None}])
def test_a_server_whose_flavor_nova_has_lost_is_listed_with_the_others(
    grizzly: OpenStackCloud, stub: Stub, flavor: dict[str, Any] | None
) -> None:
    """Nova's own words for it: "Instance has had its instance_type removed from the DB"."""
    page = [server(), server(id="s2", flavor=flavor)]
    stub.on("GET", f"{NOVA}/servers/detail", Answer(200, {"servers": page}), Answer(200, {"servers": []}))
    assert [(one.id, one.flavor_id) for one in grizzly.compute.list_servers()] == [("s1", "1"), ("s2", "")]


@pytest.mark.parametrize("order", [1, -1])
def test_a_service_that_is_recorded_twice_is_the_one_that_lives(
    grizzly: OpenStackCloud, stub: Stub, order: int
) -> None:
    rows = [service(state="down", status="disabled"), service(), service(host="node-2", state="down")]
    stub.on("GET", f"{NOVA}/os-services", Answer(200, {"services": rows[::order]}))
    found = {(one.host, one.state, one.status) for one in grizzly.compute.list_services()}
    assert found == {("node-1", "up", "enabled"), ("node-2", "down", "enabled")}
    assert len(grizzly.compute.list_services()) == 2
    one = grizzly.hosts.find_service("node-1")
    assert one is not None
    assert (one.state, one.status) == ("up", "enabled")


def test_services_that_have_ids_are_told_apart(grizzly: OpenStackCloud, stub: Stub) -> None:
    rows = [service(id=1, state="down"), service(id=2)]
    stub.on("GET", f"{NOVA}/os-services", Answer(200, {"services": rows}))
    assert [one.id for one in grizzly.compute.list_services()] == ["1", "2"]


def test_a_hypervisor_without_a_name_has_its_hosts(grizzly: OpenStackCloud, stub: Stub) -> None:
    rows = [{"id": 1, "hypervisor_hostname": None, "service": {"host": "node-1"}}, {"id": 2}]
    stub.on("GET", f"{NOVA}/os-hypervisors/detail", Answer(200, {"hypervisors": rows}))
    found = [(one.hostname, one.host) for one in grizzly.compute.list_hypervisors()]
    assert found == [("node-1", "node-1"), ("", None)]


def test_a_network_without_a_label_is_a_network(grizzly: OpenStackCloud, stub: Stub) -> None:
    row = {"id": "n1", "label": None, "cidr": "10.0.0.0/24", "dhcp_start": "10.0.0.2"}
    stub.on("GET", f"{NOVA}/os-networks", Answer(200, {"networks": [row]}))
    assert [(one.name, one.cidr) for one in grizzly.nova_network.list_networks()] == [("", "10.0.0.0/24")]


# --- Glance -------------------------------------------------------------------------------------------


def test_an_image_that_is_deleted_while_owners_are_asked_for_is_left_out(grizzly: OpenStackCloud, stub: Stub) -> None:
    rows = [{"id": one, "name": one, "status": "active", "visibility": "public"} for one in ("i1", "i2")]
    stub.on("GET", "/image/v2/images", Answer(200, {"images": rows}))
    stub.on("HEAD", "/image/v1/images/i1", Answer(200, b"", {"x-image-meta-owner": "p1"}))
    stub.on("HEAD", "/image/v1/images/i2", Answer(404, "<html><h1>404 Not Found</h1></html>"))
    assert [(one.id, one.owner_id) for one in grizzly.images.list_images()] == [("i1", "p1")]
    stub.on("GET", "/image/v2/images/i2", Answer(200, rows[1]))
    with pytest.raises(NotFound, match="image i2"):
        grizzly.images.get_image("i2")


# --- Keystone -----------------------------------------------------------------------------------------

STALE = Answer(404, {"error": {"message": "Could not find role: 4f0c", "code": 404, "title": "Not Found"}})
ROLES = "/v3/projects/p/users/u/roles"


def grizzly_roles(stub: Stub, answer: Answer) -> None:
    """User u in project p, whose roles are asked for with that answer; he has r1 and not r2."""
    stub.on("GET", "/v3/role_assignments", Answer(404, {"error": {"message": "The resource could not be found."}}))
    stub.on("GET", "/v3/users", Answer(200, {"users": [{"id": "u", "name": "u"}], "links": {}}))
    stub.on("GET", "/v3/projects", Answer(200, {"projects": [{"id": "p", "name": "p"}], "links": {}}))
    stub.on("GET", "/v3/roles", Answer(200, {"roles": [{"id": one, "name": one} for one in ("r1", "r2")], "links": {}}))
    stub.on("GET", ROLES, answer)
    stub.on("HEAD", f"{ROLES}/r1", Answer(204))
    stub.on("HEAD", f"{ROLES}/r2", Answer(404))


def test_a_deleted_role_that_a_user_still_holds_does_not_hide_the_others(grizzly: OpenStackCloud, stub: Stub) -> None:
    grizzly_roles(stub, STALE)
    assert grizzly.identity.list_assignments() == [Assignment("u", "p", "r1")]
    assert grizzly.identity.has_role(Assignment("u", "p", "r1"))


def test_a_user_who_is_deleted_meanwhile_has_no_roles(grizzly: OpenStackCloud, stub: Stub) -> None:
    grizzly_roles(stub, Answer(404, {"error": {"message": "Could not find user: u", "code": 404}}))
    assert grizzly.identity.list_assignments() == []


def test_v2_cannot_look_behind_a_deleted_role_and_says_so(grizzly: OpenStackCloud, stub: Stub) -> None:
    v2 = grizzly.limited_to(keystone_v2=True).identity
    stub.on("GET", "/v2.0/tenants", Answer(200, {"tenants": [{"id": "p", "name": "p"}]}))
    stub.on("GET", "/v2.0/tenants/p/users", Answer(200, {"users": [{"id": "u", "name": "u"}]}))
    stub.on("GET", "/v2.0/tenants/p/users/u/roles", STALE)
    with pytest.raises(NotFound, match=r"user u in project p.*4f0c.*Remedy: take that role"):
        v2.list_assignments()


# --- a catalog with several regions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "named", "place"),
    [
        ({"R1": "/image"}, None, "/image"),
        ({"R1": "/image", "R2": "/image"}, None, "/image"),
        ({"R1": "/elsewhere", "R2": "/image"}, "R2", "/image"),
        ({"R1": "/image", "R2": "/elsewhere"}, None, None),
    ],
)
def test_a_region_is_never_guessed(
    stub: Stub, tmp_path: Path, regions: dict[str, str], named: str | None, place: str | None
) -> None:
    stub.regions = {
        "image": regions,
        **{one: dict.fromkeys(regions, path) for one, path in stub.services.items() if one != "image"},
    }
    given = {key: value for key, value in entry(stub.url).items() if key != "region_name"}
    clouds_yaml = write_clouds(tmp_path, given | ({"region_name": named} if named else {}))
    if place is None:
        with pytest.raises(CloudError, match=r"image in several regions: R1, R2.*region_name"):
            connect("stub", side="destination", clouds_yaml=clouds_yaml, timeout_s=2)
        return
    made = connect("stub", side="destination", clouds_yaml=clouds_yaml, timeout_s=2)
    assert made.wire.catalog_url("image") == stub.url + place
    made.close()


# --- a destination with other domains -----------------------------------------------------------------


def people(what: str) -> Callable[[Call], Answer]:
    """Keystone with domains: an LDAP's alice beside ours, and ourselves in a domain of administrators."""
    rows = [
        {"id": "1", "name": "alice", "domain_id": "default"},
        {"id": "2", "name": "alice", "domain_id": "ldap"},
        {"id": USER_ID, "name": "admin", "domain_id": "operators"},
        {"id": PROJECT_ID, "name": "admin", "domain_id": "default"},
    ]

    def answer(call: Call) -> Answer:
        wanted = call.query.get("domain_id")
        return Answer(200, {what: [row for row in rows if wanted in (None, row["domain_id"])], "links": {}})

    return answer


def test_names_of_other_domains_are_not_taken_for_ours(cloud: OpenStackCloud, stub: Stub) -> None:
    for what in ("users", "projects"):
        stub.on("GET", f"/v3/{what}", people(what))
    stub.on("GET", f"/v3/users/{USER_ID}", Answer(200, {"user": {"id": USER_ID, "name": "admin"}}))
    assert [one.id for one in cloud.identity.list_projects()] == ["1", PROJECT_ID]
    assert [one.id for one in cloud.identity.list_users()] == ["1", PROJECT_ID, USER_ID]
    stub.on("GET", f"/v3/users/{USER_ID}", Answer(404, {"error": {"message": "Could not find user"}}))
    assert [one.id for one in cloud.identity.list_users()] == ["1", PROJECT_ID]


def test_a_source_is_listed_with_all_its_domains(grizzly: OpenStackCloud, stub: Stub) -> None:
    for what in ("users", "projects"):
        stub.on("GET", f"/v3/{what}", people(what))
    assert len(grizzly.identity.list_projects()) == len(grizzly.identity.list_users()) == 4
