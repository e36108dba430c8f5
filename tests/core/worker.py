"""What the tests run in other processes: ``python -m tests.core.worker VERB URL …``, one JSON line as answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pumphouse.errors import ClaimHeld
from pumphouse.holder import holder, is_gone
from pumphouse.journal import Journal
from pumphouse.secretstore import SecretStore
from tests.core.making_runs import start_run


def _answer(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _wait_for_start() -> None:
    """Say that we are here, then wait until the test lets everybody go at once."""
    _answer(ready=True)
    sys.stdin.readline()


def open_and_write(url: str, worker: str, count: str) -> None:
    """Open the journal (which may not exist yet) together with others, then write events and mappings."""
    _wait_for_start()
    journal = Journal.open(url)
    run_id = start_run(journal)
    for number in range(int(count)):
        key = f"{worker}:{number}"
        journal.write(run_id, "a" * 64, key, "done", {"n": number}, mapping=("server", key, f"new-{key}"))
    journal.end_run(run_id, "succeeded")
    _answer(run_id=run_id)


def claim(url: str, keys: str, lease_s: str) -> None:
    """Claim, tell whether we got it, and hold it until we are told to go (or are killed)."""
    journal = Journal.open(url)
    run_id = start_run(journal)
    _wait_for_start()
    try:
        journal.claim(run_id, keys.split(","), holder=holder(), lease_s=float(lease_s), is_gone=is_gone)
    except ClaimHeld as error:
        _answer(held=str(error), pid=os.getpid())
    else:
        _answer(run_id=run_id, holder=holder(), pid=os.getpid())
    sys.stdin.readline()


def write_until_killed(url: str) -> None:
    """Write events for ever, telling of each after it is committed."""
    journal = Journal.open(url)
    run_id = start_run(journal)
    number = 0
    while True:
        key = f"{number}"
        journal.write(run_id, "a" * 64, key, "done", {}, mapping=("server", key, f"new-{key}"))
        _answer(written=number, run_id=run_id)
        number += 1


def ensure_secrets(path: str, *names: str) -> None:
    """Ask the hand-over file for the passwords of some users, together with others."""
    _wait_for_start()
    store = SecretStore(Path(path))
    _answer(**{name: store.ensure(name) for name in names})


VERBS: dict[str, Callable[..., None]] = {
    verb.__name__: verb for verb in (open_and_write, claim, write_until_killed, ensure_secrets)
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
