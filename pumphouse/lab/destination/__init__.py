"""The simulated destination: a current OpenStack control plane (Keystone v3, Glance v2, Nova v2.1, Neutron v2.0).

Real HTTP on loopback, one port a service, all in the caller's event loop. Answers were compared with those of
real services (``tools/record_current_shapes.py`` records them, ``tests/lab/destination`` asserts). Servers take
time to change, and a running one is a guest on the shared network. :func:`start` brings an empty cloud up.
"""

from pumphouse.lab.destination.service import DestinationInfo, start
from pumphouse.lab.destination.web import make_app

__all__ = ["DestinationInfo", "make_app", "start"]
