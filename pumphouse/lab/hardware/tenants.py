"""What a cloud makes of a compute host that comes, falls silent or is gone: one class for old clouds, one for new."""

from __future__ import annotations

from typing import Protocol

from pumphouse.lab.destination.nova_hosts import servers_on
from pumphouse.lab.destination.state import Cloud
from pumphouse.lab.destination.state import Host as NewHost
from pumphouse.lab.destination.web import new_id
from pumphouse.lab.destination.wires import server_down, server_up
from pumphouse.lab.hardware.fleet import Machine
from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_lifecycle import RUNNING, SHUTDOWN, Lifecycle
from pumphouse.lab.source.state import Host, Service, State, now

COMPUTE = "nova-compute"
#: What a controller runs of Nova, beside its API.
CONTROL = ("nova-conductor", "nova-scheduler")


class Tenants(Protocol):
    """The servers of one cloud, seen from below. Hosts are named as the cloud's services name them."""

    name: str

    def held(self, host: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Id, name and fixed addresses of all servers whose disks are on a host."""

    def host_of(self, server_id: str) -> str | None:
        """The host that a server is on."""

    async def fall_silent(self, host: str) -> list[tuple[str, str, str]]:
        """A host's guests are off the network at once; id, name and address of those that were alive.

        Nova does not notice: it goes on showing them ACTIVE.
        """

    def tell_alive(self, host: str, alive: bool) -> None:
        """Nova takes a host's services for up, or down."""

    def appear(self, host: str, machine: Machine) -> None:
        """A compute service reports from a host: a record that is not there is written."""

    def appear_control(self, host: str) -> None:
        """A controller's services report from a host: records that are not there are written."""

    def settle(self, host: str) -> None:
        """A compute service came back after its machine lost power: what it believed to run is SHUTOFF."""

    async def speak_again(self, host: str) -> None:
        """A host whose machine never lost power is back on the network, and so are its guests."""

    def vanish(self, host: str) -> None:
        """A host's records go."""


class OldTenants:
    """A cloud with nova-network."""

    def __init__(self, state: State) -> None:
        self.name = state.cloud
        self.state = state
        self._life = Lifecycle(state, Addresses(state))

    def held(self, host: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Servers of a host, and those whose old disk waits there for a confirmation."""
        servers = [server for server in self.state.live_servers() if host in (server.host, server.old_host)]
        return [(server.id, server.name, tuple(server.addresses)) for server in servers]

    def host_of(self, server_id: str) -> str | None:
        """As Nova has it."""
        found = self.state.servers.get(server_id)
        return found.host if found is not None else None

    async def fall_silent(self, host: str) -> list[tuple[str, str, str]]:
        """Guests die; what was under way with them on that host ends."""
        layer2, lost = self.state.world.layer2, []
        for server in self.state.live_servers():
            if server.host == host:
                if layer2.is_alive(self.name, server.id):
                    lost += [(server.id, server.name, address) for address in server.addresses]
                await self._life.guest_down(server)
                under_way = self.state.tasks.pop(f"server {server.id}", None)
                if under_way is not None:
                    under_way.cancel()
        return lost

    def tell_alive(self, host: str, alive: bool) -> None:
        """All services of the host."""
        for service in self.state.services:
            if service.host == host:
                service.alive = alive

    def appear(self, host: str, machine: Machine) -> None:
        """nova-compute writes its own records where they are missing."""
        if host not in self.state.hosts:
            number = self.state.count("host")
            self.state.hosts[host] = Host(host, number, machine.vcpus, machine.memory_mb, machine.disk_gb)
        if not any(service.host == host and service.binary == COMPUTE for service in self.state.services):
            self.state.services.append(Service(self.state.count("service"), COMPUTE, host))
        self.tell_alive(host, True)

    def appear_control(self, host: str) -> None:
        """Nova's control services write their own records, too."""
        known = {service.binary for service in self.state.services if service.host == host}
        for binary in CONTROL:
            if binary not in known:
                self.state.services.append(Service(self.state.count("service"), binary, host))
        self.tell_alive(host, True)

    def settle(self, host: str) -> None:
        """``resume_guests_state_on_host_boot`` is off as shipped: Nova stops what it finds shut down."""
        for server in self.state.live_servers():
            if server.host == host and server.power_state == RUNNING:
                server.power_state = SHUTDOWN
                if server.vm_state == "active":
                    server.vm_state, server.task_state, server.updated_at = "stopped", None, now()

    async def speak_again(self, host: str) -> None:
        """Guests that ran all the time are heard again."""
        for server in self.state.live_servers():
            if server.host == host and server.power_state == RUNNING:
                self._life.guest_up_soon(server)

    def vanish(self, host: str) -> None:
        """Host and services."""
        self.state.hosts.pop(host, None)
        self.state.services[:] = [service for service in self.state.services if service.host != host]


class NewTenants:
    """A current cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.name = "destination"
        self.cloud = cloud

    def _host(self, name: str) -> NewHost | None:
        return next((host for host in self.cloud.compute.hosts if host.name == name), None)

    def held(self, host: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Servers of a host."""
        found = self._host(host)
        held = servers_on(self.cloud, found) if found is not None else []
        return [(server.id, server.name, tuple(self._addresses(server.id))) for server in held]

    def _addresses(self, server_id: str) -> list[str]:
        layer2 = self.cloud.world.layer2
        return [guest.address for guest in layer2.guests.values() if guest.server_id == server_id]

    def host_of(self, server_id: str) -> str | None:
        """As Nova has it."""
        found = self.cloud.compute.servers.get(server_id)
        return found.host if found is not None else None

    async def fall_silent(self, host: str) -> list[tuple[str, str, str]]:
        """Guests die."""
        found, lost = self._host(host), []
        for server in servers_on(self.cloud, found) if found is not None else []:
            lost += [(server.id, server.name, address) for address in self._addresses(server.id)]
            await server_down(self.cloud, server)
        return lost

    def tell_alive(self, host: str, alive: bool) -> None:
        """All services of the host."""
        found = self._host(host)
        if found is not None:
            found.alive = alive
        for item in self.cloud.compute.control:
            if item["host"] == host:
                item["alive"] = alive

    def appear(self, host: str, machine: Machine) -> None:
        """nova-compute writes its own records where they are missing."""
        if self._host(host) is None:
            fresh = NewHost(host, self._number(), service_id=new_id(), hypervisor_id=new_id())
            fresh.vcpus, fresh.ram_mib, fresh.disk_gib = machine.vcpus, machine.memory_mb, machine.disk_gb
            self.cloud.compute.hosts.append(fresh)
        self.tell_alive(host, True)

    def appear_control(self, host: str) -> None:
        """As in the old cloud."""
        control = self.cloud.compute.control
        known = {item["binary"] for item in control if item["host"] == host}
        for binary in CONTROL:
            if binary not in known:
                control.append({"binary": binary, "host": host, "number": self._number(), "id": new_id()})
        self.tell_alive(host, True)

    def _number(self) -> int:
        data = self.cloud.compute
        return max([*(item.number for item in data.hosts), *(item["number"] for item in data.control)], default=0) + 1

    def settle(self, host: str) -> None:
        """As in the old cloud."""
        found = self._host(host)
        for server in servers_on(self.cloud, found) if found is not None else []:
            if server.power_state == 1:
                server.power_state = 4
                if server.vm_state == "active":
                    server.vm_state, server.task_state = "stopped", None

    async def speak_again(self, host: str) -> None:
        """Guests that ran all the time are heard again."""
        found = self._host(host)
        for server in servers_on(self.cloud, found) if found is not None else []:
            if server.power_state == 1:
                self.cloud.spawn(server_up(self.cloud, server))

    def vanish(self, host: str) -> None:
        """Host, service and hypervisor."""
        data = self.cloud.compute
        data.hosts[:] = [item for item in data.hosts if item.name != host]
        data.control[:] = [item for item in data.control if item["host"] != host]
