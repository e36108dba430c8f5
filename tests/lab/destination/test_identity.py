"""Keystone of the lab's destination, through openstacksdk."""

from __future__ import annotations

import openstack.exceptions
import pytest
import requests
from keystoneauth1.exceptions.http import Unauthorized

from .running import SDK_WARNINGS, Running

pytestmark = SDK_WARNINGS


def test_starts_with_an_administrator_and_the_usual_roles_only(lab: Running) -> None:
    conn = lab.connect()
    assert {"admin", "service"} <= {project.name for project in conn.identity.projects()}
    assert {"admin", "member", "reader", "manager", "service"} <= {role.name for role in conn.identity.roles()}
    assert "admin" in {user.name for user in conn.identity.users()}
    assert [domain.id for domain in conn.identity.domains()] == ["default"]
    assert conn.session.auth.get_access(conn.session).project_name == "admin"


def test_a_project_keeps_unknown_attributes_but_no_chosen_id(lab: Running) -> None:
    conn = lab.connect()
    chosen = "1" * 32
    made = conn.identity.create_project(name="kept", description="d", id=chosen, pumphouse_source_id="abc")
    assert made.id != chosen
    raw = conn.identity.get(f"/projects/{made.id}").json()["project"]
    assert raw["pumphouse_source_id"] == "abc"
    assert conn.identity.find_project("kept").id == made.id
    with pytest.raises(openstack.exceptions.ConflictException, match="two projects with either the same name"):
        conn.identity.create_project(name="KEPT")
    conn.identity.delete_project(made.id)
    assert conn.identity.find_project("kept") is None


def test_a_user_logs_in_with_its_roles_and_sees_its_own_only(lab: Running) -> None:
    conn = lab.connect()
    project = conn.identity.create_project(name="alpha")
    given = {"name": "alice", "password": "pw-1", "email": "a@example.org", "default_project_id": project.id}
    answer = conn.identity.post("/users", json={"user": given | {"pumphouse_source_id": "u1"}})
    assert answer.status_code == 201, answer.text
    user = conn.identity.find_user("alice")
    raw = conn.identity.get(f"/users/{user.id}").json()["user"]
    assert (raw["email"], raw["pumphouse_source_id"], raw["default_project_id"]) == ("a@example.org", "u1", project.id)
    assert "password" not in raw
    with pytest.raises(Unauthorized):
        _ = lab.connect("alice", "pw-1", "alpha").auth_token
    (found,) = conn.identity.get("/roles?name=MEMBER").json()["roles"]
    member = conn.identity.find_role("member")
    assert member.id == found["id"]
    conn.identity.assign_project_role_to_user(project, user, member)
    conn.identity.assign_project_role_to_user(project, user, member)
    assert conn.identity.validate_user_has_project_role(project, user, member)
    alice = lab.connect("alice", "pw-1", "alpha")
    assert alice.current_project_id == project.id
    assert [item.id for item in alice.identity.user_projects(user)] == [project.id]
    with pytest.raises(openstack.exceptions.ForbiddenException, match="identity:list_users"):
        list(alice.identity.users())
    with pytest.raises(openstack.exceptions.ForbiddenException, match="identity:create_project"):
        alice.identity.create_project(name="mine")
    found = list(conn.identity.role_assignments(user_id=user.id, scope_project_id=project.id))
    assert [(item.role["id"], item.scope["project"]["id"]) for item in found] == [(member.id, project.id)]
    conn.identity.unassign_project_role_from_user(project, user, member)
    assert not conn.identity.validate_user_has_project_role(project, user, member)


def test_a_new_password_and_disabling_end_old_tokens(lab: Running) -> None:
    conn = lab.connect()
    project = conn.identity.create_project(name="beta")
    user = conn.identity.create_user(name="bob", password="pw-1")
    conn.identity.assign_project_role_to_user(project, user, conn.identity.find_role("member"))
    token = lab.connect("bob", "pw-1", "beta").auth_token

    def works(token: str) -> int:
        url = f"{lab.info.auth_url}/auth/projects"
        return requests.get(url, headers={"X-Auth-Token": token}, timeout=10).status_code

    assert works(token) == 200
    conn.identity.update_user(user, password="pw-2")
    assert works(token) == 401
    with pytest.raises(Unauthorized):
        _ = lab.connect("bob", "pw-1", "beta").auth_token
    token = lab.connect("bob", "pw-2", "beta").auth_token
    conn.identity.update_user(user, is_enabled=False)
    assert works(token) == 401
    conn.identity.update_user(user, is_enabled=True)
    conn.identity.delete_user(user)
    assert conn.identity.find_user("bob") is None


def test_role_names_are_unique_without_regard_to_case(lab: Running) -> None:
    conn = lab.connect()
    made = conn.identity.create_role(name="Night-Shift")
    with pytest.raises(openstack.exceptions.ConflictException, match="Duplicate entry found with name night-shift"):
        conn.identity.create_role(name="night-shift")
    conn.identity.delete_role(made)
    with pytest.raises(openstack.exceptions.ForbiddenException, match="immutable"):
        conn.identity.delete_role(conn.identity.find_role("member"))


def test_a_role_gives_the_roles_that_it_implies(lab: Running) -> None:
    conn = lab.connect()
    names = {role["name"] for role in conn.session.auth.get_access(conn.session)._data["token"]["roles"]}
    assert names == {"admin", "manager", "member", "reader"}


def test_every_answer_carries_a_request_id_of_its_own(lab: Running) -> None:
    url = f"{lab.info.auth_url}/projects"
    ids = {requests.get(url, timeout=10).headers["x-openstack-request-id"] for _ in range(2)}
    assert len(ids) == 2
