from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardware.hall import LabHall
from tests.labsite import start_lab


@pytest.fixture(scope="session")
def hardware_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHall]:
    """One lab with hardware for all tests of this folder; each uses nodes of its own."""
    lab = start_lab(tmp_path_factory, name="nodes", scale=0.02, hardware=True, content="plain")
    hall = LabHall(lab)
    hall.hurry()
    yield hall
    lab.stop()
