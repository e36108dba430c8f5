"""What the runs of this tier left behind: the truth, all of it, and no secret."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.records import open_archive, verify_archive

from .operate import APPROVER, OPERATOR, Done, Site
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
#: A Fernet token of a current Keystone, and any header or key that would carry a token.
_TOKENS = re.compile(rb"gAAAAA[\w-]{40,}|X-(?:Auth|Subject)-Token['\"]?: ['\"]?[\w-]{16,}", re.IGNORECASE)


@pytest.fixture(scope="module")
def runs(site: Site) -> list[Done]:
    """Every `pumphouse run` that was typed."""
    typed = [done for done in site.typed if done.command[0] == "run"]
    if not typed:
        pytest.fail("this file looks at what the other files' runs left: run it together with test_move.py")
    return typed


@pytest.fixture(scope="module")
def manifest(site: Site) -> list[dict[str, Any]]:
    lines = (site.folder / "records/MANIFEST.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_run_is_in_the_manifest_with_its_result(runs: list[Done], manifest: list[dict[str, Any]]) -> None:
    told = []
    for done in runs:
        told += [(step["run_id"], step["result"]) for step in done.outcome["steps"]]
        told.append((done.outcome["run_id"], done.outcome["result"]))
    # commands like `pumphouse inventory` leave a line too
    headless = [line for line in manifest if not line["notebook"].startswith("pumphouse ")]
    assert [(line["run_id"], line["result"]) for line in headless] == told
    assert {line["result"] for line in headless} >= {"refused", "succeeded", "nothing-to-do"}
    assert {line["operator"] for line in headless} == {OPERATOR}


def test_the_manifest_is_a_chain_over_the_records(runs: list[Done], site: Site, manifest: list[dict[str, Any]]) -> None:
    folder = site.folder / "records"
    previous = "0" * 64
    for line, raw in zip(manifest, (folder / "MANIFEST.jsonl").read_bytes().splitlines(), strict=True):
        assert line["previous"] == previous
        previous = hashlib.sha256(raw).hexdigest()
        if line["record"]:
            assert hashlib.sha256((folder / line["record"]).read_bytes()).hexdigest() == line["sha256"]
    assert {line["record"] for line in manifest if line["record"]} == {file.name for file in folder.glob("*.ipynb")}
    assert verify_archive(open_archive(folder)).problems == ()


def test_every_record_says_the_same(runs: list[Done], site: Site, manifest: list[dict[str, Any]]) -> None:
    for line in manifest:
        if line["record"] is None:
            assert line["notebook"].endswith(".yaml")
            continue
        record = json.loads((site.folder / "records" / line["record"]).read_text(encoding="utf-8"))
        sheet = record["metadata"]["pumphouse"]
        assert (sheet["run_id"], sheet["result"]) == (line["run_id"], line["result"])


def test_nothing_was_changed_without_the_approval_of_another_person(runs: list[Done], site: Site) -> None:
    with contextlib.closing(sqlite3.connect(site.folder / "journal.db")) as journal:
        results = dict(journal.execute("SELECT id, result FROM runs"))
        events = journal.execute("SELECT run_id, plan_hash, event, data FROM events ORDER BY id").fetchall()
    told = {step["run_id"]: step["result"] for done in runs for step in done.outcome["steps"] or [done.outcome]}
    assert {run_id: results[run_id] for run_id in told} == told
    approved: set[tuple[str, str]] = set()
    changed: set[str] = set()
    for run_id, plan_hash, event, data in events:
        if event == "approved":
            approval = json.loads(data)
            assert (approval["approved_by"], approval["operator"]) == (APPROVER, OPERATOR)
            approved.add((run_id, plan_hash))
        elif event == "intent":
            assert (run_id, plan_hash) in approved
            changed.add(run_id)
    assert changed == {run_id for run_id, _ in approved} - {r for r, result in told.items() if result != "succeeded"}
    assert changed


def test_no_secret_is_anywhere_but_in_the_hand_over_file(runs: list[Done], clouds: Clouds, site: Site) -> None:
    hand_over = site.folder / "work/handover-secrets.yaml"
    assert stat.S_IMODE(hand_over.stat().st_mode) == 0o600
    new = yaml.safe_load(hand_over.read_text(encoding="utf-8"))
    assert {"acme-user", "acme-ops"} <= new.keys()
    secure = yaml.safe_load(clouds.home.secure_yaml.read_text(encoding="utf-8"))["clouds"]
    secrets = {entry["auth"]["password"] for entry in secure.values()}
    secrets |= {user["password"] for user in clouds.facts["users"].values()}
    secrets |= {entry["password"] for entry in new.values()}
    assert len(secrets) >= 5
    seen = 0
    for file in _files(site.folder):
        if file == hand_over:
            continue
        seen += 1
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], file
        assert not _TOKENS.search(content), file
    assert seen > len(runs)
    for done in site.typed:
        assert not [secret for secret in secrets if secret in done.said], done.command


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
