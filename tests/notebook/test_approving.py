"""The approval form: bound to one plan, complete or closed, and a phrase for what cannot be undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from pumphouse.approval import approve, require_approval
from pumphouse.errors import ApprovalMissing
from pumphouse.notebook.approving import ApprovalForm, approval_form
from pumphouse.notebook.html import WARN
from pumphouse.notebook.runs import show_approval
from pumphouse.plan.model import Plan
from tests.core.making import make_plan, make_step, plan_server
from tests.notebook.desk_of import DeskRun, desk_run, move_of


@pytest.fixture
def run(tmp_path: Path) -> Iterator[DeskRun]:
    made = desk_run(tmp_path)
    yield made
    made.journal.close()
    ipywidgets.Widget.close_all()


def form_of(plan: Plan, run: Any) -> ApprovalForm:
    run.keep(plan, "proposed")
    return approval_form(plan, run)


def finalise() -> Plan:
    """A plan that deletes for ever."""
    steps = [make_step(f"delete-source:{n}", phase="finalise", undo=None, cost="its disk is gone") for n in (1, 2)]
    return make_plan(*steps, kind="finalise", servers=(plan_server("web"),))


def test_the_button_waits_until_all_is_said(run: DeskRun) -> None:
    form = form_of(move_of("web"), run)
    assert form.button.disabled
    assert "Still needed: approved by, reason" in form.said.value
    form.by.value = "Ada"
    assert form.button.disabled
    form.reason.value = "  "
    assert form.button.disabled
    form.reason.value = "window"
    assert not form.button.disabled


def test_it_writes_the_file_that_the_command_writes(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    assert form.ticket.value == "CHG-1"
    assert plan.hash in form.head.value
    form.by.value, form.reason.value, form.second.value = "Ada", "window", "Bo"
    form.button.click()
    found = require_approval(plan, run.site.work_dir / "approvals")
    assert (found.approved_by, found.second, found.reason, found.ticket) == ("Ada", "Bo", "window", "CHG-1")
    assert "Approved" in form.said.value
    assert form.button.layout.display == "none"
    assert "Bo" in repr(form)


def press(form: ApprovalForm, *typed: str) -> None:
    """The browser's one message of a press."""
    form._keys._handle_custom_msg({"kind": "pressed", "typed": list(typed)}, [])


def test_the_press_takes_what_stands_in_the_fields_though_the_letters_come_later(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    form.by.value, form.reason.value, form.ticket.value = "Ad", "win", "C"
    # the letter that was under way lands while the press is handled
    form.ticket.observe(lambda _: form.ticket.set_trait("value", "C"), names="value")
    press(form, "Ada Lovelace", "Bo", "window of Friday", "CHG-77")
    found = require_approval(plan, run.site.work_dir / "approvals")
    assert (found.approved_by, found.second, found.reason, found.ticket) == (
        "Ada Lovelace",
        "Bo",
        "window of Friday",
        "CHG-77",
    )


def test_a_field_that_was_emptied_at_the_last_moment_approves_nothing(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    form.by.value, form.reason.value = "Ada", "window"
    press(form, "Ada", "", "", "")
    assert "Still needed: reason" in form.said.value
    with pytest.raises(ApprovalMissing):
        require_approval(plan, run.site.work_dir / "approvals")


@pytest.mark.parametrize(
    ("by", "here", "words"),
    [("Ada", True, "FROM THE OPERATOR'S ACCOUNT"), ("olga", True, "BY THE OPERATOR"), ("Ada", False, "")],
)
def test_the_form_says_of_an_approval_what_the_record_will_say(
    run: Any, monkeypatch: pytest.MonkeyPatch, by: str, here: bool, words: str
) -> None:
    form = form_of(move_of("web"), run)
    form.by.value, form.reason.value = by, "window"
    assert "FROM THE OPERATOR" in form.said.value or by == "olga"
    if not here:
        monkeypatch.setattr("pumphouse.approval.getpass.getuser", lambda: "ada")
        form.button.click()
        monkeypatch.undo()
        form = approval_form(form._plan, run)
    else:
        form.button.click()
        assert (WARN.symbol in form.said.value, words in unescape(form.said.value)) == (True, True)
    told = show_approval(require_approval(form._plan, run.site.work_dir / "approvals"), run).text
    assert (WARN.symbol in told) == bool(words)
    assert ("FROM THE OPERATOR'S ACCOUNT" in told) == words.startswith("FROM")


def test_running_the_cell_approves_nothing(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    bundle = form._repr_mimebundle_()
    assert "nobody yet" in bundle["text/plain"]
    assert "pumphouse approve" in bundle["text/html"]
    with pytest.raises(ApprovalMissing):
        require_approval(plan, run.site.work_dir / "approvals")


def test_what_cannot_be_undone_wants_its_phrase(run: DeskRun) -> None:
    plan = finalise()
    form = form_of(plan, run)
    form.by.value, form.reason.value = "Ada", "window"
    assert form.button.disabled
    assert "its disk is gone" in form.head.value
    assert "2 times" in form.head.value
    form.confirm.value = "irreversible"
    assert form.button.disabled
    form.confirm.value = f"irreversible {plan.hash[:6]}"
    assert not form.button.disabled


def test_the_operator_alone_is_warned_and_may_go_on(run: DeskRun) -> None:
    form = form_of(move_of("web"), run)
    form.by.value, form.reason.value = "olga", "window"
    assert "nobody else looked" in form.said.value
    assert not form.button.disabled
    form.second.value = "Bo"
    assert "nobody else looked" not in form.said.value


def test_one_person_is_not_two(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    form.by.value, form.reason.value, form.second.value = "Ada", "window", "ada "
    form.button.click()
    assert "names Ada twice" in form.said.value
    assert not list((run.site.work_dir / "approvals").glob("*")) if run.site.work_dir.exists() else True


def test_an_approval_that_is_there_is_shown_and_the_form_is_closed(run: DeskRun) -> None:
    plan = move_of("web")
    approve(plan, run.site.work_dir / "approvals", by="Ada", reason="earlier")
    form = form_of(plan, run)
    assert "earlier" in form.head.value
    assert form.by.layout.display == "none"


def test_a_plan_that_is_over_is_not_approved(run: DeskRun) -> None:
    plan = move_of("web")
    form = form_of(plan, run)
    run.journal.set_plan_state(plan.hash, "finished")
    form.by.value, form.reason.value = "Ada", "window"
    form.button.click()
    assert "nothing left of it to approve" in form.said.value


def test_approvals_of_before_have_no_second_person(run: DeskRun) -> None:
    plan = move_of("web")
    path = approve(plan, run.site.work_dir / "approvals", by="Ada", reason="earlier")
    older = {name: value for name, value in json.loads(path.read_text()).items() if name != "second"}
    path.write_text(json.dumps(older))
    assert require_approval(plan, path.parent).second == ""
