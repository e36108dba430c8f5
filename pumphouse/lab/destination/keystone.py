"""Keystone v3 (API 3.14): version documents, tokens and the catalog."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.destination.state import REGION, TOKEN_LIFE, Cloud, Token
from pumphouse.lab.destination.web import (
    UNAUTHENTICATED,
    Fault,
    Json,
    answer,
    new_secret,
    now,
    read_json,
)

DOMAIN = {"id": "default", "name": "Default"}
_DEFAULT_DOMAIN = {
    "id": "default",
    "name": "Default",
    "description": "The default domain",
    "enabled": True,
    "tags": [],
    "options": {},
}


class Tokens:
    """Handlers of ``/`` and ``/v3/auth``, and of what describes the catalog."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            web.get("/", self.versions),
            web.get("/v3", self.version),
            web.get("/v3/", self.version),
            web.post("/v3/auth/tokens", self.issue),
            web.get("/v3/auth/tokens", self.show),
            web.delete("/v3/auth/tokens", self.revoke),
            web.get("/v3/auth/projects", self.projects),
            web.get("/v3/auth/catalog", self.catalog_of_token),
            web.get("/v3/domains", self.domains),
            web.get("/v3/domains/{id}", self.domain),
            web.get("/v3/services", self.services),
            web.get("/v3/endpoints", self.endpoints),
            web.get("/v3/regions", self.regions),
            web.get("/v3/groups", self.groups),
        ]

    def _version(self) -> Json:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self.cloud.urls['identity']}/"}],
            "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
        }

    async def versions(self, request: web.Request) -> web.Response:
        """``GET /``."""
        headers = {"Location": f"{self.cloud.urls['identity']}/"}
        return answer({"versions": {"values": [self._version()]}}, 300, headers)

    async def version(self, request: web.Request) -> web.Response:
        """``GET /v3``."""
        return answer({"version": self._version()})

    async def issue(self, request: web.Request) -> web.Response:
        """``POST /v3/auth/tokens``: password or token method; project, system or no scope."""
        auth = (await read_json(request)).get("auth")
        if not isinstance(auth, dict) or not isinstance(auth.get("identity"), dict):
            missing = "auth" if not isinstance(auth, dict) else "identity"
            raise Fault(
                400,
                f"Expecting to find {missing} in request body. The server could not comply with the request since it "
                "is either malformed or otherwise incorrect. The client is assumed to be in error.",
            )
        identity = auth["identity"]
        methods = identity.get("methods") or []
        if "password" in methods:
            user_id = self._by_password(identity.get("password", {}).get("user", {}))
        elif "token" in methods:
            old = self.cloud.token(identity.get("token", {}).get("id", ""))
            if old is None:
                raise Fault(401, UNAUTHENTICATED)
            user_id = old.user_id
        else:
            raise Fault(401, UNAUTHENTICATED)
        project_id, system = self._scope(user_id, auth.get("scope"))
        issued = now().replace(microsecond=0)
        token = Token(
            id=f"gAAAAAB{new_secret()}",
            user_id=user_id,
            project_id=project_id,
            system=system,
            methods=list(methods),
            audit_id=new_secret()[:22],
            issued_at=issued,
            expires_at=issued + TOKEN_LIFE,
        )
        self.cloud.identity.tokens[token.id] = token
        return answer({"token": self._token(token)}, 201, {"X-Subject-Token": token.id})

    def _by_password(self, asked: Any) -> str:
        data = self.cloud.identity
        if not isinstance(asked, dict):
            raise Fault(401, UNAUTHENTICATED)
        if "id" in asked:
            user_id = str(asked["id"])
        elif _default_domain(asked.get("domain")):
            name = str(asked.get("name", "")).lower()
            user_id = next((key for key, user in data.users.items() if user["name"].lower() == name), "")
        else:
            user_id = ""
        user = data.users.get(user_id)
        if user is None or not user["enabled"] or not data.is_password(user_id, asked.get("password")):
            raise Fault(401, UNAUTHENTICATED)
        return user_id

    def _scope(self, user_id: str, scope: Any) -> tuple[str | None, bool]:
        data = self.cloud.identity
        if scope is None:
            default = str(data.users[user_id].get("default_project_id"))
            usable = default in data.projects and data.projects[default]["enabled"]
            return (default if usable and self.cloud.role_ids(user_id, default) else None), False
        if scope == "unscoped" or (isinstance(scope, dict) and "unscoped" in scope):
            return None, False
        if isinstance(scope, dict) and "system" in scope:
            if not self.cloud.role_ids(user_id, "system"):
                raise Fault(401, UNAUTHENTICATED)
            return None, True
        wanted = scope.get("project") if isinstance(scope, dict) else None
        if not isinstance(wanted, dict):
            raise Fault(401, UNAUTHENTICATED)
        if "id" in wanted:
            project_id = str(wanted["id"])
        else:
            name = str(wanted.get("name", "")).lower() if _default_domain(wanted.get("domain")) else None
            project_id = next((key for key, item in data.projects.items() if item["name"].lower() == name), "")
        project = data.projects.get(project_id)
        if project is None or not project["enabled"] or not self.cloud.role_ids(user_id, project_id):
            raise Fault(401, UNAUTHENTICATED)
        return project_id, False

    def _token(self, token: Token) -> Json:
        data = self.cloud.identity
        user = data.users[token.user_id]
        body: Json = {
            "methods": token.methods,
            "user": {"domain": DOMAIN, "id": user["id"], "name": user["name"], "password_expires_at": None},
            "audit_ids": [token.audit_id],
            "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "issued_at": token.issued_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        }
        if token.project_id is None and not token.system:
            return body
        target = "system"
        if token.project_id is not None:
            target = token.project_id
            project = data.projects[token.project_id]
            body["project"] = {"domain": DOMAIN, "id": project["id"], "name": project["name"]}
            body["is_domain"] = False
        else:
            body["system"] = {"all": True}
        roles = sorted(self.cloud.role_ids(token.user_id, target))
        body["roles"] = [{"id": role, "name": data.roles[role]["name"]} for role in roles]
        body["catalog"] = self._catalog()
        return body

    def _catalog(self) -> list[Json]:
        data = self.cloud.identity
        return [
            {
                "endpoints": [
                    {key: item[key] for key in ("id", "interface", "region_id", "url", "region")}
                    for item in data.endpoints
                    if item["service_id"] == service["id"]
                ],
                "id": service["id"],
                "type": service["type"],
                "name": service["name"],
            }
            for service in data.services.values()
        ]

    def _subject(self, request: web.Request) -> Token:
        token_id = request.headers.get("X-Subject-Token", "")
        token = self.cloud.token(token_id)
        if token is None:
            known = token_id.startswith("gAAAAA")
            raise Fault(404, "Failed to validate token" if known else "Could not recognize Fernet token")
        return token

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v3/auth/tokens`` (and HEAD): one's own token, or anyone's for an administrator."""
        caller = self.cloud.authenticate(request)
        token = self._subject(request)
        if not caller.is_admin and token.id != request.headers["X-Auth-Token"]:
            raise forbidden("identity:validate_token")
        return answer({"token": self._token(token)}, headers={"X-Subject-Token": token.id})

    async def revoke(self, request: web.Request) -> web.Response:
        """``DELETE /v3/auth/tokens``."""
        caller = self.cloud.authenticate(request)
        token = self._subject(request)
        if not caller.is_admin and token.user_id != caller.user_id:
            raise forbidden("identity:revoke_token")
        del self.cloud.identity.tokens[token.id]
        return answer(None, 204)

    async def projects(self, request: web.Request) -> web.Response:
        """``GET /v3/auth/projects``: what the caller can be scoped to."""
        caller = self.cloud.authenticate(request)
        return listed(self.cloud, request, "projects", projects_of(self.cloud, caller.user_id))

    async def catalog_of_token(self, request: web.Request) -> web.Response:
        """``GET /v3/auth/catalog``."""
        self.cloud.authenticate(request)
        return answer({"catalog": self._catalog(), "links": {"self": here(self.cloud, request)}})

    async def domains(self, request: web.Request) -> web.Response:
        """``GET /v3/domains``: there is the default one."""
        if not self.cloud.authenticate(request).is_admin:
            raise forbidden("identity:list_domains")
        name = request.query.get("name", "Default").lower()
        found = [linked(self.cloud, "domains", _DEFAULT_DOMAIN)] if name == "default" else []
        return listed(self.cloud, request, "domains", found)

    async def domain(self, request: web.Request) -> web.Response:
        """``GET /v3/domains/{id}``."""
        self.cloud.authenticate(request)
        if request.match_info["id"] != "default":
            raise Fault(404, f"Could not find domain: {request.match_info['id']}.")
        return answer({"domain": linked(self.cloud, "domains", _DEFAULT_DOMAIN)})

    async def services(self, request: web.Request) -> web.Response:
        """``GET /v3/services``."""
        if not self.cloud.authenticate(request).is_admin:
            raise forbidden("identity:list_services")
        found = [
            linked(self.cloud, "services", {key: item[key] for key in ("name", "id", "type", "enabled")})
            for item in self.cloud.identity.services.values()
            if all(item.get(key) == value for key, value in request.query.items() if key in ("type", "name"))
        ]
        return listed(self.cloud, request, "services", found)

    async def endpoints(self, request: web.Request) -> web.Response:
        """``GET /v3/endpoints``."""
        if not self.cloud.authenticate(request).is_admin:
            raise forbidden("identity:list_endpoints")
        filters = {
            key: value for key, value in request.query.items() if key in ("service_id", "interface", "region_id")
        }
        found = [
            linked(self.cloud, "endpoints", item | {"enabled": True})
            for item in self.cloud.identity.endpoints
            if all(item[key] == value for key, value in filters.items())
        ]
        return listed(self.cloud, request, "endpoints", found)

    async def regions(self, request: web.Request) -> web.Response:
        """``GET /v3/regions``."""
        self.cloud.authenticate(request)
        region = {"id": REGION, "description": "", "parent_region_id": None}
        return listed(self.cloud, request, "regions", [linked(self.cloud, "regions", region)])

    async def groups(self, request: web.Request) -> web.Response:
        """``GET /v3/groups``: none are simulated."""
        if not self.cloud.authenticate(request).is_admin:
            raise forbidden("identity:list_groups")
        return listed(self.cloud, request, "groups", [])


def forbidden(action: str) -> Fault:
    """Keystone's 403."""
    return Fault(403, f"You are not authorized to perform the requested action: {action}.")


def here(cloud: Cloud, request: web.Request) -> str:
    """The request's own address, as the services link to it."""
    return cloud.urls["identity"].removesuffix("/v3") + request.path_qs


def linked(cloud: Cloud, kind: str, record: Json) -> Json:
    """A record with its link."""
    return record | {"links": {"self": f"{cloud.urls['identity']}/{kind}/{record['id']}"}}


def listed(cloud: Cloud, request: web.Request, kind: str, records: list[Json]) -> web.Response:
    """A list answer; Keystone has no pages."""
    return answer({kind: records, "links": {"next": None, "self": here(cloud, request), "previous": None}})


def project_view(cloud: Cloud, record: Json) -> Json:
    """A project as it is shown: free attributes first."""
    shown = {key: value for key, value in record.items() if key != "extra"}
    return linked(cloud, "projects", record["extra"] | shown)


def projects_of(cloud: Cloud, user_id: str) -> list[Json]:
    """Enabled projects in which a user has a role."""
    return [
        project_view(cloud, record)
        for record in cloud.identity.projects.values()
        if record["enabled"] and cloud.role_ids(user_id, record["id"])
    ]


def _default_domain(domain: Any) -> bool:
    if not isinstance(domain, dict):
        return False
    return domain.get("id") == "default" or str(domain.get("name", "")).lower() == "default"
