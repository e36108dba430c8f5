"""What travels between the layers: small frozen records of cloud objects.

They look the same whichever side or release they came from; release differences end inside
:mod:`pumphouse.clouds`. Optional fields are ``None`` when the cloud does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

Properties = Mapping[str, str]

#: How the evidence begins that tells how our connections to a cloud are protected.
TLS_EVIDENCE = "TLS: "

#: Where what pumphouse makes at the destination keeps the id of what it was made from: an attribute of projects and
#: users, a property of images, and a metadata key of servers, which lose it when they are verified.
MARKER = "pumphouse_source_id"


@dataclass(frozen=True)
class Project:
    """A Keystone project (the seed's *tenant*). ``source_id`` is our marker: the id it was made from."""

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    source_id: str | None = None


@dataclass(frozen=True)
class User:
    """A Keystone user. No API shows its password or hash. ``source_id`` as in :class:`Project`."""

    id: str
    name: str
    email: str | None = None
    enabled: bool = True
    default_project_id: str | None = None
    description: str = ""
    source_id: str | None = None


@dataclass(frozen=True)
class Role:
    """A Keystone role; names compare case-insensitively on current clouds."""

    id: str
    name: str


@dataclass(frozen=True)
class Assignment:
    """One role of one user in one project."""

    user_id: str
    project_id: str
    role_id: str


@dataclass(frozen=True)
class Flavor:
    """A Nova flavor. ``access_project_ids`` is filled for private flavors only.

    ``disabled``: nobody may boot with it any more; only Nova's database sets that.
    """

    id: str
    name: str
    vcpus: int
    ram_mib: int
    disk_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    extra_specs: Properties = field(default_factory=dict)
    access_project_ids: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True)
class Image:
    """A Glance image's record; its bytes are read with :meth:`pumphouse.clouds.api.Images.download`.

    ``visibility`` is ``public``, ``private``, ``shared`` or ``community`` (2014 releases know the first
    two only; a private image with members counts as ``private`` there, with ``member_ids`` filled).
    ``checksum`` is Glance's MD5. ``properties`` are the custom ones only. ``pending_ids``
    are those members who have not accepted the image (v1 does not ask them). Glance of 2018 and later (API 2.7)
    also has ``hash_algo`` and ``hash_value`` (``os_hash_*``), and images ``hidden`` from the usual lists.
    """

    id: str
    name: str
    status: str
    visibility: str
    owner_id: str | None
    size_bytes: int | None
    checksum: str | None
    disk_format: str | None
    container_format: str | None
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    protected: bool = False
    properties: Properties = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    member_ids: tuple[str, ...] = ()
    pending_ids: tuple[str, ...] = ()
    hash_algo: str | None = None
    hash_value: str | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Keypair:
    """A Nova keypair's public half. ``user_id`` is its owner."""

    user_id: str
    name: str
    public_key: str
    fingerprint: str
    type: str = "ssh"


@dataclass(frozen=True)
class SecurityGroupRule:
    """One rule. ``port_min``/``port_max`` are ICMP type/code for ICMP; ``None`` means any.

    Exactly one of ``remote_cidr`` and ``remote_group_id`` is set, or neither (any address). nova-network
    names the remote group by name and project; it is resolved to ``remote_group_id`` when listed.
    """

    id: str
    direction: str  # "ingress" or "egress"
    ethertype: str  # "IPv4" or "IPv6"
    protocol: str | None
    port_min: int | None
    port_max: int | None
    remote_cidr: str | None = None
    remote_group_id: str | None = None


@dataclass(frozen=True)
class SecurityGroup:
    """A security group; names are unique per project in nova-network, but not in Neutron."""

    id: str
    project_id: str
    name: str
    description: str = ""
    rules: tuple[SecurityGroupRule, ...] = ()


@dataclass(frozen=True)
class Network:
    """An IPv4 network with its one subnet (nova-network: the network; Neutron: network + IPv4 subnet).

    ``name`` is nova-network's label. ``pools`` are the inclusive address ranges from which the cloud
    picks an address by itself. ``project_id`` None: nobody's own. ``shared``: every project may use it.
    ``network_type`` (``flat``, ``vlan``, ``vxlan`` …), ``physical_network`` and ``segment`` are Neutron's provider
    attributes, which only administrators see. ``dhcp_server`` is where nova-network's dnsmasq is, if not on
    the gateway; with ``multi_host`` each compute host takes an address of its own beside it.
    """

    id: str
    name: str
    cidr: str | None
    gateway_ip: str | None = None
    dns: tuple[str, ...] = ()
    project_id: str | None = None
    shared: bool = False
    external: bool = False
    subnet_id: str | None = None
    pools: tuple[tuple[str, str], ...] = ()
    dhcp: bool = True
    bridge: str | None = None
    vlan_id: int | None = None
    mtu: int | None = None
    network_type: str | None = None
    physical_network: str | None = None
    segment: int | None = None
    dhcp_server: str | None = None
    multi_host: bool = False


@dataclass(frozen=True)
class Address:
    """A fixed IP of a server. ``network`` is the network's name (nova-network: label)."""

    network: str
    address: str
    mac: str | None = None
    version: int = 4


@dataclass(frozen=True)
class FloatingIp:
    """A floating IP. ``pool`` is nova-network's pool name or Neutron's external network name."""

    id: str
    address: str
    pool: str
    project_id: str | None = None
    fixed_address: str | None = None
    server_id: str | None = None


@dataclass(frozen=True)
class Port:
    """A Neutron port with its first IPv4 address, and all of them. ``server_id`` is its ``device_id``."""

    id: str
    name: str
    network_id: str
    project_id: str
    address: str | None
    mac: str
    status: str
    server_id: str | None = None
    device_owner: str = ""
    security_group_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """A Nova server as an administrator sees it.

    ``flavor_id`` is empty where Nova's database has lost the server's flavor. ``security_groups`` are names (Nova
    tells no ids). ``floating_ips`` are addresses. ``volume_ids`` is empty for the seed's stateless servers.
    ``created_at`` and ``updated_at`` are aware UTC. ``locked`` is ``None`` where the API does not tell it (before
    microversion 2.9).
    """

    id: str
    name: str
    project_id: str
    user_id: str
    status: str
    task_state: str | None
    vm_state: str | None
    power_state: int | None
    host: str | None
    availability_zone: str | None
    flavor_id: str
    image_id: str | None
    key_name: str | None
    security_groups: tuple[str, ...]
    metadata: Properties
    addresses: tuple[Address, ...]
    floating_ips: tuple[str, ...]
    config_drive: bool
    created_at: datetime | None
    volume_ids: tuple[str, ...] = ()
    fault: str | None = None
    updated_at: datetime | None = None
    locked: bool | None = None


@dataclass(frozen=True)
class ServerAction:
    """What somebody had Nova do to a server (``os-instance-actions``): its name there, when it began (aware UTC)."""

    name: str
    started_at: datetime
    user_id: str | None = None


@dataclass(frozen=True)
class ServerSpec:
    """What :meth:`pumphouse.clouds.api.Compute.create_server` is asked to boot; ``user_data`` is base64.

    With Neutron it has ports that were made ahead; with nova-network ``fixed_ips`` (network id, address; an empty
    address: any) and names of security groups.
    """

    name: str
    flavor_id: str
    image_id: str
    port_ids: tuple[str, ...] = ()
    key_name: str | None = None
    metadata: Properties = field(default_factory=dict)
    availability_zone: str | None = None
    config_drive: bool = False
    user_data: str | None = field(default=None, repr=False)
    fixed_ips: tuple[tuple[str, str], ...] = ()
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """A Nova service on a host. ``status`` enabled/disabled is the operator's word, ``state`` up/down the facts."""

    binary: str
    host: str
    zone: str
    status: str
    state: str
    disabled_reason: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Hypervisor:
    """A hypervisor; sizes are ``None`` where the API no longer tells them (microversion 2.88 and later)."""

    id: str
    hostname: str
    host: str | None
    vcpus: int | None = None
    vcpus_used: int | None = None
    ram_mib: int | None = None
    ram_used_mib: int | None = None
    disk_gib: int | None = None
    disk_used_gib: int | None = None
    running_vms: int | None = None
    type: str | None = None


@dataclass(frozen=True)
class Quota:
    """Compute quota limits of a project; -1 is unlimited. Keys are Nova's (``instances``, ``cores``, ``ram`` …)."""

    project_id: str
    limits: Mapping[str, int]


@dataclass(frozen=True)
class Usage:
    """What Nova itself believes that a project uses, in its quotas' keys; 2014's account of it drifts."""

    project_id: str
    used: Mapping[str, int]


@dataclass(frozen=True)
class AvailabilityZone:
    """A zone that servers can be booted into (``internal`` is none). ``available``: one of its hosts is up."""

    name: str
    available: bool = True


@dataclass(frozen=True)
class Aggregate:
    """A host aggregate. Its metadata is what flavors' extra specs are matched with by the scheduler."""

    id: str
    name: str
    availability_zone: str | None = None
    hosts: tuple[str, ...] = ()
    metadata: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class CloudFacts:
    """What a cloud told about itself when we connected.

    ``release`` is ``None`` where the API does not tell it. ``abilities`` are in words, by name, for people to read.
    """

    cloud: str
    side: str  # "source" or "destination"
    auth_url: str
    region: str | None
    release: str | None
    identity_api: str
    image_api: str
    compute_api: str
    network_service: str  # "nova-network", "neutron" or "none"
    project_name: str
    user_name: str
    tls_verified: bool
    evidence: tuple[str, ...] = ()
    abilities: Properties = field(default_factory=dict)

    @property
    def tls(self) -> str:
        """How our connections are protected, for people: ``verified``, or what is not and why."""
        told = [line.removeprefix(TLS_EVIDENCE) for line in self.evidence if line.startswith(TLS_EVIDENCE)]
        return told[0] if told else "verified" if self.tls_verified else "not verified"
