"""What became of the security groups of a plan's servers while it waited, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from pumphouse.clouds import rule_key
from pumphouse.model import SecurityGroup, SecurityGroupRule
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.plan.rules import Untranslatable, egress, show, translate


def changed_groups(plan: Plan, now: Iterable[SecurityGroup]) -> dict[str, list[str]]:
    """Id of each server of a move whose groups let other traffic through than when it was planned -> what differs.

    Groups that the planner made up are of the plan, not of the source.

    :param now: all groups of the source.
    """
    there = {group.id: group for group in now}
    keys = {step.key for step in plan.steps}
    differs = {
        step.params["source_id"]: _differences(step, there, keys)
        for step in plan.steps
        if step.kind == "security-group-rules" and not step.params["source_id"].startswith("@")
    }
    found: dict[str, list[str]] = {}
    for boot in plan.steps:
        words = [one for group in boot.params.get("security_group_ids", ()) for one in differs.get(group, ())]
        if boot.kind == "boot" and boot.server_id and words:
            found[boot.server_id] = words
    return found


def _differences(step: PlannedStep, there: Mapping[str, SecurityGroup], keys: Collection[str]) -> list[str]:
    label, group = f"security group {step.params['name']}", there.get(step.params["source_id"])
    if group is None:
        return [f"{label} ({step.params['source_id']}) is gone"]
    planned = [SecurityGroupRule(id="", **raw) for raw in step.params["rules"]]
    then = {rule_key(rule): rule for rule in planned}
    now = {rule_key(rule): rule for rule in [*_carried(group, there, keys), *egress()]}
    return [
        *(f"{label}: {_told(now[key], there)} was added" for key in now if key not in then),
        *(f"{label}: {_told(then[key], there)} was removed" for key in then if key not in now),
    ]


def _carried(
    group: SecurityGroup, there: Mapping[str, SecurityGroup], keys: Collection[str]
) -> Iterable[SecurityGroupRule]:
    """Its rules as a plan carries them: without those of which the planner has to say that they are left out."""
    for rule in group.rules:
        remote = there.get(rule.remote_group_id) if rule.remote_group_id else None
        if rule.remote_group_id and (remote is None or f"project:{remote.project_id}" not in keys):
            continue
        try:
            translated = translate(rule)
        except Untranslatable:
            continue
        if translated is not None:
            yield translated


def _told(rule: SecurityGroupRule, there: Mapping[str, SecurityGroup]) -> str:
    remote = there.get(rule.remote_group_id) if rule.remote_group_id else None
    return show(replace(rule, remote_group_id=remote.name) if remote is not None else rule)
