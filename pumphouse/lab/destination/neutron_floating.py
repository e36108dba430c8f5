"""Neutron v2.0: floating IPs."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from pumphouse.lab.destination.neutron import Collection, touch, within_quota
from pumphouse.lab.destination.neutron_networks import no_network
from pumphouse.lab.destination.neutron_ports import make_port, no_port
from pumphouse.lab.destination.state import Caller
from pumphouse.lab.destination.web import Fault, Json, answer, new_id
from pumphouse.lab.destination.wires import floating_down, floating_up, unbind

_FLOATING = ("port_id", "fixed_ip_address", "floating_ip_address", "floating_network_id", "subnet_id", "router_id")


class FloatingIps(Collection):
    """``/v2.0/floatingips``."""

    kind = "floatingip"
    plural = "floatingips"

    @property
    def table(self) -> dict[str, Json]:
        """The floating IPs."""
        return self.data.floatingips

    def missing(self, record_id: str) -> Fault:
        """404."""
        return Fault(404, f"Floating IP {record_id} could not be found", kind="FloatingIPNotFound")

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (*_FLOATING, "id", "status", "project_id", "tenant_id", "description", "tags", "revision_number")

    def view(self, record: Json, caller: Caller) -> Json:
        """With what is known of its port."""
        port = self.data.ports.get(record["port_id"] or "")
        names = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
        return record | {"port_details": {name: port[name] for name in names} if port else None}

    async def create(self, request: web.Request) -> web.Response:
        """``POST``: an administrator may choose the address, inside or outside the pools."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, _FLOATING, post=True)
        if "floating_network_id" not in given:
            raise Fault(400, "Failed to parse request. Required attribute 'floating_network_id' not specified")
        address = given.get("floating_ip_address")
        if address is not None and not caller.is_admin:
            message = "(rule:create_floatingip and rule:create_floatingip:floating_ip_address) is disallowed by policy"
            raise Fault(403, message, kind="PolicyNotAuthorized")
        network = self.data.networks.get(given["floating_network_id"])
        if network is None:
            raise no_network(given["floating_network_id"])
        if not network["router:external"]:
            message = f"Bad floatingip request: Network {network['id']} is not a valid external network."
            raise Fault(400, message, kind="BadRequest")
        within_quota(self.cloud, given["project_id"], "floatingip")
        record_id = new_id()
        own = {"project_id": "", "device_id": record_id, "device_owner": "network:floatingip", "status": "N/A"}
        port = make_port(self.cloud, network, own | {"fixed_ips": [{"ip_address": address}] if address else None})
        floating = {
            "id": record_id,
            "project_id": given["project_id"],
            "floating_ip_address": port["fixed_ips"][0]["ip_address"],
            "floating_network_id": network["id"],
            "router_id": None,
            "port_id": None,
            "fixed_ip_address": None,
            "status": "DOWN",
        } | self.standard(given)
        if given.get("port_id"):
            try:
                self._bind(floating, given["port_id"], caller, given.get("fixed_ip_address"))
            except Fault:
                del self.data.ports[port["id"]]
                raise
        self.data.floatingips[record_id] = floating
        return answer({self.kind: self.view(floating, caller)}, 201)

    def _bind(self, floating: Json, port_id: str, caller: Caller, address: str | None) -> None:
        port = self.data.ports.get(port_id)
        if port is None or not caller.sees(port["project_id"]):
            raise no_port(port_id)
        if not port["fixed_ips"]:
            message = (
                f"Bad floatingip request: Cannot add floating IP to port {port_id} that has no fixed IPv4 addresses."
            )
            raise Fault(400, message, kind="BadRequest")
        fixed = next((one for one in port["fixed_ips"] if address in (None, one["ip_address"])), None)
        if fixed is None:
            message = f"Bad floatingip request: Port {port_id} does not have fixed ip {address}."
            raise Fault(400, message, kind="BadRequest")
        external = floating["floating_network_id"]
        for other in self.data.floatingips.values():
            if (
                other is not floating
                and other["port_id"] == port_id
                and other["fixed_ip_address"] == fixed["ip_address"]
                and other["floating_network_id"] == external
            ):
                raise Fault(
                    409,
                    f"Cannot associate floating IP {floating['floating_ip_address']} ({floating['id']}) with port "
                    f"{port_id} using fixed IP {fixed['ip_address']}, as that fixed IP already has a floating IP on "
                    f"external network {external}.",
                    kind="FloatingIPPortAlreadyAssociated",
                )
        router_id = self._router(external, fixed["subnet_id"])
        if router_id is None:
            raise Fault(
                404,
                f"External network {external} is not reachable from subnet {fixed['subnet_id']}.  Therefore, cannot "
                f"associate Port {port_id} with a Floating IP.",
                kind="ExternalGatewayForFloatingIPNotFound",
            )
        if floating["port_id"] not in (None, port_id):
            floating_down(self.cloud, floating)
        floating |= {
            "router_id": router_id,
            "port_id": port_id,
            "fixed_ip_address": fixed["ip_address"],
            "status": "ACTIVE",
        }
        floating_up(self.cloud, floating)

    def _router(self, external_id: str, subnet_id: str) -> str | None:
        """The router that joins a subnet to an external network."""
        for port in self.data.ports.values():
            router = self.data.routers.get(port["device_id"])
            if router is None or port["device_owner"] != "network:router_interface":
                continue
            gateway = router["external_gateway_info"]
            joined = any(fixed["subnet_id"] == subnet_id for fixed in port["fixed_ips"])
            if joined and gateway is not None and gateway["network_id"] == external_id:
                return str(router["id"])
        return None

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``: ``port_id`` binds, null unbinds."""
        caller = self.cloud.authenticate(request)
        floating = self.owned(request, caller, "update_floatingip")
        given = await self.given(request, caller, ("port_id", "fixed_ip_address"), post=False)
        if given.get("port_id"):
            self._bind(floating, given["port_id"], caller, given.get("fixed_ip_address"))
        elif "port_id" in given and floating["port_id"]:
            unbind(self.cloud, floating)
        floating["description"] = given.get("description", floating["description"])
        touch(floating)
        return answer({self.kind: self.view(floating, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: the address is free again."""
        floating = self.owned(request, self.cloud.authenticate(request), "delete_floatingip")
        floating_down(self.cloud, floating)
        for port in [item for item in self.data.ports.values() if item["device_id"] == floating["id"]]:
            del self.data.ports[port["id"]]
        del self.data.floatingips[floating["id"]]
        return answer(None, 204)
