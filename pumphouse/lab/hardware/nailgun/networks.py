"""Networks of an environment: what Nailgun shows, what it refuses, virtual addresses, and addresses of nodes."""

from __future__ import annotations

import copy
import ipaddress
from typing import Any

from pumphouse.lab.hardware.nailgun.release import Traits
from pumphouse.lab.hardware.nailgun.state import Cluster, Node, Refusal, State, broken

_HA_ROLES = ["controller", "primary-controller"]
_CHANGEABLE = ("cidr", "gateway", "ip_ranges", "vlan_start")


class Wrong(Exception):
    """A network configuration that Nailgun's checks refuse.

    :param result: ``[{"ids": [network ids], "errors": [fields]}]``.
    """

    def __init__(self, message: str, result: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.result = result or []


def default_networks(state: State, cluster_id: int, provider: str, segment: str) -> dict[str, Any]:
    """The networks of a new environment, with ids of their own; the Admin network is everybody's."""
    document: dict[str, Any] = state.traits.document(provider)
    for network in document["networks"]:
        owner = "group_id" if "group_id" in network else "cluster_id"
        if network["name"] == "fuelweb_admin":
            network["id"], network[owner] = 1, None
        else:
            network["id"], network[owner] = state.count("network"), cluster_id
    if "segmentation_type" in document["networking_parameters"]:
        document["networking_parameters"]["segmentation_type"] = segment
    return document


def view(state: State, cluster: Cluster) -> dict[str, Any]:
    """``network_configuration``. 8.0 gives no virtual addresses before networks were set or nodes deployed."""
    traits = state.traits
    shown = copy.deepcopy(cluster.networks)
    if cluster.mode == "multinode":
        return shown
    if traits.number < (8, 0) and not cluster.vips:
        allocate_vips(state, cluster)
    vips = cluster.vips
    if vips:
        shown |= {"public_vip": vips["public"], "management_vip": vips["management"]}
        if traits.number >= (6, 1):
            shown |= {"management_vrouter_vip": vips["vrouter"], "public_vrouter_vip": vips["vrouter_pub"]}
    if traits.number >= (7, 0):
        shown["vips"] = {name: _vip(traits, name, address) for name, address in vips.items()}
    return shown


def _vip(traits: Traits, name: str, address: str) -> dict[str, Any]:
    role = "public/vip" if name in ("public", "vrouter_pub") else "mgmt/vip"
    space = "vrouter" if name.startswith("vrouter") else "haproxy"
    found: dict[str, Any] = {"ipaddr": address, "namespace": space, "network_role": role, "node_roles": _HA_ROLES}
    if traits.number >= (8, 0):
        rules = {"iptables_rules": {"ns_start": [""], "ns_stop": [""]}}
        found["vendor_specific"] = rules if name == "vrouter_pub" else None
    return found


def allocate_vips(state: State, cluster: Cluster) -> None:
    """Virtual addresses from the ranges of the public and the management network; anew whenever networks change."""
    taken: set[str] = {a for node in state.members(cluster.id) for a in node.addresses.values()}
    cluster.vips = {}
    for name, network in (
        ("vrouter_pub", "public"),
        ("public", "public"),
        ("vrouter", "management"),
        ("management", "management"),
    ):
        address = free_address(cluster, network, taken | set(cluster.vips.values()))
        if address is not None:
            cluster.vips[name] = address


def free_address(cluster: Cluster, name: str, taken: set[str]) -> str | None:
    """The first address of a network's ranges that nobody has; Nailgun knows nothing of other clouds."""
    network = cluster.network(name)
    for first, last in network["ip_ranges"] if network else []:
        number, end = int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))
        while number <= end:
            address = str(ipaddress.ip_address(number))
            if address not in taken:
                return address
            number += 1
    return None


def give_addresses(state: State, cluster: Cluster, nodes: list[Node]) -> None:
    """What a deployment does first: addresses for nodes and for the environment."""
    taken = {a for node in state.members(cluster.id) for a in node.addresses.values()} | set(cluster.vips.values())
    for node in nodes:
        for name in ("public", "management", "storage"):
            if name not in node.addresses:
                address = free_address(cluster, name, taken)
                if address is not None:
                    node.addresses[name] = address
                    taken.add(address)
        if node.ip:
            node.addresses["fuelweb_admin"] = node.ip
    if not cluster.vips and cluster.mode != "multinode":
        allocate_vips(state, cluster)


def locked(state: State, cluster: Cluster) -> Refusal | None:
    """Why networks may not be set now; None where they may."""
    if state.traits.number <= (6, 1) and cluster.is_locked:
        return Refusal(403, "Network configuration can't be changed after, or in deploy.")
    if cluster.status == "deployment":
        return Refusal(403, "Network configuration cannot be changed during deployment and after upgrade.")
    return None


def nobody_without_address(state: State) -> None:
    """8.0 looks at the address of every node that it knows, and stumbles over those that have none."""
    if state.traits.number >= (8, 0) and any(node.ip is None for node in state.nodes.values()):
        raise Wrong("failed to detect a valid IP address from None")


def change(state: State, cluster: Cluster, document: Any) -> None:
    """Check a new configuration and take it over.

    :raises Wrong: where Nailgun says so in a task (up to 7.0) or a 400 (8.0).
    :raises Refusal: where it breaks.
    """
    traits = state.traits
    networks = document.get("networks", []) if isinstance(document, dict) else []
    if not isinstance(networks, list):
        if traits.number < (7, 0):
            raise broken(traits, "'unicode' object has no attribute 'get'")
        if traits.number < (8, 0):
            raise Wrong("'unicode' object has no attribute 'get'")
        raise Wrong(f"{networks!r} is not of type 'array'")
    by_id = {network["id"]: network for network in cluster.networks["networks"]}
    changed = copy.deepcopy(cluster.networks)
    held = {network["id"]: network for network in changed["networks"]}
    for network in networks:
        if "id" not in network:
            raise Wrong("'id'" if traits.number < (7, 0) else "'id' is a required property")
        if network["id"] not in by_id:
            raise Wrong(f"Invalid network ID: {network['id']}")
        if by_id[network["id"]]["name"] == "fuelweb_admin":
            continue
        _legible(traits, network)
        held[network["id"]] |= {key: network[key] for key in _CHANGEABLE if key in network}
    parameters = document.get("networking_parameters", {})
    was = cluster.networks["networking_parameters"]
    if (
        "segmentation_type" in was
        and parameters.get("segmentation_type", was["segmentation_type"]) != was["segmentation_type"]
    ):
        raise Wrong("Change of 'segmentation_type' is prohibited")
    changed["networking_parameters"] |= {key: copy.deepcopy(value) for key, value in parameters.items() if key in was}
    _check(traits, changed)
    cluster.networks = changed
    allocate_vips(state, cluster)
    if not any(entry["name"] == "networks" for entry in cluster.changes):
        cluster.changes.append({"name": "networks", "node_id": None})


def _legible(traits: Traits, network: dict[str, Any]) -> None:
    try:
        if network.get("cidr"):
            ipaddress.ip_network(network["cidr"], strict=False)
        for first, last in network.get("ip_ranges") or []:
            ipaddress.ip_address(first), ipaddress.ip_address(last)
    except ValueError as error:
        text = network.get("cidr")
        if traits.number < (7, 0):
            raise Wrong(f"invalid IPNetwork {text}") from error
        raise Wrong(f"u'{text}' is not valid under any of the given schemas") from error


def _check(traits: Traits, document: dict[str, Any]) -> None:
    networks = [network for network in document["networks"] if network["cidr"] and network["name"] != "fuelweb_admin"]
    floating = [tuple(pair) for pair in document["networking_parameters"].get("floating_ranges", [])]
    public = next(network for network in networks if network["name"] == "public")
    for network in networks if traits.number < (8, 0) else []:
        if network["vlan_start"] is not None and not 1 <= int(network["vlan_start"]) <= 4094:
            raise Wrong(
                f"VLAN ID(s) is out of range for {network['name']} network.",
                [{"ids": [network["id"]], "errors": ["vlan_start"]}],
            )
    for number, one in enumerate(networks):
        for other in networks[number + 1 :]:
            if _net(one).overlaps(_net(other)):
                raise Wrong(
                    f"Address space intersection between networks:\n{one['name']}, {other['name']}",
                    [{"ids": [one["id"], other["id"]], "errors": ["cidr"]}],
                )
    for pair in floating:
        if any(_overlap(pair, tuple(given)) for given in public["ip_ranges"]):
            message = "Address space intersection between range of public network and floating range."
            if traits.number >= (8, 0):
                message = "Address space intersection between ranges of public and floating networks."
            raise Wrong(message, [{"ids": [public["id"]], "errors": ["ip_ranges"]}])
        if traits.number >= (8, 0) and not all(ipaddress.ip_address(end) in _net(public) for end in pair):
            raise Wrong(
                f"Floating address ranges {pair[0]}-{pair[1]} are not in the same public CIDR.",
                [{"ids": [], "errors": ["cidr", "ip_ranges"]}],
            )
    for pair in [tuple(given) for network in networks for given in network["ip_ranges"] if network["name"] == "public"]:
        if not all(ipaddress.ip_address(end) in _net(public) for end in pair):
            raise Wrong(
                "IP ranges are not in the public network's CIDR.", [{"ids": [public["id"]], "errors": ["ip_ranges"]}]
            )


def _net(network: dict[str, Any]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(network["cidr"], strict=False)


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    first, last = (int(ipaddress.ip_address(end)) for end in one)
    begin, end = (int(ipaddress.ip_address(bound)) for bound in other)
    return first <= end and begin <= last
