"""A plan about nodes as people read it: in the order in which it is carried out, and nothing left out of its report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from pumphouse.notebook.approving import ApprovalForm
from pumphouse.notebook.panel import Panel
from pumphouse.notebook.progress import cost_of_stopping
from pumphouse.notebook.runs import show_plan, show_report
from pumphouse.plan.model import Plan
from pumphouse.session import Run, make_report
from pumphouse.session.story import tell_story
from tests.core.making import make_plan, make_step, plan_server
from tests.notebook.desk_of import desk_run

STEPS = (
    make_step("node-off:n1", phase="release", title="n1 has no power", node="n1"),
    make_step("fuel-up:fuel", phase="create", title="the Fuel master answers"),
    make_step("node-pxe:n1", "node-off:n1", phase="discover", title="n1 boots by PXE next", node="n1"),
    make_step("fuel-environment:lab", "fuel-up:fuel", phase="create", title="environment lab"),
    make_step(
        "fuel-deploy:lab", "node-pxe:n1", "fuel-environment:lab", phase="install", title="deploy environment lab"
    ),
)


def new_cloud() -> Plan:
    return make_plan(*STEPS, kind="fuel-master", servers=())


def test_its_steps_stand_in_the_order_of_its_action_cells() -> None:
    titles = [step.title for step in STEPS]
    text = show_plan(new_cloud()).text
    shown = sorted(titles, key=text.index)
    assert shown == [titles[0], titles[1], titles[3], titles[2], titles[4]]
    assert re.search(r"^1 +release +n1 has no power", text, re.MULTILINE)
    assert re.search(r"^5 +install +deploy environment lab", text, re.MULTILINE)


def test_without_servers_there_is_no_empty_table_of_servers() -> None:
    shown = show_plan(new_cloud())
    assert "Fuel-master plan" in shown.text
    assert "0 servers" not in shown.text
    assert "floating IPs" not in shown.html
    assert f"pumphouse approve {new_cloud().hash[:12]}" in shown.html
    acquired = show_plan(make_plan(*STEPS, kind="acquire", servers=(plan_server("web1"),))).html
    assert "web1" in acquired
    assert "image" not in acquired


def test_its_report_names_every_step_those_of_no_node_too(tmp_path: Path) -> None:
    run, plan = desk_run(tmp_path), new_cloud()
    run.keep(plan, "started")
    run.set_out(run.id, plan)
    run.tell(run.id, plan, ("node-off:n1", "intent"), ("node-off:n1", "done"), ("node-off:n1", "verified"))
    report = make_report(run.journal, plan)
    told = {item.name: item.result for item in report.objects}
    assert told == {step.title: "done" if step.key == "node-off:n1" else "not begun" for step in STEPS}
    shown = show_report(report).text
    assert "Result: 1 of 5 steps done and verified" in shown
    assert "(none)" not in shown
    assert "deploy environment lab" in shown


def test_giving_a_node_back_destroys_nothing_and_its_approval_says_so(tmp_path: Path) -> None:
    step = make_step("undo:1:node-off:n1", phase="undo", title="undo: power off n1", node="n1", undo=None)
    plan = make_plan(step, kind="give-back", servers=())
    assert plan.lost_for_ever == {}
    form = ApprovalForm(plan, cast(Run, desk_run(tmp_path)))
    assert form.phrase == ""
    shown = " ".join(str(getattr(one, "value", "")) for one in form.widget.children)
    assert "give-back of n1, 1 step." in shown
    assert "rreversible" not in shown
    assert make_plan(step, kind="move", servers=()).lost_for_ever == {"cannot be undone": 1}
    assert "What becomes of it" not in show_plan(plan).text


@pytest.mark.parametrize(("count", "said"), [(1, "once"), (3, "3 times")])
def test_how_often_something_is_lost_for_ever_is_said_as_people_say_it(tmp_path: Path, count: int, said: str) -> None:
    steps = (
        make_step(f"node-deploy:n{n}", node=f"n{n}", undo=None, cost="disks are overwritten") for n in range(count)
    )
    form = ApprovalForm(make_plan(*steps, servers=()), cast(Run, desk_run(tmp_path)))
    assert f"<b>Irreversible</b>, {said}: disks are overwritten" in form.head.value


def acquisition() -> Plan:
    server = plan_server("web1")
    leaves = make_step(
        f"leave-host:{server.id}",
        phase="evacuate",
        title="web1 leaves compute1 (block)",
        server_id=server.id,
        host="compute1",
    )
    off = make_step("node-off:n1", leaves.key, phase="release", title="power off n1", node="n1")
    return make_plan(leaves, off, kind="acquire", servers=(server,))


DONE = ("intent", "done", "verified")


def test_the_phase_of_a_node_counts_no_servers_and_its_buttons_speak_of_nodes(tmp_path: Path) -> None:
    run, plan = desk_run(tmp_path), acquisition()
    run.keep(plan, "started")
    run.set_out(run.id, plan)
    leaves, off = (step.key for step in plan.steps)
    run.tell(run.id, plan, *((leaves, event) for event in DONE))
    panel = Panel(run.journal, plan, run.id, ("release",))
    try:
        run.tell(run.id, plan, (off, "intent"))
        panel.refresh()
        shown = panel.static().text
        assert "servers done" not in shown
        assert "web1" not in shown
        assert "power off n1" in shown
        assert panel.after_button.description == "Stop after these nodes"
        assert "server" not in f"{panel.after_button.tooltip} {panel.abort_button.tooltip}"
        assert "Under way: power off n1." in cost_of_stopping(panel.look())
        # the one node is begun, and would be finished all the same
        assert (panel.after_button.disabled, panel.abort_button.disabled) == (True, False)
        assert "only “Stop now” stops it" in panel.after_button.tooltip
        run.tell(run.id, plan, (off, "done"), (off, "verified"))
        assert panel.static(over=True).text == "Releasing nodes: 1 of 1 steps verified"
    finally:
        panel.widget.close_all()
    run.tell(run.id, plan, (leaves, "intent"))
    emptying = Panel(run.journal, plan, run.id, ("evacuate",))
    try:
        assert "stay down" not in cost_of_stopping(emptying.look())  # what is under way ends, and it is there then
        run.tell(run.id, plan, (leaves, "done"), (leaves, "verified"))
        assert "1 of 1 servers done" in emptying.static().text
        assert emptying.after_button.description == "Stop after these servers"
    finally:
        emptying.widget.close_all()


def test_where_a_server_went_and_that_it_answers_there_is_in_report_and_record(tmp_path: Path) -> None:
    run, plan = desk_run(tmp_path, notebook="06-acquire-nodes"), acquisition()
    run.keep(plan, "started")
    run.set_out(run.id, plan)
    leaves = plan.steps[0].key
    run.tell(run.id, plan, (leaves, "intent"), (leaves, "done"))
    seen = {"host": "compute4", "status": "ACTIVE", "answers": True}
    run.tell(run.id, plan, (leaves, "verified"), evidence=seen)
    report = make_report(run.journal, plan)
    assert [(one.host, one.answers) for one in report.servers] == [("compute4", True)]
    shown = show_report(report).text
    assert "compute4" in shown
    assert "not asked" not in shown
    assert "downtime" not in shown
    (told,) = tell_story(run.journal, run.id)["servers"]
    assert told["after"] == {"host": "compute4", "status": "ACTIVE"}


def test_a_cell_that_is_run_twice_leaves_what_the_first_time_did_in_the_record(tmp_path: Path) -> None:
    run, plan = desk_run(tmp_path), acquisition()
    run.keep(plan, "started")
    keys = [step.key for step in plan.steps]
    for events in (DONE, ("skipped",)):
        run.set_out(run.id, plan)
        run.tell(run.id, plan, *((key, event) for key in keys for event in events))
    assert run.journal.run_result(run.id) == "succeeded"
    assert [step["result"] for step in tell_story(run.journal, run.id)["steps"]] == ["verified", "verified"]
    later = run.begin("06-acquire-nodes")
    run.set_out(later, plan)
    run.tell(later, plan, *((key, "skipped") for key in keys))
    assert run.journal.run_result(later) == "nothing-to-do"
    assert [step["result"] for step in tell_story(run.journal, later)["steps"]] == ["skipped", "skipped"]
