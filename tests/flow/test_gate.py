"""The gate that can fail: probes before the stop and after the boot, budgets for downtime, the way back by itself."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.errors import ChecksFailed, StepError
from pumphouse.journal import Journal
from pumphouse.plan.downtime import ASSUMED_S, measured_rates
from pumphouse.plan.model import Plan
from pumphouse.selection import select_servers
from pumphouse.session.story import tell_story
from tests.flow.desk import AT_SOURCE, MOVED, Desk, Place
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import Killed

pytestmark = SDK_WARNS_OF_ITSELF

#: Exits with 0 when the guest that answers is one of the servers named: a service that only works at one side.
WORKS_ONLY_FOR = """
import socket, sys
port, *ids = sys.argv[1:]
from os import environ
with socket.create_connection((environ["PUMPHOUSE_ADDRESS"], int(port)), timeout=2) as guest:
    guest.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    text = guest.makefile().read()
sys.exit(not any(one in text for one in ids))
"""


class Sites:
    """Site files of one lab beside each other: one journal, and rules that a test chooses."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk, self.folder = desk, folder
        for name in ("clouds.yaml", "secure.yaml"):
            shutil.copy(desk.lab.directory / name, folder / name)
        (folder / "works.py").write_text(WORKS_ONLY_FOR, encoding="utf-8")

    def file(self, *rules: dict[str, Any], **more: Any) -> Path:
        """A site file with these rules."""
        document = yaml.safe_load(self.desk.lab.site_file.read_text(encoding="utf-8"))
        document |= {"rules": list(rules), "probe": {"kind": "tcp", "port": self.desk.lab.guest_port}, **more}
        path = self.folder / f"site-{time.monotonic_ns()}.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    def only_for(self, *ids: str) -> dict[str, Any]:
        """A probe that no other server than these answers."""
        command = [sys.executable, str(self.folder / "works.py"), str(self.desk.lab.guest_port), *ids]
        return {"kind": "command", "command": command, "timeout_s": 0.3}


@contextlib.contextmanager
def died_after(event: str) -> Iterator[None]:
    """The process dies as soon as it has journalled the first such event, and writes nothing any more."""
    original, dead = Journal.write, threading.Event()

    def write(self: Journal, run_id: str, plan_hash: str, step_key: str, word: str, *rest: Any, **more: Any) -> None:
        if dead.is_set():
            raise Killed(word)
        original(self, run_id, plan_hash, step_key, word, *rest, **more)
        if word == event:
            dead.set()
            raise Killed(word)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "write", write)
        yield


@pytest.fixture
def sites(desk: Desk, tmp_path: Path) -> Sites:
    return Sites(desk, tmp_path)


def test_a_failed_gate_puts_that_server_back_and_leaves_the_others_alone(
    desk: Desk, fleet: Iterator[str], sites: Sites
) -> None:
    victim, stays, other = islice(fleet, 3)
    broken = {"probe": sites.only_for(victim), "on_failure": "back", "servers": [victim]}
    stuck = {"probe": sites.only_for(stays), "servers": [stays]}
    failing = sites.file(broken, stuck)
    done = desk.do("move", ids=[victim, stays, other], site_file=failing)
    assert type(done.error) is StepError
    assert done.result == "failed"
    assert "was put back" in str(done.error)
    assert desk.place(victim) == AT_SOURCE
    assert desk.place(stays) == Place("SHUTOFF", ("ACTIVE",), "destination")
    assert desk.place(other) == MOVED
    name = desk.servers[victim]["name"]
    with desk.run(failing) as run:
        report = {row.id: row for row in run.report(done.plan).servers}  # type: ignore[union-attr]
        told = tell_story(run.journal, done.run_id)
    assert report[victim].result == "failed"
    assert f"{name} was put back: it is in service at the source again" in str(report[victim].problem)
    assert report[stays].result == "failed"
    assert report[other].result == "moved"
    assert [s["result"] for s in told["steps"] if s["key"] == f"settle:{victim}"] == ["failed"]
    # the one that stayed half-way is finished under its plan as soon as its service works there
    (sites.folder / "works.py").write_text("", encoding="utf-8")
    again = desk.do("move", ids=[victim, stays, other], site_file=failing)
    assert again.plan.hash == done.plan.hash
    assert f"{desk.servers[victim]['name']}: taken back to the source" in str(again.error)
    assert again.result == "failed"
    with desk.run(failing) as run:
        states = run.journal.step_states(done.plan.hash)
    assert [states[f"settle:{i}"].state for i in (victim, stays, other)] == ["failed", "verified", "verified"]
    assert desk.places([victim, stays, other]) == [AT_SOURCE, MOVED, MOVED]
    # and the one that went back moves with a plan of its own
    third = desk.do("move", ids=[victim, stays, other], site_file=sites.file())
    assert (third.error, third.result) == (None, "succeeded")
    assert [server.id for server in third.plan.servers] == [victim]
    assert desk.places([victim, stays, other]) == [MOVED] * 3


def test_killed_while_it_puts_a_server_back_it_goes_on_with_that(
    desk: Desk, fleet: Iterator[str], sites: Sites
) -> None:
    victim, other = islice(fleet, 2)
    site = sites.file({"probe": sites.only_for(victim), "on_failure": "back", "servers": [victim]})
    with died_after("undone"), pytest.raises(Killed):
        desk.do("move", ids=[victim, other], site_file=site)
    done = desk.do("move", ids=[victim, other], site_file=site)
    assert done.result == "failed"
    assert desk.place(victim) == AT_SOURCE
    assert desk.place(other) == MOVED
    assert any("that is finished first" in line for line in desk.lines)


def test_a_server_that_would_be_down_for_too_long_is_not_stopped(
    desk: Desk, fleet: Iterator[str], sites: Sites
) -> None:
    hasty, patient = islice(fleet, 2)
    site = sites.file({"servers": [hasty], "downtime_budget_s": 0.001})
    name = desk.servers[hasty]["name"]
    changes = desk.changes()
    with pytest.raises(
        ChecksFailed, match=rf"downtime-budget\] server {name}: .*will be down for {ASSUMED_S:g} s.*assumed"
    ):
        desk.do("move", ids=[hasty, patient], site_file=site)
    assert desk.changes() == changes
    # whoever passes over the check meets the guard at the stop, which keeps that server alone
    with desk.run(site) as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=[hasty, patient]))
        desk.approve(plan, run)
        run.require_approval(plan)
        run.prepare(plan)
        with pytest.raises(StepError, match=rf"stop {name} at the source: not begun.*its budget is 0\.001 s"):
            run.cut_over(plan)
        assert run.journal.step_state(plan.hash, f"stop:{patient}").intent_data["predicted_s"] == ASSUMED_S
        assert not run.journal.step_state(plan.hash, f"stop:{hasty}").in_effect
        rates = measured_rates(run.journal)
    assert desk.places([hasty, patient]) == [AT_SOURCE, MOVED]
    # what the other one took is now known, and allows for more
    (took_s,) = rates.cutovers_s
    assert 0 < took_s < ASSUMED_S
    roomy = sites.file({"servers": [hasty], "downtime_budget_s": ASSUMED_S - 1})
    done = desk.do("move", ids=[hasty], site_file=roomy)
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.place(hasty) == MOVED


def test_each_server_is_asked_in_its_own_way(desk: Desk, fleet: Iterator[str], sites: Sites) -> None:
    by_http, by_command, by_none = ids = list(islice(fleet, 3))
    site = sites.file(
        {"servers": [desk.servers[by_http]["name"]], "probe": {"kind": "http", "port": desk.lab.guest_port}},
        {"servers": [by_command], "probe": sites.only_for("")},
        {"projects": ["fle*"], "probe": {"kind": "none"}},
    )
    done = desk.do("move", ids=ids, site_file=site)
    assert (done.error, done.result) == (None, "succeeded")
    assert done.report is not None
    answered = {row.id: (row.answers, row.downtime_s is not None) for row in done.report.servers}
    assert answered == {by_http: (True, True), by_command: (True, True), by_none: (None, False)}


def test_a_selection_brings_its_own_probe(desk: Desk, fleet: Iterator[str], sites: Sites) -> None:
    ids = list(islice(fleet, 1))
    site = sites.file(probe={"kind": "none"})
    with desk.run(site) as run:
        servers = run.inventory().servers
        plain = run.plan_move(select_servers(servers, ids=ids))
        chosen = run.plan_move(select_servers(servers, ids=ids, probe=f"http:{desk.lab.guest_port}/"))
    wanted = {"kind": "http", "port": desk.lab.guest_port}
    assert [_probe(plan, ids[0]) for plan in (plain, chosen)] == [{"kind": "none"}, wanted]
    assert plain.hash != chosen.hash


def _probe(plan: Plan, server_id: str) -> Any:
    return plan.step(f"settle:{server_id}").params["probe"]


def test_a_probe_that_cannot_be_made_blocks(desk: Desk, fleet: Iterator[str], sites: Sites) -> None:
    server_id = next(fleet)
    site = sites.file(probe={"kind": "command", "command": ["no-such-program-at-all"]})
    with pytest.raises(ChecksFailed, match=r"probe-unusable.*no-such-program-at-all"):
        desk.do("move", ids=[server_id], site_file=site)
    assert desk.place(server_id) == AT_SOURCE
