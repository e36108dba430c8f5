"""What any cloud must do, whether simulated or real.

Run against the lab in every release that it simulates, and against the site that ``PUMPHOUSE_REAL_SITE`` names
(its ``site.yaml``; marker ``real``). All objects made here are called ``ctr-…`` and are deleted again.
"""
