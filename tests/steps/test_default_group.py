"""Neutron's own rules in ``default``: removed once where pumphouse made the project, left alone elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from pumphouse.plan.model import PlannedStep
from pumphouse.plan.rules import egress, params_of
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, unique
from tests.steps.case import Case, Made, SetUp
from tests.steps.shared_cases import like

pytestmark = SDK_WARNS_OF_ITSELF


class DefaultRulesCase(Case):
    """The rules of ``default``, of which the source has none, in a project of its own."""

    kind = "security-group-rules"
    writes = ()

    def make(self, bench: Bench) -> Made:
        body = {"project": {"name": unique("project"), "domain_id": "default"}}
        project = ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"]
        (group,) = ask(bench.new.network, f"/security-groups?project_id={project}")["security_groups"]
        source_id = f"old-{group['id']}"
        params = {
            "source_id": source_id,
            "project_id": f"old-{project}",
            "name": "default",
            "rules": params_of(egress()),
        }
        step = like(bench.pattern("security-group-rules"), source_id, **params)
        return Made(step, mappings=[("project", f"old-{project}", project), ("security_group", source_id, group["id"])])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        group = step.params["source_id"].removeprefix("old-")
        rules = ask(bench.new.network, f"/security-group-rules?security_group_id={group}")["security_group_rules"]
        return sorted((rule["direction"], rule["ethertype"]) for rule in rules)

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [("egress", "IPv4"), ("egress", "IPv6")]

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.title,)


THEIRS = [("egress", "IPv4"), ("egress", "IPv6"), ("ingress", "IPv4"), ("ingress", "IPv6")]


def test_what_neutron_put_there_goes_once_and_comes_back_with_a_roll_back(bench: Bench, scene: SetUp) -> None:
    case = DefaultRulesCase()
    one = scene(case)
    assert case.seen(bench, one.step) == THEIRS
    one.journal.write("ground", one.plan.hash, f"project:{one.step.params['project_id']}", "intent", {"absent": True})
    one.run()
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    body = {
        "security_group_id": one.step.params["source_id"].removeprefix("old-"),
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
    }
    made = ask(bench.new.network, "/security-group-rules", "POST", json={"security_group_rule": body})
    one.run()
    assert ("ingress", "IPv4") in case.seen(bench, one.step), "somebody's own rule was removed"
    ask(bench.new.network, f"/security-group-rules/{made['security_group_rule']['id']}", "DELETE")
    one.roll_back()
    assert case.seen(bench, one.step) == THEIRS
    one.renew()
    one.run()
    assert case.seen(bench, one.step) == case.want(bench, one.step)


@pytest.mark.parametrize("again", [False, True])
def test_in_a_project_that_was_there_they_stay(bench: Bench, scene: SetUp, again: bool) -> None:
    case = DefaultRulesCase()
    one = scene(case)
    one.run()
    if again:
        one.run()
    assert case.seen(bench, one.step) == THEIRS
