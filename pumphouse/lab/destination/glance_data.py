"""Glance v2: image bytes, tags and members."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path

from aiohttp import web

from pumphouse.lab.destination.glance import Images
from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import Fault, Json, answer, empty, new_id, now, read_json, stamp

_CHUNK_BYTES = 1 << 18
_UNSUPPORTED = "The request media type {} is not supported by this server. "
_MAGIC = {"qcow2": b"QFI\xfb", "vmdk": b"KDMV", "vhdx": b"vhdxfile", "vhd": b"conectix"}
_MEMBER_STATUSES = ("pending", "accepted", "rejected")


class ImageData:
    """Handlers of ``/v2/images/{id}/file``, ``…/tags`` and ``…/members``."""

    def __init__(self, cloud: Cloud, images: Images) -> None:
        self.cloud = cloud
        self.data = cloud.image
        self.images = images

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        path = "/v2/images/{id}"
        return [
            web.put(f"{path}/file", self.upload),
            web.get(f"{path}/file", self.download, allow_head=False),
            web.put(f"{path}/tags/{{tag}}", self.tag),
            web.delete(f"{path}/tags/{{tag}}", self.untag),
            web.get(f"{path}/members", self.members),
            web.post(f"{path}/members", self.add_member),
            web.get(f"{path}/members/{{member}}", self.member),
            web.put(f"{path}/members/{{member}}", self.update_member),
            web.delete(f"{path}/members/{{member}}", self.remove_member),
        ]

    def _seconds(self, size_bytes: int) -> float:
        timing = self.cloud.world.timing
        return size_bytes / (timing.image_mib_per_s * 1024 * 1024) * timing.scale

    async def upload(self, request: web.Request) -> web.Response:
        """``PUT …/file``: queued → saving → active; an upload that breaks off leaves the image queued."""
        caller = self.cloud.authenticate(request)
        image = self.images.writable(request, caller, "upload_image")
        if request.content_type != "application/octet-stream":
            message = f"Invalid content type {request.content_type}"
            raise Fault(415, message, lead=_UNSUPPORTED.format(request.content_type))
        if image["status"] != "queued":
            raise Fault(409, f"Image status transition from {image['status']} to saving is not allowed")
        missing = [name for name in ("disk_format", "container_format") if image[name] is None]
        if missing:
            raise Fault(400, f"Properties {', '.join(missing)} must be set prior to saving data.")
        image["status"] = "saving"
        part = self.data.folder / f"{image['id']}.{new_id()}.part"
        try:
            size, head = await self._receive(request, image, part)
            self._accept(image, head)
            part.replace(self.data.folder / image["id"])
        except BaseException:
            image["status"] = "queued"
            part.unlink(missing_ok=True)
            raise
        image |= {"status": "active", "size": size, "updated_at": stamp(now())}
        image["virtual_size"] = size if image["disk_format"] == "raw" else None
        return empty(204, "text/html")

    async def _receive(self, request: web.Request, image: Json, part: Path) -> tuple[int, bytes]:
        md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        size, head, owed_s = 0, b"", 0.0
        with part.open("wb") as file:
            async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                file.write(chunk)
                md5.update(chunk)
                sha512.update(chunk)
                head = head or chunk[:64]
                size += len(chunk)
                owed_s += self._seconds(len(chunk))
                if owed_s > 0.01:
                    await asyncio.sleep(owed_s)
                    owed_s = 0.0
        # the real service keeps these three on a refused image as well
        image |= {
            "checksum": md5.hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": sha512.hexdigest(),
            "stores": "file",
        }
        return size, head

    def _accept(self, image: Json, head: bytes) -> None:
        found = _format(head)
        if image["disk_format"] in (*_MAGIC, "raw") and head and found != image["disk_format"]:
            message = f"Image disk_format {image['disk_format']} does not match stream data {found}"
            raise Fault(415, message, lead=_UNSUPPORTED.format("application/octet-stream"))
        if image["id"] not in self.data.images:
            raise Fault(410, "The image was deleted while its data was being uploaded.")

    async def download(self, request: web.Request) -> web.StreamResponse:
        """``GET …/file``: 204 and nothing for an image without data."""
        image = self.images.visible(request, self.cloud.authenticate(request))
        if image["status"] not in ("active", "deactivated"):
            return answer(None, 204)
        response = web.StreamResponse(headers={"Content-MD5": image["checksum"]})
        response.content_type = "application/octet-stream"
        response.content_length = image["size"]
        await response.prepare(request)
        with (self.data.folder / image["id"]).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                await response.write(chunk)
                await asyncio.sleep(self._seconds(len(chunk)))
        with contextlib.suppress(ConnectionResetError):
            await response.write_eof()
        return response

    async def tag(self, request: web.Request) -> web.Response:
        """``PUT …/tags/{tag}``."""
        image = self.images.writable(request, self.cloud.authenticate(request), "modify_image")
        if request.match_info["tag"] not in image["tags"]:
            image["tags"].append(request.match_info["tag"])
        return empty(204, "text/html")

    async def untag(self, request: web.Request) -> web.Response:
        """``DELETE …/tags/{tag}``."""
        image = self.images.writable(request, self.cloud.authenticate(request), "modify_image")
        if request.match_info["tag"] not in image["tags"]:
            raise Fault(404, "The resource could not be found.")
        image["tags"].remove(request.match_info["tag"])
        return empty(204, "text/html")

    def _member_view(self, member: Json) -> Json:
        return member | {"schema": "/v2/schemas/member"}

    def _no_member(self, image: Json, member_id: str) -> Fault:
        return Fault(404, f"{member_id} not found in the member list of the image {image['id']}.")

    async def members(self, request: web.Request) -> web.Response:
        """``GET …/members``: the owner sees all, a member itself."""
        caller = self.cloud.authenticate(request)
        image = self.images.visible(request, caller)
        if image["visibility"] != "shared":
            raise Fault(403, "Only shared images have members.")
        found = [item for item in self.data.members[image["id"]].values() if self._sees_member(image, item, caller)]
        return answer({"members": [self._member_view(item) for item in found], "schema": "/v2/schemas/members"})

    def _sees_member(self, image: Json, member: Json, caller: Caller) -> bool:
        return caller.sees(image["owner"]) or caller.sees(member["member_id"])

    async def add_member(self, request: web.Request) -> web.Response:
        """``POST …/members``: only a ``shared`` image has members; a new one is ``pending``."""
        caller = self.cloud.authenticate(request)
        image = self.images.visible(request, caller)
        if not caller.sees(image["owner"]) or image["visibility"] != "shared":
            raise Fault(403, f"Not allowed to create members for image {image['id']}.")
        member_id = (await read_json(request)).get("member")
        if not isinstance(member_id, str) or not member_id:
            raise Fault(400, "Member to be added not specified")
        members = self.data.members[image["id"]]
        if member_id in members:
            raise Fault(409, f"Member {member_id} is duplicated for image {image['id']}")
        moment = stamp(now())
        members[member_id] = {
            "member_id": member_id,
            "image_id": image["id"],
            "status": "pending",
            "created_at": moment,
            "updated_at": moment,
        }
        return answer(self._member_view(members[member_id]))

    def _member(self, request: web.Request, caller: Caller) -> tuple[Json, Json]:
        image = self.data.images.get(request.match_info["id"])
        member_id = request.match_info["member"]
        if image is None:
            raise Fault(404, f"No image found with ID {request.match_info['id']}")
        member = self.data.members[image["id"]].get(member_id)
        if member is None or not self._sees_member(image, member, caller):
            raise self._no_member(image, member_id)
        return image, member

    async def member(self, request: web.Request) -> web.Response:
        """``GET …/members/{member}``."""
        return answer(self._member_view(self._member(request, self.cloud.authenticate(request))[1]))

    async def update_member(self, request: web.Request) -> web.Response:
        """``PUT …/members/{member}``: the member's own word (or an administrator's)."""
        caller = self.cloud.authenticate(request)
        _, member = self._member(request, caller)
        status = (await read_json(request)).get("status")
        if status not in _MEMBER_STATUSES:
            raise Fault(400, 'Incorrect request: Status must be "pending", "accepted" or "rejected".')
        if not caller.sees(member["member_id"]):
            raise Fault(403, "You are not authorized to complete modify_member action.")
        member |= {"status": status, "updated_at": stamp(now())}
        return answer(self._member_view(member))

    async def remove_member(self, request: web.Request) -> web.Response:
        """``DELETE …/members/{member}``."""
        caller = self.cloud.authenticate(request)
        image, member = self._member(request, caller)
        if not caller.sees(image["owner"]):
            raise Fault(403, "You are not authorized to complete delete_member action.")
        del self.data.members[image["id"]][member["member_id"]]
        return answer(None, 204)


def _format(head: bytes) -> str:
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "raw")
