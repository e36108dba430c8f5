"""The verbs for compute hosts: taking them out of service, and moving the servers that they hold.

They follow the rules of :mod:`pumphouse.clouds.api`, need an administrator, and mean the same in every release: what
a release cannot do raises :class:`~pumphouse.errors.CloudError` naming what is left to do by hand. All moves are
asynchronous: Nova answers before it begins, and a move that it gives up shows only in the server's record. So each is
followed by :meth:`Hosts.wait_moved`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable

from pumphouse.model import Server, Service

COMPUTE = "nova-compute"


class Hosts(ABC):
    """Nova's compute hosts. ``host`` is a service's host (``Service.host``), not the hypervisor's name."""

    @abstractmethod
    def find_service(self, host: str, *, binary: str = COMPUTE) -> Service | None:
        """A host's service, or None (read only)."""

    @abstractmethod
    def disable_service(self, host: str, *, reason: str = "", binary: str = COMPUTE) -> Service:
        """Keep the scheduler from giving the host new servers; those that it holds go on. Repeating is harmless.

        :param reason: kept by Nova since Havana; older ones drop it.
        :returns: the service, read again; it is disabled.
        :raises NotFound: when the host has no such service.
        """

    @abstractmethod
    def enable_service(self, host: str, *, binary: str = COMPUTE) -> Service:
        """Undo :meth:`disable_service`; repeating is harmless.

        :raises NotFound: when the host has no such service.
        """

    @abstractmethod
    def deletes_services(self) -> bool:
        """Whether Nova has a call that deletes a service's record: since Icehouse (read only)."""

    @abstractmethod
    def delete_service(self, host: str, *, binary: str = COMPUTE) -> None:
        """Delete the record of a service that is down, and with it the host's hypervisor; gone already is harmless.

        A service that is up is refused here: it would write its record anew.

        :raises CloudError: when the service is up, when the host still holds servers, or when Nova has no such call
            (before Icehouse the record stays, disabled and down, or goes from the database by hand).
        """

    @abstractmethod
    def wait_service(self, host: str, state: str, *, timeout_s: float, binary: str = COMPUTE) -> Service:
        """Poll until the host's service is there and ``up``, or ``down`` (read only).

        Nova goes by the service's last sign of life: ``down`` comes a minute late as shipped (``service_down_time``).

        :raises ActionTimeout: when it does not become so in ``timeout_s`` seconds.
        """

    @abstractmethod
    def list_servers(self, host: str) -> list[Server]:
        """All servers of all projects that Nova has on a host, whatever their status (read only)."""

    @abstractmethod
    def list_unconfirmed(self, host: str, servers: Iterable[Server] | None = None) -> list[Server]:
        """Servers that left a host by cold migration or resize and whose old disk is still on it (read only).

        They are in VERIFY_RESIZE, on another host. Nova of Grizzly does not tell where such servers came from: there
        these are *all* servers in VERIFY_RESIZE.

        :param servers: all servers of the cloud, where they were listed before; listed anew by default.
        """

    @abstractmethod
    def live_migrate(self, server_id: str, *, host: str | None = None, block: bool = False) -> None:
        """Ask for a running server to be moved without stopping it.

        :param host: where to; None leaves it to the scheduler.
        :param block: copy the disks, too (no shared storage).
        :raises Conflict: when the server is not ACTIVE, or busy (Grizzly, Havana: ApiError with status 400).
        :raises ApiError: when its host is down, or ``host`` is unknown, down or where it is already.
        """

    @abstractmethod
    def migrate(self, server_id: str) -> None:
        """Ask for a cold migration: the server stops, moves to a host of the scheduler's choice and starts again.

        It ends in VERIFY_RESIZE, with the old disk still in place, until :meth:`confirm_resize` or
        :meth:`revert_resize`.
        """

    @abstractmethod
    def confirm_resize(self, server_id: str) -> None:
        """Keep a migrated server where it is; its old disk goes. One that waits for no confirmation is left alone."""

    @abstractmethod
    def revert_resize(self, server_id: str) -> None:
        """Bring a migrated server back where it was; one that waits for no confirmation is left alone."""

    @abstractmethod
    def evacuate(self, server_id: str, *, host: str | None, shared_storage: bool) -> None:
        """Ask for a server of a dead host to be built anew elsewhere, with its addresses, MAC and metadata.

        :param host: where to; None leaves it to the scheduler, which Nova cannot before Juno.
        :param shared_storage: its disk is on storage that the other host has, too, and is kept. False: **it is made
            anew from the image, and what was on it is lost**. Told wrongly, the server goes to ERROR.
        :raises ApiError: when its host is still up, or ``host`` is unknown.
        :raises Conflict: when the server is neither ACTIVE nor SHUTOFF, or busy.
        """

    @abstractmethod
    def rebuild(self, server_id: str, image_id: str) -> None:
        """Ask for a server's disk to be made anew from an image, on the host where it is; **its disk is lost**."""

    @abstractmethod
    def wait_moved(self, server_id: str, *, leaving: str, timeout_s: float) -> Server:
        """Poll until an accepted move is over, and the server is on another host than ``leaving``; returns it.

        Status, task state and host are looked at together: a live migration whose checks fail shows only as a server
        that is ACTIVE where it was. The status returned is VERIFY_RESIZE after a cold migration.

        :raises ServerStayed: when no task is under way any more and the server is where it was.
        :raises CloudError: when the server went to ERROR.
        :raises ActionTimeout: when the move is still under way after ``timeout_s`` seconds.
        """

    @abstractmethod
    def wait_settled(self, server_id: str, statuses: Collection[str], *, timeout_s: float) -> Server:
        """Poll until the status is one of ``statuses`` and no task is under way; returns it.

        Follows :meth:`confirm_resize`, :meth:`revert_resize` and :meth:`rebuild`, after which Nova shows the old
        status for a moment.

        :raises CloudError: when the server went to ERROR.
        :raises ActionTimeout: when it does not come to that in ``timeout_s`` seconds.
        """
