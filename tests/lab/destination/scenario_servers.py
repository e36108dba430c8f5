"""Keypairs and servers in the conversation."""

from __future__ import annotations

import time
import uuid
from typing import Any

from .scenario_network import Net
from .talk import FIXED_IP, PUBLIC_KEY, Conversation, Talker


def _until(talker: Talker, server_id: str, *statuses: str) -> dict[str, Any]:
    end = time.monotonic() + 90
    while True:
        server = talker.call("", "compute", "GET", f"/servers/{server_id}").get("server", {"status": "GONE"})
        if server["status"] in statuses and not server.get("OS-EXT-STS:task_state"):
            return dict(server)
        assert time.monotonic() < end, server
        time.sleep(0.1)


def _gone(talker: Talker, server_id: str, name: str) -> None:
    talker.call(name, "compute", "DELETE", f"/servers/{server_id}")
    end = time.monotonic() + 60
    while "server" in talker.call("", "compute", "GET", f"/servers/{server_id}"):
        assert time.monotonic() < end, f"server {server_id} does not go away"
        time.sleep(0.1)


def servers(book: Conversation, admin: Talker, tenant: Talker, image: str, flavor: str, net: Net) -> None:
    """Keypairs, refused boots, and the life of two servers."""
    call, later = tenant.call, book.undo.callback
    key = {"keypair": {"name": "labcmp-key", "public_key": PUBLIC_KEY}}
    call("keypair.create", "compute", "POST", "/os-keypairs", key)
    later(call, "keypair.delete", "compute", "DELETE", "/os-keypairs/labcmp-key")
    call("keypair.create.again", "compute", "POST", "/os-keypairs", key)
    bad = {"keypair": {"name": "labcmp-bad", "public_key": "nonsense"}}
    call("keypair.create.bad", "compute", "POST", "/os-keypairs", bad)
    call("keypair.get", "compute", "GET", "/os-keypairs/labcmp-key")
    call("keypair.get.210", "compute", "GET", "/os-keypairs/labcmp-key", version="2.10")
    call("keypair.get.missing", "compute", "GET", "/os-keypairs/nonsense")
    call("keypair.list", "compute", "GET", "/os-keypairs")
    call("keypair.list.210", "compute", "GET", "/os-keypairs", version="2.10")
    admin.call("keypair.list.other", "compute", "GET", f"/os-keypairs?user_id={tenant.user_id}", version="2.10")
    call("policy.keypair.other", "compute", "GET", f"/os-keypairs?user_id={admin.user_id}", version="2.10")
    other = {"keypair": {"name": "labcmp-other", "public_key": PUBLIC_KEY, "user_id": tenant.user_id, "type": "ssh"}}
    admin.call("keypair.create.other", "compute", "POST", "/os-keypairs", other, version="2.10")
    admin.call(
        "keypair.delete.other",
        "compute",
        "DELETE",
        f"/os-keypairs/labcmp-other?user_id={tenant.user_id}",
        version="2.10",
    )
    call("keypair.delete.missing", "compute", "DELETE", "/os-keypairs/nonsense")

    spec: dict[str, Any] = {
        "name": "labcmp-server",
        "flavorRef": flavor,
        "imageRef": image,
        "key_name": "labcmp-key",
        "networks": [{"port": net.port}],
        "metadata": {"a": "b"},
    }

    def refused(called: str, /, version: str | None = None, talker: Talker = tenant, **change: Any) -> None:
        body = {key: value for key, value in (spec | change).items() if value is not ...}
        talker.call(called, "compute", "POST", "/servers", {"server": body}, version=version)

    missing = str(uuid.uuid4())
    refused("server.create.noimage", imageRef=missing)
    refused("server.create.badimage", imageRef="nonsense")
    refused("server.create.noflavor", flavorRef="nonsense")
    refused("server.create.nokey", key_name="nonsense")
    refused("server.create.otherkey", talker=admin)
    refused("server.create.noport", networks=[{"port": missing}])
    refused("server.create.nonet", networks=[{"uuid": missing}])
    refused("server.create.badnet", networks=[{"uuid": "nonsense"}])
    refused("server.create.nonetworks.237", version="2.37", networks=...)
    refused("server.create.noname", name=...)
    refused("server.create.unknown", colour="blue")
    refused("server.create.uuid", uuid=missing)
    refused("server.create.badzone", availability_zone="nonsense")
    refused("server.create.forcehost", availability_zone="nova:node-2")
    refused("server.create.nogroup", security_groups=[{"name": "nonsense"}], networks=[{"uuid": net.network}])
    refused("server.create.usedip", networks=[{"uuid": net.network, "fixed_ip": FIXED_IP}])
    astray = spec | {"networks": [{"uuid": net.network, "fixed_ip": "127.90.0.1"}]}
    doomed = call("server.create.outsideip", "compute", "POST", "/servers", {"server": astray})["server"]
    _until(tenant, doomed["id"], "ERROR")
    call("server.get.error", "compute", "GET", f"/servers/{doomed['id']}")
    admin.call("server.get.error.admin", "compute", "GET", f"/servers/{doomed['id']}", version="2.100")
    call("server.stop.error", "compute", "POST", f"/servers/{doomed['id']}/action", {"os-stop": None})
    _gone(tenant, doomed["id"], "server.delete.error")
    refused("server.create.badmetadata", metadata={"a": 1})
    small = {"flavor": {"name": "labcmp-small", "ram": 64, "vcpus": 1, "disk": 0, "id": "labcmp-small"}}
    admin.call("", "compute", "POST", "/flavors", small)
    later(admin.call, "", "compute", "DELETE", "/flavors/labcmp-small")
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    need = [{"op": "replace", "path": "/min_ram", "value": 100}]
    admin.call("", "image", "PATCH", f"/v2/images/{image}", need, headers=patch)
    refused("server.create.smallram", flavorRef="labcmp-small")
    queued = tenant.call(
        "", "image", "POST", "/v2/images", {"name": "labcmp-q", "disk_format": "raw", "container_format": "bare"}
    )
    later(admin.call, "", "image", "DELETE", f"/v2/images/{queued['id']}")
    refused("server.create.queued", imageRef=queued["id"])

    made = call("server.create", "compute", "POST", "/servers", {"server": spec})["server"]
    path = f"/servers/{made['id']}"

    def remove() -> None:
        _gone(tenant, made["id"], "server.delete")
        call("port.get.orphan", "network", "GET", f"/v2.0/ports/{net.port}")

    later(remove)
    _until(tenant, made["id"], "ACTIVE")
    refused("server.create.portinuse")
    refused("server.create.portinuse.2100", version="2.100")
    admin.call("network.port.bound", "network", "GET", f"/v2.0/ports/{net.port}")
    bind = f"/v2.0/floatingips/{net.floating}"
    admin.call("floating.bind.server", "network", "PUT", bind, {"floatingip": {"port_id": net.port}})
    later(admin.call, "", "network", "PUT", bind, {"floatingip": {"port_id": None}})
    end = time.monotonic() + 30
    while not any(
        entry["OS-EXT-IPS:type"] == "floating"
        for entries in call("", "compute", "GET", path)["server"]["addresses"].values()
        for entry in entries
    ):
        assert time.monotonic() < end, "the floating address never showed in the server's record"
        time.sleep(0.2)
    call("server.get.tenant", "compute", "GET", path)
    for version in (None, "2.3", "2.16", "2.26", "2.47", "2.63", "2.71", "2.73", "2.96", "2.100", "2.104"):
        suffix = f".{version.replace('.', '')}" if version else ""
        admin.call(f"server.get{suffix}", "compute", "GET", path, version=version)
    call("server.get.missing", "compute", "GET", f"/servers/{missing}")
    admin.call("server.list", "compute", "GET", "/servers?all_tenants=1")
    admin.call("server.list.own", "compute", "GET", "/servers/detail?name=labcmp")
    admin.call(
        "server.list.detail", "compute", "GET", f"/servers/detail?all_tenants=1&limit=1&user_id={tenant.user_id}"
    )
    admin.call(
        "server.list.detail.2100",
        "compute",
        "GET",
        f"/servers/detail?all_tenants=1&user_id={tenant.user_id}",
        version="2.100",
    )
    admin.call("server.list.project", "compute", "GET", f"/servers/detail?all_tenants=1&project_id={tenant.project_id}")
    admin.call("server.list.badmarker", "compute", "GET", f"/servers/detail?marker={missing}")
    admin.call("server.list.badlimit", "compute", "GET", "/servers?limit=x")
    admin.call("server.list.badfilter.275", "compute", "GET", "/servers?colour=blue", version="2.75")
    call("server.ips", "compute", "GET", f"{path}/ips")
    call("server.groups", "compute", "GET", f"{path}/os-security-groups")
    call("server.interfaces", "compute", "GET", f"{path}/os-interface")
    call("server.actions", "compute", "GET", f"{path}/os-instance-actions")
    call("server.volumes", "compute", "GET", f"{path}/os-volume_attachments")
    call("server.metadata", "compute", "GET", f"{path}/metadata")
    call("server.metadata.set", "compute", "POST", f"{path}/metadata", {"metadata": {"c": "d"}})
    call("server.metadata.item", "compute", "GET", f"{path}/metadata/c")
    call("server.metadata.put", "compute", "PUT", f"{path}/metadata/c", {"meta": {"c": "e"}})
    call("server.metadata.delete", "compute", "DELETE", f"{path}/metadata/c")
    call("server.metadata.delete.again", "compute", "DELETE", f"{path}/metadata/c")
    call("server.rename", "compute", "PUT", path, {"server": {"name": "labcmp-server2"}})
    call("server.rename.2100", "compute", "PUT", path, {"server": {"name": "labcmp-server"}}, version="2.100")
    call("server.tag.125", "compute", "PUT", f"{path}/tags/one")
    call("server.tag", "compute", "PUT", f"{path}/tags/one", version="2.26")
    call("server.tags", "compute", "GET", f"{path}/tags", version="2.26")
    call("server.console", "compute", "POST", f"{path}/action", {"os-getConsoleOutput": {}})
    call("server.start.active", "compute", "POST", f"{path}/action", {"os-start": None})
    call("server.action.unknown", "compute", "POST", f"{path}/action", {"nonsense": None})
    call("server.action.empty", "compute", "POST", f"{path}/action", {})
    call("server.action.badreboot", "compute", "POST", f"{path}/action", {"reboot": {"type": "nonsense"}})
    call("server.reboot", "compute", "POST", f"{path}/action", {"reboot": {"type": "SOFT"}})
    _until(tenant, made["id"], "ACTIVE")
    call("server.stop", "compute", "POST", f"{path}/action", {"os-stop": None})
    _until(tenant, made["id"], "SHUTOFF")
    admin.call("server.get.stopped", "compute", "GET", path)
    call("server.stop.stopped", "compute", "POST", f"{path}/action", {"os-stop": None})
    call("server.start", "compute", "POST", f"{path}/action", {"os-start": None})
    _until(tenant, made["id"], "ACTIVE")
    call("server.lock", "compute", "POST", f"{path}/action", {"lock": None})
    call("server.unlock", "compute", "POST", f"{path}/action", {"unlock": None})
    call("policy.server.reset", "compute", "POST", f"{path}/action", {"os-resetState": {"state": "error"}})
    admin.call("server.reset", "compute", "POST", f"{path}/action", {"os-resetState": {"state": "active"}})
    call("server.delete.missing", "compute", "DELETE", f"/servers/{missing}")
    call("server.action.missing", "compute", "POST", f"/servers/{missing}/action", {"os-stop": None})
    auto = call(
        "server.create.auto",
        "compute",
        "POST",
        "/servers",
        {
            "server": spec
            | {
                "networks": [{"uuid": net.network}],
                "name": "labcmp-auto",
                "security_groups": [{"name": "labcmp-group"}],
                "tags": ["one"],
            }
        },
        version="2.100",
    )["server"]
    _until(tenant, auto["id"], "ACTIVE")
    call("port.list.auto", "network", "GET", f"/v2.0/ports?device_id={auto['id']}")
    _gone(tenant, auto["id"], "server.delete.auto")
    call("port.list.auto.gone", "network", "GET", f"/v2.0/ports?device_id={auto['id']}")
    call("server.get.deleted", "compute", "GET", f"/servers/{auto['id']}")
