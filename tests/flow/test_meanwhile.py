"""A move that was cut off, and what others did before it goes on: nothing is doubled, lost or stuck."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import yaml

from pumphouse.errors import ChecksFailed
from pumphouse.findings import blocking
from pumphouse.journal import Journal
from pumphouse.selection import select_servers
from tests.flow.desk import AT_SOURCE, MOVED, STOPPED, Desk, eventually
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def site_of(desk: Desk, folder: Path) -> Path:
    """A site of the same clouds with a journal of its own, which does one step after the other."""
    for name in ("clouds.yaml", "secure.yaml"):
        shutil.copy(desk.lab.directory / name, folder / name)
    site = yaml.safe_load(desk.lab.site_file.read_text(encoding="utf-8"))
    site |= {"journal": "sqlite:///journal.db", "work": "work", "records": "records"}
    site["limits"] |= {"parallel": 1}
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(site), encoding="utf-8")
    return file


def cut_off(desk: Desk, site: Path, ids: list[str], at: str) -> None:
    """A process that was killed at that event of the journal."""
    with desk.run(site) as run:
        desk.approve(run.plan_move(select_servers(run.inventory().servers, ids=ids)), run)
    command = [sys.executable, "-m", "tests.flow.mover", str(site), *ids, "--at", at]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def forget(desk: Desk, server_id: str) -> None:
    """Its owner deletes a source server, and nobody expects it any more."""
    ask(desk.old.compute, f"/servers/{server_id}", "DELETE")
    eventually(lambda: desk.source(server_id) is None, "deletion")
    desk.servers.pop(server_id)


@contextlib.contextmanager
def no_boot(desk: Desk) -> Iterator[None]:
    """The destination refuses to make servers."""
    with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", status=400, times=0):
        yield


def ports_of(desk: Desk, server_id: str) -> list[str]:
    """Ports that were made ready for a server."""
    return [port["id"] for port in ask(desk.new.network, f"/ports?name=pumphouse {server_id}")["ports"]]


@pytest.mark.parametrize("which", ["still running", "stopped by us"])
def test_a_server_that_is_down_comes_up_though_another_of_its_plan_was_deleted(
    which: str, desk: Desk, fleet: Iterator[str], tmp_path: Path
) -> None:
    """The selection that the plan was made of cannot be made any more."""
    ids, site = list(islice(fleet, 2)), site_of(desk, tmp_path)
    if which == "still running":
        cut_off(desk, site, ids, "stop:verified")
        (down,) = (server_id for server_id in ids if desk.place(server_id) == STOPPED)
    else:
        with no_boot(desk):
            assert desk.do("move", ids=ids, site_file=site).error is not None
        assert desk.places(ids) == [STOPPED, STOPPED]
        down = ids[0]
    (deleted,) = set(ids) - {down}
    forget(desk, deleted)
    done = desk.do("move", ids=[down], site_file=site, approved=False)
    assert done.result == "failed"
    assert deleted in str(done.error)
    assert ("it is gone" if which == "still running" else "somebody deleted it after its stop") in str(done.error)
    assert desk.place(down) == MOVED
    assert len(ports_of(desk, deleted)) == 1
    back = desk.do("rollback", ids=[down], site_file=site)
    assert (back.error, back.result) == (None, "succeeded")
    assert desk.place(down) == AT_SOURCE
    assert ports_of(desk, deleted) == []


def test_a_stop_of_ours_is_not_its_owners_wish_for_a_journal_that_does_not_know(
    desk: Desk, fleet: Iterator[str], tmp_path: Path
) -> None:
    (server_id,), site = islice(fleet, 1), site_of(desk, tmp_path)
    cut_off(desk, site, [server_id], "stop:verified")
    kept = tmp_path / "kept.db"
    for part in ("", "-wal", "-shm"):
        if (file := tmp_path / f"journal.db{part}").exists():
            file.rename(f"{kept}{part}")
    with pytest.raises(ChecksFailed) as refused:
        desk.do("move", ids=[server_id], site_file=site)
    assert [one.code for one in blocking(refused.value.findings)] == ["stopped-by-us"]
    assert desk.place(server_id) == STOPPED
    # the journal that it was begun with goes on
    described = yaml.safe_load(site.read_text(encoding="utf-8")) | {"journal": f"sqlite:///{kept}"}
    site.write_text(yaml.safe_dump(described), encoding="utf-8")
    assert desk.do("move", ids=[server_id], site_file=site, approved=False).result == "succeeded"
    assert desk.place(server_id) == MOVED


def test_a_journal_of_before_the_boot_takes_the_copy_up_and_takes_it_back(
    desk: Desk, fleet: Iterator[str], tmp_path: Path
) -> None:
    """A backup was restored: what it does not know of carries the name of its ports, and is found."""
    (server_id,) = islice(fleet, 1)
    site = site_of(desk, tmp_path)
    backup, file = tmp_path / "backup.db", tmp_path / "journal.db"

    def at_the_stop(line: str) -> None:
        if " stop " in line and not backup.exists():
            journal = Journal.open(f"sqlite:///{file}")
            with journal._engine.connect() as db:
                db.exec_driver_sql("VACUUM INTO ?", (str(backup),))
            journal.close()

    desk.on_line = at_the_stop
    assert desk.do("move", ids=[server_id], site_file=site).result == "succeeded"
    desk.on_line = lambda _line: None
    for left in tmp_path.glob("journal.db*"):
        left.unlink()
    shutil.copy(backup, file)
    with pytest.raises(ChecksFailed) as refused:
        desk.do("rollback", ids=[server_id], site_file=site)
    assert [one.code for one in blocking(refused.value.findings)] == ["copy-unknown"]
    assert desk.place(server_id) == MOVED
    assert desk.do("move", ids=[server_id], site_file=site, approved=False).result == "succeeded"
    assert desk.place(server_id) == MOVED
    assert desk.do("rollback", ids=[server_id], site_file=site).result == "succeeded"
    assert desk.place(server_id) == AT_SOURCE
