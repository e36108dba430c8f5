"""A stub server, a clouds.yaml that names it, and the cloud behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect
from tests.clouds.labs import labs, old
from tests.clouds.stub import PASSWORD, Answer, Stub

__all__ = ["NOVA", "Naps", "entry", "labs", "old", "write_clouds"]

NOVA = "/compute/v2"
"""Where the Nova of :func:`grizzly` is."""
_MARKS = ("os-networks", "OS-DCF", "os-services", "os-evacuate", "os-fixed-ips")


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A scripted server."""
    server = Stub()
    yield server
    server.stop()


def write_clouds(folder: Path, cloud: dict[str, Any]) -> Path:
    """A clouds.yaml with one cloud, ``stub``."""
    file = folder / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"stub": cloud}}), encoding="utf-8")
    return file


def entry(url: str, **auth: Any) -> dict[str, Any]:
    """A clouds.yaml entry; None leaves a key of ``auth`` out."""
    fields = {
        "auth_url": f"{url}/v3", "username": "admin", "password": PASSWORD, "project_name": "admin",
        "user_domain_id": "default", "project_domain_id": "default",
    } | auth  # fmt: skip
    return {"auth": {key: value for key, value in fields.items() if value is not None}, "region_name": "R1"}


class Naps(list[float]):
    """Sleeps that are noted and not slept."""

    def __call__(self, seconds: float) -> None:
        """Note one."""
        self.append(seconds)


@pytest.fixture
def naps() -> Naps:
    """What the cloud slept."""
    return Naps()


@pytest.fixture
def notices() -> list[str]:
    """What the cloud told."""
    return []


@pytest.fixture
def cloud(stub: Stub, tmp_path: Path, naps: Naps, notices: list[str]) -> Iterator[OpenStackCloud]:
    """The stub as a destination."""
    made = connect(
        "stub", side="destination", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2,
        notice=notices.append, sleep=naps,
    )  # fmt: skip
    stub.calls.clear()
    yield made
    made.close()


@pytest.fixture
def grizzly(stub: Stub, tmp_path: Path, naps: Naps) -> Iterator[OpenStackCloud]:
    """A stub that looks like Grizzly."""
    stub.services = {"compute": NOVA, "image": "/image", "identity": "/v2.0"}
    stub.on("GET", "/compute/", Answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT"}]}))
    versions = [{"id": "v2.1", "status": "CURRENT"}, {"id": "v1.1", "status": "CURRENT"}]
    stub.on("GET", "/image/", Answer(300, {"versions": versions}))
    stub.on("GET", f"{NOVA}/extensions", Answer(200, {"extensions": [{"alias": one} for one in _MARKS]}))
    stub.on("GET", f"{NOVA}/os-networks", Answer(200, {"networks": []}))
    made = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2, sleep=naps)
    stub.calls.clear()
    yield made
    made.close()
