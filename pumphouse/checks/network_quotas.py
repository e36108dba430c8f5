"""Whether the destination's network quotas leave room for a plan, asked of Neutron itself."""

from __future__ import annotations

from collections import Counter

from pumphouse.clouds import rule_key
from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import SecurityGroupRule
from pumphouse.plan.model import Plan, PlannedStep

#: Rules that Neutron puts into a new group by itself, and into the default group that a new project gets.
_OWN_RULES, _DEFAULT_RULES = 2, 4
#: Whose quota counts for what nobody owns: the migrating administrator's.
OPERATOR = "the operator's project"


def check_network_quotas(plan: Plan, destination: Cloud, inventory: Inventory) -> tuple[Finding, ...]:
    """Per project, whether ports, floating IPs, groups, rules, networks and routers fit (reads the destination).

    :param inventory: both clouds as the plan saw them: what the destination holds already is not counted twice.
    """
    there = inventory.destination
    if plan.kind != "move" or there is None or destination.facts.network_service != "neutron":
        return ()
    wanted = _wanted(plan, there)
    named = {step.params["source_id"]: step.params["name"] for step in plan.steps if step.kind == "project"}
    planned = {step.params["source_id"]: step.params["limits"] for step in plan.steps if step.kind == "network-quota"}
    findings = []
    for source_id, count in sorted(wanted.items()):
        name = named.get(source_id, OPERATOR)
        known = there.project_named(name) if source_id in named else None
        project_id = destination.project_id if source_id not in named else known.id if known else None
        try:
            use = _use(destination, project_id)
        except CloudError as error:
            findings.append(
                Finding(
                    "warn",
                    "network-quota-unknown",
                    f"project {name}",
                    f"has a network quota at {destination.name} that could not be read: {error.message}",
                    "check by hand that it has room.",
                )
            )
            continue
        for resource, more in sorted(count.items()):
            limit, used = use.get(resource, (-1, 0))
            limit = planned.get(source_id, {}).get(resource, limit)
            if 0 <= limit < used + more:
                findings.append(
                    Finding(
                        "block",
                        "network-quota",
                        f"project {name}",
                        f"would have {used + more} of {resource} at {destination.name}, {more} of them new; its quota "
                        f"is {limit}.",
                        f"raise the quota there (openstack quota set, Neutron's `{resource}`), or move less at once.",
                    )
                )
    return tuple(findings)


def _use(destination: Cloud, project_id: str | None) -> dict[str, tuple[int, int]]:
    if project_id is not None:
        return destination.neutron.quota_use(project_id)
    fresh = {"security_group": 1, "security_group_rule": _DEFAULT_RULES}
    return {name: (limit, fresh.get(name, 0)) for name, limit in destination.neutron.default_quota().limits.items()}


def _wanted(plan: Plan, there: Snapshot) -> dict[str, Counter[str]]:
    """Source project id ("" for the operator's) -> how many of each resource the plan adds."""
    found: dict[str, Counter[str]] = {}

    def add(project_id: str | None, resource: str, count: int = 1) -> None:
        if count:
            found.setdefault(project_id or "", Counter())[resource] += count

    networks = {network.name for network in there.networks}
    floating = {one.address for one in there.floating_ips}
    ports = {port.name for port in there.ports}
    projects = {step.params["source_id"]: step.params["name"] for step in plan.steps if step.kind == "project"}
    held = {(group.project_id, group.name): {_key(rule) for rule in group.rules} for group in there.security_groups}
    for step in plan.steps:
        params = step.params
        if step.kind == "port" and params["name"] not in ports:
            add(params["project_id"], "port")
        elif step.kind in ("floating-ip", "spare-floating-ip") and params["address"] not in floating:
            add(params["project_id"], "floatingip")
        elif step.kind == "network" and params["name"] not in networks:
            add(params["project_id"], "network")
            add(params["project_id"], "subnet")
        elif step.kind == "router":
            # one that is there already counts once too often, which no quota notices
            add(_network_owner(plan, params["network_id"]), "router")
        elif step.kind == "security-group-rules":
            project = there.project_named(projects.get(params["project_id"], ""))
            rules = held.get((project.id, params["name"])) if project else None
            if rules is None and params["name"] != "default":
                add(params["project_id"], "security_group")
            add(params["project_id"], "security_group_rule", _new_rules(step, rules))
    return found


def _new_rules(step: PlannedStep, rules: set[tuple[object, ...]] | None) -> int:
    wanted = {_key(SecurityGroupRule("", **rule)) for rule in step.params["rules"]}
    if rules is not None:
        return len(wanted - rules)
    # Neutron puts egress rules into a new group by itself; the default group's are counted with the project
    return len(wanted) - (_OWN_RULES if step.params["name"] == "default" else 0)


def _key(rule: SecurityGroupRule) -> tuple[object, ...]:
    """What makes two rules the same, whichever cloud's ids their remote groups have."""
    key = rule_key(rule)
    return (*key[:-1], key[-1] is not None)


def _network_owner(plan: Plan, network_id: str) -> str | None:
    return next(
        (s.params["project_id"] for s in plan.steps if s.kind == "network" and s.params["source_id"] == network_id),
        None,
    )
