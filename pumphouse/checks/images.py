"""Whether the destination's Glance will take the images of a plan: record and first bytes, before a byte is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pumphouse.clouds.api import Images
from pumphouse.errors import CloudError
from pumphouse.findings import Finding
from pumphouse.plan.model import Plan
from pumphouse.schemas import jsonschema

#: Format -> (offset, bytes) by which it is known: oslo.utils' ``format_inspector``, which current Glance and Nova ask.
#: A fixed VHD tells itself only at its end.
MAGIC: Mapping[str, tuple[int, bytes]] = {
    "qcow2": (0, b"QFI\xfb"),
    "vmdk": (0, b"KDMV"),
    "vdi": (0x40, b"\x7f\x10\xda\xbe"),
    "vhdx": (0, b"vhdxfile"),
    "vhd": (0, b"conectix"),
}
#: How much of an image has to be read to know it.
HEAD_BYTES = 512
_CERTAIN = ("qcow2", "vdi", "vhdx")


def format_of(head: bytes) -> str:
    """The disk format that an image's first bytes are of; ``raw`` where they are of none that can be told."""
    found = (name for name, (offset, magic) in MAGIC.items() if head[offset : offset + len(magic)] == magic)
    return next(found, "raw")


def is_mislabelled(head: bytes, disk_format: str | None, container_format: str | None) -> bool:
    """Whether a current Glance or Nova will refuse the image for not being what its record says.

    Only ``bare`` containers are looked into.
    """
    if container_format not in ("bare", None):
        return False
    found = format_of(head)
    if disk_format == "raw":
        return found != "raw"
    return disk_format in _CERTAIN and found != disk_format


def check_images(plan: Plan, images: Images) -> tuple[Finding, ...]:
    """Whether the first bytes of each image to copy are those of its declared format (reads the source).

    Current Glance refuses a mislabelled image with 415 (seen on Glance 33), after all of it was sent; Nova does not
    boot what calls itself raw and is not.
    """
    findings = []
    for step in plan.steps:
        if step.kind != "image" or "twin_id" in step.params:
            continue
        want = step.params["image"]
        label, source_id, declared = f"image {want['name']}", step.params["source_id"], want["disk_format"]
        try:
            head = _head(images, source_id)
        except CloudError as error:
            findings.append(
                Finding(
                    "block",
                    "image-unreadable",
                    label,
                    f"({source_id}) cannot be read: {error.message}",
                    "upload the image again in the source, or leave its servers out.",
                )
            )
            continue
        if is_mislabelled(head, declared, want.get("container_format")):
            found = format_of(head)
            what = f"not those of {declared}" if found == "raw" else f"those of a {found} image"
            findings.append(
                Finding(
                    "block",
                    "image-format",
                    label,
                    f"({source_id}) is declared {declared}, but its first bytes are {what}; a current Glance or Nova "
                    f"refuses that.",
                    "correct disk_format in the source; or accept `image-format` for a lenient Glance.",
                )
            )
    return tuple(findings)


def _head(images: Images, image_id: str) -> bytes:
    chunks = images.download(image_id, chunk_bytes=HEAD_BYTES)
    try:
        return next(iter(chunks), b"")
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def check_records(plan: Plan, images: Images) -> tuple[Finding, ...]:
    """Whether the destination's schema takes each image's record: formats, lengths, properties (reads destination).

    The schema is the destination's own, with the formats that its operator allows.
    """
    steps = [step for step in plan.steps if step.kind == "image" and "twin_id" not in step.params]
    if plan.kind != "move" or not steps:
        return ()
    try:
        schema = images.schema()
    except CloudError as error:
        why = f"has a schema of images that cannot be read: {error.message}"
        return (Finding("warn", "image-schema-unknown", "the destination", why, "look at its Glance."),)
    validator = jsonschema.Draft4Validator(dict(schema))
    return tuple(
        Finding(
            "block",
            "image-refused",
            f"image {step.params['image']['name']}",
            f"({step.params['source_id']}) would be refused by the destination's Glance: {problem}.",
            "correct it in the source (convert it, if it is the format), or allow it in glance-api.conf.",
        )
        for step in steps
        for problem in _problems(validator, step.params["image"])
    )


def _problems(validator: Any, image: Mapping[str, Any]) -> Iterator[str]:
    record = {
        **image["properties"],
        "name": image["name"],
        "disk_format": image["disk_format"],
        "container_format": image["container_format"],
        "min_disk": image["min_disk_gib"],
        "min_ram": image["min_ram_mib"],
        "visibility": image["visibility"],
        "tags": image["tags"],
    }
    for problem in sorted(validator.iter_errors(record), key=lambda found: list(map(str, found.absolute_path))):
        where = ".".join(map(str, problem.absolute_path)) or "the record"
        allowed = ""
        if problem.validator == "enum":
            allowed = f", allowed are {', '.join(str(value) for value in problem.validator_value if value is not None)}"
        yield f"{where} {str(problem.instance)[:80]!r} is against its {problem.validator}{allowed}"
