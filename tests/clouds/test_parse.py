"""Foreign JSON: what is documented is understood, and garbage is a CloudError, never a traceback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.clouds import discovery, identity, images, images_v1, neutron_records, nova_network, nova_records
from pumphouse.clouds.parse import Doc, decode, path, root_of
from pumphouse.errors import CloudError
from tests.clouds.test_faults import JSON, PATIENT

SERVER = {
    "id": "s1", "name": "web", "tenant_id": "p1", "user_id": "u1", "status": "active",
    "OS-EXT-STS:task_state": None, "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:power_state": 1,
    "OS-EXT-SRV-ATTR:host": "compute1", "OS-EXT-AZ:availability_zone": "nova", "flavor": {"id": "1", "links": []},
    "image": {"id": "i1", "links": []}, "key_name": "k", "security_groups": [{"name": "web"}, {"name": "web"}],
    "metadata": {"a": "1"}, "config_drive": "True", "created": "2014-04-17T10:00:00Z",
    "addresses": {"net": [
        {"addr": "10.0.0.2", "version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "FA:16:3E:00:00:01"},
        {"addr": "172.24.4.1", "version": 4, "OS-EXT-IPS:type": "floating"},
    ]},
    "os-extended-volumes:volumes_attached": [{"id": "v1"}], "fault": {"message": "No valid host", "code": 500},
}  # fmt: skip
RULE = {"id": 1, "ip_protocol": "tcp", "from_port": 1, "to_port": 2, "ip_range": {"cidr": "0.0.0.0/0"}, "group": {}}
PARSERS: dict[str, tuple[Callable[[Doc], Any], dict[str, Any]]] = {
    "server": (nova_records.server_of, SERVER),
    "flavor": (nova_records.flavor_of, {"id": 1, "name": "m1", "vcpus": 1, "ram": 512, "disk": 1, "swap": ""}),
    "keypair": (
        lambda doc: nova_records.keypair_of(doc, "u1"),
        {"name": "k", "public_key": "ssh-rsa A", "fingerprint": "f"},
    ),
    "service": (
        nova_records.host_service_of,
        {"binary": "nova-compute", "host": "h", "status": "enabled", "state": "up", "zone": "nova"},
    ),
    "hypervisor": (
        nova_records.hypervisor_of,
        {"id": 1, "hypervisor_hostname": "h", "service": {"host": "h", "id": 3}, "vcpus": 4},
    ),
    "quota": (lambda doc: nova_records.quota_of(doc, "p1"), {"id": "p1", "cores": 20, "ram": -1}),
    "project": (identity.project_of, {"id": "p1", "name": "acme", "enabled": True}),
    "user": (identity.user_of, {"id": "u1", "name": "bob", "tenantId": "p1", "enabled": "True"}),
    "role": (identity.role_of, {"id": "r1", "name": "admin"}),
    "assignment": (
        identity.assignment_of,
        {"role": {"id": "r"}, "user": {"id": "u"}, "scope": {"project": {"id": "p"}}},
    ),
    "image": (images.image_of, {"id": "i1", "status": "active", "tags": ["a"], "kernel_id": "k"}),
    "image v1": (
        images_v1.image_of_v1,
        {"id": "i1", "status": "active", "is_public": "True", "properties": {"a": "b"}},
    ),
    "network": (
        nova_network.network_of,
        {"id": "n1", "label": "net", "cidr": "10.0.0.0/24", "dhcp_start": "10.0.0.2"},
    ),
    "group": (
        lambda doc: nova_network.security_group_of(doc, {}),
        {"id": 1, "tenant_id": "p", "name": "g", "rules": [RULE]},
    ),
    "bulk": (
        lambda doc: nova_network.floating_ip_of(doc, {}),
        {"address": "1.2.3.4", "pool": "nova", "project_id": "p"},
    ),
    "neutron network": (
        lambda doc: neutron_records.network_of(doc, [doc]),
        {
            "id": "n1", "name": "n", "network_id": "n1", "cidr": "10.0.0.0/24",
            "allocation_pools": [{"start": "a", "end": "b"}],
        },
    ),
    "port": (
        neutron_records.port_of,
        {
            "id": "p", "network_id": "n", "mac_address": "FA:16:3E:00:00:01",
            "fixed_ips": [{"ip_address": "2001:db8::1"}, {"ip_address": "10.0.0.2"}],
        },
    ),
    "neutron group": (
        neutron_records.security_group_of,
        {"id": "g", "security_group_rules": [{"id": "r", "direction": "ingress", "protocol": 6}]},
    ),
    "floating ip": (
        lambda doc: neutron_records.floating_ip_of(doc, {}, {}),
        {"id": "f", "floating_network_id": "n", "floating_ip_address": "1.2.3.4", "port_id": "p"},
    ),
    "versions": (
        discovery.version_list,
        {"versions": [{"id": "v2.1", "status": "CURRENT", "version": "2.42"}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PARSERS)
def test_a_documented_record_is_read(kind: str) -> None:
    parse, good = PARSERS[kind]
    assert parse(Doc(good, "somewhere"))


@pytest.mark.parametrize("kind", PARSERS)
@PATIENT
@given(data=st.data())
def test_garbage_is_a_cloud_error(kind: str, data: st.DataObject) -> None:
    parse, good = PARSERS[kind]
    raw = {key: data.draw(st.just(value) | JSON, label=key) for key, value in good.items()}
    for key in data.draw(st.sets(st.sampled_from(sorted(good)), max_size=2), label="left out"):
        raw.pop(key)
    with contextlib.suppress(CloudError):
        parse(Doc(raw, "somewhere"))


@PATIENT
@given(st.binary(max_size=200) | JSON.map(repr).map(str.encode))
def test_any_body_is_an_object_or_a_cloud_error(body: bytes) -> None:
    with contextlib.suppress(CloudError):
        assert isinstance(decode(body, "somewhere"), Doc)


def test_a_missing_or_wrong_value_is_named_but_not_shown() -> None:
    with pytest.raises(CloudError, match="somewhere answered with no 'id'"):
        nova_records.server_of(Doc({}, "somewhere"))
    with pytest.raises(CloudError) as wrong:
        nova_records.server_of(Doc(SERVER | {"status": {"secret": "hush"}}, "somewhere"))
    assert "an object as 'status', where text belongs" in str(wrong.value)
    assert "hush" not in str(wrong.value)


def test_a_server_of_2014() -> None:
    server = nova_records.server_of(Doc(SERVER, "somewhere"))
    assert (server.status, server.flavor_id, server.image_id) == ("ACTIVE", "1", "i1")
    assert [(one.address, one.mac) for one in server.addresses] == [("10.0.0.2", "fa:16:3e:00:00:01")]
    assert server.floating_ips == ("172.24.4.1",)
    assert server.security_groups == ("web",)
    assert (server.config_drive, server.volume_ids, server.fault) == (True, ("v1",), "No valid host")
    assert server.created_at == datetime(2014, 4, 17, 10, tzinfo=UTC)


def test_a_server_booted_from_a_volume_has_no_image() -> None:
    assert nova_records.server_of(Doc(SERVER | {"image": ""}, "somewhere")).image_id is None


@pytest.mark.parametrize(
    ("value", "read"), [(True, True), ("True", True), ("1", True), (1, True), ("", False), ("False", False), (0, False)]
)
def test_flags_of_all_ages(value: Any, read: bool) -> None:
    assert Doc({"x": value}, "").flag("x", default=not read) is read


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://h:8774/v2/abc", "http://h:8774"),
        ("http://h:8774/v2.1/%(tenant)s", "http://h:8774"),
        ("https://h/compute/v2.1", "https://h/compute"),
        ("http://h:5000/v3/", "http://h:5000"),
        ("http://h:5000", "http://h:5000"),
        ("http://h:9292/", "http://h:9292"),
        ("http://h/identity", "http://h/identity"),
        ("http://h/video/v1", "http://h/video"),
        ("http://[::1]:5000/v2.0", "http://[::1]:5000"),
    ],
)
def test_a_services_root(url: str, root: str) -> None:
    assert root_of(url) == root


@PATIENT
@given(st.text())
def test_no_name_adds_a_level_to_a_path(name: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        made = path("os-keypairs", name)
        assert made.count("/") == 2
        assert not set("?# \n") & set(made)


def test_a_snapshots_owner_is_the_records_not_the_propertys() -> None:
    raw = {"id": "i", "status": "active", "owner": "admins", "owner_id": "tenants", "base_image_ref": "b"}
    image = images.image_of(Doc(raw, ""))
    assert image.owner_id == "admins"
    assert image.properties == {"owner_id": "tenants", "base_image_ref": "b"}


def test_headers_of_v1_come_in_any_case_and_charset() -> None:
    headers = {
        "X-Image-Meta-Id": "i", "x-image-meta-status": "active", "X-Image-Meta-Is_Public": "False",
        "x-image-meta-property-ctr-note": "ä".encode().decode("latin-1"), "Content-Type": "text/plain",
        "x-image-meta-name": "caf\xe9",
    }  # fmt: skip
    image = images_v1.image_of_headers(headers, "")
    assert (image.id, image.visibility, image.name) == ("i", "private", "caf\xe9")
    assert image.properties == {"ctr_note": "ä"}


def test_groups_domains_and_inherited_roles_are_left_out() -> None:
    base = {"role": {"id": "r"}, "user": {"id": "u"}}
    scopes: list[dict[str, Any]] = [
        {"domain": {"id": "d"}}, {"system": {"all": True}},
        {"project": {"id": "p"}, "OS-INHERIT:inherited_to": "projects"},
    ]  # fmt: skip
    for scope in scopes:
        assert identity.assignment_of(Doc(base | {"scope": scope}, "")) is None
    group = {"role": {"id": "r"}, "group": {"id": "g"}, "scope": {"project": {"id": "p"}}}
    assert identity.assignment_of(Doc(group, "")) is None


def test_a_source_group_that_is_not_listed_never_opens_the_rule() -> None:
    raw = {"id": 1, "ip_protocol": "TCP", "from_port": 22, "to_port": 22, "ip_range": {},
           "group": {"tenant_id": "p9", "name": "web"}}  # fmt: skip
    assert nova_network.rule_of(Doc(raw, ""), {}).remote_group_id == "p9/web"
    known = nova_network.rule_of(Doc(raw, ""), {("p9", "web"): "7"})
    assert (known.remote_group_id, known.remote_cidr, known.protocol) == ("7", None, "tcp")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"remote_ip_prefix": "0.0.0.0/0"}, {"remote_ip_prefix": None}, True),
        ({"protocol": "tcp"}, {"protocol": "6"}, True),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535}, {"protocol": "tcp"}, True),
        ({"protocol": "icmp", "port_range_min": 1, "port_range_max": 65535}, {"protocol": "icmp"}, False),
        ({"remote_ip_prefix": "10.0.0.5/8"}, {"remote_ip_prefix": "10.0.0.0/8"}, True),
        ({"protocol": "any"}, {"protocol": None}, True),
        ({"remote_address_group_id": "a"}, {}, False),
        ({"remote_group_id": "g"}, {}, False),
        ({"direction": "egress"}, {}, False),
        ({"ethertype": "IPv6"}, {}, False),
        ({"port_range_min": 1, "port_range_max": 2, "protocol": "udp"}, {"protocol": "udp"}, False),
    ],
)
def test_rules_compare_as_neutron_compares_them(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    base = {"id": "r", "direction": "ingress", "ethertype": "IPv4"}
    first, second = (neutron_records.rule_of(Doc(base | raw, "")) for raw in (one, other))
    assert neutron_records.same_rule(first, second) is same
    assert neutron_records.same_rule(second, first) is same
    assert json.loads(json.dumps(neutron_records.rule_key(first))) == list(neutron_records.rule_key(first))
