"""A switch platform as data: which commands read, set and save a port's VLAN, and how to read the answers.

Our own are the files in ``templates/``; another platform is another file, named in ``site.yaml`` by
``options.templates``. ``README`` of the format: :data:`SCHEMA`. ``{port}``, ``{vlan}``, ``{old}`` (the VLAN left) and
the file's ``variables`` are filled in; TextFSM's values are ``PORT``, ``VLAN``, ``MODE`` and ``OPERATIONAL`` (scalars)
and ``TAGGED`` (scalar or list of numbers, ranges, ``all``), and where a trunk's are shown otherwise ``NATIVE`` and
``CARRIED`` in place of ``VLAN`` and ``TAGGED``; only ``VLAN`` is needed. Who is heard at a port is ``MAC``, one a row;
rows of another ``PORT`` are left out, and so are those whose ``AT`` is not the ``NUMBER`` of the port.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import textfsm
import yaml

from pumphouse.errors import NodeGarbled, SiteError
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.spec import is_same_port
from pumphouse.schemas import jsonschema

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_VALUES = {"PORT", "VLAN", "MODE", "OPERATIONAL", "TAGGED", "NATIVE", "CARRIED"}
_HEARD = {"MAC", "PORT", "NUMBER", "AT"}
#: More than any switch says of one port.
_MOST = 100_000
_PLACEHOLDER = re.compile(r"\{(\w+)\}")

#: JSON schema of a platform's file. Patterns are searched in a whole answer, ``^`` and ``$`` match at its lines.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "about", "device_type", "ports", "read", "set"],
    "properties": {
        "schema": {"const": 1},
        "about": _TEXT,
        # netmiko's name of the platform: how to log in, find the prompt and enter configuration
        "device_type": _TEXT,
        # pattern that the whole of a port's name must match; what it lets through reaches a command line
        "ports": _TEXT,
        # whether reading and setting need the privileged mode
        "enable": {"type": "boolean"},
        # whether commands go to a Unix shell, which is then asked for each one's exit status
        "shell": {"type": "boolean"},
        # parts of commands that options.variables may replace
        "variables": {"type": "object", "additionalProperties": _TEXT},
        # an answer with one of these is a refusal
        "refused": _TEXTS,
        "read": {
            "type": "object",
            "additionalProperties": False,
            "required": ["command", "textfsm"],
            "properties": {
                "command": _TEXT,
                # an answer with one of these: no such port, or none that is switched
                "missing": _TEXTS,
                "textfsm": _TEXT,
                # MODE and OPERATIONAL that match it are an access port's; others are a trunk's
                "access": _TEXT,
            },
        },
        # who is heard at a port; without it, the platform cannot tell
        "heard": {
            "type": "object",
            "additionalProperties": False,
            "required": ["command", "textfsm"],
            # `header`: what the answer shows also where nobody is heard
            "properties": {"command": _TEXT, "textfsm": _TEXT, "header": _TEXT},
        },
        "check": {
            "type": "object",
            "additionalProperties": False,
            "required": ["command", "missing"],
            # asked before a change: an answer with one of `missing` says that the switch has no such VLAN
            "properties": {"command": _TEXT, "missing": _TEXTS},
        },
        "set": {
            "type": "object",
            "additionalProperties": False,
            "required": ["commands"],
            "properties": {
                "commands": {**_TEXTS, "minItems": 1},
                # command that enters configuration mode, where netmiko's own will not do
                "enter": _TEXT,
                # commands are a candidate that only netmiko's commit makes true
                "commit": {"type": "boolean"},
                # what takes the change back when one of its commands, or its commit, fails
                "abandon": _TEXTS,
            },
        },
        "save": {
            "type": "object",
            "additionalProperties": False,
            "required": ["command"],
            # `saved`: what the answer must show
            "properties": {"command": _TEXT, "saved": _TEXT},
        },
    },
}


@dataclass(frozen=True)
class Platform:
    """A platform's file, checked; :data:`SCHEMA` says what each part means."""

    name: str
    device_type: str
    port_pattern: str
    read_command: str
    textfsm: str
    set_commands: tuple[str, ...]
    access: str = ""
    enable: bool = False
    shell: bool = False
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    check_command: str = ""
    no_vlan: tuple[str, ...] = ()
    enter: str = ""
    commit: bool = False
    abandon: tuple[str, ...] = ()
    save_command: str = ""
    saved: str = ""
    heard_command: str = ""
    heard_textfsm: str = ""
    heard_header: str = ""

    def is_port(self, name: str) -> bool:
        """Whether that can be a port's name here, and so is safe in a command."""
        return re.fullmatch(self.port_pattern, name) is not None

    def parse(self, port: str, answer: str) -> PortState:
        """What the answer to ``read_command`` says of that port.

        :raises NodeGarbled: when it says nothing, or something else, or of another port; for any text whatever.
        """
        if len(answer) > _MOST:
            raise self._garbled(port, answer)
        table = textfsm.TextFSM(io.StringIO(self.textfsm))
        try:
            rows = [dict(zip(table.header, row, strict=True)) for row in table.ParseText(answer)]
        except (textfsm.TextFSMError, textfsm.TextFSMTemplateError) as error:
            raise self._garbled(port, answer) from error
        rows = [row for row in rows if row["VLAN"] or row.get("PORT") or row.get("TAGGED")]
        if len(rows) != 1 or not is_same_port(port, rows[0].get("PORT") or port):
            raise self._garbled(port, answer)
        row = rows[0]
        modes = [row[key] for key in ("MODE", "OPERATIONAL") if key in table.header]
        is_access = all(re.fullmatch(self.access, mode) for mode in modes) if self.access else True
        own, carried = "VLAN", "TAGGED"
        if not is_access and "NATIVE" in table.header:
            own, carried = "NATIVE", "CARRIED"
        try:
            vlan = _number(row[own]) if row[own] else 0
            tagged, all_vlans = _tagged(row.get(carried) or [])
        except ValueError as error:
            raise self._garbled(port, answer) from error
        others = tuple(one for one in tagged if one != vlan)
        return PortState(port, vlan, others, trunk=all_vlans or not is_access)

    def parse_heard(self, port: str, answer: str) -> LearnedMacs:
        """Who the answer to ``heard_command`` says is heard there; what is no such answer cannot tell, for any text."""
        table = textfsm.TextFSM(io.StringIO(self.heard_textfsm))
        untold = f"what it shows is none of platform {self.name}'s tables of addresses: {excerpt(answer)}"
        if len(answer) > _MOST or not re.search(self.heard_header, answer, re.MULTILINE):
            return LearnedMacs(port, untold=untold)
        try:
            rows = [dict(zip(table.header, row, strict=True)) for row in table.ParseText(answer)]
        except (textfsm.TextFSMError, textfsm.TextFSMTemplateError):
            return LearnedMacs(port, untold=untold)
        if "NUMBER" in table.header and not all(row["NUMBER"] for row in rows):
            return LearnedMacs(port, untold=untold)
        mine = [
            plain_mac(row["MAC"])
            for row in rows
            if is_same_port(port, row.get("PORT") or port) and row.get("AT", "") == row.get("NUMBER", "")
        ]
        return LearnedMacs(port, tuple(sorted({mac for mac in mine if mac})))

    def _garbled(self, port: str, answer: str) -> NodeGarbled:
        return NodeGarbled(
            f"the answer about port {port} is none that platform {self.name} knows: {excerpt(answer)}.",
            remedy="check `platform` of the switch in site.yaml; a newer system may need templates of its own.",
        )


def load(name: str, options: Mapping[str, Any], *, where: str) -> Platform:
    """The platform of a switch: ``options.templates`` (an absolute path) where given, else ours of that name.

    :param where: the switch's place in site.yaml, for messages.
    :raises SiteError: when there is none of that name, or its file is not as :data:`SCHEMA` wants it.
    """
    path = options.get("templates")
    if path is None:
        folder = resources.files("pumphouse.nodes.switches") / "templates"
        known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
        if name not in known:
            raise SiteError(
                f"{where}.platform is {name or 'not given'}.",
                remedy=f"use one of {', '.join(known)}, or give a file of your own as options.templates.",
            )
        return build(name, (folder / f"{name}.yaml").read_text("utf-8"), options, where=f"platform {name}")
    file = Path(str(path)).expanduser()
    if not file.is_absolute():
        raise SiteError(f"{where}.options.templates is {path}.", remedy="give an absolute path, or one from ~.")
    try:
        text = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SiteError(f"{where}.options.templates: {file} cannot be read.", remedy="check the path.") from error
    return build(name or file.stem, text, options, where=str(file))


def build(name: str, text: str, options: Mapping[str, Any], *, where: str) -> Platform:
    """A platform from its file's text and the switch's ``options.variables``.

    :raises SiteError: when it is not as :data:`SCHEMA` wants it.
    """
    try:
        raw = yaml.safe_load(text)
        jsonschema.validate(raw, SCHEMA)
    except yaml.YAMLError as error:
        raise SiteError(f"{where} is not YAML.", remedy="correct it.") from error
    except jsonschema.ValidationError as error:
        raise SiteError(f"{where}: {error.json_path}: {error.message}.", remedy="correct it.") from error
    variables = {**raw.get("variables", {}), **_variables(options, raw.get("variables", {}), where)}
    read, change, check, save = raw["read"], raw["set"], raw.get("check", {}), raw.get("save", {})
    heard = raw.get("heard", {})

    def filled(command: str, *known: str) -> str:
        for key in _PLACEHOLDER.findall(command):
            if key not in variables and key not in known:
                raise SiteError(f"{where}: {command!r} uses {{{key}}}, which is nothing.", remedy="correct it.")
        return _PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), command)

    platform = Platform(
        name=name,
        device_type=raw["device_type"],
        port_pattern=raw["ports"],
        read_command=filled(read["command"], "port"),
        textfsm=read["textfsm"],
        set_commands=tuple(filled(command, "port", "vlan", "old") for command in change["commands"]),
        access=read.get("access", ""),
        enable=raw.get("enable", False),
        shell=raw.get("shell", False),
        refused=tuple(raw.get("refused", ())),
        missing=tuple(read.get("missing", ())),
        check_command=filled(check["command"], "vlan") if check else "",
        no_vlan=tuple(check.get("missing", ())),
        enter=change.get("enter", ""),
        commit=change.get("commit", False),
        abandon=tuple(filled(command, "port", "vlan", "old") for command in change.get("abandon", ())),
        save_command=filled(save["command"]) if save else "",
        saved=save.get("saved", ""),
        heard_command=filled(heard["command"], "port") if heard else "",
        heard_textfsm=heard.get("textfsm", ""),
        heard_header=heard.get("header", ""),
    )
    _check_patterns(platform, where)
    return platform


def fill(command: str, **values: object) -> str:
    """The command with its placeholders replaced; values must have been checked before."""
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), command)


def excerpt(text: str, limit: int = 160) -> str:
    """One line of an answer for a message, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return repr(line if len(line) <= limit else line[: limit - 1] + "…") if line else "nothing"


def plain_mac(text: str) -> str:
    """A machine's MAC as site.yaml spells it; empty for a group address and for what is none."""
    digits = re.sub(r"[.:-]", "", text.lower())
    if not re.fullmatch(r"[0-9a-f]{12}", digits) or int(digits[:2], 16) & 1 or not int(digits, 16):
        return ""
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _variables(options: Mapping[str, Any], known: Mapping[str, str], where: str) -> dict[str, str]:
    given = options.get("variables", {})
    if not isinstance(given, Mapping):
        raise SiteError(f"{where}: options.variables is no mapping.", remedy="write `variables: {name: text}`.")
    for key, value in given.items():
        if key not in known:
            raise SiteError(
                f"{where}: options.variables.{key} is not used.", remedy=f"use: {', '.join(sorted(known)) or 'none'}."
            )
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise SiteError(f"{where}: options.variables.{key} is no line of text.", remedy="correct it.")
    return dict(given)


def _check_patterns(platform: Platform, where: str) -> None:
    patterns = [platform.port_pattern, platform.access, platform.saved, platform.heard_header]
    for pattern in (*patterns, *platform.refused, *platform.missing, *platform.no_vlan):
        try:
            re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise SiteError(f"{where}: {pattern!r} is no pattern: {error}.", remedy="correct it.") from error
    _check_values("read", platform.textfsm, "VLAN", _VALUES, where)
    if platform.heard_command:
        _check_values("heard", platform.heard_textfsm, "MAC", _HEARD, where)


def _check_values(part: str, text: str, needed: str, known: set[str], where: str) -> None:
    try:
        header = textfsm.TextFSM(io.StringIO(text)).header
    except (textfsm.TextFSMError, textfsm.TextFSMTemplateError) as error:
        raise SiteError(f"{where}: {part}.textfsm: {error}.", remedy="correct it.") from error
    strange = sorted({needed} - set(header)) + sorted(set(header) - known)
    if strange:
        raise SiteError(
            f"{where}: {part}.textfsm lacks {needed} or has other values than {', '.join(sorted(known))}: "
            f"{', '.join(strange)}.",
            remedy="correct it.",
        )


def _number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 4094:
        raise ValueError(f"{number} is no VLAN")
    return number


def _tagged(value: str | list[str]) -> tuple[tuple[int, ...], bool]:
    """VLANs from ``10``, ``20-22``, ``all`` and lists of them; whether that is all there are."""
    words = re.split(r"[,\s]+", value if isinstance(value, str) else ",".join(value))
    found: set[int] = set()
    for word in filter(None, words):
        if word.lower() == "all":
            return (), True
        if word.lower() == "none":
            continue
        first, _, last = word.partition("-")
        found |= set(range(_number(first), _number(last or first) + 1))
    return tuple(sorted(found)), False
