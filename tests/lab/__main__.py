"""``python -m tests.lab``: how many recorded operations the lab answers as the recorded cloud did, per release."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.lab import recorded_fuel
from tests.lab.replaying import replay
from tests.lab.test_conformance import RECORDINGS


async def main() -> int:
    """Replay everything; exit code 1 when an answer differs."""
    differing = 0
    for release, recording in RECORDINGS.items():
        facts, wrong = recording.facts, 0
        for fact in facts:
            with tempfile.TemporaryDirectory() as folder:
                lines = await replay(recording, fact, Path(folder))
            wrong += bool(lines)
            for line in lines:
                print(f"{release} {fact['n']} {fact['method']} {fact['path']}: {line}")
        in_full = sum(1 for fact in facts if fact["n"] not in recording.unlike)
        print(f"{release}: {len(facts) - wrong}/{len(facts)} operations conformant, {in_full} of them compared in full")
        differing += wrong
    return 1 if differing + await fuel() else 0


async def fuel() -> int:
    """The same for Fuel masters: how many answers differ without being known to."""
    differing = 0
    for release in recorded_fuel.RELEASES:
        told = await recorded_fuel.Story(release).tell()
        unlike = [one for one in told if one.differences]
        for one in unlike:
            reason = recorded_fuel.UNLIKE.get((release, one.fact["label"]), "")
            differing += not reason
            print(f"fuel {release} {one.fact['n']} {one.fact['label']}: {reason or one.differences}")
        print(f"fuel {release}: {len(told) - len(unlike)}/{len(told)} operations conformant")
    return differing


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
