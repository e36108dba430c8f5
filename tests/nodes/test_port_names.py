"""One port in two spellings is one port; what is two ports on a Linux switch is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pumphouse.errors import SiteError
from pumphouse.nodes.spec import Hardware, build
from pumphouse.nodes.switches import platforms

LINUX = [
    name
    for name in (
        "arista_eos", "cisco_ios", "cumulus_nclu", "cumulus_nvue", "juniper_ex", "juniper_junos", "linux_bridge",
        "openvswitch",
    )
    if platforms.load(name, {}, where="switches.sw1").shell
]  # fmt: skip


def site(one: str, other: str, **switch: Any) -> Hardware:
    """Two nodes, each on a port of one switch."""
    text = yaml.safe_dump({
        "switches": {"sw1": {"driver": "netmiko", "vlans": [100, 200], **switch}},
        "nodes": {
            f"n{number}": {
                "macs": [f"52:54:00:00:00:0{number}"], "ports": [{"switch": "sw1", "port": port, "vlan": 200}],
            }
            for number, port in enumerate((one, other), start=1)
        },
    })  # fmt: skip
    return build("site.yaml", yaml.safe_load(text))


@pytest.mark.parametrize(
    ("one", "other", "switch"),
    [
        ("Gi0/1", "GigabitEthernet0/1", {"platform": "cisco_ios"}),
        ("gi0/1", "Gi0/1", {"platform": "cisco_ios"}),
        ("GigabitEthernet 1/0/24", "Gi1/0/24", {"platform": "cisco_ios"}),
        ("Et1", "Ethernet1", {"platform": "arista_eos"}),
        ("Ethernet1/1", "Eth1/1", {"platform": "arista_eos"}),
        ("ge-0/0/1.0", "ge-0/0/1", {"platform": "juniper_junos"}),
        ("Gi0/1", "GigabitEthernet0/1", {"driver": "snmp"}),
        ("swp3", "swp3", {"platform": "cumulus_nvue"}),
        ("rack 3, port 7", "rack 3, port 7", {"driver": "manual"}),
    ],
)
def test_two_nodes_are_not_on_one_port(one: str, other: str, switch: dict[str, Any]) -> None:
    with pytest.raises(SiteError, match="belongs to node n1 and to node n2") as refused:
        site(one, other, **switch)
    assert (f"there spelt {one}" in str(refused.value)) is (one != other)


@pytest.mark.parametrize(
    ("one", "other", "switch"),
    [
        ("Gi0/1", "Gi0/11", {"platform": "cisco_ios"}),
        ("Gi0/1", "Te0/1", {"platform": "cisco_ios"}),
        ("Et1", "Ethernet11", {"platform": "arista_eos"}),
        ("ge-0/0/1", "xe-0/0/1", {"platform": "juniper_junos"}),
        ("1", "Port1", {"driver": "snmp"}),
        *(("v1", "vnet1", {"platform": name}) for name in LINUX),
        ("p1", "port1", {"driver": "manual"}),
        ("p1", "port1", {"platform": "ours", "options": {"templates": "/etc/ours.yaml"}}),
    ],
)
def test_what_only_looks_alike_is_two_ports(one: str, other: str, switch: dict[str, Any]) -> None:
    assert len(site(one, other, **switch).nodes) == 2


def test_the_platforms_that_are_linux_are_known() -> None:
    assert len(LINUX) == 4
