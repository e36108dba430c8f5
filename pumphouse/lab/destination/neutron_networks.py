"""Neutron v2.0: networks and subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import web

from pumphouse.lab.destination.neutron import Collection, disallowed, touch, within_quota
from pumphouse.lab.destination.neutron_groups import ensure_default
from pumphouse.lab.destination.state import Caller
from pumphouse.lab.destination.web import Fault, Json, answer, new_id

_PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
_NETWORK = (
    "name",
    "admin_state_up",
    "shared",
    "mtu",
    "port_security_enabled",
    "router:external",
    "is_default",
    "availability_zone_hints",
    "dns_domain",
    *_PROVIDER,
)
_SUBNET = ("name", "gateway_ip", "enable_dhcp", "dns_nameservers", "host_routes", "allocation_pools", "service_types")


def no_network(network_id: str) -> Fault:
    """404 of a network."""
    return Fault(404, f"Network {network_id} could not be found.", kind="NetworkNotFound")


def no_subnet(subnet_id: str) -> Fault:
    """404 of a subnet."""
    return Fault(404, f"Subnet {subnet_id} could not be found.", kind="SubnetNotFound")


def sees_network(network: Json, caller: Caller) -> bool:
    """Whether a caller may know of a network: its own, shared ones and external ones."""
    return caller.sees(network["project_id"]) or bool(network["shared"] or network["router:external"])


class Networks(Collection):
    """``/v2.0/networks``."""

    kind = "network"
    plural = "networks"

    @property
    def table(self) -> dict[str, Json]:
        """The networks."""
        return self.data.networks

    def missing(self, record_id: str) -> Fault:
        """404."""
        return no_network(record_id)

    def visible(self, record: Json, caller: Caller) -> bool:
        """Own, shared and external ones."""
        return sees_network(record, caller)

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (*_NETWORK, "id", "status", "project_id", "tenant_id", "description", "tags", "revision_number")

    def view(self, record: Json, caller: Caller) -> Json:
        """Provider attributes are an administrator's business."""
        shown = record | {
            "subnets": [key for key, sub in self.data.subnets.items() if sub["network_id"] == record["id"]]
        }
        if not record["router:external"]:
            del shown["is_default"]
        return shown if caller.is_admin else {key: value for key, value in shown.items() if key not in _PROVIDER}

    async def create(self, request: web.Request) -> web.Response:
        """``POST``."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, _NETWORK, post=True)
        for name in ("router:external", "shared", *_PROVIDER):
            if name in given and not caller.is_admin:
                message = f"(rule:create_network and rule:create_network:{name}) is disallowed by policy"
                raise Fault(403, message, kind="PolicyNotAuthorized")
        self._check_segment(given)
        ensure_default(self.cloud, given["project_id"])
        within_quota(self.cloud, given["project_id"], "network")
        self.data.counter += 1
        network = {
            "id": new_id(),
            "name": given.get("name", ""),
            "project_id": given["project_id"],
            "admin_state_up": given.get("admin_state_up", True),
            "mtu": given.get("mtu") or (1500 if given.get("provider:physical_network") else 1450),
            "status": "ACTIVE",
            "shared": given.get("shared", False),
            "availability_zone_hints": given.get("availability_zone_hints", []),
            "availability_zones": [],
            "ipv4_address_scope": None,
            "ipv6_address_scope": None,
            "router:external": given.get("router:external", False),
            "qinq": False,
            "vlan_transparent": False,
            "port_security_enabled": given.get("port_security_enabled", True),
            "is_default": given.get("is_default", False),
            "provider:network_type": given.get("provider:network_type", "vxlan"),
            "provider:physical_network": given.get("provider:physical_network"),
            "provider:segmentation_id": given.get(
                "provider:segmentation_id", None if given.get("provider:physical_network") else self.data.counter
            ),
        } | self.standard(given)
        network["revision_number"] = 1
        self.data.networks[network["id"]] = network
        return answer({self.kind: self.view(network, caller) | {"is_default": network["is_default"]}}, 201)

    def _check_segment(self, given: Json) -> None:
        """A flat network has its physical network to itself, a VLAN its number."""
        physical, segment = given.get("provider:physical_network"), given.get("provider:segmentation_id")
        kind = given.get("provider:network_type")
        if kind in ("flat", "vlan") and not physical:
            message = f"Invalid input for operation: physical_network required for {kind} provider network."
            raise Fault(400, message, kind="InvalidInput")
        if kind == "flat" and segment is not None:
            message = "Invalid input for operation: segmentation_id prohibited for flat provider network."
            raise Fault(400, message, kind="InvalidInput")
        for network in self.data.networks.values():
            if (
                physical
                and kind == network["provider:network_type"]
                and network["provider:physical_network"] == physical
            ):
                if kind == "flat":
                    message = f"Unable to create the flat network. Physical network {physical} is in use."
                    raise Fault(409, message, kind="FlatNetworkInUse")
                if network["provider:segmentation_id"] == segment:
                    message = (
                        f"Unable to create the network. The VLAN {segment} on physical network {physical} is in use."
                    )
                    raise Fault(409, message, kind="VlanIdInUse")

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``."""
        caller = self.cloud.authenticate(request)
        network = self.owned(request, caller, "update_network")
        given = await self.given(request, caller, _NETWORK, post=False)
        if not caller.is_admin and {"router:external", "shared"} & set(given):
            raise disallowed("update_network")
        network.update(given)
        touch(network)
        return answer({self.kind: self.view(network, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: with its subnets; refused while a port is left."""
        network = self.owned(request, self.cloud.authenticate(request), "delete_network")
        ports = [port["id"] for port in self.data.ports.values() if port["network_id"] == network["id"]]
        if ports:
            raise Fault(
                409,
                f"Unable to complete operation on network {network['id']}. There are one or more ports still in use on "
                f"the network, id for these ports is: {','.join(sorted(ports))}.",
                kind="NetworkInUse",
            )
        for subnet in [item for item in self.data.subnets.values() if item["network_id"] == network["id"]]:
            del self.data.subnets[subnet["id"]]
        del self.data.networks[network["id"]]
        return answer(None, 204)


class Subnets(Collection):
    """``/v2.0/subnets``: IPv4. Unlike the real service, it allows DHCP on loopback: the lab has no others."""

    kind = "subnet"
    plural = "subnets"

    @property
    def table(self) -> dict[str, Json]:
        """The subnets."""
        return self.data.subnets

    def missing(self, record_id: str) -> Fault:
        """404."""
        return no_subnet(record_id)

    def visible(self, record: Json, caller: Caller) -> bool:
        """Those of visible networks."""
        return sees_network(self.data.networks[record["network_id"]], caller)

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (*_SUBNET, "id", "network_id", "cidr", "ip_version", "project_id", "tenant_id", "description", "tags",
                "subnetpool_id", "ipv6_ra_mode", "ipv6_address_mode", "revision_number")  # fmt: skip

    def view(self, record: Json, caller: Caller) -> Json:
        """A subnet tells whether its network is external."""
        return record | {"router:external": self.data.networks[record["network_id"]]["router:external"]}

    async def create(self, request: web.Request) -> web.Response:
        """``POST``."""
        caller = self.cloud.authenticate(request)
        allowed = (*_SUBNET, "network_id", "cidr", "ip_version", "subnetpool_id", "ipv6_ra_mode", "ipv6_address_mode")
        given = await self.given(request, caller, allowed, post=True)
        for name in ("network_id", "ip_version"):
            if name not in given:
                raise Fault(400, f"Failed to parse request. Required attribute '{name}' not specified")
        try:
            cidr = ipaddress.IPv4Network(given.get("cidr", ""))
        except ValueError as error:
            raise _bad(f"{given.get('cidr')} is not in a CIDR format.") from error
        network = self.data.networks.get(given["network_id"])
        if network is None:
            raise no_network(given["network_id"])
        if not caller.sees(network["project_id"]):
            raise disallowed("create_subnet")
        for other in self.data.subnets.values():
            if other["network_id"] == network["id"] and cidr.overlaps(ipaddress.IPv4Network(other["cidr"])):
                raise _bad(
                    f"Requested subnet with cidr: {cidr} for network: {network['id']} overlaps with another subnet."
                )
        gateway = given.get("gateway_ip", str(cidr[1]))
        pools = given.get("allocation_pools") or _default_pools(cidr, gateway)
        _check_pools(cidr, gateway, pools)
        within_quota(self.cloud, given["project_id"], "subnet")
        subnet = {
            "id": new_id(),
            "name": given.get("name", ""),
            "project_id": given["project_id"],
            "network_id": network["id"],
            "ip_version": 4,
            "subnetpool_id": None,
            "enable_dhcp": given.get("enable_dhcp", True),
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
            "gateway_ip": gateway,
            "cidr": str(cidr),
            "allocation_pools": [{"start": pool["start"], "end": pool["end"]} for pool in pools],
            "host_routes": given.get("host_routes", []),
            "dns_nameservers": given.get("dns_nameservers", []),
            "service_types": given.get("service_types", []),
        } | self.standard(given)
        self.data.subnets[subnet["id"]] = subnet
        touch(network)
        return answer({self.kind: self.view(subnet, caller)}, 201)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``."""
        caller = self.cloud.authenticate(request)
        subnet = self.owned(request, caller, "update_subnet")
        given = await self.given(request, caller, _SUBNET, post=False)
        pools: list[dict[str, str]] = given.get("allocation_pools") or subnet["allocation_pools"]
        _check_pools(ipaddress.IPv4Network(subnet["cidr"]), given.get("gateway_ip", subnet["gateway_ip"]), pools)
        subnet.update(given)
        touch(subnet)
        return answer({self.kind: self.view(subnet, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: refused while a port has an address of it."""
        subnet = self.owned(request, self.cloud.authenticate(request), "delete_subnet")
        for port in self.data.ports.values():
            if any(fixed["subnet_id"] == subnet["id"] for fixed in port["fixed_ips"]):
                raise Fault(
                    409,
                    f"Unable to complete operation on subnet {subnet['id']}: One or more ports have an IP allocation "
                    "from this subnet.",
                    kind="SubnetInUse",
                )
        del self.data.subnets[subnet["id"]]
        return answer(None, 204)


def _bad(message: str) -> Fault:
    return Fault(400, f"Invalid input for operation: {message}", kind="InvalidInput")


def _default_pools(cidr: ipaddress.IPv4Network, gateway: str | None) -> list[dict[str, str]]:
    first, last = cidr[1], cidr[-2]
    own = ipaddress.IPv4Address(gateway) if gateway else None
    if own is None or not first <= own <= last:
        return [{"start": str(first), "end": str(last)}]
    spans = [(first, own - 1), (own + 1, last)]
    return [{"start": str(start), "end": str(end)} for start, end in spans if start <= end]


def _check_pools(cidr: ipaddress.IPv4Network, gateway: str | None, pools: list[dict[str, str]]) -> None:
    for pool in pools:
        try:
            start, end = ipaddress.IPv4Address(pool["start"]), ipaddress.IPv4Address(pool["end"])
        except (ValueError, KeyError) as error:
            raise Fault(400, f"Invalid input for allocation_pools. Reason: '{pool}' is not a pool.") from error
        span = f"{start}-{end}"
        if start > end:
            raise Fault(400, f"The allocation pool {span} is not valid.", kind="InvalidAllocationPool")
        if start not in cidr or end not in cidr:
            message = f"The allocation pool {span} spans beyond the subnet cidr {cidr}."
            raise Fault(400, message, kind="OutOfBoundsAllocationPool")
        if gateway and start <= ipaddress.IPv4Address(gateway) <= end:
            message = f"Gateway ip {gateway} conflicts with allocation pool {span}."
            raise Fault(409, message, kind="GatewayConflictWithAllocationPools")
