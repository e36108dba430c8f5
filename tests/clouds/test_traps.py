"""The eleven ways in which openstacksdk and a 2013/14 cloud lose or corrupt data together without an exception.

Each test shows first that the plain openstacksdk call goes wrong in that release, then that our verb does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import openstack
import openstack.warnings
import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.http import Service
from pumphouse.errors import ApiError, CloudError, NotFound
from pumphouse.model import Image, Server
from tests.clouds.labs import CAP, Old
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.filterwarnings("ignore::openstack.warnings.LegacyAPIWarning")]


def records(old: Old, what: str) -> list[dict[str, Any]]:
    """All of Nova's records of a kind: raw pages by markers, until an empty one."""
    found: list[dict[str, Any]] = []
    while True:
        query = "all_tenants=1&is_public=None&limit=1000" + (f"&marker={found[-1]['id']}" if found else "")
        page = old.sdk.compute.get(f"/{what}/detail?{query}").json()[what]
        if not page:
            return found
        assert len(page) <= CAP
        found += page


def until(look: Callable[[], Any]) -> Any:
    """What ``look`` says first that is true."""
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
    return found


def named(cloud: OpenStackCloud, name: str) -> Server:
    """A server by name."""
    return next(one for one in cloud.compute.list_servers() if one.name == name)


@pytest.fixture
def swept(old: Old) -> Iterator[Old]:
    """The cloud, whose new images are deleted afterwards."""
    before = {image.id for image in old.ours.images.list_images()}
    yield old
    for image in old.ours.images.list_images():
        if image.id not in before:
            old.ours.images.set_protected(image.id, protected=False)
            old.ours.images.delete_image(image.id)


def test_1_later_pages_are_bare(old: Old) -> None:
    there, kinds = records(old, "servers"), records(old, "flavors")
    assert min(len(there), len(kinds)) > CAP
    naive = list(old.sdk.compute.servers(all_projects=True, limit=CAP))
    assert [one.status is None for one in naive] == [False] * CAP + [True] * (len(there) - CAP)
    assert [one.ram for one in old.sdk.compute.flavors(limit=CAP)][CAP:] == [0] * (len(kinds) - CAP)
    with pytest.raises(AttributeError):
        old.sdk.list_servers(all_projects=True, filters={"limit": CAP})
    servers = old.ours.compute.list_servers()
    assert [(one.id, one.status, one.host, one.flavor_id) for one in servers] == [
        (one["id"], one["status"], one["OS-EXT-SRV-ATTR:host"], one["flavor"]["id"]) for one in there
    ]
    flavors = old.ours.compute.list_flavors()
    assert [(one.id, one.ram_mib, one.vcpus) for one in flavors] == [
        (one["id"], one["ram"], one["vcpus"]) for one in kinds
    ]


def test_2_without_a_limit_the_first_page_is_all(old: Old) -> None:
    naive = list(old.sdk.compute.servers(all_projects=True))
    complete = [one for one in naive if one.status is not None]
    assert len(complete) == CAP
    # Icehouse names the others at least, bare as they are; the two before do not
    there = records(old, "servers")
    assert len(naive) == (len(there) if old.release == "icehouse" else CAP)
    assert len(old.ours.compute.list_servers()) == len(there)
    acme = named(old.ours, "web1").project_id
    wanted = {one["id"] for one in there if one["tenant_id"] == acme}
    assert len(wanted) > CAP
    assert {one.id for one in old.ours.compute.list_servers(project_id=acme)} == wanted
    assert len(old.ours.images.list_images()) == len(old.oldest.images.list_images()) > CAP


def test_3_the_public_port_knows_only_our_own_tenants(old: Old) -> None:
    naive = old.site.connect("old", auth_type="v2password", interface="admin", identity_interface="admin")
    assert [one.name for one in naive.identity.tenants()] == ["admin"]
    with pytest.raises(openstack.exceptions.NotFoundException):
        list(naive.identity.users())
    naive.close()
    admin = {"service_type": "identity", "interface": "admin"}
    tenants = {one["id"] for one in old.sdk.session.get("/tenants", endpoint_filter=admin).json()["tenants"]}
    assert len(tenants) >= 5
    for cloud in (old.ours, old.oldest):
        assert {one.id for one in cloud.identity.list_projects()} == tenants
        assert {"nova", "glance", "acme-user", "initech-former"} <= {one.name for one in cloud.identity.list_users()}
        assert len(cloud.identity.list_assignments()) > len(cloud.identity.list_users())


def test_4_the_owner_of_a_snapshot(swept: Old) -> None:
    old, server = swept, named(swept.ours, "web1")
    made = old.sdk.compute.create_server_image(server.id, "trap-snapshot")
    until(lambda: old.ours.images.get_image(made.id).status == "active")
    naive = old.sdk.image.get_image(made.id)
    assert naive.owner == server.project_id  # a property that the hypervisor driver wrote
    assert old.ours.images.get_image(made.id).owner_id == old.ours.project_id
    assert old.oldest.images.get_image(made.id).owner_id == old.ours.project_id
    listed = {one.id: one.owner_id for one in old.ours.images.list_images()}
    assert listed[made.id] == old.ours.project_id


def test_5_a_download_of_nothing(old: Old) -> None:
    found = old.sdk.image.find_image("acme-unfinished")
    naive = old.sdk.image.download_image(found.id, stream=True)
    assert naive.status_code == (204 if old.release == "icehouse" else 404)  # and no error
    v1 = old.site.connect("old", image_api_version="1")
    active = next(one for one in old.ours.images.list_images() if one.status == "active")
    page = v1.image.download_image(v1.image.find_image(active.id))
    assert page.status_code == 404
    assert len(page.content) != active.size_bytes
    v1.close()
    for cloud in (old.ours, old.oldest):
        with pytest.raises(CloudError, match="queued, not active"):
            list(cloud.images.download(found.id))
        assert sum(map(len, cloud.images.download(active.id))) == active.size_bytes


def test_6_an_update_takes_the_other_properties_away(swept: Old) -> None:
    old = swept
    images = [_image(f"trap-properties-{number}", {"kept": "1"}) for number in range(3)]
    clouds = (old.ours, old.ours, old.oldest)
    made = [cloud.images.create_image(image) for cloud, image in zip(clouds, images, strict=True)]
    for cloud, one in zip(clouds, made, strict=True):
        cloud.images.upload(one.id, iter([b"x" * 100]))
    found = old.sdk.image.get_image(made[0].id)
    old.sdk.image.update_image(old.sdk.image.find_image(found.name), new="2")
    assert "kept" not in old.ours.images.get_image(found.id).properties
    with pytest.raises(openstack.exceptions.ConflictException):
        old.sdk.image.update_image(found.id, name="other")
    for cloud, one in ((old.ours, made[1]), (old.oldest, made[2])):
        cloud.images.set_protected(one.id, protected=True)
        after = cloud.images.get_image(one.id)
        assert after.protected
        assert after.properties == {"kept": "1"}


def test_7_raw_calls_do_not_raise(old: Old) -> None:
    assert old.sdk.compute.get("/os-fixed-ips/10.99.0.1").status_code == 404
    api = Service(old.ours.wire, "compute", lambda: old.ours.compute_url)
    with pytest.raises(NotFound) as refused:
        api.get("/os-fixed-ips/10.99.0.1", "look at a fixed IP")
    assert refused.value.status == 404
    assert refused.value.request_id is not None
    with pytest.raises(ApiError, match="/no-such-place answered 404, but not in its own words"):
        api.get("/no-such-place", "look for nothing")


def test_8_unknown_filters_are_dropped(old: Old) -> None:
    sdk, ours = old.sdk.compute, old.ours.compute
    acme = named(old.ours, "web1").project_id
    assert {one.id for one in sdk.servers(all_projects=True, tenant_id=acme, limit=1000)} == {
        one.id for one in sdk.servers(all_projects=True, limit=1000)
    }
    assert list(sdk.servers(all_projects=True, host="compute1")) == []
    assert {one.project_id for one in ours.list_servers(project_id=acme)} == {acme}
    user = old.entry("old-acme-user")
    assert [one.name for one in sdk.keypairs(user_id=user.user_id)] == ["admin-key"]  # the caller's own
    theirs = user.compute.list_keypairs()
    assert {one.user_id for one in theirs} == {user.user_id}
    assert "admin-key" not in {one.name for one in theirs}
    assert list(old.sdk.image.images(sort="name:asc")) == []
    assert old.sdk.image.deactivate_image("0" * 32) is None
    with pytest.raises(NotFound):
        old.ours.images.get_image("0" * 32)
    # whoever is no administrator asks for everybody's and is told of their own: visible by the role in the evidence
    assert {one.project_id for one in user.compute.list_servers()} == {user.project_id}
    assert any(one.startswith("our roles in the project:") and "admin" not in one for one in user.facts.evidence)
    user.close()


def test_9_a_servers_flavor_is_an_empty_shell(old: Old) -> None:
    naive = next(one for one in old.sdk.compute.servers(all_projects=True) if one.status == "ACTIVE")
    assert (naive.flavor.ram, naive.flavor.vcpus, naive.flavor.name) == (0, 0, None)
    flavors = {one.id: one for one in old.ours.compute.list_flavors()}
    for server in old.ours.compute.list_servers():
        assert flavors[server.flavor_id].ram_mib > 0
    cached = next(one for one in flavors.values() if one.name == "c1.cached")
    assert (cached.ephemeral_gib, cached.swap_mib, cached.extra_specs["quota:cpu_shares"]) == (3, 128, "512")
    private = next(one for one in flavors.values() if one.name == "acme.db")
    assert private.access_project_ids == (named(old.ours, "web1").project_id,)


def test_10_a_users_default_project_is_dropped(old: Old) -> None:
    admin = old.ours.wire.catalog_url("identity", "admin")
    naive = old.site.connect("old", auth_type="v2password", identity_endpoint_override=admin)
    found = next(one for one in naive.identity.users() if one.name == "acme-user")
    acme = named(old.ours, "web1").project_id
    assert acme not in found.to_dict().values()
    naive.close()
    for cloud in (old.ours, old.oldest):
        user = cloud.identity.find_user("acme-user")
        assert user is not None
        assert user.default_project_id == acme


def test_11_a_new_image_is_stale_and_signed(swept: Old) -> None:
    old = swept
    naive = old.sdk.image.create_image(
        "trap-naive", data=b"x" * 100, disk_format="raw", container_format="bare", wait=True, timeout=20
    )
    assert naive.status == "queued"
    properties = old.ours.images.get_image(naive.id).properties
    assert {one for one in properties if one.startswith("owner_specified.openstack.")}
    v1 = old.site.connect("old", image_api_version="1")
    before = {one.id for one in old.ours.images.list_images()}
    with pytest.raises(openstack.exceptions.SDKException):
        v1.create_image("trap-v1", data=b"x" * 100, disk_format="raw", container_format="bare", wait=True, timeout=20)
    left = [one for one in old.ours.images.list_images() if one.id not in before]
    assert [one.status for one in left] == ["queued"]
    v1.close()
    for cloud in (old.ours, old.oldest):
        made = cloud.images.create_image(_image("trap-ours", {"a": "1"}))
        cloud.images.upload(made.id, iter([b"x" * 100]))
        after = cloud.images.get_image(made.id)
        assert (after.status, after.name, after.size_bytes) == ("active", "trap-ours", 100)
        assert after.properties == {"a": "1"}


def _image(name: str, properties: dict[str, str]) -> Image:
    return Image("", name, "queued", "private", None, None, None, "raw", "bare", properties=properties)
