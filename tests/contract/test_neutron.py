"""Neutron, on the destination."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.neutron_records import same_rule
from pumphouse.errors import ApiError, CloudError, Conflict, NotFound
from pumphouse.model import Network, SecurityGroupRule, Server, ServerSpec
from tests.contract.conftest import WAIT_S, Maker, Undo, name, raw_image


@pytest.fixture
def make(destination: OpenStackCloud, undo: Undo) -> Maker:
    """A maker on the destination."""
    return Maker(destination, undo)


def described(label: str, cidr_head: str, **changes: object) -> Network:
    fields: dict[str, object] = {
        "id": "", "name": label, "cidr": f"{cidr_head}.0/24", "gateway_ip": f"{cidr_head}.1", "dns": ("192.0.2.53",),
        "pools": ((f"{cidr_head}.200", f"{cidr_head}.250"),),
    }  # fmt: skip
    return Network(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def network(destination: OpenStackCloud, undo: Undo) -> Network:
    """A project network."""
    made = destination.neutron.create_network(described(name("net"), "10.77.1"))
    undo(destination.neutron.delete_network, made.id)
    return made


@pytest.fixture
def external(destination: OpenStackCloud, undo: Undo) -> Network:
    """An external network."""
    made = destination.neutron.create_network(described(name("ext"), "203.0.113", external=True, dhcp=False))
    undo(destination.neutron.delete_network, made.id)
    return made


def test_network_comes_with_its_subnet(destination: OpenStackCloud, network: Network) -> None:
    assert network.subnet_id
    assert (network.cidr, network.gateway_ip, network.dns) == ("10.77.1.0/24", "10.77.1.1", ("192.0.2.53",))
    assert network.pools == (("10.77.1.200", "10.77.1.250"),)
    assert (network.shared, network.external, network.dhcp) == (False, False, True)
    assert replace(network, vlan_id=None) in [replace(one, vlan_id=None) for one in destination.neutron.list_networks()]


def test_network_without_its_subnet_is_removed_again(destination: OpenStackCloud) -> None:
    label = name("half")
    with pytest.raises(ApiError, match=label):
        destination.neutron.create_network(described(label, "10.77.2", gateway_ip="10.99.99.1", pools=(("1", "2"),)))
    assert label not in [one.name for one in destination.neutron.list_networks()]


def test_port_takes_address_and_mac(destination: OpenStackCloud, make: Maker, network: Network) -> None:
    neutron, project = destination.neutron, make.project()
    group = neutron.create_security_group(project.id, name("group"), "ctr")
    make.undo(neutron.delete_security_group, group.id)
    mac = _mac()
    assert neutron.find_port(network.id, "10.77.1.20") is None
    port = neutron.create_port(
        name="ctr-port", network=network, project_id=project.id, address="10.77.1.20", mac=mac.upper(),
        security_group_ids=[group.id],
    )  # fmt: skip
    make.undo(neutron.delete_port, port.id)
    assert (port.address, port.mac, port.network_id, port.project_id) == ("10.77.1.20", mac, network.id, project.id)
    assert (port.server_id, port.security_group_ids) == (None, (group.id,))
    assert neutron.get_port(port.id) == port
    assert neutron.find_port(network.id, "10.77.1.20") == port
    assert port in neutron.list_ports(network_id=network.id)
    assert port in neutron.list_ports()
    for address, other in (("10.77.1.20", _mac()), ("10.77.1.21", mac)):
        with pytest.raises(Conflict, match=address):
            neutron.create_port(
                name="ctr-second", network=network, project_id=project.id, address=address, mac=other,
                security_group_ids=[group.id],
            )  # fmt: skip
    neutron.delete_port(port.id)
    neutron.delete_port(port.id)
    with pytest.raises(NotFound):
        neutron.get_port(port.id)


RULES = [
    SecurityGroupRule("", "ingress", "IPv4", "tcp", 80, 443, remote_cidr="192.0.2.0/24"),
    SecurityGroupRule("", "ingress", "IPv4", "tcp", 22, 22, remote_cidr="0.0.0.0/0"),
    SecurityGroupRule("", "ingress", "IPv4", "icmp", None, None, remote_cidr="0.0.0.0/0"),
    SecurityGroupRule("", "ingress", "IPv4", "icmp", 8, 0, remote_cidr="192.0.2.0/24"),
    SecurityGroupRule("", "ingress", "IPv4", "udp", None, None),
    SecurityGroupRule("", "egress", "IPv4", "tcp", 25, 25, remote_cidr="198.51.100.1/32"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.protocol}-{rule.port_min}-{rule.remote_cidr}")
def test_rule_is_added_once(destination: OpenStackCloud, make: Maker, rule: SecurityGroupRule) -> None:
    neutron = destination.neutron
    group = neutron.create_security_group(destination.project_id, name("group"), "ctr")
    make.undo(neutron.delete_security_group, group.id)
    before = _rules(destination, group.id)
    neutron.add_security_group_rule(group.id, destination.project_id, rule)
    neutron.add_security_group_rule(group.id, destination.project_id, rule)
    [added] = [one for one in _rules(destination, group.id) if one not in before]
    assert (added.direction, added.ethertype, added.protocol) == (rule.direction, rule.ethertype, rule.protocol)
    assert (added.port_min, added.port_max) == (rule.port_min, rule.port_max)
    neutron.delete_security_group_rule(added.id)
    neutron.delete_security_group_rule(added.id)
    assert _rules(destination, group.id) == before


def test_rule_may_name_a_group(destination: OpenStackCloud, make: Maker) -> None:
    neutron, project = destination.neutron, make.project()
    one = neutron.create_security_group(project.id, name("group"), "ctr")
    make.undo(neutron.delete_security_group, one.id)
    rule = SecurityGroupRule("", "ingress", "IPv4", "tcp", 1, 65535, remote_group_id=one.id)
    neutron.add_security_group_rule(one.id, project.id, rule)
    neutron.add_security_group_rule(one.id, project.id, rule)
    [added] = [found for found in _rules(destination, one.id) if found.remote_group_id == one.id]
    # current Neutron stores all ports as none
    assert (added.port_min, added.port_max) in ((1, 65535), (None, None))
    assert added.remote_cidr is None
    assert same_rule(added, rule)
    listed = [group for group in neutron.list_security_groups() if group.project_id == project.id]
    assert {group.name for group in listed} >= {one.name}


def test_router_takes_the_gateway_address_when_it_is_free(
    destination: OpenStackCloud, make: Maker, network: Network, external: Network
) -> None:
    neutron, label = destination.neutron, name("router")
    assert network.subnet_id is not None
    assert neutron.find_router(network.id) is None
    assert neutron.find_router_by_name(label) is None
    router = neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id)
    make.undo(neutron.delete_router, router)
    assert neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id) == router
    assert neutron.find_router_by_name(label) == router
    assert neutron.find_router(network.id) == (router, external.id)
    held = neutron.find_port(network.id, "10.77.1.1")
    assert held is not None
    assert held.server_id == router
    neutron.delete_router(router)
    neutron.delete_router(router)
    assert neutron.find_router(network.id) is None
    assert neutron.find_port(network.id, "10.77.1.1") is None


def test_router_takes_another_address_when_the_gateway_is_held(
    destination: OpenStackCloud, make: Maker, network: Network, external: Network
) -> None:
    neutron = destination.neutron
    assert network.subnet_id is not None
    holder = neutron.create_port(
        name="ctr-old-gateway", network=network, project_id=destination.project_id, address="10.77.1.1", mac=None,
        security_group_ids=[],
    )  # fmt: skip
    make.undo(neutron.delete_port, holder.id)
    label = name("router")
    router = neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id)
    make.undo(neutron.delete_router, router)
    assert neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id) == router
    assert neutron.find_router(network.id) == (router, external.id)
    interfaces = [one for one in neutron.list_ports(network_id=network.id) if one.server_id == router]
    assert len(interfaces) == 1
    assert interfaces[0].address != "10.77.1.1"


@pytest.mark.parametrize("left", ["bare", "gateway", "port"])
def test_router_that_was_left_incomplete_is_finished(
    destination: OpenStackCloud, make: Maker, network: Network, external: Network, left: str
) -> None:
    """As a run finds it that was killed after the router, after its gateway, or after the interface's port."""
    neutron, api, label = destination.neutron, make.network(), name("router")
    assert network.subnet_id is not None
    gateway = {"external_gateway_info": {"network_id": external.id}} if left != "bare" else {}
    body = {"router": {"name": label, **gateway}}
    router = api.post("/routers", body, "leave a router").doc().doc("router").text("id")
    make.undo(neutron.delete_router, router)
    if left == "port":
        holder = neutron.create_port(
            name="ctr-old-gateway", network=network, project_id=destination.project_id, address="10.77.1.1", mac=None,
            security_group_ids=[],
        )  # fmt: skip
        make.undo(neutron.delete_port, holder.id)
        fixed = [{"subnet_id": network.subnet_id}]
        port = {"port": {"name": f"{label}-interface", "network_id": network.id, "fixed_ips": fixed}}
        api.post("/ports", port, "leave a port")
    before = len(neutron.list_ports(network_id=network.id))
    assert neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id) == router
    assert neutron.find_router(network.id) == (router, external.id)
    assert len(neutron.list_ports(network_id=network.id)) == before + (left != "port")


def test_router_is_never_moved_to_another_external_network(
    destination: OpenStackCloud, make: Maker, network: Network, external: Network
) -> None:
    neutron, label = destination.neutron, name("router")
    assert network.subnet_id is not None
    other = neutron.create_network(described(name("ext"), "198.51.100", external=True, dhcp=False))
    make.undo(neutron.delete_network, other.id)
    router = neutron.create_router(label, external_network_id=external.id, subnet_id=network.subnet_id)
    make.undo(neutron.delete_router, router)
    with pytest.raises(CloudError, match=label):
        neutron.create_router(label, external_network_id=other.id, subnet_id=network.subnet_id)
    assert neutron.find_router(network.id) == (router, external.id)


def test_floating_ip_is_that_very_address(destination: OpenStackCloud, make: Maker, external: Network) -> None:
    neutron, project = destination.neutron, make.project()
    assert neutron.floating_pools()[external.name] == ("203.0.113.0/24",)
    assert neutron.find_floating_ip("203.0.113.9") is None
    made = neutron.create_floating_ip(external_network_id=external.id, project_id=project.id, address="203.0.113.9")
    make.undo(neutron.delete_floating_ip, made.id)
    assert (made.address, made.pool, made.project_id) == ("203.0.113.9", external.name, project.id)
    assert (made.server_id, made.fixed_address) == (None, None)
    assert neutron.find_floating_ip("203.0.113.9") == made
    assert made in neutron.list_floating_ips()
    with pytest.raises(Conflict, match=r"203\.0\.113\.9"):
        neutron.create_floating_ip(external_network_id=external.id, project_id=project.id, address="203.0.113.9")
    neutron.delete_floating_ip(made.id)
    neutron.delete_floating_ip(made.id)
    assert neutron.find_floating_ip("203.0.113.9") is None


def test_a_server_boots_on_a_port_made_for_it(
    destination: OpenStackCloud, make: Maker, network: Network, external: Network, undo: Undo
) -> None:
    neutron, project, mac = destination.neutron, make.project(), _mac()
    assert network.subnet_id is not None
    router = neutron.create_router(name("router"), external_network_id=external.id, subnet_id=network.subnet_id)
    undo(neutron.delete_router, router)
    group = neutron.create_security_group(project.id, name("group"), "ctr")
    undo(neutron.delete_security_group, group.id)
    port = neutron.create_port(
        name="ctr-server", network=network, project_id=project.id, address="10.77.1.30", mac=mac,
        security_group_ids=[group.id],
    )  # fmt: skip
    undo(neutron.delete_port, port.id)
    floating = neutron.create_floating_ip(
        external_network_id=external.id, project_id=project.id, address="203.0.113.30"
    )
    undo(neutron.delete_floating_ip, floating.id)
    flavor = make.flavor()
    image = destination.images.create_image(raw_image(name("image"), visibility="public"))
    undo(destination.images.delete_image, image.id)
    destination.images.upload(image.id, iter([b"x" * 4096]))

    there = destination.in_project(project.id)
    undo(there.close)
    spec = ServerSpec(name("server"), flavor.id, image.id, (port.id,), metadata={"k": "v"})
    server_id = there.compute.create_server(spec)
    undo(destination.compute.wait_server_gone, server_id, timeout_s=WAIT_S)
    undo(destination.compute.delete_server, server_id)
    server = destination.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    assert (server.project_id, server.metadata) == (project.id, {"k": "v"})
    assert [(one.network, one.address, one.mac) for one in server.addresses] == [(network.name, "10.77.1.30", mac)]
    assert server.security_groups == (group.name,)
    assert server in destination.compute.list_servers(project_id=project.id)
    assert [one.id for one in neutron.list_ports(server_id=server_id)] == [port.id]

    neutron.bind_floating_ip(floating.id, port.id)
    neutron.bind_floating_ip(floating.id, port.id)
    bound = neutron.find_floating_ip("203.0.113.30")
    assert bound is not None
    assert (bound.server_id, bound.fixed_address) == (server_id, "10.77.1.30")
    assert _shown_floating(destination, server_id) == ("203.0.113.30",)
    neutron.bind_floating_ip(floating.id, None)
    neutron.bind_floating_ip(floating.id, None)

    there.compute.stop_server(server_id)
    destination.compute.wait_server(server_id, "SHUTOFF", timeout_s=WAIT_S)
    there.compute.stop_server(server_id)
    there.compute.start_server(server_id)
    destination.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    destination.compute.delete_server(server_id)
    destination.compute.wait_server_gone(server_id, timeout_s=WAIT_S)
    left = neutron.get_port(port.id)
    assert (left.server_id, left.address, left.mac) == (None, "10.77.1.30", mac)


def _mac() -> str:
    return "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def _rules(destination: OpenStackCloud, group_id: str) -> set[SecurityGroupRule]:
    [group] = [one for one in destination.neutron.list_security_groups() if one.id == group_id]
    return set(group.rules)


def _shown_floating(destination: OpenStackCloud, server_id: str) -> tuple[str, ...]:
    # Neutron tells Nova a moment later
    end = time.monotonic() + 30
    server: Server = destination.compute.get_server(server_id)
    while not server.floating_ips and time.monotonic() < end:
        time.sleep(0.2)
        server = destination.compute.get_server(server_id)
    return server.floating_ips
