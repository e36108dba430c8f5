"""Networks, groups, floating IPs and quotas on real services; everything is taken away again.

What the lab only claims is asked of Neutron 29 and of nova 15's nova-network themselves.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Iterator

import pytest

from pumphouse.clouds import OpenStackCloud, connect, rule_key
from pumphouse.errors import Conflict
from pumphouse.model import Network, Project, SecurityGroupRule
from pumphouse.plan.rules import egress
from pumphouse.steps.ground import NovaGround

from .tier import Clouds

pytestmark = pytest.mark.real
#: Rules as a plan has them: every shape that a nova-network rule can take.
RULES = [
    SecurityGroupRule("", "ingress", "IPv4", "tcp", 22, 22, remote_cidr="0.0.0.0/0"),
    SecurityGroupRule("", "ingress", "IPv4", "udp", 1000, 2000, remote_cidr="10.0.0.0/8"),
    SecurityGroupRule("", "ingress", "IPv4", "icmp", None, None, remote_cidr="10.0.0.0/8"),
    SecurityGroupRule("", "ingress", "IPv4", "icmp", 8, None, remote_cidr="192.0.2.0/24"),
    SecurityGroupRule("", "ingress", "IPv4", "icmp", 3, 4, remote_cidr="192.0.2.0/24"),
]
Undo = Callable[..., None]


@pytest.fixture
def undo() -> Iterator[Undo]:
    """Calls to be made at the end, last first."""
    calls: list[Callable[[], object]] = []

    def later(call: Callable[..., object], *args: object) -> None:
        calls.append(lambda: call(*args))

    yield later
    for call in reversed(calls):
        call()


@pytest.fixture
def destination(clouds: Clouds) -> Iterator[OpenStackCloud]:
    cloud = connect("destination", side="destination", clouds_yaml=clouds.home.clouds_yaml)
    yield cloud
    cloud.close()


@pytest.fixture
def source(clouds: Clouds) -> Iterator[OpenStackCloud]:
    cloud = connect("source", side="source", clouds_yaml=clouds.home.clouds_yaml)
    yield cloud
    cloud.close()


@pytest.fixture
def project(destination: OpenStackCloud, undo: Undo) -> Project:
    """A project of the destination; its default group goes with it."""
    made = destination.identity.create_project(_name())
    undo(destination.identity.delete_project, made.id)

    def clear() -> None:
        for group in destination.neutron.list_security_groups(project_id=made.id):
            destination.neutron.delete_security_group(group.id)

    undo(clear)
    return made


def _name() -> str:
    return f"hnet-{secrets.token_hex(4)}"


@pytest.mark.parametrize(("kind", "segment"), [("flat", None), ("vlan", 299)])
def test_a_provider_network_is_on_the_segment_that_was_named(
    destination: OpenStackCloud, undo: Undo, kind: str, segment: int | None
) -> None:
    neutron, name = destination.neutron, _name()
    physical = name if kind == "flat" else "physnet1"
    wanted = Network(
        id="", name=name, cidr="10.66.0.0/24", gateway_ip="10.66.0.254", dns=("192.0.2.53",),
        pools=(("10.66.0.238", "10.66.0.253"),), shared=True, network_type=kind, physical_network=physical,
        segment=segment,
    )  # fmt: skip
    made = neutron.create_network(wanted)
    undo(neutron.delete_network, made.id)
    assert (made.network_type, made.physical_network, made.segment) == (kind, physical, segment)
    assert (made.gateway_ip, made.pools, made.mtu) == (wanted.gateway_ip, wanted.pools, 1500)
    assert neutron.get_network(made.id) == made
    assert neutron.networks_named(name) == [made]
    with pytest.raises(Conflict, match="in use"):
        neutron.create_network(wanted)
    assert neutron.networks_named(name) == [made]


def test_the_default_group_can_be_made_to_let_through_what_nova_network_did(
    destination: OpenStackCloud, project: Project
) -> None:
    neutron = destination.neutron
    (default,) = neutron.list_security_groups(project_id=project.id)
    for rule in default.rules:
        neutron.delete_security_group_rule(rule.id)
    own = SecurityGroupRule("", "ingress", "IPv4", None, None, None, remote_group_id=default.id)
    wanted = [*RULES, own, *egress()]
    for rule in wanted:
        neutron.add_security_group_rule(default.id, project.id, rule)
        neutron.add_security_group_rule(default.id, project.id, rule)
    stored = neutron.get_security_group(default.id).rules
    assert sorted(map(str, map(rule_key, stored))) == sorted(map(str, map(rule_key, wanted)))
    with pytest.raises(Conflict):
        neutron.create_security_group(project.id, "Default", "")


def test_one_port_holds_two_addresses_and_a_floating_ip_finds_the_second(
    destination: OpenStackCloud, project: Project, undo: Undo
) -> None:
    neutron, name = destination.neutron, _name()
    made = neutron.create_network(
        Network(id="", name=name, cidr="10.66.1.0/24", gateway_ip="10.66.1.1", pools=(("10.66.1.9", "10.66.1.9"),))
    )
    undo(neutron.delete_network, made.id)
    assert made.subnet_id is not None
    (public,) = (network for network in neutron.list_networks() if network.external and network.name == "public")
    undo(neutron.delete_router, neutron.create_router(name, external_network_id=public.id, subnet_id=made.subnet_id))
    port = neutron.create_port(
        name=name, network=made, project_id=project.id, address="10.66.1.20", mac=None, security_group_ids=[],
        more=["10.66.1.21"],
    )  # fmt: skip
    undo(neutron.delete_port, port.id)
    assert sorted(port.addresses) == ["10.66.1.20", "10.66.1.21"]
    floating = neutron.create_floating_ip(external_network_id=public.id, project_id=project.id, address="172.24.4.26")
    undo(neutron.delete_floating_ip, floating.id)
    neutron.bind_floating_ip(floating.id, port.id, fixed_address="10.66.1.21")
    found = neutron.find_floating_ip("172.24.4.26")
    assert found is not None
    assert (found.fixed_address, found.project_id, found.pool) == ("10.66.1.21", project.id, "public")
    neutron.bind_floating_ip(floating.id, None)


def test_limits_are_set_and_forgotten_again(destination: OpenStackCloud, project: Project) -> None:
    neutron = destination.neutron
    assert neutron.own_quota(project.id) is None
    default = neutron.default_quota().limits
    neutron.set_quota(project.id, {"floatingip": 7})
    use = neutron.quota_use(project.id)
    assert (use["floatingip"], use["port"]) == ((7, 0), (default["port"], 0))
    own = neutron.own_quota(project.id)
    assert own is not None
    assert own.limits["floatingip"] == 7
    neutron.reset_quota(project.id)
    neutron.reset_quota(project.id)
    assert neutron.own_quota(project.id) is None


def test_the_source_tells_which_addresses_it_cannot_spare(source: OpenStackCloud, undo: Undo) -> None:
    nova = source.nova_network
    network = next(network for network in nova.list_networks() if network.cidr)
    assert network.cidr is not None
    address = str(ipaddress.ip_network(network.cidr)[-9])
    assert nova.tells_reservations()
    assert nova.fixed_ip_state(address) == "free"
    nova.reserve_fixed_ip(address)
    undo(nova.unreserve_fixed_ip, address)
    assert nova.fixed_ip_state(address) == "reserved"
    assert nova.fixed_ip_state(str(network.gateway_ip)) == "reserved"


def test_real_nova_network_takes_a_group_and_that_very_floating_ip(source: OpenStackCloud, undo: Undo) -> None:
    """As a destination: the administrator works in his own project, where he may."""
    ground, project_id, name = NovaGround(source), source.project_id, _name()
    group = ground.create_security_group(project_id, name, "")
    undo(ground.delete_security_group, group.id)
    own = SecurityGroupRule("", "ingress", "IPv4", None, None, None, remote_group_id=group.id)
    for rule in [*RULES, own]:
        ground.add_security_group_rule(group.id, project_id, rule)
        ground.add_security_group_rule(group.id, project_id, rule)
    wanted = [rule_key(rule) for rule in (*RULES, own, *egress())]
    found = ground.get_security_group(group.id)
    assert sorted(map(str, map(rule_key, found.rules))) == sorted(map(str, wanted))
    for rule in found.rules:
        if rule.id:
            ground.delete_security_group_rule(rule.id)
    assert [rule.direction for rule in ground.get_security_group(group.id).rules] == ["egress", "egress"]

    address = "198.18.66.9"
    floating = ground.create_floating_ip(external_network_id=name, project_id=project_id, address=address)
    undo(ground.delete_floating_ip, address)
    assert (floating.address, floating.project_id) == (address, project_id)
    kept = ground.find_floating_ip(address)
    assert kept is not None
    assert (kept.pool, kept.project_id) == (name, project_id)
    ground.delete_floating_ip(address)
    assert ground.find_floating_ip(address) is None


def test_real_nova_network_makes_and_forgets_a_network(source: OpenStackCloud, undo: Undo) -> None:
    ground, name = NovaGround(source), _name()
    wanted = Network(
        id="", name=name, cidr="198.18.67.0/28", gateway_ip="198.18.67.14", dns=("192.0.2.53",), bridge="br66"
    )
    made = ground.create_network(wanted)
    undo(ground.delete_network, made.id)
    assert (made.name, made.cidr, made.gateway_ip) == (name, wanted.cidr, wanted.gateway_ip)
    assert [network.id for network in ground.networks_named(name)] == [made.id]
    source.nova_network.reserve_fixed_ip("198.18.67.3")
    assert source.nova_network.fixed_ip_state("198.18.67.3") == "reserved"
    ground.delete_network(made.id)
    assert ground.networks_named(name) == []
