"""Some servers of a project at a time, while their owners, the clouds and other operators get in the way."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from pumphouse.errors import ChecksFailed, PlanHeld, StepError
from pumphouse.journal import Journal
from pumphouse.selection import select_servers
from tests.flow.desk import AT_SOURCE, MOVED, STOPPED, Desk, eventually
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Killed, killed_at_write

pytestmark = SDK_WARNS_OF_ITSELF
ROOT = Path(__file__).resolve().parents[2]


def take(fleet: Iterator[str], count: int) -> list[str]:
    """Ids of servers that no other test has."""
    return list(islice(fleet, count))


def names(desk: Desk, ids: list[str]) -> list[str]:
    """Their names."""
    return [desk.servers[server_id]["name"] for server_id in ids]


def results(done_servers: object, ids: list[str]) -> list[str]:
    """What a report says of servers, in this order."""
    found = {server.id: server.result for server in done_servers.servers}  # type: ignore[attr-defined]
    return [found[server_id] for server_id in ids]


def test_what_the_first_move_made_stays_while_the_second_needs_it(desk: Desk, fleet: Iterator[str]) -> None:
    first, second = take(fleet, 2), take(fleet, 1)
    assert desk.do("move", ids=first).result == "succeeded"
    later = desk.do("move", ids=second)
    assert later.result == "succeeded"
    assert desk.places([*first, *second]) == [MOVED] * 3
    assert desk.do("rollback", ids=first).result == "succeeded"
    assert desk.places([*first, *second]) == [AT_SOURCE, AT_SOURCE, MOVED]
    with desk.run() as run:
        rows = run.verify(later.plan, "prepare")
    assert len(rows) == len(later.plan.phase("prepare"))
    assert desk.do("rollback", ids=second).result == "succeeded"
    assert desk.places(second) == [AT_SOURCE]


def test_a_selection_that_overlaps_an_earlier_move(desk: Desk, fleet: Iterator[str]) -> None:
    first, second = take(fleet, 1), take(fleet, 1)
    desk.do("move", ids=first)
    both = desk.do("move", ids=[*first, *second])
    assert both.error is None
    assert desk.places([*first, *second]) == [MOVED, MOVED]
    assert len(desk.copies(first[0])) == 1
    assert desk.do("rollback", ids=[*first, *second]).result == "succeeded"
    assert desk.places([*first, *second]) == [AT_SOURCE, AT_SOURCE]


def test_started_again_by_its_owner_between_stop_and_boot(desk: Desk, fleet: Iterator[str]) -> None:
    victim, other = take(fleet, 2)
    name = desk.servers[victim]["name"]

    def owner(line: str) -> None:
        if f"stop {name} at the source" in line and "FAILED" not in line:
            desk.act(victim, "os-start", "ACTIVE")

    desk.on_line = owner
    done = desk.do("move", ids=[victim, other])
    assert type(done.error) is StepError
    assert "two live copies" in str(done.error)
    assert name in str(done.error)
    assert done.result == "failed"
    assert desk.places([victim, other]) == [AT_SOURCE, MOVED]
    assert desk.copies(victim) == []
    desk.on_line = lambda _line: None
    desk.act(victim, "os-stop", "SHUTOFF")
    again = desk.do("move", ids=[victim, other])
    assert again.result == "succeeded"
    assert desk.places([victim, other]) == [MOVED, MOVED]


def test_changed_since_the_plan(desk: Desk, fleet: Iterator[str]) -> None:
    victim, *others = take(fleet, 3)

    def owner(line: str) -> None:
        if "port" in line:
            body = {"metadata": {"number": "another"}}
            ask(desk.old.compute, f"/servers/{victim}/metadata", "POST", json=body)

    desk.on_line = owner
    done = desk.do("move", ids=[victim, *others])
    assert "changed since the plan was made" in str(done.error)
    assert done.result == "failed"
    assert desk.places([victim, *others]) == [AT_SOURCE, MOVED, MOVED]


def test_deleted_since_the_plan(desk: Desk, fleet: Iterator[str]) -> None:
    victim, *others = take(fleet, 3)

    def owner(line: str) -> None:
        if f"port {desk.address(victim)} " in line:
            ask(desk.old.compute, f"/servers/{victim}", "DELETE")
            eventually(lambda: desk.source(victim) is None, "deletion")

    desk.on_line = owner
    done = desk.do("move", ids=[victim, *others])
    assert victim in str(done.error)
    assert done.result == "failed"
    assert desk.source(victim) is None
    assert desk.copies(victim) == []
    assert desk.places(others) == [MOVED, MOVED]
    del desk.servers[victim]


def test_a_boot_that_fails_leaves_the_others_alone_and_is_made_good_later(desk: Desk, fleet: Iterator[str]) -> None:
    victim, *others = take(fleet, 3)
    name = desk.servers[victim]["name"]
    with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", body=f'"{name}"', times=0):
        done = desk.do("move", ids=[victim, *others])
    assert done.result == "failed"
    assert name in str(done.error)
    assert desk.places([victim, *others]) == [STOPPED, MOVED, MOVED]
    with desk.run() as run:
        selection = select_servers(run.inventory().servers, ids=[victim, *others])
        plan = run.plan_move(selection)
        report = run.report(plan)
    assert plan.hash == done.plan.hash
    assert report is not None
    assert results(report, [victim, *others]) == ["failed", "moved", "moved"]
    again = desk.do("move", ids=[victim, *others], approved=False)
    assert again.result == "succeeded"
    assert desk.places([victim, *others]) == [MOVED] * 3


def test_a_boot_that_fails_can_go_back_while_the_others_stay(desk: Desk, fleet: Iterator[str]) -> None:
    victim, other = take(fleet, 2)
    name = desk.servers[victim]["name"]
    with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", body=f'"{name}"', times=0):
        desk.do("move", ids=[victim, other])
    assert desk.do("rollback", ids=[victim]).result == "succeeded"
    assert desk.places([victim, other]) == [AT_SOURCE, MOVED]


def test_floating_ip_taken_since_the_plan(desk: Desk) -> None:
    (bastion,) = desk.ids("bastion")
    floating = desk.address(bastion, "floating")
    external = next(n["id"] for n in ask(desk.new.network, "/networks")["networks"] if n["router:external"])
    taken: list[str] = []

    def thief(line: str) -> None:
        if "stop bastion at the source" in line:
            body = {"floatingip": {"floating_network_id": external, "floating_ip_address": floating}}
            taken.append(ask(desk.new.network, "/floatingips", "POST", json=body)["floatingip"]["id"])

    desk.on_line = thief
    done = desk.do("move", ids=[bastion])
    assert floating in str(done.error)
    assert "is taken" in str(done.error)
    source = desk.source(bastion)
    assert source is not None
    assert floating in [a["addr"] for group in source["addresses"].values() for a in group]
    assert desk.place(bastion).copies == ("ACTIVE",)
    desk.on_line = lambda _line: None
    ask(desk.new.network, f"/floatingips/{taken[0]}", "DELETE")
    assert desk.do("move", ids=[bastion]).result == "succeeded"
    assert desk.place(bastion) == MOVED
    assert desk.do("rollback", ids=[bastion]).result == "succeeded"
    assert desk.place(bastion) == AT_SOURCE


def test_killed_again_and_again_in_both_directions(desk: Desk) -> None:
    ids = desk.ids("tps-reports")
    users = {u["name"] for u in ask(desk.new.identity, "/users")["users"]}
    for kind, place in (("move", MOVED), ("rollback", AT_SOURCE)):
        for attempt in itertools.count(1):
            assert attempt < 30
            with contextlib.suppress(Killed), killed_at_write(6):
                done = desk.do(kind, ids=ids)
                break
        assert (done.error, done.result) == (None, "succeeded")
        assert attempt > 2
        assert desk.places(ids) == [place]
    assert {u["name"] for u in ask(desk.new.identity, "/users")["users"]} == users
    assert "initech" not in {p["name"] for p in ask(desk.new.identity, "/projects")["projects"]}


# --- several processes --------------------------------------------------------------------------------


def prepared(desk: Desk, ids: list[str]) -> None:
    """Plan and approve a move, as an operator does before a night batch."""
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=ids))
        desk.approve(plan, run)


@contextlib.contextmanager
def mover(desk: Desk, ids: list[str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that moves servers."""
    command = [sys.executable, "-m", "tests.flow.mover", str(desk.lab.site_file), *ids, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


@pytest.mark.parametrize("moment", ["stop:before-done", "boot:before-done"])
def test_killed_in_the_middle_of_a_cut_over(moment: str, desk: Desk, fleet: Iterator[str]) -> None:
    ids = take(fleet, 2)
    prepared(desk, ids)
    with mover(desk, ids, "--at", moment) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == -9, said
    done = desk.do("move", ids=ids, approved=False)
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(ids) == [MOVED, MOVED]
    assert done.report is not None
    assert done.report.complete


def test_killed_and_then_rolled_back(desk: Desk, fleet: Iterator[str]) -> None:
    ids = take(fleet, 2)
    prepared(desk, ids)
    with mover(desk, ids, "--at", "boot:before-done") as process:
        process.communicate(timeout=60)
    done = desk.do("rollback", ids=ids)
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(ids) == [AT_SOURCE, AT_SOURCE]


def test_two_operators_at_the_same_server(desk: Desk, fleet: Iterator[str], tmp_path: Path) -> None:
    ids = take(fleet, 1)
    prepared(desk, ids)
    go_on = tmp_path / "go-on"
    with mover(desk, ids, "--at", "stop:done", "--wait-for", str(go_on)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "waiting"
        with pytest.raises(ChecksFailed, match=r"is being carried out by run .* by olga") as refused:
            desk.do("move", ids=ids, approved=False)
        assert [one.code for one in refused.value.findings] == ["plan-under-way"]
        assert f"(pid {process.pid})" in str(refused.value)
        # whoever passes over the check is refused by the plan's claim, before anything of it is begun
        with desk.run() as run:
            plan = run.plan_move(select_servers(run.inventory().servers, ids=ids))
            run.require_approval(plan)
            with pytest.raises(PlanHeld, match=f"pid {process.pid}"):
                run.prepare(plan)
            assert run.journal.get_run(run.id).result == "refused"
        assert desk.places(ids) == [STOPPED]
        go_on.touch()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert desk.places(ids) == [MOVED]
    journal = Journal.open(f"sqlite:///{desk.lab.directory / 'journal.db'}")
    rows = {row.id: row.result for row in journal.list_runs()}
    journal.close()
    assert list(rows.values())[-3:] == ["succeeded", "refused", "refused"]
    assert desk.do("move", ids=ids, approved=False).result == "nothing-to-do"
