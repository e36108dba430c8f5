"""Planning what servers boot from: images that are copied once, properties that are kept, snapshots; and flavors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pumphouse.checks.images import check_images, check_records, is_mislabelled
from pumphouse.clouds.api import Images
from pumphouse.errors import CloudUnreachable, SiteError
from pumphouse.model import MARKER, Flavor, Image
from pumphouse.plan.images import to_copy
from pumphouse.plan.model import Plan
from pumphouse.plan.snapshot import copied_for
from pumphouse.site import Carry, load_site
from pumphouse.steps.progress import Progress, size_text
from tests.core.making import healthy, make_plan, make_step, planned
from tests.factories import kid, make_flavor, make_image, make_server, make_snapshot, uid

WEB1 = uid("acme-web1")


def notes_of(plan: Plan, obj: str) -> list[str]:
    return [note.text for note in plan.notes if note.object == obj]


def web_from(tmp_path: Path, *images: Image, **more: Any) -> tuple[Plan, tuple[Any, ...]]:
    """A plan of one server that boots from the first of these images."""
    server = make_server(image_id=images[0].id)
    source = healthy(images=images, servers=(server,), floating_ips=(), **more.pop("source", {}))
    return planned(tmp_path, "acme-web1", source=source, **more)


@pytest.mark.parametrize(
    ("others", "there", "expected"),
    [((), (), 12), (("aki", "ari"), (), 20), (("aki", "ari", "twin"), (), 20), (("aki", "ari"), ("aki",), 15)],
)
def test_what_is_counted_before_there_is_a_plan_is_what_the_plan_copies(
    tmp_path: Path, others: tuple[str, ...], there: tuple[str, ...], expected: int
) -> None:
    sizes = {"aki": 5, "ari": 3}
    parts = {name: make_image(name, size_bytes=size << 20) for name, size in sizes.items() if name in others}
    properties = {f"{what}_id": uid(name) for what, name in (("kernel", "aki"), ("ramdisk", "ari")) if name in parts}
    root = make_image("ami", properties=properties)
    twin = (replace(root, id=uid("twin")),) if "twin" in others else ()
    copies = tuple(replace(parts[name], id=uid(f"{name}-there"), properties={MARKER: uid(name)}) for name in there)
    destination = make_snapshot("destination", images=copies)
    plan, _ = web_from(tmp_path, root, *twin, *parts.values(), destination=destination)
    counted = to_copy(healthy(images=(root, *twin, *parts.values())), destination, [root.id])
    assert sum(counted.values()) == plan.copy_bytes == expected << 20


@pytest.mark.parametrize("carried", [(), ("acme-web1",), ("acme-web1", "acme-web2")])
def test_a_disk_that_is_carried_by_snapshot_is_counted_nowhere(tmp_path: Path, carried: tuple[str, ...]) -> None:
    """What the picker adds up is what the plan says, whatever ``carry`` is."""
    kernel = make_image("aki", size_bytes=5 << 20)
    one, other = make_image("ami", properties={"kernel_id": kernel.id}), make_image("other", checksum="0" * 32)
    servers = (make_server(image_id=one.id), make_server("acme-web2", image_id=other.id))
    source = healthy(images=(one, other, kernel), servers=servers, floating_ips=())
    carry = Carry(servers=dict.fromkeys(carried, "snapshot"))
    plan, _ = planned(tmp_path, "acme-web1", "acme-web2", source=source, carry=carry)
    counted = copied_for(source, None, carry, [server.id for server in servers])
    sizes = {image.id: image.size_bytes for image in (one, other, kernel)}
    left = {kernel.id, *(s.image_id for s in servers if s.name not in carried)}
    assert counted == {image_id: sizes[image_id] for image_id in left}
    assert plan.copy_bytes == sum(counted.values())


# --- one copy per content -----------------------------------------------------------------------------


def twins(**changes: Any) -> tuple[Image, Image]:
    """Two equal records under two ids; the second comes first by id."""
    one, other = make_image(), replace(make_image(), id=uid("twin"), **changes)
    return (one, other) if other.id < one.id else (replace(one, id=uid("twin"), **changes), make_image())


def test_two_equal_images_become_one_copy_whichever_is_asked_for(tmp_path: Path) -> None:
    booted, first = twins()
    assert first.id < booted.id
    plan, _ = web_from(tmp_path, booted, first)
    step = plan.step(f"image:{booted.id}")
    assert step.params["twin_id"] == first.id
    assert f"image:{first.id}" in step.needs
    assert "twin_id" not in plan.step(f"image:{first.id}").params
    assert plan.step(f"boot:{WEB1}").params["image_id"] == booted.id
    assert plan.copy_bytes == first.size_bytes
    assert any(f"equals {first.id}" in text for text in notes_of(plan, "image acme-web"))
    # a plan that needs the first alone makes the very same copy
    again, _ = web_from(tmp_path, first, booted)
    assert again.step(f"image:{first.id}").params == plan.step(f"image:{first.id}").params
    assert f"image:{booted.id}" not in {step.key for step in again.steps}


@pytest.mark.parametrize("changes", [{"name": "other"}, {"properties": {"os": "x"}}, {"owner_id": kid("beta")}])
def test_equal_bytes_under_another_record_are_a_copy_of_their_own(tmp_path: Path, changes: dict[str, Any]) -> None:
    one, other = make_image(), replace(make_image(), id=uid("twin"), **changes)
    servers = (make_server(image_id=one.id), make_server("acme-web2", address="10.10.0.12", image_id=other.id))
    source = healthy(images=(one, other), servers=servers, floating_ips=())
    plan, _ = planned(tmp_path, "acme-web1", "acme-web2", source=source)
    assert all("twin_id" not in plan.step(f"image:{image.id}").params for image in (one, other))
    assert plan.copy_bytes == 2 * (one.size_bytes or 0)
    assert sum("its bytes are copied too" in note.text for note in plan.notes) == 1


def test_an_image_without_checksum_has_no_twin_and_is_said_to_have_none(tmp_path: Path) -> None:
    one, other = (replace(image, checksum=None) for image in twins())
    plan, findings = web_from(tmp_path, one, other)
    assert "twin_id" not in plan.step(f"image:{one.id}").params
    assert [f.severity for f in findings if f.code == "image-no-checksum"] == ["warn"]


def test_what_an_earlier_run_copied_is_not_counted_again(tmp_path: Path) -> None:
    image = make_image()
    copy = replace(image, id=uid("copy"), properties={"pumphouse_source_id": image.id})
    plan, _ = web_from(tmp_path, image, destination=make_snapshot("destination", images=(copy,)))
    assert plan.copy_bytes == 0


# --- records ------------------------------------------------------------------------------------------


def test_properties_are_kept_but_those_that_glance_reserves(tmp_path: Path) -> None:
    kept = {"os_distro": "debian", "hw_disk_bus": "virtio", "owner_id": "x", "instance_uuid": "y"}
    dropped = {"os_glance_import_task": "t", "location": "l", "stores": "s", "k" * 256: "v", "kernel_id": ""}
    plan, _ = web_from(tmp_path, make_image(properties={**kept, **dropped}))
    step = plan.step(f"image:{uid('acme-web')}")
    assert step.params["image"]["properties"] == kept
    assert step.params["dropped_properties"].keys() == dropped.keys()
    (text,) = [text for text in notes_of(plan, "image acme-web") if text.startswith("loses properties")]
    assert "os_glance_import_task (Glance reserves that name)" in text


def test_members_who_have_not_accepted_stay_so_unless_their_servers_move(tmp_path: Path) -> None:
    members = (kid("beta"), kid("acme"))
    image = make_image(owner_id=kid("closed"), member_ids=members, pending_ids=members, visibility="shared")
    beta = make_server("beta-1", address="10.10.0.41", project_id=kid("beta"), image_id=uid("cirros"))
    more = (image, make_image("cirros", visibility="public"))
    source = healthy(images=more, servers=(make_server(image_id=image.id), beta), floating_ips=())
    plan, _ = planned(tmp_path, "acme-web1", "beta-1", source=source)
    document = plan.step(f"image:{image.id}").params["image"]
    assert document["member_ids"] == sorted(members)
    assert document["pending_ids"] == [kid("beta")]


def test_an_empty_image_of_a_volume_is_said_to_be_one(tmp_path: Path) -> None:
    _, findings = web_from(tmp_path, make_image(size_bytes=0, properties={"block_device_mapping": "[]"}))
    (found,) = [finding for finding in findings if finding.code == "image-empty"]
    assert "stands for volumes" in found.message


# --- what the destination takes -----------------------------------------------------------------------


class Schema:
    """The part of a destination's Glance that tells its schema."""

    def __init__(self, **changes: Any) -> None:
        text = {"type": ["null", "string"]}
        known = {
            "name": {**text, "maxLength": 255},
            "disk_format": {**text, "enum": [None, "qcow2", "raw", "ami"]},
            "container_format": {**text, "enum": [None, "bare", "ami"]},
            "min_disk": {"type": "integer"},
            "min_ram": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
            "kernel_id": {**text, "pattern": "^([0-9a-f]){8}-"},
        }
        self.answer = {"properties": {**known, **changes}, "additionalProperties": {"type": "string"}}

    def schema(self) -> Any:
        return self.answer


class Down:
    def schema(self) -> Any:
        raise CloudUnreachable("no answer", remedy="look")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"disk_format": "vmdk"}, ["disk_format 'vmdk'", "allowed are qcow2, raw, ami"]),
        ({"container_format": "ovf"}, ["container_format 'ovf'"]),
        ({"name": "n" * 256}, ["name", "maxLength"]),
        ({"tags": ("t" * 256,)}, ["tags.0"]),
        ({"properties": {"kernel_id": "aki-1"}}, ["kernel_id 'aki-1'"]),
    ],
)
def test_what_the_destination_would_refuse_is_found_before(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    image = make_image(**changes)
    kernel = make_image("kernel", id="aki-1", disk_format="ami", container_format="ami")
    plan, _ = web_from(tmp_path, image, kernel)
    findings = check_records(plan, cast(Images, Schema()))
    assert bool(findings) is bool(words)
    for finding in findings:
        assert (finding.severity, finding.code, finding.object) == ("block", "image-refused", f"image {image.name}")
        assert all(word in finding.message for word in words)
        assert image.id in finding.message


def test_a_schema_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    plan, _ = web_from(tmp_path, make_image())
    (found,) = check_records(plan, cast(Images, Down()))
    assert (found.severity, found.code) == ("warn", "image-schema-unknown")
    assert check_records(replace(plan, kind="rollback"), cast(Images, Down())) == ()


@pytest.mark.parametrize(
    ("head", "disk_format", "container_format", "wrong"),
    [
        (b"QFI\xfb", "qcow2", "bare", False),
        (b"QFI\xfb", "raw", "bare", True),
        (b"QFI\xfb", "ami", "ami", False),
        (b"\0" * 0x40 + b"\x7f\x10\xda\xbe", "vdi", "bare", False),
        (b"\0" * 0x44, "vdi", "bare", True),
        (b"KDMV", "raw", "bare", True),
        (b"# Disk DescriptorFile", "vmdk", "bare", False),
        (b"\0" * 512, "vhd", "bare", False),
        (b"\0" * 512, "raw", None, False),
    ],
)
def test_an_image_that_is_not_what_it_says(head: bytes, disk_format: str, container_format: str, wrong: bool) -> None:
    assert is_mislabelled(head, disk_format, container_format) is wrong


def test_the_bytes_of_twins_are_read_once() -> None:
    image = {"name": "web", "disk_format": "raw"}
    first = make_step("image:a", params={"source_id": "a", "image": image})
    twin = make_step("image:b", params={"source_id": "b", "image": image, "twin_id": "a"})
    read: list[str] = []

    class Glance:
        def download(self, image_id: str, *, chunk_bytes: int) -> Any:
            read.append(image_id)
            return iter([b"\0" * chunk_bytes])

    assert check_images(make_plan(first, twin), cast(Images, Glance())) == ()
    assert read == ["a"]


# --- by snapshot --------------------------------------------------------------------------------------


def test_rebuild_is_the_default_and_says_what_it_costs(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    (text,) = [text for text in notes_of(plan, "server acme-web1") if "rebuilt" in text]
    assert "root-disk changes are lost" in text
    assert "`snapshot` under `carry`" in text
    assert not [step for step in plan.steps if step.kind == "snapshot"]


@pytest.mark.parametrize(
    ("carry", "way"),
    [
        (Carry(), "rebuild"),
        (Carry(default="snapshot"), "snapshot"),
        (Carry(servers={"acme-web1": "snapshot"}), "snapshot"),
        (Carry(servers={WEB1: "snapshot"}), "snapshot"),
        (Carry(projects={"acme": "snapshot"}), "snapshot"),
        (Carry(projects={"acme": "snapshot"}, servers={"acme-web1": "rebuild"}), "rebuild"),
        (Carry(projects={"beta": "snapshot"}), "rebuild"),
    ],
)
def test_the_closest_word_decides_how_a_server_is_carried(tmp_path: Path, carry: Carry, way: str) -> None:
    plan, _ = planned(tmp_path, "acme-web1", carry=carry)
    keys = {step.key for step in plan.steps}
    assert (f"snapshot:{WEB1}" in keys) is (way == "snapshot")
    assert (f"image:{uid('acme-web')}" in keys) is (way == "rebuild")


def test_site_yaml_says_how_servers_are_carried(tmp_path: Path) -> None:
    text = "schema: 1\nsource: {cloud: a}\ndestination: {cloud: b, clashes: {flavors: adopt}}\n"
    file = tmp_path / "site.yaml"
    file.write_text(f"{text}carry: {{default: snapshot, projects: {{acme: rebuild}}}}\n")
    site = load_site(file)
    assert site.carry == Carry("snapshot", {"acme": "rebuild"})
    assert site.clashes["flavors"] == "adopt"
    file.write_text(f"{text}carry: {{default: teleport}}\n")
    with pytest.raises(SiteError, match=r"carry\.default"):
        load_site(file)


def test_a_snapshot_is_taken_between_stop_and_boot(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, "acme-web1", carry=Carry(default="snapshot"))
    assert [f for f in findings if f.severity == "block"] == []
    snapshot, boot = plan.step(f"snapshot:{WEB1}"), plan.step(f"boot:{WEB1}")
    assert f"stop:{WEB1}" in snapshot.needs
    assert snapshot.key in boot.needs
    assert (snapshot.phase, snapshot.changes, snapshot.server_id) == ("cutover", "both", WEB1)
    assert boot.params["image_id"] == snapshot.params["source_id"] == f"snapshot:{WEB1}"
    (text,) = [text for text in notes_of(plan, "server acme-web1") if "snapshot" in text]
    assert "up to 20 GiB" in text
    assert "205 s of downtime more" in text


def test_a_server_whose_image_is_gone_is_offered_the_snapshot_and_carried_by_it(tmp_path: Path) -> None:
    source = healthy(servers=(make_server(image_id=uid("gone")),), floating_ips=())
    _, findings = planned(tmp_path, "acme-web1", source=source)
    (found,) = [finding for finding in findings if finding.code == "image-missing"]
    assert "carry it by snapshot" in found.remedy
    plan, findings = planned(tmp_path, "acme-web1", source=source, carry=Carry(default="snapshot"))
    assert [f for f in findings if f.severity == "block"] == []
    assert f"snapshot:{WEB1}" in {step.key for step in plan.steps}


# --- flavors ------------------------------------------------------------------------------------------

EQUAL = make_flavor()


def at_destination(*flavors: Flavor) -> dict[str, Any]:
    return {"destination": make_snapshot("destination", flavors=flavors)}


@pytest.mark.parametrize(
    ("there", "policy", "placed"),
    [
        ((), "refuse", ("2", "m1.small")),
        ((EQUAL,), "refuse", ("2", "m1.small")),
        ((replace(EQUAL, access_project_ids=("x",)),), "refuse", ("2", "m1.small")),
        ((replace(EQUAL, ram_mib=4096),), "refuse", "flavor-id-taken"),
        ((replace(EQUAL, extra_specs={"a": "b"}),), "refuse", "flavor-id-taken"),
        ((replace(EQUAL, rxtx_factor=2.0),), "adopt", "flavor-id-taken"),
        ((replace(EQUAL, id="77"),), "refuse", "flavor-name-taken"),
        ((replace(EQUAL, id="77"),), "adopt", ("77", "m1.small")),
        ((replace(EQUAL, id="77", vcpus=9),), "adopt", "flavor-name-taken"),
        ((replace(EQUAL, id="77", name="M1.Small"),), "refuse", "flavor-name-taken"),
        ((replace(EQUAL, id="77", name="M1.Small"),), "adopt", ("77", "M1.Small")),
        ((replace(EQUAL, id="77"),), "rename", ("2", "m1.small-old")),
        ((replace(EQUAL, name="other", vcpus=9),), "adopt", "flavor-id-taken"),
        (
            (replace(EQUAL, vcpus=9), replace(EQUAL, id="5", name="m1.small-old", vcpus=3)),
            "rename",
            "flavor-name-taken",
        ),
    ],
)
def test_a_flavors_place_is_decided_by_policy(
    tmp_path: Path, there: tuple[Flavor, ...], policy: str, placed: tuple[str, str] | str
) -> None:
    plan, findings = planned(tmp_path, "acme-web1", clashes={"flavors": policy}, **at_destination(*there))
    blocking = [finding.code for finding in findings if finding.severity == "block"]
    if isinstance(placed, str):
        assert blocking == [placed]
        return
    assert blocking == []
    document = plan.step("flavor:2").params["flavor"]
    assert (document["id"], document["name"]) == placed
    assert plan.step(f"boot:{WEB1}").params["flavor_id"] == "2"
    assert (placed == ("2", "m1.small")) is not any(note.object == "flavor m1.small" for note in plan.notes)


def test_a_renamed_flavor_keeps_its_new_id_over_plans(tmp_path: Path) -> None:
    theirs = replace(EQUAL, vcpus=9)
    plan, _ = planned(tmp_path, "acme-web1", clashes={"flavors": "rename"}, **at_destination(theirs))
    document = plan.step("flavor:2").params["flavor"]
    assert document["name"] == "m1.small-old"
    assert document["id"] != "2"
    made = replace(EQUAL, id=document["id"], name=document["name"])
    again, findings = planned(tmp_path, "acme-web1", clashes={"flavors": "rename"}, **at_destination(theirs, made))
    assert [f for f in findings if f.severity == "block"] == []
    assert again.step("flavor:2").params["flavor"] == document


def test_a_private_flavor_is_opened_to_whoever_boots_with_it(tmp_path: Path) -> None:
    flavors = (make_flavor(is_public=False, access_project_ids=(kid("closed"),), disabled=True),)
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(flavors=flavors))
    assert plan.step("flavor:2").params["flavor"]["access_project_ids"] == [kid("acme")]
    texts = notes_of(plan, "flavor m1.small")
    assert len(texts) == 3
    assert {"opened", "left", "disabled"} <= {word for text in texts for word in text.split()}


# --- progress -----------------------------------------------------------------------------------------


def test_progress_is_told_now_and_then_with_rate_and_time_left() -> None:
    lines: list[str] = []
    now = [100.0]
    progress = Progress(lines.append, "image web", 200 << 20, clock=lambda: now[0])
    for second in range(1, 41):
        now[0] = 100.0 + second
        progress(second * (5 << 20))
    assert lines == [
        "image web: 50.0 MiB of 200.0 MiB (25 %), 5.0 MiB/s, 30 s left",
        "image web: 100.0 MiB of 200.0 MiB (50 %), 5.0 MiB/s, 20 s left",
        "image web: 150.0 MiB of 200.0 MiB (75 %), 5.0 MiB/s, 10 s left",
        "image web: 200.0 MiB of 200.0 MiB (100 %), 5.0 MiB/s",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1048576.0 TiB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("left", "text"), [(90, "1 min 30 s left"), (7200, "2 h 0 min left")])
def test_long_times_are_written_in_minutes_and_hours(left: int, text: str) -> None:
    now = [0.0]
    progress = Progress(lambda _line: None, "x", 1 + left, clock=lambda: now[0])
    now[0] = 1.0
    progress(1)
    assert progress.line().endswith(text)


def test_an_unknown_size_has_no_end() -> None:
    now = [0.0]
    progress = Progress(lambda _line: None, "x", None, clock=lambda: now[0])
    now[0] = 2.0
    progress(2048)
    assert progress.line() == "x: 2.0 KiB, 1.0 KiB/s"
