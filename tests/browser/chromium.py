"""Finding Chromium and starting it."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: In a container there is often neither a sandbox nor a GPU; nothing but our own pages on loopback is visited.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
)


def find_chromium() -> str:
    """Path of the browser. Without one the test is skipped, or fails where ``CI`` says that nothing may be missing."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no Chromium: none of {', '.join(NAMES)} is on PATH (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def launch(playwright: Playwright) -> Browser:
    """Start the browser, headless."""
    # Playwright hides scrollbars by itself; people see them
    return playwright.chromium.launch(
        executable_path=find_chromium(), args=list(FLAGS), ignore_default_args=["--hide-scrollbars"]
    )
