"""Long runs: tokens end, the network is gone for a while, the process is stopped; the run waits, says so, goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from pumphouse import executor
from pumphouse.clouds import http
from pumphouse.selection import select_servers
from pumphouse.session import Run
from tests.flow.desk import MOVED, Desk
from tests.flow.test_servers import prepared
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def revoke(desk: Desk, run: Run) -> None:
    """Keystone ends the tokens that a run has."""
    for cloud, conn in ((run.source, desk.old), (run.destination, desk.new)):
        wire = cloud._wire  # type: ignore[attr-defined]
        token = wire.session.auth.get_access(wire.session).auth_token
        root = str(conn.config.config["auth"]["auth_url"]).split("/v")[0]
        headers = {"X-Auth-Token": conn.session.get_token(), "X-Subject-Token": token}
        answer = conn.session.session.delete(f"{root}/v3/auth/tokens", headers=headers, timeout=10)
        assert answer.status_code == 204, answer.text


def test_tokens_that_end_in_the_middle_are_asked_for_anew(desk: Desk, fleet: Iterator[str]) -> None:
    ids = list(islice(fleet, 2))
    ended = threading.Event()
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=ids))
        desk.approve(plan, run)
        run.require_approval(plan)

        def at_the_stop(line: str) -> None:
            if "stop " in line and not ended.is_set():
                ended.set()
                revoke(desk, run)

        run.prepare(plan)
        desk.on_line = at_the_stop
        run.cut_over(plan)
        run.verify(plan, "cutover")
    assert ended.is_set()
    assert desk.places(ids) == [MOVED, MOVED]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds and minutes takes tenths of seconds."""
    monkeypatch.setattr(http, "_ATTEMPTS", 1)
    monkeypatch.setattr(http, "_OUTAGE_POLL_S", 0.2)
    monkeypatch.setattr(executor, "RESET_S", 0.3)


@contextlib.contextmanager
def gone_for(desk: Desk, seconds: float) -> Iterator[threading.Event]:
    """When the event is set, no service of either cloud answers any request for that long."""
    begin = threading.Event()

    def outage() -> None:
        if begin.wait(60):
            desk.lab.control("POST", "/faults", kind="reset", times=0)
            time.sleep(seconds)
            desk.lab.control("DELETE", "/faults")

    thread = threading.Thread(target=outage, daemon=True)
    thread.start()
    try:
        yield begin
    finally:
        begin.set()
        thread.join(seconds + 30)
        desk.lab.control("DELETE", "/faults")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("moment", ["stop ", "boot "])
def test_a_network_that_is_gone_for_a_while_is_waited_for(moment: str, desk: Desk, fleet: Iterator[str]) -> None:
    ids = list(islice(fleet, 2))
    with gone_for(desk, 1.5) as begin:

        def at(line: str) -> None:
            if moment in line:
                begin.set()

        desk.on_line = at
        done = desk.do("move", ids=ids)
    assert begin.is_set()
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(ids) == [MOVED, MOVED]
    assert any("waiting for it" in line for line in desk.lines), desk.lines


@pytest.mark.usefixtures("hasty")
def test_an_answer_that_was_lost_is_looked_for(desk: Desk, fleet: Iterator[str]) -> None:
    server_id = next(fleet)
    with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", kind="lost"):
        done = desk.do("move", ids=[server_id])
    assert (done.error, done.result) == (None, "succeeded")
    assert len(desk.copies(server_id)) == 1
    assert any(line.startswith("waiting") and "whether it happened" in line for line in desk.lines)


STOPPABLE = """
import sys
from pumphouse import keeper
keeper.LATE_S, keeper.TICK_S = 0.5, 0.1
keeper.Keeper.__init__.__kwdefaults__["tick_s"] = 0.1
from pumphouse.selection import select_servers
from pumphouse.session import begin
run = begin(sys.argv[1], operator="olga", report=lambda line: print(line, flush=True))
plan = run.plan_move(select_servers(run.inventory().servers, ids=sys.argv[2:]))
run.require_approval(plan)
run.prepare(plan)
run.cut_over(plan)
run.report(plan)
print("RESULT", run.journal.get_run(run.id).result)
"""


SHORT_LEASE = STOPPABLE.replace(
    "from pumphouse.selection",
    "from pumphouse import executor\nfrom pumphouse.session import together\n"
    "executor.lease_s = together.lease_s = lambda site: 1.5\nfrom pumphouse.selection",
)


def test_a_process_that_slept_longer_than_its_lease_leaves_its_servers_to_who_took_them(
    desk: Desk, fleet: Iterator[str]
) -> None:
    """Somebody else finishes the server meanwhile; the sleeper changes nothing any more when it wakes up."""
    ids = list(islice(fleet, 1))
    prepared(desk, ids)
    command = [sys.executable, "-c", SHORT_LEASE, str(desk.lab.site_file), *ids]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "stop " in line:
                    os.kill(process.pid, signal.SIGSTOP)
                    break
            time.sleep(2.0)

            def wake_it_up(line: str) -> None:
                if " boot " in line and not process.poll():
                    os.kill(process.pid, signal.SIGCONT)
                    said.extend(process.stdout or ())
                    process.wait(60)

            desk.on_line = wake_it_up
            done = desk.do("move", ids=ids, approved=False)
        finally:
            process.kill()
    text = "".join(said)
    assert "LOST     the claim on server " in text, text
    assert f"server {desk.servers[ids[0]]['name']} is being worked on by" in text, text
    assert "RESULT succeeded" not in text
    # whoever took it was not disturbed
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(ids) == [MOVED]
    assert len(desk.copies(ids[0])) == 1


def test_a_process_that_is_stopped_for_a_while_says_so_and_goes_on(desk: Desk, fleet: Iterator[str]) -> None:
    ids = list(islice(fleet, 2))
    prepared(desk, ids)
    command = [sys.executable, "-c", STOPPABLE, str(desk.lab.site_file), *ids]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "stop " in line:
                    os.kill(process.pid, signal.SIGSTOP)
                    time.sleep(2.0)
                    os.kill(process.pid, signal.SIGCONT)
                    break
            said += list(process.stdout)
            process.wait(60)
        finally:
            process.kill()
    text = "".join(said)
    assert "RESULT succeeded" in text, text
    assert "awake    this process did nothing for" in text, text
    assert desk.places(ids) == [MOVED, MOVED]
