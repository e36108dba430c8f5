"""Glance v2: images, files, members, tags, schemas."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from pumphouse.lab.source.glance import (
    CHUNK_BYTES,
    CONTAINER_FORMATS,
    DISK_FORMATS,
    JSON_UTF8,
    PAGE_DEFAULT,
    PAGE_MAX,
    Glance,
    receive,
    send,
)
from pumphouse.lab.source.state import Image, Member, now
from pumphouse.lab.source.wire import CALLER, ApiFault, Caller, empty_answer, json_answer, read_json, stamp

_BASE = ("name", "visibility", "protected", "min_disk", "min_ram", "container_format", "disk_format", "tags")
_READ_ONLY = (
    *("status", "size", "checksum", "virtual_size", "created_at", "updated_at", "file", "self", "schema"),
    *("direct_url", "locations"),
)
_RESERVED = ("owner", "is_public", "deleted", "deleted_at")
_LIST_PARAMS = ("limit", "marker", "sort_key", "sort_dir", "visibility", "member_status", "size_min", "size_max")


def add_routes(app: web.Application, glance: Glance) -> None:
    """Mount v2."""
    api = GlanceV2(glance)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v2/images", api.images)
    post("/v2/images", api.create)
    get("/v2/images/{id}", api.image)
    app.router.add_patch("/v2/images/{id}", api.update)
    delete("/v2/images/{id}", api.delete)
    get("/v2/images/{id}/file", api.download)
    put("/v2/images/{id}/file", api.upload)
    get("/v2/images/{id}/members", api.members)
    post("/v2/images/{id}/members", api.add_member)
    put("/v2/images/{id}/members/{member}", api.update_member)
    delete("/v2/images/{id}/members/{member}", api.delete_member)
    put("/v2/images/{id}/tags/{tag}", api.add_tag)
    delete("/v2/images/{id}/tags/{tag}", api.delete_tag)
    get("/v2/schemas/{name}", api.schema)


def image_view(image: Image, *, with_owner: bool) -> dict[str, Any]:
    """An image as v2 shows it: empty attributes are left out, custom properties lie flat behind the others.

    That they come last matters: openstacksdk takes ``owner_id`` for another name of ``owner``, and the last one wins.
    """
    view: dict[str, Any] = {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": "public" if image.is_public else "private",
        "protected": image.protected,
        "checksum": image.checksum,
        "size": image.size,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "tags": sorted(image.tags),
        "created_at": stamp(image.created_at),
        "updated_at": stamp(image.updated_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
        "owner": image.owner if with_owner else None,
    }
    return {key: value for key, value in view.items() if value is not None} | image.properties


class GlanceV2:
    """The handlers."""

    def __init__(self, glance: Glance) -> None:
        self.glance = glance
        self.state = glance.state

    def _answer(self, data: Any, status: int = 200) -> web.Response:
        return json_answer(data, status, content_type=JSON_UTF8)

    def _view(self, image: Image) -> dict[str, Any]:
        return image_view(image, with_owner=self.state.release.image_v2_extra)

    def _get(self, request: web.Request) -> Image:
        image = self.state.images.get(request.match_info["id"])
        if image is None or not self.glance.may_see(request[CALLER], image):
            raise ApiFault(404, self.state.release.glance_not_found.format(request.match_info["id"]))
        return image

    def _get_to_change(self, request: web.Request) -> Image:
        image = self._get(request)
        if not self.glance.may_change(request[CALLER], image):
            raise ApiFault(403, "You are not permitted to modify this image.")
        return image

    # --- listing

    async def images(self, request: web.Request) -> web.Response:
        """GET /v2/images; an unknown query key is a custom property to match."""
        caller: Caller = request[CALLER]
        query = request.query
        sort_key, sort_dir = query.get("sort_key", "created_at"), query.get("sort_dir", "desc")
        if sort_key not in (
            "created_at",
            "updated_at",
            "name",
            "status",
            "id",
            "size",
            "container_format",
            "disk_format",
        ):
            raise ApiFault(400, f"Invalid sort key: {sort_key}")
        limit = self._limit(query.get("limit"))
        found = [i for i in self.state.images.values() if self._matches(caller, i, query)]
        found = self.glance.ordered(found, sort_key, sort_dir)
        if "marker" in query:
            ids = [i.id for i in found]
            if query["marker"] not in ids:
                raise ApiFault(400, f"Invalid marker. Image {query['marker']} could not be found.")
            found = found[ids.index(query["marker"]) + 1 :]
        page = found[:limit]
        rest = {key: value for key, value in query.items() if key != "marker"}
        body: dict[str, Any] = {
            "images": [self._view(i) for i in page],
            "first": f"/v2/images?{urlencode(rest)}" if rest else "/v2/images",
            "schema": "/v2/schemas/images",
        }
        if page and len(page) == limit:
            body["next"] = f"/v2/images?{urlencode({'marker': page[-1].id, **rest})}"
        return self._answer(body)

    def _limit(self, text: str | None) -> int:
        if text is None:
            return PAGE_DEFAULT
        if not text.lstrip("-").isdigit():
            raise ApiFault(400, "limit param must be an integer")
        if int(text) < 0:
            raise ApiFault(400, "limit param must be positive")
        return min(int(text), PAGE_MAX)

    def _matches(self, caller: Caller, image: Image, query: Any) -> bool:
        visibility = query.get("visibility")
        if visibility == "shared":
            status = query.get("member_status", "accepted")
            member = image.members.get(caller.project_id)
            if caller.is_admin:
                if not image.members or not self.state.release.shared_for_admin:
                    return False
            elif member is None or status not in ("all", member.status):
                return False
        else:
            if visibility is not None and image.is_public != (visibility == "public"):
                return False
            if not self.glance.lists(caller, image, query.get("member_status", "accepted")):
                return False
        view = {**self._view(image), "owner": image.owner}
        if int(query.get("size_min", 0)) > (image.size or 0):
            return False
        if "size_max" in query and int(query["size_max"]) < (image.size or 0):
            return False
        for key, value in query.items():
            if key in _LIST_PARAMS:
                continue
            if key == "tag":
                if value not in image.tags:
                    return False
            elif str(view.get(key)) != value:
                return False
        return True

    # --- records

    async def image(self, request: web.Request) -> web.Response:
        """GET /v2/images/ID"""
        return self._answer(self._view(self._get(request)))

    async def create(self, request: web.Request) -> web.Response:
        """POST /v2/images"""
        caller: Caller = request[CALLER]
        given = await read_json(request)
        if not isinstance(given, dict):
            raise ApiFault(400, "Malformed JSON in request body.")
        if "id" in given:
            raise ApiFault(500)  # Icehouse fails on its own schema pattern here
        image = Image(id=self.state.new_uuid(), name=None, owner=caller.project_id)
        for key, value in given.items():
            self._assign(image, key, value)
        self.state.images[image.id] = image
        answer = self._answer(self._view(image), 201)
        answer.headers["Location"] = f"{self.state.endpoints.glance}/v2/images/{image.id}"
        return answer

    def _assign(self, image: Image, key: str, value: Any) -> None:
        if key in _RESERVED:
            raise ApiFault(403, f"Attribute '{key}' is reserved.")
        if key in _READ_ONLY:
            raise ApiFault(403, f"Attribute '{key}' is read-only.")
        if key == "visibility":
            self._check_enum(key, value, ("public", "private"))
            image.is_public = value == "public"
        elif key == "tags":
            if not isinstance(value, list):
                raise _schema_fault(f"{value!r} is not of type 'array'")
            image.tags = [str(tag) for tag in value]
        elif key in ("min_disk", "min_ram"):
            if not isinstance(value, int) or isinstance(value, bool):
                raise _schema_fault(f"{value!r} is not of type 'integer'")
            setattr(image, key, value)
        elif key == "protected":
            if not isinstance(value, bool):
                raise _schema_fault(f"{value!r} is not of type 'boolean'")
            image.protected = value
        elif key in ("disk_format", "container_format"):
            self._check_enum(key, value, DISK_FORMATS if key == "disk_format" else CONTAINER_FORMATS)
            setattr(image, key, value)
        elif not isinstance(value, str):
            raise _schema_fault(f"{value!r} is not of type 'string'")
        elif key == "name":
            image.name = value
        else:
            image.properties[key] = value

    def _check_enum(self, key: str, value: Any, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise _schema_fault(
                f"u{value!r} is not one of {list(allowed)!r}\n\n"
                f"Failed validating 'enum' in schema['properties']['{key}']"
            )

    async def update(self, request: web.Request) -> web.Response:
        """PATCH /v2/images/ID; ``add`` of what exists and ``replace`` of what does not are conflicts."""
        kind = request.headers.get("Content-Type", "").split(";")[0]
        if kind not in (
            "application/openstack-images-v2.1-json-patch",
            "application/openstack-images-v2.0-json-patch",
        ):
            raise ApiFault(415, "Only the media types of image patches are supported here.")
        image = self._get_to_change(request)
        changes = await read_json(request)
        if not isinstance(changes, list):
            raise ApiFault(400, "Request body must be a JSON array of operation objects.")
        for change in changes:
            operation = next((o for o in ("add", "replace", "remove") if change.get("op") == o or o in change), None)
            path = str(change.get("path") or change.get(operation or "", "")).lstrip("/").replace("~1", "/")
            known = path in _BASE or path in _READ_ONLY or path in _RESERVED or path == "id"
            if operation is None or not path:
                raise ApiFault(400, "Operation objects must hold one of add, remove or replace.")
            if operation == "add" and (known or path in image.properties):
                raise ApiFault(409, None, detail=f"Property {path} already present.")
            if operation in ("replace", "remove") and not known and path not in image.properties:
                raise ApiFault(409, None, detail=f"Property {path} does not exist.")
            if operation == "remove":
                if known:
                    raise ApiFault(403, f"Property {path} may not be removed.")
                del image.properties[path]
            else:
                if path == "id":
                    raise ApiFault(403, "Attribute 'id' is read-only.")
                self._assign(image, path, change.get("value"))
        image.updated_at = now()
        return self._answer(self._view(image))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v2/images/ID"""
        image = self._get_to_change(request)
        if image.protected:
            raise ApiFault(403, f"Image {image.id} is protected and cannot be deleted.")
        self.glance.delete(image)
        return empty_answer(204)

    # --- data

    async def upload(self, request: web.Request) -> web.Response:
        """PUT /v2/images/ID/file"""
        image = self._get_to_change(request)
        if image.status != "queued":
            raise ApiFault(409, f"Image status transition from {image.status} to saving is not allowed")
        await receive(self.state, image, request.content.iter_chunked(CHUNK_BYTES))
        return empty_answer(204)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/images/ID/file; an image without data gives 204 in Icehouse, 404 before."""
        image = self._get(request)
        if image.status != "active" or image.checksum is None:
            if self.state.release.queued_file_status == 204:
                return empty_answer(204)
            raise ApiFault(404, None, detail="No image data could be found")
        return await send(self.state, request, image, {"Content-MD5": image.checksum})

    # --- members and tags

    def _member_view(self, image: Image, member: Member) -> dict[str, Any]:
        return {
            "image_id": image.id,
            "member_id": member.project_id,
            "status": member.status,
            "created_at": stamp(member.created_at),
            "updated_at": stamp(member.updated_at),
            "schema": "/v2/schemas/member",
        }

    def _private(self, request: web.Request) -> Image:
        image = self._get(request)
        if image.is_public:
            raise ApiFault(403, "Public images do not have members.")
        return image

    async def members(self, request: web.Request) -> web.Response:
        """GET /v2/images/ID/members; a member sees only himself."""
        caller: Caller = request[CALLER]
        image = self._private(request)
        seen = [
            m
            for m in image.members.values()
            if self.glance.may_change(caller, image) or m.project_id == caller.project_id
        ]
        views = [self._member_view(image, m) for m in seen]
        return self._answer({"members": views, "schema": "/v2/schemas/members"})

    async def add_member(self, request: web.Request) -> web.Response:
        """POST /v2/images/ID/members"""
        image = self._private(request)
        if not self.glance.may_change(request[CALLER], image):
            raise ApiFault(403, "You are not permitted to create image member for the image.")
        given = await read_json(request)
        if not isinstance(given, dict) or not isinstance(given.get("member"), str):
            raise ApiFault(400, "Member to be added not specified.")
        if given["member"] in image.members:
            raise ApiFault(409, f"Image member {given['member']} already associated with image {image.id}")
        member = Member(given["member"], now(), now())
        image.members[member.project_id] = member
        return self._answer(self._member_view(image, member))

    async def update_member(self, request: web.Request) -> web.Response:
        """PUT /v2/images/ID/members/PROJECT: the member, or an administrator, accepts or rejects."""
        caller: Caller = request[CALLER]
        image = self._private(request)
        member = image.members.get(request.match_info["member"])
        if member is None:
            raise ApiFault(404)
        if not caller.is_admin and caller.project_id != member.project_id:
            raise ApiFault(403, "You are not permitted to update image member.")
        given = await read_json(request)
        if not isinstance(given, dict) or given.get("status") not in ("pending", "accepted", "rejected"):
            raise ApiFault(400, "Status not specified.")
        member.status, member.updated_at = given["status"], now()
        return self._answer(self._member_view(image, member))

    async def delete_member(self, request: web.Request) -> web.Response:
        """DELETE /v2/images/ID/members/PROJECT"""
        image = self._private(request)
        if not self.glance.may_change(request[CALLER], image):
            raise ApiFault(403, "You cannot delete image member.")
        if image.members.pop(request.match_info["member"], None) is None:
            raise ApiFault(404)
        return empty_answer(204)

    async def add_tag(self, request: web.Request) -> web.Response:
        """PUT /v2/images/ID/tags/TAG"""
        image = self._get_to_change(request)
        if request.match_info["tag"] not in image.tags:
            image.tags.append(request.match_info["tag"])
        return empty_answer(204)

    async def delete_tag(self, request: web.Request) -> web.Response:
        """DELETE /v2/images/ID/tags/TAG"""
        image = self._get_to_change(request)
        if request.match_info["tag"] not in image.tags:
            raise ApiFault(404)
        image.tags.remove(request.match_info["tag"])
        return empty_answer(204)

    async def schema(self, request: web.Request) -> web.Response:
        """GET /v2/schemas/image and /images"""
        text = resources.files("pumphouse.lab.source").joinpath("image_schema.json").read_text(encoding="utf-8")
        image = json.loads(text)
        release = self.state.release
        if not release.image_v2_extra:
            for key in ("owner", "virtual_size"):
                image["properties"].pop(key)
        if not release.image_schema_locations:
            image["properties"].pop("locations")
            for key in ("self", "file", "schema"):
                image["properties"][key].pop("description")
        if request.match_info["name"] == "image":
            return self._answer(image)
        if request.match_info["name"] != "images":
            raise ApiFault(404)
        return self._answer(
            {
                "name": "images",
                "properties": {
                    "images": {"type": "array", "items": image},
                    "first": {"type": "string"},
                    "next": {"type": "string"},
                    "schema": {"type": "string"},
                },
                "links": [{"rel": r, "href": f"{{{h}}}"} for r, h in _SCHEMA_LINKS],
            }
        )


_SCHEMA_LINKS = (("first", "first"), ("next", "next"), ("describedby", "schema"))


def _schema_fault(text: str) -> ApiFault:
    return ApiFault(400, f"Provided object does not match schema 'image': {text}")
