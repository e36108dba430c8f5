"""Switches to test against: the lab's faces in a thread of this process, and a real Open vSwitch behind a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pumphouse.lab.hardware.fleet import Fleet, Machine, Nic, Port
from pumphouse.lab.hardware.switch_snmp import SnmpSwitch, SnmpUser, start_snmp
from pumphouse.lab.hardware.switch_ssh import SshSwitch, start_ssh
from pumphouse.nodes.spec import Login, SwitchSpec

ADMIN, PRIVATE, OFFICE = 10, 100, 200
USER, PASSWORD, ENABLE = "operator", "switch-pw-58213", "enable-pw-90417"
COMMUNITY, READ_COMMUNITY = "community-rw-31", "community-ro-77"
V3 = SnmpUser("auditor", "auth-pw-662041", "priv-pw-118205")
ENABLE_VARIABLE = "PUMPHOUSE_TEST_ENABLE"
#: Names of ports of each kind, for network systems and for Linux: a node's, another node's, an office's, and so on.
NAMES = {
    "mine": ("GigabitEthernet1/0/1", "eth1"),
    "other": ("GigabitEthernet1/0/2", "eth2"),
    "office": ("GigabitEthernet1/0/11", "eth11"),
    "trunk": ("GigabitEthernet1/0/12", "eth12"),
    "deaf": ("GigabitEthernet1/0/13", "eth13"),
}
#: Who speaks at the ports of kind ``mine``.
SPEAKER = "02:00:00:00:00:0a"


@dataclass
class SwitchLab:
    """A fleet whose switch listens on all of the lab's faces; everything about it happens in its own thread."""

    fleet: Fleet
    ios: SshSwitch
    shell: SshSwitch
    snmp: SnmpSwitch

    def reset(self) -> None:
        """Every port as it was at the beginning."""
        fresh = make_fleet()
        for name, port in fresh.ports.items():
            self.fleet.ports[name].vlan, self.fleet.ports[name].tagged = port.vlan, port.tagged
        self.fleet.vlans.clear()
        self.fleet.vlans.update(fresh.vlans)
        self.fleet.history.clear()

    def vlan(self, port: str) -> int:
        """Where a port really is."""
        return self.fleet.ports[port].vlan

    def spec(self, face: SshSwitch | SnmpSwitch, driver: str, platform: str = "", **changes: Any) -> SwitchSpec:
        """``site.yaml``'s word on one of the faces."""
        options: dict[str, Any] = {"host_key": face.host_key} if isinstance(face, SshSwitch) else {}
        if platform == "cisco_ios":
            options["enable_password_env"] = ENABLE_VARIABLE
        return SwitchSpec(
            name="rack7",
            driver=driver,
            vlans=changes.pop("vlans", (ADMIN, PRIVATE)),
            address="127.0.0.1",
            port=changes.pop("port", face.port),
            platform=platform,
            login=Login(
                changes.pop("user", USER if driver == "netmiko" else ""), timeout_s=changes.pop("timeout_s", 8.0)
            ),
            options={**options, **changes},
        )


def make_fleet() -> Fleet:
    """Ports of all kinds, each with a name for network systems and one for Linux."""
    ports: dict[str, Port] = {}
    for kind, names in NAMES.items():
        for name in names:
            ports[name] = Port(name, OFFICE if kind == "office" else PRIVATE, {ADMIN} if kind == "trunk" else set())
    nics = [Nic(f"nic{i}", f"02:00:00:00:00:0{i}", name) for i, name in enumerate(NAMES["deaf"])]
    deaf = Machine("deaf", "S1", "P", "g", nics, staged={"deaf-port"})
    speaks = Machine("mine", "S2", "P", "g2", [Nic("nic", SPEAKER, name) for name in NAMES["mine"]])
    return Fleet(
        machines={"deaf": deaf, "mine": speaks},
        ports=ports,
        vlans={ADMIN: "admin", PRIVATE: "private", OFFICE: "office"},
    )


@contextlib.contextmanager
def event_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """What awaits work in an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def switch_lab() -> Iterator[SwitchLab]:
    """A lab's switch on loopback."""
    fleet = make_fleet()
    before = os.environ.get(ENABLE_VARIABLE)
    os.environ[ENABLE_VARIABLE] = ENABLE
    try:
        with event_loop() as wait:
            lab = SwitchLab(
                fleet,
                wait(start_ssh(fleet, USER, PASSWORD, enable_password=ENABLE)),
                wait(start_ssh(fleet, USER, PASSWORD, style="shell")),
                wait(start_snmp(fleet, COMMUNITY, read_community=READ_COMMUNITY, user=V3)),
            )
            try:
                yield lab
            finally:
                for face in (lab.ios, lab.shell, lab.snmp):
                    wait(face.stop())
    finally:
        if before is None:
            del os.environ[ENABLE_VARIABLE]
        else:
            os.environ[ENABLE_VARIABLE] = before


@dataclass
class RealOpenVSwitch:
    """Debian's Open vSwitch (userspace) behind Debian's OpenSSH server, both with all their files in one folder."""

    folder: Path
    ssh_port: int = 0
    _ends: list[Callable[[], None]] = field(default_factory=list)

    @property
    def vsctl(self) -> str:
        """The command that speaks to this switch."""
        return f"ovs-vsctl --timeout=10 --db=unix:{self.folder}/db.sock"

    def ask(self, *words: str) -> str:
        """What ovs-vsctl says without SSH or pumphouse."""
        return _run(*self.vsctl.split(), *words)

    def vlan(self, port: str) -> int:
        """Where a port really is."""
        return int(self.ask("get", "port", port, "tag"))

    @property
    def appctl(self) -> str:
        """The command that speaks to its daemon."""
        return f"ovs-appctl --timeout=10 --target={self.folder}/c2"

    def receive(self, port: str, mac: str) -> None:
        """Let a frame come in at a port."""
        frame = f"ffffffffffff{mac.replace(':', '')}0806{'0' * 92}"
        _run(*self.appctl.split(), "netdev-dummy/receive", port, frame)

    def spec(self, **changes: Any) -> SwitchSpec:
        """``site.yaml``'s word on it."""
        return SwitchSpec(
            name="rack8",
            driver="netmiko",
            vlans=changes.pop("vlans", (ADMIN, PRIVATE)),
            address="127.0.0.1",
            port=self.ssh_port,
            platform="openvswitch",
            login=Login(getpass.getuser(), timeout_s=10.0),
            options={
                "known_hosts": str(self.folder / "known_hosts"),
                "key_file": str(self.folder / "user"),
                "variables": {"vsctl": self.vsctl, "appctl": self.appctl},
                **changes,
            },
        )


def lacking() -> str:
    """What this machine lacks for a real Open vSwitch; empty when nothing."""
    wanted = {"ovs-vsctl": "openvswitch-switch", "ovsdb-server": "openvswitch-switch", "sshd": "openssh-server"}
    missing = sorted({package for program, package in wanted.items() if _program(program) is None})
    if missing:
        return f"Debian's {' and '.join(missing)} is not installed"
    return "" if os.geteuid() == 0 else "its sshd has to be started by root here"


def give_up(missing: str) -> None:
    """Skip where something is missing; fail where ``CI`` says that nothing may be."""
    if os.environ.get("CI"):
        pytest.fail(f"CI has to try real switches and tools, but {missing}", pytrace=False)
    pytest.skip(f"{missing} (.ci/run installs it)")


@contextlib.contextmanager
def real_open_vswitch(folder: Path) -> Iterator[RealOpenVSwitch]:
    """A bridge of dummy ports: all kinds of :data:`NAMES`, but no deaf one."""
    switch = RealOpenVSwitch(folder)
    try:
        _start_switch(switch)
        _start_sshd(switch)
        yield switch
    finally:
        for end in reversed(switch._ends):
            end()


def _start_switch(switch: RealOpenVSwitch) -> None:
    folder = switch.folder
    schema = "/usr/share/openvswitch/vswitch.ovsschema"
    _run("ovsdb-tool", "create", str(folder / "conf.db"), schema)
    _start(
        switch, "ovsdb-server", str(folder / "conf.db"), f"--remote=punix:{folder}/db.sock", f"--unixctl={folder}/c1"
    )
    _until((folder / "db.sock").exists)
    _start(
        switch,
        "ovs-vswitchd",
        f"unix:{folder}/db.sock",
        "--enable-dummy=override",
        "--disable-system",
        f"--unixctl={folder}/c2",
    )
    switch.ask("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy")
    for kind, (_, name) in NAMES.items():
        if kind == "deaf":
            continue
        more = [f"trunks={ADMIN}", "vlan_mode=native-untagged"] if kind == "trunk" else []
        tag = OFFICE if kind == "office" else PRIVATE
        switch.ask(
            "add-port", "br0", name, f"tag={tag}", *more, "--", "set", "interface", name, "type=dummy"
        )  # fmt: skip
    switch.ask("add-port", "br0", "eth99", "--", "set", "interface", "eth99", "type=dummy")


def _start_sshd(switch: RealOpenVSwitch) -> None:
    folder = switch.folder
    for key in ("host", "user"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        switch.ssh_port = probe.getsockname()[1]
    # where Debian's sshd gives up its rights; its service would have made it
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {switch.ssh_port}\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\nPrintMotd no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        "ForceCommand /bin/bash --noprofile --norc\n",
        encoding="utf-8",
    )
    host_key = (folder / "host.pub").read_text(encoding="ascii")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{switch.ssh_port} {host_key}", encoding="ascii")
    _start(switch, _program("sshd") or "sshd", "-D", "-e", "-f", str(folder / "sshd_config"))

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", switch.ssh_port), timeout=1):
            return True
        return False

    _until(listens)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _start(switch: RealOpenVSwitch, *words: str) -> None:
    with (switch.folder / f"{Path(words[0]).name}.log").open("wb") as log:
        process = subprocess.Popen([_program(words[0]) or words[0], *words[1:]], stdout=log, stderr=log)

    def end() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    switch._ends.append(end)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def _until(happened: Callable[[], bool], limit_s: float = 15.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, "it did not start"
        time.sleep(0.02)
