"""What can be seen of a site whose clouds may be down: one that answers as it is, any other as it was read last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PumphouseError
from pumphouse.inventory import Inventory, InventoryError, Snapshot


@dataclass(frozen=True)
class Unreached:
    """A cloud that could not be read: why, what to do, and when it was read that it is shown as; None: never."""

    side: str
    cloud: str
    why: str
    remedy: str
    seen_at: datetime | None = None


@dataclass(frozen=True)
class Seen:
    """``inventory`` is None when nothing is known of the source, neither now nor from an earlier run."""

    inventory: Inventory | None
    unreached: tuple[Unreached, ...] = ()


def look_around(clouds: tuple[Cloud, Cloud], folder: Path, take: Callable[[Cloud], Snapshot]) -> Seen:
    """Read source and destination with ``take``; what fails is named, not raised.

    :param folder: where runs keep their snapshots, named by run and side.
    """
    taken: list[Snapshot | None] = []
    unreached = []
    for side, cloud in zip(("source", "destination"), clouds, strict=True):
        try:
            taken.append(take(cloud))
        except PumphouseError as problem:
            older = _last(folder, side, cloud.name)
            taken.append(older)
            at = older.taken_at if older is not None else None
            unreached.append(Unreached(side, cloud.name, problem.message, problem.remedy or "", at))
    source, destination = taken
    return Seen(None if source is None else Inventory(source, destination), tuple(unreached))


def _last(folder: Path, side: str, cloud: str) -> Snapshot | None:
    """The newest snapshot of that cloud that can be read; ids of runs sort by time."""
    for file in sorted(folder.glob(f"*-{side}.json"), reverse=True):
        try:
            snapshot = Snapshot.load(file)
        except InventoryError:
            continue
        if snapshot.facts.cloud == cloud:
            return snapshot
    return None
