"""What the suite has to know of one kind of step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pumphouse.plan.model import PlannedStep, PlanServer
from tests.steps.bench import Bench, Scene, Write, make_plan


@dataclass
class Made:
    """A step to carry out, and its surroundings."""

    step: PlannedStep
    before: tuple[PlannedStep, ...] = ()  # steps of the same plan that are carried out first
    servers: tuple[PlanServer, ...] = ()
    mappings: list[tuple[str, str, str]] = field(default_factory=list)


class Case(ABC):
    """One kind of step: how to make one, and what the clouds show before and after it.

    Flags: ``undoes`` false for what leaves nothing to undo or cannot be undone; ``tells`` false where the cloud does
    not tell that the step is in place already, so that repeating it is harmless rather than noticed.
    """

    kind: ClassVar[str]
    writes: ClassVar[tuple[Write, ...]]
    undo_writes: ClassVar[tuple[Write, ...]] = ()
    undoes: ClassVar[bool] = True
    tells: ClassVar[bool] = True

    def __repr__(self) -> str:
        return self.kind

    def set_up(self, bench: Bench, folder: Path) -> Scene:
        """A scene with one new step of this kind; what it stands on is in place."""
        made = self.make(bench)
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

    @abstractmethod
    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        """What the clouds show of the step's object, read through openstacksdk; all copies, sorted."""

    @abstractmethod
    def want(self, bench: Bench, step: PlannedStep) -> Any:
        """What :meth:`seen` is to say when the step is done."""

    @abstractmethod
    def there(self, bench: Bench, step: PlannedStep) -> None:
        """Somebody else does beforehand what the step is about to do."""

    @abstractmethod
    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        """Somebody else breaks what the step has done."""

    @abstractmethod
    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        """Words of which an error must say at least one: what tells an operator which object it is about."""
