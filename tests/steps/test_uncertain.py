"""Nobody knows whether it took effect: what is not known to have failed is neither given back nor called undone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumphouse.clouds.http import Reply, Wire
from pumphouse.errors import ApiError, StepError
from pumphouse.plan.model import Plan, order
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Killed, Write, keep, make_plan
from tests.steps.case import SetUp
from tests.steps.quota_case import QuotaCase
from tests.steps.server_cases import FloatingIpCase, StopCase
from tests.steps.shared_cases import ImageCase

pytestmark = SDK_WARNS_OF_ITSELF


def test_a_floating_ip_whose_binding_may_have_worked_is_not_given_back(bench: Bench, scene: SetUp) -> None:
    case = FloatingIpCase()
    one = scene(case)
    with bench.fault(case.writes[2], kind="lost", times=0):
        assert "is not known" in one.refused().message
    bench.idle()
    server = bench.source_server(one.step.params["server_id"])
    assert server is not None
    held = [address["addr"] for group in server["addresses"].values() for address in group]
    assert one.step.params["address"] not in held
    one.run()
    assert one.state().state == "verified"
    one.roll_back()
    server = bench.source_server(one.step.params["server_id"])
    assert server is not None
    held = [address["addr"] for group in server["addresses"].values() for address in group]
    assert one.step.params["address"] in held


def test_a_stop_that_was_accepted_is_ours_whatever_comes_after(
    bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene(StopCase())
    server_id = one.step.params["server_id"]
    answer, stopped = Wire._once, []

    def once(self: Wire, method: str, url: str, *rest: object, **options: object) -> Reply:
        if stopped and method == "GET" and server_id in url:
            raise ApiError("not allowed (any more)", status=403, request_id="r", remedy="look")
        reply = answer(self, method, url, *rest, **options)  # type: ignore[arg-type]
        if method == "POST" and "action" in url:
            stopped.append(url)
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(Wire, "_once", once)
        one.refused()
    bench.wait_source(server_id, "SHUTOFF")
    assert one.state().ours
    one.roll_back()
    server = bench.source_server(server_id)
    assert server is not None
    assert server["status"] == "ACTIVE"


def test_an_image_whose_bytes_are_gone_leaves_nothing_behind(bench: Bench, scene: SetUp) -> None:
    one = scene(ImageCase())
    with bench.fault(Write("GET", "/file", "source.*"), kind="status", status=404, times=0):
        one.refused()
    one.roll_back()
    name = one.step.params["image"]["name"]
    assert ask(bench.new.image, f"/images?name={name}")["images"] == []


def test_a_stop_that_was_never_begun_is_nothing_to_undo(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    server_id = one.step.params["server_id"]
    one.plan = make_plan(one.step, servers=(bench.plan_server(server_id, fingerprint="another"),))
    keep(one.journal, one.plan)
    one.refused()
    assert not one.state().in_effect
    server = bench.source_server(server_id)
    assert server is not None
    assert server["status"] == "ACTIVE"


def test_going_on_with_a_roll_back_knows_what_was_kept(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase(), in_place=True)
    one.run()
    undo = one.rollback
    keep(one.journal, undo)
    one.journal.dies_before = "done"
    with pytest.raises(Killed):
        one.run(*undo.steps, plan=undo)
    one.journal.dies_before = ""
    one.run(*undo.steps, plan=undo)
    assert one.journal.step_state(undo.hash, undo.steps[0].key).state == "verified"


def test_a_quota_that_two_plans_raised_goes_back_to_what_it_was(bench: Bench, scene: SetUp) -> None:
    case = QuotaCase()
    one = scene(case)
    was = case.seen(bench, one.step)
    one.run()
    first, step = one.plan, one.step
    later = replace(step, params={**step.params, "limits": {k: v + 5 for k, v in step.params["limits"].items()}})
    second = make_plan(later)
    keep(one.journal, second)
    one.run(later, plan=second)
    undo_first = one.rollback.steps[0]
    one.plan, one.step = second, later
    undo_second = one.rollback.steps[0]
    steps = order((undo_second, replace(undo_first, needs=(undo_second.key,))))
    both = Plan("rollback", "old", "new", "x" * 64, (), steps)
    keep(one.journal, both)
    for plan in (first, second):
        one.journal.set_plan_state(plan.hash, "finished")
    one.run(*both.steps, plan=both)
    assert case.seen(bench, later) == was


def test_what_a_service_refused_is_told_from_what_it_did_not_answer() -> None:
    assert ApiError("no", status=409).refused
    assert not ApiError("broken", status=500).refused
    assert not isinstance(StepError("x"), ApiError)
