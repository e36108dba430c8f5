from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases.people import People
from tests.labsite import LabSite, start_lab


@pytest.fixture(scope="session")
def lab_with_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab whose databases the tests write into."""
    lab = start_lab(tmp_path_factory, name="databases", scale=0.02)
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def people(lab_with_databases: LabSite) -> Iterator[People]:
    """Both clouds and their databases, and source users to carry."""
    made = People.open(lab_with_databases)
    yield made
    made.close()
