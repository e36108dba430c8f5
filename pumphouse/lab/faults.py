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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KINDS = ("status", "delay", "reset", "lost")


@dataclass
class Fault:
    """One rule.

    :param service: shell pattern for the service's name, e.g. ``source.compute``, ``destination.*``.
    :param method: HTTP method, or ``*``.
    :param path: regular expression searched in the path with its query.
    :param kind: ``status`` refuses with ``status`` before anything happens; ``delay`` waits ``delay_s`` and then
        goes on; ``reset`` cuts the connection before anything happens; ``lost`` does the work and cuts the
        connection instead of answering.
    :param body: regular expression searched in the request's body; empty matches all.
    :param nth: the first matching request that is hit (1 is the next one).
    :param times: how many requests are hit from there on; 0 means all.
    """

    service: str = "*"
    method: str = "*"
    path: str = "."
    kind: str = "status"
    status: int = 503
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
    leaves. ``silences`` are errors on which a service dies: the connection ends without an answer.
    """

    rules: list[Fault] = field(default_factory=list)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20000))
    followers: list[Callable[[str], None]] = field(default_factory=list)
    silences: tuple[type[Exception], ...] = ()

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
            body = ""
            if any(rule.body for rule in self.rules) and "json" in request.headers.get("Content-Type", ""):
                body = (await request.read()).decode(errors="replace")
            for rule in self.rules:
                if not rule.takes(name, request.method, request.path_qs, body):
                    continue
                entry["fault"] = rule.kind
                if rule.kind == "status":
                    entry["status"] = rule.status
                    return _refusal(rule.status)
                if rule.kind == "delay":
                    if request.content_type == "application/json":
                        await request.read()  # it has arrived: a client that gives up does not take it back
                    await asyncio.sleep(rule.delay_s)
                elif rule.kind == "reset":
                    return _cut(request)
                elif rule.kind == "lost":
                    await self._handle(name, request, handler)
                    return _cut(request)
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


def _refusal(status: int) -> web.Response:
    error = {"code": status, "message": "The lab was told to refuse this request.", "title": "Injected fault"}
    headers = {"Retry-After": "1"} if status in (413, 429, 503) else {}
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
