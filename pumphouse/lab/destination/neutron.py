"""Neutron v2.0: version documents, extensions, quotas, and what all its collections have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import Fault, Json, answer, now, page_link, read_json, stamp, truthy

_EXTENSIONS = {
    "address-scope": "Address scope",
    "agent": "agent",
    "allowed-address-pairs": "Allowed Address Pairs",
    "availability_zone": "Availability Zone",
    "binding": "Port Binding",
    "binding-extended": "Port Bindings Extended",
    "empty-string-filtering": "Empty String Filtering Extension",
    "ext-gw-mode": "Neutron L3 Configurable external gateway mode",
    "external-net": "Neutron external network",
    "extra_dhcp_opt": "Neutron Extra DHCP options",
    "extraroute": "Neutron Extra Route",
    "filter-validation": "Filter parameters validation",
    "fip-port-details": "Floating IP Port Details Extension",
    "net-mtu": "Network MTU",
    "network_availability_zone": "Network Availability Zone",
    "pagination": "Pagination support",
    "port-mac-override": "Port MAC Override",
    "port-security": "Port Security",
    "project-id": "project_id field enabled",
    "provider": "Provider Network",
    "quota-check-limit": "Quota engine limit check",
    "quota_details": "Quota details management support",
    "quotas": "Quota management support",
    "router": "Neutron L3 Router",
    "security-group": "security-group",
    "security-groups-normalized-cidr": "Normalized CIDR field for security group rules",
    "service-type": "Neutron Service Type Management",
    "sorting": "Sorting support",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-revisions": "Resource revision numbers",
    "standard-attr-tag": "Tag support for resources with standard attribute",
    "standard-attr-timestamp": "Resource timestamps",
    "stateful-security-group": "Stateful security group",
    "subnet_allocation": "Subnet Allocation",
    "tag-creation": "Tag creation extension",
}
QUOTAS = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router_route": 30,
    "router": 10,
    "floatingip": 50,
    "rbac_policy": 10,
    "security_group": 10,
    "security_group_rule": 100,
}
_SKIPPED = ("fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir")


class Collection:
    """One kind of resource: listing, showing and deleting, with filters, fields and pages.

    Subclasses give ``kind`` ("network"), ``plural`` ("networks"), what of a record a caller sees, and make,
    change and remove records.
    """

    kind = ""
    plural = ""
    path = ""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.data = cloud.network

    @property
    def table(self) -> dict[str, Json]:
        """The records of this kind."""
        raise NotImplementedError

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        path = f"/v2.0/{self.path or self.plural}"
        return [
            web.get(path, self.index),
            web.post(path, self.create),
            web.get(f"{path}/{{id}}", self.show),
            web.put(f"{path}/{{id}}", self.update),
            web.delete(f"{path}/{{id}}", self.delete),
            web.get(f"{path}/{{id}}/tags", self.tags),
            web.put(f"{path}/{{id}}/tags", self.set_tags),
            web.put(f"{path}/{{id}}/tags/{{tag}}", self.add_tag),
            web.delete(f"{path}/{{id}}/tags/{{tag}}", self.drop_tag),
        ]

    def missing(self, record_id: str) -> Fault:
        """The 404 of this kind."""
        raise NotImplementedError

    def visible(self, record: Json, caller: Caller) -> bool:
        """Whether a caller may know of a record."""
        return caller.sees(record["project_id"])

    def view(self, record: Json, caller: Caller) -> Json:
        """A record as it is shown."""
        return dict(record)

    def view_listed(self, record: Json, caller: Caller) -> Json:
        """A record as an element of a list."""
        return self.view(record, caller)

    def before_list(self, caller: Caller, request: web.Request) -> None:
        """What has to exist before anything is listed."""

    async def create(self, request: web.Request) -> web.Response:
        """``POST``."""
        raise NotImplementedError

    async def update(self, request: web.Request) -> web.Response:
        """``PUT``."""
        raise NotImplementedError

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE``."""
        raise NotImplementedError

    async def index(self, request: web.Request) -> web.Response:
        """``GET`` of the collection."""
        caller = self.cloud.authenticate(request)
        self.before_list(caller, request)
        found = [self.view_listed(item, caller) for item in self.table.values() if self.visible(item, caller)]
        found = self._filtered(found, request)
        body: Json = {}
        query = request.query
        if "sort_key" in query:
            for key, direction in reversed(
                list(zip(query.getall("sort_key"), query.getall("sort_dir", ["asc"] * 9), strict=False))
            ):
                found.sort(key=lambda item: str(item.get(key)), reverse=direction == "desc")
        if "limit" in query:
            found, links = self._page(found, request)
            body[f"{self.plural}_links"] = links
        fields = query.getall("fields", [])
        body[self.plural] = [{key: item[key] for key in fields if key in item} if fields else item for item in found]
        return answer(body)

    def _filtered(self, found: list[Json], request: web.Request) -> list[Json]:
        keys = [key for key in dict.fromkeys(request.query) if key not in _SKIPPED]
        known = self.filters()
        unknown = [key for key in keys if key not in known]
        if unknown:
            raise Fault(400, f"{unknown} is invalid attribute for filtering", kind="HTTPBadRequest")
        for key in keys:
            wanted = request.query.getall(key)
            found = [item for item in found if self._matches(item, key, wanted)]
        return found

    def filters(self) -> Iterable[str]:
        """Attributes that a list may be filtered by."""
        raise NotImplementedError

    def _matches(self, item: Json, key: str, wanted: list[str]) -> bool:
        if key == "fixed_ips":
            pairs = [pair.partition("=")[::2] for pair in wanted]
            return all(any(str(ip.get(name)) == value for ip in item["fixed_ips"]) for name, value in pairs)
        if key == "tags":
            return set(",".join(wanted).split(",")) <= set(item["tags"])
        stored = item.get(key)
        if isinstance(stored, bool):
            return stored in [truthy(value) for value in wanted]
        if isinstance(stored, list):
            return any(value in stored for value in wanted)
        return str(stored if stored is not None else "") in wanted

    def _page(self, found: list[Json], request: web.Request) -> tuple[list[Json], list[Json]]:
        query = request.query
        try:
            limit = int(query["limit"])
        except ValueError as error:
            raise Fault(400, f"Limit must be an integer 0 or greater and not '{query['limit']}'") from error
        if "marker" in query:
            places = [place for place, item in enumerate(found) if item["id"] == query["marker"]]
            if not places:
                raise self.missing(query["marker"])
            found = found[places[0] + 1 :]
        page = found[:limit] if limit > 0 else found
        base = f"{self.cloud.urls['network']}{request.path}"
        links = []
        if page:
            links.append(
                {"rel": "previous", "href": page_link(base, query.items(), page[0]["id"]) + "&page_reverse=True"}
            )
        if len(page) == limit:
            links.insert(0, {"rel": "next", "href": page_link(base, query.items(), page[-1]["id"])})
        return page, links

    def get(self, request: web.Request, caller: Caller) -> Json:
        """The record of this request, or the 404 of this kind."""
        record = self.table.get(request.match_info["id"])
        if record is None or not self.visible(record, caller):
            raise self.missing(request.match_info["id"])
        return record

    def owned(self, request: web.Request, caller: Caller, action: str) -> Json:
        """The record of this request, if the caller may change it."""
        record = self.get(request, caller)
        if not caller.is_admin and (record["project_id"] != caller.project_id or not caller.may_write):
            raise disallowed(action)
        return record

    async def show(self, request: web.Request) -> web.Response:
        """``GET`` of one."""
        caller = self.cloud.authenticate(request)
        shown = self.view(self.get(request, caller), caller)
        fields = request.query.getall("fields", [])
        return answer({self.kind: {key: shown[key] for key in fields if key in shown} if fields else shown})

    async def given(self, request: web.Request, caller: Caller, allowed: Iterable[str], *, post: bool) -> Json:
        """The request's attributes, checked against the kind's; ``tenant_id`` counts as ``project_id``.

        On creation, somebody else's project needs an administrator.
        """
        body = await read_json(request)
        if not isinstance(body.get(self.kind), dict):
            raise Fault(400, f"Unable to find '{self.kind}' in request body")
        given = dict(body[self.kind])
        verb = "POST" if post else "PUT"
        for name in ("id", "status", "created_at", "updated_at", "revision_number"):
            if name in given:
                raise Fault(400, f"Attribute '{name}' not allowed in {verb}")
        if "tenant_id" in given:
            given.setdefault("project_id", given.pop("tenant_id"))
            given.pop("tenant_id", None)
        if not post and "project_id" in given:
            raise Fault(400, f"Attribute 'project_id' not allowed in {verb}")
        known = {*allowed, "project_id", "description", *(("tags",) if post else ())}
        unknown = [name for name in given if name not in known]
        if unknown:
            raise Fault(400, f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        if post:
            given.setdefault("project_id", caller.project_id)
            if not caller.may_write or not caller.sees(given["project_id"]):
                raise disallowed(f"create_{self.kind}")
        return given

    def standard(self, given: Json) -> Json:
        """The attributes that every record ends with."""
        moment = stamp(now())
        return {
            "description": given.get("description", ""),
            "tags": list(given.get("tags", [])),
            "created_at": moment,
            "updated_at": moment,
            "revision_number": 0,
            "tenant_id": given["project_id"],
        }

    async def tags(self, request: web.Request) -> web.Response:
        """``GET …/tags``."""
        return answer({"tags": self.get(request, self.cloud.authenticate(request))["tags"]})

    async def set_tags(self, request: web.Request) -> web.Response:
        """``PUT …/tags``."""
        record = self.owned(request, self.cloud.authenticate(request), "update_tags")
        record["tags"] = list((await read_json(request)).get("tags", []))
        touch(record)
        return answer({"tags": record["tags"]})

    async def add_tag(self, request: web.Request) -> web.Response:
        """``PUT …/tags/{tag}``."""
        record = self.owned(request, self.cloud.authenticate(request), "update_tags")
        if request.match_info["tag"] not in record["tags"]:
            record["tags"].append(request.match_info["tag"])
            touch(record)
        return answer(None, 201)

    async def drop_tag(self, request: web.Request) -> web.Response:
        """``DELETE …/tags/{tag}``."""
        record = self.owned(request, self.cloud.authenticate(request), "delete_tags")
        tag = request.match_info["tag"]
        if tag not in record["tags"]:
            raise Fault(404, f"Tag {tag} could not be found.", kind="TagNotFound")
        record["tags"].remove(tag)
        touch(record)
        return answer(None, 204)


def touch(record: Json) -> None:
    """A record changed."""
    record["revision_number"] += 1
    record["updated_at"] = stamp(now())


def disallowed(action: str) -> Fault:
    """Neutron's 403."""
    return Fault(403, f"rule:{action} is disallowed by policy", kind="PolicyNotAuthorized")


def usage(cloud: Cloud, project_id: str) -> dict[str, int]:
    """How much of each quota a project uses."""
    data = cloud.network
    tables = {
        "network": data.networks,
        "subnet": data.subnets,
        "port": data.ports,
        "router": data.routers,
        "floatingip": data.floatingips,
        "security_group": data.groups,
        "security_group_rule": data.rules,
    }
    counted = {name: sum(item["project_id"] == project_id for item in table.values()) for name, table in tables.items()}
    return dict.fromkeys(QUOTAS, 0) | counted


def limits(cloud: Cloud, project_id: str) -> dict[str, int]:
    """A project's network quota."""
    return QUOTAS | cloud.network.quotas.get(project_id, {})


def within_quota(cloud: Cloud, project_id: str, kind: str) -> None:
    """409 when a project may not have one more of a kind."""
    limit = limits(cloud, project_id)[kind]
    if 0 <= limit <= usage(cloud, project_id)[kind]:
        raise Fault(409, f"Quota exceeded for resources: ['{kind}'].", kind="OverQuota")


class Service:
    """Handlers of ``/``, ``/v2.0/``, extensions and quotas."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        quota = "/v2.0/quotas/{project}"
        plain: dict[str, Callable[[web.Request], Any]] = {
            "/": self.versions,
            "/v2.0/": self.resources,
            "/v2.0/extensions": self.extensions,
            "/v2.0/extensions/{alias}": self.extension,
            "/v2.0/quotas": self.quotas,
            quota: self.quota,
            f"{quota}/default": self.quota_default,
            f"{quota}/details.json": self.quota_details,
            "/v2.0/agents": self.nothing,
            "/v2.0/availability_zones": self.nothing,
            "/v2.0/subnetpools": self.nothing,
            "/v2.0/address-groups": self.nothing,
        }
        return [
            *(web.get(path, handler) for path, handler in plain.items()),
            web.put(quota, self.quota_set),
            web.delete(quota, self.quota_reset),
        ]

    async def versions(self, request: web.Request) -> web.Response:
        """``GET /``."""
        links = [{"rel": "self", "href": f"{self.cloud.urls['network']}/v2.0/"}]
        return answer({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})

    async def resources(self, request: web.Request) -> web.Response:
        """``GET /v2.0/``."""
        self.cloud.authenticate(request)
        base = f"{self.cloud.urls['network']}/v2.0"
        names = (("network", "networks"), ("subnet", "subnets"), ("subnetpool", "subnetpools"), ("port", "ports"))
        found = [
            {"name": one, "collection": many, "links": [{"rel": "self", "href": f"{base}/{many}"}]}
            for one, many in names
        ]
        return answer({"resources": found})

    def _extension(self, alias: str) -> Json:
        name = _EXTENSIONS[alias]
        return {
            "name": name,
            "alias": alias,
            "description": f"{name} (simulated)",
            "updated": "2020-01-01T00:00:00-00:00",
            "links": [],
        }

    async def extensions(self, request: web.Request) -> web.Response:
        """``GET /v2.0/extensions``: those that are simulated."""
        self.cloud.authenticate(request)
        return answer({"extensions": [self._extension(alias) for alias in _EXTENSIONS]})

    async def extension(self, request: web.Request) -> web.Response:
        """``GET /v2.0/extensions/{alias}``; the refusal is a page, not JSON."""
        self.cloud.authenticate(request)
        alias = request.match_info["alias"]
        if alias not in _EXTENSIONS:
            text = (
                "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n"
                f"  The resource could not be found.<br /><br />\nExtension with alias {alias} does not exist\n\n\n"
                " </body>\n</html>"
            )
            return web.Response(text=text, status=404, content_type="text/html")
        return answer({"extension": self._extension(alias)})

    async def nothing(self, request: web.Request) -> web.Response:
        """Collections that are always empty here."""
        self.cloud.authenticate(request)
        return answer({request.path.rsplit("/", 1)[1].replace("-", "_"): []})

    async def quotas(self, request: web.Request) -> web.Response:
        """``GET /v2.0/quotas``: projects with limits of their own."""
        caller = self.cloud.authenticate(request)
        if not caller.is_admin:
            raise disallowed("get_quota")
        own = self.cloud.network.quotas
        return answer({"quotas": [limits(self.cloud, key) | {"project_id": key, "tenant_id": key} for key in own]})

    def _project(self, request: web.Request, action: str = "get_quota") -> str:
        caller = self.cloud.authenticate(request)
        project_id = request.match_info["project"]
        if not caller.is_admin and (action != "get_quota" or project_id != caller.project_id):
            raise disallowed(action)
        return project_id

    async def quota(self, request: web.Request) -> web.Response:
        """``GET /v2.0/quotas/{project}``."""
        return answer({"quota": limits(self.cloud, self._project(request))})

    async def quota_default(self, request: web.Request) -> web.Response:
        """``GET /v2.0/quotas/{project}/default``."""
        self._project(request)
        return answer({"quota": QUOTAS})

    async def quota_details(self, request: web.Request) -> web.Response:
        """``GET /v2.0/quotas/{project}/details.json``."""
        project_id = self._project(request)
        used = usage(self.cloud, project_id)
        allowed = limits(self.cloud, project_id)
        return answer(
            {"quota": {name: {"limit": allowed[name], "used": used[name], "reserved": 0} for name in allowed}}
        )

    async def quota_set(self, request: web.Request) -> web.Response:
        """``PUT /v2.0/quotas/{project}``."""
        project_id = self._project(request, "update_quota")
        wanted = (await read_json(request)).get("quota")
        if not isinstance(wanted, dict):
            raise Fault(400, "Unable to find 'quota' in request body")
        unknown = [name for name in wanted if name not in QUOTAS]
        if unknown:
            raise Fault(400, f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        used = usage(self.cloud, project_id)
        for name, limit in wanted.items():
            if 0 <= int(limit) < used[name]:
                raise Fault(
                    400, f"Quota limit {limit} for {name} must be greater than or equal to already used {used[name]}"
                )
        own = self.cloud.network.quotas.setdefault(project_id, {})
        own.update({name: int(limit) for name, limit in wanted.items()})
        return answer({"quota": limits(self.cloud, project_id)})

    async def quota_reset(self, request: web.Request) -> web.Response:
        """``DELETE /v2.0/quotas/{project}``."""
        project_id = self._project(request, "delete_quota")
        if self.cloud.network.quotas.pop(project_id, None) is None:
            raise Fault(404, f"Quota for project {project_id} could not be found.", kind="TenantQuotaNotFound")
        return answer(None, 204)
