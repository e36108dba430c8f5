"""Keystone's frame: the two ports, version documents, errors, and authentication shared by v2.0 and v3."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from pumphouse.lab.faults import Handler
from pumphouse.lab.source.state import Project, State, Token, User, now
from pumphouse.lab.source.wire import REASONS, ApiFault, json_answer, read_json

VARY = {"Vary": "X-Auth-Token"}
DEFAULT_DOMAIN = {"id": "default", "name": "Default"}

NOT_IMPLEMENTED = (
    "v2.0 public: OS-KSCRUD password change, OS-EC2 credentials, certificates, OS-FEDERATION, OS-SIMPLE-CERT",
    "v2.0 admin: tokens/ID/endpoints, tokens/revoked, creating services and endpoints, OS-EP-FILTER, s3tokens",
    "v3: writing domains, groups, services, endpoints and regions; domain-wide and group role grants",
    "v3: credentials, policies, trusts, OS-FEDERATION, OS-OAUTH1, OS-INHERIT, domain-scoped tokens",
)
"""What Keystone has and this lab answers like an unknown path."""


@dataclass(frozen=True)
class CatalogEntry:
    """A service with its endpoint; ids are stable within one lab."""

    id: str
    endpoint_id: str
    name: str
    type: str
    description: str
    public: str
    admin: str
    interface_ids: tuple[str, str, str]


@dataclass
class KeystoneCaller:
    """Who asks Keystone; the token may be unscoped."""

    token: Token
    user_id: str
    project_id: str | None
    is_admin: bool


class Keystone:
    """One Keystone port. ``admin`` is port 35357 of old: another v2.0 API, the same v3."""

    def __init__(self, state: State, *, admin: bool) -> None:
        self.state = state
        self.admin = admin

    @property
    def base(self) -> str:
        """This port's URL."""
        return self.state.endpoints.keystone_admin if self.admin else self.state.endpoints.keystone

    def app(self) -> web.Application:
        """The HTTP application of this port."""
        from pumphouse.lab.source import keystone_v2, keystone_v3

        name = f"{self.state.cloud}.identity-admin" if self.admin else f"{self.state.cloud}.identity"
        app = web.Application(middlewares=[self.state.world.faults.middleware(name), self._dress])
        app.router.add_get("/", self._versions)
        keystone_v2.add_routes(app, self)
        keystone_v3.add_routes(app, self)
        return app

    @property
    def _dress(self) -> Any:
        @web.middleware
        async def dress(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                answer = await handler(request)
            except ApiFault as fault:
                answer = self.error(fault)
            except web.HTTPException:
                answer = self.error(ApiFault(404))
            answer.headers.update(VARY)
            return answer

        return dress

    def error(self, fault: ApiFault) -> web.Response:
        """Keystone's JSON error."""
        body = {"error": {"message": fault.message, "code": fault.status, "title": REASONS[fault.status]}}
        answer = json_answer(body, fault.status)
        if fault.status == 401 and self.state.release.challenges_401:
            answer.headers["WWW-Authenticate"] = f'Keystone uri="{self.state.endpoints.keystone}/"'
        return answer

    # --- version documents

    async def _versions(self, _request: web.Request) -> web.Response:
        values = [self.v3_document(self.base), self.v2_document()]
        return json_answer({"versions": {"values": values}}, 300)

    def v2_document(self) -> dict[str, Any]:
        """The v2.0 version document."""
        docs = "http://docs.openstack.org/api/openstack-identity-service/2.0"
        return {
            "id": "v2.0",
            "status": "stable",
            "updated": self.state.release.keystone_updated,
            "links": [
                {"rel": "self", "href": f"{self.base}/v2.0/"},
                {"rel": "describedby", "type": "text/html", "href": f"{docs}/content/"},
                {"rel": "describedby", "type": "application/pdf", "href": f"{docs}/identity-dev-guide-2.0.pdf"},
            ],
            "media-types": _media_types("v2.0"),
        }

    def v3_document(self, base: str) -> dict[str, Any]:
        """The v3 version document."""
        return {
            "id": "v3.0",
            "status": "stable",
            "updated": "2013-03-06T00:00:00Z",
            "links": [{"rel": "self", "href": f"{base}/v3/"}],
            "media-types": _media_types("v3"),
        }

    # --- authentication

    def token_of(self, request: web.Request) -> Token:
        """The request's valid token; 401 otherwise."""
        token = self.state.tokens.get(request.headers.get("X-Auth-Token", ""))
        if token is None or token.expires_at <= now():
            raise ApiFault(401, "The request you have made requires authentication.")
        return token

    def caller(self, request: web.Request) -> KeystoneCaller:
        """Who asks; 401 without a valid token."""
        token = self.token_of(request)
        names = {self.state.roles[r].name for r in token.role_ids if r in self.state.roles}
        return KeystoneCaller(token, token.user_id, token.project_id, "admin" in names)

    def require_admin(self, request: web.Request, rule: str = "admin_required") -> KeystoneCaller:
        """Who asks, an administrator; 403 naming the policy rule otherwise."""
        caller = self.caller(request)
        if not caller.is_admin:
            raise self.denied(rule)
        return caller

    def denied(self, rule: str) -> ApiFault:
        """The 403 that names a policy rule."""
        release = self.state.release
        sentence = "You are not authorized to perform the requested action"
        return ApiFault(403, f"{sentence}{release.keystone_joint}{rule}{release.denial_end}")

    def missing(self, kind: str, what: object) -> ApiFault:
        """The 404 of a record."""
        release = self.state.release
        return ApiFault(404, f"Could not find {kind}{release.keystone_joint}{what}{release.denial_end}")

    async def body(self, request: web.Request, key: str) -> dict[str, Any]:
        """The object under ``key`` of the request's JSON; 400 when there is none."""
        data = await read_json(request)
        if not isinstance(data, dict) or not isinstance(data.get(key), dict):
            raise ApiFault(
                400,
                f"Expecting to find {key} in request body. The server could not comply with the request since it is "
                "either malformed or otherwise incorrect. The client is assumed to be in error.",
            )
        return dict(data[key])

    def check_password(self, user: User | None, password: object) -> User:
        """The user, if the password is right and the user enabled; Keystone never says which was wrong."""
        if user is not None and self.state.read_hash is not None:
            user.stored_hash = self.state.read_hash(user)
        if user is None or not user.enabled or not user.accepts(password):
            raise ApiFault(401, "The request you have made requires authentication.")
        return user

    def issue(self, user: User, project: Project | None, methods: list[str]) -> Token:
        """A new token; 401 when the user has no role in an enabled project of that kind."""
        role_ids: list[str] = []
        if project is not None:
            role_ids = sorted(self.state.grants.get((project.id, user.id), []))
            if not project.enabled or not role_ids:
                raise ApiFault(401, "The request you have made requires authentication.")
        issued_at = now()
        token = Token(
            id=self.state.new_hex(),
            user_id=user.id,
            project_id=project.id if project else None,
            role_ids=role_ids,
            issued_at=issued_at,
            expires_at=issued_at + timedelta(seconds=self.state.token_life_s),
            methods=methods,
        )
        self.state.tokens[token.id] = token
        return token

    def catalog(self, project_id: str) -> list[CatalogEntry]:
        """The services with URLs for a project."""
        ends = self.state.endpoints
        rows = [
            ("glance", "image", "OpenStack Image Service", ends.glance, ends.glance),
            ("nova", "compute", "OpenStack Compute Service", *[f"{ends.nova}/v2/{project_id}"] * 2),
            ("nova_ec2", "ec2", "EC2 Service", f"{ends.nova}/services/Cloud", f"{ends.nova}/services/Admin"),
            ("keystone", "identity", "OpenStack Identity", f"{ends.keystone}/v2.0", f"{ends.keystone_admin}/v2.0"),
        ]
        return [
            CatalogEntry(
                id=_fixed_id(f"service-{name}"),
                endpoint_id=_fixed_id(f"endpoint-{name}"),
                name=name,
                type=kind,
                description=description,
                public=public,
                admin=admin,
                interface_ids=(
                    _fixed_id(f"public-{name}"),
                    _fixed_id(f"admin-{name}"),
                    _fixed_id(f"internal-{name}"),
                ),
            )
            for name, kind, description, public, admin in rows
        ]

    def enabled(self) -> dict[str, bool]:
        """What services and endpoints tell of being enabled."""
        return {"enabled": True} if self.state.release.catalog_enabled else {}

    # --- lookups

    def project(self, project_id: str) -> Project:
        """A project by id; 404 otherwise."""
        project = self.state.projects.get(project_id)
        if project is None:
            raise self.missing("project", project_id)
        return project

    def user(self, user_id: str) -> User:
        """A user by id; 404 otherwise."""
        user = self.state.users.get(user_id)
        if user is None:
            raise self.missing("user", user_id)
        return user

    def project_named(self, name: object) -> Project | None:
        """A project by name."""
        return next((p for p in self.state.projects.values() if p.name == name), None)

    def user_named(self, name: object) -> User | None:
        """A user by name."""
        return next((u for u in self.state.users.values() if u.name == name), None)

    def remove_project(self, project_id: str) -> None:
        """Delete a project, its grants and its tokens."""
        del self.state.projects[project_id]
        for key in [k for k in self.state.grants if k[0] == project_id]:
            del self.state.grants[key]
        self.state.drop_tokens(project_id=project_id)

    def remove_user(self, user_id: str) -> None:
        """Delete a user, his grants and his tokens."""
        del self.state.users[user_id]
        for key in [k for k in self.state.grants if k[1] == user_id]:
            del self.state.grants[key]
        self.state.drop_tokens(user_id=user_id)

    def duplicate(self, kind: str, name: object) -> ApiFault:
        """The 409 of a taken name; it leaks the database's own words, as 2014's Keystone does."""
        entry, key = (name, "name") if kind == "role" else (f"default-{name}", "domain_id")
        return ApiFault(
            409,
            f"Conflict occurred attempting to store {kind}. "
            f"{self.state.release.sql_words}(1062, u\"Duplicate entry '{entry}' for key '{key}'\")",
        )


def _fixed_id(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_DNS, text).hex


def _media_types(version: str) -> list[dict[str, str]]:
    return [
        {"base": f"application/{form}", "type": f"application/vnd.openstack.identity-{version}+{form}"}
        for form in ("json", "xml")
    ]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


#: Attributes of projects and users that Keystone handles itself; all others are kept and shown as they came.
_KNOWN = frozenset(
    {
        "id",
        "name",
        "username",
        "description",
        "enabled",
        "email",
        "password",
        "domain_id",
        "links",
        "tenantId",
        "tenant_id",
        "default_project_id",
    }
)


def extras(given: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a new project or user that Keystone does not know, which it stores all the same."""
    return {key: value for key, value in given.items() if key not in _KNOWN}
