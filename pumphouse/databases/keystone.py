"""Keystone's database: the password hashes of local users.

Two shapes are known. Until Mitaka a user's hash is in ``user.password``; since Newton in ``password``, one row for each
password that the user of ``local_user`` ever had, the newest counting (columns ``password`` until Ocata, both in Pike,
``password_hash`` alone later). Users of LDAP or of a federation have no hash in either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pumphouse.databases.engine import Database
from pumphouse.databases.hashes import PasswordHash
from pumphouse.errors import DatabaseError


@dataclass(frozen=True)
class _Row:
    """Where a user's present hash is: table, key of the row, and the columns that hold it."""

    table: str
    key: str | int
    columns: tuple[str, ...]
    value: PasswordHash | None


class KeystoneDatabase:
    """The hashes in one Keystone's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __str__(self) -> str:
        return str(self._database)

    @cached_property
    def _columns(self) -> dict[str, frozenset[str]]:
        found = self._database.columns("user", "local_user", "password")
        if "user" not in found or not ("password" in found["user"] or {"local_user", "password"} <= found.keys()):
            raise DatabaseError(
                f"Database {self} is no Keystone's: it has no table `user` with passwords, nor one beside it.",
                remedy="correct the URL in site.yaml: it must name Keystone's own database.",
            )
        return found

    def hashes(self) -> dict[str, PasswordHash | None]:
        """User id to present hash of every local user; None for one without password (read only).

        :raises DatabaseError: when the database cannot be read or is no Keystone's.
        """
        with_rows = self._rows(None)
        return {user_id: row.value for user_id, row in with_rows.items()}

    def hash_of(self, user_id: str) -> PasswordHash | None:
        """The present hash of one user; None when it has none here (read only).

        :raises DatabaseError: when the database cannot be read.
        """
        row = self._rows(user_id).get(user_id)
        return row.value if row is not None else None

    def replace_hash(self, user_id: str, new: PasswordHash, *, instead_of: str) -> None:
        """Write another hash over a user's present one (changes that Keystone).

        :param instead_of: digest that the present hash must have: another one is somebody else's doing.
        :raises DatabaseError: when it is another, when the user has no password here, or when writing fails.
        """
        shape = self._columns
        with self._database.writing() as connection:
            row = self._rows(user_id, connection).get(user_id)
            if row is None or row.value is None:
                raise DatabaseError(
                    f"User {user_id} has no password of its own in database {self}.",
                    remedy="set one through the API: only a local user's hash can be replaced.",
                )
            if row.value.digest != instead_of:
                raise DatabaseError(
                    f"The password of user {user_id} in database {self} was changed by somebody else: its digest is "
                    f"{row.value.digest}, not {instead_of}.",
                    remedy="nothing was written. Ask its owner; then make the plan again.",
                )
            table = sa.table(row.table, sa.column("id"), *(sa.column(name) for name in shape[row.table]))
            written = connection.execute(
                sa.update(table).where(table.c.id == row.key).values(dict.fromkeys(row.columns, new.value))
            )
            if written.rowcount != 1:
                raise DatabaseError(
                    f"The password of user {user_id} in database {self} could not be replaced: "
                    f"{written.rowcount} rows would change.",
                    remedy="nothing was written; look at that user's rows.",
                )

    def _rows(self, user_id: str | None, connection: Connection | None = None) -> dict[str, _Row]:
        shape = self._columns
        if "password" in shape["user"]:
            return self._old_rows(user_id, connection)
        user = sa.table("local_user", sa.column("id"), sa.column("user_id"))
        columns = shape["password"]
        password = sa.table("password", *(sa.column(name) for name in columns))
        hashes = tuple(name for name in ("password_hash", "password") if name in columns)
        ages = [password.c[name] for name in ("created_at_int", "created_at") if name in columns][:1]
        query = (
            sa.select(user.c.user_id, password)
            .select_from(user.join(password, password.c.local_user_id == user.c.id))
            .order_by(user.c.user_id, *ages, password.c.id)
        )
        if user_id is not None:
            query = query.where(user.c.user_id == user_id)
        found: dict[str, _Row] = {}
        for row in self._all(query, connection):
            held = row._mapping
            filled = tuple(name for name in hashes if held[name])
            value = PasswordHash(held[filled[0]]) if filled else None
            # the newest comes last and stays
            found[held["user_id"]] = _Row("password", held["id"], filled or hashes[:1], value)
        return found

    def _old_rows(self, user_id: str | None, connection: Connection | None) -> dict[str, _Row]:
        user = sa.table("user", sa.column("id"), sa.column("password"))
        query = sa.select(user.c.id, user.c.password)
        if user_id is not None:
            query = query.where(user.c.id == user_id)
        return {
            row.id: _Row("user", row.id, ("password",), PasswordHash(row.password) if row.password else None)
            for row in self._all(query, connection)
        }

    def _all(
        self, query: sa.Select[tuple[object, ...]], connection: Connection | None
    ) -> list[sa.Row[tuple[object, ...]]]:
        if connection is None:
            return list(self._database.read(query))
        return list(connection.execute(query.with_for_update()).all())
