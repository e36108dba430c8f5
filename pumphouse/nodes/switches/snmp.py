"""Switches of any make by SNMP: Q-BRIDGE-MIB (RFC 4363), as far as the switch lets it be written.

``site.yaml``: ``driver: snmp``, ``address``, ``port`` (161), and by reference the community (v2c) or the password of
``user`` (v3). Ports are named as in ``ifName``, else as in ``ifDescr``. ``options``:

* ``version``: ``2c`` (default) or ``3``; ``auth``: ``sha256`` (default), ``sha``, ``sha224``, ``sha384``, ``sha512``,
  ``md5``, ``none``; ``privacy``: ``aes128`` (default), ``aes192``, ``aes256``, ``des``, ``none``.
* ``privacy_password_env``: environment variable with the privacy password; the login's own unless given.
* ``save``: ``{oid: …, value: …}``, the integer object of this make that saves the configuration; nothing is saved
  without it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pumphouse.errors import NodeGarbled, NodeRefused, NodeTimeout, SiteError
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.nodes.switches import qbridge
from pumphouse.nodes.switches.base import Conversation, GuardedSwitch
from pumphouse.nodes.switches.platforms import excerpt
from pumphouse.nodes.switches.qbridge import Membership
from pumphouse.nodes.switches.snmp_wire import AUTH, PRIVACY, Agent, Wire

OPTIONS = frozenset({"version", "auth", "privacy", "privacy_password_env", "save"})
_OID = re.compile(r"\.?(\d+(?:\.\d+)+)")


class SnmpSwitch(GuardedSwitch):
    """A switch whose agent is asked."""

    def __init__(self, spec: SwitchSpec, password: str, **clocks: Any) -> None:
        super().__init__(spec, **clocks)
        where = f"switches.{spec.name}"
        unknown = sorted(set(spec.options) - OPTIONS)
        if unknown:
            raise SiteError(
                f"{where}.options has {', '.join(unknown)}.", remedy=f"snmp switches know {', '.join(sorted(OPTIONS))}."
            )
        self._agent = _agent(spec, password, where)
        self._save = _save(spec.options, where)

    def check_name(self, port: str) -> None:
        if not port.strip() or len(port) > 255 or not port.isprintable():
            raise NodeRefused(
                f"switch {self.name}: {excerpt(port, 40)} cannot be a port.", remedy="correct the port in site.yaml."
            )

    def set_vlan(self, port: str, vlan: int) -> PortState:
        # the lists of ports are read, changed and written whole: two writers at once would undo each other
        with self._alone():
            return super().set_vlan(port, vlan)

    def _read_all(self, talk: Conversation, names: list[str]) -> tuple[PortState, ...]:
        return talk.read_all(names) if isinstance(talk, Asking) else super()._read_all(talk, names)

    @contextmanager
    def converse(self) -> Iterator[Conversation]:
        wire = Wire(self._agent)
        try:
            yield Asking(self.name, wire, self._save)
        finally:
            wire.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process of this machine writes to the switch meanwhile."""
        peer = hashlib.sha256(f"{self._agent.host}:{self._agent.port}".encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"pumphouse-snmp-{os.getuid()}-{peer}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._wait_for(handle)
            yield
        finally:
            os.close(handle)

    def _wait_for(self, handle: int) -> None:
        end = self._clock() + 4 * self.spec.login.timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if self._clock() >= end:
                    raise NodeTimeout(
                        f"switch {self.name}: somebody else on this machine keeps changing it.",
                        remedy="wait for the other run to end, and repeat.",
                    ) from error
                self._sleep(0.1)
            else:
                return


class Asking:
    """A :class:`~pumphouse.nodes.switches.base.Conversation` by SNMP."""

    def __init__(self, name: str, wire: Wire, save: tuple[str, int] | None) -> None:
        self._name = name
        self._wire = wire
        self._save = save
        self._bridge_ports: dict[str, int] | None = None

    def read(self, port: str) -> PortState:
        return self._membership(port).state(port)

    def read_all(self, ports: list[str]) -> tuple[PortState, ...]:
        """Several ports from one look at the VLANs."""
        lists = self._vlans()
        return tuple(self._membership(port, lists).state(port) for port in ports)

    def heard(self, port: str) -> LearnedMacs:
        """From Q-BRIDGE-MIB's table of all VLANs, or from BRIDGE-MIB's where a switch has but that."""
        mine = self._bridge_port(port)
        for at, status in ((qbridge.Q_FDB_PORT, qbridge.Q_FDB_STATUS), (qbridge.FDB_PORT, qbridge.FDB_STATUS)):
            rows = self._wire.walk(at)
            if not rows:
                continue
            how = self._wire.walk(status)
            return LearnedMacs(port, qbridge.heard(mine, rows, how))
        return LearnedMacs(port, untold="its agent shows no table of addresses (dot1qTpFdbTable, dot1dTpFdbTable)")

    def move(self, before: PortState, vlan: int) -> None:
        now = self._membership(before.port)
        if vlan not in now.egress:
            raise NodeRefused(
                f"switch {self._name} has no static VLAN {vlan}; port {before.port} stays in {before.vlan}.",
                remedy="create it on the switch, with the uplinks that it needs.",
            )
        if now.state(before.port) != before:
            raise NodeRefused(
                f"switch {self._name}: port {before.port} is changed by somebody else at this moment.",
                remedy="find out who, and repeat.",
            )
        self._wire.set(now.moved(vlan))

    def save(self) -> None:
        if self._save is None:
            return
        try:
            self._wire.set([self._save])
        except NodeRefused as error:
            raise NodeRefused(
                f"switch {self._name} did not save its configuration ({error.message}): the port is in its VLAN, and "
                "falls back when the switch restarts.",
                remedy="save it on the switch; correct options.save in site.yaml.",
            ) from error

    def _membership(self, port: str, lists: tuple[dict[int, bytes], dict[int, bytes]] | None = None) -> Membership:
        bridge_port = self._bridge_port(port)
        pvid = self._wire.get(f"{qbridge.PVID}.{bridge_port}")[0]
        return Membership(bridge_port, self._vlan(pvid), *(lists or self._vlans()))

    def _vlans(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """PortLists of all VLANs: egress, and untagged of it."""
        return self._lists(self._wire.walk(qbridge.EGRESS)), self._lists(self._wire.walk(qbridge.UNTAGGED))

    def _bridge_port(self, port: str) -> int:
        if self._bridge_ports is None:
            names: dict[int, str] = {}
            for column in (qbridge.IF_DESCR, qbridge.IF_NAME):
                names |= {key[0]: _text(value) for key, value in self._wire.walk(column).items() if _text(value)}
            self._bridge_ports = {}
            for key, value in self._wire.walk(qbridge.BASE_PORT_IF_INDEX).items():
                name = names.get(self._number(value), "")
                if name in self._bridge_ports:
                    raise self._odd(f"two ports are called {excerpt(name, 40)}")
                if name:
                    self._bridge_ports[name] = key[0]
        if port not in self._bridge_ports:
            raise NodeRefused(
                f"switch {self._name} has no port {port} (ifName, ifDescr) in its bridge.",
                remedy=f"correct the port in site.yaml; it has {excerpt(', '.join(sorted(self._bridge_ports)))}.",
            )
        return self._bridge_ports[port]

    def _lists(self, rows: Mapping[tuple[int, ...], Any]) -> dict[int, bytes]:
        lists: dict[int, bytes] = {}
        for key, value in rows.items():
            if len(key) != 1 or not hasattr(value, "asOctets"):
                raise self._odd("dot1qVlanStaticTable has rows that are no VLANs")
            lists[key[0]] = bytes(value)
        return lists

    def _vlan(self, value: Any) -> int:
        number = self._number(value)
        if not 1 <= number <= 4094:
            raise self._odd(f"dot1qPvid is {number}")
        return number

    def _number(self, value: Any) -> int:
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise self._odd("a number is missing in BRIDGE-MIB or Q-BRIDGE-MIB") from error

    def _odd(self, why: str) -> NodeGarbled:
        return NodeGarbled(f"switch {self._name}: {why}.", remedy="use the netmiko driver for this switch.")


def open_switch(spec: SwitchSpec, password: str | None) -> SnmpSwitch:
    """The driver ``snmp``; nothing is sent yet.

    :raises SiteError: when options are none that it knows.
    """
    return SnmpSwitch(spec, password or "")


def _agent(spec: SwitchSpec, password: str, where: str) -> Agent:
    options = spec.options
    version = str(options.get("version", "2c")).lower().removeprefix("v")
    auth, privacy = str(options.get("auth", "sha256")), str(options.get("privacy", "aes128"))
    if version not in {"2c", "3"} or auth not in AUTH or privacy not in PRIVACY:
        raise SiteError(
            f"{where}.options: version {version}, auth {auth} or privacy {privacy} is not known.",
            remedy=f"version: 2c or 3; auth: {', '.join(AUTH)}; privacy: {', '.join(PRIVACY)}.",
        )
    if auth == "none" and privacy != "none" and version == "3":
        raise SiteError(f"{where}.options: SNMPv3 has no privacy without auth.", remedy="choose an auth.")
    if not spec.address or (version == "3" and not spec.login.user):
        raise SiteError(f"{where} lacks `address` or, for version 3, `user`.", remedy="give it.")
    variable = options.get("privacy_password_env")
    privacy_password = os.environ.get(str(variable), "") if variable is not None else password
    if not password and not (version == "3" and auth == "none"):
        raise SiteError(f"{where} has no community or password.", remedy="give password_entry or password_env.")
    if version == "3" and any(
        0 < len(secret) < 8 or (not secret and used != "none")
        for secret, used in ((password, auth), (privacy_password, privacy))
    ):
        raise SiteError(
            f"{where}: a password of SNMPv3 is missing or shorter than 8 characters (RFC 3414, 11.2).",
            remedy="correct it where the reference points.",
        )
    return Agent(
        what=f"switch {spec.name} at {spec.address}:{spec.port or 161}",
        host=spec.address,
        port=spec.port or 161,
        version=version,
        user=spec.login.user,
        secret=password,
        auth=auth,
        privacy=privacy,
        privacy_secret=privacy_password,
        timeout_s=spec.login.timeout_s,
    )


def _save(options: Mapping[str, Any], where: str) -> tuple[str, int] | None:
    save = options.get("save")
    if save is None:
        return None
    if (
        not isinstance(save, Mapping)
        or (match := _OID.fullmatch(str(save.get("oid", "")))) is None
        or type(save.get("value")) is not int
    ):
        raise SiteError(
            f"{where}.options.save is not {{oid: …, value: …}}.", remedy="give a numeric OID and an integer."
        )
    return match[1], save["value"]


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace").strip("\0 ") if hasattr(value, "asOctets") else ""
