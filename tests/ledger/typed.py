"""Which objects an answer of an OpenStack API holds, and which fields these have.

An answer may be a recorded body or only its shape, in which strings name JSON types (``"str|null"``), ``key?`` is a
key that some of the records have, and ``*`` any key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pumphouse.ledger import leaves

FieldPath = tuple[str, ...]
Fields = dict[tuple[FieldPath, str], int]

#: Key of an answer -> type in the ledger, by service.
IDENTITY = {
    **dict.fromkeys(("tenant", "tenants", "project", "projects"), "project"),
    **dict.fromkeys(("user", "users"), "user"),
    **dict.fromkeys(("role", "roles"), "role"),
    "role_assignments": "role_assignment",
    **dict.fromkeys(("OS-KSADM:services", "services", "service", "catalog"), "service"),
    **dict.fromkeys(("domains", "domain"), "domain"),
    **dict.fromkeys(("groups", "group"), "group"),
    **dict.fromkeys(("endpoints", "endpoint"), "endpoint"),
    "regions": "region",
    "access": "access",
    "token": "token",
}
IMAGE = {
    **dict.fromkeys(("image", "images"), "image"),
    **dict.fromkeys(("members", "shared_images"), "image_member"),
    "stores": "store",
    "import-methods": "import_method",
}
COMPUTE = {
    **dict.fromkeys(("server", "servers"), "server"),
    **dict.fromkeys(("flavor", "flavors"), "flavor"),
    "flavor_access": "flavor_access",
    **dict.fromkeys(("keypair", "keypairs"), "keypair"),
    **dict.fromkeys(("security_group", "security_groups"), "security_group"),
    "security_group_rule": "security_group_rule",
    **dict.fromkeys(("network", "networks"), "network"),
    "fixed_ip": "fixed_ip",
    **dict.fromkeys(("floating_ip", "floating_ips", "floating_ip_info"), "floating_ip"),
    "quota_set": "quota_set",
    "virtual_interfaces": "virtual_interface",
    "images": "nova_image",
    "agents": "agent",
    **dict.fromkeys(("aggregate", "aggregates"), "aggregate"),
    "availabilityZoneInfo": "availability_zone",
    "cells": "cell",
    "certificate": "certificate",
    "cloudpipes": "cloudpipe",
    **dict.fromkeys(("host", "hosts"), "host"),
    **dict.fromkeys(("hypervisor", "hypervisors"), "hypervisor"),
    "hypervisor_statistics": "hypervisor_statistics",
    **dict.fromkeys(("service", "services"), "service"),
    **dict.fromkeys(("instanceAction", "instanceActions"), "instance_action"),
    "instance_usage_audit_logs": "audit_log",
    "migrations": "migration",
    **dict.fromkeys(("tenant_usage", "tenant_usages"), "usage"),
    **dict.fromkeys(("server_group", "server_groups"), "server_group"),
    **dict.fromkeys(("volumeAttachment", "volumeAttachments"), "volume_attachment"),
    "security_group_default_rules": "security_group_default_rule",
    "domain_entries": "dns_domain",
    "floating_ip_pools": "floating_ip_pool",
    **dict.fromkeys(("floating_ips_bulk_create", "floating_ips_bulk_delete"), "floating_range"),
    "limits": "limit",
    "quota_class_set": "quota_class_set",
    "output": "console_output",
    "password": "password",
    "interfaceAttachments": "interface_attachment",
}
ANYWHERE = {
    **dict.fromkeys(("version", "versions"), "version"),
    **dict.fromkeys(("extension", "extensions"), "extension"),
}
#: Parts of a record that have an answer of their own: key -> type and key there.
PARTS = {
    "extra_specs": ("flavor", "extra_specs"),
    "metadata": ("server", "metadata"),
    "meta": ("server", "metadata"),
    "addresses": ("server", "addresses"),
    "adminPass": ("server", "adminPass"),
    "tags": ("server", "tags"),
}
#: What stands around a list: where its pages are.
ENVELOPE = frozenset({"links", "first", "next", "schema", "truncated"})


def objects(service: str, path: str, body: Any) -> Iterator[tuple[str, Any]]:
    """(type, record) for everything in an answer; the type is ``?KEY`` where nobody has thought of it."""
    service = service.removesuffix("-admin")
    if not isinstance(body, dict) or "binary_bytes" in body:
        return
    keys = {key.removesuffix("?") for key in body}
    if service == "image" and "disk_format" in keys:
        yield "image", body
    elif service == "image" and "member_id" in keys:
        yield "image_member", body
    elif service == "image" and "properties" in keys and "name" in keys:
        yield "schema", body
    elif path.endswith("/diagnostics"):
        yield "diagnostics", body
    elif path.endswith((".specs.get", ".specs.put")):
        yield "flavor", {"extra_specs": body}
    elif "/os-hosts" in path:
        yield "host", body
    else:
        known = {"identity": IDENTITY, "image": IMAGE, "compute": COMPUTE}[service] | ANYWHERE
        for marked, value in body.items():
            key = marked.removesuffix("?")
            if key in PARTS:
                kind, name = PARTS[key]
                yield kind, {name: value}
            elif key not in ENVELOPE and not key.endswith("_links"):
                yield from _records(known.get(key, f"?{key}"), value)


def _records(kind: str, value: Any) -> Iterator[tuple[str, Any]]:
    for item in value if isinstance(value, list) else [value]:
        record = item
        if isinstance(item, dict) and item.keys() == {"keypair"}:
            record = item["keypair"]
        if not isinstance(record, dict):
            if record != "any":
                yield kind, {"": record}
            continue
        if kind == "security_group" and "rules" in record:
            for rule in record["rules"]:
                if isinstance(rule, dict):
                    yield "security_group_rule", rule
            record = {**record, "rules": []}
        yield kind, record


def add(fields: dict[str, Fields], kind: str, record: Any) -> None:
    """Count the fields of a recorded object."""
    known = fields.setdefault(kind, {})
    for path, json_type in leaves(record):
        known[path, json_type] = known.get((path, json_type), 0) + 1


def add_shape(fields: dict[str, Fields], kind: str, shape: Any) -> None:
    """Count the fields of a recorded object of which only the shape was kept."""
    known = fields.setdefault(kind, {})
    for path, json_type in _shape_leaves(shape, ()):
        known[path, json_type] = known.get((path, json_type), 0) + 1


def _shape_leaves(shape: Any, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    if shape in ({"*": "any"}, {}, "any"):
        yield path, "object"
    elif isinstance(shape, dict):
        for key, item in shape.items():
            yield from _shape_leaves(item, (*path, key.removesuffix("?")))
    elif isinstance(shape, list):
        inner = [item for item in shape if item not in ("?", "any")]
        if len(inner) < len(shape) or not inner:
            yield path, "list"
        for item in inner:
            yield from _shape_leaves(item, (*path, "[]"))
    else:
        for json_type in str(shape).split("|"):
            if json_type != "any":  # of some that were empty nothing more is known
                yield path, json_type
