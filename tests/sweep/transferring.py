"""Nodes: one that holds running servers is acquired; an empty one is transferred, from the source to the destination.

Both are undone by giving the node back: from everywhere, until the deployment that overwrites its disk is begun; then
that is said, and nothing is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import yaml

import pumphouse
from pumphouse.errors import PlanError, PumphouseError
from pumphouse.lab import process
from pumphouse.lab.server import LabOptions
from pumphouse.plan.model import Plan
from pumphouse.session import Run
from tests.hardware.hall import LabHall
from tests.labsite import LabSite
from tests.sweep.canon import Records, differences
from tests.sweep.moving import OUTAGE_S, Move, _approve, records_of_clouds
from tests.sweep.world import World


class Nodes(Move):
    """What both have in common."""

    node: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    #: One switch, which can be asked in two ways.
    switch: ClassVar[str]

    def prepare(self, folder: Path) -> World:
        """A lab with machines that takes no time, a site, and an approved plan."""
        options = LabOptions(scale=0.0, rate_limit="off", owner_pid=os.getpid(), hardware=True, content="plain")
        info = process.up(folder / "lab", options)
        lab = LabSite(info.directory, info.facts)
        LabHall(lab).ground()
        world = World(lab, folder / "site")
        world.folder.mkdir()
        site = yaml.safe_load(lab.site_file.read_text(encoding="utf-8"))
        site["clouds_yaml"] = str(lab.clouds_file)
        site["limits"] |= {"parallel": 1, "outage_s": OUTAGE_S}
        for port in site["nodes"][self.node]["ports"]:
            port["switch"] = self.switch
        world.site_file.write_text(yaml.safe_dump(site), encoding="utf-8")
        with _run(world) as run:
            _approve(run, self._plan(run))
        return world

    def _plan(self, run: Run) -> Plan:
        raise NotImplementedError

    def command(self, world: World) -> dict[str, Any]:
        """What the notebook does."""
        return _told(world, self._carry_out)

    def _carry_out(self, run: Run) -> None:
        plan = self._plan(run)
        run.require_clean(run.check(plan))
        run.require_approval(plan)
        for phase in self.phases:
            getattr(run.hardware, phase)(plan)
            run.verify(plan, phase)
        run.report(plan)

    def undo(self, world: World) -> dict[str, Any]:
        """Give the node back, approved by the way."""
        before = world.site()
        told = _told(world, self._give_back)
        begun = any(row["step_key"] == f"node-deploy:{self.node}" for row in world.journal()["events"])
        if "disk-overwritten" in told["error"]:
            told |= {"error": "", "refused": True, "changed": world.site() != before}
        return told | {"begun": begun}

    def _give_back(self, run: Run) -> None:
        try:
            plan = run.hardware.plan_give_back(self.node)
        except PlanError as error:
            run.close_with = f"nothing: {error}"  # type: ignore[attr-defined]
            return
        run.require_clean(run.check(plan))
        _approve(run, plan)
        run.require_approval(plan)
        run.hardware.give_back(plan)
        run.verify(plan, "undo")
        run.report(plan)

    def records(self, world: World) -> Records:
        """Both clouds, the network, machines, switch ports, and what Fuel shows."""
        site = world.site()
        found = records_of_clouds(site)
        hardware = site["hardware"]
        for table in ("machines", "ports"):
            found += [(table, row) for row in hardware[table].values()]
        for table in ("clusters", "nodes", "layouts"):
            found += [(f"fuel {table}", row) for row in hardware["fuel"][table]]
        # Fuel remembers which records it deleted; nobody needs that
        tasks = [[task["name"], task["status"]] for task in hardware["fuel"]["tasks"]]
        found += [("fuel tasks", task) for task in tasks if task != ["node_deletion", "ready"]]
        return found

    def broken(self, world: World) -> list[str]:
        """The lab's own laws; and every server is where it was, in the source."""
        site = world.site()
        told = [f"violation: {row}" for row in site["network"]["violations"]]
        there = sum(not server["deleted"] for server in site["source"]["servers"].values())
        lost = int(world.lab.facts["servers"]) - there
        return told + ([f"{lost} servers are lost at the source"] if lost else [])

    def left_over(self, want: dict[str, list[str]], have: dict[str, list[str]], told: dict[str, Any]) -> list[str]:
        """Nothing; but once the deployment was begun, giving back must be refused, and nothing be done."""
        refused = bool(told.get("refused"))
        if refused != told.get("begun", False):
            return [f"giving back is refused: {refused}, the deployment was begun: {told['begun']}"]
        if not refused:
            return differences(want, have)
        return ["giving back was refused, yet something was done"] if told.get("changed", False) else []


class Acquire(Nodes):
    """The servers of a host migrate live to others, and the node leaves the source."""

    name = "acquire"
    node = "cmp-02"
    phases = ("evacuate", "release")
    switch = "sw1"

    def _plan(self, run: Run) -> Plan:
        return run.hardware.plan_acquire(self.node)


class Transfer(Nodes):
    """An empty node leaves the source, and Fuel makes it a compute host of the destination."""

    name = "transfer"
    node = "cmp-05"
    phases = ("release", "discover", "install", "prove")
    switch = "sw1-snmp"

    def _plan(self, run: Run) -> Plan:
        return run.hardware.plan_transfer(self.node, copy_disks=False, discovery_s=60.0)


@contextmanager
def _run(world: World) -> Iterator[Run]:
    with pumphouse.begin(
        world.site_file, operator="olga", notebook="sweep", hardware=True, report=lambda _line: None
    ) as run:
        yield run


def _told(world: World, act: Callable[[Run], None]) -> dict[str, Any]:
    """Run a verb; how it ended. What is no error of pumphouse's own is a crash and goes through."""
    run_id, error, said = "", "", ""
    try:
        with _run(world) as run:
            run_id = run.id
            act(run)
            said = getattr(run, "close_with", "")
    except PumphouseError as caught:
        error = f"{type(caught).__name__}: {caught}"
    results = {row["id"]: row["result"] for row in world.journal().get("runs", [])}
    return {"result": results.get(run_id), "error": error, "said": said}
