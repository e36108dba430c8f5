"""Whether two clouds can be a source and a destination at all."""

from __future__ import annotations

from urllib.parse import urlsplit

from pumphouse.clouds.cloud import OpenStackCloud
from pumphouse.clouds.parse import root_of
from pumphouse.errors import ApiError, CloudError, SiteError


def require_two_clouds(source: OpenStackCloud, destination: OpenStackCloud) -> None:
    """Refuse one cloud under two names, and a destination without networks (read only).

    The addresses of Nova decide; where user and project have the same ids on both sides, which happens with one
    Keystone for two regions or under two addresses, hosts and servers are compared too.

    :raises SiteError: when both are the same cloud: moving a server into itself would delete it.
    :raises CloudError: when the destination has neither Neutron nor nova-network.
    """
    ours, theirs = source.compute_url, destination.compute_url
    same = _place(ours) == _place(theirs)
    if not same and (source.user_id, source.project_id) == (destination.user_id, destination.project_id):
        same = _hold_the_same(source, destination)
    if same:
        raise SiteError(
            f"Clouds '{source.name}' (source) and '{destination.name}' (destination) are one and the same: Nova at "
            f"{root_of(ours)} and at {root_of(theirs)}.",
            remedy="correct `source.cloud` or `destination.cloud` in site.yaml, or `auth_url` and `region_name` of one "
            "of them in clouds.yaml.",
        )
    if destination.layout.network_service == "none":
        raise CloudError(
            f"Cloud '{destination.name}' cannot be a destination: it has neither Neutron nor nova-network "
            f"({'; '.join(destination.layout.evidence)}).",
            remedy="correct `region_name` or `interface` of this cloud in clouds.yaml, or name another cloud.",
        )


def _hold_the_same(source: OpenStackCloud, destination: OpenStackCloud) -> bool:
    both = (source, destination)
    try:
        hosts = [{(one.hostname, one.host) for one in cloud.compute.list_hypervisors()} for cloud in both]
        if not hosts[0] or hosts[0] != hosts[1]:
            return False
        # two regions may name their hosts alike, but no two servers have one id
        servers = [{one.id for one in cloud.compute.list_servers()} for cloud in both]
    except ApiError:
        # no administrator: the checks compare what the inventory holds
        return False
    return servers[0] == servers[1]


def _place(url: str) -> tuple[str, int, str]:
    parts = urlsplit(root_of(url))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (parts.hostname or "").casefold(), port, parts.path
