"""Servers, flavors and names: waiting, halves that are removed again, what is never guessed."""

from __future__ import annotations

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ActionTimeout, ApiError, CloudError, Conflict
from pumphouse.model import Flavor, ServerSpec
from tests.clouds.conftest import Naps
from tests.clouds.stub import Answer, Call, Stub

NOVA = "/compute/v2.1"
SERVER = {"id": "s1", "name": "web", "tenant_id": "p1", "status": "ACTIVE", "flavor": {"id": "1"}}
GONE = Answer(404, {"itemNotFound": {"message": "Instance could not be found", "code": 404}})
FLAVOR = Flavor("f1", "m1", 1, 64, 1, extra_specs={"a": "b"})


def shows(**changes: object) -> Answer:
    return Answer(200, {"server": SERVER | changes})


def test_a_failed_server_is_told_at_once_with_its_fault(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    failed = shows(status="ERROR", fault={"message": "No valid host was found.", "code": 500})
    stub.on("GET", f"{NOVA}/servers/s1", shows(status="BUILD"), failed)
    with pytest.raises(CloudError, match="went to ERROR instead of ACTIVE: No valid host was found") as error:
        cloud.compute.wait_server("s1", "ACTIVE", timeout_s=60)
    assert not isinstance(error.value, ActionTimeout)
    assert len(naps) == 1
    assert cloud.compute.wait_server("s1", "ERROR", timeout_s=60).fault == "No valid host was found."


def test_waiting_is_bounded_and_tells_the_last_state(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", f"{NOVA}/servers/s1", shows(**{"OS-EXT-STS:task_state": "powering-off"}))
    with pytest.raises(ActionTimeout, match=r"s1 was not SHUTOFF within 0 s \(last status/task: ACTIVE/powering-off\)"):
        cloud.compute.wait_server("s1", "SHUTOFF", timeout_s=0)
    with pytest.raises(ActionTimeout, match="s1 was not gone"):
        cloud.compute.wait_server_gone("s1", timeout_s=0)


def test_a_server_that_vanishes_while_waited_for_is_gone(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", f"{NOVA}/servers/s1", shows(**{"OS-EXT-STS:task_state": "deleting"}), GONE)
    cloud.compute.wait_server_gone("s1", timeout_s=60)
    stub.on("GET", f"{NOVA}/servers/s1", shows(status="BUILD"), GONE)
    with pytest.raises(ApiError, match="s1"):
        cloud.compute.wait_server("s1", "ACTIVE", timeout_s=60)


def test_a_record_that_lingers_after_a_delete_is_gone(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", f"{NOVA}/servers/s1", shows(status="DELETED"))
    cloud.compute.wait_server_gone("s1", timeout_s=0)
    assert cloud.compute.find_server("s1") is None


def test_waiting_survives_a_passing_failure(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", f"{NOVA}/servers/s1", Answer(503), Answer(act="reset"), shows())
    assert cloud.compute.wait_server("s1", "ACTIVE", timeout_s=60).id == "s1"


def test_a_server_is_asked_for_with_what_the_spec_says(cloud: OpenStackCloud, stub: Stub) -> None:
    def take(call: Call) -> Answer:
        return Answer(202, {"server": {"id": "s1", "adminPass": "Root-Passw0rd"}})

    stub.on("POST", f"{NOVA}/servers", take)
    cloud.compute.create_server(ServerSpec("web", "f", "i", ("p1", "p2"), metadata={"k": "v"}))
    cloud.compute.create_server(ServerSpec("web", "f", "i", (), "key", {}, "nova:node-1", True))
    plain, full = (call.json()["server"] for call in stub.asked("POST", f"{NOVA}/servers"))
    assert plain == {
        "name": "web", "flavorRef": "f", "imageRef": "i", "metadata": {"k": "v"},
        "networks": [{"port": "p1"}, {"port": "p2"}],
    }  # fmt: skip
    assert full == {
        "name": "web", "flavorRef": "f", "imageRef": "i", "metadata": {}, "key_name": "key",
        "availability_zone": "nova:node-1", "config_drive": True,
    }  # fmt: skip
    versions = [key for call in stub.asked("POST", f"{NOVA}/servers") for key in call.headers if "version" in key]
    assert versions == []


def test_a_flavor_whose_specs_are_refused_is_removed_again(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("POST", f"{NOVA}/flavors", Answer(200, {"flavor": {}}))
    stub.on("POST", f"{NOVA}/flavors/f1/os-extra_specs", Answer(400, {"badRequest": {"message": "bad spec"}}))
    stub.on("DELETE", f"{NOVA}/flavors/f1", Answer(202))
    with pytest.raises(ApiError, match="bad spec"):
        cloud.compute.create_flavor(FLAVOR)
    assert len(stub.asked("DELETE", f"{NOVA}/flavors/f1")) == 1


def test_a_flavor_that_was_there_before_is_never_removed(cloud: OpenStackCloud, stub: Stub) -> None:
    taken = {"conflictingRequest": {"message": "Flavor with ID f1 already exists.", "code": 409}}
    stub.on("POST", f"{NOVA}/flavors", Answer(409, taken))
    with pytest.raises(Conflict, match="m1"):
        cloud.compute.create_flavor(FLAVOR)
    assert [call.method for call in stub.calls] == ["POST"]


def test_a_name_that_several_have_is_never_guessed(cloud: OpenStackCloud, stub: Stub) -> None:
    two = [{"id": one, "name": "acme", "domain_id": "default"} for one in "ab"]
    other = {"id": "c", "name": "acme", "domain_id": "other"}
    stub.on("GET", "/v3/projects", Answer(200, {"projects": [two[0], other], "links": {}}))
    found = cloud.identity.find_project("acme")
    assert found is not None
    assert found.id == "a"
    stub.on("GET", "/v3/projects", Answer(200, {"projects": two, "links": {}}))
    with pytest.raises(CloudError, match="2 projects named 'acme': a, b"):
        cloud.identity.find_project("acme")
    routers = [{"id": one, "name": "edge"} for one in "ab"]
    stub.on("GET", "/network/v2.0/routers", Answer(200, {"routers": routers}))
    with pytest.raises(CloudError, match="2 routers named 'edge': a, b"):
        cloud.neutron.find_router_by_name("edge")


def test_a_case_insensitive_role_prefers_the_exact_name(cloud: OpenStackCloud, stub: Stub) -> None:
    roles = [{"id": "1", "name": "Member"}, {"id": "2", "name": "member"}]
    stub.on("GET", "/v3/roles", Answer(200, {"roles": roles, "links": {}}))
    for name, role_id in (("member", "2"), ("Member", "1"), ("MEMBER", "1")):
        found = cloud.identity.find_role(name)
        assert found is not None
        assert found.id == role_id
