"""Platforms as data: what real switches print is read right, and whatever else they print is garbled, never a VLAN.

Each sample says where its wording is from; numbers and names are changed.
"""

from __future__ import annotations

import functools
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import NodeGarbled, SiteError
from pumphouse.nodes import spec
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.connect import SWITCH_GROUP, driver
from pumphouse.nodes.switches.platforms import Platform, build, load

NAMES = sorted(
    entry.name.removesuffix(".yaml")
    for entry in (resources.files("pumphouse.nodes.switches") / "templates").iterdir()
    if entry.name.endswith(".yaml")
)


@functools.cache
def platform(name: str) -> Platform:
    return load(name, {}, where="switches.x")


def ios(mode: str, operational: str, vlan: str, voice: str = "none", name: str = "Gi1/0/1") -> str:
    # Cisco IOS 15: recorded "show interfaces switchport", as in ntc-templates' tests
    return textwrap.dedent(f"""\
        Name: {name}
        Switchport: Enabled
        Administrative Mode: {mode}
        Operational Mode: {operational}
        Administrative Trunking Encapsulation: dot1q
        Operational Trunking Encapsulation: native
        Negotiation of Trunking: On
        Access Mode VLAN: {vlan}
        Trunking Native Mode VLAN: 1 (default)
        Administrative Native VLAN tagging: disabled
        Voice VLAN: {voice}
        Administrative private-vlan trunk native VLAN: none
        Operational private-vlan: none
        Trunking VLANs Enabled: ALL
        Pruning VLANs Enabled: 2-1001
        Capture VLANs Allowed: ALL

        Protected: false
        Appliance trust: none
        """)


IOS_TRUNK = (
    ios("trunk", "trunk", "1 (default)")
    .replace("Native Mode VLAN: 1 (default)", "Native Mode VLAN: 300 (public)")
    .replace("Trunking VLANs Enabled: ALL", "Trunking VLANs Enabled: 10,20-22,\n     300,400")
)


def eos(mode: str, operational: str, vlan: str) -> str:
    # Arista EOS: user manual, "show interfaces switchport"
    return textwrap.dedent(f"""\
        Name: Et5
        Switchport: Enabled
        Administrative Mode: {mode}
        Operational Mode: {operational}
        MAC Address Learning: enabled
        Dot1q ethertype/TPID: 0x8100 (active)
        Dot1q VLAN Tag: Allowed
        Access Mode VLAN: {vlan}
        Trunking Native Mode VLAN: 1 (default)
        Administrative Native VLAN tagging: disabled
        Trunking VLANs Enabled: ALL
        Static Trunk Groups:
        Dynamic Trunk Groups:
        Source interface filtering: enabled
        """)


# Junos with ELS, 18 to 21: "show ethernet-switching interface", as operators show it
ELS_HEAD = """\
Logical Interface flags (DL - disable learning, AD - packet action drop,
                         LH - MAC limit hit, DN - interface down,
                         MMAS - Mac-move action shutdown,  AS - Autostate-exclude enabled,
                         SCTL - shutdown by Storm-control, MI - MAC+IP limit hit)

Logical         Vlan                   TAG   MAC    MAC+IP STP         Logical          Tagging
interface       members                      limit  limit  state       interface flags
Routing Instance Name : default-switch
"""
ELS_ACCESS = (
    ELS_HEAD
    + """\
ge-0/0/0.0                                   65536  0                  DN               untagged
                vlan-110               110   65536  0      Discarding                   untagged
"""
)
ELS_TRUNK = (
    ELS_HEAD
    + """\
ge-0/0/0.0                                   65535  0                                   tagged
                default                1     65535  0      Forwarding                   untagged
                voice                  20    65535  0      Forwarding                   tagged
                data                   30    65535  0      Forwarding                   tagged
"""
)
# Junos on EX without ELS: "show ethernet-switching interfaces", as in ntc-templates' tests
EX = "Interface    State  VLAN members        Tag   Tagging  Blocking \n\n"
EX_ACCESS = EX + "ge-0/0/2.0   up      vlan300            300    untagged unblocked\n"
EX_NONE = EX + "ge-0/0/5.0   down    default                            MAC move limit\n"
# iproute2: "bridge vlan show", with the tabs of 4.x and the columns of 5.x and 6.x; Cumulus Linux prints the same
NEW, OLD = "port              vlan-id  \n", "port\tvlan ids\n"
MANY = NEW + "swp3              1 PVID Egress Untagged\n                  10\n                  20-22\n"
ODD = NEW + "swp3              10 Egress Untagged\n                  20 PVID Egress Untagged\n"

SAMPLES: list[tuple[str, str, str, PortState]] = [
    ("cisco_ios", "Gi1/0/1", ios("static access", "static access", "100 (private)"), PortState("Gi1/0/1", 100)),
    ("cisco_ios", "GigabitEthernet1/0/1", ios("dynamic auto", "down", "1 (x)"), PortState("GigabitEthernet1/0/1", 1)),
    ("cisco_ios", "Gi1/0/1", ios("dynamic auto", "trunk", "1 (default)"), PortState("Gi1/0/1", 1, trunk=True)),
    ("cisco_ios", "Gi1/0/1", ios("trunk", "down", "1 (default)"), PortState("Gi1/0/1", 1, trunk=True)),
    ("cisco_ios", "Gi1/0/1", ios("static access", "down", "100 (x)", "30 (v)"), PortState("Gi1/0/1", 100, (30,))),
    ("cisco_ios", "Gi1/0/1", IOS_TRUNK, PortState("Gi1/0/1", 300, (10, 20, 21, 22, 400), trunk=True)),
    ("cisco_ios", "Gi1/0/1", IOS_TRUNK.replace("10,20-22,", "none"), PortState("Gi1/0/1", 300, (400,), trunk=True)),
    ("arista_eos", "Ethernet5", eos("static access", "static access", "80 (admin)"), PortState("Ethernet5", 80)),
    ("arista_eos", "Et5", eos("trunk", "trunk", "1 (default)"), PortState("Et5", 1, trunk=True)),
    ("juniper_junos", "ge-0/0/0", ELS_ACCESS, PortState("ge-0/0/0", 110)),
    ("juniper_junos", "ge-0/0/0", ELS_TRUNK, PortState("ge-0/0/0", 1, (20, 30), trunk=True)),
    ("juniper_ex", "ge-0/0/2", EX_ACCESS, PortState("ge-0/0/2", 300)),
    ("juniper_ex", "ge-0/0/5", EX_NONE, PortState("ge-0/0/5", 0)),
    (
        "juniper_ex",
        "ge-0/0/14",
        EX + "ge-0/0/14.0  up      vlan100             100   tagged   unblocked\n"
        "                     vlan200             200   tagged   unblocked\n",
        PortState("ge-0/0/14", 0, (100, 200)),
    ),
    ("linux_bridge", "swp3", f"{NEW}swp3              10 PVID Egress Untagged\n", PortState("swp3", 10)),
    ("cumulus_nclu", "swp3", f"{OLD}swp3\t 10 PVID Egress Untagged\n\n", PortState("swp3", 10)),
    ("cumulus_nvue", "swp3", MANY, PortState("swp3", 1, (10, 20, 21, 22))),
    ("linux_bridge", "swp3", ODD, PortState("swp3", 20, (10,))),
    # Open vSwitch 3.1: recorded
    ("openvswitch", "p1", "p1,100,[],[]\n", PortState("p1", 100)),
    ("openvswitch", "p1", "p1,100,[],access\n", PortState("p1", 100)),
    ("openvswitch", "p1", "p1,[],[],[]\n", PortState("p1", 0, trunk=True)),
    ("openvswitch", "p1", 'p1,5,"[20, 30]",native-untagged\n', PortState("p1", 5, (20, 30), trunk=True)),
    ("openvswitch", "p1", "p1,5,[],dot1q-tunnel\n", PortState("p1", 5, trunk=True)),
]


@pytest.mark.parametrize(("name", "port", "answer", "state"), SAMPLES)
def test_what_switches_print_is_read(name: str, port: str, answer: str, state: PortState) -> None:
    assert platform(name).parse(port, answer) == state
    assert platform(name).parse(port, answer.replace("\n", "\r\n")) == state


@pytest.mark.parametrize(
    ("name", "port", "answer"),
    [
        ("cisco_ios", "Gi1/0/2", ios("static access", "static access", "100 (private)")),
        ("cisco_ios", "Gi1/0/1", ios("static access", "static access", "0")),
        ("cisco_ios", "Gi1/0/1", ios("static access", "static access", "4095")),
        (
            "cisco_ios",
            "Gi1/0/1",
            ios("static access", "static access", "10") + ios("static access", "static access", "20"),
        ),
        ("cisco_ios", "Te1/0/1", ios("static access", "static access", "100 (private)")),
        ("juniper_junos", "ge-0/0/1", ELS_ACCESS),
        ("juniper_junos", "ge-0/0/2", EX + "ge-0/0/2.0   up      vlan300            300    untagged unblocked\n"),
        ("juniper_junos", "ge-0/0/0", ELS_HEAD),
        ("linux_bridge", "swp3", f"{NEW}swp30              10 PVID Egress Untagged\n"),
        ("linux_bridge", "swp3", f"{NEW}swp3  10 PVID Egress Untagged\nswp4  20 PVID Egress Untagged\n"),
        ("linux_bridge", "swp3", "bash: bridge: command not found\n"),
        ("linux_bridge", "swp3", f"{NEW}swp3  10 PVID Egress Untagged state blocked\n"),
        ("openvswitch", "p1", "p2,100,[],[]\n"),
        ("openvswitch", "p1", "p1,100,[],[]\np1,200,[],[]\n"),
        ("openvswitch", "p1", "p1,5000,[],[]\n"),
        ("openvswitch", "p1", ""),
    ],
)
def test_what_is_of_another_port_or_no_answer_is_garbled(name: str, port: str, answer: str) -> None:
    with pytest.raises(NodeGarbled, match=f"platform {name}"):
        platform(name).parse(port, answer)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.text(max_size=300), st.integers(0, 20), st.data())
def test_no_text_is_anything_but_a_port_or_garbled(name: str, noise: str, at: int, data: st.DataObject) -> None:
    samples = [(port, answer) for known, port, answer, _ in SAMPLES if known == name]
    port, answer = data.draw(st.sampled_from(samples or [("p1", "")]))
    lines = answer.splitlines()
    lines[min(at, len(lines)) : min(at, len(lines))] = noise.splitlines()
    for text in (noise, "\n".join(lines), answer[: data.draw(st.integers(0, len(answer)))]):
        try:
            state = platform(name).parse(port, text)
        except NodeGarbled:
            continue
        assert state.port == port
        assert 0 <= state.vlan <= 4094
        assert all(1 <= vlan <= 4094 for vlan in state.tagged)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.one_of(st.text(max_size=40), st.from_regex(r"[a-z]{2}-?[0-9/;$|& ]{1,12}")))
def test_no_name_of_a_port_says_more_than_a_name_to_a_command_line(name: str, port: str) -> None:
    if platform(name).is_port(port):
        assert not set(port) & set(";|&$`<>()[]{}*?!#~\\'\"\n\r\t\0,=")
        assert not port.startswith("-")
        assert port.isascii()


@pytest.mark.parametrize("name", NAMES)
def test_each_platform_says_where_it_is_from_and_takes_the_ports_of_its_samples(name: str) -> None:
    text = (resources.files("pumphouse.nodes.switches") / "templates" / f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# Sources: ")
    samples = [port for known, port, _, _ in SAMPLES if known == name]
    assert samples
    assert all(platform(name).is_port(port) for port in samples)


GOOD: dict[str, Any] = {
    "schema": 1,
    "about": "a switch of our own",
    "device_type": "cisco_ios",
    "ports": "[0-9]{1,2}",
    "variables": {"show": "show"},
    "read": {"command": "{show} vlan port {port}", "textfsm": "Value VLAN (\\d+)\n\nStart\n  ^VLAN ${VLAN}\n"},
    "set": {"commands": ["port {port} vlan {vlan}", "no vlan {old}"]},
}


def test_a_platform_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    ours = load("", {"templates": str(file), "variables": {"show": "display"}}, where="switches.x")
    assert (ours.name, ours.read_command) == ("ours", "display vlan port {port}")
    assert ours.parse("7", "VLAN 80\n") == PortState("7", 80)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, r"\$.schema"),
        ({"more": 1}, "more"),
        ({"ports": "(["}, "no pattern"),
        ({"read": {"command": "show {vlan}", "textfsm": "x"}}, "vlan"),
        ({"read": {"command": "show", "textfsm": "nothing"}}, "read.textfsm"),
        ({"read": {"command": "show", "textfsm": "Value PORT (.)\n\nStart\n  ^${PORT}\n"}}, "lacks VLAN"),
        ({"set": {"commands": []}}, "commands"),
        ({"set": {"commands": ["{colour}"]}}, "colour"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}), encoding="utf-8")
    with pytest.raises(SiteError, match=said) as caught:
        load("", {"templates": str(file)}, where="switches.x")
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("procurve", {}, "cisco_ios"),
        ("", {}, "not given"),
        ("", {"templates": "ours.yaml"}, "absolute"),
        ("", {"templates": "/nowhere/ours.yaml"}, "cannot be read"),
        ("openvswitch", {"variables": {"vsctl": "a\nb"}}, "vsctl"),
        ("openvswitch", {"variables": {"vsctk": "a"}}, "vsctk"),
        ("openvswitch", {"variables": "sudo"}, "no mapping"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SiteError, match=said):
        load(name, options, where="switches.x")


def test_a_file_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(SiteError, match="not YAML"):
        build("x", "a: [", {}, where="x.yaml")


def test_the_switches_of_the_documentation_are_switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = (Path(__file__).parents[2] / "doc" / "hardware.md").read_text(encoding="utf-8")
    section = document.partition("## Switches\n")[2].partition("```yaml\n")[2].partition("```")[0]
    example = yaml.safe_load(section)
    jsonschema.validate(example["switches"], spec.SCHEMA["switches"])
    monkeypatch.setenv("ENABLE", "enable-pw-1")
    hardware = spec.build("hardware.md", example)
    assert "ENABLE" in {login.password_env for login in hardware.logins}, "records are kept free of it, too"
    for name, switch in hardware.switches.items():
        assert driver(SWITCH_GROUP, switch.driver, name)(switch, "password-1").name == name
    assert all(name in section for name in NAMES)


IOS_HEARD = """\
          Mac Address Table
-------------------------------------------

Vlan    Mac Address       Type        Ports
----    -----------       --------    -----
 All    0100.0ccc.cccc    STATIC      CPU
 100    5254.00AB.cd01    DYNAMIC     Gi1/0/1
 100    fa16.3e00.0001    STATIC      Gi1/0/1
Total Mac Addresses for this criterion: 3
"""
EOS_HEARD = """\
          Mac Address Table
------------------------------------------------------------------

Vlan    Mac Address       Type        Ports      Moves   Last Move
----    -----------       ----        -----      -----   ---------
 100    5254.00ab.cd01    DYNAMIC     Et1        1       0:05:05 ago
 100    fa16.3e00.0001    DYNAMIC     Et1        1       1 day, 2:05:05 ago
Total Mac Addresses for this criterion: 2

          Multicast Mac Address Table
------------------------------------------------------------------

Vlan    Mac Address       Type        Ports
----    -----------       ----        -----
Total Mac Addresses for this criterion: 0
"""
EX_HEARD = """\
Ethernet-switching table: 3 entries, 2 learned
  VLAN              MAC address       Type         Age Interfaces
  v100              *                 Flood          - All-members
  v100              52:54:00:ab:cd:01 Learn       1:05 ge-0/0/3.0
  v100              fa:16:3e:00:00:01 Learn          0 ge-0/0/3.0
"""
ELS_HEARD = """\
MAC flags (S - static MAC, D - dynamic MAC, L - locally learned, P - Persistent static
           SE - statistics enabled, NM - non configured MAC, R - remote PE MAC, O - ovsdb MAC)


Ethernet switching table : 2 entries, 2 learned
Routing instance : default-switch
   Vlan                MAC                 MAC      Age    Logical                NH        RTR
   name                address             flags           interface              Index     ID
   v100                52:54:00:ab:cd:01   D          -   ge-0/0/3.0             0         0
   v100                fa:16:3e:00:00:01   D          -   ge-0/0/3.0             0         0
"""
BRIDGE_HEARD = """\
52:54:00:ab:cd:01 vlan 100 master br0
fa:16:3e:00:00:01 dev {port} vlan 100 offload master br0
9a:01:02:03:04:05 vlan 1 master br0 permanent
9a:01:02:03:04:05 master br0 permanent
33:33:00:00:00:01 self permanent
"""
OVS_HEARD = """\
5
 port  VLAN  MAC                Age
LOCAL     0  5a:35:1e:11:0d:41    1
    5   100  52:54:00:ab:cd:01    1
    5   100  fa:16:3e:00:00:01    7
   15   100  52:54:00:00:00:09    7
"""
#: Platform: port, what it answers when two are heard there, and when nobody is. Rows of IOS 15, EOS 4 and Junos with
#: ELS are as recorded in ntc-templates' tests, with our names (EOS is recorded there with a small "mac" alone: see
#: below; EX without ELS is not, and unchecked); bridge(8) of iproute2 and Open vSwitch 3.1: as they do.
HEARD = {
    "cisco_ios": ("GigabitEthernet1/0/1", IOS_HEARD, IOS_HEARD[: IOS_HEARD.index(" 100")]),
    "arista_eos": (
        "Ethernet1",
        EOS_HEARD,
        EOS_HEARD[EOS_HEARD.index("          Multicast") :].replace("Multicast ", ""),
    ),
    "juniper_ex": ("ge-0/0/3", EX_HEARD, EX_HEARD[: EX_HEARD.index("  v100              52")]),
    "juniper_junos": ("ge-0/0/3", ELS_HEARD, ELS_HEARD[: ELS_HEARD.index("   v100")]),
    **dict.fromkeys(("cumulus_nclu", "cumulus_nvue"), ("swp3", BRIDGE_HEARD.format(port="swp3"), "")),
    "linux_bridge": ("eth3", BRIDGE_HEARD.format(port="eth3"), ""),
    "openvswitch": ("eth3", OVS_HEARD, OVS_HEARD[: OVS_HEARD.index("LOCAL")]),
}


@pytest.mark.parametrize("name", NAMES)
def test_who_is_heard_at_a_port_is_read_nobody_too_and_anything_else_cannot_tell(name: str) -> None:
    port, two, nobody = HEARD[name]
    known = platform(name)
    assert known.parse_heard(port, two) == LearnedMacs(port, ("52:54:00:ab:cd:01", "fa:16:3e:00:00:01"))
    assert known.parse_heard(port, nobody) == LearnedMacs(port)
    for noise in ("what?", '% Ambiguous command:  "show mac"', f"{two}\n" * 3000):
        told = known.parse_heard(port, noise)
        assert told.untold, noise
        assert not told.macs


# other systems and releases, as recorded in ntc-templates' tests: Catalyst 6500 and 4500, an older EOS, Junos 14.1X53
CAT6500 = """\
Legend: * - primary entry
        age - seconds since last seen
        n/a - not available
        S - secure entry
        R - router's gateway mac address entry

Displaying entries from active supervisor::

      vlan   mac address    type   learn    age                 ports
-----+----+---------------+-------+-----+----------+-----------------------------
        100 5254.00ab.cd01  dynamic  Yes        0     Te1/5/4
 *      100 fa16.3e00.0001  dynamic  Yes      265     Te1/5/4
   R    459 0000.0000.0e00   static   No       -      Router
 *      728 0000.0000.0003   static  Yes       -    \x20
"""
CAT4500 = """\
Unicast Entries
 vlan     mac address     type        protocols               port
---------+---------------+--------+---------------------+-------------------------
 100      5254.00ab.cd01   dynamic ip,ipx,assigned,other GigabitEthernet3/48        \x20
 100      fa16.3e00.0001   dynamic ip,ipx,assigned,other GigabitEthernet3/48        \x20
2062      a89d.21d7.223f    static ip,ipx,assigned,other Switch                     \x20

Multicast Entries
 vlan     mac address     type    ports
---------+---------------+-------+--------------------------------------------
  10      ffff.ffff.ffff   system Gi1/2,Gi1/3,Gi1/5,Gi1/7,Gi1/8,Gi1/9,Gi1/12
                                  Switch,Po1,Po6,Po8
"""
EOS_OLD = """\
          mac Address Table
------------------------------------------------------------------
\x20
Vlan    mac Address       Type        Ports      Moves   Last Move
----    -----------       ----        -----      -----   ---------
 100    fa16.3e00.0001    STATIC      Et7
3912    5254.00ab.cd01    DYNAMIC     Et7       1       9 days, 15:57:23 ago
Total mac Addresses for this criterion: 2
\x20
          Multicast mac Address Table
------------------------------------------------------------------
\x20
Vlan    mac Address       Type        Ports
----    -----------       ----        -----
   4    0100.5e57.8423    STATIC      Et7 Po123
Total mac Addresses for this criterion: 1
"""
JUNOS_14 = """\
MAC flags (S - static MAC, D - dynamic MAC, L - locally learned, P - Persistent static
SE - statistics enabled, NM - non configured MAC, R - remote PE MAC, O - ovsdb MAC)

Ethernet switching table : 2 entries, 2 learned
Routing instance : default-switch
Vlan MAC MAC Age Logical
name address flags interface
BD-903691 52:54:00:ab:cd:01 D - xe-0/0/3.0
Vlan3117 fa:16:3e:00:00:01 D - xe-0/0/3.0

{master:0}
"""
JUNOS_CHANNEL = """\
MAC flags (S - static MAC, D - dynamic MAC, L - locally learned, P - Persistent static, C - Control MAC
           SE - statistics enabled, NM - non configured MAC, R - remote PE MAC, O - ovsdb MAC)


Ethernet switching table : 2 entries, 2 learned
Routing instance : default-switch
    Vlan                MAC                 MAC         Age    Logical                NH        RTR
    name                address             flags              interface              Index     ID
    Vlan2               52:54:00:ab:cd:01   DR            -   xe-0/0/51:0.0          0         0
    Vlan100             fa:16:3e:00:00:01   DL            -   xe-0/0/51:0.0          0         0
"""
OTHERS = [
    ("cisco_ios", "TenGigabitEthernet1/5/4", CAT6500),
    ("cisco_ios", "GigabitEthernet3/48", CAT4500),
    ("arista_eos", "Ethernet7", EOS_OLD),
    ("juniper_junos", "xe-0/0/3", JUNOS_14),
    ("juniper_junos", "xe-0/0/51:0", JUNOS_CHANNEL),
]


@pytest.mark.parametrize(("name", "port", "answer"), OTHERS)
def test_tables_of_other_releases_are_read(name: str, port: str, answer: str) -> None:
    for text in (answer, answer.replace("\n", "\r\n")):
        assert platform(name).parse_heard(port, text).macs == ("52:54:00:ab:cd:01", "fa:16:3e:00:00:01")


@pytest.mark.parametrize("name", ["cisco_ios", "arista_eos", "juniper_ex", "juniper_junos"])
def test_a_row_in_an_unknown_form_cannot_tell_which_is_not_nobody(name: str) -> None:
    port, two, _ = HEARD[name]
    for old, new in (("5254.00AB.cd01", "5254-00ab-cd01"), ("5254.00ab.cd01", "525400abcd01"), (":cd:01", "-cd-01")):
        if old in two:
            told = platform(name).parse_heard(port, two.replace(old, new))
            assert told.untold
            assert not told.macs


@given(name=st.sampled_from(NAMES), noise=st.text(max_size=80), at=st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_no_text_is_anything_but_heard_or_untold(name: str, noise: str, at: int) -> None:
    port, two, _ = HEARD[name]
    told = platform(name).parse_heard(port, two[:at] + noise + two[at:])
    assert told.port == port
    assert all(len(mac) == 17 for mac in told.macs)
    assert not (told.macs and told.untold)
