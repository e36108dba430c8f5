"""Secrets that are planted everywhere are nowhere: not in files, rows, lines, tracebacks, logs or process arguments."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from pumphouse.errors import ApprovalMissing, PumphouseError
from pumphouse.runner import run_notebook
from pumphouse.selection import select_servers
from pumphouse.site import load_site
from tests.canaries import Canaries, open_to_others, seen_in_file, seen_in_rows, watched
from tests.flow.desk import AT_SOURCE, Desk, eventually
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
USER_DATA = "#cloud-config canary-user-data {'key': \"é/+=\"}"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\ncanary/private+key==\n-----END RSA PRIVATE KEY-----\n"
ENVIRONMENT = {
    "OS_PASSWORD": "canary env & pass'word",
    "PUMPHOUSE_BMC_PASSWORD": 'canary-bmc"/+pass',
    "AWS_SECRET_ACCESS_KEY": "canary/aws+key=",
}
#: Files that are made to hold secrets, and must be nobody else's.
KEEPERS = {"secure.yaml", "handover-secrets.yaml"}


def plant(desk: Desk, folder: Path, canaries: Canaries) -> Path:
    """A site of the lab with everything that keeps secrets."""
    for name in ("clouds.yaml", "secure.yaml"):
        shutil.copy(desk.lab.directory / name, folder / name)
    (folder / "secure.yaml").chmod(0o600)
    (folder / "databases").symlink_to(desk.lab.directory / "databases")
    document = yaml.safe_load((desk.lab.directory / "site-databases.yaml").read_text(encoding="utf-8"))
    document |= {"probe": {"kind": "tcp", "port": desk.lab.guest_port}}
    document["limits"] = {**document.get("limits", {}), "hold_s": 0}
    (folder / "site.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    canaries.add_all("secure", yaml.safe_load((folder / "secure.yaml").read_text(encoding="utf-8")))
    for name, secret in ENVIRONMENT.items():
        canaries.add(name, secret)
    canaries.add("user_data", USER_DATA)
    canaries.add("private key", PRIVATE_KEY)
    return folder / "site.yaml"


def server_with_secrets(desk: Desk, like: str) -> str:
    """A server whose user_data is a secret, and that a private key's owner may log in to."""
    data = base64.b64encode((USER_DATA + PRIVATE_KEY).encode()).decode()
    return desk.boot("old-acme-user", like, "keeper-of-secrets", user_data=data)


@pytest.fixture
def careless() -> Iterator[None]:
    """A trap: whoever makes a file and does not say who may read it lets everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("careless")
def test_no_secret_is_told_anywhere(
    desk: Desk, fleet: Iterator[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries()
    site_file = plant(desk, tmp_path, canaries)
    for name, secret in ENVIRONMENT.items():
        monkeypatch.setenv(name, secret)
    plain, broken, unapproved = islice(fleet, 3)
    keeper = server_with_secrets(desk, plain)
    said: list[str] = []
    caplog.set_level(logging.DEBUG)
    with watched(canaries) as arguments:
        with desk.run(site_file) as run:
            for cloud in (run.source, run.destination):
                for number, secret in enumerate(cloud._wire.secrets):  # type: ignore[attr-defined]
                    canaries.add(f"{cloud.name} {number}", secret)
        moved = desk.do("move", ids=[plain, keeper], site_file=site_file)
        assert (moved.error, moved.result) == (None, "succeeded")
        back = desk.do("rollback", ids=[plain, keeper], site_file=site_file)
        assert (back.error, back.result) == (None, "succeeded")
        with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", status=400, times=0):
            failed = desk.do("move", ids=[broken], site_file=site_file)
        assert failed.error is not None
        said.append("".join(traceback.format_exception(failed.error)))
        try:
            desk.do("move", ids=[unapproved], site_file=site_file, approved=False)
        except ApprovalMissing as refused:
            said.append("".join(traceback.format_exception(refused)))
        assert desk.do("rollback", ids=[broken], site_file=site_file).result == "succeeded"
        outcome = run_notebook(NOTEBOOKS / "02-check.ipynb", {"ids": [keeper]}, load_site(site_file))
        assert outcome.record is not None, outcome
        with pytest.raises(PumphouseError) as told, desk.run(site_file) as run:
            run.plan_finalise(select_servers(run.inventory().servers, ids=[unapproved]))
        said.append("".join(traceback.format_exception(told.value)))
    canaries.add_all(
        "handover", yaml.safe_load((tmp_path / "work" / "handover-secrets.yaml").read_text(encoding="utf-8")) or {}
    )
    assert len(canaries.secrets) > 10
    assert arguments == []
    for place, text in (("lines", "\n".join(desk.lines)), ("tracebacks", "\n".join(said)), ("logs", caplog.text)):
        assert canaries.seen_in(text.encode()) == [], place
    looked_at = 0
    for file in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        if file.name in KEEPERS:
            assert file.stat().st_mode & 0o077 == 0, file
            continue
        assert seen_in_file(canaries, file) == [], file
        looked_at += 1
    assert looked_at > 20
    assert seen_in_rows(canaries, tmp_path / "journal.db") == {}
    assert open_to_others(tmp_path, "journal.db", "work/plans", "work/snapshots", "work/handover-secrets.yaml") == []
    assert desk.places([plain, broken, unapproved]) == [AT_SOURCE] * 3
    ask(desk.old.compute, f"/servers/{keeper}", "DELETE")
    desk.servers.pop(keeper)
    eventually(lambda: desk.source(keeper) is None, "deletion")
    desk.conscience()


def test_the_scan_would_see_them() -> None:
    canaries = Canaries()
    canaries.add("x", "canary/S3cret +word")
    for text in (
        "a canary/S3cret +word b",
        quote("canary/S3cret +word", safe=""),
        json.dumps({"a": "canary/S3cret +word"}),
        base64.b64encode(b"admin:canary/S3cret +word:z").decode(),
        base64.b64encode(b"canary/S3cret +word").decode(),
        base64.urlsafe_b64encode(b"??canary/S3cret +word").decode(),
        b"canary/S3cret +word".hex(),
    ):
        assert canaries.seen_in(text.encode()) == ["x"], text
    assert canaries.seen_in(b"canary/other") == []
