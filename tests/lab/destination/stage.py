"""A project at the destination with all that a server needs."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection

from .running import Running, wait_until
from .talk import PUBLIC_KEY

FIXED, MAC, FLOATING = "127.77.0.50", "fa:16:3e:00:00:50", "127.78.0.50"


@dataclass
class Stage:
    """A project with all that a server needs, as its administrator and as its member see it."""

    lab: Running
    admin: Connection
    member: Connection
    project_id: str
    network_id: str
    subnet_id: str
    image_id: str
    port_id: str
    floating_id: str

    def boot(self, **change: Any) -> Any:
        """Ask for a server with the prepared port."""
        given: dict[str, Any] = {
            "name": "web",
            "flavor_id": "f1",
            "image_id": self.image_id,
            "key_name": "key",
            "networks": [{"port": self.port_id}],
            "metadata": {"a": "b"},
        }
        return self.member.compute.create_server(**(given | change))

    def active(self, server: Any) -> Any:
        """Wait for a server to be ACTIVE and at rest."""
        return self.member.compute.wait_for_server(server, interval=0.05, wait=20)

    def guest(self, address: str = FIXED) -> str | None:
        """What the guest says, or None when nobody answers."""
        wire = http.client.HTTPConnection(address, self.lab.world.layer2.guest_port, timeout=5)
        try:
            wire.request("GET", "/")
            return wire.getresponse().read().decode().strip()
        except ConnectionError:
            return None
        finally:
            wire.close()

    def answers(self) -> None:
        """Wait until the guest answers."""
        wait_until(lambda: self.guest() is not None)

    def gone(self, server: Any) -> None:
        """Delete a server and wait until it is gone."""
        self.member.compute.delete_server(server)
        self.member.compute.wait_for_delete(server, interval=0.05, wait=20)


def prepare(lab: Running) -> Stage:
    admin = lab.connect()
    project = admin.identity.create_project(name="shop")
    user = admin.identity.create_user(name="sue", password="pw")
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member"))
    member = lab.connect("sue", "pw", "shop")
    network = admin.network.create_network(name="novanetwork", project_id=project.id)
    pools = [{"start": "127.77.0.200", "end": "127.77.0.250"}]
    subnet = admin.network.create_subnet(
        network_id=network.id, cidr="127.77.0.0/24", ip_version=4, project_id=project.id, allocation_pools=pools
    )
    public = admin.network.find_network("public")
    router = admin.network.create_router(name="gate", external_gateway_info={"network_id": public.id})
    admin.network.add_interface_to_router(router, subnet_id=subnet.id)
    port = admin.network.create_port(
        network_id=network.id,
        project_id=project.id,
        mac_address=MAC,
        fixed_ips=[{"subnet_id": subnet.id, "ip_address": FIXED}],
    )
    floating = admin.network.create_ip(
        floating_network_id=public.id, project_id=project.id, floating_ip_address=FLOATING
    )
    image = admin.image.create_image(
        "disk", data=b"bytes", disk_format="raw", container_format="bare", visibility="public", wait=True
    )
    admin.compute.create_flavor(name="m1.small", id="f1", ram=512, vcpus=1, disk=1)
    member.compute.create_keypair(name="key", public_key=PUBLIC_KEY)
    return Stage(lab, admin, member, project.id, network.id, subnet.id, image.id, port.id, floating.id)
