"""The clouds of one run of `make test-real`: brought up clean, kept to ourselves, left as they were found."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from . import cloud, observe
from .base import HERE, Home
from .errors import RealError, Unavailable
from .processes import write
from .rest import Session

NAMES = ("source", "destination")
#: Projects that a cloud has before anybody uses it.
OWN_PROJECTS = frozenset({"admin", "service"})


@dataclass(frozen=True)
class Clouds:
    """Both clouds as their administrators see them, and what `populate` put into the source."""

    home: Home
    facts: dict[str, Any]
    source: Session
    destination: Session

    def source_view(self) -> observe.View:
        """The source, now."""
        return observe.source_view(self.source)

    def destination_view(self) -> observe.View:
        """The destination, now."""
        return observe.destination_view(self.destination)

    def user(self, name: str) -> Session:
        """A user of the source, logged in."""
        who = self.facts["users"][name]
        return Session.v2(self.source.endpoints["identity", "public"], name, who["password"], who["tenant"])

    def servers_of(self, tenant: str) -> dict[str, dict[str, Any]]:
        """{name: what populate says of it}"""
        return {name: facts for name, facts in self.facts["servers"].items() if facts["tenant"] == tenant}


def open_clouds(home: Home) -> Clouds:
    """Logs in to both clouds of a home, which must be up and populated."""
    admins = {name: launcher_admin(name, home) for name in NAMES}
    return Clouds(home, cloud.populated(home.path), **admins)


def launcher_admin(name: str, home: Home) -> Session:
    """The administrator of a running cloud."""
    session: Session = cloud.launcher(name, home.path).admin()
    return session


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """Keeps a second run of the tier off these clouds; raises `RealError` at once when there is one."""
    home.path.mkdir(parents=True, exist_ok=True)
    with (home.path / "tier.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RealError(f"another run of these tests works on the clouds in {home.path}") from None
        yield


def make_clean(home: Home) -> Clouds:
    """Brings both clouds up and populated, without what an earlier run left in them.

    Raises `Unavailable` when this machine cannot run them.
    """
    if mark(home).exists():
        for name in NAMES:
            forget(home, name, f"an earlier run moved servers ({mark(home)})")
        mark(home).unlink()
    cloud.ensure(home.path)
    if found := dirty(open_clouds(home)):
        for name, why in found.items():
            forget(home, name, why)
        cloud.ensure(home.path)
    clouds = open_clouds(home)
    if left := dirty(clouds):
        raise RealError(f"the clouds in {home.path} are not as `up` and `populate` make them: {left}")
    return clouds


def give_up(missing: Unavailable, *, ci: str) -> NoReturn:
    """Skips the tier on a machine that cannot run it; in CI, where nothing may be skipped, it fails instead."""
    if ci.lower() in ("1", "true"):
        pytest.fail(f"CI has to run the real tier, but {missing}", pytrace=False)
    pytest.skip(str(missing))


def forget(home: Home, name: str, why: str) -> None:
    """Ends one cloud and deletes what it holds; its packages, ports and passwords stay."""
    print(f"{name} is made anew: {why}", file=sys.stderr, flush=True)
    command = ["-m", "tests.real", "destroy", "--only", name, "--keep-venv", "--home", str(home.path)]
    subprocess.run(
        [sys.executable, *command],
        cwd=HERE.parent.parent,
        stdout=sys.stderr,
        timeout=300,
        check=True,
    )


def mark(home: Home) -> Path:
    """The file that says that moves began in these clouds."""
    return home.path / "tier.json"


def soil(home: Home) -> None:
    """Notes, before the first move, that the clouds will have to be made anew for the next run."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    write(mark(home), json.dumps({"moves_began_at": began}) + "\n")


def dirty(clouds: Clouds) -> dict[str, str]:
    """{cloud: why it is not as new}; empty when both are."""
    found: dict[str, str] = {}
    source, facts = clouds.source_view(), clouds.facts
    status = {server["name"]: server["status"] for server in source["servers"].values()}
    floating = {address: ip["project_id"] for address, ip in source["floating_ips"].items() if ip["project_id"]}
    wanted = {address: facts["tenants"][ip["tenant"]] for address, ip in facts["floating_ips"].items()}
    if status != {name: server["status"] for name, server in facts["servers"].items()}:
        found["source"] = f"its servers are not those that were populated: {status}"
    elif not wanted.items() <= floating.items():
        found["source"] = f"its floating IPs are not those that were populated: {floating}"
    elif others := {p["name"] for p in source["projects"].values()} - OWN_PROJECTS - facts["tenants"].keys():
        found["source"] = f"somebody made projects there: {sorted(others)}"
    there = clouds.destination_view()
    strange = {p["name"] for p in there["projects"].values()} - OWN_PROJECTS
    strange |= {n["name"] for n in there["networks"].values()} - {"public"}
    strange |= {o["name"] for kind in ("images", "flavors", "servers") for o in there[kind].values()}
    if strange:
        found["destination"] = f"it holds {sorted(strange)}"
    return found
