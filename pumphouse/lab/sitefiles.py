"""The files that a lab leaves in its directory: ``clouds.yaml``, ``secure.yaml``, ``site.yaml``, ``lab.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

_HEADER = "# Written by the lab; another `pumphouse lab up` here replaces it.\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, atomically."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def write_plain(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def source_entries(
    keystone: str, region: str, users: dict[str, tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of ``clouds.yaml`` and ``secure.yaml`` for the old cloud.

    :param keystone: public Keystone URL without a version.
    :param users: user name -> (project name, password); ``admin`` becomes ``old``, the others ``old-NAME``.
    """
    clouds: dict[str, Any] = {}
    secure: dict[str, Any] = {}
    for name, (project, password) in users.items():
        entry = "old" if name == "admin" else f"old-{name}"
        clouds[entry] = {
            "auth_type": "password",
            "auth": {"auth_url": f"{keystone}/v2.0", "username": name, "project_name": project},
            "region_name": region,
        }
        secure[entry] = {"auth": {"password": password}}
    return clouds, secure


def destination_entries(
    auth_url: str, username: str, password: str, project: str, region: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of ``clouds.yaml`` and ``secure.yaml`` for the new cloud, named ``new``."""
    auth = {
        "auth_url": auth_url,
        "username": username,
        "project_name": project,
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    cloud = {"auth_type": "password", "auth": auth, "region_name": region, "identity_api_version": "3"}
    return {"new": cloud}, {"new": {"auth": {"password": password}}}


def write_site(
    directory: Path,
    clouds: dict[str, Any],
    secure: dict[str, Any],
    owners: dict[str, str],
    *,
    pools: dict[str, str],
    port: int,
    databases: dict[str, dict[str, Path]],
    hardware: dict[str, Any],
    logins: dict[str, Any],
) -> None:
    """Write ``secure.yaml`` (0600), ``clouds.yaml`` and ``site.yaml``; ``site-databases.yaml`` names databases too.

    :param databases: side -> service -> file in the folder ``databases``.
    :param hardware: the keys ``vlans``, ``switches``, ``nodes`` and ``fuel``.
    :param logins: the section ``nodes`` of ``secure.yaml``.
    """
    site: dict[str, Any] = {
        "schema": 1,
        "name": directory.name,
        "clouds_yaml": "clouds.yaml",
        "source": {"cloud": "old", "owners": owners},
        "destination": {
            "cloud": "new",
            "networks": {},
            "floating_pools": pools,
            "provider": {"novanetwork": {"physical_network": "physnet1", "dhcp": "filtered"}},
            "same_net_traffic": "drop",
        },
        "probe": {"kind": "http", "port": port, "timeout_s": 30},
        "limits": {"hold_s": 2, "action_timeout_s": 120},
        "journal": "sqlite:///journal.db",
        "records": "records",
        "work": "work",
        **hardware,
    }
    secrets = {"clouds": secure} | ({"nodes": logins} if logins else {})
    write_private(directory / "secure.yaml", _HEADER + yaml.safe_dump(secrets, sort_keys=False))
    write_plain(directory / "clouds.yaml", _HEADER + yaml.safe_dump({"clouds": clouds}, sort_keys=False))
    write_plain(directory / "site.yaml", _HEADER + yaml.safe_dump(site, sort_keys=False))
    for side, names in databases.items():
        site[side]["databases"] = {name: {"url": f"sqlite:///databases/{file.name}"} for name, file in names.items()}
    write_plain(directory / "site-databases.yaml", _HEADER + yaml.safe_dump(site, sort_keys=False))


def write_info(directory: Path, info: dict[str, Any]) -> None:
    """Write ``lab.json``: its presence says that the lab is ready."""
    write_plain(directory / "lab.json", json.dumps(info, indent=1) + "\n")
