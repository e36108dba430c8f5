"""The verbs that a cloud offers, one class per service, the same on both sides.

Verbs: ``list_`` returns everything (paged to the end), ``find_`` returns ``None`` where ``get_`` raises
:class:`~pumphouse.errors.NotFound`, ``create_``/``delete_`` change the cloud. ``delete_`` of what is gone
is not an error. Foreign errors never leave this package: every verb raises
:class:`~pumphouse.errors.CloudError` or one of its children, with the request id. Reading is retried on
transient failures; writing is retried only where repeating is harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pumphouse.clouds.hosts_api import Hosts
from pumphouse.clouds.network_api import Networking, Neutron, NovaNetwork
from pumphouse.model import (
    Aggregate,
    Assignment,
    AvailabilityZone,
    CloudFacts,
    Flavor,
    Hypervisor,
    Image,
    Keypair,
    Project,
    Quota,
    Role,
    Server,
    ServerAction,
    ServerSpec,
    Service,
    Usage,
    User,
)


class Identity(ABC):
    """Keystone: projects, users, roles and who has which."""

    @abstractmethod
    def list_projects(self) -> list[Project]:
        """All projects of the cloud, not only the caller's (read only)."""

    @abstractmethod
    def get_project(self, project_id: str) -> Project:
        """One project by id (read only)."""

    @abstractmethod
    def find_project(self, name: str) -> Project | None:
        """The project of that name, or None (read only)."""

    @abstractmethod
    def create_project(
        self, name: str, *, description: str = "", enabled: bool = True, source_id: str | None = None
    ) -> Project:
        """Make a project; ``source_id`` is stored as our marker. Raises Conflict if the name is taken."""

    @abstractmethod
    def delete_project(self, project_id: str) -> None:
        """Delete a project."""

    @abstractmethod
    def list_users(self) -> list[User]:
        """All users (read only)."""

    @abstractmethod
    def get_user(self, user_id: str) -> User:
        """One user by id (read only)."""

    @abstractmethod
    def find_user(self, name: str) -> User | None:
        """The user of that name, or None (read only)."""

    @abstractmethod
    def create_user(
        self,
        name: str,
        *,
        password: str,
        email: str | None = None,
        enabled: bool = True,
        default_project_id: str | None = None,
        description: str = "",
        source_id: str | None = None,
    ) -> User:
        """Make a user. The password is never logged. Raises Conflict if the name is taken."""

    @abstractmethod
    def set_user_password(self, user_id: str, password: str) -> None:
        """Give a user another password (only ever used on users that pumphouse made)."""

    @abstractmethod
    def set_user_enabled(self, user_id: str, *, enabled: bool) -> None:
        """Enable or disable a user."""

    @abstractmethod
    def delete_user(self, user_id: str) -> None:
        """Delete a user."""

    @abstractmethod
    def list_roles(self) -> list[Role]:
        """All roles (read only)."""

    @abstractmethod
    def find_role(self, name: str) -> Role | None:
        """The role of that name, compared case-insensitively as current databases do, or None (read only)."""

    @abstractmethod
    def create_role(self, name: str) -> Role:
        """Make a role. Raises Conflict if the name is taken."""

    @abstractmethod
    def delete_role(self, role_id: str) -> None:
        """Delete a role."""

    @abstractmethod
    def list_assignments(self) -> list[Assignment]:
        """Every role of every user in every project (read only; groups and domains are left out)."""

    @abstractmethod
    def has_role(self, assignment: Assignment) -> bool:
        """Whether that assignment exists (read only)."""

    @abstractmethod
    def grant_role(self, assignment: Assignment) -> None:
        """Give the role; a second grant changes nothing."""

    @abstractmethod
    def revoke_role(self, assignment: Assignment) -> None:
        """Take the role away; revoking what is not there changes nothing."""


class Images(ABC):
    """Glance."""

    @abstractmethod
    def list_images(self) -> list[Image]:
        """Every project's images, queued and killed ones too, with members (read only)."""

    @abstractmethod
    def get_image(self, image_id: str) -> Image:
        """One image by id (read only)."""

    @abstractmethod
    def find_images(self, **properties: str) -> list[Image]:
        """Images that carry all these custom properties (read only)."""

    @abstractmethod
    def download(self, image_id: str, *, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The image's bytes, streamed and compared with its record before the last of them is given out.

        Raises before the first chunk when the image has no data. What is not read to its end is let go with ``close()``
        where the iterator has that.
        """

    @abstractmethod
    def create_image(
        self,
        image: Image,
        *,
        image_id: str | None = None,
        owner_id: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Image:
        """Make a ``queued`` record like ``image`` (name, formats, min sizes, properties, tags; not protected).

        ``visibility`` is copied; ``shared`` where ``image`` has members. ``image_id`` asks for that id: Conflict
        if it was ever used. ``properties`` replace the image's own.
        """

    @abstractmethod
    def upload(
        self,
        image_id: str,
        chunks: Iterable[bytes],
        *,
        size_bytes: int | None = None,
        passed: Callable[[int], None] | None = None,
    ) -> Image:
        """Stream the bytes into a queued image; returns the active image, or raised.

        :param chunks: what :meth:`download` gave, or any pieces.
        :param size_bytes: their sum, where it is known: Glance then asks for the space beforehand.
        :param passed: told how many bytes have gone, after each piece.
        """

    @abstractmethod
    def set_protected(self, image_id: str, *, protected: bool) -> None:
        """Set or clear delete protection."""

    @abstractmethod
    def set_owner(self, image_id: str, owner_id: str, *, visibility: str) -> None:
        """Give an image to another project (administrators), and set who may see it; repeating is harmless."""

    @abstractmethod
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema that an image's record must meet, its operator's choice of formats in it; empty where the
        API has none (read only)."""

    @abstractmethod
    def add_member(self, image_id: str, project_id: str, *, accept: bool = True) -> None:
        """Share an image with a project and accept it there if the API lets us; repeating is harmless.

        :param accept: False: the project decides itself, and does not see the image in its list until it has.
        """

    @abstractmethod
    def delete_image(self, image_id: str) -> None:
        """Delete an image (protected ones are refused by Glance)."""


class Compute(ABC):
    """Nova without its network parts."""

    @abstractmethod
    def list_servers(
        self, *, project_id: str | None = None, name: str | None = None, host: str | None = None
    ) -> list[Server]:
        """All servers of all projects (or of one), complete beyond ``osapi_max_limit`` (read only).

        :param name: only those of exactly this name; Nova sends no others then.
        :param host: only those on this compute host (administrators); likewise.
        """

    @abstractmethod
    def list_locked(self) -> frozenset[str] | None:
        """Ids of all locked servers; None where the API does not tell (before microversion 2.9) (read only)."""

    @abstractmethod
    def is_locked(self, server_id: str) -> bool | None:
        """Whether a server is locked; None where the API does not tell (read only)."""

    @abstractmethod
    def get_server(self, server_id: str) -> Server:
        """One server by id (read only)."""

    @abstractmethod
    def find_server(self, server_id: str) -> Server | None:
        """One server by id, or None when it is gone (read only)."""

    @abstractmethod
    def create_server(self, spec: ServerSpec) -> str:
        """Ask for a server in the caller's project as the caller; returns its id at once (status BUILD)."""

    @abstractmethod
    def find_user_data(self, server_id: str) -> str | None:
        """A server's ``user_data`` in base64, empty when it has none; None where the API does not tell (read only)."""

    @abstractmethod
    def stop_server(self, server_id: str) -> None:
        """Shut a server down (asynchronous); one that is stopped already is left alone."""

    @abstractmethod
    def start_server(self, server_id: str) -> None:
        """Start a stopped server (asynchronous); one that runs already is left alone."""

    @abstractmethod
    def lock_server(self, server_id: str) -> None:
        """Keep everybody but administrators from starting, changing or deleting a server; repeating is harmless."""

    @abstractmethod
    def unlock_server(self, server_id: str) -> None:
        """Undo :meth:`lock_server`; repeating is harmless."""

    @abstractmethod
    def create_server_image(self, server_id: str, name: str, properties: Mapping[str, str]) -> str:
        """Ask for a snapshot of a server's root disk; returns the image's id at once (status queued).

        The image belongs to *our* project; Nova adds properties of its own to ours.
        """

    @abstractmethod
    def delete_server(self, server_id: str) -> None:
        """Delete a server (asynchronous)."""

    @abstractmethod
    def list_actions(self, server_id: str) -> list[ServerAction]:
        """What was done to a server, oldest first (read only); empty where Nova keeps no account of that."""

    @abstractmethod
    def wait_server(self, server_id: str, *statuses: str, timeout_s: float) -> Server:
        """Poll until the status is one of these *and* no task is under way; returns it.

        Raises ActionTimeout, or CloudError at once when the server goes to ERROR and that was not asked for.
        """

    @abstractmethod
    def wait_server_gone(self, server_id: str, *, timeout_s: float) -> None:
        """Poll until the server does not exist."""

    @abstractmethod
    def delete_server_metadata(self, server_id: str, key: str) -> None:
        """Remove one metadata key; a key that is not there changes nothing."""

    @abstractmethod
    def list_flavors(self) -> list[Flavor]:
        """Public and private flavors with extra specs and access lists (read only)."""

    @abstractmethod
    def find_flavor(self, flavor_id: str) -> Flavor | None:
        """One flavor by id, or None (read only)."""

    @abstractmethod
    def create_flavor(self, flavor: Flavor) -> Flavor:
        """Make a flavor with that id, extra specs and access list. Raises Conflict if id or name is taken."""

    @abstractmethod
    def delete_flavor(self, flavor_id: str) -> None:
        """Delete a flavor."""

    @abstractmethod
    def handles_others_keypairs(self) -> bool:
        """Whether an administrator may list, make and delete other users' keypairs (read only).

        Microversion 2.10; older Novas take ``user_id`` without a word and mean the caller.
        """

    @abstractmethod
    def add_flavor_access(self, flavor_id: str, project_id: str) -> None:
        """Let a project use a private flavor; repeating is harmless."""

    @abstractmethod
    def remove_flavor_access(self, flavor_id: str, project_id: str) -> None:
        """Take a private flavor away from a project; repeating is harmless."""

    @abstractmethod
    def list_keypairs(self, *, user_id: str | None = None) -> list[Keypair]:
        """The *caller's own* keypairs, or where :meth:`handles_others_keypairs` that user's (read only)."""

    @abstractmethod
    def create_keypair(self, name: str, public_key: str, *, user_id: str | None = None) -> Keypair:
        """Import a public key for the caller (or for that user). Raises Conflict if the name is taken."""

    @abstractmethod
    def delete_keypair(self, name: str, *, user_id: str | None = None) -> None:
        """Delete a keypair of the caller (or of that user)."""

    @abstractmethod
    def list_services(self) -> list[Service]:
        """Nova's services on all hosts (read only)."""

    @abstractmethod
    def list_hypervisors(self) -> list[Hypervisor]:
        """All hypervisors (read only)."""

    @abstractmethod
    def get_quota(self, project_id: str) -> Quota:
        """Compute quota limits of one project (read only)."""

    @abstractmethod
    def get_default_quota(self) -> Quota:
        """The limits that a new project gets (read only; ``project_id`` is empty)."""

    @abstractmethod
    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some of a project's limits."""

    @abstractmethod
    def reset_quota(self, project_id: str) -> None:
        """Give a project the default limits again; repeating is harmless."""

    @abstractmethod
    def find_usage(self, project_id: str) -> Usage | None:
        """What Nova believes that a project uses; None where it tells that only to the project (read only)."""

    @abstractmethod
    def list_availability_zones(self) -> list[AvailabilityZone]:
        """The zones that servers can be booted into (read only)."""

    @abstractmethod
    def list_aggregates(self) -> list[Aggregate]:
        """All host aggregates (read only, administrators)."""

    @abstractmethod
    def find_extension(self, alias: str) -> bool:
        """Whether the API announces that extension (read only)."""


class Cloud(ABC):
    """One cloud as one user. ``network`` is :class:`NovaNetwork` or :class:`Neutron`."""

    name: str
    side: str
    identity: Identity
    images: Images
    compute: Compute
    hosts: Hosts

    @property
    @abstractmethod
    def endpoints(self) -> tuple[str, ...]:
        """Every address at which its services answer: Keystone's as we log in, and all of the catalog (read only)."""

    @property
    @abstractmethod
    def facts(self) -> CloudFacts:
        """What the cloud told about itself (read only; asked once)."""

    @property
    @abstractmethod
    def nova_network(self) -> NovaNetwork:
        """nova-network's verbs; raises CloudError naming the cloud when it has Neutron instead."""

    @property
    @abstractmethod
    def neutron(self) -> Neutron:
        """Neutron's verbs; raises CloudError naming the cloud when it has nova-network instead."""

    @property
    @abstractmethod
    def network(self) -> Networking:
        """Whichever of the two this cloud has."""

    @property
    @abstractmethod
    def user_id(self) -> str:
        """Id of the user we are on this cloud."""

    @property
    @abstractmethod
    def project_id(self) -> str:
        """Id of the project we are scoped to."""

    @property
    def clock_ahead_s(self) -> float | None:
        """Seconds by which its clock was ahead of this machine's when it answered last; None: it did not tell."""
        return None

    def expect_end(self) -> None:  # noqa: B027  a cloud that is never waited for has nothing to forget
        """Wait for this cloud no longer when it cannot be reached: it is being taken apart, and will not come back."""

    @abstractmethod
    def as_user(self, *, user_id: str, password: str, project_id: str) -> Cloud:
        """The same cloud as another user in another project (nothing is asked until the first verb)."""

    @abstractmethod
    def accepts_password(self, user_id: str, password: str) -> bool:
        """Whether a user can log in with a password; tried once, without a project (read only).

        Raises CloudUnreachable when Keystone ends the connection without an answer, as current ones do when the
        user's hash is of a kind that they cannot read.
        """

    @abstractmethod
    def in_project(self, project_id: str) -> Cloud:
        """The same cloud and user, scoped to another project (needs a role there)."""

    @abstractmethod
    def close(self) -> None:
        """Close the HTTP connections."""
