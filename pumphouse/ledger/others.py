"""What a source shows beside the objects that are moved: none of it is carried, and here is why."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.ledger.rules import Rule, stays

HOSTS = "describes the source's own hosts and services, which are not moved with the servers"
API = "describes the source's own API"
LOG = "a log of what happened in the source; it stays there"
CREDENTIALS = "a login or a certificate of the source; the destination gives its own"
AGGREGATES = "groups of the source's hosts; zones are mapped by table in site.yaml, hosts are the destination's own"

#: Type (the API's own key) -> why it stays behind.
NOT_CARRIED: Mapping[str, str] = {
    "agent": HOSTS,
    "aggregate": AGGREGATES,
    "availability_zone": AGGREGATES,
    "cell": HOSTS,
    "cloudpipe": "FlatDHCP has no VPN servers",
    "host": HOSTS,
    "hypervisor": HOSTS,
    "hypervisor_statistics": HOSTS,
    "service": HOSTS,
    "endpoint": HOSTS,
    "region": HOSTS,
    "domain": "everything is made in the destination's domain `default`",
    "group": "groups of users are not carried: their members' own roles are",
    "version": API,
    "extension": API,
    "schema": API,
    "limit": "what is used and allowed: the quota's limits, and counts",
    "quota_class_set": "what a new project gets; the destination has its own defaults",
    "certificate": CREDENTIALS,
    "token": CREDENTIALS,
    "access": CREDENTIALS,
    "password": "a Windows guest's password, encrypted for its owner; Nova keeps it with the old server",
    "diagnostics": "counters of the running guest; they begin anew",
    "console_output": "what the guest wrote to its console; it begins anew",
    "instance_action": LOG,
    "migration": LOG,
    "usage": LOG,
    "audit_log": LOG,
    "server_group": "which servers run apart or together is said anew at the destination",
    "volume_attachment": "a server with volumes is not moved",
    "security_group_default_rule": "what new projects' groups get; the groups that exist are carried with their rules",
    "dns_domain": "names in nova-network's own DNS; guests are known by their addresses",
    "floating_ip_pool": "pools are mapped to external networks by table in site.yaml",
    "floating_range": "an administrator's order to fill a pool; addresses that servers hold are carried one by one",
    "interface_attachment": "only clouds with Neutron tell NICs so",
    "store": "where Glance keeps its images' bytes; the destination's Glance has stores of its own",
    "import_method": API,
    "nova_image": "Glance's own record of the image is carried; this is Nova's view of it",
}

RULES: dict[str, tuple[Rule, ...]] = {kind: (stays("**", reason),) for kind, reason in NOT_CARRIED.items()}
