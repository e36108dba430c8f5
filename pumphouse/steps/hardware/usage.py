"""Which addresses a cloud uses, or may give out."""

from __future__ import annotations

from pumphouse.clouds.api import Cloud
from pumphouse.plan.hardware.fuel_master import SourceNetworks


def networks_of(source: Cloud) -> SourceNetworks:
    """The source's networks by label, and everything that is not free in them (read only).

    Floating IPs count whether or not somebody has them: the source may give them out at any moment.
    """
    networks = source.network.list_networks()
    used = {one.address for one in source.network.list_floating_ips()}
    used |= {cidr for cidrs in source.network.floating_pools().values() for cidr in cidrs}
    used |= {a for s in source.compute.list_servers() for address in s.addresses if ":" not in (a := address.address)}
    used |= {address for n in networks for address in (n.gateway_ip, n.dhcp_server) if address}
    return SourceNetworks({n.name: n.cidr for n in networks if n.cidr}, tuple(sorted(used)))
