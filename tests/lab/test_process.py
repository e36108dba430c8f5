"""A lab comes up, says so, goes down, and never touches a process that is not its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pumphouse.errors import PumphouseError
from pumphouse.lab import process
from pumphouse.lab.cli import lab_group
from pumphouse.lab.server import LabOptions
from pumphouse.site import load_site
from tests.lab.conftest import Wait
from tests.labsite import LabSite


def test_up_status_down(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    runner = CliRunner()
    done = runner.invoke(lab_group, ["up", "--dir", str(directory), "--scale", "0.05", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    try:
        assert facts["running"]
        again = runner.invoke(lab_group, ["up", "--dir", str(directory)])
        assert "was running already" in again.output
        assert process.status(directory).facts["pid"] == facts["facts"]["pid"]
        shown = runner.invoke(lab_group, ["status", "--dir", str(directory)])
        assert shown.exit_code == 0
        assert facts["facts"]["source_auth_url"] in shown.output
    finally:
        done = runner.invoke(lab_group, ["down", "--dir", str(directory)])
    assert "is stopped" in done.output
    assert not process.status(directory).running
    assert process.start_stamp(facts["facts"]["pid"]) is None
    assert not (directory / "lab-data").exists()
    assert runner.invoke(lab_group, ["status", "--dir", str(directory)]).exit_code == 1
    assert "No lab was running" in runner.invoke(lab_group, ["down", "--dir", str(directory)]).output


def test_a_lab_goes_with_its_owner(tmp_path: Path, until: Wait) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    info = process.up(tmp_path, LabOptions(scale=0.05, owner_pid=owner.pid))
    assert info.running
    owner.communicate(b"\n")
    until(lambda: not process.status(tmp_path).running)
    assert not (tmp_path / "lab.json").exists()


def test_an_earlier_labs_journal_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("of clouds that are gone")
    (tmp_path / "records").mkdir()
    try:
        process.up(tmp_path, LabOptions(scale=0.05, owner_pid=os.getpid()))
        assert not (tmp_path / "journal.db").exists()
        (folder,) = (tmp_path / "earlier").iterdir()
        assert {p.name for p in folder.iterdir()} == {"journal.db", "records"}
    finally:
        process.down(tmp_path)


def test_down_leaves_a_reused_process_id_alone(tmp_path: Path) -> None:
    facts = {"pid": os.getpid(), "process_start": "another time"}
    (tmp_path / "lab.json").write_text(json.dumps(facts))
    assert not process.status(tmp_path).running
    process.down(tmp_path)
    assert not (tmp_path / "lab.json").exists()


def test_a_lab_that_dies_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PumphouseError, match="did not come up") as error:
        process.up(tmp_path, LabOptions(release="folsom"))
    assert "folsom" in str(error.value)
    assert "lab.log" in str(error.value)


def test_a_broken_lab_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(PumphouseError, match=r"lab\.json"):
        process.status(tmp_path)
    done = CliRunner().invoke(lab_group, ["status", "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "lab.json" in done.output


def test_site_files_are_what_pumphouse_reads(lab: LabSite) -> None:
    site = load_site(lab.site_file)
    assert (site.source_cloud, site.destination_cloud) == ("old", "new")
    assert site.owners["acme-user"] == "old-acme-user"
    assert site.probe.port == lab.guest_port
    clouds = yaml.safe_load(lab.clouds_file.read_text())["clouds"]
    assert set(site.owners.values()) <= set(clouds)
    assert {"old", "new"} <= set(clouds)


def test_secrets_are_in_private_files_only(lab: LabSite) -> None:
    secure = yaml.safe_load((lab.directory / "secure.yaml").read_text())["clouds"]
    secrets = [entry["auth"]["password"] for entry in secure.values()]
    secrets.append((lab.directory / "control.token").read_text().strip())
    for path in lab.directory.iterdir():
        if not path.is_file():
            continue
        if path.name in ("secure.yaml", "control.token"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        else:
            text = path.read_text()
            assert not [s for s in secrets if s in text], path


def test_two_labs_have_different_addresses(lab: LabSite, small_pages: LabSite) -> None:
    assert lab.facts["fixed_cidr"] != small_pages.facts["fixed_cidr"]
    assert lab.facts["floating_cidr"] != small_pages.facts["floating_cidr"]


def test_control_port_wants_its_token(lab: LabSite) -> None:
    import requests

    assert requests.get(lab.facts["control_url"] + "/state", timeout=5).status_code == 401


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_every_command_has_an_example(command: str) -> None:
    done = CliRunner().invoke(lab_group, [command, "--help"])
    assert "Example:" in done.output
    assert f"pumphouse lab {command}" in done.output


def test_what_the_lab_does_not_answer_is_listed() -> None:
    runner = CliRunner()
    shown = runner.invoke(lab_group, ["gaps"])
    listed = json.loads(runner.invoke(lab_group, ["gaps", "--json"]).output)
    assert set(listed) == {"keystone", "glance", "nova", "fuel"}
    assert all(line in shown.output for lines in listed.values() for line in lines)
