"""Probing by ping, for real: guests that answer echo requests only while they live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.flow.desk import AT_SOURCE, MOVED
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
UNSHARE = ("unshare", "--net", "--map-root-user", "--fork", "--kill-child")


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """The words that run a command in a network namespace of its own, as its root."""
    missing = [name for name in ("unshare", "ping") if shutil.which(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not installed (Debian's packages `util-linux`, `iputils-ping`)"
    else:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, timeout=20, check=False)
        if tried.returncode == 0:
            return UNSHARE
        why = f"this user may not make a network namespace: {tried.stderr.strip()}"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(f"no ping of guests: {why}")


def test_servers_are_probed_by_ping(namespace: tuple[str, ...], tmp_path: Path) -> None:
    command = [*namespace, sys.executable, "-W", "ignore", "-m", "tests.flow.pinging", str(tmp_path / "lab")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts: dict[str, Any] = json.loads(done.stdout.partition("FACTS ")[2])
    assert (facts["unusable"], facts["nobody"], facts["guest"]) == ("", False, True)
    # the copy of the first one never answered: it went back, the others moved and were measured
    places = [{**asdict(place), "copies": list(place.copies)} for place in (AT_SOURCE, MOVED, MOVED)]
    assert facts["places"] == places, facts["error"]
    assert "does not answer after 1.5 s, as it did at the source" in facts["error"]
    assert "was put back" in facts["error"]
    assert facts["answers"] == [True, True]
    assert all(0 < downtime_s < 60 for downtime_s in facts["downtimes"])
    result, echoes = facts["by selection"]
    assert (result, facts["probe"]) == ("succeeded", {"kind": "ping"})
    assert echoes >= 2  # before the stop and after the boot
    assert facts["finalised"] == "succeeded"
    assert facts["violations"] == []
