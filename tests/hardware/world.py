"""One node with its devices and two clouds, in this process: no sockets, no waiting, and everything can be broken.

The drivers' own tests and the contract tests say that real devices behave like this; here it is about what our steps
do with what devices say, and in which order they ask.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import sqlalchemy as sa

from pumphouse.errors import FuelTaskFailed, NodeRefused, NodeTimeout, NodeUnreachable, PumphouseError
from pumphouse.executor import execute
from pumphouse.journal import Journal
from pumphouse.model import Hypervisor, Image, Network, Server, Service
from pumphouse.nodes.api import BmcIdentity, LearnedMacs, PortState
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import FuelEnvironment, FuelNode, FuelTask
from pumphouse.nodes.spec import FuelSpec, Hardware, NodeSpec
from pumphouse.plan.model import Plan
from pumphouse.secretstore import SecretStore
from pumphouse.serving import ProbeSpec
from pumphouse.session.hardware import HardwareWork
from pumphouse.site import Site
from pumphouse.steps import Context
from tests.core.making import make_site
from tests.factories import make_facts, make_flavor, make_image, make_server
from tests.hardware.making import ADMIN_VLAN, make_node, make_service

ENVIRONMENT = FuelEnvironment(7, "mos", "operational", "ha_compact", "nova_network", 1)


@dataclass
class World:
    """The node, as it is, and what is known of it elsewhere. ``log`` holds every change, in order.

    ``broken`` are staged faults: ``stuck-power``, ``deaf-port``, ``wrong-image``, ``foreign-serial``, ``foreign-mac``,
    ``deploy-error``, ``bmc-silent``, ``canary-silent``, ``never-up``, ``lingers`` (Fuel calls the node online after it
    lost its power, until it is waited for).
    """

    node: NodeSpec = field(default_factory=make_node)
    power: str = "on"
    device: str = "default"
    vlan: int = 200
    disk: str = "source"
    runs: str | None = "source"
    service: Service | None = field(default_factory=lambda: make_service("host-n1"))
    servers: list[Server] = field(default_factory=list)
    unconfirmed: list[Server] = field(default_factory=list)
    fuel: FuelNode | None = None
    others: list[FuelNode] = field(default_factory=list)
    tasks: list[FuelTask] = field(default_factory=list)
    canaries: list[Server] = field(default_factory=list)
    groups: list[SimpleNamespace] = field(default_factory=list)
    deletes_services: bool = True
    heard: LearnedMacs = field(default_factory=lambda: LearnedMacs(""))
    broken: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        self.log.append(what)

    # -- physics ------------------------------------------------------------------------------
    def boot(self) -> None:
        """What the machine does when it gets power."""
        device, self.device = self.device, "default"
        if device == "pxe" and self.vlan == ADMIN_VLAN:
            self.runs = "wrong-image" if "wrong-image" in self.broken else "bootstrap"
            if self.runs == "bootstrap":
                self._discovered()
        else:
            self.runs = self.disk
            if self.runs == "destination" and self.fuel is not None:
                self.fuel = dataclasses.replace(self.fuel, online=True)
        if self.runs == "source" and self.service is not None and self.vlan != ADMIN_VLAN:
            self.service = dataclasses.replace(self.service, state="up")

    def _discovered(self) -> None:
        macs = self.node.macs if "foreign-mac" not in self.broken else (self.node.macs[0], "52:54:00:ff:ff:ff")
        if self.fuel is not None and self.fuel.environment_id is not None:
            self.fuel = dataclasses.replace(self.fuel, online=True)
            return
        self.fuel = FuelNode(
            id=31, name="Untitled", status="discover", online=True, environment_id=None, mac=macs[0], macs=macs,
            ip="10.20.0.31", serial="SN-other" if "foreign-serial-in-fuel" in self.broken else self.node.serial,
            nics=(cast("Any", SimpleNamespace(mac=macs[0])),), disks=(cast("Any", SimpleNamespace(name="sda")),),
        )  # fmt: skip

    def lose_power(self) -> None:
        self.runs = None
        if self.service is not None:
            self.service = dataclasses.replace(self.service, state="down")
        if self.fuel is not None and self.fuel.status == "discover" and "lingers" not in self.broken:
            self.fuel = dataclasses.replace(self.fuel, online=False)

    def change_fuel(self, **values: Any) -> None:
        assert self.fuel is not None
        self.fuel = dataclasses.replace(self.fuel, **values)


@dataclass
class FakeBmc:
    world: World
    name: str = "BMC of n1"

    def power(self) -> str:
        if "bmc-silent" in self.world.broken:
            raise NodeUnreachable("BMC of n1 does not answer.", remedy="look at its cable.")
        return self.world.power

    def set_power(self, state: str) -> None:
        if self.power() == state:
            return
        if "stuck-power" in self.world.broken:
            raise NodeTimeout("BMC of n1 took it and stays as it was.", remedy="go and look.")
        self.world.power = state
        self.world.note(f"power {state}")
        self.world.boot() if state == "on" else self.world.lose_power()

    def boot_device(self) -> str:
        return self.world.device

    def set_boot_device(self, device: str, *, persistent: bool = False) -> None:
        self.world.device = device
        self.world.note(f"boot {device}")

    def identity(self) -> BmcIdentity:
        return BmcIdentity(serial="SN-other" if "foreign-serial" in self.world.broken else self.world.node.serial)

    def close(self) -> None:
        """Nothing to log out of."""


@dataclass
class FakeSwitch:
    world: World
    name: str = "sw1"

    def port(self, port: str) -> PortState:
        return PortState(port, self.world.vlan)

    def macs(self, port: str) -> LearnedMacs:
        """The node while it runs; ``heard`` has what else is."""
        own = self.world.node.macs[:1] if self.world.runs is not None else ()
        return dataclasses.replace(self.world.heard, port=port, macs=tuple(sorted({*own, *self.world.heard.macs})))

    def set_vlan(self, port: str, vlan: int) -> PortState:
        if "deaf-port" in self.world.broken:
            raise NodeTimeout("sw1 took it and shows another VLAN.", remedy="go and look.")
        if self.world.vlan != vlan:
            self.world.vlan = vlan
            self.world.note(f"vlan {vlan}")
        return PortState(port, vlan)

    def close(self) -> None:
        """Nothing to log out of."""


@dataclass
class FakeFuel:
    """What our steps use of :class:`pumphouse.nodes.fuel.Fuel`."""

    world: World
    name: str = "Fuel"

    def find_environment(self, name: str) -> FuelEnvironment | None:
        return ENVIRONMENT if name == ENVIRONMENT.name else None

    def list_environments(self) -> list[FuelEnvironment]:
        return [ENVIRONMENT]

    def list_nodes(self, environment_id: int | None = None) -> list[FuelNode]:
        known = [*self.world.others, *([self.world.fuel] if self.world.fuel else [])]
        return [node for node in known if environment_id in (None, node.environment_id)]

    def find_node(self, macs: tuple[str, ...], serial: str = "") -> FuelNode | None:
        found = self.world.fuel
        if found is not None and (set(macs) - set(found.macs) or found.serial != serial):
            raise NodeRefused("Fuel: it is not the machine that was meant.", remedy="compare.")
        return found

    def wait_discovered(self, macs: tuple[str, ...], serial: str, **_: Any) -> FuelNode:
        found = self.find_node(macs, serial)
        if found is None or not found.is_free:
            raise NodeTimeout("Fuel did not discover it.", remedy="look at its console.")
        return found

    def wait_missed(self, macs: tuple[str, ...], serial: str, **_: Any) -> FuelNode | None:
        if self.find_node(macs, serial) is not None and self.world.power == "off":
            self.world.change_fuel(online=False)
        if self.world.fuel is not None and self.world.fuel.online:
            raise NodeTimeout("Fuel calls it online still.", remedy="look at it.")
        return self.world.fuel

    def assign(self, environment_id: int, roles: dict[int, list[str]]) -> None:
        if self.world.fuel is not None and self.world.fuel.environment_id == environment_id:
            return
        self.world.note("assign")
        self.world.change_fuel(
            environment_id=environment_id, pending_roles=tuple(next(iter(roles.values()))), pending_addition=True
        )

    def unassign(self, environment_id: int, node_ids: list[int]) -> None:
        self.world.note("unassign")
        self.world.change_fuel(environment_id=None, pending_roles=(), pending_addition=False)

    def delete_node(self, node_id: int, **_: Any) -> None:
        if self.world.fuel is not None and self.world.fuel.environment_id is not None:
            raise NodeRefused("Fuel: the node belongs to environment 7.", remedy="unassign it.")
        self.world.note("delete in fuel")
        self.world.fuel = None
        if self.world.runs == "bootstrap":
            self.world._discovered()  # its agent finds that nobody knows it

    def set_node_name(self, node_id: int, name: str) -> None:
        self.world.change_fuel(name=name)

    def interfaces(self, node_id: int) -> list[dict[str, Any]]:
        return [{"name": "eth0", "assigned_networks": [{"id": 1, "name": "fuelweb_admin"}]}]

    def disks(self, node_id: int) -> list[dict[str, Any]]:
        return [{"name": "sda", "volumes": [{"name": "os", "size": 1000}]}]

    def running_task(self, environment_id: int) -> FuelTask | None:
        return next((task for task in self.world.tasks if task.status == "running"), None)

    def deploy_changes(self, environment_id: int) -> int:
        assert self.running_task(environment_id) is None
        self.world.note("deploy")
        self.world.tasks.append(FuelTask(len(self.world.tasks) + 1, "deploy", "running", environment_id))
        self.world.change_fuel(status="provisioning", pending_addition=False)
        self.world.disk = "destination"
        return self.world.tasks[-1].id

    def wait_task(self, task_id: int, **_: Any) -> FuelTask:
        if "deploy-error" in self.world.broken:
            self.world.tasks[-1] = FuelTask(task_id, "deploy", "error", 7)
            self.world.change_fuel(status="error")
            raise FuelTaskFailed("Fuel: the deployment ended in error.", remedy="look at Astute's log.")
        self.world.tasks[-1] = FuelTask(task_id, "deploy", "ready", 7)
        node = self.world.fuel
        assert node is not None
        self.world.change_fuel(
            status="ready", roles=node.pending_roles or node.roles, pending_roles=(), fqdn="node-31.example.com"
        )
        self.world.runs = "destination"
        return self.world.tasks[-1]


@dataclass
class FakeHosts:
    world: World

    def find_service(self, host: str) -> Service | None:
        if host != self.world.node.host:
            return make_service(host)
        return self.world.service

    def disable_service(self, host: str, *, reason: str = "") -> Service:
        self.world.note("disable")
        return self._set(status="disabled")

    def enable_service(self, host: str) -> Service:
        self.world.note("enable")
        return self._set(status="enabled")

    def _set(self, **values: str) -> Service:
        assert self.world.service is not None
        self.world.service = dataclasses.replace(self.world.service, **values)
        return self.world.service

    def wait_service(self, host: str, state: str, *, timeout_s: float) -> Service:
        found = self.find_service(host)
        assert found is not None
        if found.state != state:
            raise NodeTimeout(f"{host} is {found.state}.", remedy="wait.")
        return found

    def deletes_services(self) -> bool:
        return self.world.deletes_services

    def delete_service(self, host: str) -> None:
        self.world.note("forget")
        self.world.service = None

    def list_servers(self, host: str) -> list[Server]:
        return self.world.servers

    def list_unconfirmed(self, host: str, servers: Iterable[Server] | None = None) -> list[Server]:
        return self.world.unconfirmed


@dataclass
class FakeCompute:
    """Nova of the destination, and what planning asks of the source's."""

    world: World
    source: bool = False

    def list_services(self) -> list[Service]:
        if self.source:
            return [s for s in (self.world.service, make_service("host-n2")) if s is not None]
        up = self.world.runs == "destination" and "never-up" not in self.world.broken
        return [make_service("node-31", state="up" if up else "down")]

    def list_hypervisors(self) -> list[Hypervisor]:
        return [] if self.source else [Hypervisor("1", "node-31.example.com", None, vcpus=16, ram_mib=32768)]

    def list_flavors(self) -> list[Any]:
        return [make_flavor("2", name="big", ram_mib=4096), make_flavor("1", name="tiny", ram_mib=512)]

    def list_servers(self, *, name: str | None = None, **_: Any) -> list[Server]:
        return [server for server in self.world.canaries if name in (None, server.name)]

    def create_server(self, spec: Any) -> str:
        self.world.note(f"boot canary {spec.availability_zone}")
        host = spec.availability_zone.partition(":")[2]
        self.world.canaries.append(make_server(spec.name, metadata=dict(spec.metadata), host=host, status="ACTIVE"))
        return self.world.canaries[-1].id

    def wait_server(self, server_id: str, *_: str, **__: Any) -> Server:
        return next(server for server in self.world.canaries if server.id == server_id)

    def delete_server(self, server_id: str) -> None:
        self.world.note("delete canary")
        self.world.canaries = [server for server in self.world.canaries if server.id != server_id]

    def wait_server_gone(self, server_id: str, **_: Any) -> None:
        assert all(server.id != server_id for server in self.world.canaries)


@dataclass
class FakeNetwork:
    world: World

    def list_networks(self) -> list[Network]:
        return [Network("net", "private", "10.10.0.0/24", shared=True)]

    def list_security_groups(self, **_: Any) -> list[Any]:
        return self.world.groups

    def create_security_group(self, _project_id: str, name: str, _description: str) -> Any:
        self.world.groups.append(SimpleNamespace(id=name, name=name))
        return self.world.groups[-1]

    def add_security_group_rule(self, *_: Any) -> None:
        """Taken."""

    def delete_security_group(self, group_id: str) -> None:
        if "kept-group" not in self.world.broken:
            self.world.groups = [group for group in self.world.groups if group.id != group_id]


class FakeNodes(Nodes):
    """Devices of one world."""

    def __init__(self, site: Site, world: World) -> None:
        super().__init__(site)
        self._world = world

    @contextlib.contextmanager
    def bmc(self, node: str) -> Iterator[Any]:
        assert node == self._world.node.name
        yield FakeBmc(self._world)

    @contextlib.contextmanager
    def switch(self, name: str) -> Iterator[Any]:
        assert name == "sw1"
        yield FakeSwitch(self._world)

    @contextlib.contextmanager
    def fuel(self, *, patient: bool = True) -> Iterator[Any]:
        yield FakeFuel(self._world)


def open_journal(folder: Path, kind: type[Journal] = Journal) -> Journal:
    """A journal in that folder that does not wait for the disk: only this process dies here, and only for show."""
    journal = kind.open(f"sqlite:///{folder / 'journal.db'}")
    journal._engine.dispose()
    sa.event.listen(journal._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return journal


@dataclass
class Hall:
    """A world with a site, a journal and the session's verbs for nodes."""

    world: World
    site: Site
    journal: Journal
    source: Any
    destination: Any
    run_id: str
    lines: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, world: World, journal: Journal | None = None) -> Self:
        """A site in ``folder`` whose one node is the world's; a journal that is there already goes on."""
        hardware = Hardware(
            nodes={world.node.name: world.node},
            fuel=FuelSpec("http://192.0.2.9:8000", environment=ENVIRONMENT.name),
            admin_vlan=ADMIN_VLAN,
        )
        site = make_site(folder, hardware=hardware, probe=ProbeSpec(kind="none"), action_timeout_s=0.01)
        journal = journal or open_journal(folder)
        run_id = journal.start_run(notebook="t", template_digest="", parameters={}, operator="op", record=None)
        network = FakeNetwork(world)
        source = SimpleNamespace(
            name="old", hosts=FakeHosts(world), compute=FakeCompute(world, source=True), network=network,
            identity=SimpleNamespace(list_projects=list), expect_end=lambda: world.note("no more patience"),
        )  # fmt: skip
        images: list[Image] = [make_image("cirros", status="active", visibility="public")]
        destination = SimpleNamespace(
            name="new", facts=make_facts("destination"), compute=FakeCompute(world), network=network, neutron=network,
            hosts=SimpleNamespace(find_service=lambda host: make_service(host)), project_id="admin",
            images=SimpleNamespace(list_images=lambda: images),
        )  # fmt: skip
        return cls(world, site, journal, source, destination, run_id)

    def context(self, plan: Plan) -> Context:
        return Context(
            self.source, self.destination, self.site, self.journal, SecretStore(self.site.secrets_file), plan,
            self.run_id, report=self.lines.append, _nodes=[FakeNodes(self.site, self.world)],
        )  # fmt: skip

    @property
    def work(self) -> HardwareWork:
        """The session's verbs, on these devices."""

        def keep(plan: Plan, findings: Any) -> Plan:
            self.findings = findings
            self.journal.save_plan(
                plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document
            )
            return plan

        def resume(kind: str, digest: str, states: Any) -> Plan | None:
            found = [Plan.from_document(d) for d in self.journal.plan_documents(kind=kind, states=states)]
            return next((plan for plan in reversed(found) if plan.selection_digest == digest), None)

        def carry_out(plan: Plan, kind: str, phase: str, *, workers: int | None = None) -> Any:
            return execute(self.context(plan), plan.phase(phase), workers=workers)

        work = HardwareWork(
            self.site, self.source, self.destination, self.journal, keep=keep, resume=resume, carry_out=carry_out,
            run_id=lambda: self.run_id, report=self.lines.append,
        )  # fmt: skip
        work.nodes = FakeNodes(self.site, self.world)
        return work

    def transfer(self) -> Plan:
        """All phases of a transfer; the plan that was carried out."""
        plan = self.work.plan_transfer("n1")
        for phase in ("release", "discover", "install", "prove"):
            getattr(self.work, phase)(plan)
        return plan

    def give_back(self) -> Plan:
        """The way back, whole."""
        plan = self.work.plan_give_back("n1")
        self.work.give_back(plan)
        return plan


def refused(hall: Hall) -> PumphouseError:
    """The error of a transfer that must not succeed."""
    try:
        hall.transfer()
    except PumphouseError as error:
        return error
    raise AssertionError("the transfer went through")
