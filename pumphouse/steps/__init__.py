"""The primitives: one class per kind of change, in ``ensure_`` form (look, compare, act, re-read).

A plan names steps by ``kind``; :data:`STEPS` finds the class. Each knows how to verify its outcome by
reading the cloud again, and how to take it back.
"""

from __future__ import annotations

from pumphouse.steps.base import Context, Outcome, Step
from pumphouse.steps.cutover import SettleServer
from pumphouse.steps.finalise import DeleteSource, ReserveFixedIp
from pumphouse.steps.flavors import EnsureFlavor
from pumphouse.steps.floating import MoveFloatingIp
from pumphouse.steps.groups import EnsureSecurityGroup, EnsureSecurityGroupRules
from pumphouse.steps.hardware import HARDWARE
from pumphouse.steps.identity import EnsureAssignment, EnsureProject, EnsureRole, EnsureUser
from pumphouse.steps.images import EnsureImage
from pumphouse.steps.network import EnsureNetwork, EnsurePort, EnsureRouter, ReserveSlice
from pumphouse.steps.network_quota import KeepFloatingIp, SetNetworkQuota
from pumphouse.steps.nova_network import KeepOff, OpenFixedIp
from pumphouse.steps.passwords import LendSecret, PutPassword
from pumphouse.steps.quota import EnsureQuota
from pumphouse.steps.resources import EnsureKeypair
from pumphouse.steps.server import BootServer, StopServer
from pumphouse.steps.snapshot import CarrySnapshot
from pumphouse.steps.undo import Undo

_ALL: tuple[type[Step], ...] = (
    EnsureRole,
    EnsureProject,
    EnsureUser,
    EnsureAssignment,
    LendSecret,
    PutPassword,
    EnsureQuota,
    EnsureFlavor,
    EnsureImage,
    EnsureKeypair,
    SetNetworkQuota,
    ReserveSlice,
    EnsureNetwork,
    EnsureRouter,
    EnsureSecurityGroup,
    EnsureSecurityGroupRules,
    EnsurePort,
    KeepOff,
    OpenFixedIp,
    KeepFloatingIp,
    StopServer,
    CarrySnapshot,
    BootServer,
    MoveFloatingIp,
    SettleServer,
    ReserveFixedIp,
    DeleteSource,
    *HARDWARE,
)

#: Kind of a planned step -> the primitive that does it.
STEPS: dict[str, Step] = {step.kind: step() for step in _ALL}
STEPS[Undo.kind] = Undo(STEPS)

__all__ = ["STEPS", "Context", "Outcome", "Step"]
