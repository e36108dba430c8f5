"""Labs of each release that the tests of this folder share, and the cloud as openstacksdk and as we see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import openstack
import pytest

from pumphouse.clouds import OpenStackCloud, connect
from tests.labsite import LabSite, start_lab

RELEASES = ("grizzly", "havana", "icehouse")
CAP = 5
"""``osapi_max_limit`` of these labs: shorter than any list in them."""


class Old:
    """The old cloud of a lab. Tests leave what ``populate`` made as it was."""

    def __init__(self, site: LabSite, release: str) -> None:
        self.site, self.release = site, release

    @cached_property
    def sdk(self) -> openstack.connection.Connection:
        """As people call it: openstacksdk, as administrator."""
        return self.site.connect("old")

    @cached_property
    def ours(self) -> OpenStackCloud:
        """As we call it, as administrator."""
        return self.entry("old")

    @cached_property
    def oldest(self) -> OpenStackCloud:
        """The same over Keystone v2.0 and Glance v1."""
        return self.ours.limited_to(keystone_v2=True, glance_v1=True)

    def entry(self, name: str) -> OpenStackCloud:
        """Another entry of its clouds.yaml; the caller closes it."""
        return connect(name, side="source", clouds_yaml=self.site.clouds_file, timeout_s=20)

    def close(self) -> None:
        """Close what was opened."""
        for name in ("sdk", "ours"):
            if name in self.__dict__:
                self.__dict__[name].close()


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Old]]:
    """The lab of a release, started when it is first asked for."""
    started: dict[str, Old] = {}

    def of(release: str) -> Old:
        if release not in started:
            site = start_lab(
                tmp_path_factory, name=f"clouds-{release}", release=release, osapi_max_limit=CAP, rate_limit="off"
            )
            started[release] = Old(site, release)
        return started[release]

    yield of
    for old in started.values():
        old.close()
        old.site.stop()


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, labs: Callable[[str], Old]) -> Old:
    """The old cloud of each release in turn."""
    return labs(request.param)
