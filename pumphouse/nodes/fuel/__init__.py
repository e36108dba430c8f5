"""The Fuel master: a client of Nailgun 5.1 to 8.0 that absorbs what its releases do differently.

:class:`Fuel` is one master, logged in; what it returns are the frozen dataclasses of :mod:`pumphouse.nodes.fuel.model`.
"""

from pumphouse.nodes.fuel.client import Fuel
from pumphouse.nodes.fuel.model import (
    AccessCredentials,
    FuelDisk,
    FuelEndpoint,
    FuelEnvironment,
    FuelNetwork,
    FuelNic,
    FuelNode,
    FuelRelease,
    FuelTask,
    FuelVersion,
    NetworkConfiguration,
)

__all__ = [
    "AccessCredentials",
    "Fuel",
    "FuelDisk",
    "FuelEndpoint",
    "FuelEnvironment",
    "FuelNetwork",
    "FuelNic",
    "FuelNode",
    "FuelRelease",
    "FuelTask",
    "FuelVersion",
    "NetworkConfiguration",
]
