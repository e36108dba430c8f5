"""Glance's frame: version list, authentication, visibility, and the image bytes on disk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from pumphouse.lab.faults import Handler
from pumphouse.lab.source.state import Image, State, now
from pumphouse.lab.source.wire import CALLER, ApiFault, Caller, TokenCheck, json_answer, webob_page

JSON_UTF8 = "application/json; charset=UTF-8"
CHUNK_BYTES = 1 << 18
PAGE_DEFAULT = 25
PAGE_MAX = 1000
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vmdk", "raw", "qcow2", "vdi", "iso")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova")

NOT_IMPLEMENTED = (
    "v1: x-image-meta-location and x-glance-api-copy-from; members' PUT of a whole list",
    "v2: locations, direct_url, schemas/member(s) details, HTTP ranges, tasks, metadefs",
    "registry API and its port",
)
"""What Glance has and this lab answers like an unknown path, or ignores where it is a header."""


class Glance:
    """Both API versions on one port."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.tokens = TokenCheck(state)

    def app(self) -> web.Application:
        """The HTTP application."""
        from pumphouse.lab.source import glance_v1, glance_v2

        app = web.Application(
            middlewares=[self.state.world.faults.middleware(f"{self.state.cloud}.image"), self._dress],
            client_max_size=1 << 26,
        )
        app.router.add_get("/", self._versions)
        app.router.add_get("/versions", self._versions)
        glance_v1.add_routes(app, self)
        glance_v2.add_routes(app, self)
        return app

    @property
    def _dress(self) -> Any:
        @web.middleware
        async def dress(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in ("/", "/versions"):
                return await handler(request)
            caller = self.tokens.caller(request)
            if caller is None:
                return webob_page(request, 401)
            request[CALLER] = caller
            try:
                answer = await handler(request)
            except ApiFault as fault:
                if fault.status == 500:
                    return web.Response(status=500, headers={"Content-Type": "text/plain"})
                answer = webob_page(request, fault.status, fault.message, fault.detail)
            except web.HTTPException:
                answer = webob_page(request, 404)
            if not answer.prepared:
                answer.headers["X-Openstack-Request-Id"] = caller.request_id
            return answer

        return dress

    async def _versions(self, _request: web.Request) -> web.Response:
        base = self.state.endpoints.glance
        current = self.state.release.glance_current
        v2 = [v for v in ("v2.2", "v2.1", "v2.0") if v <= current]
        rows = [(v, "v2", "CURRENT" if v == current else "SUPPORTED") for v in v2]
        rows += [("v1.1", "v1", "CURRENT"), ("v1.0", "v1", "SUPPORTED")]
        versions = [
            {"id": name, "status": status, "links": [{"rel": "self", "href": f"{base}/{path}/"}]}
            for name, path, status in rows
        ]
        return json_answer({"versions": versions}, 300, content_type=JSON_UTF8)

    # --- who sees what

    def may_see(self, caller: Caller, image: Image) -> bool:
        """Reading by id: a member need not have accepted."""
        return caller.is_admin or image.is_public or self._own(caller, image) or caller.project_id in image.members

    def may_change(self, caller: Caller, image: Image) -> bool:
        """Writing is for owners and administrators."""
        return caller.is_admin or self._own(caller, image)

    def _own(self, caller: Caller, image: Image) -> bool:
        return image.owner is not None and image.owner == caller.project_id

    def lists(self, caller: Caller, image: Image, member_status: str = "accepted") -> bool:
        """Whether an image is in this caller's listing."""
        if caller.is_admin or image.is_public or self._own(caller, image):
            return True
        member = image.members.get(caller.project_id)
        return member is not None and member_status in ("all", member.status)

    def ordered(self, images: list[Image], sort_key: str, sort_dir: str) -> list[Image]:
        """Sorted as the database does: ties by creation, then id, in the same direction."""

        def key(image: Image) -> tuple[Any, ...]:
            value = getattr(image, sort_key)
            return (value is not None, value if value is not None else 0, image.created_at, image.id)

        return sorted(images, key=key, reverse=sort_dir != "asc")

    def delete(self, image: Image) -> None:
        """Remove a record and its bytes; its id is never free again."""
        del self.state.images[image.id]
        self.state.deleted_image_ids.add(image.id)
        self.state.image_path(image.id).unlink(missing_ok=True)


async def receive(state: State, image: Image, chunks: AsyncIterator[bytes]) -> None:
    """Stream bytes into a queued image: ``saving`` meanwhile, then ``active`` with size and MD5; back to ``queued``
    when the sender breaks off."""
    path = state.image_path(image.id)
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    digest, size = hashlib.md5(), 0
    image.status = "saving"
    done = False
    try:
        with part.open("wb") as file:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
                await _pace(state, len(chunk))
        part.replace(path)
        done = True
    finally:
        if done:
            image.size, image.checksum, image.status = size, digest.hexdigest(), "active"
            image.updated_at = now()
        else:
            image.status = "queued"
            part.unlink(missing_ok=True)


async def send(state: State, request: web.Request, image: Image, headers: dict[str, str]) -> web.StreamResponse:
    """Stream an active image's bytes out."""
    path = state.image_path(image.id)
    if not path.exists():
        raise ApiFault(404, None, detail=f"Image {image.id} has no data in the store")
    answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream", **headers})
    answer.headers["X-Openstack-Request-Id"] = request[CALLER].request_id
    answer.content_length = path.stat().st_size
    await answer.prepare(request)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            await answer.write(chunk)
            await _pace(state, len(chunk))
    await answer.write_eof()
    return answer


async def _pace(state: State, size_bytes: int) -> None:
    timing = state.world.timing
    await asyncio.sleep(size_bytes / (1 << 20) / timing.image_mib_per_s * timing.scale)


def write_bytes(path: Path, pieces: list[bytes]) -> tuple[int, str]:
    """Write an image's bytes at once; returns size and MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.md5(), 0
    with path.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    return size, digest.hexdigest()
