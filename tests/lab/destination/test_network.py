"""Neutron of the lab's destination, through openstacksdk."""

from __future__ import annotations

import openstack.exceptions
import pytest
from openstack.connection import Connection

from .running import SDK_WARNINGS, Running

pytestmark = SDK_WARNINGS


@pytest.fixture
def conn(fresh_lab: Running) -> Connection:
    return fresh_lab.connect()


@pytest.fixture
def net(conn: Connection) -> tuple[str, str]:
    """Ids of a network and its subnet."""
    network = conn.network.create_network(name="private", is_shared=True)
    subnet = conn.network.create_subnet(
        network_id=network.id,
        name="private",
        cidr="127.77.0.0/24",
        ip_version=4,
        gateway_ip="127.77.0.1",
        dns_nameservers=["127.77.0.2"],
        allocation_pools=[{"start": "127.77.0.200", "end": "127.77.0.202"}],
    )
    return network.id, subnet.id


def test_only_the_external_network_is_there(conn: Connection) -> None:
    (public,) = conn.network.networks()
    assert (public.name, public.is_router_external, public.status) == ("public", True, "ACTIVE")
    (subnet,) = conn.network.subnets()
    assert (subnet.cidr, subnet.is_dhcp_enabled, subnet.gateway_ip) == ("127.78.0.0/24", False, "127.78.0.1")
    assert subnet.allocation_pools == [{"start": "127.78.0.195", "end": "127.78.0.254"}]
    assert list(conn.network.ports()) == []
    assert conn.network.find_extension("router").alias == "router"
    assert {"external-net", "security-group", "standard-attr-description"} <= {
        extension.alias for extension in conn.network.extensions()
    }


def test_a_port_holds_its_address_and_its_mac(conn: Connection, net: tuple[str, str]) -> None:
    network, subnet = net
    mac, address = "fa:16:3e:00:00:01", "127.77.0.50"
    fixed = [{"subnet_id": subnet, "ip_address": address}]
    port = conn.network.create_port(network_id=network, fixed_ips=fixed, mac_address=mac, description="mark")
    assert (port.status, port.device_id, port.mac_address, port.description) == ("DOWN", "", mac, "mark")
    with pytest.raises(openstack.exceptions.ConflictException, match="already allocated in subnet"):
        conn.network.create_port(network_id=network, fixed_ips=fixed)
    with pytest.raises(openstack.exceptions.ConflictException, match="mac address fa:16:3e:00:00:01 is in use"):
        conn.network.create_port(network_id=network, mac_address=mac)
    with pytest.raises(openstack.exceptions.BadRequestException, match="not a valid IP"):
        conn.network.create_port(network_id=network, fixed_ips=[{"ip_address": "127.79.0.1"}])
    assert [item.id for item in conn.network.ports(fixed_ips=f"ip_address={address}")] == [port.id]
    conn.network.delete_port(port)
    again = conn.network.create_port(network_id=network, fixed_ips=fixed, mac_address=mac)
    group = conn.network.create_security_group(name="later")
    moved = [{"subnet_id": subnet, "ip_address": "127.77.0.51"}]
    changed = conn.network.update_port(again, fixed_ips=moved, security_groups=[group.id], name="renamed")
    assert (changed.name, changed.fixed_ips, changed.security_group_ids) == ("renamed", moved, [group.id])


def test_pools_are_handed_out_and_run_dry(conn: Connection, net: tuple[str, str]) -> None:
    found = [conn.network.create_port(network_id=net[0]).fixed_ips[0]["ip_address"] for _ in range(3)]
    assert sorted(found) == ["127.77.0.200", "127.77.0.201", "127.77.0.202"]
    with pytest.raises(openstack.exceptions.ConflictException, match="No more IP addresses available"):
        conn.network.create_port(network_id=net[0])


def test_subnets_need_room_and_sense(conn: Connection, net: tuple[str, str]) -> None:
    def refused(**given: object) -> str:
        with pytest.raises((openstack.exceptions.BadRequestException, openstack.exceptions.ConflictException)) as error:
            conn.network.create_subnet(network_id=net[0], ip_version=4, **given)
        return str(error.value)

    assert "overlaps with another subnet" in refused(cidr="127.77.0.128/25")
    assert "is not in a CIDR format" in refused(cidr="127.79.0.1/24")
    pool = [{"start": "127.79.0.1", "end": "127.79.0.9"}]
    assert "conflicts with allocation pool" in refused(cidr="127.79.0.0/24", allocation_pools=pool)


def test_a_router_carries_floating_ips(conn: Connection, net: tuple[str, str]) -> None:
    network, subnet = net
    public = conn.network.find_network("public")
    port = conn.network.create_port(network_id=network)
    floating = conn.network.create_ip(floating_network_id=public.id, floating_ip_address="127.78.0.50")
    with pytest.raises(openstack.exceptions.NotFoundException, match="is not reachable from subnet"):
        conn.network.update_ip(floating, port_id=port.id)
    router = conn.network.create_router(name="gate", external_gateway_info={"network_id": public.id})
    conn.network.add_interface_to_router(router, subnet_id=subnet)
    with pytest.raises(openstack.exceptions.BadRequestException, match="already has a port on subnet"):
        conn.network.add_interface_to_router(router, subnet_id=subnet)
    bound = conn.network.update_ip(floating, port_id=port.id)
    assert (bound.status, bound.fixed_ip_address) == ("ACTIVE", port.fixed_ips[0]["ip_address"])
    with pytest.raises(openstack.exceptions.ConflictException, match="required by one or more floating IPs"):
        conn.network.remove_interface_from_router(router, subnet_id=subnet)
    with pytest.raises(openstack.exceptions.ConflictException, match=r"127\.78\.0\.50 already allocated"):
        conn.network.create_ip(floating_network_id=public.id, floating_ip_address="127.78.0.50")
    conn.network.delete_port(port)
    assert conn.network.get_ip(floating.id).port_id is None
    conn.network.delete_ip(floating)
    with pytest.raises(openstack.exceptions.ConflictException, match="has ports still attached"):
        conn.network.delete_router(router)
    conn.network.remove_interface_from_router(router, subnet_id=subnet)
    conn.network.delete_router(router)
    conn.network.delete_network(network)
    assert list(conn.network.ports()) == []


def test_floating_addresses_can_be_chosen_outside_the_pool_or_taken_from_it(conn: Connection) -> None:
    public = conn.network.find_network("public")
    project = conn.identity.create_project(name="holder")
    given = {"floating_network_id": public.id, "project_id": project.id}
    assert conn.network.create_ip(**given, floating_ip_address="127.78.0.77").project_id == project.id
    automatic = conn.network.create_ip(**given)
    assert 195 <= int(automatic.floating_ip_address.rsplit(".", 1)[1]) <= 254
    with pytest.raises(openstack.exceptions.BadRequestException, match="not a valid IP for any of the subnets"):
        conn.network.create_ip(**given, floating_ip_address="127.99.0.1")


def test_security_groups(conn: Connection) -> None:
    project = conn.identity.create_project(name="guarded")
    group = conn.network.create_security_group(name="web", project_id=project.id)
    assert sorted(rule["ethertype"] for rule in group.security_group_rules) == ["IPv4", "IPv6"]
    assert {rule["direction"] for rule in group.security_group_rules} == {"egress"}
    (default,) = conn.network.security_groups(project_id=project.id, name="default")
    assert len(default.security_group_rules) == 4
    stranger = conn.identity.create_project(name="stranger")
    (theirs,) = conn.network.security_groups(project_id=stranger.id)
    assert (theirs.name, theirs.project_id) == ("default", stranger.id), "a look from outside makes it as well"
    rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    made = conn.network.create_security_group_rule(security_group_id=group.id, project_id=project.id, **rule)
    with pytest.raises(openstack.exceptions.ConflictException, match=f"already exists. Rule id is {made.id}"):
        conn.network.create_security_group_rule(security_group_id=group.id, project_id=project.id, **rule)
    conn.network.delete_security_group_rule(made)
    with pytest.raises(openstack.exceptions.ConflictException, match="Default security group already exists"):
        conn.network.create_security_group(name="default", project_id=project.id)
    twin = conn.network.create_security_group(name="web", project_id=project.id)
    assert twin.id != group.id


def test_quota(conn: Connection) -> None:
    project = conn.identity.create_project(name="tight")
    conn.network.update_quota(project.id, security_groups=2)
    conn.network.create_security_group(name="one", project_id=project.id)
    with pytest.raises(openstack.exceptions.ConflictException, match="Quota exceeded for resources"):
        conn.network.create_security_group(name="two", project_id=project.id)


def test_a_member_keeps_to_its_project(fresh_lab: Running, conn: Connection) -> None:
    project = conn.identity.create_project(name="small")
    user = conn.identity.create_user(name="sam", password="pw")
    conn.identity.assign_project_role_to_user(project, user, conn.identity.find_role("member"))
    sam = fresh_lab.connect("sam", "pw", "small")
    hidden = conn.network.create_network(name="hidden")
    mine = sam.network.create_network(name="mine")
    assert {network.name for network in sam.network.networks()} == {"public", "mine"}
    assert sam.network.find_network(hidden.id) is None
    assert "provider:network_type" not in sam.network.get(f"/networks/{mine.id}").json()["network"]
    (foreign,) = conn.network.security_groups(project_id=conn.current_project_id, name="default")
    with pytest.raises(openstack.exceptions.NotFoundException, match=f"Security group {foreign.id} does not exist"):
        sam.network.create_port(network_id=mine.id, security_groups=[foreign.id])
    with pytest.raises(openstack.exceptions.ForbiddenException, match="disallowed by policy"):
        sam.network.create_network(name="x", project_id=conn.current_project_id)
    with pytest.raises(openstack.exceptions.ForbiddenException, match="floating_ip_address"):
        sam.network.create_ip(
            floating_network_id=conn.network.find_network("public").id, floating_ip_address="127.78.0.9"
        )


def test_pages(conn: Connection) -> None:
    for number in range(5):
        conn.network.create_network(name=f"n{number}")
    assert len(list(conn.network.networks(limit=2))) == 6
