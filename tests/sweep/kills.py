"""Killed at every point: the same command again reaches what an uninterrupted run reaches; undoing, what there was.

Two points between which nothing that lasts has changed are the same point, since a killed process leaves nothing else.
:func:`record` walks through one undisturbed run, takes the digest of everything that lasts at every point, and makes
one class of what has the same digest. One point of each class is swept: the first. Nothing is sampled.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.sweep.bench import Bench, Finding
from tests.sweep.children import Ended, fork
from tests.sweep.hooks import Point


@dataclass(frozen=True)
class KillClass:
    """Points that leave the same: the first of them, and how many there are."""

    point: Point
    stands_for: int


def record(bench: Bench, *, patience_s: float = 1800.0) -> list[KillClass]:
    """Walk through an undisturbed run; returns its classes in order."""
    seen: list[Point] = []
    digests: list[str] = []

    def look(point: Point) -> None:
        seen.append(point)
        digests.append(bench.world.digest())

    def work() -> dict[str, Any]:
        bench.watch(look)
        told = bench.scenario.command(bench.world)
        return {"told": told, "points": [[p.when, p.what] for p in seen], "digests": digests}

    bench.start()
    ended = fork(work, patience_s=patience_s)
    assert not ended.crash, ended.crash
    assert ended.answer["told"]["error"] == "", ended.answer["told"]
    points = [Point(number, *names) for number, names in enumerate(ended.answer["points"])]
    many = Counter(ended.answer["digests"])
    first: dict[str, Point] = {}
    for point, digest in zip(points, ended.answer["digests"], strict=True):
        first.setdefault(digest, point)
    return [KillClass(point, many[digest]) for digest, point in first.items()]


def sweep(bench: Bench, classes: list[KillClass], *, undo: bool = True) -> Iterator[tuple[KillClass, list[Finding]]]:
    """Kill at each of the classes; what is found wrong about each, nothing when it survived."""
    for one in classes:
        yield one, list(_one(bench, one, undo=undo))


def _one(bench: Bench, one: KillClass, *, undo: bool) -> Iterator[Finding]:
    place = f"killed at point {one.point.number}: {one.point}"
    bench.start()
    ended = kill_at(bench, lambda point: point == one.point, last=one.point.number)
    if ended.signal != signal.SIGKILL:
        yield Finding(place, "kill", f"was not reached, or is another point this time: {ended}")
        return
    yield from bench.law(place, "right after")
    bench.world.keep("killed")
    yield from bench.converges(place)
    if undo:
        bench.world.restore("killed")
        yield from bench.undoes(place)
    bench.world.forget("killed")


def kill_at(bench: Bench, here: Callable[[Point], bool], *, last: int = sys.maxsize) -> Ended:
    """Run the command in a child that ends itself with SIGKILL at the first point that is wanted.

    :param last: with SIGUSR1 at the point of this number, if that is another one.
    """

    def look(point: Point) -> None:
        if point.when == "unread" and not point.what.startswith("GET"):
            bench.world.control("GET", "/idle")  # as when it was recorded: what was asked for has happened
        if here(point):
            os.kill(os.getpid(), signal.SIGKILL)
        if point.number >= last:
            os.kill(os.getpid(), signal.SIGUSR1)

    def work() -> dict[str, Any]:
        bench.watch(look)
        return bench.scenario.command(bench.world)

    return fork(work)


__all__ = ["KillClass", "kill_at", "record", "sweep"]
