"""Starting ``tests.core.worker`` and talking to it in lines."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Worker:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.core.worker", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """The worker's next line; blocks (the test's own timeout bounds it)."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"worker ended with {self.process.wait(10)} instead of answering"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def go(self) -> None:
        """Let the worker past the point where it waits."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def workers(*commands: tuple[str, ...]) -> Iterator[list[Worker]]:
    """One worker per command; whatever is left of them is killed at the end."""
    started: list[Worker] = []
    try:
        started.extend(Worker(*command) for command in commands)
        yield started
    finally:
        for worker in started:
            worker.close()
