"""Nova's v2 and v2.1 API without its network parts; no microversion is asked for, so that old and new answer alike."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from pumphouse.clouds.api import Compute
from pumphouse.clouds.flavors import Flavors
from pumphouse.clouds.http import Service
from pumphouse.clouds.nova_records import (
    VOLUMES_KEY,
    action_of,
    aggregate_of,
    hypervisor_of,
    keypair_of,
    quota_of,
    server_of,
    services_of,
    usage_of,
    zone_of,
)
from pumphouse.clouds.paging import all_pages, poll
from pumphouse.clouds.parse import path
from pumphouse.errors import ActionTimeout, ApiError, CloudError, NotFound
from pumphouse.model import (
    Aggregate,
    AvailabilityZone,
    Flavor,
    Hypervisor,
    Keypair,
    Quota,
    Server,
    ServerAction,
    ServerSpec,
    Usage,
)
from pumphouse.model import Service as HostService

_TELLS_USAGE = "os-used-limits-for-admin"


class NovaCompute(Compute):
    """Compute over one endpoint.

    :param user_id: who we are: Nova does not say whose keypairs it lists.
    :param project_id: our project, whose servers are listed without an administrator's rights.
    :param clock: seconds, ever growing.
    :param locks_api: Nova at microversion 2.9, the first to tell who is locked; None where there is none.
    :param keypairs_api: Nova at 2.10, the first that lets administrators handle other users' keypairs; None likewise.
    :param user_data_api: Nova at 2.3, the first to tell administrators a server's ``user_data``; None likewise.
    """

    def __init__(
        self,
        api: Service,
        user_id: Callable[[], str],
        project_id: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        locks_api: Callable[[], Service | None] = lambda: None,
        keypairs_api: Callable[[], Service | None] = lambda: None,
        user_data_api: Callable[[], Service | None] = lambda: None,
    ) -> None:
        self._api = api
        self._user_id = user_id
        self._project_id = project_id
        self._clock = clock
        self._locks_api = locks_api
        self._keypairs_api = keypairs_api
        self._user_data_api = user_data_api
        self._flavors = Flavors(api)
        self._aliases: frozenset[str] | None = None
        self._lock = threading.Lock()

    def list_servers(
        self, *, project_id: str | None = None, name: str | None = None, host: str | None = None
    ) -> list[Server]:
        """All servers, by our own loop of markers: Nova's ``next`` links lose the details (read only)."""
        filters: dict[str, str]
        if project_id is None:
            filters = {"all_tenants": "1"}
        elif project_id == self._project_id():
            filters = {}
        else:
            filters = {"all_tenants": "1", "project_id": project_id}
        if name is not None:
            # a regular expression for whichever database: what could mean something there matches anything
            filters = {**filters, "name": f"^{re.sub('[^A-Za-z0-9-]+', '.+', name)}$"}
        if host is not None:
            filters = {**filters, "host": host}
        docs = list(all_pages(self._api, "servers", filters))
        untold = {doc.text("id") for doc in docs if VOLUMES_KEY not in doc}
        found = [server_of(doc) for doc in docs]
        # unknown filters are dropped by Nova without a word
        wanted = [
            server
            for server in found
            if project_id in (None, server.project_id) and name in (None, server.name) and host in (None, server.host)
        ]
        return self._api.wire.each(lambda server: self._completed(server, untold), wanted)

    def list_locked(self) -> frozenset[str] | None:
        """Ids of all locked servers, where microversion 2.9 tells them (read only)."""
        api = self._locks_api()
        if api is None:
            return None
        docs = all_pages(api, "servers", {"all_tenants": "1"})
        return frozenset(doc.text("id") for doc in docs if doc.flag("locked", False))

    def is_locked(self, server_id: str) -> bool | None:
        """Whether a server is locked, where microversion 2.9 tells it (read only)."""
        api = self._locks_api()
        if api is None:
            return None
        doc = api.get(path("servers", server_id), f"see whether server {server_id} is locked").doc("server")
        return doc.flag("locked", False)

    def get_server(self, server_id: str) -> Server:
        """One server by id (read only)."""
        doc = self._api.get(path("servers", server_id), f"read server {server_id}").doc("server")
        return self._completed(server_of(doc), set() if VOLUMES_KEY in doc else {server_id})

    def find_server(self, server_id: str) -> Server | None:
        """One server by id, or None when it is gone (read only)."""
        try:
            found = self.get_server(server_id)
        except NotFound:
            return None
        # for a moment after a delete Nova still shows the record
        return None if found.status == "DELETED" else found

    def create_server(self, spec: ServerSpec) -> str:
        """Ask for a server; never repeated by itself. Without ports the cloud picks a network and an address."""
        networks = [{"port": port_id} for port_id in spec.port_ids]
        networks += [
            {"uuid": network_id, "fixed_ip": address} if address else {"uuid": network_id}
            for network_id, address in spec.fixed_ips
        ]
        body: dict[str, Any] = {
            "name": spec.name, "flavorRef": spec.flavor_id, "imageRef": spec.image_id, "metadata": dict(spec.metadata),
            "networks": networks or None, "key_name": spec.key_name,
            "security_groups": [{"name": name} for name in spec.security_groups] or None,
            "availability_zone": spec.availability_zone, "config_drive": spec.config_drive or None,
            "user_data": spec.user_data,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        # the answer carries the server's first root password
        reply = self._api.post("/servers", {"server": body}, f"create server '{spec.name}'", secret=True)
        return reply.doc().doc("server").text("id")

    def find_user_data(self, server_id: str) -> str | None:
        """A server's ``user_data``, where microversion 2.3 tells it (read only)."""
        api = self._user_data_api()
        if api is None:
            return None
        doing = f"read user_data of server {server_id}"
        reply = api.call("GET", path("servers", server_id), doing, repeatable=True, secret=True)
        doc = reply.doc().doc("server")
        return doc.maybe_text("OS-EXT-SRV-ATTR:user_data") or ""

    def stop_server(self, server_id: str) -> None:
        """Shut a server down; it is looked at first, because stopping a stopped one is 400 or 409 by release."""
        self._act(server_id, "os-stop", "stop", "SHUTOFF", "powering-off")

    def start_server(self, server_id: str) -> None:
        """Start a stopped server."""
        self._act(server_id, "os-start", "start", "ACTIVE", "powering-on")

    def lock_server(self, server_id: str) -> None:
        """Lock a server."""
        doing = f"lock server {server_id}"
        self._api.post(path("servers", server_id, "action"), {"lock": None}, doing, repeatable=True)

    def unlock_server(self, server_id: str) -> None:
        """Unlock a server."""
        doing = f"unlock server {server_id}"
        self._api.post(path("servers", server_id, "action"), {"unlock": None}, doing, repeatable=True)

    def create_server_image(self, server_id: str, name: str, properties: Mapping[str, str]) -> str:
        """Ask for a snapshot; never repeated by itself. Its id is in the answer's Location, on every release."""
        body = {"createImage": {"name": name[:255], "metadata": dict(properties)}}
        reply = self._api.post(path("servers", server_id, "action"), body, f"snapshot server {server_id}")
        found = reply.headers.get("Location", "").rstrip("/").rpartition("/")[2]
        if not found:
            raise CloudError(
                f"Cloud '{self._api.wire.cloud}' accepted the snapshot of server {server_id} without telling its id.",
                remedy="delete the image in the cloud, then repeat.",
            )
        return found

    def delete_server(self, server_id: str) -> None:
        """Delete a server."""
        self._api.delete(path("servers", server_id), f"delete server {server_id}")

    def list_actions(self, server_id: str) -> list[ServerAction]:
        """``os-instance-actions``, which Grizzly brought; deleted servers have none (read only)."""
        answer = self._api.maybe(path("servers", server_id, "os-instance-actions"), f"list acts on server {server_id}")
        docs = answer.docs("instanceActions") if answer is not None else []
        found = [action for doc in docs if (action := action_of(doc)) is not None]
        # Nova lists the newest first, in whole seconds: those of one second keep their order
        found.reverse()
        return sorted(found, key=lambda action: action.started_at)

    def wait_server(self, server_id: str, *statuses: str, timeout_s: float) -> Server:
        """Poll until status and task state agree."""
        wanted = {status.upper() for status in statuses}

        def look() -> Server | None:
            server = self.get_server(server_id)
            if server.status in wanted and server.task_state is None:
                return server
            if server.status == "ERROR" and "ERROR" not in wanted and server.task_state is None:
                raise CloudError(
                    f"Cloud '{self._api.wire.cloud}': server {server_id} ('{server.name}') went to ERROR instead of "
                    f"{' or '.join(sorted(wanted))}: {server.fault or 'Nova tells no fault'}.",
                    remedy="look at the fault; delete the server or reset its state, then repeat.",
                )
            seen.append(f"{server.status}/{server.task_state}")
            return None

        seen: list[str] = []
        found = poll(look, timeout_s, clock=self._clock, sleep=self._api.wire.sleep)
        if found is None:
            raise self._late(server_id, " or ".join(sorted(wanted)), seen, timeout_s)
        return found

    def wait_server_gone(self, server_id: str, *, timeout_s: float) -> None:
        """Poll until the server does not exist."""
        seen: list[str] = []

        def look() -> bool | None:
            server = self.find_server(server_id)
            if server is None:
                return True
            seen.append(f"{server.status}/{server.task_state}")
            return None

        if poll(look, timeout_s, clock=self._clock, sleep=self._api.wire.sleep) is None:
            raise self._late(server_id, "gone", seen, timeout_s)

    def delete_server_metadata(self, server_id: str, key: str) -> None:
        """Remove one metadata key."""
        self._api.delete(path("servers", server_id, "metadata", key), f"delete metadata '{key}' of server {server_id}")

    def list_flavors(self) -> list[Flavor]:
        """Public and private flavors with extra specs and access lists (read only)."""
        return self._flavors.list()

    def find_flavor(self, flavor_id: str) -> Flavor | None:
        """One flavor by id, or None; old Nova also finds deleted ones here (read only)."""
        return self._flavors.find(flavor_id)

    def create_flavor(self, flavor: Flavor) -> Flavor:
        """Make a flavor; one whose specs or access list are refused is removed again."""
        return self._flavors.create(flavor)

    def delete_flavor(self, flavor_id: str) -> None:
        """Delete a flavor."""
        self._flavors.delete(flavor_id)

    def handles_others_keypairs(self) -> bool:
        """Whether Nova offers microversion 2.10."""
        return self._keypairs_api() is not None

    def add_flavor_access(self, flavor_id: str, project_id: str) -> None:
        """Let a project use a private flavor."""
        self._flavors.add_access(flavor_id, project_id)

    def remove_flavor_access(self, flavor_id: str, project_id: str) -> None:
        """Take a private flavor away from a project."""
        self._flavors.remove_access(flavor_id, project_id)

    def list_keypairs(self, *, user_id: str | None = None) -> list[Keypair]:
        """Our own keypairs, or another user's (read only)."""
        api, whose = self._keypairs(user_id)
        docs = api.get("/os-keypairs", "list keypairs", **whose).docs("keypairs")
        return [keypair_of(doc.doc("keypair"), user_id or self._user_id()) for doc in docs]

    def create_keypair(self, name: str, public_key: str, *, user_id: str | None = None) -> Keypair:
        """Import a public key, for us or for another user."""
        api, whose = self._keypairs(user_id)
        body = {"keypair": {"name": name, "public_key": public_key, **whose}}
        reply = api.post("/os-keypairs", body, f"create keypair '{name}'")
        return keypair_of(reply.doc().doc("keypair"), user_id or self._user_id())

    def delete_keypair(self, name: str, *, user_id: str | None = None) -> None:
        """Delete one of our keypairs, or of another user's."""
        api, whose = self._keypairs(user_id)
        query = f"?{urlencode(whose)}" if whose else ""
        api.delete(path("os-keypairs", name) + query, f"delete keypair '{name}'")

    def _keypairs(self, user_id: str | None) -> tuple[Service, dict[str, str]]:
        if user_id is None:
            return self._api, {}
        api = self._keypairs_api()
        if api is None:
            raise CloudError(
                f"Cloud '{self._api.wire.cloud}' shows and takes only our own keypairs, not those of user {user_id}.",
                remedy="log in as that user: its Nova has no microversion 2.10.",
            )
        return api, {"user_id": user_id}

    def list_services(self) -> list[HostService]:
        """Nova's services (read only)."""
        return services_of(self._api.get("/os-services", "list services").docs("services"))

    def list_hypervisors(self) -> list[Hypervisor]:
        """All hypervisors (read only)."""
        docs = self._api.get("/os-hypervisors/detail", "list hypervisors").docs("hypervisors")
        return [hypervisor_of(doc) for doc in docs]

    def get_quota(self, project_id: str) -> Quota:
        """Limits of one project; Nova answers with the defaults for a project it never heard of (read only)."""
        answer = self._api.get(path("os-quota-sets", project_id), f"read the quota of project {project_id}")
        return quota_of(answer.doc("quota_set"), project_id)

    def get_default_quota(self) -> Quota:
        """Limits of a new project (read only)."""
        answer = self._api.get(path("os-quota-sets", self._project_id(), "defaults"), "read the default quota")
        return quota_of(answer.doc("quota_set"), "")

    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some limits."""
        body = {"quota_set": dict(limits)}
        self._api.put(path("os-quota-sets", project_id), body, f"set the quota of project {project_id}")

    def reset_quota(self, project_id: str) -> None:
        """Give a project the default limits again."""
        self._api.delete(path("os-quota-sets", project_id), f"reset the quota of project {project_id}")

    def find_usage(self, project_id: str) -> Usage | None:
        """Nova's own account of a project's use; of others only where an extension says so (read only)."""
        own = project_id == self._project_id()
        if not own and not self.find_extension(_TELLS_USAGE):
            return None
        params = {} if own else {"tenant_id": project_id}
        answer = self._api.get("/limits", f"read what project {project_id} uses", **params)
        return usage_of(answer.doc("limits").doc("absolute"), project_id)

    def list_availability_zones(self) -> list[AvailabilityZone]:
        """Zones to boot into: Nova's plain list leaves its internal one out (read only)."""
        return [
            zone_of(doc) for doc in self._api.get("/os-availability-zone", "list zones").docs("availabilityZoneInfo")
        ]

    def list_aggregates(self) -> list[Aggregate]:
        """All host aggregates (read only)."""
        return [aggregate_of(doc) for doc in self._api.get("/os-aggregates", "list aggregates").docs("aggregates")]

    def find_extension(self, alias: str) -> bool:
        """Whether Nova announces that extension; the list is asked for once (read only)."""
        return alias in self.extensions()

    def extensions(self) -> frozenset[str]:
        """The aliases of all extensions (read only; asked once)."""
        with self._lock:
            if self._aliases is None:
                docs = self._api.get("/extensions", "list extensions").docs("extensions")
                self._aliases = frozenset(doc.text("alias") for doc in docs)
            return self._aliases

    def _completed(self, server: Server, untold: Collection[str]) -> Server:
        """A server with what Grizzly's records leave out; ``untold``: ids of those whose volumes are not in it."""
        server = self._with_macs(server)
        if server.id not in untold:
            return server
        doing = f"list volumes of server {server.id}"
        answer = self._api.maybe(path("servers", server.id, "os-volume_attachments"), doing)
        attached = answer.docs("volumeAttachments") if answer is not None else []
        return replace(server, volume_ids=tuple(doc.text("volumeId") for doc in attached))

    def _with_macs(self, server: Server) -> Server:
        # Grizzly's addresses carry no MAC, and its list of interfaces no network: clear with one interface only
        if not server.addresses or all(address.mac for address in server.addresses):
            return server
        answer = self._api.maybe(
            path("servers", server.id, "os-virtual-interfaces"), f"list interfaces of server {server.id}"
        )
        macs = [doc.text("mac_address") for doc in answer.docs("virtual_interfaces")] if answer is not None else []
        if len(macs) != 1:
            return server
        return replace(server, addresses=tuple(replace(a, mac=a.mac or macs[0]) for a in server.addresses))

    def _act(self, server_id: str, action: str, word: str, done: str, under_way: str) -> None:
        server = self.get_server(server_id)
        if _is_there(server, done, under_way):
            return
        try:
            doing = f"{word} server {server_id} ('{server.name}')"
            self._api.post(path("servers", server_id, "action"), {action: None}, doing)
        except ApiError as error:
            if error.status not in (400, 409) or not _is_there(self.get_server(server_id), done, under_way):
                raise

    def _late(self, server_id: str, wanted: str, seen: list[str], timeout_s: float) -> ActionTimeout:
        last = seen[-1] if seen else "never seen"
        return ActionTimeout(
            f"Cloud '{self._api.wire.cloud}': server {server_id} was not {wanted} within {timeout_s:g} s "
            f"(last status/task: {last}).",
            remedy="look at the server; when it has arrived, run the same step again.",
        )


def _is_there(server: Server, status: str, under_way: str) -> bool:
    return server.task_state == under_way or (server.status == status and server.task_state is None)
