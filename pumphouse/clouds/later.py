"""A cloud that may not exist yet, or may be down: logged in to when it is first asked for anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pumphouse.clouds.api import Cloud, Compute, Identity, Images
from pumphouse.clouds.hosts_api import Hosts
from pumphouse.clouds.network_api import Networking, Neutron, NovaNetwork
from pumphouse.errors import PumphouseError
from pumphouse.model import CloudFacts


class LaterCloud(Cloud):
    """A cloud by name, connected by its first verb; until then nothing is asked of it and nothing is known.

    :param name: its entry in clouds.yaml, which may not be there yet.
    :param connect: logs in; may raise whatever :func:`pumphouse.clouds.connect` raises, and is tried again then.
    """

    def __init__(self, name: str, side: str, connect: Callable[[], Cloud]) -> None:
        self.name, self.side = name, side
        self._connect = connect
        self._lock = threading.Lock()
        self._cloud: Cloud | None = None
        self._ending = False
        #: Why the last attempt to log in failed.
        self.problem: PumphouseError | None = None

    @property
    def connected(self) -> bool:
        """Whether we are logged in."""
        return self._cloud is not None

    def expect_end(self) -> None:
        """As the cloud does, now or as soon as we are logged in to it."""
        with self._lock:
            self._ending = True
            if self._cloud is not None:
                self._cloud.expect_end()

    @property
    def cloud(self) -> Cloud:
        """The cloud itself, logged in to now if it was not before."""
        with self._lock:
            if self._cloud is None:
                try:
                    self._cloud, self.problem = self._connect(), None
                except PumphouseError as problem:
                    self.problem = problem
                    raise
                if self._ending:
                    self._cloud.expect_end()
            return self._cloud

    def try_now(self) -> None:
        """Log in if that can be done; else :attr:`problem` says why not, and the next verb tries again."""
        with suppress(PumphouseError):
            _ = self.cloud

    @property
    def identity(self) -> Identity:  # type: ignore[override]
        """Keystone's verbs."""
        return self.cloud.identity

    @property
    def images(self) -> Images:  # type: ignore[override]
        """Glance's verbs."""
        return self.cloud.images

    @property
    def compute(self) -> Compute:  # type: ignore[override]
        """Nova's verbs."""
        return self.cloud.compute

    @property
    def hosts(self) -> Hosts:  # type: ignore[override]
        """Nova's verbs for compute hosts."""
        return self.cloud.hosts

    @property
    def endpoints(self) -> tuple[str, ...]:
        """See :class:`Cloud`."""
        return self.cloud.endpoints

    @property
    def facts(self) -> CloudFacts:
        """What the cloud told about itself."""
        return self.cloud.facts

    @property
    def nova_network(self) -> NovaNetwork:
        """nova-network's verbs."""
        return self.cloud.nova_network

    @property
    def neutron(self) -> Neutron:
        """Neutron's verbs."""
        return self.cloud.neutron

    @property
    def network(self) -> Networking:
        """Whichever of the two this cloud has."""
        return self.cloud.network

    @property
    def user_id(self) -> str:
        """Id of the user we are."""
        return self.cloud.user_id

    @property
    def project_id(self) -> str:
        """Id of the project we are scoped to."""
        return self.cloud.project_id

    @property
    def clock_ahead_s(self) -> float | None:
        """See :class:`Cloud`."""
        return self.cloud.clock_ahead_s

    def as_user(self, *, user_id: str, password: str, project_id: str) -> Cloud:
        """The same cloud as another user."""
        return self.cloud.as_user(user_id=user_id, password=password, project_id=project_id)

    def accepts_password(self, user_id: str, password: str) -> bool:
        """Whether a user can log in with a password."""
        return self.cloud.accepts_password(user_id, password)

    def in_project(self, project_id: str) -> Cloud:
        """The same cloud and user in another project."""
        return self.cloud.in_project(project_id)

    def close(self) -> None:
        """Close the connections, if there are any."""
        with self._lock:
            if self._cloud is not None:
                self._cloud.close()
