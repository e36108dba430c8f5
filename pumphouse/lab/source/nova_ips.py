"""nova-network's address book: which fixed and floating addresses are taken, by whom."""

from __future__ import annotations

import asyncio
import ipaddress

from pumphouse.lab.source.state import FixedIp, FloatingIp, Network, Server, State


class AddressTaken(Exception):
    """The fixed address is held, reserved, or none is left."""


class Addresses:
    """Fixed and floating addresses of all networks."""

    def __init__(self, state: State) -> None:
        self.state = state

    # --- fixed

    def network_of(self, address: str) -> Network | None:
        """The network that an address lies in."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return None
        for network in self.state.networks.values():
            if ip in ipaddress.ip_network(network.cidr):
                return network
        return None

    def record(self, address: str) -> FixedIp | None:
        """The record of a fixed address that is not simply free; those of deleted servers expire."""
        fixed = self.state.fixed_ips.get(address)
        if fixed is not None and fixed.free_at is not None and fixed.free_at <= asyncio.get_running_loop().time():
            if not fixed.reserved:
                del self.state.fixed_ips[address]
                return None
            fixed.free_at = fixed.hostname = fixed.host = None
        return fixed

    def reserved_by_network(self, network: Network, address: str) -> bool:
        """Network, gateway and broadcast addresses are never handed out."""
        ends = ipaddress.ip_network(network.cidr)
        return address in (network.gateway, str(ends.network_address), str(ends.broadcast_address))

    def allocate(self, server: Server, wanted: str | None) -> str:
        """Give a server the address it wants, or the first free one; raises AddressTaken."""
        network = self.state.networks[server.network_id or ""]
        address = wanted or self._first_free(network)
        fixed = self.record(address)
        if fixed is not None or self.reserved_by_network(network, address):
            raise AddressTaken(f"Fixed IP address {address} is already in use.")
        self.state.fixed_ips[address] = FixedIp(
            address, network.id, server_id=server.id, hostname=hostname(server.name), host=server.host
        )
        return address

    def _first_free(self, network: Network) -> str:
        start = ipaddress.IPv4Address(network.dhcp_start)
        for ip in ipaddress.IPv4Network(network.cidr).hosts():
            address = str(ip)
            if ip >= start and self.record(address) is None and not self.reserved_by_network(network, address):
                return address
        raise AddressTaken("Zero fixed ips available.")

    def release(self, server: Server) -> None:
        """A deleted server's addresses become free after a while; its floating ones lose their server."""
        for floating in list(self.state.floating_ips.values()):
            if floating.server_id == server.id:
                self.disassociate(floating)
        delay = self.state.world.timing.of("fixed_ip_release")
        for fixed in self.state.fixed_ips.values():
            if fixed.server_id == server.id:
                fixed.server_id = None
                fixed.free_at = asyncio.get_running_loop().time() + delay

    # --- floating

    def associate(self, floating: FloatingIp, server: Server, fixed_address: str) -> None:
        """Bind a floating address to a server; it leaves the one that had it."""
        if floating.server_id == server.id and floating.fixed_address == fixed_address:
            return
        if floating.server_id is not None:
            self.disassociate(floating)
        floating.server_id, floating.fixed_address, floating.host = server.id, fixed_address, "network1"
        self.state.world.layer2.bind_floating(floating.address, self.state.cloud, server.id)

    def disassociate(self, floating: FloatingIp) -> None:
        """Unbind a floating address; it stays allocated."""
        floating.server_id = floating.fixed_address = floating.host = None
        self.state.world.layer2.unbind_floating(floating.address, self.state.cloud)


def hostname(name: str) -> str:
    """A server's host name, as Nova makes it from the name."""
    plain = name.encode("ascii", "ignore").decode()
    return "".join(c if c.isalnum() or c in "-." else "-" for c in plain).strip("-.").lower()
