"""Long lists: complete beyond every server's limit, and never endless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.http import Service
from pumphouse.clouds.nova_network import NovaNetworking
from pumphouse.errors import ApiError, CloudError
from tests.clouds.stub import Answer, Call, Stub

DETAIL = "/compute/v2.1/servers/detail"
GROUPS = "/compute/v2.1/os-security-groups"


def server(number: int, project: str = "p1") -> dict[str, object]:
    return {"id": f"s{number}", "name": f"web{number}", "tenant_id": project, "status": "ACTIVE", "flavor": {"id": "1"}}


def nova(count: int, cap: int) -> Callable[[Call], Answer]:
    """Nova with ``osapi_max_limit`` and, like the real one, ``next`` links that lose the details."""
    ids = [f"s{number}" for number in range(count)]

    def answer(call: Call) -> Answer:
        marker = call.query.get("marker")
        if marker is not None and marker not in ids:
            return Answer(400, {"badRequest": {"message": f"marker [{marker}] not found", "code": 400}})
        start = ids.index(marker) + 1 if marker is not None else 0
        page = [server(int(one[1:])) for one in ids[start : start + min(cap, int(call.query["limit"]))]]
        links = [{"rel": "next", "href": "http://127.0.0.1:9/servers?marker=x"}]
        return Answer(200, {"servers": page, "servers_links": links})

    return answer


def test_short_pages_are_followed_to_an_empty_one(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", DETAIL, nova(7, 3))
    assert [one.id for one in cloud.compute.list_servers()] == [f"s{number}" for number in range(7)]
    asked = stub.asked("GET", DETAIL)
    assert [call.query.get("marker") for call in asked] == [None, "s2", "s5", "s6"]
    assert all(call.query["all_tenants"] == "1" and call.query["limit"] == "200" for call in asked)


def test_a_project_is_asked_for_and_compared(cloud: OpenStackCloud, stub: Stub) -> None:
    """Nova drops filters that it does not know without a word."""
    stub.on("GET", DETAIL, Answer(200, {"servers": [server(1), server(2, "p2")]}), Answer(200, {"servers": []}))
    assert [one.id for one in cloud.compute.list_servers(project_id="p2")] == ["s2"]
    assert stub.asked("GET", DETAIL)[0].query["project_id"] == "p2"


def test_our_own_servers_need_no_administrator(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", DETAIL, Answer(200, {"servers": [server(1, cloud.project_id)]}), Answer(200, {"servers": []}))
    assert [one.id for one in cloud.compute.list_servers(project_id=cloud.project_id)] == ["s1"]
    assert "all_tenants" not in stub.asked("GET", DETAIL)[0].query


def test_a_marker_that_was_deleted_starts_the_list_again(cloud: OpenStackCloud, stub: Stub) -> None:
    lost = Answer(400, {"badRequest": {"message": "marker [s2] not found", "code": 400}})
    first = Answer(200, {"servers": [server(1), server(2)]})
    stub.on("GET", DETAIL, first, lost, Answer(200, {"servers": [server(1), server(3)]}), Answer(200, {"servers": []}))
    assert [one.id for one in cloud.compute.list_servers()] == ["s1", "s3"]


def test_a_marker_that_is_always_refused_is_an_error(cloud: OpenStackCloud, stub: Stub) -> None:
    lost = Answer(400, {"badRequest": {"message": "marker [s1] not found", "code": 400}})
    stub.on("GET", DETAIL, lambda call: lost if "marker" in call.query else Answer(200, {"servers": [server(1)]}))
    with pytest.raises(ApiError, match="marker"):
        cloud.compute.list_servers()
    assert len(stub.asked("GET", DETAIL)) == 10


def test_a_list_that_repeats_itself_is_an_error(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", DETAIL, Answer(200, {"servers": [server(1)]}))
    with pytest.raises(CloudError, match="never end"):
        cloud.compute.list_servers()


@pytest.mark.parametrize(
    ("count", "broken", "place"),
    [(7, 5, "after s4 ('web4')"), (7, 0, "the first one listed"), (450, 403, "after s402 ('web402')")],
)
def test_the_record_that_breaks_a_list_is_found(
    cloud: OpenStackCloud, stub: Stub, count: int, broken: int, place: str
) -> None:
    """One row with a NULL where Nova's code wants none, and the real Nova shows no page with it any more."""
    whole, failed = nova(count, 1000), Answer(500, {"computeFault": {"message": "ValueError", "code": 500}})

    def answer(call: Call) -> Answer:
        page = whole(call)
        return failed if any(one["id"] == f"s{broken}" for one in page.body["servers"]) else page

    stub.on("GET", DETAIL, answer)
    with pytest.raises(ApiError, match=r"could not list servers.*ValueError") as found:
        cloud.compute.list_servers()
    assert place in found.value.message
    assert "database" in str(found.value)
    assert len(stub.asked("GET", DETAIL)) < 20


def test_a_nova_that_fails_altogether_is_not_a_records_fault(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", DETAIL, Answer(500, {"computeFault": {"message": "no database", "code": 500}}))
    with pytest.raises(ApiError) as found:
        cloud.compute.list_servers()
    assert "record" not in found.value.message
    assert len(stub.asked("GET", DETAIL)) == 5


def test_glance_links_are_followed(cloud: OpenStackCloud, stub: Stub) -> None:
    def answer(call: Call) -> Answer:
        if "visibility" in call.query or "os_hidden" in call.query:
            return Answer(200, {"images": []})
        number = int(call.query.get("marker", "0"))
        image = {"id": str(number + 1), "status": "active", "visibility": "public", "owner": "p"}
        following = {"next": f"/v2/images?marker={number + 1}&limit=1"} if number < 2 else {}
        return Answer(200, {"images": [image], **following})

    stub.on("GET", "/image/v2/images", answer)
    assert [one.id for one in cloud.images.list_images()] == ["1", "2", "3"]


def test_hidden_and_community_images_are_asked_for(cloud: OpenStackCloud, stub: Stub) -> None:
    def answer(call: Call) -> Answer:
        kind = call.query.get("visibility") or ("hidden" if "os_hidden" in call.query else "plain")
        return Answer(200, {"images": [{"id": kind, "status": "active", "visibility": "public", "owner": "p"}]})

    stub.on("GET", "/image/v2/images", answer)
    assert {one.id for one in cloud.images.list_images()} == {"plain", "community", "hidden"}


@pytest.mark.parametrize("paged", [True, False], ids=["paged", "limit-ignored"])
def test_neutron_with_and_without_pagination(cloud: OpenStackCloud, stub: Stub, paged: bool) -> None:
    ids = [f"p{number}" for number in range(5)]

    def answer(call: Call) -> Answer:
        start = ids.index(call.query["marker"]) + 1 if "marker" in call.query else 0
        page = ids[start : start + 2] if paged else ids
        ports = [{"id": one, "network_id": "n", "mac_address": "fa:16:3e:00:00:01"} for one in page]
        more = (
            [{"rel": "next", "href": f"{stub.url}/elsewhere?marker={page[-1]}"}]
            if paged and page[-1:] != ["p4"]
            else []
        )
        return Answer(200, {"ports": ports, "ports_links": more})

    stub.on("GET", "/network/v2.0/ports", answer)
    assert [one.id for one in cloud.neutron.list_ports()] == ids
    assert len(stub.asked("GET", "/network/v2.0/ports")) == (3 if paged else 1)


def test_keystone_pages_are_followed_and_cuts_refused(cloud: OpenStackCloud, stub: Stub) -> None:
    more = {"next": f"{stub.url}/v3/projects?marker=a", "self": "x", "previous": None}
    last = {"next": None, "self": "x", "previous": None}
    stub.on(
        "GET", "/v3/projects",
        lambda call: Answer(200, {"projects": [{"id": "b", "name": "b"}], "links": last}) if "marker" in call.query
        else Answer(200, {"projects": [{"id": "a", "name": "a"}], "links": more}),
    )  # fmt: skip
    assert [one.id for one in cloud.identity.list_projects()] == ["a", "b"]
    stub.on(
        "GET", "/v3/projects", Answer(200, {"projects": [{"id": "a", "name": "a"}], "links": last, "truncated": True})
    )
    with pytest.raises(CloudError, match="list_limit"):
        cloud.identity.list_projects()


def nova_network(cloud: OpenStackCloud, stub: Stub) -> NovaNetworking:
    """nova-network's verbs, at the same stub."""
    compute = Service(cloud._wire, "compute", lambda: f"{stub.url}/compute/v2.1")
    return NovaNetworking(compute, cloud.compute, lambda: None)


def groups(*names: str) -> Answer:
    rows = [{"id": n, "name": n, "tenant_id": "p1", "description": "", "rules": []} for n in names]
    return Answer(200, {"security_groups": rows})


def test_a_group_made_between_two_pages_begins_the_listing_anew(cloud: OpenStackCloud, stub: Stub) -> None:
    """Its place in the order moves the next page, which begins with what the last one ended with."""
    old = nova_network(cloud, stub)
    moved = groups("b")
    stub.on("GET", GROUPS, groups("a", "b"), moved, groups("a", "aa", "b"), groups())
    assert [group.name for group in old.list_security_groups()] == ["a", "aa", "b"]


def test_groups_that_repeat_themselves_for_ever_are_an_error(cloud: OpenStackCloud, stub: Stub) -> None:
    old = nova_network(cloud, stub)
    stub.on("GET", GROUPS, groups("a", "b"))
    with pytest.raises(CloudError, match="brought nothing new"):
        old.list_security_groups()
    assert len(stub.asked("GET", GROUPS)) == 10
