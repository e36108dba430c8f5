"""A lab with all its faces: what its site.yaml names answers, and what is pressed there reaches both clouds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect_site
from pumphouse.lab.hardware.furnish import FLAVOR, IMAGE, NETWORK
from pumphouse.nodes.connect import Nodes
from pumphouse.site import Site, load_site
from pumphouse.steps.hardware.canary import find_parts, taken_at
from pumphouse.steps.hardware.install import find_template
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


def test_the_new_cloud_has_what_a_canary_is_made_of_and_its_nodes_have_disks_like_the_others(
    site: Site, clouds: tuple[OpenStackCloud, OpenStackCloud]
) -> None:
    said = dict.fromkeys(("image", "flavor", "network"), "")
    parts = find_parts(clouds[1], said, taken=taken_at(clouds[0]))
    assert tuple(part.name for part in parts) == (IMAGE, FLAVOR, NETWORK)
    assert site.hardware.fuel is not None
    with Nodes(site).fuel() as fuel:
        template = find_template(fuel, site.hardware, site.hardware.fuel.template_node)
        used_mib = sum(int(volume["size"]) for disk in fuel.disks(template.id) for volume in disk["volumes"])
    told = {one.hostname: one.disk_gib for one in clouds[0].compute.list_hypervisors()}
    assert all(gib is not None and used_mib <= gib * 1024 for gib in told.values()), (used_mib, told)


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
