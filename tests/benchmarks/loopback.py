"""A Glance on loopback that makes up the bytes of its images and keeps none: the copier's memory alone is measured."""

from __future__ import annotations

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.benchmarks.meter import MIB
from tests.clouds.stub import Answer, Call, Stub

SOURCE_ID, COPY_ID = "source-image", "copy"


class LoopbackGlance(Stub):
    """One image to read, one to write; size and digests are those of what really came."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        self._block = os.urandom(MIB)
        self._digest = self._digest_of_all()
        self._copy: dict[str, Any] = {"status": "queued", "size": None, "checksum": None}
        self._lock = threading.Lock()
        whole = {"status": "active", "size": size_bytes, "checksum": self._digest}
        self.on("GET", f"/image/v2/images/{SOURCE_ID}", Answer(200, self._record(SOURCE_ID, whole)))
        self.on("GET", f"/image/v2/images/{COPY_ID}", self._show)

    def _digest_of_all(self) -> str:
        md5 = hashlib.md5(usedforsecurity=False)
        for begin in range(0, self.size_bytes, MIB):
            md5.update(self._block[: min(MIB, self.size_bytes - begin)])
        return md5.hexdigest()

    def _record(self, image_id: str, more: dict[str, Any]) -> dict[str, Any]:
        return {"id": image_id, "name": image_id, "visibility": "public", "owner": "p", **more}

    def _show(self, _call: Call) -> Answer:
        with self._lock:
            return Answer(200, self._record(COPY_ID, self._copy))

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == f"/image/v2/images/{SOURCE_ID}/file":
            self._send_image(handler)
        elif handler.path == f"/image/v2/images/{COPY_ID}/file":
            self._take_image(handler)
        else:
            super()._serve(handler)

    def _send_image(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(self.size_bytes))
        handler.end_headers()
        for begin in range(0, self.size_bytes, MIB):
            handler.wfile.write(self._block[: min(MIB, self.size_bytes - begin)])

    def _take_image(self, handler: BaseHTTPRequestHandler) -> None:
        size, left = 0, int(handler.headers["Content-Length"])
        md5 = hashlib.md5(usedforsecurity=False)
        while left:
            piece = handler.rfile.read(min(MIB, left))
            if not piece:
                return
            md5.update(piece)
            size, left = size + len(piece), left - len(piece)
        with self._lock:
            self._copy = {"status": "active", "size": size, "checksum": md5.hexdigest()}
        handler.send_response_only(204)
        handler.end_headers()
