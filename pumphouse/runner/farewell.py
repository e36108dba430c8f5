"""The last lines of a run in the terminal: what became of the servers, which are down, and how to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import click

from pumphouse.runner.outcome import Afterwards

#: Servers that are listed one by one; the record has them all.
_SHOWN = 30


def print_servers(found: Afterwards) -> None:
    """What became of each server, how long it was down, and what was kept, on standard output."""
    for line in _servers(found.servers):
        click.echo(line)
    for line in found.kept:
        click.echo(f"  kept: {line}")


def print_ways(found: Afterwards) -> None:
    """Servers that are down now, the plan that waits for its approval, and the commands to go on with."""
    for line in found.down:
        click.echo(click.style(f"  DOWN {line}", fg="red", bold=True))
    if found.plan_file is not None:
        click.echo(f"  plan: {found.plan_file}")
    for way in found.ways:
        click.echo(f"  {way.words}:")
        click.echo(f"    {way.command}")


def _servers(rows: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    if not any(row["result"] != "untouched" for row in rows):
        return
    results = Counter(str(row["result"]) for row in rows)
    yield "  servers: " + ", ".join(f"{number} {result}" for result, number in sorted(results.items()))
    width = max(len(str(row["name"])) for row in rows[:_SHOWN])
    for row in rows[:_SHOWN]:
        down_s = row.get("downtime_s")
        measured = f"down for {down_s:.1f} s" if down_s is not None else "downtime not measured"
        yield f"    {row['name']:<{width}}  {row['result']}{f', {measured}' if row['result'] == 'moved' else ''}"
    if len(rows) > _SHOWN:
        yield f"    and {len(rows) - _SHOWN:,} more in the record"
    timed = [(float(row["downtime_s"]), str(row["name"])) for row in rows if row.get("downtime_s") is not None]
    if timed:
        worst_s, name = max(timed)
        yield (
            f"  downtime: {worst_s:.1f} s at worst ({name}), {sum(down_s for down_s, _ in timed):.1f} s in all, "
            f"{len(timed)} of {len(rows)} measured"
        )
