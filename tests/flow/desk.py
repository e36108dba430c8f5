"""An operator's desk in front of a lab: whole moves through the verbs that notebooks call, and a look at both clouds.

What the clouds hold is read and changed through openstacksdk here, never through pumphouse.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack
import requests
from openstack.connection import Connection

from pumphouse.approval import approve
from pumphouse.errors import PumphouseError
from pumphouse.plan.model import Plan
from pumphouse.selection import Selection, select_servers
from pumphouse.session import Report, Run, begin
from tests.labsite import LabSite
from tests.raw import ask

OPERATOR = "olga"
WAIT_S = 30.0


def eventually(look: Callable[[], Any], what: str) -> Any:
    """Look until there is something."""
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not come true within {WAIT_S:g} s"
        time.sleep(0.03)
    return found


@dataclass(frozen=True)
class Place:
    """Where a server is: its status at the source (None: gone), its copies' at the destination, and who answers."""

    source: str | None
    copies: tuple[str, ...] = ()
    answers: str | None = None


AT_SOURCE = Place("ACTIVE", (), "source")
MOVED = Place("SHUTOFF", ("ACTIVE",), "destination")
STOPPED = Place("SHUTOFF")
FINALISED = Place(None, ("ACTIVE",), "destination")


@dataclass(frozen=True)
class Done:
    """What a run came to. ``error`` is what ended it early; ``report`` and ``result`` are the journal's."""

    run_id: str
    plan: Plan
    result: str | None
    report: Report | None
    error: PumphouseError | None


@dataclass
class Desk:
    """A lab, both clouds through openstacksdk, and the servers that lived in it at first.

    ``on_line`` is told every line that a run reports, while it goes on.
    """

    lab: LabSite
    old: Connection
    new: Connection
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    since: float = 0.0
    on_line: Callable[[str], None] = field(default=lambda _line: None)

    @classmethod
    @contextlib.contextmanager
    def open(cls, lab: LabSite) -> Iterator[Desk]:
        """Connect, and note which servers live."""
        with lab.connect("old") as old, lab.connect("new") as new:
            desk = cls(lab, old, new)
            for server in ask(old.compute, "/servers/detail?all_tenants=1")["servers"]:
                if server["status"] in ("ACTIVE", "SHUTOFF") and server["OS-EXT-STS:task_state"] is None:
                    desk.servers[server["id"]] = server
            roomy = {"quota_class_set": {"instances": 100, "cores": 200, "ram": 1 << 20}}
            ask(new.compute, "/os-quota-class-sets/default", "PUT", json=roomy)
            yield desk

    def boot(self, owner: str, like: str, name: str, **more: Any) -> str:
        """Have an owner (an entry of ``clouds.yaml``) boot one more server at the source; its id."""
        was = self.servers[like]
        body = {"name": name, "imageRef": was["image"]["id"], "flavorRef": "1", **more}
        zone = {"availability_zone": was["OS-EXT-AZ:availability_zone"]}
        with self.lab.connect(owner) as cloud:
            made: str = ask(cloud.compute, "/servers", "POST", json={"server": {**body, **zone}})["server"]["id"]

        def settled() -> dict[str, Any] | None:
            found = self.source(made) or {}
            return found if found.get("status") == "ACTIVE" and not found["OS-EXT-STS:task_state"] else None

        self.servers[made] = eventually(settled, f"server {name}")
        return made

    # -- looking ------------------------------------------------------------------------------
    def ids(self, *names: str) -> list[str]:
        """Ids of the lab's servers by name."""
        found = {s["name"]: i for i, s in self.servers.items()}
        return [found[name] for name in names]

    def address(self, server_id: str, kind: str = "fixed") -> str:
        """The fixed (or floating) IP that a server had at first."""
        found = [a for group in self.servers[server_id]["addresses"].values() for a in group]
        return next(str(a["addr"]) for a in found if a["OS-EXT-IPS:type"] == kind)

    def source(self, server_id: str) -> dict[str, Any] | None:
        """A server of the source, or None."""
        with contextlib.suppress(openstack.exceptions.NotFoundException):
            found: dict[str, Any] = ask(self.old.compute, f"/servers/{server_id}")["server"]
            return found
        return None

    def copies(self, server_id: str) -> list[dict[str, Any]]:
        """The destination's servers that have the address of a source server, or its marker."""
        address = self.address(server_id)
        servers = ask(self.new.compute, "/servers/detail?all_tenants=1")["servers"]
        return [
            s
            for s in servers
            if s["metadata"].get("pumphouse_source_id") == server_id
            or any(a["addr"] == address for group in s["addresses"].values() for a in group)
        ]

    def places(self, server_ids: Sequence[str]) -> list[Place]:
        """Where servers are."""
        return [self.place(server_id) for server_id in server_ids]

    def place(self, server_id: str) -> Place:
        """Where one server is."""
        source, copies = self.source(server_id), self.copies(server_id)
        homes = {server_id: "source", **{copy["id"]: "destination" for copy in copies}}
        guest = self.guest(self.address(server_id))
        answers = homes.get(guest.split()[1], f"somebody else: {guest}") if guest else None
        return Place(source["status"] if source else None, tuple(copy["status"] for copy in copies), answers)

    def guest(self, address: str) -> str | None:
        """What answers on an address."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"http://{address}:{self.lab.guest_port}/", timeout=2).text.strip()
        except requests.RequestException:
            return None

    def changes(self) -> list[tuple[str, str]]:
        """All requests of this test that could change a cloud (logins are none)."""
        return [
            (row["method"], row["path"])
            for row in self.lab.requests(since=str(self.since))
            if row["method"] not in ("GET", "HEAD") and not row["path"].endswith("/tokens")
        ]

    def conscience(self) -> None:
        """No law of the site was broken, and every server lives exactly once (or is down, as it was or as said)."""
        assert self.lab.violations() == []
        sources = {s["id"]: s["status"] for s in ask(self.old.compute, "/servers/detail?all_tenants=1")["servers"]}
        copies: dict[str, list[str]] = {}
        for copy in ask(self.new.compute, "/servers/detail?all_tenants=1")["servers"]:
            for address in [a["addr"] for group in copy["addresses"].values() for a in group]:
                copies.setdefault(address, []).append(copy["status"])
        for server_id, before in self.servers.items():
            there = copies.get(self.address(server_id), [])
            states = [*there, *([sources[server_id]] if server_id in sources else [])]
            assert states, f"{before['name']} is lost"
            assert states.count("ACTIVE") == (before["status"] == "ACTIVE"), (before["name"], states)
            if there and before["status"] == "ACTIVE":
                assert self.guest(self.address(server_id)), f"{before['name']} does not answer"

    # -- acting by hand -----------------------------------------------------------------------
    def act(self, server_id: str, action: str, status: str) -> None:
        """Somebody does something to a source server; wait for it."""
        ask(self.old.compute, f"/servers/{server_id}/action", "POST", json={action: None})

        def there() -> bool:
            found = self.source(server_id)
            return found is not None and (found["status"], found["OS-EXT-STS:task_state"]) == (status, None)

        eventually(there, f"{server_id} {status}")

    # -- acting through pumphouse -------------------------------------------------------------
    @contextlib.contextmanager
    def run(self, site_file: Path | None = None) -> Iterator[Run]:
        """A run, ended and closed afterwards."""

        def report(line: str) -> None:
            self.lines.append(line)
            self.on_line(line)

        run = begin(site_file or self.lab.site_file, operator=OPERATOR, change="CHG-7", notebook="test", report=report)
        try:
            yield run
        finally:
            if run.journal.get_run(run.id).state == "running":
                run.end()
            run.source.close()
            run.destination.close()
            run.journal.close()

    def approve(self, plan: Plan, run: Run) -> None:
        """Somebody else approves a plan."""
        approve(plan, run.site.work_dir / "approvals", by="rita", reason="tested", replace=True)

    def do(
        self,
        kind: str,
        *,
        approved: bool = True,
        accepted: str = "",
        site_file: Path | None = None,
        chosen: Selection | None = None,
        **choice: Any,
    ) -> Done:
        """Carry out a whole notebook's worth: select, plan, check, gate, act, verify, report."""
        with self.run(site_file) as run:
            servers = run.inventory().servers
            selection = chosen or select_servers(servers, **choice)
            plan = getattr(run, f"plan_{kind}")(selection)
            run.require_clean(run.check(plan, accepted=accepted))
            if approved:
                self.approve(plan, run)
            run.require_approval(plan)
            error, report = None, None
            try:
                self._act(run, plan)
                report = run.report(plan)
            except PumphouseError as caught:
                error = caught
                run.end()
            return Done(run.id, plan, run.journal.get_run(run.id).result, report, error)

    def _act(self, run: Run, plan: Plan) -> None:
        if plan.kind == "move":
            run.prepare(plan)
            run.verify(plan, "prepare")
            run.cut_over(plan)
            run.verify(plan, "cutover")
        elif plan.kind == "finalise":
            run.finalise(plan)
            run.verify(plan, "finalise")
        else:
            run.roll_back(plan)
            run.verify(plan, "undo")
