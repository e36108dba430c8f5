"""The lab's switch over SSH: the fleet's ports behind a command line, either Cisco IOS's or a shell with ovs-vsctl."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import asyncssh
from asyncssh.editor import SSHLineEditorChannel

from pumphouse.lab.hardware.fleet import Fleet
from pumphouse.lab.hardware.switch_ios import IosLine
from pumphouse.lab.hardware.switch_shell import ShellLine

Style = Literal["ios", "shell"]


class Line(Protocol):
    """One session on a command line."""

    over: bool
    status: int

    @property
    def prompt(self) -> str:
        """What is printed when it waits."""

    @property
    def echo(self) -> bool:
        """Whether the terminal shows what is typed."""

    def answer(self, typed: str) -> str:
        """Carry out a typed line; what is printed then."""


@dataclass
class SshSwitch:
    """A switch that listens. ``host_key`` is its public key as in ``known_hosts`` (type and key).

    ``saved`` is what a restart of the switch would bring back: VLANs by port, as they were when last saved.
    """

    port: int
    host_key: str
    saved: dict[str, int] = field(default_factory=dict)
    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    _acceptor: asyncssh.SSHAcceptor | None = None

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        for connection in list(self.connections):
            connection.abort()
            await connection.wait_closed()


class _Server(asyncssh.SSHServer):
    def __init__(self, switch: SshSwitch, user: str, password: str) -> None:
        self._switch = switch
        self._user = user
        self._password = password
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._switch.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._switch.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        same = hmac.compare_digest(password.encode(), self._password.encode())
        return username == self._user and same


async def start_ssh(
    fleet: Fleet,
    user: str,
    password: str,
    *,
    style: Style = "ios",
    enable_password: str = "",
    privileged: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
    name: str = "switch",
) -> SshSwitch:
    """Start a switch's SSH server in this event loop.

    :param style: ``ios`` for Cisco IOS's command line, ``shell`` for a shell whose ``ovs-vsctl`` shows the ports.
    :param enable_password: what IOS's ``enable`` asks for; empty: the login's password.
    :param privileged: a login is in the privileged mode at once.
    :param port: TCP port; 0 for a free one, which the handle tells.
    """
    saved = {port.name: port.vlan for port in fleet.ports.values()}

    def line() -> Line:
        if style == "ios":
            return IosLine(fleet, name, enable_password or password, saved, privileged=privileged)
        return ShellLine(fleet, user, name)

    switch = await serve(line, user, password, host=host, port=port)
    switch.saved = saved
    return switch


async def serve(
    line: Callable[[], Line],
    user: str,
    password: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    kex_algs: Sequence[str] = (),
) -> SshSwitch:
    """Start an SSH server whose sessions are what ``line`` makes.

    :param kex_algs: the only key exchanges that it knows, as old switches have them; asyncssh's own unless given.
    """
    key = asyncssh.generate_private_key("ssh-ed25519")
    switch = SshSwitch(0, " ".join(key.export_public_key().decode("ascii").split()[:2]))

    async def session(process: asyncssh.SSHServerProcess[str]) -> None:
        try:
            await _talk(process, line())
        except (asyncssh.Error, OSError):
            return  # the other side hung up

    switch._acceptor = await asyncssh.create_server(
        lambda: _Server(switch, user, password),
        host,
        port,
        server_host_keys=[key],
        process_factory=session,
        reuse_address=True,
        kex_algs=kex_algs,
    )
    switch.port = switch._acceptor.get_port()
    return switch


async def _talk(process: asyncssh.SSHServerProcess[str], line: Line) -> None:
    if process.command is not None:
        text, status = line.answer(process.command), line.status
        process.stdout.write(text)
        process.exit(status)
        return
    process.stdout.write(line.prompt)
    while not line.over:
        try:
            typed = await process.stdin.readline()
        except asyncssh.BreakReceived:
            process.stdout.write("^C\n" + line.prompt)
            continue
        except asyncssh.TerminalSizeChanged:
            continue
        if not typed:
            break
        process.stdout.write(line.answer(typed.rstrip("\r\n")))
        if not line.over:
            if isinstance(process.channel, SSHLineEditorChannel):
                process.channel.set_echo(line.echo)
            process.stdout.write(line.prompt)
    process.exit(0)
