"""Keystone's v3 API, which every release since Grizzly has, also where the catalog only tells of v2.0."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from pumphouse.clouds.api import Identity
from pumphouse.clouds.http import Service
from pumphouse.clouds.parse import Doc, path
from pumphouse.errors import ApiError, CloudError, Conflict, NotFound
from pumphouse.model import MARKER, Assignment, Project, Role, User

Named = TypeVar("Named", Project, User)


class IdentityV3(Identity):
    """Identity over ``/v3``.

    :param domain_id: the domain in which names are looked up and objects are made.
    :param admin_v2: the admin side of v2.0, if there is one: Grizzly's only cheap way to a project's members.
    :param user_id: given: only our domain's projects and users are listed, and this user. Where things are made, names
        of other domains (an LDAP's people, Heat's stacks by the thousand) are not taken, nor to be mistaken for ours.
    """

    def __init__(
        self,
        api: Service,
        domain_id: Callable[[], str],
        admin_v2: Service | None = None,
        *,
        user_id: Callable[[], str] | None = None,
    ) -> None:
        self._api = api
        self._domain_id = domain_id
        self._admin_v2 = admin_v2
        self._user_id = user_id

    def list_projects(self) -> list[Project]:
        """All projects of all domains, or of ours alone (read only)."""
        return [project_of(doc) for doc in self._list("projects", "list projects", **self._scope())]

    def get_project(self, project_id: str) -> Project:
        """One project by id (read only)."""
        doing = f"read project {project_id}"
        return project_of(self._api.get(path("projects", project_id), doing).doc("project"))

    def find_project(self, name: str) -> Project | None:
        """The project of exactly that name in our domain, or None (read only)."""
        found = self._list("projects", f"look for project '{name}'", name=name, domain_id=self._domain_id())
        return _one([project_of(doc) for doc in found if self._ours(doc, name)], "project", name, self._api)

    def create_project(
        self, name: str, *, description: str = "", enabled: bool = True, source_id: str | None = None
    ) -> Project:
        """Make a project in our domain; the marker is an extra attribute, which v3 keeps."""
        body: dict[str, Any] = {
            "name": name, "description": description, "enabled": enabled, "domain_id": self._domain_id(),
        }  # fmt: skip
        if source_id is not None:
            body[MARKER] = source_id
        reply = self._api.post("/projects", {"project": body}, f"create project '{name}'")
        return project_of(reply.doc().doc("project"))

    def delete_project(self, project_id: str) -> None:
        """Delete a project."""
        self._api.delete(path("projects", project_id), f"delete project {project_id}")

    def list_users(self) -> list[User]:
        """All users of all domains, or of ours alone and ourselves (read only)."""
        found = [user_of(doc) for doc in self._list("users", "list users", **self._scope())]
        ourselves = self._user_id() if self._user_id is not None else ""
        # an administrator's user may be of another domain than its project
        if ourselves and all(user.id != ourselves for user in found):
            with suppress(NotFound):
                found.append(self.get_user(ourselves))
        return found

    def get_user(self, user_id: str) -> User:
        """One user by id (read only)."""
        return user_of(self._api.get(path("users", user_id), f"read user {user_id}").doc("user"))

    def find_user(self, name: str) -> User | None:
        """The user of exactly that name in our domain, or None (read only)."""
        found = self._list("users", f"look for user '{name}'", name=name, domain_id=self._domain_id())
        return _one([user_of(doc) for doc in found if self._ours(doc, name)], "user", name, self._api)

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
        """Make a user in our domain. Its default project is only noted: no role comes with it."""
        self._api.wire.secrets.add(password)
        body: dict[str, Any] = {
            "name": name, "password": password, "enabled": enabled, "domain_id": self._domain_id(),
            "email": email, "default_project_id": default_project_id, "description": description, MARKER: source_id,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        reply = self._api.post("/users", {"user": body}, f"create user '{name}'", secret=True)
        return user_of(reply.doc().doc("user"))

    def set_user_password(self, user_id: str, password: str) -> None:
        """Give a user another password."""
        self._api.wire.secrets.add(password)
        body = {"user": {"password": password}}
        self._api.patch(path("users", user_id), body, f"set the password of user {user_id}", secret=True)

    def set_user_enabled(self, user_id: str, *, enabled: bool) -> None:
        """Enable or disable a user."""
        doing = f"{'enable' if enabled else 'disable'} user {user_id}"
        self._api.patch(path("users", user_id), {"user": {"enabled": enabled}}, doing)

    def delete_user(self, user_id: str) -> None:
        """Delete a user."""
        self._api.delete(path("users", user_id), f"delete user {user_id}")

    def list_roles(self) -> list[Role]:
        """All roles that belong to no domain (read only)."""
        return [role_of(doc) for doc in self._list("roles", "list roles")]

    def find_role(self, name: str) -> Role | None:
        """The role of that name in any case (an exact match first), or None (read only)."""
        return role_named(self.list_roles(), name)

    def create_role(self, name: str) -> Role:
        """Make a role."""
        return role_of(self._api.post("/roles", {"role": {"name": name}}, f"create role '{name}'").doc().doc("role"))

    def delete_role(self, role_id: str) -> None:
        """Delete a role."""
        self._api.delete(path("roles", role_id), f"delete role {role_id}")

    def list_assignments(self) -> list[Assignment]:
        """Every direct role of a user in a project (read only).

        ``GET /v3/role_assignments`` is missing in Grizzly: there, every project's members are asked for theirs.
        """
        try:
            docs = self._list("role_assignments", "list role assignments")
        except NotFound:
            return self._assignments_one_by_one()
        found = [assignment for doc in docs if (assignment := assignment_of(doc)) is not None]
        return list(dict.fromkeys(found))

    def has_role(self, assignment: Assignment) -> bool:
        """Whether the user has that very role in that very project (read only)."""
        return assignment in self._roles_in(assignment.project_id, assignment.user_id)

    def grant_role(self, assignment: Assignment) -> None:
        """Give the role; a second grant changes nothing."""
        try:
            self._api.put(self._grant(assignment), None, f"grant {_words(assignment)}")
        except Conflict:
            if not self.has_role(assignment):
                raise

    def revoke_role(self, assignment: Assignment) -> None:
        """Take the role away."""
        self._api.delete(self._grant(assignment), f"revoke {_words(assignment)}")

    def _list(self, what: str, doing: str, **params: str) -> list[Doc]:
        docs: list[Doc] = []
        answer = self._api.get(f"/{what}", doing, **params)
        while True:
            docs += answer.docs(what)
            following = answer.maybe_doc("links").maybe_text("next")
            if following is None:
                break
            query = following.partition("?")[2]
            page = self._api.get(f"/{what}?{query}", doing)
            if not page.docs(what):
                break
            answer = page
        if answer.flag("truncated", False):
            raise CloudError(
                f"Cloud '{self._api.wire.cloud}' could not {doing}: identity cut the list short (its `list_limit`).",
                remedy="raise `list_limit` in that keystone.conf: an incomplete list would lose objects.",
                request_id=answer.request_id,
            )
        return docs

    def _scope(self) -> dict[str, str]:
        return {} if self._user_id is None else {"domain_id": self._domain_id()}

    def _ours(self, doc: Doc, name: str) -> bool:
        return doc.text("name") == name and (doc.maybe_text("domain_id") or self._domain_id()) == self._domain_id()

    def _roles_in(self, project_id: str, user_id: str) -> list[Assignment]:
        doing = f"list the roles of user {user_id} in project {project_id}"
        place = path("projects", project_id, "users", user_id, "roles")
        try:
            held = [role.text("id") for role in self._api.get(place, doing).docs("roles")]
        except NotFound as error:
            if not names_a_role(error):
                return []
            held = [role.id for role in self.list_roles() if self._is_granted(place + path(role.id))]
        return [Assignment(user_id, project_id, role_id) for role_id in held]

    def _is_granted(self, place: str) -> bool:
        try:
            self._api.call("HEAD", place, "look for a role of a user in a project", repeatable=True)
        except ApiError as error:
            # an answer to HEAD has no words
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    def _assignments_one_by_one(self) -> list[Assignment]:
        users = [user.id for user in self.list_users()]
        projects = [project.id for project in self.list_projects()]
        # one project first: that the admin side cannot be reached from here is to be found out only once
        known = bool(projects) and self._members(projects[0]) is not None
        members = self._api.wire.each(lambda project_id: self._members(project_id) if known else None, projects)
        pairs = [
            (project, user)
            for project, ids in zip(projects, members, strict=True)
            for user in (users if ids is None else ids)
        ]
        found = self._api.wire.each(lambda pair: self._roles_in(*pair), pairs)
        return [assignment for some in found for assignment in some]

    def _members(self, project_id: str) -> list[str] | None:
        if self._admin_v2 is None:
            return None
        try:
            answer = self._admin_v2.get(path("tenants", project_id, "users"), f"list members of project {project_id}")
        except CloudError:
            return None
        return list(dict.fromkeys(doc.text("id") for doc in answer.docs("users")))

    @staticmethod
    def _grant(assignment: Assignment) -> str:
        return path("projects", assignment.project_id, "users", assignment.user_id, "roles", assignment.role_id)


def project_of(doc: Doc) -> Project:
    """A project from v3's or v2.0's JSON."""
    return Project(
        id=doc.text("id"),
        name=doc.text("name"),
        description=doc.maybe_text("description") or "",
        enabled=doc.flag("enabled", True),
        source_id=doc.maybe_text(MARKER),
    )


def user_of(doc: Doc) -> User:
    """A user from v3's or v2.0's JSON; Grizzly keeps the default project as ``tenantId``, also in v3."""
    return User(
        id=doc.text("id"),
        name=doc.text("name", "username"),
        email=doc.maybe_text("email") or None,
        enabled=doc.flag("enabled", True),
        default_project_id=doc.maybe_text("default_project_id", "tenantId", "default_tenant_id") or None,
        description=doc.maybe_text("description") or "",
        source_id=doc.maybe_text(MARKER),
    )


def role_of(doc: Doc) -> Role:
    """A role from v3's or v2.0's JSON."""
    return Role(id=doc.text("id"), name=doc.text("name"))


def role_named(roles: list[Role], name: str) -> Role | None:
    """The role of exactly that name, else the one that differs in case only."""
    exact = [role for role in roles if role.name == name]
    folded = [role for role in roles if role.name.casefold() == name.casefold()]
    return next(iter(exact + folded), None)


def names_a_role(error: NotFound) -> bool:
    """Whether what Keystone did not find is a role: the user and the project are there, and so may their others be.

    Until 2012 a role that was deleted stayed in its holders' lists; since then such a list cannot be read any more.
    """
    return re.search(r"could not find role\b", error.message, re.IGNORECASE) is not None


def assignment_of(doc: Doc) -> Assignment | None:
    """A direct assignment of a user in a project; None for groups, domains, the system and inherited ones."""
    scope = doc.maybe_doc("scope")
    if "user" not in doc or "project" not in scope or "OS-INHERIT:inherited_to" in scope:
        return None
    return Assignment(
        user_id=doc.doc("user").text("id"),
        project_id=scope.doc("project").text("id"),
        role_id=doc.doc("role").text("id"),
    )


def _one(found: list[Named], kind: str, name: str, api: Service) -> Named | None:
    if len(found) > 1:
        raise CloudError(
            f"Cloud '{api.wire.cloud}' has {len(found)} {kind}s named '{name}': {', '.join(one.id for one in found)}.",
            remedy="rename all but one of them, or use the id.",
            request_id=api.wire.last_request_id,
        )
    return found[0] if found else None


def _words(assignment: Assignment) -> str:
    return f"role {assignment.role_id} of user {assignment.user_id} in project {assignment.project_id}"
