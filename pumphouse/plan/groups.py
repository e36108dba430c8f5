"""Planning security groups: which groups a project and a server need, and rules that let the same traffic pass."""

from __future__ import annotations

from pumphouse.clouds import rule_key
from pumphouse.model import Network, Project, SecurityGroup, SecurityGroupRule, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note
from pumphouse.plan.nova_network import add_operator, is_nova, operator_needs
from pumphouse.plan.rules import Untranslatable, egress, params_of, show, translate

#: Name of the group of servers that have none at the source: Neutron would let a port without groups send nothing.
NO_GROUP = "pumphouse-no-group"
#: Name of the group that keeps servers of one network reachable for each other: `same_net_traffic: keep`.
SAME_NET = "pumphouse-same-network"


def add_security_group(draft: Draft, project: Project, group: SecurityGroup) -> None:
    """A security group, and its rules as a step of their own, so that groups may name each other in any order."""
    label = f"security group {group.name} of {project.name}"
    if group.name != "default" and group.name.casefold() == "default":
        draft.block(
            "security-group-name",
            label,
            "has a name that Neutron keeps for its own default group.",
            "rename it in the source.",
        )
    rules, remotes = _translated(draft, project, group)
    _compare(draft, project, group, rules)
    _add(draft, group.id, project, group.name, group.description or "", rules, remotes)


def groups_of(draft: Draft, server: Server, networks: tuple[Network, ...] = ()) -> list[str]:
    """Source ids of the server's security groups, which the plan carries with its project.

    A server without any gets a group that lets everything out and nothing in: what nova-network does with it.

    :param networks: those the server is on: ``same_net_traffic: keep`` gives it a group for each.
    """
    found = []
    for name in sorted(set(server.security_groups)):
        groups = draft.source.security_groups_named(server.project_id, name)
        if len(groups) == 1 and f"security-group:{groups[0].id}" in draft.steps:
            found.append(groups[0].id)
        else:
            draft.block(
                "security-group-unknown",
                f"server {server.name}",
                f"its security group {name} is not among the project's groups.",
                "take the inventory again; if it stays so, leave the server out.",
            )
    project = draft.source.project(server.project_id) or Project(server.project_id, server.project_id)
    if not server.security_groups:
        group_id = f"@{NO_GROUP}:{project.id}"
        text = "nothing may reach its members, all of which may send: servers that had no group at the source"
        _add(draft, group_id, project, NO_GROUP, text, [], ())
        draft.notes.append(Note(f"server {server.name}", f"has no security group; at the destination it is {NO_GROUP}"))
        found.append(group_id)
    if draft.site.same_net_traffic == "keep" and not is_nova(draft):
        found += [_same_net(draft, project, network) for network in networks if network.cidr]
    return found


def note_same_net(draft: Draft) -> None:
    """Say once how servers of one network reach each other: no API tells how the source is configured."""
    obj, chosen = "security groups", draft.site.same_net_traffic
    if is_nova(draft):
        text = "whether servers of one network reach each other is for nova.conf to say, here as at the source"
        draft.notes.append(Note(obj, f"{text} (allow_same_net_traffic)"))
    elif chosen == "keep":
        text = "servers that move may be reached from all of their network, as nova-network lets them by default"
        draft.notes.append(Note(obj, f"{text} (group {SAME_NET}; site.yaml, destination.same_net_traffic)"))
    elif chosen == "drop":
        text = (
            "only what the groups' rules say reaches a server from its own network: site.yaml, same_net_traffic: drop"
        )
        draft.notes.append(Note(obj, text))
    else:
        draft.warn(
            "same-net-traffic",
            obj,
            "nova-network lets all servers of one network reach each other whatever their groups say, unless the "
            "source's nova.conf has allow_same_net_traffic = False, which no API tells. At the destination only the "
            "groups' rules count.",
            "set destination.same_net_traffic in site.yaml to keep (rules are added) or drop.",
        )


def note_members_that_stay(draft: Draft) -> None:
    """Say which members of groups that rules name do not move: their traffic is refused until they do."""
    going = {server.id for server in draft.servers}
    there = {port.name for port in draft.destination.ports if port.server_id}
    named = {
        rule["remote_group_id"]
        for step in draft.steps.values()
        if step.kind == "security-group-rules"
        for rule in step.params["rules"]
        if rule["remote_group_id"]
    }
    for group_id in sorted(named):
        group = draft.source.security_group(group_id)
        members = draft.source.servers_of(group.project_id) if group else ()
        staying = [
            server.name
            for server in members
            if group is not None
            and group.name in server.security_groups
            and server.id not in going
            and f"pumphouse {server.id}" not in there
        ]
        if group is not None and staying:
            draft.warn(
                "group-members-stay",
                f"security group {group.name}",
                f"is named by rules of groups that move; its members {', '.join(sorted(staying))} stay at the source "
                f"for now, and servers at the destination do not know them as members.",
                "move servers that talk to each other in one plan, or add rules with their addresses for the time "
                "between.",
            )


def _add(
    draft: Draft,
    source_id: str,
    project: Project,
    name: str,
    description: str,
    rules: list[SecurityGroupRule],
    remotes: tuple[str, ...],
) -> None:
    quota = f"network-quota:{project.id}"
    add_operator(draft, project)
    key = draft.add(
        f"security-group:{source_id}",
        title=f"security group {name} of {project.name}",
        needs=(
            f"project:{project.id}",
            *((quota,) if quota in draft.steps else ()),
            *operator_needs(draft, project.id),
        ),
        params={"source_id": source_id, "project_id": project.id, "name": name, "description": description},
        undo="deleted, if pumphouse made it",
    )
    draft.add(
        f"security-group-rules:{source_id}",
        title=f"{len(rules)} rules of security group {name} of {project.name}",
        needs=(key, *(f"security-group:{remote}" for remote in remotes)),
        params={
            "source_id": source_id,
            "project_id": project.id,
            "name": name,
            "rules": params_of([*rules, *egress()]),
        },
        undo="added rules are removed",
    )


def _translated(
    draft: Draft, project: Project, group: SecurityGroup
) -> tuple[list[SecurityGroupRule], tuple[str, ...]]:
    label, rules, remotes = f"security group {group.name} of {project.name}", [], []
    for rule in group.rules:
        remote = draft.source.security_group(rule.remote_group_id) if rule.remote_group_id else None
        try:
            translated = translate(rule)
        except Untranslatable as reason:
            draft.block(
                "rules-unresolved",
                label,
                f"nobody can tell what its rule {rule.id} lets through: {reason}.",
                "accept `rules-unresolved` to leave that rule out, or mend it in the source.",
            )
            continue
        if translated is None:
            draft.notes.append(Note(label, f"its rule {rule.id} names no address and lets nothing through: left out"))
            continue
        if rule.remote_group_id and (remote is None or f"project:{remote.project_id}" not in draft.steps):
            draft.block(
                "rules-unresolved",
                label,
                f"rule {rule.id} admits a group of a project that does not move ({rule.remote_group_id}).",
                "accept `rules-unresolved` to leave that rule out, or change it in the source.",
            )
            continue
        if remote is not None:
            remotes.append(remote.id)
        rules.append(translated)
    return rules, tuple(remotes)


def _compare(draft: Draft, project: Project, group: SecurityGroup, rules: list[SecurityGroupRule]) -> None:
    """Say what a group that is there already, and is not ours to change, lets through beside the source's rules."""
    there = draft.destination.project_named(draft.steps[f"project:{project.id}"].params["name"])
    if there is None:
        return
    found = draft.destination.security_groups_named(there.id, group.name)
    label, cloud = f"security group {group.name} of {project.name}", draft.destination.facts.cloud
    if len(found) > 1:
        draft.block(
            "security-group-ambiguous",
            label,
            f"{cloud} has {len(found)} groups of that name in the project: {', '.join(one.id for one in found)}.",
            "rename all but one of them.",
        )
    if len(found) != 1:
        return
    names = {one.id: one.name for one in draft.destination.security_groups_of(there.id)}
    ours = {one.id: one.name for one in draft.source.security_groups_of(project.id)}
    wanted = {_by_name(rule, ours) for rule in rules}
    extra = [rule for rule in found[0].rules if rule.direction == "ingress" and _by_name(rule, names) not in wanted]
    if extra:
        draft.warn(
            "group-lets-more",
            label,
            f"({found[0].id}) exists at {cloud} and lets more through than at the source: "
            f"{'; '.join(sorted(map(show, extra)))}.",
            "remove these rules at the destination if the servers that move must not be reached so.",
        )


def _by_name(rule: SecurityGroupRule, names: dict[str, str]) -> tuple[str | int | None, ...]:
    key = rule_key(rule)
    return (*key[:-1], names.get(rule.remote_group_id, rule.remote_group_id) if rule.remote_group_id else None)


def _same_net(draft: Draft, project: Project, network: Network) -> str:
    group_id = f"@{SAME_NET}:{project.id}:{network.id}"
    text = f"members may be reached from all of {network.name} ({network.cidr}), as nova-network lets them by default"
    rule = SecurityGroupRule("", "ingress", "IPv4", None, None, None, remote_cidr=network.cidr)
    _add(draft, group_id, project, f"{SAME_NET} {network.name}", text, [rule], ())
    return group_id
