"""Nova's database: everybody's keypairs, and ``user_data``, which no API of 2014 shows.

``key_pairs`` is in Nova's own database until Mitaka and in the API database (``nova_api``) since Newton; ``instances``
is always in the former. Deleted rows have ``deleted`` set to their id.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pumphouse.databases.engine import Database
from pumphouse.errors import DatabaseError
from pumphouse.model import Keypair

#: How many ids are asked for at once.
_AT_ONCE = 500


class NovaDatabase:
    """Nova's database, and the API database where there is one."""

    def __init__(self, database: Database, api: Database | None = None) -> None:
        self._database, self._api = database, api

    def __str__(self) -> str:
        return str(self._database)

    def keypairs(self) -> list[Keypair]:
        """Every user's keypairs (read only).

        :raises DatabaseError: when a database cannot be read or is not Nova's.
        """
        found: dict[tuple[str, str], Keypair] = {}
        tables = 0
        for database in filter(None, (self._database, self._api)):
            columns = database.columns("key_pairs").get("key_pairs")
            if columns is None:
                continue
            tables += 1
            table = sa.table("key_pairs", *(sa.column(name) for name in sorted(columns)))
            query = sa.select(table)
            if "deleted" in columns:
                query = query.where(table.c.deleted == 0)
            for row in database.read(query):
                held = row._mapping
                if held["user_id"] and held["public_key"]:
                    found[held["user_id"], held["name"]] = Keypair(
                        user_id=held["user_id"],
                        name=held["name"],
                        public_key=held["public_key"],
                        fingerprint=held["fingerprint"] or "",
                        type=held.get("type") or "ssh",
                    )
        if not tables:
            raise self._not_novas("key_pairs")
        return sorted(found.values(), key=lambda keypair: (keypair.user_id, keypair.name))

    def user_data(self, server_ids: Iterable[str]) -> dict[str, str]:
        """Server id to its ``user_data`` (base64, as Nova keeps it), of those that have some (read only).

        :raises DatabaseError: when the database cannot be read or is not Nova's.
        """
        columns = self._database.columns("instances").get("instances", frozenset())
        if not {"uuid", "user_data", "deleted"} <= columns:
            raise self._not_novas("instances")
        table = sa.table("instances", sa.column("uuid"), sa.column("user_data"), sa.column("deleted"))
        wanted, found = sorted(set(server_ids)), {}
        for start in range(0, len(wanted), _AT_ONCE):
            query = sa.select(table.c.uuid, table.c.user_data).where(
                table.c.uuid.in_(wanted[start : start + _AT_ONCE]), table.c.deleted == 0, table.c.user_data.is_not(None)
            )
            found.update({str(row.uuid): str(row.user_data) for row in self._database.read(query) if row.user_data})
        return found

    def _not_novas(self, table: str) -> DatabaseError:
        return DatabaseError(
            f"Database {self} is no Nova's: it has no table `{table}` of Nova's shape.",
            remedy="correct the URL in site.yaml: `nova` is the database with `instances`, `nova_api` (since Newton) "
            "the one with `key_pairs`.",
        )
