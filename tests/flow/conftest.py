from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.flow.desk import Desk
from tests.labsite import LabSite, start_lab


def set_limits(path: Path, **limits: float) -> None:
    """Change limits in a site file."""
    site = yaml.safe_load(path.read_text(encoding="utf-8"))
    site["limits"] |= limits
    path.write_text(yaml.safe_dump(site), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """One lab for a module, with as many small servers more as its ``FLEET`` says: each test moves others."""
    made = start_lab(tmp_path_factory, name="flow", scale=0.02, size=getattr(request.module, "FLEET", 0))
    set_limits(made.site_file, hold_s=0)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def the_desk(lab: LabSite) -> Iterator[Desk]:
    with Desk.open(lab) as desk:
        yield desk


@pytest.fixture
def desk(the_desk: Desk) -> Iterator[Desk]:
    """The module's desk; after each test no server is lost and no law was broken."""
    the_desk.lines.clear()
    yield the_desk
    the_desk.on_line = lambda _line: None
    the_desk.conscience()


@pytest.fixture(scope="module")
def fleet(the_desk: Desk) -> Iterator[str]:
    """Ids of small servers, one after the other."""
    return iter([i for i, s in the_desk.servers.items() if s["name"].startswith("fleet-")])
