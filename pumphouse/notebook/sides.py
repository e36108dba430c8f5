"""Both clouds side by side, and a map of their hosts: what is where, and what the other side does not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from pumphouse.inventory import Inventory
from pumphouse.notebook.display import tone_of
from pumphouse.notebook.html import BAD, GOOD, NOTE, WARN, Cell, Column, Display, joined, render
from pumphouse.session.looking import Seen, Unreached

#: Table -> columns that name its objects on both sides.
_NAMED: dict[str, tuple[str, ...]] = {
    "projects": ("name",),
    "users": ("name",),
    "roles": ("name",),
    "flavors": ("name",),
    "images": ("name",),
    "networks": ("cidr",),
    "security_groups": ("project_name", "name"),
    "floating_ips": ("address",),
    "servers": ("project_name", "name"),
}
_BOTH = ("source", "destination")
_SHOWN = 6
_CELLS = 12


def show_sides(seen: Inventory | Seen) -> Display:
    """What each cloud holds of each kind, and which names only one of them has (read only).

    Keypairs are left out: a current cloud shows them to their owners alone. Of a cloud that could not be read it is
    said why, and what to do.
    """
    if isinstance(seen, Inventory):
        return _both(seen)
    parts = [show_unreached(seen.unreached, instead=True)] if seen.unreached else []
    return joined(*parts, *([_both(seen.inventory)] if seen.inventory is not None else []))


def show_unreached(clouds: Sequence[Unreached], *, instead: bool = False) -> Display:
    """Clouds that could not be read: why, and what to do.

    :param instead: what is shown instead follows, so that it is said how old that is.
    """
    columns = [Column("cloud"), Column("why", kind="prose"), Column("what to do", kind="prose")]
    rows = [
        [Cell(f"{one.side} ({one.cloud})", BAD, strong=True), Cell(one.why), Cell(one.remedy or None)] for one in clouds
    ]
    if instead:
        columns.append(Column("shown of it", kind="word"))
        for row, one in zip(rows, clouds, strict=True):
            seen = "nothing" if one.seen_at is None else f"as it was {one.seen_at:%Y-%m-%d %H:%M} UTC"
            row.append(Cell(seen, WARN))
    return render("Not reached: the rest of this notebook works without", columns, rows)


def _both(inventory: Inventory) -> Display:
    rows, sides = [], _sides(inventory)
    for table, names in _NAMED.items():
        old, new = (_names(inventory.table(table, side), names) if side in sides else [] for side in _BOTH)
        both = set(old) & set(new)
        only_old, only_new = (Counter(name for name in names if name not in both) for names in (old, new))
        same = not only_old and not only_new
        rows.append(
            [
                Cell(table.replace("_", " "), strong=True),
                Cell(f"{len(old):,}"),
                Cell(f"{len(new):,}"),
                Cell(_shared(len(both), len(old) - only_old.total(), len(new) - only_new.total())),
                Cell("nothing", GOOD) if same else Cell(_repeated(only_old)),
                Cell(None) if same else Cell(_repeated(only_new)),
            ]
        )
    facts = (inventory.source.facts, inventory.destination.facts if inventory.destination else None)
    heads = [
        f"{side} ({fact.cloud})" if fact else side for side, fact in zip(("source", "destination"), facts, strict=True)
    ]
    columns = [
        Column("what"),
        Column(heads[0], kind="number"),
        Column(heads[1], kind="number"),
        Column("in both", kind="number"),
        Column("only at the source", kind="prose"),
        Column("only at the destination", kind="prose"),
    ]
    return render("Both clouds side by side", columns, rows)


def show_map(seen: Inventory | Seen) -> Display:
    """The hosts of both clouds: what they hold and how full they are (read only)."""
    inventory = seen if isinstance(seen, Inventory) else seen.inventory
    if inventory is None:
        return render("Hosts: nothing was ever read of the source", [Column("")], [])
    return joined(*(_side_map(inventory, side) for side in _sides(inventory)))


def _sides(inventory: Inventory) -> tuple[str, ...]:
    """Those that there is a snapshot of: a destination that has yet to be deployed has none."""
    return _BOTH if inventory.destination is not None else _BOTH[:1]


def _side_map(inventory: Inventory, side: str) -> Display:
    hosts, servers = inventory.table("hosts", side), inventory.table("servers", side)
    rows = []
    for host, row in zip(hosts.index, hosts.to_dict("records"), strict=True):
        names = [str(name) for name in servers.loc[(servers["host"] == host).fillna(value=False), "name"]]
        rows.append(
            [
                Cell(str(host), strong=True),
                Cell(None if pd.isna(row["state"]) else str(row["state"]), tone_of(str(row["state"]))),
                Cell(f"{len(names):,}"),
                Cell(fill(row["servers_vcpus"], row["vcpus"])),
                Cell(fill(row["servers_ram_mib"], row["ram_mib"])),
                Cell(_some(names) if names else "empty", None if names else NOTE),
            ]
        )
    columns = [
        Column("host"),
        Column("state", kind="word"),
        Column("servers", kind="number"),
        Column("vCPUs given out", kind="id"),
        Column("RAM given out", kind="id"),
        Column("who", kind="prose"),
    ]
    return render(f"Hosts of the {side} ({len(rows)})", columns, rows)


def fill(used: object, total: object) -> str | None:
    """How full something is, as a bar of characters and a number: ``███░░░░░░░░░  25 %``."""
    if pd.isna(used) or pd.isna(total) or not total:  # type: ignore[call-overload]
        return None
    share = float(used) / float(total)  # type: ignore[arg-type]
    full = min(_CELLS, round(share * _CELLS))
    return f"{'█' * full}{'░' * (_CELLS - full)} {share:>4.0%}"


def _names(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    parts = [table[column].fillna("").astype(str) for column in columns]
    return ["/".join(part for part in row if part) for row in zip(*parts, strict=True)]


def _shared(names: int, old: int, new: int) -> str:
    """How many names both have; with how many objects have them, where that is not one on either side."""
    return f"{names:,}" if names == old == new else f"{names:,} ({old:,} and {new:,} of that name)"


def _repeated(names: Counter[str]) -> str | None:
    """How many objects have these names, so that columns add up, and the names."""
    said = [f"{name} ({count} times)" if count > 1 else name for name, count in sorted(names.items())]
    if not said:
        return None
    twice = sum(count > 1 for count in names.values())
    more = f" and {len(said) - _SHOWN:,} more" if len(said) > _SHOWN else ""
    several = f" under {len(said):,} name{'s' if len(said) > 1 else ''}" if twice else ""
    return f"{names.total():,}{several}: " + ", ".join(said[:_SHOWN]) + more


def _some(names: Sequence[str]) -> str | None:
    if not names:
        return None
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{len(names):,}: " + ", ".join(names[:_SHOWN]) + more
