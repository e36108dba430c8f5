"""A process of its own that moves servers, and may die or stop at a given event: ``python -m tests.flow.mover``."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pumphouse
from pumphouse.journal import Journal
from pumphouse.selection import select_servers
from pumphouse.session import begin


def main() -> None:
    """Move the servers of an approved plan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("site")
    parser.add_argument("ids", nargs="+")
    parser.add_argument("--at", required=True, help="KIND:EVENT of the journal at which to die or wait")
    parser.add_argument("--wait-for", help="a file: wait at that event until it is there, instead of dying")
    options = parser.parse_args()
    kind, _, name = options.at.partition(":")
    write = Journal.write

    def mortal(
        self: Journal,
        run_id: str,
        plan_hash: str,
        step_key: str,
        event: str,
        data: Mapping[str, Any] | None = None,
        *,
        mapping: tuple[str, str, str] | None = None,
    ) -> None:
        here = step_key.startswith(f"{kind}:") and event == name.removeprefix("before-")
        if here and name.startswith("before-"):
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, run_id, plan_hash, step_key, event, data, mapping=mapping)
        if here and options.wait_for:
            print("waiting", flush=True)
            while not Path(options.wait_for).exists():
                time.sleep(0.02)
        elif here:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = mortal  # type: ignore[method-assign]
    run = begin(options.site, operator="olga", report=lambda _line: None)
    selection = select_servers(run.inventory().servers, ids=options.ids)
    plan = run.plan_move(selection)
    run.require_approval(plan)
    run.prepare(plan)
    run.cut_over(plan)
    run.report(plan)
    print(f"moved with pumphouse from {pumphouse.__name__}")


if __name__ == "__main__":
    main()
