"""Neutron v2.0: security groups and their rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.neutron import Collection, disallowed, touch, within_quota
from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import Fault, Json, answer, new_id, now, stamp

_PROTOCOLS = (
    "None, 'any', 'ah', 'dccp', 'egp', 'esp', 'gre', 'hopopt', 'icmp', 'igmp', 'ip', 'ipip', 'ipv6-encap', "
    "'ipv6-frag', 'ipv6-icmp', 'icmpv6', 'ipv6-nonxt', 'ipv6-opts', 'ipv6-route', 'ospf', 'pgm', 'rsvp', 'sctp', "
    "'tcp', 'udp', 'udplite', 'vrrp'"
)
_WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136")
_ICMP = ("icmp", "1", "ipv6-icmp", "icmpv6", "58")
_SAME = (
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
)


def ensure_default(cloud: Cloud, project_id: str) -> Json:
    """A project's ``default`` group, made with its four rules on first need."""
    data = cloud.network
    for group in data.groups.values():
        if group["project_id"] == project_id and group["name"] == "default":
            return group
    group = _new_group(cloud, {"project_id": project_id, "name": "default", "description": "Default security group"})
    for ethertype in ("IPv4", "IPv6"):
        ingress = {"direction": "ingress", "ethertype": ethertype, "remote_group_id": group["id"]}
        _new_rule(cloud, group, ingress, own=None, description=None)
        _new_rule(cloud, group, {"direction": "egress", "ethertype": ethertype}, own=None, description=None)
    return group


def ensure_default_of_list(cloud: Cloud, request: web.Request, caller: Caller) -> None:
    """The project that is asked for, or else the caller's, has its default group from the first look on."""
    asked = request.query.get("project_id") or request.query.get("tenant_id")
    project_id = asked if asked and caller.is_admin else caller.project_id
    if project_id:
        ensure_default(cloud, project_id)


def _new_group(cloud: Cloud, given: Json) -> Json:
    moment = stamp(now())
    group: Json = {
        "id": new_id(),
        "name": given.get("name", ""),
        "stateful": given.get("stateful", True),
        "tenant_id": given["project_id"],
        "project_id": given["project_id"],
        "description": given.get("description", ""),
        "shared": False,
        "tags": list(given.get("tags", [])),
        "created_at": moment,
        "updated_at": moment,
        "revision_number": 1,
    }
    cloud.network.groups[group["id"]] = group
    return group


def _new_rule(cloud: Cloud, group: Json, given: Json, *, own: bool | None, description: str | None) -> Json:
    cloud.network.counter += 1
    moment = stamp(now())
    prefix = given.get("remote_ip_prefix")
    project_id = given.get("project_id", group["project_id"])
    rule: Json = {
        "id": new_id(),
        "project_id": project_id,
        "security_group_id": group["id"],
        "ethertype": given.get("ethertype", "IPv4"),
        "direction": given["direction"],
        "protocol": given.get("protocol"),
        "port_range_min": given.get("port_range_min"),
        "port_range_max": given.get("port_range_max"),
        "remote_ip_prefix": prefix,
        "remote_address_group_id": given.get("remote_address_group_id"),
        "normalized_cidr": str(ipaddress.ip_network(prefix, strict=False)) if prefix else None,
        "remote_group_id": given.get("remote_group_id"),
        "standard_attr_id": cloud.network.counter,
        "belongs_to_default_sg": own,
        "description": description,
        "tags": list(given.get("tags", [])),
        "created_at": moment,
        "updated_at": moment,
        "revision_number": 0,
        "tenant_id": project_id,
    }
    cloud.network.rules[rule["id"]] = rule
    return rule


class SecurityGroups(Collection):
    """``/v2.0/security-groups``."""

    kind = "security_group"
    plural = "security_groups"
    path = "security-groups"

    @property
    def table(self) -> dict[str, Json]:
        """The groups."""
        return self.data.groups

    def missing(self, record_id: str) -> Fault:
        """404."""
        return no_group(record_id)

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return ("id", "name", "project_id", "tenant_id", "description", "shared", "stateful", "tags", "revision_number")

    def before_list(self, caller: Caller, request: web.Request) -> None:
        """Looking makes the default group."""
        ensure_default_of_list(self.cloud, request, caller)

    def view(self, record: Json, caller: Caller) -> Json:
        """A group with its rules."""
        rules = [rule for rule in self.data.rules.values() if rule["security_group_id"] == record["id"]]
        return record | {"security_group_rules": rules}

    def view_listed(self, record: Json, caller: Caller) -> Json:
        """In a list, rules do not tell whether they belong to a default group (the real service's list query)."""
        shown = self.view(record, caller)
        shown["security_group_rules"] = [
            rule | {"belongs_to_default_sg": None} for rule in shown["security_group_rules"]
        ]
        return shown

    async def create(self, request: web.Request) -> web.Response:
        """``POST``: a new group has two egress rules."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, ("name", "stateful"), post=True)
        ensure_default(self.cloud, given["project_id"])
        if str(given.get("name", "")).casefold() == "default":
            raise Fault(409, "Default security group already exists.", kind="SecurityGroupDefaultAlreadyExists")
        within_quota(self.cloud, given["project_id"], "security_group")
        group = _new_group(self.cloud, given)
        for ethertype in ("IPv4", "IPv6"):
            _new_rule(self.cloud, group, {"direction": "egress", "ethertype": ethertype}, own=False, description=None)
        return answer({self.kind: self.view(group, caller)}, 201)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``."""
        caller = self.cloud.authenticate(request)
        group = self.owned(request, caller, "update_security_group")
        given = await self.given(request, caller, ("name", "stateful"), post=False)
        if group["name"] == "default" and "name" in given:
            raise Fault(409, "Updating default security group not allowed.", kind="SecurityGroupCannotUpdateDefault")
        group.update(given)
        touch(group)
        return answer({self.kind: self.view(group, caller)})

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``: refused while a port uses it; ``default`` only by an administrator."""
        caller = self.cloud.authenticate(request)
        group = self.owned(request, caller, "delete_security_group")
        if any(group["id"] in port["security_groups"] for port in self.data.ports.values()):
            raise Fault(409, f"Security Group {group['id']} in use.", kind="SecurityGroupInUse")
        if group["name"] == "default" and not caller.is_admin:
            message = "Insufficient rights for removing default security group."
            raise Fault(409, message, kind="SecurityGroupCannotRemoveDefault")
        del self.data.groups[group["id"]]
        for rule in list(self.data.rules.values()):
            if group["id"] in (rule["security_group_id"], rule["remote_group_id"]):
                del self.data.rules[rule["id"]]
        return answer(None, 204)


class Rules(Collection):
    """``/v2.0/security-group-rules``."""

    kind = "security_group_rule"
    plural = "security_group_rules"
    path = "security-group-rules"

    @property
    def table(self) -> dict[str, Json]:
        """The rules."""
        return self.data.rules

    def missing(self, record_id: str) -> Fault:
        """404."""
        return Fault(404, f"Security group rule {record_id} does not exist", kind="SecurityGroupRuleNotFound")

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        return (*_SAME, "id", "security_group_id", "project_id", "tenant_id", "description", "revision_number")

    def before_list(self, caller: Caller, request: web.Request) -> None:
        """Looking makes the default group."""
        ensure_default_of_list(self.cloud, request, caller)

    def view(self, record: Json, caller: Caller) -> Json:
        """A rule on its own shows less than inside its group."""
        return {key: value for key, value in record.items() if key not in ("standard_attr_id", "tags")} | {
            "belongs_to_default_sg": bool(record["belongs_to_default_sg"])
        }

    async def create(self, request: web.Request) -> web.Response:
        """``POST``: the same rule twice is a conflict."""
        caller = self.cloud.authenticate(request)
        given = await self.given(request, caller, (*_SAME, "security_group_id"), post=True)
        for name in ("security_group_id", "direction"):
            if name not in given:
                raise Fault(400, f"Failed to parse request. Required attribute '{name}' not specified")
        given = {"ethertype": "IPv4"} | given
        if given.get("protocol") in ("any", "-1"):
            del given["protocol"]
        _check(given)
        if _all_ports(given):
            del given["port_range_min"], given["port_range_max"]  # Neutron keeps "all ports" as none
        group = self.data.groups.get(given["security_group_id"])
        if group is None or not caller.sees(group["project_id"]):
            raise no_group(given["security_group_id"])
        remote = given.get("remote_group_id")
        if remote is not None and remote not in self.data.groups:
            raise no_group(remote)
        for rule in self.data.rules.values():
            same = all(rule[key] == given.get(key) for key in _SAME)
            if same and rule["security_group_id"] == group["id"]:
                message = f"Security group rule already exists. Rule id is {rule['id']}."
                raise Fault(409, message, kind="SecurityGroupRuleExists")
        within_quota(self.cloud, given["project_id"], "security_group_rule")
        rule = _new_rule(
            self.cloud, group, given, own=group["name"] == "default", description=given.get("description", "")
        )
        touch(group)
        return answer({self.kind: self.view(rule, caller)}, 201)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``: rules cannot be changed."""
        self.owned(request, self.cloud.authenticate(request), "update_security_group_rule")
        raise disallowed("update_security_group_rule")

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``."""
        rule = self.owned(request, self.cloud.authenticate(request), "delete_security_group_rule")
        del self.data.rules[rule["id"]]
        return answer(None, 204)


def no_group(group_id: str) -> Fault:
    """404 of a group."""
    return Fault(404, f"Security group {group_id} does not exist", kind="SecurityGroupNotFound")


def _all_ports(given: Json) -> bool:
    return (given.get("port_range_min"), given.get("port_range_max")) == (1, 65535)


def _check(given: Json) -> None:
    protocol, low, high = given.get("protocol"), given.get("port_range_min"), given.get("port_range_max")
    if given["direction"] not in ("ingress", "egress"):
        raise Fault(
            400, f"Invalid input for direction. Reason: '{given['direction']}' is not in ['ingress', 'egress']."
        )
    if protocol is not None and not _known(protocol):
        raise Fault(
            400,
            f"Security group rule protocol {protocol} not supported. Only protocol values ({_PROTOCOLS}) and integer "
            "representations [0 to 255] are supported.",
            kind="SecurityGroupRuleInvalidProtocol",
        )
    prefix = given.get("remote_ip_prefix")
    remotes = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")
    if prefix is not None:
        _check_prefix(prefix, given["ethertype"])
    if sum(given.get(name) is not None for name in remotes) > 1:
        raise Fault(
            400,
            "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            kind="SecurityGroupMultipleRemoteEntites",
        )
    if low is None and high is None:
        return
    if protocol is None:
        message = "Must also specify protocol if port range is given."
        raise Fault(400, message, kind="SecurityGroupProtocolRequiredWithPorts")
    if str(protocol) in _ICMP:
        for name, value in (("port_range_min", low), ("port_range_max", high)):
            if value is not None and not 0 <= int(value) <= 255:
                field = "type" if name == "port_range_min" else "code"
                message = f"Invalid value for ICMP {field} ({name}) {value}. It must be 0 to 255."
                raise Fault(400, message, kind="SecurityGroupInvalidIcmpValue")
        if low is None:
            message = f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing."
            raise Fault(400, message, kind="SecurityGroupMissingIcmpType")
    elif str(protocol) not in _WITH_PORTS:
        message = f"Port range cannot be specified for protocol {protocol}. Port range is only supported for TCP, UDP"
        raise Fault(400, f"{message}, UDPLITE, SCTP and DCCP.", kind="SecurityGroupInvalidProtocolForPort")
    elif low is None or high is None or int(low) > int(high):
        message = "For TCP/UDP protocols, port_range_min must be <= port_range_max"
        raise Fault(400, message, kind="SecurityGroupInvalidPortRange")


def _known(protocol: Any) -> bool:
    text = str(protocol)
    return f"'{text}'" in _PROTOCOLS or (text.isdigit() and 0 <= int(text) <= 255)


def _check_prefix(prefix: str, ethertype: str) -> None:
    try:
        network = ipaddress.ip_network(prefix, strict=False)
    except ValueError as error:
        raise Fault(400, f"Invalid CIDR {prefix} given as IP prefix.", kind="InvalidCIDR") from error
    if f"IPv{network.version}" != ethertype:
        message = f"Conflicting value ethertype {ethertype} for CIDR {prefix}"
        raise Fault(400, message, kind="SecurityGroupRuleParameterConflict")
