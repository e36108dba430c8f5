"""The tables of both clouds, made on demand from their snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pumphouse.inventory.snapshot import InventoryError, Snapshot
from pumphouse.inventory.tables import BUILDERS
from pumphouse.near import did_you_mean


@dataclass(frozen=True)
class Inventory:
    """Tables of the source (attributes) and of the destination (``table(name, "destination")``).

    Each access gives a table of its own: changing it changes nothing else.
    """

    source: Snapshot
    destination: Snapshot | None = None

    def table(self, name: str, side: str = "source") -> pd.DataFrame:
        """One table by name; the columns are in the docstring of the function of that name in
        :mod:`pumphouse.inventory.tables`.

        :param side: ``source`` or ``destination``.
        :raises InventoryError: no such table or side, or there is no snapshot of the destination.
        """
        if name not in BUILDERS:
            raise InventoryError(
                f"There is no inventory table '{name}'{did_you_mean(name, BUILDERS)}.",
                remedy=f"use one of {', '.join(BUILDERS)}.",
            )
        if side not in ("source", "destination"):
            raise InventoryError(f"There is no side '{side}'.", remedy="use 'source' or 'destination'.")
        snapshot = self.source if side == "source" else self.destination
        if snapshot is None:
            raise InventoryError(
                "This inventory has no snapshot of the destination.",
                remedy="take one with take_snapshot(destination_cloud) and pass it to Inventory.",
            )
        return BUILDERS[name](snapshot)

    @property
    def projects(self) -> pd.DataFrame:
        """The source's projects."""
        return self.table("projects")

    @property
    def users(self) -> pd.DataFrame:
        """The source's users."""
        return self.table("users")

    @property
    def roles(self) -> pd.DataFrame:
        """The source's roles."""
        return self.table("roles")

    @property
    def assignments(self) -> pd.DataFrame:
        """The source's role assignments."""
        return self.table("assignments")

    @property
    def flavors(self) -> pd.DataFrame:
        """The source's flavors."""
        return self.table("flavors")

    @property
    def images(self) -> pd.DataFrame:
        """The source's images."""
        return self.table("images")

    @property
    def keypairs(self) -> pd.DataFrame:
        """The source's keypairs, as far as their owners' credentials were given."""
        return self.table("keypairs")

    @property
    def security_groups(self) -> pd.DataFrame:
        """The source's security groups."""
        return self.table("security_groups")

    @property
    def security_group_rules(self) -> pd.DataFrame:
        """The source's security group rules."""
        return self.table("security_group_rules")

    @property
    def networks(self) -> pd.DataFrame:
        """The source's networks."""
        return self.table("networks")

    @property
    def fixed_ips(self) -> pd.DataFrame:
        """The source's fixed IPs in use."""
        return self.table("fixed_ips")

    @property
    def floating_ips(self) -> pd.DataFrame:
        """The source's allocated floating IPs."""
        return self.table("floating_ips")

    @property
    def servers(self) -> pd.DataFrame:
        """The source's servers."""
        return self.table("servers")

    @property
    def hosts(self) -> pd.DataFrame:
        """The source's compute hosts."""
        return self.table("hosts")

    @property
    def services(self) -> pd.DataFrame:
        """The source's Nova services."""
        return self.table("services")

    @property
    def availability_zones(self) -> pd.DataFrame:
        """The source's availability zones."""
        return self.table("availability_zones")

    @property
    def aggregates(self) -> pd.DataFrame:
        """The source's host aggregates."""
        return self.table("aggregates")

    @property
    def quotas(self) -> pd.DataFrame:
        """The source's quotas."""
        return self.table("quotas")
