"""Asking a guest whether it serves, on the socket that its users use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from pumphouse.errors import StepError
from pumphouse.serving import ProbeSpec

#: Seconds between two probes while downtime is measured: its resolution.
INTERVAL_S = 0.1
#: Seconds that one probe may take.
ONE_PROBE_S = 2.0


#: Seconds that one try of a command may take, which has to start a program first.
ONE_COMMAND_S = 10.0
_PING, _LOOPBACK = "ping", "127.0.0.1"


def answers(spec: ProbeSpec, address: str) -> bool:
    """Whether the guest at ``address`` answers now (read only; False for kind ``none`` as well).

    :raises StepError: when the probe's program is not there: that would say nothing about the guest.
    """
    bound_s = spec.each_s or (ONE_COMMAND_S if spec.kind == "command" else ONE_PROBE_S)
    if spec.kind == "tcp":
        try:
            with socket.create_connection((address, spec.port), timeout=bound_s):
                return True
        except OSError:
            return False
    if spec.kind == "http":
        return _http(spec, address, bound_s)
    if spec.kind == "ping":
        # -W counts from when the echo was sent; the bound also holds where sending itself hangs
        return _succeeds(_ping(address, bound_s), bound_s + 1, address, broken=2)
    if spec.kind == "command":
        return _succeeds([word.replace("{address}", address) for word in spec.command], bound_s, address)
    return False


def unusable(spec: ProbeSpec) -> str:
    """Why a probe cannot be made on this machine, or nothing."""
    program = {"ping": _PING, "command": spec.command[0] if spec.command else ""}.get(spec.kind)
    if program is None:
        return ""
    if shutil.which(program) is None:
        return f"program {program} of its probe ({spec.kind}) is not on this machine, or may not be executed"
    if spec.kind == "ping":
        try:
            _succeeds(_ping(_LOOPBACK, 1.0), ONE_COMMAND_S, _LOOPBACK, broken=2)
        except StepError as error:
            return error.message.rstrip(".")
    return ""


def _ping(address: str, bound_s: float) -> list[str]:
    return [_PING, "-n", "-q", "-c", "1", "-W", str(max(1, round(bound_s))), address]


def _http(spec: ProbeSpec, address: str, bound_s: float) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy would answer for the guest
            url = f"http://{address}:{spec.port}{spec.path}"
            # the body is not waited for: its end may never come
            with session.get(url, timeout=bound_s, allow_redirects=False, stream=True) as answer:
                return answer.status_code < 500
    except (requests.RequestException, ValueError):  # the latter: a path that makes no URL
        return False


def _succeeds(command: list[str], bound_s: float, address: str, *, broken: int | None = None) -> bool:
    """Whether a program ends with 0 in time. It gets none of our environment, which holds passwords, but its paths.

    :param broken: the exit status with which it says that it could not try at all.
    """
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    try:
        with subprocess.Popen(  # noqa: S603  no shell; the site's own file names the program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environment, "PUMPHOUSE_ADDRESS": address},
            start_new_session=True,
        ) as program:
            try:
                status = program.wait(bound_s)
            except subprocess.TimeoutExpired:
                return False
            finally:
                # with whatever it started, which would keep probing for ever
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(program.pid, signal.SIGKILL)
    except (OSError, ValueError) as error:
        raise StepError(
            f"Probe of {address}: program {command[0]} cannot be started: {type(error).__name__}.",
            remedy="install it, or correct the probe in site.yaml and make the plan again.",
        ) from error
    if status == broken:
        raise StepError(
            f"Probe of {address}: {command[0]} could not try (exit status {status}).",
            remedy="it wants the right to send ICMP and a route there; or choose another probe in site.yaml.",
        )
    return status == 0


def wait_answer(spec: ProbeSpec, address: str) -> float | None:
    """Probe until the guest answers; wall-clock time (Unix seconds) of the answer, or None after ``timeout_s``.

    :raises StepError: when the time is over and the last try could not be made.
    """
    end = time.monotonic() + spec.timeout_s
    while True:
        # asked before: a process that was asleep tries once more after it woke up
        over = time.monotonic() >= end
        try:
            if answers(spec, address):
                return time.time()
        except StepError:
            if over:
                raise
        if over:
            return None
        time.sleep(INTERVAL_S)


@dataclass
class LastAnswer:
    """When the guest last answered (Unix seconds), or None when it never did."""

    at: float | None = None


@contextmanager
def watch(spec: ProbeSpec, address: str | None) -> Iterator[LastAnswer]:
    """Probe all the time while the block runs, so that the last answer before a stop is known."""
    last = LastAnswer()
    if spec.kind == "none" or address is None:
        yield last
        return
    if answers(spec, address):
        last.at = time.time()
    over = threading.Event()

    def loop() -> None:
        while not over.wait(INTERVAL_S):
            # the answer is as old as the question: a slow one must not make the downtime shorter
            asked_at = time.time()
            try:
                if answers(spec, address):
                    last.at = asked_at
            except StepError:
                return

    thread = threading.Thread(target=loop, name=f"probe {address}", daemon=True)
    thread.start()
    try:
        yield last
    finally:
        over.set()
        thread.join(2 * (spec.each_s or ONE_COMMAND_S))
