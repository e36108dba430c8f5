"""Nova's servers: listing, booting, renaming, deleting, metadata and the small reads below a server."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from pumphouse.lab.source import nova_views as views
from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_lifecycle import Lifecycle
from pumphouse.lab.source.nova_quotas import check_server_quota
from pumphouse.lab.source.nova_secgroups import default_group, group_view
from pumphouse.lab.source.state import Action, Flavor, Image, Network, Server, now
from pumphouse.lab.source.wire import ApiFault, Caller, empty_answer, json_answer, read_json, stamp_micro

_USER_FILTERS = ("reservation_id", "name", "status", "image", "flavor", "ip", "changes-since", "all_tenants")
INCAPABLE = "The server has either erred or is incapable of performing the requested operation."
_IGNORED = ("all_tenants", "limit", "marker", "changes-since", "deleted")


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the servers."""
    api = Servers(nova)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v2/{project}/servers", api.brief)
    get("/v2/{project}/servers/detail", api.detail)
    post("/v2/{project}/servers", api.create)
    base = "/v2/{project}/servers/{id}"
    get(base, api.show)
    put(base, api.update)
    delete(base, api.delete)
    get(f"{base}/metadata", api.metadata)
    post(f"{base}/metadata", api.update_metadata)
    put(f"{base}/metadata", api.replace_metadata)
    get(f"{base}/metadata/{{key}}", api.metadata_item)
    put(f"{base}/metadata/{{key}}", api.set_metadata_item)
    delete(f"{base}/metadata/{{key}}", api.delete_metadata_item)
    get(f"{base}/ips", api.ips)
    get(f"{base}/ips/{{label}}", api.ips_of)
    get(f"{base}/os-security-groups", api.security_groups)
    get(f"{base}/os-virtual-interfaces", api.virtual_interfaces)
    get(f"{base}/os-interface", api.no_interfaces)
    post(f"{base}/os-interface", api.no_interfaces)
    get(f"{base}/os-instance-actions", api.actions)
    get(f"{base}/os-instance-actions/{{request_id}}", api.action)
    get(f"{base}/diagnostics", api.diagnostics)
    get(f"{base}/os-server-password", api.password)
    get(f"{base}/os-volume_attachments", api.volumes)


class Servers:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state
        self.book = Addresses(self.state)
        self.life = Lifecycle(self.state, self.book)

    # --- listing

    async def brief(self, request: web.Request) -> web.Response:
        """GET /servers"""
        project_id = self.nova.caller(request).project_id
        return self._list(request, lambda server: views.brief(self.nova, server, project_id))

    async def detail(self, request: web.Request) -> web.Response:
        """GET /servers/detail"""
        caller = self.nova.caller(request)
        return self._list(request, lambda server: views.detail(self.nova, server, caller))

    def _list(self, request: web.Request, view: Any) -> web.Response:
        found = self._found(request)
        page, links = self.nova.page(request, found, [s.id for s in found])
        body: dict[str, Any] = {"servers": [view(s) for s in page]}
        if links:
            body["servers_links"] = links
        return json_answer(body)

    def _found(self, request: web.Request) -> list[Server]:
        caller, query = self.nova.caller(request), request.query
        everybody = caller.is_admin and query.get("all_tenants", "0").lower() not in ("0", "false")
        if "ip" in query and caller.is_admin and self.state.release.ip_filter_fails:
            raise ApiFault(500, INCAPABLE)
        since = self._since(query.get("changes-since"))
        deleted = caller.is_admin and query.get("deleted", "").lower() in ("1", "true")
        status = query.get("status")
        if status is not None and status.upper() == "DELETED":
            if not caller.is_admin:
                raise ApiFault(403, "Only administrators may list deleted instances")
            deleted = True
        found = []
        for server in self.state.servers.values():
            if not everybody and server.project_id != caller.project_id:
                continue
            if since is not None:
                if server.updated_at < since:
                    continue
            elif server.deleted != deleted:
                continue
            if all(
                self._matches(server, key, value)
                for key, value in query.items()
                if key not in _IGNORED and (caller.is_admin or key in _USER_FILTERS)
            ):
                found.append(server)
        return sorted(found, key=lambda s: (s.created_at, s.number), reverse=True)

    def _since(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ApiFault(400, "Invalid changes-since value") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _matches(self, server: Server, key: str, value: str) -> bool:
        exact: dict[str, Any] = {
            "host": server.host,
            "node": server.host,
            "project_id": server.project_id,
            "tenant_id": server.project_id,
            "user_id": server.user_id,
            "vm_state": server.vm_state,
            "task_state": server.task_state,
            "power_state": server.power_state,
            "image": server.image_id,
            "flavor": server.flavor_id,
            "uuid": server.id,
            "key_name": server.key_name,
            "hostname": server.name,
        }
        if key == "status":
            return views.status_of(server) == value.upper()
        if key in ("name", "ip"):
            try:
                pattern = re.compile(value)
            except re.error:
                raise ApiFault(400, f"Invalid regular expression {value}") from None
            return any(pattern.search(text) for text in ([server.name] if key == "name" else server.addresses))
        if key not in exact:
            return True  # an unknown filter is dropped, not refused
        return str(exact[key]) == value

    async def show(self, request: web.Request) -> web.Response:
        """GET /servers/ID"""
        return json_answer({"server": views.detail(self.nova, self.nova.server(request), self.nova.caller(request))})

    # --- booting

    async def create(self, request: web.Request) -> web.Response:
        """POST /servers: checked at once, carried out later (202)."""
        caller = self.nova.caller(request)
        given = await self.nova.body(request, "server")
        name = given.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 255:
            raise ApiFault(400, "Server name is not defined" if name is None else "Server name is an empty string")
        image, flavor = self._image(caller, given), self._flavor(given)
        zone, host = self._placement(request, given)
        network, fixed_ip = self._network(caller, given)
        groups = self._groups(caller, given)
        key_name = given.get("key_name")
        if key_name is not None and (caller.user_id, key_name) not in self.state.keypairs:
            raise ApiFault(400, "Invalid key_name provided.")
        self._check_user_data(given.get("user_data"))
        metadata = given.get("metadata") or {}
        count = int(given.get("min_count") or 1)
        check_server_quota(self.state, caller.project_id, flavor, metadata, count)
        made = [
            self._make(caller, given, name if count == 1 else f"{name}-{n + 1}", image, flavor, network)
            for n in range(count)
        ]
        for server in made:
            server.availability_zone = zone
            server.security_groups = groups
            server.actions.append(Action("create", caller.request_id, caller.user_id, caller.project_id, now()))
            self.life.boot(server, forced_host=host, fixed_ip=fixed_ip)
        server = made[0]
        links = self.nova.links(caller.project_id, "servers", server.id)
        body = {
            "id": server.id,
            "links": links,
            "adminPass": given.get("adminPass") or admin_pass(),
            "security_groups": [{"name": g} for g in sorted(groups)],
            "OS-DCF:diskConfig": server.disk_config,
        }
        answer = json_answer({"server": body}, 202)
        answer.headers["Location"] = links[0]["href"]
        return answer

    def _check_user_data(self, text: Any) -> None:
        try:
            base64.b64decode(str(text or "").replace("\n", ""), validate=True)
        except binascii.Error:
            raise ApiFault(400, "Userdata content cannot be decoded") from None

    def _make(
        self, caller: Caller, given: dict[str, Any], name: str, image: Image, flavor: Flavor, network: Network
    ) -> Server:
        moment = now()
        server = Server(
            id=self.state.new_uuid(),
            number=self.state.count("server"),
            name=name,
            project_id=caller.project_id,
            user_id=caller.user_id,
            flavor_id=flavor.id,
            image_id=image.id,
            created_at=moment,
            updated_at=moment,
            key_name=given.get("key_name"),
            metadata={str(k): str(v) for k, v in (given.get("metadata") or {}).items()},
            network_id=network.id,
            mac=self.state.new_mac(),
            vif_id=self.state.new_uuid(),
            config_drive=str(given.get("config_drive", "")).lower() in ("true", "1"),
            disk_config=given.get("OS-DCF:diskConfig") or "MANUAL",
            user_data=given.get("user_data"),
        )
        self.state.servers[server.id] = server
        return server

    def _image(self, caller: Caller, given: dict[str, Any]) -> Image:
        reference = str(given.get("imageRef") or "").rstrip("/").rsplit("/", 1)[-1]
        image = self.state.images.get(reference)
        visible = image is not None and (
            caller.is_admin or image.is_public or image.owner == caller.project_id or caller.project_id in image.members
        )
        if image is None or not visible:
            raise ApiFault(400, "Can not find requested image")
        if image.status != "active":
            raise ApiFault(400, f"Image {image.id} is not active.")
        return image

    def _flavor(self, given: dict[str, Any]) -> Flavor:
        flavor = self.state.flavors.get(str(given.get("flavorRef") or "").rstrip("/").rsplit("/", 1)[-1])
        if flavor is None:
            raise ApiFault(400, "Invalid flavorRef provided.")
        image = self.state.images.get(str(given.get("imageRef") or "").rstrip("/").rsplit("/", 1)[-1])
        if image is not None and image.min_ram > flavor.ram:
            raise ApiFault(400, self.state.release.words["flavor-ram"])
        if image is not None and image.min_disk > flavor.disk:
            raise ApiFault(400, self.state.release.words["flavor-disk"])
        return flavor

    def _placement(self, request: web.Request, given: dict[str, Any]) -> tuple[str | None, str | None]:
        text = given.get("availability_zone")
        if not text:
            return None, None
        zone, _, host = str(text).partition(":")
        if host:
            self.nova.require_admin(request, "compute:create:forced_host")
            if host not in self.state.hosts:
                raise ApiFault(400, "The requested availability zone is not available")
        known = {views.zone_of_host(self.nova, name) for name in self.state.hosts}
        if zone not in known:
            raise ApiFault(400, "The requested availability zone is not available")
        return zone, host or None

    def _network(self, caller: Caller, given: dict[str, Any]) -> tuple[Network, str | None]:
        usable = [n for n in self.state.networks.values() if n.project_id in (None, caller.project_id)]
        asked = given.get("networks")
        if not asked and asked != "":
            if not usable:
                raise ApiFault(400, "No networks defined")
            return usable[0], None
        if not isinstance(asked, list) or not all(isinstance(entry, dict) for entry in asked):
            if self.state.release.networks_text_status == 500:
                raise ApiFault(500, INCAPABLE)
            raise ApiFault(400, "Bad networks format")
        first = asked[0]
        network = self.state.networks.get(str(first.get("uuid")))
        if network is None or network not in usable:
            raise ApiFault(404)
        address = first.get("fixed_ip")
        if address is None:
            return network, None
        try:
            ip = ipaddress.ip_address(str(address))
        except ValueError:
            raise ApiFault(400, f"Invalid fixed IP address ({address})") from None
        if ip not in ipaddress.ip_network(network.cidr):
            raise ApiFault(404)
        fixed = self.book.record(str(ip))
        if fixed is not None and (fixed.server_id is not None or fixed.free_at is not None):
            raise ApiFault(500, INCAPABLE)  # nova-network's "already in use" is not mapped to a status
        return network, str(ip)

    def _groups(self, caller: Caller, given: dict[str, Any]) -> list[str]:
        names = {str(entry.get("name")) for entry in given.get("security_groups") or [{"name": "default"}]}
        default_group(self.state, caller.project_id)
        known = {g.name for g in self.state.groups.values() if g.project_id == caller.project_id}
        for name in sorted(names - known):
            raise ApiFault(400, f"Security group {name} not found for project {caller.project_id}.")
        return sorted(names)

    # --- changing

    async def update(self, request: web.Request) -> web.Response:
        """PUT /servers/ID: the name."""
        server = self.nova.server(request)
        given = await self.nova.body(request, "server")
        if "name" in given:
            if not str(given["name"]).strip():
                raise ApiFault(400, "Server name is an empty string")
            server.name = str(given["name"])
            server.updated_at = now()
        view = views.core(self.nova, server, self.nova.caller(request).project_id, extended=False)
        return json_answer({"server": view})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /servers/ID: 204 at once, gone a little later."""
        server, caller = self.nova.server(request), self.nova.caller(request)
        if server.locked and not caller.is_admin:
            raise ApiFault(409, f"Instance {server.id} is locked")
        server.actions.append(Action("delete", caller.request_id, caller.user_id, caller.project_id, now()))
        self.life.delete(server)
        return empty_answer(204, "application/json")

    # --- metadata

    async def metadata(self, request: web.Request) -> web.Response:
        """GET /servers/ID/metadata"""
        return json_answer({"metadata": dict(self.nova.server(request).metadata)})

    async def update_metadata(self, request: web.Request) -> web.Response:
        """POST /servers/ID/metadata: adds to what is there."""
        server = self.nova.server(request)
        given = await self.nova.body(request, "metadata")
        self._put_metadata(server, {**server.metadata, **{str(k): str(v) for k, v in given.items()}})
        return json_answer({"metadata": dict(server.metadata)})

    async def replace_metadata(self, request: web.Request) -> web.Response:
        """PUT /servers/ID/metadata: replaces what is there."""
        server = self.nova.server(request)
        given = await self.nova.body(request, "metadata")
        self._put_metadata(server, {str(k): str(v) for k, v in given.items()})
        return json_answer({"metadata": dict(server.metadata)})

    def _put_metadata(self, server: Server, metadata: dict[str, str], action: str = "update") -> None:
        if server.vm_state not in ("active", "paused", "suspended", "stopped"):
            raise ApiFault(409, f"Cannot '{action} metadata' while instance is in vm_state {server.vm_state}")
        limit = self.state.quota(server.project_id)["metadata_items"]
        if 0 <= limit < len(metadata):
            raise ApiFault(413, f"Maximum number of metadata items exceeds {limit}", retry_after="0")
        server.metadata = metadata
        server.updated_at = now()

    async def metadata_item(self, request: web.Request) -> web.Response:
        """GET /servers/ID/metadata/KEY"""
        key, metadata = request.match_info["key"], self.nova.server(request).metadata
        if key not in metadata:
            raise ApiFault(404, "Metadata item was not found")
        return json_answer({"meta": {key: metadata[key]}})

    async def set_metadata_item(self, request: web.Request) -> web.Response:
        """PUT /servers/ID/metadata/KEY"""
        key, server = request.match_info["key"], self.nova.server(request)
        given = await self.nova.body(request, "meta")
        if set(given) != {key}:
            raise ApiFault(400, "Request body and URI mismatch")
        self._put_metadata(server, {**server.metadata, key: str(given[key])})
        return json_answer({"meta": {key: server.metadata[key]}})

    async def delete_metadata_item(self, request: web.Request) -> web.Response:
        """DELETE /servers/ID/metadata/KEY"""
        key, server = request.match_info["key"], self.nova.server(request)
        if key not in server.metadata:
            raise ApiFault(404, "Metadata item was not found")
        self._put_metadata(server, {k: v for k, v in server.metadata.items() if k != key}, "delete")
        return empty_answer(204)

    # --- small reads

    async def ips(self, request: web.Request) -> web.Response:
        """GET /servers/ID/ips"""
        return json_answer({"addresses": views.addresses(self.nova, self.nova.server(request), extended=False)})

    async def ips_of(self, request: web.Request) -> web.Response:
        """GET /servers/ID/ips/NETWORK"""
        label = request.match_info["label"]
        found = views.addresses(self.nova, self.nova.server(request), extended=False)
        if label not in found:
            raise ApiFault(404, "Instance is not a member of specified network")
        return json_answer({label: found[label]})

    async def security_groups(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-security-groups"""
        server = self.nova.server(request)
        groups = [
            group_view(self.state, g)
            for g in self.state.groups.values()
            if g.project_id == server.project_id and g.name in server.security_groups
        ]
        return json_answer({"security_groups": groups})

    async def virtual_interfaces(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-virtual-interfaces"""
        server = self.nova.server(request)
        view = {"id": server.vif_id, "mac_address": server.mac}
        if self.state.release.server_usage:
            view["OS-EXT-VIF-NET:net_id"] = str(server.network_id)
        return json_answer({"virtual_interfaces": [view] if server.addresses else []})

    async def no_interfaces(self, request: web.Request) -> web.Response:
        """os-interface: not with nova-network."""
        self.nova.server(request)
        raise ApiFault(501, "Network driver does not support this function.")

    async def actions(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-instance-actions"""
        server = self.nova.server(request)
        return json_answer({"instanceActions": [self._action_view(server, a) for a in reversed(server.actions)]})

    async def action(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-instance-actions/REQUEST"""
        server, wanted = self.nova.server(request), request.match_info["request_id"]
        for action in server.actions:
            if action.request_id == wanted:
                view = self._action_view(server, action)
                if self.nova.caller(request).is_admin:
                    view["events"] = []
                return json_answer({"instanceAction": view})
        raise ApiFault(404, f"Action {wanted} not found")

    def _action_view(self, server: Server, action: Action) -> dict[str, Any]:
        return {
            "action": action.name,
            "instance_uuid": server.id,
            "message": action.message,
            "project_id": action.project_id,
            "request_id": action.request_id,
            "start_time": stamp_micro(action.start_at),
            "user_id": action.user_id,
        }

    async def diagnostics(self, request: web.Request) -> web.Response:
        """GET /servers/ID/diagnostics: made up, but plausible and steady."""
        self.nova.require_admin(request, "compute_extension:server_diagnostics")
        number = self.nova.server(request).number
        values = {"cpu0_time": 17300000000 + number, "memory": 524288}
        disk = {"errors": -1, "read": 262144, "read_req": 112, "write": 5778432, "write_req": 488}
        wire = {"rx": 2070139, "rx_drop": 0, "rx_errors": 0, "rx_packets": 26701}
        wire |= {"tx": 140208, "tx_drop": 0, "tx_errors": 0, "tx_packets": 662}
        values |= {f"vda_{k}": v for k, v in disk.items()} | {f"vnet1_{k}": v for k, v in wire.items()}
        return json_answer(values)

    async def password(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-server-password: never set by a guest here."""
        self.nova.server(request)
        return json_answer({"password": ""})

    async def volumes(self, request: web.Request) -> web.Response:
        """GET /servers/ID/os-volume_attachments, which needs no Cinder; nothing attaches any here."""
        server = self.nova.server(request)
        views = [
            {"id": volume, "volumeId": volume, "serverId": server.id, "device": f"/dev/vd{chr(ord('c') + number)}"}
            for number, volume in enumerate(server.volumes)
        ]
        return json_answer({"volumeAttachments": views})


def admin_pass() -> str:
    """A root password as Nova makes it; nothing keeps it."""
    return secrets.token_hex(6)


async def action_body(request: web.Request) -> tuple[str, Any]:
    """The one key of an action's body, and its value; 400 when there is no single one."""
    data = await read_json(request)
    if not isinstance(data, dict) or len(data) != 1:
        raise ApiFault(400, "There is no such action: ")
    return next(iter(data.items()))
