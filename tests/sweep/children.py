"""Forked children: what is loaded is there at once, and what they do to themselves is theirs alone."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from unittest import mock

from pumphouse import holder

#: Seconds after which a child that says nothing is killed and counted as hanging; on a busy machine one takes minutes.
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Ended:
    """How a child ended: with an answer, by a signal, or with a fault of its own (``crash``)."""

    answer: dict[str, Any] = field(default_factory=dict)
    signal: int = 0
    crash: str = ""


def fork(work: Callable[[], dict[str, Any]], *, patience_s: float = PATIENCE_S) -> Ended:
    """Do ``work`` in a child; its JSON is the answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _in_child(work, reading, writing)
    return _ended(pid, reading, writing, patience_s)


def _ended(pid: int, reading: int, writing: int, patience_s: float) -> Ended:
    os.close(writing)
    hung = False
    try:
        text, hung = _read(reading, patience_s)
        if hung:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(reading)
        _, status = os.waitpid(pid, 0)
    if hung:
        return Ended(crash=f"no answer within {patience_s:g} s")
    if os.WIFSIGNALED(status):
        return Ended(signal=os.WTERMSIG(status))
    answer = json.loads(text) if text else {}
    return Ended(crash=answer["crash"]) if "crash" in answer else Ended(answer)


def branch(*, patience_s: float = PATIENCE_S) -> Ended | Branch:
    """Go on twice from here: the child gets a :class:`Branch`; the parent waits, and gets how the child ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _instead()
        return Branch(writing)
    return _ended(pid, reading, writing, patience_s)


@dataclass(frozen=True)
class Branch:
    """A child that went on from where its parent waits."""

    descriptor: int

    def end(self, answer: dict[str, Any]) -> NoReturn:
        """Answer, and be gone."""
        try:
            with os.fdopen(self.descriptor, "w", encoding="utf-8") as stream:
                json.dump(answer, stream)
        finally:
            os._exit(0)


def _of_its_own() -> None:
    """In a child: its parent, which waits meanwhile, counts as a process that has ended.

    Its locks are not waited for, which a dead one's never are, and what it has made was left behind.
    """
    tempfile.tempdir = tempfile.mkdtemp()
    parent, started = os.getppid(), holder._started
    holder._started = lambda pid: "-" if pid == parent else started(pid)


def _instead() -> None:
    """In a child: it is the process that its parent was."""
    tempfile.tempdir = tempfile.mkdtemp()
    parent = os.getppid()
    mock.patch.object(os, "getpid", return_value=parent).start()


def _in_child(work: Callable[[], dict[str, Any]], reading: int, writing: int) -> None:
    try:
        os.close(reading)
        _of_its_own()
        try:
            answer = work()
        except BaseException:  # noqa: BLE001  whatever it is, the parent is told
            answer = {"crash": traceback.format_exc()}
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            json.dump(answer, stream)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # no atexit, no finalizers: they belong to the parent
        os._exit(0)


def _read(descriptor: int, patience_s: float) -> tuple[str, bool]:
    pieces: list[bytes] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], patience_s)
        if not ready:
            return "", True
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return b"".join(pieces).decode(), False
        pieces.append(piece)
