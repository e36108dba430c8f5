"""A stub server, a clouds.yaml that names it, and the cloud behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect
from tests.clouds.labs import labs, old
from tests.clouds.stub import PASSWORD, Stub

__all__ = ["Naps", "entry", "labs", "old", "write_clouds"]


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
