"""What Grizzly, Havana and Icehouse do differently, as recorded from the real ones."""

from __future__ import annotations

from typing import Any

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.discovery import version_list
from pumphouse.clouds.parse import Doc
from pumphouse.errors import ApiError
from pumphouse.model import Assignment
from tests.clouds.conftest import NOVA, Naps
from tests.clouds.stub import Answer, Call, Stub

SERVER = {"id": "s1", "name": "web", "tenant_id": "p1", "status": "ACTIVE", "flavor": {"id": "1"},
          "addresses": {"net": [{"addr": "10.0.0.2", "version": 4, "OS-EXT-IPS:type": "fixed"}]}}  # fmt: skip


def test_grizzly_is_recognised(grizzly: OpenStackCloud) -> None:
    facts = grizzly.facts
    assert (facts.release, facts.network_service, facts.compute_api, facts.image_api) == (
        "grizzly", "nova-network", "v2", "v2.1",
    )  # fmt: skip
    assert any("os-services, " in one and "Grizzly" in one for one in facts.evidence)


def test_version_documents_have_three_shapes() -> None:
    one = {"id": "v2.1", "status": "current", "version": "2.42", "updated": "2017-01-01T00:00:00Z"}
    for raw in ({"versions": [one]}, {"versions": {"values": [one]}}, {"version": one}):
        [found] = version_list(Doc(raw, ""))
        assert (found.number, found.maximum, found.status) == ((2, 1), (2, 42), "CURRENT")
    assert version_list(Doc({}, "")) == []
    assert version_list(Doc({"versions": [{"id": "latest"}]}, "")) == []


def test_the_mac_comes_from_the_interfaces(grizzly: OpenStackCloud, stub: Stub) -> None:
    place = f"{NOVA}/servers/s1/os-virtual-interfaces"
    stub.on("GET", f"{NOVA}/servers/s1", Answer(200, {"server": SERVER}))
    stub.on("GET", place, Answer(200, {"virtual_interfaces": [{"id": "v", "mac_address": "fa:16:3e:00:00:01"}]}))
    assert [one.mac for one in grizzly.compute.get_server("s1").addresses] == ["fa:16:3e:00:00:01"]
    two = [{"id": "v", "mac_address": "fa:16:3e:00:00:01"}, {"id": "w", "mac_address": "fa:16:3e:00:00:02"}]
    stub.on("GET", place, Answer(200, {"virtual_interfaces": two}))
    assert [one.mac for one in grizzly.compute.get_server("s1").addresses] == [None]
    stub.on("GET", place, Answer(404, "<html><body>no such extension</body></html>"))
    assert [one.mac for one in grizzly.compute.get_server("s1").addresses] == [None]


def test_roles_are_asked_for_member_by_member(grizzly: OpenStackCloud, stub: Stub) -> None:
    none = Answer(404, {"error": {"message": "The resource could not be found.", "code": 404}})
    stub.on("GET", "/v3/role_assignments", none)
    stub.on("GET", "/v3/users", Answer(200, {"users": [{"id": one, "name": one} for one in "ab"], "links": {}}))
    stub.on("GET", "/v3/projects", Answer(200, {"projects": [{"id": one, "name": one} for one in "xy"], "links": {}}))
    for project in "xy":
        for user in "ab":
            roles = [{"id": "r", "name": "r"}] if project + user == "xb" else []
            stub.on("GET", f"/v3/projects/{project}/users/{user}/roles", Answer(200, {"roles": roles, "links": {}}))
    assert grizzly.identity.list_assignments() == [Assignment("b", "x", "r")]
    # with v2.0's admin side, only a project's members are asked for their roles
    for project, users in (("x", "b"), ("y", "")):
        stub.on("GET", f"/v2.0/tenants/{project}/users", Answer(200, {"users": [{"id": one} for one in users]}))
    stub.calls.clear()
    assert grizzly.identity.list_assignments() == [Assignment("b", "x", "r")]
    assert [call.path for call in stub.calls if call.path.endswith("/roles")] == ["/v3/projects/x/users/b/roles"]


def test_an_images_owner_comes_from_v1(grizzly: OpenStackCloud, stub: Stub) -> None:
    record = {"id": "i1", "name": "x", "status": "active", "visibility": "public", "size": 3, "checksum": "c"}
    stub.on("GET", "/image/v2/images/i1", Answer(200, record))
    stub.on("HEAD", "/image/v1/images/i1", Answer(200, b"", {"x-image-meta-owner": "p7"}))
    assert grizzly.images.get_image("i1").owner_id == "p7"


@pytest.mark.parametrize("status", [400, 409])
def test_a_server_that_stops_meanwhile_is_fine(grizzly: OpenStackCloud, stub: Stub, status: int) -> None:
    words = {"message": "Instance s1 in vm_state stopped. Cannot stop while the instance is in this state."}
    stopped = SERVER | {"status": "SHUTOFF", "addresses": {}}
    stub.on("GET", f"{NOVA}/servers/s1", Answer(200, {"server": SERVER | {"addresses": {}}}),
            Answer(200, {"server": stopped}))  # fmt: skip
    stub.on("POST", f"{NOVA}/servers/s1/action", Answer(status, {"badRequest": words}))
    grizzly.compute.stop_server("s1")
    assert len(stub.asked("POST", f"{NOVA}/servers/s1/action")) == 1
    grizzly.compute.stop_server("s1")
    assert len(stub.asked("POST", f"{NOVA}/servers/s1/action")) == 1
    stub.on("GET", f"{NOVA}/servers/s1", Answer(200, {"server": SERVER | {"addresses": {}}}))
    with pytest.raises(ApiError, match="stop server s1"):
        grizzly.compute.stop_server("s1")


@pytest.mark.parametrize(
    ("states", "polls"),
    [
        ([("BUILD", "scheduling"), ("BUILD", None), ("BUILD", "spawning"), ("ACTIVE", None)], 4),
        ([("ACTIVE", "spawning"), ("ACTIVE", None)], 2),
    ],
)
def test_waiting_wants_status_and_task(
    grizzly: OpenStackCloud, stub: Stub, naps: Naps, states: list[tuple[str, str | None]], polls: int
) -> None:
    answers = [
        Answer(200, {"server": SERVER | {"status": status, "OS-EXT-STS:task_state": task, "addresses": {}}})
        for status, task in states
    ]
    stub.on("GET", f"{NOVA}/servers/s1", *answers)
    assert grizzly.compute.wait_server("s1", "ACTIVE", timeout_s=60).status == "ACTIVE"
    assert len(stub.asked("GET", f"{NOVA}/servers/s1")) == polls
    assert len(naps) == polls - 1


def test_a_floating_ip_is_joined_with_its_server(grizzly: OpenStackCloud, stub: Stub) -> None:
    def detail(call: Call) -> Answer:
        mac = {"OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}
        entries: list[dict[str, Any]] = [
            {"addr": "10.0.0.2", "version": 4, "OS-EXT-IPS:type": "fixed", **mac},
            {"addr": "172.24.4.1", "version": 4, "OS-EXT-IPS:type": "floating", **mac},
        ]
        return Answer(200, {"servers": [] if "marker" in call.query else [SERVER | {"addresses": {"net": entries}}]})

    stub.on("GET", f"{NOVA}/servers/detail", detail)
    bulk = [
        {"address": "172.24.4.1", "pool": "nova", "project_id": "p1", "instance_uuid": None},
        {"address": "172.24.4.2", "pool": "nova", "project_id": "p1", "instance_uuid": None},
        {"address": "172.24.4.3", "pool": "nova", "project_id": None, "instance_uuid": None},
    ]
    stub.on("GET", f"{NOVA}/os-floating-ips-bulk", Answer(200, {"floating_ip_info": bulk}))
    first, second = grizzly.nova_network.list_floating_ips()
    assert (first.address, first.server_id, first.fixed_address) == ("172.24.4.1", "s1", "10.0.0.2")
    assert (second.address, second.server_id, second.fixed_address) == ("172.24.4.2", None, None)


def test_no_microversion_is_asked_of_old_nova(grizzly: OpenStackCloud, stub: Stub) -> None:
    record = {"fixed_ip": {"address": "10.0.0.9", "cidr": "10.0.0.0/24", "host": None, "hostname": None}}
    stub.on("GET", f"{NOVA}/os-fixed-ips/10.0.0.9", Answer(200, record))
    assert grizzly.nova_network.fixed_ip_state("10.0.0.9") == "free"
    [call] = stub.asked("GET", f"{NOVA}/os-fixed-ips/10.0.0.9")
    assert not [key for key in call.headers if "version" in key]
