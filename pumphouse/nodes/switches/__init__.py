"""Drivers for switches: by command line (``netmiko``), by SNMP (``snmp``), by hand (``manual``).

Found by entry points of the group ``pumphouse.switch``; all share the guard of :mod:`pumphouse.nodes.switches.base`.
"""
