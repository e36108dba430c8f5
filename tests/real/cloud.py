"""What tests import: where the clouds' files are, and whether the clouds are there to be used.

from tests.real import cloud

if reason := cloud.why_unusable(populated=True):
    pytest.skip(reason)
connection = openstack.config.OpenStackConfig(**cloud.config_files()).get_one("source")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .base import HERE, Cloud, Home, Reporter, yaml_text
from .destination import DestinationCloud
from .errors import RealError, Unavailable
from .processes import write
from .source import SourceCloud

CLASSES: tuple[type[Cloud], ...] = (SourceCloud, DestinationCloud)
HOME_VARIABLE = "PUMPHOUSE_REAL_HOME"


def home_path() -> Path:
    """The clouds' folder: $PUMPHOUSE_REAL_HOME, else one that others can enter and reboots leave alone."""
    return Path(os.environ.get(HOME_VARIABLE) or "/var/tmp/pumphouse-real")


def home(path: Path | None = None) -> Home:
    return Home((path or home_path()).resolve())


def launcher(name: str, path: Path | None = None) -> Cloud:
    """The launcher of `source` or `destination`, for a test that wants to end a single service.

    `launcher("source").processes.stop(["nova-compute2"])` is a dead host; `.start()` brings it back.
    """
    (cls,) = (cls for cls in CLASSES if cls.name == name)
    return cls(home(path), Reporter())


def environment(path: Path | None = None) -> dict[str, str]:
    """The variables by which openstacksdk finds the clouds.

    Both are needed: naming clouds.yaml does not make it look for secure.yaml beside it.
    """
    where = home(path)
    return {"OS_CLIENT_CONFIG_FILE": str(where.clouds_yaml), "OS_CLIENT_SECURE_FILE": str(where.secure_yaml)}


def config_files(path: Path | None = None) -> dict[str, list[str]]:
    """The same as arguments of `openstack.config.OpenStackConfig`."""
    where = home(path)
    return {"config_files": [str(where.clouds_yaml)], "secure_files": [str(where.secure_yaml)]}


def populated(path: Path | None = None) -> dict[str, Any]:
    """What `populate` made: ids, names, passwords, checksums (README.md has the layout).

    Raises `RealError` before `populate` has run.
    """
    try:
        loaded: dict[str, Any] = json.loads(home(path).populated_json.read_text())
    except FileNotFoundError:
        raise RealError("the source is not populated: run `python -m tests.real populate`") from None
    return loaded


def why_unusable(path: Path | None = None, only: str | None = None, populated: bool = False) -> str | None:
    """None when every process lives and every API answers, else the reason in one line; starts nothing."""
    where = home(path)
    if not where.settings_file.exists():
        return f"no clouds in {where.path}: run `python -m tests.real up` as root"
    problems = [problem for cls in CLASSES if only in (None, cls.name) for problem in cls(where, Reporter()).problems()]
    if not problems and populated and not where.populated_json.exists():
        problems = ["the source is not populated: run `python -m tests.real populate`"]
    return "; ".join(problems) or None


def ensure(path: Path | None = None, timeout_s: float = 1200) -> Home:
    """Brings both clouds up and populates the source if that is not so already; takes minutes the first time.

    Raises `Unavailable` (skip, with its message as the reason) when this machine cannot run them, `RealError`
    when it should and did not.
    """
    where = home(path)
    for command in ("up", "populate"):
        if why_unusable(where.path, populated=command == "populate") is None:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "tests.real", command, "--home", str(where.path)],
            cwd=HERE.parent.parent,
            text=True,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode == Unavailable.exit_code:
            raise Unavailable(done.stderr.strip().removeprefix("error: "))
        if done.returncode:
            raise RealError(f"`tests.real {command}` ended with {done.returncode}: {done.stderr.strip()}")
    return where


def write_client_files(where: Home, report: Reporter) -> None:
    """Writes clouds.yaml, and secure.yaml with the passwords beside it, for the clouds that are set up."""
    entries: dict[str, dict[str, Any]] = {}
    passwords: dict[str, str] = {}
    for cls in CLASSES:
        cloud = cls(where, report)
        if not cloud.is_set_up:
            continue
        entries[cloud.name] = cloud.client_entry()
        passwords[cloud.name] = cloud.passwords["admin"]
        if isinstance(cloud, SourceCloud) and where.populated_json.exists():
            for user, facts in populated(where.path)["users"].items():
                entries[f"{cloud.name}-{user}"] = cloud.user_entry(user, facts["tenant"])
                passwords[f"{cloud.name}-{user}"] = facts["password"]
    secrets = {name: {"auth": {"password": password}} for name, password in passwords.items()}
    write(where.clouds_yaml, yaml_text({"clouds": entries}))
    write(where.secure_yaml, yaml_text({"clouds": secrets}), 0o600)
