"""What happens to a server over time: building, starting, stopping, deleting, and the guest that lives in it.

Each change is a background task. Between two of its stages anything may have happened to the server, so a
task looks before it goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime

from pumphouse.lab.destination.neutron import within_quota
from pumphouse.lab.destination.neutron_groups import ensure_default
from pumphouse.lab.destination.neutron_ports import make_port, plug, remove_port, set_status, unplug
from pumphouse.lab.destination.nova_hosts import ZONE, room_on
from pumphouse.lab.destination.state import Cloud, Nic, Server
from pumphouse.lab.destination.web import Fault, Json, now, stamp
from pumphouse.lab.destination.wires import floating_down, floatings_of, refresh, server_down, server_up

_SCHEDULING, _NETWORKING, _SPAWNING = 0.1, 0.2, 0.7  # shares of the time that a boot takes


def changed(server: Server) -> datetime:
    """Note that a server's record changed."""
    server.updated_at = now()
    return server.updated_at


def _gone(server: Server) -> bool:
    return server.deleted_at is not None or server.task_state == "deleting"


def fail(server: Server, message: str, details: str = "") -> None:
    """Put a server into ERROR; only administrators are shown the details."""
    moment = changed(server)
    server.vm_state, server.task_state, server.power_state, server.host = "error", None, 0, None
    server.fault = {"code": 500, "created": stamp(moment), "message": message, "details": details or message}


def _damage(cloud: Cloud, server: Server) -> str:
    """What is wrong with the bytes of a server's image; empty when they are what Glance says they are."""
    image = cloud.image.images.get(server.image_id)
    path = cloud.image.folder / server.image_id
    if image is None or not path.exists():
        return f"Image {server.image_id} could not be found."
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    return (
        "" if found == image["checksum"] else f"Corrupt image download. Hash was {found} expected {image['checksum']}"
    )


async def build(cloud: Cloud, server: Server, networks: list[Json]) -> None:
    """Schedule, wire and spawn a new server; ERROR where no host fits or an address cannot be had."""
    seconds = cloud.world.timing.of("boot")
    await asyncio.sleep(seconds * _SCHEDULING)
    if _gone(server):
        return
    hosts = [
        host
        for host in cloud.compute.hosts
        if server.wanted_host in (None, host.name)
        and room_on(cloud, host, server.flavor)
        and ((host.enabled and not host.down) or server.wanted_host)
    ]
    if not hosts:
        fail(server, "No valid host was found. There are not enough hosts available.")
        return
    held = [item.host for item in cloud.compute.servers.values() if item.deleted_at is None]
    server.host = min(hosts, key=lambda host: (held.count(host.name), host.name)).name
    server.task_state = "networking"
    changed(server)
    await asyncio.sleep(seconds * _NETWORKING)
    if _gone(server):
        return
    try:
        _wire(cloud, server, networks)
    except Fault as fault:
        fail(server, f"Build of instance {server.id} aborted: {fault.message}")
        return
    refresh(cloud, server)
    server.task_state = "spawning"
    changed(server)
    await asyncio.sleep(seconds * _SPAWNING)
    if _gone(server):
        return
    damage = _damage(cloud, server)
    if damage:
        release(cloud, server)
        refresh(cloud, server)
        message = "Exhausted all hosts available for retrying build failures for instance"
        fail(server, f"Exceeded maximum number of retries. {message} {server.id}.", damage)
        return
    server.vm_state, server.task_state, server.power_state = "active", None, 1
    server.launched_at = changed(server)
    power_on(cloud, server)


def _wire(cloud: Cloud, server: Server, networks: list[Json]) -> None:
    made: list[Nic] = []
    try:
        for wanted in networks:
            made.append(_nic(cloud, server, wanted))
            plug(cloud.network.ports[made[-1].port_id], server, ZONE)
    except Fault:
        server.nics = made
        release(cloud, server)
        raise
    server.nics = made


def _nic(cloud: Cloud, server: Server, wanted: Json) -> Nic:
    if "port" in wanted:
        port = cloud.network.ports.get(wanted["port"])
        if port is None:
            raise Fault(404, f"Port id {wanted['port']} could not be found.")
        if port["device_id"]:
            raise Fault(409, f"Port {wanted['port']} is still in use.")
        return Nic(port["id"], made_by_nova=False)
    network = cloud.network.networks.get(wanted["uuid"])
    if network is None:
        raise Fault(404, f"Network {wanted['uuid']} could not be found.")
    groups = server.group_ids or [ensure_default(cloud, server.project_id)["id"]]
    given: Json = {"project_id": server.project_id, "security_groups": groups}
    if wanted.get("fixed_ip"):
        given["fixed_ips"] = [{"ip_address": wanted["fixed_ip"]}]
    within_quota(cloud, server.project_id, "port")
    try:
        return Nic(make_port(cloud, network, given)["id"], made_by_nova=True)
    except Fault as fault:
        if fault.kind == "InvalidIpForNetwork":
            address = wanted["fixed_ip"]
            message = (
                f"Invalid input received: Fixed IP {address} is not a valid ip address for network {network['id']}."
            )
            raise Fault(400, message) from fault
        if fault.kind == "IpAddressAlreadyAllocated":
            raise Fault(
                400, f"Fixed IP address {wanted['fixed_ip']} is already in use on instance {server.id}."
            ) from fault
        raise


def release(cloud: Cloud, server: Server) -> None:
    """Give a server's ports back: those that Nova made are deleted, the others unbound."""
    nics, server.nics = server.nics, []
    for nic in nics:
        port = cloud.network.ports.get(nic.port_id)
        if port is None:
            continue
        if nic.made_by_nova:
            remove_port(cloud, port)
        else:
            unplug(port)
            # they stay bound to the port, but there is nobody to answer
            for floating in floatings_of(cloud, port["id"]):
                floating_down(cloud, floating)


def power_on(cloud: Cloud, server: Server) -> None:
    """Its ports come up, and its guest boots."""
    for nic in server.nics:
        port = cloud.network.ports.get(nic.port_id)
        if port is not None:
            set_status(port, "ACTIVE")
    cloud.spawn(server_up(cloud, server))


async def stop(cloud: Cloud, server: Server) -> None:
    """Power a server off."""
    await asyncio.sleep(cloud.world.timing.of("stop"))
    if _gone(server):
        return
    server.power_state = 4
    await server_down(cloud, server)
    if _gone(server):
        return
    server.vm_state, server.task_state = "stopped", None
    changed(server)


async def start(cloud: Cloud, server: Server) -> None:
    """Power a server on."""
    await asyncio.sleep(cloud.world.timing.of("start"))
    if _gone(server):
        return
    server.vm_state, server.task_state, server.power_state = "active", None, 1
    changed(server)
    power_on(cloud, server)


async def reboot(cloud: Cloud, server: Server) -> None:
    """Power a server off and on again."""
    server.power_state = 4
    await server_down(cloud, server)
    await asyncio.sleep(cloud.world.timing.of("reboot"))
    if _gone(server):
        return
    server.vm_state, server.task_state, server.power_state = "active", None, 1
    changed(server)
    power_on(cloud, server)


async def freeze(cloud: Cloud, server: Server, vm_state: str) -> None:
    """Pause or suspend a server: its guest does not answer."""
    await asyncio.sleep(cloud.world.timing.of("stop"))
    if _gone(server):
        return
    server.power_state = 3 if vm_state == "paused" else 4
    await server_down(cloud, server)
    if _gone(server):
        return
    server.vm_state, server.task_state = vm_state, None
    changed(server)


async def delete(cloud: Cloud, server: Server) -> None:
    """Take a server away: its guest first, then its ports, then its record."""
    await asyncio.sleep(cloud.world.timing.of("delete"))
    server.power_state = 0
    await server_down(cloud, server)
    release(cloud, server)
    server.deleted_at = server.terminated_at = changed(server)
    server.vm_state, server.task_state = "deleted", None
