"""Where records meet physics: which guests are alive on the shared network, and which floating addresses answer."""

from __future__ import annotations

import asyncio

from pumphouse.lab.destination.state import LOG, NAME, Cloud, Server
from pumphouse.lab.destination.web import Json, now, stamp
from pumphouse.lab.world import Guest


def floating_up(cloud: Cloud, floating: Json) -> None:
    """Let a floating address answer, if it is bound to a port of a running server."""
    port = cloud.network.ports.get(floating["port_id"] or "")
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
