"""What a page that is loaded anew can find out: the kernel's log of its cells, and how far their work is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from pumphouse.celllog import CellLog, log_file, read_cells
from pumphouse.errors import JournalError
from pumphouse.notebook.desk import lay_out
from pumphouse.reload import work
from pumphouse.reload.work import Followed
from pumphouse.stopping import StopKind, pending_stop
from tests.factories import uid
from tests.notebook.desk_of import DeskRun, desk_run, move_of

WEB = uid("web")


def request(cell: str, number: int = 1) -> dict[str, Any]:
    """As JupyterLab asks a kernel to run a cell."""
    return {"header": {"msg_id": f"message-{number}", "session": "page-1"}, "metadata": {"cellId": cell}}


def test_the_log_says_which_cell_works_on_what_and_which_ended(tmp_path: Path) -> None:
    file = log_file(tmp_path / "kernel-1234.json")
    log = CellLog(file)
    log.begin(request("one"))
    log.end(1, failed=False)
    log.begin(request("two", 2))
    log.works_on(tmp_path / "site.yaml", "run-1", "hash", "cutover")
    one, two = read_cells(file)
    assert (one["id"], one["count"], one["ended"], one["works_on"]) == ("one", 1, True, None)
    assert (two["message"], two["page"], two["ended"]) == ("message-2", "page-1", False)
    assert two["works_on"]["phase"] == "cutover"
    log.end(2, failed=True)
    log.begin(request("one", 3))
    assert [(cell["id"], cell["ended"], cell["failed"]) for cell in read_cells(file)] == [
        ("two", True, True),
        ("one", False, False),
    ]
    assert file.stat().st_mode & 0o077 == 0
    log.remove()
    assert read_cells(file) == []


def test_a_batch_leaves_nothing_and_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    log = CellLog(tmp_path / "pumphouse-1.json")
    log.begin({"header": {"msg_id": "m"}, "metadata": {}})
    log.works_on(tmp_path, "run", "hash", "prepare")
    log.end(1, failed=False)
    assert read_cells(tmp_path / "pumphouse-1.json") == []
    nowhere = CellLog(tmp_path / "none" / "pumphouse-2.json")
    nowhere.begin(request("one"))
    nowhere.end(1, failed=False)
    nowhere.remove()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99, "cells": [{"id": "one"}]}'])
def test_a_log_of_another_version_or_half_of_one_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text)
    assert read_cells(tmp_path / "log") == []


@pytest.mark.filterwarnings("default")
def test_every_kernel_of_a_desk_keeps_its_log_and_takes_it_along(tmp_path: Path) -> None:
    _work, environment = lay_out(tmp_path, tmp_path / "none", tmp_path / "site.yaml")
    manager = KernelManager(connection_file=str(tmp_path / "kernel-77.json"))
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        log = log_file(Path(manager.connection_file))
        look = f"import json, pathlib; print(json.loads(pathlib.Path({str(log)!r}).read_text())['cells'])"
        asked = client.session.msg("execute_request", {"code": look, "silent": False, "store_history": True})
        asked["metadata"] = {"cellId": "abc"}
        client.shell_channel.send(asked)
        answer = client.get_shell_msg(timeout=60)
        assert answer["content"]["status"] == "ok"
        printed = []
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != asked["header"]["msg_id"]:
                continue
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            if message["content"].get("execution_state") == "idle":
                break
        assert f"'message': '{asked['header']['msg_id']}'" in printed[0]
        assert "'ended': False" in printed[0]
        (cell,) = read_cells(log)
        assert (cell["id"], cell["count"], cell["ended"], cell["failed"]) == ("abc", 1, True, False)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert not log.exists()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeskRun]:
    made = desk_run(tmp_path)
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    monkeypatch.setattr(work, "load_site", lambda _path: SimpleNamespace(journal_url=url))
    yield made
    made.journal.close()


def cell(run_id: str, plan_hash: str, *, ended: bool = False) -> dict[str, Any]:
    """A line of a kernel's log."""
    on = {"site": "site.yaml", "run": run_id, "plan": plan_hash, "phase": "cutover"}
    return {"id": "abc", "message": "m", "page": "p", "count": None, "ended": ended, "failed": False, "works_on": on}


def test_the_work_of_a_cell_is_what_the_journal_says_at_that_moment(run: DeskRun) -> None:
    plan, followed = run.keep(move_of("web", "db"), "started"), Followed()
    run.set_out(run.id, plan, "cutover")
    run.tell(run.id, plan, (f"stop:{WEB}", "intent"))
    (shown,) = followed.show([cell(run.id, plan.hash)])
    assert "Cutting over: 0 of 6 steps verified" in shown["work"]["text"]
    assert [button["on"] for button in shown["work"]["buttons"]] == [True, True]
    assert "may stay down: web" in shown["work"]["sure"]["words"]
    run.tell(run.id, plan, (f"stop:{WEB}", "verified"))
    (shown,) = followed.show([cell(run.id, plan.hash)])
    assert (shown["work"]["verified"], shown["work"]["steps"]) == (1, 6)
    (over,) = followed.show([cell(run.id, plan.hash, ended=True)])
    assert "left" not in over["work"]["text"]
    assert [button["on"] for button in over["work"]["buttons"]] == [False, False]
    json.dumps(shown)
    followed.close()


def test_a_stop_is_asked_of_the_run_of_a_cell_that_works(run: DeskRun) -> None:
    plan, followed = run.keep(move_of("web"), "started"), Followed()
    run.set_out(run.id, plan, "cutover")
    assert "Asked to stop" in followed.stop([cell(run.id, plan.hash)], "abc", StopKind.AFTER_SERVER)
    asked = pending_stop(run.journal, run.id, plan.hash)
    assert asked is not None
    assert asked.kind is StopKind.AFTER_SERVER
    (shown,) = followed.show([cell(run.id, plan.hash)])
    assert [button["on"] for button in shown["work"]["buttons"]] == [False, True]
    for cells, cell_id in (([cell(run.id, plan.hash, ended=True)], "abc"), ([cell(run.id, plan.hash)], "other")):
        with pytest.raises(JournalError, match="nothing to stop"):
            followed.stop(cells, cell_id, StopKind.NOW)
    followed.close()


def test_a_plan_that_the_journal_does_not_know_is_said_so(run: DeskRun) -> None:
    followed = Followed()
    (shown,) = followed.show([cell(run.id, "f" * 64)])
    assert "knows no plan ffffffffffff" in shown["work"]["problem"]
    followed.close()


def test_only_the_plans_that_were_asked_for_last_are_kept_open(run: DeskRun) -> None:
    followed, plans = Followed(), [run.keep(move_of(f"web{number}"), "started") for number in range(10)]
    for plan in plans:
        followed.show([cell(run.id, plan.hash)])
    assert len(followed._known) == 8
    (again,) = followed.show([cell(run.id, plans[0].hash)])
    assert again["work"]["steps"] == 3
    followed.close()
