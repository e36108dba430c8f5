"""The network part of the conversation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from .talk import EXTERNAL_CIDR, FIXED_CIDR, FIXED_IP, FLOATING_IP, MAC, Conversation, Talker


@dataclass(frozen=True)
class Net:
    """Ids of the scenario's network objects."""

    network: str
    port: str
    floating: str
    group: str


def network(book: Conversation, admin: Talker, tenant: Talker) -> Net:
    """Networks, groups, routers, ports and floating IPs; returns what servers need of them."""
    call, later, owner = admin.call, book.undo.callback, tenant.project_id

    def make(called: str, kind: str, /, **body: Any) -> dict[str, Any]:
        made = call(called, "network", "POST", f"/v2.0/{kind}s".replace("_", "-"), {kind: body})[kind]
        later(call, "", "network", "DELETE", f"/v2.0/{kind}s/{made['id']}".replace("_", "-"))
        return dict(made)

    external = make("network.create.external", "network", name="labcmp-public", **{"router:external": True})
    pool = [{"start": "127.78.0.240", "end": "127.78.0.250"}]
    make(
        "subnet.create.external",
        "subnet",
        name="labcmp-public",
        network_id=external["id"],
        cidr=EXTERNAL_CIDR,
        ip_version=4,
        enable_dhcp=False,
        allocation_pools=pool,
    )
    network = make("network.create", "network", name="labcmp-net", project_id=owner, description="marker")
    # the real service refuses DHCP on loopback subnets, the lab's only kind
    subnet = {"network_id": network["id"], "cidr": FIXED_CIDR, "ip_version": 4, "enable_dhcp": False}
    pool = [{"start": "127.77.0.200", "end": "127.77.0.250"}]
    sub = make(
        "subnet.create",
        "subnet",
        name="labcmp-subnet",
        gateway_ip="127.77.0.1",
        dns_nameservers=["127.77.0.2"],
        allocation_pools=pool,
        project_id=owner,
        **subnet,
    )
    call("subnet.create.overlap", "network", "POST", "/v2.0/subnets", {"subnet": subnet})
    call("subnet.create.badcidr", "network", "POST", "/v2.0/subnets", {"subnet": subnet | {"cidr": "nonsense"}})
    outside = {"cidr": "127.79.0.0/24", "allocation_pools": [{"start": "127.80.0.2", "end": "127.80.0.9"}]}
    call("subnet.create.badpool", "network", "POST", "/v2.0/subnets", {"subnet": subnet | outside})
    inside = {
        "cidr": "127.79.0.0/24",
        "gateway_ip": "127.79.0.9",
        "allocation_pools": [{"start": "127.79.0.2", "end": "127.79.0.9"}],
    }
    call("subnet.create.gatewayinpool", "network", "POST", "/v2.0/subnets", {"subnet": subnet | inside})
    spare = make(
        "subnet.create.defaults",
        "subnet",
        network_id=network["id"],
        cidr="127.79.0.0/28",
        ip_version=4,
        enable_dhcp=False,
    )
    call("subnet.update", "network", "PUT", f"/v2.0/subnets/{spare['id']}", {"subnet": {"name": "labcmp-spare"}})
    call(
        "subnet.create.nonet",
        "network",
        "POST",
        "/v2.0/subnets",
        {"subnet": subnet | {"network_id": str(uuid.uuid4())}},
    )
    call("network.create.id", "network", "POST", "/v2.0/networks", {"network": {"id": str(uuid.uuid4())}})
    call("network.create.unknown", "network", "POST", "/v2.0/networks", {"network": {"colour": "blue"}})
    call("network.create.empty", "network", "POST", "/v2.0/networks", {})
    call("network.get", "network", "GET", f"/v2.0/networks/{network['id']}")
    call("network.get.missing", "network", "GET", f"/v2.0/networks/{uuid.uuid4()}")
    call("network.list", "network", "GET", "/v2.0/networks?name=labcmp-net")
    call("network.list.name", "network", "GET", "/v2.0/networks?name=labcmp-net&fields=id&fields=name")
    call("network.list.badfilter", "network", "GET", "/v2.0/networks?colour=blue")
    call("network.list.page", "network", "GET", "/v2.0/networks?limit=1&name=labcmp-net")
    call("network.tags", "network", "PUT", f"/v2.0/networks/{network['id']}/tags", {"tags": ["one"]})
    call("network.tags.get", "network", "GET", f"/v2.0/networks/{network['id']}/tags")
    call("network.list.external", "network", "GET", "/v2.0/networks?router:external=True&name=labcmp-public")
    call("network.update", "network", "PUT", f"/v2.0/networks/{network['id']}", {"network": {"description": "other"}})
    call("subnet.get", "network", "GET", f"/v2.0/subnets/{sub['id']}")
    call("subnet.get.missing", "network", "GET", f"/v2.0/subnets/{uuid.uuid4()}")
    call("subnet.list", "network", "GET", f"/v2.0/subnets?network_id={network['id']}")

    groups = tenant.call("secgroup.list.default", "network", "GET", "/v2.0/security-groups")["security_groups"]
    assert [group["name"] for group in groups] == ["default"], groups
    # the project's own group goes before the project does
    later(call, "", "network", "DELETE", f"/v2.0/security-groups/{groups[0]['id']}")
    assert len(groups[0]["security_group_rules"]) == 4, groups
    group = make("secgroup.create", "security_group", name="labcmp-group", description="d", project_id=owner)
    call("secgroup.create.default", "network", "POST", "/v2.0/security-groups", {"security_group": {"name": "default"}})
    call("secgroup.get", "network", "GET", f"/v2.0/security-groups/{group['id']}")
    call("secgroup.get.missing", "network", "GET", f"/v2.0/security-groups/{uuid.uuid4()}")
    call("secgroup.list", "network", "GET", f"/v2.0/security-groups?project_id={owner}")
    body = {"security_group": {"name": "labcmp-group", "description": "e"}}
    call("secgroup.update", "network", "PUT", f"/v2.0/security-groups/{group['id']}", body)
    call("secgroup.delete.default", "network", "GET", f"/v2.0/security-groups?project_id={owner}&name=default")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
        "remote_ip_prefix": "127.77.0.0/24",
        "project_id": owner,
    }
    made = make("rule.create", "security_group_rule", **rule)

    def refused(name: str, **change: Any) -> None:
        body = {"security_group_rule": rule | change}
        call(name, "network", "POST", "/v2.0/security-group-rules", body)

    refused("rule.create.again")
    refused("rule.create.badports", port_range_min=23)
    refused("rule.create.noprotocol", protocol=None)
    refused("rule.create.badprotocol", protocol="nonsense")
    refused("rule.create.badcidr", remote_ip_prefix="nonsense")
    refused("rule.create.both", remote_group_id=group["id"])
    refused("rule.create.nogroup", security_group_id=str(uuid.uuid4()))
    refused("rule.create.noremote", remote_ip_prefix=None, remote_group_id=str(uuid.uuid4()))
    refused("rule.create.v6", ethertype="IPv6")
    make(
        "rule.create.icmp",
        "security_group_rule",
        **rule | {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0, "remote_ip_prefix": None},
    )
    whole = rule | {"port_range_min": None, "port_range_max": None, "remote_ip_prefix": None}
    make("rule.create.group", "security_group_rule", **whole | {"remote_group_id": group["id"]})
    call("rule.get", "network", "GET", f"/v2.0/security-group-rules/{made['id']}")
    call("rule.list", "network", "GET", f"/v2.0/security-group-rules?security_group_id={group['id']}")
    call("rule.delete.missing", "network", "DELETE", f"/v2.0/security-group-rules/{uuid.uuid4()}")
    call("secgroup.get.rules", "network", "GET", f"/v2.0/security-groups/{group['id']}")

    router = make("router.create", "router", name="labcmp-router", external_gateway_info={"network_id": external["id"]})
    interface = f"/v2.0/routers/{router['id']}"
    joined = call("router.add", "network", "PUT", f"{interface}/add_router_interface", {"subnet_id": sub["id"]})
    later(call, "router.remove", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": sub["id"]})
    call("router.add.again", "network", "PUT", f"{interface}/add_router_interface", {"subnet_id": sub["id"]})
    call("router.get", "network", "GET", interface)
    call("router.get.missing", "network", "GET", f"/v2.0/routers/{uuid.uuid4()}")
    call("router.list", "network", "GET", "/v2.0/routers?name=labcmp-router")
    call("router.delete.inuse", "network", "DELETE", interface)
    call("subnet.delete.inuse", "network", "DELETE", f"/v2.0/subnets/{sub['id']}")

    fixed = [{"subnet_id": sub["id"], "ip_address": FIXED_IP}]
    spec = {
        "name": "labcmp-port",
        "network_id": network["id"],
        "project_id": owner,
        "fixed_ips": fixed,
        "mac_address": MAC,
        "security_groups": [group["id"]],
        "description": "marker",
    }
    port = make("port.create", "port", **spec)

    def taken(name: str, **change: Any) -> None:
        call(name, "network", "POST", "/v2.0/ports", {"port": spec | change})

    taken("port.create.same-ip", mac_address="fa:16:3e:77:00:51")
    taken("port.create.same-mac", fixed_ips=[{"subnet_id": sub["id"], "ip_address": "127.77.0.51"}])
    taken(
        "port.create.outside",
        fixed_ips=[{"subnet_id": sub["id"], "ip_address": "127.90.0.51"}],
        mac_address="fa:16:3e:77:00:52",
    )
    taken("port.create.outside.nosubnet", fixed_ips=[{"ip_address": "127.90.0.51"}], mac_address="fa:16:3e:77:00:52")
    taken("port.create.nonet", network_id=str(uuid.uuid4()))
    taken("port.create.badmac", mac_address="nonsense")
    taken("port.create.badip", fixed_ips=[{"ip_address": "nonsense"}])
    taken("port.create.nogroup", security_groups=[str(uuid.uuid4())], fixed_ips=[], mac_address="fa:16:3e:77:00:53")
    call("port.create.nonetwork", "network", "POST", "/v2.0/ports", {"port": {"name": "labcmp-x"}})
    tenant.call("port.get.tenant", "network", "GET", f"/v2.0/ports/{port['id']}")
    call("port.get", "network", "GET", f"/v2.0/ports/{port['id']}")
    call("port.get.missing", "network", "GET", f"/v2.0/ports/{uuid.uuid4()}")
    call("port.list", "network", "GET", f"/v2.0/ports?network_id={network['id']}")
    call("port.list.ip", "network", "GET", f"/v2.0/ports?fixed_ips=ip_address={FIXED_IP}&network_id={network['id']}")
    call("port.update", "network", "PUT", f"/v2.0/ports/{port['id']}", {"port": {"name": "labcmp-port2"}})
    call("secgroup.delete.inuse", "network", "DELETE", f"/v2.0/security-groups/{group['id']}")
    call("network.delete.inuse", "network", "DELETE", f"/v2.0/networks/{network['id']}")
    tenant.call("policy.port.auto", "network", "GET", f"/v2.0/ports?device_id={router['id']}")

    floating = {"floating_network_id": external["id"], "project_id": owner, "floating_ip_address": FLOATING_IP}
    float_ip = make("floating.create", "floatingip", **floating)
    call("floating.create.again", "network", "POST", "/v2.0/floatingips", {"floatingip": floating})
    outside_ip = {"floatingip": floating | {"floating_ip_address": "127.99.0.1"}}
    call("floating.create.outside", "network", "POST", "/v2.0/floatingips", outside_ip)
    internal = {"floatingip": {"floating_network_id": network["id"]}}
    call("floating.create.internal", "network", "POST", "/v2.0/floatingips", internal)
    call(
        "floating.create.nonet",
        "network",
        "POST",
        "/v2.0/floatingips",
        {"floatingip": {"floating_network_id": str(uuid.uuid4())}},
    )
    tenant.call(
        "policy.floating.choose",
        "network",
        "POST",
        "/v2.0/floatingips",
        {"floatingip": {"floating_network_id": external["id"], "floating_ip_address": "127.78.0.51"}},
    )
    call("floating.get", "network", "GET", f"/v2.0/floatingips/{float_ip['id']}")
    call("floating.get.missing", "network", "GET", f"/v2.0/floatingips/{uuid.uuid4()}")
    call("floating.list", "network", "GET", f"/v2.0/floatingips?project_id={owner}")
    bind = f"/v2.0/floatingips/{float_ip['id']}"
    island = make("", "port", network_id=network["id"], fixed_ips=[{"subnet_id": spare["id"]}], project_id=owner)
    call("floating.bind.unreachable", "network", "PUT", bind, {"floatingip": {"port_id": island["id"]}})
    call("port.delete", "network", "DELETE", f"/v2.0/ports/{island['id']}")
    call("port.delete.router", "network", "DELETE", f"/v2.0/ports/{joined['port_id']}")
    call("floating.bind.noport", "network", "PUT", bind, {"floatingip": {"port_id": str(uuid.uuid4())}})
    call("floating.bind", "network", "PUT", bind, {"floatingip": {"port_id": port["id"]}})
    call("floating.bind.again", "network", "PUT", bind, {"floatingip": {"port_id": port["id"]}})
    other = {"floating_ip_address": "127.78.0.51"}
    second = make("", "floatingip", floating_network_id=external["id"], project_id=owner, **other)
    call(
        "floating.bind.other",
        "network",
        "PUT",
        f"/v2.0/floatingips/{second['id']}",
        {"floatingip": {"port_id": port["id"]}},
    )
    call("router.remove.floating", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": sub["id"]})
    call("router.gateway.floating", "network", "PUT", interface, {"router": {"external_gateway_info": {}}})
    call("floating.unbind", "network", "PUT", bind, {"floatingip": {"port_id": None}})
    call(
        "router.remove.none", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": str(uuid.uuid4())}
    )
    return Net(network["id"], port["id"], float_ip["id"], group["id"])
