"""From Nailgun's JSON to our records."""

from __future__ import annotations

from typing import Any

from pumphouse.nodes.fuel.model import (
    FuelDisk,
    FuelEnvironment,
    FuelNetwork,
    FuelNic,
    FuelNode,
    FuelRelease,
    FuelTask,
    FuelVersion,
    NetworkConfiguration,
)
from pumphouse.nodes.fuel.reading import Doc, garbled

_TASK_STATUSES = frozenset({"pending", "running", "ready", "error"})


def version(doc: Doc) -> FuelVersion:
    """``GET /version``. Before 5.1 nothing is said of authentication, and none is wanted."""
    return FuelVersion(
        doc.text("release"), doc.flag("auth_required"), str(doc.raw.get("api") or ""), doc.texts("feature_groups")
    )


def release(doc: Doc) -> FuelRelease:
    """A release. 7.0 dropped the list of roles; their descriptions are there in every release."""
    return FuelRelease(
        id=doc.whole("id"),
        name=doc.text("name"),
        version=doc.maybe_text("version"),
        operating_system=doc.maybe_text("operating_system"),
        available=doc.text("state") == "available" and doc.flag("is_deployable", default=True),
        roles=tuple(doc.texts("roles") or sorted(doc.doc("roles_metadata").raw)),
    )


def environment(doc: Doc) -> FuelEnvironment:
    """A cluster."""
    return FuelEnvironment(
        id=doc.whole("id"),
        name=doc.text("name"),
        status=doc.text("status"),
        mode=doc.text("mode"),
        net_provider=doc.text("net_provider"),
        release_id=doc.whole("release_id"),
        fuel_version=doc.maybe_text("fuel_version"),
    )


def node(doc: Doc) -> FuelNode:
    """A node."""
    meta = doc.doc("meta")
    nics = tuple(
        FuelNic(nic.maybe_text("name"), nic.maybe_text("mac").lower(), nic.maybe_text("ip"), nic.maybe_text("state"))
        for nic in meta.docs("interfaces")
    )
    disks = tuple(
        FuelDisk(disk.maybe_text("name"), disk.about("size"), disk.maybe_text("model")) for disk in meta.docs("disks")
    )
    status = doc.text("status")
    mac = doc.maybe_text("mac").lower()
    return FuelNode(
        id=doc.whole("id"),
        name=doc.maybe_text("name"),
        status=status,
        online=doc.flag("online"),
        environment_id=doc.maybe_whole("cluster"),
        mac=mac,
        macs=tuple(dict.fromkeys(one for one in (mac, *(nic.mac for nic in nics)) if one)),
        ip=doc.maybe_text("ip"),
        serial=meta.doc("system").maybe_text("serial"),
        fqdn=doc.maybe_text("fqdn"),
        hostname=doc.maybe_text("hostname"),
        roles=doc.texts("roles"),
        pending_roles=doc.texts("pending_roles"),
        pending_addition=doc.flag("pending_addition"),
        pending_deletion=doc.flag("pending_deletion"),
        error_type=doc.maybe_text("error_type") if status == "error" else "",
        progress=doc.about("progress") if status in ("provisioning", "deploying") else 0,
        manufacturer=doc.maybe_text("manufacturer"),
        product=doc.maybe_text("platform_name"),
        cpus=meta.doc("cpu").about("total"),
        memory_bytes=meta.doc("memory").about("total"),
        nics=nics,
        disks=disks,
        addresses={
            net.maybe_text("name"): net.maybe_text("ip").partition("/")[0]
            for net in doc.docs("network_data")
            if net.raw.get("ip")
        },
    )


def task(doc: Doc) -> FuelTask:
    """A task.

    :raises NodeGarbled: when its status is none that we know, so that nobody waits for it for ever.
    """
    status = doc.text("status")
    if status not in _TASK_STATUSES:
        raise garbled(doc.where, f"the task status {status!r}")
    return FuelTask(
        id=doc.whole("id"),
        name=doc.text("name"),
        status=status,
        environment_id=doc.maybe_whole("cluster"),
        progress=doc.about("progress"),
        message=" ".join(doc.maybe_text("message").split()),
        uuid=doc.maybe_text("uuid"),
        result=doc.raw.get("result"),
    )


def is_task(raw: Any) -> bool:
    """Whether an answer is a task, and not the document that was set."""
    return isinstance(raw, dict) and {"id", "status", "name"} <= raw.keys() and "networks" not in raw


def networks(doc: Doc, provider: str) -> NetworkConfiguration:
    """``network_configuration``."""
    found = tuple(
        FuelNetwork(
            id=one.whole("id"),
            name=one.text("name"),
            cidr=one.maybe_text("cidr"),
            gateway=one.maybe_text("gateway"),
            ip_ranges=one.pairs("ip_ranges"),
            vlan=one.maybe_whole("vlan_start"),
        )
        for one in doc.docs("networks")
    )
    return NetworkConfiguration(provider, found, doc.doc("networking_parameters").raw, doc.raw)


def vip(doc: Doc, network: str) -> str:
    """A virtual address of ``network_configuration``: its own key, or 7.0's and 8.0's ``vips``."""
    return doc.maybe_text(f"{network}_vip") or doc.doc("vips").doc(network).maybe_text("ipaddr")
