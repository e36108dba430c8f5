"""The clouds under test, and cleaning up behind each test."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pumphouse.clouds import OpenStackCloud, connect_site
from pumphouse.clouds.http import Service
from pumphouse.clouds.parse import root_of
from pumphouse.errors import PumphouseError
from pumphouse.lab.source.release import RELEASES
from pumphouse.model import Assignment, Flavor, Image, Project
from pumphouse.site import load_site
from tests.labsite import start_lab

REAL = "PUMPHOUSE_REAL_SITE"
WAIT_S = 120.0
PASSWORD = "ctr-Secret-93641"

Both = tuple[OpenStackCloud, OpenStackCloud]
Undo = Callable[..., None]


def _sites() -> list[Any]:
    return [*sorted(RELEASES), pytest.param("real", marks=pytest.mark.real)]


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Both]]:
    """Both clouds of a lab of that release, or of the real site; each is started and logged in to once."""
    with contextlib.ExitStack() as stack:
        started: dict[str, Both] = {}

        def of(which: str) -> Both:
            if which not in started:
                if which == "real":
                    site_file = Path(os.environ[REAL])
                else:
                    # a small page limit: every listing has to go on after the first page
                    lab = start_lab(tmp_path_factory, name="contract", release=which, osapi_max_limit=5)
                    stack.callback(lab.stop)
                    site_file = lab.site_file
                clouds = connect_site(load_site(site_file))
                for cloud in clouds:
                    stack.callback(cloud.close)
                started[which] = clouds
            return started[which]

        yield of


@pytest.fixture(scope="session", params=_sites())
def both(request: pytest.FixtureRequest, sites: Callable[[str], Both]) -> Both:
    """(source, destination), logged in: a lab with a source of that release, or the real site."""
    if request.param == "real" and not os.environ.get(REAL):
        pytest.skip(f"{REAL} names no site.yaml of real clouds")
    return sites(request.param)


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> str:
    """The release that the lab plays; empty for a real site."""
    which = str(request.node.callspec.params["both"])
    return "" if which == "real" else which


@pytest.fixture(scope="session")
def source(both: Both) -> OpenStackCloud:
    """The cloud to leave."""
    return both[0]


@pytest.fixture(scope="session")
def destination(both: Both) -> OpenStackCloud:
    """The cloud to move to."""
    return both[1]


@pytest.fixture(scope="session", params=["source", "oldest", "destination"])
def cloud(request: pytest.FixtureRequest, both: Both) -> OpenStackCloud:
    """Each side in turn, for what both must do; ``oldest`` is the source over Keystone v2.0 and Glance v1 only."""
    if request.param == "oldest":
        return both[0].limited_to(keystone_v2=True, glance_v1=True)
    return both[0] if request.param == "source" else both[1]


@pytest.fixture
def undo() -> Iterator[Undo]:
    """Remembers what to call, last first, when the test is over."""
    todo: list[Callable[[], None]] = []

    def remember(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        todo.append(lambda: call(*args, **kwargs))

    yield remember
    failed: list[PumphouseError] = []
    for call in reversed(todo):
        try:
            call()
        except PumphouseError as error:
            failed.append(error)
    assert not failed, failed


def name(kind: str) -> str:
    """A name that nobody else uses."""
    return f"ctr-{kind}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Maker:
    """Makes what several tests need, and deletes it afterwards."""

    cloud: OpenStackCloud
    undo: Undo

    def project(self) -> Project:
        """A project in which our own user is administrator."""
        made = self.cloud.identity.create_project(name("project"), source_id="src-1")
        self.undo(self.cloud.identity.delete_project, made.id)
        self.undo(self._sweep, made.id)
        admin = self.cloud.identity.find_role("admin")
        assert admin is not None
        self.cloud.identity.grant_role(Assignment(self.cloud.user_id, made.id, admin.id))
        return made

    def _sweep(self, project_id: str) -> None:
        # Neutron gives every project that it hears of a default group, and keeps it
        if self.cloud.facts.network_service == "neutron":
            for group in self.cloud.neutron.list_security_groups():
                if group.project_id == project_id:
                    self.cloud.neutron.delete_security_group(group.id)

    def flavor(self) -> Flavor:
        """A small public flavor."""
        label = name("flavor")
        made = self.cloud.compute.create_flavor(Flavor(id=label, name=label, vcpus=1, ram_mib=128, disk_gib=1))
        self.undo(self.cloud.compute.delete_flavor, made.id)
        return made

    def image(self, data: bytes = b"ctr" * 1000) -> Image:
        """An active private image of ours."""
        made = self.cloud.images.create_image(raw_image(name("image")))
        self.undo(self.cloud.images.delete_image, made.id)
        self.cloud.images.upload(made.id, iter([data]))
        return self.cloud.images.get_image(made.id)

    def compute(self) -> Service:
        """Nova, raw, for what has no verb."""
        url = self.cloud.wire.catalog_url("compute")
        assert url is not None
        return Service(self.cloud.wire, "compute", lambda: url)

    def network(self) -> Service:
        """Neutron, raw, for what has no verb."""
        url = self.cloud.wire.catalog_url("network")
        assert url is not None
        base = f"{root_of(url)}/v2.0"
        return Service(self.cloud.wire, "network", lambda: base)


@pytest.fixture
def make(cloud: OpenStackCloud, undo: Undo) -> Maker:
    """A maker on each side in turn."""
    return Maker(cloud, undo)


def raw_image(label: str, **changes: Any) -> Image:
    """The description of a raw image to be made."""
    fields: dict[str, Any] = {
        "id": "", "name": label, "status": "queued", "visibility": "private", "owner_id": None, "size_bytes": None,
        "checksum": None, "disk_format": "raw", "container_format": "bare",
    }  # fmt: skip
    return Image(**(fields | changes))
