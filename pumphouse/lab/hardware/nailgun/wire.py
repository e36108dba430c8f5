"""The form of Nailgun's answers: its content types, which say little, its refusals, its login."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.nailgun.release import Traits
from pumphouse.lab.hardware.nailgun.state import Refusal, State

Handler = Callable[[web.Request, "list[int]"], Awaitable[web.Response]]
_PREFIX = re.compile(r"^/api(/v1)?(?=/|$)")
_PUBLIC = {("GET", "/version"), ("POST", "/nodes"), ("PUT", "/nodes/agent")}
_PATH_ID = re.compile(r"(?<=/)\d+(?=/|$)")


def answer(traits: Traits, body: Any, status: int = 200) -> web.Response:
    """JSON with the content type that the release gives it."""
    doubled = not traits.json_errors and status == 200
    kind = "application/json, application/json" if doubled else "application/json"
    return web.Response(status=status, body=json.dumps(body).encode(), headers={"Content-Type": kind})


def nothing(traits: Traits) -> web.Response:
    """Success without content, which is not JSON up to 6.1."""
    if traits.null_bodies:
        return answer(traits, None)
    response = answer(traits, None)
    response.body = b"None"
    return response


def refusal(traits: Traits, error: Refusal) -> web.Response:
    """A refusal in the release's form."""
    headers = {"Content-Type": "text/html"}
    if error.plain:
        return web.Response(status=error.status, body=error.message.encode(), headers=headers)
    if traits.json_errors:
        body = json.dumps({"message": error.message, "errors": error.errors})
        return web.Response(status=error.status, body=body.encode(), headers=headers)
    if not error.bare:
        headers = {"Content-Type": "text/html, application/json"}
    return web.Response(status=error.status, body=error.message.encode(), headers=headers)


async def read_json(request: web.Request) -> Any:
    """The request's JSON."""
    raw = await request.read()
    if not raw:
        raise Refusal(400, "Empty request received")
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refusal(400, "Invalid json received") from error


@dataclass(frozen=True)
class Route:
    """One method of one path; ``N`` in the path stands for an id."""

    method: str
    path: str
    handler: Handler


class Front:
    """Finds the handler: trailing slashes do not matter, ``/api/v1`` is ``/api``, ids are numbers.

    :param before: called before each request.
    """

    def __init__(self, state: State, routes: list[Route], before: Callable[[], None]) -> None:
        self.state, self._before = state, before
        self._routes = {(route.method, route.path): route.handler for route in routes}
        self._paths = {route.path for route in routes}

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        traits = self.state.traits
        self._before()
        if request.path.rstrip("/") == "/keystone/v2.0/tokens" and request.method == "POST":
            return await self._log_in(request)
        if not _PREFIX.match(request.path):
            return _not_found()
        path = _PREFIX.sub("", request.path).rstrip("/") or "/"
        token = request.headers.get("X-Auth-Token") or request.cookies.get("token", "")
        public = (request.method, path) in _PUBLIC
        if self.state.auth_required and not public and not self.state.knows(token):
            return web.Response(status=401)
        ids = [int(found) for found in _PATH_ID.findall(path)]
        pattern = _PATH_ID.sub("N", path)
        if pattern not in self._paths:
            return _not_found()
        accept = request.headers.get("Accept", "*/*")
        if traits.json_errors and "application/json" not in accept and "*/*" not in accept:
            return web.Response(status=415, headers={"Content-Type": "text/html"})
        handler = self._routes.get((request.method, pattern))
        if handler is None:
            return web.Response(status=405, body=b"None", headers={"Content-Type": "text/html"})
        try:
            return await handler(request, ids)
        except Refusal as error:
            return refusal(traits, error)

    async def _log_in(self, request: web.Request) -> web.Response:
        state = self.state
        try:
            auth = (await read_json(request))["auth"]
            given = auth["passwordCredentials"]
            fits = (given["username"], given["password"], auth.get("tenantName")) == (
                *(state.user, state.password),
                state.tenant,
            )
        except (Refusal, KeyError, TypeError):
            fits = False
        if not fits:
            return refusal(state.traits, Refusal(401, ""))
        now = datetime.now(UTC)
        token = {
            "id": state.issue(),
            "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "expires": (now + timedelta(seconds=state.token_ttl_s)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tenant": {"id": "12345", "name": state.tenant, "enabled": True, "description": None},
        }
        user = {
            "id": "9876",
            "name": state.user,
            "username": state.user,
            "roles": [{"name": "admin"}],
            "roles_links": [],
        }
        access = {"token": token, "user": user, "serviceCatalog": [], "metadata": {"is_admin": 0, "roles": ["4567"]}}
        return answer(state.traits, {"access": access})


def _not_found() -> web.Response:
    return web.Response(status=404, body=b"not found", headers={"Content-Type": "text/html"})
