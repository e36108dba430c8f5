from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labsite import start_lab
from tests.steps.bench import Bench, Scene
from tests.steps.case import Case, SetUp


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One lab for all tests of steps; each test makes objects of its own in it."""
    lab = start_lab(tmp_path_factory, name="steps", scale=0.02)
    try:
        made = Bench.open(lab)
        gc.freeze()  # what is loaded by now stays: collecting is quick from here on
        yield made
        made.close()
    finally:
        lab.stop()


@pytest.fixture
def scene(bench: Bench, tmp_path: Path) -> Iterator[SetUp]:
    """Sets a case up; afterwards its servers are taken away and no law of the site was broken."""
    made: list[Scene] = []
    bench.since = time.time()

    def set_up(case: Case, *, in_place: bool = False) -> Scene:
        made.append(case.set_up(bench, tmp_path, in_place=in_place))
        return made[-1]

    yield set_up
    for one in made:
        one.journal.close()
    if any(one.died and one.step.kind == "image" for one in made):
        # the system closes a dead process's sockets; here, a download that was never begun is still open
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    bench.tidy()
    assert bench.lab.violations() == []
