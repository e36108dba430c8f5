"""Clouds: one set of verbs for both sides, whatever their release.

:func:`connect` logs in to a cloud of ``clouds.yaml`` and returns a :class:`~pumphouse.clouds.api.Cloud`. Which API
versions it has (Keystone v2.0/v3, Glance v1/v2, nova-network or Neutron) is found out there and ends here: nothing
above this package sees an HTTP path or a microversion, and a release's name only to show it or to refuse it.
``config`` and ``login`` read clouds.yaml, ``discovery``, ``releases`` and ``abilities`` find out what is there, and
``pairing`` refuses two that are one; ``later`` is a destination that may not have been made yet. ``http`` is the only
module that speaks HTTP; ``faults`` turns error answers and ``failures`` missing ones into our errors, ``parse`` turns
foreign JSON into text and numbers, and one module per service turns those into the records of :mod:`pumphouse.model`.
"""

from __future__ import annotations

from pumphouse.clouds.api import Cloud, Compute, Identity, Images
from pumphouse.clouds.cloud import OpenStackCloud
from pumphouse.clouds.connect import connect, connect_later, connect_site, connect_source
from pumphouse.clouds.hosts_api import Hosts
from pumphouse.clouds.later import LaterCloud
from pumphouse.clouds.network_api import Networking, Neutron, NovaNetwork
from pumphouse.clouds.neutron_records import rule_key, same_rule

__all__ = [
    "Cloud",
    "Compute",
    "Hosts",
    "Identity",
    "Images",
    "LaterCloud",
    "Networking",
    "Neutron",
    "NovaNetwork",
    "OpenStackCloud",
    "connect",
    "connect_later",
    "connect_site",
    "connect_source",
    "rule_key",
    "same_rule",
]
