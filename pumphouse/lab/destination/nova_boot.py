"""Nova v2.1: ``POST /servers``, with all that is checked before a server is accepted."""

from __future__ import annotations

import secrets
import string
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.glance import can_see
from pumphouse.lab.destination.neutron_ports import taken
from pumphouse.lab.destination.nova import denied, links, minor
from pumphouse.lab.destination.nova_hosts import ZONE
from pumphouse.lab.destination.nova_machine import build
from pumphouse.lab.destination.nova_quotas import within_quota
from pumphouse.lab.destination.state import Caller, Cloud, Server
from pumphouse.lab.destination.web import (
    KEY_PATTERN,
    NAME,
    REQUEST_ID,
    Fault,
    Json,
    answer,
    is_uuid,
    new_id,
    now,
    read_json,
    validate,
)

_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_UUID = {"type": "string", "format": "uuid"}
_METADATA = {
    "type": "object",
    "patternProperties": {KEY_PATTERN: {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
_BASE: Json = {
    "name": NAME,
    "flavorRef": {"type": ["string", "integer"], "minLength": 1},
    "imageRef": {"oneOf": [_UUID, {"type": "string", "maxLength": 0}]},
    "adminPass": {"type": "string"},
    "metadata": _METADATA,
    "OS-DCF:diskConfig": {"type": "string", "enum": ["AUTO", "MANUAL"]},
    "accessIPv4": {"type": "string"},
    "accessIPv6": {"type": "string"},
    "availability_zone": _TEXT,
    "block_device_mapping": {"type": "array"},
    "block_device_mapping_v2": {"type": "array"},
    "config_drive": {"type": ["boolean", "string", "null"]},
    "key_name": {"type": ["string", "null"]},
    "min_count": {"type": ["integer", "string"]},
    "max_count": {"type": ["integer", "string"]},
    "return_reservation_id": {"type": ["boolean", "string"]},
    "security_groups": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT}}},
    "user_data": {"type": ["string", "null"], "maxLength": 65535},
}
_LATER: dict[str, tuple[int, Json]] = {
    "description": (19, {"type": ["string", "null"], "maxLength": 255}),
    "tags": (52, {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 60}, "maxItems": 50}),
    "trusted_image_certificates": (63, {"type": ["array", "null"]}),
    "host": (74, _TEXT),
    "hypervisor_hostname": (74, _TEXT),
    "hostname": (90, _TEXT),
}


def _schema(version: int) -> Json:
    properties = _BASE | {name: rule for name, (first, rule) in _LATER.items() if version >= first}
    nets: Json = {"type": "array", "items": {"type": "object"}}
    if version < 57:
        properties["personality"] = {"type": "array"}
    required = ["name", "flavorRef"]
    if version >= 37:
        nets = {"oneOf": [nets, {"type": "string", "enum": ["none", "auto"]}]}
        required.append("networks")
    properties["networks"] = nets
    server = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "object", "properties": {"server": server}, "required": ["server"]}


class Boot:
    """Handler of ``POST /servers``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [web.post("/v2.1/servers", self.create)]

    async def create(self, request: web.Request) -> web.Response:
        """``POST /servers``: 202 and a server in BUILD, or a refusal before anything is made."""
        caller = self.cloud.authenticate(request)
        body = await read_json(request)
        version = minor(request)
        validate(body, _schema(version))
        if not caller.may_write:
            raise denied("servers:create")
        given: Json = body["server"]
        zone, host = self._place(given, caller)
        for key in ("block_device_mapping", "block_device_mapping_v2"):
            if given.get(key):
                raise Fault(501, f"The simulated destination boots from images only, not by '{key}'.")
        flavor = self.cloud.compute.flavors.get(str(given["flavorRef"]))
        if flavor is None or not self._may_use(flavor, caller):
            raise Fault(400, f"Flavor {given['flavorRef']} could not be found.")
        image = self._image(given, flavor, caller)
        if given.get("key_name") and (caller.user_id, given["key_name"]) not in self.cloud.compute.keypairs:
            raise Fault(400, "Invalid key_name provided.")
        group_names = [group.get("name", "default") for group in given.get("security_groups", [])] or ["default"]
        group_ids = [self._group(name, caller) for name in group_names if name != "default"]
        networks = self._networks(given.get("networks", "auto" if version < 37 else "none"), caller)
        within_quota(self.cloud, caller.project_id, flavor)
        if len(given.get("metadata", {})) > self.cloud.compute.class_quotas["metadata_items"]:
            raise Fault(403, "Quota exceeded, too many metadata items.")
        self.cloud.compute.counter += 1
        moment = now()
        server = Server(
            id=new_id(),
            number=self.cloud.compute.counter,
            name=given["name"],
            project_id=caller.project_id,
            user_id=caller.user_id,
            flavor=flavor | {"extra_specs": dict(flavor["extra_specs"])},
            image_id=image["id"],
            image_properties=_image_properties(image),
            key_name=given.get("key_name"),
            metadata=dict(given.get("metadata", {})),
            created_at=moment,
            updated_at=moment,
            reservation_id="r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8)),
            wanted_zone=zone,
            wanted_host=host,
            group_ids=group_ids,
            description=given.get("description", given["name"] if version < 19 else None),
            config_drive=str(given.get("config_drive") or "").lower() in ("true", "1"),
            user_data=given.get("user_data"),
            disk_config=given.get("OS-DCF:diskConfig", "MANUAL"),
            tags=list(given.get("tags", [])),
            hints=body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {},
        )
        server.actions.append(action_record(server, "create", request, caller))
        self.cloud.compute.servers[server.id] = server
        self.cloud.spawn(build(self.cloud, server, networks))
        shown: Json = {
            "id": server.id,
            "links": links(self.cloud, "servers", server.id),
            "OS-DCF:diskConfig": server.disk_config,
            "security_groups": [{"name": name} for name in group_names],
            "adminPass": given.get("adminPass") or secrets.token_urlsafe(9)[:12],
        }
        return answer({"server": shown}, 202, {"location": shown["links"][0]["href"]})

    def _place(self, given: Json, caller: Caller) -> tuple[str | None, str | None]:
        """Zone and host asked for: ``nova:node-2``, or ``host`` from 2.74 on, are an administrator's."""
        zone, _, host = (given.get("availability_zone") or "").partition(":")
        host = host or given.get("host") or given.get("hypervisor_hostname") or ""
        if host and not caller.is_admin:
            if ":" in (given.get("availability_zone") or ""):
                raise denied("servers:create:forced_host")
            raise Fault(403, "Policy doesn't allow compute:servers:create:requested_destination to be performed.")
        if zone and zone != ZONE:
            raise Fault(400, "The requested availability zone is not available")
        names = [item.name for item in self.cloud.compute.hosts]
        if host and host not in names:
            raise Fault(400, f"Compute host {host} could not be found.")
        return zone or None, host or None

    def _may_use(self, flavor: Json, caller: Caller) -> bool:
        access = self.cloud.compute.flavor_access[flavor["id"]]
        return caller.is_admin or flavor["is_public"] or caller.project_id in access

    def _image(self, given: Json, flavor: Json, caller: Caller) -> Json:
        wanted = given.get("imageRef") or ""
        if not wanted:
            raise Fault(400, "Missing imageRef attribute")
        image = self.cloud.image.images.get(wanted)
        if image is None or not can_see(self.cloud, image, caller):
            raise Fault(400, "Can not find requested image")
        if image["status"] != "active":
            raise Fault(400, f"Image {wanted} is not active.")
        if flavor["ram"] < image["min_ram"]:
            raise Fault(400, "Flavor's memory is too small for requested image.")
        disk = flavor["disk"]
        if disk:
            if (image["size"] or 0) > disk << 30:
                message = (
                    "Flavor's disk is too small for requested image. Flavor disk is "
                    f"{disk << 30} bytes, image is {image['size']} bytes."
                )
                raise Fault(400, message)
            if image["min_disk"] > disk:
                message = (
                    "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is "
                    f"{disk << 30} bytes, minimum size is {image['min_disk'] << 30} bytes."
                )
                raise Fault(400, message)
        return image

    def _group(self, name: str, caller: Caller) -> str:
        own = [item for item in self.cloud.network.groups.values() if item["project_id"] == caller.project_id]
        found = [item["id"] for item in own if name in (item["id"], item["name"])]
        if not found:
            raise Fault(400, f"Unable to find security_group with name or id '{name}'")
        if len(found) > 1 and name not in found:
            raise Fault(
                409, f"Multiple security_groups matches found for name '{name}', use an ID to be more specific."
            )
        return str(found[0])

    def _networks(self, wanted: Any, caller: Caller) -> list[Json]:
        data = self.cloud.network
        if wanted == "none":
            return []
        if wanted == "auto" or wanted == []:
            mine = [
                {"uuid": item["id"]}
                for item in data.networks.values()
                if item["project_id"] == caller.project_id and not item["router:external"]
            ]
            if len(mine) > 1:
                raise Fault(409, "Multiple possible networks found, use a Network ID to be more specific.")
            return mine
        for item in wanted:
            if "port" in item and item["port"] is not None:
                self._port(item, caller)
            else:
                item.pop("port", None)
                self._network(item, caller)
        ports = [item["port"] for item in wanted if "port" in item]
        if len(ports) != len(set(ports)):
            raise Fault(400, f"Port {ports[0]} is still in use.")
        return [dict(item) for item in wanted]

    def _port(self, item: Json, caller: Caller) -> None:
        port = self.cloud.network.ports.get(item["port"])
        if port is None or not caller.sees(port["project_id"]):
            raise Fault(400, f"Port id {item['port']} could not be found.")
        if port["device_id"]:
            raise Fault(409, f"Port {item['port']} is still in use.")
        if item.get("fixed_ip"):
            raise Fault(400, f"Specified Fixed IP '{item['fixed_ip']}' cannot be used with port '{item['port']}': "
                             "the two cannot be specified together.")  # fmt: skip
        if not port["fixed_ips"]:
            raise Fault(400, f"Port {item['port']} requires a FixedIP in order to be used.")

    def _network(self, item: Json, caller: Caller) -> None:
        wanted = item.get("uuid")
        if not is_uuid(wanted):
            raise Fault(400, f"Bad networks format: network uuid is not in proper format ({wanted})")
        network = self.cloud.network.networks.get(str(wanted))
        known = network is not None and (caller.sees(network["project_id"]) or network["shared"])
        if network is None or not known:
            raise Fault(400, f"Network {wanted} could not be found.")
        if network["router:external"] and not caller.is_admin:
            raise Fault(403, f"It is not allowed to create an interface on external network {wanted}")
        if not any(subnet["network_id"] == wanted for subnet in self.cloud.network.subnets.values()):
            raise Fault(400, f"Network {wanted} requires a subnet in order to boot instances on.")
        address = item.get("fixed_ip")
        if address and address in taken(self.cloud, str(wanted)):
            raise Fault(400, f"Fixed IP address {address} is already in use on instance .")


def action_record(server: Server, action: str, request: web.Request, caller: Caller) -> Json:
    """An entry of a server's list of actions."""
    return {
        "action": action,
        "instance_uuid": server.id,
        "request_id": request[REQUEST_ID],
        "user_id": caller.user_id,
        "project_id": caller.project_id,
        "start_time": now().strftime("%Y-%m-%dT%H:%M:%S.000000"),
        "message": None,
    }


def _image_properties(image: Json) -> Json:
    return {key: value for key, value in image["properties"].items() if key.startswith(("hw_", "os_", "img_"))}
