from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumphouse.journal import Journal


@pytest.fixture
def journal_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    book = Journal.open(journal_url)
    yield book
    book.close()
