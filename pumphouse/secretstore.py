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
from pumphouse.fileio import write_atomic


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
        try:
            with self._locked():
                entries = self._load()
                if user_name not in entries:
                    entries[user_name] = {"password": secrets.token_urlsafe(24)}
                    write_atomic(self.path, yaml.safe_dump(entries), mode=0o600)
                return entries[user_name]["password"]
        except OSError as error:
            raise SiteError(
                f"The hand-over file {self.path} cannot be written: {error.strerror}.",
                remedy="check the work folder of site.yaml and its rights; no user is made without a kept password.",
            ) from error

    def _load(self) -> dict[str, dict[str, str]]:
        try:
            raw = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            # not shown as the cause: a YAML error quotes the file
            raise SiteError(
                f"The hand-over file {self.path} cannot be read: {type(error).__name__}.",
                remedy="restore it: without it the users that pumphouse made cannot be logged in as.",
            ) from None
        # an empty file is a damaged one: it would be filled anew, and the passwords that were in it lost
        if not isinstance(raw, dict) or not all(
            isinstance(v, dict) and isinstance(v.get("password"), str) for v in raw.values()
        ):
            raise SiteError(
                f"The hand-over file {self.path} does not map user names to passwords.",
                remedy="restore it from a copy; do not edit it by hand.",
            )
        return raw

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
