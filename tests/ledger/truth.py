"""Holding a ledger against both clouds: what it calls copied is equal there, what it calls mapped is what it says.

Works on the raw records of both clouds' APIs (views as of tests/real/observe.py), never through pumphouse's own reading
of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pumphouse.ledger import RULES, Entry, Treatment, join, shown, split, values_at
from pumphouse.ledger.rules import NOT_SHOWN, FieldPath, Rule

View = dict[str, dict[str, Any]]
Mapped = Callable[[str, str], "str | None"]
Key = tuple[str, str]
MISSING = object()


@dataclass
class Finding:
    """What came of holding a ledger against the clouds."""

    lies: list[str] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    claims: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.checked.items()))
        return f"{sum(self.checked.values())} fields held against both clouds: {counts}; {len(self.lies)} untrue"


@dataclass
class Side:
    """Raw records by type and key; several where several APIs show the same object."""

    records: dict[Key, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, key: str, record: Any) -> None:
        self.records[kind, key].append(record)


def hold(entries: Iterable[Entry], source: Side, destination: Side) -> Finding:
    """Compare every field of the source's records with what the ledger says of it."""
    finding = Finding()
    lines: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    keys: set[Key] = set()
    for entry in entries:
        lines[entry.type, entry.key, entry.field].append(entry)
        if entry.key:
            keys.add((entry.type, entry.key))
    for kind, key in sorted(keys):
        records, there = source.records.get((kind, key), []), destination.records.get((kind, key), [])
        if not records:
            finding.lies.append(f"{kind} {key}: the source does not show it")
        for record in records:
            for path, value in _fields(record):
                json_name = _json_type(value)
                rule = RULES.find(kind, path, json_name)
                if rule is None:
                    finding.lies.append(f"{kind} {key}: {join(path)} is not accounted for")
                    continue
                found = lines[kind, key, join(path)] or lines[kind, key, rule.field] or lines[kind, "", rule.field]
                finding.lies += (
                    f"{kind} {key}: {line}" for line in _judge(rule, path, value, found, there, finding, kind)
                )
    return finding


def _judge(
    rule: Rule, path: FieldPath, value: Any, found: list[Entry], there: list[Any], finding: Finding, kind: str
) -> Iterator[str]:
    name = join(path)
    if not found:
        if value not in (None, "", [], {}):
            yield f"{name}={value!r} has no line in the ledger"
        return
    told = [e for e in found if rule.decide is None or e.source == NOT_SHOWN or _alike(path, e.source, value)]
    if not told:
        yield f"{name} is {value!r} at the source; the ledger says {[e.source for e in found]}"
        return
    entry = told[0]
    finding.checked[str(entry.treatment)] += 1
    if entry.treatment is Treatment.COPIED:
        finding.claims.add((kind, rule.field))
        values = _there(rule, path, there)
        if not any(_alike(path, shown(one), value) for one in values):
            yield f"{name} is said to be copied: {value!r} became {values!r}"
    elif entry.treatment is Treatment.MAPPED:
        finding.claims.add((kind, rule.field))
        values = _there(rule, path, there)
        phrase = entry.destination is not None and entry.destination.startswith("(")
        if phrase and entry.destination != "(the operator's user)" and entry.destination != "(the operator's project)":
            yield f"{name}: what it became is not known after the move: {entry.destination}"
        elif not phrase and not any(_alike(path, entry.destination, one) for one in values):
            yield f"{name} is said to be mapped to {entry.destination!r}, but is {values!r}"


def _there(rule: Rule, path: FieldPath, records: list[Any]) -> list[Any]:
    target = split(rule.to) if rule.to else rule.path
    if target[-1] == "*":
        target = (*target[:-1], path[-1])
    return [found for record in records for found in values_at(record, target)]


def _alike(path: FieldPath, one: Any, other: Any) -> bool:
    def plain(value: Any) -> str:
        text = (shown(value) or "").lower()
        if path[-1] == "swap" and not text:
            return "0"
        if path[-1] == "config_drive" and text in ("1", "0", ""):
            return "true" if text == "1" else "false"
        if path[-1] in ("public_key",):
            return " ".join(text.split()[:2])
        return text

    return plain(one) == plain(other)


def _fields(value: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _fields(item, (*path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from _fields(item, (*path, "[]"))
    else:
        yield path, value


def _json_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null", dict: "object", list: "list"}
    return names[type(value)]


def sides(source: View, destination: View, mapped: Mapped) -> tuple[Side, Side]:
    """Both clouds' records under the keys that the ledger uses."""
    here, there = Side(), Side()
    for kind, table in (("project", "projects"), ("user", "users"), ("role", "roles")):
        for key, record in source[table].items():
            here.add(kind, key, record)
            _found(here, kind, key, source.get(f"{table} v3", {}).get(key))
            _found(there, kind, key, destination[table].get(mapped(kind, key) or ""))
    _assignments(here, there, source, destination, mapped)
    _flavors(here, there, source, destination, mapped)
    _images(here, there, source, destination, mapped)
    _groups(here, there, source, destination, mapped)
    _networks(here, there, source, destination, mapped)
    _servers(here, there, source, destination, mapped)
    for project_id, quota in source["quotas"].items():
        here.add("quota_set", project_id, quota)
        _found(there, "quota_set", project_id, destination["project_quotas"].get(mapped("project", project_id) or ""))
    for key, keypair in source["keypairs"].items():
        here.add("keypair", key, keypair)
        user_id, _, name = key.partition("/")
        user = destination["users"].get(mapped("user", user_id) or "", {"name": "admin"})
        _found(there, "keypair", key, destination["keypairs"].get(f"{user['name']}/{name}"))
    return here, there


def _found(side: Side, kind: str, key: str, record: Any) -> None:
    if record is not None:
        side.add(kind, key, record)


def _assignments(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    held = {
        (one["scope"]["project"]["id"], one["user"]["id"], one["role"]["id"])
        for one in destination["assignments"].values()
        if "project" in one["scope"] and "user" in one
    }
    for one in source["assignments"].values():
        ids = (one["scope"]["project"]["id"], one["user"]["id"], one["role"]["id"])
        key = "assignment:" + ":".join(ids)
        here.add("role_assignment", key, one)
        became = tuple(mapped(kind, i) for kind, i in zip(("project", "user", "role"), ids, strict=True))
        if became in held:
            project, user, role = became
            record = {"scope": {"project": {"id": project}}, "user": {"id": user}, "role": {"id": role}}
            there.add("role_assignment", key, record)


def _flavors(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    for key, record in source["flavors"].items():
        found = destination["flavors"].get(mapped("flavor", key) or "")
        here.add("flavor", key, {name: value for name, value in record.items() if name != "access"})
        _found(there, "flavor", key, found)
        for project_id in record.get("access", ()):
            here.add("flavor_access", f"{key}/{project_id}", {"flavor_id": key, "tenant_id": project_id})
            if found is not None:
                for access in found.get("access", ()):
                    there.add("flavor_access", f"{key}/{project_id}", {"flavor_id": found["id"], "tenant_id": access})


def _images(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    for key, record in source["images"].items():
        found = destination["images"].get(mapped("image", key) or "")
        here.add("image", key, {name: value for name, value in record.items() if name != "members"})
        _found(here, "image", key, source.get("images v1", {}).get(key))
        _found(there, "image", key, found)
        for project_id in record["members"]:
            here.add("image_member", f"{key}/{project_id}", {"image_id": key, "member_id": project_id})
            if found is not None:
                for member in found["members"]:
                    there.add("image_member", f"{key}/{project_id}", {"image_id": found["id"], "member_id": member})


def _groups(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    for key, group in source["security_groups"].items():
        found = destination["security_groups"].get(mapped("security_group", key) or "")
        here.add("security_group", key, {**group, "rules": []})
        _found(there, "security_group", key, found)
        for rule in group["rules"]:
            here.add("security_group_rule", str(rule["id"]), rule)
            remote = mapped("security_group", _group_named(source, rule["group"])) if rule["group"] else None
            for one in (found or {}).get("security_group_rules", ()):
                if one["direction"] == "ingress" and one["remote_group_id"] == remote and _admits_the_same(rule, one):
                    there.add("security_group_rule", str(rule["id"]), one)


def _group_named(source: View, group: dict[str, Any]) -> str:
    return next(
        key
        for key, one in source["security_groups"].items()
        if (one["tenant_id"], one["name"]) == (group["tenant_id"], group["name"])
    )


def _admits_the_same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    def ports(low: int | None, high: int | None) -> tuple[int | None, int | None]:
        return (None, None) if (low, high) in ((-1, -1), (1, 65535), (None, None)) else (low, high)

    return (old["ip_protocol"], ports(old["from_port"], old["to_port"])) == (
        new["protocol"],
        ports(new["port_range_min"], new["port_range_max"]),
    )


def _networks(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    for key, network in source["networks"].items():
        found = destination["networks"].get(mapped("network", key) or "")
        here.add("network", key, network)
        if found is not None:
            subnets = [one for one in destination["subnets"].values() if one["network_id"] == found["id"]]
            there.add("network", key, {**found, "subnet": subnets[0]})


def _servers(here: Side, there: Side, source: View, destination: View, mapped: Mapped) -> None:
    names = {key: one["name"] for key, one in destination["networks"].items()}
    for key, server in source["servers"].items():
        here.add("server", key, server)
        found = destination["servers"].get(mapped("server", key) or "")
        _found(there, "server", key, found)
        for address in [one for listed in server["addresses"].values() for one in listed]:
            port_key = f"{key}/{address['addr']}"
            port = destination["ports"].get(mapped("port", port_key) or "")
            for nic in source["virtual_interfaces"].get(key, ()):
                if nic["mac_address"] == address.get("OS-EXT-IPS-MAC:mac_addr", nic["mac_address"]):
                    here.add("virtual_interface", port_key, nic)
            _found(here, "fixed_ip", port_key, source["fixed_ips"].get(address["addr"]))
            for kind in ("virtual_interface", "fixed_ip"):
                _found(there, kind, port_key, port)
    for address, floating in source["floating_ips"].items():
        here.add("floating_ip", address, floating)
        for one in destination["floating_ips"].values():
            if one["floating_ip_address"] == address:
                there.add("floating_ip", address, {**one, "pool": names[one["floating_network_id"]]})
