"""A tiny HTTP server whose answers a test scripts; a Keystone and a catalog are built in."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PASSWORD = "stub-Passw0rd"
TOKEN = "stub-token-0123456789abcdef"
USER_ID, PROJECT_ID = "u" * 32, "p" * 32


@dataclass(frozen=True)
class Call:
    """A request that the stub got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What the stub says; ``act`` may be ``reset`` (drop the connection), ``hang`` or ``cut`` (half of the body)."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    act: str = ""

    def encoded(self) -> tuple[bytes, str]:
        """Body and content type."""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html; charset=UTF-8"
        return json.dumps(self.body).encode(), "application/json"


Reaction = Callable[[Call], Answer]


class Stub:
    """Start it, script it with :meth:`on`, read :attr:`calls`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self.logins = 0
        self._script: dict[tuple[str, str], list[Answer | Reaction]] = {}
        self._released = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

            def __getattr__(self, attribute: str) -> Any:
                if attribute.startswith("do_"):
                    return lambda: stub._serve(self)
                raise AttributeError(attribute)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            # the handshake is each connection's own: one that fails must not keep the others waiting
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        self.services = {"compute": "/compute/v2.1", "image": "/image", "network": "/network"}
        self.regions: dict[str, dict[str, str]] = {}
        """Service -> region -> path, where that is not R1 alone."""
        self.on("GET", "/", Answer(300, {"versions": {"values": [{"id": "v3.8", "status": "stable"}]}}))
        version = {"id": "v3.8", "status": "stable", "links": [{"rel": "self", "href": f"{self.url}/v3/"}]}
        self.on("GET", "/v3", Answer(200, {"version": version}))
        self.on("POST", "/v3/auth/tokens", self._login)
        self.on("GET", "/image/", Answer(300, {"versions": [{"id": "v2.9", "status": "CURRENT"}]}))
        nova = {"id": "v2.1", "status": "CURRENT", "version": "2.104", "min_version": "2.1"}
        self.on("GET", "/compute/", Answer(200, {"versions": [nova]}))

    def on(self, method: str, path: str, *answers: Answer | Reaction) -> None:
        """Answers in turn; the last one stays."""
        self._script[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Call]:
        """The calls to one place."""
        return [call for call in self.calls if (call.method, call.path) == (method, path)]

    def stop(self) -> None:
        """Stop serving."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _login(self, call: Call) -> Answer:
        self.logins += 1
        identity = call.json()["auth"]["identity"]["password"]["user"]
        if identity["password"] != PASSWORD:
            return Answer(401, {"error": {"message": "The request you have made requires authentication."}})
        catalog = [
            {"type": kind, "name": kind, "endpoints": [
                {"interface": "public", "region": region, "region_id": region, "url": f"{self.url}{path}"}
                for region, path in self.regions.get(kind, {"R1": place}).items()]}
            for kind, place in self.services.items()
        ]  # fmt: skip
        token = {
            "user": {"id": USER_ID, "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": PROJECT_ID, "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r1", "name": "admin"}], "methods": ["password"], "catalog": catalog,
            "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z",
        }  # fmt: skip
        return Answer(201, {"token": token}, {"X-Subject-Token": f"{TOKEN}-{self.logins}"})

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        call = Call(
            handler.command, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)),
            {key.lower(): value for key, value in handler.headers.items()}, _read_body(handler),
        )  # fmt: skip
        self.calls.append(call)
        script = self._script.get((call.method, call.path))
        answer: Answer | Reaction = Answer(404, "<html><body><h1>404 Not Found</h1>stub</body></html>")
        if script:
            answer = script.pop(0) if len(script) > 1 else script[0]
        if not isinstance(answer, Answer):
            answer = answer(call)
        self._send(handler, answer)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.act == "hang":
            self._released.wait(20)
        if answer.act in ("hang", "reset"):
            handler.close_connection = True
            # linger 0: close with RST, as a crashed service does
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            return
        body, kind = answer.encoded()
        handler.send_response_only(answer.status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **answer.headers}.items():
            handler.send_header(key, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body[: len(body) // 2] if answer.act == "cut" else body)
        if answer.act == "cut":
            handler.close_connection = True


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b""
        while size := int(handler.rfile.readline().split(b";")[0] or b"0", 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return body
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
