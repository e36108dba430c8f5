"""Which network a plan makes at the destination, and which addresses it leaves to whom."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.checks.network_quotas import check_network_quotas
from pumphouse.clouds.api import Cloud
from pumphouse.clouds.network_api import NovaNetwork
from pumphouse.errors import CloudUnreachable
from pumphouse.findings import Finding, blocking
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import Address, FloatingIp, Network, Port, Project, Quota
from pumphouse.plan.addresses import addresses
from pumphouse.plan.model import Plan
from pumphouse.plan.networks import taken_addresses
from pumphouse.plan.ports import nics
from pumphouse.site import Provider
from tests.core.making import ACME, acme_servers, healthy, planned
from tests.factories import kid, make_facts, make_server, make_snapshot, uid

NET = healthy().networks[0]
WEB1 = uid("acme-web1")
FLAT = Provider("physnet1")


def network(plan: Plan) -> dict[str, Any]:
    return dict(plan.step(f"network:{NET.id}").params)


def reserved(plan: Plan) -> list[str]:
    (step,) = [step for step in plan.steps if step.kind == "reserve-slice"]
    assert step.changes == "source"
    assert step.key in plan.step(f"network:{NET.id}").needs
    return list(step.params["addresses"])


def texts(plan: Plan, findings: tuple[Finding, ...]) -> str:
    return "\n".join([*(note.text for note in plan.notes), *(f"{f.code}: {f.message}" for f in findings)])


@pytest.mark.parametrize("provider", [None, FLAT, Provider("physnet1", "vlan", 100)], ids=["own", "flat", "vlan"])
def test_what_the_destination_hands_out_is_reserved_at_the_source(tmp_path: Path, provider: Provider | None) -> None:
    plan, findings = planned(tmp_path, provider={"private": provider} if provider else {})
    assert blocking(findings) == ()
    params = network(plan)
    ((first, last),) = params["pools"]
    assert [*addresses(first, last), params["gateway_ip"]] == reserved(plan)
    used = {a.address for server in healthy().servers for a in server.addresses} | {NET.gateway_ip}
    assert not used & set(reserved(plan))
    expected = None
    if provider is not None:
        expected = {
            "network_type": provider.type,
            "physical_network": "physnet1",
            "segment": provider.segment,
        }
    assert params["provider"] == expected
    assert (params["cidr"], params["dns"]) == (NET.cidr, list(NET.dns))
    assert ("l2-not-shared" in texts(plan, findings)) is (provider is None)


def test_guests_keep_their_router_where_nobody_has_a_floating_ip(tmp_path: Path) -> None:
    source = healthy(floating_ips=())
    plan, findings = planned(tmp_path, source=source, provider={"private": FLAT})
    params = network(plan)
    assert params["gateway_ip"] == NET.gateway_ip
    ((first, last),) = params["pools"]
    assert addresses(first, last) == reserved(plan)
    assert "two-dhcp-servers" not in texts(plan, findings)
    assert "same address, same router" in texts(plan, findings)
    assert not [step for step in plan.steps if step.kind == "router"]


def test_two_answers_to_one_mac_are_said_unless_they_never_meet(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, provider={"private": FLAT})
    (warning,) = [f for f in findings if f.code == "two-dhcp-servers"]
    assert str(NET.gateway_ip) in warning.message
    assert network(plan)["gateway_ip"] in warning.message
    plan, findings = planned(tmp_path, provider={"private": replace(FLAT, dhcp="filtered")})
    assert "two-dhcp-servers" not in texts(plan, findings)
    assert "DHCP does not pass between the clouds" in texts(plan, findings)


def test_the_operators_range_is_taken_as_it_is(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, provider={"private": replace(FLAT, pool="10.10.0.100-10.10.0.103")})
    assert reserved(plan) == ["10.10.0.100", "10.10.0.101", "10.10.0.102", "10.10.0.103"]
    assert network(plan)["pools"] == [["10.10.0.100", "10.10.0.102"]]
    assert network(plan)["gateway_ip"] == "10.10.0.103"


def test_nothing_is_cut_out_of_what_the_source_does_not_hand_out(tmp_path: Path) -> None:
    source = healthy(networks=(replace(NET, pools=(("10.10.0.2", "10.10.0.99"),), dhcp_server="10.10.0.98"),))
    plan, _ = planned(tmp_path, source=source)
    assert max(map(ipaddress.ip_address, reserved(plan))) == ipaddress.ip_address("10.10.0.97")


def test_floating_ips_of_the_same_network_are_not_given_away(tmp_path: Path) -> None:
    pools = {"public": ("172.24.4.0/28",), "inside": ("10.10.0.240/28",)}
    plan, _ = planned(tmp_path, source=healthy(floating_pools=pools))
    assert reserved(plan)[-1] == "10.10.0.239"


class States:
    """nova-network's answers about single addresses."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.asked: list[str] = []

    def fixed_ip_state(self, address: str) -> str:
        self.asked.append(address)
        return self.states.get(address, "free")


def test_addresses_that_no_server_shows_are_found_by_asking(tmp_path: Path) -> None:
    nova = States(**{"10.10.0.254": "used", "10.10.0.240": "used", "10.10.0.239": "reserved"})
    taken = taken_addresses(healthy(), cast(NovaNetwork, nova))
    assert taken == {"10.10.0.254", "10.10.0.240", "10.10.0.239"}
    assert len(nova.asked) < 80
    ours = taken_addresses(healthy(), cast(NovaNetwork, nova), ours=frozenset({"10.10.0.239"}))
    assert "10.10.0.239" not in ours


def test_an_existing_network_with_small_packets_or_of_its_own_is_said(tmp_path: Path) -> None:
    there = Network("n1", "private", NET.cidr, "10.10.0.254", subnet_id="s", mtu=1450, network_type="vxlan")
    snapshot = make_snapshot("destination")
    plan, findings = planned(
        tmp_path, destination=make_snapshot("destination", networks=(*snapshot.networks, there)), floating_pools={}
    )
    assert blocking(findings) == ()
    assert {"mtu-smaller", "l2-not-shared"} <= {finding.code for finding in findings}
    assert not [step for step in plan.steps if step.kind == "reserve-slice"]


@pytest.mark.parametrize("held", [False, True])
def test_a_router_never_takes_the_sources_gateway_on_a_shared_segment(tmp_path: Path, held: bool) -> None:
    there = Network("n1", "private", NET.cidr, NET.gateway_ip, subnet_id="s", network_type="flat")
    empty = make_snapshot("destination")
    port = Port("p", "", "n1", "x", NET.gateway_ip, "fa:16:3e:00:00:99", "ACTIVE", None, "network:router_interface")
    tables: dict[str, Any] = {"networks": (*empty.networks, there), "ports": (*empty.ports, *([port] if held else []))}
    _, findings = planned(tmp_path, destination=make_snapshot("destination", **tables))
    assert ("gateway-is-sources" in {finding.code for finding in findings}) is not held


def test_addresses_of_one_interface_share_a_port_and_interfaces_keep_their_order(tmp_path: Path) -> None:
    dmz = replace(NET, id=uid("dmz"), name="dmz", cidr="10.20.0.0/24", gateway_ip="10.20.0.1", pools=())
    server = make_server(
        addresses=(
            Address("private", "10.10.0.11", "fa:16:3e:00:00:01"),
            Address("dmz", "10.20.0.7", "fa:16:3e:00:00:02"),
            Address("private", "10.10.0.12", "fa:16:3e:00:00:01"),
        )
    )
    assert [[a.address for a in nic] for nic in nics(server)] == [["10.10.0.11", "10.10.0.12"], ["10.20.0.7"]]
    source = healthy(networks=(NET, dmz), servers=acme_servers(server))
    plan, findings = planned(tmp_path, "acme-web1", source=source)
    assert blocking(findings) == ()
    boot = plan.step(f"boot:{WEB1}")
    assert boot.params["port_ids"] == [f"{WEB1}/10.10.0.11", f"{WEB1}/10.20.0.7"]
    assert {a["address"] for a in boot.params["addresses"]} == {"10.10.0.11", "10.10.0.12", "10.20.0.7"}
    port = plan.step(f"port:{WEB1}/10.10.0.11")
    assert (port.params["address"], port.params["more"]) == ("10.10.0.11", ["10.10.0.12"])


def test_a_floating_ip_on_a_second_address_is_bound_to_it(tmp_path: Path) -> None:
    mac = "fa:16:3e:00:00:01"
    server = make_server(addresses=(Address("private", "10.10.0.11", mac), Address("private", "10.10.0.12", mac)))
    floating = FloatingIp("1", "172.24.4.11", "public", kid("acme"), "10.10.0.12", WEB1)
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(servers=acme_servers(server), floating_ips=(floating,)))
    params = plan.step("floating-ip:172.24.4.11").params
    assert (params["port_id"], params["fixed_address"]) == (f"{WEB1}/10.10.0.11", "10.10.0.12")


# --- floating IPs without a server ----------------------------------------------------------------------


def test_spare_floating_ips_move_with_the_whole_project_only(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, *ACME)
    (step,) = [step for step in plan.steps if step.kind == "spare-floating-ip"]
    assert (step.params["address"], step.params["project_id"]) == ("172.24.4.12", kid("acme"))
    plan, _ = planned(tmp_path, "acme-web1")
    assert not [step for step in plan.steps if step.kind == "spare-floating-ip"]
    assert any(note.object == "floating IP 172.24.4.12" and "stays" in note.text for note in plan.notes)


# --- traffic within a network -------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["", "keep", "drop"])
def test_what_reaches_a_server_from_its_own_network_is_decided_by_the_site(tmp_path: Path, chosen: str) -> None:
    plan, findings = planned(tmp_path, "acme-web1", same_net_traffic=chosen)
    assert ("same-net-traffic" in {finding.code for finding in findings}) is (chosen == "")
    wide = [
        rule
        for group in plan.step(f"port:{WEB1}/10.10.0.11").params["security_group_ids"]
        for rule in plan.step(f"security-group-rules:{group}").params["rules"]
        if rule["remote_cidr"] == NET.cidr and rule["protocol"] is None
    ]
    assert len(wide) == (chosen == "keep")


def test_members_of_a_named_group_that_stay_are_said(tmp_path: Path) -> None:
    _, findings = planned(tmp_path, "acme-db1")
    (warning,) = [finding for finding in findings if finding.code == "group-members-stay"]
    assert "acme-web1" in warning.message
    _, findings = planned(tmp_path, *ACME)
    assert "group-members-stay" not in {finding.code for finding in findings}


# --- quotas -----------------------------------------------------------------------------------------------------


def with_quota(**limits: int) -> Snapshot:
    default = {"floating_ips": 10, "fixed_ips": -1, "security_groups": 10, "security_group_rules": 20}
    return healthy(quotas=(Quota(kid("acme"), {**default, **limits}),), default_quota=Quota("", default))


def test_network_limits_that_somebody_gave_go_along_as_neutron_counts(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, source=with_quota(floating_ips=40, fixed_ips=3, security_group_rules=50))
    step = plan.step(f"network-quota:{kid('acme')}")
    limits = step.params["limits"]
    assert limits["floatingip"] == 40
    assert limits["port"] == len(ACME)  # what the project uses already, whatever the limit said
    assert limits["security_group_rule"] == 10 * (50 + 2) + 4
    assert step.key in plan.step("security-group:1").needs
    plan, _ = planned(tmp_path, source=with_quota())
    assert not [step for step in plan.steps if step.kind == "network-quota"]


def test_limits_of_a_project_that_was_there_stay(tmp_path: Path) -> None:
    there = make_snapshot("destination", projects=(Project("p1", "acme"),))
    plan, _ = planned(tmp_path, source=with_quota(floating_ips=40), destination=there)
    assert not [step for step in plan.steps if step.kind == "network-quota"]


def new_cloud(**limits: int) -> Cloud:
    """A Neutron that gives new projects these limits, and the operator's anything."""
    plenty = {"network": (-1, 0), "subnet": (-1, 0), "router": (-1, 0)}
    neutron = SimpleNamespace(
        default_quota=lambda: Quota("", {"port": 500, "floatingip": 50, "security_group": 10, **limits}),
        quota_use=lambda _project_id: plenty,
    )
    facts = make_facts("destination")
    return cast(Cloud, SimpleNamespace(name="new", neutron=neutron, facts=facts, project_id="operators"))


QUOTAS: list[tuple[dict[str, int], str]] = [
    ({"port": len(ACME) - 1}, "port"),
    ({"floatingip": 1}, "floatingip"),
    ({"security_group": 2}, "security_group"),
    ({"security_group_rule": 8}, "security_group_rule"),
]


@pytest.mark.parametrize(("limits", "resource"), QUOTAS, ids=[resource for _, resource in QUOTAS])
def test_a_network_quota_that_is_too_small_blocks(tmp_path: Path, limits: dict[str, int], resource: str) -> None:
    plan, _ = planned(tmp_path)
    inventory = Inventory(healthy(), make_snapshot("destination"))
    assert check_network_quotas(plan, new_cloud(), inventory) == ()
    (finding,) = check_network_quotas(plan, new_cloud(**limits), inventory)
    assert (finding.severity, finding.code, finding.object) == ("block", "network-quota", "project acme")
    assert f"of {resource} at new" in finding.message


def test_a_network_quota_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    def refuse() -> Quota:
        raise CloudUnreachable("no answer")

    plan, _ = planned(tmp_path)
    cloud = new_cloud()
    cast(Any, cloud).neutron.default_quota = refuse
    (finding,) = check_network_quotas(plan, cloud, Inventory(healthy(), make_snapshot("destination")))
    assert (finding.severity, finding.code) == ("warn", "network-quota-unknown")


# --- an older destination ------------------------------------------------------------------------------------------


def test_into_nova_network_addresses_are_kept_back_until_their_server_is_down(tmp_path: Path) -> None:
    facts = make_facts("destination", network_service="nova-network")
    there = make_snapshot("destination", facts=facts, networks=(), ports=(), floating_pools={})
    plan, findings = planned(tmp_path, destination=there)
    assert blocking(findings) == ()
    keep = plan.step(f"keep-off:{NET.id}")
    everything = {str(address) for address in ipaddress.ip_network(str(NET.cidr)).hosts()}
    assert set(keep.params["addresses"]) == everything - set(reserved(plan))
    port = plan.step(f"port:{WEB1}/10.10.0.11")
    assert (port.kind, port.phase) == ("open-fixed-ip", "cutover")
    assert {f"stop:{WEB1}", keep.key} <= set(port.needs)
    boot = plan.step(f"boot:{WEB1}")
    assert port.key in boot.needs
    assert boot.params["addresses"] == [{"address": "10.10.0.11", "mac": None}]
    assert f"boot:{WEB1}" in plan.step("floating-ip:172.24.4.11").needs
    assert not [step for step in plan.steps if step.kind in ("router", "port")]
