"""nova-network over Nova's API: networks, fixed and floating addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.nova_ips import Addresses, hostname
from pumphouse.lab.source.state import FixedIp, FloatingIp, Network, State, now
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, over_limit, stamp_micro, webob_page

_USER_KEYS = (
    *("id", "cidr", "netmask", "gateway", "broadcast", "dns1", "dns2"),
    *("cidr_v6", "gateway_v6", "label", "netmask_v6"),
)


def make_network(state: State, label: str, cidr: str, **given: Any) -> Network:
    """Add a FlatDHCP network: first address gateway, DHCP from the second on."""
    block = ipaddress.ip_network(cidr)
    network = Network(
        id=state.new_uuid(),
        label=label,
        cidr=str(block),
        bridge=str(given.get("bridge") or "br100"),
        bridge_interface=str(given.get("bridge_interface") or "eth0"),
        gateway=str(given.get("gateway") or block[1]),
        dhcp_start=str(block[2]),
        broadcast=str(block.broadcast_address),
        netmask=str(block.netmask),
        created_at=now(),
        dns1=given.get("dns1") or "8.8.4.4",
        dns2=given.get("dns2"),
        multi_host=bool(given.get("multi_host")),
        project_id=given.get("project_id"),
    )
    state.networks[network.id] = network
    return network


def add_floating_range(state: State, cidr: str, pool: str, interface: str) -> None:
    """Add a range of floating addresses to a pool; ValueError names one that exists already."""
    addresses = [str(ip) for ip in ipaddress.ip_network(cidr).hosts()]
    for address in addresses:
        if address in state.floating_ips:
            raise ValueError(f"Floating ip {address} already exists.")
    for address in addresses:
        state.floating_ips[address] = FloatingIp(state.count("floating"), address, pool, interface)


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount nova-network's resources."""
    api = NovaNetwork(nova)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v2/{project}/os-networks", api.networks)
    post("/v2/{project}/os-networks", api.create_network)
    post("/v2/{project}/os-networks/add", api.associate_network)
    get("/v2/{project}/os-networks/{id}", api.network)
    delete("/v2/{project}/os-networks/{id}", api.delete_network)
    post("/v2/{project}/os-networks/{id}/action", api.network_action)
    get("/v2/{project}/os-tenant-networks", api.tenant_networks)
    get("/v2/{project}/os-tenant-networks/{id}", api.tenant_network)
    get("/v2/{project}/os-fixed-ips/{address}", api.fixed_ip)
    post("/v2/{project}/os-fixed-ips/{address}/action", api.fixed_ip_action)
    get("/v2/{project}/os-floating-ips", api.floating_ips)
    post("/v2/{project}/os-floating-ips", api.allocate)
    get("/v2/{project}/os-floating-ips/{id}", api.floating_ip)
    delete("/v2/{project}/os-floating-ips/{id}", api.deallocate)
    get("/v2/{project}/os-floating-ip-pools", api.pools)
    get("/v2/{project}/os-floating-ip-dns", api.dns)
    get("/v2/{project}/os-floating-ips-bulk", api.bulk)
    post("/v2/{project}/os-floating-ips-bulk", api.bulk_create)
    put("/v2/{project}/os-floating-ips-bulk/delete", api.bulk_delete)
    get("/v2/{project}/os-floating-ips-bulk/{host}", api.bulk_of_host)


class NovaNetwork:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state
        self.ips = Addresses(self.state)

    # --- networks

    def _network_view(self, network: Network, *, deleted: bool | int | None = None) -> dict[str, Any]:
        view: dict[str, Any] = dict.fromkeys(
            (
                *("cidr_v6", "gateway_v6", "netmask_v6", "priority", "rxtx_base", "vlan", "deleted_at"),
                *("vpn_private_address", "vpn_public_address", "vpn_public_port"),
            )
        )
        return view | {
            "id": network.id,
            "label": network.label,
            "cidr": network.cidr,
            "bridge": network.bridge,
            "bridge_interface": network.bridge_interface,
            "gateway": network.gateway,
            "dhcp_start": network.dhcp_start,
            "broadcast": network.broadcast,
            "netmask": network.netmask,
            "dns1": network.dns1,
            "dns2": network.dns2,
            "host": network.host,
            "multi_host": network.multi_host,
            "injected": False,
            "project_id": network.project_id,
            "created_at": stamp_micro(network.created_at),
            "updated_at": stamp_micro(network.updated_at),
            "deleted": self.state.release.row_deleted if deleted is None else deleted,
        }

    def _seen(self, request: web.Request) -> list[Network]:
        caller = self.nova.caller(request)
        if caller.is_admin:
            return list(self.state.networks.values())
        usable = (None, caller.project_id) if self.state.release.tenant_sees_unowned_network else (caller.project_id,)
        return [n for n in self.state.networks.values() if n.project_id in usable]

    def _reduced(self, request: web.Request, view: dict[str, Any]) -> dict[str, Any]:
        if self.nova.caller(request).is_admin:
            return view
        return {key: view[key] for key in _USER_KEYS}

    def _get(self, request: web.Request) -> Network:
        for network in self._seen(request):
            if network.id == request.match_info["id"]:
                return network
        raise ApiFault(404, self.state.release.words["network-missing"])

    async def networks(self, request: web.Request) -> web.Response:
        """GET /os-networks: a shorter record for tenant users."""
        views = [self._reduced(request, self._network_view(n, deleted=0)) for n in self._seen(request)]
        return json_answer({"networks": views})

    async def network(self, request: web.Request) -> web.Response:
        """GET /os-networks/ID"""
        return json_answer({"network": self._reduced(request, self._network_view(self._get(request)))})

    async def create_network(self, request: web.Request) -> web.Response:
        """POST /os-networks"""
        self.nova.require_admin(request, "compute_extension:networks")
        given = await self.nova.body(request, "network")
        if not given.get("label"):
            raise ApiFault(400, "Network label is required")
        if not given.get("cidr"):
            raise ApiFault(400, "Network cidr or cidr_v6 is required")
        try:
            block = ipaddress.ip_network(str(given["cidr"]))
        except ValueError:
            raise ApiFault(400, f"{given['cidr']} is not a valid ip network.") from None
        if any(block.overlaps(ipaddress.ip_network(n.cidr)) for n in self.state.networks.values()):
            raise ApiFault(409)
        extra = {key: value for key, value in given.items() if key not in ("label", "cidr")}
        network = make_network(self.state, str(given["label"]), str(block), **extra)
        return json_answer({"network": self._network_view(network)})

    async def associate_network(self, request: web.Request) -> web.Response:
        """POST /os-networks/add: give an unowned network to the caller's project."""
        caller = self.nova.require_admin(request, "compute_extension:networks")
        wanted = (await self.nova.body(request)).get("id")
        for network in self.state.networks.values():
            if network.project_id is None and wanted in (None, network.id):
                network.project_id, network.updated_at = caller.project_id, now()
                return webob_page(request, 202)
        raise ApiFault(400, "No more networks available.")

    async def network_action(self, request: web.Request) -> web.Response:
        """POST /os-networks/ID/action: disassociate, disassociate_project, disassociate_host, associate_host."""
        self.nova.require_admin(request, "compute_extension:networks")
        network = self._get(request)
        given = await self.nova.body(request)
        if "disassociate" in given or "disassociate_project" in given:
            network.project_id = None
        elif "associate_host" in given:
            network.host = str(given["associate_host"])
        elif "disassociate_host" not in given:
            raise ApiFault(400, "There is no such action: ")
        if "disassociate" in given or "disassociate_host" in given:
            network.host = None
        network.updated_at = now()
        return webob_page(request, 202)

    async def delete_network(self, request: web.Request) -> web.Response:
        """DELETE /os-networks/ID; one in use fails without a proper status."""
        self.nova.require_admin(request, "compute_extension:networks")
        network = self._get(request)
        in_use = any(f.network_id == network.id and f.server_id for f in self.state.fixed_ips.values())
        if in_use or network.project_id is not None:
            raise ApiFault(500, "The server has either erred or is incapable of performing the requested operation.")
        del self.state.networks[network.id]
        return webob_page(request, 202)

    def _tenant_view(self, network: Network) -> dict[str, Any]:
        return {"id": network.id, "label": network.label, "cidr": network.cidr}

    async def tenant_networks(self, request: web.Request) -> web.Response:
        """GET /os-tenant-networks"""
        return json_answer({"networks": [self._tenant_view(n) for n in self._seen(request)]})

    async def tenant_network(self, request: web.Request) -> web.Response:
        """GET /os-tenant-networks/ID"""
        return json_answer({"network": self._tenant_view(self._get(request))})

    # --- fixed addresses

    async def fixed_ip(self, request: web.Request) -> web.Response:
        """GET /os-fixed-ips/ADDRESS: whose it is by host names; a reservation does not show."""
        self.nova.require_admin(request, "compute_extension:fixed_ips")
        address = request.match_info["address"]
        network = self.ips.network_of(address)
        if network is None:
            raise ApiFault(404, f"Fixed ip not found for address {address}.")
        fixed = self.ips.record(address)
        server = self.state.servers.get(fixed.server_id or "") if fixed else None
        view = {
            "address": address,
            "cidr": network.cidr,
            "hostname": hostname(server.name) if server else (fixed.hostname if fixed else None),
            "host": server.host if server else (fixed.host if fixed else None),
        }
        return json_answer({"fixed_ip": view})

    async def fixed_ip_action(self, request: web.Request) -> web.Response:
        """POST /os-fixed-ips/ADDRESS/action: reserve, unreserve."""
        self.nova.require_admin(request, "compute_extension:fixed_ips")
        address = request.match_info["address"]
        given = await self.nova.body(request)
        network = self.ips.network_of(address)
        if "reserve" not in given and "unreserve" not in given:
            raise ApiFault(400, "No valid action specified")
        if network is None:
            raise ApiFault(404, f"Fixed IP {address} not found")
        fixed = self.ips.record(address)
        if "reserve" in given:
            if fixed is None:
                fixed = self.state.fixed_ips[address] = FixedIp(address, network.id)
            fixed.reserved = True
        elif fixed is not None:
            fixed.reserved = False
            if fixed.server_id is None and fixed.free_at is None:
                del self.state.fixed_ips[address]
        return webob_page(request, 202)

    # --- floating addresses

    def _floating_view(self, floating: FloatingIp, *, truth: bool = True) -> dict[str, Any]:
        return {
            "id": floating.number,
            "ip": floating.address,
            "pool": floating.pool,
            "fixed_ip": floating.fixed_address if truth else None,
            "instance_id": floating.server_id if truth else None,
        }

    def _floating(self, request: web.Request) -> FloatingIp:
        caller = self.nova.caller(request)
        for floating in self.state.floating_ips.values():
            if str(floating.number) == request.match_info["id"] and floating.project_id is not None:
                if floating.project_id != caller.project_id and not caller.is_admin:
                    break
                return floating
        raise ApiFault(404, f"Floating ip not found for id {request.match_info['id']}")

    async def floating_ips(self, request: web.Request) -> web.Response:
        """GET /os-floating-ips: the caller's project's only, for administrators too."""
        project_id = self.nova.caller(request).project_id
        truth = self.state.release.floating_ip_list_shows_server
        views = [
            self._floating_view(f, truth=truth) for f in self.state.floating_ips.values() if f.project_id == project_id
        ]
        return json_answer({"floating_ips": views})

    async def floating_ip(self, request: web.Request) -> web.Response:
        """GET /os-floating-ips/ID"""
        return json_answer({"floating_ip": self._floating_view(self._floating(request))})

    async def allocate(self, request: web.Request) -> web.Response:
        """POST /os-floating-ips: the next free address of a pool."""
        caller = self.nova.caller(request)
        pool = (await self.nova.body(request)).get("pool") or "nova"
        limit = self.state.quota(caller.project_id)["floating_ips"]
        held = sum(1 for f in self.state.floating_ips.values() if f.project_id == caller.project_id)
        free = [f for f in self.state.floating_ips.values() if f.pool == pool and f.project_id is None]
        if 0 <= limit <= held:
            return over_limit("FloatingIpLimitExceeded: Maximum number of floating ips exceeded")
        if not free:
            raise ApiFault(404, self.state.release.words["pool-empty"].format(pool=pool))
        free[0].project_id = caller.project_id
        return json_answer({"floating_ip": self._floating_view(free[0])})

    async def deallocate(self, request: web.Request) -> web.Response:
        """DELETE /os-floating-ips/ID; it leaves its server first."""
        floating = self._floating(request)
        if floating.server_id is not None:
            self.ips.disassociate(floating)
        floating.project_id = None
        return empty_answer(202)

    async def pools(self, _request: web.Request) -> web.Response:
        """GET /os-floating-ip-pools"""
        names = sorted({f.pool for f in self.state.floating_ips.values()})
        return json_answer({"floating_ip_pools": [{"name": name} for name in names]})

    async def dns(self, _request: web.Request) -> web.Response:
        """GET /os-floating-ip-dns: no DNS driver is configured."""
        return json_answer({"domain_entries": []})

    # --- floating addresses in bulk

    def _bulk_view(self, floating: FloatingIp) -> dict[str, Any]:
        return {
            "address": floating.address,
            "pool": floating.pool,
            "interface": floating.interface,
            "project_id": floating.project_id,
            "instance_uuid": floating.server_id,
        }

    async def bulk(self, request: web.Request) -> web.Response:
        """GET /os-floating-ips-bulk: every address of every project."""
        self.nova.require_admin(request, "compute_extension:floating_ips_bulk")
        return json_answer({"floating_ip_info": [self._bulk_view(f) for f in self.state.floating_ips.values()]})

    async def bulk_of_host(self, request: web.Request) -> web.Response:
        """GET /os-floating-ips-bulk/HOST: those that a network host answers for."""
        self.nova.require_admin(request, "compute_extension:floating_ips_bulk")
        host = request.match_info["host"]
        found = [f for f in self.state.floating_ips.values() if f.host == host]
        return json_answer({"floating_ip_info": [self._bulk_view(f) for f in found]})

    async def bulk_create(self, request: web.Request) -> web.Response:
        """POST /os-floating-ips-bulk"""
        self.nova.require_admin(request, "compute_extension:floating_ips_bulk")
        given = await self.nova.body(request, "floating_ips_bulk_create")
        ip_range = str(given.get("ip_range") or "")
        pool, interface = str(given.get("pool") or "nova"), str(given.get("interface") or "eth0")
        try:
            add_floating_range(self.state, ip_range, pool, interface)
        except ValueError as error:
            raise ApiFault(400, str(error)) from None
        return json_answer({"floating_ips_bulk_create": {"ip_range": ip_range, "pool": pool, "interface": interface}})

    async def bulk_delete(self, request: web.Request) -> web.Response:
        """PUT /os-floating-ips-bulk/delete"""
        self.nova.require_admin(request, "compute_extension:floating_ips_bulk")
        ip_range = str((await self.nova.body(request)).get("ip_range") or "")
        try:
            addresses = [str(ip) for ip in ipaddress.ip_network(ip_range).hosts()]
        except ValueError as error:
            raise ApiFault(400, str(error)) from None
        for address in addresses:
            floating = self.state.floating_ips.pop(address, None)
            if floating is not None and floating.server_id is not None:
                self.ips.disassociate(floating)
        return json_answer({"floating_ips_bulk_delete": ip_range})
