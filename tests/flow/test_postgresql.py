"""The journal on a PostgreSQL server: whole moves, and two processes that want the same servers at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from pumphouse.errors import SiteError
from pumphouse.journal import Journal
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
        assert racer.returncode == 0 or "is being worked on by" in text, text
    # whoever lost says so and can go on; nothing was done twice
    again = desk.do("move", ids=ids, site_file=site_file, approved=False)
    assert again.error is None
    assert desk.places(ids) == [MOVED] * 3
    journal = Journal.open(load_site(site_file).journal_url)
    for server_id in ids:
        boots = [event for event in journal.events(step_key=f"boot:{server_id}") if event.event == "done"]
        assert len({event.data["id"] for event in boots}) == 1
    journal.close()


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
