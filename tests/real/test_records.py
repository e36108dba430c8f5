"""What the runs of this tier left behind: the truth, all of it, and no secret."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert [(line["run_id"], line["result"]) for line in manifest] == told
    assert {line["result"] for line in manifest} >= {"refused", "succeeded", "nothing-to-do"}
    assert {line["operator"] for line in manifest} == {OPERATOR}


def test_the_manifest_is_a_chain_over_the_records(runs: list[Done], site: Site, manifest: list[dict[str, Any]]) -> None:
    folder = site.folder / "records"
    previous = "0" * 64
    for line, raw in zip(manifest, (folder / "MANIFEST.jsonl").read_bytes().splitlines(), strict=True):
        assert line["previous"] == previous
        previous = hashlib.sha256(raw).hexdigest()
        if line["record"]:
            assert hashlib.sha256((folder / line["record"]).read_bytes()).hexdigest() == line["sha256"]
    assert {line["record"] for line in manifest if line["record"]} == {file.name for file in folder.glob("*.ipynb")}


def test_every_record_says_the_same(runs: list[Done], site: Site, manifest: list[dict[str, Any]]) -> None:
    for line in manifest:
        if line["record"] is None:
            assert line["notebook"].endswith(".yaml")
            continue
        record = json.loads((site.folder / "records" / line["record"]).read_text(encoding="utf-8"))
        sheet = record["metadata"]["pumphouse"]
        assert (sheet["run_id"], sheet["result"]) == (line["run_id"], line["result"])


def test_approvals_are_journalled_with_both_names(runs: list[Done], site: Site) -> None:
    for done in runs:
        for step in done.outcome["steps"] or [done.outcome]:
            shown = site.pumphouse("journal", step["run_id"], "--json").outcome
            approvals = [event["data"] for event in shown["events"] if event["event"] == "approved"]
            changed = [event for event in shown["events"] if event["event"] in ("intent", "undo-intent")]
            assert shown["run"]["result"] == step["result"]
            if changed:
                assert approvals, step
                assert {(a["approved_by"], a["operator"]) for a in approvals} == {(APPROVER, OPERATOR)}
            if step["result"] == "refused":
                assert not changed, step


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
