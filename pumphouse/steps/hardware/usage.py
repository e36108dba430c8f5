"""Which addresses a cloud uses, or may give out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from pumphouse.clouds.api import Cloud
from pumphouse.nodes.spec import Hardware
from pumphouse.plan.hardware.fuel_master import SourceNetworks


def networks_of(source: Cloud, hardware: Hardware) -> SourceNetworks:
    """The source's networks by label, and everything that is not free in them (read only).

    Floating IPs count whether or not somebody has them: the source may give them out at any moment. So do the addresses
    at which the source's own services, BMCs, switches and the Fuel master answer.
    """
    networks = source.network.list_networks()
    floating = {one.address for one in source.network.list_floating_ips()}
    floating |= {cidr for cidrs in source.network.floating_pools().values() for cidr in cidrs}
    used = set(floating)
    used |= {a for s in source.compute.list_servers() for address in s.addresses if ":" not in (a := address.address)}
    used |= {address for n in networks for address in (n.gateway_ip, n.dhcp_server) if address}
    used |= _literal(urlsplit(url).hostname or "" for url in source.endpoints)
    used |= _literal(_devices(hardware))
    cidrs = {n.name: n.cidr for n in networks if n.cidr}
    return SourceNetworks(cidrs, tuple(sorted(used)), tuple(sorted(floating)))


def _devices(hardware: Hardware) -> Iterable[str]:
    yield from (node.bmc.address for node in hardware.nodes.values() if node.bmc is not None)
    yield from (switch.address for switch in hardware.switches.values())
    if hardware.fuel is not None:
        yield urlsplit(hardware.fuel.url).hostname or ""


def _literal(hosts: Iterable[str]) -> set[str]:
    """Those that are IPv4 addresses; what a name leads to is for the operator to reserve."""
    found = set()
    for host in hosts:
        try:
            found.add(str(ipaddress.IPv4Address(host)))
        except ValueError:
            continue
    return found
