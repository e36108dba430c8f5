"""A journal's ids belong to one destination: another one under the same words is refused before anything is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pumphouse.clouds.api import Cloud
from pumphouse.errors import NotFound, PlanError
from pumphouse.journal import Journal
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.session.samecloud import require_same_destination
from pumphouse.session.story import BIND
from tests.core.making_runs import start_run

THEN, NOW = "https://new.example/v3", "https://other.example/v3"


def cloud(auth_url: str, *projects: str) -> Cloud:
    """A destination with these projects; it counts how often it was asked."""

    def get_project(project_id: str) -> None:
        asked.append(project_id)
        if project_id not in projects:
            raise NotFound(f"no project {project_id}", status=404)

    asked: list[str] = []
    facts = SimpleNamespace(auth_url=auth_url, side="destination")
    identity = SimpleNamespace(get_project=get_project)
    return cast(Cloud, SimpleNamespace(name="new", facts=facts, identity=identity, asked=asked))


@pytest.fixture
def now(journal: Journal) -> str:
    """The id of a run that is about to begin, after one that moved a project to ``THEN`` and one that only looked."""
    earlier, looked = start_run(journal), start_run(journal)
    for run_id, auth_url in ((earlier, THEN), (looked, NOW)):
        clouds = [{"side": "source", "auth_url": NOW}, {"side": "destination", "auth_url": auth_url}]
        journal.write(run_id, "", BIND, "bound", {"clouds": clouds})
    journal.write(earlier, "h", SCOPE_KEY, "scope", {"steps": ["project:acme"]})
    journal.write(earlier, "h", "project:acme", "done", {}, mapping=("project", "acme", "p1"))
    return start_run(journal)


def test_another_cloud_under_the_same_name_is_refused(journal: Journal, now: str) -> None:
    with pytest.raises(PlanError, match=r"not the destination of this journal.*Nothing was changed") as refused:
        require_same_destination(journal, cloud(NOW, "p2"), now)
    assert THEN in refused.value.message
    assert NOW in refused.value.message
    assert "a journal and a work folder of its own" in str(refused.value)


def test_the_same_cloud_at_another_address_is_not(journal: Journal, now: str) -> None:
    require_same_destination(journal, cloud(NOW, "p1"), now)


def test_a_cloud_that_stayed_where_it_was_is_not_asked(journal: Journal, now: str) -> None:
    stayed = cloud(THEN)
    require_same_destination(journal, stayed, now)
    assert stayed.asked == []  # type: ignore[attr-defined]


def test_a_journal_that_holds_nothing_of_a_destination_takes_any(journal: Journal, now: str) -> None:
    journal.forget_mapping("project", "acme")  # as a roll back does
    require_same_destination(journal, cloud(NOW), now)
