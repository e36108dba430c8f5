"""Security groups that their owner changes while a plan waits: whose servers it concerns, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumphouse.model import SecurityGroup, SecurityGroupRule
from pumphouse.plan.group_changes import changed_groups
from tests.core.making import ACME, planned
from tests.factories import kid, make_security_groups, uid

OTHER = SecurityGroup("90", kid("acme"), "late", "", ())
ADDED = {
    "tcp 8080 from 10.0.0.0/8": SecurityGroupRule("900", "ingress", "IPv4", "tcp", 8080, 8080, "10.0.0.0/8"),
    "everything from group late": SecurityGroupRule("901", "ingress", "IPv4", None, None, None, None, OTHER.id),
}
#: What a plan leaves out, and says so when it is made.
LEFT_OUT = {
    "names nothing": SecurityGroupRule("902", "ingress", "IPv4", "tcp", 1, 2),
    "nobody knows its meaning": SecurityGroupRule("903", "ingress", "IPv4", "tcp", 1, 2, "no-range"),
    "of nobody's group": SecurityGroupRule("904", "ingress", "IPv4", "tcp", 1, 2, None, "not-there"),
}
OF_WEB = {uid(name) for name in ("acme-web1", "acme-web2", "acme-cache", "acme-batch")}


def now_with(*rules: SecurityGroupRule, name: str = "web") -> tuple[SecurityGroup, ...]:
    """The sample source's groups, one of acme's with more rules, and one that was made since."""
    groups = [replace(g, rules=(*g.rules, *rules)) if is_acmes(g, name) else g for g in make_security_groups()]
    return (*groups, OTHER)


def is_acmes(group: SecurityGroup, name: str) -> bool:
    return (group.name, group.project_id) == (name, kid("acme"))


@pytest.mark.parametrize("told", ADDED)
def test_an_added_rule_concerns_the_servers_of_its_group_and_no_others(told: str, tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    found = changed_groups(plan, now_with(ADDED[told]))
    assert found == {server: [f"security group web: {told} was added"] for server in OF_WEB}
    assert {uid(name) for name in ACME} > OF_WEB


@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_what_no_plan_carries_does_not_make_it_stale(left_out: str, tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    assert changed_groups(plan, now_with(LEFT_OUT[left_out])) == {}


def test_a_removed_rule_and_a_group_that_is_gone(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    (web,) = (group for group in make_security_groups() if is_acmes(group, "web"))
    others = [group for group in make_security_groups() if group.id != web.id]
    first, *rest = web.rules
    fewer = changed_groups(plan, [*others, replace(web, rules=tuple(rest))])
    assert fewer.keys() == OF_WEB
    assert all(len(words) == 1 and words[0].endswith(" was removed") for words in fewer.values())
    assert f"{first.protocol} {first.port_min}" in fewer[uid("acme-web1")][0]
    gone = changed_groups(plan, others)
    assert {server: gone[server] for server in OF_WEB} == {
        server: [f"security group web ({web.id}) is gone"] for server in OF_WEB
    }
    # and what it gave to others: the databases let it in
    assert gone.keys() - OF_WEB == {uid("acme-db1"), uid("acme-db2")}
