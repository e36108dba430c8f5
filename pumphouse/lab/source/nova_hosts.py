"""What administrators see of Nova's own parts: services, hosts, hypervisors, zones, aggregates."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_lifecycle import RESERVED_MIB, Lifecycle, Usage
from pumphouse.lab.source.nova_views import instance_name, zone_of_host
from pumphouse.lab.source.state import Aggregate, Host, Service, now
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, stamp_micro


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the hosts."""
    api = Hosts(nova)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v2/{project}/os-services", api.services)
    put("/v2/{project}/os-services/{action}", api.service_action)
    if nova.state.release.service_ids:
        delete("/v2/{project}/os-services/{id}", api.delete_service)
    get("/v2/{project}/os-hosts", api.hosts)
    get("/v2/{project}/os-hosts/{host}", api.host)
    put("/v2/{project}/os-hosts/{host}", api.update_host)
    get("/v2/{project}/os-hypervisors", api.hypervisors)
    get("/v2/{project}/os-hypervisors/detail", api.hypervisors_detail)
    get("/v2/{project}/os-hypervisors/statistics", api.statistics)
    get("/v2/{project}/os-hypervisors/{id}", api.hypervisor)
    get("/v2/{project}/os-hypervisors/{id}/uptime", api.uptime)
    get("/v2/{project}/os-hypervisors/{pattern}/search", api.search)
    get("/v2/{project}/os-hypervisors/{pattern}/servers", api.servers)
    get("/v2/{project}/os-availability-zone", api.zones)
    get("/v2/{project}/os-availability-zone/detail", api.zones_detail)
    get("/v2/{project}/os-aggregates", api.aggregates)
    post("/v2/{project}/os-aggregates", api.create_aggregate)
    get("/v2/{project}/os-aggregates/{id}", api.aggregate)
    put("/v2/{project}/os-aggregates/{id}", api.update_aggregate)
    delete("/v2/{project}/os-aggregates/{id}", api.delete_aggregate)
    post("/v2/{project}/os-aggregates/{id}/action", api.aggregate_action)


class Hosts:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state
        self.life = Lifecycle(self.state, Addresses(self.state))

    def _admin(self, request: web.Request, what: str) -> None:
        self.nova.require_admin(request, f"compute_extension:{what}")

    def _zone(self, service: Service) -> str:
        return zone_of_host(self.nova, service.host) if service.binary == "nova-compute" else "internal"

    # --- services

    def _service_view(self, service: Service) -> dict[str, Any]:
        view: dict[str, Any] = {
            "binary": service.binary,
            "host": service.host,
            "zone": self._zone(service),
            "status": "disabled" if service.disabled else "enabled",
            "state": "up" if service.alive else "down",
            "updated_at": stamp_micro(now()),
        }
        if self.state.release.service_ids:
            view["id"] = service.id
        if self.state.release.service_reasons:
            view["disabled_reason"] = service.disabled_reason
        return view

    async def services(self, request: web.Request) -> web.Response:
        """GET /os-services"""
        self._admin(request, "services")
        query = request.query
        found = [
            s
            for s in self.state.services
            if query.get("binary", s.binary) == s.binary and query.get("host", s.host) == s.host
        ]
        return json_answer({"services": [self._service_view(s) for s in found]})

    async def service_action(self, request: web.Request) -> web.Response:
        """PUT /os-services/enable, /disable, /disable-log-reason"""
        self._admin(request, "services")
        action = request.match_info["action"]
        known = ("enable", "disable") + (("disable-log-reason",) if self.state.release.service_reasons else ())
        if action not in known:
            raise ApiFault(404, self.state.release.words["service-action"])
        given = await self.nova.body(request)
        host, binary = given.get("host"), given.get("binary")
        if not host or not binary:
            raise ApiFault(400, "Missing host or binary")
        reason = given.get("disabled_reason")
        if action == "disable-log-reason" and not reason:
            raise ApiFault(400, "Missing disabled reason field")
        for service in self.state.services:
            if service.host == host and service.binary == binary:
                service.disabled = action != "enable"
                service.disabled_reason = reason if action == "disable-log-reason" else None
                view = {"host": host, "binary": binary, "status": "disabled" if service.disabled else "enabled"}
                if action == "disable-log-reason":
                    view["disabled_reason"] = reason
                return json_answer({"service": view})
        raise ApiFault(404, self.state.release.words["service-missing"].format(binary=binary, host=host))

    async def delete_service(self, request: web.Request) -> web.Response:
        """DELETE /os-services/ID"""
        self._admin(request, "services")
        for service in self.state.services:
            if str(service.id) == request.match_info["id"]:
                self.state.services.remove(service)
                lost = self.state.hosts.pop(service.host, None) if service.binary == "nova-compute" else None
                if service.alive:
                    self.state.run(f"service {service.id}", self._report_again(service, lost))
                return empty_answer(204)
        raise ApiFault(404, f"Service {request.match_info['id']} not found.")

    async def _report_again(self, service: Service, host: Host | None) -> None:
        """A service that runs writes the record that it misses anew, and its host's."""
        await asyncio.sleep(self.state.world.timing.of("report"))
        if not any(s.host == service.host and s.binary == service.binary for s in self.state.services):
            self.state.services.append(Service(self.state.count("service"), service.binary, service.host))
        if host is not None and host.name not in self.state.hosts:
            self.state.hosts[host.name] = dataclasses.replace(host, number=self.state.count("host"))

    # --- os-hosts

    async def hosts(self, request: web.Request) -> web.Response:
        """GET /os-hosts: one row per service; the host's power is not told."""
        self._admin(request, "hosts")
        zone = request.query.get("zone")
        rows = [
            {"host_name": s.host, "service": s.binary.removeprefix("nova-"), "zone": self._zone(s)}
            for s in self.state.services
        ]
        return json_answer({"hosts": [r for r in rows if zone in (None, r["zone"])]})

    def _host(self, name: str) -> Host:
        host = self.state.hosts.get(name)
        if host is None:
            raise ApiFault(404, f"Compute host {name} could not be found.")
        return host

    async def host(self, request: web.Request) -> web.Response:
        """GET /os-hosts/HOST: total, used, and per project."""
        self._admin(request, "hosts")
        host = self._host(request.match_info["host"])
        per_project: dict[str, tuple[int, int, int]] = {}
        for server in self.state.live_servers():
            flavor = self.state.flavors.get(server.flavor_id)
            if server.host == host.name and flavor is not None:
                cpu, ram, disk = per_project.get(server.project_id, (0, 0, 0))
                per_project[server.project_id] = (
                    cpu + flavor.vcpus,
                    ram + flavor.ram,
                    disk + flavor.disk + flavor.ephemeral,
                )
        used = self.life.usage()[host.name]
        rows = [
            ("(total)", host.vcpus, host.memory_mb, host.disk_gb),
            ("(used_now)", used.vcpus, used.ram + RESERVED_MIB, used.disk),
            ("(used_max)", used.vcpus, used.ram, used.disk),
            *((project, *values) for project, values in per_project.items()),
        ]
        resources = [
            {"resource": {"host": host.name, "project": p, "cpu": c, "memory_mb": r, "disk_gb": d}}
            for p, c, r, d in rows
        ]
        return json_answer({"host": resources})

    async def update_host(self, request: web.Request) -> web.Response:
        """PUT /os-hosts/HOST: status, maintenance_mode."""
        self._admin(request, "hosts")
        host = self._host(request.match_info["host"])
        given = await self.nova.body(request)
        answer: dict[str, str] = {"host": host.name}
        for key, value in given.items():
            if key not in ("status", "maintenance_mode") or value not in ("enable", "disable"):
                raise ApiFault(400, f"Invalid update setting: '{key}'")
            enable = value == "enable"
            if key == "status":
                for service in self.state.services:
                    if service.host == host.name and service.binary == "nova-compute":
                        service.disabled = not enable
                answer["status"] = "enabled" if enable else "disabled"
            else:
                host.maintenance = enable
                answer["maintenance_mode"] = "on_maintenance" if enable else "off_maintenance"
        return json_answer(answer)

    # --- hypervisors

    def _hypervisor_view(self, host: Host, used: Usage) -> dict[str, Any]:
        used_ram = used.ram + RESERVED_MIB
        number = next((s.id for s in self.state.services if s.host == host.name and s.binary == "nova-compute"), 0)
        return {
            "id": host.number,
            "hypervisor_hostname": host.name,
            "hypervisor_type": "QEMU",
            "hypervisor_version": 1005003,
            **({"host_ip": "127.0.0.1"} if self.state.release.host_ip else {}),
            "service": {"host": host.name, "id": number},
            "cpu_info": "?",
            "current_workload": 0,
            "vcpus": host.vcpus,
            "vcpus_used": used.vcpus,
            "memory_mb": host.memory_mb,
            "memory_mb_used": used_ram,
            "free_ram_mb": host.memory_mb - used_ram,
            "local_gb": host.disk_gb,
            "local_gb_used": used.disk,
            "free_disk_gb": host.disk_gb - used.disk,
            "disk_available_least": host.disk_gb - used.disk,
            "running_vms": used.servers,
        }

    def _hypervisor_views(self) -> list[dict[str, Any]]:
        held = self.life.usage()
        return [self._hypervisor_view(h, held[h.name]) for h in self.state.hosts.values()]

    def _hypervisor_brief(self, host: Host) -> dict[str, Any]:
        return {"id": host.number, "hypervisor_hostname": host.name}

    async def hypervisors(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors"""
        self._admin(request, "hypervisors")
        return json_answer({"hypervisors": [self._hypervisor_brief(h) for h in self.state.hosts.values()]})

    async def hypervisors_detail(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/detail"""
        self._admin(request, "hypervisors")
        return json_answer({"hypervisors": self._hypervisor_views()})

    async def statistics(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/statistics: sums."""
        self._admin(request, "hypervisors")
        views = self._hypervisor_views()
        keys = (
            *("current_workload", "disk_available_least", "free_disk_gb", "free_ram_mb", "local_gb", "local_gb_used"),
            *("memory_mb", "memory_mb_used", "running_vms", "vcpus", "vcpus_used"),
        )
        sums = {key: sum(view[key] for view in views) for key in keys}
        return json_answer({"hypervisor_statistics": {"count": len(views), **sums}})

    def _by_number(self, request: web.Request) -> Host:
        for host in self.state.hosts.values():
            if str(host.number) == request.match_info["id"]:
                return host
        raise ApiFault(404, f"Hypervisor with ID '{request.match_info['id']}' could not be found.")

    async def hypervisor(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/ID"""
        self._admin(request, "hypervisors")
        host = self._by_number(request)
        return json_answer({"hypervisor": self._hypervisor_view(host, self.life.usage()[host.name])})

    async def uptime(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/ID/uptime"""
        self._admin(request, "hypervisors")
        self._by_number(request)
        raise ApiFault(501, "Virt driver does not implement uptime function.")

    def _like(self, request: web.Request) -> list[Host]:
        pattern = request.match_info["pattern"]
        found = [h for h in self.state.hosts.values() if pattern in h.name]
        if not found:
            raise ApiFault(404, f"No hypervisor matching '{pattern}' could be found.")
        return found

    async def search(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/PATTERN/search"""
        self._admin(request, "hypervisors")
        return json_answer({"hypervisors": [self._hypervisor_brief(h) for h in self._like(request)]})

    async def servers(self, request: web.Request) -> web.Response:
        """GET /os-hypervisors/PATTERN/servers"""
        self._admin(request, "hypervisors")
        views = []
        for host in self._like(request):
            view = self._hypervisor_brief(host)
            held = [s for s in self.state.live_servers() if s.host == host.name]
            if held:
                view["servers"] = [{"name": instance_name(s), "uuid": s.id} for s in held]
            views.append(view)
        return json_answer({"hypervisors": views})

    # --- zones

    def _zones(self) -> list[str]:
        computes = [s for s in self.state.services if s.binary == "nova-compute" and not s.disabled]
        return list(dict.fromkeys(self._zone(s) for s in computes))

    async def zones(self, _request: web.Request) -> web.Response:
        """GET /os-availability-zone"""
        rows = [{"zoneName": z, "zoneState": {"available": True}, "hosts": None} for z in self._zones()]
        return json_answer({"availabilityZoneInfo": rows})

    async def zones_detail(self, request: web.Request) -> web.Response:
        """GET /os-availability-zone/detail"""
        self._admin(request, "availability_zone:detail")
        rows = []
        for zone in ("internal", *self._zones()):
            hosts: dict[str, dict[str, Any]] = {}
            for service in self.state.services:
                if self._zone(service) == zone:
                    hosts.setdefault(service.host, {})[service.binary] = {
                        "active": not service.disabled,
                        "available": service.alive,
                        "updated_at": stamp_micro(now()),
                    }
            rows.append({"zoneName": zone, "zoneState": {"available": True}, "hosts": hosts})
        return json_answer({"availabilityZoneInfo": rows})

    # --- aggregates

    def _aggregate_view(self, aggregate: Aggregate) -> dict[str, Any]:
        return {
            "id": aggregate.id,
            "name": aggregate.name,
            "availability_zone": aggregate.metadata.get("availability_zone"),
            "hosts": list(aggregate.hosts),
            "metadata": dict(aggregate.metadata),
            "created_at": stamp_micro(aggregate.created_at),
            "updated_at": None,
            "deleted": self.state.release.row_deleted,
            "deleted_at": None,
        }

    def _aggregate(self, request: web.Request) -> Aggregate:
        self._admin(request, "aggregates")
        number = request.match_info["id"]
        aggregate = self.state.aggregates.get(int(number)) if number.isdigit() else None
        if aggregate is None:
            raise ApiFault(404, f"Aggregate {number} could not be found.")
        return aggregate

    async def aggregates(self, request: web.Request) -> web.Response:
        """GET /os-aggregates"""
        self._admin(request, "aggregates")
        return json_answer({"aggregates": [self._aggregate_view(a) for a in self.state.aggregates.values()]})

    async def aggregate(self, request: web.Request) -> web.Response:
        """GET /os-aggregates/ID"""
        return json_answer({"aggregate": self._aggregate_view(self._aggregate(request))})

    async def create_aggregate(self, request: web.Request) -> web.Response:
        """POST /os-aggregates; this one answer has no hosts and metadata."""
        self._admin(request, "aggregates")
        given = await self.nova.body(request, "aggregate")
        if any(a.name == given.get("name") for a in self.state.aggregates.values()):
            raise ApiFault(409, f"Aggregate {given['name']} already exists.")
        aggregate = Aggregate(self.state.count("aggregate"), str(given.get("name")), now())
        if given.get("availability_zone"):
            aggregate.metadata["availability_zone"] = str(given["availability_zone"])
        self.state.aggregates[aggregate.id] = aggregate
        view = self._aggregate_view(aggregate)
        return json_answer({"aggregate": {k: v for k, v in view.items() if k not in ("hosts", "metadata")}})

    async def update_aggregate(self, request: web.Request) -> web.Response:
        """PUT /os-aggregates/ID"""
        aggregate = self._aggregate(request)
        given = await self.nova.body(request, "aggregate")
        aggregate.name = str(given.get("name", aggregate.name))
        if "availability_zone" in given:
            aggregate.metadata["availability_zone"] = str(given["availability_zone"])
        return json_answer({"aggregate": self._aggregate_view(aggregate)})

    async def delete_aggregate(self, request: web.Request) -> web.Response:
        """DELETE /os-aggregates/ID"""
        del self.state.aggregates[self._aggregate(request).id]
        return web.Response(status=200, headers={"Content-Type": "application/json"})

    async def aggregate_action(self, request: web.Request) -> web.Response:
        """POST /os-aggregates/ID/action: add_host, remove_host, set_metadata."""
        aggregate = self._aggregate(request)
        given = await self.nova.body(request)
        if isinstance(given.get("add_host"), dict):
            host = self._host(str(given["add_host"].get("host"))).name
            if host in aggregate.hosts:
                raise ApiFault(409, f"Aggregate {aggregate.id} already has host {host}.")
            aggregate.hosts.append(host)
        elif isinstance(given.get("remove_host"), dict):
            host = str(given["remove_host"].get("host"))
            if host not in aggregate.hosts:
                raise ApiFault(404, f"Aggregate {aggregate.id} has no host {host}.")
            aggregate.hosts.remove(host)
        elif isinstance(given.get("set_metadata"), dict):
            for key, value in given["set_metadata"].get("metadata", {}).items():
                if value is None:
                    aggregate.metadata.pop(key, None)
                else:
                    aggregate.metadata[key] = str(value)
        else:
            raise ApiFault(400, "There is no such action: ")
        return json_answer({"aggregate": self._aggregate_view(aggregate)})
