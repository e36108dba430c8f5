from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pumphouse.journal import Journal
from tests.postgres import Postgres
from tests.postgres import running as postgres_running


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    Journal.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_running() as server:
        yield server


@pytest.fixture
def journal_url(request: pytest.FixtureRequest, tmp_path: Path, empty_journal: Path) -> str:
    """A journal of its own, copied: making tables costs a dozen waits for the disk.

    On SQLite, unless the test is parametrised with ``postgresql``.
    """
    if getattr(request, "param", "sqlite") == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.database()
    shutil.copy(empty_journal, tmp_path / "journal.db")
    return f"sqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    """An open journal that does not wait for the disk: no test cuts the power."""

    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    book = Journal.open(journal_url)
    if journal_url.startswith("sqlite"):
        sa.event.listen(book._engine, "connect", hurry)
        book._engine.dispose()
    yield book
    book.close()
