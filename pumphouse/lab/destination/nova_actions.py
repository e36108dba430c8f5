"""Nova v2.1: ``POST /servers/{id}/action``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.destination.nova import admin, minor
from pumphouse.lab.destination.nova_boot import action_record
from pumphouse.lab.destination.nova_machine import changed, freeze, reboot, start, stop
from pumphouse.lab.destination.nova_moves import ADMIN, RULES, STATES, WORDS, Moves
from pumphouse.lab.destination.nova_servers import find
from pumphouse.lab.destination.state import Caller, Cloud, Server
from pumphouse.lab.destination.web import Fault, answer, empty, read_json, validate

# action -> (word in messages, vm_states it is allowed in, task_state while it lasts, vm_state it leads to)
_TIMED = {
    "os-stop": ("stop", ("active", "error"), "powering-off", "stopped"),
    "os-start": ("start", ("stopped",), "powering-on", "active"),
    "pause": ("pause", ("active",), "pausing", "paused"),
    "unpause": ("unpause", ("paused",), "unpausing", "active"),
    "suspend": ("suspend", ("active",), "suspending", "suspended"),
    "resume": ("resume", ("suspended",), "resuming", "active"),
}
_NOT_SIMULATED = (
    "createImage", "createBackup", "resize", "shelve", "shelveOffload", "unshelve", "rescue", "unrescue",
    "changePassword", "addSecurityGroup", "removeSecurityGroup", "injectNetworkInfo", "resetNetwork",
    "trigger_crash_dump", "forceDelete", "restore",
)  # fmt: skip
_REBOOT = {
    "type": "object",
    "properties": {"type": {"enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}},
    "required": ["type"],
    "additionalProperties": False,
}


class Actions:
    """Handler of server actions."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._moves = Moves(cloud)

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [web.post("/v2.1/servers/{id}/action", self.act), *self._moves.routes()]

    async def act(self, request: web.Request) -> web.Response:
        """``POST /servers/{id}/action``: 202 with nothing in it, and the change follows."""
        caller = self.cloud.authenticate(request)
        body = await read_json(request)
        if len(body) != 1:
            raise Fault(400, "Malformed request body")
        name, value = next(iter(body.items()))
        immediate = {
            "lock": self._lock,
            "unlock": self._unlock,
            "os-resetState": self._reset,
            "os-getConsoleOutput": self._console,
        }
        if name in _NOT_SIMULATED:
            raise Fault(501, f"The simulated destination does not do '{name}'.")
        moves = self._moves.table
        if name not in immediate and name not in _TIMED and name not in moves and name != "reboot":
            raise Fault(400, f"There is no such action: {name}")
        if name in ADMIN:
            admin(self.cloud, request, RULES[name])
        if name == "os-resetState":
            admin(self.cloud, request, "os-admin-actions:reset_state")
        server = find(self.cloud, request, caller, missing="has no mapping to a cell.")
        if name in immediate:
            return await immediate[name](server, value, request)
        self._unlocked(server, caller)
        if name in moves:
            self._allowed(server, name, STATES[name])
            done = await moves[name](server, value, request)
            server.actions.append(action_record(server, WORDS.get(name, name), request, caller))
            changed(server)
            return done
        if name == "reboot":
            validate({"reboot": value}, {"type": "object", "properties": {"reboot": _REBOOT}})
            self._allowed(server, "reboot", ("active", "stopped", "paused", "suspended", "error"))
            server.task_state = "rebooting_hard" if value["type"].lower() == "hard" else "rebooting"
            self.cloud.spawn(reboot(self.cloud, server))
            word = "reboot"
        else:
            word, states, task_state, leads_to = _TIMED[name]
            self._allowed(server, word, states)
            server.task_state = task_state
            self._begin(server, leads_to)
        server.actions.append(action_record(server, word, request, caller))
        changed(server)
        return _accepted()

    def _begin(self, server: Server, leads_to: str) -> None:
        if leads_to == "stopped":
            self.cloud.spawn(stop(self.cloud, server))
        elif leads_to == "active":
            self.cloud.spawn(start(self.cloud, server))
        else:
            self.cloud.spawn(freeze(self.cloud, server, leads_to))

    def _unlocked(self, server: Server, caller: Caller) -> None:
        if server.locked and not caller.is_admin:
            raise Fault(409, f"Instance {server.id} is locked")

    def _allowed(self, server: Server, word: str, states: tuple[str, ...]) -> None:
        if server.host is None and server.vm_state == "error":
            raise Fault(409, f"Instance {server.id} is not ready")
        if server.vm_state not in states:
            raise Fault(409, f"Cannot '{word}' instance {server.id} while it is in vm_state {server.vm_state}")
        if server.task_state is not None:
            raise Fault(409, f"Cannot '{word}' instance {server.id} while it is in task_state {server.task_state}")

    async def _lock(self, server: Server, value: Any, request: web.Request) -> web.Response:
        server.locked = True
        reason = value.get("locked_reason") if isinstance(value, dict) else None
        server.locked_reason = reason if minor(request) >= 73 else None
        return _accepted()

    async def _unlock(self, server: Server, value: Any, request: web.Request) -> web.Response:
        server.locked, server.locked_reason = False, None
        return _accepted()

    async def _reset(self, server: Server, value: Any, request: web.Request) -> web.Response:
        """An administrator's word about a state: it changes the record, and only the record."""
        wanted = value.get("state") if isinstance(value, dict) else None
        if wanted not in ("active", "error"):
            text = f"Invalid input for field/attribute state. Value: {wanted}."
            raise Fault(400, f"{text} {wanted!r} is not one of ['active', 'error']")
        server.vm_state, server.task_state = wanted, None
        changed(server)
        return _accepted()

    async def _console(self, server: Server, value: Any, request: web.Request) -> web.Response:
        return answer({"output": f"{server.name} login: "})


def _accepted() -> web.Response:
    return empty(202, "application/json")
