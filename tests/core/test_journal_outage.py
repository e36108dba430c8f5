"""A journal whose database is gone for a while: it is waited for, that is said once, and nothing is written twice."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from pumphouse.errors import JournalError
from pumphouse.journal import Journal, outage
from pumphouse.journal.outage import Outage, passing
from pumphouse.keeper import Keeper
from pumphouse.runner.execute import open_journal
from pumphouse.trace import ask_permission, changing_requests
from tests.core.making import keep_plan, make_plan, make_site, make_step
from tests.core.making_runs import start_run
from tests.postgres import Postgres

PLAN = "a" * 64


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "POLL_S", 0.02)


class Book:
    """A journal that waits, with what it said; ``mend`` is called when it says that the database is gone."""

    def __init__(self, url: str, *, outage_s: float = 30.0) -> None:
        self.lines: list[str] = []
        self.mend: Callable[[], None] = lambda: None
        self.journal = Journal.open(url, outage_s=outage_s, notice=self.hear)
        if url.startswith("sqlite"):
            sa.event.listen(self.journal._engine, "connect", lambda db, _: db.execute("PRAGMA busy_timeout=10"))
            self.journal._engine.dispose()

    def hear(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("waiting"):
            self.mend()

    def told(self) -> list[str]:
        """The first word of each line."""
        return [line.split()[0] for line in self.lines]


@pytest.fixture
def book(journal_url: str) -> Iterator[Book]:
    made = Book(journal_url)
    yield made
    made.journal.close()


def all_verbs(journal: Journal, run_id: str) -> list[Callable[[], Any]]:
    """Everything that reads or writes, each harmless by itself."""
    plan = make_plan(make_step("project:1"))
    return [
        lambda: start_run(journal, run_id="r-new"),
        lambda: journal.get_run(run_id),
        lambda: keep_plan(journal, plan),
        lambda: journal.set_plan_state(plan.hash, "started"),
        lambda: journal.write(run_id, PLAN, "boot:1", "done", {"id": "d"}, mapping=("server", "1", "d")),
        lambda: journal.claim(run_id, ["server:1"], holder="me", lease_s=60),
        lambda: journal.renew(run_id, lease_s=60),
        lambda: journal.release(run_id),
        lambda: journal.forget_mapping("server", "9"),
        lambda: journal.end_run("r-new", "succeeded"),
        lambda: journal.step_states(PLAN),
    ]


@pytest.mark.parametrize("journal_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_restarted_is_waited_for(book: Book, postgres: Postgres, how: signal.Signals) -> None:
    run_id = start_run(book.journal)
    book.mend = postgres.start
    for verb in all_verbs(book.journal, run_id):
        postgres.stop(how)
        book.lines.clear()
        verb()
        assert book.told() == ["waiting", "back"], book.lines
    assert [(e.step_key, e.event) for e in book.journal.events(run_id=run_id)] == [("boot:1", "done")]
    assert book.journal.mapping("server", "1") == "d"
    assert book.journal.get_run("r-new").result == "succeeded"


@pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)
def test_a_locked_file_is_waited_for(book: Book, journal_url: str) -> None:
    run_id = start_run(book.journal)
    other = sqlite3.connect(journal_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        other.execute("COMMIT")

    book.mend = let_go
    book.journal.write(run_id, PLAN, "boot:1", "intent")
    other.close()
    assert "locked" in book.lines[0]
    assert book.told() == ["waiting", "back"]
    assert [event.event for event in book.journal.events()] == ["intent"]


@pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)
def test_a_full_disk_is_waited_for(book: Book) -> None:
    run_id = start_run(book.journal)
    pages = ["1"]
    sa.event.listen(
        book.journal._engine, "checkout", lambda db, *_: db.execute(f"PRAGMA max_page_count = {pages[0]}").fetchall()
    )
    book.mend = lambda: pages.__setitem__(0, "1000000")
    book.journal.write(run_id, PLAN, "a", "done", {"blob": "x" * 1_000_000})
    assert "disk full" in book.lines[0]
    assert [event.event for event in book.journal.events()] == ["done"]


@pytest.mark.parametrize("journal_url", ["sqlite", "postgresql"], indirect=True)
def test_a_commit_whose_answer_was_lost_is_not_repeated(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has it, and we do not know: what was added must not be added once more."""
    run_id = start_run(book.journal)
    commit, lost = sa.Connection.commit, [False]

    def commit_and_lose(self: sa.Connection) -> None:
        commit(self)
        if not lost[0]:
            lost[0] = True
            raise sa.exc.OperationalError("COMMIT", None, psycopg.OperationalError("server closed the connection"))

    monkeypatch.setattr(sa.Connection, "commit", commit_and_lose)
    for verb in all_verbs(book.journal, run_id):
        lost[0] = False
        verb()
    assert [(e.step_key, e.event) for e in book.journal.events(run_id=run_id)] == [("boot:1", "done")]
    assert [run.id for run in book.journal.list_runs() if run.id == "r-new"] == ["r-new"]
    assert book.journal.mapping("server", "1") == "d"
    # the same word twice, at two times, is two events
    for _ in range(2):
        lost[0] = False
        book.journal.write(run_id, PLAN, "boot:1", "skipped")
    assert [e.event for e in book.journal.events(run_id=run_id)] == ["done", "skipped", "skipped"]


def test_patience_ends_once_for_everybody_and_begins_anew() -> None:
    clock, lines = [0.0], list[str]()
    waits = Outage(100.0, lines.append, steady=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s))
    while waits.wait("j", "no connection"):
        assert clock[0] <= 100.0
    assert clock[0] == pytest.approx(100.0)
    assert not waits.wait("j", "no connection")  # nobody begins to wait anew
    assert waits.lasted() == " (waited 100 s)"
    assert [line.split()[0] for line in lines] == ["waiting", "waiting"]  # once a minute
    waits.over()
    waits.over()
    assert lines[2:] == ["back     the journal answers again after 100 s; going on"]
    assert waits.lasted() == ""
    assert waits.wait("j", "no connection")


@pytest.mark.parametrize("journal_url", ["postgresql"], indirect=True)
def test_when_patience_is_over_it_is_said_how_long_it_lasted(journal_url: str, postgres: Postgres) -> None:
    book = Book(journal_url, outage_s=0.2)
    run_id = start_run(book.journal)
    postgres.stop()
    try:
        with pytest.raises(
            JournalError, match=r"cannot be written \(waited 0.2 s\): OperationalError.*nothing more is"
        ):
            book.journal.write(run_id, PLAN, "boot:1", "intent")
        begun = time.monotonic()
        with pytest.raises(JournalError, match="cannot be read"):
            book.journal.events()
        assert time.monotonic() - begun < 0.2
    finally:
        postgres.start()
    assert book.journal.events() == []
    assert book.told() == ["waiting", "back"]
    book.journal.close()


def db_error(driver: Exception, **facts: Any) -> sa.exc.DBAPIError:
    for name, value in facts.items():
        setattr(driver, name, value)
    return sa.exc.OperationalError("SELECT 1", None, driver)


@pytest.mark.parametrize(
    ("error", "waited"),
    [
        (db_error(sqlite3.OperationalError(), sqlite_errorcode=5), True),  # BUSY
        (db_error(sqlite3.OperationalError(), sqlite_errorcode=261), True),  # BUSY_RECOVERY
        (db_error(sqlite3.OperationalError(), sqlite_errorcode=13), True),  # FULL
        (db_error(sqlite3.OperationalError(), sqlite_errorcode=1), False),  # no such table
        (db_error(sqlite3.OperationalError(), sqlite_errorcode=8), False),  # READONLY
        (db_error(sqlite3.DatabaseError(), sqlite_errorcode=11), False),  # CORRUPT
        (db_error(sqlite3.OperationalError("?")), False),
        (db_error(psycopg.errors.AdminShutdown()), True),
        (db_error(psycopg.errors.DiskFull()), True),
        (db_error(psycopg.errors.CannotConnectNow()), True),
        (db_error(psycopg.OperationalError("connection refused")), True),
        (db_error(psycopg.errors.InsufficientPrivilege()), False),
        (db_error(psycopg.errors.UndefinedTable()), False),
        (ValueError("no JSON"), False),
    ],
    ids=lambda value: str(getattr(value, "orig", value))[:20] if isinstance(value, Exception) else str(value),
)
def test_what_is_waited_for(error: Exception, waited: bool) -> None:
    assert bool(passing(error)) is waited


@pytest.mark.parametrize("journal_url", ["postgresql"], indirect=True)
def test_claims_are_made_sure_of_when_the_journal_is_back(book: Book, postgres: Postgres) -> None:
    """A change that is due while the journal is gone waits for it; that claims are not prolonged is said once."""
    run_id, lines = start_run(book.journal), list[str]()
    book.journal.claim(run_id, ["server:1"], holder="ann", lease_s=90)
    now = [5.0]
    keeper = Keeper(book.journal, run_id, lease_s=90, report=lines.append, wall=lambda: now[0], steady=lambda: now[0])
    keeper.claimed(["server:1"])
    postgres.stop()
    for _ in range(3):
        now[0] += 9
        keeper.tick()
    assert lines == []
    for _ in range(3):
        now[0] += 9
        keeper.tick()
    assert len(lines) == 1
    assert lines[0].startswith("waiting  claims are not prolonged: Journal ")
    assert book.lines == []
    book.mend = postgres.start
    with changing_requests(lambda: keeper.permit(["server:1"])):
        ask_permission("POST")
    assert book.told() == ["waiting", "back"]
    keeper.tick()
    assert len(lines) == 1


def test_the_runner_tells_its_reporter_or_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = replace(make_site(tmp_path), outage_s=30.0, journal_url=f"sqlite:///{tmp_path / 'journal.db'}")
    told: list[str] = []
    for reporter in (lambda progress: told.append(progress.text), None):
        journal = open_journal(site, reporter)
        sa.event.listen(journal._engine, "connect", lambda db, _: db.execute("PRAGMA busy_timeout=10"))
        journal._engine.dispose()
        other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        start_run(journal)
        timer.join(10)
        other.close()
        journal.close()
    assert [line.split()[0] for line in told] == ["waiting", "back"]
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["waiting", "back"]


def test_a_journal_that_was_never_there_is_not_waited_for(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/none?host={tmp_path}"
    begun = time.monotonic()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal.open(url, outage_s=60.0)
    assert time.monotonic() - begun < 20
