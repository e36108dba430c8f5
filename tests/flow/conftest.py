from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.flow.desk import Desk
from tests.labsite import LabSite, start_lab

FLEET = 90  # one worker may be given all the modules: the tests together take about 78


def set_limits(path: Path, **limits: float) -> None:
    """Change limits in a site file."""
    site = yaml.safe_load(path.read_text(encoding="utf-8"))
    site["limits"] |= limits
    path.write_text(yaml.safe_dump(site), encoding="utf-8")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """One lab for all whole moves, with a fleet of small servers: each test moves others."""
    made = start_lab(tmp_path_factory, name="flow", scale=0.02, size=FLEET)
    set_limits(made.site_file, hold_s=0)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def the_desk(lab: LabSite) -> Iterator[Desk]:
    with Desk.open(lab) as desk:
        yield desk


@pytest.fixture
def desk(the_desk: Desk) -> Iterator[Desk]:
    """The desk; after each test no server is lost and no law of the site was broken."""
    the_desk.lines.clear()
    the_desk.since = time.time()
    yield the_desk
    the_desk.on_line = lambda _line: None
    the_desk.conscience()


@pytest.fixture(scope="session")
def fleet(the_desk: Desk) -> Iterator[str]:
    """Ids of small servers, one after the other."""

    def each() -> Iterator[str]:
        yield from [i for i, s in the_desk.servers.items() if s["name"].startswith("fleet-")]
        raise AssertionError(f"all {FLEET} servers of the fleet were used: give the lab more")

    return each()
