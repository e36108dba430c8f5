"""Where the releases of the old cloud differ, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """What one release answers differently from the others.

    ``next_link_without_limit``: Nova adds ``servers_links`` also when the caller sent no ``limit``.
    ``stop_stopped_status``: HTTP status of stopping a stopped server.
    ``queued_file_status``: HTTP status of reading a queued image's data through Glance v2.
    ``image_v2_extra``: v2 records carry ``owner``.
    ``v3_role_assignments``, ``v3_regions``: Keystone has these resources.
    ``service_ids``: ``os-services`` tells id and disabled_reason.
    ``server_usage``: server records carry OS-SRV-USG, os-extended-volumes and MACs.
    ``tenant_sees_unowned_network``: a tenant user's ``os-networks`` lists networks without a project.
    ``floating_ip_list_shows_server``: ``GET /os-floating-ips`` tells fixed_ip and instance_id. No recording of
    2014 decides it; the last nova-network release says null there, so nobody may rely on it.
    """

    name: str
    keystone_updated: str = "2014-04-17T00:00:00Z"
    glance_current: str = "v2.2"
    next_link_without_limit: bool = True
    stop_stopped_status: int = 409
    queued_file_status: int = 204
    image_v2_extra: bool = True
    v3_role_assignments: bool = True
    v3_regions: bool = True
    service_ids: bool = True
    server_usage: bool = True
    tenant_sees_unowned_network: bool = True
    floating_ip_list_shows_server: bool = False


RELEASES = {"icehouse": Release(name="icehouse")}
