"""What a report says became of each server and object, read from the journal alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumphouse.journal import Journal
from pumphouse.plan.after import plan_finalise, plan_rollback
from pumphouse.plan.model import Plan
from pumphouse.session import make_report
from tests.core.making import did, keep_plan, planned
from tests.core.making_runs import start_run
from tests.factories import kid, uid

WEB1 = uid("acme-web1")


@pytest.fixture
def moved(journal: Journal, tmp_path: Path) -> Plan:
    """acme-web1 was moved."""
    plan, _ = planned(tmp_path, "acme-web1")
    keep_plan(journal, plan, "finished")
    run = start_run(journal)
    did(journal, run, plan, *(step.key for step in plan.steps), answers=True, downtime_s=3.25)
    return plan


def finish(journal: Journal, plan: Plan, **evidence: dict[str, Any]) -> None:
    """Do every step of a plan; ``evidence`` by the kind of the step that was undone."""
    keep_plan(journal, plan, "finished")
    run = start_run(journal)
    for step in plan.steps:
        kind = str(step.params.get("step_key", "")).partition(":")[0].replace("-", "_")
        did(journal, run, plan, step.key, evidence=evidence.get(kind, {"deleted": "x"}))


def test_a_report_can_be_read(journal: Journal, moved: Plan) -> None:
    text = str(make_report(journal, moved))
    lines = text.splitlines()
    assert lines[0] == f"move plan {moved.hash[:12]}: {len(moved.steps)} of {len(moved.steps)} steps done and verified"
    assert lines[1] == "  acme-web1  moved  10.10.0.11, 172.24.4.11, down for 3.2 s"
    assert lines[-1] == "The sources are stopped, not deleted: finalise them after the hold, or roll back."


def test_a_failed_step_is_in_it(journal: Journal, tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    keep_plan(journal, plan)
    journal.write(start_run(journal), plan.hash, f"boot:{WEB1}", "failed", {"error": "no valid host"})
    text = str(make_report(journal, plan))
    assert ", 1 failed" in text
    assert "acme-web1  failed  10.10.0.11, 172.24.4.11: no valid host" in text


def test_a_moved_server_that_was_finalised_is_called_so(journal: Journal, moved: Plan) -> None:
    assert [server.result for server in make_report(journal, moved).servers] == ["moved"]
    final, _ = plan_finalise(journal, "d" * 64, [WEB1], hold_s=0)
    finish(journal, final)
    report = make_report(journal, moved)
    assert [server.result for server in report.servers] == ["finalised"]
    assert report.left == ()
    assert [server.result for server in make_report(journal, final).servers] == ["source deleted"]


def test_a_roll_back_says_per_object_what_became_of_it(journal: Journal, moved: Plan) -> None:
    back, _ = plan_rollback(journal, "d" * 64, [WEB1])
    finish(
        journal,
        back,
        network={"kept": True},
        project={"kept": kid("acme"), "why": "the project holds servers"},
        floating_ip={"kept": True, "why": "bound by hand"},
        flavor={"kept": "another move has come to need it since"},
        router={"gone": "its network is gone"},
    )
    report = make_report(journal, back)
    assert [server.result for server in report.servers] == ["back at the source"]
    said = {item.name: (item.result, item.why) for item in report.objects}
    titles = {step.kind: step.title for step in moved.steps}
    assert said[titles["network"]] == ("kept", "it was there before pumphouse")
    assert said[titles["project"]] == ("kept", "the project holds servers")
    assert said[titles["flavor"]] == ("kept", "another move has come to need it since")
    assert said[titles["router"]] == ("gone", "")
    assert said[titles["image"]][0] == "deleted"
    # of a server's own, what was left; what went is told by its own line
    assert said[titles["floating-ip"]] == ("kept", "bound by hand")
    assert titles["boot"] not in said
    assert f"  {titles['network']}: kept (it was there before pumphouse)" in str(report).splitlines()


def test_a_roll_back_that_is_not_complete_says_what_is_left(journal: Journal, moved: Plan) -> None:
    back, _ = plan_rollback(journal, "d" * 64, [WEB1])
    keep_plan(journal, back)
    run = start_run(journal)
    first, second = back.steps[0].key, next(step.key for step in back.steps if step.server_id is None)
    did(journal, run, back, first)
    journal.write(run, back.hash, second, "failed", {"error": "409 in use"})
    report = make_report(journal, back)
    results = {item.result for item in report.objects}
    assert results == {"failed", "not undone yet"}
    assert next(item.why for item in report.objects if item.result == "failed") == "409 in use"


def test_a_server_that_is_half_way_back_is_not_called_untouched(journal: Journal, moved: Plan) -> None:
    back, _ = plan_rollback(journal, "d" * 64, [WEB1])
    keep_plan(journal, back)
    own = [step.key for step in back.steps if step.server_id is not None]
    assert [server.result for server in make_report(journal, back).servers] == ["untouched"]
    did(journal, start_run(journal), back, own[0])
    assert [server.result for server in make_report(journal, back).servers] == ["not complete"]


def test_what_another_run_kept_a_roll_back_from_is_said_with_who_has_it(journal: Journal, moved: Plan) -> None:
    back, _ = plan_rollback(journal, "d" * 64, [WEB1])
    keep_plan(journal, back)
    run, first = start_run(journal), next(step for step in back.steps if step.server_id is not None)
    journal.write(run, back.hash, first.key, "failed", {"error": "server web1 is held by olga", "type": "ClaimHeld"})
    report = make_report(journal, back)
    told = {item.name: item.why for item in report.objects}
    assert told[first.title.removeprefix("undo: ")] == "server web1 is held by olga"
