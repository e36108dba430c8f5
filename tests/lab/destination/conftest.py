"""Fixtures of the simulated destination's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Running, running
from .stage import Stage, prepare


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One destination for a module's tests."""
    yield from running(tmp_path_factory.mktemp("destination"))


@pytest.fixture
def fresh_lab(tmp_path: Path) -> Iterator[Running]:
    """A destination of one's own."""
    yield from running(tmp_path)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A destination of one's own with a project that is ready to boot a server."""
    for lab in running(tmp_path):
        yield prepare(lab)
