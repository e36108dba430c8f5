"""The way of a node into the destination, and the way back while its disk is what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import PlanError
from pumphouse.findings import Finding, blocking
from pumphouse.journal import Journal
from pumphouse.plan.hardware import (
    Canary,
    Layout,
    NodeFacts,
    plan_acquire,
    plan_give_back,
    plan_transfer,
    target_digest,
)
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.model import Plan
from tests.core.making import did, keep_plan
from tests.core.making_runs import start_run
from tests.hardware.making import DIGEST, NAMES, make_facts, make_node, make_service, on_host

ORDER = [
    "node-port", "host-disable", "host-empty", "node-off", "node-vlan", "node-pxe", "node-on", "node-discovered",
    "node-assign", "node-deploy", "host-up", "canary", "host-forget",
]  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(f"sqlite:///{tmp_path / 'journal.db'}")


def plan(facts: NodeFacts, *, deletes: bool = True, **layout: Any) -> tuple[Plan, tuple[Finding, ...]]:
    wanted = Layout(**{"environment": "mos", **layout})
    return plan_transfer(facts, wanted, Canary(), digest=DIGEST, deletes_services=deletes, **NAMES)


def test_each_step_waits_for_the_one_before_in_the_seeds_order() -> None:
    made, findings = plan(make_facts())
    assert findings == ()
    assert [step.kind for step in made.steps] == ORDER
    for before, after in zip(made.steps, made.steps[1:], strict=False):
        assert before.key in after.needs, (before.key, after.key)
    irreversible = [step.kind for step in made.steps if step.undo is None]
    assert irreversible == ["node-deploy", "host-forget"]
    assert all(step.cost for step in made.steps if step.undo is None)
    assert {step.node for step in made.steps if step.kind.startswith("node-")} == {"n1"}


@pytest.mark.parametrize(
    ("facts", "kinds"),
    [
        (
            NodeFacts(make_node(host="", role="spare"), 100, None),
            [k for k in ORDER if k not in ("host-disable", "host-empty", "host-forget")],
        ),
        (make_facts(), [k for k in ORDER if k != "host-forget"]),
    ],
)
def test_what_there_is_not_is_neither_disabled_nor_forgotten(facts: NodeFacts, kinds: list[str]) -> None:
    made, findings = plan(facts, deletes=False)
    assert [step.kind for step in made.steps] == kinds
    assert blocking(findings) == ()


def test_a_controller_is_not_proved_by_a_canary() -> None:
    made, _ = plan(make_facts(), roles=("controller",))
    assert not {"host-up", "canary"} & {step.kind for step in made.steps}


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (make_facts(on_host("web", status="SHUTOFF")), "host-not-empty"),
        (make_facts(unconfirmed=(on_host("web", host="host-n2"),)), "resize-unconfirmed"),
        (make_facts(services=(make_service("host-n1"), make_service("host-n1", "nova-scheduler"))), "host-serves-more"),
        (make_facts(node=make_node(bmc=None)), "no-bmc"),
        (make_facts(node=make_node(ports=())), "no-admin-port"),
        (replace(make_facts(), admin_vlan=None), "no-admin-port"),
    ],
)
def test_what_keeps_a_node_from_leaving_is_named(facts: NodeFacts, code: str) -> None:
    _, findings = plan(facts)
    assert [finding.code for finding in blocking(findings)] == [code]


def test_a_node_without_a_serial_is_warned_of() -> None:
    _, findings = plan(make_facts(node=make_node(serial="")))
    assert [(f.severity, f.code) for f in findings] == [("warn", "no-serial")]


@pytest.mark.parametrize(
    "layout",
    [
        {"environment": ""},
        {"environment": "mos", "roles": ()},
        {"environment": "m", "template": "t", "disks": {"sda": {}}},
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(layout: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        Layout(**layout)


def test_old_plans_keep_their_hash_and_hardware_steps_read_back() -> None:
    made, _ = plan(make_facts())
    assert Plan.from_document(made.document) == made
    without = replace(made, steps=tuple(replace(step, node=None, host=None) for step in made.steps))
    assert all("node" not in step and "host" not in step for step in without.document["steps"])
    assert without.hash != made.hash


def test_the_digest_tells_nodes_and_choices_apart() -> None:
    one = target_digest("transfer", ["n1"], environment="mos")
    assert one == target_digest("transfer", ["n1"], environment="mos")
    assert len({one, target_digest("transfer", ["n2"], environment="mos"), target_digest("transfer", ["n1"])}) == 3


# -- the way back ---------------------------------------------------------------------------------
def acquired() -> Plan:
    return plan_acquire(make_facts(on_host("web")), Wishes(), digest=DIGEST, **NAMES)[0]


def give_back(journal: Journal) -> tuple[Plan, tuple[Finding, ...]]:
    return plan_give_back(journal, make_node(), digest="b" * 64, **NAMES)


def test_giving_back_undoes_both_plans_last_first(journal: Journal) -> None:
    run = start_run(journal)
    acquire, transfer = acquired(), plan(make_facts())[0]
    for taken, keys in (
        (acquire, ("host-disable:host-n1", "node-off:n1", "node-vlan:n1")),
        (transfer, ("node-pxe:n1", "node-on:n1", "node-discovered:n1")),
    ):
        keep_plan(journal, taken)
        did(journal, run, taken, *keys)
    made, findings = give_back(journal)
    assert findings == ()
    undone = [(step.params["plan_hash"], step.params["step_key"]) for step in made.steps]
    assert undone == [
        (transfer.hash, "node-discovered:n1"),
        (transfer.hash, "node-on:n1"),
        (transfer.hash, "node-pxe:n1"),
        (acquire.hash, "node-vlan:n1"),
        (acquire.hash, "node-off:n1"),
        (acquire.hash, "host-disable:host-n1"),
    ]
    assert all(step.node == "n1" and step.phase == "undo" for step in made.steps)


def test_a_node_whose_deployment_began_cannot_go_back(journal: Journal) -> None:
    transfer = plan(make_facts())[0]
    keep_plan(journal, transfer)
    did(journal, start_run(journal), transfer, "node-off:n1", "node-deploy:n1")
    _, findings = give_back(journal)
    assert [finding.code for finding in blocking(findings)] == ["disk-overwritten"]


def test_a_node_that_nothing_was_done_to_cannot_be_given_back(journal: Journal) -> None:
    keep_plan(journal, plan(make_facts(node=make_node("n2")))[0])
    with pytest.raises(PlanError, match="nothing that was done to node n1"):
        give_back(journal)
