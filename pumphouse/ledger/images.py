"""The ledger's rules for Glance: images and who may use them, by v1 and by v2."""

from __future__ import annotations

from collections.abc import Iterator

from pumphouse.ledger.cases import Case, World, marker_of
from pumphouse.ledger.rules import Rule, Treatment, Verdict, follows, same, shown, shown_under, stays, turned

ADDRESS = "addresses of the source's own API; the destination writes its own"
TIMES = "the copy has its own time"
DELETED = "deleted images are not listed"
PARTS = {"kernel_id": "kernel", "ramdisk_id": "ramdisk"}


def copy_of(world: World, image_id: str) -> tuple[str | None, str]:
    """The id of an image's copy as far as it is known, and why it has that."""
    params = world.params(f"image:{image_id}") or {}
    there = world.mapped("image", image_id)
    twin = params.get("twin_id")
    if twin is not None:
        return there or twin, "an image of the same bytes and the same record: one copy serves both"
    if there in (None, image_id):
        return image_id, "images keep their ids where Glance takes them"
    return there, "Glance gives no id out twice: the copy has another, and pumphouse_source_id names the source's"


def _id(case: Case) -> Verdict:
    there, why = copy_of(case.world, case.key)
    return Verdict(Treatment.COPIED if there == case.key else Treatment.MAPPED, case.key, there, why)


def _there_already(case: Case, attribute: str, value: str | None) -> Verdict | None:
    """The copy that is there already stays as it is, where that differs; None: there is none, or it is the same."""
    found = case.world.counterpart("image", case.key)
    if found is None or found.status != "active" or shown(getattr(found, attribute)) == value:
        return None
    why = "an image of that id and content is there already and keeps the record that it has"
    return Verdict(Treatment.DROPPED, value, reason=why)


def _plain(attribute: str, name: str, reason: str, *, to: str = "") -> Rule:
    def decide(case: Case) -> Verdict:
        value = shown(case.params["image"][attribute])
        return _there_already(case, attribute, value) or Verdict(Treatment.COPIED, value, value)

    return same(name, reason, to=to, decide=decide)


def _visibility(case: Case) -> Verdict:
    source, there = case.told("visibility"), case.params["image"]["visibility"]
    if source in (None, there):
        return _there_already(case, "visibility", there) or Verdict(Treatment.COPIED, there, there)
    return Verdict(Treatment.MAPPED, source, there, "has to be shared, so that those who boot from it see it")


def _is_public(case: Case) -> Verdict:
    source, there = case.told("visibility"), case.params["image"]["visibility"]
    other = _there_already(case, "visibility", there)
    if other is not None:
        return Verdict(Treatment.DROPPED, shown(source == "public"), reason=other.reason)
    return Verdict(Treatment.MAPPED, shown(source == "public"), there)


def _owner(case: Case) -> Verdict:
    source, owner = case.told("owner_id"), case.params["image"]["owner_id"]
    found = case.world.counterpart("image", case.key)
    if found is not None and found.status == "active" and marker_of(found) is None:
        return Verdict(Treatment.DROPPED, source, reason="the image that is there already keeps its owner")
    if owner is not None:
        return Verdict(Treatment.MAPPED, source, case.world.became("project", owner))
    return Verdict(Treatment.MAPPED, source, "(the operator's project)", "the project that owns it is not moved")


def _tags(case: Case) -> Iterator[Verdict]:
    for tag in case.params["image"]["tags"]:
        yield Verdict(Treatment.COPIED, tag, tag)


def _properties(prefix: str) -> Rule:
    def decide(case: Case) -> Iterator[Verdict]:
        found = case.world.counterpart("image", case.key)
        kept = found.properties if found is not None and found.status == "active" else None
        for name, value in case.params["image"]["properties"].items():
            there, why, treatment = value, "", Treatment.COPIED
            if name in PARTS:
                there, why = copy_of(case.world, value)[0] or "", f"the copy of its {PARTS[name]}"
                treatment = Treatment.COPIED if there == value else Treatment.MAPPED
            if kept is not None and kept.get(name) != there:
                why = "an image of that id and content is there already and keeps the record that it has"
                yield Verdict(Treatment.DROPPED, shown_under(name, value), None, why, prefix + name)
            else:
                here, there = shown_under(name, value), shown_under(name, there) or ""
                yield Verdict(treatment, here, there, why, prefix + name)
        for name, why in case.params.get("dropped_properties", {}).items():
            value = case.told("properties")[name] if case.record is not None else None
            yield Verdict(Treatment.DROPPED, shown_under(name, value), None, why, prefix + name)

    reason = "custom properties are copied, whatever they mean"
    return Rule(f"{prefix}*", Treatment.COPIED, reason, "*", lambda case: tuple(decide(case)), ("str", "null"))


IMAGE = (
    same("id", "images keep their ids where Glance takes them", decide=_id),
    _plain("name", "name", "as at the source"),
    follows("status", "only active images are copied"),
    turned("is_public", "as Glance v2 says it", to="visibility", decide=_is_public),
    same("visibility", "as at the source", decide=_visibility),
    turned("owner", "the destination's project", decide=_owner),
    _plain("size_bytes", "size", "the same bytes"),
    _plain("checksum", "checksum", "the same bytes; compared at both ends"),
    follows("os_hash_algo", "Glance digests the same bytes anew"),
    follows("os_hash_value", "Glance digests the same bytes anew"),
    follows("virtual_size", "read from the same bytes; releases of 2014 leave it empty"),
    _plain("disk_format", "disk_format", "as at the source"),
    _plain("container_format", "container_format", "as at the source"),
    _plain("min_disk_gib", "min_disk", "as at the source"),
    _plain("min_ram_mib", "min_ram", "as at the source"),
    _plain("protected", "protected", "as at the source"),
    same("tags", "there is none", decide=lambda _case: ()),
    same("tags[]", "as at the source", decide=lambda case: tuple(_tags(case))),
    _plain("hidden", "os_hidden", "a hidden image stays hidden"),
    stays("created_at", TIMES),
    stays("updated_at", TIMES),
    stays("deleted", DELETED),
    stays("deleted_at", DELETED),
    follows("file", ADDRESS),
    follows("self", ADDRESS),
    follows("schema", ADDRESS),
    follows("direct_url", ADDRESS),
    follows("locations[].**", "where the source's store keeps the bytes; the destination's keeps them elsewhere"),
    follows("locations", "where the source's store keeps the bytes; the destination's keeps them elsewhere"),
    follows("stores", "where the destination's store keeps the bytes"),
    follows("pumphouse_source_id", "our own marker"),
    same("properties", "there is none", decide=lambda _case: ()),
    _properties("properties."),
    _properties(""),
)


def _member(case: Case) -> Verdict:
    project_id = case.key.rpartition("/")[2]
    if project_id in case.params["image"]["member_ids"]:
        return Verdict(Treatment.MAPPED, project_id, case.world.became("project", project_id))
    return Verdict(Treatment.DROPPED, project_id, reason="that project is not moved by this plan")


def _member_status(case: Case) -> Verdict:
    image, project_id = case.params["image"], case.key.rpartition("/")[2]
    found = case.world.source.image(case.params["source_id"])
    source = "pending" if found is not None and project_id in found.pending_ids else "accepted"
    if project_id not in image["member_ids"]:
        return Verdict(Treatment.DROPPED, source, reason="that project is not moved by this plan")
    there = "pending" if project_id in image.get("pending_ids", ()) else "accepted"
    if there == source:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, "its servers boot from it, and so it is accepted in its name")


MEMBER = (
    follows("image_id", "the image's id"),
    turned("member_id", "the destination's project", decide=_member),
    same("status", "whether the member has accepted it", decide=_member_status),
    stays("can_share", "Glance v2 does not have it: members cannot share on"),
    stays("created_at", TIMES),
    stays("updated_at", TIMES),
    follows("schema", ADDRESS),
)

RULES: dict[str, tuple[Rule, ...]] = {"image": IMAGE, "image_member": MEMBER}
