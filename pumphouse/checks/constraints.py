"""The seed's constraints on a site, as far as any API tells them, and what site.yaml maps to nothing.

What no API tells: FlatDHCPManager from FlatManager (both answer alike), whether the two clouds really share their
layer-2 networks, and the MTU of nova-network before Juno.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import CloudFacts, Network
from pumphouse.plan.addresses import inside
from pumphouse.site import Site

#: NICs that a node needs: one in the Admin and Private networks, one in the Public network.
NODE_NICS = 2
#: Addresses that a destination network needs beside its servers': gateway, DHCP, one to boot with.
SPARE_ADDRESSES = 3


def check_networks(inventory: Inventory) -> Iterator[Finding]:
    """nova-network with FlatDHCP at the source, a network service at the destination (read only; asks no cloud)."""
    facts = inventory.source.facts
    if facts.network_service != "nova-network":
        yield Finding(
            "block",
            "source-network",
            f"cloud {facts.cloud}",
            f"{_network_words(facts)}, not nova-network: it is not a source that pumphouse moves from "
            f"({'; '.join(facts.evidence)}).",
            "check source.cloud in site.yaml.",
        )
    else:
        for network in inventory.source.networks:
            yield from _manager(network)
    services = ("neutron", "nova-network")
    if inventory.destination is not None and inventory.destination.facts.network_service not in services:
        yield Finding(
            "block",
            "destination-network",
            f"cloud {inventory.destination.facts.cloud}",
            "has neither Neutron nor nova-network: it is not a destination that pumphouse moves to.",
            "check destination.cloud in site.yaml.",
        )


def _manager(network: Network) -> Iterator[Finding]:
    label = f"network {network.name}"
    if network.vlan_id is not None:
        yield Finding(
            "block",
            "network-manager",
            label,
            f"has VLAN {network.vlan_id}: that is VlanManager, not FlatDHCP.",
            "only FlatDHCP networks can be shared between the clouds.",
        )
        return
    missing = [
        words
        for words, there in (("a bridge", network.bridge), ("a DHCP range", network.pools), ("DHCP", network.dhcp))
        if not there
    ]
    if missing:
        yield Finding(
            "warn",
            "network-manager",
            label,
            f"is without {' and '.join(missing)}: that is hardly FlatDHCP; its guests may have their address injected.",
            "look at network_manager in the source's nova.conf; such guests keep a wrong address when rebuilt.",
        )
    if network.multi_host:
        yield Finding(
            "info",
            "network-multi-host",
            label,
            "is multi-host: each compute host is its guests' gateway, with an address of its own.",
            "nothing: these addresses are kept out of the destination's pool.",
        )


def _network_words(facts: CloudFacts) -> str:
    return "has no network service" if facts.network_service == "none" else f"has {facts.network_service}"


def check_addresses(inventory: Inventory, site: Site) -> Iterator[Finding]:
    """Whether networks that are there at the destination leave room for the source's addresses (read only)."""
    source, destination = inventory.source, inventory.destination
    if destination is None:
        return
    for network in source.networks:
        name = site.networks.get(network.id, site.networks.get(network.name, network.name))
        there = [n for n in destination.networks if n.name == name and not n.external and n.cidr == network.cidr]
        if len(there) != 1 or network.cidr is None:
            continue
        # nova-network takes one label for several networks
        ours = {
            a.address
            for s in source.servers
            for a in s.addresses
            if a.network == network.name and inside(a.address, network.cidr)
        }
        moved = {f"pumphouse {server.id}" for server in source.servers}
        held = {
            address
            for port in destination.ports
            if port.network_id == there[0].id and port.name not in moved
            for address in (port.address, *port.addresses)
            if address is not None
        }
        if both := sorted(ours & held, key=ipaddress.ip_address):
            yield Finding(
                "warn",
                "addresses-taken",
                f"network {name}",
                f"holds {len(both)} address(es) of source servers at {destination.facts.cloud}: "
                f"{', '.join(both[:5])}{'…' if len(both) > 5 else ''}.",
                "free them at the destination; their servers cannot move before.",
            )
        free = ipaddress.ip_network(network.cidr, strict=False).num_addresses - 2 - len(ours | held)
        if free < SPARE_ADDRESSES:
            yield Finding(
                "warn",
                "addresses-short",
                f"network {name}",
                f"has {free} of its addresses free: source and destination share them while servers move.",
                "release addresses at either side; a rebuild needs no new one, but DHCP and gateway do.",
            )


def check_mappings(inventory: Inventory, site: Site) -> Iterator[Finding]:
    """Names in site.yaml that neither cloud has (read only): most are spelling mistakes."""
    source, destination = inventory.source, inventory.destination
    pools = {*source.floating_pools, *(floating.pool for floating in source.floating_ips)}
    zones = {*(z.name for z in source.availability_zones), *(str(s.availability_zone) for s in source.servers)}
    servers = {word for server in source.servers for word in (server.id, server.name)}
    here: dict[str, tuple[Iterable[str], set[str]]] = {
        "destination.networks": (site.networks, {w for network in source.networks for w in (network.id, network.name)}),
        "destination.floating_pools": (site.floating_pools, pools),
        "destination.roles": (site.roles, {role.name for role in source.roles}),
        "destination.availability_zones": (site.availability_zones, zones),
        "source.owners": (site.owners, {user.name for user in source.users}),
        "destination.provider": (site.provider, {network.name for network in source.networks}),
        "probes": (site.probes, servers),
        "carry.servers": (site.carry.servers, servers),
        "carry.projects": (site.carry.projects, {project.name for project in source.projects}),
    }
    for key, (names, known) in here.items():
        for name in sorted(set(names) - known):
            yield Finding(
                "warn",
                "mapping-unused",
                f"site.yaml {key}",
                f"names {name}, which {source.facts.cloud} does not have.",
                "correct the name, or take the entry out.",
            )
    if destination is not None:
        yield from _targets(destination, site)


def _targets(destination: Snapshot, site: Site) -> Iterator[Finding]:
    zones = {zone.name for zone in destination.availability_zones}
    there: dict[str, tuple[Iterable[str | None], set[str]]] = {
        "networks": (site.networks.values(), {n.name for n in destination.networks if not n.external}),
        "floating_pools": (site.floating_pools.values(), {n.name for n in destination.networks if n.external}),
        "availability_zones": (site.availability_zones.values(), zones),
    }
    for key, (names, known) in there.items():
        if key == "availability_zones" and destination.has_gap("availability_zones"):
            continue
        for name in sorted({name for name in names if name is not None} - known):
            yield Finding(
                "warn",
                "mapping-missing",
                f"site.yaml destination.{key}",
                f"names {name}, which {destination.facts.cloud} does not have.",
                "correct the name, or make it at the destination; what needs it cannot move before.",
            )
    roles = {role.name.casefold() for role in destination.roles}
    for name in sorted({name for name in site.roles.values() if name.casefold() not in roles}):
        yield Finding(
            "warn",
            "mapping-missing",
            "site.yaml destination.roles",
            f"names {name}, which {destination.facts.cloud} does not have: it will be made, and no policy knows it.",
            "correct the name, or take care of the destination's policies.",
        )


def check_nodes(site: Site) -> Iterator[Finding]:
    """Two NICs per node, where site.yaml describes nodes (read only)."""
    for name, node in site.hardware.nodes.items():
        if len(set(node.macs)) < NODE_NICS:
            yield Finding(
                "warn",
                "node-nics",
                f"node {name}",
                f"has {len(set(node.macs))} NIC in site.yaml; a node needs one for Admin and Private, one for Public.",
                "give all its MACs in site.yaml, nodes; one NIC is not enough to transfer it.",
            )
