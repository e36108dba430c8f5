"""Which secrets a site holds, so that a record can be cleaned of them (read only, local files)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from openstack.config import loader

from pumphouse.records.redact import SECRET_KEY
from pumphouse.site import Site

_ENVIRONMENT = re.compile(r"^(OS|PUMPHOUSE|AWS)_\w*(PASSWORD|SECRET|TOKEN|PASSCODE|PASSPHRASE|SECRET_ACCESS_KEY)$")
_TOKEN_KEYS = {"token", "passcode", "trust_token"}
_NAME_KEYS = {
    "username",
    "user_name",
    "project_name",
    "tenant_name",
    "user_domain_name",
    "project_domain_name",
    "domain_name",
    "region_name",
}


def collect_secrets(site: Site | None) -> set[str]:
    """Every password-like value that the site's files hold *now*.

    Reads ``clouds.yaml`` and ``secure.yaml`` (openstacksdk's search path, its ``OS_CLIENT_*`` overrides and the
    folder of ``site.clouds_yaml``), the hand-over file of one-time passwords, the journal URL's password and
    ``OS_*``, ``PUMPHOUSE_*`` and ``AWS_*`` variables. A file that is missing or is being written at this moment counts
    as empty: the next write of the record asks again.
    """
    found = {value for name, value in os.environ.items() if _ENVIRONMENT.match(name) and value}
    for file in _cloud_files(site):
        found.update(_secret_values(_load(file)))
    if site is not None:
        references = (*site.source_databases.values(), *site.destination_databases.values())
        found.update(os.environ.get(reference.password_env or "", "") for reference in references)
        found.update(os.environ.get(login.password_env or "", "") for login in site.hardware.logins)
        handover = _load(site.secrets_file)
        if isinstance(handover, Mapping):
            found.update(_all_strings(handover.values()))
        password = urlsplit(site.journal_url).password
        if password:
            found.update((password, unquote(password)))
    return {value for value in found if value}


def collect_names(site: Site | None) -> set[str]:
    """Names that records must show: users, projects, domains and regions of ``clouds.yaml``, its entries, the site."""
    found: set[str] = set()
    for file in _cloud_files(site):
        content = _load(file)
        found.update(name for name, _ in _clouds(content))
        found.update(_named_values(content))
    if site is not None:
        found.update((site.name, site.source_cloud, site.destination_cloud, *site.owners, *site.owners.values()))
    return found


def weak_secrets(site: Site | None) -> list[str]:
    """Sentences on passwords that equal a name, so that no record can be kept free of them; none is quoted."""
    names = collect_names(site)
    return [
        f"{file.name}: a password of entry {entry} equals a name of this site, so it stands in records wherever the "
        "name does. Change it."
        for file in _cloud_files(site)
        for entry, cloud in _clouds(_load(file))
        if any(value in names for value in _secret_values(cloud))
    ]


def _clouds(content: Any) -> list[tuple[str, Any]]:
    clouds = content.get("clouds") if isinstance(content, Mapping) else None
    return [(str(name), cloud) for name, cloud in clouds.items()] if isinstance(clouds, Mapping) else []


def _named_values(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if str(key) in _NAME_KEYS and isinstance(value, str):
                yield value
            else:
                yield from _named_values(value)


def _cloud_files(site: Site | None) -> list[Path]:
    files = [*loader.CONFIG_FILES, *loader.SECURE_FILES]
    files += [os.environ[name] for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE") if os.environ.get(name)]
    paths = [Path(file) for file in files]
    if site is not None:
        folders = {site.path.parent}
        if site.clouds_yaml is not None:
            paths.append(site.clouds_yaml)
            folders.add(site.clouds_yaml.parent)
        paths += [folder / name for folder in folders for name in ("clouds.yaml", "secure.yaml", "secure.yml")]
    return list(dict.fromkeys(paths))


def _load(file: Path) -> Any:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


@lru_cache(maxsize=32)
def _parsed(text: str) -> Any:
    """A file's content, for reading only: it is asked for many times a cell, and hardly ever another one."""
    return yaml.safe_load(text)


def _secret_values(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                if SECRET_KEY.match(str(key)) or str(key) in _TOKEN_KEYS:
                    yield str(value)
            else:
                yield from _secret_values(value)
    elif isinstance(node, list):
        for item in node:
            yield from _secret_values(item)


def _all_strings(nodes: Iterable[Any]) -> Iterator[str]:
    """Secrets of the hand-over file: under a password-like key, or the user's value itself."""
    for node in nodes:
        if isinstance(node, Mapping):
            yield from _secret_values(node)
        elif isinstance(node, str | int):
            yield str(node)
