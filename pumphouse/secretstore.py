"""One-time secrets of users that pumphouse makes at the destination.

No API hands out password hashes, so a user made at the destination gets an unguessable password. It is
written to a file of mode 0600 before the user is made (a crash in between loses nothing), and handed over
to the project's people from there. It is never in the journal, a plan, a parameter or a record.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from pumphouse.errors import SiteError


class SecretStore:
    """The hand-over file: user name -> ``{password: …}``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, user_name: str) -> str | None:
        """The password of a user that pumphouse made, or None."""
        entry = self._load().get(user_name)
        return entry["password"] if entry else None

    def ensure(self, user_name: str) -> str:
        """The password of that user, made and stored first if there is none."""
        with self._locked():
            entries = self._load()
            if user_name not in entries:
                entries[user_name] = {"password": secrets.token_urlsafe(24)}
                self._store(entries)
            return entries[user_name]["password"]

    def _load(self) -> dict[str, dict[str, str]]:
        try:
            raw = yaml.safe_load(self.path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SiteError(
                f"The hand-over file {self.path} cannot be read: {type(error).__name__}.",
                remedy="restore it: without it the users that pumphouse made cannot be logged in as.",
            ) from error
        if not isinstance(raw, dict) or not all(isinstance(v, dict) and "password" in v for v in raw.values()):
            raise SiteError(
                f"The hand-over file {self.path} does not map user names to passwords.",
                remedy="restore it from a copy; do not edit it by hand.",
            )
        return raw

    def _store(self, entries: dict[str, dict[str, str]]) -> None:
        temp = self.path.with_suffix(".tmp")
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(entries, file)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
