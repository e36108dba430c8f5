"""POST /servers/ID/action."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pumphouse.lab.source import nova_views as views
from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.nova_ips import Addresses, AddressTaken
from pumphouse.lab.source.nova_lifecycle import PAUSED, RUNNING, SUSPENDED, Lifecycle
from pumphouse.lab.source.nova_servers import action_body, admin_pass
from pumphouse.lab.source.state import Action, FloatingIp, Image, Server, Service, now
from pumphouse.lab.source.wire import ApiFault, Caller, empty_answer, json_answer
from pumphouse.lab.world import Guest

Do = Callable[[web.Request, Server, Any], Awaitable[web.Response]]

_STATES: dict[str, tuple[str, ...]] = {
    "os-stop": ("active", "rescued", "error"),
    "os-start": ("stopped",),
    "pause": ("active",),
    "unpause": ("paused",),
    "suspend": ("active",),
    "resume": ("suspended",),
    "resize": ("active", "stopped"),
    "migrate": ("active", "stopped"),
    "confirmResize": ("resized",),
    "revertResize": ("resized",),
    "os-migrateLive": ("active",),
    "rebuild": ("active", "stopped", "error"),
    "evacuate": ("active", "stopped"),
    "createImage": ("active", "stopped", "paused", "suspended"),
    "createBackup": ("active", "stopped"),
    "shelve": ("active", "stopped", "paused", "suspended"),
    "unshelve": ("shelved", "shelved_offloaded"),
    "shelveOffload": ("shelved",),
    "changePassword": ("active",),
    "rescue": ("active", "stopped"),
    "unrescue": ("rescued",),
}
_SWITCHES = {
    "pausing": "pause",
    "unpausing": "unpause",
    "suspending": "suspend",
    "resuming": "resume",
    "unrescuing": "unrescue",
}
_SHELVING = ("shelve", "unshelve", "shelveOffload")
_ADMIN = ("os-resetState", "os-migrateLive", "migrate", "evacuate", "resetNetwork", "injectNetworkInfo")


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the actions."""
    app.router.add_post("/v2/{project}/servers/{id}/action", Actions(nova).act)


class Actions:
    """The handlers, one per action."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state
        self.ips = Addresses(self.state)
        self.life = Lifecycle(self.state, self.ips)
        self._table: dict[str, Do] = {
            "os-stop": self._stop,
            "os-start": self._start,
            "reboot": self._reboot,
            "pause": self._switch("pausing", "paused", PAUSED),
            "unpause": self._switch("unpausing", "active", RUNNING),
            "suspend": self._switch("suspending", "suspended", SUSPENDED),
            "resume": self._switch("resuming", "active", RUNNING),
            "rescue": self._rescue,
            "unrescue": self._switch("unrescuing", "active", RUNNING),
            "lock": self._lock,
            "unlock": self._lock,
            "createImage": self._create_image,
            "createBackup": self._create_backup,
            "rebuild": self._rebuild,
            "resize": self._resize,
            "migrate": self._migrate,
            "confirmResize": self._confirm,
            "revertResize": self._revert,
            "os-migrateLive": self._live_migrate,
            "evacuate": self._evacuate,
            "shelve": self._shelve,
            "shelveOffload": self._shelve,
            "unshelve": self._unshelve,
            "os-resetState": self._reset_state,
            "resetNetwork": self._nothing,
            "injectNetworkInfo": self._nothing,
            "changePassword": self._nothing,
            "addFloatingIp": self._add_floating,
            "removeFloatingIp": self._remove_floating,
            "addFixedIp": self._add_fixed,
            "removeFixedIp": self._remove_fixed,
            "addSecurityGroup": self._add_group,
            "removeSecurityGroup": self._remove_group,
            "os-getConsoleOutput": self._console,
            "os-getVNCConsole": self._vnc,
        }

    async def act(self, request: web.Request) -> web.Response:
        """Check what all actions share, then hand on."""
        name, value = await action_body(request)
        do = self._table.get(name)
        if do is None or (name in _SHELVING and not self.state.release.has_shelve):
            raise ApiFault(400, f"There is no such action: {name}")
        if name in _ADMIN:
            self.nova.require_admin(request, f"compute_extension:admin_actions:{name.removeprefix('os-')}")
        server, caller = self.nova.server(request), self.nova.caller(request)
        answer = await do(request, server, value)
        if answer.status < 300:
            action = name.removeprefix("os-")
            server.actions.append(Action(action, caller.request_id, caller.user_id, caller.project_id, now()))
        return answer

    def _check(self, request: web.Request, server: Server, name: str) -> None:
        if server.locked and not self.nova.caller(request).is_admin:
            raise ApiFault(409, f"Instance {server.id} is locked")
        allowed = _STATES.get(name)
        wrong = None
        if allowed is not None and server.vm_state not in allowed:
            wrong = f"vm_state {server.vm_state}"
        elif server.task_state is not None:
            wrong = f"task_state {server.task_state}"
        if wrong is None:
            return
        if name in ("os-stop", "os-start"):
            verb = name.removeprefix("os-")
            status = self.state.release.stop_stopped_status
            raise ApiFault(
                status, f"Instance {server.id} in {wrong}. Cannot {verb} while the instance is in this state."
            )
        raise ApiFault(409, f"Cannot '{name}' while instance is in {wrong}")

    # --- power

    async def _stop(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "os-stop")
        self.life.stop(server)
        return empty_answer(202)

    async def _start(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "os-start")
        self.life.power_on(server)
        return empty_answer(202)

    async def _reboot(self, request: web.Request, server: Server, value: Any) -> web.Response:
        kind = str(value.get("type", "")).upper() if isinstance(value, dict) else ""
        if kind not in ("SOFT", "HARD"):
            raise ApiFault(400, "Argument 'type' for reboot is not HARD or SOFT")
        states = ("active",) if kind == "SOFT" else ("active", "stopped", "paused", "suspended", "error")
        if server.vm_state not in states:
            raise ApiFault(409, f"Cannot 'reboot' while instance is in vm_state {server.vm_state}")
        self._check(request, server, "reboot")
        self.life.reboot(server, hard=kind == "HARD")
        return empty_answer(202)

    def _switch(self, task: str, vm_state: str, power_state: int) -> Do:
        name = _SWITCHES[task]

        async def do(request: web.Request, server: Server, _value: Any) -> web.Response:
            self._check(request, server, name)
            self.life.switch(server, task, vm_state, power_state)
            return empty_answer(202)

        return do

    async def _rescue(self, request: web.Request, server: Server, value: Any) -> web.Response:
        self._check(request, server, "rescue")
        self.life.rescue(server)
        given = value.get("adminPass") if isinstance(value, dict) else None
        return json_answer({"adminPass": given or admin_pass()})

    async def _lock(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        name = (await action_body(request))[0]
        server.locked = name == "lock"
        return empty_answer(202)

    async def _reset_state(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        wanted = value.get("state") if isinstance(value, dict) else None
        if wanted not in ("active", "error"):
            raise ApiFault(400, "Desired state must be specified.  Valid states are: active, error")
        server.vm_state, server.task_state, server.updated_at = wanted, None, now()
        if wanted == "active":
            server.fault = None
        return empty_answer(202)

    async def _nothing(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, (await action_body(request))[0])
        return empty_answer(202)

    # --- images

    async def _create_image(self, request: web.Request, server: Server, value: Any) -> web.Response:
        name = value.get("name") if isinstance(value, dict) else None
        if not name:
            raise ApiFault(400, "createImage entity requires name attribute")
        self._check(request, server, "createImage")
        image = self._snapshot(self.nova.caller(request), server, str(name), "snapshot", value.get("metadata") or {})
        href = f"{self.state.endpoints.nova}/v2/{self.nova.caller(request).project_id}/images/{image.id}"
        return self._located(href)

    async def _create_backup(self, request: web.Request, server: Server, value: Any) -> web.Response:
        if not isinstance(value, dict) or not all(k in value for k in ("name", "backup_type", "rotation")):
            raise ApiFault(400, "createBackup entity requires name, backup_type and rotation attributes")
        self._check(request, server, "createBackup")
        image = self._snapshot(self.nova.caller(request), server, str(value["name"]), "backup", {})
        image.properties["backup_type"] = str(value["backup_type"])
        return self._located(f"{self.state.endpoints.nova}/v2/images/{image.id}")

    def _located(self, href: str) -> web.Response:
        answer = empty_answer(202)
        answer.headers["Location"] = href
        return answer

    def _snapshot(self, caller: Caller, server: Server, name: str, kind: str, metadata: dict[str, Any]) -> Image:
        base = self.state.images.get(server.image_id)
        flavor = self.state.flavors[server.flavor_id]
        properties = dict(base.properties) if base else {}
        properties |= {
            "instance_uuid": server.id,
            "user_id": server.user_id,
            "owner_id": server.project_id,
            "image_type": kind,
            "image_state": "available",
            "image_location": "snapshot",
            "base_image_ref": server.image_id,
            "instance_type_id": str(flavor.number),
            "instance_type_name": flavor.name,
            "instance_type_flavorid": flavor.id,
            "instance_type_memory_mb": str(flavor.ram),
            "instance_type_vcpus": str(flavor.vcpus),
            "instance_type_root_gb": str(flavor.disk),
            "instance_type_ephemeral_gb": str(flavor.ephemeral),
            "instance_type_swap": str(flavor.swap),
            "instance_type_rxtx_factor": str(flavor.rxtx_factor),
            **{str(k): str(v) for k, v in metadata.items()},
        }
        if self.state.release.snapshot_tells_network:
            properties["network_allocated"] = "True"
        else:
            properties["instance_type_vcpu_weight"] = "None"
        image = Image(
            id=self.state.new_uuid(),
            name=name,
            owner=caller.project_id,
            disk_format=base.disk_format if base else "raw",
            container_format=base.container_format if base else "bare",
            min_disk=flavor.disk,
            min_ram=base.min_ram if base else 0,
            properties=properties,
        )
        self.state.images[image.id] = image
        self.life.snapshot(server, image)
        return image

    # --- moving and rebuilding

    async def _rebuild(self, request: web.Request, server: Server, value: Any) -> web.Response:
        reference = str(value.get("imageRef") or "").rsplit("/", 1)[-1] if isinstance(value, dict) else ""
        if not reference:
            raise ApiFault(400, "Could not parse imageRef from request.")
        self._check(request, server, "rebuild")
        if reference not in self.state.images:
            raise ApiFault(400, "Cannot find image for rebuild")
        server.image_id = reference
        server.name = str(value.get("name") or server.name)
        self.life.rebuild(server)
        caller = self.nova.caller(request)
        view = views.core(self.nova, server, caller.project_id, extended=False)
        view["adminPass"] = value.get("adminPass") or admin_pass()
        answer = json_answer({"server": view}, 202)
        answer.headers["Location"] = self.nova.links(caller.project_id, "servers", server.id)[0]["href"]
        return answer

    async def _resize(self, request: web.Request, server: Server, value: Any) -> web.Response:
        reference = str(value.get("flavorRef") or "") if isinstance(value, dict) else ""
        if not reference:
            raise ApiFault(400, "Resize requests require 'flavorRef' attribute.")
        flavor_id = reference.rsplit("/", 1)[-1]
        if flavor_id == server.flavor_id:
            raise ApiFault(400, "Resize requires a flavor change.")
        self._check(request, server, "resize")
        if flavor_id not in self.state.flavors:
            raise ApiFault(400, f"Unable to locate requested flavor {flavor_id}.")
        return self._cold(server, flavor_id)

    async def _migrate(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "migrate")
        return self._cold(server, server.flavor_id)

    def _cold(self, server: Server, flavor_id: str) -> web.Response:
        host = self.life.pick_host(server, exclude=server.host)
        if host is None:
            raise ApiFault(400, "No valid host was found. No valid host found for resize/cold migrate")
        self.life.resize(server, host, flavor_id)
        return empty_answer(202)

    async def _confirm(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "confirmResize")
        self.life.confirm_resize(server)
        if self.state.release.accepted_tells_request:
            return empty_answer(204, None)
        return empty_answer(204)

    async def _revert(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "revertResize")
        self.life.revert_resize(server)
        return empty_answer(202)

    def _compute(self, host: str) -> Service | None:
        return next((s for s in self.state.services if s.binary == "nova-compute" and s.host == host), None)

    async def _live_migrate(self, request: web.Request, server: Server, value: Any) -> web.Response:
        wanted = ("host", "block_migration", "disk_over_commit")
        if not isinstance(value, dict) or not all(key in value for key in wanted):
            raise ApiFault(400, self.state.release.words["live-migrate-keys"])
        status = self.state.release.live_migrate_stopped_status
        if server.vm_state == "stopped" and status == 400:
            words = self.state.release.words["live-migrate-stopped"]
            raise ApiFault(status, words.format(server=server.id, host=value["host"]))
        self._check(request, server, "os-migrateLive")
        source = self._compute(server.host or "")
        if source is None or not source.alive:
            raise ApiFault(400, f"Compute service of {server.host} is unavailable at this time.")
        host = value["host"]
        if host is None:
            host = self.life.pick_host(server, exclude=server.host)
            if host is None:
                raise ApiFault(400, "No valid host was found. ")
        if host == server.host:
            raise ApiFault(400, f"Unable to migrate instance ({server.id}) to current host ({host}).")
        service = self._compute(str(host))
        if service is None or not service.alive:
            raise ApiFault(400, f"Compute service of {host} is unavailable at this time.")
        if lacking := self.life.lacking(server, str(host)):
            words = self.state.release.words["live-migrate-lacks"]
            raise ApiFault(400, words.format(server=server.id, host=host, lacking=lacking))
        self.life.live_migrate(server, str(host))
        return empty_answer(202)

    async def _evacuate(self, request: web.Request, server: Server, value: Any) -> web.Response:
        if not isinstance(value, dict) or "host" not in value or "onSharedStorage" not in value:
            raise ApiFault(400, "host and onSharedStorage must be specified.")
        host = str(value["host"])
        if host not in self.state.hosts:
            raise ApiFault(404, f"Compute host {host} not found.")
        self._check(request, server, "evacuate")
        source = self._compute(server.host or "")
        if source is not None and source.alive:
            raise ApiFault(400, self.state.release.words["evacuate-up"].format(host=server.host))
        shared = str(value["onSharedStorage"]).lower() == "true"
        self.life.rebuild(server, host=host, disk_fits=shared == self.state.shared_storage)
        if shared:
            return web.Response(status=200, headers={"Content-Type": "application/json"})
        return json_answer({"adminPass": value.get("adminPass") or admin_pass()})

    async def _shelve(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, (await action_body(request))[0])
        self.life.shelve(server)
        return empty_answer(202)

    async def _unshelve(self, request: web.Request, server: Server, _value: Any) -> web.Response:
        self._check(request, server, "unshelve")
        self.life.unshelve(server)
        return empty_answer(202)

    # --- addresses

    def _floating(self, caller: Caller, value: Any) -> FloatingIp:
        address = value.get("address") if isinstance(value, dict) else None
        if not address:
            raise ApiFault(400, "Address not specified")
        floating = self.state.floating_ips.get(str(address))
        if floating is None or floating.project_id is None:
            raise ApiFault(404, "floating ip not found")
        if not caller.is_admin and floating.project_id != caller.project_id:
            raise ApiFault(403, "Not authorized.")
        return floating

    async def _add_floating(self, request: web.Request, server: Server, value: Any) -> web.Response:
        if not isinstance(value, dict) or not value.get("address"):
            raise ApiFault(400, "Address not specified")
        if server.vm_state == "building" and not server.addresses:
            raise ApiFault(400, "No nw_info cache associated with instance")
        if not server.addresses:
            raise ApiFault(400, "No fixed ips associated to instance")
        fixed = value.get("fixed_address") or server.addresses[0]
        if fixed not in server.addresses:
            raise ApiFault(400, "Specified fixed address not assigned to instance")
        self.ips.associate(self._floating(self.nova.caller(request), value), server, fixed)
        return empty_answer(202)

    async def _remove_floating(self, request: web.Request, server: Server, value: Any) -> web.Response:
        floating = self._floating(self.nova.caller(request), value)
        if floating.server_id != server.id:
            raise ApiFault(422, f"Floating ip {floating.address} is not associated with instance {server.id}.")
        self.ips.disassociate(floating)
        return empty_answer(202)

    async def _add_fixed(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        if not isinstance(value, dict) or "networkId" not in value:
            raise ApiFault(400, "Missing 'networkId' argument for addFixedIp")
        if value["networkId"] not in self.state.networks:
            raise ApiFault(404)
        try:
            address = self.ips.allocate(server, None)
        except AddressTaken:
            raise ApiFault(400, "No more fixed ips available.") from None
        server.addresses = sorted([*server.addresses, address])
        if server.power_state == RUNNING:
            layer2 = self.state.world.layer2
            await layer2.power_on(Guest(self.state.cloud, server.id, server.name, address, server.mac))
        return empty_answer(202)

    async def _remove_fixed(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        address = value.get("address") if isinstance(value, dict) else None
        if address is None:
            raise ApiFault(400, "Missing 'address' argument for removeFixedIp")
        if address not in server.addresses:
            raise ApiFault(400, f"Unable to find address {address}")
        server.addresses = [a for a in server.addresses if a != address]
        self.state.fixed_ips.pop(address, None)
        if server.power_state == RUNNING:
            await self.life.guest_down(server)
            self.life.guest_up_soon(server)
        return empty_answer(202)

    # --- security groups

    def _group_name(self, value: Any) -> str:
        name = value.get("name") if isinstance(value, dict) else None
        if not name:
            raise ApiFault(400, "Security group name not specified")
        return str(name)

    async def _add_group(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        name = self._group_name(value)
        if not any(g.project_id == server.project_id and g.name == name for g in self.state.groups.values()):
            raise ApiFault(404, f"Security group {name} not found for project {server.project_id}.")
        if name in server.security_groups:
            raise ApiFault(400, f"Security group {name} is already associated with the instance {server.id}")
        server.security_groups = [*server.security_groups, name]
        return empty_answer(202)

    async def _remove_group(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        name = self._group_name(value)
        if name not in server.security_groups:
            raise ApiFault(400, f"Security group {name} is not associated with the instance {server.id}")
        server.security_groups = [g for g in server.security_groups if g != name]
        return empty_answer(202)

    # --- consoles

    async def _console(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        lines = [f"lab console of {server.name}", f"id {server.id}", f"state {server.vm_state}"]
        length = value.get("length") if isinstance(value, dict) else None
        return json_answer({"output": "\n".join(lines[-int(length) :] if length else lines)})

    async def _vnc(self, _request: web.Request, server: Server, value: Any) -> web.Response:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind != "xvpvnc":
            raise ApiFault(400, f"Invalid console type {kind}")
        ticket = base64.urlsafe_b64encode(server.id.encode()).decode()
        return json_answer({"console": {"type": kind, "url": f"{self.state.endpoints.nova}/console?token={ticket}"}})
