"""A running lab for tests: its paths, its control port, and how to end it."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import openstack.warnings
import pytest
import requests
import yaml

from pumphouse.lab import process
from pumphouse.lab.server import LabOptions

FAST = 0.05
SDK_WARNS_OF_ITSELF = [
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning"),
]
"""``pytestmark`` of modules that use openstacksdk's proxies: it warns of its own calls, whoever makes them."""


@dataclass(frozen=True)
class LabSite:
    """A lab in a directory of its own. ``control`` speaks to the port that only tests use."""

    directory: Path
    facts: dict[str, Any]

    @property
    def site_file(self) -> Path:
        """The lab's ``site.yaml``."""
        return self.directory / "site.yaml"

    @property
    def clouds_file(self) -> Path:
        """The lab's ``clouds.yaml``."""
        return self.directory / "clouds.yaml"

    @property
    def guest_port(self) -> int:
        """The port that guests listen on."""
        return int(self.facts["guest_port"])

    def control(self, verb: str, route: str, /, **body: Any) -> dict[str, Any]:
        """Ask the control port; the answer's JSON."""
        token = (self.directory / "control.token").read_text(encoding="utf-8").strip()
        url = self.facts["control_url"] + route
        answer = requests.request(verb, url, json=body or None, headers={"X-Lab-Token": token}, timeout=10)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()
        return data

    def violations(self) -> list[dict[str, Any]]:
        """Laws of the site that were broken so far."""
        rows: list[dict[str, Any]] = self.control("GET", "/violations")["violations"]
        return rows

    def history(self) -> list[dict[str, Any]]:
        """Who came and went on the network."""
        rows: list[dict[str, Any]] = self.control("GET", "/history")["history"]
        return rows

    def requests(self, **wanted: str) -> list[dict[str, Any]]:
        """The last requests of all services; ``service``, ``method`` and ``since`` (Unix seconds) narrow it."""
        query = "&".join(f"{k}={v}" for k, v in wanted.items())
        rows: list[dict[str, Any]] = self.control("GET", f"/requests?{query}")["requests"]
        return rows

    @contextlib.contextmanager
    def fault(self, **rule: Any) -> Iterator[None]:
        """Inject a fault (fields of :class:`pumphouse.lab.faults.Fault`) while the block runs."""
        self.control("POST", "/faults", **rule)
        try:
            yield
        finally:
            self.control("DELETE", "/faults")

    def password(self, entry: str) -> str:
        """The password of an entry of ``secure.yaml``."""
        secure = yaml.safe_load((self.directory / "secure.yaml").read_text(encoding="utf-8"))
        return str(secure["clouds"][entry]["auth"]["password"])

    def connect(self, entry: str = "old", **overrides: Any) -> openstack.connection.Connection:
        """An openstacksdk connection with an entry of ``clouds.yaml``."""
        with warnings.catch_warnings():
            # the SDK warns of its own defaults
            warnings.simplefilter("ignore", openstack.warnings.RemovedInSDK60Warning)
            config = openstack.config.OpenStackConfig(
                config_files=[str(self.clouds_file)],
                secure_files=[str(self.directory / "secure.yaml")],
                load_envvars=False,
            )
            return openstack.connection.Connection(config=config.get_one(cloud=entry, **overrides))

    def one_by_one(self) -> LabSite:
        """Have its site do one step after the other."""
        described = yaml.safe_load(self.site_file.read_text(encoding="utf-8"))
        described["limits"]["parallel"] = 1
        self.site_file.write_text(yaml.safe_dump(described), encoding="utf-8")
        return self

    def stop(self) -> None:
        """End the lab."""
        process.down(self.directory)


def start_lab(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    name: str = "lab",
    size: int = 0,
    scale: float = FAST,
    release: str = "icehouse",
    osapi_max_limit: int = 1000,
    destination: str = "neutron",
    rate_limit: str = "release",
    rate_scale: float = 0.1,
    hardware: bool = False,
    fuel_release: str = "8.0",
    content: str = "usual",
) -> LabSite:
    """Start a lab in a fresh directory; :meth:`LabSite.stop` ends it, and so does the end of this process.

    With the default scales a Grizzly lab's rate limits are on, but its minute lasts 0.3 s.
    """
    directory = tmp_path_factory.mktemp(f"{name}-{os.getpid()}")
    options = LabOptions(
        size=size,
        scale=scale,
        release=release,
        osapi_max_limit=osapi_max_limit,
        owner_pid=os.getpid(),
        destination=destination,
        rate_limit=rate_limit,
        rate_scale=rate_scale,
        hardware=hardware,
        fuel_release=fuel_release,
        content=content,
    )
    info = process.up(directory, options)
    return LabSite(info.directory, info.facts)
