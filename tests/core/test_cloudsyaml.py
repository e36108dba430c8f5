"""Entries of clouds.yaml and secure.yaml: written beside what stands there, secrets in the private file only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from pumphouse.cloudsyaml import find_entry, remove_entry, write_entry
from pumphouse.errors import SiteError

CLOUDS = """# our clouds, kept by ops
clouds:
  old:   # the one of 2014
    auth: {auth_url: "http://old:5000/v2.0", username: 'admin'}
    region_name: RegionOne
"""
ENTRY = {"auth": {"auth_url": "http://new:5000", "username": "admin"}}
SECRET = {"auth": {"password": "s3cret"}}


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    secure = tmp_path / "secure.yaml"
    secure.write_text("clouds: {old: {auth: {password: old-one}}}\nnodes: {bmc-1: {password: x}}\n")
    secure.chmod(0o644)
    return file


def test_all_that_stands_there_stays(clouds: Path) -> None:
    write_entry(clouds, "new", ENTRY, SECRET)
    text = clouds.read_text()
    assert text.startswith(CLOUDS)
    assert "s3cret" not in text
    secure = yaml.safe_load((clouds.parent / "secure.yaml").read_text())
    assert secure == {
        "clouds": {"old": {"auth": {"password": "old-one"}}, "new": SECRET},
        "nodes": {"bmc-1": {"password": "x"}},
    }
    assert stat.S_IMODE((clouds.parent / "secure.yaml").stat().st_mode) == 0o600
    assert find_entry(clouds, "new") == (ENTRY, SECRET)


def test_removed_again_it_is_as_it_was(clouds: Path) -> None:
    before = yaml.safe_load((clouds.parent / "secure.yaml").read_text())
    write_entry(clouds, "new", ENTRY, SECRET)
    assert remove_entry(clouds, "new") is True
    assert clouds.read_text() == CLOUDS
    assert yaml.safe_load((clouds.parent / "secure.yaml").read_text()) == before
    assert remove_entry(clouds, "new") is False


def test_files_that_are_not_there_are_made(tmp_path: Path) -> None:
    write_entry(tmp_path / "clouds.yaml", "new", ENTRY, SECRET)
    assert yaml.safe_load((tmp_path / "clouds.yaml").read_text()) == {"clouds": {"new": ENTRY}}
    assert stat.S_IMODE((tmp_path / "secure.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["clouds: [", "clouds: [1]\n", "- hunter2\n", "\x00hunter2"])
def test_a_file_that_is_none_is_left_alone(clouds: Path, text: str) -> None:
    (clouds.parent / "secure.yaml").write_text(text)
    with pytest.raises(SiteError) as caught:
        write_entry(clouds, "new", ENTRY, SECRET)
    assert "hunter2" not in str(caught.value)
    assert (clouds.read_text(), (clouds.parent / "secure.yaml").read_text()) == (CLOUDS, text)
