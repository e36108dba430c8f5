"""What the clouds hold: a :class:`Snapshot` per cloud, saved and loaded, and pandas tables made from it.

Reading is all that happens here: nothing changes a cloud, and once a snapshot is taken nothing asks one.
"""

from pumphouse.inventory.inventory import Inventory
from pumphouse.inventory.schema import SCHEMAS, TableSchema
from pumphouse.inventory.snapshot import Gap, InventoryError, Snapshot, take_snapshot
from pumphouse.inventory.tables import BUILDERS

__all__ = ["BUILDERS", "SCHEMAS", "Gap", "Inventory", "InventoryError", "Snapshot", "TableSchema", "take_snapshot"]
