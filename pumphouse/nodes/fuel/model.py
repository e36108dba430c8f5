"""What Fuel tells, as our own records, whichever release it is."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FuelVersion:
    """``release`` as Fuel writes it (``6.1``, ``5.1.1``); ``auth_required`` is False before 5.1 or by configuration."""

    release: str
    auth_required: bool
    api: str = ""
    features: tuple[str, ...] = ()

    @property
    def number(self) -> tuple[int, int]:
        """(major, minor), for comparing."""
        found = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True)
class FuelRelease:
    """An operating system with an OpenStack that Fuel can deploy."""

    id: int
    name: str
    version: str
    operating_system: str
    available: bool
    roles: tuple[str, ...]


@dataclass(frozen=True)
class FuelEnvironment:
    """A cloud of Fuel's. ``status``: new, deployment, operational, error, stopped, remove."""

    id: int
    name: str
    status: str
    mode: str
    net_provider: str
    release_id: int
    fuel_version: str = ""


@dataclass(frozen=True)
class FuelNic:
    """A NIC as the agent saw it; MAC in lower case."""

    name: str
    mac: str
    ip: str = ""
    state: str = ""


@dataclass(frozen=True)
class FuelDisk:
    """A disk as the agent saw it."""

    name: str
    size_bytes: int
    model: str = ""


@dataclass(frozen=True)
class FuelNode:
    """A machine that Fuel knows.

    ``status``: discover, provisioning, provisioned, deploying, ready, error, removing. ``macs``: all of them, lower
    case; ``mac`` is the one it booted by at the moment. ``error_type`` and ``progress`` are given only while they
    mean something (Fuel leaves them behind after success). ``fqdn`` is empty until the first deployment before 7.0.
    """

    id: int
    name: str
    status: str
    online: bool
    environment_id: int | None
    mac: str
    macs: tuple[str, ...]
    ip: str
    serial: str
    fqdn: str = ""
    hostname: str = ""
    roles: tuple[str, ...] = ()
    pending_roles: tuple[str, ...] = ()
    pending_addition: bool = False
    pending_deletion: bool = False
    error_type: str = ""
    progress: int = 0
    manufacturer: str = ""
    product: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    nics: tuple[FuelNic, ...] = ()
    disks: tuple[FuelDisk, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        """Whether it runs the bootstrap image, answers, and belongs to nothing."""
        return self.status == "discover" and self.online and self.environment_id is None and not self.pending_deletion

    @property
    def is_complete(self) -> bool:
        """Whether the agent told address, disks and NICs; a node without them breaks requests of its environment."""
        return bool(self.ip and self.disks and self.nics)


@dataclass(frozen=True)
class FuelTask:
    """Work of Fuel's. ``status``: pending (8.0), running, ready, error; ``progress`` in percent goes up and down."""

    id: int
    name: str
    status: str
    environment_id: int | None = None
    progress: int = 0
    message: str = ""
    uuid: str = ""
    result: Any = None

    @property
    def is_over(self) -> bool:
        """Whether it ended, well or badly."""
        return self.status in ("ready", "error")


@dataclass(frozen=True)
class AccessCredentials:
    """The new cloud's administrator; the password is never shown."""

    user: str
    tenant: str
    password: str = field(repr=False)
    email: str = ""


@dataclass(frozen=True)
class FuelNetwork:
    """A network of an environment. ``vlan`` None: untagged."""

    id: int
    name: str
    cidr: str = ""
    gateway: str = ""
    ip_ranges: tuple[tuple[str, str], ...] = ()
    vlan: int | None = None


@dataclass(frozen=True)
class NetworkConfiguration:
    """An environment's networks, and the document that Fuel wants back.

    ``parameters`` are Fuel's ``networking_parameters``: floating ranges, fixed or internal network, segmentation.
    """

    provider: str
    networks: tuple[FuelNetwork, ...]
    parameters: Mapping[str, Any]
    document: Mapping[str, Any] = field(repr=False)

    def network(self, name: str) -> FuelNetwork | None:
        """A network by name; None where there is none."""
        return next((network for network in self.networks if network.name == name), None)

    def edited(
        self, networks: Mapping[str, Mapping[str, Any]] | None = None, parameters: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """The document with some values replaced, for :meth:`Fuel.set_network_configuration`.

        :param networks: by network name: Fuel's keys ``cidr``, ``gateway``, ``ip_ranges``, ``vlan_start``.
        :param parameters: keys of ``networking_parameters``.
        :raises KeyError: when a network of that name does not exist.
        """
        document = copy.deepcopy(dict(self.document))
        by_name = {str(network.get("name")): network for network in document["networks"]}
        for name, values in (networks or {}).items():
            by_name[name].update(copy.deepcopy(dict(values)))
        document["networking_parameters"].update(copy.deepcopy(dict(parameters or {})))
        return document


@dataclass(frozen=True)
class FuelEndpoint:
    """Where a deployed environment answers: virtual addresses, and the public name where TLS is on (7.0+)."""

    public_vip: str
    management_vip: str = ""
    tls: bool = False
    hostname: str = ""

    @property
    def auth_url(self) -> str:
        """Keystone's public root, port 5000; which versions it speaks is for it to say."""
        return f"https://{self.hostname or self.public_vip}:5000" if self.tls else f"http://{self.public_vip}:5000"
