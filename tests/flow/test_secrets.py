"""Secrets that are planted everywhere are nowhere: not in files, rows, lines, tracebacks, logs or process arguments."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import shutil
import sqlite3
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml

from pumphouse.errors import ApprovalMissing, PumphouseError
from pumphouse.runner import run_notebook
from pumphouse.selection import select_servers
from pumphouse.site import load_site
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


def forms(secret: str) -> set[bytes]:
    """A secret as programs write it: as it is, in base64 at any offset, quoted, escaped."""
    raw = secret.encode()
    texts = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        raw.hex(),
    }
    found = {text.encode() for text in texts}
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + raw).decode().rstrip("=")
        # the first and last characters depend on the neighbours
        core = encoded[4 if offset else 0 : -2]
        found |= {core.encode(), core.replace("+", "-").replace("/", "_").encode()}
    return {form for form in found if len(form) >= 8}


class Canaries:
    """The secrets of a site, and where one of them was seen."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def add(self, name: str, secret: str) -> None:
        """One more."""
        if len(secret) >= 6:
            self.secrets[name] = secret

    def add_all(self, name: str, document: Any) -> None:
        """Whatever stands in a file of secrets under a secret's name."""
        if isinstance(document, dict):
            for key, value in document.items():
                if isinstance(value, str) and key in ("password", "token", "secret"):
                    self.add(f"{name}.{key}", value)
                self.add_all(f"{name}.{key}", value)

    def seen_in(self, data: bytes) -> list[str]:
        """Names of those that stand in some bytes."""
        return [name for name, secret in self.secrets.items() if any(form in data for form in forms(secret))]


@contextmanager
def watched_arguments(canaries: Canaries) -> Iterator[list[str]]:
    """Looks at the arguments of all processes again and again while the block runs."""
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            known = {name: forms(secret) for name, secret in dict(canaries.secrets).items()}
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = place.read_bytes()
                except OSError:
                    continue
                seen.extend(
                    f"{name} in {words[:80]!r}" for name, all_of in known.items() if any(f in words for f in all_of)
                )

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


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
    was = desk.servers[like]
    data = base64.b64encode((USER_DATA + PRIVATE_KEY).encode()).decode()
    body = {"name": "keeper-of-secrets", "imageRef": was["image"]["id"], "flavorRef": "1", "user_data": data}
    zone = {"availability_zone": was["OS-EXT-AZ:availability_zone"]}
    with desk.lab.connect("old-acme-user") as owner:
        made: str = ask(owner.compute, "/servers", "POST", json={"server": {**body, **zone}})["server"]["id"]
    found: dict[str, Any] = eventually(
        lambda: (
            s if (s := desk.source(made) or {}).get("status") == "ACTIVE" and not s["OS-EXT-STS:task_state"] else None
        ),
        "server with secrets",
    )
    desk.servers[made] = found
    return made


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
    with watched_arguments(canaries) as arguments:
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
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
        if file.name.endswith(".dsse.json"):
            data += base64.b64decode(json.loads(data)["payload"])
        assert canaries.seen_in(data) == [], file
        looked_at += 1
    assert looked_at > 20
    rows = sqlite3.connect(tmp_path / "journal.db")
    for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        told_rows = repr(rows.execute(f"SELECT * FROM {table}").fetchall()).encode()
        assert canaries.seen_in(told_rows) == [], table
    rows.close()
    for private in ("journal.db", "work/plans"):
        kept = tmp_path / private
        for file in [kept] if kept.is_file() else list(kept.iterdir()):
            assert file.stat().st_mode & 0o077 == 0, file
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
