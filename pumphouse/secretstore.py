"""One-time secrets of users that pumphouse makes at the destination.

No API hands out password hashes, so a user made at the destination gets an unguessable password. It is
written to a file of mode 0600 before the user is made (a crash in between loses nothing), and handed over
to the project's people from there. It is never in the journal, a plan, a parameter or a record.

Where Keystone's database is at hand, the secret is in force only while the user's servers boot. The file then also
says which plans still need it (``borrowers``), and keeps the hash that it stands in for (``set_aside_secret``).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pumphouse.errors import SiteError
from pumphouse.fileio import write_atomic

#: What the file says of a secret with which nobody can log in any more.
NOT_IN_FORCE = "not in force: the user's own password was put in place"

_PASSWORD, _BORROWERS, _SET_ASIDE, _NOTE = "password", "borrowers", "set_aside_secret", "note"


@dataclass
class Entry:
    """One user's entry while nobody else can change the file; :meth:`save` writes it."""

    fields: dict[str, Any] = field(repr=False)
    save: Callable[[], None]

    @property
    def password(self) -> str:
        """The one-time secret."""
        return str(self.fields[_PASSWORD])

    @property
    def borrowers(self) -> list[str]:
        """Hashes of the plans that need the secret to be in force."""
        return list(self.fields.get(_BORROWERS, []))

    @property
    def set_aside(self) -> str | None:
        """The hash that the secret stands in for."""
        return self.fields.get(_SET_ASIDE)

    def change(
        self, *, borrowers: list[str] | None = None, set_aside: str | None = None, in_force: bool | None = None
    ) -> None:
        """Change what is given and write it; ``in_force`` False notes that the secret opens nothing any more."""
        if borrowers is not None:
            self.fields[_BORROWERS] = sorted(set(borrowers))
        if set_aside is not None:
            self.fields[_SET_ASIDE] = set_aside
        if in_force:
            self.fields.pop(_NOTE, None)
        elif in_force is not None:
            self.fields[_NOTE] = NOT_IN_FORCE
            self.fields.pop(_SET_ASIDE, None)
        self.save()


class SecretStore:
    """The hand-over file: user name -> ``{password: …}``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, user_name: str) -> str | None:
        """The password of a user that pumphouse made, or None."""
        entry = self._load().get(user_name)
        return entry[_PASSWORD] if entry else None

    def names(self) -> frozenset[str]:
        """Users whose secret is in the file, in force or not."""
        return frozenset(self._load())

    def borrowers(self, user_name: str) -> list[str]:
        """Hashes of the plans that need a user's secret to be in force."""
        return list(self._load().get(user_name, {}).get(_BORROWERS, []))

    def ensure(self, user_name: str) -> str:
        """The password of that user, made and stored first if there is none."""
        with self._locked():
            entries = self._load()
            if user_name not in entries:
                entries[user_name] = {_PASSWORD: secrets.token_urlsafe(24)}
                self._write(entries)
            return str(entries[user_name][_PASSWORD])

    def forget(self, user_name: str) -> None:
        """Take a user out of the file: there is no such user any more."""
        with self._locked():
            entries = self._load()
            if entries.pop(user_name, None) is not None:
                self._write(entries)

    @contextmanager
    def entry(self, user_name: str) -> Iterator[Entry]:
        """A user's entry, for changing it: nobody else changes the file until the block ends.

        :raises SiteError: when the file cannot be read or written, or does not know the user.
        """
        with self._locked():
            entries = self._load()
            if user_name not in entries:
                raise SiteError(
                    f"The hand-over file {self.path} does not know user {user_name}.",
                    remedy="restore it from a copy: pumphouse made that user and kept its one-time secret there.",
                )
            yield Entry(entries[user_name], lambda: self._write(entries))

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        try:
            write_atomic(self.path, yaml.safe_dump(entries), mode=0o600)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SiteError:
        return SiteError(
            f"The hand-over file {self.path} cannot be written: {error.strerror}.",
            remedy="check the work folder of site.yaml and its rights; no user is made without a kept password.",
        )

    def _load(self) -> dict[str, dict[str, Any]]:
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
            isinstance(v, dict) and isinstance(v.get(_PASSWORD), str) for v in raw.values()
        ):
            raise SiteError(
                f"The hand-over file {self.path} does not map user names to passwords.",
                remedy="restore it from a copy; do not edit it by hand.",
            )
        return raw

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
