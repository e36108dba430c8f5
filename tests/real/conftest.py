"""The tier `make test-real`: both clouds, a site that points to them, and the moves whose traces the tests read.

Each move is made once, by the first test that asks for it; a test file can therefore be run alone. Order: the
contract suite and the refused inputs first (they leave no trace), then the moves, then the records of all that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import cloud, operate, tier
from .errors import Unavailable
from .observe import View
from .operate import Done, Site

#: The contract suite (tests/contract) reads from it which site.yaml names real clouds.
CONTRACT_SITE = "PUMPHOUSE_REAL_SITE"
_ORDER = ("real/test_launch", "contract/", "real/test_images", "real/test_bad_input", "real/test_move",
          "real/test_ledger", "real/test_finalise", "real/test_roll_back", "real/test_records")  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tier; and keep it from a run of all tests in which nobody asked for it."""
    real = [item for item in items if item.get_closest_marker("real")]
    if not config.option.markexpr:
        for item in real:
            item.add_marker(pytest.mark.skip(reason="real clouds are started by `make test-real` (-m real) only"))
        return
    ranked = sorted(real, key=lambda item: next((n for n, part in enumerate(_ORDER) if part in item.nodeid), 0))
    items[:] = [item for item in items if not item.get_closest_marker("real")] + ranked


@pytest.fixture(scope="session")
def clouds(request: pytest.FixtureRequest) -> Iterator[tier.Clouds]:
    """Both clouds, up and as new. A machine that cannot run them skips the tier, except in CI, where it fails."""
    home = cloud.home()
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        stack.enter_context(tier.alone(home))
        was_up = cloud.why_unusable(home.path) is None
        try:
            with capture.global_and_fixture_disabled():
                print(f"\nreal clouds in {home.path}", file=sys.stderr)
                made = tier.make_clean(home)
        except Unavailable as missing:
            tier.give_up(missing, ci=os.environ.get("CI", ""))
        yield made
        if not was_up:
            for name in tier.NAMES:
                cloud.launcher(name, home.path).down()


@pytest.fixture(scope="session")
def site(clouds: tier.Clouds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of all moves, with its journal, records and plans; the contract suite uses it too."""
    made = operate.write_site(tmp_path_factory.mktemp("site"), clouds.home, sorted(clouds.facts["users"]))
    with pytest.MonkeyPatch.context() as patch:
        if CONTRACT_SITE not in os.environ:
            patch.setenv(CONTRACT_SITE, str(made.file))
        yield made


@pytest.fixture
def spare_site(clouds: tier.Clouds, tmp_path: Path) -> Site:
    """Another site of the same clouds, for inputs that must be refused."""
    return operate.write_site(tmp_path, clouds.home, sorted(clouds.facts["users"]))


@dataclass(frozen=True)
class Moved:
    """A project's move: the commands, and both clouds before and after it."""

    project: str
    refused: Done
    refused_changed: tuple[View, View]
    approved: Done
    done: Done
    before: tuple[View, View]
    after: tuple[View, View]


def views(clouds: tier.Clouds) -> tuple[View, View]:
    """(source, destination), now."""
    return clouds.source_view(), clouds.destination_view()


def _move(clouds: tier.Clouds, site: Site, project: str, what: str) -> Moved:
    before = views(clouds)
    refused = site.run(what, projects=project)
    meanwhile = views(clouds)
    approved = site.approve(refused)
    done = site.run(what, projects=project)
    return Moved(project, refused, meanwhile, approved, done, before, views(clouds))


@pytest.fixture(scope="session")
def acme(clouds: tier.Clouds, site: Site) -> Moved:
    """acme's six servers, moved by the runbook."""
    tier.soil(clouds.home)
    return _move(clouds, site, "acme", operate.RUNBOOK)


@pytest.fixture(scope="session")
def globex(clouds: tier.Clouds, site: Site, acme: Moved) -> Moved:
    """globex, moved after acme by the one notebook that moves."""
    return _move(clouds, site, "globex", operate.MOVE)


@pytest.fixture(scope="session")
def initech(clouds: tier.Clouds, site: Site, acme: Moved) -> Moved:
    """initech, moved after acme; its first server is given a floating IP by its owner before."""
    owner = clouds.user("initech-user")
    server = clouds.facts["servers"]["initech-tps"]
    address = owner.call("POST", "compute", "/os-floating-ips", {"pool": "public"})["floating_ip"]["ip"]
    owner.call("POST", "compute", f"/servers/{server['id']}/action", {"addFloatingIp": {"address": address}})
    return _move(clouds, site, "initech", operate.MOVE)
