"""A cloud that answers list calls from a snapshot, with failures and waits where a test asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from pumphouse.errors import NotFound
from pumphouse.inventory import Snapshot
from pumphouse.model import Keypair, Quota, Usage


class FakeCloud:
    """``fails``: list name -> what is raised. ``before``: called with each list's name, in its thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        fails: dict[str, Exception] | None = None,
        keypairs: Iterable[Keypair] = (),
        before: Callable[[str], None] | None = None,
    ) -> None:
        self.name, self.side, self.facts = snapshot.facts.cloud, snapshot.facts.side, snapshot.facts
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self._fails, self._before = fails or {}, before
        quotas = {quota.project_id: quota for quota in snapshot.quotas}

        def get_quota(project_id: str) -> Quota:
            self._enter("quotas")
            if project_id not in quotas:
                raise NotFound(f"Quota of project {project_id} does not exist.", status=404, request_id="req-q")
            return quotas[project_id]

        def find_usage(project_id: str) -> Usage | None:
            self._enter("usages")
            return snapshot.usage(project_id)

        own = list(keypairs)
        self.identity = SimpleNamespace(
            list_projects=self._list("projects", snapshot.projects),
            list_users=self._list("users", snapshot.users),
            list_roles=self._list("roles", snapshot.roles),
            list_assignments=self._list("assignments", snapshot.assignments),
        )
        self.images = SimpleNamespace(list_images=self._list("images", snapshot.images))
        self.compute = SimpleNamespace(
            list_servers=self._list("servers", snapshot.servers),
            list_flavors=self._list("flavors", snapshot.flavors),
            list_services=self._list("services", snapshot.services),
            list_hypervisors=self._list("hypervisors", snapshot.hypervisors),
            list_keypairs=self._list("keypairs", own),
            get_quota=get_quota,
            get_default_quota=self._list("default_quota", snapshot.default_quota),
            list_availability_zones=self._list("availability_zones", snapshot.availability_zones),
            list_aggregates=self._list("aggregates", snapshot.aggregates),
            list_locked=self._list("locks", self._locked(snapshot)),
            find_usage=find_usage,
        )
        self.network = SimpleNamespace(
            list_networks=self._list("networks", snapshot.networks),
            list_security_groups=self._list("security_groups", snapshot.security_groups),
            list_floating_ips=self._list("floating_ips", snapshot.floating_ips),
            floating_pools=self._list("floating_pools", dict(snapshot.floating_pools)),
        )
        self.neutron = SimpleNamespace(list_ports=self._list("ports", snapshot.ports))

    @staticmethod
    def _locked(snapshot: Snapshot) -> frozenset[str] | None:
        told = any(server.locked is not None for server in snapshot.servers)
        return frozenset(server.id for server in snapshot.servers if server.locked) if told else None

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        if self._before is not None:
            self._before(name)
        if name in self._fails:
            raise self._fails[name]

    def _list(self, name: str, value: Any) -> Callable[[], Any]:
        def call() -> Any:
            self._enter(name)
            # the order in which an API lists is not ours to rely on
            return list(reversed(value)) if isinstance(value, (tuple, list)) else value

        return call
