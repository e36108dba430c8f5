"""What the two clouds hold, as their own APIs tell it; no code of the library under test is involved.

A view is nested dictionaries, kind -> id -> facts, without what changes by itself (times, revisions, links), so
that two views of an untouched cloud are equal and `differences` can say what was touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from .rest import ApiError, Session

View = dict[str, dict[str, Any]]

#: What changes without anybody changing the object.
VOLATILE = frozenset(
    {
        "created_at", "file", "links", "OS-SRV-USG:launched_at", "OS-SRV-USG:terminated_at", "progress",
        "revision_number", "schema", "self", "updated", "updated_at",
    }
)  # fmt: skip
NOVA_2_10 = {"X-OpenStack-Nova-API-Version": "2.10"}
NOVA_2_4 = {"X-OpenStack-Nova-API-Version": "2.4"}
#: From here on Nova also tells what was done to servers that are gone.
NOVA_2_21 = {"X-OpenStack-Nova-API-Version": "2.21"}


def source_view(admin: Session) -> View:
    """Everything that people made in the source."""
    tenants = admin.call("GET", "identity", "/tenants", interface="admin")["tenants"]
    v3 = admin.endpoints["identity", "public"].removesuffix("/v2.0") + "/v3"
    flavors = admin.call("GET", "compute", "/flavors/detail?is_public=None")["flavors"]
    return {
        "projects": _by("id", tenants),
        "users": _by("id", admin.call("GET", "identity", "/users", interface="admin")["users"]),
        "roles": _by("id", admin.call("GET", v3, "/roles")["roles"]),
        "assignments": _assignments(admin, v3),
        "images": _images(admin),
        "flavors": _flavors(admin, flavors),
        "servers": _by("id", admin.call("GET", "compute", "/servers/detail?all_tenants=1")["servers"]),
        "security_groups": _by(
            "id", admin.call("GET", "compute", "/os-security-groups?all_tenants=1")["security_groups"]
        ),
        "networks": _by("id", admin.call("GET", "compute", "/os-networks")["networks"]),
        "floating_ips": _by("address", admin.call("GET", "compute", "/os-floating-ips-bulk")["floating_ip_info"]),
        "quotas": {
            tenant["id"]: admin.call("GET", "compute", f"/os-quota-sets/{tenant['id']}")["quota_set"]
            for tenant in tenants
        },
    }


def destination_view(admin: Session) -> View:
    """Everything that people made in the destination."""
    users = admin.call("GET", "identity", "/users")["users"]
    flavors = admin.call("GET", "compute", "/flavors/detail?is_public=None")["flavors"]
    keypairs = {
        f"{user['name']}/{pair['keypair']['name']}": _steady(pair["keypair"])
        for user in users
        for pair in admin.call("GET", "compute", f"/os-keypairs?user_id={user['id']}", headers=NOVA_2_10)["keypairs"]
    }
    servers = admin.call("GET", "compute", "/servers/detail?all_tenants=1")["servers"]
    return {
        "projects": _by("id", admin.call("GET", "identity", "/projects")["projects"]),
        "users": _by("id", users),
        "roles": _by("id", admin.call("GET", "identity", "/roles")["roles"]),
        "assignments": _assignments(admin, admin.endpoints["identity", "public"]),
        "images": _images(admin),
        "flavors": _flavors(admin, flavors),
        "servers": _by("id", servers),
        "keypairs": keypairs,
        # the whole default class of quotas is one object
        "quotas": {"default": admin.call("GET", "compute", "/os-quota-class-sets/default")["quota_class_set"]},
        **{
            kind: _by("id", admin.call("GET", "network", f"/v2.0/{kind.replace('_', '-')}")[kind])
            for kind in ("networks", "subnets", "ports", "routers", "security_groups")
        },
        "floating_ips": _by("id", admin.call("GET", "network", "/v2.0/floatingips")["floatingips"]),
    }


def differences(before: View, after: View) -> list[str]:
    """What distinguishes two views, a line each: gone, new, or changed and in what."""
    found = []
    for kind in sorted({*before, *after}):
        old, new = before.get(kind, {}), after.get(kind, {})
        found += [f"{kind} {key} is gone: {_named(old[key])}" for key in sorted(old.keys() - new.keys())]
        found += [f"{kind} {key} is new: {_named(new[key])}" for key in sorted(new.keys() - old.keys())]
        for key in sorted(old.keys() & new.keys()):
            if old[key] != new[key]:
                found.append(f"{kind} {key} ({_named(old[key])}) changed: {'; '.join(_changes(old[key], new[key]))}")
    return found


def only(view: View, keep: Callable[[str, Any], bool]) -> View:
    """The part of a view whose objects satisfy `keep(kind, facts)`."""
    return {kind: {key: facts for key, facts in items.items() if keep(kind, facts)} for kind, items in view.items()}


def new_in(before: View, after: View) -> View:
    """What the second view holds and the first does not."""
    return {
        kind: {key: facts for key, facts in items.items() if key not in before.get(kind, {})}
        for kind, items in after.items()
    }


def named(view: View, kind: str, name: str) -> dict[str, Any]:
    """The one object of that name."""
    found = [facts for facts in view[kind].values() if facts["name"] == name]
    assert len(found) == 1, f"{len(found)} {kind} are called {name}"
    facts: dict[str, Any] = found[0]
    return facts


def addresses(server: dict[str, Any], kind: str) -> dict[str, str]:
    """{address: MAC} of a server's fixed or floating addresses, as Nova shows them."""
    return {
        one["addr"]: one["OS-EXT-IPS-MAC:mac_addr"]
        for listed in server["addresses"].values()
        for one in listed
        if one["OS-EXT-IPS:type"] == kind
    }


def image_sha256(admin: Session, image_id: str) -> str:
    """Digest of an image's bytes as Glance gives them out."""
    return hashlib.sha256(admin.reply("GET", "image", f"/v2/images/{image_id}/file").content).hexdigest()


def fixed_ip(admin: Session, address: str) -> dict[str, Any]:
    """nova-network's word on a fixed IP, `reserved` included."""
    facts: dict[str, Any] = admin.call("GET", "computev21", f"/os-fixed-ips/{address}", headers=NOVA_2_4)["fixed_ip"]
    return facts


def action_times(admin: Session, server_id: str, action: str) -> tuple[str, str]:
    """(begin, end) of the last action of that kind, by Nova's own log of a server; both clouds share one clock.

    To the whole second: the destination's nova cuts the fraction off (``:31.000000`` for anything in that second), the
    source's keeps it, so that within one second neither tells which came first.
    """
    base = f"/servers/{server_id}/os-instance-actions"
    listed = admin.call("GET", "compute", base, headers=NOVA_2_21)["instanceActions"]
    last = max((one for one in listed if one["action"] == action), key=lambda one: str(one["start_time"]))
    detail = admin.call("GET", "compute", f"{base}/{last['request_id']}", headers=NOVA_2_21)["instanceAction"]
    whole = len("2026-11-23T15:27:31")
    return str(last["start_time"])[:whole], max(str(event["finish_time"]) for event in detail["events"])[:whole]


def source_rules(group: dict[str, Any]) -> set[tuple[Any, ...]]:
    """A nova-network group's rules as (protocol, from, to, whom), with Neutron's words for "any"."""
    return {
        (
            rule["ip_protocol"],
            *(None if rule[end] == -1 else rule[end] for end in ("from_port", "to_port")),
            rule["group"].get("name") or rule["ip_range"]["cidr"],
        )
        for rule in group["rules"]
    }


def destination_rules(group: dict[str, Any], view: View, direction: str) -> set[tuple[Any, ...]]:
    """A Neutron group's rules of one direction in the same form; no remote at all is everybody."""
    everybody = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
    rules = [rule for rule in group["security_group_rules"] if rule["direction"] == direction]
    return {
        (
            rule["protocol"],
            rule["port_range_min"],
            rule["port_range_max"],
            view["security_groups"][rule["remote_group_id"]]["name"]
            if rule["remote_group_id"]
            else rule["remote_ip_prefix"] or everybody[rule["ethertype"]],
        )
        for rule in rules
    }


def _by(key: str, items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {str(item[key]): _steady(item) for item in items}


def _steady(value: Any) -> Any:
    """Without what changes by itself, and with lists in one order (no API here promises one)."""
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return sorted((_steady(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _assignments(admin: Session, v3: str) -> dict[str, Any]:
    try:
        listed = _steady(admin.call("GET", v3, "/role_assignments")["role_assignments"])
    except ApiError as error:
        if error.status != 404:
            raise
        listed = _pairs(admin, v3)  # Grizzly has no such list
    return {json.dumps(one, sort_keys=True): one for one in listed}


def _pairs(admin: Session, v3: str) -> list[dict[str, Any]]:
    users, projects = (admin.call("GET", v3, f"/{kind}")[kind] for kind in ("users", "projects"))
    return [
        {"role": {"id": role["id"]}, "scope": {"project": {"id": project["id"]}}, "user": {"id": user["id"]}}
        for user in users
        for project in projects
        for role in admin.call("GET", v3, f"/projects/{project['id']}/users/{user['id']}/roles")["roles"]
    ]


def _images(admin: Session) -> dict[str, Any]:
    images = _by("id", admin.call("GET", "image", "/v2/images?limit=1000")["images"])
    for image_id, image in images.items():
        try:
            members = admin.call("GET", "image", f"/v2/images/{image_id}/members")["members"]
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            members = []  # a public image has none, and Glance says so with an error
        image["members"] = sorted(member["member_id"] for member in members)
    return images


def _flavors(admin: Session, listed: list[dict[str, Any]]) -> dict[str, Any]:
    flavors = _by("id", listed)
    for flavor_id, flavor in flavors.items():
        flavor["extra_specs"] = admin.call("GET", "compute", f"/flavors/{flavor_id}/os-extra_specs")["extra_specs"]
        if not flavor["os-flavor-access:is_public"]:
            access = admin.call("GET", "compute", f"/flavors/{flavor_id}/os-flavor-access")["flavor_access"]
            flavor["access"] = sorted(one["tenant_id"] for one in access)
    return flavors


def _named(facts: Any) -> str:
    return str(facts.get("name") or facts.get("address") or facts.get("floating_ip_address") or "no name")


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{key} {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted({*old, *new}, key=str)
        if old.get(key) != new.get(key)
    ]
