"""Where records meet physics: which guests are alive on the shared network, and which floating addresses answer."""

from __future__ import annotations

import asyncio

from pumphouse.lab.destination.state import LOG, NAME, Cloud, Server
from pumphouse.lab.destination.web import Json, now, stamp
from pumphouse.lab.world import Guest

_CACHE_LAG_S = 0.5  # Nova learns of a floating IP's change a little later than Neutron


def refresh(cloud: Cloud, server: Server) -> None:
    """Bring Nova's copy of a server's addresses up to date."""
    found: Json = {}
    for nic in server.nics:
        port = cloud.network.ports.get(nic.port_id)
        if port is None:
            continue
        entries = found.setdefault(cloud.network.networks[port["network_id"]]["name"], [])
        for fixed in port["fixed_ips"]:
            entries.append((fixed["ip_address"], "fixed", port["mac_address"]))
            entries.extend(
                (item["floating_ip_address"], "floating", port["mac_address"])
                for item in floatings_of(cloud, port["id"])
                if item["fixed_ip_address"] == fixed["ip_address"]
            )
    server.addresses = found


def _refresh_soon(cloud: Cloud, port: Json | None) -> None:
    server = cloud.compute.servers.get(port["device_id"]) if port else None
    if server is not None:
        cloud.spawn(_refresh_later(cloud, server))


async def _refresh_later(cloud: Cloud, server: Server) -> None:
    await asyncio.sleep(_CACHE_LAG_S * cloud.world.timing.scale)
    refresh(cloud, server)


def floating_up(cloud: Cloud, floating: Json) -> None:
    """Let a floating address answer, if it is bound to a port of a running server."""
    port = cloud.network.ports.get(floating["port_id"] or "")
    _refresh_soon(cloud, port)
    server = cloud.compute.servers.get(port["device_id"]) if port else None
    if server is None or not server.running:
        return
    layer2 = cloud.world.layer2
    address = floating["floating_ip_address"]
    if (NAME, server.id) not in layer2.floating.get(address, set()):
        layer2.bind_floating(address, NAME, server.id)


def floating_down(cloud: Cloud, floating: Json) -> None:
    """Stop answering for a floating address."""
    layer2 = cloud.world.layer2
    address = floating["floating_ip_address"]
    if any(holder[0] == NAME for holder in layer2.floating.get(address, set())):
        layer2.unbind_floating(address, NAME)


def unbind(cloud: Cloud, floating: Json) -> None:
    """Take a floating IP off its port."""
    floating_down(cloud, floating)
    _refresh_soon(cloud, cloud.network.ports.get(floating["port_id"] or ""))
    floating |= {
        "router_id": None,
        "port_id": None,
        "fixed_ip_address": None,
        "status": "DOWN",
        "revision_number": floating["revision_number"] + 1,
        "updated_at": stamp(now()),
    }


def floatings_of(cloud: Cloud, port_id: str) -> list[Json]:
    """Floating IPs bound to a port."""
    return [item for item in cloud.network.floatingips.values() if item["port_id"] == port_id]


async def server_up(cloud: Cloud, server: Server) -> None:
    """A server got power: its floating addresses answer at once, its guest when it has booted."""
    epoch = server.epoch
    for nic in server.nics:
        for floating in floatings_of(cloud, nic.port_id):
            floating_up(cloud, floating)
    await asyncio.sleep(cloud.world.timing.of("guest_boot"))
    if server.epoch != epoch or not server.running:
        return
    for nic in server.nics:
        port = cloud.network.ports.get(nic.port_id)
        for fixed in port["fixed_ips"] if port else []:
            guest = Guest(NAME, server.id, server.name, fixed["ip_address"], port["mac_address"] if port else "")
            try:
                await cloud.world.layer2.power_on(guest)
            except OSError as error:
                LOG.warning("guest of server %s cannot listen on %s: %s", server.id, guest.address, error)


async def server_down(cloud: Cloud, server: Server) -> None:
    """A server lost power: nobody answers on its fixed addresses any more."""
    server.epoch += 1
    await cloud.world.layer2.power_off(NAME, server.id)
