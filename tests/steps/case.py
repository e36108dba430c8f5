"""What the suite has to know of one kind of step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pumphouse.plan.model import PlannedStep, PlanServer
from tests.steps.bench import Bench, Scene, Write, make_plan


@dataclass
class Made:
    """A step to carry out, and its surroundings."""

    step: PlannedStep
    before: tuple[PlannedStep, ...] = ()  # steps of the same plan that are carried out first
    servers: tuple[PlanServer, ...] = ()
    mappings: list[tuple[str, str, str]] = field(default_factory=list)


class SetUp(Protocol):
    """The ``scene`` fixture."""

    def __call__(self, case: Case, *, in_place: bool = False) -> Scene: ...


class Case(ABC):
    """One kind of step: how to make one, and what the clouds show before and after it.

    ``undoes`` is false for what leaves nothing to undo or cannot be undone. ``tells`` is false where no cloud tells
    that the step is in place already: doing it again is harmless, not noticed. ``stays`` is false where what is in
    place already can only be ours. ``spoils_all`` is true where :meth:`spoil` takes away all that the step has done.
    """

    kind: ClassVar[str]
    writes: tuple[Write, ...]
    undo_writes: tuple[Write, ...] = ()
    undoes: ClassVar[bool] = True
    tells: ClassVar[bool] = True
    stays: ClassVar[bool] = True
    spoils_all: ClassVar[bool] = False

    def __repr__(self) -> str:
        return self.kind

    def set_up(self, bench: Bench, folder: Path, *, in_place: bool = False) -> Scene:
        """A scene with one new step of this kind; what it stands on is there.

        :param in_place: somebody else has done already what the step is about to do.
        """
        made = self.make_in_place(bench) if in_place else self.make(bench)
        before = tuple(replace(step, needs=()) for step in made.before)
        step = replace(made.step, needs=())
        scene = Scene(bench, folder, make_plan(*before, step, servers=made.servers), step)
        for kind, source_id, destination_id in made.mappings:
            scene.know(kind, source_id, destination_id)
        if before:
            scene.run(*before)
        return scene

    @abstractmethod
    def make(self, bench: Bench) -> Made:
        """A new step of this kind."""

    def make_in_place(self, bench: Bench) -> Made:
        """A new step that somebody else has done already."""
        made = self.make(bench)
        self.there(bench, made.step)
        return made

    @abstractmethod
    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        """What the clouds show of the step's object, read through openstacksdk; all copies, sorted."""

    @abstractmethod
    def want(self, bench: Bench, step: PlannedStep) -> Any:
        """What :meth:`seen` is to say when the step is done."""

    def there(self, bench: Bench, step: PlannedStep) -> None:
        """Somebody else does beforehand what the step is about to do."""
        raise NotImplementedError(self.kind)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        """Somebody else breaks what the step has done."""
        raise NotImplementedError(self.kind)

    @abstractmethod
    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        """Words of which an error must say at least one: what tells an operator which object it is about."""
