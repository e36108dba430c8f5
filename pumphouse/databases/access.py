"""The databases that a site names, opened when they are first asked for."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from pumphouse.databases.engine import Database
from pumphouse.databases.keystone import KeystoneDatabase
from pumphouse.databases.nova import NovaDatabase
from pumphouse.errors import DatabaseError

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
        if ref.password_env is not None:
            password = os.environ.get(ref.password_env)
            where = f"environment variable {ref.password_env}"
        elif ref.password_entry is not None:
            password = self._entry(ref.password_entry)
            where = f"secure.yaml: databases.{ref.password_entry}.password"
        else:
            return None
        if not password:
            raise DatabaseError(
                f"The password of {ref.key} is not in {where}.",
                remedy="put it there, or correct that entry of site.yaml.",
            )
        return password

    def _entry(self, name: str) -> str | None:
        folder = (self._site.clouds_yaml or self._site.path).parent
        for file in (folder / "secure.yaml", folder / "secure.yml"):
            try:
                found: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, yaml.YAMLError) as error:
                # not shown as the cause: a YAML error quotes the file
                raise DatabaseError(
                    f"{file} cannot be read: {type(error).__name__}.", remedy="mend it: database passwords are in it."
                ) from None
            try:
                return str(found["databases"][name]["password"])
            except (KeyError, TypeError):
                continue
        return None
