"""The databases behind the simulated clouds, as SQLite files: the old Keystone's and Nova's, the new Keystone's.

Tables and columns are the real ones' (the release's for the old cloud, keystone 30's for the new one); of Nova only
what no API shows is filled. They follow the APIs: a request that changed something is answered when its rows are there.
The new Keystone believes its database, as a real one does: a hash written there by SQL counts from then on, and one
that it cannot read ends a login without an answer.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumphouse.databases.hashes import PasswordHash, matches, new_hash
from pumphouse.lab.destination.state import IdentityData
from pumphouse.lab.source.state import State, User

Row = tuple[Any, ...]

#: The new Keystone's file.
NEW_KEYSTONE = "new-keystone.db"
#: Schemes that keystone 30 reads (keystone/common/password_hashing.py).
READABLE = frozenset({"2", "2a", "2b", "2x", "2y", "bcrypt-sha256", "scrypt", "pbkdf2-sha512"})

_KEYSTONE_2014 = """
CREATE TABLE user (id VARCHAR(64) PRIMARY KEY, name VARCHAR(255) NOT NULL, extra TEXT, password VARCHAR(128),
  enabled BOOLEAN, domain_id VARCHAR(64) NOT NULL{default_project});
"""
_NOVA = """
CREATE TABLE key_pairs (created_at DATETIME, updated_at DATETIME, deleted_at DATETIME, id INTEGER PRIMARY KEY,
  name VARCHAR(255), user_id VARCHAR(255), fingerprint VARCHAR(255), public_key TEXT, deleted INTEGER);
CREATE TABLE instances (created_at DATETIME, updated_at DATETIME, deleted_at DATETIME, id INTEGER PRIMARY KEY,
  uuid VARCHAR(36), display_name VARCHAR(255), user_id VARCHAR(255), project_id VARCHAR(255), host VARCHAR(255),
  key_name VARCHAR(255), user_data TEXT, vm_state VARCHAR(255), deleted INTEGER);
"""
_KEYSTONE_30 = """
CREATE TABLE user (id VARCHAR(64) PRIMARY KEY, extra TEXT, enabled TINYINT, default_project_id VARCHAR(64),
  created_at DATETIME, last_active_at DATE, domain_id VARCHAR(64) NOT NULL);
CREATE TABLE local_user (id INTEGER PRIMARY KEY, user_id VARCHAR(64) NOT NULL, domain_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL, failed_auth_count INTEGER, failed_auth_at DATETIME);
CREATE TABLE nonlocal_user (domain_id VARCHAR(64), name VARCHAR(255), user_id VARCHAR(64));
CREATE TABLE password (id INTEGER PRIMARY KEY, local_user_id INTEGER NOT NULL, expires_at DATETIME,
  self_service TINYINT NOT NULL, password_hash VARCHAR(255), created_at_int BIGINT NOT NULL, expires_at_int BIGINT,
  created_at DATETIME NOT NULL);
"""


class UnreadableHash(Exception):
    """A hash on which Keystone dies."""


class OldDatabases:
    """``NAME-keystone.db`` and ``NAME-nova.db``, kept like a cloud of 2014; its hashes are sha512_crypt, as then.

    Only what changed is written: what somebody else wrote into other columns stays, and a hash counts at logins.
    """

    def __init__(self, folder: Path, state: State, name: str = "old") -> None:
        self._state = state
        self._sets: dict[str, int] = {}
        self._written: dict[str, dict[Any, Row]] = {"user": {}, "key_pairs": {}, "instances": {}}
        old = state.release.name == "grizzly"
        default = "" if old else ", default_project_id VARCHAR(64)"
        self.keystone = _create(folder / f"{name}-keystone.db", _KEYSTONE_2014.replace("{default_project}", default))
        self.nova = _create(folder / f"{name}-nova.db", _NOVA)
        state.read_hash = self.read_hash
        self.follow()

    def follow(self) -> None:
        """Write what changed since the last time."""
        for user in self._state.users.values():
            if self._sets.get(user.id) not in (None, user.password_sets):
                del self._written["user"][user.id]  # the hash there may be somebody else's: it is written over
            self._sets[user.id] = user.password_sets
        self._update(self.keystone, "user", self._users())
        self._update(self.nova, "key_pairs", self._keypairs())
        self._update(self.nova, "instances", self._instances())

    def _users(self) -> Iterable[tuple[str, Row]]:
        grizzly = self._state.release.name == "grizzly"
        for user in self._state.users.values():
            extra = {**user.extra, "email": user.email, **({"tenantId": user.tenant_id} if grizzly else {})}
            own = replace(user, stored_hash=None).password_hash
            row = (user.id, user.name, json.dumps(extra), own, int(user.enabled), "default")
            yield user.id, row if grizzly else (*row, user.tenant_id)

    def read_hash(self, user: User) -> str | None:
        """The hash that somebody else wrote for a user; None when it is Keystone's own."""
        with closing(sqlite3.connect(self.keystone)) as connection:
            row = connection.execute("SELECT password FROM user WHERE id = ?", (user.id,)).fetchone()
        own = replace(user, stored_hash=None).password_hash
        return row[0] if row is not None and row[0] != own else None

    def _keypairs(self) -> Iterable[tuple[int, Row]]:
        for pair in self._state.keypairs.values():
            made = _sql_time(pair.created_at)
            row = (made, None, None, pair.number, pair.name, pair.user_id, pair.fingerprint, pair.public_key, 0)
            yield pair.number, row

    def _instances(self) -> Iterable[tuple[int, Row]]:
        for server in self._state.servers.values():
            gone = server.number if server.deleted else 0
            times = (_sql_time(server.created_at), _sql_time(server.updated_at), None)
            whose = (server.user_id, server.project_id, server.host, server.key_name)
            yield (
                server.number,
                (*times, server.number, server.id, server.name, *whose, server.user_data, server.vm_state, gone),
            )

    def _update(self, file: Path, table: str, rows: Iterable[tuple[Any, Row]]) -> None:
        now, before = dict(rows), self._written[table]
        changed = [(key, row) for key, row in now.items() if before.get(key) != row]
        gone = [key for key in before if key not in now]
        if not changed and not gone:
            return
        with closing(sqlite3.connect(file)) as connection, connection:
            columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
            for key, row in changed:
                if key not in before:
                    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
                    continue
                for name, value, old in zip(columns, row, before[key], strict=True):
                    if value != old:
                        connection.execute(f"UPDATE {table} SET {name} = ? WHERE id = ?", (value, key))
            connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(key,) for key in gone])
        self._written[table] = now


class _Passwords(dict[str, str]):
    """The new cloud's passwords; tells whenever one is set, even to what it was."""

    def __init__(self, values: dict[str, str], on_set: Callable[[str], None]) -> None:
        super().__init__(values)
        self._on_set = on_set

    def __setitem__(self, user_id: str, password: str) -> None:
        super().__setitem__(user_id, password)
        self._on_set(user_id)


class DestinationKeystone:
    """``new-keystone.db``: users and their hashes; replaces what the new cloud takes for a right password."""

    def __init__(self, folder: Path, identity: IdentityData) -> None:
        self._identity = identity
        self._set: set[str] = set(identity.passwords)
        self._known: set[str] = set()
        self.file = _create(folder / NEW_KEYSTONE, _KEYSTONE_30)
        identity.passwords = _Passwords(identity.passwords, self._set.add)
        identity.opens = self.opens
        self.follow()

    def follow(self) -> None:
        """Write users that are new, whose password was set, or that are gone."""
        data = self._identity
        gone = self._known - data.users.keys()
        changed = (self._set & data.users.keys()) | (data.users.keys() - self._known)
        if not gone and not changed:
            return
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for user_id in gone | changed:
                ours = "(SELECT id FROM local_user WHERE user_id = ?)"
                connection.execute(f"DELETE FROM password WHERE local_user_id = {ours}", (user_id,))
                connection.execute("DELETE FROM local_user WHERE user_id = ?", (user_id,))
                connection.execute("DELETE FROM user WHERE id = ?", (user_id,))
            for user_id in sorted(changed):
                self._insert(connection, user_id)
        self._known = set(data.users)
        self._set.clear()

    def _insert(self, connection: sqlite3.Connection, user_id: str) -> None:
        user, password = self._identity.users[user_id], self._identity.passwords.get(user_id)
        moment = _sql_time(datetime.now(UTC))
        extra = json.dumps(user["extra"])
        row = (user_id, extra, int(user["enabled"]), user.get("default_project_id"), moment, None, "default")
        connection.execute("INSERT INTO user VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        cursor = connection.execute(
            "INSERT INTO local_user (user_id, domain_id, name, failed_auth_count) VALUES (?, 'default', ?, 0)",
            (user_id, user["name"]),
        )
        if password is not None:
            made = new_hash("pbkdf2-sha512", password).value
            connection.execute(
                "INSERT INTO password (local_user_id, self_service, password_hash, created_at_int, created_at) "
                "VALUES (?, 0, ?, ?, ?)",
                (cursor.lastrowid, made, time.time_ns() // 1000, moment),
            )

    def opens(self, user_id: str, password: str) -> bool:
        """Whether a password fits the newest hash in the database.

        :raises UnreadableHash: when Keystone does not know the hash's scheme.
        """
        query = (
            "SELECT password_hash FROM password JOIN local_user ON local_user.id = local_user_id WHERE user_id = ? "
            "ORDER BY created_at_int DESC, password.id DESC LIMIT 1"
        )
        with closing(sqlite3.connect(self.file)) as connection:
            row = connection.execute(query, (user_id,)).fetchone()
        if row is None or not row[0]:
            return False
        found = PasswordHash(row[0])
        if found.ident not in READABLE:
            raise UnreadableHash(f"Unsupported password hashing algorithm ident: ${found.ident}$")
        return matches(found, password)


def _create(file: Path, schema: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {schema}")
    return file


def _sql_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
