"""What a picker's grid is made of, for servers, hosts and nodes: rows in words, what filters go by, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from pumphouse.findings import Finding
from pumphouse.nodes.spec import Hardware
from pumphouse.notebook.display import tone_of
from pumphouse.notebook.html import GOOD, OFF, WARN, clean, one_line
from pumphouse.notebook.tree import Group
from pumphouse.session.hosts import HostState
from pumphouse.session.rack import NodeState

NONE = "(none)"
_SEARCHED = ("name", "project_name", "status", "host", "flavor_name", "image_name", "fixed_ips", "floating_ips")
_SERVER_FILTERS = {
    "project": "project_name",
    "state": "status",
    "host": "host",
    "flavor": "flavor_name",
    "image": "image_name",
}


@dataclass(frozen=True)
class Sheet:
    """Things to choose from. ``ids`` are in the order of ``rows``, which is what the grid shows.

    ``filters``: label -> value of each row (missing: none); ``texts``: what a search looks through; ``findings``: id ->
    codes of what was found about it; ``obstacles``: id -> code of what keeps it from being taken; ``trees``: title of a
    tab -> makes its groups when it is opened.
    """

    noun: str
    caption: str
    ids: Sequence[str]
    rows: pd.DataFrame
    filters: Mapping[str, pd.Series]
    texts: Sequence[str]
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    obstacles: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, Callable[[], list[Group]]] = field(default_factory=dict)
    hint: str = ""

    def count(self, number: int) -> str:
        """So many of them, in words."""
        return f"{number:,} {self.noun}{'' if number == 1 else 's'}"


def sheet_of_servers(
    servers: pd.DataFrame,
    findings: Mapping[str, Sequence[str]],
    obstacles: Mapping[str, str],
    marks: Mapping[str, tuple[str, str]],
) -> Sheet:
    """The servers of a servers table; ``marks``: id -> a further code, and the words that are shown in its place."""

    def words(column: str) -> list[str]:
        return [clean(str(value)) for value in servers[column].fillna("")]

    def numbers(column: str) -> list[int | None]:
        return [None if pd.isna(value) else int(value) for value in servers[column]]

    ids = [str(server_id) for server_id in servers.index]
    rows = pd.DataFrame(
        {
            "server": words("name"),
            "project": words("project_name"),
            "state": [f"{tone_of(value).symbol} {value}" if value else "" for value in words("status")],
            "findings": [
                ", ".join(part for part in (marks[one][1] if one in marks else "", said) if part)
                for one, said in zip(ids, _found(ids, findings, obstacles), strict=True)
            ],
            "host": words("host"),
            "flavor": words("flavor_name"),
            "vCPUs": pd.array(numbers("vcpus"), dtype="Int64"),
            "RAM (MiB)": pd.array(numbers("ram_mib"), dtype="Int64"),
            "disk (GiB)": pd.array(numbers("disk_gib"), dtype="Int64"),
            "image": words("image_name"),
            "fixed IPs": words("fixed_ips"),
        }
    )
    searched = [servers[name].fillna("").astype(str) for name in _SEARCHED]
    return Sheet(
        noun="server",
        caption="Servers of the source",
        ids=ids,
        rows=rows,
        filters={label: servers[column] for label, column in _SERVER_FILTERS.items()},
        texts=[" ".join(row).casefold() for row in zip(servers.index.astype(str), *searched, strict=True)],
        findings={
            one: (*findings.get(one, ()), *((marks[one][0],) if one in marks else ()))
            for one in ids
            if one in findings or one in marks
        },
        obstacles=obstacles,
        trees={
            "By project": lambda: _groups(servers, "project_name"),
            "By host": lambda: _groups(servers, "host"),
        },
        hint="part of a name, address, image, flavor or id",
    )


def sheet_of_hosts(hosts: Sequence[HostState]) -> Sheet:
    """Compute hosts of the source."""
    obstacles = {one.host: first_of(one.obstacles) for one in hosts if one.obstacles}
    ids = [one.host for one in hosts]
    rows = pd.DataFrame(
        {
            "host": [clean(one.host) for one in hosts],
            "nova-compute": [_service(one.status, one.state) for one in hosts],
            "servers": _whole(one.servers for one in hosts),
            "blocked by": _found(ids, {one.host: _codes(one.obstacles) for one in hosts}, obstacles),
            "vCPUs in use": [_share(one.vcpus_used, one.vcpus) for one in hosts],
            "RAM in use (MiB)": [_share(one.ram_used_mib, one.ram_mib) for one in hosts],
            "node": [clean(one.node) for one in hosts],
            "zone": [clean(one.zone) for one in hosts],
        }
    )
    return Sheet(
        noun="host",
        caption="Compute hosts of the source",
        ids=ids,
        rows=rows,
        filters={
            "state": pd.Series([_plain(one.status, one.state) for one in hosts], index=ids, dtype="string"),
            "zone": pd.Series([one.zone or None for one in hosts], index=ids, dtype="string"),
            "servers": pd.Series(["some" if one.servers else "none" for one in hosts], index=ids, dtype="string"),
        },
        texts=[" ".join((one.host, one.node, one.zone, one.status, one.state)).casefold() for one in hosts],
        findings={one.host: _codes(one.obstacles) for one in hosts if one.obstacles},
        obstacles=obstacles,
        hint="part of a host's or node's name, or zone",
    )


def sheet_of_nodes(
    nodes: Sequence[NodeState], found: Mapping[str, Sequence[Finding]], hardware: Hardware | None = None
) -> Sheet:
    """Nodes of ``site.yaml``; ``found`` is what keeps each of them from being taken."""
    obstacles = {one.node: first_of(found[one.node]) for one in nodes if found.get(one.node)}
    ids = [one.node for one in nodes]
    codes = {name: _codes(found.get(name, ())) for name in ids}
    rows = pd.DataFrame(
        {
            "node": [clean(one.node) for one in nodes],
            "role": [clean(one.role) for one in nodes],
            "belongs to": [one.owner or "nobody" for one in nodes],
            "power": [_power(one) for one in nodes],
            "VLAN": [_vlan(one, hardware) for one in nodes],
            "blocked by": _found(ids, codes, obstacles),
            "servers": _whole(one.servers for one in nodes),
            "host": [clean(one.host) for one in nodes],
            "nova-compute": [_service(*_pair(one.service)) for one in nodes],
            "in Fuel": [one_line(" ".join((one.fuel, one.fuel_name.partition(".")[0]))) for one in nodes],
        }
    )
    return Sheet(
        noun="node",
        caption="Nodes of the site",
        ids=ids,
        rows=rows,
        filters={
            "role": pd.Series([one.role or None for one in nodes], index=ids, dtype="string"),
            "owner": pd.Series([one.owner or "nobody" for one in nodes], index=ids, dtype="string"),
            "power": pd.Series([one.power or None for one in nodes], index=ids, dtype="string"),
        },
        texts=[
            " ".join((one.node, one.role, one.host, one.owner, one.serial, one.fuel_name)).casefold() for one in nodes
        ],
        findings={name: told for name, told in codes.items() if told},
        obstacles=obstacles,
        hint="part of a node's or host's name, role or serial",
    )


def first_of(findings: Sequence[Finding]) -> str:
    """The code of the first finding that blocks."""
    return next((one.code for one in findings if one.severity == "block"), "")


def _codes(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.code for one in findings))


def _found(ids: Sequence[str], findings: Mapping[str, Sequence[str]], obstacles: Mapping[str, str]) -> list[str]:
    said = []
    for one in ids:
        codes = sorted({*findings.get(one, ()), *([obstacles[one]] if obstacles.get(one) else [])})
        mark = f"{WARN.symbol} " if obstacles.get(one) else ""
        said.append(mark + ", ".join(codes) if codes else "")
    return said


def _whole(numbers: Iterable[int | None]) -> pd.api.extensions.ExtensionArray:
    return pd.array(list(numbers), dtype="Int64")


def _share(used: int | None, total: int | None) -> str:
    return "" if used is None or total is None else f"{used:,} of {total:,}"


def _plain(status: str, state: str) -> str | None:
    return ", ".join(part for part in (status, state) if part) or None


def _pair(service: str) -> tuple[str, str]:
    status, _, state = service.partition(", ")
    return status, state


def _service(status: str, state: str) -> str:
    if not status and not state:
        return ""
    good = (status, state) == ("enabled", "up")
    return f"{(GOOD if good else OFF).symbol} {clean(_plain(status, state) or '')}"


def _power(one: NodeState) -> str:
    known = {"on": f"{GOOD.symbol} on", "off": f"{OFF.symbol} off"}.get(one.power, one.power)
    return f"{WARN.symbol} no answer" if one.problems and not known else known or "not asked"


def _vlan(one: NodeState, hardware: Hardware | None) -> str:
    if one.vlan is None:
        return ""
    if hardware is None:
        return str(one.vlan)
    names = {hardware.admin_vlan: "Admin", hardware.private_vlan: "Private", hardware.public_vlan: "Public"}
    return f"{one.vlan} {names.get(one.vlan, '')}".strip()


def _groups(servers: pd.DataFrame, column: str) -> list[Group]:
    """Projects or hosts with their servers, by name; servers without one come last."""
    named = servers[column].fillna(NONE).astype(str)
    found = []
    for name, rows in servers.groupby(named.to_numpy(), sort=False):
        sizes = f"{int(rows['vcpus'].sum()):,} vCPU, {int(rows['ram_mib'].sum()):,} MiB RAM"
        members = tuple(
            (str(server_id), clean(f"{title}  ({status})"))
            for server_id, title, status in zip(rows.index, rows["name"], rows["status"], strict=True)
        )
        found.append(Group(str(name), clean(str(name)), sizes, members))
    return sorted(found, key=lambda group: (group.key == NONE, group.key))
