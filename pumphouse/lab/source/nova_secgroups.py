"""nova-network's security groups."""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import Rule, SecurityGroup, State
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, over_limit


def default_group(state: State, project_id: str) -> SecurityGroup:
    """A project's group ``default``, made when it is first needed."""
    for group in state.groups.values():
        if group.project_id == project_id and group.name == "default":
            return group
    group = SecurityGroup(state.count("group"), project_id, "default", "default")
    state.groups[group.id] = group
    return group


def rule_view(state: State, rule: Rule) -> dict[str, Any]:
    """A rule; a source group is named by name and project, never by id."""
    source = state.groups.get(rule.group_id or 0)
    return {
        "id": rule.id,
        "parent_group_id": rule.parent_group_id,
        "ip_protocol": rule.ip_protocol,
        "from_port": rule.from_port,
        "to_port": rule.to_port,
        "group": {"name": source.name, "tenant_id": source.project_id} if source else {},
        "ip_range": {"cidr": rule.cidr} if rule.cidr else {},
    }


def group_view(state: State, group: SecurityGroup) -> dict[str, Any]:
    """A group with its rules."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "tenant_id": group.project_id,
        "rules": [rule_view(state, rule) for rule in group.rules],
    }


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the security groups."""
    api = SecurityGroups(nova)
    get, post, delete = app.router.add_get, app.router.add_post, app.router.add_delete
    get("/v2/{project}/os-security-groups", api.groups)
    post("/v2/{project}/os-security-groups", api.create)
    get("/v2/{project}/os-security-groups/{id}", api.group)
    app.router.add_put("/v2/{project}/os-security-groups/{id}", api.update)
    delete("/v2/{project}/os-security-groups/{id}", api.delete)
    get("/v2/{project}/os-security-group-rules", api.no_rules)
    post("/v2/{project}/os-security-group-rules", api.create_rule)
    delete("/v2/{project}/os-security-group-rules/{id}", api.delete_rule)


class SecurityGroups:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state

    def _number(self, text: str, what: str) -> int:
        if not text.isdigit():
            raise ApiFault(400, f"{what} id should be integer")
        return int(text)

    def _get(self, request: web.Request) -> SecurityGroup:
        number = self._number(request.match_info["id"], "Security group")
        group = self.state.groups.get(number)
        caller = self.nova.caller(request)
        if group is None or (group.project_id != caller.project_id and not caller.is_admin):
            raise ApiFault(404, f"Security group {number} not found.")
        return group

    async def groups(self, request: web.Request) -> web.Response:
        """GET /os-security-groups: the caller's project's, or all with ``all_tenants`` for an administrator."""
        caller = self.nova.caller(request)
        default_group(self.state, caller.project_id)
        everybody = caller.is_admin and request.query.get("all_tenants", "0").lower() in ("1", "true")
        found = [g for g in self.state.groups.values() if everybody or g.project_id == caller.project_id]
        found.sort(key=lambda g: (g.project_id, g.name))
        page = self.nova.limited(request, found)
        return json_answer({"security_groups": [group_view(self.state, g) for g in page]})

    async def group(self, request: web.Request) -> web.Response:
        """GET /os-security-groups/ID"""
        return json_answer({"security_group": group_view(self.state, self._get(request))})

    async def create(self, request: web.Request) -> web.Response:
        """POST /os-security-groups"""
        caller = self.nova.caller(request)
        given = await self.nova.body(request, "security_group")
        name, description = given.get("name"), given.get("description")
        for key, value in (("name", name), ("description", description)):
            if not isinstance(value, str) or not value.strip():
                raise ApiFault(400, f"Security group {key} cannot be empty.")
        default_group(self.state, caller.project_id)
        own = [g for g in self.state.groups.values() if g.project_id == caller.project_id]
        if any(g.name == name for g in own):
            raise ApiFault(400, f"Security group {name} already exists")
        limit = self.state.quota(caller.project_id)["security_groups"]
        if 0 <= limit <= len(own):
            return self._over("Quota exceeded, too many security groups.")
        group = SecurityGroup(self.state.count("group"), caller.project_id, str(name), str(description))
        self.state.groups[group.id] = group
        return json_answer({"security_group": group_view(self.state, group)})

    async def update(self, request: web.Request) -> web.Response:
        """PUT /os-security-groups/ID"""
        group = self._get(request)
        given = await self.nova.body(request, "security_group")
        if group.name == "default":
            raise ApiFault(400, "Unable to update system group 'default'")
        group.name, group.description = str(given.get("name")), str(given.get("description"))
        return json_answer({"security_group": group_view(self.state, group)})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /os-security-groups/ID"""
        group = self._get(request)
        if group.name == "default":
            raise ApiFault(400, "Unable to delete system group 'default'")
        in_use = any(
            s.project_id == group.project_id and group.name in s.security_groups for s in self.state.live_servers()
        )
        if in_use:
            raise ApiFault(400, "Security group is still in use")
        del self.state.groups[group.id]
        for other in self.state.groups.values():
            other.rules = [r for r in other.rules if r.group_id != group.id]
        return empty_answer(202)

    async def no_rules(self, _request: web.Request) -> web.Response:
        """GET /os-security-group-rules: rules cannot be listed on their own."""
        raise ApiFault(404)

    async def create_rule(self, request: web.Request) -> web.Response:
        """POST /os-security-group-rules"""
        given = await self.nova.body(request, "security_group_rule")
        parent = self._parent(request, given.get("parent_group_id"))
        rule = Rule(
            id=0,
            parent_group_id=parent.id,
            ip_protocol=given.get("ip_protocol"),
            from_port=None if given.get("from_port") is None else int(given["from_port"]),
            to_port=None if given.get("to_port") is None else int(given["to_port"]),
        )
        if given.get("group_id") is not None:
            rule.group_id = self._parent(request, given["group_id"]).id
        else:
            rule.cidr = self._cidr(given.get("cidr"))
        self._check_ports(rule)
        if any(self._same(rule, other) for other in parent.rules):
            raise ApiFault(400, f"This rule already exists in group {parent.id}")
        limit = self.state.quota(parent.project_id)["security_group_rules"]
        if 0 <= limit <= len(parent.rules):
            return self._over("Quota exceeded, too many security group rules.")
        rule.id = self.state.count("rule")
        parent.rules.append(rule)
        return json_answer({"security_group_rule": rule_view(self.state, rule)})

    def _over(self, message: str) -> web.Response:
        if self.state.release.plain_secgroup_limit:
            raise ApiFault(413, message)
        return over_limit(f"SecurityGroupLimitExceeded: {message}")

    def _parent(self, request: web.Request, number: Any) -> SecurityGroup:
        group = self.state.groups.get(self._number(str(number), "Security group"))
        caller = self.nova.caller(request)
        if group is None or (group.project_id != caller.project_id and not caller.is_admin):
            raise ApiFault(404, f"Security group {number} not found.")
        return group

    def _cidr(self, text: Any) -> str:
        try:
            return str(ipaddress.ip_network(text if text else "0.0.0.0/0", strict=False))
        except ValueError:
            raise ApiFault(400, f"Invalid cidr {text}.") from None

    def _check_ports(self, rule: Rule) -> None:
        if rule.ip_protocol is None:
            if rule.group_id is None:
                raise ApiFault(400, "Not enough parameters to build a valid rule.")
            return
        protocol = rule.ip_protocol.lower()
        if protocol not in ("tcp", "udp", "icmp"):
            raise ApiFault(400, f"Invalid IP protocol {rule.ip_protocol}.")
        if rule.from_port is None or rule.to_port is None:
            raise ApiFault(400, "Not enough parameters to build a valid rule.")
        wrong = protocol != "icmp" and not 1 <= rule.from_port <= rule.to_port <= 65535
        if wrong or (protocol == "icmp" and not -1 <= rule.from_port <= 255):
            raise ApiFault(400, f"Invalid port range {rule.from_port}:{rule.to_port}.")

    @staticmethod
    def _same(one: Rule, other: Rule) -> bool:
        def key(rule: Rule) -> tuple[Any, ...]:
            return (rule.ip_protocol, rule.from_port, rule.to_port, rule.cidr, rule.group_id)

        return key(one) == key(other)

    async def delete_rule(self, request: web.Request) -> web.Response:
        """DELETE /os-security-group-rules/ID"""
        number = self._number(request.match_info["id"], "Rule")
        caller = self.nova.caller(request)
        for group in self.state.groups.values():
            for rule in group.rules:
                if rule.id == number and (caller.is_admin or group.project_id == caller.project_id):
                    group.rules.remove(rule)
                    return empty_answer(202)
        raise ApiFault(404, f"Rule ({number}) not found")
