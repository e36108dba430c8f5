"""A shell on a Linux switch whose ``ovs-vsctl`` shows and sets the fleet's ports, and whose ``ovs-appctl`` tells who is
heard there (ovs-vsctl(8), ovs-vswitchd(8), wordings of 3.1).
"""

from __future__ import annotations

import re
import shlex

from pumphouse.lab.hardware.fleet import Fleet, Port

_COLUMNS = ("name", "tag", "trunks", "vlan_mode")
_BRIDGE = "br0"


class ShellLine:
    """One session: ``answer`` takes a typed line and gives what the shell prints, ``status`` how it ended."""

    echo = True

    def __init__(self, fleet: Fleet, user: str, name: str) -> None:
        self._fleet = fleet
        self.prompt = f"{user}@{name}:~$ "
        self.over = False
        self.status = 0

    def answer(self, typed: str) -> str:
        """Carry out a line: commands between ``;`` and ``&&``, with what those in ``$(…)`` print."""
        typed = re.sub(r"\$\(([^()]*)\)", lambda inner: self.answer(inner[1]).strip(), typed)
        try:
            lexer = shlex.shlex(typed, posix=True, punctuation_chars=";&")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            self.status = 2
            return "-bash: unexpected EOF while looking for matching quote\n"
        printed = ""
        command: list[str] = []
        goes_on = True
        for word in [*words, ";"]:
            if word in {";", "&&"}:
                printed += self._run(command) if command and goes_on else ""
                goes_on = word == ";" or self.status == 0
                command = []
            else:
                command.append(word.replace("$?", "\0"))
        return printed

    def _run(self, words: list[str]) -> str:
        words = [word.replace("\0", str(self.status)) for word in words]
        if words[0] == "exit":
            self.over = True
            return "logout\n"
        if words[0] == "echo":
            self.status = 0
            return " ".join(words[1:]) + "\n"
        if words[0] == "ovs-vsctl":
            return self._vsctl(words[1:])
        if words[0] == "ovs-appctl":
            return self._appctl([word for word in words[1:] if not word.startswith("--")])
        self.status = 127
        return f"-bash: {words[0]}: command not found\n"

    def _vsctl(self, words: list[str]) -> str:
        options = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
        rest = [word for word in words if not word.startswith("--")]
        strange = sorted(set(options) - {"--timeout", "--no-headings", "--format", "--columns"})
        if strange:
            return self._fails(f"unrecognized option '{strange[0]}'")
        if rest[:1] == ["port-to-br"] and len(rest) == 2:
            self.status = 0
            return f"{_BRIDGE}\n" if rest[1] in self._fleet.ports else self._fails(f"no port named {rest[1]}")
        if rest[:2] == ["get", "interface"] and rest[3:] == ["ofport"]:
            if rest[2] not in self._fleet.ports:
                return self._fails(f'no row "{rest[2]}" in table Interface')
            self.status = 0
            return f"{self._number(rest[2])}\n"
        if len(rest) < 3 or rest[1].lower() != "port" or rest[0] not in {"list", "set"}:
            return self._fails(f"unknown command '{' '.join(rest)}'; use --help for help")
        port = self._fleet.ports.get(rest[2])
        if port is None:
            return self._fails(f'no row "{rest[2]}" in table Port')
        if rest[0] == "set":
            return self._set(port, rest[3:])
        if options.get("--format") != "csv" or "--no-headings" not in options:
            return self._fails("this switch prints csv without headings only")
        self.status = 0
        shown = _row(port)
        return ",".join(shown[column] for column in options.get("--columns", ",".join(_COLUMNS)).split(",")) + "\n"

    def _number(self, port: str) -> int:
        return list(self._fleet.ports).index(port) + 1

    def _appctl(self, words: list[str]) -> str:
        if words != ["fdb/show", _BRIDGE]:
            self.status = 2
            return "no such bridge\novs-appctl: ovs-vswitchd: server returned an error\n"
        self.status = 0
        rows = [
            f"{self._number(port):>5}  {vlan:>4}  {mac}    1\n"
            for port, speakers in self._fleet.heard().items()
            for vlan, mac in speakers
        ]
        return " port  VLAN  MAC                Age\n" + "".join(rows)

    def _set(self, port: Port, settings: list[str]) -> str:
        for setting in settings:
            key, _, value = setting.partition("=")
            if key != "tag" or not value.isdigit():
                return self._fails(f'Port does not contain a column whose name matches "{key}"')
            if not 0 <= int(value) <= 4095:
                return self._fails(f"constraint violation: {value} is not in the valid range 0 to 4,095 (inclusive)")
        for setting in settings:
            vlan = int(setting.partition("=")[2])
            # Open vSwitch has no list of VLANs: any tag will do
            self._fleet.vlans.setdefault(vlan, f"vlan{vlan}")
            self._fleet.set_vlan(port.name, vlan)
        self.status = 0
        return ""

    def _fails(self, message: str) -> str:
        self.status = 1
        return f"ovs-vsctl: {message}\n"


def _row(port: Port) -> dict[str, str]:
    tagged = ", ".join(map(str, sorted(port.tagged)))
    return {
        "name": port.name,
        "tag": str(port.vlan),
        "trunks": f'"[{tagged}]"' if port.tagged else "[]",
        "vlan_mode": "native-untagged" if port.tagged else "[]",
    }
