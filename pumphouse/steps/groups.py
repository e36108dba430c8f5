"""Security groups and their rules at the destination."""

from __future__ import annotations

from pumphouse.clouds import rule_key
from pumphouse.errors import Conflict, NotFound, StepError
from pumphouse.model import SecurityGroup, SecurityGroupRule
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of

#: What makes two rules the same rule, beside the group that they point to.
RULE_FIELDS = ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr")


class EnsureSecurityGroup(Step):
    """A security group of that name in the project; its rules are a step of their own."""

    kind = "security-group"
    maps = "security_group"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the project's group of that name; asking makes Neutron give the project its ``default``."""
        project_id = ctx.mapped("project", step.params["project_id"])
        groups = ground_of(ctx.destination).list_security_groups(project_id=project_id)
        named = [group.id for group in groups if group.name == step.params["name"]]
        if len(named) > 1:
            raise StepError(
                f"{len(named)} security groups are called {step.params['name']} in project {project_id} of "
                f"{ctx.destination.name}: {', '.join(named)}.",
                remedy="rename all but one of them, then run again.",
            )
        return {"id": named[0]} if named else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the group."""
        project_id = ctx.mapped("project", step.params["project_id"])
        try:
            made = ground_of(ctx.destination).create_security_group(
                project_id, step.params["name"], step.params["description"]
            )
        except Conflict:
            # Neutron made ``default`` by itself since we looked
            found = self.look(ctx, step)
            if found is None:
                raise
            return found
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The group is listed in its project."""
        expect(step.title, {"id": (outcome["id"], group_of(ctx, outcome["id"]).id)})
        return {"id": outcome["id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a group that we made; ``default`` goes with its project."""
        found = self.look(ctx, step)
        if not ours or found is None or step.params["name"] == "default":
            return {"kept": found is not None}
        ground_of(ctx.destination).delete_security_group(found["id"])
        return {"deleted": found["id"]}


class EnsureSecurityGroupRules(Step):
    """All rules of a source group.

    What Neutron put beside them into a group that pumphouse made, or into ``default`` of a project that it made, goes:
    once, before anybody else knows of the group. Everywhere else other rules stay.
    """

    kind = "security-group-rules"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when no rule is missing, and none is there that Neutron made up."""
        missing, surplus = self._differences(ctx, step)
        return None if missing or surplus else {"rules": len(step.params["rules"])}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """The rules that we are about to add and to remove: what undoing takes back."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data
        missing, surplus = self._differences(ctx, step)
        return {
            "added": begun.get("added", []) + [list(rule_key(rule)) for rule in missing],
            "removed": begun.get("removed", []) + [list(rule_key(rule)) for rule in surplus],
        }

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Add the missing ones, then remove Neutron's own."""
        group_id = ctx.mapped("security_group", step.params["source_id"])
        project_id = ctx.mapped("project", step.params["project_id"])
        missing, surplus = self._differences(ctx, step)
        for rule in missing:
            ground_of(ctx.destination).add_security_group_rule(group_id, project_id, rule)
        for rule in surplus:
            ground_of(ctx.destination).delete_security_group_rule(rule.id)
        return {"rules": len(step.params["rules"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Re-read the group: every source rule is there, and nothing that Neutron made up."""
        missing, surplus = self._differences(ctx, step)
        pairs: dict[str, tuple[object, object]] = {
            "missing rules": ([], [str(rule_key(rule)) for rule in missing]),
            "rules of Neutron's own": ([], [str(rule_key(rule)) for rule in surplus]),
        }
        expect(step.title, pairs)
        return {"rules": len(step.params["rules"])}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Remove the rules that we added; ``default`` gets back those of Neutron's own."""
        added = [tuple(key) for key in outcome.get("added", ())]
        removed = [tuple(key) for key in outcome.get("removed", ())]
        if not ours or not (added or removed):
            return {"kept": True}
        group = group_of(ctx, ctx.mapped("security_group", step.params["source_id"]))
        going = [rule.id for rule in group.rules if rule_key(rule) in added]
        for rule_id in going:
            ground_of(ctx.destination).delete_security_group_rule(rule_id)
        back = removed if step.params["name"] == "default" else []
        for key in back:
            ground_of(ctx.destination).add_security_group_rule(group.id, group.project_id, SecurityGroupRule("", *key))
        return {"deleted": going, "put back": len(back)}

    def _differences(self, ctx: Context, step: PlannedStep) -> tuple[list[SecurityGroupRule], list[SecurityGroupRule]]:
        """(rules to add, rules to remove)."""
        group = group_of(ctx, ctx.mapped("security_group", step.params["source_id"]))
        have, wanted = {rule_key(rule) for rule in group.rules}, {}
        for raw in step.params["rules"]:
            remote = raw["remote_group_id"]
            rule = SecurityGroupRule(
                id="",
                **{name: raw[name] for name in RULE_FIELDS},
                remote_group_id=ctx.mapped("security_group", remote) if remote else None,
            )
            wanted[rule_key(rule)] = rule
        missing = [rule for key, rule in wanted.items() if key not in have]
        surplus = [rule for rule in group.rules if rule_key(rule) not in wanted] if self._is_new(ctx, step) else []
        return missing, surplus

    @staticmethod
    def _is_new(ctx: Context, step: PlannedStep) -> bool:
        """Whether nobody but Neutron and pumphouse can have put rules into the group."""
        made = "project" if step.params["name"] == "default" else "security-group"
        source_id = step.params["project_id"] if made == "project" else step.params["source_id"]
        said = [e.event for e in ctx.journal.events(step_key=step.key) if e.event in ("verified", "undone")]
        return said[-1:] != ["verified"] and ctx.journal.made_by_us(f"{made}:{source_id}")


def group_of(ctx: Context, group_id: str) -> SecurityGroup:
    """A destination security group by id, with its rules."""
    try:
        return ground_of(ctx.destination).get_security_group(group_id)
    except NotFound as error:
        raise StepError(
            f"Security group {group_id} is gone from {ctx.destination.name}.",
            remedy="somebody deleted it after it was made: make the plan again.",
        ) from error
