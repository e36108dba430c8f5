"""Nova v2.1: moving servers between hosts, and making their disks anew.

Answers are those of microversion 2.1 up to 2.13 (2.33 for live migration); later ones leave out parameters, which is
checked here, too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.nova import admin, links, minor
from pumphouse.lab.destination.nova_hosts import room_on
from pumphouse.lab.destination.nova_machine import changed, fail, power_on
from pumphouse.lab.destination.nova_views import base
from pumphouse.lab.destination.state import Cloud, Host, Server
from pumphouse.lab.destination.web import Fault, Json, answer, empty, new_id, now, validate
from pumphouse.lab.destination.wires import server_down

_HOST = {"type": ["string", "null"], "minLength": 1, "maxLength": 255}
_FLAG = {"type": ["boolean", "string"]}
_UUID = {"type": "string", "format": "uuid"}
_RESIZE = (("resize_prep", 0.2), ("resize_migrating", 0.4), ("resize_migrated", 0.1), ("resize_finish", 0.3))
_REBUILD = (("rebuilding", 0.4), ("rebuild_block_device_mapping", 0.1), ("rebuild_spawning", 0.5))
#: vm_states in which each is allowed.
STATES = {
    "os-migrateLive": ("active", "paused"),
    "migrate": ("active", "stopped"),
    "confirmResize": ("resized",),
    "revertResize": ("resized",),
    "evacuate": ("active", "stopped", "error"),
    "rebuild": ("active", "stopped", "error"),
}
RULES = {
    "os-migrateLive": "os-migrate-server:migrate_live",
    "migrate": "os-migrate-server:migrate",
    "evacuate": "os-evacuate",
}
ADMIN = tuple(RULES)
#: What the list of a server's actions calls them.
WORDS = {"os-migrateLive": "live-migration"}

Do = Callable[[Server, Any, web.Request], Awaitable[web.Response]]


def _schema(required: tuple[str, ...], **properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


class Moves:
    """The handlers, by action; who may and in which state is checked before."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.table: dict[str, Do] = {
            "os-migrateLive": self._live,
            "migrate": self._migrate,
            "confirmResize": self._confirm,
            "revertResize": self._revert,
            "evacuate": self._evacuate,
            "rebuild": self._rebuild,
        }

    def routes(self) -> list[web.RouteDef]:
        """What this class answers beside actions."""
        return [web.get("/v2.1/os-migrations", self.migrations)]

    async def migrations(self, request: web.Request) -> web.Response:
        """``GET /os-migrations``."""
        admin(self.cloud, request, "os-migrations:index")
        since = {"migration_type": 23, "uuid": 59, "user_id": 80, "project_id": 80}
        version = minor(request)
        rows = [
            {key: value for key, value in row.items() if version >= since.get(key, 0)}
            for row in self.cloud.compute.migrations
        ]
        return answer({"migrations": rows})

    def _row(self, server: Server, host: str, kind: str, status: str) -> Json:
        moment = now().strftime("%Y-%m-%dT%H:%M:%S.000000")
        row: Json = {
            "id": len(self.cloud.compute.migrations) + 1,
            "uuid": new_id(),
            "migration_type": kind,
            "instance_uuid": server.id,
            "user_id": server.user_id,
            "project_id": server.project_id,
            "source_compute": server.host,
            "source_node": server.host,
            "dest_compute": host,
            "dest_node": host,
            "dest_host": "127.0.0.1",
            "status": status,
            "old_instance_type_id": 1,
            "new_instance_type_id": 1,
            "created_at": moment,
            "updated_at": None,
        }
        self.cloud.compute.migrations.append(row)
        return row

    def _close(self, server: Server, status: str) -> None:
        for row in self.cloud.compute.migrations:
            if row["instance_uuid"] == server.id and row["status"] == "finished":
                row["status"] = status

    def _host(self, name: str | None) -> Host | None:
        return next((host for host in self.cloud.compute.hosts if host.name == name), None)

    def _pick(self, server: Server) -> Host | None:
        fits = [
            host
            for host in self.cloud.compute.hosts
            if host.name != server.host and host.enabled and not host.down and room_on(self.cloud, host, server.flavor)
        ]
        return min(fits, key=lambda host: host.name, default=None)

    async def _live(self, server: Server, value: Any, request: web.Request) -> web.Response:
        version = minor(request)
        if version < 25:
            schema = _schema(
                ("block_migration", "disk_over_commit", "host"),
                block_migration=_FLAG,
                disk_over_commit=_FLAG,
                host=_HOST,
            )
        else:
            more = {"force": _FLAG} if 30 <= version < 68 else {}
            schema = _schema(("block_migration", "host"), block_migration=_FLAG, host=_HOST, **more)
        validate({"os-migrateLive": value}, _schema(("os-migrateLive",), **{"os-migrateLive": schema}))
        source = self._host(server.host)
        if source is None or source.down:
            raise Fault(400, f"Compute service of {server.host} is unavailable at this time.")
        if value["host"] is None:
            target = self._pick(server)
            if target is None:
                raise Fault(400, "No valid host was found. There are not enough hosts available.")
        else:
            target = self._host(value["host"])
            if target is None:
                raise Fault(400, f"Compute host {value['host']} could not be found.")
            if target is source:
                raise Fault(400, f"Unable to migrate instance ({server.id}) to current host ({target.name}).")
            if target.down:
                raise Fault(400, f"Compute service of {target.name} is unavailable at this time.")
        server.task_state = "migrating"
        self.cloud.spawn(self._arrive(server, target.name))
        return empty(202, "application/json")

    async def _arrive(self, server: Server, host: str) -> None:
        row = self._row(server, host, "live-migration", "running")
        await self._for("migrate")
        row["status"] = "completed"
        if server.deleted_at is None:
            self._place(server, host)
            server.task_state = None
            changed(server)

    async def _migrate(self, server: Server, value: Any, request: web.Request) -> web.Response:
        # before 2.56 a host is not refused, and not looked at
        asked = value.get("host") if isinstance(value, dict) and minor(request) >= 56 else None
        target = self._host(asked) if asked else self._pick(server)
        if target is None:
            raise Fault(400, "No valid host was found. There are not enough hosts available.")
        server.task_state = _RESIZE[0][0]
        self.cloud.spawn(self._resize(server, target.name))
        return empty(202, "application/json")

    async def _resize(self, server: Server, host: str) -> None:
        was_running = server.running
        row = self._row(server, host, "migration", "migrating")
        for task, share in _RESIZE:
            server.task_state = task
            changed(server)
            if task == "resize_migrating":
                server.power_state = 4
                await server_down(self.cloud, server)
            if task == "resize_migrated":
                server.old_host = server.host
                self._place(server, host)
            await self._for("migrate", share)
            if server.deleted_at is not None:
                return
        row["status"] = "finished"
        server.vm_state, server.task_state = "resized", None
        changed(server)
        if was_running:
            server.power_state = 1
            power_on(self.cloud, server)

    async def _confirm(self, server: Server, _value: Any, _request: web.Request) -> web.Response:
        async def later() -> None:
            await self._for("migrate", 0.2)
            self._close(server, "confirmed")
            if server.deleted_at is None:
                server.vm_state, server.old_host = "active" if server.power_state == 1 else "stopped", None
                changed(server)

        self.cloud.spawn(later())
        return empty(204, "application/json")

    async def _revert(self, server: Server, _value: Any, _request: web.Request) -> web.Response:
        async def later() -> None:
            await server_down(self.cloud, server)
            await self._for("migrate", 0.5)
            self._close(server, "reverted")
            if server.deleted_at is None:
                self._place(server, server.old_host or server.host or "")
                server.vm_state, server.task_state, server.old_host = "active", None, None
                server.power_state = 1
                changed(server)
                power_on(self.cloud, server)

        server.task_state = "resize_reverting"
        self.cloud.spawn(later())
        return empty(202, "application/json")

    async def _evacuate(self, server: Server, value: Any, request: web.Request) -> web.Response:
        version = minor(request)
        shared = {"onSharedStorage": _FLAG} if version < 14 else {}
        more = {"force": _FLAG} if 29 <= version < 68 else {}
        schema = _schema(tuple(shared), host=_HOST, adminPass={"type": "string"}, **shared, **more)
        validate({"evacuate": value}, _schema(("evacuate",), evacuate=schema))
        if value.get("host") == server.host:
            raise Fault(400, "The target host can't be the same one.")
        target = self._host(value["host"]) if value.get("host") else self._pick(server)
        if target is None and value.get("host"):
            raise Fault(404, f"Compute host {value['host']} not found.")
        source = self._host(server.host)
        if source is not None and not source.down:
            raise Fault(400, f"Compute service of {server.host} is still in use.")
        server.task_state = "rebuilding"
        if target is None:
            fail(server, "No valid host was found. There are not enough hosts available.")
        else:
            self.cloud.spawn(self._remake(server, target.name))
        if version >= 14:
            return web.Response(status=200, content_type="application/json")
        return answer({"adminPass": value.get("adminPass") or secrets.token_urlsafe(9)})

    async def _rebuild(self, server: Server, value: Any, request: web.Request) -> web.Response:
        schema = {"type": "object", "properties": {"imageRef": _UUID}, "required": ["imageRef"]}
        validate({"rebuild": value}, {"properties": {"rebuild": schema}})
        reference = str(value["imageRef"])
        if reference not in self.cloud.image.images:
            raise Fault(400, "Cannot find image for rebuild")
        server.image_id, server.task_state = reference, "rebuilding"
        self.cloud.spawn(self._remake(server, server.host or ""))
        shown = base(self.cloud, server, self.cloud.authenticate(request), minor(request), full=False)
        shown["adminPass"] = value.get("adminPass") or secrets.token_urlsafe(9)
        headers = {"Location": links(self.cloud, "servers", server.id)[0]["href"]}
        return answer({"server": shown}, 202, headers)

    async def _remake(self, server: Server, host: str) -> None:
        was_running = server.vm_state != "stopped"
        for task, share in _REBUILD:
            server.task_state = task
            changed(server)
            if task == "rebuilding":
                await server_down(self.cloud, server)
            await self._for("boot", share)
            if server.deleted_at is not None:
                return
        self._place(server, host)
        server.task_state = None
        server.vm_state, server.power_state = ("active", 1) if was_running else ("stopped", 4)
        server.launched_at = changed(server)
        if was_running:
            power_on(self.cloud, server)

    def _place(self, server: Server, host: str) -> None:
        server.host = host
        for nic in server.nics:
            port = self.cloud.network.ports.get(nic.port_id)
            if port is not None:
                port["binding:host_id"] = host

    async def _for(self, action: str, share: float = 1.0) -> None:
        await asyncio.sleep(self.cloud.world.timing.of(action) * share)
