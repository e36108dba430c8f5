"""The image part of the conversation."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from .talk import IMAGE_BYTES, Conversation, Talker

_NEW_IMAGE: dict[str, Any] = {
    "name": "labcmp-image",
    "disk_format": "raw",
    "container_format": "bare",
    "min_disk": 1,
    "visibility": "private",
    "pumphouse_source_id": "0123",
    "tags": ["one"],
}


def images(book: Conversation, admin: Talker, tenant: Talker) -> str:
    """Image records, bytes, members; returns the id of an active image."""
    call, later = admin.call, book.undo.callback
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    stream = {"Content-Type": "application/octet-stream"}
    chosen = str(uuid.uuid4())
    image = call("image.create", "image", "POST", "/v2/images", _NEW_IMAGE | {"id": chosen, "owner": tenant.project_id})
    path = f"/v2/images/{image['id']}"
    later(call, "image.delete", "image", "DELETE", path)
    call("image.create.same-id", "image", "POST", "/v2/images", _NEW_IMAGE | {"id": chosen})
    call("image.create.bad-id", "image", "POST", "/v2/images", {"id": "nonsense"})
    call("image.create.bad-format", "image", "POST", "/v2/images", {"disk_format": "nonsense"})
    call("image.create.bad-visibility", "image", "POST", "/v2/images", {"visibility": "nonsense"})
    call("image.create.bad-property", "image", "POST", "/v2/images", {"colour": 1})
    call("image.create.readonly", "image", "POST", "/v2/images", {"status": "active"})
    queued = call("image.create.bare", "image", "POST", "/v2/images", {"name": "labcmp-queued"})
    tenant.call("policy.image.public", "image", "POST", "/v2/images", _NEW_IMAGE | {"visibility": "public"})
    tenant.call("policy.image.owner", "image", "POST", "/v2/images", _NEW_IMAGE | {"owner": admin.project_id})
    tenant.call("policy.image.hidden", "image", "GET", f"/v2/images/{queued['id']}")
    call("image.data.queued", "image", "GET", f"/v2/images/{queued['id']}/file")
    call("image.delete.queued", "image", "DELETE", f"/v2/images/{queued['id']}")
    call("image.create.deleted-id", "image", "POST", "/v2/images", {"id": queued["id"]})
    call("image.put.nodata", "image", "PUT", f"{path}/file", headers={"Content-Type": "text/plain"}, data=b"x")
    call("image.put", "image", "PUT", f"{path}/file", headers=stream, data=IMAGE_BYTES)
    call("image.put.again", "image", "PUT", f"{path}/file", headers=stream, data=IMAGE_BYTES)
    call("image.put.missing", "image", "PUT", f"/v2/images/{uuid.uuid4()}/file", headers=stream, data=b"x")
    active = call("image.get", "image", "GET", path)
    assert active["checksum"] == hashlib.md5(IMAGE_BYTES).hexdigest(), active
    assert active["os_hash_value"] == hashlib.sha512(IMAGE_BYTES).hexdigest(), active
    call("image.data", "image", "GET", f"{path}/file")
    call("image.get.missing", "image", "GET", f"/v2/images/{uuid.uuid4()}")
    call("image.list", "image", "GET", "/v2/images?name=labcmp-image")
    call("image.list.property", "image", "GET", "/v2/images?pumphouse_source_id=0123")
    call("image.list.none", "image", "GET", "/v2/images?pumphouse_source_id=nonsense")
    call("image.list.badlimit", "image", "GET", "/v2/images?limit=x")
    call("image.list.badmarker", "image", "GET", f"/v2/images?marker={uuid.uuid4()}")
    other = call("", "image", "POST", "/v2/images", {"name": "labcmp-other"})
    later(call, "", "image", "DELETE", f"/v2/images/{other['id']}")
    call("image.list.page", "image", "GET", "/v2/images?limit=1&name=labcmp-other")
    change = [
        {"op": "replace", "path": "/name", "value": "labcmp-renamed"},
        {"op": "add", "path": "/colour", "value": "blue"},
        {"op": "replace", "path": "/visibility", "value": "shared"},
    ]
    call("image.patch", "image", "PATCH", path, change, headers=patch)
    gone = [{"op": "remove", "path": "/colour"}]
    call("image.patch.remove", "image", "PATCH", path, gone, headers=patch)
    call("image.patch.remove.again", "image", "PATCH", path, gone, headers=patch)
    missing = [{"op": "replace", "path": "/nothing", "value": "x"}]
    call("image.patch.replace.missing", "image", "PATCH", path, missing, headers=patch)
    readonly = [{"op": "replace", "path": "/checksum", "value": "x"}]
    call("image.patch.readonly", "image", "PATCH", path, readonly, headers=patch)
    call("image.patch.badtype", "image", "PATCH", path, gone)
    protect = [{"op": "replace", "path": "/protected", "value": True}]
    call("image.protect", "image", "PATCH", path, protect, headers=patch)
    call("image.delete.protected", "image", "DELETE", path)
    protect[0]["value"] = False
    call("image.unprotect", "image", "PATCH", path, protect, headers=patch)
    call("image.tag.add", "image", "PUT", f"{path}/tags/two")
    call("image.tag.delete", "image", "DELETE", f"{path}/tags/two")
    call("image.tag.delete.again", "image", "DELETE", f"{path}/tags/two")
    call("member.add", "image", "POST", f"{path}/members", {"member": admin.project_id})
    call("member.add.again", "image", "POST", f"{path}/members", {"member": admin.project_id})
    call("member.accept", "image", "PUT", f"{path}/members/{admin.project_id}", {"status": "accepted"})
    call("member.badstatus", "image", "PUT", f"{path}/members/{admin.project_id}", {"status": "nonsense"})
    call("member.list", "image", "GET", f"{path}/members")
    call("member.get", "image", "GET", f"{path}/members/{admin.project_id}")
    call("member.delete", "image", "DELETE", f"{path}/members/{admin.project_id}")
    call("member.delete.again", "image", "DELETE", f"{path}/members/{admin.project_id}")
    call("image.stores", "image", "GET", "/v2/info/stores")
    call("image.import", "image", "GET", "/v2/info/import")
    call("image.schema", "image", "GET", "/v2/schemas/member")
    random = call(
        "", "image", "POST", "/v2/images", {"name": "labcmp-fake", "disk_format": "qcow2", "container_format": "bare"}
    )
    later(call, "", "image", "DELETE", f"/v2/images/{random['id']}")
    call("image.put.notqcow2", "image", "PUT", f"/v2/images/{random['id']}/file", headers=stream, data=IMAGE_BYTES)
    call("image.get.notqcow2", "image", "GET", f"/v2/images/{random['id']}")
    tenant.call("policy.member.private", "image", "GET", f"/v2/images/{random['id']}")
    formless = call("", "image", "POST", "/v2/images", {"name": "labcmp-formless"})
    later(call, "", "image", "DELETE", f"/v2/images/{formless['id']}")
    call("image.put.formless", "image", "PUT", f"/v2/images/{formless['id']}/file", headers=stream, data=IMAGE_BYTES)
    hide = [{"op": "replace", "path": "/visibility", "value": "private"}]
    call("", "image", "PATCH", f"/v2/images/{formless['id']}", hide, headers=patch)
    call("member.add.private", "image", "POST", f"/v2/images/{formless['id']}/members", {"member": tenant.project_id})
    call("image.delete.missing", "image", "DELETE", f"/v2/images/{uuid.uuid4()}")
    return str(image["id"])
