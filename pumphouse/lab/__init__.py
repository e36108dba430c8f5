"""A simulated site: a process that behaves like two real clouds over real sockets, with one shared network.

:func:`up`, :func:`status` and :func:`down` handle the process; the old cloud lives in :mod:`pumphouse.lab.source`,
the new one in :mod:`pumphouse.lab.destination`, what they share in :mod:`pumphouse.lab.world`. Nothing in pumphouse
outside this package knows that it exists.
"""

from pumphouse.lab.process import LabInfo, down, status, up

__all__ = ["LabInfo", "down", "status", "up"]
