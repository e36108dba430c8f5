"""Two questions that a page may ask JupyterLab's server: what a kernel's cells work on, and that a run stops.

Both want the same login as everything else there; the second one changes no cloud, it is a line in the journal.
"""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from pumphouse.celllog import log_file, read_cells
from pumphouse.errors import PumphouseError
from pumphouse.stopping import StopKind

if TYPE_CHECKING:
    from pumphouse.reload.work import Followed

_KERNEL = r"(?P<kernel_id>[0-9a-fA-F-]{36})"


def handlers(base_url: str) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """The handlers, with what they share."""
    shared = {"shared": Shared()}
    return [
        (url_path_join(base_url, "pumphouse", "cells", _KERNEL), CellsHandler, shared),
        (url_path_join(base_url, "pumphouse", "stop", _KERNEL), StopHandler, shared),
    ]


class Shared:
    """What is followed; loaded when it is first needed, so that JupyterLab starts as fast as without."""

    def __init__(self) -> None:
        self._followed: Followed | None = None
        self._lock = threading.Lock()

    def followed(self) -> Followed:
        """The one that all requests share."""
        with self._lock:
            if self._followed is None:
                from pumphouse.reload.work import Followed

                self._followed = Followed()
            return self._followed


class _Handler(APIHandler):
    """A handler that knows kernels by their id."""

    def initialize(self, shared: Shared) -> None:
        """Called by tornado."""
        self._shared = shared

    def cells(self, kernel_id: str) -> list[dict[str, Any]]:
        """A kernel's log.

        :raises tornado.web.HTTPError: 404 when there is no such kernel here.
        """
        if kernel_id not in self.kernel_manager:
            raise web.HTTPError(404, f"There is no kernel {kernel_id}.")
        file = getattr(self.kernel_manager.get_kernel(kernel_id), "connection_file", "")
        return read_cells(log_file(Path(file))) if file else []


class CellsHandler(_Handler):
    """What the cells of a kernel work on."""

    @web.authenticated
    async def get(self, kernel_id: str) -> None:
        """``{"windows": how many pages are connected to the kernel, "cells": [...]}``; ``?cell=ID`` asks for some."""
        only = self.get_query_arguments("cell")
        cells = [cell for cell in self.cells(kernel_id) if not only or cell["id"] in only]
        shown = asyncio.get_running_loop().run_in_executor(None, lambda: self._shared.followed().show(cells))
        if any(cell["works_on"] for cell in cells):  # else it is loaded now, for whoever waits then
            cells = await shown
        kernels: Any = self.kernel_manager
        windows = kernels.kernel_model(kernel_id)["connections"]
        self.finish(json.dumps({"windows": windows, "cells": cells}))


class StopHandler(_Handler):
    """Asking the run that a cell carries out to stop."""

    @web.authenticated
    async def post(self, kernel_id: str) -> None:
        """Takes ``{"cell": id, "kind": "after-server" or "now"}``; answers ``{"done": bool, "words": ...}``."""
        asked = self.get_json_body() or {}
        try:
            cell_id, kind = str(asked["cell"]), StopKind(asked["kind"])
        except (KeyError, ValueError) as error:
            raise web.HTTPError(400, "A stop names its cell and its kind.") from error
        cells = self.cells(kernel_id)
        try:
            words = await asyncio.to_thread(lambda: self._shared.followed().stop(cells, cell_id, kind))
        except PumphouseError as problem:
            self.finish(json.dumps({"done": False, "words": str(problem)}))
            return
        self.finish(json.dumps({"done": True, "words": words}))
