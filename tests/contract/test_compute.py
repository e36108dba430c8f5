"""Servers, flavors, keypairs, quotas, hosts."""

from __future__ import annotations

import uuid

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ActionTimeout, CloudError, Conflict, NotFound
from pumphouse.model import Flavor, ServerSpec
from tests.contract.conftest import WAIT_S, Maker, Undo, name

PUBLIC_KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC/QLiSV9ZtR9OZv9kHAXzETG2dG6wKKikUwiGlBiPeS2EW39DcvMAPQV5MUGaF"
    "4ehCvTEubl0zZf/Bhb/9PrKkTrJYMgegXmmeoWF2EE+V7FCHTtOW01/PNETyj8A0WS0IVh82jzslOMGyhNLCXZYDO0fJ4JRR5jAM"
    "9hvUX+Ovq14NvJOHZU9WN7MMq+DvroYKuEH8fr6myP0ufxDcoA6tNi9A+SmMCyTbBy/g5+tfPqLIM+WLNC50Z0mMt/kiMw68qO7F"
    "NAjjDdsoxk0QFbvOq2kRXtqaETT/XrB8u3DuE0IIvg5g3Tpdru0L58LmjCR3KbiB0Q2NKm1qFlyTphQ/ ctr@test"
)


def test_flavor_is_made_with_specs_and_access(make: Maker) -> None:
    compute, project, label = make.cloud.compute, make.project(), name("flavor")
    wanted = Flavor(
        id=f"{label}-id", name=label, vcpus=2, ram_mib=256, disk_gib=3, ephemeral_gib=1, swap_mib=64, is_public=False,
        extra_specs={"ctr:spec": "yes"}, access_project_ids=(project.id,),
    )  # fmt: skip
    assert compute.find_flavor(wanted.id) is None
    made = compute.create_flavor(wanted)
    make.undo(compute.delete_flavor, wanted.id)
    assert made == wanted
    assert compute.find_flavor(wanted.id) == wanted
    assert wanted in compute.list_flavors()
    with pytest.raises(Conflict):
        compute.create_flavor(wanted)
    assert compute.find_flavor(wanted.id) == wanted
    compute.delete_flavor(wanted.id)
    compute.delete_flavor(wanted.id)
    assert wanted.id not in [one.id for one in compute.list_flavors()]


def test_keypair_is_made_once(cloud: OpenStackCloud, undo: Undo) -> None:
    compute, label = cloud.compute, name("key one")
    made = compute.create_keypair(label, PUBLIC_KEY)
    undo(compute.delete_keypair, label)
    assert (made.name, made.user_id, made.type) == (label, cloud.user_id, "ssh")
    assert made.public_key.split()[:2] == PUBLIC_KEY.split()[:2]
    assert made.fingerprint
    assert made in compute.list_keypairs()
    with pytest.raises(Conflict):
        compute.create_keypair(label, PUBLIC_KEY)
    compute.delete_keypair(label)
    compute.delete_keypair(label)
    assert label not in [one.name for one in compute.list_keypairs()]


def test_quota_is_set_in_part(make: Maker) -> None:
    compute, project = make.cloud.compute, make.project()
    before = compute.get_quota(project.id)
    assert before.project_id == project.id
    assert before.limits["instances"] == compute.get_default_quota().limits["instances"]
    compute.set_quota(project.id, {"instances": 3, "cores": 5})
    after = compute.get_quota(project.id)
    assert (after.limits["instances"], after.limits["cores"], after.limits["ram"]) == (3, 5, before.limits["ram"])


def test_hosts_and_services_are_told(cloud: OpenStackCloud) -> None:
    hosts = {service.host for service in cloud.compute.list_services() if service.binary == "nova-compute"}
    assert hosts
    assert all(service.status in ("enabled", "disabled") for service in cloud.compute.list_services())
    assert all(service.state in ("up", "down") for service in cloud.compute.list_services())
    hypervisors = cloud.compute.list_hypervisors()
    assert {one.host for one in hypervisors} <= hosts
    assert all(one.vcpus and one.ram_mib for one in hypervisors)


def test_an_extension_is_announced_or_not(source: OpenStackCloud) -> None:
    assert source.compute.find_extension("os-networks")
    assert not source.compute.find_extension("ctr-nonsense")


def test_a_server_that_is_not_there(cloud: OpenStackCloud) -> None:
    nobody = str(uuid.uuid4())
    assert cloud.compute.find_server(nobody) is None
    with pytest.raises(NotFound) as gone:
        cloud.compute.get_server(nobody)
    assert nobody in str(gone.value)
    cloud.compute.delete_server(nobody)
    cloud.compute.wait_server_gone(nobody, timeout_s=5)
    cloud.compute.delete_server_metadata(nobody, "key")


def test_a_server_lives_and_dies_on_the_source(source: OpenStackCloud, undo: Undo) -> None:
    make, compute = Maker(source, undo), source.compute
    flavor, image = make.flavor(), make.image()
    spec = ServerSpec(name("server"), flavor.id, image.id, (), metadata={"a": "1", "b c": "2"})
    server_id = compute.create_server(spec)
    undo(compute.wait_server_gone, server_id, timeout_s=WAIT_S)
    undo(compute.delete_server, server_id)
    server = compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    assert (server.name, server.flavor_id, server.image_id) == (spec.name, flavor.id, image.id)
    assert (server.project_id, server.user_id) == (source.project_id, source.user_id)
    assert server.metadata == spec.metadata
    assert server.host
    assert server.created_at is not None
    assert server.created_at.tzinfo is not None
    [address] = server.addresses
    assert address.mac is not None
    assert address.mac.count(":") == 5
    assert server in compute.list_servers()
    assert server in compute.list_servers(project_id=source.project_id)
    assert compute.list_servers(project_id="0" * 32) == []
    assert source.nova_network.fixed_ip_state(address.address) == "used"

    compute.start_server(server_id)  # runs already
    compute.stop_server(server_id)
    compute.stop_server(server_id)  # under way
    stopped = compute.wait_server(server_id, "SHUTOFF", timeout_s=WAIT_S)
    assert stopped.addresses == server.addresses
    compute.stop_server(server_id)  # stopped already
    compute.start_server(server_id)
    compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    compute.delete_server_metadata(server_id, "b c")
    compute.delete_server_metadata(server_id, "b c")
    assert compute.get_server(server_id).metadata == {"a": "1"}
    with pytest.raises(ActionTimeout, match="ACTIVE"):
        compute.wait_server(server_id, "RESCUE", timeout_s=0.1)
    compute.delete_server(server_id)
    compute.wait_server_gone(server_id, timeout_s=WAIT_S)
    assert compute.find_server(server_id) is None


def test_an_impossible_server_is_refused_or_shown_as_failed(source: OpenStackCloud, undo: Undo) -> None:
    make, compute = Maker(source, undo), source.compute
    spec = ServerSpec(name("server"), make.flavor().id, str(uuid.uuid4()), ())
    with pytest.raises(CloudError, match=spec.name):
        compute.create_server(spec)
