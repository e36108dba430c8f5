"""Where a process can be cut off: before and after everything that lasts.

A *point* is a moment between two things that outlive the process: before a request leaves; when its answer is there,
unread (so that it took effect); when the answer was read; before a database's commit; before a file takes its name.
Whatever happens to a process between two points leaves what the first of them leaves.

:func:`install` comes after pumphouse is imported. It also makes the process do one thing at a time: pools run what is
submitted at once and helper threads do not start, so that the points have an order, and a fork loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import sqlalchemy as sa
import urllib3.connection
import yaml
from sqlalchemy.engine import Engine

from tests.sweep import devices

_IDS = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{8,}|\d{6,}|(?<=127\.)\d+\.\d+(?=\.)")


@dataclass(frozen=True)
class Point:
    """One moment; ``number`` counts from 0, ``what`` is the same in every run of the same command."""

    number: int
    when: str  # leaving, unread, answered, commit, file
    what: str

    def __str__(self) -> str:
        return f"{self.when} {self.what}"


Watcher = Callable[[Point], None]


class _State:
    watcher: Watcher | None = None
    count = 0
    silent = 0
    folder: Path | None = None
    ports: frozenset[int] = frozenset()
    last: tuple[str, str] = ("", "")


_state = _State()


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """What happens in the block is the harness's own."""
    _state.silent += 1
    try:
        yield
    finally:
        _state.silent -= 1


def watch(watcher: Watcher, *, folder: Path, not_ports: frozenset[int] = frozenset()) -> None:
    """Tell ``watcher`` of every point from now on.

    :param folder: files elsewhere do not count.
    :param not_ports: requests to these ports do not count (guests that are probed).
    """
    _state.watcher, _state.folder, _state.ports, _state.count = watcher, folder, not_ports, 0


def last_request() -> tuple[str, str]:
    """Method and path (with its query) of the request that left last."""
    return _state.last


def point(when: str, what: str) -> None:
    if _state.watcher is None or _state.silent:
        return
    point = Point(_state.count, when, what)
    _state.count += 1
    with unnoticed():
        _state.watcher(point)


def install() -> None:
    """Watch requests, commits and files of this process; make it do one thing at a time."""
    setattr(yaml, "SafeLoader", yaml.CSafeLoader)  # noqa: B010  libyaml's, which reads the same much faster
    # all is on loopback; to look for proxies takes a tenth of a request
    setattr(requests.sessions, "get_environ_proxies", lambda *_, **__: {})  # noqa: B010
    _install_requests()
    devices.install(point)
    sa.event.listen(Engine, "commit", _committing)
    sys.addaudithook(_audit)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "pumphouse":
            if hasattr(module, "ThreadPoolExecutor"):
                setattr(module, "ThreadPoolExecutor", AtOnce)  # noqa: B010
            if getattr(module, "threading", None) is threading:
                setattr(module, "threading", _Threading())  # noqa: B010


def _install_requests() -> None:
    leave, read = urllib3.connection.HTTPConnection.request, urllib3.connection.HTTPConnection.getresponse
    send = requests.adapters.HTTPAdapter.send

    def leaving(self: Any, method: str, url: str, *rest: Any, **options: Any) -> Any:
        self.pumphouse_point = _name(method, url) if self.port not in _state.ports else ""
        if self.pumphouse_point:
            if not _state.silent:
                _state.last = method, url
            point("leaving", self.pumphouse_point)
        return leave(self, method, url, *rest, **options)

    def reading(self: Any) -> Any:
        if getattr(self, "pumphouse_point", "") and self.sock is not None and not _state.silent:
            # readable: the answer, or the connection's end, is there, so that the service is done with the request
            select.select([self.sock], [], [], self.timeout if isinstance(self.timeout, int | float) else None)
            point("unread", self.pumphouse_point)
        return read(self)

    def sending(self: Any, request: Any, *rest: Any, **options: Any) -> Any:
        answer = send(self, request, *rest, **options)
        parts = urlsplit(request.url)
        if parts.port not in _state.ports:
            point("answered", _name(request.method, parts.path))
        return answer

    urllib3.connection.HTTPConnection.request = leaving  # type: ignore[method-assign]
    urllib3.connection.HTTPConnection.getresponse = reading  # type: ignore[method-assign]
    requests.adapters.HTTPAdapter.send = sending  # type: ignore[method-assign]


def _committing(connection: sa.Connection) -> None:
    point("commit", Path(connection.engine.url.database or "").name)


def without_ids(text: str) -> str:
    """The same text in every run of the same command."""
    return _IDS.sub("ID", text)


def _name(method: str, url: str) -> str:
    return f"{method} {without_ids(url.partition('?')[0])}"


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.rename" and _state.folder is not None and not _state.silent:
        target = Path(os.fsdecode(arguments[1]))
        if target.is_relative_to(_state.folder):
            point("file", without_ids(str(target.relative_to(_state.folder))))


class AtOnce:
    """A pool that carries out what is submitted before it returns."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, work: Callable[..., Any], /, *rest: Any, **options: Any) -> Future[Any]:
        """Do it."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*rest, **options))
        except Exception as error:  # noqa: BLE001  the future's reader gets it
            future.set_exception(error)
        return future

    def map(self, work: Callable[..., Any], *items: Any) -> Iterator[Any]:
        """Do all of it, in order."""
        return iter([work(*each) for each in zip(*items, strict=False)])

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Nothing is left to do."""

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Idle(threading.Thread):
    """A helper thread that is not needed: what it watches happens while nobody looks."""

    def start(self) -> None:
        """Do not."""

    def join(self, timeout: float | None = None) -> None:
        """It has ended."""


class _Threading:
    Thread = _Idle

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


__all__ = ["AtOnce", "Point", "Watcher", "install", "last_request", "point", "unnoticed", "watch", "without_ids"]
