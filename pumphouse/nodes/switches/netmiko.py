"""Switches by their command line over SSH: netmiko logs in, :mod:`~pumphouse.nodes.switches.platforms` says what
to type.

``site.yaml``: ``driver: netmiko``, ``platform``, ``address``, ``port`` (22), ``user`` and a password by reference, and
``options``:

* ``known_hosts``: file that holds the switch's host key (the user's own ``known_hosts`` unless given), or ``host_key``:
  that key itself (``ssh-ed25519 AAAA…``). ``host_key_check: off`` takes whatever key is shown, and says so each time.
* ``key_file``: private key to log in with (the password is its passphrase then), ``agent: true``: keys of an SSH agent.
* ``old_algorithms: true``: SHA-1 in key exchange and host key, for switches that have nothing better.
* ``enable_password_env``: environment variable with the privileged mode's password; the login's own unless given.
* ``variables``, ``templates``: see :mod:`pumphouse.nodes.switches.platforms`.
"""

from __future__ import annotations

import io
import logging
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import netmiko
import paramiko
from netmiko.exceptions import ConfigInvalidException, ReadException, ReadTimeout

from pumphouse.errors import NodeAuthError, NodeError, NodeGarbled, NodeRefused, NodeUnreachable, SiteError
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.nodes.switches import platforms
from pumphouse.nodes.switches.base import Conversation, GuardedSwitch
from pumphouse.nodes.switches.command_line import FOREIGN, CommandLine
from pumphouse.nodes.switches.platforms import excerpt

log = logging.getLogger(__name__)

#: Not offered unless site.yaml says so: a 2014 switch may have nothing else.
_OLD_ALGORITHMS = {
    "kex": ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
    "keys": ["ssh-rsa"],
    "pubkeys": ["ssh-rsa"],
}

OPTIONS = frozenset(
    {
        "agent",
        "enable_password_env",
        "host_key",
        "host_key_check",
        "key_file",
        "known_hosts",
        "old_algorithms",
        "templates",
        "variables",
    }
)


class NetmikoSwitch(GuardedSwitch):
    """A switch that is typed to."""

    def __init__(self, spec: SwitchSpec, password: str, **clocks: Any) -> None:
        super().__init__(spec, **clocks)
        where = f"switches.{spec.name}"
        unknown = sorted(set(spec.options) - OPTIONS)
        if unknown:
            raise SiteError(
                f"{where}.options has {', '.join(unknown)}.",
                remedy=f"netmiko switches know {', '.join(sorted(OPTIONS))}.",
            )
        if not spec.address or not spec.login.user:
            raise SiteError(f"{where} lacks `address` or `user`.", remedy="give both.")
        self.platform = platforms.load(spec.platform, spec.options, where=where)
        if self.platform.device_type not in netmiko.platforms:
            raise SiteError(
                f"{where}: netmiko has no device type {self.platform.device_type}.",
                remedy="correct it in the template.",
            )
        check = str(spec.options.get("host_key_check", "strict")).lower()
        if check not in {"strict", "off", "true", "false"}:
            raise SiteError(f"{where}.options.host_key_check is neither strict nor off.", remedy="correct it.")
        self._checks_host_key = check in {"strict", "true"}  # YAML 1.1 reads on and off as booleans
        self._host_keys = _host_key_file(spec, where)
        self._password = password
        self._enable_password = _from_environment(spec, where) or password

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.spec.address}:{self.spec.port or 22}"

    def check_name(self, port: str) -> None:
        if not self.platform.is_port(port):
            raise NodeRefused(
                f"switch {self.name}: {excerpt(port, 40)} cannot be a port of platform {self.platform.name}.",
                remedy="correct the port in site.yaml; nothing was sent.",
            )

    @contextmanager
    def converse(self) -> Iterator[Conversation]:
        heard = _Heard()
        sock = self._dial()
        try:
            with self.bounded("logging in", sock, heard):
                connection = self._log_in(sock, heard)
            try:
                yield CommandLine(self, connection, sock, heard)
            finally:
                with self.bounded("logging out", sock, heard, raises=False):
                    connection.disconnect()
        finally:
            sock.close()

    def hide(self, text: str) -> str:
        """A text without our passwords, should a switch repeat one."""
        for secret in filter(None, (self._password, self._enable_password)):
            text = text.replace(secret, "…")
        return text

    def _dial(self) -> socket.socket:
        """Connect, and hear that an SSH server is there, before anything is said to it."""
        limit_s = self.spec.login.timeout_s
        what = f"switch {self.name} at {self.address}"
        try:
            sock = socket.create_connection((self.spec.address, self.spec.port or 22), timeout=limit_s)
        except OSError as error:
            raise NodeUnreachable(
                f"{what} cannot be reached: {error.strerror or error}.",
                remedy="check address, port, routes and firewalls.",
            ) from error
        try:
            banner = _peek(sock, limit_s)
        except OSError as error:
            sock.close()
            raise NodeUnreachable(
                f"{what} accepts connections and then says nothing within {limit_s:g} s.",
                remedy="check that SSH runs there, and that not all of its sessions are taken.",
            ) from error
        if not re.search(rb"^SSH-", banner, re.MULTILINE):
            sock.close()
            if not banner:
                raise NodeUnreachable(
                    f"{what} closes connections at once.", remedy="check its access list and its free sessions."
                )
            raise NodeGarbled(
                f"{what} does not speak SSH: {excerpt(banner.decode('ascii', 'replace'), 60)}.",
                remedy="correct the switch's address or port in site.yaml.",
            )
        return sock

    def _log_in(self, sock: socket.socket, heard: _Heard) -> netmiko.BaseConnection:
        options = self.spec.options
        limit_s = self.spec.login.timeout_s
        key_file = options.get("key_file")
        checked = self._checks_host_key
        _quiet()
        with _known_hosts(self._host_keys, self.spec) as known_hosts:
            connection: netmiko.BaseConnection = netmiko.ConnectHandler(
                device_type=self.platform.device_type,
                host=self.spec.address,
                port=self.spec.port or 22,
                username=self.spec.login.user,
                password=None if key_file or options.get("agent") else self._password,
                passphrase=(self._password or None) if key_file else None,
                key_file=str(Path(str(key_file)).expanduser()) if key_file else None,
                use_keys=bool(key_file),
                allow_agent=bool(options.get("agent")),
                secret=self._enable_password,
                sock=sock,
                disabled_algorithms=None if options.get("old_algorithms") else _OLD_ALGORITHMS,
                ssh_strict=checked,
                system_host_keys=checked and known_hosts is None,
                alt_host_keys=known_hosts is not None,
                alt_key_file=known_hosts or "",
                conn_timeout=limit_s,
                banner_timeout=limit_s,
                auth_timeout=limit_s,
                blocking_timeout=limit_s,
                read_timeout_override=limit_s,
                session_log=heard,
            )
        if not checked:
            client: Any = connection.remote_conn_pre
            shown = client.get_transport().get_remote_server_key()
            log.warning(
                "switch %s at %s: its host key %s %s was taken without a check (options.host_key_check is off)",
                self.name, self.address, shown.get_name(), shown.fingerprint,
            )  # fmt: skip
        if self.platform.enable and not connection.check_enable_mode():
            try:
                connection.enable()
            except FOREIGN as error:
                connection.disconnect()
                raise NodeAuthError(
                    f"switch {self.name} at {self.address} refuses the privileged mode to {self.spec.login.user}.",
                    remedy="give the password of `enable` by options.enable_password_env.",
                ) from error
        return connection

    @contextmanager
    def bounded(self, doing: str, sock: socket.socket, heard: _Heard, *, raises: bool = True) -> Iterator[None]:
        """Cut the connection when the time is over, and say what went wrong in our own words."""
        late = threading.Event()
        before = heard.count

        def cut() -> None:
            late.set()
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.spec.login.timeout_s, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except NodeError:
            if raises:
                raise
        except FOREIGN as error:
            if raises:
                # a library's error may quote what the switch said, and that what we did
                cause = error if self.hide(str(error)) == str(error) else None
                raise self._translated(error, doing, late=late.is_set(), spoke=heard.count > before) from cause
        finally:
            timer.cancel()

    def _translated(self, error: Exception, doing: str, *, late: bool, spoke: bool) -> NodeError:
        what = f"switch {self.name} at {self.address}"
        origin = error.__context__ if isinstance(error.__context__, paramiko.SSHException) else error
        if isinstance(origin, paramiko.BadHostKeyException) or "not found in known_hosts" in str(origin):
            known = isinstance(origin, paramiko.BadHostKeyException)
            shown = getattr(origin, "key", None)
            shows = f" {shown.get_name()} {shown.fingerprint}" if shown is not None else ""
            return NodeAuthError(
                f"{what} shows a host key{shows} that is {'not the known one' if known else 'not known'}; "
                "nothing was said to it.",
                remedy="compare what ssh-keyscan shows with the switch's own key; put it into known_hosts or host_key.",
            )
        if isinstance(origin, paramiko.AuthenticationException) and "timeout" not in str(origin).lower():
            return NodeAuthError(
                f"{what} refuses the login of {self.spec.login.user}.",
                remedy="check user, password reference and key in site.yaml.",
            )
        if isinstance(origin, paramiko.IncompatiblePeer):
            return NodeGarbled(
                f"{what} offers only SSH algorithms that are no longer safe: {excerpt(str(origin))}.",
                remedy="allow current ones on the switch; else set options.old_algorithms, or use the snmp driver.",
            )
        if isinstance(error, ConfigInvalidException):
            return NodeRefused(f"{what} refuses a change: {excerpt(self.hide(str(error)))}.", remedy="see its answer.")
        if "Commit failed" in str(error):
            return NodeRefused(
                f"{what} refuses to commit: {excerpt(self.hide(str(error)), 300)}.",
                remedy="see its answer; the change was taken back.",
            )
        if spoke and isinstance(error, ReadTimeout | ValueError) and not isinstance(error, UnicodeError):
            return NodeGarbled(
                f"{what}, while {doing}: no answer of platform {self.platform.name} came within "
                f"{self.spec.login.timeout_s:g} s.",
                remedy="check `platform` in site.yaml; raise timeout_s if the switch is slow.",
            )
        why = f"within {self.spec.login.timeout_s:g} s" if late or isinstance(error, ReadException) else "any more"
        return NodeUnreachable(
            f"{what}, while {doing}: it does not answer {why}.", remedy="check it and the way to it."
        )


class _Heard(io.BufferedIOBase):
    """Counts what a switch says; keeps nothing."""

    count = 0

    def write(self, data: Any) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""


def open_switch(spec: SwitchSpec, password: str | None) -> NetmikoSwitch:
    """The driver ``netmiko``; nothing is sent yet.

    :raises SiteError: when platform or options are none that it knows.
    """
    return NetmikoSwitch(spec, password or "")


def _quiet() -> None:
    """Keep paramiko's tracebacks out of notebooks whose process logs nowhere; its errors reach us as exceptions."""
    foreign = logging.getLogger("paramiko")
    if not foreign.handlers:
        foreign.addHandler(logging.NullHandler())


def _peek(sock: socket.socket, limit_s: float) -> bytes:
    """What the server says first, left in the socket. Lines may come before the banner (RFC 4253, 4.2)."""
    end = time.monotonic() + limit_s
    seen = b""
    while (left_s := end - time.monotonic()) > 0:
        sock.settimeout(left_s)
        now = sock.recv(4096, socket.MSG_PEEK)
        if not now or re.search(rb"^SSH-[^\n]*\n", now, re.MULTILINE) or len(now) == 4096:
            return now
        if now == seen:
            time.sleep(0.01)
        seen = now
    if not seen:
        raise TimeoutError
    return seen


def _from_environment(spec: SwitchSpec, where: str) -> str:
    variable = spec.options.get("enable_password_env")
    if variable is None:
        return ""
    value = os.environ.get(str(variable), "")
    if not value:
        raise SiteError(f"{where}.options.enable_password_env: {variable} is not set.", remedy="set it.")
    return value


def _host_key_file(spec: SwitchSpec, where: str) -> str | None:
    """The known_hosts to use: a file's path, ``""`` for the pinned key, None for the user's own."""
    options = spec.options
    if "host_key" in options:
        words = str(options["host_key"]).split()
        if len(words) < 2 or "known_hosts" in options or not str(options["host_key"]).isprintable():
            raise SiteError(
                f"{where}.options.host_key is not `TYPE KEY`, or known_hosts is given, too.", remedy="keep one of them."
            )
        return ""
    if "known_hosts" in options:
        file = Path(str(options["known_hosts"])).expanduser()
        if not file.is_file():
            raise SiteError(f"{where}.options.known_hosts: there is no file {file}.", remedy="correct the path.")
        return str(file)
    return None


@contextmanager
def _known_hosts(file: str | None, spec: SwitchSpec) -> Iterator[str | None]:
    """A path for netmiko, which takes known keys from files only."""
    if file != "":
        yield file
        return
    kind, key = str(spec.options["host_key"]).split()[:2]
    host = spec.address if spec.port in {0, 22} else f"[{spec.address}]:{spec.port}"
    with tempfile.TemporaryDirectory(prefix="pumphouse-") as folder:
        path = Path(folder) / "known_hosts"
        path.write_text(f"{host} {kind} {key}\n", encoding="ascii")
        yield str(path)
