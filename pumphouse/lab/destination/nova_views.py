"""Nova v2.1: how a server is shown, microversion by microversion."""

from __future__ import annotations

import hashlib

from pumphouse.lab.destination.nova import links
from pumphouse.lab.destination.nova_hosts import ZONE
from pumphouse.lab.destination.state import Caller, Cloud, Server
from pumphouse.lab.destination.web import Json, micro_stamp, stamp

_PROGRESSING = ("ACTIVE", "BUILD", "DELETED", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")
_STATUS = {
    "building": "BUILD",
    "stopped": "SHUTOFF",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "error": "ERROR",
    "deleted": "DELETED",
}


def status_of(server: Server) -> str:
    """The one word that Nova makes of vm_state and task_state."""
    if server.vm_state == "active" and server.task_state in ("rebooting", "reboot_started"):
        return "REBOOT"
    if server.vm_state == "active" and server.task_state in ("rebooting_hard", "reboot_started_hard"):
        return "HARD_REBOOT"
    if server.task_state == "migrating":
        return "MIGRATING"
    if server.vm_state == "resized":
        return "REVERT_RESIZE" if server.task_state == "resize_reverting" else "VERIFY_RESIZE"
    if server.task_state is not None and server.task_state.startswith(("resize_", "rebuil")):
        return "RESIZE" if server.task_state.startswith("resize_") else "REBUILD"
    return _STATUS.get(server.vm_state, "ACTIVE")


def brief(cloud: Cloud, server: Server) -> Json:
    """A server in a list without details."""
    return {"id": server.id, "name": server.name, "links": links(cloud, "servers", server.id)}


def addresses(server: Server, *, full: bool) -> Json:
    """A server's addresses by network name."""
    found: Json = {}
    for network, entries in server.addresses.items():
        found[network] = [
            {"version": 4, "addr": address}
            | ({"OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": mac} if full else {})
            for address, kind, mac in entries
        ]
    return found


def group_names(cloud: Cloud, server: Server) -> list[Json]:
    """Names of the security groups on a server's ports."""
    names: dict[str, None] = {}
    for nic in server.nics:
        port = cloud.network.ports.get(nic.port_id)
        for group_id in port["security_groups"] if port else []:
            group = cloud.network.groups.get(group_id)
            if group is not None:
                names[group["name"]] = None
    return [{"name": name} for name in names]


def _flavor(cloud: Cloud, server: Server, version: int) -> Json:
    flavor = server.flavor
    if version < 47:
        return {"id": flavor["id"], "links": links(cloud, "flavors", flavor["id"])[1:]}
    return {
        "vcpus": flavor["vcpus"],
        "ram": flavor["ram"],
        "disk": flavor["disk"],
        "ephemeral": flavor["ephemeral"],
        "swap": flavor["swap"],
        "original_name": flavor["name"],
        "extra_specs": flavor["extra_specs"],
    }


def _hostname(name: str) -> str:
    kept = "".join(char for char in name.replace("_", "-").replace(" ", "-") if char.isalnum() or char in "-.")
    return kept.strip("-.").lower()[:63]


def detail(cloud: Cloud, server: Server, caller: Caller, version: int, *, listed: bool = False) -> Json:
    """A server with all that a caller may see of it.

    :param version: the microversion's minor number.
    :param listed: as an element of a list, which tells a little less.
    """
    shown = base(cloud, server, caller, version, full=True)
    placed = server.host is not None
    shown |= {
        "OS-EXT-AZ:availability_zone": ZONE if placed else "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": micro_stamp(server.launched_at) if server.launched_at else None,
        "OS-SRV-USG:terminated_at": micro_stamp(server.terminated_at) if server.terminated_at else None,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
    }
    groups = group_names(cloud, server)
    if groups:
        shown["security_groups"] = groups
    if caller.is_admin:
        shown |= _for_administrators(server, version)
    if version >= 9:
        shown["locked"] = server.locked
    if version >= 19:
        shown["description"] = server.description
    if version >= 26:
        shown["tags"] = list(server.tags)
    if version >= 63:
        shown["trusted_image_certificates"] = None
    if version >= 71 and not listed:
        shown["server_groups"] = []
    if version >= 73:
        shown["locked_reason"] = server.locked_reason
    if version >= 90:
        shown["OS-EXT-SRV-ATTR:hostname"] = _hostname(server.name)
    if version >= 96:
        shown["pinned_availability_zone"] = server.wanted_zone or ZONE
    if version >= 100:
        shown["scheduler_hints"] = server.hints
    return shown


def base(cloud: Cloud, server: Server, caller: Caller, version: int, *, full: bool) -> Json:
    """What every answer about one server begins with; ``full`` tells types and MACs of addresses."""
    status = status_of(server)
    image: Json = {"id": server.image_id, "links": links(cloud, "images", server.image_id)[1:]}
    if version >= 98:
        image["properties"] = server.image_properties
    shown: Json = {
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": addresses(server, full=full),
        "created": stamp(server.created_at),
        "flavor": _flavor(cloud, server, version),
        "hostId": hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest() if server.host else "",
        "id": server.id,
        "image": image,
        "links": links(cloud, "servers", server.id),
        "metadata": dict(server.metadata),
        "name": server.name,
        "status": status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "updated": stamp(server.updated_at),
        "OS-DCF:diskConfig": server.disk_config,
    }
    if status in _PROGRESSING:
        shown["progress"] = 0
    if server.fault is not None and status in ("ERROR", "DELETED"):
        hidden = () if caller.is_admin else ("details",)
        shown["fault"] = {key: value for key, value in server.fault.items() if key not in hidden}
    return shown


def _for_administrators(server: Server, version: int) -> Json:
    shown: Json = {
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.number:08x}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host,
    }
    if version >= 3:
        shown |= {
            "OS-EXT-SRV-ATTR:hostname": _hostname(server.name),
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:launch_index": 0,
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:reservation_id": server.reservation_id,
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/sda",
            "OS-EXT-SRV-ATTR:user_data": server.user_data,
        }
    if version >= 16:
        shown["host_status"] = "UP" if server.host else ""
    return shown
