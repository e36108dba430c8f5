"""Fills the source cloud with three tenants and what they own, through its public APIs only.

Nothing is written into a database or a folder of the cloud, and servers are booted by their tenants' own
users: that is how owners, keypairs and quotas come out as they would on a cloud that people have used.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from dataclasses import dataclass, field
from typing import Any

from .destination import PUBLIC_CIDR, PUBLIC_GATEWAY, PUBLIC_POOL
from .errors import RealError
from .processes import write
from .rest import Session
from .source import SourceCloud

MIB = 1024 * 1024
TENANTS = ("acme", "globex", "initech")
NETWORK = "novanetwork"
FIXED_CIDR = "10.10.0.0/24"
FLOATING_POOL = "public"


@dataclass(frozen=True)
class Image:
    """`owner` None means: the administrator's, public."""

    name: str
    size_mib: int
    owner: str | None = None
    disk_format: str = "raw"
    container_format: str = "bare"
    version: str = "v2"
    properties: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)  # property -> name of the image whose id it holds
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flavor:
    name: str
    vcpus: int
    ram_mib: int
    disk_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    only_for: str | None = None
    extra_specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    name: str
    tenant: str
    image: str
    flavor: str
    floating: bool = False
    stopped: bool = False
    fixed_ip: str | None = None
    user_data: str | None = None


IMAGES = (
    Image("cirros-0.3.4-x86_64", 4, disk_format="qcow2", version="v1", properties={"architecture": "x86_64"}),
    Image("ubuntu-14.04", 8, properties={"os_distro": "ubuntu", "os_version": "14.04"}),
    Image("legacy-kernel", 2, disk_format="aki", container_format="aki", version="v1"),
    Image("legacy-initrd", 1, disk_format="ari", container_format="ari", version="v1"),
    Image(
        "legacy-root",
        3,
        disk_format="ami",
        container_format="ami",
        version="v1",
        needs={"kernel_id": "legacy-kernel", "ramdisk_id": "legacy-initrd"},
    ),
    Image("acme-app", 2, "acme", properties={"built_by": "acme-user"}),
    Image("globex-app", 3, "globex"),
    Image("initech-tps", 4, "initech"),
    # Through v1, because this Glance lets members in only where the image was not declared private through
    # v2.
    Image("acme-golden", 1, "acme", version="v1", properties={"release": "2014.1"}, members=("globex",)),
)

FLAVORS = (
    Flavor("m1.tiny", 1, 512, 1),
    Flavor("m1.small", 1, 2048, 20),
    Flavor(
        "m1.medium",
        2,
        4096,
        40,
        ephemeral_gib=10,
        swap_mib=512,
        extra_specs={"quota:vif_outbound_average": "1024"},
    ),
    Flavor("acme.special", 2, 1024, 10, only_for="acme"),
)

# acme first: with three equal and empty hosts the scheduler spreads these over all of them.
SERVERS = (
    Server(
        "acme-web1",
        "acme",
        "cirros-0.3.4-x86_64",
        "m1.small",
        floating=True,
        user_data="#!/bin/sh\necho acme-web1 > /etc/motd\n",
    ),
    Server("acme-web2", "acme", "ubuntu-14.04", "m1.small", floating=True),
    Server("acme-db", "acme", "legacy-root", "acme.special", fixed_ip="10.10.0.50"),
    Server("acme-app", "acme", "acme-app", "m1.medium"),
    Server("acme-batch", "acme", "cirros-0.3.4-x86_64", "m1.tiny", stopped=True),
    Server("acme-cache", "acme", "ubuntu-14.04", "m1.tiny"),
    Server("globex-app", "globex", "globex-app", "m1.medium", floating=True),
    Server("globex-worker", "globex", "acme-golden", "m1.small"),
    Server("initech-tps", "initech", "initech-tps", "m1.small"),
    Server("initech-report", "initech", "cirros-0.3.4-x86_64", "m1.tiny"),
)


def image_bytes(image: Image) -> bytes:
    """The image's contents: always the same, not compressible, and opening as its format says.

    A current Glance looks at what it is sent and refuses a qcow2 image that is none, so that one gets a
    header.
    """
    size = image.size_mib * MIB
    head = b""
    if image.disk_format == "qcow2":
        cluster_bits, header_bytes = 16, 104
        head = struct.pack(
            ">4sIQIIQIIQQIIQQQQII",
            b"QFI\xfb",
            3,
            0,
            0,
            cluster_bits,
            size,
            0,
            1,
            3 << cluster_bits,
            1 << cluster_bits,
            1,
            0,
            0,
            0,
            0,
            0,
            4,
            header_bytes,
        ).ljust(4 << cluster_bits, b"\0")
    seed = hashlib.sha256(f"pumphouse {image.name}".encode()).digest()
    return head + hashlib.shake_256(seed).digest(size - len(head))


class Populator:
    """One run of `populate`; `made` grows into populated.json."""

    def __init__(self, cloud: SourceCloud) -> None:
        self.cloud = cloud
        self.admin = cloud.admin()
        self.users: dict[str, Session] = {}  # tenant -> its ordinary user
        self.made: dict[str, Any] = {"schema": 1}

    def run(self) -> dict[str, Any]:
        for step in (
            self.identities,
            self.images,
            self.flavors,
            self.quotas,
            self.networks,
            self.access,
            self.servers,
            self.floating_ips,
            self.facts_of_servers,
        ):
            step()
        return self.made

    # -- Keystone, through the v2.0 admin API ----------------------------------------------------------------

    def _identity(self, method: str, path: str, body: object = None) -> Any:
        return self.admin.call(method, "identity", path, body, interface="admin")

    def identities(self) -> None:
        roles = {r["name"]: r["id"] for r in self._identity("GET", "/OS-KSADM/roles")["roles"]}
        for name in ("Member", "operator"):
            if name not in roles:
                roles[name] = self._identity("POST", "/OS-KSADM/roles", {"role": {"name": name}})["role"]["id"]
        tenants: dict[str, str] = {}
        users: dict[str, Any] = {}
        password = self.cloud.passwords["tenants"]
        for tenant in TENANTS:
            tenant_id = self._identity(
                "POST",
                "/tenants",
                {
                    "tenant": {
                        "name": tenant,
                        "description": f"{tenant.capitalize()} Corporation",
                        "enabled": True,
                    }
                },
            )["tenant"]["id"]
            tenants[tenant] = tenant_id
            for suffix, granted in (("user", ("Member",)), ("ops", ("Member", "operator"))):
                name = f"{tenant}-{suffix}"
                user_id = self._identity(
                    "POST",
                    "/users",
                    {
                        "user": {
                            "name": name,
                            "password": password,
                            "enabled": True,
                            "email": f"{name}@example.com",
                            "tenantId": tenant_id,
                        }
                    },
                )["user"]["id"]
                grants = f"/tenants/{tenant_id}/users/{user_id}/roles"
                for role in granted:
                    self._identity("PUT", f"{grants}/OS-KSADM/{roles[role]}")
                # Read back: Keystone grants `_member_` on its own to a user that has a default tenant.
                held = sorted(r["name"] for r in self._identity("GET", grants)["roles"])
                users[name] = {"id": user_id, "tenant": tenant, "password": password, "roles": held}
            self.users[tenant] = Session.v2(self.cloud.auth_url, f"{tenant}-user", password, tenant)
        self.made |= {"tenants": tenants, "users": users, "roles": roles}
        self.cloud.say(f"{len(tenants)} tenants, {len(users)} users")

    # -- Glance ----------------------------------------------------------------------------------------------

    def images(self) -> None:
        made: dict[str, Any] = {}
        for image in IMAGES:
            session = self.users[image.owner] if image.owner else self.admin
            content = image_bytes(image)
            properties = image.properties | {key: made[name]["id"] for key, name in image.needs.items()}
            upload = self._upload_v1 if image.version == "v1" else self._upload_v2
            image_id = upload(session, image, properties, content)
            for member in image.members:
                session.call(
                    "PUT",
                    "image",
                    f"/v1/images/{image_id}/members/{self.made['tenants'][member]}",
                    {"member": {"can_share": False}},
                )
            status = session.call("GET", "image", f"/v2/images/{image_id}")["status"]
            if status != "active":
                raise RealError(f"source image {image.name} ({image_id}) is {status} after its upload")
            made[image.name] = {
                "id": image_id,
                "tenant": image.owner,
                "public": image.owner is None,
                "disk_format": image.disk_format,
                "container_format": image.container_format,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                "properties": properties,
                "members": list(image.members),
            }
        self.made["images"] = made
        self.cloud.say(f"{len(made)} images")

    @staticmethod
    def _upload_v1(session: Session, image: Image, properties: dict[str, str], content: bytes) -> str:
        headers = {
            "Content-Type": "application/octet-stream",
            "x-image-meta-name": image.name,
            "x-image-meta-disk_format": image.disk_format,
            "x-image-meta-container_format": image.container_format,
            "x-image-meta-is_public": str(image.owner is None),
            **{f"x-image-meta-property-{key}": value for key, value in properties.items()},
        }
        image_id = session.call("POST", "image", "/v1/images", content, headers)["image"]["id"]
        assert isinstance(image_id, str)
        return image_id

    @staticmethod
    def _upload_v2(session: Session, image: Image, properties: dict[str, str], content: bytes) -> str:
        image_id = session.call(
            "POST",
            "image",
            "/v2/images",
            {
                **properties,
                "name": image.name,
                "disk_format": image.disk_format,
                "container_format": image.container_format,
                "visibility": "private" if image.owner else "public",
            },
        )["id"]
        assert isinstance(image_id, str)
        session.reply(
            "PUT",
            "image",
            f"/v2/images/{image_id}/file",
            content,
            {"Content-Type": "application/octet-stream"},
        )
        return image_id

    # -- Nova: what the administrator provides ---------------------------------------------------------------

    def _nova(self, method: str, path: str, body: object = None, tenant: str | None = None) -> Any:
        return (self.users[tenant] if tenant else self.admin).call(method, "compute", path, body)

    def flavors(self) -> None:
        made: dict[str, Any] = {}
        for flavor in FLAVORS:
            flavor_id = self._nova(
                "POST",
                "/flavors",
                {
                    "flavor": {
                        "id": None,
                        "name": flavor.name,
                        "vcpus": flavor.vcpus,
                        "ram": flavor.ram_mib,
                        "disk": flavor.disk_gib,
                        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib,
                        "swap": flavor.swap_mib,
                        "os-flavor-access:is_public": flavor.only_for is None,
                    }
                },
            )["flavor"]["id"]
            if flavor.extra_specs:
                self._nova("POST", f"/flavors/{flavor_id}/os-extra_specs", {"extra_specs": flavor.extra_specs})
            if flavor.only_for:
                self._nova(
                    "POST",
                    f"/flavors/{flavor_id}/action",
                    {"addTenantAccess": {"tenant": self.made["tenants"][flavor.only_for]}},
                )
            made[flavor.name] = {
                "id": flavor_id,
                "vcpus": flavor.vcpus,
                "ram_mib": flavor.ram_mib,
                "disk_gib": flavor.disk_gib,
                "ephemeral_gib": flavor.ephemeral_gib,
                "swap_mib": flavor.swap_mib,
                "public": flavor.only_for is None,
                "access": [flavor.only_for] if flavor.only_for else [],
                "extra_specs": flavor.extra_specs,
            }
        self.made["flavors"] = made

    def quotas(self) -> None:
        made: dict[str, Any] = {}
        for n, tenant in enumerate(TENANTS):
            made[tenant] = {
                "instances": 20 + n,
                "cores": 40 + n,
                "ram": 65536 + 1024 * n,
                "floating_ips": 10 - n,
                "security_groups": 12 + n,
                "security_group_rules": 30 + n,
            }
            self._nova("PUT", f"/os-quota-sets/{self.made['tenants'][tenant]}", {"quota_set": made[tenant]})
        self.made["quotas"] = made

    def networks(self) -> None:
        self._nova(
            "POST",
            "/os-networks",
            {
                "network": {
                    "label": NETWORK,
                    "cidr": FIXED_CIDR,
                    "bridge": "br100",
                    "dns1": "8.8.8.8",
                    "multi_host": False,
                }
            },
        )
        network = next(n for n in self._nova("GET", "/os-networks")["networks"] if n["label"] == NETWORK)
        self.made["networks"] = {NETWORK: {"id": network["id"], "cidr": network["cidr"], "gateway": network["gateway"]}}
        self._nova(
            "POST",
            "/os-floating-ips-bulk",
            {
                "floating_ips_bulk_create": {
                    "ip_range": PUBLIC_CIDR,
                    "pool": FLOATING_POOL,
                    "interface": "eth0",
                }
            },
        )
        # The end of the range is the destination's from the start: two clouds must not give out one address.
        prefix, first = PUBLIC_POOL[0].rsplit(".", 1)
        given_away = [f"{prefix}.{n}" for n in range(int(first), int(PUBLIC_GATEWAY.rsplit(".", 1)[1]) + 1)]
        for address in given_away:
            self._nova("PUT", "/os-floating-ips-bulk/delete", {"ip_range": address})
        self.made["floating_pool"] = {
            "name": FLOATING_POOL,
            "cidr": PUBLIC_CIDR,
            "given_to_destination": given_away,
        }
        self.cloud.say(f"flavors, quotas, network {FIXED_CIDR}, floating pool {PUBLIC_CIDR}")

    # -- Nova: what the tenants own --------------------------------------------------------------------------

    def access(self) -> None:
        keypairs: dict[str, Any] = {}
        groups: dict[str, Any] = {}
        for tenant in TENANTS:
            key = self._nova("POST", "/os-keypairs", {"keypair": {"name": f"{tenant}-key"}}, tenant)["keypair"]
            keypairs[key["name"]] = {
                "tenant": tenant,
                "user": f"{tenant}-user",
                "fingerprint": key["fingerprint"],
                "public_key": key["public_key"],
            }
            default = self._nova("GET", "/os-security-groups", tenant=tenant)["security_groups"][0]
            web = self._nova(
                "POST",
                "/os-security-groups",
                {
                    "security_group": {
                        "name": "web",
                        "description": f"{tenant} web servers",
                    }
                },
                tenant,
            )["security_group"]
            rules = []
            for protocol, low, high, source in (
                ("tcp", 22, 22, {"cidr": "0.0.0.0/0"}),
                ("tcp", 80, 443, {"cidr": "192.0.2.0/24"}),
                ("icmp", -1, -1, {"cidr": "0.0.0.0/0"}),
                ("tcp", 5432, 5432, {"group_id": default["id"]}),
            ):
                rules.append(
                    self._nova(
                        "POST",
                        "/os-security-group-rules",
                        {
                            "security_group_rule": {
                                "parent_group_id": web["id"],
                                "ip_protocol": protocol,
                                "from_port": low,
                                "to_port": high,
                                **source,
                            }
                        },
                        tenant,
                    )["security_group_rule"]
                )
            groups[tenant] = {
                "default": {"id": default["id"], "rules": default["rules"]},
                "web": {"id": web["id"], "rules": rules},
            }
        self.made |= {"keypairs": keypairs, "security_groups": groups}
        self.cloud.say("keypairs and security groups")

    def servers(self) -> None:
        made: dict[str, Any] = {}
        for server in SERVERS:
            body: dict[str, Any] = {
                "name": server.name,
                "imageRef": self.made["images"][server.image]["id"],
                "flavorRef": self.made["flavors"][server.flavor]["id"],
                "key_name": f"{server.tenant}-key",
                "metadata": {"role": server.name.partition("-")[2], "owner": f"{server.tenant}-user"},
                "security_groups": [{"name": "default"}, {"name": "web"}],
            }
            if server.fixed_ip:
                network_id = self.made["networks"][NETWORK]["id"]
                body["networks"] = [{"uuid": network_id, "fixed_ip": server.fixed_ip}]
            if server.user_data:
                body["user_data"] = base64.b64encode(server.user_data.encode()).decode()
            server_id = self._nova("POST", "/servers", {"server": body}, server.tenant)["server"]["id"]
            self._wait(server.tenant, server.name, server_id, "ACTIVE")
            if server.stopped:
                self._nova("POST", f"/servers/{server_id}/action", {"os-stop": None}, server.tenant)
                self._wait(server.tenant, server.name, server_id, "SHUTOFF")
            made[server.name] = {
                "id": server_id,
                "tenant": server.tenant,
                "user": f"{server.tenant}-user",
                "image": server.image,
                "flavor": server.flavor,
                "key_name": body["key_name"],
                "metadata": body["metadata"],
                "security_groups": ["default", "web"],
                "user_data": server.user_data,
                "requested_fixed_ip": server.fixed_ip,
                "floating_ip": None,
            }
        self.made["servers"] = made
        self.cloud.say(f"{len(made)} servers")

    def _wait(self, tenant: str, name: str, server_id: str, status: str, timeout_s: float = 180) -> None:
        end = time.monotonic() + timeout_s
        while True:
            server = self._nova("GET", f"/servers/{server_id}", tenant=tenant)["server"]
            if server["status"] == status and server["OS-EXT-STS:task_state"] is None:
                return
            if server["status"] == "ERROR" or time.monotonic() > end:
                fault = server.get("fault", {}).get("message", "no fault recorded")
                raise RealError(
                    f"source server {name} ({server_id}) is {server['status']} instead of {status}, "
                    f"task {server['OS-EXT-STS:task_state']}: {fault}"
                )
            time.sleep(0.3)

    def floating_ips(self) -> None:
        made: dict[str, Any] = {}
        wanted: list[tuple[str, str | None]] = [(s.tenant, s.name) for s in SERVERS if s.floating]
        for tenant, server in [*wanted, ("acme", None)]:  # acme also holds one that no server uses
            pool = {"pool": FLOATING_POOL}
            address = self._nova("POST", "/os-floating-ips", pool, tenant)["floating_ip"]["ip"]
            made[address] = {"tenant": tenant, "server": server}
            if server:
                self._nova(
                    "POST",
                    f"/servers/{self.made['servers'][server]['id']}/action",
                    {"addFloatingIp": {"address": address}},
                    tenant,
                )
                self.made["servers"][server]["floating_ip"] = address
        self.made["floating_ips"] = made
        self.cloud.say("floating IPs: " + ", ".join(f"{a} {f['server'] or '(spare)'}" for a, f in made.items()))

    def facts_of_servers(self) -> None:
        """Adds what only the cloud knows, and checks what the tests rely on."""
        listed = {s["id"]: s for s in self._nova("GET", "/servers/detail?all_tenants=1")["servers"]}
        for name, facts in self.made["servers"].items():
            server = listed[facts["id"]]
            fixed = next(a for a in server["addresses"][NETWORK] if a["OS-EXT-IPS:type"] == "fixed")
            facts |= {
                "host": server["OS-EXT-SRV-ATTR:host"],
                "status": server["status"],
                "fixed_ip": fixed["addr"],
                "mac": fixed["OS-EXT-IPS-MAC:mac_addr"],
            }
            self.cloud.say(f"{name:15} {facts['status']:8} {facts['host']} {facts['fixed_ip']}")
        used = {facts["host"] for facts in self.made["servers"].values() if facts["tenant"] == "acme"}
        if used != set(self.cloud.hosts):
            raise RealError(f"acme's servers are on {sorted(used)} only, not on all of {self.cloud.hosts}")


def populate(cloud: SourceCloud) -> None:
    """Fills the source and writes populated.json; does nothing when that file exists."""
    record = cloud.home.populated_json
    if record.exists():
        cloud.say(f"populated before: {record}")
        return
    if problems := cloud.problems():
        raise RealError("; ".join(problems) + ": run `python -m tests.real up` first")
    begun = cloud.data / ".populating"
    if begun.exists():
        raise RealError(
            "an earlier `populate` did not finish: `destroy --only source --keep-venv`, `up`, then `populate` again"
        )
    write(begun, "")
    began = time.monotonic()
    made = Populator(cloud).run()
    write(record, json.dumps(made, indent=1) + "\n", 0o600)
    cloud.say(f"populated in {time.monotonic() - began:.0f} s: {record}")
