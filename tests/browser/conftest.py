"""A browser, a fast lab and a JupyterLab on it for each module that asks: what takes seconds happens once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pumphouse.lab.jupyter import prepare
from tests.browser.chromium import find_chromium, launch
from tests.browser.jupyterlab import JupyterLab, jupyterlab
from tests.labsite import LabSite, start_lab

SCREENSHOTS_VARIABLE = "PUMPHOUSE_SCREENSHOTS"
Shoot = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    find_chromium()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        expect.set_options(timeout=30_000)  # Playwright's own 5 s are too few where others work on the machine, too
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A fast lab of this module's own: its servers are moved."""
    site = start_lab(tmp_path_factory, name="browser")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def jupyter(lab: LabSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """JupyterLab on the lab's work folder, laid out as `make lab` does it."""
    work, environment = prepare(lab.directory)
    with jupyterlab(work, environment, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def new_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Opens windows of a common laptop's size."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(30_000)
    yield context.new_page
    context.close()


@pytest.fixture(scope="module")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Shoot:
    """Keep a picture of a page, in the test's folder and in the one that ``PUMPHOUSE_SCREENSHOTS`` names."""
    folders = [tmp_path_factory.mktemp("screenshots")]
    if asked := os.environ.get(SCREENSHOTS_VARIABLE):
        folders.append(Path(asked))

    def take(page: Page, name: str) -> None:
        picture = page.screenshot()
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(picture)

    return take
