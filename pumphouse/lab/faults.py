"""Faults on demand: any request of any simulated service can be made slow, refused, cut or answered in vain."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from pumphouse.lab.checkpoint import Checkpoints

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KINDS = ("status", "delay", "reset", "lost", "hang", "late", "silent", "slow", "truncate", "corrupt")
_PIECES, _PAUSE_S = 8, 0.01


@dataclass
class Fault:
    """One rule.

    :param retry_after_s: what 413, 429 and 503 tell the client to wait.
    :param service: shell pattern for the service's name, e.g. ``source.compute``, ``destination.*``.
    :param method: HTTP method, or ``*``.
    :param path: regular expression searched in the path with its query.
    :param kind: ``status`` refuses with ``status`` before anything happens; ``delay`` waits ``delay_s`` and then
        goes on; ``reset`` cuts the connection before anything happens; ``lost`` does the work and cuts the
        connection instead of answering; ``hang`` does nothing and never answers, ``late`` does the work and never
        answers; ``silent`` answers as ever, but what the request did is taken back; ``slow`` answers in small pieces;
        ``truncate`` cuts the connection in the middle of the answer; ``corrupt`` changes a byte of image data on its
        way, in either direction.
    :param body: regular expression searched in the request's body; empty matches all.
    :param nth: the first matching request that is hit (1 is the next one).
    :param times: how many requests are hit from there on; 0 means all.
    """

    service: str = "*"
    method: str = "*"
    path: str = "."
    kind: str = "status"
    status: int = 503
    retry_after_s: int = 1
    delay_s: float = 0.0
    body: str = ""
    nth: int = 1
    times: int = 1
    seen: int = 0
    hits: int = 0

    def takes(self, service: str, method: str, path: str, body: str) -> bool:
        """Count a request, and say whether it is hit."""
        if not fnmatch.fnmatchcase(service, self.service) or self.method not in ("*", method):
            return False
        if not re.search(self.path, path) or (self.body and not re.search(self.body, body)):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.seen >= self.nth + self.times):
            return False
        self.hits += 1
        return True


@dataclass
class Faults:
    """The rules in force, and a log of the last requests of all services.

    ``followers`` are told the service's name after each request that may have changed something, before its answer
    leaves. ``silences`` are errors on which a service dies: the connection ends without an answer. ``checkpoints``
    take back what a silent fault lets happen. ``dark`` are clouds that nothing runs any more: no request to their
    services is answered.
    """

    rules: list[Fault] = field(default_factory=list)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20000))
    followers: list[Callable[[str], None]] = field(default_factory=list)
    silences: tuple[type[Exception], ...] = ()
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    dark: set[str] = field(default_factory=set)

    def middleware(self, service: str | Callable[[web.Request], str]) -> Middleware:
        """An aiohttp middleware that logs a service's requests and applies the rules to them.

        :param service: the service's name, or what tells it from a request.
        """

        @web.middleware
        async def apply(request: web.Request, handler: Handler) -> web.StreamResponse:
            name = service if isinstance(service, str) else service(request)
            entry: dict[str, Any] = {
                "t": time.time(),
                "service": name,
                "method": request.method,
                "path": request.path_qs,
                "status": None,
            }
            self.requests.append(entry)
            if name.partition(".")[0] in self.dark:
                entry["fault"] = "dark"
                return _cut(request)
            body = ""
            if any(rule.body for rule in self.rules) and "json" in request.headers.get("Content-Type", ""):
                body = (await request.read()).decode(errors="replace")
            for rule in self.rules:
                if not rule.takes(name, request.method, request.path_qs, body):
                    continue
                entry["fault"] = rule.kind
                if rule.kind == "status":
                    entry["status"] = rule.status
                    return _refusal(rule.status, rule.retry_after_s)
                if rule.kind == "delay":
                    if request.content_type == "application/json":
                        await request.read()  # it has arrived: a client that gives up does not take it back
                    await asyncio.sleep(rule.delay_s)
                elif rule.kind == "reset":
                    return _cut(request)
                elif rule.kind == "lost":
                    await self._handle(name, request, handler)
                    return _cut(request)
                elif rule.kind in ("hang", "late"):
                    await (self._handle(name, request, handler) if rule.kind == "late" else request.read())
                    return await _never(request)
                elif rule.kind == "silent":
                    return await self._in_vain(name, request, handler)
                elif rule.kind in ("slow", "truncate", "corrupt"):
                    request._payload_writer = cast(Any, _Spoiled(request, rule.kind))
                    if rule.kind == "corrupt":
                        # not through `content`, which remembers what it gave
                        request._payload = cast(Any, _Corrupted(request._payload))
            try:
                answer = await self._handle(name, request, handler)
            except self.silences:
                return _cut(request)
            entry["status"] = answer.status
            return answer

        return apply

    async def _handle(self, name: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method not in ("GET", "HEAD"):
            for follower in self.followers:
                follower(name)
        return answer

    async def _in_vain(self, name: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as if it had been done; nothing of it lasts."""
        await self.checkpoints.idle()
        before = self.checkpoints.save()
        answer = await self._handle(name, request, handler)
        await self.checkpoints.idle()
        await self.checkpoints.load(before)
        return answer


class _Spoiled:
    """A payload writer whose answer is slow, cut or has a wrong byte."""

    _OWN = ("_request", "_kind", "_writer", "_changed")

    def __init__(self, request: web.Request, kind: str) -> None:
        self._request, self._kind = request, kind
        self._writer = request._payload_writer
        self._changed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._writer, name, value)

    async def write(self, chunk: bytes, **options: Any) -> None:
        await self._writer.write(await self._spoil(bytes(chunk)), **options)

    async def write_eof(self, chunk: bytes = b"") -> None:
        await self._writer.write_eof(await self._spoil(bytes(chunk)))

    async def _spoil(self, chunk: bytes) -> bytes:
        if not chunk or self._changed:
            return chunk
        if self._kind == "corrupt":
            if self._request.path.endswith("/file") or "octet-stream" in self._request.headers.get("Accept", ""):
                self._changed = True
                return _flipped(chunk)
            return chunk
        size = max(1, len(chunk) // _PIECES)
        if self._kind == "slow":
            self._changed = True
            while len(chunk) > size:
                await self._writer.write(chunk[:size])
                await asyncio.sleep(_PAUSE_S)
                chunk = chunk[size:]
            return chunk
        self._changed = True
        await self._writer.write(chunk[: len(chunk) // 2])
        await asyncio.sleep(_PAUSE_S)
        _cut(self._request)
        raise ConnectionResetError("the lab was told to cut this answer")


class _Corrupted:
    """A request's body of which a byte was changed on its way."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._changed = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for chunk in self._stream.iter_chunked(size):
            yield chunk if self._changed or not chunk else _flipped(chunk)
            self._changed = True


def _flipped(chunk: bytes) -> bytes:
    # not the first bytes: services look at those to tell formats apart
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


async def _never(request: web.Request) -> web.Response:
    """Keep silent until the client has gone away."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(_PAUSE_S)
    return web.Response()


def _refusal(status: int, retry_after_s: int) -> web.Response:
    error = {"code": status, "message": "The lab was told to refuse this request.", "title": "Injected fault"}
    headers = {"Retry-After": str(retry_after_s)} if status in (413, 429, 503) else {}
    return web.Response(
        status=status, body=json.dumps({"error": error}).encode(), content_type="application/json", headers=headers
    )


def _cut(request: web.Request) -> web.Response:
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
