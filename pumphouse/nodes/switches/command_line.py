"""A conversation with a switch on its command line: what a platform's data says is typed, and each answer judged."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import netmiko
import paramiko
from netmiko.exceptions import ConfigInvalidException, NetmikoBaseException

from pumphouse.errors import NodeError, NodeGarbled, NodeRefused
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.switches import platforms
from pumphouse.nodes.switches.platforms import Platform, excerpt

if TYPE_CHECKING:
    from pumphouse.nodes.switches.netmiko import NetmikoSwitch

#: What netmiko, paramiko and sockets raise.
FOREIGN = (NetmikoBaseException, paramiko.SSHException, OSError, EOFError, ValueError)
_STATUS = "pumphouse-status"


class CommandLine:
    """A :class:`~pumphouse.nodes.switches.base.Conversation` on a command line."""

    def __init__(
        self, switch: NetmikoSwitch, connection: netmiko.BaseConnection, sock: socket.socket, heard: Any
    ) -> None:
        self._switch = switch
        self._platform: Platform = switch.platform
        self._connection = connection
        self._sock = sock
        self._heard = heard

    def read(self, port: str) -> PortState:
        answer, status = self._ask(platforms.fill(self._platform.read_command, port=port), f"reading port {port}")
        where = f"switch {self._switch.name}: port {port}"
        if _matches(self._platform.missing, answer):
            raise NodeRefused(
                f"{where} is none that the switch has, or none that it switches: {self._excerpt(answer)}.",
                remedy="correct the port in site.yaml.",
            )
        self._check(answer, status, where)
        try:
            return self._platform.parse(port, answer)
        except NodeGarbled as error:
            raise NodeGarbled(
                self._switch.hide(f"switch {self._switch.name}: {error.message}"), remedy=error.remedy
            ) from None  # what is hidden here would be quoted there

    def heard(self, port: str) -> LearnedMacs:
        self.read(port)
        platform = self._platform
        if not platform.heard_command:
            return LearnedMacs(
                port, untold=f"platform {platform.name} has no command that tells who is heard at a port"
            )
        command = platforms.fill(platform.heard_command, port=port)
        answer, status = self._ask(command, f"asking who is heard at port {port}")
        if status not in {None, 0} or _matches(platform.refused + platform.missing, answer):
            return LearnedMacs(port, untold=f"the switch does not tell: {self._excerpt(answer)}")
        return platform.parse_heard(port, self._switch.hide(answer))

    def move(self, before: PortState, vlan: int) -> None:
        platform = self._platform
        if platform.check_command:
            answer, status = self._ask(platforms.fill(platform.check_command, vlan=vlan), f"looking for VLAN {vlan}")
            if _matches(platform.no_vlan, answer):
                raise NodeRefused(
                    f"switch {self._switch.name} has no VLAN {vlan}; port {before.port} stays in {before.vlan}.",
                    remedy="create it on the switch, with the uplinks that it needs.",
                )
            self._check(answer, status, f"switch {self._switch.name}: VLAN {vlan}")

        def filled(commands: tuple[str, ...]) -> list[str]:
            return [platforms.fill(command, port=before.port, vlan=vlan, old=before.vlan) for command in commands]

        doing = f"putting port {before.port} into VLAN {vlan}"
        change = self._in_shell if platform.shell else self._configure
        change(filled(platform.set_commands), filled(platform.abandon), doing)

    def save(self) -> None:
        if not self._platform.save_command:
            return
        answer, status = self._ask(self._platform.save_command, "saving")
        refused = _matches(self._platform.refused, answer) or status not in {None, 0}
        if refused or (self._platform.saved and not _matches((self._platform.saved,), answer)):
            raise NodeRefused(
                f"switch {self._switch.name} did not save its configuration ({self._excerpt(answer)}): the port is in "
                "its VLAN, and falls back when the switch restarts.",
                remedy="save it on the switch, or repeat this step.",
            )

    def _in_shell(self, commands: list[str], abandon: list[str], doing: str) -> None:
        try:
            for command in commands:
                answer, status = self._ask(command, doing)
                self._check(answer, status, f"switch {self._switch.name}")
        except NodeRefused:
            with suppress(NodeError):
                for command in abandon:
                    self._ask(command, "taking the change back")
            raise

    def _configure(self, commands: list[str], abandon: list[str], doing: str) -> None:
        connection, platform = self._connection, self._platform
        refused = "|".join(f"(?:{pattern})" for pattern in platform.refused)
        with self._timed(doing):
            try:
                if platform.enter:
                    # netmiko waits for the words of success, and would not see a refusal
                    entered = str(connection.send_command(platform.enter, expect_string=r"[>#]\s*$"))
                    self._check(entered, None, f"switch {self._switch.name}")
                else:
                    connection.config_mode()
                connection.send_config_set(
                    commands, enter_config_mode=False, exit_config_mode=False, error_pattern=refused
                )
                if platform.commit:
                    connection.commit()
            except (NodeRefused, ConfigInvalidException, ValueError):
                with suppress(*FOREIGN):
                    connection.send_config_set(abandon, enter_config_mode=False, exit_config_mode=False)
                    connection.exit_config_mode()
                raise
            connection.exit_config_mode()

    def _ask(self, command: str, doing: str) -> tuple[str, int | None]:
        """A command's answer, and its exit status where it ran in a shell."""
        if self._platform.shell:
            command += f'; echo "{_STATUS} $?"'
        with self._timed(doing):
            answer = str(self._connection.send_command(command, strip_prompt=True, strip_command=True))
        if not self._platform.shell:
            return answer, None
        text, found, status = answer.rpartition(f"{_STATUS} ")
        number = re.match(r"\d{1,3}\b", status)
        if not found or number is None:
            raise NodeGarbled(
                f"switch {self._switch.name}, while {doing}: no shell answers there, but {self._excerpt(answer)}.",
                remedy="check `platform` in site.yaml, and what shell the user gets.",
            )
        return text, int(number[0])

    def _check(self, answer: str, status: int | None, where: str) -> None:
        if status not in {None, 0} or _matches(self._platform.refused, answer):
            ended = f" (status {status})" if status else ""
            raise NodeRefused(f"{where}: the switch says no{ended}: {self._excerpt(answer)}.", remedy="see its answer.")

    def _excerpt(self, answer: str) -> str:
        return excerpt(self._switch.hide(answer))

    @contextmanager
    def _timed(self, doing: str) -> Iterator[None]:
        with self._switch.bounded(doing, self._sock, self._heard):
            yield


def _matches(patterns: tuple[str, ...], answer: str) -> bool:
    return any(re.search(pattern, answer, re.MULTILINE) for pattern in patterns)
