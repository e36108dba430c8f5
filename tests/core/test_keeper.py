"""Claims that are kept while a run works, and what is noticed of sleep and of clocks that are set."""

from __future__ import annotations

import threading
import time

import pytest

from pumphouse.errors import ClaimHeld, JournalError
from pumphouse.journal import Journal
from pumphouse.keeper import Keeper
from pumphouse.trace import ask_permission, changing_requests
from tests.core.making_runs import start_run

LEASE_S = 90.0
SERVER = "server:1"


class Clocks:
    """Both of a machine's clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 5.0

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


class Kept:
    """A run with a claim and its keeper, whose clocks are ours; ``others`` take what they can."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.clocks, self.lines = journal, Clocks(), list[str]()
        self.run_id, self.other = start_run(journal), start_run(journal)
        journal.claim(self.run_id, [SERVER], holder="ann", lease_s=LEASE_S)
        self.keeper = Keeper(
            journal,
            self.run_id,
            lease_s=LEASE_S,
            report=self.lines.append,
            wall=lambda: self.clocks.wall,
            steady=lambda: self.clocks.steady,
        )
        self.keeper.claimed([SERVER])

    def taken_over(self) -> None:
        """Our lease ends, and somebody else takes the server."""
        self.journal.renew(self.run_id, lease_s=-1)
        self.journal.claim(self.other, [SERVER], holder="bob", lease_s=LEASE_S)


@pytest.fixture
def kept(journal: Journal) -> Kept:
    return Kept(journal)


def lease_left_s(kept: Kept) -> float:
    with pytest.raises(ClaimHeld) as caught:
        kept.journal.claim(kept.other, [SERVER], holder="bob", lease_s=1)
    return float(caught.value.message.split("ends in ")[1].split()[0])


def test_claims_are_prolonged_when_a_third_of_their_lease_is_over(kept: Kept) -> None:
    kept.journal.renew(kept.run_id, lease_s=10)
    for _ in range(int(LEASE_S / 3)):
        kept.clocks.run(1)
        kept.keeper.tick()
    assert lease_left_s(kept) <= 10
    kept.clocks.run(1)
    kept.keeper.tick()
    assert lease_left_s(kept) > 80
    assert kept.lines == []


@pytest.mark.parametrize(
    ("wall_s", "steady_s", "words"),
    [
        (7200.0, 7200.0, "did nothing for 7199 s"),  # SIGSTOP
        (7200.0, 1.0, "slept, or the clock was set forward, for 7199 s"),  # a closed laptop
        (-7200.0, 1.0, "was set back by 7200 s"),
        (11.5, 11.5, "did nothing for"),
    ],
)
def test_sleep_and_clocks_that_are_set_are_told(wall_s: float, steady_s: float, words: str, kept: Kept) -> None:
    kept.clocks.wall += wall_s
    kept.clocks.steady += steady_s
    kept.keeper.tick()
    (line,) = kept.lines
    assert words in line
    kept.keeper.permit([SERVER])
    kept.clocks.run(1)
    kept.keeper.tick()
    assert len(kept.lines) == 1


def test_a_busy_machine_is_not_called_asleep(kept: Kept) -> None:
    kept.clocks.run(9)
    kept.keeper.tick()
    assert kept.lines == []


def test_nothing_is_changed_any_more_with_a_claim_that_was_lost(kept: Kept) -> None:
    kept.taken_over()
    # the worker wakes up before the keeper does
    kept.clocks.run(LEASE_S)
    with changing_requests(lambda: kept.keeper.permit([SERVER])):
        ask_permission("GET")
        with pytest.raises(ClaimHeld, match=r"server:1: the claim of run \S+ ended while this process slept"):
            ask_permission("POST")
    assert [line for line in kept.lines if line.startswith("LOST")] == [
        "LOST     the claim on server:1: another run took it over while this process slept"
    ]
    # others that we hold are not touched by that
    kept.journal.claim(kept.run_id, ["server:2"], holder="ann", lease_s=LEASE_S)
    kept.keeper.claimed(["server:2"])
    kept.keeper.permit(["server:2"])
    # and when it is free again, it can be claimed again
    kept.journal.end_run(kept.other, "succeeded")
    kept.journal.claim(kept.run_id, [SERVER], holder="ann", lease_s=LEASE_S)
    kept.keeper.claimed([SERVER])
    kept.keeper.permit([SERVER])


def test_what_was_given_back_is_not_missed(kept: Kept) -> None:
    kept.keeper.released(SERVER)
    kept.journal.release(kept.run_id, SERVER)
    kept.clocks.run(LEASE_S)
    kept.keeper.tick()
    kept.keeper.permit([])
    assert not [line for line in kept.lines if "LOST" in line]


def test_a_journal_that_is_away_forbids_changes_and_is_told(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> frozenset[str]:
        raise JournalError("Journal x cannot be written.", remedy="wait.")

    monkeypatch.setattr(kept.journal, "renew", away)
    kept.clocks.run(LEASE_S / 2)
    kept.keeper.tick()
    assert "claims are not prolonged: Journal x" in kept.lines[-1]
    with pytest.raises(JournalError):
        kept.keeper.permit([SERVER])


def test_it_works_by_itself_while_the_block_runs(journal: Journal) -> None:
    run_id = start_run(journal)
    journal.claim(run_id, [SERVER], holder="ann", lease_s=0.3)
    with Keeper(journal, run_id, lease_s=0.3, report=lambda _: None, tick_s=0.02) as keeper:
        keeper.claimed([SERVER])
        time.sleep(1.0)
        with pytest.raises(ClaimHeld):
            journal.claim(start_run(journal), [SERVER], holder="bob", lease_s=1)
    assert not [thread for thread in threading.enumerate() if thread.name == f"keeper {run_id}"]
