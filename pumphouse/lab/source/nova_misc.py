"""Nova's image proxy and the small resources that inventories ask for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import Image, now
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, stamp, stamp_micro

_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbGFi\n-----END CERTIFICATE-----\n"
_IMAGE_STATES = {"queued": ("SAVING", 25), "saving": ("SAVING", 50), "active": ("ACTIVE", 100), "killed": ("ERROR", 0)}


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the rest."""
    api = Misc(nova)
    get = app.router.add_get
    get("/v2/{project}/images", api.images)
    get("/v2/{project}/images/detail", api.images_detail)
    get("/v2/{project}/images/{id}", api.image)
    app.router.add_delete("/v2/{project}/images/{id}", api.delete_image)
    get("/v2/{project}/os-agents", api.agents)
    get("/v2/{project}/os-cells", api.cells)
    get("/v2/{project}/os-certificates/root", api.certificate)
    get("/v2/{project}/os-cloudpipe", api.cloudpipes)
    get("/v2/{project}/os-fping", api.fping)
    get("/v2/{project}/os-instance_usage_audit_log", api.audit_log)
    get("/v2/{project}/os-security-group-default-rules", api.default_rules)
    if nova.state.release.has_migrations:
        get("/v2/{project}/os-migrations", api.migrations)
    if nova.state.release.has_server_groups:
        get("/v2/{project}/os-server-groups", api.server_groups)
        app.router.add_post("/v2/{project}/os-server-groups", api.create_server_group)
    get("/v2/{project}/os-volumes", api.volumes)
    get("/v2/{project}/os-simple-tenant-usage", api.usages)
    get("/v2/{project}/os-simple-tenant-usage/{id}", api.usage)


class Misc:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state

    # --- image proxy

    def _image_brief(self, image: Image, project_id: str) -> dict[str, Any]:
        alternate = {
            "rel": "alternate",
            "type": "application/vnd.openstack.image",
            "href": f"{self.state.endpoints.glance}/{project_id}/images/{image.id}",
        }
        links = [*self.nova.links(project_id, "images", image.id), alternate]
        return {"id": image.id, "name": image.name, "links": links}

    def _image_view(self, image: Image, project_id: str) -> dict[str, Any]:
        status, progress = _IMAGE_STATES[image.status]
        view = {
            **self._image_brief(image, project_id),
            "status": status,
            "progress": progress,
            "metadata": dict(image.properties),
            "minDisk": image.min_disk,
            "minRam": image.min_ram,
            "created": stamp(image.created_at),
            "updated": stamp(image.updated_at),
            "OS-EXT-IMG-SIZE:size": image.size or 0,
        }
        server_id = image.properties.get("instance_uuid")
        if server_id is not None:
            base = self.state.endpoints.nova
            links = [{"rel": "self", "href": f"{base}/v2/servers/{server_id}"}]
            links.append({"rel": "bookmark", "href": f"{base}/servers/{server_id}"})
            view["server"] = {"id": server_id, "links": links}
        return view

    def _seen(self, request: web.Request) -> list[Image]:
        caller = self.nova.caller(request)
        found = [
            i
            for i in self.state.images.values()
            if caller.is_admin or i.is_public or i.owner == caller.project_id or caller.project_id in i.members
        ]
        return sorted(found, key=lambda i: (i.created_at, i.id), reverse=True)

    async def images(self, request: web.Request) -> web.Response:
        """GET /images"""
        project_id = self.nova.caller(request).project_id
        return json_answer({"images": [self._image_brief(i, project_id) for i in self._seen(request)]})

    async def images_detail(self, request: web.Request) -> web.Response:
        """GET /images/detail"""
        project_id = self.nova.caller(request).project_id
        return json_answer({"images": [self._image_view(i, project_id) for i in self._seen(request)]})

    def _image(self, request: web.Request) -> Image:
        for image in self._seen(request):
            if image.id == request.match_info["id"]:
                return image
        raise ApiFault(404, "Image not found.")

    async def image(self, request: web.Request) -> web.Response:
        """GET /images/ID"""
        return json_answer({"image": self._image_view(self._image(request), self.nova.caller(request).project_id)})

    async def delete_image(self, request: web.Request) -> web.Response:
        """DELETE /images/ID"""
        caller, image = self.nova.caller(request), self._image(request)
        if image.protected or (image.owner != caller.project_id and not caller.is_admin):
            raise ApiFault(403, "You are not allowed to delete the image.")
        del self.state.images[image.id]
        self.state.deleted_image_ids.add(image.id)
        self.state.image_path(image.id).unlink(missing_ok=True)
        return empty_answer(204)

    # --- read-only odds and ends

    async def migrations(self, request: web.Request) -> web.Response:
        """GET /os-migrations"""
        self.nova.require_admin(request, "compute_extension:migrations:index")
        return json_answer({"migrations": list(self.state.migrations)})

    async def agents(self, request: web.Request) -> web.Response:
        """GET /os-agents: none."""
        self.nova.require_admin(request, "compute_extension:agents")
        return json_answer({"agents": []})

    async def cells(self, request: web.Request) -> web.Response:
        """GET /os-cells: cells are off."""
        self.nova.require_admin(request, "compute_extension:cells")
        if self.state.release.cells_status == 200:
            return json_answer({"cells": []})
        raise ApiFault(501, "Cells is not enabled.")

    async def certificate(self, _request: web.Request) -> web.Response:
        """GET /os-certificates/root: a stand-in."""
        return json_answer({"certificate": {"data": _CERTIFICATE, "private_key": None}})

    async def cloudpipes(self, request: web.Request) -> web.Response:
        """GET /os-cloudpipe: none."""
        self.nova.require_admin(request, "compute_extension:cloudpipe")
        return json_answer({"cloudpipes": []})

    async def fping(self, _request: web.Request) -> web.Response:
        """GET /os-fping: the utility is not installed."""
        raise ApiFault(503, "fping utility is not found.")

    async def audit_log(self, request: web.Request) -> web.Response:
        """GET /os-instance_usage_audit_log: it never ran."""
        self.nova.require_admin(request, "compute_extension:instance_usage_audit_log")
        end = now().replace(day=1, hour=0, minute=0, second=0)
        begin = end.replace(year=end.year - (end.month == 1), month=(end.month - 2) % 12 + 1)
        hosts = list(self.state.hosts)
        log = {
            "log": {},
            "hosts_not_run": hosts,
            "num_hosts": len(hosts),
            "num_hosts_done": 0,
            "num_hosts_not_run": len(hosts),
            "num_hosts_running": 0,
            "overall_status": f"0 of {len(hosts)} hosts done. 0 errors.",
            "period_beginning": begin.strftime("%Y-%m-%d %H:%M:%S"),
            "period_ending": end.strftime("%Y-%m-%d %H:%M:%S"),
            "total_errors": 0,
            "total_instances": 0,
        }
        return json_answer({"instance_usage_audit_logs": log})

    async def default_rules(self, request: web.Request) -> web.Response:
        """GET /os-security-group-default-rules: none."""
        self.nova.require_admin(request, "compute_extension:security_group_default_rules")
        return json_answer({"security_group_default_rules": []})

    async def server_groups(self, request: web.Request) -> web.Response:
        """GET /os-server-groups"""
        project_id = self.nova.caller(request).project_id
        own = [
            {k: v for k, v in group.items() if k != "project_id"}
            for group in self.state.server_groups.values()
            if group["project_id"] == project_id
        ]
        return json_answer({"server_groups": own})

    async def create_server_group(self, request: web.Request) -> web.Response:
        """POST /os-server-groups"""
        caller = self.nova.caller(request)
        given = await self.nova.body(request, "server_group")
        if not given.get("name") or not given.get("policies"):
            raise ApiFault(400, "Invalid format: name and policies are required")
        group_id = self.state.new_uuid()
        group = {
            "id": group_id,
            "name": str(given["name"]),
            "policies": list(given["policies"]),
            "members": [],
            "metadata": {},
        }
        self.state.server_groups[group_id] = {**group, "project_id": caller.project_id}
        return json_answer({"server_group": group})

    async def volumes(self, _request: web.Request) -> web.Response:
        """GET /os-volumes: there is no volume service behind it."""
        raise ApiFault(500, "The server has either erred or is incapable of performing the requested operation.")

    # --- usage

    async def usages(self, request: web.Request) -> web.Response:
        """GET /os-simple-tenant-usage: without ``start`` the span is empty, so next to nothing was used."""
        self.nova.require_admin(request, "compute_extension:simple_tenant_usage:list")
        detailed = request.query.get("detailed") == "1"
        projects = dict.fromkeys(s.project_id for s in self.state.live_servers())
        usages = [self._usage(request, project_id, detailed=detailed) for project_id in projects]
        return json_answer({"tenant_usages": usages})

    async def usage(self, request: web.Request) -> web.Response:
        """GET /os-simple-tenant-usage/PROJECT"""
        project_id = request.match_info["id"]
        if project_id != self.nova.caller(request).project_id:
            self.nova.require_admin(request, "compute_extension:simple_tenant_usage:show")
        return json_answer({"tenant_usage": self._usage(request, project_id, detailed=True)})

    def _moment(self, text: str | None) -> datetime:
        if text is None:
            return now()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ApiFault(400, "Invalid datetime") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=now().tzinfo)

    def _usage(self, request: web.Request, project_id: str, *, detailed: bool) -> dict[str, Any]:
        start, stop = self._moment(request.query.get("start")), self._moment(request.query.get("end"))
        rows = []
        kinds = ("hours", "local_gb_usage", "memory_mb_usage", "vcpus_usage")
        total = {f"total_{kind}": 0.0 for kind in kinds}
        for server in self.state.live_servers():
            flavor = self.state.flavors.get(server.flavor_id)
            if server.project_id != project_id or server.launched_at is None or flavor is None:
                continue
            hours = max((stop - max(start, server.launched_at)).total_seconds(), 0.0) / 3600
            local_gb = flavor.disk + flavor.ephemeral
            total["total_hours"] += hours
            total["total_local_gb_usage"] += local_gb * hours
            total["total_memory_mb_usage"] += flavor.ram * hours
            total["total_vcpus_usage"] += flavor.vcpus * hours
            rows.append(
                {
                    "instance_id": server.id,
                    "name": server.name,
                    "tenant_id": project_id,
                    "flavor": flavor.name,
                    "vcpus": flavor.vcpus,
                    "memory_mb": flavor.ram,
                    "local_gb": local_gb,
                    "hours": hours,
                    "state": server.vm_state,
                    "started_at": stamp_micro(server.launched_at),
                    "ended_at": stamp_micro(server.terminated_at),
                    "uptime": int((now() - server.launched_at).total_seconds()),
                }
            )
        view: dict[str, Any] = {
            "tenant_id": project_id,
            "start": start.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "stop": stop.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            **total,
        }
        if detailed:
            view["server_usages"] = rows
        return view
