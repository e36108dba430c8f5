"""A transfer step by step: what is asked before what is done, what stops it, how it goes on after a crash, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import PumphouseError
from pumphouse.journal import Journal
from pumphouse.nodes.fuel import FuelNode
from pumphouse.session.report import make_report
from pumphouse.steps import STEPS
from tests.factories import make_server
from tests.hardware.making import make_service
from tests.hardware.world import Hall, World, open_journal, refused
from tests.steps.bench import Killed

WHOLE = [
    "disable", "power off", "vlan 100", "boot pxe", "power on", "assign", "deploy",
    "boot canary nova:node-31", "delete canary", "forget",
]  # fmt: skip
OVERWRITTEN = "deploy"
KINDS = (
    "node-port", "host-disable", "host-empty", "node-off", "node-vlan", "node-pxe", "node-on", "node-discovered",
    "node-assign", "node-deploy", "host-up", "canary", "host-forget",
)  # fmt: skip


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall.open(tmp_path, World())


def test_a_node_goes_over_in_the_seeds_order_and_a_second_run_changes_nothing(hall: Hall) -> None:
    plan = hall.transfer()
    assert hall.world.log == WHOLE
    assert hall.journal.plan_state(plan.hash) == "finished"
    assert (hall.world.service, hall.world.canaries, hall.world.groups) == (None, [], [])
    again = hall.transfer()
    assert (again.hash, hall.world.log) == (plan.hash, WHOLE)


@pytest.mark.parametrize(
    ("broken", "said", "done"),
    [
        ("foreign-serial", "this is not the machine", ["disable"]),
        ("bmc-silent", "does not answer", ["disable"]),
        ("stuck-power", "stays as it was", ["disable"]),
        ("deaf-port", "shows another VLAN", ["disable", "power off"]),
        ("wrong-image", "did not discover it", WHOLE[:5]),
        ("foreign-mac", "not the machine that was meant", WHOLE[:5]),
        ("foreign-serial-in-fuel", "not the machine that was meant", WHOLE[:5]),
        ("deploy-error", "ended in error", WHOLE[:7]),
        ("never-up", "down at new", WHOLE[:7]),
        ("kept-group", "left of its security groups", WHOLE[:9]),
    ],
)
def test_a_fault_is_a_clear_stop_and_the_same_notebook_goes_on_when_it_is_mended(
    hall: Hall, broken: str, said: str, done: list[str]
) -> None:
    hall.world.broken.add(broken)
    error = refused(hall)
    assert said in str(error)
    assert hall.world.log == done
    assert hall.world.disk == ("destination" if OVERWRITTEN in done else "source")
    hall.world.broken.clear()
    if broken.startswith("foreign-") and hall.world.fuel is not None:
        hall.world.fuel = None  # the other machine is taken off the Admin network
    plan = hall.transfer()
    assert hall.journal.plan_state(plan.hash) == "finished"
    assert hall.world.log[-3:] == WHOLE[-3:]


@pytest.mark.parametrize("broken", ["foreign-serial", "stuck-power", "deaf-port", "wrong-image", "foreign-mac"])
def test_before_its_disk_is_overwritten_a_node_can_be_given_back(hall: Hall, broken: str) -> None:
    hall.world.broken.add(broken)
    refused(hall)
    hall.world.broken.clear()
    if broken == "foreign-mac":
        hall.world.fuel = None
    hall.give_back()
    world = hall.world
    assert (world.power, world.vlan, world.runs, world.disk) == ("on", 200, "source", "source")
    assert world.service is not None
    assert (world.service.status, world.service.state) == ("enabled", "up")
    # and over again, by a plan of its own
    plan = hall.transfer()
    assert plan.sequence == 1
    assert hall.journal.plan_state(plan.hash) == "finished"


def test_fuel_does_not_know_a_node_any_more_that_was_given_back(hall: Hall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.work.release(plan)
    hall.work.discover(plan)
    hall.give_back()
    assert hall.world.log[5:7] == ["power off", "delete in fuel"]
    assert (hall.world.fuel, hall.world.runs) == (None, "source")


def test_what_was_disabled_before_us_stays_disabled(hall: Hall) -> None:
    hall.world.service = make_service("host-n1", status="disabled")
    hall.world.broken.add("deaf-port")
    refused(hall)
    hall.world.broken.clear()
    plan = hall.give_back()
    assert hall.world.service.status == "disabled"
    assert hall.world.log == ["power off", "boot disk", "power on"]
    lines = "\n".join(hall.lines)
    assert "left in place: disable nova-compute on host-n1" in lines
    assert "done     undo: disable" not in lines
    assert "done     undo: power off n1" in lines
    results = {one.name: (one.result, one.why) for one in make_report(hall.journal, plan).objects}
    assert results["disable nova-compute on host-n1"] == ("kept", "disabled before pumphouse")


def test_a_deployed_node_is_not_given_back(hall: Hall) -> None:
    hall.transfer()
    hall.work.plan_give_back("n1")
    assert [finding.code for finding in hall.findings] == ["disk-overwritten"]


@pytest.mark.parametrize("moment", ["node-off", "node-deploy", "host-forget"])
def test_nova_is_asked_again_right_before_what_cannot_be_taken_back(
    hall: Hall, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that appears on the host after everything was checked keeps its machine."""
    write = hall.journal.write

    def appear(run_id: str, plan_hash: str, key: str, event: str, *rest: object, **more: object) -> None:
        write(run_id, plan_hash, key, event, *rest, **more)  # type: ignore[arg-type]
        earlier = {"node-off": "host-empty", "node-deploy": "node-assign", "host-forget": "canary"}[moment]
        if key.startswith(earlier) and event == "verified":
            hall.world.servers.append(make_server("late", host="host-n1"))

    monkeypatch.setattr(hall.journal, "write", appear)
    error = refused(hall)
    assert "late" in str(error)
    assert hall.world.log == WHOLE[: {"node-off": 1, "node-deploy": 6, "host-forget": 9}[moment]]


def test_an_enabled_host_keeps_its_power(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.world.broken.add("stuck-power")
    with pytest.raises(PumphouseError):
        hall.work.release(plan)
    hall.world.broken.clear()
    hall.world.service = make_service("host-n1")  # somebody enabled it again
    with pytest.raises(PumphouseError, match="is enabled"):
        hall.work.release(plan)
    assert hall.world.power == "on"


def test_a_port_in_a_vlan_of_nobodys_is_left_alone(hall: Hall) -> None:
    hall.world.vlan = 42
    assert "may be another machine's" in str(refused(hall))
    assert hall.world.vlan == 42


def test_a_node_that_somebody_switched_on_is_not_ours_to_boot(hall: Hall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.work.release(plan)
    hall.world.power = "on"
    with pytest.raises(PumphouseError, match="nobody here switched it on"):
        hall.work.discover(plan)


def test_other_peoples_pending_changes_are_not_deployed(hall: Hall) -> None:
    stranger = FuelNode(
        9, "stranger", "discover", online=True, environment_id=7, mac="52:54:00:00:00:99", macs=("52:54:00:00:00:99",),
        ip="10.20.0.9", serial="X", pending_addition=True,
    )  # fmt: skip
    hall.world.others.append(stranger)
    assert "pending changes of other nodes: stranger" in str(refused(hall))
    assert "deploy" not in hall.world.log


@pytest.mark.parametrize("taken", ["node:n1", "host:host-n1"])
def test_two_runs_do_not_work_on_one_node(hall: Hall, taken: str) -> None:
    hall.journal.claim("another run", [taken], holder="somebody@elsewhere:1", lease_s=100)
    assert f"{taken.replace(':', ' ')} is being worked on by somebody@elsewhere" in str(refused(hall))
    assert "power off" not in hall.world.log


class DyingJournal(Journal):
    """The journal of a process that dies at one event of one step."""

    kind = ""
    event = ""
    after = False

    def write(self, run_id: str, plan_hash: str, step_key: str, event: str, *rest: Any, **more: Any) -> None:
        """Write, or die before or after it."""
        dies = step_key.startswith(f"{self.kind}:") and event == self.event
        if dies and not self.after:
            raise Killed(event)
        super().write(run_id, plan_hash, step_key, event, *rest, **more)
        if dies:
            raise Killed(event)


def cut_off(folder: Path, kind: str) -> Hall:
    """After a transfer that died when a step had taken effect and the journal did not know yet."""
    world = World()
    dying = open_journal(folder, DyingJournal)
    assert isinstance(dying, DyingJournal)
    dying.kind, dying.event = kind, "done"
    with pytest.raises(Killed):
        Hall.open(folder, world, dying).transfer()
    dying.close()
    return Hall.open(folder, world)


@pytest.mark.parametrize(
    ("kind", "earlier"), [("node-on", "node-off"), ("node-on", "node-pxe"), ("host-forget", "host-disable")]
)
def test_what_a_step_without_an_outcome_changed_does_not_stop_the_verification_of_an_earlier_one(
    tmp_path: Path, kind: str, earlier: str
) -> None:
    hall = cut_off(tmp_path, kind)
    plan = hall.work.plan_transfer("n1")
    step = next(one for one in plan.steps if one.kind == earlier)
    outcome = hall.journal.step_state(plan.hash, step.key).outcome
    assert "a run was cut off" in str(STEPS[earlier].verify(hall.context(plan), step, outcome))
    hall.journal.close()


def test_a_node_that_booted_when_the_run_was_cut_off_is_forgotten_by_fuel_when_it_goes_back(tmp_path: Path) -> None:
    hall = cut_off(tmp_path, "node-on")
    assert (hall.world.runs, hall.world.fuel is None) == ("bootstrap", False)
    hall.give_back()
    hall.journal.close()
    assert (hall.world.runs, hall.world.vlan, hall.world.fuel) == ("source", 200, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("event", "after"), [("intent", True), ("done", False), ("verified", False)])
def test_killed_at_any_step_it_goes_on_and_nothing_is_done_twice(
    tmp_path: Path, kind: str, event: str, *, after: bool
) -> None:
    """After the intent, after the call but before its outcome is journalled, and before it is verified."""
    world = World()
    dying = open_journal(tmp_path, DyingJournal)
    assert isinstance(dying, DyingJournal)
    dying.kind, dying.event, dying.after = kind, event, after
    with pytest.raises(Killed):
        Hall.open(tmp_path, world, dying).transfer()
    dying.close()
    hall = Hall.open(tmp_path, world)
    plan = hall.transfer()
    hall.journal.close()
    assert hall.journal.plan_state(plan.hash) == "finished"
    canaries = 2 if kind == "canary" and event != "intent" else 1
    assert world.log == [*WHOLE[:7], *(["boot canary nova:node-31", "delete canary"] * canaries), "forget"]
    assert (world.runs, world.service, world.canaries, world.groups) == ("destination", None, [], [])
