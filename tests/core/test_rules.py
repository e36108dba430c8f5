"""The same packets pass: nova-network's rules as its iptables driver reads them, against Neutron's as Neutron does.

Both readings are written here anew, from the two programs and not from the translation: a rule set is turned into
filters as each of them does, and packets are put through both.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.inventory import Snapshot
from pumphouse.model import Project, SecurityGroup, SecurityGroupRule
from pumphouse.plan.draft import Draft
from pumphouse.plan.groups import NO_GROUP, add_security_group, groups_of
from pumphouse.plan.rules import Untranslatable, translate
from tests.core.making import make_site
from tests.factories import kid, make_server, make_snapshot

OLD = make_snapshot()
NEW = Snapshot(make_snapshot("destination").facts, OLD.taken_at)
ACME = Project(kid("acme"), "acme")
GROUPS = ("1", "2", "3")
NAMES = {"1": "default", "2": "web", "3": "db"}


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, on its way to a server; ``port`` is ICMP's type, ``code`` its code."""

    source: str
    sender: frozenset[str]  # groups of the server that sends it; empty for the rest of the world
    protocol: str
    port: int
    code: int = 0


def old_lets_in(rules: list[SecurityGroupRule], packet: Packet) -> bool:
    """nova/virt/firewall.py, ``instance_rules``: one iptables rule for each, in order; the fallback drops."""
    version = ipaddress.ip_address(packet.source).version
    for rule in rules:
        if rule.remote_cidr:
            network = ipaddress.ip_network(rule.remote_cidr, strict=False)
            if network.version != version or ipaddress.ip_address(packet.source) not in network:
                continue
        elif rule.remote_group_id is None or version != 4 or rule.remote_group_id not in packet.sender:
            continue  # a rule for a group is one for each IPv4 address of its members
        if not rule.protocol:
            return True
        name = rule.protocol.lower()
        if name == "icmp":
            name = "icmp" if version == 4 else "icmpv6"
        if name != packet.protocol:
            continue
        low = -1 if rule.port_min is None else rule.port_min
        high = -1 if rule.port_max is None else rule.port_max
        if name in ("tcp", "udp"):
            if (low, high) != (-1, -1) and not low <= packet.port <= high:
                continue
        elif name == "icmp" and low != -1 and (packet.port != low or high not in (-1, packet.code)):
            continue
        return True
    return False


def new_lets_in(rules: list[dict[str, Any]], packet: Packet) -> bool:
    """Neutron's security group API: any matching ingress rule lets the packet in."""
    version = ipaddress.ip_address(packet.source).version
    name = {"icmpv6": "ipv6-icmp"}.get(packet.protocol, packet.protocol)
    for rule in rules:
        if rule["direction"] != "ingress" or rule["ethertype"] != f"IPv{version}":
            continue
        if rule["protocol"] not in (None, name):
            continue
        cidr, group = rule["remote_cidr"], rule["remote_group_id"]
        if cidr is not None and ipaddress.ip_address(packet.source) not in ipaddress.ip_network(cidr):
            continue
        if group is not None and group not in packet.sender:
            continue
        low, high = rule["port_min"], rule["port_max"]
        if name in ("icmp", "ipv6-icmp"):
            if low is not None and (packet.port != low or high not in (None, packet.code)):
                continue
        elif low is not None and not low <= packet.port <= high:
            continue
        return True
    return False


def lets_out(rules: list[dict[str, Any]], version: int) -> bool:
    """Whether everything may be sent: nova-network filters nothing that a server sends."""
    plain = ("protocol", "port_min", "port_max", "remote_cidr", "remote_group_id")
    return any(
        rule["direction"] == "egress"
        and rule["ethertype"] == f"IPv{version}"
        and all(rule[name] is None for name in plain)
        for rule in rules
    )


CIDRS = ("0.0.0.0/0", "10.0.0.0/8", "10.10.0.11/32", "10.10.0.5/24", "192.0.2.0/25", "::/0", "2001:db8::/48")
EDGES = (1, 2, 21, 22, 23, 79, 80, 443, 444, 65534, 65535)


@st.composite
def old_rules(draw: st.DrawFn) -> SecurityGroupRule:
    """A rule as nova-network's API (or an older one, straight from its tables) may hold it."""
    protocol = draw(st.sampled_from(("tcp", "udp", "icmp", "TCP", None)))
    if protocol is None:
        low, high = draw(st.sampled_from(((None, None), (-1, -1))))
    elif protocol == "icmp":
        low = draw(st.sampled_from((None, -1, 0, 3, 8, 255)))
        high = draw(st.sampled_from((None, -1, 0, 1, 4)))
    else:
        ports = st.sampled_from(EDGES)
        low, high = draw(st.one_of(st.just((None, None)), st.just((1, 65535)), st.tuples(ports, ports).map(sorted)))
    remote: dict[str, str] = draw(
        st.one_of(
            st.sampled_from(CIDRS).map(lambda cidr: {"remote_cidr": cidr}),
            st.sampled_from(GROUPS).map(lambda group: {"remote_group_id": group}),
            st.just({}),
        )
    )
    return SecurityGroupRule(str(draw(st.integers(1, 999))), "ingress", "IPv4", protocol, low, high, **remote)


PACKETS = st.one_of(
    st.builds(
        Packet,
        st.sampled_from(("10.10.0.11", "10.10.0.200", "10.9.9.9", "192.0.2.1", "192.0.2.200", "198.51.100.1")),
        st.frozensets(st.sampled_from(GROUPS)),
        st.sampled_from(("tcp", "udp", "gre")),
        st.sampled_from(EDGES),
    ),
    st.builds(
        Packet,
        st.sampled_from(("10.10.0.11", "198.51.100.1")),
        st.frozensets(st.sampled_from(GROUPS)),
        st.just("icmp"),
        st.sampled_from((0, 3, 8, 11, 255)),
        st.sampled_from((0, 1, 4)),
    ),
    st.builds(
        Packet,
        st.sampled_from(("2001:db8::1", "2001:db9::1")),
        st.frozensets(st.sampled_from(GROUPS)),
        st.sampled_from(("tcp", "udp", "icmpv6")),
        st.sampled_from(EDGES),
    ),
)


def drafted(folder: Path, rules: dict[str, list[SecurityGroupRule]]) -> Draft:
    """A plan's groups, rules and nothing else."""
    groups = tuple(SecurityGroup(i, ACME.id, NAMES[i], "", tuple(rules[i])) for i in GROUPS)
    source = Snapshot(OLD.facts, OLD.taken_at, projects=(ACME,), security_groups=groups)
    draft = Draft(source, NEW, make_site(folder))
    draft.add(f"project:{ACME.id}", title="project acme", params={"source_id": ACME.id, "name": "acme"})
    for group in source.security_groups_of(ACME.id):
        add_security_group(draft, ACME, group)
    return draft


@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries({i: st.lists(old_rules(), max_size=4) for i in GROUPS}),
    st.frozensets(st.sampled_from(GROUPS)),
    st.lists(PACKETS, min_size=12, max_size=12),
)
def test_the_same_packets_pass(
    tmp_path_factory: pytest.TempPathFactory,
    rules: dict[str, list[SecurityGroupRule]],
    member_of: frozenset[str],
    packets: list[Packet],
) -> None:
    draft = drafted(tmp_path_factory.getbasetemp(), rules)
    assert [finding for finding in draft.findings if finding.severity == "block"] == []
    server = make_server(security_groups=tuple(NAMES[group] for group in sorted(member_of)))
    mine = groups_of(draft, server)
    made = [rule for group in mine for rule in draft.steps[f"security-group-rules:{group}"].params["rules"]]
    theirs = [rule for group in member_of for rule in rules[group]]
    for packet in packets:
        assert new_lets_in(made, packet) == old_lets_in(theirs, packet), packet
    assert lets_out(made, 4)
    assert lets_out(made, 6)


def test_the_readers_tell_rules_apart() -> None:
    """Not a test of ours, but of the two readings: each of them has to say both yes and no."""
    web = SecurityGroupRule("1", "ingress", "IPv4", "tcp", 80, 80, remote_cidr="10.0.0.0/8")
    new = {**{name: getattr(web, name) for name in web.__dataclass_fields__}, "id": ""}
    for port, source in ((80, "10.1.1.1"), (81, "10.1.1.1"), (80, "11.1.1.1")):
        packet = Packet(source, frozenset(), "tcp", port)
        passes = (port, source) == (80, "10.1.1.1")
        assert old_lets_in([web], packet) is passes
        assert new_lets_in([new], packet) is passes
    assert not lets_out([new], 4)


RULE = SecurityGroupRule("7", "ingress", "IPv4", "tcp", 22, 22, remote_cidr="0.0.0.0/0")


@pytest.mark.parametrize(
    "changes",
    [
        {"port_min": None},
        {"port_max": None},
        {"port_min": 70000, "port_max": 70001},
        {"port_min": 0, "port_max": 0},
        {"port_min": 23},
        {"protocol": "icmp", "port_min": 300, "port_max": None},
        {"protocol": "icmp", "port_min": 8, "port_max": 300},
        {"remote_cidr": "10.0.0.0/40"},
    ],
    ids=str,
)
def test_a_rule_that_nobody_understands_is_not_guessed_at(changes: dict[str, Any]) -> None:
    with pytest.raises(Untranslatable):
        translate(replace(RULE, **changes))


def test_what_names_nobody_lets_nobody_in() -> None:
    assert translate(replace(RULE, remote_cidr=None)) is None


def test_a_server_without_group_may_send_and_hears_nothing(tmp_path: Path) -> None:
    draft = drafted(tmp_path, {i: [RULE] for i in GROUPS})
    (group,) = groups_of(draft, make_server(security_groups=()))
    rules = draft.steps[f"security-group-rules:{group}"].params["rules"]
    assert draft.steps[f"security-group:{group}"].params["name"] == NO_GROUP
    assert [rule["direction"] for rule in rules] == ["egress", "egress"]
    assert lets_out(rules, 4)


def test_groups_of_one_project_name_each_other_in_a_circle(tmp_path: Path) -> None:
    ring = {"1": "2", "2": "3", "3": "1"}
    rules = {i: [replace(RULE, remote_cidr=None, remote_group_id=ring[i])] for i in GROUPS}
    draft = drafted(tmp_path, rules)
    for group in GROUPS:
        step = draft.steps[f"security-group-rules:{group}"]
        assert step.needs == (f"security-group:{group}", f"security-group:{ring[group]}")
        assert draft.steps[f"security-group:{group}"].needs == (f"project:{ACME.id}",)
