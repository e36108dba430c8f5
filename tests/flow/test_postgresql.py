"""The journal on a PostgreSQL server: whole moves, and two processes that want the same servers at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from pumphouse.errors import JournalError, SiteError
from pumphouse.journal import Journal
from pumphouse.journal.store import STEP_EVENTS
from pumphouse.selection import select_servers
from pumphouse.site import load_site
from tests.flow.desk import AT_SOURCE, FINALISED, MOVED, Desk
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.postgres import PASSWORD, Postgres, running

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture
def site_file(desk: Desk, postgres: Postgres, tmp_path: Path) -> Path:
    """The lab's site with its journal on a server; the password is in secure.yaml."""
    document = yaml.safe_load(desk.lab.site_file.read_text(encoding="utf-8"))
    parts = urlsplit(postgres.database())
    url = parts._replace(netloc=f"{parts.username}@").geturl()
    document["journal"] = {"url": url, "password_entry": "journal"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    shutil.copy(desk.lab.directory / "clouds.yaml", tmp_path / "clouds.yaml")
    secure = yaml.safe_load((desk.lab.directory / "secure.yaml").read_text(encoding="utf-8"))
    secure["databases"] = {**secure.get("databases", {}), "journal": {"password": PASSWORD}}
    (tmp_path / "secure.yaml").write_text(yaml.safe_dump(secure), encoding="utf-8")
    return tmp_path / "site.yaml"


def test_a_whole_move_and_both_ways_on(desk: Desk, fleet: Iterator[str], site_file: Path) -> None:
    back, gone = islice(fleet, 2)
    moved = desk.do("move", ids=[back, gone], site_file=site_file)
    assert (moved.error, moved.result) == (None, "succeeded")
    assert moved.report is not None
    assert moved.report.complete
    assert desk.do("move", ids=[back, gone], site_file=site_file).result == "nothing-to-do"
    returned = desk.do("rollback", ids=[back], site_file=site_file)
    assert (returned.error, returned.result) == (None, "succeeded")
    deleted = desk.do("finalise", ids=[gone], site_file=site_file)
    assert (deleted.error, deleted.result) == (None, "succeeded")
    assert desk.places([back, gone]) == [AT_SOURCE, FINALISED]
    desk.servers.pop(gone)  # what it was at first it is no more
    for file in site_file.parent.rglob("*"):
        if file.is_file() and file.name != "secure.yaml":
            assert PASSWORD.encode() not in file.read_bytes(), file


def test_two_processes_race_for_the_same_servers(desk: Desk, fleet: Iterator[str], site_file: Path) -> None:
    ids = list(islice(fleet, 3))
    with desk.run(site_file) as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=ids))
        desk.approve(plan, run)
    command = [sys.executable, "-m", "tests.flow.mover", str(site_file), *ids, "--at", "nothing:ever"]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    try:
        said = [racer.communicate(timeout=120)[0] for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait(10)
    for racer, text in zip(racers, said, strict=True):
        assert racer.returncode == 0 or "PlanHeld" in text, text
    assert 0 in [racer.returncode for racer in racers], said
    # whoever lost says so and can go on; nothing was done twice
    again = desk.do("move", ids=ids, site_file=site_file, approved=False)
    assert again.error is None
    assert desk.places(ids) == [MOVED] * 3
    journal = Journal.open(load_site(site_file).journal_url)
    for server_id in ids:
        boots = [event for event in journal.events(step_key=f"boot:{server_id}") if event.event == "done"]
        assert len({event.data["id"] for event in boots}) == 1
    journal.close()


def words_of_steps(site_file: Path, plan_hash: str) -> dict[str, list[str]]:
    """Step key -> its events, oldest first."""
    journal = Journal.open(load_site(site_file).journal_url)
    found: dict[str, list[str]] = {}
    for event in journal.events(plan_hash=plan_hash):
        if event.event in STEP_EVENTS:
            found.setdefault(event.step_key, []).append(event.event)
    journal.close()
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_restarted_in_the_middle_is_waited_for(
    desk: Desk, fleet: Iterator[str], site_file: Path, postgres: Postgres, how: signal.Signals
) -> None:
    ids = list(islice(fleet, 2))
    gone = threading.Event()

    def restart() -> None:
        if gone.wait(60):
            time.sleep(1.0)
            postgres.start()

    def at_the_stop(line: str) -> None:
        # said when the stop is journalled; the boot's intent is next
        if " stop " in line and not gone.is_set():
            postgres.stop(how)
            gone.set()

    thread = threading.Thread(target=restart, daemon=True)
    thread.start()
    desk.on_line = at_the_stop
    done = desk.do("move", ids=ids, site_file=site_file)
    thread.join(30)
    assert gone.is_set()
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(ids) == [MOVED, MOVED]
    told = [line for line in desk.lines if "journal" in line]
    assert [line.split()[0] for line in told] == ["waiting", "back"], told
    events = words_of_steps(site_file, done.plan.hash)
    assert {step.key for step in done.plan.steps} == events.keys()
    assert all(words == ["intent", "done", "verified"] for words in events.values() if words[0] == "intent"), events


def test_a_server_that_stays_away_ends_the_run_and_nothing_is_lost(
    desk: Desk, fleet: Iterator[str], site_file: Path, postgres: Postgres
) -> None:
    """Whatever happens while it is away has its intent in the journal; the next run looks, and goes on."""
    ids = list(islice(fleet, 2))
    document = yaml.safe_load(site_file.read_text(encoding="utf-8"))
    document["limits"] = {**document.get("limits", {}), "outage_s": 0.5}
    site_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    gone = threading.Event()

    def at_the_boot(line: str) -> None:
        if " boot " in line and not gone.is_set():
            gone.set()
            postgres.stop(signal.SIGQUIT)

    desk.on_line = at_the_boot
    with pytest.raises(JournalError, match=r"Journal postgresql.* cannot be (read|written) .waited 0.5 s") as caught:
        desk.do("move", ids=ids, site_file=site_file)
    assert gone.is_set()
    assert PASSWORD not in str(caught.value)
    desk.on_line = lambda _line: None
    postgres.start()
    again = desk.do("move", ids=ids, site_file=site_file, approved=False)
    assert (again.error, again.result) == (None, "succeeded")
    assert desk.places(ids) == [MOVED, MOVED]
    for server_id in ids:
        events = words_of_steps(site_file, again.plan.hash)[f"boot:{server_id}"]
        assert "intent" in events, events
        assert len(desk.copies(server_id)) == 1


def test_a_password_in_the_url_is_refused_and_a_missing_one_is_named(site_file: Path) -> None:
    document = yaml.safe_load(site_file.read_text(encoding="utf-8"))
    url = document["journal"]["url"]
    for journal, words in (
        (url.replace("pumphouse@", f"pumphouse:{PASSWORD}@"), "journal holds a password"),
        ({"url": url, "password_env": "NO_SUCH_VARIABLE"}, "The password of journal is not in environment variable"),
        ({"url": url, "password": PASSWORD}, "journal"),
    ):
        site_file.write_text(yaml.safe_dump({**document, "journal": journal}), encoding="utf-8")
        with pytest.raises(SiteError, match=words) as caught:
            load_site(site_file)
        assert PASSWORD not in str(caught.value)
