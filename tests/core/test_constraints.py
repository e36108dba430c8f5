"""The seed's constraints, names in site.yaml that nobody has, and room at the destination."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.checks import check_site
from pumphouse.checks.capacity import check_room
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.inventory.snapshot import Gap
from pumphouse.model import Aggregate, Hypervisor, Network, Port, Service
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.site import Carry
from tests.core.making import healthy, make_site, planned
from tests.factories import kid, make_flavor, make_server, make_snapshot, uid

NET = healthy().networks[0]


def of(tmp_path: Path, source: dict[str, Any], destination: dict[str, Any], **site: Any) -> list[Finding]:
    inventory = Inventory(healthy(**source), make_snapshot("destination", **destination))
    return list(check_site(inventory, make_site(tmp_path, **site)))


def found(findings: list[Finding], code: str) -> list[tuple[str, str]]:
    return [(finding.severity, finding.object) for finding in findings if finding.code == code]


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        ({"vlan_id": 7}, "block", "VLAN 7"),
        ({"bridge": None}, "warn", "without a bridge"),
        ({"pools": ()}, "warn", "a DHCP range"),
        ({"dhcp": False}, "warn", "DHCP"),
        ({}, None, ""),
    ],
)
def test_flat_dhcp_is_told_as_far_as_the_api_goes(
    tmp_path: Path, change: dict[str, Any], severity: str | None, words: str
) -> None:
    findings = of(tmp_path, {"networks": (replace(NET, **change),)}, {})
    mine = [finding for finding in findings if finding.code == "network-manager"]
    assert [(f.severity, f.object) for f in mine] == ([(severity, "network private")] if severity else [])
    assert all(words in finding.message for finding in mine)


def test_a_multi_host_network_is_told(tmp_path: Path) -> None:
    findings = of(tmp_path, {"networks": (replace(NET, multi_host=True),)}, {})
    assert found(findings, "network-multi-host") == [("info", "network private")]


@pytest.mark.parametrize(
    ("site", "code", "obj", "name"),
    [
        ({"networks": {"privat": "x"}}, "mapping-unused", "site.yaml destination.networks", "privat"),
        ({"networks": {"private": "x"}}, "mapping-missing", "site.yaml destination.networks", "x"),
        ({"networks": {"private": "public"}}, "mapping-missing", "site.yaml destination.networks", "public"),
        ({"floating_pools": {"nova": "public"}}, "mapping-unused", "site.yaml destination.floating_pools", "nova"),
        ({"floating_pools": {"public": "x"}}, "mapping-missing", "site.yaml destination.floating_pools", "x"),
        ({"roles": {"boss": "member"}}, "mapping-unused", "site.yaml destination.roles", "boss"),
        ({"roles": {"_member_": "memberr"}}, "mapping-missing", "site.yaml destination.roles", "memberr"),
        ({"availability_zones": {"ssd": None}}, "mapping-unused", "site.yaml destination.availability_zones", "ssd"),
        ({"availability_zones": {"nova": "x"}}, "mapping-missing", "site.yaml destination.availability_zones", "x"),
        ({"owners": {"alicia": "x"}}, "mapping-unused", "site.yaml source.owners", "alicia"),
        ({"probes": {"acme-web9": "x"}}, "mapping-unused", "site.yaml probes", "acme-web9"),
        ({"provider": {"privat": "x"}}, "mapping-unused", "site.yaml destination.provider", "privat"),
        ({"carry": Carry(servers={"web9": "snapshot"})}, "mapping-unused", "site.yaml carry.servers", "web9"),
        ({"carry": Carry(projects={"acmee": "rebuild"})}, "mapping-unused", "site.yaml carry.projects", "acmee"),
    ],
)
def test_a_name_that_nobody_has_is_told(tmp_path: Path, site: dict[str, Any], code: str, obj: str, name: str) -> None:
    findings = of(tmp_path, {}, {}, **site)
    told = [finding for finding in findings if finding.code == code]
    assert [(f.severity, f.object) for f in told] == [("warn", obj)]
    assert f"names {name}," in told[0].message


def test_names_that_both_clouds_have_are_not_told(tmp_path: Path) -> None:
    there = {"networks": (*make_snapshot("destination").networks, Network("n", "flat", "10.10.0.0/24"))}
    site = {
        "networks": {"private": "flat"},
        "floating_pools": {"public": "public"},
        "roles": {"_member_": "Member"},
        "availability_zones": {"nova": "fast"},
        "owners": {"alice": "alice-entry"},
        "probes": {"acme-web1": "x", uid("acme-web2"): "x"},
    }
    findings = of(tmp_path, {}, there, **site)
    assert [finding for finding in findings if finding.code.startswith("mapping")] == []


def test_zones_that_could_not_be_read_are_not_judged(tmp_path: Path) -> None:
    unread = {"availability_zones": (), "gaps": (Gap("availability_zones", "403", "ask"),)}
    assert found(of(tmp_path, {}, unread, availability_zones={"nova": "x"}), "mapping-missing") == []


def test_addresses_that_the_destination_holds_are_told(tmp_path: Path) -> None:
    network = Network("n", "private", "10.10.0.0/24", "10.10.0.254")

    def port(name: str, address: str, more: tuple[str, ...] = ()) -> Port:
        return Port(name, name, "n", "p", address, "fa:16:3e:00:00:01", "ACTIVE", addresses=more)

    ports = (port("theirs", "10.10.0.200", ("10.10.0.200", "10.10.0.11")), port(f"pumphouse {uid('x')}", "10.10.0.12"))
    there = {"networks": (network,), "ports": ports}
    findings = of(tmp_path, {"servers": (make_server(), make_server("x", address="10.10.0.12"))}, there)
    assert found(findings, "addresses-taken") == [("warn", "network private")]
    (finding,) = [f for f in findings if f.code == "addresses-taken"]
    assert "1 address(es)" in finding.message
    assert "10.10.0.11" in finding.message
    assert found(findings, "addresses-short") == []


@pytest.mark.parametrize(("cidr", "short"), [("10.10.0.8/29", True), ("10.10.0.0/28", False)])
def test_a_network_with_hardly_an_address_left_is_told(tmp_path: Path, cidr: str, short: bool) -> None:
    servers = tuple(make_server(f"s{n}", address=f"10.10.0.{n}") for n in range(9, 13))
    here = {"networks": (replace(NET, cidr=cidr),), "servers": servers, "floating_ips": ()}
    findings = of(tmp_path, here, {"networks": (Network("n", "private", cidr),), "ports": ()})
    assert bool(found(findings, "addresses-short")) == short


@pytest.mark.parametrize(
    ("macs", "told"),
    [(("aa", "bb"), False), (("aa",), True), (("aa", "aa"), True), ((), True)],
)
def test_a_node_needs_two_nics(tmp_path: Path, macs: tuple[str, ...], told: bool) -> None:
    findings = of(tmp_path, {}, {}, hardware=Hardware(nodes={"node-1": NodeSpec("node-1", macs)}))
    assert found(findings, "node-nics") == ([("warn", "node node-1")] if told else [])


# --- room ---------------------------------------------------------------------------------------------


def room(tmp_path: Path, source: dict[str, Any] | None = None, **destination: Any) -> list[Finding]:
    here, there = healthy(**(source or {})), make_snapshot("destination", **destination)
    plan, _ = planned(tmp_path, "acme-web1", source=here, destination=there)
    return list(check_room(plan, Inventory(here, there)))


def host(name: str, free_mib: int, free_gib: int = 1000) -> Hypervisor:
    size = {"ram_mib": 65536, "ram_used_mib": 65536 - free_mib, "disk_gib": 2000, "disk_used_gib": 2000 - free_gib}
    return Hypervisor(name, name, name, **size)


UP = tuple(Service("nova-compute", name, "nova", "enabled", "up") for name in ("n1", "n2"))


@pytest.mark.parametrize(
    ("hosts", "services", "objects"),
    [
        ((host("n1", 2048), host("n2", 0)), UP, []),
        ((host("n1", 1024), host("n2", 1024)), UP, ["flavor m1.small"]),
        ((host("n1", 1024), host("n2", 512)), UP, ["cloud new", "flavor m1.small"]),
        ((host("n1", 4096, 19),), UP[:1], ["cloud new"]),
        # what is down or disabled has no room
        ((host("n1", 9999), host("n2", 1)), (replace(UP[0], state="down"), UP[1]), ["cloud new", "flavor m1.small"]),
        (
            (host("n1", 9999), host("n2", 1)),
            (replace(UP[0], status="disabled"), UP[1]),
            ["cloud new", "flavor m1.small"],
        ),
    ],
)
def test_room_is_counted_on_hosts_that_can_take_servers(
    tmp_path: Path, hosts: tuple[Hypervisor, ...], services: tuple[Service, ...], objects: list[str]
) -> None:
    findings = room(tmp_path, hypervisors=hosts, services=services)
    assert sorted({f.object for f in findings if f.code == "capacity"}) == objects
    assert {f.severity for f in findings if f.code == "capacity"} <= {"warn"}


def test_a_destination_without_any_host_that_is_up_blocks(tmp_path: Path) -> None:
    down = (replace(UP[0], state="down"),)
    findings = room(tmp_path, hypervisors=(host("n1", 9999),), services=down)
    assert [(f.severity, f.code) for f in findings] == [("block", "no-host")]


SPECS = make_flavor("2", extra_specs={"ssd": "true"})


@pytest.mark.parametrize(
    ("specs", "there", "told"),
    [
        ({"ssd": "true"}, (), True),
        ({"ssd": "true"}, ({"ssd": "true"},), False),
        ({"ssd": "true"}, ({"ssd": "false, true"},), False),
        ({"ssd": "true"}, ({"ssd": "false"},), True),
        ({"ssd": "<in> true"}, ({"ssd": "x"},), False),
        ({"quota:cpu_shares": "2"}, (), False),
        ({"aggregate_instance_extra_specs:gpu": "1"}, (), True),
        ({"aggregate_instance_extra_specs:gpu": "1"}, ({"gpu": "1"},), False),
    ],
)
def test_what_a_flavor_asks_of_aggregates_must_be_there(
    tmp_path: Path, specs: dict[str, str], there: tuple[dict[str, str], ...], told: bool
) -> None:
    flavors = tuple(make_flavor("2", extra_specs=specs) if f.id == "2" else f for f in healthy().flavors)
    aggregates = tuple(Aggregate(str(n), f"a{n}", metadata=metadata) for n, metadata in enumerate(there))
    findings = room(tmp_path, {"flavors": flavors}, aggregates=aggregates)
    assert [f.object for f in findings if f.code == "aggregate-missing"] == (["flavor m1.small"] if told else [])


def test_aggregates_that_could_not_be_read_are_not_judged(tmp_path: Path) -> None:
    flavors = tuple(SPECS if f.id == "2" else f for f in healthy().flavors)
    assert room(tmp_path, {"flavors": flavors}, gaps=(Gap("aggregates", "403", "ask"),)) == []


def test_a_renamed_project_is_measured_where_it_goes(tmp_path: Path) -> None:
    here, there = healthy(), make_snapshot("destination")
    plan, _ = planned(tmp_path, "acme-web1", source=here, destination=there)
    key = f"project:{kid('acme')}"
    steps = tuple(replace(s, params={**s.params, "name": "service"}) if s.key == key else s for s in plan.steps)
    (full,) = [quota for quota in there.quotas if quota.project_id == kid("new-service")]
    tight = tuple(replace(q, limits={**q.limits, "instances": 0}) if q is full else q for q in there.quotas)
    findings = check_room(replace(plan, steps=steps), Inventory(here, make_snapshot("destination", quotas=tight)))
    assert [(f.code, f.object) for f in findings] == [("quota", "project service")]
