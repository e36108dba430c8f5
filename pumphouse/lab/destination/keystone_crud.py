"""Keystone v3: projects, users, roles and who has which."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.destination.keystone import DOMAIN, forbidden, linked, listed, project_view, projects_of
from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import UNAUTHENTICATED, Fault, Json, answer, new_hex_id, read_json, truthy, validate

_NAME = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"[\S]+"}
_TEXT = {"type": ["string", "null"]}
_ID = {"type": ["string", "null"]}


def _schema(kind: str, required: list[str], **properties: Any) -> Json:
    return {
        "type": "object",
        "properties": {kind: {"type": "object", "properties": properties, "required": required}},
        "required": [kind],
    }


_FLAG: Json = {"type": "boolean"}
_PROJECT: Json = {"name": _NAME | {"maxLength": 64}, "description": _TEXT, "enabled": _FLAG, "domain_id": _ID}
_USER: Json = {"name": _NAME, "enabled": _FLAG, "password": _TEXT, "domain_id": _ID, "default_project_id": _ID}
_ROLE: Json = {"name": _NAME, "description": _TEXT}


class Directory:
    """Handlers of ``/v3/projects``, ``/v3/users``, ``/v3/roles`` and role assignments."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.data = cloud.identity

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        found = []
        for kind, one in (("projects", "project"), ("users", "user"), ("roles", "role")):
            found += [
                web.get(f"/v3/{kind}", getattr(self, f"{one}_list")),
                web.post(f"/v3/{kind}", getattr(self, f"{one}_create")),
                web.get(f"/v3/{kind}/{{id}}", getattr(self, f"{one}_show")),
                web.patch(f"/v3/{kind}/{{id}}", getattr(self, f"{one}_update")),
                web.delete(f"/v3/{kind}/{{id}}", getattr(self, f"{one}_delete")),
            ]
        grants = "/v3/projects/{project}/users/{user}/roles"
        return [
            *found,
            web.get("/v3/users/{id}/projects", self.user_projects),
            web.post("/v3/users/{id}/password", self.user_password),
            web.get(grants, self.grant_list),
            web.get(grants + "/{role}", self.grant_check),
            web.put(grants + "/{role}", self.grant_put),
            web.delete(grants + "/{role}", self.grant_delete),
            web.get("/v3/role_assignments", self.assignments),
        ]

    def _admin(self, request: web.Request, action: str) -> Caller:
        caller = self.cloud.authenticate(request)
        if not caller.is_admin:
            raise forbidden(f"identity:{action}")
        return caller

    def _get(self, table: dict[str, Json], kind: str, record_id: str) -> Json:
        record = table.get(record_id)
        if record is None:
            raise Fault(404, f"Could not find {kind}: {record_id}.")
        return record

    # projects

    async def project_list(self, request: web.Request) -> web.Response:
        """``GET /v3/projects``; names compare without case, as the usual database collation has it."""
        self._admin(request, "list_projects")
        found = [project_view(self.cloud, item) for item in _matching(self.data.projects, request)]
        return listed(self.cloud, request, "projects", found)

    async def project_create(self, request: web.Request) -> web.Response:
        """``POST /v3/projects``: unknown attributes are kept and shown, an ``id`` is not."""
        self._admin(request, "create_project")
        body = await read_json(request)
        validate(body, _schema("project", ["name"], **_PROJECT))
        given = dict(body["project"])
        project_id = new_hex_id()
        self._project_name_free(given["name"], project_id)
        record = {
            "id": project_id,
            "name": given.pop("name"),
            "domain_id": "default",
            "description": given.pop("description", "") or "",
            "enabled": given.pop("enabled", True),
            "parent_id": "default",
            "is_domain": False,
            "tags": given.pop("tags", []),
            "options": {},
        }
        record["extra"] = {key: value for key, value in given.items() if key not in record}
        self.data.projects[project_id] = record
        return answer({"project": project_view(self.cloud, record)}, 201)

    def _project_name_free(self, name: str, project_id: str) -> None:
        for record in self.data.projects.values():
            if record["name"].lower() == name.lower() and record["id"] != project_id:
                raise Fault(
                    409,
                    "Conflict occurred attempting to store project - it is not permitted to have two projects with "
                    f"either the same name or same id in the same domain: name is {name}, project id {project_id}.",
                )

    async def project_show(self, request: web.Request) -> web.Response:
        """``GET /v3/projects/{id}``."""
        caller = self.cloud.authenticate(request)
        project_id = request.match_info["id"]
        if not caller.sees(project_id):
            raise forbidden("identity:get_project")
        return answer({"project": project_view(self.cloud, self._get(self.data.projects, "project", project_id))})

    async def project_update(self, request: web.Request) -> web.Response:
        """``PATCH /v3/projects/{id}``."""
        self._admin(request, "update_project")
        record = self._get(self.data.projects, "project", request.match_info["id"])
        body = await read_json(request)
        validate(body, _schema("project", [], **_PROJECT))
        if "name" in body["project"]:
            self._project_name_free(body["project"]["name"], record["id"])
        _update(record, body["project"])
        return answer({"project": project_view(self.cloud, record) | {"extra": record["extra"]}})

    async def project_delete(self, request: web.Request) -> web.Response:
        """``DELETE /v3/projects/{id}``: with its role assignments, but with nothing of other services."""
        self._admin(request, "delete_project")
        record = self._get(self.data.projects, "project", request.match_info["id"])
        del self.data.projects[record["id"]]
        self.data.grants -= {grant for grant in self.data.grants if grant[0] == record["id"]}
        return answer(None, 204)

    # users

    def _user_view(self, record: Json) -> Json:
        shown = {key: value for key, value in record.items() if key != "extra"}
        return linked(self.cloud, "users", record["extra"] | shown)

    async def user_list(self, request: web.Request) -> web.Response:
        """``GET /v3/users``."""
        self._admin(request, "list_users")
        return listed(
            self.cloud, request, "users", [self._user_view(item) for item in _matching(self.data.users, request)]
        )

    async def user_create(self, request: web.Request) -> web.Response:
        """``POST /v3/users``."""
        self._admin(request, "create_user")
        body = await read_json(request)
        validate(body, _schema("user", ["name"], **_USER))
        given = dict(body["user"])
        self._user_name_free(given["name"], "")
        record = {
            "id": new_hex_id(),
            "name": given.pop("name"),
            "domain_id": "default",
            "enabled": given.pop("enabled", True),
            "password_expires_at": None,
            "options": given.pop("options", {}),
        }
        if given.get("default_project_id"):
            record["default_project_id"] = given["default_project_id"]
        given.pop("default_project_id", None)
        password = given.pop("password", None)
        if password is not None:
            self.data.passwords[record["id"]] = password
        record["extra"] = {key: value for key, value in given.items() if key not in record}
        self.data.users[record["id"]] = record
        return answer({"user": self._user_view(record)}, 201)

    def _user_name_free(self, name: str, user_id: str) -> None:
        for record in self.data.users.values():
            if record["name"].lower() == name.lower() and record["id"] != user_id:
                raise Fault(
                    409,
                    f"Conflict occurred attempting to store user - Duplicate entry found with name {name} "
                    "at domain ID default.",
                )

    async def user_show(self, request: web.Request) -> web.Response:
        """``GET /v3/users/{id}``: an administrator's, and one's own."""
        caller = self.cloud.authenticate(request)
        if not caller.is_admin and caller.user_id != request.match_info["id"]:
            raise forbidden("identity:get_user")
        return answer({"user": self._user_view(self._get(self.data.users, "user", request.match_info["id"]))})

    async def user_update(self, request: web.Request) -> web.Response:
        """``PATCH /v3/users/{id}``: a new password, or being disabled, ends the user's tokens."""
        self._admin(request, "update_user")
        record = self._get(self.data.users, "user", request.match_info["id"])
        body = await read_json(request)
        validate(body, _schema("user", [], **_USER))
        given = dict(body["user"])
        if "name" in given:
            self._user_name_free(given["name"], record["id"])
        if "password" in given:
            self.data.passwords[record["id"]] = given.pop("password")
            self._forget_tokens(record["id"])
        if given.get("enabled") is False:
            self._forget_tokens(record["id"])
        if "default_project_id" in given:
            record["default_project_id"] = given.pop("default_project_id")
        _update(record, given)
        return answer({"user": self._user_view(record) | {"extra": record["extra"]}})

    def _forget_tokens(self, user_id: str) -> None:
        for token in [item for item in self.data.tokens.values() if item.user_id == user_id]:
            del self.data.tokens[token.id]

    async def user_delete(self, request: web.Request) -> web.Response:
        """``DELETE /v3/users/{id}``."""
        self._admin(request, "delete_user")
        record = self._get(self.data.users, "user", request.match_info["id"])
        del self.data.users[record["id"]]
        self.data.passwords.pop(record["id"], None)
        self.data.grants -= {grant for grant in self.data.grants if grant[1] == record["id"]}
        self._forget_tokens(record["id"])
        return answer(None, 204)

    async def user_projects(self, request: web.Request) -> web.Response:
        """``GET /v3/users/{id}/projects``."""
        caller = self.cloud.authenticate(request)
        user_id = request.match_info["id"]
        if not caller.is_admin and caller.user_id != user_id:
            raise forbidden("identity:list_user_projects")
        self._get(self.data.users, "user", user_id)
        return listed(self.cloud, request, "projects", projects_of(self.cloud, user_id))

    async def user_password(self, request: web.Request) -> web.Response:
        """``POST /v3/users/{id}/password``: the user's own change, proved by the old password."""
        user_id = request.match_info["id"]
        self._get(self.data.users, "user", user_id)
        given = (await read_json(request)).get("user", {})
        if not self.data.is_password(user_id, given.get("original_password")):
            raise Fault(401, UNAUTHENTICATED)
        self.data.passwords[user_id] = given["password"]
        self._forget_tokens(user_id)
        return answer(None, 204)

    # roles

    async def role_list(self, request: web.Request) -> web.Response:
        """``GET /v3/roles``."""
        self._admin(request, "list_roles")
        found = [linked(self.cloud, "roles", item) for item in _matching(self.data.roles, request)]
        return listed(self.cloud, request, "roles", found)

    async def role_create(self, request: web.Request) -> web.Response:
        """``POST /v3/roles``: names are unique without regard to case."""
        self._admin(request, "create_role")
        body = await read_json(request)
        validate(body, _schema("role", ["name"], **_ROLE))
        self._role_name_free(body["role"]["name"], "")
        record = {
            "id": new_hex_id(),
            "name": body["role"]["name"],
            "domain_id": None,
            "description": body["role"].get("description"),
            "options": {},
        }
        self.data.roles[record["id"]] = record
        return answer({"role": linked(self.cloud, "roles", record)}, 201)

    def _role_name_free(self, name: str, role_id: str) -> None:
        if any(item["name"].lower() == name.lower() and item["id"] != role_id for item in self.data.roles.values()):
            raise Fault(409, f"Conflict occurred attempting to store role - Duplicate entry found with name {name}.")

    async def role_show(self, request: web.Request) -> web.Response:
        """``GET /v3/roles/{id}``."""
        self._admin(request, "get_role")
        role = self._get(self.data.roles, "role", request.match_info["id"])
        return answer({"role": linked(self.cloud, "roles", role)})

    def _mutable_role(self, request: web.Request) -> Json:
        role = self._get(self.data.roles, "role", request.match_info["id"])
        if role["options"].get("immutable"):
            raise Fault(
                403, f"Cannot delete immutable role {role['id']}. Set resource option `immutable` to false first."
            )
        return role

    async def role_update(self, request: web.Request) -> web.Response:
        """``PATCH /v3/roles/{id}``."""
        self._admin(request, "update_role")
        role = self._mutable_role(request)
        body = await read_json(request)
        validate(body, _schema("role", [], **_ROLE))
        if "name" in body["role"]:
            self._role_name_free(body["role"]["name"], role["id"])
        role.update({key: value for key, value in body["role"].items() if key in ("name", "description")})
        return answer({"role": linked(self.cloud, "roles", role)})

    async def role_delete(self, request: web.Request) -> web.Response:
        """``DELETE /v3/roles/{id}``: with its assignments; the built-in ones are immutable."""
        self._admin(request, "delete_role")
        role = self._mutable_role(request)
        del self.data.roles[role["id"]]
        self.data.grants -= {grant for grant in self.data.grants if grant[2] == role["id"]}
        return answer(None, 204)

    # who has which

    def _grant(self, request: web.Request, action: str, *, role: bool = True) -> tuple[str, str, str]:
        self._admin(request, action)
        names = request.match_info
        if role:
            self._get(self.data.roles, "role", names["role"])
        self._get(self.data.users, "user", names["user"])
        self._get(self.data.projects, "project", names["project"])
        return names["project"], names["user"], names.get("role", "")

    async def grant_list(self, request: web.Request) -> web.Response:
        """``GET …/roles``: a user's own roles in a project."""
        project, user, _ = self._grant(request, "list_grants", role=False)
        found = [role for where, who, role in sorted(self.data.grants) if (where, who) == (project, user)]
        records = [linked(self.cloud, "roles", self.data.roles[role]) for role in found]
        return listed(self.cloud, request, "roles", records)

    async def grant_check(self, request: web.Request) -> web.Response:
        """``HEAD …/roles/{role}``."""
        grant = self._grant(request, "check_grant")
        if grant not in self.data.grants:
            raise _no_grant(grant)
        return answer(None, 204)

    async def grant_put(self, request: web.Request) -> web.Response:
        """``PUT …/roles/{role}``: a second time changes nothing."""
        self.data.grants.add(self._grant(request, "create_grant"))
        return answer(None, 204)

    async def grant_delete(self, request: web.Request) -> web.Response:
        """``DELETE …/roles/{role}``."""
        grant = self._grant(request, "revoke_grant")
        if grant not in self.data.grants:
            raise _no_grant(grant)
        self.data.grants.remove(grant)
        return answer(None, 204)

    async def assignments(self, request: web.Request) -> web.Response:
        """``GET /v3/role_assignments``: filtered by user, role and scope; ``effective``, ``include_names``."""
        self._admin(request, "list_role_assignments")
        query = request.query
        named = "include_names" in query and query["include_names"].lower() not in ("0", "false")
        grants = set(self.data.grants)
        if "effective" in query and query["effective"].lower() not in ("0", "false"):
            pairs = {(where, who) for where, who, _ in grants}
            grants = {(where, who, role) for where, who in pairs for role in self.cloud.role_ids(who, where)}
        found = []
        for where, who, role in sorted(grants):
            if (
                query.get("user.id", who) == who
                and query.get("role.id", role) == role
                and query.get("scope.project.id", where) == where
                and (where == "system" or "scope.system" not in query)
                and not {"group.id", "scope.domain.id"} & set(query)
            ):
                found.append(self._assignment(where, who, role, named=named))
        return listed(self.cloud, request, "role_assignments", found)

    def _assignment(self, where: str, who: str, role: str, *, named: bool) -> Json:
        path = f"{'system' if where == 'system' else f'projects/{where}'}/users/{who}/roles/{role}"
        scope: Json = {"system": {"all": True}} if where == "system" else {"project": {"id": where}}
        body: Json = {
            "links": {"assignment": f"{self.cloud.urls['identity']}/{path}"},
            "scope": scope,
            "user": {"id": who},
            "role": {"id": role},
        }
        if named:
            body["user"] |= {"name": self.data.users[who]["name"], "domain": DOMAIN}
            body["role"]["name"] = self.data.roles[role]["name"]
            if where != "system":
                scope["project"] |= {"name": self.data.projects[where]["name"], "domain": DOMAIN}
        return body


def _no_grant(grant: tuple[str, str, str]) -> Fault:
    project, user, role = grant
    return Fault(
        404,
        f"Could not find role assignment with role: {role}, user or group: {user}, "
        f"project, domain, or system: {project}.",
    )


def _matching(table: dict[str, Json], request: web.Request) -> list[Json]:
    found = list(table.values())
    if "name" in request.query:
        found = [item for item in found if item["name"].lower() == request.query["name"].lower()]
    if "enabled" in request.query:
        found = [item for item in found if item.get("enabled") == truthy(request.query["enabled"])]
    if request.query.get("domain_id", "default") != "default" or truthy(request.query.get("is_domain", "")):
        return []
    return sorted(found, key=lambda item: item["id"])


def _update(record: Json, given: Json) -> None:
    for key, value in given.items():
        if key in ("id", "domain_id", "extra"):
            continue
        (record if key in record else record["extra"])[key] = value
