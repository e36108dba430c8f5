"""Glance of the lab's destination, through openstacksdk."""

from __future__ import annotations

import hashlib
import io
import socket
import uuid
from urllib.parse import urlsplit

import openstack.exceptions
import pytest
from openstack.connection import Connection

from .running import SDK_WARNINGS, Running, wait_until

pytestmark = SDK_WARNINGS

RAW = {"disk_format": "raw", "container_format": "bare"}


@pytest.fixture
def conn(lab: Running) -> Connection:
    return lab.connect()


def _queued(conn: Connection, **given: object) -> dict[str, object]:
    answer = conn.image.post("/images", json={"name": "an image", **RAW, **given})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_bytes_go_in_streamed_and_come_out_the_same(conn: Connection) -> None:
    chosen = str(uuid.uuid4())
    made = _queued(conn, id=chosen, visibility="private", pumphouse_source_id="abc", min_disk=2)
    assert (made["id"], made["status"], made["checksum"]) == (chosen, "queued", None)
    parts = [bytes([number % 251]) * 70_000 for number in range(20)]
    headers = {"Content-Type": "application/octet-stream"}
    answer = conn.image.put(f"/images/{chosen}/file", data=iter(parts), headers=headers)
    assert answer.status_code == 204, answer.text
    whole = b"".join(parts)
    image = conn.image.get_image(chosen)
    assert (image.status, image.size, image.min_disk) == ("active", len(whole), 2)
    assert image.checksum == hashlib.md5(whole).hexdigest()
    assert image.hash_value == hashlib.sha512(whole).hexdigest()
    sink = io.BytesIO()
    conn.image.download_image(chosen, output=sink)
    assert sink.getvalue() == whole


def test_an_id_once_used_is_never_free_again(conn: Connection) -> None:
    made = _queued(conn)
    assert conn.image.post("/images", json={"id": made["id"]}).status_code == 409
    conn.image.delete_image(made["id"])
    assert conn.image.post("/images", json={"id": made["id"]}).status_code == 409


def test_a_queued_image_has_no_data(conn: Connection) -> None:
    answer = conn.image.get(f"/images/{_queued(conn)['id']}/file")
    assert (answer.status_code, answer.content) == (204, b"")


def test_sdk_upload_and_find_by_property(conn: Connection) -> None:
    data = b"sdk upload" * 100
    made = conn.image.create_image(
        "by sdk", data=io.BytesIO(data), disk_format="raw", container_format="bare", wait=True, flavour="vanilla"
    )
    assert conn.image.get_image(made.id).status == "active"
    # the SDK filters by unknown names only on its own side, so this asks for itself
    assert [item["id"] for item in conn.image.get("/images?flavour=vanilla").json()["images"]] == [made.id]
    assert conn.image.get("/images?flavour=none").json()["images"] == []
    conn.image.delete_image(made.id)
    assert conn.image.find_image(made.id) is None


def test_listing_goes_through_all_pages(fresh_lab: Running) -> None:
    conn = fresh_lab.connect()
    made = {_queued(conn, name=f"page-{number}")["id"] for number in range(60)}
    first = conn.image.get("/images").json()
    assert len(first["images"]) == 25
    assert first["next"].startswith("/v2/images?marker=")
    assert {item.id for item in conn.image.images()} == made


def test_protection_members_and_visibility(lab: Running, conn: Connection) -> None:
    project = conn.identity.create_project(name="image-guests")
    user = conn.identity.create_user(name="gus", password="pw")
    conn.identity.assign_project_role_to_user(project, user, conn.identity.find_role("member"))
    gus = lab.connect("gus", "pw", "image-guests")
    image = _queued(conn, visibility="private")
    assert gus.image.find_image(image["id"]) is None
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    share = [{"op": "replace", "path": "/visibility", "value": "shared"}]
    assert conn.image.patch(f"/images/{image['id']}", json=share, headers=patch).status_code == 200
    conn.image.add_member(image["id"], member_id=project.id)
    assert gus.image.get_image(image["id"]).id == image["id"]
    assert list(gus.image.images(name="an image")) == []
    gus.image.update_member(project.id, image["id"], status="accepted")
    assert [item.id for item in gus.image.images(visibility="shared")] == [image["id"]]
    protect = [{"op": "replace", "path": "/protected", "value": True}]
    assert conn.image.patch(f"/images/{image['id']}", json=protect, headers=patch).status_code == 200
    with pytest.raises(openstack.exceptions.ForbiddenException, match="protected and cannot be deleted"):
        conn.image.delete_image(image["id"])
    with pytest.raises(openstack.exceptions.ForbiddenException):
        gus.image.delete_image(image["id"])
    answer = gus.image.post("/images", json={"visibility": "public", **RAW})
    assert answer.status_code == 403
    owned = _queued(conn, owner=project.id)
    assert gus.image.get_image(owned["id"]).owner_id == project.id


def test_content_of_another_format_is_refused_and_the_image_stays_queued(conn: Connection) -> None:
    image = _queued(conn, disk_format="qcow2")
    headers = {"Content-Type": "application/octet-stream"}
    path = f"/images/{image['id']}/file"
    refused = conn.image.put(path, data=b"random bytes", headers=headers)
    assert refused.status_code == 415
    assert "does not match stream data raw" in refused.text
    assert conn.image.get_image(image["id"]).status == "queued"
    assert conn.image.put(path, data=b"QFI\xfb and so on", headers=headers).status_code == 204


def test_an_upload_that_breaks_off_leaves_the_image_queued(lab: Running, conn: Connection) -> None:
    image = _queued(conn)
    url = urlsplit(conn.image.get_endpoint())
    head = (
        f"PUT /v2/images/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {conn.auth_token}\r\n"
        "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=10) as wire:
        wire.sendall(head.encode() + b"x" * 5000)
        wait_until(lambda: conn.image.get_image(image["id"]).status == "saving")
    wait_until(lambda: conn.image.get_image(image["id"]).status == "queued")
    assert conn.image.get_image(image["id"]).size is None
