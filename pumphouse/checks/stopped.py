"""Servers that are stopped because pumphouse stopped them, by a journal that is not this one."""

from __future__ import annotations

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.plan.model import Plan
from pumphouse.plan.ports import port_name

#: Acts of Nova after which a server's state is what somebody wanted.
_SWITCHES = frozenset({"start", "stop", "create", "reboot", "rebuild", "resume", "unpause", "unshelve", "unrescue"})


def check_stopped(plan: Plan, source: Cloud, inventory: Inventory) -> list[Finding]:
    """Whether the plan takes a stop of ours for its owner's wish: its copy would arrive stopped (reads the source).

    A journal that was lost, replaced or restored from a backup does not know that it stopped a server. Nova knows who
    did (``os-instance-actions``), and the destination has the port that was made ready for it.
    """
    found = []
    for server in plan.servers if plan.kind == "move" else ():
        if server.status != "SHUTOFF":
            continue
        try:
            acts = [act for act in source.compute.list_actions(server.id) if act.name in _SWITCHES]
        except CloudError:
            continue
        if not acts or acts[-1].name != "stop" or acts[-1].user_id != source.user_id:
            continue
        there = inventory.destination
        ready = there is not None and bool(there.ports_named(port_name(server.id)))
        said = f"({server.id}) was stopped at {acts[-1].started_at:%Y-%m-%d %H:%M:%S} UTC by {source.name}'s own user"
        remedy = (
            "if a move was under way, go on with the journal that it was begun with; else start the server and take "
        )
        found.append(
            Finding(
                "block" if ready else "warn",
                "stopped-by-us",
                f"server {server.name}",
                f"{said}, and this journal knows of no move of it{' that made its port ready' if ready else ''}: as "
                f"planned, its copy arrives stopped.",
                remedy + "the inventory again, or accept `stopped-by-us` if it is to stay stopped.",
            )
        )
    return found
