"""Labs that the tests of this folder share, and logged-in connections to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import openstack
import pytest

from tests.labsite import LabSite, start_lab

Connection = openstack.connection.Connection
Wait = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A fast lab. Tests leave what ``populate`` made as it was; what they change they make themselves."""
    site = start_lab(tmp_path_factory)
    yield site
    site.stop()


@pytest.fixture(scope="session")
def small_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab whose old Nova hands out three records at a time."""
    site = start_lab(tmp_path_factory, name="small-pages", osapi_max_limit=3)
    yield site
    site.stop()


@pytest.fixture(scope="session")
def old(lab: LabSite) -> Iterator[Connection]:
    """The old cloud's administrator."""
    connection = lab.connect("old")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def acme(lab: LabSite) -> Iterator[Connection]:
    """A member of project acme."""
    connection = lab.connect("old-acme-user")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def until() -> Wait:
    """Call something until it is true; its value, or failure after ten seconds."""

    def wait(probe: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 10
        while True:
            value = probe()
            if value:
                return value
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def server(acme: Connection, until: Wait) -> Iterator[Any]:
    """A running server of its own for one test."""
    image = acme.image.find_image("cirros-0.3.2-x86_64")
    made = acme.compute.create_server(name="probe", flavor_id="1", image_id=image.id, metadata={"a": "b"})
    yield until(lambda: (s := acme.compute.get_server(made.id)).status == "ACTIVE" and s)
    acme.compute.delete_server(made.id, ignore_missing=True)
    until(lambda: acme.compute.get(f"/servers/{made.id}").status_code == 404)
