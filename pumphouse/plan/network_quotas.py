"""Planning network quotas: nova-network's limits of a project as Neutron's."""

from __future__ import annotations

from pumphouse.model import Project
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note
from pumphouse.plan.nova_network import is_nova
from pumphouse.plan.ports import fixed_ips

#: nova-network's quotas, by their names in Nova's quota sets, and Neutron's that stand for them.
NETWORK = {
    "floating_ips": "floatingip",
    "fixed_ips": "port",
    "security_groups": "security_group",
    "security_group_rules": "security_group_rule",
}
#: Rules that Neutron puts into a group by itself, and those of its default group.
_OWN_RULES, _DEFAULT_RULES = 2, 4


def add_network_quota(draft: Draft, project: Project) -> str | None:
    """The step that gives a project its network limits; None when it has the defaults, or stays as it is.

    As for compute quotas, ``destination.quotas`` in site.yaml says whose are set; only limits that somebody gave the
    project in the source count. nova-network limits the rules of each group, Neutron those of all together.
    """
    quota, default = draft.source.quota(project.id), draft.source.default_quota
    if quota is None or default is None:
        return None
    given = {old: quota.limits[old] for old in NETWORK if quota.limits.get(old) not in (None, default.limits.get(old))}
    if not given:
        return None
    name = draft.steps[f"project:{project.id}"].params["name"]
    there = draft.destination.project_named(name)
    if draft.site.quotas == "none" or (
        draft.site.quotas == "made" and there is not None and there.source_id != project.id
    ):
        draft.notes.append(Note(f"project {project.name}", "keeps the destination's network quota"))
        return None
    limits = {NETWORK[old]: max(limit, need(draft, project, old)) if limit >= 0 else -1 for old, limit in given.items()}
    if is_nova(draft):
        limits = given
    elif "security_group_rule" in limits:
        groups = quota.limits.get("security_groups", -1)
        rules = given["security_group_rules"]
        total = -1 if min(groups, rules) < 0 else groups * (rules + _OWN_RULES) + _DEFAULT_RULES
        limits["security_group_rule"] = total if total < 0 else max(total, need(draft, project, "security_group_rules"))
        text = f"{rules} rules in each of {groups} groups become {total} rules in all, as Neutron counts"
        draft.notes.append(Note(f"network quota of {project.name}", text if total >= 0 else "rules are not limited"))
    return draft.add(
        f"network-quota:{project.id}",
        title=f"network quota of {name}: {', '.join(f'{key} {value}' for key, value in limits.items())}",
        needs=(f"project:{project.id}",),
        params={"source_id": project.id, "name": name, "limits": limits},
        undo="set back to what it was",
    )


def need(draft: Draft, project: Project, what: str) -> int:
    """How much of a quota (by Nova's name) the project has in use at the source, whatever its limit says."""
    groups = draft.source.security_groups_of(project.id)
    if what == "floating_ips":
        return sum(floating.project_id == project.id for floating in draft.source.floating_ips)
    if what == "fixed_ips":
        return sum(len(fixed_ips(server)) for server in draft.source.servers_of(project.id))
    if what == "security_groups":
        return len(groups) + 1
    return sum(len(group.rules) + _OWN_RULES for group in groups) + _DEFAULT_RULES
