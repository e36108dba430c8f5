"""The primitives of hardware: hosts of the source, power, boot device, ports, Fuel, and the proof that a node serves.

They are steps like the others (see :mod:`pumphouse.steps.base`). What could hit the wrong machine or a living server is
asked again right before it happens, in ``look``: a step that is refused there was not begun, and has nothing to undo.
"""

from pumphouse.steps.base import Step
from pumphouse.steps.hardware.archive import ArchiveSource
from pumphouse.steps.hardware.canary import CanaryServer
from pumphouse.steps.hardware.decommission import ControllerOff, SourceSpent
from pumphouse.steps.hardware.environment import DeployEnvironment, MakeEnvironment, ShareNetworks
from pumphouse.steps.hardware.evacuate import LeaveHost
from pumphouse.steps.hardware.hosts import ControllerUp, DisableHost, EmptyHost, ForgetHost, HostUp
from pumphouse.steps.hardware.install import AssignNode, DeployNode, DiscoverNode
from pumphouse.steps.hardware.master import FuelUp, MediumNext
from pumphouse.steps.hardware.newcloud import ProveDestination, WriteDestination
from pumphouse.steps.hardware.ports import MovePort, SeePort
from pumphouse.steps.hardware.power import FenceNode, PowerOff, PowerOn, PxeNext

#: Every kind of hardware step.
HARDWARE: tuple[type[Step], ...] = (
    SeePort,
    DisableHost,
    FenceNode,
    LeaveHost,
    EmptyHost,
    PowerOff,
    MovePort,
    PxeNext,
    PowerOn,
    DiscoverNode,
    AssignNode,
    DeployNode,
    HostUp,
    ControllerUp,
    CanaryServer,
    ForgetHost,
    SourceSpent,
    ArchiveSource,
    ControllerOff,
    MediumNext,
    FuelUp,
    MakeEnvironment,
    ShareNetworks,
    DeployEnvironment,
    WriteDestination,
    ProveDestination,
)

__all__ = ["HARDWARE"]
