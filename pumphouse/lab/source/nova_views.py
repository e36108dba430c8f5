"""How a server looks to an administrator and to a user."""

from __future__ import annotations

import hashlib
from typing import Any

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import Server
from pumphouse.lab.source.wire import Caller, stamp, stamp_micro

_TASK_STATUS = {
    "rebooting": "REBOOT",
    "reboot_pending": "REBOOT",
    "reboot_started": "REBOOT",
    "rebooting_hard": "HARD_REBOOT",
    "reboot_pending_hard": "HARD_REBOOT",
    "reboot_started_hard": "HARD_REBOOT",
    "updating_password": "PASSWORD",
    "rebuilding": "REBUILD",
    "rebuild_block_device_mapping": "REBUILD",
    "rebuild_spawning": "REBUILD",
    "migrating": "MIGRATING",
    "resize_prep": "RESIZE",
    "resize_migrating": "RESIZE",
    "resize_migrated": "RESIZE",
    "resize_finish": "RESIZE",
}
_STATUS = {
    "active": "ACTIVE",
    "building": "BUILD",
    "stopped": "SHUTOFF",
    "resized": "VERIFY_RESIZE",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "rescued": "RESCUE",
    "error": "ERROR",
    "deleted": "DELETED",
    "soft-delete": "SOFT_DELETED",
    "shelved": "SHELVED",
    "shelved_offloaded": "SHELVED_OFFLOADED",
}
_WITH_TASK = {
    "active": set(_TASK_STATUS),
    "stopped": {k for k, v in _TASK_STATUS.items() if v in ("RESIZE", "REBUILD", "HARD_REBOOT")},
    "error": {k for k, v in _TASK_STATUS.items() if v == "REBUILD"},
}
_WITH_PROGRESS = ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE")
STATUSES = frozenset(_STATUS.values()) | frozenset(_TASK_STATUS.values()) | {"REVERT_RESIZE"}


def status_of(server: Server) -> str:
    """The API's status, from vm_state and task_state."""
    if server.vm_state == "resized" and server.task_state == "resize_reverting":
        return "REVERT_RESIZE"
    if server.task_state in _WITH_TASK.get(server.vm_state, ()):
        return _TASK_STATUS[str(server.task_state)]
    return _STATUS.get(server.vm_state, "UNKNOWN")


def host_id(server: Server) -> str:
    """A host's name as its tenants may see it."""
    if server.host is None:
        return ""
    return hashlib.sha224((server.project_id + server.host).encode()).hexdigest()


def addresses(nova: Nova, server: Server, *, extended: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Fixed addresses, each followed by its floating ones; hidden while the server is being built."""
    network = nova.state.networks.get(server.network_id or "")
    if network is None or not server.addresses or server.vm_state == "building":
        return {}
    entries: list[dict[str, Any]] = []
    for address in server.addresses:
        floats = [
            f.address
            for f in nova.state.floating_ips.values()
            if f.server_id == server.id and f.fixed_address == address
        ]
        for kind, text in [("fixed", address), *(("floating", f) for f in floats)]:
            entry: dict[str, Any] = {"addr": text, "version": 4}
            if extended:
                entry["OS-EXT-IPS:type"] = kind
                if nova.state.release.server_usage:
                    entry["OS-EXT-IPS-MAC:mac_addr"] = server.mac
            entries.append(entry)
    return {network.label: entries}


def zone_of_host(nova: Nova, host: str | None) -> str:
    """A host's availability zone, from its aggregates."""
    for aggregate in nova.state.aggregates.values():
        if host in aggregate.hosts and "availability_zone" in aggregate.metadata:
            return aggregate.metadata["availability_zone"]
    return "nova"


def brief(nova: Nova, server: Server, project_id: str) -> dict[str, Any]:
    """The record of GET /servers."""
    return {"id": server.id, "name": server.name, "links": nova.links(project_id, "servers", server.id)}


def core(nova: Nova, server: Server, project_id: str, *, extended: bool) -> dict[str, Any]:
    """What Nova tells without extensions (rebuild and rename answer with just this)."""
    status = status_of(server)
    view: dict[str, Any] = {
        **brief(nova, server, project_id),
        "status": status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": dict(server.metadata),
        "hostId": host_id(server),
        "image": "",
        "flavor": {
            "id": server.flavor_id,
            "links": [nova.bookmark(project_id, "flavors", server.flavor_id)],
        },
        "created": stamp(server.created_at),
        "updated": stamp(server.updated_at),
        "addresses": addresses(nova, server, extended=extended),
        "accessIPv4": "",
        "accessIPv6": "",
        "OS-DCF:diskConfig": server.disk_config,
    }
    if server.image_id:
        view["image"] = {"id": server.image_id, "links": [nova.bookmark(project_id, "images", server.image_id)]}
    if status in _WITH_PROGRESS:
        view["progress"] = server.progress
    if status in ("ERROR", "DELETED") and server.fault is not None:
        view["fault"] = dict(server.fault)
    return view


def detail(nova: Nova, server: Server, caller: Caller) -> dict[str, Any]:
    """The record of GET /servers/detail and /servers/ID."""
    view = core(nova, server, caller.project_id, extended=True)
    if "fault" in view and not caller.is_admin:
        view["fault"].pop("details", None)
    view |= {
        "key_name": server.key_name,
        "config_drive": nova.state.release.config_drive_on if server.config_drive else "",
        "security_groups": [{"name": name} for name in sorted(server.security_groups)],
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:power_state": server.power_state,
        "OS-EXT-AZ:availability_zone": zone_of_host(nova, server.host) if server.host else "nova",
    }
    if nova.state.release.server_usage:
        view["OS-SRV-USG:launched_at"] = stamp_micro(server.launched_at)
        view["OS-SRV-USG:terminated_at"] = stamp_micro(server.terminated_at)
        view["os-extended-volumes:volumes_attached"] = [{"id": volume} for volume in server.volumes]
    if caller.is_admin:
        view["OS-EXT-SRV-ATTR:host"] = server.host
        view["OS-EXT-SRV-ATTR:hypervisor_hostname"] = server.host
        view["OS-EXT-SRV-ATTR:instance_name"] = instance_name(server)
    return view


def instance_name(server: Server) -> str:
    """The hypervisor's name of the server."""
    return f"instance-{server.number:08x}"
