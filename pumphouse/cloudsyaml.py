"""Adding an entry to ``clouds.yaml`` and ``secure.yaml``: all that stands there stays, comments and order too."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pumphouse.errors import SiteError
from pumphouse.fileio import write_atomic

SECURE_NAME = "secure.yaml"


def find_entry(clouds_yaml: Path, cloud: str) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """A cloud's entries in both files (read only); None where there is none.

    :raises SiteError: when a file cannot be read.
    """
    return tuple(_entry(_load(file), cloud) for file in (clouds_yaml, clouds_yaml.with_name(SECURE_NAME)))  # type: ignore[return-value]


def write_entry(clouds_yaml: Path, cloud: str, entry: Mapping[str, Any], secret: Mapping[str, Any]) -> None:
    """Add or replace a cloud's entries: what is secret goes to ``secure.yaml`` (mode 0600), and goes first.

    :raises SiteError: when a file cannot be read or written.
    """
    secure = clouds_yaml.with_name(SECURE_NAME)
    for file, value, mode in ((secure, secret, 0o600), (clouds_yaml, entry, None)):
        _change(file, lambda clouds, value=value: clouds.__setitem__(cloud, _plain(value)), mode)  # type: ignore[misc]


def remove_entry(clouds_yaml: Path, cloud: str) -> bool:
    """Take a cloud's entries out of both files; whether there was one.

    :raises SiteError: when a file cannot be read or written.
    """
    found = any(entry is not None for entry in find_entry(clouds_yaml, cloud))
    for file, mode in ((clouds_yaml, None), (clouds_yaml.with_name(SECURE_NAME), 0o600)):
        if _entry(_load(file), cloud) is not None:
            _change(file, lambda clouds: clouds.pop(cloud, None), mode)
    return found


def _entry(document: Any, cloud: str) -> Mapping[str, Any] | None:
    clouds = document.get("clouds") if isinstance(document, dict) else None
    found = clouds.get(cloud) if isinstance(clouds, dict) else None
    return found if isinstance(found, dict) else None


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _load(file: Path) -> Any:
    try:
        return _yaml().load(file.read_text(encoding="utf-8")) or CommentedMap()
    except FileNotFoundError:
        return CommentedMap()
    except (OSError, UnicodeDecodeError, YAMLError, ValueError) as error:
        # not shown as the cause: a YAML error quotes the file, and passwords may be in it
        raise SiteError(f"{file} cannot be read: {type(error).__name__}.", remedy="mend it.") from None


def _change(file: Path, change: Callable[[Any], object], mode: int | None) -> None:
    target = file.resolve()
    document = _load(target)
    if not isinstance(document, dict) or not isinstance(document.setdefault("clouds", CommentedMap()), dict):
        raise SiteError(f"{file} must hold a mapping with a mapping `clouds` in it.", remedy="mend it.")
    change(document["clouds"])
    text = io.StringIO()
    _yaml().dump(document, text)
    if mode is None:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    try:
        write_atomic(target, text.getvalue(), mode=mode)
    except OSError as error:
        raise SiteError(f"{file} cannot be written: {error.strerror}.", remedy="check its folder's rights.") from error


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value
