"""Answers of services that are not as documented: Keystone, Nova, Glance, Neutron, Nailgun, switches, BMCs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.clouds.faults import api_error, fault_text, retry_after_s
from pumphouse.clouds.nova_records import action_of
from pumphouse.clouds.parse import Doc, decode
from pumphouse.errors import CloudError, NodeError
from pumphouse.nodes.fuel import parse as fuel
from pumphouse.nodes.fuel.reading import Doc as FuelDoc
from pumphouse.nodes.switches import platforms, qbridge
from tests.clouds.test_parse import PARSERS
from tests.fuzz.junk import JSON, broken, dumped, fuzzed, tame, torn

pytestmark = pytest.mark.slow

CLOUD: dict[str, tuple[Callable[[Doc], Any], dict[str, Any]]] = {
    **PARSERS,
    "action": (action_of, {"action": "reboot", "start_time": "2014-04-17T10:00:00.000000", "user_id": "u"}),
}
NODE = {
    "id": 1, "name": "Untitled (a1:b2)", "status": "discover", "online": True, "cluster": None, "ip": "10.20.0.3",
    "mac": "52:54:00:00:00:01", "roles": [], "pending_roles": [], "pending_addition": False, "progress": 0,
    "platform_name": "x", "manufacturer": "KVM", "fqdn": "node-1.local", "error_type": None,
    "meta": {
        "cpu": {"total": 4}, "memory": {"total": 2**33}, "system": {"serial": "s", "manufacturer": "m", "product": "p"},
        "interfaces": [{"name": "eth0", "mac": "52:54:00:00:00:01", "ip": "10.20.0.3", "state": "up"}],
        "disks": [{"name": "sda", "size": 2**36, "model": "x"}],
    },
    "network_data": [{"name": "admin", "ip": "10.20.0.3/24", "dev": "eth0"}],
}  # fmt: skip
NETWORKS = {
    "networks": [{"id": 1, "name": "public", "cidr": "172.16.0.0/24", "ip_ranges": [["172.16.0.2", "172.16.0.9"]],
                  "vlan_start": None, "gateway": "172.16.0.1"}],
    "networking_parameters": {"floating_ranges": [["172.16.0.10", "172.16.0.20"]]}, "public_vip": "172.16.0.2",
}  # fmt: skip
FUEL: dict[str, tuple[Callable[[FuelDoc], Any], dict[str, Any]]] = {
    "version": (fuel.version, {"release": "6.1", "auth_required": True, "api": "1.0", "feature_groups": ["x"]}),
    "release": (
        fuel.release,
        {"id": 2, "name": "Juno", "version": "2014.2.2-6.1", "operating_system": "Ubuntu", "state": "available",
         "is_deployable": True, "roles": ["controller"]},
    ),
    "environment": (
        fuel.environment,
        {"id": 1, "name": "new", "status": "new", "mode": "ha_compact", "net_provider": "neutron", "release_id": 2},
    ),
    "node": (fuel.node, NODE),
    "task": (fuel.task, {"id": 1, "uuid": "u", "name": "deploy", "status": "running", "progress": 3, "message": "m"}),
    "networks": (lambda doc: fuel.networks(doc, "neutron"), NETWORKS),
    "vip": (lambda doc: fuel.vip(doc, "public"), NETWORKS),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLOUD)
@fuzzed()
@given(data=st.data())
def test_clouds(kind: str, data: st.DataObject) -> None:
    parse, good = CLOUD[kind]
    raw = data.draw(broken(good))
    outcome = tame("cloud record", lambda: parse(Doc(raw, "somewhere")))
    assert outcome.error is None or isinstance(outcome.error, CloudError)


@fuzzed(4)
@given(body=st.binary(max_size=80) | JSON.map(dumped).map(lambda text: text.encode("utf-8", "surrogatepass")),
       status=st.integers(400, 599), headers=st.dictionaries(
           st.sampled_from(["retry-after", "date", "x-openstack-request-id", "x-compute-request-id"]),
           st.text(max_size=30) | st.sampled_from(["-1", "1e400", "Wed, 99 Foo 2014 00:00:00 GMT", "9" * 400, "nan"]),
       ))  # fmt: skip
def test_error_answers(body: bytes, status: int, headers: dict[str, str]) -> None:
    text = tame("error body", lambda: fault_text(body, status)).value
    assert isinstance(text, str)
    wait_s = tame("retry-after", lambda: retry_after_s(headers, body)).value
    assert wait_s is None or 0 <= wait_s < 1e9
    error = tame("error answer", lambda: api_error(status, headers, body, intro="Cloud 'x' could not y: compute")).value
    assert isinstance(error, CloudError)
    assert error.remedy


@fuzzed(2)
@given(body=torn(json.dumps({"server": {"id": "1", "name": "ä"}})) | st.binary(max_size=60))
def test_bodies(body: bytes) -> None:
    tame("body", lambda: decode(body, "somewhere"))


@pytest.mark.parametrize("kind", FUEL)
@fuzzed()
@given(data=st.data())
def test_nailgun(kind: str, data: st.DataObject) -> None:
    parse, good = FUEL[kind]
    raw = data.draw(broken(good))
    outcome = tame("nailgun record", lambda: parse(FuelDoc(raw, "fuel")))
    assert outcome.error is None or isinstance(outcome.error, NodeError)


ANSWERS = [
    "interface GigabitEthernet1/0/1\n switchport mode access\n switchport access vlan 100\nend\n",
    "Name: Gi1/0/1\nAdministrative Mode: static access\nAccess Mode VLAN: 100 (ADMIN)\nTrunking VLANs Enabled: ALL\n",
    "% Invalid input detected at '^' marker.\n",
    "vlan {\n    members [ admin public ];\n}\n",
]
BUILT_IN = sorted(
    entry.name.removesuffix(".yaml")
    for entry in (resources.files("pumphouse.nodes.switches") / "templates").iterdir()
    if entry.name.endswith(".yaml")
)


@pytest.mark.parametrize("name", BUILT_IN)
@fuzzed()
@given(answer=st.sampled_from(ANSWERS).flatmap(torn) | st.text(max_size=80).map(lambda t: t.encode("utf-8", "replace")))
def test_switches_that_answer_in_text(name: str, answer: bytes) -> None:
    platform = platforms.load(name, {}, where="switches.x")
    text = answer.decode("utf-8", "replace")
    outcome = tame("switch's answer", lambda: platform.parse("Gi1/0/1", text))
    assert outcome.error is None or isinstance(outcome.error, NodeError)


@fuzzed(2)
@given(ports=st.binary(max_size=40), port=st.integers(1, 400), member=st.booleans())
def test_port_lists_of_snmp(ports: bytes, port: int, member: bool) -> None:
    changed = tame("port list", partial(qbridge.changed, ports, port, member=member)).value
    assert qbridge.has(changed, port) is member
    others = [one for one in range(1, 401) if one != port]
    assert [qbridge.has(changed, one) for one in others] == [qbridge.has(ports, one) for one in others]
