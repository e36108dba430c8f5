"""An image is copied in bounded memory, whatever its size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmarks.loopback import COPY_ID, SOURCE_ID, LoopbackGlance
from tests.benchmarks.meter import MIB
from tests.clouds.conftest import entry, write_clouds

BOUND_MIB = 150
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the peak, in /proc")


@contextmanager
def glance(size_mib: int) -> Iterator[LoopbackGlance]:
    """Source and destination in one."""
    server = LoopbackGlance(size_mib * MIB)
    try:
        yield server
    finally:
        server.stop()


def growth_mib(how: str, size_mib: int, folder: Path) -> float:
    """MiB over the base that a process needs to copy an image of that size."""
    with glance(size_mib) as server:
        clouds = write_clouds(folder, entry(server.url))
        command = [sys.executable, "-m", "tests.benchmarks.copier", how, str(clouds), "stub", "stub", SOURCE_ID]
        done = subprocess.run([*command, COPY_ID], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["growth_bytes"]) / MIB


def test_a_large_image_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    assert growth_mib("stream", 320, tmp_path) < BOUND_MIB


def test_the_meter_tells_a_copier_that_hoards(tmp_path: Path) -> None:
    assert growth_mib("hoard", 64, tmp_path) > 64
