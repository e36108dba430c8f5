"""Compute hosts over Nova's v2 and v2.1 API; no microversion is asked for, so that old and new answer alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from pumphouse.clouds.api import Compute
from pumphouse.clouds.hosts_api import COMPUTE, Hosts
from pumphouse.clouds.http import Service
from pumphouse.clouds.nova_records import services_of
from pumphouse.clouds.paging import poll
from pumphouse.clouds.parse import path
from pumphouse.errors import ActionTimeout, ApiError, CloudError, NotFound, ServerStayed
from pumphouse.model import Server
from pumphouse.model import Service as HostService

_WAITS = "VERIFY_RESIZE"


class NovaHosts(Hosts):
    """Hosts over one endpoint.

    :param compute: the same Nova's verbs for servers.
    :param clock: seconds, ever growing.
    """

    def __init__(self, api: Service, compute: Compute, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._compute = compute
        self._clock = clock

    # --- services

    def find_service(self, host: str, *, binary: str = COMPUTE) -> HostService | None:
        """A host's service, or None (read only)."""
        docs = self._api.get("/os-services", f"find {binary} on {host}", host=host, binary=binary).docs("services")
        return next((one for one in services_of(docs) if one.host == host and one.binary == binary), None)

    def disable_service(self, host: str, *, reason: str = "", binary: str = COMPUTE) -> HostService:
        """Disable, with a reason where Nova takes one (Havana and later)."""
        found = self._service(host, binary)
        given: dict[str, Any] = {"host": host, "binary": binary}
        doing = f"disable {binary} on {host}"
        # one that somebody else disabled keeps his reason
        if found.status != "disabled":
            if reason:
                try:
                    self._api.put("/os-services/disable-log-reason", {**given, "disabled_reason": reason[:255]}, doing)
                except NotFound:
                    self._api.put("/os-services/disable", given, doing)
            else:
                self._api.put("/os-services/disable", given, doing)
        return self._proved(host, binary, "disabled")

    def enable_service(self, host: str, *, binary: str = COMPUTE) -> HostService:
        """Enable."""
        if self._service(host, binary).status != "enabled":
            self._api.put("/os-services/enable", {"host": host, "binary": binary}, f"enable {binary} on {host}")
        return self._proved(host, binary, "enabled")

    def deletes_services(self) -> bool:
        """Nova names a service by an id since it can delete one."""
        docs = self._api.get("/os-services", "list services").docs("services")
        return any(one.id is not None for one in services_of(docs))

    def delete_service(self, host: str, *, binary: str = COMPUTE) -> None:
        """Delete the record of a service that is down."""
        found = self.find_service(host, binary=binary)
        if found is None:
            return
        doing = f"delete {binary} on {host}"
        if found.state != "down":
            raise self._error(
                f"{binary} on {host} is up: its record would come back",
                "power the host off or stop the service, wait until Nova shows it down, then repeat.",
            )
        held = self.list_servers(host) if binary == COMPUTE else []
        if held:
            raise self._error(
                f"{host} still holds {len(held)} server(s), among them {held[0].id} ('{held[0].name}')",
                "move or delete them first.",
            )
        if found.id is None:
            raise self._error(
                f"this Nova has no call that deletes {binary} on {host}: that came with Icehouse",
                "leave the record, disabled and down, or delete its row of the table services in Nova's database.",
            )
        self._api.delete(path("os-services", found.id), doing)
        if self.find_service(host, binary=binary) is not None:
            raise self._error(
                f"{binary} on {host} is still listed after it was deleted",
                "see whether the service runs: it then writes its record anew.",
            )

    def wait_service(self, host: str, state: str, *, timeout_s: float, binary: str = COMPUTE) -> HostService:
        """Poll until the service is up, or down."""
        seen: list[str] = []

        def look() -> HostService | None:
            found = self.find_service(host, binary=binary)
            seen.append(found.state if found is not None else "not there")
            return found if found is not None and found.state == state else None

        found = poll(look, timeout_s, clock=self._clock, sleep=self._api.wire.sleep)
        if found is None:
            raise ActionTimeout(
                f"Cloud '{self._api.wire.cloud}': {binary} on {host} was not {state} within {timeout_s:g} s "
                f"(last: {seen[-1]}).",
                remedy="look at the service and its log on that host; when it has arrived, run the same step again.",
            )
        return found

    # --- what a host holds

    def list_servers(self, host: str) -> list[Server]:
        """All servers of a host (read only)."""
        return self._compute.list_servers(host=host)

    def list_unconfirmed(self, host: str, servers: Iterable[Server] | None = None) -> list[Server]:
        """Servers in VERIFY_RESIZE whose migration began on this host (read only)."""
        known = self._compute.list_servers() if servers is None else servers
        waiting = [one for one in known if one.status == _WAITS and one.host != host]
        if not waiting:
            return []
        migrations = self._api.maybe("/os-migrations", "list migrations")
        if migrations is None:
            return waiting
        docs = [doc for doc in migrations.docs("migrations") if doc.maybe_text("status") == "finished"]
        left = {doc.maybe_text("instance_uuid") for doc in docs if doc.maybe_text("source_compute") == host}
        told = {doc.maybe_text("instance_uuid") for doc in docs}
        # a server whose migration is not told any more may have come from anywhere
        return [one for one in waiting if one.id in left or one.id not in told]

    # --- moving servers

    def live_migrate(self, server_id: str, *, host: str | None = None, block: bool = False) -> None:
        """Live migration; Nova wants all three keys. Never repeated by itself."""
        value = {"host": host, "block_migration": block, "disk_over_commit": False}
        self._act(server_id, {"os-migrateLive": value}, "live-migrate")

    def migrate(self, server_id: str) -> None:
        """Cold migration. Never repeated by itself."""
        self._act(server_id, {"migrate": None}, "migrate")

    def confirm_resize(self, server_id: str) -> None:
        """Confirm, where something waits for it."""
        self._finish(server_id, "confirmResize", "confirm the move of")

    def revert_resize(self, server_id: str) -> None:
        """Revert, where something waits for it."""
        self._finish(server_id, "revertResize", "take back the move of")

    def evacuate(self, server_id: str, *, host: str | None, shared_storage: bool) -> None:
        """Evacuate; the answer may carry the server's new root password. Never repeated by itself."""
        value: dict[str, Any] = {"onSharedStorage": shared_storage}
        if host is not None:
            value["host"] = host
        self._act(server_id, {"evacuate": value}, "evacuate")

    def rebuild(self, server_id: str, image_id: str) -> None:
        """Rebuild; the answer carries the server's new root password. Never repeated by itself."""
        self._act(server_id, {"rebuild": {"imageRef": image_id}}, "rebuild")

    def wait_moved(self, server_id: str, *, leaving: str, timeout_s: float) -> Server:
        """Poll until no task is left; then the host says whether the server moved."""

        def arrived(server: Server) -> bool:
            if server.host != leaving:
                return True
            raise ServerStayed(
                f"Cloud '{self._api.wire.cloud}': server {server_id} ('{server.name}') is {server.status} on {leaving} "
                f"as before: Nova accepted its move and gave it up{_fault(server)}.",
                remedy=f"look for {server_id} in nova-compute's logs on {leaving} and on the host that was to take it; "
                "or move it by another method.",
            )

        return self._wait(server_id, f"moved off {leaving}", timeout_s, arrived)

    def wait_settled(self, server_id: str, statuses: Collection[str], *, timeout_s: float) -> Server:
        """Poll until status and task state agree."""
        return self._compute.wait_server(server_id, *statuses, timeout_s=timeout_s)

    # --- plumbing

    def _wait(self, server_id: str, wanted: str, timeout_s: float, done: Callable[[Server], bool]) -> Server:
        seen: list[str] = []

        def look() -> Server | None:
            server = self._compute.get_server(server_id)
            seen.append(f"{server.status}/{server.task_state} on {server.host}")
            if server.task_state is not None or server.status in ("BUILD", "MIGRATING", "RESIZE", "REBUILD"):
                return None
            if server.status == "ERROR":
                raise self._error(
                    f"server {server_id} ('{server.name}') went to ERROR on {server.host} instead of being "
                    f"{wanted}{_fault(server)}",
                    "look at the fault; reset the server's state when its disk is sound, then repeat.",
                )
            return server if done(server) else None

        found = poll(look, timeout_s, clock=self._clock, sleep=self._api.wire.sleep)
        if found is None:
            raise ActionTimeout(
                f"Cloud '{self._api.wire.cloud}': server {server_id} was not {wanted} within {timeout_s:g} s "
                f"(last: {seen[-1]}).",
                remedy="look at the server; when it has arrived, run the same step again.",
            )
        return found

    def _act(self, server_id: str, body: dict[str, Any], word: str) -> None:
        self._api.post(path("servers", server_id, "action"), body, f"{word} server {server_id}", secret=True)

    def _finish(self, server_id: str, action: str, words: str) -> None:
        if self._compute.get_server(server_id).status != _WAITS:
            return
        try:
            self._act(server_id, {action: None}, words)
        except ApiError as error:
            # somebody else, or Nova's own timer, was faster
            if error.status not in (400, 409) or self._compute.get_server(server_id).status == _WAITS:
                raise

    def _service(self, host: str, binary: str) -> HostService:
        found = self.find_service(host, binary=binary)
        if found is None:
            raise NotFound(
                f"Cloud '{self._api.wire.cloud}' has no {binary} on a host '{host}'.",
                status=404,
                remedy="use a host of the inventory's services.",
            )
        return found

    def _proved(self, host: str, binary: str, status: str) -> HostService:
        found = self._service(host, binary)
        if found.status != status:
            raise self._error(
                f"{binary} on {host} is {found.status} after it was {status}", "see who else changes it, then repeat."
            )
        return found

    def _error(self, problem: str, remedy: str) -> CloudError:
        wire = self._api.wire
        return CloudError(f"Cloud '{wire.cloud}': {problem}.", remedy=remedy, request_id=wire.last_request_id)


def _fault(server: Server) -> str:
    return f": {server.fault}" if server.fault else ""
