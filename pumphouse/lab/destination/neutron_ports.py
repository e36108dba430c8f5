"""Neutron v2.0: ports, and what Nova does with them."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.neutron import Collection, touch, within_quota
from pumphouse.lab.destination.neutron_groups import ensure_default, no_group
from pumphouse.lab.destination.neutron_networks import no_network, no_subnet, sees_network
from pumphouse.lab.destination.state import Caller, Cloud, Server
from pumphouse.lab.destination.web import Fault, Json, answer, new_id, now, stamp
from pumphouse.lab.destination.wires import floatings_of, unbind

_BINDING = ("binding:profile", "binding:host_id", "binding:vif_type", "binding:vif_details")
_PORT = (
    "name",
    "admin_state_up",
    "device_id",
    "device_owner",
    "fixed_ips",
    "allowed_address_pairs",
    "extra_dhcp_opts",
    "security_groups",
    "port_security_enabled",
    "binding:vnic_type",
    "binding:profile",
    "binding:host_id",
    "mac_address",
    "dns_name",
)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_BOUND_VIF = {
    "port_filter": True,
    "ovs_hybrid_plug": False,
    "connectivity": "l2",
    "bridge_name": "br-int",
    "datapath_type": "system",
    "bound_drivers": {"0": "lab"},
}


def taken(cloud: Cloud, network_id: str) -> set[str]:
    """Addresses in use on a network."""
    ports = (port for port in cloud.network.ports.values() if port["network_id"] == network_id)
    return {fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]}


def allocate(cloud: Cloud, network: Json, wanted: Any) -> list[Json]:
    """Fixed IPs for a port: those asked for, or the next free one of the network's pools."""
    subnets = [item for item in cloud.network.subnets.values() if item["network_id"] == network["id"]]
    used = taken(cloud, network["id"])
    if wanted is None:
        return [_next_free(network, subnets, used)] if subnets else []
    found: list[Json] = []
    for entry in wanted:
        address, subnet_id = entry.get("ip_address"), entry.get("subnet_id")
        if subnet_id is not None and subnet_id not in cloud.network.subnets:
            raise no_subnet(subnet_id)
        chosen = [item for item in subnets if subnet_id in (None, item["id"])]
        if subnet_id is not None and not chosen:
            message = f"Failed to create port on network {network['id']}, because fixed_ips included invalid subnet"
            raise Fault(400, f"{message} {subnet_id}.", kind="InvalidInput")
        if address is None:
            found.append(_next_free(network, chosen, used))
        else:
            found.append({"subnet_id": _claim(chosen, address, used, given=subnet_id), "ip_address": address})
        used.add(found[-1]["ip_address"])
    return found


def _claim(subnets: list[Json], address: str, used: set[str], *, given: str | None) -> str:
    try:
        ip = ipaddress.IPv4Address(address)
    except ValueError as error:
        message = f"Invalid input for fixed_ips. Reason: '{address}' is not a valid IP address."
        raise Fault(400, message) from error
    home = next((item for item in subnets if ip in ipaddress.IPv4Network(item["cidr"])), None)
    if home is None or ip in (ipaddress.IPv4Network(home["cidr"])[0], ipaddress.IPv4Network(home["cidr"])[-1]):
        if given is not None:
            message = f"IP address {address} is not a valid IP for the specified subnet."
            raise Fault(400, message, kind="InvalidIpForSubnet")
        message = f"IP address {address} is not a valid IP for any of the subnets on the specified network."
        raise Fault(400, message, kind="InvalidIpForNetwork")
    if address in used:
        message = f"IP address {address} already allocated in subnet {home['id']}"
        raise Fault(409, message, kind="IpAddressAlreadyAllocated")
    return str(home["id"])


def _next_free(network: Json, subnets: list[Json], used: set[str]) -> Json:
    for subnet in subnets:
        for pool in subnet["allocation_pools"]:
            first, last = (int(ipaddress.IPv4Address(pool[end])) for end in ("start", "end"))
            for number in range(first, last + 1):
                address = str(ipaddress.IPv4Address(number))
                if address not in used:
                    return {"subnet_id": subnet["id"], "ip_address": address}
    message = f"No more IP addresses available on network {network['id']}."
    raise Fault(409, message, kind="IpAddressGenerationFailure")


def new_mac(cloud: Cloud) -> str:
    """A MAC address that no port has."""
    used = {port["mac_address"] for port in cloud.network.ports.values()}
    while True:
        mac = "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))
        if mac not in used:
            return mac


def make_port(cloud: Cloud, network: Json, given: Json) -> Json:
    """Make a port record (checked, within no quota: that is the API's business)."""
    mac = str(given.get("mac_address") or new_mac(cloud)).lower()
    if not _MAC.fullmatch(mac):
        message = f"Invalid input for mac_address. Reason: '{given['mac_address']}' is not a valid MAC address."
        raise Fault(400, message)
    for port in cloud.network.ports.values():
        if port["network_id"] == network["id"] and port["mac_address"] == mac:
            message = f"Unable to complete operation for network {network['id']}. The mac address {mac} is in use."
            raise Fault(409, message, kind="MacAddressInUse")
    fixed = allocate(cloud, network, given.get("fixed_ips"))
    service = given.get("device_owner", "").startswith("network:")
    moment = stamp(now())
    port = {
        "id": new_id(),
        "name": given.get("name", ""),
        "network_id": network["id"],
        "project_id": given["project_id"],
        "mac_address": mac,
        "admin_state_up": given.get("admin_state_up", True),
        "status": given.get("status", "DOWN"),
        "device_id": given.get("device_id", ""),
        "device_owner": given.get("device_owner", ""),
        "fixed_ips": fixed,
        "allowed_address_pairs": given.get("allowed_address_pairs", []),
        "extra_dhcp_opts": given.get("extra_dhcp_opts", []),
        "security_groups": given.get("security_groups", []),
        "description": given.get("description", ""),
        "binding:vnic_type": given.get("binding:vnic_type", "normal"),
        "binding:profile": given.get("binding:profile") or {},
        "binding:host_id": given.get("binding:host_id", ""),
        "binding:vif_type": "unbound",
        "binding:vif_details": {},
        "port_security_enabled": given.get("port_security_enabled", not service),
        "tags": list(given.get("tags", [])),
        "created_at": moment,
        "updated_at": moment,
        "revision_number": 1,
        "tenant_id": given["project_id"],
    }
    cloud.network.ports[port["id"]] = port
    return port


def remove_port(cloud: Cloud, port: Json) -> None:
    """Delete a port record; floating IPs bound to it are free again, a server loses the address."""
    for floating in floatings_of(cloud, port["id"]):
        unbind(cloud, floating)
    cloud.network.ports.pop(port["id"], None)
    server = cloud.compute.servers.get(port["device_id"])
    if server is not None:
        server.nics = [nic for nic in server.nics if nic.port_id != port["id"]]


def plug(port: Json, server: Server, zone: str) -> None:
    """Nova binds a port to a server on its host."""
    port |= {
        "device_id": server.id,
        "device_owner": f"compute:{zone}",
        "binding:host_id": server.host or "",
        "binding:vif_type": "ovs",
        "binding:vif_details": dict(_BOUND_VIF),
    }
    touch(port)


def set_status(port: Json, status: str) -> None:
    """A port came up or went down."""
    if port["status"] != status:
        port["status"] = status
        touch(port)


def unplug(port: Json) -> None:
    """Nova lets go of a port that it did not make."""
    port |= {
        "device_id": "",
        "device_owner": "",
        "binding:host_id": "",
        "binding:vif_type": "unbound",
        "binding:vif_details": {},
        "status": "DOWN",
    }
    touch(port)


class Ports(Collection):
    """``/v2.0/ports``."""

    kind = "port"
    plural = "ports"

    @property
    def table(self) -> dict[str, Json]:
        """The ports."""
        return self.data.ports

    def missing(self, record_id: str) -> Fault:
        """404."""
        return no_port(record_id)

    def visible(self, record: Json, caller: Caller) -> bool:
        """Own ones, and all on one's own networks."""
        network = self.data.networks[record["network_id"]]
        return caller.sees(record["project_id"]) or caller.sees(network["project_id"])

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (
            *_PORT,
            "id",
            "network_id",
            "status",
            "project_id",
            "tenant_id",
            "description",
            "tags",
            "revision_number",
        )

    def view(self, record: Json, caller: Caller) -> Json:
        """Bindings are an administrator's business."""
        return {key: value for key, value in record.items() if caller.is_admin or key not in _BINDING}

    async def create(self, request: web.Request) -> web.Response:
        """``POST``."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, (*_PORT, "network_id"), post=True)
        if "network_id" not in given:
            raise Fault(400, "Failed to parse request. Required attribute 'network_id' not specified")
        for fixed in given.get("fixed_ips") or []:
            _check_address(fixed)
        mac = given.get("mac_address")
        if mac is not None and not _MAC.fullmatch(str(mac).lower()):
            raise Fault(400, f"Invalid input for mac_address. Reason: '{mac}' is not a valid MAC address.")
        network = self.data.networks.get(given["network_id"])
        if network is None or not sees_network(network, caller):
            raise no_network(given["network_id"])
        if not caller.sees(network["project_id"]):
            self._stranger(network, given)
        default = ensure_default(self.cloud, given["project_id"])
        service = given.get("device_owner", "").startswith("network:")
        if given.get("security_groups") is None:
            given["security_groups"] = (
                [] if service or not given.get("port_security_enabled", True) else [default["id"]]
            )
        self._check_groups(given["security_groups"], given["project_id"], caller)
        within_quota(self.cloud, given["project_id"], "port")
        port = make_port(self.cloud, network, given)
        return answer({self.kind: self.view(port, caller)}, 201)

    def _stranger(self, network: Json, given: Json) -> None:
        """Who is neither an administrator nor the network's owner may not choose addresses."""
        if network["router:external"] and not network["shared"]:
            raise Fault(403, "rule:create_port is disallowed by policy", kind="PolicyNotAuthorized")
        refused = "mac_address" if given.get("mac_address") else ""
        if any("ip_address" in fixed for fixed in given.get("fixed_ips") or []):
            refused = "fixed_ips"
        if refused:
            message = f"(rule:create_port and rule:create_port:{refused}) is disallowed by policy"
            raise Fault(403, message, kind="PolicyNotAuthorized")

    def _check_groups(self, groups: list[str], project_id: str, caller: Caller) -> None:
        """A port's groups are of the port's own project; only an administrator may mix."""
        for group in groups:
            known = self.data.groups.get(group)
            if known is None or not (caller.is_admin or known["project_id"] == project_id):
                raise no_group(group)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``."""
        caller = self.cloud.authenticate(request)
        port = self.owned(request, caller, "update_port")
        given = await self.given(request, caller, _PORT, post=False)
        network = self.data.networks[port["network_id"]]
        if "security_groups" in given:
            self._check_groups(given["security_groups"], port["project_id"], caller)
        if "fixed_ips" in given:
            kept = port["fixed_ips"]
            port["fixed_ips"] = []
            try:
                port["fixed_ips"] = allocate(self.cloud, network, given.pop("fixed_ips"))
            except Fault:
                port["fixed_ips"] = kept
                raise
        mac = given.get("mac_address")
        others = [item for item in self.data.ports.values() if item is not port and item["network_id"] == network["id"]]
        if mac is not None and any(item["mac_address"] == mac for item in others):
            message = f"Unable to complete operation for network {network['id']}. The mac address {mac} is in use."
            raise Fault(409, message, kind="MacAddressInUse")
        port.update(given)
        touch(port)
        return answer({self.kind: self.view(port, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: not a router's or a floating IP's own port."""
        port = self.owned(request, self.cloud.authenticate(request), "delete_port")
        if port["device_owner"] in ("network:router_interface", "network:router_gateway", "network:floatingip"):
            raise Fault(
                409,
                f"Port {port['id']} cannot be deleted directly via the port API: has device owner "
                f"{port['device_owner']}.",
                kind="ServicePortInUse",
            )
        remove_port(self.cloud, port)
        return answer(None, 204)


def _check_address(fixed: Json) -> None:
    address = fixed.get("ip_address")
    if address is None:
        return
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        message = f"Invalid input for fixed_ips. Reason: '{address}' is not a valid IP address."
        raise Fault(400, message) from error


def no_port(port_id: str) -> Fault:
    """404 of a port."""
    return Fault(404, f"Port {port_id} could not be found.", kind="PortNotFound")
