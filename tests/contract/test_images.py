"""Images: records, bytes, members."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ApiError, CloudError, Conflict, NotFound
from tests.contract.conftest import Maker, Undo, name, raw_image

MIB = 1 << 20


def pieces(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 251]) * MIB


def test_image_goes_up_and_comes_down_unchanged(cloud: OpenStackCloud, undo: Undo) -> None:
    images = cloud.images
    marks = {"ctr_mark": uuid.uuid4().hex, "ctr_note": "ä b"}
    made = images.create_image(raw_image(name("image"), min_disk_gib=1, min_ram_mib=64, properties=marks))
    undo(images.delete_image, made.id)
    assert (made.status, made.min_disk_gib, made.min_ram_mib, made.visibility) == ("queued", 1, 64, "private")
    assert made.owner_id == cloud.project_id
    assert made.properties == marks
    assert made.id in [one.id for one in images.list_images()]
    images.upload(made.id, pieces(5))
    digest = hashlib.md5(b"".join(pieces(5))).hexdigest()
    active = images.get_image(made.id)
    assert (active.status, active.size_bytes, active.checksum) == ("active", 5 * MIB, digest)
    assert active.properties == marks
    assert active in images.list_images()
    assert images.find_images(ctr_mark=marks["ctr_mark"]) == [active]
    assert images.find_images(ctr_mark=marks["ctr_mark"], ctr_note="other") == []
    got = list(images.download(made.id, chunk_bytes=MIB))
    assert hashlib.md5(b"".join(got)).hexdigest() == digest
    assert max(map(len, got)) <= MIB
    images.delete_image(made.id)
    images.delete_image(made.id)
    with pytest.raises(NotFound) as gone:
        images.get_image(made.id)
    assert made.id in str(gone.value)


def test_image_without_data_is_not_downloaded(cloud: OpenStackCloud, undo: Undo) -> None:
    made = cloud.images.create_image(raw_image(name("queued")))
    undo(cloud.images.delete_image, made.id)
    with pytest.raises(CloudError, match="queued"):
        cloud.images.download(made.id)
    with pytest.raises(NotFound):
        cloud.images.download(str(uuid.uuid4()))


def test_a_broken_upload_never_makes_an_active_image(cloud: OpenStackCloud, undo: Undo) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a" * MIB
        raise CloudError("the source went away")

    made = cloud.images.create_image(raw_image(name("broken")))
    undo(cloud.images.delete_image, made.id)
    with pytest.raises(CloudError, match="the source went away"):
        cloud.images.upload(made.id, broken())
    assert cloud.images.get_image(made.id).status != "active"


def test_protected_image_is_not_deleted(make: Maker) -> None:
    images, image = make.cloud.images, make.image()
    images.set_protected(image.id, protected=True)
    make.undo(images.set_protected, image.id, protected=False)
    protected = images.get_image(image.id)
    assert protected.protected
    assert protected.properties == image.properties
    with pytest.raises(ApiError) as refused:
        images.delete_image(image.id)
    assert refused.value.status == 403
    images.set_protected(image.id, protected=False)
    assert not images.get_image(image.id).protected


def test_image_is_shared_any_number_of_times(make: Maker) -> None:
    images, project = make.cloud.images, make.project()
    made = images.create_image(raw_image(name("shared"), member_ids=(project.id,)))
    make.undo(images.delete_image, made.id)
    images.upload(made.id, iter([b"shared"]))
    images.add_member(made.id, project.id)
    images.add_member(made.id, project.id)
    assert images.get_image(made.id).member_ids == (project.id,)


def test_destination_takes_id_owner_and_other_properties(destination: OpenStackCloud, undo: Undo) -> None:
    make = Maker(destination, undo)
    project, wanted = make.project(), str(uuid.uuid4())
    like = raw_image(name("copy"), properties={"a": "1"}, tags=("t1", "t2"))
    made = destination.images.create_image(like, image_id=wanted, owner_id=project.id, properties={"b": "2"})
    undo(destination.images.delete_image, wanted)
    assert (made.id, made.owner_id, dict(made.properties)) == (wanted, project.id, {"b": "2"})
    assert sorted(made.tags) == ["t1", "t2"]
    with pytest.raises(Conflict):
        destination.images.create_image(like, image_id=wanted)
    destination.images.delete_image(wanted)
    with pytest.raises(Conflict):
        destination.images.create_image(like, image_id=wanted)


@pytest.mark.parametrize("visibility", ["public", "community"])
def test_destination_keeps_visibility(destination: OpenStackCloud, undo: Undo, visibility: str) -> None:
    made = destination.images.create_image(raw_image(name(visibility), visibility=visibility))
    undo(destination.images.delete_image, made.id)
    assert made.visibility == visibility
    assert made.id in [one.id for one in destination.images.list_images()]


def test_an_upload_of_known_size_is_digested_at_both_ends(cloud: OpenStackCloud, undo: Undo) -> None:
    images = cloud.images
    made = images.create_image(raw_image(name("sized")))
    undo(images.delete_image, made.id)
    passed: list[int] = []
    active = images.upload(made.id, pieces(3), size_bytes=3 * MIB, passed=passed.append)
    whole = b"".join(pieces(3))
    assert passed == [MIB, 2 * MIB, 3 * MIB]
    assert (active.status, active.size_bytes, active.checksum) == ("active", 3 * MIB, hashlib.md5(whole).hexdigest())
    assert active.hash_value in (None, hashlib.sha512(whole).hexdigest())


@pytest.mark.parametrize("size", [MIB, 5 * MIB], ids=["too much", "too little"])
def test_an_upload_of_another_size_than_was_said_never_makes_an_active_image(
    cloud: OpenStackCloud, undo: Undo, size: int
) -> None:
    made = cloud.images.create_image(raw_image(name("missized")))
    undo(cloud.images.delete_image, made.id)
    with pytest.raises(CloudError):
        cloud.images.upload(made.id, pieces(3), size_bytes=size)
    assert cloud.images.get_image(made.id).status != "active"


def test_a_member_decides_for_itself_where_it_is_not_accepted_for(destination: OpenStackCloud, undo: Undo) -> None:
    make = Maker(destination, undo)
    images, project = destination.images, make.project()
    made = images.create_image(raw_image(name("pending"), member_ids=(project.id,)))
    undo(images.delete_image, made.id)
    images.add_member(made.id, project.id, accept=False)
    assert images.get_image(made.id).pending_ids == (project.id,)
    images.add_member(made.id, project.id)
    assert images.get_image(made.id).pending_ids == ()


def test_an_image_is_given_to_another_project(destination: OpenStackCloud, undo: Undo) -> None:
    make = Maker(destination, undo)
    images, project = destination.images, make.project()
    made = images.create_image(raw_image(name("given"), visibility="shared", properties={"kept": "yes"}))
    undo(images.delete_image, made.id)
    images.set_owner(made.id, project.id, visibility="private")
    found = images.get_image(made.id)
    assert (found.owner_id, found.visibility, dict(found.properties)) == (project.id, "private", {"kept": "yes"})


def test_destination_tells_which_formats_it_takes(destination: OpenStackCloud) -> None:
    properties = destination.images.schema()["properties"]
    assert {"raw", "qcow2"} <= set(properties["disk_format"]["enum"])
    assert "bare" in properties["container_format"]["enum"]
