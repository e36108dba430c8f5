"""Nova's frame: authentication, faults, version documents, extensions, and the helpers of all its parts."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from pumphouse.lab.faults import Handler
from pumphouse.lab.source.ratelimit import Refusal
from pumphouse.lab.source.state import Server, State
from pumphouse.lab.source.wire import CALLER, ApiFault, Caller, TokenCheck, json_answer, read_json, webob_page

JSON_UTF8 = "application/json; charset=UTF-8"

FAULT_KEYS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}

NOT_IMPLEMENTED = (
    "XML bodies and answers; API v3 and v1.1 paths; EC2 and metadata services",
    "actions forceDelete, restore, os-getSPICEConsole, os-getRDPConsole; rescue and unrescue were not recorded",
    "injectNetworkInfo, resetNetwork and changePassword do nothing; createBackup does not rotate",
    "os-volumes and os-snapshots: 500, there is no Cinder; volumes cannot be attached",
    "os-cells and os-fping beyond their 501 and 503; os-baremetal-nodes; os-consoles; os-console-auth-tokens",
    "writing os-cloudpipe, os-floating-ip-dns, os-security-group-default-rules, os-agents and os-certificates",
    "os-assisted-volume-snapshots and os-server-external-events",
    "rate limits are counted per user for the whole lab, not per process of the API",
)
"""What Nova has and this lab answers like an unknown path, or as said."""


def _below_project(request: web.Request) -> str:
    """The path below the project's, with its query, as rate limits see it."""
    return "/" + request.path_qs.removeprefix("/v2/").partition("/")[2]


class Nova:
    """Nova v2 with nova-network."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.tokens = TokenCheck(state)

    def app(self) -> web.Application:
        """The HTTP application."""
        from pumphouse.lab.source import (
            nova_actions,
            nova_flavors,
            nova_hosts,
            nova_keypairs,
            nova_misc,
            nova_network,
            nova_quotas,
            nova_secgroups,
            nova_servers,
        )

        app = web.Application(
            middlewares=[self.state.world.faults.middleware(f"{self.state.cloud}.compute"), self._dress],
            client_max_size=1 << 26,
        )
        app.router.add_get("/", self._versions)
        app.router.add_get("/v2", self._redirect)
        app.router.add_get("/v2/", self._version)
        app.router.add_get("/v2/{project}/extensions", self._extensions)
        app.router.add_get("/v2/{project}/extensions/{alias}", self._extension)
        for part in (
            nova_servers,
            nova_actions,
            nova_flavors,
            nova_keypairs,
            nova_network,
            nova_secgroups,
            nova_quotas,
            nova_hosts,
            nova_misc,
        ):
            part.add_routes(app, self)
        return app

    @property
    def _dress(self) -> Any:
        @web.middleware
        async def dress(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path == "/":
                return await handler(request)
            caller = self.tokens.caller(request)
            if caller is None:
                return self._unauthorized(request)
            refusal = self.state.limiter.check(caller.user_id, request.method, _below_project(request))
            if refusal is not None:
                return self._too_many(refusal)
            request[CALLER] = caller
            try:
                self._check_project(request, caller)
                answer = await handler(request)
            except ApiFault as fault:
                answer = self.error(fault)
            except web.HTTPException:
                return webob_page(request, 404)
            bare = answer.content_type == "text/html" and not getattr(answer, "body", None)
            if request.path != "/v2" and (self.state.release.accepted_tells_request or not bare):
                answer.headers["X-Compute-Request-Id"] = caller.request_id
            return answer

        return dress

    def _unauthorized(self, request: web.Request) -> web.Response:
        challenge = f"Keystone uri='{self.state.endpoints.keystone}/'"
        if self.state.release.html_401:
            answer = webob_page(request, 401, detail="Authentication required")
        else:
            answer = web.Response(status=401, body=b"Authentication required", headers={"Content-Type": "text/plain"})
        answer.headers["WWW-Authenticate"] = challenge
        return answer

    def _too_many(self, refusal: Refusal) -> web.Response:
        fault = {
            "message": "This request was rate-limited.",
            "code": 413,
            "retryAfter": refusal.retry_after,
            "details": refusal.details,
        }
        answer = json_answer({"overLimit": fault}, 413, content_type=JSON_UTF8)
        answer.headers["Retry-After"] = refusal.retry_after
        return answer

    def _check_project(self, request: web.Request, caller: Caller) -> None:
        project_id = request.match_info.get("project")
        if project_id is not None and project_id != caller.project_id:
            raise ApiFault(400, self.state.release.words["url-project"].format(asked=project_id, own=caller.project_id))

    def error(self, fault: ApiFault) -> web.Response:
        """Nova's JSON fault."""
        body: dict[str, Any] = {"message": fault.message, "code": fault.status}
        if fault.retry_after is not None:
            body["retryAfter"] = fault.retry_after
        answer = json_answer({FAULT_KEYS.get(fault.status, "computeFault"): body}, fault.status, content_type=JSON_UTF8)
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = fault.retry_after
        return answer

    # --- versions and extensions

    async def _versions(self, _request: web.Request) -> web.Response:
        link = {"rel": "self", "href": f"{self.state.endpoints.nova}/v2/"}
        version = {"id": "v2.0", "status": "CURRENT", "updated": "2011-01-21T11:33:21Z", "links": [link]}
        return json_answer({"versions": [version]})

    async def _redirect(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; charset=utf8", "Location": f"{self.state.endpoints.nova}/v2/"}
        return web.Response(status=302, headers=headers)

    async def _version(self, _request: web.Request) -> web.Response:
        docs = "http://docs.openstack.org/api/openstack-compute/2"
        media = "application/vnd.openstack.compute"
        version = {
            "id": "v2.0",
            "status": "CURRENT",
            "updated": "2011-01-21T11:33:21Z",
            "links": [
                {"rel": "self", "href": f"{self.state.endpoints.nova}/v2/"},
                {"rel": "describedby", "type": "application/pdf", "href": f"{docs}/os-compute-devguide-2.pdf"},
                {
                    "rel": "describedby",
                    "type": "application/vnd.sun.wadl+xml",
                    "href": f"{docs}/wadl/os-compute-2.wadl",
                },
            ],
            "media-types": [
                {"base": "application/xml", "type": f"{media}+xml;version=2"},
                {"base": "application/json", "type": f"{media}+json;version=2"},
            ],
        }
        return json_answer({"version": version})

    def _extension_views(self) -> list[dict[str, Any]]:
        text = resources.files("pumphouse.lab.source").joinpath("extensions.json").read_text(encoding="utf-8")
        return [
            {
                "alias": row["alias"],
                "name": row["name"],
                "description": f"{row['name']}.",
                "namespace": row["namespace"],
                "updated": row["updated"],
                "links": [],
            }
            for row in json.loads(text)["extensions"]
            if self.state.release.name in row["releases"]
        ]

    async def _extensions(self, _request: web.Request) -> web.Response:
        return json_answer({"extensions": self._extension_views()})

    async def _extension(self, request: web.Request) -> web.Response:
        for view in self._extension_views():
            if view["alias"] == request.match_info["alias"]:
                return json_answer({"extension": view})
        raise ApiFault(404)

    # --- helpers of the parts

    def caller(self, request: web.Request) -> Caller:
        """Who asks (the middleware has checked the token)."""
        return request[CALLER]

    def require_admin(self, request: web.Request, rule: str) -> Caller:
        """Who asks, an administrator; 403 naming the policy rule otherwise."""
        caller = self.caller(request)
        if not caller.is_admin:
            raise ApiFault(403, f"Policy doesn't allow {rule} to be performed.")
        return caller

    async def body(self, request: web.Request, key: str | None = None) -> dict[str, Any]:
        """The request's JSON object, or the object under ``key``; 400 when there is none."""
        data = await read_json(request)
        if not isinstance(data, dict):
            raise ApiFault(400, "Malformed request body")
        if key is None:
            return data
        if not isinstance(data.get(key), dict):
            raise ApiFault(422 if key in ("security_group", "security_group_rule") else 400, "Malformed request body")
        return dict(data[key])

    def server(self, request: web.Request) -> Server:
        """The server in the path, visible to its project and to administrators."""
        server = self.state.servers.get(request.match_info["id"])
        caller = self.caller(request)
        hidden = server is not None and server.project_id != caller.project_id and not caller.is_admin
        if server is None or server.deleted or hidden:
            raise ApiFault(404, "Instance could not be found")
        return server

    def links(self, project_id: str, kind: str, identifier: str) -> list[dict[str, str]]:
        """The self and bookmark links of a record."""
        base = self.state.endpoints.nova
        return [
            {"rel": "self", "href": f"{base}/v2/{project_id}/{kind}/{identifier}"},
            self.bookmark(project_id, kind, identifier),
        ]

    def bookmark(self, project_id: str, kind: str, identifier: str) -> dict[str, str]:
        """The versionless link of a record."""
        return {"rel": "bookmark", "href": f"{self.state.endpoints.nova}/{project_id}/{kind}/{identifier}"}

    def page(self, request: web.Request, items: list[Any], ids: list[str]) -> tuple[list[Any], list[dict[str, str]]]:
        """One page of a listing and its links.

        The ``next`` link appears when the page is as long as it may be, and leads to the brief listing even from the
        detailed one: Nova's own bug.
        """
        query = request.query
        marker = query.get("marker")
        if marker is not None:
            if marker not in ids:
                raise ApiFault(400, f"marker [{marker}] not found")
            items = items[ids.index(marker) + 1 :]
            ids = ids[ids.index(marker) + 1 :]
        cap = self.state.osapi_max_limit
        asked = self._limit(query.get("limit"))
        full = min(cap, asked if asked is not None else cap)
        page = items[:full]
        if not page or len(page) != full or (asked is None and not self.state.release.next_link_without_limit):
            return page, []
        kind = request.path.split("/")[3]
        rest = {**{k: v for k, v in query.items() if k != "marker"}, "marker": ids[len(page) - 1]}
        href = f"{self.state.endpoints.nova}/v2/{self.caller(request).project_id}/{kind}?{urlencode(rest)}"
        return page, [{"rel": "next", "href": href}]

    def limited(self, request: web.Request, items: list[Any]) -> list[Any]:
        """A slice by ``offset`` and ``limit`` (``limited`` in nova.api.openstack.common), as older listings page."""
        cap = self.state.osapi_max_limit
        asked = self._limit(request.query.get("limit"))
        try:
            offset = int(request.query.get("offset", "0"))
        except ValueError:
            raise ApiFault(400, "offset param must be an integer") from None
        if offset < 0:
            raise ApiFault(400, "offset param must be positive")
        return items[offset : offset + min(cap, asked or cap)]

    def _limit(self, text: str | None) -> int | None:
        if text is None:
            return None
        try:
            limit = int(text)
        except ValueError:
            raise ApiFault(400, "limit param must be an integer") from None
        if limit < 0:
            raise ApiFault(400, "limit param must be positive")
        return limit
