"""Debian's ipmitool, the second opinion on BMCs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def ipmitool(port: int, user: str, password: str, *arguments: str, address: str = "127.0.0.1") -> str:
    """What ipmitool prints; an AssertionError with its words where it fails.

    Without ipmitool the test is skipped, under ``CI`` it fails.
    """
    program = shutil.which("ipmitool")
    if program is None:
        missing = "ipmitool is not installed: no second opinion on BMCs (apt-get install ipmitool)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    done = subprocess.run(
        [program, "-I", "lanplus", "-H", address, "-p", str(port), "-U", user, "-E", *arguments],
        env={**os.environ, "IPMI_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
