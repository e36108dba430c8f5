"""How long BMCs take through our driver: a conversation's beginning, a call within it, and many machines at once.

    python -m tests.benchmarks.bmcs [BMCS [CYCLES]]        (default: 20 BMCs, 10 power cycles each)

The BMCs are the lab's, on loopback. A power cycle is: off, read, on, read. At the end the lab is asked how often each
machine lost its power, which must be as often as it was told to, and what is left of processes and threads here.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from pumphouse.nodes.api import Bmc
from tests.nodes.rack import Rack, rack


def timed_s(rack: Rack, opened: int = 20, calls: int = 100) -> tuple[list[float], list[float]]:
    """Seconds of first calls, each with a process and a login, and of calls after them."""
    first = []
    for _ in range(opened):
        bmc = rack.bmc("node1")
        first.append(_took_s(bmc))
        bmc.close()
    bmc = rack.bmc("node1")
    bmc.power()
    later = [_took_s(bmc) for _ in range(calls)]
    bmc.close()
    return first, later


def _took_s(bmc: Bmc) -> float:
    begun = time.monotonic()
    bmc.power()
    return time.monotonic() - begun


def cycle(rack: Rack, name: str, cycles: int) -> float:
    """Cycle a machine's power; the seconds of the slowest cycle."""
    bmc, slowest = rack.bmc(name, timeout_s=60.0), 0.0
    for _ in range(cycles):
        begun = time.monotonic()
        bmc.set_power("off")
        assert bmc.power() == "off"
        bmc.set_power("on")
        assert bmc.power() == "on"
        slowest = max(slowest, time.monotonic() - begun)
    bmc.close()
    return slowest


def main() -> None:
    """Print what was measured."""
    given = [int(text) for text in sys.argv[1:]]
    count, cycles = given + [20, 10][len(given) :]
    with rack(count) as made:
        first, later = timed_s(made)
        print(f"first call   median {statistics.median(first):.3f} s, slowest {max(first):.3f} s of {len(first)}")
        print(f"later call   median {statistics.median(later):.3f} s, slowest {max(later):.3f} s of {len(later)}")
        made.fleet.history.clear()
        threads = threading.active_count()
        begun = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            slowest = max(pool.map(lambda name: cycle(made, name, cycles), made.fleet.machines))
        took_s = time.monotonic() - begun
        lost = [event["name"] for event in made.fleet.history if event["event"] == "power-off"]
        assert all(lost.count(name) == cycles for name in made.fleet.machines), lost
        print(
            f"{count} BMCs, {cycles} cycles each: {took_s:.1f} s, slowest cycle {slowest:.2f} s, all carried out once"
        )
        print(f"left behind: {threading.active_count() - threads} threads")


if __name__ == "__main__":
    main()
