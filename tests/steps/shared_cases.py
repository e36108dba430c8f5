"""What is made ready before anything stops: people, what servers are made of, networks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from pumphouse.plan.model import PlannedStep
from tests.raw import ask
from tests.steps.bench import Bench, Write, unique
from tests.steps.case import Case, Made
from tests.steps.quota_case import QuotaCase

MARKER = "pumphouse_source_id"


def like(pattern: PlannedStep, key: str, **params: Any) -> PlannedStep:
    """A planned step with another key and other parameters."""
    return replace(
        pattern, key=f"{pattern.kind}:{key}", title=f"{pattern.kind} {key}", params={**pattern.params, **params}
    )


def adopting(step: PlannedStep, found: list[dict[str, Any]]) -> PlannedStep:
    """The step as a plan has it that knew of what is there."""
    return replace(step, params={**step.params, "adopts": found[0]["id"]})


class RoleCase(Case):
    kind = "role"
    spoils_all = True
    writes = (Write("POST", "/v3/roles$"),)
    undo_writes = (Write("DELETE", "/v3/roles/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("role")
        return Made(like(bench.pattern("role"), name, name=name, source_id=unique()))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        wanted = step.params["name"].casefold()
        roles = ask(bench.new.identity, "/roles")["roles"]
        return [role["name"] for role in roles if role["name"].casefold() == wanted]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [step.params["name"]]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.identity, "/roles", "POST", json={"role": {"name": step.params["name"].upper()}})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        roles = ask(bench.new.identity, "/roles")["roles"]
        (found,) = [role for role in roles if role["name"] == step.params["name"]]
        ask(bench.new.identity, f"/roles/{found['id']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


class ProjectCase(Case):
    kind = "project"
    writes = (Write("POST", "/v3/projects$"),)
    undo_writes = (Write("DELETE", "/v3/projects/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("project")
        params = {"name": name, "source_id": unique(), "description": f"Prüf- und Testprojekt {name}"}
        return Made(like(bench.pattern("project"), name, **params))

    def found(self, bench: Bench, step: PlannedStep) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(bench.new.identity, f"/projects?name={step.params['name']}")["projects"]
        return rows

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        rows = self.found(bench, step)
        groups = [g["project_id"] for g in ask(bench.new.network, "/security-groups")["security_groups"]]
        return [(r["description"], r["enabled"], r.get(MARKER), groups.count(r["id"])) for r in rows]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(step.params["description"], True, step.params["source_id"], 0)]

    def make_in_place(self, bench: Bench) -> Made:
        made = super().make_in_place(bench)
        return replace(made, step=adopting(made.step, self.found(bench, made.step)))

    def there(self, bench: Bench, step: PlannedStep) -> None:
        body = {"project": {"name": step.params["name"], "domain_id": "default", "description": "theirs"}}
        ask(bench.new.identity, "/projects", "POST", json=body)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (found,) = self.found(bench, step)
        ask(bench.new.identity, f"/projects/{found['id']}", "PATCH", json={"project": {"enabled": False}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


class UserCase(Case):
    kind = "user"
    writes = (Write("POST", "/v3/users$"),)
    undo_writes = (Write("DELETE", "/v3/users/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("user")
        params = {"name": name, "source_id": unique(), "email": f"{name}@example.com", "description": "a person"}
        return Made(like(bench.pattern("user"), name, **params, default_project_id=bench.project))

    def found(self, bench: Bench, step: PlannedStep) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(bench.new.identity, f"/users?name={step.params['name']}")["users"]
        return rows

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        keys = ("email", "enabled", "default_project_id", "description", MARKER)
        return [tuple(row.get(key) for key in keys) for row in self.found(bench, step)]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(step.params["email"], True, bench.acme, "a person", step.params["source_id"])]

    def make_in_place(self, bench: Bench) -> Made:
        made = super().make_in_place(bench)
        return replace(made, step=adopting(made.step, self.found(bench, made.step)))

    def there(self, bench: Bench, step: PlannedStep) -> None:
        body = {"user": {"name": step.params["name"], "domain_id": "default", "password": unique("their-own")}}
        ask(bench.new.identity, "/users", "POST", json=body)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (found,) = self.found(bench, step)
        name = f"{step.params['name']}-renamed"
        ask(bench.new.identity, f"/users/{found['id']}", "PATCH", json={"user": {"name": name}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


class AssignmentCase(Case):
    kind = "assignment"
    spoils_all = True
    writes = (Write("PUT", "/v3/projects/.*/roles/"),)
    undo_writes = (Write("DELETE", "/v3/projects/.*/roles/"),)

    def make(self, bench: Bench) -> Made:
        body = {"user": {"name": unique("member"), "domain_id": "default", "password": unique("secret")}}
        user = ask(bench.new.identity, "/users", "POST", json=body)["user"]["id"]
        # an empty project: in one that holds servers of its own the undoing would leave the people their roles
        body = {"project": {"name": unique("project"), "domain_id": "default"}}
        project = ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"]
        step = like(bench.pattern("assignment"), unique(), user_id=f"old-{user}", project_id=f"old-{project}")
        return Made(step, mappings=[("user", f"old-{user}", user), ("project", f"old-{project}", project)])

    def path(self, bench: Bench, step: PlannedStep) -> str:
        user, role = step.params["user_id"].removeprefix("old-"), bench.there("role", step.params["role_id"])
        project = step.params["project_id"].removeprefix("old-")
        return f"/projects/{project}/users/{user}/roles/{role}"

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        roles = ask(bench.new.identity, self.path(bench, step).rpartition("/")[0])["roles"]
        return sorted(role["id"] for role in roles)

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [bench.there("role", step.params["role_id"])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.identity, self.path(bench, step), "PUT")

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.identity, self.path(bench, step), "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.title, step.params["user_id"].removeprefix("old-"))


class FlavorCase(Case):
    kind = "flavor"
    writes = (Write("POST", "/flavors$"), Write("POST", "/os-extra_specs$"), Write("POST", "/flavors/.*/action$"))
    undo_writes = (Write("DELETE", "/flavors/"),)
    specs = {"hw:cpu_policy": "shared", "quota:cpu_shares": "512"}

    def make(self, bench: Bench) -> Made:
        name = unique("flavor")
        flavor = bench.pattern("flavor").params["flavor"] | {
            "id": name,
            "name": name,
            "is_public": False,
            "extra_specs": self.specs,
            "access_project_ids": [bench.project],
            "ephemeral_gib": 2,
            "swap_mib": 64,
            "rxtx_factor": 2.0,
        }
        return Made(like(bench.pattern("flavor"), name, source_id=name, flavor=flavor))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        flavors = ask(bench.new.compute, "/flavors/detail?is_public=None")["flavors"]
        keys = ("vcpus", "ram", "disk", "OS-FLV-EXT-DATA:ephemeral", "swap", "rxtx_factor")
        return [
            (f["id"], *(f[key] for key in keys), *self.more(bench, f["id"]))
            for f in flavors
            if f["name"] == step.params["flavor"]["name"]
        ]

    def more(self, bench: Bench, flavor_id: str) -> tuple[Any, Any]:
        specs = ask(bench.new.compute, f"/flavors/{flavor_id}/os-extra_specs")["extra_specs"]
        access = ask(bench.new.compute, f"/flavors/{flavor_id}/os-flavor-access")["flavor_access"]
        return specs, [row["tenant_id"] for row in access]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        want = step.params["flavor"]
        return [(want["id"], want["vcpus"], want["ram_mib"], want["disk_gib"], 2, 64, 2.0, self.specs, [bench.acme])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        want = step.params["flavor"]
        body = {
            "id": want["id"],
            "name": want["name"],
            "vcpus": want["vcpus"],
            "ram": want["ram_mib"],
            "disk": want["disk_gib"],
            "OS-FLV-EXT-DATA:ephemeral": 2,
            "swap": 64,
            "rxtx_factor": 2.0,
            "os-flavor-access:is_public": False,
        }
        ask(bench.new.compute, "/flavors", "POST", json={"flavor": body})
        path = f"/flavors/{want['id']}"
        ask(bench.new.compute, f"{path}/os-extra_specs", "POST", json={"extra_specs": self.specs})
        access = {"addTenantAccess": {"tenant": bench.acme}}
        ask(bench.new.compute, f"{path}/action", "POST", json=access)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        path = f"/flavors/{step.params['source_id']}/os-extra_specs/hw:cpu_policy"
        ask(bench.new.compute, path, "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["source_id"],)


class ImageCase(Case):
    kind = "image"
    spoils_all = True
    writes = (
        Write("POST", "/v2/images$"),
        Write("PUT", "/v2/images/.*/file$"),
        Write("POST", "/v2/images/.*/members$"),
        Write("PUT", "/v2/images/.*/members/"),
        Write("PATCH", "/v2/images/"),
    )
    undo_writes = (Write("PATCH", "/v2/images/"), Write("DELETE", "/v2/images/"))
    size_bytes = 5000

    def make(self, bench: Bench) -> Made:
        name = unique("image")
        body = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "private"}
        made = ask(bench.owner.image, "/images", "POST", json=body)
        data = self.data(name)
        binary = {"Content-Type": "application/octet-stream"}
        ask(bench.owner.image, f"/images/{made['id']}/file", "PUT", data=data, headers=binary)
        image = {
            **bench.pattern("image").params["image"],
            "name": name,
            "visibility": "shared",
            "owner_id": None,
            "size_bytes": len(data),
            "checksum": hashlib.md5(data).hexdigest(),
            "disk_format": "raw",
            "container_format": "bare",
            "min_disk_gib": 1,
            "min_ram_mib": 64,
            "protected": True,
            "properties": {"os_distro": "debian"},
            "tags": ["lts"],
            "member_ids": [bench.project],
        }
        return Made(like(bench.pattern("image"), name, source_id=made["id"], image=image))

    def data(self, name: str) -> bytes:
        return (name.encode() * self.size_bytes)[: self.size_bytes]

    def found(self, bench: Bench, step: PlannedStep) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(bench.new.image, f"/images?name={step.params['image']['name']}")["images"]
        return rows

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        rows = []
        for image in self.found(bench, step):
            members = ask(bench.new.image, f"/images/{image['id']}/members")["members"]
            content = bench.new.image.get(f"/images/{image['id']}/file").content
            keys = ("status", "visibility", "min_disk", "min_ram", "protected", "tags", "os_distro")
            shared = [(m["member_id"], m["status"]) for m in members]
            rows.append((*(image.get(key) for key in keys), shared, content))
        return rows

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        data = self.data(step.params["image"]["name"])
        return [("active", "shared", 1, 64, True, ["lts"], "debian", [(bench.acme, "accepted")], data)]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.upload(bench, step, self.data(step.params["image"]["name"]))
        source_id = step.params["source_id"]
        ask(bench.new.image, f"/images/{source_id}/members", "POST", json={"member": bench.acme})
        ask(bench.new.image, f"/images/{source_id}/members/{bench.acme}", "PUT", json={"status": "accepted"})
        protect = [{"op": "replace", "path": "/protected", "value": True}]
        patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        ask(bench.new.image, f"/images/{source_id}", "PATCH", json=protect, headers=patch)

    def upload(self, bench: Bench, step: PlannedStep, data: bytes) -> None:
        """An image of the same id at the destination, with this content."""
        body = {
            "id": step.params["source_id"],
            "name": step.params["image"]["name"],
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "shared",
        }
        made = ask(bench.new.image, "/images", "POST", json=body)
        binary = {"Content-Type": "application/octet-stream"}
        ask(bench.new.image, f"/images/{made['id']}/file", "PUT", data=data, headers=binary)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (found,) = self.found(bench, step)
        protect = [{"op": "replace", "path": "/protected", "value": False}]
        patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        ask(bench.new.image, f"/images/{found['id']}", "PATCH", json=protect, headers=patch)
        ask(bench.new.image, f"/images/{found['id']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["image"]["name"], step.params["source_id"])


class KeypairCase(Case):
    kind = "keypair"
    spoils_all = True
    writes = (Write("POST", "/os-keypairs$"),)
    undo_writes = (Write("DELETE", "/os-keypairs/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("key")
        return Made(like(bench.pattern("keypair", user_name="acme-user"), name, name=name))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        found = ask(bench.owner_there.compute, "/os-keypairs")["keypairs"]
        return [row["keypair"]["public_key"] for row in found if row["keypair"]["name"] == step.params["name"]]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [step.params["public_key"]]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.add(bench, step, step.params["public_key"])

    def add(self, bench: Bench, step: PlannedStep, public_key: str) -> None:
        """A keypair of that name, of the same user."""
        body = {"keypair": {"name": step.params["name"], "public_key": public_key}}
        ask(bench.owner_there.compute, "/os-keypairs", "POST", json=body)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.owner_there.compute, f"/os-keypairs/{step.params['name']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


class NetworkCase(Case):
    kind = "network"
    writes = (Write("POST", "/v2.0/networks"), Write("POST", "/v2.0/subnets"))
    undo_writes = (Write("DELETE", "/v2.0/networks/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("net")
        params = {
            "source_id": unique(),
            "source_name": name,
            "name": name,
            "cidr": "10.77.0.0/24",
            "gateway_ip": "10.77.0.254",
            "dns": ["192.0.2.53"],
            "pools": [["10.77.0.200", "10.77.0.253"]],
            "shared": False,
            "project_id": bench.project,
            "provider": {"network_type": "vlan", "physical_network": name, "segment": 7},
        }
        return Made(like(bench.pattern("network"), name, **params))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        networks = ask(bench.new.network, f"/networks?name={step.params['name']}")["networks"]
        keys = ("cidr", "gateway_ip", "dns_nameservers", "allocation_pools", "enable_dhcp")
        rows = []
        for network in networks:
            subnets = ask(bench.new.network, f"/subnets?network_id={network['id']}")["subnets"]
            shown = [tuple(subnet[key] for key in keys) for subnet in subnets]
            place = [network[f"provider:{key}"] for key in ("network_type", "physical_network", "segmentation_id")]
            rows.append((network["project_id"], network["shared"], place, shown))
        return rows

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        pool = [{"start": "10.77.0.200", "end": "10.77.0.253"}]
        place = ["vlan", step.params["name"], 7]
        return [(bench.acme, False, place, [("10.77.0.0/24", "10.77.0.254", ["192.0.2.53"], pool, True)])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        name = step.params["name"]
        place = {"provider:network_type": "vlan", "provider:physical_network": name, "provider:segmentation_id": 7}
        self.add(bench, name, step.params["cidr"], **place)

    def add(self, bench: Bench, name: str, cidr: str | None, **more: Any) -> tuple[str, str | None]:
        """A network of that name with one subnet (with none when ``cidr`` is None), made by hand."""
        body: dict[str, Any] = {"network": {"name": name, **more}}
        network = ask(bench.new.network, "/networks", "POST", json=body)["network"]["id"]
        if cidr is None:
            return network, None
        body = {"subnet": {"network_id": network, "ip_version": 4, "cidr": cidr}}
        return network, ask(bench.new.network, "/subnets", "POST", json=body)["subnet"]["id"]

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (network,) = ask(bench.new.network, f"/networks?name={step.params['name']}")["networks"]
        for subnet in network["subnets"]:
            ask(bench.new.network, f"/subnets/{subnet}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        networks = ask(bench.new.network, f"/networks?name={step.params['name']}")["networks"]
        return (step.params["name"], *(network["id"] for network in networks))


class RouterCase(Case):
    kind = "router"
    writes = (Write("POST", "/v2.0/routers"), Write("PUT", "/v2.0/routers/.*/add_router_interface"))
    undo_writes = (
        Write("PUT", "/v2.0/routers/.*/remove_router_interface"),
        Write("PUT", "/v2.0/routers/[^/]*$"),
        Write("DELETE", "/v2.0/routers/"),
    )

    def make(self, bench: Bench) -> Made:
        name = unique("net")
        network, _ = NetworkCase().add(bench, name, "10.78.0.0/24")
        params = {"name": f"pumphouse {name} public", "network_id": f"old-{network}"}
        step = like(bench.pattern("router"), name, **params)
        return Made(step, mappings=[("network", f"old-{network}", network)])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        network = step.params["network_id"].removeprefix("old-")
        routers = ask(bench.new.network, "/routers")["routers"]
        ports = ask(bench.new.network, f"/ports?network_id={network}")["ports"]
        joined = {port["device_id"] for port in ports}
        rows = []
        for router in routers:
            if router["name"] == step.params["name"] or router["id"] in joined:
                gateway = (router["external_gateway_info"] or {}).get("network_id")
                rows.append((router["name"], gateway, [p["fixed_ips"][0]["ip_address"] for p in ports]))
        return rows or ports

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(step.params["name"], step.params["external_network_id"], ["10.78.0.1"])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        gateway = {"network_id": step.params["external_network_id"]}
        self.add(bench, step, {"name": unique("theirs"), "external_gateway_info": gateway})

    def add(self, bench: Bench, step: PlannedStep, router: dict[str, Any]) -> str:
        """A router made by hand, joined to the step's network."""
        made = ask(bench.new.network, "/routers", "POST", json={"router": router})["router"]["id"]
        network = step.params["network_id"].removeprefix("old-")
        (subnet,) = ask(bench.new.network, f"/subnets?network_id={network}")["subnets"]
        path = f"/routers/{made}/add_router_interface"
        ask(bench.new.network, path, "PUT", json={"subnet_id": subnet["id"]})
        return str(made)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (router,) = [r for r in ask(bench.new.network, "/routers")["routers"] if r["name"] == step.params["name"]]
        body: dict[str, Any] = {"router": {"external_gateway_info": {}}}
        ask(bench.new.network, f"/routers/{router['id']}", "PUT", json=body)

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        routers = ask(bench.new.network, "/routers")["routers"]
        return (step.params["name"], step.title, *(r["id"] for r in routers if r["name"] == step.params["name"]))


class SecurityGroupCase(Case):
    kind = "security-group"
    spoils_all = True
    writes = (Write("POST", "/v2.0/security-groups"),)
    undo_writes = (Write("DELETE", "/v2.0/security-groups/"),)

    def make(self, bench: Bench) -> Made:
        name = unique("group")
        params = {"source_id": unique(), "name": name, "description": f"group {name}"}
        return Made(like(bench.pattern("security-group"), name, **params))

    def found(self, bench: Bench, step: PlannedStep) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(bench.new.network, "/security-groups")["security_groups"]
        return [row for row in rows if row["name"] == step.params["name"]]

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        return [(row["project_id"], row["description"]) for row in self.found(bench, step)]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(bench.acme, step.params["description"])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.add(bench, step.params["name"])

    def add(self, bench: Bench, name: str) -> str:
        """A group of acme's, made by hand."""
        body = {"security_group": {"name": name, "project_id": bench.acme, "description": "theirs"}}
        return str(ask(bench.new.network, "/security-groups", "POST", json=body)["security_group"]["id"])

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (found,) = self.found(bench, step)
        ask(bench.new.network, f"/security-groups/{found['id']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], *(row["id"] for row in self.found(bench, step)), step.title)


class RulesCase(Case):
    kind = "security-group-rules"
    writes = (Write("POST", "/v2.0/security-group-rules"),)
    undo_writes = (Write("DELETE", "/v2.0/security-group-rules/"),)

    def make(self, bench: Bench) -> Made:
        group = SecurityGroupCase().add(bench, unique("group"))
        web = bench.pattern("security-group", name="web").params["source_id"]
        open_to_all = {"direction": "ingress", "ethertype": "IPv4", "remote_cidr": "0.0.0.0/0", "remote_group_id": None}
        rules = [
            {**open_to_all, "protocol": "tcp", "port_min": 443, "port_max": 443},
            {**open_to_all, "protocol": "icmp", "port_min": None, "port_max": None},
            {**open_to_all, "protocol": "udp", "port_min": 161, "port_max": 162, "remote_cidr": "10.0.0.0/8"},
            {
                **open_to_all,
                "protocol": "tcp",
                "port_min": 3306,
                "port_max": 3306,
                "remote_cidr": None,
                "remote_group_id": web,
            },
        ]
        params = {"source_id": f"old-{group}", "name": "tested", "rules": rules}
        step = like(bench.pattern("security-group-rules"), group, **params)
        return Made(step, mappings=[("security_group", f"old-{group}", group)])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        group = step.params["source_id"].removeprefix("old-")
        found = ask(bench.new.network, f"/security-group-rules?security_group_id={group}")["security_group_rules"]
        keys = ("protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")
        return sorted((tuple(row[key] for key in keys) for row in found if row["direction"] == "ingress"), key=str)

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        web = bench.there("security_group", bench.pattern("security-group", name="web").params["source_id"])
        rows: list[tuple[Any, ...]] = [
            ("tcp", 443, 443, "0.0.0.0/0", None),
            ("icmp", None, None, "0.0.0.0/0", None),
            ("udp", 161, 162, "10.0.0.0/8", None),
            ("tcp", 3306, 3306, None, web),
        ]
        return sorted(rows, key=str)

    def there(self, bench: Bench, step: PlannedStep) -> None:
        for protocol, low, high, cidr, remote in self.want(bench, step):
            self.add(bench, step, protocol, low, high, cidr, remote)

    def add(self, bench: Bench, step: PlannedStep, *values: Any) -> None:
        """A rule made by hand."""
        keys = ("protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")
        rule = {
            "security_group_id": step.params["source_id"].removeprefix("old-"),
            "direction": "ingress",
            "ethertype": "IPv4",
            "project_id": bench.acme,
            **dict(zip(keys, values, strict=True)),
        }
        ask(bench.new.network, "/security-group-rules", "POST", json={"security_group_rule": rule})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        group = step.params["source_id"].removeprefix("old-")
        found = ask(bench.new.network, f"/security-group-rules?security_group_id={group}")["security_group_rules"]
        (rule,) = [row for row in found if row["port_range_max"] == 162]
        ask(bench.new.network, f"/security-group-rules/{rule['id']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["source_id"].removeprefix("old-"), step.title)


class PortCase(Case):
    kind = "port"
    writes = (Write("POST", "/v2.0/ports"),)
    undo_writes = (Write("DELETE", "/v2.0/ports/"),)

    def make(self, bench: Bench) -> Made:
        server, address = unique("server"), bench.address()
        number = int(address.rpartition(".")[2])
        params = {
            "source_id": f"{server}/{address}",
            "name": f"pumphouse {server}",
            "address": address,
            "mac": f"fa:16:3e:77:77:{number:02x}",
            "more": [bench.address()],
            "security_group_ids": [bench.pattern("security-group", name="web").params["source_id"]],
        }
        return Made(replace(like(bench.pattern("port"), server, **params), server_id=server))

    def found(self, bench: Bench, step: PlannedStep) -> list[dict[str, Any]]:
        network = bench.there("network", bench.network)
        path = f"/ports?network_id={network}&fixed_ips=ip_address={step.params['address']}"
        rows: list[dict[str, Any]] = ask(bench.new.network, path)["ports"]
        return rows

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        keys = ("name", "mac_address", "project_id", "security_groups", "device_id")
        return [
            (*(row[key] for key in keys), [fixed["ip_address"] for fixed in row["fixed_ips"]])
            for row in self.found(bench, step)
        ]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        groups = [bench.there("security_group", group) for group in step.params["security_group_ids"]]
        addresses = [step.params["address"], *step.params["more"]]
        return [(step.params["name"], step.params["mac"], bench.acme, groups, "", addresses)]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.add(bench, step.params)

    def add(self, bench: Bench, params: Any, **more: Any) -> str:
        """A port like a planned one, made by hand."""
        port = {
            "name": params["name"],
            "network_id": bench.there("network", bench.network),
            "project_id": bench.acme,
            "fixed_ips": [{"ip_address": address} for address in (params["address"], *params.get("more", ()))],
            "mac_address": params["mac"],
            "security_groups": [bench.there("security_group", g) for g in params["security_group_ids"]],
        }
        return str(ask(bench.new.network, "/ports", "POST", json={"port": port | more})["port"]["id"])

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (port,) = self.found(bench, step)
        ask(bench.new.network, f"/ports/{port['id']}", "PUT", json={"port": {"security_groups": []}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], *(port["id"] for port in self.found(bench, step)))


class ReserveSliceCase(Case):
    kind = "reserve-slice"
    tells = False
    writes = (Write("POST", "/os-fixed-ips/.*/action$", service="source.*"),)
    undo_writes = (Write("POST", "/os-fixed-ips/.*/action$", service="source.*"),)

    def make(self, bench: Bench) -> Made:
        addresses = [bench.address() for _ in range(3)]
        return Made(like(bench.pattern("reserve-slice"), unique("slice"), addresses=addresses))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        rows = bench.lab.control("GET", "/state")["source"]["reserved_fixed_ips"]
        return [address for address in step.params["addresses"] if address in rows]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return step.params["addresses"]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        for address in step.params["addresses"]:
            ask(bench.old.compute, f"/os-fixed-ips/{address}/action", "POST", json={"reserve": None})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        """Somebody gives one of them back, and a server gets it."""
        address = step.params["addresses"][1]
        ask(bench.old.compute, f"/os-fixed-ips/{address}/action", "POST", json={"unreserve": None})
        bench.boot_source(networks=[{"uuid": bench.network, "fixed_ip": address}])

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["source_name"], *step.params["addresses"])


class NetworkQuotaCase(Case):
    kind = "network-quota"
    writes = (Write("PUT", "/v2.0/quotas/"),)
    undo_writes = (Write("DELETE", "/v2.0/quotas/"),)

    def make(self, bench: Bench) -> Made:
        body = {"project": {"name": unique("project"), "domain_id": "default"}}
        project = ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"]
        limits = {"floatingip": 7, "security_group": 12}
        source_id = f"old-{project}"
        step = PlannedStep(
            key=f"network-quota:{source_id}",
            kind=self.kind,
            phase="prepare",
            title=f"network quota of {project}",
            changes="destination",
            params={"source_id": source_id, "name": project, "limits": limits},
        )
        return Made(step, mappings=[("project", source_id, project)])

    def path(self, step: PlannedStep) -> str:
        return f"/quotas/{step.params['source_id'].removeprefix('old-')}"

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        quota = ask(bench.new.network, self.path(step))["quota"]
        return {name: quota[name] for name in ("floatingip", "security_group", "port")}

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return {**step.params["limits"], "port": 500}

    def there(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.network, self.path(step), "PUT", json={"quota": dict(step.params["limits"])})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.network, self.path(step), "PUT", json={"quota": {"floatingip": 3}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], step.title)


class SpareFloatingIpCase(Case):
    kind = "spare-floating-ip"
    spoils_all = True
    writes = (Write("POST", "/v2.0/floatingips"),)
    undo_writes = (Write("DELETE", "/v2.0/floatingips/"),)

    def make(self, bench: Bench) -> Made:
        (subnet,) = ask(bench.new.network, f"/subnets?network_id={self.external(bench)}")["subnets"]
        address = bench.spare_floating(subnet["cidr"])
        pattern = bench.pattern("floating-ip")
        step = replace(
            pattern,
            key=f"spare-floating-ip:{address}",
            kind=self.kind,
            phase="prepare",
            changes="destination",
            title=f"floating IP {address} kept",
            params={"address": address, "project_id": bench.project, "external_network_id": self.external(bench)},
            server_id=None,
        )
        return Made(step)

    def external(self, bench: Bench) -> str:
        return str(bench.pattern("floating-ip").params["external_network_id"])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        path = f"/floatingips?floating_ip_address={step.params['address']}"
        return [(row["project_id"], row["port_id"]) for row in ask(bench.new.network, path)["floatingips"]]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(bench.acme, None)]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        body = {
            "floating_network_id": step.params["external_network_id"],
            "project_id": bench.acme,
            "floating_ip_address": step.params["address"],
        }
        ask(bench.new.network, "/floatingips", "POST", json={"floatingip": body})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        path = f"/floatingips?floating_ip_address={step.params['address']}"
        (found,) = ask(bench.new.network, path)["floatingips"]
        ask(bench.new.network, f"/floatingips/{found['id']}", "DELETE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["address"],)


SHARED: tuple[Case, ...] = (
    RoleCase(),
    ProjectCase(),
    UserCase(),
    AssignmentCase(),
    QuotaCase(),
    FlavorCase(),
    ImageCase(),
    KeypairCase(),
    NetworkCase(),
    RouterCase(),
    SecurityGroupCase(),
    RulesCase(),
    PortCase(),
    ReserveSliceCase(),
    NetworkQuotaCase(),
    SpareFloatingIpCase(),
)
