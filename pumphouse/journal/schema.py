"""Tables of the journal (SQLAlchemy Core)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Float, Integer, MetaData, String, Table, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python, naive UTC in the database (SQLite keeps no zone)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("parent_id", String(64)),
    Column("notebook", Text, nullable=False),
    Column("template_digest", String(64), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("operator", Text, nullable=False),
    Column("record", Text),
    Column("state", String(16), nullable=False),
    Column("result", String(32)),
    Column("detail", Text, nullable=False, default=""),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)

plans = Table(
    "plans",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("selection_digest", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),  # a PlanState
    Column("document", JSON, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("plan_hash", String(64), nullable=False, index=True),
    Column("step_key", Text, nullable=False, index=True),
    Column("event", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("data", JSON, nullable=False),
)

mappings = Table(
    "mappings",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("destination_id", Text, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("holder", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
    UniqueConstraint("object_key"),
)
