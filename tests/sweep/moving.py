"""The move of a whole project: three servers, and every kind of step that a move plan can have.

``shop`` runs, has a floating IP and is carried by snapshot; ``portal`` runs, has ``user_data`` and is rebuilt from its
image; ``mail`` is stopped. Their owner's password is carried through the databases. The project has quotas of its own,
for compute and network, and a floating IP that no server has.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from passlib.hash import pbkdf2_sha512

import pumphouse
from pumphouse.approval import approve
from pumphouse.errors import PlanError, PumphouseError
from pumphouse.lab import process
from pumphouse.lab.server import LabOptions
from pumphouse.model import MARKER
from pumphouse.plan.model import Plan
from pumphouse.records.archive import site_archive
from pumphouse.records.verify import verify_archive
from pumphouse.selection import Selection, select_servers
from pumphouse.session import Run
from pumphouse.site import load_site
from tests.labsite import LabSite
from tests.raw import ask
from tests.sweep.canon import Records, differences
from tests.sweep.scenario import Scenario
from tests.sweep.world import World

PROJECT = "globex"
SNAPSHOT, REBUILT, STOPPED = "shop", "portal", "mail"
QUOTAS = {"instances": 13, "cores": 27, "floating_ips": 12, "security_groups": 16}
#: How long a service that is gone is waited for: some questions long, since no clock has to go on here.
OUTAGE_S = 30
#: Kinds of steps that the plan must have, or nothing is swept.
KINDS = frozenset(
    {
        "project", "role", "user", "assignment", "secret", "password", "flavor", "image", "keypair", "security-group",
        "security-group-rules", "quota", "network-quota", "reserve-slice", "network", "router", "port",
        "spare-floating-ip", "stop", "snapshot", "boot", "floating-ip", "settle",
    }
)  # fmt: skip

#: What no two runs have in common, and nobody needs: clocks, counters, logs, where the scheduler put a server.
_PASSING = frozenset(
    {
        "created_at", "updated_at", "launched_at", "terminated_at", "deleted_at", "revision_number", "actions", "epoch",
        "number", "reservation_id", "host", "progress", "password_sets", "binding:host_id",
        "standard_attr_id",
    }
)  # fmt: skip
#: Tables that only remember what was there once, or are looked at otherwise.
_NOT_COMPARED = frozenset({"used_ids", "order", "deleted_image_ids", "migrations", "databases"})
_SETTLED = ("verified",)


class Move(Scenario):
    """Prepare and cut over the project; undoing rolls it back."""

    name = "move"

    def prepare(self, folder: Path) -> World:
        """A lab that takes no time, a site with databases, and an approved plan."""
        info = process.up(folder / "lab", LabOptions(scale=0.0, rate_limit="off", owner_pid=os.getpid()))
        lab = LabSite(info.directory, info.facts)
        _populate(lab)
        world = World(lab, folder / "site")
        world.folder.mkdir()
        world.site_file.write_text(yaml.safe_dump(_site(lab)), encoding="utf-8")
        with _run(world) as run:
            plan = run.plan_move(_selection(run))
            run.require_clean(run.check(plan))
            _approve(run, plan)
        missing = KINDS - {step.kind for step in plan.steps}
        assert not missing, f"the plan has no step of kind {', '.join(sorted(missing))}"
        return world

    def command(self, world: World) -> dict[str, Any]:
        """What the notebook does."""
        return _told(world, self._move)

    @staticmethod
    def _move(run: Run) -> None:
        plan = run.plan_move(_selection(run))
        run.require_clean(run.check(plan))
        run.require_approval(plan)
        run.prepare(plan)
        run.verify(plan, "prepare")
        run.cut_over(plan)
        run.verify(plan, "cutover")
        run.report(plan)

    def undo(self, world: World) -> dict[str, Any]:
        """Roll back, approved by the way."""
        return _told(world, self._roll_back)

    @staticmethod
    def _roll_back(run: Run) -> None:
        try:
            plan = run.plan_rollback(_selection(run))
        except PlanError as error:
            # said before anything is read into it: there is nothing to take back
            run.close_with = f"nothing: {error}"  # type: ignore[attr-defined]
            return
        run.require_clean(run.check(plan))
        _approve(run, plan)
        run.require_approval(plan)
        run.roll_back(plan)
        run.verify(plan, "undo")
        run.report(plan)

    def records(self, world: World) -> Records:
        """Both clouds, the network, who has which password, and what the journal holds of steps and mappings."""
        site = world.site()
        found = records_of_clouds(site)
        found += [("password", row) for row in _passwords(world, site)]
        journal = world.journal()
        found += [("mapping", [row["kind"], row["source_id"], row["destination_id"]]) for row in journal["mappings"]]
        return _without_image_ids(found, site)

    def broken(self, world: World) -> list[str]:
        """The lab's own laws; and no server is without a copy."""
        site = world.site()
        told = [f"violation: {row}" for row in site["network"]["violations"]]
        sources = {s["name"] for s in site["source"]["servers"].values() if not s["deleted"]}
        return told + [f"{name} is lost at the source" for name in (SNAPSHOT, REBUILT, STOPPED) if name not in sources]

    def untrue(self, world: World) -> list[str]:
        """Every step of a finished plan is verified, no run is open, no claim is held, the archive proves itself."""
        told = []
        journal = world.journal()
        told += [f"run {row['id']} is {row['state']}" for row in journal["runs"] if row["state"] != "ended"]
        told += [f"claim {row['object_key']} is held by run {row['run_id']}" for row in journal["claims"]]
        verdict = verify_archive(site_archive(load_site(world.site_file)))
        unsigned = {"unsigned"}
        told += [str(problem) for problem in verdict.problems if problem.kind not in unsigned]
        return told

    def clear(self, error: str) -> bool:
        """It names an object or a cloud, and a remedy."""
        return "Remedy:" in error and len(error) > 60

    def unseen(self, place: str) -> str:
        """What Nova's API of 2014 does not tell: reservations (until 2.4) and locks (until 2.9)."""
        if place.startswith("not done: ") and "reserve fixed IP" in place:
            return "Nova of 2014 shows a reserved fixed IP that nobody uses as free: only its database could tell"
        if place.startswith("not done: lock server"):
            return "Nova of 2014 does not show whether a server is locked: only its database could tell"
        return ""

    def left_over(self, want: dict[str, list[str]], have: dict[str, list[str]], told: dict[str, Any]) -> list[str]:
        """Everything but mappings: those of what was there before, and stays, are of use to the next move."""
        return [line for line in differences(want, have) if " in mapping: " not in line]


class RollBack(Move):
    """The roll back of that move, once it is done."""

    name = "roll-back"
    undoes = False  # who moves again moves by a plan of its own

    def prepare(self, folder: Path) -> World:
        """The project has moved."""
        world = super().prepare(folder)
        told = _told(world, self._move)
        assert told["result"] == "succeeded", told
        return world

    def command(self, world: World) -> dict[str, Any]:
        """What the notebook does; a plan that was begun is taken up."""
        return _told(world, self._roll_back)


# -- the start ------------------------------------------------------------------------------
def _populate(lab: LabSite) -> None:
    """Make globex what the sweep needs, through the old cloud's own APIs and its Keystone's database."""
    database = lab.directory / "databases" / "old-keystone.db"
    with lab.connect("old") as old, lab.connect("old-globex-user") as owner:
        servers = {s["name"]: s for s in ask(old.compute, "/servers/detail?all_tenants=1")["servers"]}
        for name in ("erp", STOPPED):
            ask(old.compute, f"/servers/{servers[name]['id']}", "DELETE")
        portal = {
            "name": REBUILT,
            "flavorRef": servers["erp"]["flavor"]["id"],
            "imageRef": servers["erp"]["image"]["id"],
            "key_name": "globex-key",
            "metadata": {"tier": "front"},
            "user_data": base64.b64encode(b"#!/bin/sh\nexit 0\n").decode(),
            "security_groups": [{"name": "default"}, {"name": "db"}],
        }
        _boot(lab, owner, old, portal)
        mail = {"name": STOPPED, "flavorRef": "1", "imageRef": servers["mail"]["image"]["id"], "key_name": "globex-key"}
        stopped = _boot(lab, owner, old, mail)
        ask(old.compute, f"/servers/{stopped}/action", "POST", json={"os-stop": None})
        project = servers[SNAPSHOT]["tenant_id"]
        ask(old.compute, f"/os-quota-sets/{project}", "PUT", json={"quota_set": QUOTAS})
    with closing(sqlite3.connect(database)) as connection, connection:
        # the same password, hashed in a way that the new Keystone reads
        own = pbkdf2_sha512.using(rounds=10).hash(lab.password("old-globex-user"))
        connection.execute("UPDATE user SET password = ? WHERE name = 'globex-user'", (own,))


def _boot(lab: LabSite, owner: Any, old: Any, server: dict[str, Any]) -> str:
    made = str(ask(owner.compute, "/servers", "POST", json={"server": server})["server"]["id"])
    end = time.monotonic() + 30
    while ask(old.compute, f"/servers/{made}")["server"]["status"] != "ACTIVE":
        assert time.monotonic() < end, f"{server['name']} does not boot"
    return made


def _site(lab: LabSite) -> dict[str, Any]:
    site: dict[str, Any] = yaml.safe_load((lab.directory / "site-databases.yaml").read_text(encoding="utf-8"))
    for side in ("source", "destination"):
        for entry in site[side]["databases"].values():
            entry["url"] = f"sqlite:///{lab.directory}/{entry['url'].removeprefix('sqlite:///')}"
    site["clouds_yaml"] = str(lab.clouds_file)
    # of the others' keypairs nobody asks, and every login costs all the runs of a sweep
    site["source"]["owners"] = {"globex-user": site["source"]["owners"]["globex-user"]}
    site["carry"] = {"default": "rebuild", "servers": {SNAPSHOT: "snapshot"}}
    site["destination"]["availability_zones"] = {"az-west": None}  # where the old scheduler may put what is booted
    site["limits"] |= {"parallel": 1, "hold_s": 0, "outage_s": OUTAGE_S}
    return site


# -- runs -----------------------------------------------------------------------------------
@contextmanager
def _run(world: World) -> Iterator[Run]:
    with pumphouse.begin(
        world.site_file, operator="olga", change="CHG-7", notebook="sweep", report=lambda _line: None
    ) as run:
        yield run


def _selection(run: Run) -> Selection:
    return select_servers(run.inventory().servers, projects=[PROJECT])


def _approve(run: Run, plan: Plan) -> None:
    approve(plan, run.site.work_dir / "approvals", by="rita", reason="swept", replace=True)


def _told(world: World, act: Callable[[Run], None]) -> dict[str, Any]:
    """Run a verb; how it ended. What is no error of pumphouse's own is a crash and goes through."""
    run_id, error = "", ""
    said = ""
    try:
        with _run(world) as run:
            run_id = run.id
            act(run)
            said = getattr(run, "close_with", "")
    except PumphouseError as caught:
        error = f"{type(caught).__name__}: {caught}"
    results = {row["id"]: row["result"] for row in world.journal().get("runs", [])}
    return {"result": results.get(run_id), "error": error, "said": said}


# -- looking --------------------------------------------------------------------------------
def records_of_clouds(site: dict[str, Any]) -> Records:
    """Both clouds, and who is alive on the network between them."""
    found: Records = [("network", row) for row in site["network"]["alive"]]
    found += [("floating", row) for row in site["network"]["floating"].items()]
    for cloud in ("source", "destination"):
        found += _records(cloud, site[cloud])
    return found


def _records(cloud: str, tables: dict[str, Any]) -> Records:
    found: Records = []
    for table, content in tables.items():
        if table in _NOT_COMPARED:
            continue
        rows = content.items() if isinstance(content, dict) else enumerate(content)
        for key, row in rows:
            if isinstance(row, dict) and (row.get("deleted_at") or row.get("deleted")):
                continue
            place = key if isinstance(content, dict) else 0
            found.append((f"{cloud} {table}", [place, _lasting(row)]))
    return found


def _without_image_ids(found: Records, site: dict[str, Any]) -> Records:
    """Copies of images by their names: Glance never gives an id out twice, so that a second copy has one of its own."""
    names = {image_id: f"image {image['name']}" for image_id, image in site["destination"]["images"].items()}
    records: Records = []
    for table, row in found:
        text = json.dumps(row)
        if table == "mapping":
            row[2] = names.get(row[2], row[2])
        elif table.startswith("destination"):
            for image in site["destination"]["images"].values():
                marker = image.get("properties", {}).get(MARKER)
                if marker and marker not in site["source"]["images"]:
                    text = text.replace(marker, names[image["id"]])  # the snapshot is gone from the source
                elif table == "destination images" and marker:
                    text = text.replace(f'"{MARKER}": "{marker}"', f'"{MARKER}": "its source"')
            for image_id, name in names.items():
                text = text.replace(image_id, name)
            row = json.loads(text)
        records.append((table, row))
    return records


def _lasting(row: Any) -> Any:
    if isinstance(row, dict):
        return {
            key: _lasting(value)
            for key, value in row.items()
            if key not in _PASSING and not (key == "id" and isinstance(value, int))
        }
    return [_lasting(item) for item in row] if isinstance(row, list) else row


def _passwords(world: World, site: dict[str, Any]) -> list[list[str]]:
    """User by user: whether the source's own hash opens at the destination, or something else."""
    own = {row[3] for row in site["databases"]["old-keystone.db"]["user"]}
    new = site["databases"]["new-keystone.db"]
    names = {row[0]: row[3] for row in new["local_user"]}
    hashes = {row[1]: row[4] for row in new["password"]}
    return [[name, "own" if hashes.get(key) in own else "another"] for key, name in sorted(names.items())]
