"""The primitives: one class per kind of change, in ``ensure_`` form (look, compare, act, re-read).

A plan names steps by ``kind``; :data:`STEPS` finds the class. Each knows how to verify its outcome by
reading the cloud again, and how to take it back.
"""

from __future__ import annotations

from pumphouse.steps.base import MARKER, Context, Outcome, Step
from pumphouse.steps.identity import EnsureAssignment, EnsureProject, EnsureRole, EnsureUser
from pumphouse.steps.network import (
    EnsureNetwork,
    EnsurePort,
    EnsureRouter,
    EnsureSecurityGroup,
    EnsureSecurityGroupRules,
)
from pumphouse.steps.resources import EnsureFlavor, EnsureImage, EnsureKeypair
from pumphouse.steps.server import (
    BootServer,
    DeleteSource,
    MoveFloatingIp,
    ReserveFixedIp,
    SettleServer,
    StopServer,
)
from pumphouse.steps.undo import Undo

_ALL: tuple[type[Step], ...] = (
    EnsureRole,
    EnsureProject,
    EnsureUser,
    EnsureAssignment,
    EnsureFlavor,
    EnsureImage,
    EnsureKeypair,
    EnsureNetwork,
    EnsureRouter,
    EnsureSecurityGroup,
    EnsureSecurityGroupRules,
    EnsurePort,
    StopServer,
    BootServer,
    MoveFloatingIp,
    SettleServer,
    ReserveFixedIp,
    DeleteSource,
)

#: Kind of a planned step -> the primitive that does it.
STEPS: dict[str, Step] = {step.kind: step() for step in _ALL}
STEPS[Undo.kind] = Undo(STEPS)

__all__ = ["MARKER", "STEPS", "Context", "Outcome", "Step"]
