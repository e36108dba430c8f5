"""The parts of the simulated site that can be kept and put back: records, files, and who is on the network."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import pickle
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pumphouse.lab.checkpoint import Part
from pumphouse.lab.destination.state import Cloud
from pumphouse.lab.source.state import State
from pumphouse.lab.world import Guest, Layer2


class Fields:
    """Named attributes of some objects, put back in place: whoever holds a dictionary of theirs goes on seeing it.

    :param hidden: attributes that are kept but not shown.
    """

    def __init__(
        self,
        name: str,
        owners: Iterable[tuple[object, Iterable[str]]],
        *,
        hidden: Iterable[str] = (),
        tasks: Callable[[], Iterable[asyncio.Task[None]]] = tuple,
    ) -> None:
        self.name = name
        self._owners = [(owner, tuple(names)) for owner, names in owners]
        self._hidden = frozenset(hidden)
        self._tasks = tasks

    @property
    def busy(self) -> bool:
        """Whether a background task is under way."""
        return any(not task.done() for task in self._tasks())

    def save(self) -> bytes:
        """One pickle, so that what two attributes share stays shared."""
        return pickle.dumps([{n: _plain(getattr(owner, n)) for n in names} for owner, names in self._owners])

    async def load(self, saved: bytes) -> None:
        """Containers are filled anew, other values replaced."""
        for task in list(self._tasks()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for (owner, _), values in zip(self._owners, pickle.loads(saved), strict=True):
            for name, value in values.items():
                present = getattr(owner, name)
                if isinstance(present, dict):
                    # not item by item: some tell somebody of every item that is set
                    present.clear()
                    present.update(value)
                elif isinstance(present, list):
                    present[:] = value
                elif isinstance(present, set):
                    present.clear()
                    present.update(value)
                else:
                    setattr(owner, name, value)

    def show(self) -> Any:
        """Attribute by attribute."""
        return {n: plain(getattr(o, n)) for o, names in self._owners for n in names if n not in self._hidden}


class Network:
    """Who is alive on the shared layer 2; guests come and go without a note, and listen again."""

    name = "network"
    busy = False

    def __init__(self, layer2: Layer2) -> None:
        self._layer2 = layer2

    def save(self) -> Any:
        """Guests, floating addresses, violations and history."""
        layer2 = self._layer2
        guests = [(g.cloud, g.server_id, g.name, g.address, g.mac) for g in layer2.guests.values()]
        return guests, {a: set(h) for a, h in layer2.floating.items()}, list(layer2.violations), list(layer2.history)

    async def load(self, saved: Any) -> None:
        """Only guests that differ are touched."""
        guests, floating, violations, history = saved
        layer2 = self._layer2
        wanted = {(cloud, server_id, address) for cloud, server_id, _name, address, _mac in guests}
        for cloud, server_id in {key[:2] for key in layer2.guests if key not in wanted}:
            await layer2.power_off(cloud, server_id)
        for guest in guests:
            await layer2.power_on(Guest(*guest))
        layer2.floating.clear()
        layer2.floating.update({a: set(h) for a, h in floating.items()})
        layer2.violations[:], layer2.history[:] = violations, history

    def show(self) -> Any:
        """Who is alive where, and which laws were broken."""
        layer2 = self._layer2
        return {
            "alive": sorted([g.cloud, g.server_id, g.address, g.mac] for g in layer2.guests.values()),
            "floating": {a: sorted(map(list, holders)) for a, holders in sorted(layer2.floating.items()) if holders},
            "violations": [[v.kind, v.address, v.detail] for v in layer2.violations],
        }


class Files:
    """A folder's files. What did not change between two checkpoints is kept once.

    :param rows: show SQLite files by their rows.
    """

    busy = False

    def __init__(self, name: str, folder: Path, *, rows: bool = False) -> None:
        self.name, self._folder, self._rows = name, folder, rows
        self._read: dict[Path, tuple[tuple[int, int, int], bytes]] = {}
        self._digests: dict[Path, tuple[bytes, str]] = {}

    def save(self) -> dict[Path, bytes]:
        """Every file's bytes."""
        return {path: self._bytes(path) for path in self._paths()}

    async def load(self, saved: dict[Path, bytes]) -> None:
        """Only files that differ are written."""
        for path in self._paths():
            if path not in saved:
                path.unlink()
        for path, content in saved.items():
            if not path.exists() or self._bytes(path) != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def show(self) -> Any:
        """Names and digests; or the rows of every table."""
        if not self._rows:
            return {str(path.relative_to(self._folder)): self._digest(path) for path in self._paths()}
        return {path.name: _tables(path) for path in self._paths() if path.suffix == ".db"}

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.rglob("*") if path.is_file())

    def _digest(self, path: Path) -> str:
        content = self._bytes(path)
        if path not in self._digests or self._digests[path][0] is not content:
            self._digests[path] = (content, hashlib.sha256(content).hexdigest())
        return self._digests[path][1]

    def _bytes(self, path: Path) -> bytes:
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, path.read_bytes())
        return known[1]


#: What makes up an old cloud; the rest of its state is settings and what is under way.
_SOURCE = (
    "projects", "users", "roles", "grants", "images", "flavors", "keypairs", "groups", "networks", "fixed_ips",
    "floating_ips", "servers", "services", "hosts", "aggregates", "quotas", "quota_drift", "server_groups",
    "migrations", "deleted_image_ids", "tokens", "_counters", "_random",
)  # fmt: skip


def parts_of_source(state: State) -> list[Part]:
    """An old cloud: its records, and its images' bytes."""
    return [
        Fields(state.cloud, [(state, _SOURCE)], hidden=("tokens", "_counters", "_random"), tasks=state.tasks.values),
        Files(f"{state.cloud} image files", state.image_path("x").parent),
    ]


def parts_of_destination(cloud: Cloud) -> list[Part]:
    """A current cloud: the tables of its four services, and its images' bytes."""
    tables: list[Any] = [cloud.identity, cloud.image, cloud.compute, cloud.network]
    owners = [(t, [f.name for f in dataclasses.fields(t) if f.name not in ("opens", "folder")]) for t in tables]
    return [
        Fields("destination", owners, hidden=("tokens", "passwords", "counter"), tasks=lambda: cloud.tasks),
        Files("destination image files", cloud.image.folder),
    ]


def plain(value: Any) -> Any:
    """Anything the lab keeps, as JSON knows it; sets are sorted."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {"|".join(map(str, k)) if isinstance(k, tuple) else str(k): plain(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def _tables(file: Path) -> dict[str, list[list[Any]]]:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {n: sorted((list(r) for r in connection.execute(f"SELECT * FROM {n}")), key=str) for n in sorted(names)}
