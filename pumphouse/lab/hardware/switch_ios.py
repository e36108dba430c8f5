"""Cisco IOS's command line, as far as ports and their VLANs go (wordings: Cisco's command references)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from pumphouse.lab.hardware.fleet import Fleet, Port

_INVALID = "{spaces}^\n% Invalid input detected at '^' marker.\n\n"
_TRIES = 3


class IosLine:
    """One session: ``answer`` takes a typed line and gives what the switch prints, ``prompt`` what comes then."""

    def __init__(
        self, fleet: Fleet, name: str, enable_password: str, saved: dict[str, int], *, privileged: bool = False
    ) -> None:
        self._fleet = fleet
        self._name = name
        self._enable_password = enable_password
        self._saved = saved
        self._mode = "exec" if privileged else "user"
        self._interface: Port | None = None
        self._asked = 0
        self.over = False
        self.status = 0

    @property
    def echo(self) -> bool:
        """Whether the terminal shows what is typed: not while a password is."""
        return self._mode != "password"

    @property
    def prompt(self) -> str:
        """What the switch prints when it waits."""
        tails = {"user": ">", "exec": "#", "config": "(config)#", "interface": "(config-if)#"}
        return "Password: " if self._mode == "password" else f"{self._name}{tails[self._mode]}"

    def answer(self, typed: str) -> str:
        """Carry out a line."""
        if self._mode == "password":
            return self._password(typed)
        words = typed.split()
        if not words or words[0].startswith("!"):
            return ""
        for pattern, modes, call in self._commands():
            rest = _match(pattern, words)
            if rest is None or self._mode not in modes:
                continue
            return call(" ".join(rest)) if rest or not pattern.endswith("*") else "% Incomplete command.\n\n"
        return _INVALID.format(spaces=" " * len(self.prompt))

    def _commands(self) -> tuple[tuple[str, tuple[str, ...], Callable[[str], str]], ...]:
        both, any_mode = ("user", "exec"), ("user", "exec", "config", "interface")
        config = ("config", "interface")
        return (
            ("terminal length *", both, lambda _: ""),
            ("terminal width *", both, lambda _: ""),
            ("enable", both, self._enable),
            ("show interfaces *", both, self._show_interface),
            ("show vlan id *", both, self._show_vlan),
            ("show mac address-table interface *", both, self._show_macs),
            ("configure terminal", ("exec",), self._configure),
            ("write memory", ("exec",), self._write),
            ("interface *", config, self._choose),
            ("switchport access vlan *", ("interface",), self._set_vlan),
            ("end", config, lambda _: self._to("exec")),
            ("exit", any_mode, self._exit),
        )

    def _to(self, mode: str) -> str:
        self._mode = mode
        return ""

    def _enable(self, _: str) -> str:
        self._asked = 0
        return "" if self._mode == "exec" else self._to("password")

    def _password(self, typed: str) -> str:
        if hmac.compare_digest(typed.encode(), self._enable_password.encode()):
            return "\n" + self._to("exec")
        self._asked += 1
        if self._asked < _TRIES:
            return "\n"
        return "\n% Bad secrets\n\n" + self._to("user")

    def _configure(self, _: str) -> str:
        self._mode = "config"
        return "Enter configuration commands, one per line.  End with CNTL/Z.\n"

    def _exit(self, _: str) -> str:
        self._interface = None
        back = {"interface": "config", "config": "exec"}
        if self._mode in back:
            return self._to(back[self._mode])
        self.over = True
        return ""

    def _write(self, _: str) -> str:
        self._saved.update({port.name: port.vlan for port in self._fleet.ports.values()})
        return "Building configuration...\n[OK]\n"

    def _choose(self, typed: str) -> str:
        self._interface = self._find(typed)
        if self._interface is None:
            return _INVALID.format(spaces=" " * (len(self.prompt) + len("interface ")))
        return self._to("interface")

    def _set_vlan(self, typed: str) -> str:
        if self._interface is None or not typed.isdigit() or not 1 <= int(typed) <= 4094:
            return _INVALID.format(spaces=" " * len(self.prompt))
        vlan, said = int(typed), ""
        if vlan not in self._fleet.vlans:
            said = f"% Access VLAN does not exist. Creating vlan {vlan}\n"
            self._fleet.vlans[vlan] = f"VLAN{vlan:04d}"
        self._fleet.set_vlan(self._interface.name, vlan)
        return said

    def _show_vlan(self, typed: str) -> str:
        if not typed.isdigit():
            return _INVALID.format(spaces=" " * (len(self.prompt) + len("show vlan id ")))
        name = self._fleet.vlans.get(int(typed))
        if name is None:
            return f"VLAN id {typed} not found in current VLAN database\n"
        ports = ", ".join(sorted(p.name for p in self._fleet.ports.values() if p.vlan == int(typed)))
        return (
            "\nVLAN Name                             Status    Ports\n"
            "---- -------------------------------- --------- -------------------------------\n"
            f"{typed:<4} {name:<32} active    {ports}\n\n"
        )

    def _show_macs(self, typed: str) -> str:
        port = self._find(typed)
        if port is None:
            return _INVALID.format(spaces=" " * (len(self.prompt) + len("show mac address-table interface ")))
        heard = sorted(self._fleet.heard()[port.name])
        rows = [f"{vlan:>4}    {_dotted(mac)}    DYNAMIC     {_short(port.name)}\n" for vlan, mac in heard]
        return (
            "          Mac Address Table\n-------------------------------------------\n\n"
            "Vlan    Mac Address       Type        Ports\n----    -----------       --------    -----\n"
            + "".join(rows)
            + (f"Total Mac Addresses for this criterion: {len(rows)}\n" if rows else "")
        )

    def _show_interface(self, typed: str) -> str:
        name, _, what = typed.rpartition(" ")
        port = self._find(name)
        if port is None or not "switchport".startswith(what):
            return _INVALID.format(spaces=" " * (len(self.prompt) + len("show interfaces ")))
        trunk = bool(port.tagged)
        mode = "trunk" if trunk else "static access"
        access, native = (1, port.vlan) if trunk else (port.vlan, 1)
        lines = (
            f"Name: {_short(port.name)}",
            "Switchport: Enabled",
            f"Administrative Mode: {mode}",
            f"Operational Mode: {mode}",
            "Administrative Trunking Encapsulation: dot1q",
            f"Operational Trunking Encapsulation: {'dot1q' if trunk else 'native'}",
            "Negotiation of Trunking: Off",
            f"Access Mode VLAN: {access} ({self._vlan_name(access)})",
            f"Trunking Native Mode VLAN: {native} ({self._vlan_name(native)})",
            "Administrative Native VLAN tagging: enabled",
            "Voice VLAN: none",
            "Operational private-vlan: none",
            f"Trunking VLANs Enabled: {','.join(map(str, sorted(port.tagged))) if trunk else 'ALL'}",
            "Pruning VLANs Enabled: 2-1001",
            "Capture Mode Disabled",
            "Capture VLANs Allowed: ALL",
            "",
            "Protected: false",
            "Unknown unicast blocked: disabled",
            "Unknown multicast blocked: disabled",
            "Appliance trust: none",
        )
        return "\n".join(lines) + "\n"

    def _vlan_name(self, vlan: int) -> str:
        return "default" if vlan == 1 else self._fleet.vlans.get(vlan, "Inactive")

    def _find(self, typed: str) -> Port | None:
        """A port by its name or an abbreviation of it."""
        wanted = _parts(typed)
        for port in self._fleet.ports.values():
            kind, number = _parts(port.name)
            short, long = sorted((kind, wanted[0]), key=len)
            if number == wanted[1] and short and long.startswith(short):
                return port
        return None


def _match(pattern: str, words: list[str]) -> list[str] | None:
    """The words that stand for ``*`` when a line is this command, abbreviated as IOS lets one; else None."""
    expected = pattern.split()
    fixed = [word for word in expected if word != "*"]
    if len(words) < len(fixed) or (len(words) > len(fixed) and expected[-1] != "*"):
        return None
    if not all(word.startswith(typed.lower()) for word, typed in zip(fixed, words, strict=False)):
        return None
    return words[len(fixed) :]


def _parts(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z-]*)\s*([\d/.]*)", name.strip())
    return (match[1].lower(), match[2]) if match else ("", name)


def _short(name: str) -> str:
    """The name as IOS shows it: two letters and the number."""
    match = re.fullmatch(r"([A-Za-z-]+)\s*([\d/.]+)", name)
    return f"{match[1][:2]}{match[2]}" if match else name


def _dotted(mac: str) -> str:
    digits = mac.replace(":", "")
    return ".".join(digits[at : at + 4] for at in (0, 4, 8))
