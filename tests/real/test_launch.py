"""The clouds are what they are said to be: a nova-network source as of 2014 and a current destination."""

from __future__ import annotations

import pytest

from .operate import Site
from .rest import send
from .tier import Clouds

# the first test of the tier installs and starts both clouds
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def test_the_source_has_nova_network_and_the_old_apis(clouds: Clouds) -> None:
    assert {kind for kind, _ in clouds.source.endpoints} == {"identity", "image", "compute", "computev21"}
    assert clouds.source.endpoints["identity", "public"].endswith("/v2.0")
    networks = clouds.source.call("GET", "compute", "/os-networks")["networks"]
    assert [(n["label"], n["vlan"], n["bridge"]) for n in networks] == [("novanetwork", None, "br100")]
    old = clouds.source.call("GET", "image", "/v1/images/detail?is_public=None")["images"]
    assert {image["name"] for image in old} == clouds.facts["images"].keys()


def test_the_destination_has_neutron_and_a_current_nova(clouds: Clouds) -> None:
    assert {"identity", "image", "compute", "network", "placement"} == {k for k, _ in clouds.destination.endpoints}
    version = send("GET", clouds.destination.endpoints["compute", "public"] + "/").json()["version"]
    assert tuple(map(int, version["version"].split("."))) >= (2, 96)


def test_an_inventory_reads_both(site: Site, clouds: Clouds) -> None:
    done = site.pumphouse("inventory", "--json")
    assert done.exit_code == 0, done
    assert done.outcome["source"]["servers"] == len(clouds.facts["servers"])
    assert done.outcome["source"]["keypairs"] == len(clouds.facts["keypairs"])
    assert done.outcome["destination"]["servers"] == 0
