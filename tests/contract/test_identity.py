"""Projects, users, roles and assignments."""

from __future__ import annotations

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import CloudAuthError, Conflict, NotFound
from pumphouse.model import Assignment
from tests.contract.conftest import PASSWORD, Maker, Undo, name

NOBODY = "0" * 32


def test_project_is_made_found_and_deleted(cloud: OpenStackCloud, undo: Undo) -> None:
    identity, label = cloud.identity, name("project")
    assert identity.find_project(label) is None
    made = identity.create_project(label, description="für Übung", source_id="src-7")
    undo(identity.delete_project, made.id)
    assert (made.name, made.description, made.enabled, made.source_id) == (label, "für Übung", True, "src-7")
    assert identity.get_project(made.id) == made
    assert identity.find_project(label) == made
    assert made in identity.list_projects()
    with pytest.raises(Conflict) as refused:
        identity.create_project(label)
    assert label in str(refused.value)
    identity.delete_project(made.id)
    identity.delete_project(made.id)
    assert identity.find_project(label) is None
    with pytest.raises(NotFound) as gone:
        identity.get_project(made.id)
    assert cloud.name in str(gone.value)
    assert made.id in str(gone.value)


def test_listing_shows_projects_that_we_have_no_role_in(cloud: OpenStackCloud, undo: Undo) -> None:
    made = cloud.identity.create_project(name("foreign"), enabled=False)
    undo(cloud.identity.delete_project, made.id)
    assert made in cloud.identity.list_projects()
    assert not made.enabled
    assert made.source_id is None


def test_user_is_made_found_and_deleted(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    identity, label, project = cloud.identity, name("user"), make.project()
    assert identity.find_user(label) is None
    made = identity.create_user(
        label, password=PASSWORD, email="ctr@example.com", default_project_id=project.id, source_id="src-8"
    )
    undo(identity.delete_user, made.id)
    assert (made.name, made.email, made.enabled) == (label, "ctr@example.com", True)
    read = identity.get_user(made.id)
    assert (read.default_project_id, read.source_id) == (project.id, "src-8")
    assert identity.find_user(label) == read
    assert read in identity.list_users()
    assert PASSWORD in set(cloud.known_secrets())
    with pytest.raises(Conflict) as refused:
        identity.create_user(label, password=PASSWORD)
    assert PASSWORD not in str(refused.value)
    identity.set_user_enabled(made.id, enabled=False)
    assert not identity.get_user(made.id).enabled
    identity.delete_user(made.id)
    identity.delete_user(made.id)
    with pytest.raises(NotFound):
        identity.get_user(made.id)


def test_a_user_logs_in_with_the_password_it_was_given_last(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    identity, project = cloud.identity, make.project()
    made = identity.create_user(name("user"), password=PASSWORD)
    undo(identity.delete_user, made.id)
    admin = identity.find_role("admin")
    assert admin is not None
    identity.grant_role(Assignment(made.id, project.id, admin.id))
    newer = f"{PASSWORD}-2"
    identity.set_user_password(made.id, newer)
    own = cloud.as_user(user_id=made.id, password=newer, project_id=project.id)
    undo(own.close)
    assert (own.user_id, own.project_id) == (made.id, project.id)
    assert own.compute.list_keypairs() == []
    assert own.facts.user_name == made.name
    assert newer in set(cloud.known_secrets())
    wrong = cloud.as_user(user_id=made.id, password=PASSWORD, project_id=project.id)
    undo(wrong.close)
    with pytest.raises(CloudAuthError) as refused:
        wrong.compute.list_keypairs()
    assert PASSWORD not in str(refused.value)
    assert cloud.name in str(refused.value)


def test_we_can_go_to_another_project(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    project = make.project()
    there = cloud.in_project(project.id)
    undo(there.close)
    assert there.user_id == cloud.user_id
    assert there.project_id == project.id
    assert there.compute.list_servers(project_id=project.id) == []
    assert there.facts.project_name == project.name


def test_role_is_found_in_any_case(cloud: OpenStackCloud, undo: Undo) -> None:
    identity, label = cloud.identity, name("Role")
    assert identity.find_role(label) is None
    made = identity.create_role(label)
    undo(identity.delete_role, made.id)
    assert identity.find_role(label.upper()) == made
    assert made in identity.list_roles()
    with pytest.raises(Conflict):
        identity.create_role(label)
    identity.delete_role(made.id)
    identity.delete_role(made.id)
    assert identity.find_role(label) is None


def test_role_is_granted_and_revoked_any_number_of_times(cloud: OpenStackCloud, make: Maker, undo: Undo) -> None:
    identity, project = cloud.identity, make.project()
    user = identity.create_user(name("user"), password=PASSWORD)
    undo(identity.delete_user, user.id)
    role = identity.create_role(name("role"))
    undo(identity.delete_role, role.id)
    grant = Assignment(user.id, project.id, role.id)
    assert not identity.has_role(grant)
    identity.grant_role(grant)
    identity.grant_role(grant)
    assert identity.has_role(grant)
    assert identity.list_assignments().count(grant) == 1
    identity.revoke_role(grant)
    identity.revoke_role(grant)
    assert not identity.has_role(grant)
    assert grant not in identity.list_assignments()
    assert not identity.has_role(Assignment(NOBODY, project.id, role.id))
    with pytest.raises(NotFound):
        identity.grant_role(Assignment(NOBODY, project.id, role.id))
