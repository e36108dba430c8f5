"""Connecting to the journal's database: drivers, tables, and one writer at a time whatever the database."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from pumphouse.errors import JournalError
from pumphouse.journal import schema

_CONNECT_S = 15
#: Key of PostgreSQL's advisory lock that makes writers wait for each other: any number that nobody else uses.
_WRITERS = 0x70756D70


def open_engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL, with the journal's tables made.

    :raises JournalError: when the database cannot be opened or its tables not made.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database not in (None, "", ":memory:"):
                _only_for_us(Path(str(parsed.database)))
            engine = sa.create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False})
            sa.event.listen(engine, "connect", _sqlite_pragmas)
        else:
            engine = _server_engine(parsed)
        _make_tables(engine)
    except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
        # not shown, nor as the cause: a driver quotes the URL that it could not use
        raise JournalError(
            f"Journal {safe_url(url)} cannot be opened: {type(error).__name__}.",
            remedy="check `journal` in site.yaml: the folder must be writable, or the database reachable with that "
            "user and password, and its driver installed (pip install 'pumphouse[databases]').",
        ) from None
    return engine


def _server_engine(url: URL) -> Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql":
        if "+" not in url.drivername:
            url = url.set(drivername="postgresql+psycopg")
        options["connect_args"] = {"connect_timeout": _CONNECT_S}
    engine = sa.create_engine(url, pool_pre_ping=True, **options)
    if url.get_backend_name() == "postgresql":
        sa.event.listen(engine, "connect", _postgresql_durable)
    return engine


def begin_writing(db: Connection) -> None:
    """Take the write lock from the start of a transaction.

    On SQLite two deferred transactions that both read first would deadlock; on PostgreSQL two that both found no
    claim would both insert theirs, and events would not be numbered in the order of their commits.
    """
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE")
    elif db.dialect.name == "postgresql":
        db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})


def now_of(db: Connection) -> float:
    """Unix seconds by the clock that all who share the journal have in common: the database server's, if it has one."""
    if db.dialect.name == "postgresql":
        return float(db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def safe_url(url: str) -> str:
    """A URL as it may be shown: without password, and without a query, which may hold one too."""
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return "(unreadable URL)"


def _make_tables(engine: Engine) -> None:
    if set(schema.metadata.tables) <= set(sa.inspect(engine).get_table_names()):
        return
    with engine.connect() as db:
        # two processes that open a new journal at once must not both find its tables missing
        begin_writing(db)
        schema.metadata.create_all(db)
        db.commit()


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where begin_writing says so
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: an intent must survive power loss before the call that it announces leaves
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _postgresql_durable(connection: Any, _record: Any) -> None:
    # a server that is set to answer before it wrote would forget intents whose calls have left, should it crash
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()


def _only_for_us(file: Path) -> None:
    """Servers' metadata is in plans, and may hold what nobody else should read.

    Before SQLite opens it: the files that it lays beside it get the rights that this one has then.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    if file.stat().st_uid == os.geteuid():
        file.chmod(0o600)
