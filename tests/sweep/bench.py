"""A scenario at its start, what an undisturbed run of it comes to, and how anything else is compared with that."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.sweep import canon, clock, hooks
from tests.sweep.children import Ended, fork
from tests.sweep.hooks import Watcher
from tests.sweep.scenario import Scenario
from tests.sweep.world import World

START = "start"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. ``place``: where the run was cut or disturbed; ``phase``: what was looked at then."""

    place: str
    phase: str
    what: str

    def __str__(self) -> str:
        return f"{self.place} [{self.phase}] {self.what}"


@dataclass
class Bench:
    """``want`` is the state that the command reaches undisturbed, ``was`` the one at the start, in normal form."""

    scenario: Scenario
    world: World
    known: frozenset[str] = frozenset()
    macs: frozenset[str] = frozenset()
    was: dict[str, list[str]] = field(default_factory=dict)
    want: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, scenario: Scenario, folder: Path) -> Bench:
        """Prepare the scenario, and run its command once undisturbed."""
        bench = cls(scenario, scenario.prepare(folder))
        hooks.install()
        clock.hurry()
        gc.collect()
        gc.freeze()
        gc.disable()  # a forked child that collects copies every page that it looks at, and none lives long
        bench.world.keep(START)
        site = bench.world.site()
        bench.known, bench.macs = canon.ids_in([site, bench.world.journal()]), canon.macs_in(site)
        bench.was = bench.state()
        told = fork(lambda: scenario.command(bench.world))
        wrong = [*bench.law("undisturbed", "command"), *bench.untrue("undisturbed", "command", told)]
        assert not wrong, wrong
        bench.want = bench.state()
        return bench

    def close(self) -> None:
        """End the lab."""
        self.world.lab.stop()

    def start(self) -> None:
        """Back to the moment before the command."""
        self.world.restore(START)

    def watch(self, watcher: Watcher) -> None:
        """In a child: see every point from now on."""
        hooks.watch(watcher, folder=self.world.folder, not_ports=frozenset([self.world.lab.guest_port]))

    def state(self) -> dict[str, list[str]]:
        """The present state in normal form."""
        return canon.normal(self.scenario.records(self.world), known=self.known, macs=self.macs)

    def gist(self) -> str:
        """One value for all that a later run can read of this world, and decides by: its state, and what it remembers.

        Left out are ids, times and the words of errors, that somebody waited, and what is in the records: nothing that
        pumphouse does depends on them. Worlds of the same gist have the same future.
        """
        records = [*self.scenario.records(self.world), *self.world.remembered()]
        normal = canon.normal(records, known=self.known, macs=self.macs)
        return hashlib.sha256(json.dumps(normal).encode()).hexdigest()

    # -- judging ------------------------------------------------------------------------------
    def converges(self, place: str) -> Iterator[Finding]:
        """The command again, without help."""
        ended = fork(lambda: self.scenario.command(self.world))
        yield from self.law(place, "again")
        yield from self.untrue(place, "again", ended)
        yield from self.compared(place, "again")

    def compared(self, place: str, phase: str) -> Iterator[Finding]:
        """The state is the one that an undisturbed run reaches."""
        for difference in canon.differences(self.want, self.state()):
            yield Finding(place, phase, difference)

    def undoes(self, place: str) -> Iterator[Finding]:
        """The undoing, from here."""
        ended = fork(lambda: self.scenario.undo(self.world))
        yield from self.law(place, "undo")
        yield from self.untrue(place, "undo", ended)
        for difference in self.scenario.left_over(self.was, self.state(), ended.answer):
            yield Finding(place, "undo", difference)

    def law(self, place: str, phase: str) -> Iterator[Finding]:
        """No law of the site was broken, nothing is lost."""
        for broken in self.scenario.broken(self.world):
            yield Finding(place, phase, broken)

    def untrue(self, place: str, phase: str, ended: Ended) -> Iterator[Finding]:
        """It ended well, and what it says of itself is so."""
        if ended.crash or ended.signal:
            yield Finding(place, phase, f"crashed: {ended.crash or f'signal {ended.signal}'}")
            return
        yield from (Finding(place, phase, f"failed: {e}") for e in [ended.answer.get("error")] if e)
        for said in self.scenario.untrue(self.world):
            yield Finding(place, phase, said)
