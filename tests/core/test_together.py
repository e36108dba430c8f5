"""Two runs of one plan: the second is refused at the plan, before anything of it is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumphouse.errors import PlanHeld
from pumphouse.holder import holder
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.session.together import check_under_way, claim_plan, is_carried_out, plan_key, plan_keys
from tests.core.making import make_plan, make_site, make_step
from tests.core.making_runs import start_run
from tests.core.processes import workers

PLAN = make_plan(make_step("project:1"))
BACK = make_plan(
    make_step("undo:1", kind="undo", phase="undo", params={"plan_hash": PLAN.hash, "step_key": "project:1"}),
    kind="rollback",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test is made twice: with a journal in a file, and on a server."""
    if "journal_url" in metafunc.fixturenames:
        metafunc.parametrize("journal_url", ["sqlite", "postgresql"], indirect=True)


def test_the_second_run_reads_who_has_it_until_that_one_dies(
    journal: Journal, journal_url: str, tmp_path: Path
) -> None:
    site, mine = make_site(tmp_path), start_run(journal)
    with workers(("claim", journal_url, plan_key(PLAN.hash), "900")) as (other,):
        other.answer()
        other.go()
        theirs = other.answer()
        (finding,) = check_under_way(journal, mine, PLAN)
        with pytest.raises(PlanHeld) as held:
            claim_plan(journal, mine, PLAN, site)
        for said in (finding.message, held.value.message):
            assert f"run {theirs['run_id']} by tester: " in said
            assert f"(pid {theirs['pid']})" in said
            assert "pid:[" not in said
        assert (finding.severity, finding.object) == ("block", f"plan {PLAN.hash[:12]}")
        assert f"`pumphouse show {PLAN.hash[:12]} --follow`" in finding.remedy
        assert is_carried_out(journal, PLAN)
        other.kill()
        assert check_under_way(journal, mine, PLAN) == []
        claim_plan(journal, mine, PLAN, site)
        claim_plan(journal, mine, PLAN, site)
    assert is_carried_out(journal, PLAN)
    journal.end_run(mine, "succeeded")
    assert not is_carried_out(journal, PLAN)


def test_on_another_machine_its_lease_is_waited_for(journal: Journal, tmp_path: Path) -> None:
    site, mine, theirs = make_site(tmp_path), start_run(journal), start_run(journal)
    journal.claim(theirs, [plan_key(PLAN.hash)], holder="bob@elsewhere pid 7 started 1 in pid:[1]", lease_s=900)
    with pytest.raises(PlanHeld, match=r"bob on elsewhere \(pid 7\)"):
        claim_plan(journal, mine, PLAN, site)
    journal.renew(theirs, lease_s=-1)
    assert check_under_way(journal, mine, PLAN) == []
    claim_plan(journal, mine, PLAN, site)


def test_a_second_run_of_the_same_process_takes_it_up(journal: Journal, tmp_path: Path) -> None:
    first, again = start_run(journal), start_run(journal)
    journal.claim(first, [plan_key(PLAN.hash)], holder=holder(), lease_s=900)
    assert check_under_way(journal, again, PLAN) == []
    claim_plan(journal, again, PLAN, make_site(tmp_path))


@pytest.mark.parametrize(("first", "second"), [(PLAN, BACK), (BACK, PLAN)], ids=["move", "roll back"])
def test_a_move_and_its_roll_back_keep_each_other_off(
    journal: Journal, tmp_path: Path, first: Plan, second: Plan
) -> None:
    site, mine, theirs = make_site(tmp_path), start_run(journal), start_run(journal)
    journal.claim(theirs, plan_keys(first), holder="bob@elsewhere pid 7 started 1 in pid:[1]", lease_s=900)
    (finding,) = check_under_way(journal, mine, second)
    assert "bob on elsewhere" in finding.message
    with pytest.raises(PlanHeld, match=r"bob on elsewhere \(pid 7\)"):
        claim_plan(journal, mine, second, site)
    journal.release(theirs, *plan_keys(first))
    claim_plan(journal, mine, second, site)
