"""The databases that a site names, opened when they are first asked for."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from pumphouse.databases.engine import Database
from pumphouse.databases.keystone import KeystoneDatabase
from pumphouse.databases.nova import NovaDatabase
from pumphouse.errors import DatabaseError, SiteError
from pumphouse.passwords import PasswordRef, read_password

if TYPE_CHECKING:
    from pumphouse.site import DatabaseRef, Site


class Databases:
    """Keystone's and Nova's databases of a site; each is None where ``site.yaml`` does not name it.

    Reading one of them may raise DatabaseError: no driver, or its password is not where ``site.yaml`` says.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.RLock()

    @property
    def source_keystone(self) -> KeystoneDatabase | None:
        """The old Keystone's."""
        with self._lock:
            return self._source_keystone

    @property
    def source_nova(self) -> NovaDatabase | None:
        """The old Nova's."""
        with self._lock:
            return self._source_nova

    @property
    def destination_keystone(self) -> KeystoneDatabase | None:
        """The new Keystone's."""
        with self._lock:
            return self._destination_keystone

    @cached_property
    def _source_keystone(self) -> KeystoneDatabase | None:
        ref = self._site.source_databases.get("keystone")
        return KeystoneDatabase(self._open(ref)) if ref is not None else None

    @cached_property
    def _source_nova(self) -> NovaDatabase | None:
        ref, api = (self._site.source_databases.get(name) for name in ("nova", "nova_api"))
        if ref is None:
            return None
        return NovaDatabase(self._open(ref), self._open(api) if api is not None else None)

    @cached_property
    def _destination_keystone(self) -> KeystoneDatabase | None:
        ref = self._site.destination_databases.get("keystone")
        return KeystoneDatabase(self._open(ref)) if ref is not None else None

    def _open(self, ref: DatabaseRef) -> Database:
        return Database(ref, self._password(ref))

    def _password(self, ref: DatabaseRef) -> str | None:
        place = PasswordRef(ref.key, "databases", entry=ref.password_entry, variable=ref.password_env)
        try:
            return read_password(self._site, place)
        except SiteError as error:
            raise DatabaseError(error.message, remedy=error.remedy) from None
