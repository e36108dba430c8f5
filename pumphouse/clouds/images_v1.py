"""Glance's v1 API, for clouds without v2: records travel in ``x-image-meta-*`` headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pumphouse.clouds.api import Images
from pumphouse.clouds.http import Service
from pumphouse.clouds.paging import all_pages
from pumphouse.clouds.parse import Doc, path
from pumphouse.clouds.streams import CHUNK_BYTES, Passed, Tally, body_of, require_active, verified
from pumphouse.errors import NotFound
from pumphouse.model import Image

_META = "x-image-meta-"
_PROPERTY = "x-image-meta-property-"
_PAGE = "200"
_KEEP = {"x-glance-registry-purge-props": "False"}
"""Without it v1 would drop all properties that a request does not name."""


class ImagesV1(Images):
    """Images over ``/v1``. An administrator sees private images only with ``is_public=None``."""

    def __init__(self, api: Service) -> None:
        self._api = api

    def list_images(self) -> list[Image]:
        """Every project's images (read only)."""
        return self._with_members([image_of_v1(doc) for doc in self._list({})])

    def get_image(self, image_id: str) -> Image:
        """One image by id (read only)."""
        return self._with_members([self._read(image_id)])[0]

    def find_images(self, **properties: str) -> list[Image]:
        """Images that carry all these custom properties (read only)."""
        filters = {f"property-{key}": value for key, value in properties.items()}
        images = [image_of_v1(doc) for doc in self._list(filters)]
        return self._with_members([one for one in images if properties.items() <= one.properties.items()])

    def download(self, image_id: str, *, chunk_bytes: int = CHUNK_BYTES) -> Tally:
        """The image's bytes; size and MD5 are compared with the record before the last piece is given out."""
        image = self._read(image_id)
        require_active(image, self._api)
        reply = self._api.call(
            "GET", path("images", image_id), f"download image {image_id}", repeatable=True,
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
        """Make a queued record; v1 has no tags, and sharing is by members only."""
        own = {
            "name": image.name, "disk_format": image.disk_format, "container_format": image.container_format,
            "min_disk": str(image.min_disk_gib), "min_ram": str(image.min_ram_mib),
            "is_public": str(image.visibility == "public"), "id": image_id, "owner": owner_id,
        }  # fmt: skip
        headers = {f"{_META}{key}": _packed(value) for key, value in own.items() if value is not None}
        custom = image.properties if properties is None else properties
        headers |= {f"{_PROPERTY}{key}": _packed(value) for key, value in custom.items()}
        doing = f"create image '{image.name}'"
        reply = self._api.call("POST", "/images", doing, repeatable=False, headers=headers)
        return self.get_image(reply.doc().doc("image").text("id"))

    def upload(
        self, image_id: str, chunks: Iterable[bytes], *, size_bytes: int | None = None, passed: Passed | None = None
    ) -> Image:
        """Stream the bytes; size, MD5 and status are read back and compared."""
        # a read first: a missing image or a refused token is found out before the first byte is taken
        self._read(image_id)
        tally, body = body_of(chunks, size_bytes=size_bytes, passed=passed)
        headers = {"Content-Type": "application/octet-stream", **_KEEP}
        url = self._api.url(path("images", image_id))
        doing = f"upload image {image_id}"
        try:
            self._api.wire.upload("PUT", url, body, doing=doing, service=self._api.name, headers=headers)
        finally:
            tally.close()
        image = self._read(image_id)
        tally.compare(image, self._api)
        return image

    def set_protected(self, image_id: str, *, protected: bool) -> None:
        """Set or clear delete protection."""
        headers = {f"{_META}protected": str(protected), **_KEEP}
        doing = f"{'protect' if protected else 'unprotect'} image {image_id}"
        self._api.call("PUT", path("images", image_id), doing, repeatable=True, headers=headers)

    def set_owner(self, image_id: str, owner_id: str, *, visibility: str) -> None:
        """Give an image to another project (administrators), and say whether everybody may see it."""
        headers = {f"{_META}owner": owner_id, f"{_META}is_public": str(visibility == "public"), **_KEEP}
        self._api.call("PUT", path("images", image_id), f"give image {image_id} away", repeatable=True, headers=headers)

    def schema(self) -> Mapping[str, Any]:
        """v1 has no schema: it says no to what it does not take when it gets it."""
        return {}

    def add_member(self, image_id: str, project_id: str, *, accept: bool = True) -> None:
        """Share an image; in v1 nobody has to accept."""
        doing = f"share image {image_id} with project {project_id}"
        body = {"member": {"can_share": False}}
        self._api.put(path("images", image_id, "members", project_id), body, doing)

    def delete_image(self, image_id: str) -> None:
        """Delete an image."""
        self._api.delete(path("images", image_id), f"delete image {image_id}")

    def _read(self, image_id: str) -> Image:
        doing = f"read image {image_id}"
        reply = self._api.call("HEAD", path("images", image_id), doing, repeatable=True)
        image = image_of_headers(reply.headers, f"Cloud '{self._api.wire.cloud}' (image), asked to {doing},")
        if image.status in ("deleted", "pending_delete"):
            # v1 still shows an administrator what is gone
            raise NotFound(
                f"Cloud '{self._api.wire.cloud}' could not {doing}: it was deleted.", status=404, remedy="check the id."
            )
        return image

    def _list(self, filters: Mapping[str, str]) -> list[Doc]:
        return all_pages(self._api, "images", {**filters, "is_public": "None"}, page=_PAGE)

    def _with_members(self, images: list[Image]) -> list[Image]:
        def complete(image: Image) -> Image:
            if image.visibility == "public":
                return image
            doing = f"list members of image {image.id}"
            answer = self._api.find(path("images", image.id, "members"), doing)
            ids = tuple(doc.text("member_id") for doc in answer.docs("members")) if answer is not None else ()
            return replace(image, member_ids=ids)

        return self._api.wire.each(complete, images)


def image_of_v1(doc: Doc) -> Image:
    """An image from v1's JSON listing."""
    return Image(
        id=doc.text("id"),
        name=doc.maybe_text("name") or "",
        status=doc.text("status"),
        visibility="public" if doc.flag("is_public", False) else "private",
        owner_id=doc.maybe_text("owner") or None,
        size_bytes=doc.maybe_whole("size"),
        checksum=doc.maybe_text("checksum") or None,
        disk_format=doc.maybe_text("disk_format") or None,
        container_format=doc.maybe_text("container_format") or None,
        min_disk_gib=doc.whole("min_disk", 0),
        min_ram_mib=doc.whole("min_ram", 0),
        protected=doc.flag("protected", False),
        properties=doc.mapping("properties"),
    )


def image_of_headers(headers: Mapping[str, str], where: str) -> Image:
    """An image from v1's headers, whose names come back in any case and with ``-`` for ``_`` or not."""
    raw: dict[str, object] = {}
    properties: dict[str, object] = {}
    for key, value in headers.items():
        name = key.lower()
        if name.startswith(_PROPERTY):
            properties[name.removeprefix(_PROPERTY).replace("-", "_")] = _unpacked(value)
        elif name.startswith(_META):
            raw[name.removeprefix(_META).replace("-", "_")] = _unpacked(value)
    return image_of_v1(Doc({**raw, "properties": properties}, where))


def _packed(value: str) -> str:
    # the HTTP library writes header text as latin-1; Glance reads UTF-8
    return value.encode("utf-8").decode("latin-1")


def _unpacked(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
