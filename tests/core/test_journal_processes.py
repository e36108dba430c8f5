"""One journal, several processes: what SQLite's locks and our claims have to hold."""

from __future__ import annotations

import pytest

from pumphouse.errors import ClaimHeld
from pumphouse.holder import holder_words, is_gone
from pumphouse.journal import Journal
from tests.core.making_runs import start_run
from tests.core.processes import workers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a journal is made twice: on a file, and on a server."""
    if "journal_url" in metafunc.fixturenames:
        metafunc.parametrize("journal_url", ["sqlite", "postgresql"], indirect=True)


def test_processes_that_open_and_write_at_once_lose_nothing(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/new/journal.db"
    count = 12
    with workers(*(("open_and_write", url, str(number), str(count)) for number in range(3))) as started:
        for worker in started:
            assert worker.answer() == {"ready": True}
        for worker in started:
            worker.go()
        runs = {worker.answer()["run_id"] for worker in started}
        assert [worker.process.wait(30) for worker in started] == [0] * 3
    journal = Journal.open(url)
    assert {run.id for run in journal.list_runs()} == runs
    assert all(run.result == "succeeded" for run in journal.list_runs())
    keys = {f"{worker}:{number}" for worker in range(3) for number in range(count)}
    assert [event.event for event in journal.events()] == ["done"] * len(keys)
    assert {event.step_key for event in journal.events()} == keys
    assert all(journal.mapping("server", key) == f"new-{key}" for key in keys)
    journal.close()


def test_of_processes_that_claim_at_once_one_gets_it(journal_url: str) -> None:
    with workers(*(("claim", journal_url, "server:1,server:2", "60") for _ in range(3))) as started:
        for worker in started:
            assert worker.answer() == {"ready": True}
        for worker in started:
            worker.go()
        answers = [worker.answer() for worker in started]
        won = [answer for answer in answers if "run_id" in answer]
        lost = [answer for answer in answers if "held" in answer]
        assert (len(won), len(lost)) == (1, 2)
        assert all(holder_words(won[0]["holder"]) in answer["held"] for answer in lost)
        assert all(won[0]["run_id"] in answer["held"] for answer in lost)


def test_a_living_process_keeps_its_claim_and_a_killed_one_does_not(journal: Journal, journal_url: str) -> None:
    mine = start_run(journal)
    with workers(("claim", journal_url, "server:1", "900")) as (holder,):
        holder.answer()
        holder.go()
        theirs = holder.answer()
        with pytest.raises(ClaimHeld, match=theirs["run_id"]):
            journal.claim(mine, ["server:1"], holder="me", lease_s=60, is_gone=is_gone)
        assert not is_gone(theirs["holder"])
        holder.kill()
        assert is_gone(theirs["holder"])
        with pytest.raises(ClaimHeld):
            journal.claim(mine, ["server:1"], holder="me", lease_s=60)
        journal.claim(mine, ["server:1"], holder="me", lease_s=60, is_gone=is_gone)


def test_a_lease_of_another_process_ends_by_itself(journal: Journal, journal_url: str) -> None:
    with workers(("claim", journal_url, "server:1", "0")) as (holder,):
        holder.answer()
        holder.go()
        assert "run_id" in holder.answer()
        journal.claim(start_run(journal), ["server:1"], holder="me", lease_s=60)


def test_what_a_killed_process_had_committed_is_there(journal: Journal, journal_url: str) -> None:
    with workers(("write_until_killed", journal_url)) as (writer,):
        told = [writer.answer() for _ in range(5)]
        writer.kill()
    events = journal.events(run_id=told[0]["run_id"])
    assert len(events) >= len(told)
    assert [event.step_key for event in events] == [str(number) for number in range(len(events))]
    assert all(journal.mapping("server", event.step_key) == f"new-{event.step_key}" for event in events)
    journal.write(start_run(journal), "a" * 64, "after", "done")
