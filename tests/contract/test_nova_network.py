"""nova-network, on the source."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.clouds.parse import path
from pumphouse.errors import Conflict, NotFound
from pumphouse.model import Network, Server, ServerSpec
from tests.contract.conftest import WAIT_S, Maker, Undo, name


@pytest.fixture
def make(source: OpenStackCloud, undo: Undo) -> Maker:
    """A maker on the source."""
    return Maker(source, undo)


@pytest.fixture
def network(source: OpenStackCloud) -> Network:
    """A network with an address range."""
    return next(one for one in source.nova_network.list_networks() if one.pools)


@pytest.fixture
def server(source: OpenStackCloud, make: Maker, undo: Undo) -> Iterator[Server]:
    """An active server."""
    spec = ServerSpec(name("server"), make.flavor().id, make.image().id, ())
    server_id = source.compute.create_server(spec)
    undo(source.compute.wait_server_gone, server_id, timeout_s=WAIT_S)
    undo(source.compute.delete_server, server_id)
    return source.compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)


@pytest.fixture
def floating(source: OpenStackCloud, make: Maker) -> str:
    """A floating IP allocated to our project."""
    pool = next(iter(source.nova_network.floating_pools()))
    made = make.compute().post("/os-floating-ips", {"pool": pool}, "allocate").doc().doc("floating_ip")
    make.undo(make.compute().delete, path("os-floating-ips", made.text("id")), "release")
    return made.text("ip")


def test_network_has_a_range_inside_its_cidr(network: Network) -> None:
    assert network.cidr is not None
    assert network.name
    inside = ipaddress.ip_network(network.cidr)
    [(first, last)] = network.pools
    assert ipaddress.ip_address(first) in inside
    assert ipaddress.ip_address(last) in inside
    assert network.gateway_ip is None or ipaddress.ip_address(network.gateway_ip) in inside


def test_fixed_ip_state(source: OpenStackCloud, network: Network) -> None:
    used = {one.address for server in source.compute.list_servers() for one in server.addresses}
    assert all(source.nova_network.fixed_ip_state(address) == "used" for address in sorted(used)[:3])
    assert source.nova_network.fixed_ip_state("198.51.100.77") == "outside"


def test_reserving_is_repeatable_and_undone(source: OpenStackCloud, network: Network, undo: Undo) -> None:
    address = _free(source, network)
    source.nova_network.reserve_fixed_ip(address)
    undo(source.nova_network.unreserve_fixed_ip, address)
    source.nova_network.reserve_fixed_ip(address)
    told = "reserved" if source.nova_network.tells_reservations() else "free"
    assert source.nova_network.fixed_ip_state(address) == told
    source.nova_network.unreserve_fixed_ip(address)
    source.nova_network.unreserve_fixed_ip(address)
    assert source.nova_network.fixed_ip_state(address) == "free"
    with pytest.raises(NotFound):
        source.nova_network.reserve_fixed_ip("198.51.100.77")


def test_security_groups_resolve_their_source_group(source: OpenStackCloud, make: Maker) -> None:
    api = make.compute()
    groups = []
    for label in (name("group"), name("group")):
        body = {"security_group": {"name": label, "description": "ctr"}}
        groups.append(api.post("/os-security-groups", body, "create group").doc().doc("security_group").text("id"))
        make.undo(api.delete, path("os-security-groups", groups[-1]), "delete group")
    rules = [
        {"ip_protocol": "tcp", "from_port": 80, "to_port": 443, "cidr": "192.0.2.0/24"},
        {"ip_protocol": "icmp", "from_port": -1, "to_port": -1, "cidr": "0.0.0.0/0"},
        {"ip_protocol": "udp", "from_port": 53, "to_port": 53, "group_id": groups[1]},
    ]
    for rule in rules:
        body = {"security_group_rule": {"parent_group_id": groups[0], **rule}}
        api.post("/os-security-group-rules", body, "add rule")
    listed = {group.id: group for group in source.nova_network.list_security_groups()}
    assert listed[groups[1]].rules == ()
    assert listed[groups[0]].project_id == source.project_id
    got = {(r.protocol, r.port_min, r.port_max, r.remote_cidr, r.remote_group_id) for r in listed[groups[0]].rules}
    assert got == {
        ("tcp", 80, 443, "192.0.2.0/24", None),
        ("icmp", None, None, "0.0.0.0/0", None),
        ("udp", 53, 53, None, groups[1]),
    }
    assert {(r.direction, r.ethertype) for r in listed[groups[0]].rules} == {("ingress", "IPv4")}


def test_floating_ip_is_bound_and_unbound_any_number_of_times(
    source: OpenStackCloud, server: Server, floating: str
) -> None:
    network, fixed = source.nova_network, server.addresses[0].address
    assert _floating(source, floating) == (None, None)
    network.associate_floating_ip(server.id, floating, fixed_address=fixed)
    network.associate_floating_ip(server.id, floating, fixed_address=fixed)
    assert _floating(source, floating) == (server.id, fixed)
    assert source.compute.get_server(server.id).floating_ips == (floating,)
    network.disassociate_floating_ip(server.id, floating)
    network.disassociate_floating_ip(server.id, floating)
    assert _floating(source, floating) == (None, None)
    assert source.compute.get_server(server.id).floating_ips == ()
    with pytest.raises(NotFound):
        network.associate_floating_ip(server.id, "198.51.100.77")
    network.disassociate_floating_ip(server.id, "198.51.100.77")


def test_a_floating_ip_is_never_taken_from_another_server(
    source: OpenStackCloud, make: Maker, server: Server, floating: str, undo: Undo
) -> None:
    source.nova_network.associate_floating_ip(server.id, floating)
    undo(source.nova_network.disassociate_floating_ip, server.id, floating)
    spec = ServerSpec(name("second"), make.flavor().id, make.image().id, ())
    second = source.compute.create_server(spec)
    undo(source.compute.wait_server_gone, second, timeout_s=WAIT_S)
    undo(source.compute.delete_server, second)
    source.compute.wait_server(second, "ACTIVE", timeout_s=WAIT_S)
    with pytest.raises(Conflict, match=server.id):
        source.nova_network.associate_floating_ip(second, floating)
    source.nova_network.disassociate_floating_ip(second, floating)
    assert _floating(source, floating)[0] == server.id


def test_pools_hold_the_floating_ips(source: OpenStackCloud) -> None:
    pools = source.nova_network.floating_pools()
    assert pools
    for one in source.nova_network.list_floating_ips():
        cidrs = [ipaddress.ip_network(cidr) for cidr in pools[one.pool]]
        assert any(ipaddress.ip_address(one.address) in cidr for cidr in cidrs)
        assert one.project_id


def _free(source: OpenStackCloud, network: Network) -> str:
    last = ipaddress.IPv4Address(network.pools[0][1])
    candidates = (str(last - back) for back in range(1, 20))
    return next(one for one in candidates if source.nova_network.fixed_ip_state(one) == "free")


def _floating(source: OpenStackCloud, address: str) -> tuple[str | None, str | None]:
    [found] = [one for one in source.nova_network.list_floating_ips() if one.address == address]
    return found.server_id, found.fixed_address
