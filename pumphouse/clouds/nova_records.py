"""Nova's JSON as our records, for every release since Grizzly."""

from __future__ import annotations

from collections.abc import Iterable

from pumphouse.clouds.parse import Doc
from pumphouse.model import (
    Address,
    Aggregate,
    AvailabilityZone,
    Flavor,
    Hypervisor,
    Keypair,
    Quota,
    Server,
    ServerAction,
    Service,
    Usage,
)

#: Quota -> what ``GET /limits`` calls its use.
USED = {
    "instances": "totalInstancesUsed",
    "cores": "totalCoresUsed",
    "ram": "totalRAMUsed",
    "floating_ips": "totalFloatingIpsUsed",
    "security_groups": "totalSecurityGroupsUsed",
}

#: Where a server's record names its volumes, from Havana on.
VOLUMES_KEY = "os-extended-volumes:volumes_attached"


def server_of(doc: Doc) -> Server:
    """A server from a detailed record. Nova of 2014 embeds only the flavor's id, and of a lost one nothing at all."""
    addresses, floating = addresses_of(doc.maybe_doc("addresses"))
    volumes = doc.maybe_docs(VOLUMES_KEY)
    return Server(
        id=doc.text("id"),
        name=doc.maybe_text("name") or "",
        project_id=doc.text("tenant_id"),
        user_id=doc.maybe_text("user_id") or "",
        status=doc.text("status").upper(),
        task_state=doc.maybe_text("OS-EXT-STS:task_state") or None,
        vm_state=doc.maybe_text("OS-EXT-STS:vm_state") or None,
        power_state=doc.maybe_whole("OS-EXT-STS:power_state"),
        host=doc.maybe_text("OS-EXT-SRV-ATTR:host") or None,
        availability_zone=doc.maybe_text("OS-EXT-AZ:availability_zone") or None,
        flavor_id=doc.maybe_doc("flavor").maybe_text("id") or "",
        image_id=doc.maybe_doc("image").maybe_text("id"),
        key_name=doc.maybe_text("key_name") or None,
        security_groups=tuple(dict.fromkeys(group.text("name") for group in doc.maybe_docs("security_groups"))),
        metadata=doc.mapping("metadata"),
        addresses=addresses,
        floating_ips=floating,
        config_drive=doc.flag("config_drive", False),
        created_at=doc.stamp("created"),
        volume_ids=tuple(volume.text("id") for volume in volumes),
        fault=doc.maybe_doc("fault").maybe_text("message"),
        updated_at=doc.stamp("updated"),
        locked=doc.flag("locked", False) if "locked" in doc else None,
    )


def addresses_of(networks: Doc) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    """Fixed addresses with their network's name, and floating addresses."""
    fixed: list[Address] = []
    floating: list[str] = []
    for network in networks.keys():  # noqa: SIM118 - a Doc is not a mapping
        for entry in networks.maybe_docs(network):
            if entry.maybe_text("OS-EXT-IPS:type") == "floating":
                floating.append(entry.text("addr"))
                continue
            mac = entry.maybe_text("OS-EXT-IPS-MAC:mac_addr")
            fixed.append(
                Address(
                    network=network,
                    address=entry.text("addr"),
                    mac=mac.lower() if mac else None,
                    version=entry.whole("version", 4),
                )
            )
    return tuple(fixed), tuple(floating)


def flavor_of(doc: Doc) -> Flavor:
    """A flavor without its extra specs and access list."""
    return Flavor(
        id=doc.text("id"),
        name=doc.text("name"),
        vcpus=doc.whole("vcpus"),
        ram_mib=doc.whole("ram"),
        disk_gib=doc.whole("disk", 0),
        ephemeral_gib=doc.whole("OS-FLV-EXT-DATA:ephemeral", 0),
        swap_mib=doc.whole("swap", 0),
        rxtx_factor=doc.real("rxtx_factor", 1.0),
        is_public=doc.flag("os-flavor-access:is_public", True),
        disabled=doc.flag("OS-FLV-DISABLED:disabled", False),
    )


def keypair_of(doc: Doc, user_id: str) -> Keypair:
    """A keypair's public half."""
    return Keypair(
        user_id=doc.maybe_text("user_id") or user_id,
        name=doc.text("name"),
        public_key=doc.text("public_key"),
        fingerprint=doc.maybe_text("fingerprint") or "",
        type=doc.maybe_text("type") or "ssh",
    )


def host_service_of(doc: Doc) -> Service:
    """A Nova service on a host; Grizzly tells neither id nor reason."""
    return Service(
        binary=doc.text("binary"),
        host=doc.text("host"),
        zone=doc.maybe_text("zone") or "",
        status=doc.text("status"),
        state=doc.text("state"),
        disabled_reason=doc.maybe_text("disabled_reason") or None,
        id=doc.maybe_text("id"),
    )


def services_of(docs: Iterable[Doc]) -> list[Service]:
    """Services on hosts, each once: of rows that nothing tells apart the one that is alive.

    Nova's database of before Havana has no key that keeps a service from being recorded twice; one of the two is dead.
    """
    found: dict[tuple[str, str, str | None], Service] = {}
    for one in map(host_service_of, docs):
        key = (one.host, one.binary, one.id)
        if key not in found or (found[key].state != "up" and one.state == "up"):
            found[key] = one
    return list(found.values())


def hypervisor_of(doc: Doc) -> Hypervisor:
    """A hypervisor with what it has and uses; rows from before Folsom may be without a name of their own."""
    host = doc.maybe_doc("service").maybe_text("host")
    return Hypervisor(
        id=doc.text("id"),
        hostname=doc.maybe_text("hypervisor_hostname") or host or "",
        host=host,
        vcpus=doc.maybe_whole("vcpus"),
        vcpus_used=doc.maybe_whole("vcpus_used"),
        ram_mib=doc.maybe_whole("memory_mb"),
        ram_used_mib=doc.maybe_whole("memory_mb_used"),
        disk_gib=doc.maybe_whole("local_gb"),
        disk_used_gib=doc.maybe_whole("local_gb_used"),
        running_vms=doc.maybe_whole("running_vms"),
        type=doc.maybe_text("hypervisor_type"),
    )


def quota_of(doc: Doc, project_id: str) -> Quota:
    """Limits from a quota set, whose ``id`` is the project's."""
    limits = {key: doc.whole(key) for key in doc.keys() if key not in ("id", "class_name") and key in doc}  # noqa: SIM118
    return Quota(project_id=project_id, limits=limits)


def usage_of(doc: Doc, project_id: str) -> Usage:
    """Nova's own account of what a project uses, from its absolute limits."""
    found = {name: doc.maybe_whole(key) for name, key in USED.items()}
    return Usage(project_id, {name: value for name, value in found.items() if value is not None})


def zone_of(doc: Doc) -> AvailabilityZone:
    """An availability zone."""
    return AvailabilityZone(doc.text("zoneName"), doc.maybe_doc("zoneState").flag("available", True))


def aggregate_of(doc: Doc) -> Aggregate:
    """A host aggregate; its zone is also written into its metadata, where it is no property to match."""
    metadata = {key: value for key, value in doc.mapping("metadata").items() if key != "availability_zone"}
    return Aggregate(
        id=doc.text("id"),
        name=doc.text("name"),
        availability_zone=doc.maybe_text("availability_zone") or None,
        hosts=doc.texts("hosts"),
        metadata=metadata,
    )


def action_of(doc: Doc) -> ServerAction | None:
    """An act on a server; None for one without a time."""
    started_at = doc.stamp("start_time")
    if started_at is None:
        return None
    return ServerAction(name=doc.text("action"), started_at=started_at, user_id=doc.maybe_text("user_id"))
