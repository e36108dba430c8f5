"""The identity part of the conversation, and version documents and refusals of all four services."""

from __future__ import annotations

import re
from typing import Any

from .scenario_flavors import FLAVOR
from .talk import Conversation, Talker


def discovery(book: Conversation, admin: Talker) -> None:
    """Version documents, extensions, and what all four services refuse."""
    nobody = Talker(book, "", "", "", admin.catalog)
    liar = Talker(book, "bogus", "", "", admin.catalog)
    roots = {name: re.sub(r"(:\d+).*", r"\1", url) for name, url in admin.catalog.items()}
    root = Talker(book, "", "", "", roots)
    for service in ("identity", "compute", "image", "network"):
        root.call(f"discovery.{service}.root", service, "GET", "/")
    nobody.call("discovery.identity.v3", "identity", "GET", "/")
    nobody.call("discovery.compute.v21", "compute", "GET", "/")
    nobody.call("discovery.compute.latest", "compute", "GET", "/", version="latest")
    nobody.call("discovery.compute.too-new", "compute", "GET", "/", version="2.999")
    root.call("discovery.network.v2", "network", "GET", "/v2.0/", headers={"X-Auth-Token": admin.token})
    root.call("discovery.network.noslash", "network", "GET", "/v2.0", headers={"X-Auth-Token": admin.token})
    for service, path in (
        ("identity", "/projects"),
        ("compute", "/servers"),
        ("image", "/v2/images"),
        ("network", "/v2.0/networks"),
    ):
        nobody.call(f"noauth.{service}", service, "GET", path)
        liar.call(f"badtoken.{service}", service, "GET", path)
        lost = {"identity": "/nonsense", "compute": "/nonsense", "image": "/v2/nonsense", "network": "/v2.0/nonsense"}
        admin.call(f"lost.{service}", service, "GET", lost[service])
    admin.call("network.extensions", "network", "GET", "/v2.0/extensions")
    admin.call("network.extension", "network", "GET", "/v2.0/extensions/router")
    admin.call("network.extension.unknown", "network", "GET", "/v2.0/extensions/nonsense")
    admin.call("compute.extensions", "compute", "GET", "/extensions")
    admin.call("compute.extension", "compute", "GET", "/extensions/os-keypairs")
    admin.call("compute.extension.unknown", "compute", "GET", "/extensions/nonsense")
    for address in ("/os-networks", "/os-floating-ips", "/os-security-groups"):
        admin.call(f"compute.gone.236{address}", "compute", "GET", address, version="2.36")
    admin.call("compute.zones", "compute", "GET", "/os-availability-zone")
    admin.call("compute.services", "compute", "GET", "/os-services")
    admin.call("compute.services.269", "compute", "GET", "/os-services", version="2.69")
    admin.call("compute.hypervisors", "compute", "GET", "/os-hypervisors")
    admin.call("compute.hypervisors.detail", "compute", "GET", "/os-hypervisors/detail")
    admin.call("compute.hypervisors.detail.253", "compute", "GET", "/os-hypervisors/detail", version="2.53")
    admin.call("compute.hypervisors.detail.288", "compute", "GET", "/os-hypervisors/detail", version="2.88")
    admin.call("compute.limits", "compute", "GET", "/limits")
    admin.call("compute.limits.257", "compute", "GET", "/limits", version="2.57")


def identity(book: Conversation, admin: Talker) -> Talker:
    """Projects, users, roles and grants; returns a plain member of the new project."""
    call, later = admin.call, book.undo.callback
    wrong = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": book.username, "password": "wrong", "domain": {"id": "default"}}},
            }
        }
    }
    Talker(book, "", "", "", admin.catalog).call("auth.wrong", "identity", "POST", "/auth/tokens", wrong)
    call("auth.empty", "identity", "POST", "/auth/tokens", {})
    call("auth.check", "identity", "GET", "/auth/tokens", headers={"X-Subject-Token": admin.token})
    call("auth.check.bogus", "identity", "GET", "/auth/tokens", headers={"X-Subject-Token": "bogus"})
    call("auth.catalog", "identity", "GET", "/auth/catalog")
    call("domain.list", "identity", "GET", "/domains")
    call("domain.get", "identity", "GET", "/domains/default")
    call("service.list", "identity", "GET", "/services")
    call("endpoint.list", "identity", "GET", "/endpoints")
    call("region.list", "identity", "GET", "/regions")
    call("group.list", "identity", "GET", "/groups")

    new = {
        "project": {
            "name": "labcmp-project",
            "description": "d",
            "domain_id": "default",
            "pumphouse_source_id": "0123",
            "id": "1" * 32,
        }
    }
    project = call("project.create", "identity", "POST", "/projects", new)["project"]
    later(call, "project.delete", "identity", "DELETE", f"/projects/{project['id']}")
    call("project.create.again", "identity", "POST", "/projects", new)
    call("project.create.noname", "identity", "POST", "/projects", {"project": {}})
    call("project.create.blank", "identity", "POST", "/projects", {"project": {"name": ""}})
    call("project.get", "identity", "GET", f"/projects/{project['id']}")
    call("project.get.missing", "identity", "GET", f"/projects/{'0' * 32}")
    call("project.list.name", "identity", "GET", "/projects?name=labcmp-project")
    call("project.list.none", "identity", "GET", "/projects?name=nonsense")
    patch = {"project": {"description": "e", "colour": "blue"}}
    call("project.update", "identity", "PATCH", f"/projects/{project['id']}", patch)
    call("project.delete.missing", "identity", "DELETE", f"/projects/{'0' * 32}")

    new = {
        "user": {
            "name": "labcmp-user",
            "password": "labcmp-secret",
            "email": "a@example.org",
            "default_project_id": project["id"],
            "domain_id": "default",
            "pumphouse_source_id": "0123",
        }
    }
    user = call("user.create", "identity", "POST", "/users", new)["user"]
    later(call, "user.delete", "identity", "DELETE", f"/users/{user['id']}")
    call("user.create.again", "identity", "POST", "/users", new)
    bare = call("user.create.bare", "identity", "POST", "/users", {"user": {"name": "labcmp-bare"}})["user"]
    anyone = Talker(book, "", "", "", admin.catalog)

    def proof(user_id: str, **scope: Any) -> dict[str, Any]:
        # a user of its own: disabling one revokes all tokens that it gets within the same second
        who = {"id": user_id, "password": "labcmp-secret"}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}} | scope}

    secret = {"user": {"password": "labcmp-secret"}}
    call("user.password", "identity", "PATCH", f"/users/{bare['id']}", secret)
    anyone.call("auth.unscoped", "identity", "POST", "/auth/tokens", proof(bare["id"]))
    scope = {"project": {"id": admin.project_id}}
    anyone.call("auth.norole", "identity", "POST", "/auth/tokens", proof(bare["id"], scope=scope))
    call("user.update", "identity", "PATCH", f"/users/{bare['id']}", {"user": {"enabled": False}})
    anyone.call("auth.disabled", "identity", "POST", "/auth/tokens", proof(bare["id"]))
    call("user.delete.bare", "identity", "DELETE", f"/users/{bare['id']}")
    call("user.get", "identity", "GET", f"/users/{user['id']}")
    call("user.get.missing", "identity", "GET", f"/users/{'0' * 32}")
    call("user.list.name", "identity", "GET", "/users?name=labcmp-user")

    role = call("role.create", "identity", "POST", "/roles", {"role": {"name": "labcmp-role"}})["role"]
    later(call, "role.delete", "identity", "DELETE", f"/roles/{role['id']}")
    call("role.create.again", "identity", "POST", "/roles", {"role": {"name": "LABCMP-Role"}})
    call("project.create.case", "identity", "POST", "/projects", {"project": {"name": "LABCMP-Project"}})
    call("user.create.case", "identity", "POST", "/users", {"user": {"name": "LABCMP-User"}})
    call("role.get", "identity", "GET", f"/roles/{role['id']}")
    call("role.get.missing", "identity", "GET", f"/roles/{'0' * 32}")
    roles = {item["name"]: item["id"] for item in call("role.list", "identity", "GET", "/roles")["roles"]}
    call("role.list.name", "identity", "GET", "/roles?name=LABCMP-role")
    grant = f"/projects/{project['id']}/users/{user['id']}/roles"
    call("grant.check.none", "identity", "HEAD", f"{grant}/{role['id']}")
    call("grant.put", "identity", "PUT", f"{grant}/{role['id']}")
    call("grant.put.again", "identity", "PUT", f"{grant}/{role['id']}")
    call("grant.check", "identity", "HEAD", f"{grant}/{role['id']}")
    call("grant.list", "identity", "GET", grant)
    call("grant.member", "identity", "PUT", f"{grant}/{roles['member']}")
    call("grant.unknown.role", "identity", "PUT", f"{grant}/{'0' * 32}")
    call("grant.unknown.user", "identity", "PUT", f"/projects/{project['id']}/users/{'0' * 32}/roles/{role['id']}")
    call("grant.unknown.project", "identity", "PUT", f"/projects/{'0' * 32}/users/{user['id']}/roles/{role['id']}")
    call("assignment.list", "identity", "GET", "/role_assignments")
    call("assignment.list.names", "identity", "GET", "/role_assignments?include_names")
    query = f"?user.id={user['id']}&scope.project.id={project['id']}"
    call("assignment.list.user", "identity", "GET", "/role_assignments" + query)
    call("grant.delete", "identity", "DELETE", f"{grant}/{role['id']}")
    call("grant.delete.again", "identity", "DELETE", f"{grant}/{role['id']}")
    call("user.projects", "identity", "GET", f"/users/{user['id']}/projects")
    # so that the administrator can act in the new project as well
    call("", "identity", "PUT", f"/projects/{project['id']}/users/{admin.user_id}/roles/{roles['admin']}")

    tenant = book.login("labcmp-user", "labcmp-secret", "labcmp-project", "auth.tenant")
    tenant.call("auth.projects", "identity", "GET", "/auth/projects")
    tenant.call("policy.project.list", "identity", "GET", "/projects")
    tenant.call("policy.project.create", "identity", "POST", "/projects", {"project": {"name": "labcmp-no"}})
    tenant.call("policy.user.list", "identity", "GET", "/users")
    tenant.call("policy.flavor.create", "compute", "POST", "/flavors", FLAVOR)
    tenant.call("policy.services", "compute", "GET", "/os-services")
    tenant.call("policy.servers.all", "compute", "GET", "/servers?all_tenants=1")
    tenant.call("policy.network.external", "network", "POST", "/v2.0/networks", {"network": {"router:external": True}})
    return tenant
