"""Nova v2.1: quotas and limits."""

from __future__ import annotations

from aiohttp import web

from pumphouse.lab.destination.nova import admin, denied, known_project, minor
from pumphouse.lab.destination.state import Cloud, Server
from pumphouse.lab.destination.web import Fault, Json, answer, empty, read_json, validate

DEFAULTS = {
    "cores": 20,
    "fixed_ips": -1,
    "floating_ips": -1,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "injected_files": 5,
    "instances": 10,
    "key_pairs": 100,
    "metadata_items": 128,
    "ram": 51200,
    "security_group_rules": -1,
    "security_groups": -1,
    "server_group_members": 10,
    "server_groups": 10,
}
_NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")
_INJECTED = ("injected_file_content_bytes", "injected_file_path_bytes", "injected_files")


def _shown(version: int) -> list[str]:
    gone: tuple[str, ...] = (_NETWORK if version >= 36 else ()) + (_INJECTED if version >= 57 else ())
    return [name for name in DEFAULTS if name not in gone]


def limits(cloud: Cloud, project_id: str) -> dict[str, int]:
    """A project's compute quota."""
    return cloud.compute.class_quotas | cloud.compute.quotas.get(project_id, {})


def usage(cloud: Cloud, project_id: str) -> dict[str, int]:
    """What a project's servers use of it, failed ones too."""
    held: list[Server] = [
        item for item in cloud.compute.servers.values() if item.project_id == project_id and item.deleted_at is None
    ]
    return dict.fromkeys(DEFAULTS, 0) | {
        "instances": len(held),
        "cores": sum(item.flavor["vcpus"] for item in held),
        "ram": sum(item.flavor["ram"] for item in held),
    }


def within_quota(cloud: Cloud, project_id: str, flavor: Json, count: int = 1) -> None:
    """403 when a project may not have one more server of a flavor."""
    allowed, used = limits(cloud, project_id), usage(cloud, project_id)
    wanted = {"instances": count, "cores": count * flavor["vcpus"], "ram": count * flavor["ram"]}
    over = sorted(name for name in wanted if 0 <= allowed[name] < used[name] + wanted[name])
    if over:
        names = ", ".join(over)
        asked, taken, limit = (", ".join(str(table[name]) for name in over) for table in (wanted, used, allowed))
        message = f"Quota exceeded for {names}: Requested {asked}, but already used {taken} of {limit} {names}"
        raise Fault(403, message)


class Quotas:
    """Handlers of ``/os-quota-sets``, ``/os-quota-class-sets`` and ``/limits``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        one = "/v2.1/os-quota-sets/{project}"
        return [
            web.get(one, self.show),
            web.put(one, self.update),
            web.delete(one, self.reset),
            web.get(f"{one}/detail", self.detail),
            web.get(f"{one}/defaults", self.defaults),
            web.get("/v2.1/os-quota-class-sets/{name}", self.class_show),
            web.put("/v2.1/os-quota-class-sets/{name}", self.class_update),
            web.get("/v2.1/limits", self.limits),
        ]

    def _project(self, request: web.Request, rule: str) -> str:
        caller = self.cloud.authenticate(request)
        if not caller.sees(request.match_info["project"]):
            raise denied(f"os-quota-sets:{rule}")
        return known_project(self.cloud, request.match_info["project"])

    async def show(self, request: web.Request) -> web.Response:
        """``GET /os-quota-sets/{project}``."""
        project_id = self._project(request, "show")
        allowed = limits(self.cloud, project_id)
        return answer({"quota_set": {"id": project_id} | {name: allowed[name] for name in _shown(minor(request))}})

    async def detail(self, request: web.Request) -> web.Response:
        """``GET /os-quota-sets/{project}/detail``."""
        project_id = self._project(request, "detail")
        allowed, used = limits(self.cloud, project_id), usage(self.cloud, project_id)
        body: Json = {"id": project_id}
        for name in _shown(minor(request)):
            body[name] = {"limit": allowed[name], "in_use": used[name], "reserved": 0}
        return answer({"quota_set": body})

    async def defaults(self, request: web.Request) -> web.Response:
        """``GET /os-quota-sets/{project}/defaults``."""
        self.cloud.authenticate(request)
        allowed = self.cloud.compute.class_quotas
        names = _shown(minor(request))
        return answer({"quota_set": {"id": request.match_info["project"]} | {name: allowed[name] for name in names}})

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /os-quota-sets/{project}``: not below what is used, unless forced."""
        admin(self.cloud, request, "os-quota-sets:update")
        project_id = known_project(self.cloud, request.match_info["project"])
        names = _shown(minor(request))
        count = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "minimum": -1}
        properties: Json = dict.fromkeys(names, count) | {"force": {"type": ["boolean", "string"]}}
        schema: Json = {
            "type": "object",
            "properties": {"quota_set": {"type": "object", "properties": properties, "additionalProperties": False}},
            "required": ["quota_set"],
        }
        body = await read_json(request)
        validate(body, schema)
        wanted = {name: int(value) for name, value in body["quota_set"].items() if name != "force"}
        used = usage(self.cloud, project_id)
        for name, limit in wanted.items():
            if not body["quota_set"].get("force") and 0 <= limit < used[name]:
                message = f"Quota limit {limit} for {name} must be greater than or equal to already used and reserved"
                raise Fault(400, f"{message} {used[name]}.")
        self.cloud.compute.quotas.setdefault(project_id, {}).update(wanted)
        allowed = limits(self.cloud, project_id)
        return answer({"quota_set": {name: allowed[name] for name in names}})

    async def reset(self, request: web.Request) -> web.Response:
        """``DELETE /os-quota-sets/{project}``."""
        admin(self.cloud, request, "os-quota-sets:delete")
        self.cloud.compute.quotas.pop(request.match_info["project"], None)
        return empty(202, "application/json")

    def _class(self, request: web.Request) -> Json:
        version = minor(request)
        hidden = () if version >= 50 else ("server_groups", "server_group_members")
        allowed = self.cloud.compute.class_quotas
        return {name: allowed[name] for name in _shown(version) if name not in hidden}

    async def class_show(self, request: web.Request) -> web.Response:
        """``GET /os-quota-class-sets/{name}``."""
        admin(self.cloud, request, "os-quota-class-sets:show")
        return answer({"quota_class_set": {"id": request.match_info["name"]} | self._class(request)})

    async def class_update(self, request: web.Request) -> web.Response:
        """``PUT /os-quota-class-sets/{name}``."""
        admin(self.cloud, request, "os-quota-class-sets:update")
        given = (await read_json(request)).get("quota_class_set", {})
        unknown = [name for name in given if name not in _shown(minor(request))]
        if unknown:
            raise Fault(400, f"Additional properties are not allowed ({unknown[0]!r} was unexpected)")
        self.cloud.compute.class_quotas.update({name: int(value) for name, value in given.items()})
        return answer({"quota_class_set": self._class(request)})

    async def limits(self, request: web.Request) -> web.Response:
        """``GET /limits``."""
        caller = self.cloud.authenticate(request)
        version = minor(request)
        allowed, used = limits(self.cloud, caller.project_id), usage(self.cloud, caller.project_id)
        absolute = {
            "maxTotalCores": allowed["cores"],
            "maxTotalInstances": allowed["instances"],
            "maxTotalKeypairs": allowed["key_pairs"],
            "maxServerMeta": allowed["metadata_items"],
            "maxTotalRAMSize": allowed["ram"],
            "maxServerGroups": allowed["server_groups"],
            "maxServerGroupMembers": allowed["server_group_members"],
            "totalRAMUsed": used["ram"],
            "totalCoresUsed": used["cores"],
            "totalInstancesUsed": used["instances"],
            "totalServerGroupsUsed": 0,
        }
        if version < 57:
            absolute |= {"maxPersonality": 5, "maxPersonalitySize": 10240}
        if version < 39:
            absolute["maxImageMeta"] = 128
        if version < 36:
            absolute |= {
                "maxTotalFloatingIps": -1,
                "maxSecurityGroups": -1,
                "maxSecurityGroupRules": -1,
                "totalFloatingIpsUsed": 0,
                "totalSecurityGroupsUsed": 0,
            }
        return answer({"limits": {"rate": [], "absolute": absolute}})
