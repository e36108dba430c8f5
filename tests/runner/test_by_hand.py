"""Runs that a person begins: each leaves its line in the manifest, whatever comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pumphouse.cli.main import main
from pumphouse.records.archive import FolderArchive
from pumphouse.records.verify import verify_archive
from tests.runner.making import make_site


@pytest.mark.parametrize("command", ["check", "inventory"])
def test_a_cloud_that_cannot_be_reached_leaves_a_line(tmp_path: Path, command: str) -> None:
    site = make_site(tmp_path / "site")
    done = CliRunner().invoke(main, [command, "--site", str(site.path)])
    assert done.exit_code != 0
    archive = FolderArchive(site.records_dir)
    (entry,) = archive.entries()
    assert (entry.notebook, entry.result) == (f"pumphouse {command}", "failed")
    assert entry.detail
    assert verify_archive(archive).problems == ()
