"""Planning projects, users, roles and role assignments, and who boots a server."""

from __future__ import annotations

from typing import Any

from pumphouse.model import Project, Server, User
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Roles that current policies let boot servers (compared without case).
BOOTING_ROLES = frozenset({"member", "admin"})
#: Source roles with another name at the destination, unless ``destination.roles`` in site.yaml says otherwise.
ROLE_NAMES = {"_member_": "member"}
#: Pseudo source id of the role with which the operator boots where the owner cannot.
OPERATOR_ROLE = "@operator"


def add_project(draft: Draft, project_id: str) -> Project:
    """A project; one that Keystone no longer has is planned by its id, beside the finding that says so."""
    project = draft.source.project(project_id)
    if project is None:
        draft.block(
            "project-missing",
            f"project {project_id}",
            "Servers are selected whose project Keystone no longer has.",
            "leave these servers out, or make the project again in the source.",
        )
        project = Project(project_id, project_id)
    if not project.enabled:
        draft.block(
            "project-disabled",
            f"project {project.name}",
            "A disabled project cannot boot servers at the destination.",
            "enable it for the time of the move, or leave its servers out.",
        )
    known = draft.destination.project_named(project.name)
    if known is not None and known.source_id != project.id:
        draft.block(
            "project-exists",
            f"project {project.name}",
            f"{draft.destination.facts.cloud} has a project of that name ({known.id}) that pumphouse did not make.",
            "accept `project-exists` to move into it, or rename one of the two.",
        )
    draft.add(
        f"project:{project.id}",
        title=f"project {project.name}",
        params={
            "source_id": project.id,
            "name": project.name,
            "description": project.description or "",
            "enabled": project.enabled,
        },
        undo="deleted, if pumphouse made it",
    )
    return project


def add_people(draft: Draft, project: Project) -> None:
    """Everybody who has a role in the project, with these roles; call it when all projects are planned."""
    for assignment in draft.source.assignments_of(project.id):
        user = draft.source.user(assignment.user_id)
        if user is None or _is_operator(draft, user):
            continue
        _assignment(draft, project, user, assignment.role_id)


def _is_operator(draft: Draft, user: User) -> bool:
    return user.name == draft.source.facts.user_name


def _user(draft: Draft, user: User) -> str:
    known = draft.destination.user_named(user.name)
    if known is not None and known.source_id != user.id:
        draft.warn(
            "user-exists",
            f"user {user.name}",
            f"{draft.destination.facts.cloud} has a user of that name that pumphouse did not make; it stays.",
        )
    elif known is None:
        draft.notes.append(
            Note(f"user {user.name}", "gets a one-time password (hand-over file): no API carries password hashes")
        )
    default = user.default_project_id
    carried = default if default and f"project:{default}" in draft.steps else None
    return draft.add(
        f"user:{user.id}",
        title=f"user {user.name}",
        needs=(f"project:{carried}",) if carried else (),
        params={
            "source_id": user.id,
            "name": user.name,
            "email": user.email,
            "enabled": user.enabled,
            "default_project_id": carried,
            "description": user.description or "",
        },
        undo="deleted, if pumphouse made it",
    )


def _role_name(draft: Draft, role_id: str) -> str:
    role = draft.source.role(role_id)
    name = role.name if role else role_id
    if name in draft.site.roles:
        return draft.site.roles[name]
    known = draft.destination.role_named(ROLE_NAMES.get(name, name))
    return known.name if known else name


def _called(draft: Draft, role_id: str, name: str) -> str:
    """The role's name at the destination, with the source's where they differ."""
    role = draft.source.role(role_id)
    return name if role is None or role.name == name else f"{name} (the source's {role.name})"


def _role(draft: Draft, role_id: str, name: str) -> str:
    return draft.add(
        f"role:{role_id}",
        title=f"role {_called(draft, role_id, name)}",
        params={"source_id": role_id, "name": name},
        undo="deleted, if pumphouse made it",
    )


def _assignment(draft: Draft, project: Project, user: User, role_id: str) -> None:
    name = _role_name(draft, role_id)
    source_name = draft.source.role(role_id)
    if source_name is not None and source_name.name != name:
        draft.notes.append(Note(f"role {source_name.name}", f"is called {name} at the destination"))
    if name.casefold() == "admin":
        draft.warn(
            "admin-role",
            f"user {user.name}",
            f"has the admin role in {project.name}, which makes it an administrator of the whole destination too.",
            "revoke it in the source first if that is not wanted.",
        )
    draft.add(
        f"assignment:{project.id}:{user.id}:{role_id}",
        title=f"role {_called(draft, role_id, name)} for {user.name} in {project.name}",
        needs=(f"project:{project.id}", _user(draft, user), _role(draft, role_id, name)),
        params={"user_id": user.id, "project_id": project.id, "role_id": role_id},
        undo="revoked, if pumphouse granted it",
    )


def acting(draft: Draft, server: Server) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Who boots this server (parameters for ``Context.acting``) and the steps that this needs."""
    user = draft.source.user(server.user_id)
    name = user.name if user else server.user_id
    roles = [a.role_id for a in draft.source.assignments_of(server.project_id) if a.user_id == server.user_id]
    base = {"user_id": server.user_id, "user_name": name, "project_id": server.project_id}
    known = draft.destination.user_named(name) if user else None
    reason = None
    if user is None:
        reason = "its owner is gone from the source's Keystone"
    elif _is_operator(draft, user):
        reason = "it belongs to the migrating administrator"
    elif not user.enabled:
        reason = f"its owner {name} is disabled"
    elif known is not None and (known.source_id != user.id or name not in draft.secrets):
        reason = f"its owner {name} exists at the destination with a password that pumphouse does not know"
    elif not any(_role_name(draft, role).casefold() in BOOTING_ROLES for role in roles):
        reason = f"its owner {name} has no role in the project that may boot servers"
    if reason is None:
        needs = tuple(f"assignment:{server.project_id}:{server.user_id}:{role}" for role in roles)
        return {**base, "as": "owner"}, needs
    draft.warn("owner-not-kept", f"server {server.name}", f"will belong to the operator's user, because {reason}.")
    key = draft.add(
        f"assignment:{server.project_id}:{OPERATOR_ROLE}",
        title=f"role admin for the operator in project {server.project_id}",
        needs=(f"project:{server.project_id}", _role(draft, OPERATOR_ROLE, "admin")),
        params={"operator": True, "user_id": None, "project_id": server.project_id, "role_id": OPERATOR_ROLE},
        undo="revoked, if pumphouse granted it",
    )
    return {**base, "as": "operator"}, (key,)
