"""What happens to a server after a request was accepted: task states in order, each with its duration.

Every step changes the record between two awaits, so that nobody sees half a change. A guest is on the shared
network exactly while its server runs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from pumphouse.lab.source import glance
from pumphouse.lab.source.nova_ips import Addresses, AddressTaken
from pumphouse.lab.source.state import Flavor, Image, Server, State, now
from pumphouse.lab.world import Guest

RUNNING, PAUSED, SHUTDOWN, SUSPENDED = 1, 3, 4, 4
RAM_RATIO, CPU_RATIO = 1.5, 16.0
RESERVED_MIB = 512

_BOOT = (("scheduling", 0.1), (None, 0.1), ("networking", 0.3), ("block_device_mapping", 0.1), ("spawning", 0.4))
_SNAPSHOT = (
    ("image_snapshot_pending", 0.1),
    ("image_snapshot", 0.4),
    ("image_pending_upload", 0.1),
    ("image_uploading", 0.4),
)
_RESIZE = (("resize_prep", 0.2), ("resize_migrating", 0.4), ("resize_migrated", 0.1), ("resize_finish", 0.3))
_REBUILD = (("rebuilding", 0.4), ("rebuild_block_device_mapping", 0.1), ("rebuild_spawning", 0.5))


@dataclass
class Usage:
    """What a host's servers hold: count, vcpus, MiB, GiB."""

    servers: int = 0
    vcpus: int = 0
    ram: int = 0
    disk: int = 0

    def add(self, flavor: Flavor) -> None:
        """Count one more server."""
        self.servers += 1
        self.vcpus += flavor.vcpus
        self.ram += flavor.ram
        self.disk += flavor.disk + flavor.ephemeral


class Lifecycle:
    """Carries accepted requests out."""

    def __init__(self, state: State, addresses: Addresses) -> None:
        self.state = state
        self.ips = addresses

    # --- plumbing

    def start(self, server: Server, work: Callable[[Server], Awaitable[None]], *, host: str | None = None) -> None:
        """Begin asynchronous work on a server; it replaces what is under way.

        :param host: whose nova-compute does it, else that of the server's own host. A dead one never gets the message:
            the server keeps its task state.
        """
        if not self.is_alive(host or server.host):
            return

        async def guarded() -> None:
            try:
                await work(server)
            except (OSError, AddressTaken) as error:
                self.fail(server, str(error))

        self.state.run(f"server {server.id}", guarded())

    async def _for(self, action: str, share: float = 1.0) -> None:
        await asyncio.sleep(self.state.world.timing.of(action) * share)

    def _touch(self, server: Server, task_state: str | None) -> None:
        server.task_state = task_state
        server.updated_at = now()

    def fail(self, server: Server, message: str, *, code: int = 500) -> None:
        """Put a server in ERROR with a fault."""
        server.vm_state = "error"
        server.fault = {
            "code": code,
            "message": message,
            "created": now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "details": f"in the lab's nova-compute: {message}",
        }
        self._touch(server, None)

    async def _guest_up(self, server: Server) -> None:
        await self._for("guest_boot")
        if server.deleted or server.power_state != RUNNING:
            return
        for address in list(server.addresses):
            guest = Guest(self.state.cloud, server.id, server.name, address, server.mac)
            await self.state.world.layer2.power_on(guest)

    def guest_up_soon(self, server: Server) -> None:
        """The guest boots in the background: the server is ACTIVE before it answers."""
        self.state.run(f"guest {server.id}", self._guest_up(server))

    async def guest_down(self, server: Server) -> None:
        """Take the guest off the network at once."""
        task = self.state.tasks.pop(f"guest {server.id}", None)
        if task is not None:
            task.cancel()
        await self.state.world.layer2.power_off(self.state.cloud, server.id)

    def is_alive(self, host: str | None) -> bool:
        """Whether a host's nova-compute gets messages; without a host there is nobody to be dead."""
        services = [s for s in self.state.services if s.binary == "nova-compute" and s.host == host]
        return host is None or any(service.alive for service in services)

    # --- scheduling

    def usage(self) -> dict[str, Usage]:
        """What the servers of each host hold; every host has an entry."""
        held = {name: Usage() for name in self.state.hosts}
        for server in self.state.servers.values():
            flavor = self.state.flavors.get(server.flavor_id)
            if server.host in held and not server.deleted and flavor is not None:
                held[server.host].add(flavor)
        return held

    def pick_host(self, server: Server, *, exclude: str | None = None) -> str | None:
        """The scheduler: the least loaded enabled host of the zone that fits, or None."""
        flavor = self.state.flavors[server.flavor_id]
        best: tuple[int, str] | None = None
        held = self.usage()
        for service in self.state.services:
            host = self.state.hosts.get(service.host)
            if service.binary != "nova-compute" or service.disabled or not service.alive or host is None:
                continue
            if host.name == exclude or host.maintenance or not self._in_zone(host.name, server.availability_zone):
                continue
            used = held[host.name]
            if used.vcpus + flavor.vcpus > host.vcpus * CPU_RATIO or used.ram + flavor.ram > host.memory_mb * RAM_RATIO:
                continue
            if best is None or (used.ram, host.name) < best:
                best = (used.ram, host.name)
        return best[1] if best else None

    def lacking(self, server: Server, host: str) -> str:
        """What a host that a caller chose has too little of for a server, as Nova says it; empty when it fits."""
        flavor, held = self.state.flavors[server.flavor_id], self.usage()[host]
        free = self.state.hosts[host].memory_mb - held.ram - RESERVED_MIB
        return "" if free > flavor.ram else f"Lack of memory(host:{free} <= instance:{flavor.ram})"

    def _in_zone(self, host: str, zone: str | None) -> bool:
        zones = [
            a.metadata["availability_zone"]
            for a in self.state.aggregates.values()
            if host in a.hosts and "availability_zone" in a.metadata
        ]
        return zone is None or zone in (zones or ["nova"])

    # --- boot and delete

    def boot(self, server: Server, *, forced_host: str | None, fixed_ip: str | None) -> None:
        """Build a new server."""

        async def work(server: Server) -> None:
            for task, share in _BOOT:
                self._touch(server, task)
                if task is None:
                    server.host = forced_host or self.pick_host(server)
                    if server.host is None:
                        self.fail(server, "No valid host was found. ")
                        return
                if task == "networking":
                    try:
                        address = self.ips.allocate(server, fixed_ip)
                    except AddressTaken:
                        server.host = None
                        self.fail(
                            server,
                            f"No valid host was found. Exceeded max scheduling attempts 3 for instance {server.id}",
                        )
                        return
                    server.addresses = [address]
                await self._for("boot", share)
            self._run_now(server)
            server.launched_at = now()

        self.start(server, work)

    def _run_now(self, server: Server) -> None:
        server.vm_state, server.power_state = "active", RUNNING
        self._touch(server, None)
        self.guest_up_soon(server)

    def delete(self, server: Server) -> None:
        """Delete a server, whatever it is doing; one of a dead host is deleted by the API itself."""
        self._touch(server, "deleting")

        async def work(server: Server) -> None:
            await self._for("delete")
            await self.guest_down(server)
            server.vm_state, server.power_state, server.deleted = "deleted", 0, True
            server.terminated_at = now()
            self._touch(server, None)
            self.ips.release(server)

        alive = [s.host for s in self.state.services if s.binary == "nova-compute" and s.alive]
        self.start(server, work, host=None if self.is_alive(server.host) else next(iter(alive), None))

    # --- power

    def stop(self, server: Server) -> None:
        """Shut down; the addresses stay."""
        self._touch(server, "powering-off")

        async def work(server: Server) -> None:
            await self._for("stop")
            await self.guest_down(server)
            server.vm_state, server.power_state = "stopped", SHUTDOWN
            self._touch(server, None)

        self.start(server, work)

    def power_on(self, server: Server) -> None:
        """Start a stopped server."""
        self._touch(server, "powering-on")

        async def work(server: Server) -> None:
            await self._for("start")
            self._run_now(server)

        self.start(server, work)

    def reboot(self, server: Server, *, hard: bool) -> None:
        """Soft or hard reboot; a hard one also starts a stopped server."""
        self._touch(server, "rebooting_hard" if hard else "rebooting")

        async def work(server: Server) -> None:
            await self._for("reboot", 0.3)
            if self.state.release.reboot_started:
                self._touch(server, "reboot_started_hard" if hard else "reboot_started")
            await self.guest_down(server)
            await self._for("reboot", 0.7)
            self._run_now(server)

        self.start(server, work)

    def switch(self, server: Server, task: str, vm_state: str, power_state: int) -> None:
        """Pause, unpause, suspend, resume, unrescue: one task state, then another vm_state."""
        self._touch(server, task)

        async def work(server: Server) -> None:
            await self._for("suspend")
            if power_state == RUNNING:
                self._run_now(server)
            else:
                await self.guest_down(server)
                server.vm_state, server.power_state = vm_state, power_state
                self._touch(server, None)

        self.start(server, work)

    def rescue(self, server: Server) -> None:
        """Boot the rescue image in a server's place, at its address."""
        self._touch(server, "rescuing")

        async def work(server: Server) -> None:
            await self.guest_down(server)
            await self._for("boot", 0.5)
            server.vm_state, server.power_state = "rescued", RUNNING
            self._touch(server, None)
            self.guest_up_soon(server)

        self.start(server, work)

    # --- images

    def snapshot(self, server: Server, image: Image) -> None:
        """Make an image of a server: ``queued``, ``saving``, ``active``; the server goes on as it was."""
        stages = _SNAPSHOT if self.state.release.snapshot_pending else _SNAPSHOT[1:]
        self._touch(server, stages[0][0])

        async def work(server: Server) -> None:
            for task, share in stages:
                self._touch(server, task)
                if task == "image_uploading" and image.id in self.state.images:
                    image.status = "saving"
                await self._for("snapshot", share)
            self._touch(server, None)
            if image.id in self.state.images:
                size, checksum = glance.write_bytes(self.state.image_path(image.id), self._disk_of(server))
                image.size, image.checksum, image.status = size, checksum, "active"
                image.updated_at = now()

        self.start(server, work)

    def _disk_of(self, server: Server) -> list[bytes]:
        base = self.state.image_path(server.image_id)
        own = hashlib.sha256(server.id.encode()).digest() * 2048
        return [base.read_bytes() if base.exists() else b"", own]

    # --- moving

    def live_migrate(self, server: Server, host: str) -> None:
        """Live migration: the host changes at the end, the guest never goes away."""
        self._touch(server, "migrating")

        async def work(server: Server) -> None:
            await self._for("migrate")
            if self._takes(host):
                server.host = host
            # where the other host refuses, nothing tells but the host that did not change
            self._touch(server, None)

        self.start(server, work)

    def resize(self, server: Server, host: str, flavor_id: str) -> None:
        """Resize or cold migration up to VERIFY_RESIZE; the host changes at ``resize_migrated``."""
        row = self.migration_row(server, host, "migrating")
        row["new_instance_type_id"] = self.state.flavors[flavor_id].number
        self._touch(server, _RESIZE[0][0])
        was_running = server.power_state == RUNNING

        async def work(server: Server) -> None:
            for task, share in _RESIZE:
                self._touch(server, task)
                if task == "resize_migrating":
                    if not self._takes(host):
                        row["status"] = "error"
                        self._give_up_resize(server, host)
                        return
                    await self.guest_down(server)
                if task == "resize_migrated":
                    server.old_host, server.old_flavor_id = server.host, server.flavor_id
                    server.host, server.flavor_id = host, flavor_id
                await self._for("migrate", share)
            server.vm_state = "resized"
            row["status"] = "finished"
            self._touch(server, None)
            server.power_state = RUNNING if was_running else SHUTDOWN
            if was_running:
                self.guest_up_soon(server)

        self.start(server, work)

    def _takes(self, host: str) -> bool:
        return host in self.state.hosts and self.state.hosts[host].takes

    def _give_up_resize(self, server: Server, host: str) -> None:
        if self.state.release.failed_resize_is_active:
            self._touch(server, None)
        else:
            self.fail(server, f"No valid host was found. {host} refused instance {server.id}")

    def _close_migration(self, server: Server, status: str) -> None:
        for row in self.state.migrations:
            if row["instance_uuid"] == server.id and row["status"] == "finished":
                row["status"] = status

    def confirm_resize(self, server: Server) -> None:
        """Keep the new place; shown a moment later."""

        async def work(server: Server) -> None:
            await self._for("migrate", 0.2)
            server.vm_state = "active" if server.power_state == RUNNING else "stopped"
            server.old_host = server.old_flavor_id = None
            self._close_migration(server, "confirmed")
            self._touch(server, None)

        self.start(server, work)

    def revert_resize(self, server: Server) -> None:
        """Go back to the old place."""
        self._touch(server, "resize_reverting")

        async def work(server: Server) -> None:
            await self.guest_down(server)
            await self._for("migrate", 0.5)
            server.host = server.old_host or server.host
            server.flavor_id = server.old_flavor_id or server.flavor_id
            server.old_host = server.old_flavor_id = None
            self._close_migration(server, "reverted")
            self._run_now(server)

        self.start(server, work)

    def rebuild(self, server: Server, *, host: str | None = None, disk_fits: bool = True) -> None:
        """Rebuild in place, or evacuate to ``host``.

        :param disk_fits: the disk is, or is not, where the caller said it was.
        """
        keep_stopped = server.vm_state == "stopped"
        self._touch(server, _REBUILD[0][0])

        async def work(server: Server) -> None:
            for task, share in _REBUILD:
                self._touch(server, task)
                if task == "rebuilding":
                    await self.guest_down(server)
                await self._for("boot", share)
                if not disk_fits:
                    self.fail(server, "Invalid state of instance files on shared storage", code=400)
                    return
            if host is not None:
                self.state.world.layer2.built_anew(self.state.cloud, server.id, host)
            server.host = host or server.host
            server.launched_at = now()
            if keep_stopped:
                server.vm_state, server.power_state = "stopped", SHUTDOWN
                self._touch(server, None)
            else:
                self._run_now(server)

        self.start(server, work, host=host)

    def shelve(self, server: Server) -> None:
        """Shelve, then offload: the server has no host any more."""
        self._touch(server, "shelving")

        async def work(server: Server) -> None:
            await self._for("stop")
            await self.guest_down(server)
            server.vm_state, server.power_state = "shelved", SHUTDOWN
            self._touch(server, "shelving_offloading")
            await self._for("stop", 0.5)
            server.vm_state, server.host = "shelved_offloaded", None
            self._touch(server, None)

        self.start(server, work)

    def unshelve(self, server: Server) -> None:
        """Bring a shelved server back on a host that the scheduler picks."""
        self._touch(server, "unshelving")

        async def work(server: Server) -> None:
            await self._for("boot", 0.5)
            server.host = server.host or self.pick_host(server)
            if server.host is None:
                self.fail(server, "No valid host was found. ")
                return
            self._run_now(server)

        self.start(server, work)

    def migration_row(self, server: Server, host: str, status: str) -> dict[str, object]:
        """Write a migration of a server to a host into the database."""
        moment: datetime = now()
        flavor = self.state.flavors.get(server.flavor_id)
        row: dict[str, object] = {
            "id": self.state.count("migration"),
            "instance_uuid": server.id,
            "source_compute": server.host,
            "source_node": server.host,
            "dest_compute": host,
            "dest_node": host,
            "dest_host": "127.0.0.1",
            "status": status,
            "old_instance_type_id": flavor.number if flavor else None,
            "new_instance_type_id": flavor.number if flavor else None,
            "created_at": moment.strftime("%Y-%m-%dT%H:%M:%S.000000"),
            "updated_at": None,
        }
        self.state.migrations.append(row)
        return row
