"""Glance's v2 API, of 2013 to today. What v2 of Havana and Grizzly does not tell (the owner) is asked of v1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pumphouse.clouds.api import Images
from pumphouse.clouds.http import Service
from pumphouse.clouds.images_v1 import ImagesV1
from pumphouse.clouds.paging import endless, from_the_start
from pumphouse.clouds.parse import Doc, path
from pumphouse.clouds.streams import CHUNK_BYTES, Passed, Tally, body_of, require_active, verified
from pumphouse.errors import ApiError, Conflict, NotFound
from pumphouse.model import Image

_PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
_PAGE = "200"
_OWN = frozenset({
    "id", "name", "status", "visibility", "owner", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value",
    "os_hidden", "disk_format", "container_format", "min_disk", "min_ram", "protected", "tags", "created_at",
    "updated_at", "deleted_at", "deleted", "self", "file", "schema", "locations", "direct_url", "stores",
})  # fmt: skip


class ImagesV2(Images):
    """Images over ``/v2``.

    :param version: the highest version Glance announces, e.g. ``(2, 2)``; from 2.5 on it knows shared and
        community images, from 2.7 on hidden ones.
    :param v1: the v1 API, where the cloud has it.
    """

    def __init__(self, api: Service, version: tuple[int, int], v1: Service | None = None) -> None:
        self._api = api
        self._version = version
        self._v1 = v1

    def list_images(self) -> list[Image]:
        """Every project's images, community and hidden ones too (read only)."""
        return self._finish(self._everything({}))

    def get_image(self, image_id: str) -> Image:
        """One image by id (read only)."""
        return self._finished(self._read(image_id))

    def find_images(self, **properties: str) -> list[Image]:
        """Images that carry all these custom properties, compared again on our side (read only)."""
        found = [doc for doc in self._everything(properties) if properties.items() <= image_of(doc).properties.items()]
        return self._finish(found)

    def download(self, image_id: str, *, chunk_bytes: int = CHUNK_BYTES) -> Tally:
        """The image's bytes; size and digests are compared with the record before the last piece is given out."""
        image = image_of(self._read(image_id))
        require_active(image, self._api)
        reply = self._api.call(
            "GET", path("images", image_id, "file"), f"download image {image_id}", repeatable=True,
            headers={"Accept": "application/octet-stream", "Accept-Encoding": "identity"}, stream=True,
        )  # fmt: skip
        return verified(reply, image, self._api, chunk_bytes)

    def create_image(
        self,
        image: Image,
        *,
        image_id: str | None = None,
        owner_id: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Image:
        """Make a queued record. Glance v2 takes neither id nor owner before 2.3 (500, 403): its v1 does."""
        if self._version < (2, 3) and self._v1 is not None and (image_id or owner_id):
            made = ImagesV1(self._v1).create_image(image, image_id=image_id, owner_id=owner_id, properties=properties)
            for tag in image.tags:
                self._api.put(path("images", made.id, "tags", tag), None, f"tag image {made.id}")
            return self.get_image(made.id)
        body: dict[str, Any] = dict(image.properties if properties is None else properties)
        body |= {
            "name": image.name, "disk_format": image.disk_format, "container_format": image.container_format,
            "min_disk": image.min_disk_gib, "min_ram": image.min_ram_mib, "visibility": self._visibility(image),
            "tags": list(image.tags), "id": image_id, "owner": owner_id,
            "os_hidden": True if image.hidden and self._version >= (2, 7) else None,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        reply = self._api.post("/images", body, f"create image '{image.name}'")
        return self._finished(reply.doc())

    def upload(
        self, image_id: str, chunks: Iterable[bytes], *, size_bytes: int | None = None, passed: Passed | None = None
    ) -> Image:
        """Stream the bytes; size, digests and status are read back and compared."""
        doing = f"upload image {image_id}"
        # a read first: a missing image or a refused token is found out before the first byte is taken
        self._read(image_id)
        tally, body = body_of(chunks, size_bytes=size_bytes, passed=passed)
        url = self._api.url(path("images", image_id, "file"))
        headers = {"Content-Type": "application/octet-stream"}
        try:
            self._api.wire.upload("PUT", url, body, doing=doing, service=self._api.name, headers=headers)
        finally:
            tally.close()
        image = image_of(self._read(image_id))
        tally.compare(image, self._api)
        return image

    def set_protected(self, image_id: str, *, protected: bool) -> None:
        """Set or clear delete protection, by a raw patch that leaves all other properties alone."""
        body = [{"op": "replace", "path": "/protected", "value": protected}]
        doing = f"{'protect' if protected else 'unprotect'} image {image_id}"
        self._api.call("PATCH", path("images", image_id), doing, repeatable=True, json=body, headers=_PATCH)

    def set_owner(self, image_id: str, owner_id: str, *, visibility: str) -> None:
        """Give an image to another project (administrators), and say who may see it."""
        body = [
            {"op": "replace", "path": "/owner", "value": owner_id},
            {"op": "replace", "path": "/visibility", "value": visibility},
        ]
        doing = f"give image {image_id} to project {owner_id}"
        self._api.call("PATCH", path("images", image_id), doing, repeatable=True, json=body, headers=_PATCH)

    def schema(self) -> Mapping[str, Any]:
        """Glance's JSON schema of an image, with the formats that its operator allows (read only)."""
        answer = self._api.maybe("/schemas/image", "read the schema of images")
        if answer is None:
            return {}
        return {key: value for key, value in answer.plain().items() if key in ("properties", "additionalProperties")}

    def add_member(self, image_id: str, project_id: str, *, accept: bool = True) -> None:
        """Share an image and accept it in the project's name where policy lets us."""
        doing = f"share image {image_id} with project {project_id}"
        try:
            self._api.post(path("images", image_id, "members"), {"member": project_id}, doing, repeatable=True)
        except Conflict:
            if project_id not in self._members(image_id):
                raise
        if not accept:
            return
        try:
            self._api.put(path("images", image_id, "members", project_id), {"status": "accepted"}, doing)
        except ApiError as error:
            if error.status not in (403, 404):
                raise

    def delete_image(self, image_id: str) -> None:
        """Delete an image."""
        self._api.delete(path("images", image_id), f"delete image {image_id}")

    def _read(self, image_id: str) -> Doc:
        return self._api.get(path("images", image_id), f"read image {image_id}")

    def _everything(self, filters: Mapping[str, str]) -> list[Doc]:
        found = self._list(filters)
        if self._version >= (2, 5):
            found += self._list({**filters, "visibility": "community"})
        if self._version >= (2, 7):
            found += self._list({**filters, "os_hidden": "true"})
        return list({doc.text("id"): doc for doc in found}.values())

    def _list(self, filters: Mapping[str, str]) -> list[Doc]:
        return from_the_start(lambda: self._pages(filters))

    def _pages(self, filters: Mapping[str, str]) -> list[Doc]:
        docs: dict[str, Doc] = {}
        passed: set[str] = set()
        answer = self._api.get("/images", "list images", **{**filters, "limit": _PAGE})
        while True:
            page = answer.docs("images")
            for doc in page:
                docs.setdefault(doc.text("id"), doc)
            following = answer.maybe_text("next")
            if following is None or not page:
                return list(docs.values())
            if following in passed:
                raise endless(self._api, "images")
            passed.add(following)
            answer = self._api.get(f"/images?{following.partition('?')[2]}", "list images")

    def _finish(self, docs: list[Doc]) -> list[Image]:
        images = [image_of(doc) for doc in docs]
        if any("owner" not in doc.keys() for doc in docs):  # noqa: SIM118 - `in` asks for a value, keys() for the name
            images = self._with_owners(images)
        members = self._api.wire.each(self._members_of, images)
        return [
            replace(
                image,
                member_ids=tuple(there),
                pending_ids=tuple(i for i, status in there.items() if status != "accepted"),
            )
            for image, there in zip(images, members, strict=True)
        ]

    def _finished(self, doc: Doc) -> Image:
        found = self._finish([doc])
        if not found:
            raise NotFound(
                f"Cloud '{self._api.wire.cloud}': image {doc.text('id')} was deleted while it was read.", status=404,
                remedy="check the id.", request_id=doc.request_id,
            )  # fmt: skip
        return found[0]

    def _with_owners(self, images: list[Image]) -> list[Image]:
        """The images with the owners that v1 tells; without those that were deleted since they were listed."""
        if self._v1 is None:
            return images
        v1 = self._v1

        def owned(image: Image) -> Image | None:
            doing = f"read the owner of image {image.id}"
            try:
                reply = v1.call("HEAD", path("images", image.id), doing, repeatable=True)
            except NotFound:
                return None
            return replace(image, owner_id=reply.headers.get("x-image-meta-owner") or None)

        return [image for image in self._api.wire.each(owned, images) if image is not None]

    def _members_of(self, image: Image) -> dict[str, str]:
        shareable = ("shared",) if self._version >= (2, 5) else ("private", "shared")
        return self._members(image.id) if image.visibility in shareable else {}

    def _members(self, image_id: str) -> dict[str, str]:
        answer = self._api.find(path("images", image_id, "members"), f"list members of image {image_id}")
        docs = answer.docs("members") if answer is not None else []
        return {doc.text("member_id"): doc.maybe_text("status") or "accepted" for doc in docs}

    def _visibility(self, image: Image) -> str:
        if self._version < (2, 5):
            return "public" if image.visibility == "public" else "private"
        return "shared" if image.visibility == "private" and image.member_ids else image.visibility


def image_of(doc: Doc) -> Image:
    """An image from v2's JSON. ``owner`` is the record's; a *property* ``owner_id`` of a snapshot is not."""
    properties = {key: doc.text(key) for key in doc.keys() if key not in _OWN and key in doc}  # noqa: SIM118
    return Image(
        id=doc.text("id"),
        name=doc.maybe_text("name") or "",
        status=doc.text("status"),
        visibility=doc.maybe_text("visibility") or "private",
        owner_id=doc.maybe_text("owner") or None,
        size_bytes=doc.maybe_whole("size"),
        checksum=doc.maybe_text("checksum") or None,
        disk_format=doc.maybe_text("disk_format") or None,
        container_format=doc.maybe_text("container_format") or None,
        min_disk_gib=doc.whole("min_disk", 0),
        min_ram_mib=doc.whole("min_ram", 0),
        protected=doc.flag("protected", False),
        properties=properties,
        tags=doc.texts("tags"),
        hash_algo=doc.maybe_text("os_hash_algo") or None,
        hash_value=doc.maybe_text("os_hash_value") or None,
        hidden=doc.flag("os_hidden", False),
    )


__all__ = ["ImagesV2", "image_of"]
