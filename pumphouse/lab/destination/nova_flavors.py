"""Nova v2.1: flavors, their extra specs and access lists."""

from __future__ import annotations

from aiohttp import web

from pumphouse.lab.destination.nova import admin, known_project, limit_of, links, minor
from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import (
    KEY_PATTERN,
    NAME,
    Fault,
    Json,
    answer,
    empty,
    new_id,
    page_link,
    read_json,
    truthy,
    validate,
)

_COUNT = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0}
_FLAVOR: Json = {
    "type": "object",
    "properties": {
        "flavor": {
            "type": "object",
            "properties": {
                "name": NAME,
                "id": {
                    "type": ["string", "number", "null"],
                    "minLength": 1,
                    "maxLength": 255,
                    "pattern": "^(?! )[a-zA-Z0-9. _-]+(?<! )$",
                },
                "ram": _COUNT | {"minimum": 1},
                "vcpus": _COUNT | {"minimum": 1},
                "disk": _COUNT,
                "OS-FLV-EXT-DATA:ephemeral": _COUNT,
                "swap": _COUNT,
                "rxtx_factor": {"type": ["number", "string"], "exclusiveMinimum": 0},
                "os-flavor-access:is_public": {"type": ["boolean", "string"]},
            },
            "required": ["name", "ram", "vcpus", "disk"],
            "additionalProperties": False,
        }
    },
    "required": ["flavor"],
    "additionalProperties": False,
}
_SPECS: Json = {
    "type": "object",
    "properties": {
        "extra_specs": {
            "type": "object",
            "patternProperties": {KEY_PATTERN: {"type": ["string", "number"], "maxLength": 255}},
            "additionalProperties": False,
        }
    },
    "required": ["extra_specs"],
    "additionalProperties": False,
}


def no_flavor(flavor_id: str) -> Fault:
    """404 of a flavor."""
    return Fault(404, f"Flavor {flavor_id} could not be found.")


class Flavors:
    """Handlers of ``/flavors``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.data = cloud.compute

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        one = "/v2.1/flavors/{id}"
        return [
            web.get("/v2.1/flavors", self.index),
            web.get("/v2.1/flavors/detail", self.index),
            web.post("/v2.1/flavors", self.create),
            web.get(one, self.show),
            web.delete(one, self.delete),
            web.post(f"{one}/action", self.action),
            web.get(f"{one}/os-flavor-access", self.access),
            web.get(f"{one}/os-extra_specs", self.specs),
            web.post(f"{one}/os-extra_specs", self.add_specs),
            web.get(f"{one}/os-extra_specs/{{key}}", self.spec),
            web.put(f"{one}/os-extra_specs/{{key}}", self.set_spec),
            web.delete(f"{one}/os-extra_specs/{{key}}", self.drop_spec),
        ]

    def _get(self, request: web.Request, caller: Caller) -> Json:
        flavor = self.data.flavors.get(request.match_info["id"])
        if flavor is None or not self._sees(flavor, caller):
            raise no_flavor(request.match_info["id"])
        return flavor

    def _sees(self, flavor: Json, caller: Caller) -> bool:
        return caller.is_admin or flavor["is_public"] or caller.project_id in self.data.flavor_access[flavor["id"]]

    def _view(self, flavor: Json, version: int) -> Json:
        shown: Json = {
            "id": flavor["id"],
            "name": flavor["name"],
            "ram": flavor["ram"],
            "disk": flavor["disk"],
            "swap": flavor["swap"] if version >= 75 else flavor["swap"] or "",
            "OS-FLV-EXT-DATA:ephemeral": flavor["ephemeral"],
            "OS-FLV-DISABLED:disabled": False,
            "vcpus": flavor["vcpus"],
            "os-flavor-access:is_public": flavor["is_public"],
            "rxtx_factor": flavor["rxtx_factor"],
            "links": links(self.cloud, "flavors", flavor["id"]),
        }
        if version >= 55:
            shown["description"] = flavor["description"]
        if version >= 61:
            shown["extra_specs"] = flavor["extra_specs"]
        return shown

    async def index(self, request: web.Request) -> web.Response:
        """``GET /flavors`` and ``/flavors/detail``: public ones; with ``is_public=None`` all, for an administrator."""
        caller = self.cloud.authenticate(request)
        wanted = request.query.get("is_public", "")
        found = [item for item in self.data.flavors.values() if self._sees(item, caller)]
        if caller.is_admin and wanted.lower() != "none":
            shown = truthy(wanted) if wanted else None
            found = [
                item
                for item in found
                if (item["is_public"] == shown)
                or (shown is None and (item["is_public"] or caller.project_id in self.data.flavor_access[item["id"]]))
            ]
        for key, field in (("minRam", "ram"), ("minDisk", "disk")):
            if key in request.query:
                found = [item for item in found if item[field] >= int(request.query[key])]
        found.sort(key=lambda item: str(item["id"]))
        if "marker" in request.query:
            places = [place for place, item in enumerate(found) if item["id"] == request.query["marker"]]
            if not places:
                raise Fault(400, f"marker [{request.query['marker']}] not found")
            found = found[places[0] + 1 :]
        limit = limit_of(request)
        page = found[:limit]
        detail = request.path.endswith("/detail")
        body: Json = {
            "flavors": [self._view(item, minor(request)) if detail else self._brief(item, request) for item in page]
        }
        if page and len(page) == limit:
            base = f"{self.cloud.urls['compute'].removesuffix('/v2.1')}{request.path}"
            body["flavors_links"] = [{"rel": "next", "href": page_link(base, request.query.items(), page[-1]["id"])}]
        return answer(body)

    def _brief(self, flavor: Json, request: web.Request) -> Json:
        shown = {"id": flavor["id"], "name": flavor["name"], "links": links(self.cloud, "flavors", flavor["id"])}
        return shown | ({"description": flavor["description"]} if minor(request) >= 55 else {})

    async def show(self, request: web.Request) -> web.Response:
        """``GET /flavors/{id}``."""
        return answer({"flavor": self._view(self._get(request, self.cloud.authenticate(request)), minor(request))})

    async def create(self, request: web.Request) -> web.Response:
        """``POST /flavors``: the id may be chosen."""
        admin(self.cloud, request, "os-flavor-manage:create")
        body = await read_json(request)
        given = dict(body["flavor"]) if isinstance(body.get("flavor"), dict) else {}
        description = given.pop("description", None) if minor(request) >= 55 else None
        validate({**body, "flavor": given} if "flavor" in body else body, _FLAVOR)
        flavor_id = str(given.get("id") or "auto")
        flavor_id = new_id() if flavor_id == "auto" else flavor_id
        for item in self.data.flavors.values():
            if item["id"].lower() == flavor_id.lower():
                raise Fault(409, f"Flavor with ID {flavor_id} already exists.")
            if item["name"].lower() == given["name"].lower():
                raise Fault(409, f"Flavor with name {given['name']} already exists.")
        public = given.get("os-flavor-access:is_public", True)
        self.data.counter += 1
        flavor = {
            "id": flavor_id,
            "number": self.data.counter,
            "name": given["name"],
            "ram": int(given["ram"]),
            "vcpus": int(given["vcpus"]),
            "disk": int(given["disk"]),
            "ephemeral": int(given.get("OS-FLV-EXT-DATA:ephemeral", 0)),
            "swap": int(given.get("swap", 0)),
            "rxtx_factor": float(given.get("rxtx_factor", 1.0)),
            "is_public": public if isinstance(public, bool) else truthy(public),
            "description": description,
            "extra_specs": {},
        }
        self.data.flavors[flavor_id] = flavor
        self.data.flavor_access[flavor_id] = []
        return answer({"flavor": self._view(flavor, minor(request))})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /flavors/{id}``: servers keep their copy."""
        flavor = self._get(request, admin(self.cloud, request, "os-flavor-manage:delete"))
        del self.data.flavors[flavor["id"]], self.data.flavor_access[flavor["id"]]
        return empty(202, "application/json")

    async def action(self, request: web.Request) -> web.Response:
        """``POST /flavors/{id}/action``: addTenantAccess, removeTenantAccess."""
        body = await read_json(request)
        name = next(iter(body), "")
        if name not in ("addTenantAccess", "removeTenantAccess"):
            raise Fault(400, f"There is no such action: {name}" if name else "Malformed request body")
        rule = "add_tenant_access" if name == "addTenantAccess" else "remove_tenant_access"
        flavor = self._get(request, admin(self.cloud, request, f"os-flavor-access:{rule}"))
        project_id = body[name].get("tenant") if isinstance(body[name], dict) else None
        if not project_id:
            raise Fault(
                400, f"Invalid input for field/attribute {name}. Value: {body[name]}. 'tenant' is a required property"
            )
        known_project(self.cloud, project_id)
        access = self.data.flavor_access[flavor["id"]]
        if name == "addTenantAccess":
            if flavor["is_public"] and minor(request) >= 7:
                raise Fault(409, "Can not add access to a public flavor.")
            if project_id in access:
                message = (
                    f"Flavor access already exists for flavor {flavor['number']} and project {project_id} combination."
                )
                raise Fault(409, message)
            access.append(project_id)
        else:
            if project_id not in access:
                raise Fault(404, f"Flavor access not found for {flavor['number']} / {project_id} combination.")
            access.remove(project_id)
        return answer(self._access(flavor))

    def _access(self, flavor: Json) -> Json:
        access = self.data.flavor_access[flavor["id"]]
        return {"flavor_access": [{"flavor_id": flavor["id"], "tenant_id": project_id} for project_id in access]}

    async def access(self, request: web.Request) -> web.Response:
        """``GET /flavors/{id}/os-flavor-access``: 404 for public flavors."""
        flavor = self._get(request, admin(self.cloud, request, "os-flavor-access"))
        if flavor["is_public"]:
            raise Fault(404, "Access list not available for public flavors.")
        return answer(self._access(flavor))

    async def specs(self, request: web.Request) -> web.Response:
        """``GET …/os-extra_specs``."""
        return answer({"extra_specs": self._get(request, self.cloud.authenticate(request))["extra_specs"]})

    async def add_specs(self, request: web.Request) -> web.Response:
        """``POST …/os-extra_specs``."""
        flavor = self._get(request, admin(self.cloud, request, "os-flavor-extra-specs:create"))
        body = await read_json(request)
        validate(body, _SPECS)
        flavor["extra_specs"].update({key: str(value) for key, value in body["extra_specs"].items()})
        return answer({"extra_specs": body["extra_specs"]})

    def _spec(self, request: web.Request, caller: Caller) -> tuple[Json, str]:
        flavor = self._get(request, caller)
        key = request.match_info["key"]
        if key not in flavor["extra_specs"]:
            raise Fault(404, f"Flavor {flavor['id']} has no extra specs with key {key}.")
        return flavor, key

    async def spec(self, request: web.Request) -> web.Response:
        """``GET …/os-extra_specs/{key}``."""
        flavor, key = self._spec(request, self.cloud.authenticate(request))
        return answer({key: flavor["extra_specs"][key]})

    async def set_spec(self, request: web.Request) -> web.Response:
        """``PUT …/os-extra_specs/{key}``."""
        flavor = self._get(request, admin(self.cloud, request, "os-flavor-extra-specs:update"))
        key, body = request.match_info["key"], await read_json(request)
        if list(body) != [key]:
            raise Fault(400, "Request body and URI mismatch")
        flavor["extra_specs"][key] = str(body[key])
        return answer({key: flavor["extra_specs"][key]})

    async def drop_spec(self, request: web.Request) -> web.Response:
        """``DELETE …/os-extra_specs/{key}``."""
        flavor, key = self._spec(request, admin(self.cloud, request, "os-flavor-extra-specs:delete"))
        del flavor["extra_specs"][key]
        return empty(200, "application/json")
