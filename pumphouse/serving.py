"""What is expected of a server that moves: how it is asked whether it serves, how long it may be down, and what
happens if it does not come up again. Chosen in the selection or by the rules of ``site.yaml``; part of the plan.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

#: ``ping`` and ``command`` start a program; the others open a socket of ours.
KINDS = ("none", "tcp", "http", "ping", "command")
#: What becomes of a server that failed after its stop: left where it is, or taken back to the source at once.
ON_FAILURE = ("stay", "back")

_WORD = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f]*\Z"}
PROBE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind"],
    "properties": {
        "kind": {"enum": list(KINDS)},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "path": {"type": "string", "pattern": r"^/[^\x00-\x20\x7f]*\Z"},
        "command": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"^[^\x00]*\Z"}},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0},
        "each_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 60},
    },
    "allOf": [{"if": {"properties": {"kind": {"const": "command"}}}, "then": {"required": ["command"]}}],
}
RULE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "servers": {"type": "array", "minItems": 1, "items": _WORD},
        "projects": {"type": "array", "minItems": 1, "items": _WORD},
        "probe": PROBE_SCHEMA,
        "downtime_budget_s": {"type": "number", "exclusiveMinimum": 0},
        "on_failure": {"enum": list(ON_FAILURE)},
    },
}
_SHORT = re.compile(r"none|ping|(?P<kind>tcp|http):(?P<port>[0-9]{1,5})(?P<path>/[^\x00-\x20\x7f]*)?")


@dataclass(frozen=True)
class ProbeSpec:
    """How to ask a guest whether it serves.

    ``tcp`` connects; ``http`` wants a status below 500; ``ping`` an echo (ICMP); ``command`` the exit status 0 of a
    program (no shell) that has the guest's address in ``PUMPHOUSE_ADDRESS`` and wherever ``{address}`` stands in it.
    One try may take ``each_s``, waiting for the first answer ``timeout_s``.
    """

    kind: str = "none"
    port: int = 22
    path: str = "/"
    timeout_s: float = 60.0
    command: tuple[str, ...] = ()
    each_s: float = 0.0

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> ProbeSpec:
        """From what :data:`PROBE_SCHEMA` lets pass, or :attr:`document`."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in raw.items() if name in known}
        # 80.0 is an integer to JSON schema, but no port to a socket
        return cls(**{**values, "port": int(values.get("port", 22)), "command": tuple(values.get("command", ()))})

    @classmethod
    def parse(cls, text: str) -> ProbeSpec:
        """From the short form that selections use: ``none``, ``ping``, ``tcp:22``, ``http:80/health``.

        :raises ValueError: when it is none of these. A command is named in ``site.yaml`` only.
        """
        found = _SHORT.fullmatch(text.strip())
        if found is None or not (found["kind"] is None or 0 < int(found["port"]) < 65536):
            raise ValueError("a probe is `none`, `ping`, `tcp:PORT` or `http:PORT/PATH`")
        if found["kind"] is None:
            return cls(text.strip())
        if found["path"] and found["kind"] == "tcp":
            raise ValueError("a probe is `tcp:PORT` without a path, or `http:PORT/PATH`")
        return cls(found["kind"], int(found["port"]), found["path"] or "/")

    @property
    def document(self) -> dict[str, Any]:
        """What differs from the default, as JSON for a plan."""
        default = asdict(ProbeSpec())
        found = {name: value for name, value in asdict(self).items() if name == "kind" or value != default[name]}
        return {**found, **({"command": list(self.command)} if self.command else {})}

    def __str__(self) -> str:
        words = {
            "none": "no probe",
            "tcp": f"TCP port {self.port}",
            "http": f"HTTP on port {self.port}, {self.path}",
            "ping": "ping",
            "command": f"command {self.command[0] if self.command else ''}",
        }
        return words[self.kind]


@dataclass(frozen=True)
class Rule:
    """What holds for servers whose name or id, and whose project's name, match one of these patterns (empty: any)."""

    servers: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    probe: ProbeSpec | None = None
    downtime_budget_s: float | None = None
    on_failure: str | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Rule:
        """From what :data:`RULE_SCHEMA` lets pass."""
        budget = raw.get("downtime_budget_s")
        return cls(
            tuple(raw.get("servers", ())),
            tuple(raw.get("projects", ())),
            ProbeSpec.of(raw["probe"]) if "probe" in raw else None,
            None if budget is None else float(budget),
            raw.get("on_failure"),
        )

    def matches(self, name: str, server_id: str, project: str) -> bool:
        """Whether it speaks of that server."""
        return (not self.servers or _any(self.servers, name) or server_id in self.servers) and (
            not self.projects or _any(self.projects, project)
        )


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Expected:
    """What is expected of one server. ``downtime_budget_s`` None: it may be down for as long as it takes."""

    probe: ProbeSpec
    downtime_budget_s: float | None = None
    on_failure: str = "stay"

    @property
    def document(self) -> dict[str, Any]:
        """As JSON for the parameters of the steps that stop a server and see it serve."""
        return {
            "probe": self.probe.document,
            "downtime_budget_s": self.downtime_budget_s,
            "on_failure": self.on_failure,
        }
