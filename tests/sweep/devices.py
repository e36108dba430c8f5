"""Points of requests that are no HTTP: to BMCs over IPMI, to switches over SSH and SNMP.

A driver asks its BMC in a process of its own, which takes most of a second to start. Here it is forked from a process
that has loaded everything, and runs the same code; a sweep opens some thousands of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import IO, Any

from pumphouse.nodes import ipmi, ipmi_worker
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.switches.command_line import CommandLine
from pumphouse.nodes.switches.netmiko import NetmikoSwitch
from pumphouse.nodes.switches.snmp_wire import Wire
from tests.sweep import clock

Tell = Callable[[str, str], None]


def install(tell: Tell) -> None:
    """``tell(when, what)`` is called before each request leaves, and when its answer is there."""
    ask = IpmiBmc._ask

    def asking(self: IpmiBmc, do: str, **what: Any) -> Any:
        name = " ".join([f"IPMI {self._spec.node} {do}", *(str(value) for value in what.values())])
        tell("leaving", name)
        try:
            return ask(self, do, **what)
        finally:
            # whatever came of it: the BMC is done with it
            tell("unread", name if do.startswith("set_") else f"GET {name}")

    IpmiBmc._ask = asking  # type: ignore[method-assign]
    for name in ("read", "move", "save"):
        setattr(CommandLine, name, _told(tell, f"SSH {name}", getattr(CommandLine, name)))
    for name in ("get", "walk", "set"):
        setattr(Wire, name, _told(tell, f"SNMP {name}", getattr(Wire, name)))
    NetmikoSwitch.converse = _unhurried(NetmikoSwitch.converse)  # type: ignore[method-assign]
    setattr(ipmi, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": _Forked}))  # noqa: B010


def _told(tell: Tell, what: str, do: Callable[..., Any]) -> Callable[..., Any]:
    reads = what.endswith((" read", " get", " walk"))

    def telling(self: object, *rest: Any) -> Any:
        tell("leaving", what)
        try:
            return do(self, *rest)
        finally:
            tell("unread", f"GET {what}" if reads else what)

    return telling


def _unhurried(converse: Callable[..., AbstractContextManager[Any]]) -> Any:
    @contextmanager
    def conversing(self: NetmikoSwitch) -> Iterator[Any]:
        # netmiko takes a silence that it has slept through for an answer
        with clock.unhurried(), converse(self) as talk:
            yield talk

    return conversing


class _Forked:
    """As much of :class:`subprocess.Popen` as the driver needs."""

    def __init__(self, _command: list[str], **_options: Any) -> None:
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _serve(theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin: IO[bytes] = os.fdopen(ours_in, "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(ours_out, "rb", buffering=0)
        self._ended = False

    def kill(self) -> None:
        """End it at once."""
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""
        end = clock.real() + (timeout if timeout is not None else 60.0)
        while not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            if not self._ended:
                if clock.real() > end:
                    raise subprocess.TimeoutExpired("ipmi_worker", timeout or 0.0)
                clock.pause(0.001)
        return 0


def _serve(requests: int, answers: int) -> None:
    try:
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        # what this process inherited belongs to the one that asks: a pipe held here would never end
        os.closerange(3, 4096)
        signal.signal(signal.SIGALRM, ipmi_worker._late)
        reading, writing = os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb", buffering=0)
        with clock.unhurried():
            ipmi_worker.serve(reading, writing)
    finally:
        os._exit(0)


__all__ = ["install"]
