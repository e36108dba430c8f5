"""Where the releases of the old cloud differ, in one place.

The defaults are Icehouse's (2014.1). What Grizzly (2013.1) and Havana (2013.2) answer otherwise was recorded for the
former and probed call by call for the latter; what neither tells is inferred and marked so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pumphouse.lab.source.ratelimit import DAY_S, MINUTE_S, Limit


def _limits(writes: int, deletes: int, servers: int, servers_period_s: int, changes: int) -> tuple[Limit, ...]:
    return (
        Limit("POST", "*", ".*", writes, MINUTE_S),
        Limit("POST", "*/servers", "^/servers$", servers, servers_period_s),
        Limit("PUT", "*", ".*", writes, MINUTE_S),
        Limit("GET", "*changes-since*", ".*changes-since.*", changes, MINUTE_S),
        Limit("DELETE", "*", ".*", deletes, MINUTE_S),
    )


_STRICT = _limits(writes=10, deletes=100, servers=50, servers_period_s=DAY_S, changes=3)
_LOOSE = _limits(writes=120, deletes=120, servers=120, servers_period_s=MINUTE_S, changes=120)


_OLD_NOT_FOUND = "An object with the specified identifier was not found."
_WORDS = {
    "flavor": "Flavor",
    "flavor-disk": "Flavor's disk is too small for requested image.",
    "flavor-ram": "Flavor's memory is too small for requested image.",
    "url-project": "Malformed request URL: URL's project_id '{asked}' doesn't match Context's project_id '{own}'",
    "keypair-data": "Keypair data is invalid: failed to generate fingerprint",
    "network-missing": "Network not found",
    "live-migrate-stopped": "Cannot 'os-migrateLive' while instance is in vm_state stopped",
    "live-migrate-keys": "host, block_migration and disk_over_commit must be specified for live migration.",
    "live-migrate-lacks": "Migration pre-check error: Unable to migrate {server} to {host}: {lacking}",  # inferred
    "evacuate-up": "Compute service of {host} is still in use.",
    "service-action": "Unknown action",
    "service-missing": "Could not find binary {binary} on host {host}.",
    "pool-empty": "No more floating ips in pool {pool}.",
}


@dataclass(frozen=True)
class Release:
    """What one release answers differently from the others.

    Keystone:

    ``keystone_updated``: the date in the version document of v2.0.
    ``keystone_extensions``: aliases of ``/v2.0/extensions`` on the admin port; ``keystone_public_extensions`` on the
        public one (recorded in Icehouse only; inferred before).
    ``v3_role_assignments``, ``v3_regions``: Keystone has these resources.
    ``keystone_joint``: what stands between a sentence of Keystone and the name that it is about.
    ``denial_end``: how Keystone's 403 ends.
    ``challenges_401``: Keystone's 401 has WWW-Authenticate.
    ``sql_words``: what a 409 of a taken name quotes before the database's error number.
    ``default_project_column``: users have a default project of their own; before, it was kept under the name that
        the API version gave it (``tenantId`` or ``default_project_id``), and both versions show it so.
    ``user_names_twice``: v2.0 shows a user's name as ``username``, too.
    ``catalog_enabled``: services and endpoints say whether they are enabled.
    ``catalog_names``: v3 tokens name the services; before, they had each endpoint's older id.
    ``token_role_ids``: a validated v2.0 token tells whole roles.

    Glance:

    ``glance_current``: the highest version in Glance's list.
    ``queued_file_status``: HTTP status of reading a queued image's data through v2.
    ``image_v2_extra``: v2 records carry ``owner``; the schema has ``owner`` and ``virtual_size``.
    ``image_schema_locations``: the schema of v2 has ``locations``.
    ``glance_not_found``: the sentence of v2's 404 of an image, ``{}`` being the id.
    ``virtual_size``: v1 records have it.
    ``shared_for_admin``: an administrator's ``visibility=shared`` lists what is shared.

    Nova:

    ``rate_limits`` and ``rate_limited``: the built-in limits, and whether they are on as shipped.
    ``next_link_without_limit``: ``servers_links`` also when the caller sent no ``limit``.
    ``stop_stopped_status``: HTTP status of stopping a stopped server.
    ``live_migrate_stopped_status``: HTTP status of live-migrating one.
    ``failed_resize_is_active``: a cold migration that the other host refuses ends in ACTIVE instead of ERROR.
    ``service_ids``: ``os-services`` tells ids; ``service_reasons``: and disabled_reason.
    ``server_usage``: server records carry OS-SRV-USG, os-extended-volumes and MACs; virtual interfaces their network.
    ``has_shelve``, ``has_migrations``, ``has_server_groups``: these exist.
    ``cells_status``: HTTP status of os-cells where cells are off.
    ``ip_filter_fails``: the server filter ``ip`` answers 500 to administrators.
    ``config_drive_on``: what ``config_drive`` says when there is one.
    ``html_401``: Nova's 401 is WebOb's HTML page instead of plain text.
    ``accepted_tells_request``: answers without a body of a handler's own carry the request's id.
    ``row_deleted``: ``deleted`` of fresh database rows that some answers show.
    ``keypair_row``: ``GET /os-keypairs/NAME`` shows the whole database row.
    ``host_ip``: hypervisors tell their address.
    ``tiny_disk_gib``: root disk of ``m1.tiny`` in an untouched database.
    ``snapshot_pending``: a snapshot begins with task state image_snapshot_pending.
    ``reboot_started``: a reboot goes through task state reboot_started(_hard).
    ``tenant_sees_unowned_network``: a tenant user's ``os-networks`` lists networks without a project.
    ``plain_secgroup_limit``: the 413 of security groups is a plain fault, without Retry-After.
    ``snapshot_tells_network``: snapshots have the property network_allocated; before, instance_type_vcpu_weight.
    ``networks_text_status``: HTTP status of booting with a text as ``networks``.
    ``words``: Nova's sentences, by a name of ours.
    ``floating_ip_list_shows_server``: ``GET /os-floating-ips`` tells fixed_ip and instance_id. No recording of
        2014 decides it; the last nova-network release says null there, so nobody may rely on it.
    """

    name: str
    keystone_updated: str = "2014-04-17T00:00:00Z"
    keystone_extensions: tuple[str, ...] = (
        *("s3tokens", "OS-EP-FILTER", "OS-FEDERATION", "OS-KSADM", "OS-EC2", "OS-SIMPLE-CERT"),
    )
    keystone_public_extensions: tuple[str, ...] = ("OS-FEDERATION", "OS-KSCRUD", "OS-EC2", "OS-SIMPLE-CERT")
    v3_role_assignments: bool = True
    v3_regions: bool = True
    keystone_joint: str = ", "
    denial_end: str = "."
    challenges_401: bool = True
    default_project_column: bool = True
    user_names_twice: bool = True
    catalog_enabled: bool = True
    catalog_names: bool = True
    token_role_ids: bool = False
    sql_words: str = "(IntegrityError) "
    glance_current: str = "v2.2"
    queued_file_status: int = 204
    glance_not_found: str = "No image found with ID {}"
    virtual_size: bool = True
    image_v2_extra: bool = True
    image_schema_locations: bool = True
    shared_for_admin: bool = True
    rate_limits: tuple[Limit, ...] = _LOOSE
    rate_limited: bool = False
    next_link_without_limit: bool = True
    stop_stopped_status: int = 409
    live_migrate_stopped_status: int = 409
    failed_resize_is_active: bool = False
    service_ids: bool = True
    service_reasons: bool = True
    server_usage: bool = True
    has_shelve: bool = True
    has_migrations: bool = True
    has_server_groups: bool = True
    cells_status: int = 501
    ip_filter_fails: bool = False
    config_drive_on: str = "True"
    html_401: bool = False
    accepted_tells_request: bool = True
    row_deleted: bool | int = False
    keypair_row: bool = True
    host_ip: bool = True
    tiny_disk_gib: int = 1
    snapshot_pending: bool = True
    reboot_started: bool = True
    tenant_sees_unowned_network: bool = True
    plain_secgroup_limit: bool = True
    snapshot_tells_network: bool = True
    networks_text_status: int = 400
    words: Mapping[str, str] = field(default_factory=lambda: dict(_WORDS))
    floating_ip_list_shows_server: bool = False

    def __hash__(self) -> int:
        return hash(self.name)


_OLDER_WORDS = {
    **_WORDS,
    "flavor": "Instance Type",
    "live-migrate-stopped": "Live migration of instance {server} to host {host} failed",
    "live-migrate-lacks": "Live migration of instance {server} to host {host} failed",  # inferred
    "service-action": "The resource could not be found.",
    "service-missing": "The resource could not be found.",
}
_OLDEST_WORDS = {
    **_OLDER_WORDS,
    "flavor-disk": "Instance type's disk is too small for requested image.",
    "flavor-ram": "Instance type's memory is too small for requested image.",
    "url-project": "Malformed request url",
    "keypair-data": "Keypair data is invalid",
    "network-missing": "The resource could not be found.",
    "live-migrate-keys": "host and block_migration must be specified.",
    "evacuate-up": "Error in evacuate, Instance compute service state on {host} expected to be down, but it was up.",
    "pool-empty": "NoMoreFloatingIps: Zero floating ips available.",
}
_HAVANA = Release(
    name="havana",
    keystone_updated="2013-03-06T00:00:00Z",
    keystone_extensions=("s3tokens", "OS-EP-FILTER", "OS-KSADM", "OS-EC2"),
    keystone_public_extensions=("OS-KSCRUD", "OS-EC2"),
    v3_regions=False,
    sql_words="",
    queued_file_status=404,
    glance_not_found=_OLD_NOT_FOUND,
    virtual_size=False,
    image_v2_extra=False,
    shared_for_admin=False,
    words=_OLDER_WORDS,
    next_link_without_limit=False,
    stop_stopped_status=400,
    live_migrate_stopped_status=400,
    service_ids=False,
    has_server_groups=False,
    cells_status=200,
    ip_filter_fails=True,
    snapshot_pending=False,
    reboot_started=False,
    tenant_sees_unowned_network=False,
)
_GRIZZLY = Release(
    name="grizzly",
    keystone_updated="2013-03-06T00:00:00Z",
    keystone_extensions=("OS-KSADM",),
    keystone_public_extensions=("OS-KSCRUD",),
    v3_role_assignments=False,
    v3_regions=False,
    keystone_joint=": ",
    denial_end="",
    challenges_401=False,
    default_project_column=False,
    user_names_twice=False,
    catalog_enabled=False,
    catalog_names=False,
    token_role_ids=True,
    sql_words="",
    glance_current="v2.1",
    queued_file_status=404,
    glance_not_found=_OLD_NOT_FOUND,
    virtual_size=False,
    image_v2_extra=False,
    image_schema_locations=False,
    shared_for_admin=False,
    rate_limits=_STRICT,
    rate_limited=True,
    next_link_without_limit=False,
    stop_stopped_status=400,
    live_migrate_stopped_status=400,
    failed_resize_is_active=True,
    service_ids=False,
    service_reasons=False,
    server_usage=False,
    has_shelve=False,
    has_migrations=False,
    has_server_groups=False,
    cells_status=200,
    ip_filter_fails=True,
    config_drive_on="1",
    html_401=True,
    accepted_tells_request=False,
    row_deleted=0,
    keypair_row=False,
    host_ip=False,
    tiny_disk_gib=0,
    plain_secgroup_limit=False,
    snapshot_tells_network=False,
    networks_text_status=500,
    words=_OLDEST_WORDS,
    snapshot_pending=False,
    reboot_started=False,
    tenant_sees_unowned_network=False,
)
RELEASES = {release.name: release for release in (_GRIZZLY, _HAVANA, Release(name="icehouse"))}
