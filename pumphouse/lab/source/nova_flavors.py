"""Nova's flavors, their extra specs and access lists."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import Flavor
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, read_json


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the flavors."""
    api = Flavors(nova)
    get, post, delete = app.router.add_get, app.router.add_post, app.router.add_delete
    get("/v2/{project}/flavors", api.brief)
    get("/v2/{project}/flavors/detail", api.detail)
    post("/v2/{project}/flavors", api.create)
    base = "/v2/{project}/flavors/{id}"
    get(base, api.show)
    delete(base, api.delete)
    post(f"{base}/action", api.action)
    get(f"{base}/os-flavor-access", api.access)
    get(f"{base}/os-extra_specs", api.specs)
    post(f"{base}/os-extra_specs", api.add_specs)
    get(f"{base}/os-extra_specs/{{key}}", api.spec)
    app.router.add_put(f"{base}/os-extra_specs/{{key}}", api.set_spec)
    delete(f"{base}/os-extra_specs/{{key}}", api.delete_spec)


class Flavors:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state

    def _brief(self, flavor: Flavor, project_id: str) -> dict[str, Any]:
        return {"id": flavor.id, "name": flavor.name, "links": self.nova.links(project_id, "flavors", flavor.id)}

    def _view(self, flavor: Flavor, project_id: str) -> dict[str, Any]:
        return {
            **self._brief(flavor, project_id),
            "ram": flavor.ram,
            "disk": flavor.disk,
            "vcpus": flavor.vcpus,
            "swap": flavor.swap or "",
            "rxtx_factor": flavor.rxtx_factor,
            "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral,
            "OS-FLV-DISABLED:disabled": False,
            "os-flavor-access:is_public": flavor.is_public,
        }

    def _visible(self, request: web.Request, flavor: Flavor) -> bool:
        caller = self.nova.caller(request)
        return caller.is_admin or flavor.is_public or caller.project_id in flavor.access

    def _get(self, request: web.Request) -> Flavor:
        flavor = self.state.flavors.get(request.match_info["id"])
        if flavor is None or not self._visible(request, flavor):
            raise ApiFault(404)
        return flavor

    def _list(self, request: web.Request, view: Any) -> web.Response:
        caller, query = self.nova.caller(request), request.query
        asked: bool | None = True
        if caller.is_admin and "is_public" in query:
            text = query["is_public"].lower()
            if text not in ("none", "true", "false", "1", "0"):
                raise ApiFault(400, f"Invalid is_public filter [{query['is_public']}]")
            asked = None if text == "none" else text in ("true", "1")

        def wanted(flavor: Flavor) -> bool:
            if asked is None:
                return True
            if asked:
                return flavor.is_public or caller.project_id in flavor.access
            return not flavor.is_public

        found = [f for f in self.state.flavors.values() if wanted(f)]
        for key, attribute in (("minRam", "ram"), ("minDisk", "disk")):
            if key in query:
                if not query[key].isdigit():
                    raise ApiFault(400, f"Invalid {key} filter [{query[key]}]")
                found = [f for f in found if getattr(f, attribute) >= int(query[key])]
        found.sort(key=lambda f: f.id)
        page, links = self.nova.page(request, found, [f.id for f in found])
        body: dict[str, Any] = {"flavors": [view(f, caller.project_id) for f in page]}
        if links:
            body["flavors_links"] = links
        return json_answer(body)

    async def brief(self, request: web.Request) -> web.Response:
        """GET /flavors"""
        return self._list(request, self._brief)

    async def detail(self, request: web.Request) -> web.Response:
        """GET /flavors/detail"""
        return self._list(request, self._view)

    async def show(self, request: web.Request) -> web.Response:
        """GET /flavors/ID"""
        return json_answer({"flavor": self._view(self._get(request), self.nova.caller(request).project_id)})

    async def create(self, request: web.Request) -> web.Response:
        """POST /flavors; ``id`` null or ``auto`` makes one."""
        caller = self.nova.require_admin(request, "compute_extension:flavormanage")
        given = await self.nova.body(request, "flavor")
        name = str(given.get("name") or "")
        identifier = given.get("id")
        identifier = self.state.new_uuid() if identifier in (None, "auto") else str(identifier)
        if not name.strip():
            raise ApiFault(
                400, "Flavor names can only contain alphanumeric characters, periods, dashes, underscores and spaces."
            )
        if any(f.name == name for f in self.state.flavors.values()):
            raise ApiFault(409, f"{self.state.release.words['flavor']} with name {name} already exists.")
        if identifier in self.state.flavors:
            raise ApiFault(409, f"{self.state.release.words['flavor']} with ID {identifier} already exists.")
        try:
            flavor = Flavor(
                id=identifier,
                name=name,
                vcpus=int(given["vcpus"]),
                ram=int(given["ram"]),
                disk=int(given.get("disk") or 0),
                ephemeral=int(given.get("OS-FLV-EXT-DATA:ephemeral") or 0),
                swap=int(given.get("swap") or 0),
                rxtx_factor=float(given.get("rxtx_factor") or 1.0),
                is_public=bool(given.get("os-flavor-access:is_public", True)),
                number=self.state.count("flavor"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ApiFault(400, f"Invalid input received: {error}") from None
        if flavor.vcpus < 1 or flavor.ram < 1 or flavor.disk < 0:
            raise ApiFault(400, "Invalid input received: vcpus and ram must be positive, disk not negative")
        if not flavor.is_public:
            flavor.access.append(caller.project_id)
        self.state.flavors[flavor.id] = flavor
        return json_answer({"flavor": self._view(flavor, caller.project_id)})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /flavors/ID"""
        self.nova.require_admin(request, "compute_extension:flavormanage")
        del self.state.flavors[self._get(request).id]
        return empty_answer(202)

    # --- access

    def _access_view(self, flavor: Flavor) -> web.Response:
        return json_answer(
            {"flavor_access": [{"flavor_id": flavor.id, "tenant_id": project_id} for project_id in flavor.access]}
        )

    async def access(self, request: web.Request) -> web.Response:
        """GET /flavors/ID/os-flavor-access; only private flavors have a list."""
        flavor = self._get(request)
        if flavor.is_public:
            raise ApiFault(404, "Access list not available for public flavors.")
        return self._access_view(flavor)

    async def action(self, request: web.Request) -> web.Response:
        """POST /flavors/ID/action: addTenantAccess, removeTenantAccess."""
        self.nova.require_admin(request, "compute_extension:flavor_access")
        flavor = self._get(request)
        given = await self.nova.body(request)
        for name in ("addTenantAccess", "removeTenantAccess"):
            if isinstance(given.get(name), dict):
                project_id = str(given[name].get("tenant"))
                held = project_id in flavor.access
                if name == "addTenantAccess":
                    if held:
                        raise ApiFault(
                            409,
                            f"Flavor access already exists for flavor {flavor.id} "
                            f"and project {project_id} combination.",
                        )
                    flavor.access.append(project_id)
                else:
                    if not held:
                        raise ApiFault(404, f"Flavor access not found for {flavor.id} / {project_id} combination.")
                    flavor.access.remove(project_id)
                return self._access_view(flavor)
        raise ApiFault(400, "There is no such action: ")

    # --- extra specs

    async def specs(self, request: web.Request) -> web.Response:
        """GET /flavors/ID/os-extra_specs"""
        return json_answer({"extra_specs": dict(self._get(request).extra_specs)})

    async def add_specs(self, request: web.Request) -> web.Response:
        """POST /flavors/ID/os-extra_specs"""
        self.nova.require_admin(request, "compute_extension:flavorextraspecs:create")
        flavor = self._get(request)
        given = await self.nova.body(request, "extra_specs")
        flavor.extra_specs.update({str(k): str(v) for k, v in given.items()})
        return json_answer({"extra_specs": given})

    async def spec(self, request: web.Request) -> web.Response:
        """GET /flavors/ID/os-extra_specs/KEY"""
        key, specs = request.match_info["key"], self._get(request).extra_specs
        if key not in specs:
            raise ApiFault(404)
        return json_answer({key: specs[key]})

    async def set_spec(self, request: web.Request) -> web.Response:
        """PUT /flavors/ID/os-extra_specs/KEY"""
        self.nova.require_admin(request, "compute_extension:flavorextraspecs:update")
        key, flavor = request.match_info["key"], self._get(request)
        given = await read_json(request)
        if not isinstance(given, dict) or set(given) != {key}:
            raise ApiFault(400, "Request body and URI mismatch")
        flavor.extra_specs[key] = str(given[key])
        return json_answer(given)

    async def delete_spec(self, request: web.Request) -> web.Response:
        """DELETE /flavors/ID/os-extra_specs/KEY"""
        self.nova.require_admin(request, "compute_extension:flavorextraspecs:delete")
        flavor = self._get(request)
        if flavor.extra_specs.pop(request.match_info["key"], None) is None:
            raise ApiFault(404)
        return web.Response(status=200, headers={"Content-Type": "application/json"})
