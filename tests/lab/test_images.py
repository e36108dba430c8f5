"""Image bytes are real: streamed in and out, with their MD5, through both API versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


def pieces() -> Iterator[bytes]:
    """Some data, in chunks."""
    for n in range(20):
        yield bytes([n]) * 50_000


DATA = b"".join(pieces())


def test_v2_upload_and_download(acme: Connection) -> None:
    body = {"name": "chunked", "disk_format": "raw", "container_format": "bare", "tags": ["t"], "note": "n"}
    image = acme.image.post("/images", json=body).json()
    assert image["status"] == "queued"
    headers = {"Content-Type": "application/octet-stream"}
    assert acme.image.put(f"/images/{image['id']}/file", data=pieces(), headers=headers).status_code == 204
    shown = acme.image.get(f"/images/{image['id']}").json()
    assert (shown["status"], shown["size"]) == ("active", len(DATA))
    assert shown["checksum"] == hashlib.md5(DATA).hexdigest()
    answer = acme.image.get(f"/images/{image['id']}/file")
    assert answer.content == DATA
    assert answer.headers["Content-MD5"] == shown["checksum"]
    assert acme.image.put(f"/images/{image['id']}/file", data=b"x", headers=headers).status_code == 409
    assert acme.image.delete(f"/images/{image['id']}").status_code == 204
    assert acme.image.get(f"/images/{image['id']}").status_code == 404


def test_v1_upload_and_download(lab: LabSite) -> None:
    admin = lab.connect("old", image_api_version="1")
    headers = {
        "Content-Type": "application/octet-stream",
        "x-image-meta-name": "old-style",
        "x-image-meta-disk_format": "raw",
        "x-image-meta-container_format": "bare",
        "x-image-meta-property-flavour": "old",
    }
    image = admin.image.post("/images", data=pieces(), headers=headers).json()["image"]
    assert image["checksum"] == hashlib.md5(DATA).hexdigest()
    answer = admin.image.get(f"/images/{image['id']}")
    assert answer.content == DATA
    assert answer.headers["X-Image-Meta-Property-Flavour"] == "old"
    head = admin.image.head(f"/images/{image['id']}")
    assert head.headers["X-Image-Meta-Status"] == "active"
    public = [i["id"] for i in admin.image.get("/images/detail").json()["images"]]
    assert image["id"] not in public
    every = [i["id"] for i in admin.image.get("/images/detail?is_public=None").json()["images"]]
    assert image["id"] in every
    assert admin.image.delete(f"/images/{image['id']}").status_code == 200
    again = headers | {"x-image-meta-id": image["id"]}
    assert admin.image.post("/images", data=b"x", headers=again).status_code == 409
    admin.close()


def test_sharing_needs_acceptance_to_be_listed(lab: LabSite) -> None:
    globex, initech = lab.connect("old-globex-user"), lab.connect("old-initech-user")
    image_id = globex.image.get("/images?name=globex-shop").json()["images"][0]["id"]

    def listed() -> bool:
        return image_id in [i["id"] for i in initech.image.get("/images").json()["images"]]

    member = f"/images/{image_id}/members/{initech.current_project_id}"
    assert not listed()
    assert initech.image.get(f"/images/{image_id}").status_code == 200
    assert globex.image.put(member, json={"status": "accepted"}).status_code == 403
    assert initech.image.put(member, json={"status": "accepted"}).json()["status"] == "accepted"
    assert listed()
    assert initech.image.put(member, json={"status": "pending"}).status_code == 200
    assert initech.image.delete(f"/images/{image_id}").status_code == 403
    globex.close()
    initech.close()


def test_populated_images_are_deterministic_and_read_as_their_format(old: Connection) -> None:
    images = {i["name"]: i for i in old.image.get("/images?limit=100").json()["images"]}
    qcow = old.image.get(images["cirros-0.3.2-x86_64"]["file"].removeprefix("/v2")).content
    assert qcow[:4] == b"QFI\xfb"
    assert hashlib.md5(qcow).hexdigest() == images["cirros-0.3.2-x86_64"]["checksum"]
    trio = images["cirros-uec"]
    assert trio["kernel_id"] == images["cirros-uec-kernel"]["id"]
    assert trio["ramdisk_id"] == images["cirros-uec-ramdisk"]["id"]
    assert images["acme-unfinished"]["status"] == "queued"
    assert "initech-legacy" not in images


@pytest.mark.parametrize("body", [{"visibility": "shared"}, {"disk_format": "floppy"}, {"min_disk": "1"}, {"x": 1}])
def test_what_the_schema_does_not_allow(acme: Connection, body: dict[str, object]) -> None:
    assert acme.image.post("/images", json={"name": "no", **body}).status_code == 400


def test_pages_of_images_follow_next(old: Connection) -> None:
    seen, path = [], "/images?limit=4"
    while path:
        page = old.image.get(path).json()
        seen += [i["id"] for i in page["images"]]
        path = page.get("next", "").removeprefix("/v2")
    assert len(seen) == len(set(seen)) >= 9
