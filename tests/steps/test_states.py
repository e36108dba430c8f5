"""Servers that are not simply running: they are left as they are, locked, and come back as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import openstack
import pytest

from pumphouse.errors import ApiError, PlanStale, StepError, VerificationFailed
from pumphouse.plan.model import PlannedStep
from pumphouse.steps import STEPS
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Scene
from tests.steps.case import Case, Made, SetUp
from tests.steps.quota_case import QuotaCase
from tests.steps.server_cases import BootCase, SettleCase, StopCase, boot_step, make_port, of_server

pytestmark = SDK_WARNS_OF_ITSELF
#: What makes a source so, its state, and what its owner would do to have it back.
FROZEN = [
    ("pause", "PAUSED", "unpause"),
    ("suspend", "SUSPENDED", "resume"),
    ("shelve", "SHELVED_OFFLOADED", "unshelve"),
]


class FrozenCase(Case):
    """A cutover, up to the boot, of a source that is already silent."""

    kind = "boot"
    writes = ()

    def __init__(self, action: str, status: str, *, locked: bool = False) -> None:
        self.action, self.status, self.locked = action, status, locked

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        bench.act_source(server["id"], self.action, self.status)
        if self.locked:
            ask(bench.old.compute, f"/servers/{server['id']}/action", "POST", json={"lock": None})
        rests = ["SHELVED", "SHELVED_OFFLOADED"] if self.status.startswith("SHELVED") else [self.status]
        known: dict[str, Any] = {"rests": rests, "locked": self.locked}
        stop = of_server(bench, "stop", server, **known)
        boot = boot_step(bench, server)
        boot = replace(boot, params={**boot.params, **known})
        mapping = make_port(bench, server)
        return Made(boot, before=(stop,), servers=(bench.plan_server(server["id"]),), mappings=[mapping])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        source = bench.source_server(step.params["source_id"])
        return source and source["status"], [copy["status"] for copy in bench.copies(step.params["name"])]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return self.status, ["ACTIVE"]

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


def refuses_owner(bench: Bench, server_id: str, action: str) -> bool:
    """Whether a source server is locked: its owner may not do that."""
    try:
        ask(bench.owner.compute, f"/servers/{server_id}/action", "POST", json={action: None})
    except openstack.exceptions.ConflictException as error:
        return "locked" in str(error)
    return False


def take_back(one: Scene) -> None:
    """Undo the boot, then the stop, as a roll back does."""
    stop, boot = (next(step for step in one.plan.steps if step.kind == kind) for kind in ("stop", "boot"))
    for step in (boot, stop):
        one.step = step
        assert set(one.roll_back().results.values()) == {"verified"}


@pytest.mark.parametrize(("action", "status", "back"), FROZEN, ids=[status for _, status, _ in FROZEN])
def test_a_source_that_is_silent_already_is_left_as_it_is(
    bench: Bench, scene: SetUp, action: str, status: str, back: str
) -> None:
    case = FrozenCase(action, status)
    one = scene(case)
    boot, source_id = one.step, one.step.params["source_id"]
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, boot) == case.want(bench, boot)
    assert refuses_owner(bench, source_id, back)
    take_back(one)
    assert case.seen(bench, boot) == (status, [])
    assert not refuses_owner(bench, source_id, back), "it was not locked before, and is now"


def test_a_source_that_its_owner_locked_stays_locked(bench: Bench, scene: SetUp) -> None:
    one = scene(FrozenCase("os-stop", "SHUTOFF", locked=True))
    source_id = one.step.params["source_id"]
    one.run()
    take_back(one)
    assert refuses_owner(bench, source_id, "os-start")


def test_a_locked_source_that_runs_again_keeps_its_lock_when_the_boot_is_refused(bench: Bench, scene: SetUp) -> None:
    one = scene(FrozenCase("pause", "PAUSED", locked=True))
    source_id = one.step.params["source_id"]
    bench.act_source(source_id, "unpause", "ACTIVE")
    error = one.refused()
    assert type(error) is StepError
    assert "two live copies" in error.message
    assert refuses_owner(bench, source_id, "os-stop")
    assert bench.copies(one.step.params["name"]) == []


@pytest.mark.parametrize("status", ["SHELVED", "SHELVED_OFFLOADED"])
def test_nova_may_take_a_shelved_server_off_its_host_meanwhile(bench: Bench, scene: SetUp, status: str) -> None:
    one = scene(FrozenCase("shelve", "SHELVED_OFFLOADED"))
    planned = replace(one.plan.servers[0], status=status)
    stop = next(step for step in one.plan.steps if step.kind == "stop")
    other = replace(one.plan, servers=(planned,), selection_digest="e" * 64)
    one.journal.save_plan(other.hash, kind="move", selection_digest="e" * 64, document=other.document)
    assert one.run(stop, plan=other).results == {stop.key: "verified"}


def test_a_server_that_was_paused_when_planned_and_runs_now_is_stale(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    params = {**one.step.params, "rests": ["PAUSED"]}
    one.step = replace(one.step, params=params)
    one.plan = replace(one.plan, steps=(one.step,), servers=(replace(one.plan.servers[0], status="PAUSED"),))
    error = one.refused()
    assert type(error) is PlanStale
    assert "status was PAUSED, is ACTIVE" in error.message


# --- what was asked for, is compared ------------------------------------------------------------------


class LockedCase(SettleCase):
    """A server that its owner had locked."""

    def make(self, bench: Bench) -> Made:
        made = super().make(bench)
        return replace(made, step=replace(made.step, params={**made.step.params, "locked": True}))


def test_a_locked_servers_copy_is_locked(bench: Bench, scene: SetUp) -> None:
    one = scene(LockedCase())
    one.run()
    (copy,) = bench.copies(one.step.params["name"])
    shown = ask(bench.new.compute, f"/servers/{copy['id']}", microversion="2.9")["server"]
    assert shown["locked"] is True
    ask(bench.new.compute, f"/servers/{copy['id']}/action", "POST", json={"unlock": None})
    with pytest.raises(VerificationFailed, match="locked should be True but is False"):
        one.verify()


def test_a_floating_ip_that_is_not_bound_is_noticed(bench: Bench, scene: SetUp) -> None:
    one = scene(SettleCase())
    one.step = replace(one.step, params={**one.step.params, "floating_ips": ["203.0.113.9"]})
    one.plan = replace(one.plan, steps=(*(s for s in one.plan.steps if s.kind != "settle"), one.step))
    ctx = one.context()
    with pytest.raises(VerificationFailed, match=r"floating IPs should be \['203.0.113.9'\] but is \[\]"):
        STEPS["settle"].verify(ctx, one.step, {})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"security_group_ids": []}, "security groups should be"),
        ({"availability_zone": "elsewhere"}, "availability zone should be 'elsewhere' but is 'nova'"),
        ({"config_drive": True}, "config drive should be True but is False"),
        ({"as": "operator"}, "owner should be"),
        ({"metadata": {"tier": "tin"}}, "metadata should be True but is False"),
        ({"key_name": None}, "keypair should be None but is 'acme-key'"),
    ],
)
def test_a_copy_that_is_not_what_was_asked_for_is_noticed(
    bench: Bench, scene: SetUp, wrong: dict[str, Any], words: str
) -> None:
    one = scene(BootCase(), in_place=True)
    one.run()
    ctx = one.context()
    try:
        STEPS["boot"].verify(ctx, one.step, one.state().outcome)
        with pytest.raises(VerificationFailed, match=words):
            STEPS["boot"].verify(ctx, replace(one.step, params={**one.step.params, **wrong}), one.state().outcome)
    finally:
        ctx.close()


def test_the_zone_is_asked_for(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    one.step = replace(one.step, params={**one.step.params, "availability_zone": "elsewhere"})
    one.plan = replace(one.plan, steps=(one.step,))
    error = one.refused()
    assert type(error) is ApiError
    assert "availability zone" in error.message
    assert bench.copies(one.step.params["name"]) == []


# --- quotas -------------------------------------------------------------------------------------------


def test_a_quota_that_somebody_had_set_is_set_back(bench: Bench, scene: SetUp) -> None:
    case = QuotaCase()
    one = scene(case)
    case.set(bench, one.step, instances=3, key_pairs=11)
    was = case.seen(bench, one.step)
    one.run()
    assert case.seen(bench, one.step) == {**case.want(bench, one.step), "key_pairs": 11}
    one.roll_back()
    assert case.seen(bench, one.step) == was
