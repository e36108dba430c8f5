"""The sweeps: ``python -m tests.sweep [--scenario move|all] [--only kill,undo,faults] [--every N]``."""

from __future__ import annotations

from tests.sweep import clock

clock.install()  # before pumphouse is imported, which happens below

import argparse  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import asdict, dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from tests.sweep import faults, kills  # noqa: E402
from tests.sweep.bench import Bench, Finding  # noqa: E402
from tests.sweep.faults import Tally  # noqa: E402
from tests.sweep.hooks import Point  # noqa: E402
from tests.sweep.kills import KillClass  # noqa: E402
from tests.sweep.moving import Move, RollBack  # noqa: E402
from tests.sweep.scenario import Scenario  # noqa: E402
from tests.sweep.transferring import Acquire, Transfer  # noqa: E402

SCENARIOS: dict[str, type[Scenario]] = {scenario.name: scenario for scenario in (Move, RollBack, Acquire, Transfer)}
SWEEPS = ("kill", "undo", "faults")
#: What ``--scenario`` calls all of them, one after another.
EVERYTHING = "all"
#: Scenarios of which that takes a part only: faults of a roll back are not swept.
OF_EVERYTHING = {RollBack.name: ("kill",)}
#: Linux's folder in memory: what is waited for on a disk is waited for some ten thousand times.
MEMORY = "/dev/shm"
#: So many states of a worker, and it says how far it is.
_TOLD_EVERY = 25


@dataclass
class Result:
    """What one worker, or all of them, found."""

    points: int = 0
    different: int = 0
    classes: int = 0
    undone: int = 0
    findings: list[Finding] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    @property
    def wrong(self) -> list[Finding]:
        """All that did not survive."""
        return [*self.findings, *self.tally.findings]


def main(arguments: list[str] | None = None) -> int:
    """Sweep; returns the exit code: 0 when everything survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--scenario", choices=[*sorted(SCENARIOS), EVERYTHING], default=Move.name)
    parser.add_argument("--only", default=",".join(SWEEPS), help="of kill, undo, faults; undo needs kill")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="only every n-th class and call: no sweep, but quick")
    parser.add_argument("--skip", type=int, default=0, help="with --every: which of them")
    parser.add_argument("--json", action="store_true", help="print one JSON object a scenario, and no text")
    options = parser.parse_args(arguments)
    wanted = [name for name in options.only.split(",") if name in SWEEPS]
    names = sorted(SCENARIOS) if options.scenario == EVERYTHING else [options.scenario]
    begun, summary = clock.real(), []
    for name in names:
        options.scenario = name
        options.only = ",".join(one for one in wanted if len(names) == 1 or one in OF_EVERYTHING.get(name, SWEEPS))
        result, seconds = _timed(options)
        _print(options, result, seconds)
        summary.append((name, result, seconds))
    if len(names) > 1 and not options.json:
        _summarize(summary, clock.real() - begun)
    return 1 if any(result.wrong for _, result, _ in summary) else 0


def _timed(options: argparse.Namespace) -> tuple[Result, float]:
    begun = clock.real()
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        result = _sweep(options, Path(folder))
    return result, clock.real() - begun


def _sweep(options: argparse.Namespace, folder: Path) -> Result:
    wanted = set(options.only.split(","))
    spawn = multiprocessing.get_context("spawn")
    queue: Any = spawn.Queue()
    classes = _recorded(options, folder, spawn, queue) if "kill" in wanted else []
    workers = [
        spawn.Process(target=_work, args=(options, str(folder / str(n)), n, classes, queue))
        for n in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    whole = Result(points=sum(one.stands_for for one in classes), different=len(classes))
    for _ in workers:
        found = queue.get()
        if isinstance(found, str):
            whole.findings.append(Finding("a worker", "sweep", found))
            continue
        whole.classes += found.classes
        whole.undone += found.undone
        whole.findings += found.findings
        whole.tally.add(found.tally)
    for worker in workers:
        worker.join()
    return whole


def _recorded(options: argparse.Namespace, folder: Path, spawn: Any, queue: Any) -> list[KillClass]:
    recorder = spawn.Process(target=_record, args=(options, str(folder / "recorded"), queue))
    recorder.start()
    found = queue.get()
    recorder.join()
    if isinstance(found, str):
        raise SystemExit(found)
    return [KillClass(Point(*point), count) for point, count in found]


def _record(options: argparse.Namespace, folder: str, queue: Any) -> None:
    def work(bench: Bench) -> Any:
        return [([c.point.number, c.point.when, c.point.what], c.stands_for) for c in kills.record(bench)]

    _on_bench(options, folder, queue, work)


def _work(options: argparse.Namespace, folder: str, number: int, classes: list[KillClass], queue: Any) -> None:
    def work(bench: Bench) -> Result:
        wanted, result = set(options.only.split(",")), Result()
        mine = classes[options.skip :: options.every][number :: options.workers]
        undo = "undo" in wanted and bench.scenario.undoes
        for done, (_, findings) in enumerate(kills.sweep(bench, mine, undo=undo), 1):
            if done % _TOLD_EVERY == 0:
                _say(f"worker {number}: {done} of {len(mine)} states")
            result.classes += 1
            result.undone += undo
            result.findings += findings
            for finding in findings:
                _say(str(finding))
        if "faults" in wanted:
            result.tally = faults.sweep(bench, share=(number, options.workers), every=options.every, tell=_say)
        return result

    _on_bench(options, folder, queue, work)


def _on_bench(options: argparse.Namespace, folder: str, queue: Any, work: Any) -> None:
    try:
        Path(folder).mkdir()
        tempfile.tempdir = folder
        bench = Bench.open(SCENARIOS[options.scenario](), Path(folder))
        try:
            queue.put(work(bench))
        finally:
            bench.close()
    except BaseException as error:
        queue.put(f"{type(error).__name__}: {error}")
        raise


def _say(line: str) -> None:
    sys.stderr.write(f"{line[:1000]}\n")
    sys.stderr.flush()


def _print(options: argparse.Namespace, result: Result, seconds: float) -> None:
    findings = result.wrong
    if options.json:
        document = {
            "scenario": options.scenario, "points": result.points, "different": result.different,
            "classes": result.classes, "undone": result.undone,
            "requests": result.tally.requests, "faults": result.tally.swept, "ended": result.tally.ended,
            "findings": [asdict(finding) for finding in findings], "seconds": round(seconds, 1),
        }  # fmt: skip
        print(json.dumps(document))
        return
    failed = {(finding.place, finding.phase == "undo") for finding in result.findings}
    killed, undone = sum(not undo for _, undo in failed), sum(undo for _, undo in failed)
    print(f"\nscenario {options.scenario}{f', of which only every {options.every}th' if options.every > 1 else ''}")
    print(
        f"  kill    {result.points} points, {result.different} of them different, {result.classes} swept: "
        f"{result.classes - killed} survived, {killed} did not"
    )
    print(f"  undo    {result.undone} states: {result.undone - undone} undone, {undone} not")
    tally = result.tally
    ended: Counter[str] = sum(tally.ended.values(), Counter())
    lost = len({finding.place for finding in tally.findings})
    print(f"  faults  {tally.requests} requests, {tally.swept} faults of {len(tally.ended)} kinds: {lost} not survived")
    print(f"          {', '.join(f'{count} {how}' for how, count in ended.most_common())}")
    for kind, counted in tally.ended.items():
        print(f"          {kind:16} {', '.join(f'{count} {how}' for how, count in counted.most_common())}")
    print(f"  time    {seconds:.0f} s with {options.workers} workers")
    for finding in findings:
        print(f"  FOUND   {str(finding)[:2000]}")


def _summarize(results: list[tuple[str, Result, float]], seconds: float) -> None:
    print("\nscenario     points  killed  undone  requests  faults  wrong  seconds")
    for name, result, took in results:
        figures = (result.points, result.classes, result.undone, result.tally.requests, result.tally.swept)
        print("{:10} {:8} {:7} {:7} {:9} {:7} {:6} {:8.0f}".format(name, *figures, len(result.wrong), took))
    print(f"{seconds:.0f} s in all, {sum(len(result.wrong) for _, result, _ in results)} findings")
