"""Keystone v3 as Icehouse has it, the same on both ports."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.source.keystone import DEFAULT_DOMAIN, Keystone, extras
from pumphouse.lab.source.state import Project, Role, Token, User
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer


def add_routes(app: web.Application, keystone: Keystone) -> None:
    """Mount v3 on one port."""
    api = KeystoneV3(keystone)
    get, post, put, delete = app.router.add_get, app.router.add_post, app.router.add_put, app.router.add_delete
    patch, head = app.router.add_patch, app.router.add_head
    get("/v3", api.version)
    get("/v3/", api.version)
    post("/v3/auth/tokens", api.authenticate)
    get("/v3/auth/tokens", api.validate)
    delete("/v3/auth/tokens", api.revoke)
    get("/v3/projects", api.projects)
    post("/v3/projects", api.create_project)
    get("/v3/projects/{id}", api.project)
    patch("/v3/projects/{id}", api.update_project)
    delete("/v3/projects/{id}", api.delete_project)
    get("/v3/users", api.users)
    post("/v3/users", api.create_user)
    get("/v3/users/{id}", api.user)
    patch("/v3/users/{id}", api.update_user)
    delete("/v3/users/{id}", api.delete_user)
    get("/v3/users/{id}/projects", api.user_projects)
    post("/v3/users/{id}/password", api.change_password)
    get("/v3/roles", api.roles)
    post("/v3/roles", api.create_role)
    get("/v3/roles/{id}", api.role)
    delete("/v3/roles/{id}", api.delete_role)
    grants = "/v3/projects/{project}/users/{user}/roles"
    get(grants, api.grants)
    head(f"{grants}/{{role}}", api.has_grant)
    put(f"{grants}/{{role}}", api.grant)
    delete(f"{grants}/{{role}}", api.revoke_grant)
    get("/v3/domains", api.domains)
    get("/v3/domains/{id}", api.domain)
    get("/v3/groups", api.groups)
    get("/v3/services", api.services)
    get("/v3/endpoints", api.endpoints)
    if keystone.state.release.v3_regions:
        get("/v3/regions", api.regions)
    if keystone.state.release.v3_role_assignments:
        get("/v3/role_assignments", api.role_assignments)


class KeystoneV3:
    """The handlers."""

    def __init__(self, keystone: Keystone) -> None:
        self.keystone = keystone
        self.state = keystone.state

    def _link(self, *path: str) -> str:
        return "/".join((self.keystone.base, "v3", *path))

    def _listing(self, request: web.Request, kind: str, items: list[dict[str, Any]]) -> web.Response:
        links = {"next": None, "previous": None, "self": f"{self.keystone.base}{request.path}"}
        return json_answer({kind: items, "links": links})

    async def version(self, _request: web.Request) -> web.Response:
        """GET /v3; both ports point to the admin port, as Icehouse does."""
        return json_answer({"version": self.keystone.v3_document(self.state.endpoints.keystone_admin)})

    # --- views

    def _project_view(self, project: Project) -> dict[str, Any]:
        return {
            **project.extra,
            "id": project.id,
            "name": project.name,
            "description": project.description,
            "domain_id": "default",
            "enabled": project.enabled,
            "links": {"self": self._link("projects", project.id)},
        }

    def _user_view(self, user: User) -> dict[str, Any]:
        view: dict[str, Any] = {
            **user.extra,
            "id": user.id,
            "name": user.name,
            "domain_id": "default",
            "enabled": user.enabled,
            "links": {"self": self._link("users", user.id)},
        }
        if user.email is not None:
            view["email"] = user.email
        if user.tenant_id is not None:
            column = self.state.release.default_project_column
            view["default_project_id" if column else user.tenant_key] = user.tenant_id
        return view

    def _role_view(self, role: Role) -> dict[str, Any]:
        return {"id": role.id, "name": role.name, "links": {"self": self._link("roles", role.id)}}

    # --- tokens

    def _scope(self, scope: Any, user: User) -> Project | None:
        if not isinstance(scope, dict):
            default = self.state.projects.get(user.tenant_id or "")
            usable = default is not None and default.enabled and (default.id, user.id) in self.state.grants
            return default if usable else None
        given = scope.get("project")
        if not isinstance(given, dict):
            raise ApiFault(401, "The request you have made requires authentication.")
        project = self.state.projects.get(str(given.get("id"))) or self.keystone.project_named(given.get("name"))
        if project is None:
            raise ApiFault(401, "The request you have made requires authentication.")
        return project

    async def authenticate(self, request: web.Request) -> web.Response:
        """POST /v3/auth/tokens, methods password and token; without a scope the user's default project is taken."""
        auth = await self.keystone.body(request, "auth")
        identity = auth.get("identity")
        methods = identity.get("methods") if isinstance(identity, dict) else None
        if not isinstance(identity, dict) or not isinstance(methods, list):
            raise ApiFault(400, "Expecting to find identity in auth.")
        if "token" in methods:
            old = self.state.tokens.get(str(identity.get("token", {}).get("id")))
            user = self.state.users.get(old.user_id) if old else None
            if user is None or not user.enabled:
                raise ApiFault(401, "The request you have made requires authentication.")
        else:
            given = identity.get("password", {}).get("user", {})
            found = self.state.users.get(str(given.get("id"))) or self.keystone.user_named(given.get("name"))
            user = self.keystone.check_password(found, given.get("password"))
        token = self.keystone.issue(user, self._scope(auth.get("scope"), user), [str(m) for m in methods])
        answer = json_answer({"token": self._token_view(token)}, 201)
        answer.headers["X-Subject-Token"] = token.id
        return answer

    def _token_view(self, token: Token) -> dict[str, Any]:
        user = self.state.users[token.user_id]
        view: dict[str, Any] = {
            "methods": token.methods,
            "issued_at": token.issued_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "extras": {},
            "user": {"id": user.id, "name": user.name, "domain": DEFAULT_DOMAIN},
        }
        if token.project_id is not None:
            project = self.state.projects[token.project_id]
            view["project"] = {"id": project.id, "name": project.name, "domain": DEFAULT_DOMAIN}
            view["roles"] = [
                {"id": r, "name": self.state.roles[r].name} for r in token.role_ids if r in self.state.roles
            ]
            named = self.state.release.catalog_names
            view["catalog"] = [
                {
                    "id": entry.id,
                    **({"name": entry.name} if named else {}),
                    "type": entry.type,
                    "endpoints": [
                        {
                            "id": identifier,
                            "interface": interface,
                            "region": self.state.region,
                            "url": url,
                            **({} if named else {"legacy_endpoint_id": entry.endpoint_id}),
                        }
                        for interface, identifier, url in zip(
                            ("public", "admin", "internal"),
                            entry.interface_ids,
                            (entry.public, entry.admin, entry.public),
                            strict=True,
                        )
                    ],
                }
                for entry in self.keystone.catalog(token.project_id)
            ]
        return view

    def _subject(self, request: web.Request) -> Token:
        caller = self.keystone.caller(request)
        subject = self.state.tokens.get(request.headers.get("X-Subject-Token", ""))
        if subject is None:
            raise ApiFault(404, "Could not find token.")
        if not caller.is_admin and subject.user_id != caller.user_id:
            raise self.keystone.denied("identity:validate_token")
        return subject

    async def validate(self, request: web.Request) -> web.Response:
        """GET /v3/auth/tokens"""
        subject = self._subject(request)
        answer = json_answer({"token": self._token_view(subject)})
        answer.headers["X-Subject-Token"] = subject.id
        return answer

    async def revoke(self, request: web.Request) -> web.Response:
        """DELETE /v3/auth/tokens"""
        del self.state.tokens[self._subject(request).id]
        return empty_answer(204, None)

    # --- projects

    async def projects(self, request: web.Request) -> web.Response:
        """GET /v3/projects; the whole list on both ports."""
        self.keystone.require_admin(request, "identity:list_projects")
        name = request.query.get("name")
        found = sorted(self.state.projects.values(), key=lambda p: p.id)
        return self._listing(
            request, "projects", [self._project_view(p) for p in found if name is None or p.name == name]
        )

    async def project(self, request: web.Request) -> web.Response:
        """GET /v3/projects/ID"""
        self.keystone.require_admin(request, "identity:get_project")
        return json_answer({"project": self._project_view(self.keystone.project(request.match_info["id"]))})

    async def create_project(self, request: web.Request) -> web.Response:
        """POST /v3/projects"""
        self.keystone.require_admin(request, "identity:create_project")
        given = await self.keystone.body(request, "project")
        if not given.get("name"):
            raise ApiFault(400, "Expecting to find name in project.")
        if self.keystone.project_named(given["name"]) is not None:
            raise self.keystone.duplicate("project", given["name"])
        project = Project(
            self.state.new_hex(),
            given["name"],
            given.get("description") or "",
            bool(given.get("enabled", True)),
            extras(given),
        )
        self.state.projects[project.id] = project
        return json_answer({"project": self._project_view(project)}, 201)

    async def update_project(self, request: web.Request) -> web.Response:
        """PATCH /v3/projects/ID; the answer carries ``extra`` besides."""
        self.keystone.require_admin(request, "identity:update_project")
        project = self.keystone.project(request.match_info["id"])
        given = await self.keystone.body(request, "project")
        other = self.keystone.project_named(given.get("name")) if "name" in given else None
        if other is not None and other is not project:
            raise self.keystone.duplicate("project", given["name"])
        project.name = given.get("name", project.name)
        project.description = given.get("description", project.description)
        project.enabled = bool(given.get("enabled", project.enabled))
        if not project.enabled:
            self.state.drop_tokens(project_id=project.id)
        return json_answer({"project": {**self._project_view(project), "extra": {}}})

    async def delete_project(self, request: web.Request) -> web.Response:
        """DELETE /v3/projects/ID"""
        self.keystone.require_admin(request, "identity:delete_project")
        self.keystone.remove_project(self.keystone.project(request.match_info["id"]).id)
        return empty_answer(204, None)

    # --- users

    async def users(self, request: web.Request) -> web.Response:
        """GET /v3/users"""
        self.keystone.require_admin(request, "identity:list_users")
        name = request.query.get("name")
        found = sorted(self.state.users.values(), key=lambda u: u.id)
        return self._listing(request, "users", [self._user_view(u) for u in found if name is None or u.name == name])

    async def user(self, request: web.Request) -> web.Response:
        """GET /v3/users/ID"""
        self.keystone.require_admin(request, "identity:get_user")
        return json_answer({"user": self._user_view(self.keystone.user(request.match_info["id"]))})

    async def create_user(self, request: web.Request) -> web.Response:
        """POST /v3/users"""
        self.keystone.require_admin(request, "identity:create_user")
        given = await self.keystone.body(request, "user")
        if not given.get("name"):
            raise ApiFault(400, "Expecting to find name in user.")
        if self.keystone.user_named(given["name"]) is not None:
            raise self.keystone.duplicate("user", given["name"])
        if given.get("default_project_id"):
            self.keystone.project(given["default_project_id"])
        user = User(
            id=self.state.new_hex(),
            name=given["name"],
            password=str(given.get("password") or self.state.new_hex()),
            email=given.get("email"),
            enabled=bool(given.get("enabled", True)),
            tenant_id=given.get("default_project_id") or None,
            tenant_key="default_project_id",
            extra=extras(given),
        )
        self.state.users[user.id] = user
        return json_answer({"user": self._user_view(user)}, 201)

    async def update_user(self, request: web.Request) -> web.Response:
        """PATCH /v3/users/ID"""
        self.keystone.require_admin(request, "identity:update_user")
        user = self.keystone.user(request.match_info["id"])
        given = await self.keystone.body(request, "user")
        user.name = given.get("name", user.name)
        user.email = given.get("email", user.email)
        user.enabled = bool(given.get("enabled", user.enabled))
        user.tenant_id = given.get("default_project_id", user.tenant_id)
        if "password" in given:
            user.set_password(str(given["password"]))
        if "password" in given or not user.enabled:
            self.state.drop_tokens(user_id=user.id)
        extra = {"email": user.email} if user.email is not None else {}
        return json_answer({"user": {**self._user_view(user), "extra": extra}})

    async def delete_user(self, request: web.Request) -> web.Response:
        """DELETE /v3/users/ID"""
        self.keystone.require_admin(request, "identity:delete_user")
        self.keystone.remove_user(self.keystone.user(request.match_info["id"]).id)
        return empty_answer(204, None)

    async def change_password(self, request: web.Request) -> web.Response:
        """POST /v3/users/ID/password, by the user himself."""
        given = await self.keystone.body(request, "user")
        user = self.keystone.user(request.match_info["id"])
        self.keystone.check_password(user, given.get("original_password"))
        user.set_password(str(given.get("password")))
        self.state.drop_tokens(user_id=user.id)
        return empty_answer(204, None)

    async def user_projects(self, request: web.Request) -> web.Response:
        """GET /v3/users/ID/projects, for administrators and the user himself."""
        caller = self.keystone.caller(request)
        user_id = request.match_info["id"]
        if not caller.is_admin and caller.user_id != user_id:
            raise self.keystone.denied("identity:list_user_projects")
        self.keystone.user(user_id)
        ids = sorted({p for (p, u) in self.state.grants if u == user_id})
        return self._listing(request, "projects", [self._project_view(self.state.projects[i]) for i in ids])

    # --- roles and grants

    async def roles(self, request: web.Request) -> web.Response:
        """GET /v3/roles"""
        self.keystone.require_admin(request, "identity:list_roles")
        name = request.query.get("name")
        found = sorted(self.state.roles.values(), key=lambda r: r.id)
        return self._listing(request, "roles", [self._role_view(r) for r in found if name is None or r.name == name])

    async def role(self, request: web.Request) -> web.Response:
        """GET /v3/roles/ID"""
        self.keystone.require_admin(request, "identity:get_role")
        return json_answer({"role": self._role_view(self._role(request.match_info["id"]))})

    def _role(self, role_id: str) -> Role:
        role = self.state.roles.get(role_id)
        if role is None:
            raise self.keystone.missing("role", role_id)
        return role

    async def create_role(self, request: web.Request) -> web.Response:
        """POST /v3/roles"""
        self.keystone.require_admin(request, "identity:create_role")
        given = await self.keystone.body(request, "role")
        if not given.get("name"):
            raise ApiFault(400, "Expecting to find name in role.")
        if self.state.role_named(given["name"]) is not None:
            raise self.keystone.duplicate("role", given["name"])
        role = Role(self.state.new_hex(), given["name"])
        self.state.roles[role.id] = role
        return json_answer({"role": self._role_view(role)}, 201)

    async def delete_role(self, request: web.Request) -> web.Response:
        """DELETE /v3/roles/ID"""
        self.keystone.require_admin(request, "identity:delete_role")
        role = self._role(request.match_info["id"])
        del self.state.roles[role.id]
        for project_id, user_id in list(self.state.grants):
            self.state.revoke(project_id, user_id, role.id)
        return empty_answer(204, None)

    def _grant_key(self, request: web.Request) -> tuple[str, str, str]:
        return (
            self.keystone.project(request.match_info["project"]).id,
            self.keystone.user(request.match_info["user"]).id,
            self._role(request.match_info["role"]).id,
        )

    async def grants(self, request: web.Request) -> web.Response:
        """GET /v3/projects/P/users/U/roles"""
        self.keystone.require_admin(request, "identity:list_grants")
        key = (self.keystone.project(request.match_info["project"]).id, request.match_info["user"])
        self.keystone.user(key[1])
        held = [self.state.roles[r] for r in self.state.grants.get(key, [])]
        return self._listing(request, "roles", [self._role_view(r) for r in held])

    async def has_grant(self, request: web.Request) -> web.Response:
        """HEAD /v3/projects/P/users/U/roles/R"""
        self.keystone.require_admin(request, "identity:check_grant")
        project_id, user_id, role_id = self._grant_key(request)
        if role_id not in self.state.grants.get((project_id, user_id), []):
            raise self.keystone.missing("role", role_id)
        return empty_answer(204, None)

    async def grant(self, request: web.Request) -> web.Response:
        """PUT /v3/projects/P/users/U/roles/R; repeating is no error here."""
        self.keystone.require_admin(request, "identity:create_grant")
        self.state.grant(*self._grant_key(request))
        return empty_answer(204, None)

    async def revoke_grant(self, request: web.Request) -> web.Response:
        """DELETE /v3/projects/P/users/U/roles/R"""
        self.keystone.require_admin(request, "identity:revoke_grant")
        project_id, user_id, role_id = self._grant_key(request)
        if not self.state.revoke(project_id, user_id, role_id):
            raise self.keystone.missing("role", role_id)
        self.state.drop_tokens(user_id=user_id)
        return empty_answer(204, None)

    async def role_assignments(self, request: web.Request) -> web.Response:
        """GET /v3/role_assignments; ``include_names`` is not known yet and ignored."""
        self.keystone.require_admin(request, "identity:list_role_assignments")
        query = request.query
        items = []
        for (project_id, user_id), held in self.state.grants.items():
            for role_id in held:
                wanted = {"user.id": user_id, "scope.project.id": project_id, "role.id": role_id}
                if any(key in query and query[key] != value for key, value in wanted.items()):
                    continue
                items.append(
                    {
                        "scope": {"project": {"id": project_id}},
                        "user": {"id": user_id},
                        "role": {"id": role_id},
                        "links": {"assignment": self._link("projects", project_id, "users", user_id, "roles", role_id)},
                    }
                )
        return self._listing(request, "role_assignments", items)

    # --- what is read only here

    def _domain_view(self) -> dict[str, Any]:
        return {
            **DEFAULT_DOMAIN,
            "description": "The domain of all users and tenants of API v2.0.",
            "enabled": True,
            "links": {"self": self._link("domains", "default")},
        }

    async def domains(self, request: web.Request) -> web.Response:
        """GET /v3/domains"""
        self.keystone.require_admin(request, "identity:list_domains")
        return self._listing(request, "domains", [self._domain_view()])

    async def domain(self, request: web.Request) -> web.Response:
        """GET /v3/domains/ID"""
        self.keystone.require_admin(request, "identity:get_domain")
        if request.match_info["id"] != "default":
            raise self.keystone.missing("domain", request.match_info["id"])
        return json_answer({"domain": self._domain_view()})

    async def groups(self, request: web.Request) -> web.Response:
        """GET /v3/groups: there are none."""
        self.keystone.require_admin(request, "identity:list_groups")
        return self._listing(request, "groups", [])

    async def regions(self, request: web.Request) -> web.Response:
        """GET /v3/regions: there are none, endpoints name theirs as text."""
        self.keystone.caller(request)
        return self._listing(request, "regions", [])

    async def services(self, request: web.Request) -> web.Response:
        """GET /v3/services"""
        self.keystone.require_admin(request, "identity:list_services")
        views = [
            {
                "id": e.id,
                "name": e.name,
                "type": e.type,
                "description": e.description,
                **self.keystone.enabled(),
                "links": {"self": self._link("services", e.id)},
            }
            for e in self.keystone.catalog("$(tenant_id)s")
        ]
        return self._listing(request, "services", views)

    async def endpoints(self, request: web.Request) -> web.Response:
        """GET /v3/endpoints"""
        self.keystone.require_admin(request, "identity:list_endpoints")
        views = [
            {
                "id": identifier,
                "interface": interface,
                "region": self.state.region,
                "service_id": e.id,
                "url": url,
                **self.keystone.enabled(),
                "links": {"self": self._link("endpoints", identifier)},
            }
            for e in self.keystone.catalog("$(tenant_id)s")
            for interface, identifier, url in zip(
                ("public", "admin", "internal"), e.interface_ids, (e.public, e.admin, e.public), strict=True
            )
        ]
        return self._listing(request, "endpoints", views)
