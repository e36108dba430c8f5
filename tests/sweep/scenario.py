"""What a sweep has to know of the thing that it sweeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from tests.sweep.canon import Records
from tests.sweep.world import World


class Scenario(ABC):
    """A command against a lab, its undoing, and what must be true afterwards.

    ``command`` and ``undo`` run in a process of their own, forked from one in which everything is imported; they return
    what the harness is told about it (``result``, ``error``) as JSON. Refusals and failures are returned, not raised:
    what is raised counts as a crash of pumphouse.
    """

    name: ClassVar[str]
    #: Whether undoing it leads back to the start.
    undoes: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, folder: Path) -> World:
        """A lab and a site, up to the moment before the command (plans that it needs are approved)."""

    @abstractmethod
    def command(self, world: World) -> dict[str, Any]:
        """The command; running it again goes on."""

    @abstractmethod
    def undo(self, world: World) -> dict[str, Any]:
        """Take back whatever the command did; running it again goes on."""

    @abstractmethod
    def records(self, world: World) -> Records:
        """What counts of the world: table -> record, one by one. Ids and times may be anything."""

    @abstractmethod
    def broken(self, world: World) -> list[str]:
        """Laws that must hold at every moment, even right after a kill; each that does not."""

    @abstractmethod
    def untrue(self, world: World) -> list[str]:
        """What journal and records say though it is not so, once the command or its undoing has ended well."""

    @abstractmethod
    def clear(self, error: str) -> bool:
        """Whether a message says what is where and how to go on."""

    def unseen(self, place: str) -> str:
        """Why nobody can notice that fault at that request, by any API of the services; empty where one can."""
        return ""

    @abstractmethod
    def left_over(self, want: dict[str, list[str]], have: dict[str, list[str]], told: dict[str, Any]) -> list[str]:
        """After undoing: every difference from the start that the undoing did not tell of."""
