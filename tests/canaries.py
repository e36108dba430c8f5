"""Canaries: secrets that are planted, every form in which programs write them, and where one of them was seen."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus


@cache
def forms(secret: str) -> frozenset[bytes]:
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
    return frozenset(form for form in found if len(form) >= 8)


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
def watched(canaries: Canaries, *, environments: bool = False, every_s: float = 0.2) -> Iterator[list[str]]:
    """Looks at the arguments of all processes again and again while the block runs; where a canary was seen.

    :param environments: also at what each process was given by its environment; the canaries may be in none then.
    """
    seen: list[str] = []
    over = threading.Event()
    places = ["cmdline", "environ"] if environments else ["cmdline"]

    def look() -> None:
        while not over.wait(every_s):
            known = {name: forms(secret) for name, secret in dict(canaries.secrets).items()}
            for place in (path for name in places for path in Path("/proc").glob(f"[0-9]*/{name}")):
                try:
                    words = place.read_bytes()
                except OSError:
                    continue
                seen.extend(
                    f"{name} in {place} ({words[:80] if place.name == 'cmdline' else len(words)!r})"
                    for name, all_of in known.items()
                    if any(form in words for form in all_of)
                )

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


def seen_in_file(canaries: Canaries, file: Path) -> list[str]:
    """Names of those that stand in a file, also where it is compressed, or an envelope."""
    data = file.read_bytes()
    data = gzip.decompress(data) if file.suffix == ".gz" else data
    if file.name.endswith(".dsse.json"):
        data += base64.b64decode(json.loads(data)["payload"])
    return canaries.seen_in(data)


def seen_in_rows(canaries: Canaries, database: Path) -> dict[str, list[str]]:
    """Table -> names of those that stand in its rows."""
    found = {}
    with closing(sqlite3.connect(database)) as rows:
        for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found[table] = canaries.seen_in(repr(rows.execute(f"SELECT * FROM {table}").fetchall()).encode())
    return {table: names for table, names in found.items() if names}


def open_to_others(folder: Path, *parts: str) -> list[Path]:
    """Files of a folder that somebody else may read or write, of those named (or below a folder that is named)."""
    places = [folder / part for part in parts]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    return [file for file in files if file.stat().st_mode & 0o077]
