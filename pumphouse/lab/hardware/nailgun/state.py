"""What the lab's Nailgun remembers: environments, nodes, tasks, notifications and tokens."""

from __future__ import annotations

import copy
import ipaddress
import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pumphouse.lab.hardware.fleet import Machine
from pumphouse.lab.hardware.nailgun.release import Traits

DOMAIN = "example.com"
ENVIRONMENT_TASKS = frozenset({"deploy", "deployment", "provision", "stop_deployment", "reset_environment"})


class Refusal(Exception):
    """An answer that says no.

    :param errors: 8.0's details of wrong networks.
    :param plain: in production, Nailgun's text for what it did not foresee (a 500).
    :param bare: answered by a handler that sets no content type of its own.
    """

    def __init__(
        self, status: int, message: str, *, errors: list[Any] | None = None, plain: bool = False, bare: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors or []
        self.plain = plain
        self.bare = bare


def broken(traits: Traits, message: str) -> Refusal:
    """What Nailgun did not foresee: 6.0 hides it, later ones print it."""
    return Refusal(500, message if traits.json_errors else "internal server error", plain=True)


@dataclass
class Task:
    """Work, or a part of it (``parent``)."""

    id: int
    name: str
    cluster: int | None
    status: str = "running"
    progress: int | None = 0
    message: str | None = None
    result: Any = field(default_factory=dict)
    parent: int | None = None
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self.status in ("ready", "error")

    def end(self, status: str, message: str | None = None) -> None:
        """Set the outcome."""
        self.status, self.progress = status, 100
        self.message = self.message if message is None else message

    def view(self) -> dict[str, Any]:
        """As Nailgun shows it."""
        keys = ("id", "uuid", "cluster", "name", "status", "progress", "message", "result")
        return {key: copy.deepcopy(getattr(self, key)) for key in keys}


@dataclass
class Cluster:
    """An environment. ``networks`` holds what ``network_configuration`` shows, without virtual addresses."""

    id: int
    name: str
    mode: str
    net_provider: str
    release_id: int
    segment: str
    attributes: dict[str, Any]
    networks: dict[str, Any]
    changes: list[dict[str, Any]]
    status: str = "new"
    vips: dict[str, str] = field(default_factory=dict)
    deployed_before: bool = False

    @property
    def is_locked(self) -> bool:
        """Deployed, or on the way there."""
        return self.status not in ("new", "stopped")

    def network(self, name: str) -> dict[str, Any] | None:
        """A network by name."""
        return next((network for network in self.networks["networks"] if network["name"] == name), None)


@dataclass
class Node:
    """A machine that an agent told of; ``machine`` is None where the agent was nobody of the lab.

    ``silent_since`` is a reading of the monotonic clock while no agent of it reports.
    """

    id: int
    mac: str
    meta: dict[str, Any]
    name: str
    ip: str | None = None
    status: str = "discover"
    online: bool = True
    progress: int = 0
    error_type: str | None = None
    cluster_id: int | None = None
    roles: list[str] = field(default_factory=list)
    pending_roles: list[str] = field(default_factory=list)
    pending_addition: bool = False
    pending_deletion: bool = False
    manufacturer: str | None = None
    platform_name: str | None = None
    os_platform: str | None = None
    hostname: str = ""
    was_deployed: bool = False
    checksum: str = ""
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    disks: list[dict[str, Any]] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    silent_since: float | None = None
    machine: Machine | None = None

    @property
    def macs(self) -> set[str]:
        """All of them, lower case."""
        return {self.mac, *(str(nic.get("mac", "")).lower() for nic in self.meta.get("interfaces", []))} - {""}

    @property
    def slug(self) -> str:
        """``node-ID``."""
        return f"node-{self.id}"


class State:
    """Everything, and the lookups that refuse as Nailgun does."""

    def __init__(self, traits: Traits, *, user: str, password: str, tenant: str, token_ttl_s: float) -> None:
        self.traits = traits
        self.user, self.password, self.tenant = user, password, tenant
        self.token_ttl_s = token_ttl_s
        self.auth_required = True
        self.clusters: dict[int, Cluster] = {}
        self.nodes: dict[int, Node] = {}
        self.tasks: dict[int, Task] = {}
        self.notifications: list[dict[str, Any]] = []
        self.tokens: dict[str, float] = {}
        self.counters: dict[str, int] = {}
        # the Admin network is everybody's and has the first id
        self.count("network")
        self.notify("done", "The master node is installed.")

    def count(self, kind: str) -> int:
        """The next id of a kind, as a database sequence gives it: what fails uses it up, too."""
        self.counters[kind] = self.counters.get(kind, 0) + 1
        return self.counters[kind]

    # --- lookups

    def cluster(self, cluster_id: int) -> Cluster:
        """An environment."""
        found = self.clusters.get(cluster_id)
        if found is None:
            raise Refusal(404, "Cluster not found")
        return found

    def node(self, node_id: int) -> Node:
        """A node."""
        found = self.nodes.get(node_id)
        if found is None:
            raise Refusal(404, "Node not found")
        return found

    def members(self, cluster_id: int) -> list[Node]:
        """An environment's nodes."""
        return [node for node in self.nodes.values() if node.cluster_id == cluster_id]

    def node_with(self, macs: Iterable[str]) -> Node | None:
        """The node that has one of these MACs."""
        wanted = {mac.lower() for mac in macs if mac}
        return next((node for node in self.nodes.values() if node.macs & wanted), None)

    def release(self, release_id: int) -> dict[str, Any] | None:
        """A release's document."""
        return next((one for one in self.traits.documents["releases"] if one["id"] == release_id), None)

    # --- tasks

    def task(self, name: str, cluster_id: int | None, parent: Task | None = None) -> Task:
        """A new task."""
        made = Task(self.count("task"), name, cluster_id, self.traits.begun, parent=parent.id if parent else None)
        if name in ("verify_networks", "check_dhcp", "stop_deployment", "reset_environment", "node_deletion"):
            made.status = "running"
        self.tasks[made.id] = made
        return made

    def running(self, cluster_id: int, names: Iterable[str] = ENVIRONMENT_TASKS) -> list[Task]:
        """What goes on in an environment."""
        return [t for t in self.tasks.values() if t.cluster == cluster_id and not t.is_over and t.name in names]

    def forget_finished(self, cluster_id: int) -> None:
        """A new deployment deletes the finished deployments, stops and resets before it, with their parts."""
        whole = ("deploy", "stop_deployment", "reset_environment")
        gone = {t.id for t in self.tasks.values() if t.cluster == cluster_id and t.is_over and t.name in whole}
        self.tasks = {key: t for key, t in self.tasks.items() if key not in gone and t.parent not in gone}

    def notify(self, topic: str, message: str, *, cluster: int | None = None, node: int | None = None) -> None:
        """Add a notification."""
        now = datetime.now(UTC)
        self.notifications.append(
            {
                "id": self.count("notification"),
                "topic": topic,
                "message": message,
                "cluster": cluster,
                "node_id": node,
                "task_id": None,
                "status": "unread",
                "date": now.strftime("%d-%m-%Y"),
                "time": now.strftime("%H:%M:%S"),
            }
        )

    # --- tokens

    def issue(self) -> str:
        """A new token."""
        token = secrets.token_hex(16)
        self.tokens[token] = time.monotonic() + self.token_ttl_s
        return token

    def knows(self, token: str) -> bool:
        """Whether a token is valid."""
        return self.tokens.get(token, 0.0) > time.monotonic()

    # --- views

    def cluster_view(self, cluster: Cluster) -> dict[str, Any]:
        """An environment as this release shows it."""
        view: dict[str, Any] = self.traits.document("cluster")
        for key in ("id", "name", "mode", "net_provider", "release_id", "status", "changes"):
            view[key] = copy.deepcopy(getattr(cluster, key))
        if "is_locked" in view:
            view["is_locked"] = cluster.is_locked
        return view

    def node_view(self, node: Node) -> dict[str, Any]:
        """A node as this release shows it."""
        view: dict[str, Any] = self.traits.document("node")
        for key in (
            *(
                "id",
                "mac",
                "ip",
                "meta",
                "name",
                "status",
                "online",
                "progress",
                "error_type",
                "roles",
                "pending_roles",
            ),
            *("pending_addition", "pending_deletion", "manufacturer", "platform_name", "os_platform"),
        ):
            view[key] = copy.deepcopy(getattr(node, key))
        view["cluster"] = node.cluster_id
        if "group_id" in view:
            view["group_id"] = node.cluster_id
        view["fqdn"] = self.fqdn(node)
        if self.traits.hostnames:
            view["hostname"] = node.hostname or node.slug
        view["network_data"] = self.network_data(node)
        return view

    def fqdn(self, node: Node) -> str | None:
        """The host name with its domain: known from discovery on since 7.0, from the first deployment on before."""
        if self.traits.hostnames:
            return f"{node.hostname or node.slug}.{DOMAIN}"
        return f"{node.slug}.{DOMAIN}" if node.was_deployed else None

    def network_data(self, node: Node) -> list[dict[str, Any]]:
        """Which network is on which NIC, with addresses once they are given."""
        if node.cluster_id is None or node.cluster_id not in self.clusters:
            return []
        cluster = self.clusters[node.cluster_id]
        devices = {net["name"]: nic["name"] for nic in node.interfaces for net in nic["assigned_networks"]}
        found = []
        for network in sorted(cluster.networks["networks"], key=lambda one: bool(one["name"] == "fuelweb_admin")):
            name, vlan = network["name"], network["vlan_start"]
            if name == "fixed":
                vlan = cluster.networks["networking_parameters"]["fixed_networks_vlan_start"]
            entry: dict[str, Any] = {"name": name, "cidr": network["cidr"], "dev": devices.get(name), "vlan": vlan}
            if name in node.addresses or name == "fuelweb_admin":
                prefix = str(network["cidr"]).partition("/")[2]
                address = node.addresses.get(name)
                entry["ip"] = f"{address}/{prefix}" if address else None
                entry["gateway"] = network["gateway"] if name in ("public", "fuelweb_admin") else None
                entry |= mask_of(str(network["cidr"]))
            found.append(entry)
        return found


def mask_of(cidr: str) -> dict[str, str]:
    """Netmask and broadcast address."""
    network = ipaddress.ip_network(cidr, strict=False)
    return {"netmask": str(network.netmask), "brd": str(network.broadcast_address)}
