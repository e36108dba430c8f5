"""The ledger's rules for Nova: servers, flavors, keypairs and quotas."""

from __future__ import annotations

from collections.abc import Iterator

from pumphouse.ledger.cases import Case
from pumphouse.ledger.images import copy_of
from pumphouse.ledger.rules import NOT_SHOWN, Rule, Treatment, Verdict, follows, same, shown, shown_under, stays, turned
from pumphouse.plan.network_quotas import NETWORK
from pumphouse.plan.quotas import COMPUTE

LINKS = "addresses of the source's own API; the destination writes its own"
HOST = "where it ran in the source; the destination's scheduler chooses a host there"
NEWER = "the releases moved from do not have it"
STATE = "follows from the status"


def _id(case: Case) -> Verdict:
    return Verdict(Treatment.MAPPED, case.key, case.world.became("server", case.key))


def _plain(attribute: str, name: str, reason: str, *, to: str = "") -> Rule:
    def decide(case: Case) -> Verdict | tuple[()]:
        if case.record is None:  # finalised since: the source does not show it any more
            return ()
        value = shown(case.told(attribute))
        return Verdict(Treatment.COPIED, value, value)

    return same(name, reason, to=to, decide=decide)


def _status(case: Case) -> Verdict:
    settle = case.step("settle")
    # as planned: by now the source may be down because we stopped it
    source = case.planned.status
    there = settle.params["arrives"] if settle is not None else source
    if source == there:
        return Verdict(Treatment.COPIED, there, there)
    why = "what it holds in RAM stays behind: its copy is built from the image and arrives so"
    return Verdict(Treatment.MAPPED, source, there, why)


def _locked(case: Case) -> Verdict:
    source = case.params.get("locked")
    if source is None:
        why = "this release's API does not tell who locked a server: it arrives unlocked"
        return Verdict(Treatment.DROPPED, None, reason=why)
    return Verdict(Treatment.COPIED, shown(source), shown(source))


def _project(case: Case) -> Verdict:
    project_id = case.params["project_id"]
    return Verdict(Treatment.MAPPED, project_id, case.world.became("project", project_id))


def _user(case: Case) -> Verdict:
    user_id = case.params["user_id"]
    if case.params["as"] == "owner":
        return Verdict(Treatment.MAPPED, user_id, case.world.became("user", user_id))
    why = "its owner cannot boot it there, as the plan's finding `owner-not-kept` says: it belongs to the operator"
    return Verdict(Treatment.MAPPED, user_id, "(the operator's user)", why)


def _image(case: Case) -> Verdict:
    source, booted = case.told("image_id") or case.params["image_id"], case.params["image_id"]
    if booted.startswith("snapshot:"):
        there = case.world.became("image", booted)
        return Verdict(Treatment.MAPPED, source, there, "it boots from the snapshot of its own root disk")
    there, why = copy_of(case.world, booted)
    if booted != source:
        why = "it boots from the image of its disk that shelving left"
    return Verdict(Treatment.COPIED if there == source else Treatment.MAPPED, source, there, why)


def _root_disk(case: Case) -> Verdict:
    if case.params["image_id"].startswith("snapshot:"):
        return Verdict(Treatment.COPIED, reason="carried by a snapshot, taken while the source is down")
    if case.params["image_id"] != case.told("image_id"):
        return Verdict(Treatment.COPIED, reason="carried by the image that shelving left of it")
    return Verdict(Treatment.DROPPED)


def _flavor(case: Case) -> Verdict:
    source = case.params["flavor_id"]
    flavor = case.world.params(f"flavor:{source}")
    there = flavor["flavor"]["id"] if flavor is not None else source
    if there == source:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, "another flavor has its place at the destination")


def _key(case: Case) -> Verdict:
    source, there = case.told("key_name"), case.params["key_name"]
    if source is not None and there is None:
        why = "nobody but its owner can read the key (finding `keypair-unknown`): the server boots without"
        return Verdict(Treatment.DROPPED, source, None, why)
    return Verdict(Treatment.COPIED, there, there)


def _metadata(case: Case) -> Iterator[Verdict]:
    for key in case.params["metadata"]:
        yield Verdict(Treatment.COPIED, NOT_SHOWN, NOT_SHOWN, field=f"metadata.{key}")


def _groups(case: Case) -> Iterator[Verdict]:
    carried = case.params["security_group_ids"]
    names = {group.name for one in carried if (group := case.world.source.security_group(one)) is not None}
    for name in case.told("security_groups") or sorted(names):
        if name in names:
            yield Verdict(Treatment.COPIED, name, name)
        else:
            yield Verdict(Treatment.DROPPED, name, reason="it is not among its project's groups")


def _networks(case: Case) -> Iterator[Verdict]:
    for name in dict.fromkeys(address.network for address in case.told("addresses") or ()):
        there = _network_name(case, name)
        if there is None:
            yield Verdict(Treatment.DROPPED, name, reason="no address on it is carried")
        elif there == name:
            yield Verdict(Treatment.COPIED, name, there)
        else:
            yield Verdict(Treatment.MAPPED, name, there, f"is called {there} at the destination")


def _network_name(case: Case, label: str) -> str | None:
    for step in case.own("port", "open-fixed-ip"):
        params = case.world.params(f"network:{step.params['network_id']}")
        if params is not None and params["source_name"] == label:
            return str(params["name"])
    return None


def _addresses(case: Case) -> Iterator[Verdict]:
    carried = {one["address"] for one in case.params["addresses"]}
    for one in case.told("addresses") or ():
        if one.address in carried:
            yield Verdict(Treatment.COPIED, one.address, one.address)
        else:
            why = "IPv6 addresses stay behind (finding `ipv6-not-carried`)"
            yield Verdict(Treatment.DROPPED, one.address, reason=why)
    moved = {step.params["address"] for step in case.own("floating-ip")}
    for address in case.planned.floating_ips:
        if address in moved:
            yield Verdict(Treatment.COPIED, address, address)
        else:
            yield Verdict(Treatment.DROPPED, address, reason="the plan does not carry it")


def _macs(case: Case) -> Iterator[Verdict]:
    carried = {one["address"]: one["mac"] for one in case.params["addresses"]}
    for one in case.told("addresses") or ():
        if one.address not in carried:
            yield Verdict(Treatment.DROPPED, one.mac, reason="its address stays behind")
        elif carried[one.address]:
            yield Verdict(Treatment.COPIED, one.mac, carried[one.address])
        elif one.mac:
            why = "the destination's nova-network lets nobody choose a MAC: it gives another"
            yield Verdict(Treatment.DROPPED, one.mac, reason=why)


def _zone(case: Case) -> Verdict:
    source, there = case.told("availability_zone"), case.params.get("availability_zone")
    if there is None:
        return Verdict(Treatment.DERIVED, source, reason=HOST)
    treatment = Treatment.COPIED if source == there else Treatment.MAPPED
    why = "the destination has a zone of that name" if source == there else "by the table in site.yaml"
    return Verdict(treatment, source, there, why)


def _user_data(case: Case) -> Verdict:
    carried = case.params.get("user_data")
    if carried:
        digest = f"{{SHA256}}{carried['sha256'][:12]} ({carried['size_bytes']:,} bytes)"
        return Verdict(Treatment.COPIED, digest, digest, "read from Nova's database; its digest is shown, not itself")
    why = "there is none, or it is not known: no API of these releases tells it (finding `user-data-unknown`)"
    return Verdict(Treatment.DROPPED, None, reason=why)


SERVER = (
    turned("id", "Nova gives ids itself; the journal keeps which became which", decide=_id),
    _plain("name", "name", "as at the source"),
    same("status", "a running server arrives running, a stopped one stopped", decide=_status),
    turned("tenant_id", "the destination's project", decide=_project),
    turned("user_id", "the destination's user of that name", decide=_user),
    same("flavor.id", "flavors keep their ids", decide=_flavor),
    follows("flavor.links[].**", LINKS),
    follows("flavor.original_name", "the flavor, written out"),
    follows("flavor.**", "the flavor, written out"),
    same("image.id", "images keep their ids where Glance takes them", decide=_image),
    follows("image.links[].**", LINKS),
    follows("image.properties.**", "the image's own properties"),
    same("key_name", "the keypair of that name", decide=_key),
    same("metadata", "there is none", decide=lambda _case: ()),
    same("metadata.*", "key by key; values may hold secrets", decide=lambda case: tuple(_metadata(case))),
    same("security_groups[].name", "the groups of that name", decide=lambda case: tuple(_groups(case))),
    turned("addresses", "the network of that name", decide=lambda case: tuple(_networks(case))),
    same("addresses.*[].addr", "the same addresses", decide=lambda case: tuple(_addresses(case))),
    same("addresses.*[].version", "goes with the address"),
    same("addresses.*[].OS-EXT-IPS:type", "goes with the address"),
    same("addresses.*[].OS-EXT-IPS-MAC:mac_addr", "the same MAC", decide=lambda case: tuple(_macs(case))),
    _plain("config_drive", "config_drive", "whether it has one"),
    follows("OS-EXT-AZ:availability_zone", HOST, decide=_zone),
    stays("OS-EXT-SRV-ATTR:host", HOST),
    stays("OS-EXT-SRV-ATTR:hypervisor_hostname", HOST),
    stays("OS-EXT-SRV-ATTR:instance_name", "the hypervisor's own name for it"),
    follows("OS-EXT-SRV-ATTR:hostname", "follows from the name"),
    stays("OS-EXT-SRV-ATTR:reservation_id", "the request that booted it; the destination's own takes its place"),
    stays("OS-EXT-SRV-ATTR:launch_index", "its number in the request that booted it"),
    follows("OS-EXT-SRV-ATTR:kernel_id", "follows from the image"),
    follows("OS-EXT-SRV-ATTR:ramdisk_id", "follows from the image"),
    follows("OS-EXT-SRV-ATTR:root_device_name", "follows from the image and the hypervisor"),
    stays("OS-EXT-SRV-ATTR:user_data", "as the database tells it; the API does from Nova 2.3 on", decide=_user_data),
    follows("OS-EXT-STS:power_state", STATE),
    follows("OS-EXT-STS:vm_state", STATE),
    follows("OS-EXT-STS:task_state", "a server with a task under way is not moved"),
    follows("OS-SRV-USG:launched_at", "when the copy was started"),
    stays("OS-SRV-USG:terminated_at", "only deleted servers have it"),
    stays("OS-DCF:diskConfig", "how Nova resized the root disk; the copy's is built anew, as the destination does it"),
    stays("accessIPv4", "a note for clients that Nova itself never uses; set it again where one relies on it"),
    stays("accessIPv6", "a note for clients that Nova itself never uses; set it again where one relies on it"),
    follows("hostId", "a digest of the host and the project"),
    follows("progress", "of a task; none is under way"),
    stays("created", "when the source was made: the copy has its own time, the inventory keeps the source's"),
    stays("updated", "when the source was last changed: the copy has its own time"),
    follows("links[].**", LINKS),
    stays("adminPass", "told once, in the answer to its boot, and known to nobody since"),
    stays("fault.**", "why it failed; a server in ERROR is not moved"),
    stays("os-extended-volumes:volumes_attached", "there is none: a server with volumes is not moved"),
    stays("os-extended-volumes:volumes_attached[].**", "a server with volumes is not moved"),
    same("locked", "a locked server arrives locked", decide=_locked),
    stays("locked_reason", NEWER),
    stays("description", NEWER),
    stays("tags", NEWER),
    stays("tags[]", NEWER),
    stays("trusted_image_certificates[]", NEWER),
    stays("trusted_image_certificates", NEWER),
    stays("server_groups", "it is in none"),
    stays("server_groups[]", "which servers run apart or together is said anew at the destination"),
    stays("scheduler_hints.**", "how its host was chosen in the source"),
    stays("scheduler_hints", "how its host was chosen in the source"),
    stays("host_status", HOST),
    stays("pinned_availability_zone", NEWER),
    follows("db:instances.user_data", "what cloud-init was given", decide=_user_data),
    stays("db:instances.locked_by", "the source is locked by the administrator while its copy lives, to keep it down"),
    stays("db:instance_faults", "why it failed before; it runs now, or is not moved"),
    stays("db:personality", "files put into the first boot; they are on the root disk, which stays behind"),
    stays(
        "root disk",
        "the server is rebuilt from its image, as the stateless servers this is made for expect",
        decide=_root_disk,
    ),
    stays("ephemeral disk", "made anew and empty, of the flavor's size"),
)

SIZES = (("vcpus", "vcpus"), ("ram", "ram_mib"), ("disk", "disk_gib"), ("swap", "swap_mib"))


def _from_plan(attribute: str, name: str, reason: str) -> Rule:
    def decide(case: Case) -> Verdict:
        there = shown(case.params["flavor"][attribute])
        source = shown(case.told(attribute)) if case.record is not None else there
        if source == there:
            return Verdict(Treatment.COPIED, source, there)
        return Verdict(Treatment.MAPPED, source, there, "another flavor has its place at the destination")

    return same(name, reason, decide=decide)


def _extra_specs(case: Case) -> Iterator[Verdict]:
    for key, spec in case.params["flavor"]["extra_specs"].items():
        value = shown_under(key, spec)
        yield Verdict(Treatment.COPIED, value, value, field=f"extra_specs.{key}")


FLAVOR = (
    _from_plan("id", "id", "flavors keep their ids"),
    _from_plan("name", "name", "as at the source"),
    *(_from_plan(attribute, name, "the same size") for name, attribute in SIZES),
    _from_plan("ephemeral_gib", "OS-FLV-EXT-DATA:ephemeral", "the same size"),
    _from_plan("rxtx_factor", "rxtx_factor", "as at the source; Neutron does not use it"),
    _from_plan("is_public", "os-flavor-access:is_public", "private flavors stay private"),
    stays("OS-FLV-DISABLED:disabled", "no API sets it; the copy has to be usable for its servers to boot"),
    stays("description", NEWER),
    same("extra_specs", "there is none", decide=lambda _case: ()),
    same("extra_specs.*", "key by key", decide=lambda case: tuple(_extra_specs(case))),
    follows("links[].**", LINKS),
)


def _access(case: Case) -> Verdict:
    project_id = case.key.rpartition("/")[2]
    if project_id in case.params["flavor"]["access_project_ids"]:
        return Verdict(Treatment.MAPPED, project_id, case.world.became("project", project_id))
    return Verdict(Treatment.DROPPED, project_id, reason="that project is not moved by this plan")


def _flavor_of_access(case: Case) -> Verdict:
    source, there = case.params["source_id"], case.params["flavor"]["id"]
    return Verdict(Treatment.COPIED if source == there else Treatment.MAPPED, source, there)


FLAVOR_ACCESS = (
    same("flavor_id", "flavors keep their ids", decide=_flavor_of_access),
    turned("tenant_id", "the destination's project", decide=_access),
)


def _owner(case: Case) -> Verdict:
    user_id = case.params["user_id"]
    if case.params["as"] == "owner":
        return Verdict(Treatment.MAPPED, user_id, case.world.became("user", user_id))
    why = "its owner cannot boot there, so that it is imported for whoever does: the operator"
    return Verdict(Treatment.MAPPED, user_id, "(the operator's user)", why)


def _fingerprint(case: Case) -> Verdict:
    return Verdict(Treatment.DERIVED, case.told("fingerprint"))


KEYPAIR = (
    _plain("name", "name", "as at the source"),
    same("public_key", "type and key", decide=lambda _case: Verdict(Treatment.COPIED, NOT_SHOWN, NOT_SHOWN)),
    follows("fingerprint", "of the same key; the destination computes it, perhaps in another way", decide=_fingerprint),
    turned("user_id", "its owner, or the operator", decide=_owner),
    stays("private_key", "told once, when Nova makes a key, and known to its owner alone"),
    stays("id", "Nova's own number"),
    stays("created_at", "the copy has its own time"),
    stays("updated_at", "the copy has its own time"),
    stays("deleted", "deleted ones are not listed"),
    stays("deleted_at", "deleted ones are not listed"),
    follows("type", "only SSH keys are known to the releases moved from"),
)


def _limit(name: str) -> Rule:
    there_name = NETWORK.get(name, name)
    step_kind = "network-quota" if name in NETWORK else "quota"

    def decide(case: Case) -> Verdict | tuple[()]:
        limits = case.told("limits") or {}
        if name not in limits:
            return ()
        source = shown(limits[name])
        limits_there = (case.world.params(f"{step_kind}:{case.key}") or {}).get("limits", {})
        if there_name in limits_there:
            there = shown(limits_there[there_name])
            treatment = Treatment.COPIED if there == source else Treatment.MAPPED
            return Verdict(treatment, source, there, f"as Neutron counts {there_name}s" if name in NETWORK else "")
        default = case.world.source.default_quota
        if default is not None and shown(default.limits.get(name)) == source:
            return Verdict(Treatment.DROPPED, source, reason="nobody chose it: the destination's own default holds")
        return Verdict(Treatment.DROPPED, source, reason="the destination's own quota of the project holds")

    return same(name, "the limit that somebody gave the project", to=there_name, decide=decide)


QUOTA = (
    follows("id", "the project's id"),
    *(_limit(name) for name in (*COMPUTE, *NETWORK)),
    stays("networks", "projects own no networks under FlatDHCP"),
)

RULES: dict[str, tuple[Rule, ...]] = {
    "server": SERVER,
    "flavor": FLAVOR,
    "flavor_access": FLAVOR_ACCESS,
    "keypair": KEYPAIR,
    "quota_set": QUOTA,
}
