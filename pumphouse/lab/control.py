"""The lab's own HTTP port, for tests and the test harness: look at the physics, inject faults, change the pace.

Every request carries the token of ``control.token`` in ``X-Lab-Token``.

====== ============= ======================================================================
GET    /violations   broken laws of the site (duplicate live addresses)
GET    /history      who came and went on the network, with times
GET    /state        counts, server states and timing
GET    /requests     the last requests of all services (``?service=``, ``?method=``, ``?since=`` Unix seconds)
POST   /faults       add a rule (:class:`pumphouse.lab.faults.Fault`'s fields)
DELETE /faults       forget all rules
POST   /timing       change fields of :class:`pumphouse.lab.world.Timing`
POST   /hosts        ``{"host", "alive", "takes"}``: a compute host's heartbeat; a dead host takes its guests with it.
                     One that does not take refuses migrated servers after the API accepted them
POST   /storage      ``{"shared"}``: whether the old cloud's servers have their disks on shared storage
POST   /rate-limit   ``{"on", "scale"}``: the old Nova's rate limits and how fast their clock runs
GET    /idle         answers when nothing is under way any more
GET    /site         everything that the site holds, as plain data, when nothing is under way
GET    /site/digest  one value for all of that
POST   /checkpoints/NAME  keep the site as it is now (PUT: put it back; DELETE: forget it)
*      /hardware/…   machines, ports and BMC buttons: :mod:`pumphouse.lab.hardware.control`
====== ============= ======================================================================
"""

from __future__ import annotations

import dataclasses
import hmac
from typing import Any

from aiohttp import web

from pumphouse.lab.faults import KINDS, Fault, Handler
from pumphouse.lab.hardware.control import HardwareControl
from pumphouse.lab.hardware.fleet import Fleet
from pumphouse.lab.source import Source
from pumphouse.lab.source.nova_views import status_of
from pumphouse.lab.world import World


class Control:
    """The handlers."""

    def __init__(self, world: World, source: Source, token: str, fleet: Fleet | None = None) -> None:
        self.world = world
        self.source = source
        self.fleet = fleet or Fleet()
        self._token = token

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/violations", self.violations)
        app.router.add_get("/history", self.history)
        app.router.add_get("/state", self.state)
        app.router.add_get("/requests", self.requests)
        app.router.add_get("/faults", self.faults)
        app.router.add_post("/faults", self.add_fault)
        app.router.add_delete("/faults", self.clear_faults)
        app.router.add_post("/timing", self.timing)
        app.router.add_post("/hosts", self.hosts)
        app.router.add_post("/storage", self.storage)
        app.router.add_post("/rate-limit", self.rate_limit)
        app.router.add_routes(self.world.checkpoints.routes())
        app.router.add_routes(HardwareControl(self.fleet).routes())
        return app

    @property
    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not hmac.compare_digest(request.headers.get("X-Lab-Token", "").encode(), self._token.encode()):
                return web.json_response({"error": "X-Lab-Token is missing or wrong"}, status=401)
            try:
                return await handler(request)
            except (TypeError, ValueError) as error:
                return web.json_response({"error": str(error)}, status=400)

        return guard

    async def violations(self, _request: web.Request) -> web.Response:
        """GET /violations"""
        rows = [{**dataclasses.asdict(v), "at": v.at.isoformat()} for v in self.world.layer2.violations]
        return web.json_response({"violations": rows})

    async def history(self, _request: web.Request) -> web.Response:
        """GET /history"""
        return web.json_response({"history": self.world.layer2.history})

    async def state(self, _request: web.Request) -> web.Response:
        """GET /state"""
        state, layer2 = self.source.state, self.world.layer2
        statuses: dict[str, int] = {}
        for server in state.live_servers():
            statuses[status_of(server)] = statuses.get(status_of(server), 0) + 1
        return web.json_response(
            {
                "source": {
                    "release": state.release.name,
                    "projects": len(state.projects),
                    "users": len(state.users),
                    "images": len(state.images),
                    "flavors": len(state.flavors),
                    "servers": len(state.live_servers()),
                    "servers_by_status": statuses,
                    "tasks": len(state.tasks),
                    "reserved_fixed_ips": sorted(a for a, fixed in state.fixed_ips.items() if fixed.reserved),
                    "rate_limit": {"on": state.limiter.on, "scale": state.limiter.scale},
                },
                "guests": {
                    cloud: sum(1 for g in layer2.guests.values() if g.cloud == cloud)
                    for cloud in sorted({g.cloud for g in layer2.guests.values()})
                },
                "floating": {a: sorted(map(list, holders)) for a, holders in layer2.floating.items() if holders},
                "violations": len(layer2.violations),
                "timing": dataclasses.asdict(self.world.timing),
            }
        )

    async def requests(self, request: web.Request) -> web.Response:
        """GET /requests"""
        wanted = {k: v for k, v in request.query.items() if k in ("service", "method")}
        since = float(request.query.get("since", 0))
        found = (r for r in self.world.faults.requests if r["t"] >= since)
        rows = [r for r in found if all(r[k] == v for k, v in wanted.items())]
        return web.json_response({"requests": rows})

    async def faults(self, _request: web.Request) -> web.Response:
        """GET /faults"""
        return web.json_response({"faults": [dataclasses.asdict(f) for f in self.world.faults.rules]})

    async def add_fault(self, request: web.Request) -> web.Response:
        """POST /faults"""
        fault = Fault(**await request.json())
        if fault.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        self.world.faults.rules.append(fault)
        return web.json_response({"faults": len(self.world.faults.rules)}, status=201)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        """DELETE /faults"""
        self.world.faults.rules.clear()
        return web.json_response({"faults": 0})

    async def timing(self, request: web.Request) -> web.Response:
        """POST /timing"""
        given = await request.json()
        self.world.timing = dataclasses.replace(self.world.timing, **{k: float(v) for k, v in given.items()})
        return web.json_response(dataclasses.asdict(self.world.timing))

    async def hosts(self, request: web.Request) -> web.Response:
        """POST /hosts"""
        given = await request.json()
        state = self.source.state
        name, alive = str(given.get("host")), bool(given.get("alive", True))
        if name not in state.hosts:
            raise ValueError(f"no compute host {name}")
        state.hosts[name].takes = bool(given.get("takes", True))
        for service in state.services:
            if service.host == name:
                service.alive = alive
        if not alive:
            for server in state.live_servers():
                if server.host == name:
                    await self.world.layer2.power_off(state.cloud, server.id)
        return web.json_response({"host": name, "alive": alive})

    async def storage(self, request: web.Request) -> web.Response:
        """POST /storage"""
        self.source.state.shared_storage = bool((await request.json()).get("shared"))
        return web.json_response({"shared": self.source.state.shared_storage})

    async def rate_limit(self, request: web.Request) -> web.Response:
        """POST /rate-limit; what was counted so far is forgotten."""
        given = await request.json()
        limiter = self.source.state.limiter
        limiter.on = bool(given.get("on", limiter.on))
        limiter.scale = float(given.get("scale", limiter.scale))
        limiter.reset()
        return web.json_response({"on": limiter.on, "scale": limiter.scale})
