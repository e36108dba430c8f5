"""00-start where something is missing: clouds that are down, a source that was read before, no site at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pumphouse.errors import CloudUnreachable, SiteError
from pumphouse.inventory import Snapshot
from pumphouse.notebook import opening
from pumphouse.notebook.runs import show_run
from pumphouse.notebook.sides import show_map, show_sides
from pumphouse.notebook.way import next_step, show_way
from pumphouse.session import begin
from pumphouse.session.looking import look_around
from tests.factories import make_snapshot
from tests.notebook.desk_of import desk_run, move_of


@pytest.fixture
def down(tmp_path: Path) -> Iterator[Path]:
    """The site file of two clouds at a port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v3"
        auth = {
            "auth_url": url,
            "username": "admin",
            "password": "x",
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        (tmp_path / "clouds.yaml").write_text(
            yaml.safe_dump({"clouds": {key: {"auth": auth} for key in ("old", "new")}})
        )
        sides = {"source": {"cloud": "old"}, "destination": {"cloud": "new"}}
        site = tmp_path / "site.yaml"
        site.write_text(yaml.safe_dump({"schema": 1, "name": "down", "clouds_yaml": "clouds.yaml", **sides}))
        yield site


def test_where_both_clouds_are_down_everything_else_is_there(down: Path) -> None:
    lines: list[str] = []
    with begin(down, notebook="00-start", look=True, report=lines.append) as run:
        plan = move_of("web")
        run.journal.save_plan(plan.hash, kind="move", selection_digest="x", document=plan.document)
        head = show_run(run).text
        assert head.count("Connection refused") == 2
        assert "check the port in clouds.yaml" in head
        assert "shown of it" not in head
        way = show_way(run, folder=Path(__file__).resolve().parents[2] / "notebooks").text
        assert "waits for approval" in way
        assert "Inventory of both clouds" in way
    assert lines == []


def test_the_next_step_is_to_reach_the_cloud(tmp_path: Path) -> None:
    lost = SimpleNamespace(side="source", name="old")
    run: Any = desk_run(tmp_path, unreached=(lost,))
    words = next_step(run, [], datetime.now(UTC)).words
    run.journal.close()
    assert words == "the source (old) cannot be reached: do what stands above, then run this notebook again."


def test_of_a_cloud_that_is_down_what_was_read_last_is_shown_and_said_so(tmp_path: Path) -> None:
    older = make_snapshot()
    replace(older, taken_at=datetime(2026, 1, 1, tzinfo=UTC)).save(tmp_path / "20260101T000000-a-source.json")
    replace(older, taken_at=datetime(2026, 2, 1, tzinfo=UTC)).save(tmp_path / "20260201T000000-b-source.json")
    (tmp_path / "20260301T000000-c-source.json").write_text("{")
    other = replace(older, facts=replace(older.facts, cloud="another"), taken_at=datetime(2026, 4, 1, tzinfo=UTC))
    other.save(tmp_path / "20260401T000000-d-source.json")

    def take(cloud: Any) -> Snapshot:
        raise CloudUnreachable(f"Cloud '{cloud.name}' does not answer.", remedy="start it.")

    clouds: Any = (SimpleNamespace(name=older.facts.cloud), SimpleNamespace(name="new"))
    seen = look_around(clouds, tmp_path, take)
    assert seen.inventory is not None
    assert seen.inventory.source.taken_at == datetime(2026, 2, 1, tzinfo=UTC)
    text = show_sides(seen).text
    assert "as it was 2026-02-01 00:00 UTC" in text
    assert "Cloud 'new' does not answer." in text
    assert "start it." in text
    assert "Both clouds side by side" in text
    assert "Hosts of the source" in show_map(seen).text
    nothing = look_around(clouds, tmp_path / "none", take)
    assert nothing.inventory is None
    assert "does not answer" in show_sides(nothing).text
    assert "nothing was ever read of the source" in show_map(nothing).text


def test_before_there_is_a_site_the_way_to_one_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    shell = SimpleNamespace(user_ns={}, set_custom_exc=lambda *_: None)
    monkeypatch.setattr(opening, "get_ipython", lambda: shell)
    monkeypatch.setattr(opening, "display", shown.append)
    with pytest.raises(SiteError, match="does not exist"):
        opening.begin(tmp_path / "site.yaml", notebook="00-start")
    assert "make lab" in shown[0].text
    assert "pumphouse init --source old --destination new" in shown[0].text
    (tmp_path / "site.yaml").write_text("schema: 99")
    with pytest.raises(SiteError, match="schema"):
        opening.begin(tmp_path / "site.yaml", notebook="00-start")
    assert len(shown) == 1
