"""Interfaces and disks of a node: what the agent's report becomes, the defaults, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

from pumphouse.lab.hardware.nailgun.state import Cluster, Node, Refusal, State

_MIB = 1024 * 1024
_RESERVED_MIB = 500
_BOOT_MIB = 192
_OS_MIB = 55296
_VOLUMES = {
    "os": ("Base System", _OS_MIB),
    "image": ("Image Storage", 5120),
    "cinder": ("Cinder", 1536),
    "vm": ("Virtual Storage", 5120),
    "ceph": ("Ceph", 3072),
    "mongo": ("Mongo DB", 10240),
}
_OF_ROLE = {
    "controller": "image",
    "compute": "vm",
    "cinder": "cinder",
    "ceph-osd": "ceph",
    "mongo": "mongo",
}


def from_agent(state: State, node: Node) -> None:
    """What the agent told becomes interfaces and disks; what was laid out already stays."""
    number = state.traits.number
    known = {nic["mac"]: nic for nic in node.interfaces}
    found = []
    for told in node.meta.get("interfaces", []):
        mac = str(told.get("mac", "")).lower()
        nic = known.get(mac) or {"id": state.count("interface"), "mac": mac, "assigned_networks": []}
        nic |= {
            "name": told.get("name"),
            "type": "ether",
            "state": told.get("state"),
            "max_speed": told.get("max_speed"),
            "current_speed": told.get("current_speed"),
        }
        if number >= (6, 1):
            nic |= {"driver": told.get("driver"), "bus_info": told.get("bus_info")}
            nic.setdefault("interface_properties", {"mtu": None, "disable_offloading": False})
        if number >= (7, 0):
            nic["offloading_modes"] = told.get("offloading_modes", [])
            nic["pxe"] = mac == node.mac
        found.append(nic)
    node.interfaces = found
    if not node.disks:
        node.disks = [
            {
                "id": disk.get("disk"),
                "name": disk.get("name"),
                "extra": disk.get("extra", []),
                "size": max(0, int(disk.get("size", 0)) // _MIB - _RESERVED_MIB),
                "volumes": [],
            }
            for disk in node.meta.get("disks", [])
        ]


# --- interfaces


def default_interfaces(state: State, node: Node, cluster: Cluster) -> list[dict[str, Any]]:
    """Which NIC carries what when nobody says: up to 6.1 the first one all but Public, later the PXE NIC Admin only."""
    found = copy.deepcopy(node.interfaces)
    if not found:
        return found
    networks = [{"id": network["id"], "name": network["name"]} for network in cluster.networks["networks"]]
    for nic in found:
        nic["assigned_networks"] = []
    first = found[0]
    for network in sorted(networks, key=lambda one: bool(one["name"] != "fuelweb_admin")):
        nic = first
        if network["name"] == "public" and len(found) > 1 and state.traits.number <= (6, 1):
            nic = found[1]
        if network["name"] == "fuelweb_admin" and state.traits.number >= (7, 0):
            nic = next((one for one in found if one["mac"] == node.mac), first)
        nic["assigned_networks"].append(network)
    return found


def set_interfaces(state: State, node: Node, layout: Any) -> list[dict[str, Any]]:
    """Check and take over which NIC carries what."""
    where = f"Node '{node.id}'"
    if state.traits.number >= (6, 1) and node.status != "discover":
        raise Refusal(400, f"{where}: Interfaces configuration can't be changed after or during deployment.")
    if not isinstance(layout, list):
        raise Refusal(400, f"{where}: Interfaces should be in list format")
    for nic in layout:
        if "type" not in nic:
            raise Refusal(400, f"{where}: each interface must have a type")
    cluster = state.clusters.get(node.cluster_id or 0)
    carried = {network["id"] for nic in layout for network in nic.get("assigned_networks", [])}
    wanted = {network["id"] for network in cluster.networks["networks"]} if cluster else set()
    if missing := sorted(wanted - carried):
        named = ", ".join(map(str, missing))
        quoted = named if state.traits.number >= (8, 0) else f"'{named}'"
        raise Refusal(400, f"{where}: {quoted} network(s) are left unassigned")
    by_name = {nic.get("name"): nic for nic in layout}
    for nic in node.interfaces:
        given = by_name.get(nic["name"], {})
        nic["assigned_networks"] = [
            {"id": network["id"], "name": network["name"]} for network in given.get("assigned_networks", [])
        ]
        if "interface_properties" in given and "interface_properties" in nic:
            nic["interface_properties"] = copy.deepcopy(given["interface_properties"])
    return copy.deepcopy(node.interfaces)


# --- disks


def volume_names(node: Node) -> list[str]:
    """Which volumes a node's roles need."""
    roles = {*node.roles, *node.pending_roles}
    return ["os", *(name for role, name in sorted(_OF_ROLE.items(), key=lambda one: one[1]) if role in roles)]


def default_disks(state: State, node: Node) -> list[dict[str, Any]]:
    """The system on the first disk, and the space shared among what the roles need."""
    found = copy.deepcopy(node.disks)
    names = volume_names(node)
    sizes = {str(disk.get("name")): int(disk.get("size", 0)) for disk in node.meta.get("disks", [])}
    for number, disk in enumerate(found):
        size = max(0, sizes.get(disk["name"], 0) // _MIB - _RESERVED_MIB - _BOOT_MIB)
        disk["size"] = size
        left = size
        volumes = []
        for name in names:
            mib = 0
            if name == "os":
                mib = min(_OS_MIB, left) if number == 0 else 0
            elif name == names[-1] or number == 0:
                mib = left
            left -= mib
            volume: dict[str, Any] = {"name": name, "size": mib}
            if state.traits.number >= (7, 0):
                volume["keep_data"] = False
            volumes.append(volume)
        disk["volumes"] = volumes
    return found


def set_disks(node: Node, layout: Any) -> list[dict[str, Any]]:
    """Check and take over the volumes; Nailgun does so even when it is too late to have an effect."""
    if not layout:
        raise Refusal(400, "Node seems not to have disks")
    by_name = {disk.get("name"): disk for disk in layout}
    for disk in node.disks:
        given = by_name.get(disk["name"], disk)
        if sum(int(volume["size"]) for volume in given["volumes"]) > disk["size"]:
            raise Refusal(400, f"Not enough free space on disk: {given}")
    for disk in node.disks:
        if disk["name"] in by_name:
            disk["volumes"] = copy.deepcopy(by_name[disk["name"]]["volumes"])
    return copy.deepcopy(node.disks)


def volumes_info(node: Node) -> list[dict[str, Any]]:
    """The volumes of a node's roles with their smallest sizes."""
    return [{"name": name, "label": _VOLUMES[name][0], "min_size": _VOLUMES[name][1]} for name in volume_names(node)]


# --- membership


def join(state: State, node: Node, cluster: Cluster, roles: list[str]) -> None:
    """A node becomes an environment's, with the default layout."""
    node.cluster_id, node.pending_roles, node.pending_addition = cluster.id, list(roles), True
    node.interfaces = default_interfaces(state, node, cluster)
    node.disks = default_disks(state, node)
    for what in ("interfaces", "disks"):
        entry = {"name": what, "node_id": node.id}
        if entry not in cluster.changes:
            cluster.changes.append(entry)


def leave(state: State, node: Node) -> None:
    """A node leaves its environment; Nailgun forgets its name and its host name."""
    if node.cluster_id in state.clusters:
        cluster = state.clusters[node.cluster_id]
        cluster.changes = [change for change in cluster.changes if change["node_id"] != node.id]
    node.cluster_id, node.roles, node.pending_roles = None, [], []
    node.pending_addition = node.pending_deletion = False
    node.name, node.hostname = untitled(node.mac), ""
    node.addresses.clear()
    for nic in node.interfaces:
        nic["assigned_networks"] = []
    for disk in node.disks:
        disk["volumes"] = []


def untitled(mac: str) -> str:
    """The name of a node that nobody named."""
    return f"Untitled ({mac[-5:]})"
