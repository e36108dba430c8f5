"""Flavors and quotas in the conversation."""

from __future__ import annotations

from .talk import Conversation, Talker

FLAVOR = {"flavor": {"name": "labcmp-flavor", "ram": 128, "vcpus": 1, "disk": 1, "id": "labcmp-flavor-id", "swap": 0}}


def flavors(book: Conversation, admin: Talker) -> str:
    """Flavors, extra specs, access; returns the id of a flavor."""
    call, later = admin.call, book.undo.callback
    flavor = call("flavor.create", "compute", "POST", "/flavors", FLAVOR)["flavor"]
    later(call, "flavor.delete", "compute", "DELETE", f"/flavors/{flavor['id']}")
    call("flavor.create.same-id", "compute", "POST", "/flavors", {"flavor": FLAVOR["flavor"] | {"name": "labcmp-b"}})
    call("flavor.create.same-name", "compute", "POST", "/flavors", {"flavor": FLAVOR["flavor"] | {"id": "labcmp-b"}})
    call("flavor.create.bad", "compute", "POST", "/flavors", {"flavor": {"name": "labcmp-b"}})
    new = {"flavor": FLAVOR["flavor"] | {"id": "labcmp-c", "name": "labcmp-c", "os-flavor-access:is_public": False}}
    call("flavor.create.private", "compute", "POST", "/flavors", new, version="2.61")
    later(call, "", "compute", "DELETE", "/flavors/labcmp-c")
    call("flavor.get", "compute", "GET", f"/flavors/{flavor['id']}")
    call("flavor.get.261", "compute", "GET", f"/flavors/{flavor['id']}", version="2.61")
    call("flavor.get.275", "compute", "GET", f"/flavors/{flavor['id']}", version="2.75")
    call("flavor.get.missing", "compute", "GET", "/flavors/nonsense")
    call("flavor.list", "compute", "GET", "/flavors")
    call("flavor.list.detail", "compute", "GET", "/flavors/detail?is_public=False")
    call("flavor.list.detail.261", "compute", "GET", "/flavors/detail?is_public=False", version="2.61")
    call("flavor.list.page", "compute", "GET", "/flavors/detail?is_public=False&limit=1", version="2.61")
    specs = f"/flavors/{flavor['id']}/os-extra_specs"
    call("flavor.specs.create", "compute", "POST", specs, {"extra_specs": {"hw:cpu_policy": "shared", "a": "b"}})
    call("flavor.specs.list", "compute", "GET", specs)
    call("flavor.specs.get", "compute", "GET", f"{specs}/a")
    call("flavor.specs.put", "compute", "PUT", f"{specs}/a", {"a": "c"})
    call("flavor.specs.delete", "compute", "DELETE", f"{specs}/a")
    call("flavor.specs.delete.again", "compute", "DELETE", f"{specs}/a")
    access = {"addTenantAccess": {"tenant": admin.project_id}}
    call("flavor.access.add", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.add.again", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.public", "compute", "POST", f"/flavors/{flavor['id']}/action", access)
    call("flavor.access.list", "compute", "GET", "/flavors/labcmp-c/os-flavor-access")
    call("flavor.access.list.public", "compute", "GET", f"/flavors/{flavor['id']}/os-flavor-access")
    access = {"removeTenantAccess": {"tenant": admin.project_id}}
    call("flavor.access.remove", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.remove.again", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.delete.missing", "compute", "DELETE", "/flavors/nonsense")
    return str(flavor["id"])


def quotas(admin: Talker, tenant: Talker, image: str, network: str) -> None:
    """Compute and network quotas, read, set and exceeded."""
    call, path = admin.call, f"/os-quota-sets/{tenant.project_id}"
    call("quota.get", "compute", "GET", path)
    call("quota.get.257", "compute", "GET", path, version="2.57")
    call("quota.detail", "compute", "GET", f"{path}/detail")
    call("quota.defaults", "compute", "GET", f"{path}/defaults")
    call("quota.class", "compute", "GET", "/os-quota-class-sets/default")
    call("quota.class.257", "compute", "GET", "/os-quota-class-sets/default", version="2.57")
    call("quota.set.belowused", "compute", "PUT", path, {"quota_set": {"instances": 0}})
    call("quota.set", "compute", "PUT", path, {"quota_set": {"instances": 1, "ram": 128}})
    call("quota.set.257", "compute", "PUT", path, {"quota_set": {"instances": 1}}, version="2.57")
    call("quota.set.bad", "compute", "PUT", path, {"quota_set": {"colour": 1}})
    call("policy.quota.get", "compute", "GET", f"/os-quota-sets/{admin.project_id}")
    tenant.call("policy.quota.get.other", "compute", "GET", f"/os-quota-sets/{admin.project_id}")
    tenant.call("policy.quota.set", "compute", "PUT", path, {"quota_set": {"instances": 1}})
    boot = {
        "server": {
            "name": "labcmp-over",
            "flavorRef": "labcmp-flavor-id",
            "imageRef": image,
            "networks": [{"uuid": network}],
        }
    }
    tenant.call("quota.exceeded", "compute", "POST", "/servers", boot)
    call("", "compute", "PUT", path, {"quota_set": {"instances": 5}})
    tenant.call("quota.exceeded.ram", "compute", "POST", "/servers", boot)
    call("", "compute", "PUT", path, {"quota_set": {"cores": 1}})
    tenant.call("quota.exceeded.cores", "compute", "POST", "/servers", boot)
    call("quota.reset", "compute", "DELETE", path)
    path = f"/v2.0/quotas/{tenant.project_id}"
    call("quota.network.get", "network", "GET", path)
    call("quota.network.default", "network", "GET", f"{path}/default")
    call("quota.network.detail", "network", "GET", f"{path}/details.json")
    call("quota.network.belowused", "network", "PUT", path, {"quota": {"network": 0}})
    call("quota.network.set", "network", "PUT", path, {"quota": {"network": 1}})
    call("quota.network.bad", "network", "PUT", path, {"quota": {"colour": 1}})
    over = tenant.call(
        "quota.network.exceeded", "network", "POST", "/v2.0/networks", {"network": {"name": "labcmp-over"}}
    )
    if "network" in over:
        call("", "network", "DELETE", f"/v2.0/networks/{over['network']['id']}")
    tenant.call("policy.quota.network.set", "network", "PUT", path, {"quota": {"network": 9}})
    call("quota.network.reset", "network", "DELETE", path)
