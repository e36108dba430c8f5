"""Nova v2.1 with microversions 2.1 to 2.104: negotiation, version documents, extensions and the old network proxies."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import MICROVERSION, NOT_FOUND, Fault, Json, answer

MAX_MINOR = 104
_EXTENSIONS = (
    "OS-DCF", "OS-EXT-AZ", "OS-EXT-IPS", "OS-EXT-IPS-MAC", "OS-EXT-SRV-ATTR", "OS-EXT-STS", "OS-FLV-DISABLED",
    "OS-FLV-EXT-DATA", "OS-SCH-HNT", "OS-SRV-USG", "os-access-ips", "os-admin-actions", "os-attach-interfaces",
    "os-availability-zone", "os-config-drive", "os-console-output", "os-extended-status", "os-extended-volumes",
    "os-flavor-access", "os-flavor-extra-specs", "os-flavor-manage", "os-flavor-rxtx", "os-flavor-swap",
    "os-floating-ips", "os-hypervisors", "os-instance-actions", "os-keypairs", "os-lock-server", "os-networks",
    "os-pause-server", "os-quota-class-sets", "os-quota-sets", "os-security-groups", "os-server-start-stop",
    "os-services", "os-suspend-server", "os-used-limits", "os-user-data", "os-volumes",
)  # fmt: skip


@web.middleware
async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out which microversion a request wants; 406 for one that does not exist."""
    if request.match_info.http_exception is None and request.path.startswith("/v2.1"):
        request[MICROVERSION] = 1
        request[MICROVERSION] = _wanted(request)
    return await handler(request)


def _wanted(request: web.Request) -> int:
    text = request.headers.get("X-OpenStack-Nova-API-Version", "")
    for entry in request.headers.get("OpenStack-API-Version", "").split(","):
        service, _, version = entry.strip().partition(" ")
        if service == "compute":
            text = version.strip()
    if text in ("", "latest"):
        return MAX_MINOR if text else 1
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    if match is None:
        message = f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        raise Fault(400, message)
    major, minor = int(match[1]), int(match[2])
    if major != 2 or not 1 <= minor <= MAX_MINOR:
        message = f"Version {text} is not supported by the API. Minimum is 2.1 and maximum is 2.{MAX_MINOR}."
        raise Fault(406, message)
    return minor


def minor(request: web.Request) -> int:
    """The request's microversion: 26 for 2.26."""
    return request[MICROVERSION]


def only_below(request: web.Request, first_gone: int) -> None:
    """404 from the microversion on in which a resource is gone."""
    if minor(request) >= first_gone:
        raise Fault(404, NOT_FOUND)


def only_from(request: web.Request, first: int) -> None:
    """404 before the microversion in which a resource came."""
    if minor(request) < first:
        raise Fault(404, NOT_FOUND)


def denied(rule: str) -> Fault:
    """Nova's 403."""
    return Fault(403, f"Policy doesn't allow os_compute_api:{rule} to be performed.")


def admin(cloud: Cloud, request: web.Request, rule: str) -> Caller:
    """The caller, who has to be an administrator."""
    caller = cloud.authenticate(request)
    if not caller.is_admin:
        raise denied(rule)
    return caller


def known_project(cloud: Cloud, project_id: str) -> str:
    """A project id that Keystone knows; 400 for any other."""
    if project_id not in cloud.identity.projects:
        raise Fault(400, f"Project ID {project_id} is not a valid project.")
    return project_id


def limit_of(request: web.Request, default: int = 1000) -> int:
    """The page size asked for, at most Nova's 1000."""
    text = request.query.get("limit")
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]*", text):
        raise Fault(400, f"Invalid input for query parameters limit. Value: {text}. {text!r} does not match '^[0-9]*$'")
    return min(int(text or default), default)


def links(cloud: Cloud, kind: str, record_id: str) -> list[Json]:
    """The two links that Nova's records have."""
    base = cloud.urls["compute"]
    return [
        {"rel": "self", "href": f"{base}/{kind}/{record_id}"},
        {"rel": "bookmark", "href": f"{base.removesuffix('/v2.1')}/{kind}/{record_id}"},
    ]


class Service:
    """Handlers of version documents, extensions and what is left of nova-network's resources."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            web.get("/", self.versions),
            web.get("/v2.1", self.version),
            web.get("/v2.1/", self.version),
            web.get("/v2.1/extensions", self.extensions),
            web.get("/v2.1/extensions/{alias}", self.extension),
            web.get("/v2.1/os-networks", self.networks),
            web.get("/v2.1/os-floating-ips", self.floating_ips),
            web.get("/v2.1/os-security-groups", self.security_groups),
        ]

    def _version(self, *, full: bool) -> Json:
        base = self.cloud.urls["compute"]
        found: Json = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": f"2.{MAX_MINOR}",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{base}/"}],
        }
        if full:
            found["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
            media = "application/vnd.openstack.compute+json;version=2.1"
            found["media-types"] = [{"base": "application/json", "type": media}]
        return found

    async def versions(self, request: web.Request) -> web.Response:
        """``GET /``."""
        root = self.cloud.urls["compute"].removesuffix("/v2.1")
        old: Json = {
            "id": "v2.0",
            "status": "DEPRECATED",
            "version": "",
            "min_version": "",
            "updated": "2025-07-04T12:00:00Z",
            "links": [{"rel": "self", "href": f"{root}/v2/"}],
        }
        return answer({"versions": [old, self._version(full=False)]})

    async def version(self, request: web.Request) -> web.Response:
        """``GET /v2.1``."""
        return answer({"version": self._version(full=True)})

    def _extension(self, alias: str) -> Json:
        return {
            "alias": alias,
            "description": f"{alias} (simulated)",
            "links": [],
            "name": alias,
            "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
            "updated": "2014-12-03T00:00:00Z",
        }

    async def extensions(self, request: web.Request) -> web.Response:
        """``GET /extensions``: those that are simulated."""
        self.cloud.authenticate(request)
        return answer({"extensions": [self._extension(alias) for alias in _EXTENSIONS]})

    async def extension(self, request: web.Request) -> web.Response:
        """``GET /extensions/{alias}``."""
        self.cloud.authenticate(request)
        if request.match_info["alias"] not in _EXTENSIONS:
            raise Fault(404, NOT_FOUND)
        return answer({"extension": self._extension(request.match_info["alias"])})

    async def networks(self, request: web.Request) -> web.Response:
        """``GET /os-networks``: Neutron's networks in the old shape, below 2.36."""
        caller = self.cloud.authenticate(request)
        only_below(request, 36)
        found = [
            {"id": item["id"], "label": item["name"], "cidr": None, "project_id": None}
            for item in self.cloud.network.networks.values()
            if caller.sees(item["project_id"]) or item["shared"]
        ]
        return answer({"networks": found})

    async def floating_ips(self, request: web.Request) -> web.Response:
        """``GET /os-floating-ips``: the project's floating IPs in the old shape, below 2.36."""
        caller = self.cloud.authenticate(request)
        only_below(request, 36)
        data = self.cloud.network
        found = []
        for item in data.floatingips.values():
            if item["project_id"] == caller.project_id:
                port = data.ports.get(item["port_id"] or "")
                pool = data.networks[item["floating_network_id"]]["name"]
                found.append(
                    {
                        "id": item["id"],
                        "ip": item["floating_ip_address"],
                        "pool": pool,
                        "fixed_ip": item["fixed_ip_address"],
                        "instance_id": port["device_id"] if port else None,
                    }
                )
        return answer({"floating_ips": found})

    async def security_groups(self, request: web.Request) -> web.Response:
        """``GET /os-security-groups``: the project's groups in the old shape, below 2.36."""
        caller = self.cloud.authenticate(request)
        only_below(request, 36)
        groups = [item for item in self.cloud.network.groups.values() if item["project_id"] == caller.project_id]
        return answer({"security_groups": [old_group(self.cloud, group) for group in groups]})


def old_group(cloud: Cloud, group: Json) -> Json:
    """A security group as nova-network showed it: ingress rules only."""
    rules: list[Json] = []
    for rule in cloud.network.rules.values():
        if rule["security_group_id"] != group["id"] or rule["direction"] != "ingress" or rule["ethertype"] != "IPv4":
            continue
        remote = cloud.network.groups.get(rule["remote_group_id"] or "")
        ports: tuple[Any, Any] = (rule["port_range_min"], rule["port_range_max"])
        if ports == (None, None) and rule["protocol"] in ("tcp", "udp"):
            ports = (1, 65535)
        rules.append(
            {
                "id": rule["id"],
                "parent_group_id": group["id"],
                "ip_protocol": rule["protocol"],
                "from_port": ports[0],
                "to_port": ports[1],
                "group": {"name": remote["name"], "tenant_id": remote["project_id"]} if remote else {},
                "ip_range": {} if remote else {"cidr": rule["remote_ip_prefix"] or "0.0.0.0/0"},
            }
        )
    return {
        "id": group["id"],
        "description": group["description"],
        "name": group["name"],
        "tenant_id": group["project_id"],
        "rules": rules,
    }
