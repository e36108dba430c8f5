"""Two people who want one node: a claim in the journal keeps the second out, and is free when its holder is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumphouse.holder import holder_words
from pumphouse.journal import Journal
from tests.core.processes import workers
from tests.hardware.world import Hall, World, refused
from tests.postgres import Postgres, running


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.database()
    return f"sqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture
def hall(journal_url: str, tmp_path: Path) -> Iterator[Hall]:
    made = Hall.open(tmp_path, World(), Journal.open(journal_url))
    yield made
    made.journal.close()


@pytest.mark.parametrize("taken", ["node:n1", "host:host-n1"])
def test_another_process_has_it_until_it_dies(hall: Hall, journal_url: str, taken: str) -> None:
    with workers(("claim", journal_url, taken, "900")) as (other,):
        other.answer()
        other.go()
        theirs = other.answer()
        said = str(refused(hall))
        assert f"{taken.replace(':', ' ')} is being worked on by {holder_words(theirs['holder'])}" in said
        assert theirs["run_id"] in said
        # what is the other's has not been touched; a host that is only disabled is enabled again by its owner
        assert hall.world.log in ([], ["disable"])
        assert (hall.world.power, hall.world.vlan, hall.world.runs) == ("on", 200, "source")
        other.kill()
        hall.transfer()
    assert hall.world.log[-1] == "forget"
    assert hall.world.log.count("deploy") == 1


def test_somebody_on_another_machine_has_it_until_the_lease_ends(hall: Hall) -> None:
    elsewhere = hall.journal.start_run(notebook="t", template_digest="", parameters={}, operator="o", record=None)
    hall.journal.claim(elsewhere, ["node:n1"], holder="bob@elsewhere pid 7 started 1 in pid:[1]", lease_s=900)
    assert "its lease ends in" in str(refused(hall))
    assert "power off" not in hall.world.log
    hall.journal.renew(elsewhere, lease_s=-1)
    hall.transfer()
    assert hall.world.log.count("power off") == 1
    assert hall.journal.renew(elsewhere, lease_s=1) == frozenset()


def test_who_had_it_does_not_touch_it_any_more_when_it_was_taken_over(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each change of a device the claims are made sure of, as before each request to a cloud."""
    taken: list[str] = []
    note = World.note

    def take_over(world: World, what: str) -> None:
        note(world, what)
        if what == "power off":
            # this process sleeps here, longer than its lease, and somebody else goes on with the node
            hall.journal.renew(hall.run_id, lease_s=-1)
            other = hall.journal.start_run(notebook="t", template_digest="", parameters={}, operator="o", record=None)
            hall.journal.claim(other, ["node:n1", "host:host-n1"], holder="bob", lease_s=900)
            taken.append(other)

    monkeypatch.setattr(World, "note", take_over)
    said = str(refused(hall))
    assert taken
    assert "is being worked on by bob" in said or "another run took it over" in said
    assert hall.world.log[-1] == "power off"
    assert hall.world.vlan == 200
