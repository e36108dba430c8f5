"""Asking a guest whether it serves, on the socket that its users use."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from pumphouse.site import ProbeSpec

#: Seconds between two probes while downtime is measured: its resolution.
INTERVAL_S = 0.1
#: Seconds that one probe may take.
ONE_PROBE_S = 2.0


def answers(spec: ProbeSpec, address: str) -> bool:
    """Whether the guest at ``address`` answers now (read only; False for kind ``none`` as well)."""
    if spec.kind == "tcp":
        try:
            with socket.create_connection((address, spec.port), timeout=ONE_PROBE_S):
                return True
        except OSError:
            return False
    if spec.kind == "http":
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy would answer for the guest
                url = f"http://{address}:{spec.port}{spec.path}"
                # the body is not waited for: its end may never come
                with session.get(url, timeout=ONE_PROBE_S, allow_redirects=False, stream=True) as answer:
                    return answer.status_code < 500
        except requests.RequestException:
            return False
    return False


def wait_answer(spec: ProbeSpec, address: str) -> float | None:
    """Probe until the guest answers; wall-clock time (Unix seconds) of the answer, or None after ``timeout_s``."""
    end = time.monotonic() + spec.timeout_s
    while True:
        if answers(spec, address):
            return time.time()
        if time.monotonic() > end:
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
            if answers(spec, address):
                last.at = time.time()

    thread = threading.Thread(target=loop, name=f"probe {address}", daemon=True)
    thread.start()
    try:
        yield last
    finally:
        over.set()
        thread.join(ONE_PROBE_S * 2)
