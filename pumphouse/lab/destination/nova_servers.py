"""Nova v2.1: reading servers, and changing what needs no time: names, metadata, tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from aiohttp import web

from pumphouse.lab.destination.nova import denied, limit_of, minor, old_group, only_from
from pumphouse.lab.destination.nova_boot import action_record
from pumphouse.lab.destination.nova_machine import changed, delete
from pumphouse.lab.destination.nova_views import addresses, base, brief, detail, status_of
from pumphouse.lab.destination.state import Caller, Cloud, Server
from pumphouse.lab.destination.web import Fault, Json, answer, empty, now, page_link, read_json, truthy, validate

_FILTERS = {
    "all_tenants", "project_id", "tenant_id", "user_id", "name", "display_name", "status", "host", "node", "image",
    "image_ref", "flavor", "uuid", "ip", "ip6", "key_name", "vm_state", "task_state", "power_state", "deleted",
    "changes-since", "changes-before", "limit", "marker", "sort_key", "sort_dir", "tags", "tags-any", "not-tags",
    "not-tags-any", "availability_zone", "config_drive", "hostname", "locked", "description", "reservation_id",
    "access_ip_v4", "access_ip_v6", "created_at", "launched_at", "terminated_at", "progress", "locked_by",
    "soft_deleted", "auto_disk_config", "root_device_name", "launch_index", "kernel_id", "ramdisk_id",
    "instance_type_id", "block_device_mapping", "metadata", "system_metadata",
}  # fmt: skip
_META = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 255}}


def find(cloud: Cloud, request: web.Request, caller: Caller, *, missing: str = "could not be found.") -> Server:
    """The server of a request, or Nova's 404."""
    server_id = request.match_info["id"]
    server = cloud.compute.servers.get(server_id)
    if server is None or server.deleted_at is not None or not caller.sees(server.project_id):
        raise Fault(404, f"Instance {server_id} {missing}")
    return server


class Servers:
    """Handlers of ``/servers`` and of what hangs below one server."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.table = cloud.compute.servers

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        one = "/v2.1/servers/{id}"
        return [
            web.get("/v2.1/servers", self.index),
            web.get("/v2.1/servers/detail", self.index),
            web.get(one, self.show),
            web.put(one, self.update),
            web.delete(one, self.delete),
            web.get(f"{one}/ips", self.ips),
            web.get(f"{one}/os-security-groups", self.groups),
            web.get(f"{one}/os-interface", self.interfaces),
            web.get(f"{one}/os-instance-actions", self.actions),
            web.get(f"{one}/os-volume_attachments", self.volumes),
            web.get(f"{one}/metadata", self.metadata),
            web.post(f"{one}/metadata", self.change_metadata),
            web.put(f"{one}/metadata", self.change_metadata),
            web.get(f"{one}/metadata/{{key}}", self.meta),
            web.put(f"{one}/metadata/{{key}}", self.set_meta),
            web.delete(f"{one}/metadata/{{key}}", self.drop_meta),
            web.get(f"{one}/tags", self.tags),
            web.put(f"{one}/tags", self.set_tags),
            web.put(f"{one}/tags/{{tag}}", self.add_tag),
            web.delete(f"{one}/tags/{{tag}}", self.drop_tag),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """``GET /servers`` and ``/servers/detail``: newest first, pages by marker."""
        caller = self.cloud.authenticate(request)
        detailed = request.path.endswith("/detail")
        query = request.query
        limit = limit_of(request)
        unknown = [key for key in query if key not in _FILTERS and not key.startswith("_")]
        if unknown and minor(request) >= 75:
            raise Fault(400, f"{unknown[0]!r} does not match any of the regexes: '^_'")
        everybody = "all_tenants" in query and query["all_tenants"].lower() not in ("0", "false")
        if everybody and not caller.is_admin:
            raise denied(f"servers:{'detail' if detailed else 'index'}:get_all_tenants")
        found = [item for item in self.table.values() if self._wanted(item, caller, query, everybody=everybody)]
        found.sort(key=lambda item: (item.created_at, item.number), reverse=True)
        if "marker" in query:
            places = [place for place, item in enumerate(found) if item.id == query["marker"]]
            if not places:
                raise Fault(400, f"marker [{query['marker']}] not found")
            found = found[places[0] + 1 :]
        page = found[:limit]
        version = minor(request)
        body: Json = {
            "servers": [
                detail(self.cloud, item, caller, version, listed=True) if detailed else brief(self.cloud, item)
                for item in page
            ]
        }
        if page and len(page) == limit:
            root = self.cloud.urls["compute"].removesuffix("/v2.1")
            href = page_link(f"{root}{request.path}", query.items(), page[-1].id)
            body["servers_links"] = [{"rel": "next", "href": href}]
        return answer(body)

    def _wanted(self, server: Server, caller: Caller, query: Mapping[str, str], *, everybody: bool) -> bool:
        asked = dict(query.items())
        if not everybody and server.project_id != caller.project_id:
            return False
        deleted = caller.is_admin and truthy(asked.get("deleted", ""))
        since = asked.get("changes-since")
        if since is not None:
            if server.updated_at < _moment(since):
                return False
        elif (server.deleted_at is not None) != deleted:
            return False
        project = asked.get("project_id", asked.get("tenant_id"))
        if everybody and project is not None and server.project_id != project:
            return False
        exact = {
            "user_id": server.user_id,
            "uuid": server.id,
            "image": server.image_id,
            "flavor": server.flavor["id"],
            "key_name": server.key_name,
            "vm_state": server.vm_state,
            "task_state": server.task_state,
            "reservation_id": server.reservation_id,
            "description": server.description,
        }
        if caller.is_admin:
            exact |= {"host": server.host, "node": server.host}
        if any(asked[key] != str(value) for key, value in exact.items() if key in asked):
            return False
        if "status" in asked and asked["status"].upper() != status_of(server):
            return False
        if "tags" in asked and not set(asked["tags"].split(",")) <= set(server.tags):
            return False
        own = [entry[0] for entries in server.addresses.values() for entry in entries]
        if "ip" in asked and not any(re.search(asked["ip"], address) for address in own):
            return False
        return "name" not in asked or re.search(asked["name"], server.name) is not None

    async def show(self, request: web.Request) -> web.Response:
        """``GET /servers/{id}``."""
        caller = self.cloud.authenticate(request)
        server = find(self.cloud, request, caller)
        return answer({"server": detail(self.cloud, server, caller, minor(request))})

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /servers/{id}``: name, description."""
        caller = self.cloud.authenticate(request)
        server = find(self.cloud, request, caller)
        text = {"type": "string", "minLength": 1, "maxLength": 255}
        properties: Json = {"name": text, "OS-DCF:diskConfig": text, "accessIPv4": text, "accessIPv6": text}
        if minor(request) >= 19:
            properties["description"] = {"type": ["string", "null"]}
        inner: Json = {"type": "object", "properties": properties, "additionalProperties": False}
        body = await read_json(request)
        validate(body, {"type": "object", "properties": {"server": inner}, "required": ["server"]})
        server.name = body["server"].get("name", server.name)
        server.description = body["server"].get("description", server.description)
        changed(server)
        if minor(request) >= 75:
            return answer({"server": detail(self.cloud, server, caller, minor(request))})
        shown = base(self.cloud, server, caller, minor(request), full=False)
        if minor(request) >= 9:
            shown["locked"] = server.locked
        if minor(request) >= 19:
            shown["description"] = server.description
        if minor(request) >= 26:
            shown["tags"] = list(server.tags)
        return answer({"server": shown})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /servers/{id}``: 204 at once, gone a little later."""
        caller = self.cloud.authenticate(request)
        server = find(self.cloud, request, caller)
        if server.locked and not caller.is_admin:
            raise Fault(409, f"Instance {server.id} is locked")
        if server.task_state != "deleting":
            server.actions.append(action_record(server, "delete", request, caller))
            server.task_state = "deleting"
            changed(server)
            self.cloud.spawn(delete(self.cloud, server))
        return empty(204, "application/json")

    async def ips(self, request: web.Request) -> web.Response:
        """``GET …/ips``."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        return answer({"addresses": addresses(server, full=False)})

    def _ports(self, server: Server) -> list[Json]:
        ports = self.cloud.network.ports
        return [ports[nic.port_id] for nic in server.nics if nic.port_id in ports]

    async def groups(self, request: web.Request) -> web.Response:
        """``GET …/os-security-groups``, in nova-network's shape."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        ids = dict.fromkeys(group for port in self._ports(server) for group in port["security_groups"])
        found = [
            old_group(self.cloud, self.cloud.network.groups[item]) for item in ids if item in self.cloud.network.groups
        ]
        return answer({"security_groups": found})

    async def interfaces(self, request: web.Request) -> web.Response:
        """``GET …/os-interface``."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        found = [
            {
                "net_id": port["network_id"],
                "port_id": port["id"],
                "mac_addr": port["mac_address"],
                "port_state": port["status"],
                "fixed_ips": port["fixed_ips"],
            }
            | ({"tag": None} if minor(request) >= 70 else {})
            for port in self._ports(server)
        ]
        return answer({"interfaceAttachments": found})

    async def actions(self, request: web.Request) -> web.Response:
        """``GET …/os-instance-actions``."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        return answer({"instanceActions": server.actions[::-1]})

    async def volumes(self, request: web.Request) -> web.Response:
        """``GET …/os-volume_attachments``: there are no volumes."""
        find(self.cloud, request, self.cloud.authenticate(request))
        return answer({"volumeAttachments": []})

    async def metadata(self, request: web.Request) -> web.Response:
        """``GET …/metadata``."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        return answer({"metadata": server.metadata})

    async def change_metadata(self, request: web.Request) -> web.Response:
        """``POST …/metadata`` merges, ``PUT …/metadata`` replaces."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        body = await read_json(request)
        validate(body, {"type": "object", "properties": {"metadata": _META}, "required": ["metadata"]})
        kept = server.metadata if request.method == "POST" else {}
        server.metadata = kept | body["metadata"]
        changed(server)
        return answer({"metadata": server.metadata})

    def _meta(self, request: web.Request) -> Server:
        server = find(self.cloud, request, self.cloud.authenticate(request))
        if request.match_info["key"] not in server.metadata:
            raise Fault(404, "Metadata item was not found")
        return server

    async def meta(self, request: web.Request) -> web.Response:
        """``GET …/metadata/{key}``."""
        key = request.match_info["key"]
        return answer({"meta": {key: self._meta(request).metadata[key]}})

    async def set_meta(self, request: web.Request) -> web.Response:
        """``PUT …/metadata/{key}``."""
        server = find(self.cloud, request, self.cloud.authenticate(request))
        body = await read_json(request)
        validate(body, {"type": "object", "properties": {"meta": _META}, "required": ["meta"]})
        if list(body["meta"]) != [request.match_info["key"]]:
            raise Fault(400, "Request body and URI mismatch")
        server.metadata.update(body["meta"])
        changed(server)
        return answer({"meta": body["meta"]})

    async def drop_meta(self, request: web.Request) -> web.Response:
        """``DELETE …/metadata/{key}``."""
        server = self._meta(request)
        del server.metadata[request.match_info["key"]]
        changed(server)
        return empty(204, "application/json")

    def _tagged(self, request: web.Request) -> Server:
        only_from(request, 26)
        return find(self.cloud, request, self.cloud.authenticate(request))

    async def tags(self, request: web.Request) -> web.Response:
        """``GET …/tags`` (2.26)."""
        return answer({"tags": self._tagged(request).tags})

    async def set_tags(self, request: web.Request) -> web.Response:
        """``PUT …/tags`` (2.26)."""
        server = self._tagged(request)
        server.tags = list((await read_json(request)).get("tags", []))
        return answer({"tags": server.tags})

    async def add_tag(self, request: web.Request) -> web.Response:
        """``PUT …/tags/{tag}`` (2.26)."""
        server, tag = self._tagged(request), request.match_info["tag"]
        if tag in server.tags:
            return answer(None, 204)
        server.tags.append(tag)
        return web.Response(status=201, content_type="text/html", headers={"Location": str(request.url)})

    async def drop_tag(self, request: web.Request) -> web.Response:
        """``DELETE …/tags/{tag}`` (2.26)."""
        server, tag = self._tagged(request), request.match_info["tag"]
        if tag not in server.tags:
            raise Fault(404, f"Instance {server.id} has no tag '{tag}'")
        server.tags.remove(tag)
        return answer(None, 204)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise Fault(400, f"Invalid input for query parameters changes-since. Value: {text}.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=now().tzinfo)
