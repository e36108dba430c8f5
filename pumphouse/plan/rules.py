"""What nova-network's rules let through, said in Neutron's words.

nova-network filters what arrives at a server, never what it sends, and accepts what belongs to a connection that is
open already; its rules are read here as its iptables driver reads them (``nova/virt/firewall.py``), not as their fields
look. Neutron drops whatever a server sends unless a rule lets it, so that two egress rules belong to every group.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pumphouse.clouds import rule_key
from pumphouse.model import SecurityGroupRule

#: A rule as a step's parameters hold it: JSON, ``remote_group_id`` still the source's.
RuleParams = Mapping[str, Any]

_WITH_PORTS = ("tcp", "udp")


class Untranslatable(ValueError):
    """A rule whose meaning at the source is not known; the message says why."""


def translate(rule: SecurityGroupRule) -> SecurityGroupRule | None:
    """One rule of nova-network as Neutron's; None for one that lets nothing through at the source either.

    :raises Untranslatable: when nobody can tell what the rule lets through.
    """
    if rule.remote_cidr is None and rule.remote_group_id is None:
        return None  # nova-network writes a filter for an address range or a group, and for nothing else
    # nova-network's tables and its API say -1 for "any"
    low, high = (None if port == -1 else port for port in (rule.port_min, rule.port_max))
    network = _network(rule.remote_cidr)
    version6 = network is not None and network.version == 6
    plain = replace(
        rule,
        id="",
        direction="ingress",
        ethertype="IPv6" if version6 else "IPv4",
        port_min=low,
        port_max=high,
        remote_cidr=None if network is None else str(network),
    )
    protocol = (rule.protocol or "").lower() or None
    if protocol == "icmp":
        return _icmp(plain, version6=version6)
    if protocol in _WITH_PORTS:
        low, high = _ports(low, high)
        return replace(plain, protocol=protocol, port_min=low, port_max=high)
    # without a protocol, and with any other, nova-network does not look at ports
    return replace(plain, protocol=protocol, port_min=None, port_max=None)


def params_of(rules: list[SecurityGroupRule]) -> list[dict[str, Any]]:
    """Rules as a step's parameters: each once, in an order that depends on nothing but the rules."""
    kept = {rule_key(rule): rule for rule in rules}
    documents = [{name: value for name, value in asdict(rule).items() if name != "id"} for rule in kept.values()]
    return sorted(documents, key=lambda rule: sorted((name, str(value)) for name, value in rule.items()))


def egress() -> list[SecurityGroupRule]:
    """What lets a server send whatever it likes, as nova-network does."""
    return [SecurityGroupRule("", "egress", ethertype, None, None, None) for ethertype in ("IPv4", "IPv6")]


def show(rule: SecurityGroupRule) -> str:
    """A rule for people: ``tcp 80-443 from 10.0.0.0/8``."""
    ports = "" if rule.port_min is None else f" {rule.port_min}"
    if rule.port_max is not None and rule.port_max != rule.port_min:
        ports += f"-{rule.port_max}"
    where = rule.remote_cidr or (f"group {rule.remote_group_id}" if rule.remote_group_id else "anywhere")
    return f"{rule.protocol or 'everything'}{ports} {'from' if rule.direction == 'ingress' else 'to'} {where}"


def _network(cidr: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if cidr is None:
        return None
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        raise Untranslatable(f"its address range {cidr} is none") from error


def _icmp(rule: SecurityGroupRule, *, version6: bool) -> SecurityGroupRule:
    if version6:
        # nova-network's driver drops the type of ICMPv6 rules
        return replace(rule, protocol="ipv6-icmp", port_min=None, port_max=None)
    kind, code = rule.port_min, rule.port_max
    if kind is None:
        code = None  # without a type, nova-network does not look at the code
    if any(number is not None and not 0 <= number <= 255 for number in (kind, code)):
        raise Untranslatable(f"ICMP has no type {kind} with code {code}")
    return replace(rule, protocol="icmp", port_min=kind, port_max=code)


def _ports(low: int | None, high: int | None) -> tuple[int | None, int | None]:
    if low is None and high is None:
        return None, None
    if low is None or high is None or not 0 <= low <= high <= 65535 or high == 0:
        raise Untranslatable(f"its port range {low}-{high} is none")
    return max(low, 1), high  # nothing talks to port 0, and Neutron refuses it
