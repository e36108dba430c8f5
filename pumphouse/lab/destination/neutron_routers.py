"""Neutron v2.0: routers with their interfaces and gateways."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.neutron import Collection, touch, within_quota
from pumphouse.lab.destination.neutron_networks import no_network, no_subnet
from pumphouse.lab.destination.neutron_ports import make_port, no_port, remove_port
from pumphouse.lab.destination.state import Caller
from pumphouse.lab.destination.web import Fault, Json, answer, new_id, read_json

_ROUTER = (
    "name",
    "admin_state_up",
    "external_gateway_info",
    "availability_zone_hints",
    "routes",
    "distributed",
    "ha",
    "flavor_id",
)
_INTERFACE, _GATEWAY = "network:router_interface", "network:router_gateway"


class Routers(Collection):
    """``/v2.0/routers``."""

    kind = "router"
    plural = "routers"

    @property
    def table(self) -> dict[str, Json]:
        """The routers."""
        return self.data.routers

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            *super().routes(),
            web.put("/v2.0/routers/{id}/add_router_interface", self.add),
            web.put("/v2.0/routers/{id}/remove_router_interface", self.remove),
        ]

    def missing(self, record_id: str) -> Fault:
        """404."""
        return Fault(404, f"Router {record_id} could not be found", kind="RouterNotFound")

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (*_ROUTER, "id", "status", "project_id", "tenant_id", "description", "tags", "revision_number")

    def view(self, record: Json, caller: Caller) -> Json:
        """Where a router runs is an administrator's business."""
        return {key: value for key, value in record.items() if caller.is_admin or key not in ("distributed", "ha")}

    def ports(self, router: Json, owner: str) -> list[Json]:
        """A router's ports of one kind."""
        return [
            port
            for port in self.data.ports.values()
            if port["device_id"] == router["id"] and port["device_owner"] == owner
        ]

    async def create(self, request: web.Request) -> web.Response:
        """``POST``."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, _ROUTER, post=True)
        within_quota(self.cloud, given["project_id"], "router")
        router = {
            "id": new_id(),
            "name": given.get("name", ""),
            "project_id": given["project_id"],
            "admin_state_up": given.get("admin_state_up", True),
            "status": "ACTIVE",
            "external_gateway_info": None,
            "availability_zones": [],
            "distributed": False,
            "ha": False,
            "availability_zone_hints": given.get("availability_zone_hints", []),
            "routes": given.get("routes", []),
            "flavor_id": None,
        } | self.standard(given)
        self._set_gateway(router, given.get("external_gateway_info"))
        self.data.routers[router["id"]] = router
        return answer({self.kind: self.view(router, caller)}, 201)

    def _set_gateway(self, router: Json, info: Any) -> None:
        current = router["external_gateway_info"]
        wanted = (info or {}).get("network_id")
        if current is not None and current["network_id"] != wanted:
            self._gateway_free(router)
            for port in self.ports(router, _GATEWAY):
                remove_port(self.cloud, port)
            router["external_gateway_info"] = None
        if wanted is None or router["external_gateway_info"] is not None:
            return
        network = self.data.networks.get(wanted)
        if network is None:
            raise no_network(wanted)
        if not network["router:external"]:
            message = f"Bad router request: Network {wanted} is not an external network."
            raise Fault(400, message, kind="BadRequest")
        asked = {"project_id": "", "device_id": router["id"], "device_owner": _GATEWAY}
        port = make_port(self.cloud, network, asked | {"fixed_ips": info.get("external_fixed_ips")})
        router["external_gateway_info"] = {
            "network_id": wanted,
            "external_fixed_ips": port["fixed_ips"],
            "enable_snat": info.get("enable_snat", True),
        }
        router["revision_number"] += 2

    def _gateway_free(self, router: Json) -> None:
        network_id = router["external_gateway_info"]["network_id"]
        if any(item["router_id"] == router["id"] for item in self.data.floatingips.values()):
            raise Fault(
                409,
                f"Gateway cannot be updated for router {router['id']}, since a gateway to external network "
                f"{network_id} is required by one or more floating IPs.",
                kind="RouterExternalGatewayInUseByFloatingIp",
            )

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``: an empty ``external_gateway_info`` removes the gateway."""
        caller = self.cloud.authenticate(request)
        router = self.owned(request, caller, "update_router")
        given = await self.given(request, caller, _ROUTER, post=False)
        if "external_gateway_info" in given:
            self._set_gateway(router, given.pop("external_gateway_info"))
        router.update(given)
        touch(router)
        return answer({self.kind: self.view(router, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: refused while it has interfaces; its gateway goes with it."""
        router = self.owned(request, self.cloud.authenticate(request), "delete_router")
        attached = [port["id"] for port in self.ports(router, _INTERFACE)]
        if attached:
            message = f"Router {router['id']} has ports still attached: {', '.join(attached)}"
            raise Fault(409, message, kind="RouterInUse")
        if router["external_gateway_info"] is not None:
            self._set_gateway(router, None)
        del self.data.routers[router["id"]]
        return answer(None, 204)

    async def add(self, request: web.Request) -> web.Response:
        """``PUT …/add_router_interface``: by subnet (the interface gets its gateway address) or by port."""
        caller = self.cloud.authenticate(request)
        router = self.owned(request, caller, "add_router_interface")
        given = await read_json(request)
        if ("subnet_id" in given) == ("port_id" in given):
            both = "subnet_id" in given
            reason = (
                "Cannot specify both subnet-id and port-id" if both else "Either subnet_id or port_id must be specified"
            )
            raise _bad(reason)
        if "port_id" in given:
            port = self.data.ports.get(given["port_id"])
            if port is None:
                raise no_port(given["port_id"])
            if port["device_id"]:
                message = f"Unable to complete operation on port {port['id']} for network {port['network_id']}."
                raise Fault(
                    409, f"{message} Port already has an attached device {port['device_id']}.", kind="PortInUse"
                )
            subnet = self.data.subnets[port["fixed_ips"][0]["subnet_id"]]
            self._fits(router, subnet)
            port |= {"device_id": router["id"], "device_owner": _INTERFACE}
        else:
            found = self.data.subnets.get(given["subnet_id"])
            if found is None:
                raise no_subnet(given["subnet_id"])
            subnet = found
            self._fits(router, subnet)
            if subnet["gateway_ip"] is None:
                raise _bad("Subnet for router interface must have a gateway IP")
            asked = {
                "project_id": router["project_id"],
                "device_id": router["id"],
                "device_owner": _INTERFACE,
                "fixed_ips": [{"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}],
            }
            port = make_port(self.cloud, self.data.networks[subnet["network_id"]], asked)
        touch(router)
        return answer(_interface(router, port, subnet))

    def _fits(self, router: Json, subnet: Json) -> None:
        cidr = ipaddress.IPv4Network(subnet["cidr"])
        for port in self.ports(router, _INTERFACE):
            for fixed in port["fixed_ips"]:
                if fixed["subnet_id"] == subnet["id"]:
                    raise _bad(f"Router already has a port on subnet {subnet['id']}")
                other = self.data.subnets[fixed["subnet_id"]]
                if cidr.overlaps(ipaddress.IPv4Network(other["cidr"])):
                    theirs = f"cidr {other['cidr']} of subnet {other['id']}"
                    raise _bad(f"Cidr {cidr} of subnet {subnet['id']} overlaps with {theirs}")

    async def remove(self, request: web.Request) -> web.Response:
        """``PUT …/remove_router_interface``: refused while a floating IP needs it."""
        router = self.owned(request, self.cloud.authenticate(request), "remove_router_interface")
        given = await read_json(request)
        subnet_id = given.get("subnet_id")
        if subnet_id is not None and subnet_id not in self.data.subnets:
            raise no_subnet(subnet_id)
        for port in self.ports(router, _INTERFACE):
            subnet = self.data.subnets[port["fixed_ips"][0]["subnet_id"]]
            if given.get("port_id", port["id"]) == port["id"] and (subnet_id or subnet["id"]) == subnet["id"]:
                self._interface_free(router, subnet)
                remove_port(self.cloud, port)
                touch(router)
                return answer(_interface(router, port, subnet))
        message = f"Router {router['id']} has no interface on subnet {subnet_id}"
        raise Fault(404, message, kind="RouterInterfaceNotFoundForSubnet")

    def _interface_free(self, router: Json, subnet: Json) -> None:
        for floating in self.data.floatingips.values():
            port = self.data.ports.get(floating["port_id"] or "")
            if port is None or floating["router_id"] != router["id"]:
                continue
            if any(fixed["subnet_id"] == subnet["id"] for fixed in port["fixed_ips"]):
                raise Fault(
                    409,
                    f"Router interface for subnet {subnet['id']} on router {router['id']} cannot be deleted, as it is "
                    "required by one or more floating IPs.",
                    kind="RouterInterfaceInUseByFloatingIP",
                )


def _bad(reason: str) -> Fault:
    return Fault(400, f"Bad router request: {reason}.", kind="BadRequest")


def _interface(router: Json, port: Json, subnet: Json) -> Json:
    return {
        "id": router["id"],
        "project_id": router["project_id"],
        "port_id": port["id"],
        "network_id": port["network_id"],
        "subnet_id": subnet["id"],
        "subnet_ids": [subnet["id"]],
    }
