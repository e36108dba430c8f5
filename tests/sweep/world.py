"""Everything that outlives a killed process: the lab with all that is in it, and the files of the site's folder."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.labsite import LabSite
from tests.sweep import hooks

JOURNAL = "journal.db"
#: Errors after which a run does something else than after all others.
TOLD_APART = frozenset({"PlanStale", "ClaimHeld", "Stopped"})
#: What an event says to people only.
_WORDS = frozenset({"error", "requests"})


@dataclass
class World:
    """A lab and the folder of one site; ``folder`` holds nothing but what pumphouse wrote, and ``site.yaml``."""

    lab: LabSite
    folder: Path
    _files: dict[str, dict[str, tuple[int, bytes]]] = field(default_factory=dict)
    _connection: tuple[int, http.client.HTTPConnection] | None = None
    _digests: dict[Path, tuple[tuple[int, ...], bytes]] = field(default_factory=dict)
    _watched: tuple[int, int, sqlite3.Connection, int, bytes] | None = None

    @property
    def site_file(self) -> Path:
        """The site's ``site.yaml``."""
        return self.folder / "site.yaml"

    # -- the lab ------------------------------------------------------------------------------
    def control(self, verb: str, route: str, **body: Any) -> Any:
        """Ask the lab's control port, unnoticed by whoever counts requests."""
        token = (self.lab.directory / "control.token").read_text(encoding="utf-8").strip()
        with hooks.unnoticed():
            for attempt in (1, 2):
                connection = self._connected()
                try:
                    connection.request(verb, route, json.dumps(body) if body else None, {"X-Lab-Token": token})
                    answer = connection.getresponse()
                    data = json.loads(answer.read())
                except (OSError, http.client.HTTPException):
                    self._connection = None
                    if attempt == 2:
                        raise
                else:
                    assert answer.status < 300, (verb, route, data)
                    return data
        raise AssertionError("the second attempt returns or raises")

    def _connected(self) -> http.client.HTTPConnection:
        # a connection belongs to the process that opened it
        if self._connection is None or self._connection[0] != os.getpid():
            address = urlsplit(str(self.lab.facts["control_url"]))
            self._connection = os.getpid(), http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        return self._connection[1]

    def site(self) -> dict[str, Any]:
        """All that the lab holds, when nothing is under way any more."""
        found: dict[str, Any] = self.control("GET", "/site")
        return found

    # -- all of it ----------------------------------------------------------------------------
    def keep(self, name: str) -> None:
        """Remember everything as it is now."""
        self.control("POST", f"/checkpoints/{name}")
        self._files[name] = {
            str(path.relative_to(self.folder)): (path.stat().st_mode & 0o777, path.read_bytes())
            for path in self.files()
        }

    def restore(self, name: str) -> None:
        """Everything as it was then."""
        self.control("PUT", f"/checkpoints/{name}")
        for path in sorted(self.folder.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for relative, (mode, content) in self._files[name].items():
            path = self.folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)

    def forget(self, name: str) -> None:
        """Give a kept state up."""
        self.control("DELETE", f"/checkpoints/{name}")
        self._files.pop(name, None)

    def files(self) -> list[Path]:
        """Every file of the site's folder."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def journal(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of the journal's tables."""
        file = self.folder / JOURNAL
        if not file.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")]
                for name in sorted(names)
            }

    def remembered(self) -> list[tuple[str, Any]]:
        """What the folder tells a later run: runs, plans, claims, what became of each step, which files are there."""
        journal = self.journal()
        runs = {row["id"]: number for number, row in enumerate(journal.get("runs", []))}
        found: list[tuple[str, Any]] = [
            ("run", [n, row["state"], row["result"]]) for n, row in enumerate(journal["runs"])
        ]
        found += [("plan", [row["hash"], row["state"]]) for row in journal["plans"]]
        found += [("claim", [row["object_key"], runs.get(row["run_id"])]) for row in journal["claims"]]
        steps: dict[tuple[str, str], list[Any]] = {}
        for row in journal["events"]:
            entry = [runs.get(row["run_id"]), row["event"], _deciding(row["event"], json.loads(row["data"]))]
            entries = steps.setdefault((row["plan_hash"], row["step_key"]), [])
            # to have said the same twice is to have said it
            if row["event"] != "waited" and entries[-1:] != [entry]:
                entries.append(entry)
        found += [("step", [*key, entries]) for key, entries in steps.items() if entries]
        names = {hooks.without_ids(str(path.relative_to(self.folder))) for path in self.files()}
        return found + [("file", name) for name in names if not name.startswith(JOURNAL)]

    def digest(self) -> str:
        """One value for all that a process which dies now leaves behind, byte by byte (a journal: row by row)."""
        whole = hashlib.sha256(self.control("GET", "/site/digest")["digest"].encode())
        for path in self.files():
            if not path.name.startswith(JOURNAL):
                whole.update(f"\0{path.relative_to(self.folder)}\0".encode() + self._digest_of(path))
        whole.update(self._digest_of_journal())
        return whole.hexdigest()

    def _digest_of(self, path: Path) -> bytes:
        found = path.stat()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
        if path not in self._digests or self._digests[path][0] != stamp:
            self._digests[path] = stamp, hashlib.sha256(f"{found.st_mode}\0".encode() + path.read_bytes()).digest()
        return self._digests[path][1]

    def _digest_of_journal(self) -> bytes:
        file = self.folder / JOURNAL
        if not file.exists():
            return b""
        key = os.getpid(), file.stat().st_ino
        if self._watched is None or self._watched[:2] != key:
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)
            self._watched = (*key, connection, -1, b"")
        connection, version, digest = self._watched[2:]
        # changes whenever anybody else has committed
        now = connection.execute("PRAGMA data_version").fetchone()[0]
        if now != version:
            digest = hashlib.sha256(json.dumps(self.journal(), default=str).encode()).digest()
            self._watched = (*key, connection, now, digest)
        return digest


def _deciding(event: str, data: Any) -> Any:
    """As much of an event's data as anything is decided by."""
    if event == "failed":
        return data.get("type") if data.get("type") in TOLD_APART else ""
    return _without_clocks({key: value for key, value in data.items() if key not in _WORDS}) if data else data


def _without_clocks(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_clocks(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_clocks(value) for value in data]
    if isinstance(data, float):
        return 0.0
    return data
