"""Keystone v2.0: the public API, and the admin API that only port 35357 has."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.source.keystone import Keystone, extras
from pumphouse.lab.source.release import Release
from pumphouse.lab.source.state import MEMBER_ROLE_ID, Project, Role, Token, User
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, stamp

_FIRST_UPDATED = "2011-08-19T13:25:27-06:00"  # what Grizzly says of its only one
_SPEC = "https://github.com/openstack/identity-api"
_FILTER_SPEC = f"{_SPEC}/blob/master/openstack-identity-api/v3/src/markdown/identity-api-v3-os-ep-filter-ext.md"
_EXTENSIONS = {
    # alias: (name, updated, link)
    "s3tokens": ("OpenStack S3 API", "2013-07-07T12:00:0-00:00", _SPEC),
    "OS-EP-FILTER": ("OpenStack Keystone Endpoint Filter API", "2013-07-23T12:00:0-00:00", _FILTER_SPEC),
    "OS-FEDERATION": ("OpenStack Federation APIs", "2013-12-17T12:00:0-00:00", _SPEC),
    "OS-KSCRUD": ("OpenStack Keystone User CRUD", "2013-07-07T12:00:0-00:00", _SPEC),
    "OS-KSADM": ("OpenStack Keystone Admin", "2013-07-11T17:14:00-00:00", _SPEC),
    "OS-EC2": ("OpenStack EC2 API", "2013-07-07T12:00:0-00:00", _SPEC),
    "OS-SIMPLE-CERT": ("OpenStack Simple Certificate API", "2014-01-20T12:00:0-00:00", _SPEC),
}


def add_routes(app: web.Application, keystone: Keystone) -> None:
    """Mount v2.0 on one port."""
    api = KeystoneV2(keystone)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    get("/v2.0", api.version)
    get("/v2.0/", api.version)
    post("/v2.0/tokens", api.authenticate)
    get("/v2.0/extensions", api.extensions)
    get("/v2.0/extensions/{alias}", api.extension)
    if not keystone.admin:
        get("/v2.0/tenants", api.own_tenants)
        return
    get("/v2.0/tokens/{id}", api.validate)
    delete("/v2.0/tokens/{id}", api.revoke)
    get("/v2.0/tenants", api.tenants)
    post("/v2.0/tenants", api.create_tenant)
    get("/v2.0/tenants/{id}", api.tenant)
    put("/v2.0/tenants/{id}", api.update_tenant)
    post("/v2.0/tenants/{id}", api.update_tenant)
    delete("/v2.0/tenants/{id}", api.delete_tenant)
    get("/v2.0/tenants/{id}/users", api.tenant_users)
    get("/v2.0/tenants/{id}/users/{user}/roles", api.tenant_user_roles)
    put("/v2.0/tenants/{id}/users/{user}/roles/OS-KSADM/{role}", api.grant)
    delete("/v2.0/tenants/{id}/users/{user}/roles/OS-KSADM/{role}", api.revoke_grant)
    get("/v2.0/users", api.users)
    post("/v2.0/users", api.create_user)
    get("/v2.0/users/{id}", api.user)
    put("/v2.0/users/{id}", api.update_user)
    put("/v2.0/users/{id}/OS-KSADM/{part}", api.update_user)
    delete("/v2.0/users/{id}", api.delete_user)
    get("/v2.0/users/{id}/roles", api.user_roles)
    get("/v2.0/OS-KSADM/roles", api.roles)
    post("/v2.0/OS-KSADM/roles", api.create_role)
    get("/v2.0/OS-KSADM/roles/{id}", api.role)
    delete("/v2.0/OS-KSADM/roles/{id}", api.delete_role)
    get("/v2.0/OS-KSADM/services", api.services)
    get("/v2.0/endpoints", api.endpoints)


def tenant_view(project: Project) -> dict[str, Any]:
    """A tenant as v2.0 shows it."""
    known = {"id": project.id, "name": project.name, "description": project.description, "enabled": project.enabled}
    return {**project.extra, **known}


def user_view(release: Release, user: User) -> dict[str, Any]:
    """A user as v2.0 shows it; unset attributes are left out."""
    view: dict[str, Any] = {**user.extra, "id": user.id, "name": user.name, "enabled": user.enabled}
    if release.user_names_twice:
        view["username"] = user.name
    if user.email is not None:
        view["email"] = user.email
    if user.tenant_id is not None:
        view["tenantId" if release.default_project_column else user.tenant_key] = user.tenant_id
    return view


class KeystoneV2:
    """The handlers."""

    def __init__(self, keystone: Keystone) -> None:
        self.keystone = keystone
        self.state = keystone.state

    def _user_view(self, user: User) -> dict[str, Any]:
        return user_view(self.state.release, user)

    async def version(self, _request: web.Request) -> web.Response:
        """GET /v2.0"""
        return json_answer({"version": self.keystone.v2_document()})

    def _extension_views(self) -> list[dict[str, Any]]:
        release = self.state.release
        aliases = release.keystone_extensions if self.keystone.admin else release.keystone_public_extensions
        oldest = not release.default_project_column
        return [
            {
                "alias": alias,
                "name": name,
                "description": f"{name}.",
                "namespace": f"http://docs.openstack.org/identity/api/ext/{alias}/v1.0",
                "updated": _FIRST_UPDATED if oldest else updated,
                "links": [{"rel": "describedby", "type": "text/html", "href": link}],
            }
            for alias, (name, updated, link) in _EXTENSIONS.items()
            if alias in aliases
        ]

    async def extensions(self, _request: web.Request) -> web.Response:
        """GET /v2.0/extensions"""
        return json_answer({"extensions": {"values": self._extension_views()}})

    async def extension(self, request: web.Request) -> web.Response:
        """GET /v2.0/extensions/ALIAS"""
        for view in self._extension_views():
            if view["alias"] == request.match_info["alias"]:
                return json_answer({"extension": view})
        raise ApiFault(404)

    # --- tokens

    async def authenticate(self, request: web.Request) -> web.Response:
        """POST /v2.0/tokens"""
        auth = await self.keystone.body(request, "auth")
        if isinstance(auth.get("token"), dict):
            old = self.state.tokens.get(str(auth["token"].get("id")))
            user = self.state.users.get(old.user_id) if old else None
            if user is None or not user.enabled:
                raise ApiFault(401, "The request you have made requires authentication.")
        else:
            given = auth.get("passwordCredentials")
            if not isinstance(given, dict):
                raise ApiFault(400, "Expecting to find passwordCredentials in auth.")
            by_id = self.state.users.get(str(given.get("userId")))
            user = self.keystone.check_password(
                by_id or self.keystone.user_named(given.get("username")), given.get("password")
            )
        project = None
        if auth.get("tenantId") or auth.get("tenantName"):
            project = self.state.projects.get(str(auth.get("tenantId"))) or self.keystone.project_named(
                auth.get("tenantName")
            )
            if project is None:
                raise ApiFault(401, "The request you have made requires authentication.")
        token = self.keystone.issue(user, project, ["password"])
        return json_answer({"access": self._access(token)})

    def _access(self, token: Token, *, whole_roles: bool = False) -> dict[str, Any]:
        user = self.state.users[token.user_id]
        view: dict[str, Any] = {
            "id": token.id,
            "issued_at": token.issued_at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "expires": stamp(token.expires_at),
        }
        catalog: list[dict[str, Any]] = []
        if token.project_id is not None:
            view["tenant"] = tenant_view(self.state.projects[token.project_id])
            catalog = [
                {
                    "name": entry.name,
                    "type": entry.type,
                    "endpoints_links": [],
                    "endpoints": [
                        {
                            "id": entry.endpoint_id,
                            "region": self.state.region,
                            "publicURL": entry.public,
                            "internalURL": entry.public,
                            "adminURL": entry.admin,
                        }
                    ],
                }
                for entry in self.keystone.catalog(token.project_id)
            ]
        roles = [self.state.roles[r] for r in token.role_ids if r in self.state.roles]
        names = [self._grant_view(role) if whole_roles else {"name": role.name} for role in roles]
        return {
            "token": view,
            "serviceCatalog": catalog,
            "user": {
                "id": user.id,
                "name": user.name,
                "username": user.name,
                "roles": names,
                "roles_links": [],
            },
            "metadata": {"is_admin": 0, "roles": token.role_ids},
        }

    async def validate(self, request: web.Request) -> web.Response:
        """GET /v2.0/tokens/ID"""
        self.keystone.require_admin(request)
        token = self.state.tokens.get(request.match_info["id"])
        if token is None:
            raise self.keystone.missing("token", request.match_info["id"])
        return json_answer({"access": self._access(token, whole_roles=self.state.release.token_role_ids)})

    async def revoke(self, request: web.Request) -> web.Response:
        """DELETE /v2.0/tokens/ID"""
        self.keystone.require_admin(request)
        if self.state.tokens.pop(request.match_info["id"], None) is None:
            raise self.keystone.missing("token", request.match_info["id"])
        return empty_answer(204, None)

    # --- tenants

    def _paged(self, request: web.Request, projects: list[Project]) -> web.Response:
        projects.sort(key=lambda p: p.id)
        marker = request.query.get("marker")
        if marker is not None:
            ids = [p.id for p in projects]
            if marker not in ids:
                raise ApiFault(400, "Marker could not be found")
            projects = projects[ids.index(marker) + 1 :]
        limit = request.query.get("limit")
        if limit is not None:
            if not limit.isdigit():
                raise ApiFault(400, "Invalid limit value")
            projects = projects[: int(limit)]
        return json_answer({"tenants": [tenant_view(p) for p in projects], "tenants_links": []})

    async def own_tenants(self, request: web.Request) -> web.Response:
        """GET /v2.0/tenants on the public port: the caller's own, whatever ``name`` says."""
        caller = self.keystone.caller(request)
        own = {project_id for (project_id, user_id) in self.state.grants if user_id == caller.user_id}
        return self._paged(request, [p for p in self.state.projects.values() if p.id in own and p.enabled])

    async def tenants(self, request: web.Request) -> web.Response:
        """GET /v2.0/tenants on the admin port; ``name`` gives a single record."""
        self.keystone.require_admin(request)
        name = request.query.get("name")
        if name is not None:
            project = self.keystone.project_named(name)
            if project is None:
                raise self.keystone.missing("project", name)
            return json_answer({"tenant": tenant_view(project)})
        return self._paged(request, list(self.state.projects.values()))

    async def tenant(self, request: web.Request) -> web.Response:
        """GET /v2.0/tenants/ID"""
        self.keystone.require_admin(request)
        return json_answer({"tenant": tenant_view(self.keystone.project(request.match_info["id"]))})

    async def create_tenant(self, request: web.Request) -> web.Response:
        """POST /v2.0/tenants"""
        self.keystone.require_admin(request)
        given = await self.keystone.body(request, "tenant")
        if not given.get("name"):
            raise ApiFault(400, "Name field is required and cannot be empty")
        if self.keystone.project_named(given["name"]) is not None:
            raise self.keystone.duplicate("project", given["name"])
        project = Project(
            self.state.new_hex(),
            given["name"],
            given.get("description") or "",
            given.get("enabled", True),
            extras(given),
        )
        self.state.projects[project.id] = project
        return json_answer({"tenant": tenant_view(project)})

    async def update_tenant(self, request: web.Request) -> web.Response:
        """PUT or POST /v2.0/tenants/ID; the answer carries two keys more than a read."""
        self.keystone.require_admin(request)
        project = self.keystone.project(request.match_info["id"])
        given = await self.keystone.body(request, "tenant")
        project.name = given.get("name", project.name)
        project.description = given.get("description", project.description)
        project.enabled = given.get("enabled", project.enabled)
        if not project.enabled:
            self.state.drop_tokens(project_id=project.id)
        return json_answer({"tenant": {**tenant_view(project), "domain_id": "default", "extra": {}}})

    async def delete_tenant(self, request: web.Request) -> web.Response:
        """DELETE /v2.0/tenants/ID"""
        self.keystone.require_admin(request)
        self.keystone.remove_project(self.keystone.project(request.match_info["id"]).id)
        return empty_answer(204, None)

    async def tenant_users(self, request: web.Request) -> web.Response:
        """GET /v2.0/tenants/ID/users"""
        self.keystone.require_admin(request)
        project = self.keystone.project(request.match_info["id"])
        ids = sorted({user_id for (project_id, user_id) in self.state.grants if project_id == project.id})
        return json_answer({"users": [self._user_view(self.state.users[i]) for i in ids if i in self.state.users]})

    # --- grants

    async def tenant_user_roles(self, request: web.Request) -> web.Response:
        """GET /v2.0/tenants/ID/users/USER/roles"""
        self.keystone.require_admin(request)
        project = self.keystone.project(request.match_info["id"])
        user = self.keystone.user(request.match_info["user"])
        held = self.state.grants.get((project.id, user.id), [])
        return json_answer({"roles": [self._grant_view(self.state.roles[r]) for r in held]})

    @staticmethod
    def _grant_view(role: Role) -> dict[str, Any]:
        return {"id": role.id, "name": role.name, **role.extra}

    def _grant_key(self, request: web.Request) -> tuple[Project, User, Role]:
        project = self.keystone.project(request.match_info["id"])
        user = self.keystone.user(request.match_info["user"])
        role = self.state.roles.get(request.match_info["role"])
        if role is None:
            raise self.keystone.missing("role", request.match_info["role"])
        return project, user, role

    async def grant(self, request: web.Request) -> web.Response:
        """PUT a role of a user in a tenant; the second time is a conflict."""
        self.keystone.require_admin(request)
        project, user, role = self._grant_key(request)
        if not self.state.grant(project.id, user.id, role.id):
            raise ApiFault(
                409,
                "Conflict occurred attempting to store role grant. "
                f"User {user.id} already has role {role.id} in tenant {project.id}",
            )
        return json_answer({"role": self._grant_view(role)})

    async def revoke_grant(self, request: web.Request) -> web.Response:
        """DELETE a role of a user in a tenant."""
        self.keystone.require_admin(request)
        project, user, role = self._grant_key(request)
        if not self.state.revoke(project.id, user.id, role.id):
            raise self.keystone.missing("role", role.id)
        self.state.drop_tokens(user_id=user.id)
        return empty_answer(204, None)

    async def user_roles(self, request: web.Request) -> web.Response:
        """GET /v2.0/users/ID/roles: never implemented by Keystone."""
        self.keystone.require_admin(request)
        raise ApiFault(501, "User roles not supported: tenant ID required")

    # --- users

    async def users(self, request: web.Request) -> web.Response:
        """GET /v2.0/users; ``name`` gives a single record."""
        self.keystone.require_admin(request)
        name = request.query.get("name")
        if name is not None:
            user = self.keystone.user_named(name)
            if user is None:
                raise self.keystone.missing("user", name)
            return json_answer({"user": self._user_view(user)})
        users = sorted(self.state.users.values(), key=lambda u: u.id)
        return json_answer({"users": [self._user_view(u) for u in users]})

    async def user(self, request: web.Request) -> web.Response:
        """GET /v2.0/users/ID"""
        self.keystone.require_admin(request)
        return json_answer({"user": self._user_view(self.keystone.user(request.match_info["id"]))})

    async def create_user(self, request: web.Request) -> web.Response:
        """POST /v2.0/users; a default tenant brings the role ``_member_`` with it."""
        self.keystone.require_admin(request)
        given = await self.keystone.body(request, "user")
        if not given.get("name"):
            raise ApiFault(400, "Name field is required and cannot be empty")
        if self.keystone.user_named(given["name"]) is not None:
            raise self.keystone.duplicate("user", given["name"])
        tenant_id = given.get("tenantId") or given.get("tenant_id")
        if tenant_id:
            self.keystone.project(tenant_id)
        user = User(
            id=self.state.new_hex(),
            name=given["name"],
            password=str(given.get("password") or self.state.new_hex()),
            email=given.get("email"),
            enabled=bool(given.get("enabled", True)),
            tenant_id=tenant_id or None,
            extra=extras(given),
        )
        self.state.users[user.id] = user
        if user.tenant_id:
            self.state.grant(user.tenant_id, user.id, MEMBER_ROLE_ID)
        return json_answer({"user": self._user_view(user)})

    async def update_user(self, request: web.Request) -> web.Response:
        """PUT /v2.0/users/ID and its OS-KSADM/password, /enabled and /tenant forms."""
        self.keystone.require_admin(request)
        user = self.keystone.user(request.match_info["id"])
        given = await self.keystone.body(request, "user")
        if given.get("id", user.id) != user.id:
            raise ApiFault(400, "Cannot change user ID")
        other = self.keystone.user_named(given.get("name")) if "name" in given else None
        if other is not None and other is not user:
            raise self.keystone.duplicate("user", given["name"])
        user.name = given.get("name", user.name)
        user.email = given.get("email", user.email)
        user.enabled = bool(given.get("enabled", user.enabled))
        if "tenantId" in given:
            user.tenant_id = self.keystone.project(given["tenantId"]).id
            self.state.grant(user.tenant_id, user.id, MEMBER_ROLE_ID)
        if "password" in given:
            user.set_password(str(given["password"]))
        if "password" in given or not user.enabled:
            self.state.drop_tokens(user_id=user.id)
        extra = {"email": user.email} if user.email is not None else {}
        return json_answer({"user": {**self._user_view(user), "extra": extra}})

    async def delete_user(self, request: web.Request) -> web.Response:
        """DELETE /v2.0/users/ID"""
        self.keystone.require_admin(request)
        self.keystone.remove_user(self.keystone.user(request.match_info["id"]).id)
        return empty_answer(204, None)

    # --- roles, services, endpoints

    async def roles(self, request: web.Request) -> web.Response:
        """GET /v2.0/OS-KSADM/roles"""
        self.keystone.require_admin(request)
        roles = sorted(self.state.roles.values(), key=lambda r: r.id)
        return json_answer({"roles": [self._grant_view(r) for r in roles]})

    async def role(self, request: web.Request) -> web.Response:
        """GET /v2.0/OS-KSADM/roles/ID"""
        self.keystone.require_admin(request)
        role = self.state.roles.get(request.match_info["id"])
        if role is None:
            raise self.keystone.missing("role", request.match_info["id"])
        return json_answer({"role": self._grant_view(role)})

    async def create_role(self, request: web.Request) -> web.Response:
        """POST /v2.0/OS-KSADM/roles"""
        self.keystone.require_admin(request)
        given = await self.keystone.body(request, "role")
        if not given.get("name"):
            raise ApiFault(400, "Name field is required and cannot be empty")
        if self.state.role_named(given["name"]) is not None:
            raise self.keystone.duplicate("role", given["name"])
        role = Role(self.state.new_hex(), given["name"])
        self.state.roles[role.id] = role
        return json_answer({"role": self._grant_view(role)})

    async def delete_role(self, request: web.Request) -> web.Response:
        """DELETE /v2.0/OS-KSADM/roles/ID"""
        self.keystone.require_admin(request)
        role_id = request.match_info["id"]
        if self.state.roles.pop(role_id, None) is None:
            raise self.keystone.missing("role", role_id)
        for project_id, user_id in list(self.state.grants):
            self.state.revoke(project_id, user_id, role_id)
        return empty_answer(204, None)

    async def services(self, request: web.Request) -> web.Response:
        """GET /v2.0/OS-KSADM/services"""
        self.keystone.require_admin(request)
        views = [
            {"id": e.id, "name": e.name, "type": e.type, "description": e.description, **self.keystone.enabled()}
            for e in self.keystone.catalog("$(tenant_id)s")
        ]
        return json_answer({"OS-KSADM:services": views})

    async def endpoints(self, request: web.Request) -> web.Response:
        """GET /v2.0/endpoints"""
        self.keystone.require_admin(request)
        views = [
            {
                "id": e.endpoint_id,
                "region": self.state.region,
                "service_id": e.id,
                "publicurl": e.public,
                "internalurl": e.public,
                "adminurl": e.admin,
                **self.keystone.enabled(),
            }
            for e in self.keystone.catalog("$(tenant_id)s")
        ]
        return json_answer({"endpoints": views})
