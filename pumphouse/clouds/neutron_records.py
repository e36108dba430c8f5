"""Neutron's JSON as our records; ``project_id`` is called ``tenant_id`` before 2017."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pumphouse.clouds.parse import Doc
from pumphouse.model import FloatingIp, Network, Port, SecurityGroup, SecurityGroupRule

_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp", "any": None, "0": None}
_ANYWHERE = ("0.0.0.0/0", "::/0")


def network_of(doc: Doc, subnets: Iterable[Doc]) -> Network:
    """A network with its IPv4 subnet; of several, the one with the lowest address."""
    own = [one for one in subnets if one.text("network_id") == doc.text("id") and one.whole("ip_version", 4) == 4]
    subnet = min(own, key=lambda one: _sortable(one.text("cidr")), default=None)
    network_type = doc.maybe_text("provider:network_type")
    segment = doc.maybe_whole("provider:segmentation_id")
    network = Network(
        id=doc.text("id"),
        name=doc.maybe_text("name") or "",
        cidr=None,
        project_id=project_of(doc),
        shared=doc.flag("shared", False),
        external=doc.flag("router:external", False),
        vlan_id=segment if network_type == "vlan" else None,
        mtu=doc.maybe_whole("mtu") or None,
        network_type=network_type,
        physical_network=doc.maybe_text("provider:physical_network"),
        segment=segment,
    )
    if subnet is None:
        return network
    return replace(
        network,
        cidr=subnet.text("cidr"),
        gateway_ip=subnet.maybe_text("gateway_ip"),
        dns=subnet.texts("dns_nameservers"),
        subnet_id=subnet.text("id"),
        pools=tuple((pool.text("start"), pool.text("end")) for pool in subnet.maybe_docs("allocation_pools")),
        dhcp=subnet.flag("enable_dhcp", True),
    )


def port_of(doc: Doc) -> Port:
    """A port with its IPv4 addresses."""
    held = [one.text("ip_address") for one in doc.maybe_docs("fixed_ips") if "ip_address" in one]
    addresses = tuple(one for one in held if ":" not in one)
    return Port(
        id=doc.text("id"),
        name=doc.maybe_text("name") or "",
        network_id=doc.text("network_id"),
        project_id=project_of(doc) or "",
        address=addresses[0] if addresses else None,
        mac=doc.text("mac_address").lower(),
        status=doc.maybe_text("status") or "",
        server_id=doc.maybe_text("device_id") or None,
        device_owner=doc.maybe_text("device_owner") or "",
        security_group_ids=doc.texts("security_groups"),
        addresses=addresses,
    )


def security_group_of(doc: Doc) -> SecurityGroup:
    """A security group with its rules."""
    return SecurityGroup(
        id=doc.text("id"),
        project_id=project_of(doc) or "",
        name=doc.maybe_text("name") or "",
        description=doc.maybe_text("description") or "",
        rules=tuple(rule_of(rule) for rule in doc.maybe_docs("security_group_rules")),
    )


def rule_of(doc: Doc) -> SecurityGroupRule:
    """A rule. A remote *address group* (2021 and later) stands in ``remote_group_id``: never an open rule."""
    return SecurityGroupRule(
        id=doc.text("id"),
        direction=doc.text("direction"),
        ethertype=doc.maybe_text("ethertype") or "IPv4",
        protocol=protocol_of(doc.maybe_text("protocol")),
        port_min=doc.maybe_whole("port_range_min"),
        port_max=doc.maybe_whole("port_range_max"),
        remote_cidr=doc.maybe_text("remote_ip_prefix") or None,
        remote_group_id=doc.maybe_text("remote_group_id", "remote_address_group_id") or None,
    )


def same_rule(one: SecurityGroupRule, other: SecurityGroupRule) -> bool:
    """Whether two rules let the same traffic through, as Neutron compares them; the rules' own ids do not count."""
    return rule_key(one) == rule_key(other)


def floating_ip_of(doc: Doc, networks: Mapping[str, str], servers: Mapping[str, str | None]) -> FloatingIp:
    """A floating IP; ``networks`` maps id to name, ``servers`` port id to server id."""
    network_id = doc.text("floating_network_id")
    port_id = doc.maybe_text("port_id")
    return FloatingIp(
        id=doc.text("id"),
        address=doc.text("floating_ip_address"),
        pool=networks.get(network_id, network_id),
        project_id=project_of(doc),
        fixed_address=doc.maybe_text("fixed_ip_address") or None,
        server_id=servers.get(port_id) if port_id else None,
    )


def project_of(doc: Doc) -> str | None:
    """The owner of anything in Neutron."""
    return doc.maybe_text("project_id", "tenant_id") or None


def protocol_of(text: str | None) -> str | None:
    """A protocol's name in lower case; numbers that have one get it, "any" is None."""
    lowered = (text or "").lower()
    return _PROTOCOLS.get(lowered, lowered) or None


def rule_key(rule: SecurityGroupRule) -> tuple[str | int | None, ...]:
    """What a rule lets through, flat and in one spelling; equal for rules that Neutron calls the same.

    Current Neutron stores "all ports" (1-65535) as no ports and "from anywhere" as no prefix.
    """
    remote = rule.remote_cidr
    if remote is not None:
        with contextlib.suppress(ValueError):
            remote = str(ipaddress.ip_network(remote, strict=False))
    protocol = protocol_of(rule.protocol)
    port_min, port_max = rule.port_min, rule.port_max
    if (port_min, port_max) == (1, 65535) and protocol not in ("icmp", "ipv6-icmp"):
        port_min = port_max = None
    return (
        rule.direction, rule.ethertype, protocol, port_min, port_max,
        None if remote in _ANYWHERE else remote, rule.remote_group_id,
    )  # fmt: skip


def _sortable(cidr: str) -> tuple[int, str]:
    try:
        return int(ipaddress.ip_network(cidr, strict=False).network_address), cidr
    except ValueError:
        return 1 << 129, cidr
