"""Switches that only people reach: the operator moves the port, looks, and says what was seen, which is kept.

``site.yaml``: ``driver: manual``, and ``options``:

* ``evidence``: folder (an absolute path) with one file per port and VLAN, ``SWITCH.PORT.vlanN.yaml`` (what is no letter
  or digit becomes ``-``)::

      schema: 1
      switch: rack7
      port: Gi1/0/12
      vlan: 80
      who: Ann Example
      at: 2026-03-02T21:14:05+00:00
      seen: "show interfaces Gi1/0/12 switchport: Access Mode VLAN: 80 (admin)"

* ``max_age_s``: how old evidence may be (43200, twelve hours, unless given).

In a notebook that a person runs, what is missing is asked for and written there. A batch cannot ask: it stops, names
the file, and goes on from there once the port was moved and the file written.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pumphouse.errors import NodeGarbled, NodeRefused, NodeTimeout, SiteError
from pumphouse.fileio import write_atomic
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.nodes.switches.base import Conversation, GuardedSwitch
from pumphouse.nodes.switches.platforms import excerpt

OPTIONS = frozenset({"evidence", "max_age_s"})
MAX_AGE_S = 12 * 3600.0
#: How far the clocks of who wrote it and of this machine may be apart.
_SKEW = timedelta(minutes=2)
_KEYS = {"schema", "switch", "port", "vlan", "who", "at", "seen"}
_LIMIT = 2000
_NO_TABLE = "the switch is reached by hand only"

Ask = Callable[[str], str]


@dataclass(frozen=True)
class Evidence:
    """Who saw a port in a VLAN, when, and what was seen."""

    switch: str
    port: str
    vlan: int
    who: str
    at: datetime
    seen: str

    def dumped(self) -> str:
        """The file's text."""
        return yaml.safe_dump(
            {
                "schema": 1,
                "switch": self.switch,
                "port": self.port,
                "vlan": self.vlan,
                "who": self.who,
                "at": self.at.isoformat(),
                "seen": self.seen,
            },
            sort_keys=False,
            allow_unicode=True,
        )


class ManualSwitch(GuardedSwitch):
    """A switch that is somebody's word, kept.

    :param ask: puts a question to the operator and returns the line typed; raises ``EOFError``, ``OSError`` or
        ``NotImplementedError`` where nobody can be asked, as ``input`` does in a batch.
    """

    def __init__(
        self,
        spec: SwitchSpec,
        *,
        ask: Ask = input,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        **clocks: Any,
    ) -> None:
        super().__init__(spec, **clocks)
        where = f"switches.{spec.name}.options"
        unknown = sorted(set(spec.options) - OPTIONS)
        folder = Path(str(spec.options.get("evidence", ""))).expanduser()
        if unknown or not folder.is_absolute():
            raise SiteError(
                f"{where}: " + (f"{', '.join(unknown)} is not known." if unknown else "evidence is no absolute path."),
                remedy=f"manual switches know {', '.join(sorted(OPTIONS))}; give the folder of evidence.",
            )
        max_age_s = spec.options.get("max_age_s", MAX_AGE_S)
        if isinstance(max_age_s, bool) or not isinstance(max_age_s, int | float) or not max_age_s > 0:
            raise SiteError(f"{where}.max_age_s is no positive number.", remedy="give seconds.")
        self.folder = folder
        self._max_age = timedelta(seconds=max_age_s)
        self._ask = ask
        self._now = now

    def check_name(self, port: str) -> None:
        if not port.strip() or len(port) > 100 or not port.isprintable():
            raise NodeRefused(
                f"switch {self.name}: {excerpt(port, 40)} cannot be a port.", remedy="correct the port in site.yaml."
            )

    @contextmanager
    def converse(self) -> Iterator[Conversation]:
        yield _Asking(self)

    def file(self, port: str, vlan: int) -> Path:
        """Where evidence of that port being in that VLAN is."""
        name = ".".join(re.sub(r"[^A-Za-z0-9]+", "-", part) for part in (self.name, port, f"vlan{vlan}"))
        return self.folder / f"{name}.yaml"

    def newest(self, port: str) -> Evidence | None:
        """The newest evidence on a port that is not too old; None without any.

        :raises NodeGarbled: when a file is not what it should be, or two of one moment contradict each other.
        """
        now = self._now()
        found = [e for vlan in self.spec.vlans if (e := self._load(port, vlan)) is not None]
        future = [e for e in found if e.at > now + _SKEW]
        if future:
            raise self._odd(self.file(port, future[0].vlan), f"it is of {future[0].at.isoformat()}, which is to come")
        fresh = sorted((e for e in found if e.at >= now - self._max_age), key=lambda e: e.at)
        if len(fresh) > 1 and fresh[-1].at == fresh[-2].at:
            raise self._odd(self.file(port, fresh[-1].vlan), f"VLAN {fresh[-2].vlan} has evidence of the same moment")
        return fresh[-1] if fresh else None

    def asked(self, port: str, vlan: int | None) -> Evidence:
        """What the operator says after looking (``vlan``: after moving the port there), kept as evidence.

        :raises NodeRefused: when nobody can be asked, or gives no answer.
        """
        where = f"port {port} of switch {self.name}"
        todo = f"Put {where} into VLAN {vlan} now, untagged." if vlan else f"Look at {where}."
        try:
            number = self._ask(f"{todo} Which VLAN does the switch show for it? ").strip()
            if not re.fullmatch(r"[0-9]{1,4}", number) or not 1 <= int(number) <= 4094:
                raise NodeRefused(f"{where}: {excerpt(number, 40)} is no VLAN.", remedy="repeat, and type its number.")
            seen = self._ask("What did you see (the line of the switch's answer)? ").strip()
            who = self._ask(f"Who saw it [{getpass.getuser()}]? ").strip() or getpass.getuser()
        except (EOFError, NotImplementedError, OSError) as error:
            raise self._unseen(port, vlan) from error
        if not seen:
            raise NodeRefused(f"{where}: nothing was seen.", remedy="repeat, and copy what the switch shows.")
        evidence = Evidence(self.name, port, int(number), _line(who), self._now(), _line(seen))
        write_atomic(self.file(port, evidence.vlan), evidence.dumped())
        return evidence

    def _unseen(self, port: str, vlan: int | None) -> NodeRefused:
        where = f"switch {self.name}: port {port}"
        if vlan is None:
            files = ", ".join(self.file(port, one).name for one in self.spec.vlans)
            return NodeRefused(
                f"{where}: nobody can be asked here, and no evidence younger than "
                f"{self._max_age.total_seconds():g} s tells its VLAN.",
                remedy=f"look at it, write what you see into {self.folder} (one of {files}), and repeat.",
            )
        return NodeRefused(
            f"{where} is to go to VLAN {vlan} by hand, and nobody can be asked here.",
            remedy=f"move it, look, write {self.file(port, vlan)}, and run this again.",
        )

    def _load(self, port: str, vlan: int) -> Evidence | None:
        path = self.file(port, vlan)
        try:
            with path.open(encoding="utf-8") as file:
                raw = yaml.safe_load(file.read(_LIMIT * 2))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            raise self._odd(path, "it cannot be read") from error
        if not isinstance(raw, Mapping) or set(raw) != _KEYS or raw["schema"] != 1:
            raise self._odd(path, f"it has not exactly the keys {', '.join(sorted(_KEYS))} with schema 1")
        at = raw["at"]
        if isinstance(at, str):
            try:
                at = datetime.fromisoformat(at)
            except ValueError as error:
                raise self._odd(path, "`at` is no moment") from error
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise self._odd(path, "`at` is no moment with an offset from UTC")
        if (raw["switch"], raw["port"], raw["vlan"]) != (self.name, port, vlan):
            raise self._odd(path, f"it is not about port {port} of switch {self.name} in VLAN {vlan}")
        for key in ("who", "seen"):
            if not isinstance(raw[key], str) or not raw[key].strip():
                raise self._odd(path, f"`{key}` is empty")
        return Evidence(self.name, port, vlan, _line(raw["who"]), at.astimezone(UTC), _line(raw["seen"]))

    def _odd(self, path: Path, why: str) -> NodeGarbled:
        return NodeGarbled(f"switch {self.name}: evidence {path}: {why}.", remedy="correct or remove it.")


class _Asking:
    """A :class:`~pumphouse.nodes.switches.base.Conversation` with the operator."""

    def __init__(self, switch: ManualSwitch) -> None:
        self._switch = switch

    def read(self, port: str) -> PortState:
        evidence = self._switch.newest(port) or self._switch.asked(port, None)
        return PortState(port, evidence.vlan)

    def move(self, before: PortState, vlan: int) -> None:
        evidence = self._switch.asked(before.port, vlan)
        if evidence.vlan != vlan:
            raise NodeTimeout(
                f"switch {self._switch.name}: port {before.port} was to go to VLAN {vlan}, and {evidence.who} sees it "
                f"in {evidence.vlan}.",
                remedy="look at the port on the switch, and repeat.",
            )

    def save(self) -> None:
        """The operator's to do."""

    def heard(self, port: str) -> LearnedMacs:
        """Nobody's word tells that."""
        return LearnedMacs(port, untold=_NO_TABLE)


def open_switch(spec: SwitchSpec, password: str | None = None) -> ManualSwitch:  # noqa: ARG001 - all drivers take one
    """The driver ``manual``; there is nothing to log in to.

    :raises SiteError: when options are none that it knows.
    """
    return ManualSwitch(spec)


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LIMIT]
