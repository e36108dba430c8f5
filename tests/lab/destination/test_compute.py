"""Nova of the lab's destination, through openstacksdk: servers that take time, and the guests in them."""

from __future__ import annotations

import openstack.exceptions
import pytest

from .running import SDK_WARNINGS, wait_until
from .stage import FIXED, FLOATING, MAC, Stage
from .talk import PUBLIC_KEY

pytestmark = SDK_WARNINGS


def test_a_server_boots_step_by_step_and_its_guest_answers(stage: Stage) -> None:
    server = stage.boot()
    seen = set()

    def done() -> bool:
        found = stage.admin.compute.get_server(server.id)
        seen.add((found.status, found.task_state))
        return bool(found.status == "ACTIVE" and found.task_state is None)

    wait_until(done)
    assert ("BUILD", "scheduling") in seen
    assert ("BUILD", "spawning") in seen
    found = stage.admin.compute.get_server(server.id)
    assert found.project_id == stage.project_id
    assert found.user_id == stage.member.current_user_id
    assert found.compute_host in {"node-1", "node-2", "node-3"}
    assert (found.vm_state, found.power_state, found.key_name, found.metadata) == ("active", 1, "key", {"a": "b"})
    (entry,) = found.addresses["novanetwork"]
    assert (entry["addr"], entry["OS-EXT-IPS-MAC:mac_addr"]) == (FIXED, MAC)
    port = stage.admin.network.get_port(stage.port_id)
    assert (port.device_id, port.status, port.device_owner) == (server.id, "ACTIVE", "compute:nova")
    assert port.binding_host_id == found.compute_host
    wait_until(lambda: stage.guest() == f"web {server.id} destination")


def test_a_stopped_server_is_silent_and_keeps_its_address(stage: Stage) -> None:
    server = stage.active(stage.boot())
    stage.answers()
    stage.member.compute.stop_server(server)
    stopped = stage.member.compute.wait_for_server(server, status="SHUTOFF", interval=0.05, wait=20)
    assert stage.guest() is None
    assert stopped.addresses["novanetwork"][0]["addr"] == FIXED
    with pytest.raises(openstack.exceptions.ConflictException, match="while it is in vm_state stopped"):
        stage.member.compute.stop_server(server)
    stage.member.compute.start_server(server)
    stage.active(server)
    stage.answers()
    with pytest.raises(openstack.exceptions.ConflictException, match="while it is in vm_state active"):
        stage.member.compute.start_server(server)
    stage.member.compute.reboot_server(server, "HARD")
    wait_until(lambda: stage.guest() is None)
    stage.active(server)
    stage.answers()
    assert stage.lab.world.layer2.violations == []


def test_a_port_made_beforehand_outlives_its_server(stage: Stage) -> None:
    server = stage.active(stage.boot())
    with pytest.raises(openstack.exceptions.ConflictException, match=f"Port {stage.port_id} is still in use"):
        stage.boot(name="second")
    stage.gone(server)
    assert stage.guest() is None
    port = stage.admin.network.get_port(stage.port_id)
    assert (port.device_id, port.status, port.binding_host_id) == ("", "DOWN", "")
    stage.active(stage.boot(name="again"))
    assert stage.lab.world.layer2.violations == []


def test_a_port_that_nova_made_goes_with_the_server(stage: Stage) -> None:
    server = stage.active(stage.boot(networks=[{"uuid": stage.network_id, "fixed_ip": "127.77.0.60"}]))
    (port,) = stage.admin.network.ports(device_id=server.id)
    assert port.fixed_ips[0]["ip_address"] == "127.77.0.60"
    wait_until(lambda: stage.guest("127.77.0.60") is not None)
    stage.gone(server)
    assert list(stage.admin.network.ports(device_id=server.id)) == []


def test_two_boots_with_one_port_at_once_leave_one_in_error(stage: Stage) -> None:
    first, second = stage.boot(name="one"), stage.boot(name="two")
    stage.active(first)
    failed = stage.member.compute.wait_for_server(second, status="ERROR", failures=[], interval=0.05, wait=20)
    assert "is still in use" in failed.fault["message"]
    stage.gone(second)
    port = stage.admin.network.get_port(stage.port_id)
    assert port.device_id == first.id, "the loser's removal must not unplug the winner's port"
    assert stage.lab.world.layer2.violations == []


def test_a_floating_ip_answers_while_its_server_runs(stage: Stage) -> None:
    layer2 = stage.lab.world.layer2
    stage.admin.network.update_ip(stage.floating_id, port_id=stage.port_id)
    assert not layer2.floating.get(FLOATING)
    server = stage.active(stage.boot())
    wait_until(lambda: layer2.floating.get(FLOATING) == {("destination", server.id)})

    def shown() -> bool:
        entries = stage.member.compute.get_server(server.id).addresses["novanetwork"]
        return any(entry["addr"] == FLOATING for entry in entries)

    wait_until(shown)
    stage.admin.network.update_ip(stage.floating_id, port_id=None)
    assert not layer2.floating[FLOATING]
    assert shown(), "Nova's copy of the addresses lags behind Neutron"
    wait_until(lambda: not shown())
    stage.admin.network.update_ip(stage.floating_id, port_id=stage.port_id)
    assert layer2.floating[FLOATING] == {("destination", server.id)}
    stage.gone(server)
    assert not layer2.floating[FLOATING]
    assert stage.admin.network.get_ip(stage.floating_id).port_id == stage.port_id


def test_what_a_server_needs_is_checked_before_it_is_made(stage: Stage) -> None:
    missing = "4ae517d2-c0a1-4835-9168-f42eb05ade70"
    queued = stage.admin.image.create_image("queued", disk_format="raw", container_format="bare", visibility="public")
    big = stage.admin.image.create_image(
        "big", data=b"x", disk_format="raw", container_format="bare", visibility="public", min_disk=9, wait=True
    )
    for change, words in (
        ({"image_id": missing}, "Can not find requested image"),
        ({"image_id": queued.id}, "is not active"),
        ({"image_id": big.id}, "smaller than the minimum size specified in image metadata"),
        ({"flavor_id": "none"}, "Flavor none could not be found"),
        ({"key_name": "none"}, "Invalid key_name provided"),
        ({"networks": [{"port": missing}]}, f"Port id {missing} could not be found"),
        ({"networks": [{"uuid": missing}]}, f"Network {missing} could not be found"),
        ({"availability_zone": "moon"}, "requested availability zone is not available"),
        ({"networks": [{"uuid": stage.network_id, "fixed_ip": FIXED}]}, f"{FIXED} is already in use"),
    ):
        with pytest.raises(openstack.exceptions.BadRequestException, match=words):
            stage.boot(**change)
    assert list(stage.admin.compute.servers(all_projects=True)) == []


@pytest.mark.parametrize(("damage", "words"), [(b"cut", "Corrupt image download"), (None, "could not be found")])
def test_an_image_whose_bytes_are_not_what_they_were_boots_nothing(
    stage: Stage, damage: bytes | None, words: str
) -> None:
    path = stage.lab.info.cloud.image.folder / stage.image_id
    path.write_bytes(damage) if damage else path.unlink()
    server = stage.boot()
    failed = stage.member.compute.wait_for_server(server, status="ERROR", failures=[], interval=0.05, wait=20)
    assert "Exceeded maximum number of retries" in failed.fault["message"]
    assert words in stage.admin.compute.get_server(server.id).fault["details"]
    assert stage.admin.network.get_port(stage.port_id).device_id == ""
    assert not stage.lab.inside(lambda: stage.lab.world.layer2.guests)


def test_the_quota_is_kept(stage: Stage) -> None:
    stage.admin.compute.update_quota_set(stage.project_id, instances=1)
    stage.active(stage.boot())
    with pytest.raises(openstack.exceptions.ForbiddenException, match="Quota exceeded for instances: Requested 1, but"):
        stage.boot(networks=[{"uuid": stage.network_id}])
    with pytest.raises(openstack.exceptions.BadRequestException, match="already used and reserved 1"):
        stage.admin.compute.update_quota_set(stage.project_id, instances=0)


def test_a_server_that_fits_nowhere_ends_in_error(stage: Stage) -> None:
    stage.admin.compute.update_quota_set(stage.project_id, ram=-1)
    stage.admin.compute.create_flavor(name="huge", id="huge", ram=999_999_999, vcpus=1, disk=1)
    server = stage.boot(flavor_id="huge")
    failed = stage.member.compute.wait_for_server(server, status="ERROR", failures=[], interval=0.05, wait=20)
    assert "No valid host was found" in failed.fault["message"]
    assert "details" not in failed.fault
    stage.gone(server)


def test_an_administrator_chooses_the_host_a_member_may_not(stage: Stage) -> None:
    with pytest.raises(openstack.exceptions.ForbiddenException, match="forced_host"):
        stage.boot(availability_zone="nova:node-2")
    user = stage.admin.current_user_id
    admin_role = stage.admin.identity.find_role("admin")
    stage.admin.identity.assign_project_role_to_user(stage.project_id, user, admin_role)
    inside = stage.lab.connect(project="shop")
    with pytest.raises(openstack.exceptions.BadRequestException, match="Invalid key_name"):
        inside.compute.create_server(
            name="x", flavor_id="f1", image_id=stage.image_id, key_name="key", networks=[{"port": stage.port_id}]
        )
    server = inside.compute.create_server(
        name="x",
        flavor_id="f1",
        image_id=stage.image_id,
        networks=[{"port": stage.port_id}],
        availability_zone="nova:node-2",
    )
    found = inside.compute.wait_for_server(server, interval=0.05, wait=20)
    assert found.compute_host == "node-2"


def test_deleting_a_server_that_is_still_building_leaves_nothing(stage: Stage) -> None:
    server = stage.boot()
    stage.gone(server)
    assert stage.admin.network.get_port(stage.port_id).device_id == ""
    assert not stage.lab.inside(lambda: stage.lab.world.layer2.guests)
    assert stage.admin.compute.find_server(server.id, all_projects=True) is None


def test_members_do_not_see_or_touch_others_servers(stage: Stage) -> None:
    server = stage.active(stage.boot())
    admin = stage.admin
    other = admin.identity.create_project(name="other")
    user = admin.identity.create_user(name="olaf", password="pw")
    admin.identity.assign_project_role_to_user(other, user, admin.identity.find_role("member"))
    olaf = stage.lab.connect("olaf", "pw", "other")
    assert list(olaf.compute.servers()) == []
    with pytest.raises(openstack.exceptions.NotFoundException):
        olaf.compute.delete_server(server.id, ignore_missing=False)
    with pytest.raises(openstack.exceptions.ForbiddenException, match="get_all_tenants"):
        list(olaf.compute.servers(all_projects=True))
    assert [item.id for item in admin.compute.servers(all_projects=True, project_id=stage.project_id)] == [server.id]
    assert list(admin.compute.servers(all_projects=True, project_id=other.id)) == []
    found = olaf.compute.get(f"/servers/{server.id}")
    assert found.status_code == 404


def test_metadata_tags_and_listing_pages(stage: Stage) -> None:
    for number in range(4):
        stage.active(stage.boot(name=f"s{number}", networks="none", metadata={"n": str(number)}))
    assert [item.name for item in stage.member.compute.servers(limit=1)] == ["s3", "s2", "s1", "s0"]
    server = stage.member.compute.find_server("s2")
    stage.member.compute.set_server_metadata(server.id, mark="x")
    answer = stage.member.compute.delete(f"/servers/{server.id}/metadata/n")
    assert answer.status_code == 204
    assert stage.member.compute.get_server(server.id).metadata == {"mark": "x"}
    stage.member.compute.add_tag_to_server(server, "blue")
    assert stage.member.compute.get_server(server.id).tags == ["blue"]


def test_keypairs_belong_to_a_user(stage: Stage) -> None:
    keypair = stage.admin.compute.create_keypair(
        name="given", public_key=PUBLIC_KEY, user_id=stage.member.current_user_id, type="ssh"
    )
    assert keypair.fingerprint == "f5:18:89:3d:7b:b8:3b:86:41:3c:3b:e7:fd:81:29:af"
    assert {item.name for item in stage.member.compute.keypairs()} == {"key", "given"}
    assert list(stage.admin.compute.keypairs()) == []
    with pytest.raises(openstack.exceptions.ConflictException, match="already exists"):
        stage.member.compute.create_keypair(name="key", public_key=PUBLIC_KEY)
    stage.member.compute.delete_keypair("given")


def test_private_flavors_and_extra_specs(stage: Stage) -> None:
    flavor = stage.admin.compute.create_flavor(name="secret", id="f2", ram=1, vcpus=1, disk=0, is_public=False)
    assert stage.member.compute.find_flavor("f2") is None
    stage.admin.compute.flavor_add_tenant_access(flavor, stage.project_id)
    assert stage.member.compute.find_flavor("f2").name == "secret"
    stage.admin.compute.create_flavor_extra_specs(flavor, {"hw:cpu_policy": "shared"})
    assert stage.admin.compute.get_flavor("f2").extra_specs == {"hw:cpu_policy": "shared"}
    assert {item.id for item in stage.admin.compute.flavors(is_public=None)} == {"f1", "f2"}


def test_services_and_hypervisors(stage: Stage) -> None:
    stage.active(stage.boot())
    admin = stage.admin
    assert {item.host for item in admin.compute.services(binary="nova-compute")} == {"node-1", "node-2", "node-3"}
    assert {item.name for item in admin.compute.hypervisors(details=True)} == {"node-1", "node-2", "node-3"}
    old = admin.compute.get("/os-hypervisors/detail", microversion="2.53").json()["hypervisors"]
    assert sum(item["running_vms"] for item in old) == 1
    new = admin.compute.get("/os-hypervisors/detail", microversion="2.88").json()["hypervisors"]
    assert "vcpus" not in new[0]
    (service,) = admin.compute.services(binary="nova-compute", host="node-1")
    admin.compute.disable_service(service, disabled_reason="maintenance")
    (service,) = admin.compute.services(binary="nova-compute", host="node-1")
    assert (service.status, service.disabled_reason) == ("disabled", "maintenance")


def test_networks_are_required_from_2_37_on_and_the_old_proxies_are_gone(stage: Stage) -> None:
    body = {"server": {"name": "x", "flavorRef": "f1", "imageRef": stage.image_id}}
    assert stage.member.compute.post("/servers", json=body, microversion="2.37").status_code == 400
    assert stage.member.compute.get("/os-networks", microversion="2.36").status_code == 404
    assert stage.member.compute.get("/os-networks", microversion="2.35").status_code == 200
    answer = stage.member.compute.get("/servers", microversion="2.999")
    assert answer.status_code == 406


def test_what_is_not_simulated_says_so(stage: Stage) -> None:
    server = stage.active(stage.boot())
    answer = stage.admin.compute.post(f"/servers/{server.id}/action", json={"resize": {"flavorRef": "f1"}})
    assert answer.status_code == 501
    assert "does not do 'resize'" in answer.text
