"""One SQL database of a cloud: opened for each question, closed after it, its errors told without its values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from pumphouse.errors import DatabaseError

if TYPE_CHECKING:
    from pumphouse.site import DatabaseRef

#: Drivers that the extra ``databases`` brings, for URLs that name none.
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 30


class Database:
    """A database by its reference in ``site.yaml``; nothing is opened before the first question.

    :param password: from where the reference says, or None.
    :raises DatabaseError: when there is no driver for its kind.
    """

    def __init__(self, ref: DatabaseRef, password: str | None = None) -> None:
        self.ref = ref
        url = make_url(ref.url)
        self._shown = url.render_as_string(hide_password=True)
        if "+" not in url.drivername:
            url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        if password is not None:
            url = url.set(password=password)
        try:
            self._engine: Engine = sa.create_engine(
                url, poolclass=sa.NullPool, connect_args=_connect_args(url), hide_parameters=True
            )
        except (ImportError, SQLAlchemyError) as error:
            raise DatabaseError(
                f"Database {self} cannot be opened: no usable driver for {url.drivername} ({type(error).__name__}).",
                remedy="install pumphouse with its extra `databases`, or correct the URL in site.yaml.",
            ) from None

    def __str__(self) -> str:
        return f"{self.ref.key} ({self._shown})"

    def columns(self, *tables: str) -> dict[str, frozenset[str]]:
        """Names of the columns of those of these tables that exist (read only).

        :raises DatabaseError: when the database cannot be asked.
        """
        with self._connected("read") as connection:
            inspector = sa.inspect(connection)
            return {
                table: frozenset(column["name"] for column in inspector.get_columns(table))
                for table in tables
                if inspector.has_table(table)
            }

    def read(self, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Rows of a query (read only).

        :raises DatabaseError: when the database cannot be asked.
        """
        with self._connected("read") as connection:
            return connection.execute(statement).all()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        :raises DatabaseError: when the database refuses.
        """
        with self._connected("written") as connection, connection.begin():
            yield connection

    @contextmanager
    def _connected(self, what: str) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            # neither its text nor itself as the cause: both quote values and statements
            cause = getattr(error, "orig", None)
            number = next((str(arg) for arg in getattr(cause, "args", ()) if isinstance(arg, int)), "")
            state = getattr(cause, "sqlstate", None) or number
            told = f"{type(cause or error).__name__}{f' {state}' if state else ''}"
            raise DatabaseError(
                f"Database {self} cannot be {what}: {told}.",
                remedy="check address, user, password and rights of that entry of site.yaml; then run again.",
            ) from None


def _connect_args(url: URL) -> dict[str, Any]:
    kind = url.get_backend_name()
    if kind == "sqlite":
        return {"timeout": STATEMENT_TIMEOUT_S, "check_same_thread": False}
    if kind == "postgresql":
        return {"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}"}
    if url.drivername.endswith("pymysql"):
        return {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": STATEMENT_TIMEOUT_S,
            "write_timeout": STATEMENT_TIMEOUT_S,
        }
    return {}
