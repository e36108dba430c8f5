"""A minute part of the sweeps, and the same with a step that is broken on purpose: the harness must see it.

``python -m tests.sweep.smoke`` prints what it found as JSON; ``tests/sweep/test_smoke.py`` judges.
"""

from __future__ import annotations

from tests.sweep import clock

clock.install()  # before pumphouse is imported, which happens below

import json  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from pumphouse.plan.model import PlannedStep  # noqa: E402
from pumphouse.steps.base import Context, Outcome  # noqa: E402
from pumphouse.steps.groups import EnsureSecurityGroup  # noqa: E402
from tests.sweep.bench import Bench, Finding  # noqa: E402
from tests.sweep.hooks import Point  # noqa: E402
from tests.sweep.kills import kill_at  # noqa: E402
from tests.sweep.moving import Move  # noqa: E402
from tests.sweep.world import World  # noqa: E402


class Forgetful(Move):
    """A move that never finds the group which an earlier run made."""

    def command(self, world: World) -> dict[str, Any]:
        """With a step that is broken in this process only."""
        look = EnsureSecurityGroup.look

        def forget(self: EnsureSecurityGroup, ctx: Context, step: PlannedStep) -> Outcome | None:
            # Neutron lets two groups have one name, except this one
            return look(self, ctx, step) if step.params["name"] == "default" else None

        EnsureSecurityGroup.look = forget  # type: ignore[method-assign]
        return super().command(world)


def _made_a_group(point: Point) -> bool:
    return (point.when, point.what) == ("unread", "POST /v2.0/security-groups")


def _killed(bench: Bench) -> list[Finding]:
    bench.start()
    ended = kill_at(bench, _made_a_group)
    assert ended.signal == signal.SIGKILL, ended
    return list(bench.converges("killed"))


def main() -> None:
    """A kill with what it takes to see it survive; then with a broken step."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        bench = Bench.open(Move(), Path(folder))
        try:
            sound = _killed(bench)
            bench.scenario = Forgetful()
            broken = _killed(bench)
        finally:
            bench.close()
    print(json.dumps({"sound": [str(f) for f in sound], "broken": [str(f) for f in broken]}))


if __name__ == "__main__":
    main()
