"""Planning projects, users, roles and role assignments, and who boots a server."""

from __future__ import annotations

from typing import Any

from pumphouse.model import Project, Server, User
from pumphouse.plan.clashes import Place, new_name, project_place, user_place
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note
from pumphouse.plan.passwords import fate_of, note_password

#: Roles that current policies let boot servers (compared without case).
BOOTING_ROLES = frozenset({"member", "admin"})
#: Source roles with another name at the destination, unless ``destination.roles`` in site.yaml says otherwise.
ROLE_NAMES = {"_member_": "member"}
#: Roles that every current Keystone comes with: they are what they are called.
BUILT_IN_ROLES = frozenset({"admin", "manager", "member", "reader", "service"})
#: Pseudo source id of the role with which the operator boots where the owner cannot.
OPERATOR_ROLE = "@operator"
#: Projects of the clouds' own services (DevStack's and Fuel's names); the destination has its own.
SERVICE_PROJECTS = frozenset({"service", "services"})
#: Users as which the services log in to each other (DevStack's and Fuel's names).
SERVICE_USERS = frozenset(
    {
        *("aodh", "barbican", "ceilometer", "cinder", "designate", "ec2", "fuel_stats_user", "glance", "glare"),
        *("gnocchi", "heat", "heat-cfn", "heat_admin", "ironic", "keystone", "magnum", "manila", "murano"),
        *("neutron", "nova", "octavia", "placement", "quantum", "sahara", "savanna", "swift", "trove"),
    }
)


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
    if project.name in SERVICE_PROJECTS:
        draft.block(
            "service-project",
            f"project {project.name}",
            f"Servers are selected that belong to the cloud's own services; {draft.destination.facts.cloud} has its "
            f"own project for these.",
            "leave these servers out.",
        )
    if not project.enabled:
        draft.block(
            "project-disabled",
            f"project {project.name}",
            "A disabled project cannot boot servers at the destination.",
            "enable it for the time of the move, disable both copies afterwards; or leave its servers out.",
        )
    place = project_place(draft, project)
    draft.add(
        f"project:{project.id}",
        title=f"project {_two_names(project.name, place.name)}",
        params={
            "source_id": project.id,
            "name": place.name,
            "description": project.description or "",
            "enabled": project.enabled,
            "adopts": place.adopts,
        },
        undo="deleted, if pumphouse made it",
    )
    return project


def add_people(draft: Draft, project: Project) -> None:
    """Everybody who has a role in the project, with these roles; call it when all projects are planned."""
    for assignment in draft.source.assignments_of(project.id):
        user = draft.source.user(assignment.user_id)
        if user is None:
            continue
        reason = _excluded(draft, user)
        if reason is not None:
            draft.notes.append(Note(f"user {user.name}", f"is not carried, nor its roles: it is {reason}"))
            continue
        if draft.source.role(assignment.role_id) is None:
            what = f"holds role {assignment.role_id} in {project.name}, which Keystone no longer has: it is not carried"
            draft.notes.append(Note(f"user {user.name}", what))
            continue
        _assignment(draft, project, user, assignment.role_id)


def _is_operator(draft: Draft, user: User) -> bool:
    return user.name == draft.source.facts.user_name


def _excluded(draft: Draft, user: User) -> str | None:
    """Why a user does not go along: what it is, or None."""
    if _is_operator(draft, user):
        return "the migrating administrator"
    serving = (project for project in draft.source.projects if project.name in SERVICE_PROJECTS)
    held = (a for project in serving for a in draft.source.assignments_of(project.id))
    if user.name in SERVICE_USERS and any(assignment.user_id == user.id for assignment in held):
        return "a user of the cloud's own services"
    return None


def _place(draft: Draft, user: User) -> Place:
    if user.id not in draft.places:
        draft.places[user.id] = user_place(draft, user)
    return draft.places[user.id]


def _user(draft: Draft, user: User) -> str:
    place = _place(draft, user)
    note_password(draft, user, place)
    if not user.enabled and place.is_new:
        draft.notes.append(Note(f"user {user.name}", "is disabled in the source and stays so"))
    default = user.default_project_id
    carried = default if default and f"project:{default}" in draft.steps else None
    if default and carried is None and place.is_new:
        known = draft.source.project(default)
        draft.notes.append(
            Note(
                f"user {user.name}",
                f"has no default project at the destination: {known.name if known else default} does not move with it",
            )
        )
    return draft.add(
        f"user:{user.id}",
        title=f"user {_two_names(user.name, place.name)}",
        needs=(f"project:{carried}",) if carried else (),
        params={
            "source_id": user.id,
            "name": place.name,
            "email": user.email,
            "enabled": user.enabled,
            "default_project_id": carried,
            "description": user.description or "",
            "adopts": place.adopts,
        },
        undo="deleted, if pumphouse made it",
    )


def _two_names(here: str, there: str) -> str:
    return here if here == there else f"{there} (the source's {here})"


def _role_name(draft: Draft, role_id: str) -> str:
    role = draft.source.role(role_id)
    name = role.name if role else role_id
    if name in draft.site.roles:
        return draft.site.roles[name]
    known = draft.destination.role_named(ROLE_NAMES.get(name, name))
    if known is None:
        return name
    ordinary = name not in ROLE_NAMES and known.name.casefold() not in BUILT_IN_ROLES
    if ordinary and draft.site.clashes["roles"] == "rename":
        return new_name(draft, name)
    if ordinary and draft.site.clashes["roles"] == "refuse":
        draft.block(
            "role-exists",
            f"role {name}",
            f"{draft.destination.facts.cloud} has a role of that name ({known.id}), which may mean something else.",
            "accept `role-exists` to use it, name another in destination.roles of site.yaml, or set "
            "destination.clashes.roles to adopt or rename.",
        )
    return known.name


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
        why = ": Keystone itself gave it to users with that default project" if source_name.name in ROLE_NAMES else ""
        draft.notes.append(Note(f"role {source_name.name}", f"is called {name} at the destination{why}"))
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
    held = (a.role_id for a in draft.source.assignments_of(server.project_id) if a.user_id == server.user_id)
    roles = [role for role in held if draft.source.role(role) is not None]
    base = {"user_id": server.user_id, "user_name": name, "project_id": server.project_id}
    reason, place = None, None
    if user is None:
        reason = "its owner is gone from the source's Keystone"
    elif _is_operator(draft, user):
        reason = "it belongs to the migrating administrator"
    elif _excluded(draft, user):
        reason = f"its owner {name} is a user of the cloud's own services"
    elif not user.enabled:
        reason = f"its owner {name} is disabled"
    elif not any(_role_name(draft, role).casefold() in BOOTING_ROLES for role in roles):
        reason = f"its owner {name} has no role in the project that may boot servers"
    else:
        place = _place(draft, user)
        if not fate_of(draft, user, place).secret:
            reason = f"its owner {name} exists at the destination with a password that pumphouse does not know"
    if reason is None and place is not None:
        needs = tuple(f"assignment:{server.project_id}:{server.user_id}:{role}" for role in roles)
        return {**base, "user_name": place.name, "as": "owner"}, needs
    draft.warn("owner-not-kept", f"server {server.name}", f"will belong to the operator's user, because {reason}.")
    return {**base, "as": "operator"}, (operator_in(draft, server.project_id),)


def operator_in(draft: Draft, project_id: str) -> str:
    """The step that gives the operator a role in a project, so as to work in it."""
    return draft.add(
        f"assignment:{project_id}:{OPERATOR_ROLE}",
        title=f"role admin for the operator in project {project_id}",
        needs=(f"project:{project_id}", _role(draft, OPERATOR_ROLE, "admin")),
        params={"operator": True, "user_id": None, "project_id": project_id, "role_id": OPERATOR_ROLE},
        undo="revoked, if pumphouse granted it",
    )
