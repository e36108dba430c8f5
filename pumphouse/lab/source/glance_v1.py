"""Glance v1: metadata travels in headers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
from pumphouse.lab.source.wire import CALLER, ApiFault, Caller, empty_answer, json_answer, read_json

_META = "x-image-meta-"
_PROPERTY = "x-image-meta-property-"


def add_routes(app: web.Application, glance: Glance) -> None:
    """Mount v1."""
    api = GlanceV1(glance)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v1/images", api.brief)
    get("/v1/images/detail", api.detail)
    post("/v1/images", api.create)
    app.router.add_get("/v1/images/{id}", api.download, allow_head=False)
    app.router.add_head("/v1/images/{id}", api.head)
    put("/v1/images/{id}", api.update)
    delete("/v1/images/{id}", api.delete)
    get("/v1/images/{id}/members", api.members)
    put("/v1/images/{id}/members/{member}", api.put_member)
    delete("/v1/images/{id}/members/{member}", api.delete_member)
    get("/v1/shared-images/{member}", api.shared_images)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S")


def _flag(text: str) -> bool:
    return text.strip().lower() in ("true", "t", "1", "on", "y", "yes")


class GlanceV1:
    """The handlers."""

    def __init__(self, glance: Glance) -> None:
        self.glance = glance
        self.state = glance.state

    def _view(self, image: Image) -> dict[str, Any]:
        view: dict[str, Any] = {
            "id": image.id,
            "name": image.name,
            "status": image.status,
            "is_public": image.is_public,
            "protected": image.protected,
            "checksum": image.checksum,
            "size": image.size,
            "min_disk": image.min_disk,
            "min_ram": image.min_ram,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "owner": image.owner,
            "properties": dict(image.properties),
            "created_at": _stamp(image.created_at),
            "updated_at": _stamp(image.updated_at),
            "deleted": False,
            "deleted_at": None,
        }
        return view | ({"virtual_size": None} if self.state.release.virtual_size else {})

    def _get(self, request: web.Request) -> Image:
        image = self.state.images.get(request.match_info["id"])
        if image is None or not self.glance.may_see(request[CALLER], image):
            raise ApiFault(404, None, detail=f"Image with identifier {request.match_info['id']} not found")
        return image

    def _get_to_change(self, request: web.Request) -> Image:
        image = self._get(request)
        if not self.glance.may_change(request[CALLER], image):
            raise ApiFault(403, None, detail="You are not permitted to modify this image.")
        return image

    # --- listing

    def _found(self, request: web.Request) -> list[Image]:
        caller: Caller = request[CALLER]
        query = request.query
        public: bool | None = True
        if caller.is_admin and query.get("is_public") is not None:
            public = None if query["is_public"].lower() == "none" else _flag(query["is_public"])
        found = []
        for image in self.state.images.values():
            if caller.is_admin:
                if public is not None and image.is_public != public:
                    continue
            elif not self.glance.lists(caller, image):
                continue
            view = self._view(image)
            plain = ("name", "status", "container_format", "disk_format")
            if any(key in query and view[key] != query[key] for key in plain):
                continue
            asked = {k.removeprefix("property-"): v for k, v in query.items() if k.startswith("property-")}
            if any(image.properties.get(key) != value for key, value in asked.items()):
                continue
            found.append(image)
        found = self.glance.ordered(found, query.get("sort_key", "created_at"), query.get("sort_dir", "desc"))
        if "marker" in query:
            ids = [i.id for i in found]
            if query["marker"] not in ids:
                raise ApiFault(400, None, detail="Invalid marker")
            found = found[ids.index(query["marker"]) + 1 :]
        limit = query.get("limit", str(PAGE_DEFAULT))
        if not limit.isdigit():
            raise ApiFault(400, None, detail="limit param must be an integer")
        return found[: min(int(limit), PAGE_MAX)]

    async def brief(self, request: web.Request) -> web.Response:
        """GET /v1/images"""
        keys = ("id", "name", "size", "checksum", "disk_format", "container_format")
        views = [{key: self._view(i)[key] for key in keys} for i in self._found(request)]
        return json_answer({"images": views}, content_type=JSON_UTF8)

    async def detail(self, request: web.Request) -> web.Response:
        """GET /v1/images/detail: public images only for an administrator, unless ``is_public=None``."""
        return json_answer({"images": [self._view(i) for i in self._found(request)]}, content_type=JSON_UTF8)

    # --- one image

    def _headers(self, image: Image) -> dict[str, str]:
        headers = {"Location": f"{self.state.endpoints.glance}/v1/images/{image.id}"}
        if image.checksum:
            headers["ETag"] = image.checksum
        for key, value in self._view(image).items():
            if key == "properties":
                for name, text in value.items():
                    headers[f"X-Image-Meta-Property-{name.capitalize()}"] = text
            elif value is not None:
                headers[f"X-Image-Meta-{key.capitalize()}"] = str(value)
        return headers

    async def head(self, request: web.Request) -> web.Response:
        """HEAD /v1/images/ID"""
        return web.Response(headers={"Content-Type": "text/html; charset=UTF-8", **self._headers(self._get(request))})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/images/ID: the bytes, the record in the headers."""
        image = self._get(request)
        if image.status == "queued":
            raise ApiFault(404, None, detail=f"Image {image.id} is not active")
        return await send(self.state, request, image, self._headers(image))

    def _meta(self, request: web.Request) -> dict[str, Any]:
        meta: dict[str, Any] = {"properties": {}}
        for header, value in request.headers.items():
            name = header.lower()
            if name.startswith(_PROPERTY):
                meta["properties"][name.removeprefix(_PROPERTY).replace("-", "_")] = value
            elif name.startswith(_META):
                meta[name.removeprefix(_META).replace("-", "_")] = value
        return meta

    def _apply(self, image: Image, meta: dict[str, Any], caller: Caller) -> None:
        for key in ("name", "disk_format", "container_format"):
            if key in meta:
                setattr(image, key, meta[key])
        for key in ("min_disk", "min_ram"):
            if key in meta:
                if not str(meta[key]).isdigit():
                    raise ApiFault(400, None, detail=f"Cannot convert image {key} to an integer")
                setattr(image, key, int(meta[key]))
        for key in ("is_public", "protected"):
            if key in meta:
                setattr(image, key, _flag(meta[key]))
        if "owner" in meta and caller.is_admin:
            image.owner = meta["owner"]

    def _check_formats(self, image: Image) -> None:
        if image.disk_format not in DISK_FORMATS:
            raise ApiFault(400, f"Invalid disk format '{image.disk_format}' for image.")
        if image.container_format not in CONTAINER_FORMATS:
            raise ApiFault(400, f"Invalid container format '{image.container_format}' for image.")

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/images; a body without valid formats is refused but leaves its queued record behind."""
        caller: Caller = request[CALLER]
        meta = self._meta(request)
        if "id" in meta and (meta["id"] in self.state.images or meta["id"] in self.state.deleted_image_ids):
            raise ApiFault(409, None, detail=f"Image with identifier {meta['id']} already exists!")
        image = Image(id=meta.get("id") or self.state.new_uuid(), name=None, owner=caller.project_id)
        self._apply(image, meta, caller)
        image.properties = meta["properties"]
        self.state.images[image.id] = image
        if request.can_read_body:
            self._check_formats(image)
            await receive(self.state, image, request.content.iter_chunked(CHUNK_BYTES))
            self._check_digest(image, meta)
        answer = json_answer({"image": self._view(image)}, 201)
        answer.headers["Location"] = f"{self.state.endpoints.glance}/v1/images/{image.id}"
        if image.checksum:
            answer.headers["ETag"] = image.checksum
        return answer

    def _check_digest(self, image: Image, meta: dict[str, Any]) -> None:
        wrong_sum = "checksum" in meta and meta["checksum"] != image.checksum
        wrong_size = "size" in meta and str(meta["size"]) != str(image.size)
        if wrong_sum or wrong_size:
            image.status = "killed"
            self.state.image_path(image.id).unlink(missing_ok=True)
            raise ApiFault(400, None, detail="Supplied checksum or size and those of the upload do not match.")

    async def update(self, request: web.Request) -> web.Response:
        """PUT /v1/images/ID: headers replace the record (properties not named are purged); a body is an upload."""
        image = self._get_to_change(request)
        meta = self._meta(request)
        if request.can_read_body and image.status != "queued":
            raise ApiFault(409, None, detail="Cannot upload to an unqueued image")
        self._apply(image, meta, request[CALLER])
        if _flag(request.headers.get("x-glance-registry-purge-props", "True")):
            image.properties = meta["properties"]
        else:
            image.properties.update(meta["properties"])
        image.updated_at = now()
        if request.can_read_body:
            self._check_formats(image)
            await receive(self.state, image, request.content.iter_chunked(CHUNK_BYTES))
            self._check_digest(image, meta)
        return json_answer({"image": self._view(image)}, content_type=JSON_UTF8)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/images/ID"""
        image = self._get_to_change(request)
        if image.protected:
            raise ApiFault(403, None, detail="Image is protected")
        self.glance.delete(image)
        return web.Response(headers={"Content-Type": "text/html; charset=UTF-8"})

    # --- members

    async def members(self, request: web.Request) -> web.Response:
        """GET /v1/images/ID/members"""
        image = self._get(request)
        views = [{"member_id": m.project_id, "can_share": m.can_share} for m in image.members.values()]
        return json_answer({"members": views}, content_type=JSON_UTF8)

    async def put_member(self, request: web.Request) -> web.Response:
        """PUT /v1/images/ID/members/PROJECT"""
        image = self._get_to_change(request)
        given = await read_json(request)
        inner = given.get("member") if isinstance(given, dict) else None
        can_share = bool(inner.get("can_share")) if isinstance(inner, dict) else False
        project_id = request.match_info["member"]
        member = image.members.setdefault(project_id, Member(project_id, now(), now()))
        member.can_share, member.updated_at = can_share, now()
        return empty_answer(204)

    async def delete_member(self, request: web.Request) -> web.Response:
        """DELETE /v1/images/ID/members/PROJECT"""
        image = self._get_to_change(request)
        if image.members.pop(request.match_info["member"], None) is None:
            raise ApiFault(404, None, detail="Membership could not be found")
        return empty_answer(204)

    async def shared_images(self, request: web.Request) -> web.Response:
        """GET /v1/shared-images/PROJECT"""
        caller: Caller = request[CALLER]
        project_id = request.match_info["member"]
        if not caller.is_admin and caller.project_id != project_id:
            raise ApiFault(403)
        views = [
            {"image_id": image.id, "can_share": image.members[project_id].can_share}
            for image in self.state.images.values()
            if project_id in image.members
        ]
        return json_answer({"shared_images": views}, content_type=JSON_UTF8)
