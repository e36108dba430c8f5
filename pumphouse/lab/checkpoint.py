"""Keeping the whole simulated site as it is at one moment, putting it back, and showing all of it as plain data.

A harness that kills a process at every request asks for the same state hundreds of times; a lab that jumps back to it
is a hundred times quicker than a new one. Each part of the site registers a :class:`Part` with the world's
:class:`Checkpoints`. What is under way in the background cannot be kept, so that a checkpoint waits until nothing is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Protocol

from aiohttp import web

_IDLE_S = 10.0


class Part(Protocol):
    """One part of the site."""

    @property
    def name(self) -> str:
        """What :meth:`Checkpoints.show` calls it."""

    @property
    def busy(self) -> bool:
        """Whether something is under way that a checkpoint could not keep."""

    def save(self) -> Any:
        """What :meth:`load` puts back; later changes do not reach it."""

    async def load(self, saved: Any) -> None:
        """Be again as it was; what is under way in the background is dropped."""

    def show(self) -> Any:
        """Everything that matters, as plain data; logs and login tokens do not."""


class Checkpoints:
    """All parts together; checkpoints are kept by name, in memory."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._kept: dict[str, list[Any]] = {}
        self._digested: tuple[list[Any], str] = ([], "")

    async def idle(self) -> None:
        """Wait until nothing is under way.

        :raises ValueError: when something still is after ten seconds.
        """
        end = asyncio.get_running_loop().time() + _IDLE_S
        while busy := [part.name for part in self.parts if part.busy]:
            if asyncio.get_running_loop().time() > end:
                raise ValueError(f"{', '.join(busy)}: something is still under way after {_IDLE_S:g} s")
            await asyncio.sleep(0)

    def save(self) -> list[Any]:
        """Everything as it is now."""
        return [part.save() for part in self.parts]

    async def load(self, saved: list[Any]) -> None:
        """Everything as it was."""
        for part, kept in zip(self.parts, saved, strict=True):
            await part.load(kept)

    async def keep(self, name: str) -> None:
        """Keep the present state under a name."""
        await self.idle()
        self._kept[name] = self.save()

    async def restore(self, name: str) -> None:
        """Put a kept state back; it stays kept.

        :raises ValueError: when there is none of that name.
        """
        if name not in self._kept:
            raise ValueError(f"no checkpoint {name}")
        await self.load(self._kept[name])

    def forget(self, name: str) -> None:
        """Give up a kept state."""
        self._kept.pop(name, None)

    def show(self) -> dict[str, Any]:
        """The whole site as plain data."""
        return {part.name: part.show() for part in self.parts}

    # -- over HTTP ----------------------------------------------------------------------------
    def routes(self) -> list[web.RouteDef]:
        """What the lab's control port answers."""
        return [
            web.get("/idle", self._get_idle),
            web.get("/site", self._get_site),
            web.get("/site/digest", self._get_digest),
            web.post("/checkpoints/{name}", self._post),
            web.put("/checkpoints/{name}", self._put),
            web.delete("/checkpoints/{name}", self._delete),
        ]

    async def _get_idle(self, _request: web.Request) -> web.Response:
        await self.idle()
        return web.json_response({"idle": True})

    async def _get_site(self, _request: web.Request) -> web.Response:
        await self.idle()
        return web.json_response(self.show())

    async def _get_digest(self, _request: web.Request) -> web.Response:
        await self.idle()
        now = self.save()
        if now != self._digested[0]:
            shown = hashlib.sha256(json.dumps(self.show(), sort_keys=True).encode()).hexdigest()
            self._digested = now, shown
        return web.json_response({"digest": self._digested[1]})

    async def _post(self, request: web.Request) -> web.Response:
        await self.keep(request.match_info["name"])
        return web.json_response({"kept": request.match_info["name"]})

    async def _put(self, request: web.Request) -> web.Response:
        await self.restore(request.match_info["name"])
        return web.json_response({"restored": request.match_info["name"]})

    async def _delete(self, request: web.Request) -> web.Response:
        self.forget(request.match_info["name"])
        return web.json_response({"forgotten": request.match_info["name"]})
