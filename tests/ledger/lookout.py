"""Both clouds' raw records, as the views of tests/real/observe.py and with what the ledger tells beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.real import observe
from tests.real.rest import ApiError, Session

View = dict[str, dict[str, Any]]
#: Nova's names of network quotas -> Neutron's.
NEUTRON = ("floatingip", "port", "security_group", "security_group_rule")


def source_view(admin: Session, owners: Mapping[str, Session]) -> View:
    """Everything of the source that the ledger speaks of; ``owners`` are logged in, by user id."""
    view = observe.source_view(admin)
    v3 = admin.endpoints["identity", "public"].rpartition("/v2.0")[0] + "/v3"
    addresses = [a["addr"] for s in view["servers"].values() for group in s["addresses"].values() for a in group]
    return {
        **view,
        "projects v3": {one["id"]: one for one in admin.call("GET", v3, "/projects")["projects"]},
        "users v3": {one["id"]: one for one in admin.call("GET", v3, "/users")["users"]},
        "images v1": _images_v1(admin),
        "keypairs": {
            f"{user_id}/{one['keypair']['name']}": one["keypair"]
            for user_id, owner in owners.items()
            for one in owner.call("GET", "compute", "/os-keypairs")["keypairs"]
        },
        "fixed_ips": {address: found for address in addresses if (found := _fixed_ip(admin, address)) is not None},
        "virtual_interfaces": {
            key: admin.call("GET", "compute", f"/servers/{key}/os-virtual-interfaces")["virtual_interfaces"]
            for key in view["servers"]
        },
    }


def destination_view(admin: Session) -> View:
    """Everything of the destination that the ledger speaks of."""
    view = observe.destination_view(admin)
    return {**view, "project_quotas": {key: _quotas(admin, key) for key in view["projects"]}}


def _images_v1(admin: Session) -> dict[str, Any]:
    try:
        listed = admin.call("GET", "image", "/v1/images/detail?is_public=None")["images"]
    except ApiError as error:
        if error.status not in (300, 404):
            raise
        return {}  # Glance of 2018 and later has no v1
    return {one["id"]: one for one in listed}


def _fixed_ip(admin: Session, address: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = admin.call("GET", "compute", f"/os-fixed-ips/{address}")["fixed_ip"]
    except ApiError:
        return None  # a floating one
    return found


def _quotas(admin: Session, project_id: str) -> dict[str, Any]:
    compute = admin.call("GET", "compute", f"/os-quota-sets/{project_id}")["quota_set"]
    network = admin.call("GET", "network", f"/v2.0/quotas/{project_id}")["quota"]
    return {**compute, **{name: network[name] for name in NEUTRON}}
