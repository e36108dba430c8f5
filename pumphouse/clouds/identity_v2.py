"""Keystone's v2.0 admin API, for clouds whose v3 is switched off (OS-KSADM extension for roles)."""

from __future__ import annotations

from typing import Any

from pumphouse.clouds.api import Identity
from pumphouse.clouds.http import Service
from pumphouse.clouds.identity import names_a_role, project_of, role_named, role_of, user_of
from pumphouse.clouds.parse import path
from pumphouse.errors import Conflict, NotFound
from pumphouse.model import MARKER, Assignment, Project, Role, User


class IdentityV2(Identity):
    """Identity over the *admin* side of ``/v2.0``: the public side tells everybody only of their own tenants."""

    def __init__(self, api: Service) -> None:
        self._api = api

    def list_projects(self) -> list[Project]:
        """All tenants (read only)."""
        return [project_of(doc) for doc in self._api.get("/tenants", "list projects").docs("tenants")]

    def get_project(self, project_id: str) -> Project:
        """One tenant by id (read only)."""
        return project_of(self._api.get(path("tenants", project_id), f"read project {project_id}").doc("tenant"))

    def find_project(self, name: str) -> Project | None:
        """The tenant of exactly that name, or None (read only)."""
        return next((project for project in self.list_projects() if project.name == name), None)

    def create_project(
        self, name: str, *, description: str = "", enabled: bool = True, source_id: str | None = None
    ) -> Project:
        """Make a tenant; the marker is an extra attribute, which v2.0 keeps."""
        body: dict[str, Any] = {"name": name, "description": description, "enabled": enabled}
        if source_id is not None:
            body[MARKER] = source_id
        reply = self._api.post("/tenants", {"tenant": body}, f"create project '{name}'")
        return project_of(reply.doc().doc("tenant"))

    def delete_project(self, project_id: str) -> None:
        """Delete a tenant."""
        self._api.delete(path("tenants", project_id), f"delete project {project_id}")

    def list_users(self) -> list[User]:
        """All users (read only)."""
        return [user_of(doc) for doc in self._api.get("/users", "list users").docs("users")]

    def get_user(self, user_id: str) -> User:
        """One user by id (read only)."""
        return user_of(self._api.get(path("users", user_id), f"read user {user_id}").doc("user"))

    def find_user(self, name: str) -> User | None:
        """The user of exactly that name, or None (read only)."""
        return next((user for user in self.list_users() if user.name == name), None)

    def create_user(
        self,
        name: str,
        *,
        password: str,
        email: str | None = None,
        enabled: bool = True,
        default_project_id: str | None = None,
        description: str = "",
        source_id: str | None = None,
    ) -> User:
        """Make a user. Keystone gives a user with a default tenant the role ``_member_`` in it by itself."""
        self._api.wire.secrets.add(password)
        body: dict[str, Any] = {
            "name": name, "password": password, "enabled": enabled, "email": email,
            "tenantId": default_project_id, "description": description, MARKER: source_id,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        reply = self._api.post("/users", {"user": body}, f"create user '{name}'", secret=True)
        return user_of(reply.doc().doc("user"))

    def set_user_password(self, user_id: str, password: str) -> None:
        """Give a user another password."""
        self._api.wire.secrets.add(password)
        body = {"user": {"id": user_id, "password": password}}
        doing = f"set the password of user {user_id}"
        self._api.put(path("users", user_id, "OS-KSADM", "password"), body, doing, secret=True)

    def set_user_enabled(self, user_id: str, *, enabled: bool) -> None:
        """Enable or disable a user."""
        body = {"user": {"id": user_id, "enabled": enabled}}
        doing = f"{'enable' if enabled else 'disable'} user {user_id}"
        self._api.put(path("users", user_id, "OS-KSADM", "enabled"), body, doing)

    def delete_user(self, user_id: str) -> None:
        """Delete a user."""
        self._api.delete(path("users", user_id), f"delete user {user_id}")

    def list_roles(self) -> list[Role]:
        """All roles (read only)."""
        return [role_of(doc) for doc in self._api.get("/OS-KSADM/roles", "list roles").docs("roles")]

    def find_role(self, name: str) -> Role | None:
        """The role of that name in any case (an exact match first), or None (read only)."""
        return role_named(self.list_roles(), name)

    def create_role(self, name: str) -> Role:
        """Make a role."""
        reply = self._api.post("/OS-KSADM/roles", {"role": {"name": name}}, f"create role '{name}'")
        return role_of(reply.doc().doc("role"))

    def delete_role(self, role_id: str) -> None:
        """Delete a role."""
        self._api.delete(path("OS-KSADM", "roles", role_id), f"delete role {role_id}")

    def list_assignments(self) -> list[Assignment]:
        """Every role of every user in every tenant: each tenant's members, then each member's roles (read only)."""
        projects = [project.id for project in self.list_projects()]
        members = self._api.wire.each(self._members, projects)
        pairs = [(project, user) for project, ids in zip(projects, members, strict=True) for user in ids]
        found = self._api.wire.each(lambda pair: self._roles_in(*pair), pairs)
        return list(dict.fromkeys(assignment for some in found for assignment in some))

    def has_role(self, assignment: Assignment) -> bool:
        """Whether the user has that very role in that very tenant (read only)."""
        return assignment in self._roles_in(assignment.project_id, assignment.user_id)

    def grant_role(self, assignment: Assignment) -> None:
        """Give the role; v2.0 answers 409 to a second grant, and would give roles to users that do not exist."""
        self.get_user(assignment.user_id)
        try:
            self._api.put(self._grant(assignment), None, f"grant role {assignment.role_id}")
        except Conflict:
            if not self.has_role(assignment):
                raise

    def revoke_role(self, assignment: Assignment) -> None:
        """Take the role away."""
        self._api.delete(self._grant(assignment), f"revoke role {assignment.role_id}")

    def _members(self, project_id: str) -> list[str]:
        answer = self._api.get(path("tenants", project_id, "users"), f"list members of project {project_id}")
        return list(dict.fromkeys(doc.text("id") for doc in answer.docs("users")))

    def _roles_in(self, project_id: str, user_id: str) -> list[Assignment]:
        doing = f"list the roles of user {user_id} in project {project_id}"
        try:
            roles = self._api.get(path("tenants", project_id, "users", user_id, "roles"), doing).docs("roles")
        except NotFound as error:
            if not names_a_role(error):
                return []
            error.remedy = (
                "take that role, which was deleted, out of the user's row of Keystone's database, or let v3 in."
            )
            raise
        return [Assignment(user_id, project_id, role.text("id")) for role in roles]

    @staticmethod
    def _grant(assignment: Assignment) -> str:
        user = path("tenants", assignment.project_id, "users", assignment.user_id)
        return f"{user}{path('roles', 'OS-KSADM', assignment.role_id)}"
