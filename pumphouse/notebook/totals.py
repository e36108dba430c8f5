"""What some servers add up to, and what would keep them from moving: known from the table, before there is a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pumphouse.findings import Finding
from pumphouse.notebook.display import MIB
from pumphouse.plan.states import treatment

#: Tells of servers (ids) which images are copied for them: image id -> bytes.
CopiedBytes = Callable[[Iterable[str]], Mapping[str, int]]


@dataclass(frozen=True)
class Totals:
    """What some servers add up to. Images count once each, those that they boot with too, as far as they are known;
    ``unsized`` servers have a flavor that was deleted.
    """

    servers: int
    vcpus: int
    ram_mib: int
    disk_gib: int
    images: int
    image_bytes: int
    unsized: int

    @classmethod
    def of(cls, servers: pd.DataFrame, copied: CopiedBytes | None = None) -> Totals:
        """The totals of these rows of a servers table.

        :param copied: tells of servers (ids) what is copied for them; without it the table's own images count.
        """
        images = servers.dropna(subset=["image_id"]).drop_duplicates("image_id")
        sizes = list(images["image_size_bytes"].dropna())
        if copied is not None:
            sizes = list(copied(map(str, servers.index)).values())
        return cls(
            servers=len(servers),
            vcpus=int(servers["vcpus"].sum()),
            ram_mib=int(servers["ram_mib"].sum()),
            disk_gib=int(servers["disk_gib"].sum() + servers["ephemeral_gib"].sum()),
            images=len(images) if copied is None else len(sizes),
            image_bytes=int(sum(sizes)),
            unsized=int(servers["vcpus"].isna().sum()),
        )

    def __str__(self) -> str:
        images = f"{self.images:,} {'image' if self.images == 1 else 'images'}"
        text = (
            f"{self.servers:,} {'server' if self.servers == 1 else 'servers'} · {self.vcpus:,} vCPU"
            f" · {self.ram_mib:,} MiB RAM · {self.disk_gib:,} GiB disk"
            f" · {self.image_bytes / MIB:,.1f} MiB in {images} to copy"
        )
        return text + (f" · {self.unsized} of unknown size" if self.unsized else "")


def obstacles(servers: pd.DataFrame) -> dict[str, str]:
    """Server id -> code of what keeps it from moving as it is now, as far as the table alone tells."""
    found: dict[str, str] = {}
    columns = ("status", "task_state", "volumes")
    for server_id, status, task, volumes in zip(servers.index, *(servers[name].array for name in columns), strict=True):
        code = "" if pd.isna(status) else treatment(str(status)).code
        if not pd.isna(task) and task:
            code = "server-busy"
        elif not pd.isna(volumes) and volumes:
            code = "server-volumes"
        if code:
            found[str(server_id)] = code
    return found


def blocked_text(servers: Iterable[str], codes: Mapping[str, str]) -> str:
    """Which of these servers would be refused, by code: ``2 would be refused: 2 server-state``."""
    counts = Counter(codes[server_id] for server_id in servers if server_id in codes)
    if not counts:
        return ""
    told = ", ".join(f"{number} {code}" for code, number in sorted(counts.items()))
    return f"{counts.total()} would be refused as they are: {told}"


def findings_of(servers: pd.DataFrame, findings: Iterable[Finding]) -> dict[str, tuple[str, ...]]:
    """Server id -> codes of the findings about it: by the id in its words, else by a name that only one server has."""
    names: dict[str, list[str]] = {}
    for server_id, name in zip(servers.index, servers["name"], strict=True):
        names.setdefault(f"server {name}", []).append(str(server_id))
    found: dict[str, set[str]] = {}
    for finding in findings:
        mine: list[Any] = names.get(finding.object, [])
        if len(mine) > 1:
            mine = [server_id for server_id in mine if server_id in finding.message]
        for server_id in mine:
            found.setdefault(server_id, set()).add(finding.code)
    return {server_id: tuple(sorted(codes)) for server_id, codes in found.items()}
