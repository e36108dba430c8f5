"""The sweep itself is `make sweep`; here it must be able to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep import canon

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_sound_step_survives_a_kill_and_a_broken_one_is_found() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.sweep.smoke"], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["sound"] == []
    assert any("too much in destination groups" in line for line in found["broken"]), found["broken"]
    assert all(line.startswith("killed [again] ") for line in found["broken"])


A, B = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
C, D = "00000000-0000-0000-0000-00000000000c", "00000000-0000-0000-0000-00000000000d"


def normal(*rows: object) -> dict[str, list[str]]:
    return canon.normal([("things", row) for row in rows], known=frozenset(), macs=frozenset())


def test_worlds_that_differ_in_generated_ids_and_times_are_the_same() -> None:
    one = normal([A, {"name": "x", "at": "2026-01-02T03:04:05Z"}], [B, {"name": "y", "of": A}])
    other = normal([D, {"name": "y", "of": C}], [C, {"name": "x", "at": "2027-01-02T03:04:05Z"}])
    assert canon.differences(one, other) == []


def test_the_order_of_ids_in_a_list_does_not_matter() -> None:
    one = normal([A, {"name": "x"}], [B, {"name": "y"}], [C, {"both": [A, B]}])
    other = normal([B, {"name": "x"}], [A, {"name": "y"}], [C, {"both": [A, B]}])
    assert canon.differences(one, other) == []


@pytest.mark.parametrize(
    "rows",
    [
        ([A, {"name": "x"}], [B, {"name": "y", "of": B}]),  # hangs on something else
        ([A, {"name": "x"}],),  # one is lost
        ([A, {"name": "x"}], [B, {"name": "y", "of": A}], [C, {"name": "y", "of": A}]),  # one is there twice
        ([A, {"name": "z"}], [B, {"name": "y", "of": A}]),  # a value
    ],
)
def test_worlds_that_differ_in_anything_else_are_not(rows: tuple[object, ...]) -> None:
    want = normal([A, {"name": "x"}], [B, {"name": "y", "of": A}])
    assert canon.differences(want, normal(*rows))
    assert canon.differences(want, want) == []
