"""A lab with all its faces: what its site.yaml names answers, and what is pressed there reaches both clouds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect_site
from pumphouse.nodes.connect import Nodes
from pumphouse.site import Site, load_site
from tests.labsite import LabSite, start_lab

EMPTY = "cmp-05"


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab with BMCs, a switch and a Fuel master."""
    lab = start_lab(tmp_path_factory, name="racks", hardware=True, content="plain", fuel_release="7.0")
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def site(racks: LabSite) -> Site:
    """Its site."""
    return load_site(racks.site_file)


@pytest.fixture(scope="module")
def clouds(site: Site) -> Iterator[tuple[OpenStackCloud, OpenStackCloud]]:
    """Its clouds."""
    both = connect_site(site)
    yield both
    for cloud in both:
        cloud.close()


def test_every_host_is_described_and_no_password_is(
    racks: LabSite, site: Site, clouds: tuple[OpenStackCloud, OpenStackCloud]
) -> None:
    services = {service.host for service in clouds[0].compute.list_services()}
    assert {node.host for node in site.hardware.nodes.values() if node.host} == services
    assert site.hardware.node("compute5").name == EMPTY
    secure = yaml.safe_load((racks.directory / "secure.yaml").read_text(encoding="utf-8"))
    passwords = {entry["password"] for entry in secure["nodes"].values()}
    assert len(passwords) == len(secure["nodes"]) == len(site.hardware.logins)
    text = racks.site_file.read_text(encoding="utf-8")
    assert not [password for password in passwords if password in text]
    assert (racks.directory / "secure.yaml").stat().st_mode & 0o077 == 0


def test_a_host_goes_all_the_way_to_fuel(
    racks: LabSite, site: Site, clouds: tuple[OpenStackCloud, OpenStackCloud]
) -> None:
    nodes, spec = Nodes(site), site.hardware.node(EMPTY)
    admin = site.hardware.admin_vlan
    assert admin is not None
    with nodes.bmc(EMPTY) as bmc:
        assert bmc.identity().serial == spec.serial
        bmc.set_power("off")
        clouds[0].hosts.wait_service(spec.host, "down", timeout_s=10)
        port = spec.ports[0]
        with nodes.switch(port.switch) as switch:
            assert switch.port(port.port).vlan == port.vlan
            assert switch.set_vlan(port.port, admin).vlan == admin
        with nodes.switch("sw1-snmp") as agent:
            assert agent.port(port.port).vlan == admin
        bmc.set_boot_device("pxe")
        bmc.set_power("on")
    with nodes.fuel() as fuel:
        found = fuel.wait_discovered(spec.macs, spec.serial, timeout_s=20)
        assert (found.status, found.serial) == ("discover", spec.serial)
        roles = {node.name: set(node.roles) for node in fuel.list_nodes() if node.environment_id is not None}
    assert roles == {"new-00": {"controller"}, "new-01": {"compute"}, "new-02": {"compute"}, "new-03": {"compute"}}
    assert racks.violations() == []
