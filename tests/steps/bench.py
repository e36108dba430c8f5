"""A lab with prepared ground, on which one step at a time is carried out, broken, repeated and undone.

What the clouds hold is read and changed through openstacksdk here, never through pumphouse.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import openstack
import pytest
import requests
from openstack.connection import Connection

from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.clouds.http import Wire
from pumphouse.errors import PumphouseError, StepError
from pumphouse.executor import Execution, execute
from pumphouse.inventory import Inventory, take_snapshot
from pumphouse.journal import Journal, StepState
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.model import Plan, PlannedStep, PlanServer, order
from pumphouse.plan.move import plan_move
from pumphouse.plan.networks import taken_addresses
from pumphouse.secretstore import SecretStore
from pumphouse.selection import select_servers
from pumphouse.site import Site, load_site
from pumphouse.steps import STEPS, Context
from tests.labsite import LabSite
from tests.raw import ask

WAIT_S = 20.0


class Killed(BaseException):
    """The process ended here, without a chance to tidy up."""


class MortalJournal(Journal):
    """The journal of a process that dies just before, or just after, it writes an event."""

    dies_before = ""
    dies_after = ""

    def write(
        self,
        run_id: str,
        plan_hash: str,
        step_key: str,
        event: str,
        data: Mapping[str, Any] | None = None,
        *,
        mapping: tuple[str, str, str] | None = None,
    ) -> None:
        """Write, or die."""
        if event == self.dies_before:
            raise Killed(event)
        super().write(run_id, plan_hash, step_key, event, data, mapping=mapping)
        if event == self.dies_after:
            raise Killed(event)


def unique(word: str = "x") -> str:
    """A name that no other test uses."""
    return f"{word}-{secrets.token_hex(4)}"


def eventually(look: Callable[[], Any], what: str) -> Any:
    """Look until there is something."""
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not come true within {WAIT_S:g} s"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Write:
    """A request that carries a step's change, as faults are aimed at it (``path`` and ``body`` are patterns)."""

    method: str
    path: str
    service: str = "destination.*"
    body: str = ""


@dataclass
class Bench:
    """A lab, both clouds as pumphouse and as openstacksdk see them, and an ``acme`` prepared at the destination.

    ``ground`` is a plan of moving acme, of which all preparing steps are done: its steps are patterns for tests, and
    its mappings are known to every journal that :meth:`scene` opens.
    """

    lab: LabSite
    site: Site
    source: OpenStackCloud
    destination: OpenStackCloud
    old: Connection
    new: Connection
    owner: Connection  # acme-user at the source
    ground: Plan = field(init=False)
    mappings: list[tuple[str, str, str]] = field(init=False)
    mapped: Path = field(init=False)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    booted: list[str] = field(default_factory=list)
    since: float = 0.0
    _hosts: Iterator[int] = field(default_factory=lambda: itertools.count(100))
    _spare: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def open(cls, lab: LabSite) -> Bench:
        """Connect everybody and prepare the ground."""
        site = replace(load_site(lab.site_file), outage_s=0.0)
        stack = contextlib.ExitStack()
        source, destination = (
            connect(name, side=side, clouds_yaml=site.clouds_yaml, sleep=_brief)
            for name, side in ((site.source_cloud, "source"), (site.destination_cloud, "destination"))
        )
        stack.callback(source.close)
        stack.callback(destination.close)
        old, new, owner = (stack.enter_context(lab.connect(name)) for name in ("old", "new", "old-acme-user"))
        bench = cls(lab, site, source, destination, old, new, owner, stack=stack)
        bench._prepare()
        quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1, "key_pairs": -1, "security_group_rules": -1}}
        for conn, project in ((old, bench.project), (new, bench.there("project", bench.project))):
            ask(conn.compute, f"/os-quota-sets/{project}", "PUT", json=quota)
        floating = {"quota_set": {"floating_ips": -1}}
        ask(old.compute, f"/os-quota-sets/{bench.project}", "PUT", json=floating)
        none = dict.fromkeys(("network", "subnet", "port", "router", "floatingip", "security_group_rule"), -1)
        for project in (bench.there("project", bench.project), destination.project_id):
            ask(new.network, f"/quotas/{project}", "PUT", json={"quota": {**none, "security_group": -1}})
        base = ipaddress.ip_network(str(lab.facts["floating_cidr"])).network_address
        wider = {"floating_ips_bulk_create": {"ip_range": f"{base + 64}/26", "pool": "nova", "interface": "eth1"}}
        ask(old.compute, "/os-floating-ips-bulk", "POST", json=wider)
        return bench

    def close(self) -> None:
        """Close all connections."""
        self.stack.close()

    def _prepare(self) -> None:
        inventory = Inventory(
            take_snapshot(self.source, owners=self._owners(), progress=None),
            take_snapshot(self.destination, progress=None),
        )
        taken = taken_addresses(inventory.source, self.source.nova_network)
        selection = select_servers(inventory.servers, projects=["acme"])
        plan, _ = plan_move(inventory, selection, self.site, taken=taken)
        journal = Journal.open(f"sqlite:///{self.site.work_dir / 'ground.db'}")
        self.ground = plan
        run_id = start(journal)
        ctx = Context(
            self.source, self.destination, self.site, journal, SecretStore(self.site.secrets_file), plan, run_id
        )
        keep(journal, plan)
        execute(ctx, [step for step in plan.phase("prepare") if step.kind != "port"])
        ctx.close()
        maps = {(STEPS[s.kind].maps, s.params["source_id"]) for s in plan.steps if STEPS[s.kind].maps}
        self.mappings = [
            (str(kind), source_id, found)
            for kind, source_id in sorted(maps, key=str)
            if (found := journal.mapping(str(kind), source_id)) is not None
        ]
        journal.close()
        self.mapped = self.site.work_dir / "mapped.db"
        empty = Journal.open(f"sqlite:///{self.mapped}")
        for mapping in self.mappings:
            empty.write("ground", "ground", "@ground", "note", mapping=mapping)
        empty.close()

    def _owners(self) -> list[OpenStackCloud]:
        entries = [name for user, name in self.site.owners.items() if user.startswith("acme")]
        owners = [connect(name, side="source", clouds_yaml=self.site.clouds_yaml) for name in entries]
        for owner in owners:
            self.stack.callback(owner.close)
        return owners

    # -- the ground ---------------------------------------------------------------------------
    def pattern(self, kind: str, **params: Any) -> PlannedStep:
        """The first planned step of a kind whose parameters are these."""
        for step in self.ground.steps:
            if step.kind == kind and all(step.params[name] == value for name, value in params.items()):
                return step
        raise AssertionError(f"the ground has no {kind} {params}")

    @property
    def project(self) -> str:
        """acme's id at the source."""
        return str(self.pattern("project").params["source_id"])

    @property
    def network(self) -> str:
        """The network's id at the source."""
        return str(self.pattern("network").params["source_id"])

    def there(self, kind: str, source_id: str) -> str:
        """Destination id of something on the ground."""
        return next(d for k, s, d in self.mappings if (k, s) == (kind, source_id))

    @property
    def acme(self) -> str:
        """acme's id at the destination."""
        return self.there("project", self.project)

    def address(self) -> str:
        """A fixed IP that nobody holds."""
        base = ipaddress.ip_network(str(self.lab.facts["fixed_cidr"])).network_address
        number = next(self._hosts)
        assert number < 235, "the tests used up the addresses below the destination's pool"
        return str(base + number)

    def spare_floating(self, cidr: str) -> str:
        """A floating IP that nobody holds, of neither cloud's pool."""
        number = next(self._spare)
        assert number < 60, "the tests used up the floating addresses between the pools"
        return str(ipaddress.ip_network(cidr)[130 + number])

    @cached_property
    def owner_there(self) -> Connection:
        """acme-user at the destination, with the secret that pumphouse made."""
        auth = {
            "username": "acme-user",
            "password": SecretStore(self.site.secrets_file).get("acme-user"),
            "project_id": self.acme,
            "project_name": None,
        }
        auth = {**self.new.config.config["auth"], **auth}
        return self.stack.enter_context(self.lab.connect("new", auth=auth))

    def tidy(self) -> None:
        """Take away the servers that a test booted, so that addresses and sockets last."""
        if not self.booted:
            return
        copies = ask(self.new.compute, "/servers/detail?all_tenants=1")["servers"]
        ours = [copy["id"] for copy in copies if copy["name"].startswith("srv-")]
        for server_id in ours:
            ask(self.new.compute, f"/servers/{server_id}", "DELETE")
        eventually(lambda: not any(map(self.destination_server, ours)), "deletion")
        ports = ask(self.new.network, "/ports")["ports"]
        for port in [p for p in ports if any(p["name"] == f"pumphouse {s}" for s in self.booted)]:
            ask(self.new.network, f"/ports/{port['id']}", "DELETE")
        for server_id in self.booted:
            with contextlib.suppress(openstack.exceptions.NotFoundException):
                ask(self.old.compute, f"/servers/{server_id}", "DELETE")
        self.booted.clear()

    # -- servers ------------------------------------------------------------------------------
    def boot_source(self, **options: Any) -> dict[str, Any]:
        """A running server of acme-user at the source, as Nova shows it."""
        name = unique("srv")
        image = self.pattern("image", source_id=self.pattern("boot").params["image_id"])
        asked = {
            "name": name,
            "imageRef": image.params["source_id"],
            "flavorRef": "1",
            "key_name": "acme-key",
            "metadata": {"tier": "gold"},
            "security_groups": [{"name": "web"}],
        }
        made = ask(self.owner.compute, "/servers", "POST", json={"server": asked | options})["server"]
        self.booted.append(made["id"])
        return self.wait_source(made["id"])

    def wait_source(self, server_id: str, *statuses: str) -> dict[str, Any]:
        """A server of the source, once it has one of these statuses (ACTIVE or ERROR) and nothing is under way."""
        wanted = statuses or ("ACTIVE", "ERROR")

        def look() -> dict[str, Any] | None:
            found = self.source_server(server_id)
            assert found is not None, f"server {server_id} is gone"
            idle = found["OS-EXT-STS:task_state"] is None
            return found if idle and found["status"] in wanted else None

        found: dict[str, Any] = eventually(look, f"source server {wanted}")
        if found["status"] == "ACTIVE":
            eventually(lambda: self.answers(address_of(found)), "guest")
        return found

    def source_server(self, server_id: str) -> dict[str, Any] | None:
        """A server of the source, or None."""
        return self._server(self.old, server_id)

    def destination_server(self, server_id: str) -> dict[str, Any] | None:
        """A server of the destination, or None."""
        return self._server(self.new, server_id)

    def _server(self, conn: Connection, server_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = ask(conn.compute, f"/servers/{server_id}")["server"]
        except openstack.exceptions.NotFoundException:
            return None
        return found

    def copies(self, name: str) -> list[dict[str, Any]]:
        """Servers of that name at the destination."""
        found = ask(self.new.compute, "/servers/detail?all_tenants=1")["servers"]
        return sorted((s for s in found if s["name"] == name), key=lambda s: str(s["id"]))

    def act_source(self, server_id: str, action: str, status: str) -> None:
        """Do something to a source server by hand, and wait."""
        ask(self.old.compute, f"/servers/{server_id}/action", "POST", json={action: None})
        self.wait_source(server_id, status)

    def act_destination(self, server_id: str, action: str, status: str) -> None:
        """Do something to a destination server by hand, and wait."""
        ask(self.new.compute, f"/servers/{server_id}/action", "POST", json={action: None})

        def look() -> bool:
            found = self.destination_server(server_id)
            return found is not None and found["status"] == status and found["OS-EXT-STS:task_state"] is None

        eventually(look, f"destination server {status}")

    def answers(self, address: str) -> str | None:
        """What the guest on an address says: its name, id and cloud; None when nobody answers."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"http://{address}:{self.lab.guest_port}/", timeout=2).text.strip()
        except requests.RequestException:
            return None

    def plan_server(self, server_id: str, **changes: Any) -> PlanServer:
        """A server as a plan made now would hold it."""
        server = self.source.compute.get_server(server_id)
        values: dict[str, Any] = {
            "id": server.id,
            "name": server.name,
            "project": "acme",
            "host": server.host,
            "status": server.status,
            "addresses": tuple(a.address for a in server.addresses),
            "floating_ips": tuple(server.floating_ips),
            "fingerprint": fingerprint(server),
        }
        return PlanServer(**values | changes)

    # -- faults -------------------------------------------------------------------------------
    @contextlib.contextmanager
    def fault(self, write: Write, **rule: Any) -> Iterator[None]:
        """Inject a fault into one kind of request; it must have been hit."""
        aim = {"service": write.service, "method": write.method, "path": write.path, "body": write.body}
        with self.lab.fault(**aim, **rule):
            yield
            (found,) = self.lab.control("GET", "/faults")["faults"]
        assert found["hits"], f"no {write.method} {write.path} was sent"

    def changes(self) -> list[tuple[str, str]]:
        """All requests of this test that could change a cloud (logins are none)."""
        return [
            (row["method"], row["path"])
            for row in self.lab.requests(since=str(self.since))
            if row["method"] not in ("GET", "HEAD") and not row["path"].endswith("/tokens")
        ]

    def idle(self) -> None:
        """Wait until no request is under way in either cloud: a late one has landed."""
        cut = ("reset", "lost")

        def idle() -> bool:
            rows = self.lab.requests(since=str(self.since))
            return all(row["status"] or row.get("fault") in cut for row in rows)

        eventually(idle, "idle")


@dataclass
class Scene:
    """One step in a plan and a journal of its own."""

    bench: Bench
    folder: Path
    plan: Plan
    step: PlannedStep
    journal: MortalJournal = field(init=False)
    site: Site = field(init=False)
    died: bool = False

    def __post_init__(self) -> None:
        self.site = self.bench.site
        self.open_journal()

    def open_journal(self) -> None:
        """A new journal, which knows of the ground and nothing else."""
        file = shutil.copy(self.bench.mapped, self.folder / f"{unique('journal')}.db")
        self.journal = MortalJournal.open(f"sqlite:///{file}")  # type: ignore[assignment]
        keep(self.journal, self.plan)

    def know(self, kind: str, source_id: str, destination_id: str) -> None:
        """Put a mapping into the journal."""
        self.journal.write("ground", "ground", "@ground", "note", mapping=(kind, source_id, destination_id))

    def run(self, *steps: PlannedStep, plan: Plan | None = None) -> Execution:
        """Carry steps out (the scene's own by default), in a run of its own."""
        plan = plan or self.plan
        run_id = start(self.journal)
        ctx = self.context(plan, run_id)
        try:
            return execute(ctx, steps or [self.step], workers=1)
        except Killed:
            self.died = True
            raise
        finally:
            ctx.close()

    def context(self, plan: Plan | None = None, run_id: str = "test") -> Context:
        """What a step is given."""
        bench = self.bench
        secret = SecretStore(self.site.secrets_file)
        return Context(bench.source, bench.destination, self.site, self.journal, secret, plan or self.plan, run_id)

    def state(self, step: PlannedStep | None = None) -> StepState:
        """What the journal knows of the step."""
        return self.journal.step_state(self.plan.hash, (step or self.step).key)

    def roll_back(self) -> Execution:
        """Undo the step through a roll-back plan, as ``plan_rollback`` makes it."""
        undo = self.rollback
        keep(self.journal, undo)
        return self.run(*undo.steps, plan=undo)

    @property
    def rollback(self) -> Plan:
        """The plan that takes the step back."""
        step = PlannedStep(
            key=f"undo:{self.plan.hash[:12]}:{self.step.key}",
            kind="undo",
            phase="undo",
            title=f"undo: {self.step.title}",
            changes=self.step.changes,
            params={"plan_hash": self.plan.hash, "step_key": self.step.key},
            server_id=self.step.server_id,
        )
        return Plan("rollback", "old", "new", self.plan.selection_digest, self.plan.servers, (step,))

    def verify(self) -> Mapping[str, Any]:
        """Read the clouds again and compare, as a notebook's verify cell does."""
        ctx = self.context()
        try:
            return STEPS[self.step.kind].verify(ctx, self.step, self.state().outcome)
        finally:
            ctx.close()

    def renew(self) -> None:
        """Another plan of the same step: what an operator gets who moves again after a roll back."""
        self.plan = make_plan(*self.plan.steps, servers=self.plan.servers)
        keep(self.journal, self.plan)

    def refused(self, again: Callable[[], object] | None = None) -> PumphouseError:
        """Run the step (or ``again``); the error with which it fails."""
        with pytest.raises(PumphouseError) as caught:
            (again or self.run)()
        error = caught.value
        if type(error) is StepError and "steps failed" in error.message:
            assert isinstance(error.__cause__, PumphouseError)
            return error.__cause__
        return error


def error_of(call: Callable[[], object]) -> PumphouseError | None:
    """The error with which a call ends, if it does."""
    try:
        call()
    except PumphouseError as error:
        return error
    return None


def make_plan(*steps: PlannedStep, servers: tuple[PlanServer, ...] = (), kind: str = "move") -> Plan:
    """A plan like no other."""
    return Plan(kind, "old", "new", secrets.token_hex(32), servers, order(steps))


def keep(journal: Journal, plan: Plan) -> None:
    """Save a plan and begin it."""
    journal.save_plan(plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document)


def start(journal: Journal) -> str:
    """A new run."""
    return journal.start_run(notebook="test", template_digest="", parameters={}, operator="tester", record=None)


def address_of(server: dict[str, Any], kind: str = "fixed") -> str:
    """A server's fixed (or floating) IP."""
    found = [a for addresses in server["addresses"].values() for a in addresses if a["OS-EXT-IPS:type"] == kind]
    return str(found[0]["addr"])


@contextlib.contextmanager
def killed_at_write(number: int) -> Iterator[None]:
    """The process dies just before it sends its ``number``-th request that changes a cloud."""
    count = itertools.count(1)
    original = Wire._once

    def once(self: Wire, method: str, *args: Any, **options: Any) -> Any:
        if method not in ("GET", "HEAD") and next(count) == number:
            raise Killed(f"before write {number}")
        return original(self, method, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "_once", once)
        yield


@contextlib.contextmanager
def impatient(write: Write) -> Iterator[None]:
    """One kind of request is given up after a fifth of a second."""
    original = Wire._once

    def once(self: Wire, method: str, url: str, *args: Any, **options: Any) -> Any:
        if method == write.method and re.search(write.path, url):
            options["timeout"] = 0.2
        return original(self, method, url, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "_once", once)
        yield


def _brief(seconds: float) -> None:
    time.sleep(min(seconds, 0.03))
