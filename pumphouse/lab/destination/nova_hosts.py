"""Nova v2.1: services, hypervisors and availability zones."""

from __future__ import annotations

import json

from aiohttp import web

from pumphouse.lab.destination.nova import admin, minor
from pumphouse.lab.destination.state import Cloud, Host, Server
from pumphouse.lab.destination.web import NOT_FOUND, Fault, Json, answer, is_uuid, micro_stamp, now, read_json

ZONE = "nova"
_CPU = {
    "arch": "x86_64",
    "model": "Nehalem",
    "vendor": "Intel",
    "features": ["pge", "clflush"],
    "topology": {"cores": 1, "threads": 1, "sockets": 4},
}
_RESERVED_MIB = 512


def servers_on(cloud: Cloud, host: Host) -> list[Server]:
    """Servers that a host holds."""
    return [item for item in cloud.compute.servers.values() if item.host == host.name and item.deleted_at is None]


def room_on(cloud: Cloud, host: Host, flavor: Json) -> bool:
    """Whether a flavor fits on a host (CPUs are shared sixteen-fold, as by default)."""
    held = servers_on(cloud, host)
    return bool(
        sum(item.flavor["vcpus"] for item in held) + flavor["vcpus"] <= host.vcpus * 16
        and sum(item.flavor["ram"] for item in held) + flavor["ram"] <= host.ram_mib - _RESERVED_MIB
        and sum(item.flavor["disk"] for item in held) + flavor["disk"] <= host.disk_gib
    )


class Hosts:
    """Handlers of ``/os-services``, ``/os-hypervisors`` and ``/os-availability-zone``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.data = cloud.compute

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            web.get("/v2.1/os-services", self.services),
            web.put("/v2.1/os-services/{id}", self.change_service),
            web.delete("/v2.1/os-services/{id}", self.delete_service),
            web.get("/v2.1/os-hypervisors", self.hypervisors),
            web.get("/v2.1/os-hypervisors/detail", self.hypervisors),
            web.get("/v2.1/os-hypervisors/{id}", self.hypervisor),
            web.get("/v2.1/os-aggregates", self.aggregates),
            web.get("/v2.1/os-availability-zone", self.zones),
            web.get("/v2.1/os-availability-zone/detail", self.zones_detail),
        ]

    def _service(self, host: Host, version: int) -> Json:
        shown: Json = {
            "binary": "nova-compute",
            "host": host.name,
            "id": host.service_id if version >= 53 else host.number,
            "zone": ZONE,
            "status": "enabled" if host.enabled else "disabled",
            "state": "down" if host.down else "up",
            "updated_at": micro_stamp(now()),
            "disabled_reason": host.disabled_reason,
        }
        return shown | ({"forced_down": host.forced_down} if version >= 11 else {})

    def _control(self, service: Json, version: int) -> Json:
        shown: Json = {
            "binary": service["binary"],
            "host": service["host"],
            "id": service["id"] if version >= 53 else service["number"],
            "zone": "internal",
            "status": "enabled",
            "state": "up" if service.get("alive", True) else "down",
            "updated_at": micro_stamp(now()),
            "disabled_reason": None,
        }
        return shown | ({"forced_down": False} if version >= 11 else {})

    async def services(self, request: web.Request) -> web.Response:
        """``GET /os-services``."""
        admin(self.cloud, request, "os-services:list")
        version = minor(request)
        found = [self._control(item, version) for item in self.data.control]
        found += [self._service(host, version) for host in self.data.hosts]
        for key in ("host", "binary"):
            if key in request.query:
                found = [item for item in found if item[key] == request.query[key]]
        return answer({"services": found})

    async def change_service(self, request: web.Request) -> web.Response:
        """``PUT /os-services/{id}`` (2.53): status, disabled_reason, forced_down of a compute service."""
        admin(self.cloud, request, "os-services:update")
        wanted = request.match_info["id"]
        given = await read_json(request)
        if minor(request) < 53:
            host = next((item for item in self.data.hosts if item.name == given.get("host")), None)
            if wanted not in ("enable", "disable", "disable-log-reason"):
                raise Fault(404, NOT_FOUND)
            given["status"] = "enabled" if wanted == "enable" else "disabled"
        else:
            host = next((item for item in self.data.hosts if item.service_id == wanted), None)
        if host is None:
            raise Fault(404, f"Service {wanted} could not be found.")
        if "status" in given:
            host.enabled = given["status"] == "enabled"
            host.disabled_reason = None if host.enabled else given.get("disabled_reason")
        if "forced_down" in given:
            host.forced_down = bool(given["forced_down"])
        return answer({"service": self._service(host, minor(request))})

    async def delete_service(self, request: web.Request) -> web.Response:
        """``DELETE /os-services/{id}``: not while the host holds servers; one that runs is forgotten all the same."""
        admin(self.cloud, request, "os-services:delete")
        wanted, version = request.match_info["id"], minor(request)
        for host in self.data.hosts:
            if wanted == (host.service_id if version >= 53 else str(host.number)):
                if servers_on(self.cloud, host):
                    text = "Unable to delete compute service that is hosting instances."
                    raise Fault(409, f"{text} Migrate or delete the instances first.")
                self.data.hosts.remove(host)
                return answer(status=204)
        if version >= 53 and not is_uuid(wanted):
            raise Fault(400, f"Invalid uuid {wanted}")
        raise Fault(404, f"Service {wanted} not found.")

    def _hypervisor(self, host: Host, version: int, *, detail: bool) -> Json:
        shown: Json = {
            "id": host.hypervisor_id if version >= 53 else host.number,
            "hypervisor_hostname": host.name,
            "state": "down" if host.down else "up",
            "status": "enabled" if host.enabled else "disabled",
        }
        if not detail:
            return shown
        held = servers_on(self.cloud, host)
        ram = _RESERVED_MIB + sum(item.flavor["ram"] for item in held)
        disk = sum(item.flavor["disk"] for item in held)
        service_id = host.service_id if version >= 53 else host.number
        shown |= {
            "hypervisor_type": "QEMU",
            "hypervisor_version": 8002000,
            "host_ip": "127.0.0.1",
            "service": {"id": service_id, "host": host.name, "disabled_reason": host.disabled_reason},
        }
        if version >= 88:
            return shown | {"uptime": None}
        return shown | {
            "vcpus": host.vcpus,
            "memory_mb": host.ram_mib,
            "local_gb": host.disk_gib,
            "vcpus_used": sum(item.flavor["vcpus"] for item in held),
            "memory_mb_used": ram,
            "local_gb_used": disk,
            "free_ram_mb": host.ram_mib - ram,
            "free_disk_gb": host.disk_gib - disk,
            "current_workload": sum(item.task_state is not None for item in held),
            "running_vms": len(held),
            "disk_available_least": host.disk_gib - disk,
            "cpu_info": _CPU if version >= 28 else json.dumps(_CPU),
        }

    async def hypervisors(self, request: web.Request) -> web.Response:
        """``GET /os-hypervisors`` and ``/os-hypervisors/detail``: sizes are gone from 2.88 on."""
        detail = request.path.endswith("/detail")
        admin(self.cloud, request, "os-hypervisors:list-detail" if detail else "os-hypervisors:list")
        pattern = request.query.get("hypervisor_hostname_pattern", "") if minor(request) >= 53 else ""
        found = [host for host in self.data.hosts if pattern in host.name]
        return answer({"hypervisors": [self._hypervisor(host, minor(request), detail=detail) for host in found]})

    async def hypervisor(self, request: web.Request) -> web.Response:
        """``GET /os-hypervisors/{id}``."""
        admin(self.cloud, request, "os-hypervisors:show")
        for host in self.data.hosts:
            shown = self._hypervisor(host, minor(request), detail=True)
            if str(shown["id"]) == request.match_info["id"]:
                return answer({"hypervisor": shown})
        raise Fault(404, f"Hypervisor with ID '{request.match_info['id']}' could not be found.")

    async def aggregates(self, request: web.Request) -> web.Response:
        """``GET /os-aggregates``: there are none, and none can be made."""
        admin(self.cloud, request, "os-aggregates:index")
        return answer({"aggregates": []})

    async def zones(self, request: web.Request) -> web.Response:
        """``GET /os-availability-zone``."""
        self.cloud.authenticate(request)
        return answer({"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": True}, "hosts": None}]})

    async def zones_detail(self, request: web.Request) -> web.Response:
        """``GET /os-availability-zone/detail``."""
        admin(self.cloud, request, "os-availability-zone:detail")
        hosts = {
            host.name: {
                "nova-compute": {
                    "available": host.enabled,
                    "active": not host.down,
                    "updated_at": micro_stamp(now()),
                }
            }
            for host in self.data.hosts
        }
        return answer({"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": True}, "hosts": hosts}]})
