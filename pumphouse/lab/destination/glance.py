"""Glance v2 (API 2.17): version documents and image records."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import Fault, Json, answer, empty, new_id, now, read_json, stamp, truthy

_MINORS = (15, 13, 12, 11, 10, 9, 8, 17, 7, 6, 5, 4, 3, 2, 1, 0)
_DISK_FORMATS: list[Any] = [None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"]
_CONTAINER_FORMATS: list[Any] = [None, "ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"]
_VISIBILITIES: list[Any] = ["community", "public", "private", "shared"]
_READ_ONLY = (
    "status",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "size",
    "virtual_size",
    "created_at",
    "updated_at",
    "self",
    "file",
    "schema",
    "direct_url",
    "stores",
)
_ID_PATTERN = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_BASE = (
    "name",
    "disk_format",
    "container_format",
    "visibility",
    "size",
    "virtual_size",
    "status",
    "checksum",
    "protected",
    "min_ram",
    "min_disk",
    "owner",
    "os_hidden",
    "os_hash_algo",
    "os_hash_value",
    "id",
    "created_at",
    "updated_at",
    "tags",
    "stores",
)
_PATCH_TYPES = (
    "application/openstack-images-v2.0-json-patch",
    "application/openstack-images-v2.1-json-patch",
)
_PAGE, _MAX_PAGE = 25, 1000
_CONFLICT = "There was a conflict when trying to complete your request."
_UNSUPPORTED = "The request media type {} is not supported by this server. "


class Images:
    """Handlers of ``/v2/images`` records."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.data = cloud.image

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            web.get("/", self.versions),
            web.get("/versions", self.versions),
            web.get("/v2", self.moved),
            web.get("/v2/images", self.index),
            web.post("/v2/images", self.create),
            web.get("/v2/images/{id}", self.show),
            web.patch("/v2/images/{id}", self.update),
            web.delete("/v2/images/{id}", self.delete),
            web.get("/v2/info/stores", self.stores),
            web.get("/v2/info/import", self.imports),
            web.get("/v2/schemas/member", self.member_schema),
            web.get("/v2/schemas/image", self.image_schema),
        ]

    async def versions(self, request: web.Request) -> web.Response:
        """``GET /`` and ``GET /versions``."""
        href = f"{self.cloud.urls['image']}/v2/"
        documents = [
            {
                "id": f"v2.{minor}",
                "status": "CURRENT" if minor == 17 else "SUPPORTED",
                "links": [{"rel": "self", "href": href}],
            }
            for minor in _MINORS
        ]
        return answer({"versions": documents}, 300 if request.path == "/" else 200)

    async def moved(self, request: web.Request) -> web.Response:
        """``GET /v2``."""
        headers = {"Location": f"{self.cloud.urls['image']}/v2/"}
        return web.Response(status=302, headers=headers, content_type="text/plain")

    async def stores(self, request: web.Request) -> web.Response:
        """``GET /v2/info/stores``."""
        self.cloud.authenticate(request)
        return answer({"stores": [{"id": "file", "default": "true"}]})

    async def imports(self, request: web.Request) -> web.Response:
        """``GET /v2/info/import``."""
        self.cloud.authenticate(request)
        methods = ["glance-direct", "web-download", "copy-image"]
        described = {"description": "Import methods available.", "type": "array", "value": methods}
        return answer({"import-methods": described})

    async def image_schema(self, request: web.Request) -> web.Response:
        """``GET /v2/schemas/image``: as Glance 33 answers it."""
        self.cloud.authenticate(request)
        file = resources.files("pumphouse.lab.destination") / "image_schema.json"
        return answer(json.loads(file.read_text(encoding="utf-8")))

    async def member_schema(self, request: web.Request) -> web.Response:
        """``GET /v2/schemas/member``."""
        self.cloud.authenticate(request)
        text = {"type": "string"}
        properties = {
            "member_id": text | {"description": "An identifier for the image member (tenantId)"},
            "image_id": text | {"description": "An identifier for the image", "pattern": _ID_PATTERN},
            "created_at": text | {"description": "Date and time of image member creation"},
            "updated_at": text | {"description": "Date and time of last modification of image member"},
            "status": text
            | {"description": "The status of this image member", "enum": ["pending", "accepted", "rejected"]},
            "schema": {"readOnly": True, "type": "string"},
        }
        return answer({"name": "member", "properties": properties})

    async def index(self, request: web.Request) -> web.Response:
        """``GET /v2/images``: newest first, 25 a page unless told otherwise."""
        caller = self.cloud.authenticate(request)
        query = request.query
        limit = _PAGE
        if "limit" in query:
            if not re.fullmatch(r"-?\d+", query["limit"]):
                raise Fault(400, "limit param must be an integer")
            if int(query["limit"]) < 0:
                raise Fault(400, "limit param must be positive")
            limit = min(int(query["limit"]), _MAX_PAGE)
        found = [item for item in self.data.images.values() if self._listed(item, caller, request)]
        found = self._sorted(found, request)
        if "marker" in query:
            places = [place for place, item in enumerate(found) if item["id"] == query["marker"]]
            if not places:
                raise Fault(400, f"No image found with ID {query['marker']}")
            found = found[places[0] + 1 :]
        page = found[:limit]
        body: Json = {
            "images": [image_view(item) for item in page],
            "first": _link([(key, value) for key, value in query.items() if key != "marker"]),
            "schema": "/v2/schemas/images",
        }
        if page and len(page) == limit:
            kept = [(key, value) for key, value in query.items() if key != "marker"]
            body["next"] = _link([*kept, ("marker", page[-1]["id"])])
        return answer(body)

    def _sorted(self, found: list[Json], request: web.Request) -> list[Json]:
        pairs: list[tuple[str, str]] = []
        for entry in request.query.getall("sort", []):
            for part in entry.split(","):
                key, _, direction = part.partition(":")
                pairs.append((key, direction or "desc"))
        keys = request.query.getall("sort_key", [])
        directions = request.query.getall("sort_dir", [])
        for place, key in enumerate(keys):
            default = directions[-1] if directions else "desc"
            pairs.append((key, directions[place] if place < len(directions) else default))
        found = sorted(found, key=lambda item: self.data.order[item["id"]], reverse=True)
        for key, direction in reversed(pairs):
            if key not in _BASE:
                raise Fault(400, f"Invalid sort key: {key}. It must be one of the image's own attributes.")
            found.sort(key=lambda item: (item[key] is not None, item[key] or ""), reverse=direction == "desc")
        return found

    def _listed(self, image: Json, caller: Caller, request: web.Request) -> bool:
        query = request.query
        member_status = query.get("member_status", "accepted")
        if not caller.is_admin and image["owner"] != caller.project_id:
            member = self.data.members[image["id"]].get(caller.project_id)
            shared = member is not None and member_status in (member["status"], "all")
            wanted = query.get("visibility")
            public = image["visibility"] == "public" or (image["visibility"] == wanted == "community")
            if not public and not (shared and image["visibility"] == "shared"):
                return False
        hidden = truthy(query.get("os_hidden", "false"))
        return image["os_hidden"] == hidden and all(
            _matches(image, key, value) for key, value in query.items() if key not in _PAGING
        )

    async def create(self, request: web.Request) -> web.Response:
        """``POST /v2/images``: the id may be chosen (409 if it was ever used), by administrators the owner too."""
        caller = self.cloud.authenticate(request)
        if not caller.may_write:
            raise Fault(403, "You are not authorized to complete add_image action.")
        given = await read_json(request)
        for name in given:
            if name in _READ_ONLY:
                raise Fault(403, f"Attribute '{name}' is read-only.")
        for name, value in given.items():
            _check(name, value)
        owner = given.pop("owner", caller.project_id)
        if not caller.is_admin and owner != caller.project_id:
            raise Fault(
                403,
                f"You are not permitted to create images owned by '{owner}'",
                lead="Access was denied to this resource.",
            )
        visibility = given.pop("visibility", "shared")
        _check_visibility(caller, visibility)
        image_id = str(given.pop("id", new_id())).lower()
        if image_id in self.data.used_ids:
            raise Fault(409, f"Image ID {image_id} already exists!")
        moment = stamp(now())
        image: Json = dict.fromkeys(_BASE)
        image |= {
            "id": image_id,
            "visibility": visibility,
            "owner": owner,
            "status": "queued",
            "created_at": moment,
            "updated_at": moment,
            "tags": [],
            "protected": False,
            "os_hidden": False,
            "min_ram": 0,
            "min_disk": 0,
            "properties": {},
        }
        for name, value in given.items():
            (image if name in _BASE else image["properties"])[name] = value
        self.data.images[image_id] = image
        self.data.members[image_id] = {}
        self.data.used_ids.add(image_id)
        self.data.order[image_id] = len(self.data.order)
        headers = {"Location": f"{self.cloud.urls['image']}/v2/images/{image_id}"}
        return answer(image_view(image), 201, headers)

    def visible(self, request: web.Request, caller: Caller) -> Json:
        """The image of this request; 404 where the caller may not know of it."""
        image = self.data.images.get(request.match_info["id"])
        if image is None or not can_see(self.cloud, image, caller):
            raise Fault(404, f"No image found with ID {request.match_info['id']}")
        return image

    def writable(self, request: web.Request, caller: Caller, action: str) -> Json:
        """The image of this request, if the caller may change it."""
        image = self.visible(request, caller)
        if not caller.is_admin and (image["owner"] != caller.project_id or not caller.may_write):
            raise Fault(403, f"You are not authorized to complete {action} action.")
        return image

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v2/images/{id}``."""
        return answer(image_view(self.visible(request, self.cloud.authenticate(request))))

    async def update(self, request: web.Request) -> web.Response:
        """``PATCH /v2/images/{id}``: a JSON patch."""
        caller = self.cloud.authenticate(request)
        if request.content_type not in _PATCH_TYPES:
            raise Fault(
                415,
                f"Image PATCH expects Content-Type one of: {', '.join(_PATCH_TYPES)}",
                lead=_UNSUPPORTED.format(request.content_type),
            )
        changes = await request.json()
        if not isinstance(changes, list):
            raise Fault(400, "Request body must be a JSON array of operation objects.")
        image = self.writable(request, caller, "modify_image")
        copy = image | {"properties": dict(image["properties"]), "tags": list(image["tags"])}
        for change in changes:
            _apply(copy, change, caller)
        copy["updated_at"] = stamp(now())
        image.update(copy)
        return answer(image_view(image))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /v2/images/{id}``: the id stays used for ever."""
        caller = self.cloud.authenticate(request)
        image = self.data.images.get(request.match_info["id"])
        if image is None or not can_see(self.cloud, image, caller):
            raise Fault(404, f"Failed to find image {request.match_info['id']} to delete")
        self.writable(request, caller, "delete_image")
        if image["protected"]:
            raise Fault(403, f"Image {image['id']} is protected and cannot be deleted.")
        del self.data.images[image["id"]], self.data.members[image["id"]]
        (self.data.folder / image["id"]).unlink(missing_ok=True)
        return empty(204, "text/html")


_PAGING = ("limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "os_hidden")


def _link(query: list[tuple[str, str]]) -> str:
    return "/v2/images" + (f"?{'&'.join(f'{key}={value}' for key, value in query)}" if query else "")


def _matches(image: Json, key: str, value: str) -> bool:
    if key == "tag":
        return value in image["tags"]
    if key in ("size_min", "size_max"):
        size = image["size"] or 0
        return size >= int(value) if key == "size_min" else size <= int(value)
    if key == "visibility" and value == "all":
        return True
    if key in ("created_at", "updated_at"):
        return True
    stored = image[key] if key in _BASE else image["properties"].get(key)
    if isinstance(stored, bool):
        return stored == truthy(value)
    if value.startswith("in:") and key in ("id", "name", "status", "disk_format", "container_format"):
        return str(stored) in value.removeprefix("in:").split(",")
    return stored is not None and str(stored) == value


def image_view(image: Json) -> Json:
    """An image as it is shown: its free properties beside its own attributes."""
    shown: Json = dict(image["properties"])
    shown |= {key: image[key] for key in _BASE if key != "stores"}
    path = f"/v2/images/{image['id']}"
    shown |= {"self": path, "file": f"{path}/file", "schema": "/v2/schemas/image"}
    return shown | ({"stores": image["stores"]} if image["stores"] else {})


def can_see(cloud: Cloud, image: Json, caller: Caller) -> bool:
    """Whether a caller may read an image."""
    if caller.sees(image["owner"]) or image["visibility"] in ("public", "community"):
        return True
    return image["visibility"] == "shared" and caller.project_id in cloud.image.members[image["id"]]


def _check_visibility(caller: Caller, visibility: object) -> None:
    if visibility == "public" and not caller.is_admin:
        raise Fault(403, "You are not authorized to complete publicize_image action.")


def _check(name: str, value: Any) -> None:
    choices = {
        "disk_format": _DISK_FORMATS,
        "container_format": _CONTAINER_FORMATS,
        "visibility": _VISIBILITIES,
    }.get(name)
    lead = "Provided object does not match schema 'image': "
    if choices is not None:
        if value not in choices:
            raise Fault(400, f"{lead}{value!r} is not one of {choices!r}")
    elif name == "id":
        if not re.match(_ID_PATTERN, str(value)):
            raise Fault(400, f"{lead}{value!r} does not match {_ID_PATTERN!r}")
    elif name in ("min_disk", "min_ram"):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Fault(400, f"{lead}{value!r} is not of type 'integer'")
    elif name in ("protected", "os_hidden"):
        if not isinstance(value, bool):
            raise Fault(400, f"{lead}{value!r} is not of type 'boolean'")
    elif name == "tags":
        if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
            raise Fault(400, f"{lead}{value!r} is not of type 'array'")
    elif not isinstance(value, str) and not (value is None and name in ("name", "owner")):
        raise Fault(400, f"{lead}{value!r} is not of type 'string'")


def _apply(image: Json, change: Any, caller: Caller) -> None:
    if not isinstance(change, dict) or not str(change.get("path", "")).startswith("/"):
        raise Fault(400, "Operations must be JSON objects with a path.")
    name = str(change["path"])[1:].replace("~1", "/").replace("~0", "~")
    operation = change.get("op")
    if name in _READ_ONLY or name == "id":
        raise Fault(403, f"Attribute '{name}' is read-only.")
    if operation == "remove":
        if name in _BASE:
            raise Fault(403, f"Property '{name}' is reserved.")
        if name not in image["properties"]:
            raise Fault(409, f"Property {name} does not exist.", lead=_CONFLICT)
        del image["properties"][name]
        return
    if operation not in ("add", "replace"):
        raise Fault(400, f"Unable to find '{operation}' among the operations add, replace, remove.")
    value = change.get("value")
    _check(name, value)
    if name in _BASE:
        if name == "visibility":
            _check_visibility(caller, value)
        if name == "owner" and not caller.is_admin:
            raise Fault(403, "Owner can't be updated by non admin.")
        if name in ("disk_format", "container_format") and image["status"] != "queued":
            raise Fault(403, f"Attribute {name} can be only replaced for a queued image.")
        image[name] = value
        return
    if operation == "replace" and name not in image["properties"]:
        raise Fault(409, f"Property {name} does not exist.", lead=_CONFLICT)
    image["properties"][name] = value
