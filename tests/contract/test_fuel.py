"""What the Fuel client must do with a master of any release: the lab's, and a real one where one is given.

``PUMPHOUSE_REAL_SITE`` names a site.yaml with a ``fuel`` part. There, only environments that these tests make are
changed: they hold no nodes, and are deleted again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pumphouse.errors import NodeAuthError, NodeRefused, NodeUnreachable
from pumphouse.lab.hardware.nailgun import RELEASES
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import AccessCredentials, Fuel, FuelEnvironment
from pumphouse.nodes.spec import FuelSpec
from pumphouse.site import load_site
from tests.contract.conftest import REAL, name
from tests.nodes.fuelmaster import PASSWORD, master


@pytest.fixture(scope="module", params=[*RELEASES, pytest.param("real", marks=pytest.mark.real)])
def fuel(request: pytest.FixtureRequest) -> Iterator[Fuel]:
    """The lab's master of that release, or the real one."""
    if request.param != "real":
        with master(request.param) as lab:
            opened = lab.fuel()
            yield opened
            opened.close()
        return
    if not os.environ.get(REAL) or load_site(os.environ[REAL]).hardware.fuel is None:
        pytest.skip(f"{REAL} names no site.yaml with a Fuel master")
    with Nodes(load_site(os.environ[REAL])).fuel() as real:
        yield real


@pytest.fixture
def environment(fuel: Fuel) -> Iterator[FuelEnvironment]:
    """An environment of ours, of the kind that all releases can make."""
    release = fuel.find_release("Ubuntu")
    assert release is not None
    made = fuel.create_environment(name("env"), release.id)
    yield made
    fuel.delete_environment(made.id)
    with pytest.raises(NodeRefused) as caught:
        fuel.get_environment(made.id)
    assert caught.value.status == 404


def test_version_and_releases(fuel: Fuel) -> None:
    version = fuel.version()
    assert (5, 1) <= version.number <= (8, 0)
    assert version.auth_required
    releases = fuel.list_releases()
    assert [one.id for one in releases] == sorted(one.id for one in releases)
    ubuntu = fuel.find_release("ubuntu")
    assert ubuntu is not None
    assert ubuntu.available
    assert {"controller", "compute"} <= set(ubuntu.roles)
    assert fuel.find_release("Plan 9") is None


def test_wrong_password(fuel: Fuel) -> None:
    other = Fuel(fuel.wire.spec, "wrong-Secret-9923")
    with pytest.raises(NodeAuthError) as caught:
        other.list_nodes()
    assert "wrong-Secret-9923" not in str(caught.value)
    assert fuel.wire.spec.url in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(NodeUnreachable, match="refused"):
        Fuel(FuelSpec("http://127.0.0.1:9"), PASSWORD, sleep=lambda _s: None).version()


def test_environment(fuel: Fuel, environment: FuelEnvironment) -> None:
    assert environment.status == "new"
    assert environment.net_provider == "neutron"
    assert fuel.find_environment(environment.name) == environment
    assert fuel.get_environment(environment.id) == environment
    again = fuel.create_environment(environment.name, environment.release_id)
    assert again == environment
    other: dict[str, str]
    for release_id, other, said in (
        (environment.release_id + 1, {}, f"its release is {environment.release_id} instead of"),
        (environment.release_id, {"net_segment_type": "gre"}, "its segmentation is vlan instead of gre"),
        (environment.release_id, {"net_provider": "nova_network"}, "provider is neutron instead of nova_network"),
        (environment.release_id, {"mode": "multinode"}, "its mode is ha_compact instead of multinode"),
    ):
        # what a release has not is refused for that
        with pytest.raises(NodeRefused, match=f"{said}|has no"):
            fuel.create_environment(environment.name, release_id, **other)
    assert fuel.list_nodes(environment.id) == []
    assert fuel.running_task(environment.id) is None
    assert fuel.find_environment(name("nobody")) is None


def test_what_a_release_cannot_make_is_never_asked_for(fuel: Fuel) -> None:
    number = fuel.version().number
    release = fuel.find_release()
    assert release is not None
    before = len(fuel.list_environments())
    if number > (6, 0):
        with pytest.raises(NodeRefused, match="multinode"):
            fuel.create_environment(name("env"), release.id, mode="multinode")
    if number >= (8, 0):
        with pytest.raises(NodeRefused, match="nova-network"):
            fuel.create_environment(name("env"), release.id, net_provider="nova_network")
    else:
        made = fuel.create_environment(name("env"), release.id, net_provider="nova_network")
        assert fuel.network_configuration(made.id).network("fixed") is not None
        fuel.delete_environment(made.id)
    if number < (7, 0):
        with pytest.raises(NodeRefused, match="tun"):
            fuel.create_environment(name("env"), release.id, net_segment_type="tun")
    assert len(fuel.list_environments()) == before


def test_attributes_and_credentials(fuel: Fuel, environment: FuelEnvironment) -> None:
    wanted = AccessCredentials("operator", "ops", "s3cret-Access-1", "ops@example.com")
    fuel.set_credentials(environment.id, wanted)
    assert fuel.credentials(environment.id) == wanted
    assert "s3cret" not in repr(wanted)
    assert "s3cret-Access-1" in set(fuel.known_secrets())
    fuel.set_attributes(environment.id, {"common": {"libvirt_type": "qemu"}})
    attributes = fuel.attributes(environment.id)
    assert attributes["common"]["libvirt_type"]["value"] == "qemu"
    assert attributes["access"]["user"]["value"] == "operator"
    with pytest.raises(NodeRefused, match=r"no attribute common\.nosuch"):
        fuel.set_attributes(environment.id, {"common": {"nosuch": 1}})


def test_networks(fuel: Fuel, environment: FuelEnvironment) -> None:
    before = fuel.network_configuration(environment.id)
    public = before.network("public")
    assert public is not None
    document = before.edited(
        {
            "public": {
                "cidr": "172.16.10.0/24",
                "gateway": "172.16.10.1",
                "ip_ranges": [["172.16.10.2", "172.16.10.20"]],
                "vlan_start": 77,
            }
        },
        {"floating_ranges": [["172.16.10.130", "172.16.10.150"]]},
    )
    after = fuel.set_network_configuration(environment.id, document)
    shared = after.network("public")
    assert shared is not None
    assert (shared.id, shared.cidr, shared.gateway, shared.vlan) == (public.id, "172.16.10.0/24", "172.16.10.1", 77)
    assert shared.ip_ranges == (("172.16.10.2", "172.16.10.20"),)
    assert after.parameters["floating_ranges"] == [["172.16.10.130", "172.16.10.150"]]
    assert before.network("public") == public, "what was read does not change"
    assert fuel.network_configuration(environment.id).networks == after.networks


@pytest.mark.parametrize(
    ("networks", "parameters", "words"),
    [
        ({"public": {"cidr": "300.1.2.0/24"}}, {}, "300.1.2.0/24"),
        ({"management": {"cidr": "172.16.0.0/24"}}, {}, "[Aa]ddress space intersection"),
        ({}, {"floating_ranges": [["172.16.0.2", "172.16.0.9"]]}, "[Aa]ddress space intersection"),
        ({}, {"segmentation_type": "gre"}, "segmentation_type"),
    ],
)
def test_wrong_networks_are_refused_whatever_the_code(
    fuel: Fuel,
    environment: FuelEnvironment,
    networks: dict[str, dict[str, str]],
    parameters: dict[str, object],
    words: str,
) -> None:
    before = fuel.network_configuration(environment.id)
    with pytest.raises(NodeRefused, match=words):
        fuel.set_network_configuration(environment.id, before.edited(networks, parameters))
    assert fuel.network_configuration(environment.id).networks == before.networks


def test_what_is_not_there(fuel: Fuel) -> None:
    for ask in (fuel.get_environment, fuel.get_node, fuel.task, fuel.network_configuration):
        with pytest.raises(NodeRefused) as caught:
            ask(999_999)
        assert caught.value.status == 404
    assert fuel.find_node(["02:00:00:00:00:01"]) is None
    fuel.delete_environment(999_999)
    fuel.delete_node(999_999)


def test_an_environment_without_nodes_is_neither_deployed_nor_stopped(fuel: Fuel, environment: FuelEnvironment) -> None:
    with pytest.raises(NodeRefused, match="No changes to deploy"):
        fuel.deploy_changes(environment.id)
    with pytest.raises(NodeRefused, match="no deployment to stop"):
        fuel.stop(environment.id)
    with pytest.raises(NodeRefused, match="not operational"):
        fuel.endpoint(environment.id)
    with pytest.raises(NodeRefused, match="not in environment"):
        fuel.provision(environment.id, [])
    assert fuel.get_environment(environment.id).status == "new"
