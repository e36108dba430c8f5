"""What surprises a migrator: the old clouds' habits that decide what is carried, how, and what is said about it."""

from __future__ import annotations

import pytest

from pumphouse.checks.releases import SOURCES
from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.parse import path
from pumphouse.errors import ApiError, CloudAuthError, CloudError, QuotaExceeded
from pumphouse.model import Assignment, Server, ServerSpec
from tests.contract.conftest import PASSWORD, WAIT_S, Maker, Undo, name

MEMBER = "_member_"


@pytest.fixture
def own(source: OpenStackCloud, undo: Undo) -> Maker:
    """A maker on the source."""
    return Maker(source, undo)


@pytest.fixture
def server(source: OpenStackCloud, own: Maker, undo: Undo) -> Server:
    """An active server of ours."""
    server_id = source.compute.create_server(ServerSpec(name("server"), own.flavor().id, own.image().id, ()))
    undo(source.compute.wait_server_gone, server_id, timeout_s=WAIT_S)
    undo(source.compute.delete_server, server_id)
    return source.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)


def test_the_release_is_told_and_tried(source: OpenStackCloud, simulated: str) -> None:
    assert source.facts.release in SOURCES
    assert simulated in ("", source.facts.release)
    listed = source.facts.abilities["role assignments"]
    assert listed.startswith("one list") == (source.facts.release != "grizzly")
    assert source.facts.abilities["shelve"] == ("no" if source.facts.release == "grizzly" else "yes")
    assert source.facts.abilities["service ids"] == ("no" if source.facts.release in ("grizzly", "havana") else "yes")


def test_abilities_are_told_on_both_sides(cloud: OpenStackCloud) -> None:
    told = cloud.facts.abilities
    assert not [name for name, said in told.items() if said.startswith("not told")]
    assert told["rate limits"] == "none" or "/minute" in told["rate limits"]
    assert ("Neutron" in told) == (cloud.facts.network_service == "neutron")
    # asked once: another user of this process is told the same without asking
    assert cloud.facts.abilities == told


def test_a_default_project_brings_a_role_that_nobody_gave(source: OpenStackCloud, undo: Undo) -> None:
    """v2.0 adds ``_member_``, v3 nothing: both are seen as they are."""
    oldest = source.limited_to(keystone_v2=True)
    for cloud, surprises in ((oldest, True), (source, False)):
        project = Maker(cloud, undo).project()
        user = cloud.identity.create_user(name("user"), password=PASSWORD, default_project_id=project.id)
        undo(cloud.identity.delete_user, user.id)
        roles = {one.id: one.name for one in source.identity.list_roles()}
        for view in (source, oldest):
            held = [roles[one.role_id] for one in view.identity.list_assignments() if one.user_id == user.id]
            assert held == ([MEMBER] if surprises else [])
            read = view.identity.get_user(user.id)
            assert read.default_project_id == project.id


def test_assignments_are_the_same_over_v2_and_v3(source: OpenStackCloud, own: Maker) -> None:
    project = own.project()
    oldest = source.limited_to(keystone_v2=True)
    assert {one for one in source.identity.list_assignments() if one.project_id == project.id} == {
        one for one in oldest.identity.list_assignments() if one.project_id == project.id
    }


def test_a_disabled_user_stays_out(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    project, role = make.project(), cloud.identity.find_role("admin")
    assert role is not None
    user = cloud.identity.create_user(name("user"), password=PASSWORD, enabled=False)
    undo(cloud.identity.delete_user, user.id)
    cloud.identity.grant_role(Assignment(user.id, project.id, role.id))
    assert not cloud.identity.get_user(user.id).enabled
    theirs = cloud.as_user(user_id=user.id, password=PASSWORD, project_id=project.id)
    undo(theirs.close)
    with pytest.raises(CloudAuthError, match="does not tell which"):
        theirs.compute.list_keypairs()


def test_a_stopped_server_is_not_stopped_again(source: OpenStackCloud, own: Maker, server: Server) -> None:
    """400 or 409 by release, and no error of ours."""
    source.compute.stop_server(server.id)
    source.compute.wait_server(server.id, "SHUTOFF", timeout_s=WAIT_S)
    with pytest.raises(ApiError) as refused:
        own.compute().post(path("servers", server.id, "action"), {"os-stop": None}, "stop it again")
    assert refused.value.status == (400 if source.facts.release in ("grizzly", "havana") else 409)
    source.compute.stop_server(server.id)
    assert source.compute.get_server(server.id).addresses == server.addresses  # a stop keeps the fixed IP
    for address in server.addresses:
        assert source.nova_network.fixed_ip_state(address.address) == "used"


def test_an_address_can_be_chosen_once(source: OpenStackCloud, own: Maker, server: Server, undo: Undo) -> None:
    network = next(one for one in source.nova_network.list_networks() if one.name == server.addresses[0].network)
    body = {"name": name("taken"), "flavorRef": server.flavor_id, "imageRef": server.image_id,
            "networks": [{"uuid": network.id, "fixed_ip": server.addresses[0].address}]}  # fmt: skip

    def boot() -> None:
        made = own.compute().post("/servers", {"server": body}, "boot with a taken address").doc().doc("server")
        # later releases find out in the scheduler
        undo(source.compute.wait_server_gone, made.text("id"), timeout_s=WAIT_S)
        undo(source.compute.delete_server, made.text("id"))
        source.compute.wait_server(made.text("id"), "ACTIVE", timeout_s=WAIT_S)

    with pytest.raises(CloudError, match=r"boot with a taken address|went to ERROR"):
        boot()
    assert source.compute.get_server(server.id).addresses == server.addresses


@pytest.fixture
def stranger(source: OpenStackCloud, own: Maker, undo: Undo) -> Server:
    """An active server of another project than ours."""
    there = source.in_project(own.project().id)
    undo(there.close)
    theirs = Maker(there, undo)
    server_id = there.compute.create_server(ServerSpec(name("server"), own.flavor().id, theirs.image().id, ()))
    undo(source.compute.wait_server_gone, server_id, timeout_s=WAIT_S)
    undo(source.compute.delete_server, server_id)
    return source.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)


def test_a_snapshot_belongs_to_whoever_took_it(
    source: OpenStackCloud, own: Maker, stranger: Server, undo: Undo
) -> None:
    label = name("snapshot")
    body = {"createImage": {"name": label, "metadata": {}}}
    reply = own.compute().call(
        "POST", path("servers", stranger.id, "action"), "take a snapshot", repeatable=False, json=body
    )
    image_id = reply.headers["location"].rpartition("/")[2]
    undo(source.images.delete_image, image_id)
    source.compute.wait_server(stranger.id, "ACTIVE", timeout_s=WAIT_S)  # its task is over
    for view in (source, source.limited_to(glance_v1=True)):
        found = view.images.get_image(image_id)
        assert (found.name, found.owner_id) == (label, source.project_id)
        assert found.properties.get("owner_id", stranger.project_id) == stranger.project_id


def test_a_plain_user_sees_less_of_a_server(source: OpenStackCloud, stranger: Server, undo: Undo) -> None:
    role = source.identity.find_role("member") or source.identity.find_role(MEMBER)
    assert role is not None
    user = source.identity.create_user(name("user"), password=PASSWORD)
    undo(source.identity.delete_user, user.id)
    source.identity.grant_role(Assignment(user.id, stranger.project_id, role.id))
    theirs = source.as_user(user_id=user.id, password=PASSWORD, project_id=stranger.project_id)
    undo(theirs.close)
    assert source.compute.get_server(stranger.id).host
    assert theirs.compute.get_server(stranger.id).host is None
    assert [one.id for one in theirs.compute.list_servers(project_id=stranger.project_id)] == [stranger.id]
    assert theirs.facts.release == source.facts.release
    with pytest.raises(ApiError) as refused:
        theirs.compute.list_hypervisors()
    assert refused.value.status == 403
    assert refused.value.request_id


def test_a_quota_is_named_and_never_waited_for(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    """413 in old clouds, as for a rate limit; 403 in current ones."""
    project = make.project()
    cloud.compute.set_quota(project.id, {"instances": 0})
    there = cloud.in_project(project.id)
    undo(there.close)
    flavor, image = make.flavor(), Maker(there, undo).image()
    body = {"name": name("server"), "flavorRef": flavor.id, "imageRef": image.id}
    if cloud.facts.network_service == "neutron":
        body["networks"] = []
    api = Maker(there, undo).compute()
    with pytest.raises(QuotaExceeded, match="instances") as refused:
        api.post("/servers", {"server": body}, "boot beyond the quota")
    assert refused.value.status in (403, 413)
    assert "quota of instances" in str(refused.value.remedy)
    assert refused.value.request_id


def test_every_error_carries_a_request_id(cloud: OpenStackCloud) -> None:
    with pytest.raises(ApiError) as refused:
        cloud.compute.get_server("0" * 8)
    assert refused.value.request_id
    assert f"[request {refused.value.request_id}]" in str(refused.value)
