"""Less usual requests of the conversation: readers, unknown projects, odd boots, hosts put out of service."""

from __future__ import annotations

from typing import Any

from .talk import FIXED_CIDR, PUBLIC_KEY, Conversation, Talker

NOBODY = "0" * 32


def readers(book: Conversation, admin: Talker, tenant: Talker) -> None:
    """Who has only the role ``reader`` looks, and changes nothing."""
    call, later = admin.call, book.undo.callback
    new = {"user": {"name": "labcmp-reader", "password": "labcmp-secret"}}
    user = call("", "identity", "POST", "/users", new)["user"]
    later(call, "", "identity", "DELETE", f"/users/{user['id']}")
    roles = {item["name"]: item["id"] for item in call("", "identity", "GET", "/roles")["roles"]}
    path = f"/projects/{tenant.project_id}/users/{user['id']}/roles/{roles['reader']}"
    call("", "identity", "PUT", path)
    reader = book.login("labcmp-reader", "labcmp-secret", "labcmp-project", "auth.reader")
    reader.call("reader.project", "identity", "GET", f"/projects/{tenant.project_id}")
    reader.call("reader.project.other", "identity", "GET", f"/projects/{admin.project_id}")
    reader.call("reader.user", "identity", "GET", f"/users/{user['id']}")
    reader.call("reader.roles", "identity", "GET", "/roles")
    reader.call("reader.role_assignments", "identity", "GET", "/role_assignments")
    reader.call("reader.image.create", "image", "POST", "/v2/images", {"name": "labcmp-no"})
    reader.call("reader.network.create", "network", "POST", "/v2.0/networks", {"network": {"name": "labcmp-no"}})
    group = {"security_group": {"name": "labcmp-no"}}
    reader.call("reader.secgroup.create", "network", "POST", "/v2.0/security-groups", group)
    body = {"server": {"name": "labcmp-no", "flavorRef": "nonsense", "imageRef": ""}}
    reader.call("reader.server.create", "compute", "POST", "/servers", body)
    key = {"keypair": {"name": "labcmp-no", "public_key": PUBLIC_KEY}}
    made = reader.call("reader.keypair.create", "compute", "POST", "/os-keypairs", key)
    if "keypair" in made:
        reader.call("", "compute", "DELETE", "/os-keypairs/labcmp-no")
    reader.call("reader.server.list", "compute", "GET", "/servers")


def strangers(book: Conversation, admin: Talker) -> None:
    """Projects and users that do not exist, where other services are told of them."""
    call, later = admin.call, book.undo.callback
    call("unknown.quota.get", "compute", "GET", f"/os-quota-sets/{NOBODY}")
    call("unknown.quota.set", "compute", "PUT", f"/os-quota-sets/{NOBODY}", {"quota_set": {"cores": 1}})
    call("unknown.quota.network", "network", "GET", f"/v2.0/quotas/{NOBODY}")
    flavor = {
        "name": "labcmp-p",
        "id": "labcmp-p",
        "ram": 1,
        "vcpus": 1,
        "disk": 0,
        "os-flavor-access:is_public": False,
    }
    call("", "compute", "POST", "/flavors", {"flavor": flavor})
    later(call, "", "compute", "DELETE", "/flavors/labcmp-p")
    access = {"addTenantAccess": {"tenant": NOBODY}}
    call("unknown.flavor.access", "compute", "POST", "/flavors/labcmp-p/action", access)
    call("unknown.flavor.access.empty", "compute", "POST", "/flavors/labcmp-p/action", {"addTenantAccess": {}})
    call("unknown.flavor.action", "compute", "POST", "/flavors/labcmp-p/action", {"nonsense": {}})
    call("unknown.user.projects", "identity", "GET", f"/users/{NOBODY}/projects")
    call("unknown.grants", "identity", "GET", f"/projects/{NOBODY}/users/{NOBODY}/roles")
    call("unknown.assignments", "identity", "GET", f"/role_assignments?user.id={NOBODY}")
    key = {"keypair": {"name": "labcmp/bad", "public_key": PUBLIC_KEY}}
    call("keypair.create.badname", "compute", "POST", "/os-keypairs", key)
    missing = {"keypair": {"name": "labcmp-none"}}
    call("keypair.create.nokey.292", "compute", "POST", "/os-keypairs", missing, version="2.92")
    call("json.compute", "compute", "POST", "/os-keypairs", data=b"{", headers={"Content-Type": "application/json"})
    call("json.identity", "identity", "POST", "/projects", data=b"{", headers={"Content-Type": "application/json"})
    call("json.network", "network", "POST", "/v2.0/networks", data=b"{", headers={"Content-Type": "application/json"})
    call("json.image", "image", "POST", "/v2/images", data=b"{", headers={"Content-Type": "application/json"})


def boots(book: Conversation, admin: Talker, tenant: Talker, image: str, flavor: str, network: str) -> None:
    """Boots that fail in less usual ways."""
    later = book.undo.callback
    bare = admin.call("", "network", "POST", "/v2.0/networks", {"network": {"name": "labcmp-bare"}})["network"]
    later(admin.call, "", "network", "DELETE", f"/v2.0/networks/{bare['id']}")
    own = {"network": {"name": "labcmp-bare2", "project_id": tenant.project_id}}
    empty = admin.call("", "network", "POST", "/v2.0/networks", own)["network"]
    later(admin.call, "", "network", "DELETE", f"/v2.0/networks/{empty['id']}")
    hidden = admin.call("", "image", "POST", "/v2/images", {"name": "labcmp-hidden", "visibility": "private"})
    later(admin.call, "", "image", "DELETE", f"/v2/images/{hidden['id']}")
    spec: dict[str, Any] = {"name": "labcmp-odd", "flavorRef": flavor, "imageRef": image}

    def refused(called: str, version: str | None = None, **change: Any) -> None:
        tenant.call(called, "compute", "POST", "/servers", {"server": spec | change}, version=version)

    refused("server.create.nosubnet", networks=[{"uuid": empty["id"]}])
    refused("server.create.foreignnet", networks=[{"uuid": bare["id"]}])
    refused("server.create.hiddenimage", imageRef=hidden["id"], networks=[{"uuid": network}])
    refused("server.create.emptyimage", imageRef="", networks=[{"uuid": network}])
    refused("server.create.badnetworks", networks="nonsense", version="2.37")
    refused("server.create.both", networks=[{"uuid": network, "port": "4ae517d2-c0a1-4835-9168-f42eb05ade70"}])
    refused("server.create.host.274", networks=[{"uuid": network}], host="node-1", version="2.74")
    private = {
        "name": "labcmp-v",
        "id": "labcmp-v",
        "ram": 1,
        "vcpus": 1,
        "disk": 0,
        "os-flavor-access:is_public": False,
    }
    admin.call("", "compute", "POST", "/flavors", {"flavor": private})
    later(admin.call, "", "compute", "DELETE", "/flavors/labcmp-v")
    refused("server.create.hiddenflavor", flavorRef="labcmp-v", networks=[{"uuid": network}])
    tenant.call("flavor.get.hidden", "compute", "GET", "/flavors/labcmp-v")
    foreign = {"port": {"network_id": bare["id"]}}
    tenant.call("port.create.foreignnet", "network", "POST", "/v2.0/ports", foreign)
    wide = {"network_id": bare["id"], "cidr": FIXED_CIDR, "ip_version": 4, "enable_dhcp": False}
    tenant.call("subnet.create.foreignnet", "network", "POST", "/v2.0/subnets", {"subnet": wide})
    tenant.call("network.delete.foreign", "network", "DELETE", f"/v2.0/networks/{bare['id']}")


def hosts(book: Conversation, admin: Talker) -> None:
    """A compute service is disabled, and enabled again."""
    call = admin.call
    services = call(
        "service.list.host", "compute", "GET", "/os-services?host=node-3&binary=nova-compute", version="2.53"
    )
    path = f"/os-services/{services['services'][0]['id']}"
    book.undo.callback(call, "service.enable", "compute", "PUT", path, {"status": "enabled"}, version="2.53")
    off = {"status": "disabled", "disabled_reason": "labcmp"}
    call("service.disable", "compute", "PUT", path, off, version="2.53")
    call("service.list.disabled", "compute", "GET", "/os-services?host=node-3", version="2.53")
    call(
        "service.unknown",
        "compute",
        "PUT",
        f"/os-services/{'4ae517d2-c0a1-4835-9168-f42eb05ade70'}",
        off,
        version="2.53",
    )
    found = call("", "compute", "GET", "/os-hypervisors", version="2.53")["hypervisors"]
    call("hypervisor.get", "compute", "GET", f"/os-hypervisors/{found[0]['id']}", version="2.53")
    call(
        "hypervisor.get.missing",
        "compute",
        "GET",
        "/os-hypervisors/4ae517d2-c0a1-4835-9168-f42eb05ade70",
        version="2.53",
    )
