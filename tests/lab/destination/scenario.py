"""One long conversation with a current OpenStack cloud, written down as shapes.

The same requests go to a real cloud (``tools/record_current_shapes.py`` keeps what it answered in
``data/current.json``) and to the lab's destination (``test_shapes.py`` compares). Kept of every answer: status,
content type, keys and types of the JSON body; of refusals the wording too, with ids, addresses and times masked.
Everything made is named ``labcmp-…`` and removed at the end, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDCzCwQZsQcbR9LQq4Jk4Qm0B4k2mB3R2oWlJ6dWJvJw labcmp"
IMAGE_BYTES = b"labcmp image bytes\n" * 1000
FIXED_CIDR, EXTERNAL_CIDR = "127.77.0.0/24", "127.78.0.0/24"
FIXED_IP, FLOATING_IP = "127.77.0.50", "127.78.0.50"
MAC = "fa:16:3e:77:00:50"

_MASKS = (
    (re.compile(r"req-[0-9a-f-]{36}"), "<request>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<endpoint>"),
    (re.compile(r"(?<=flavor )\d+(?= and project)|(?<=found for )\d+(?= /)"), "<number>"),
)


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def wording(answer: requests.Response) -> str:
    """What a refusal says: JSON in one spelling; a page without its layout and without dumped schemas."""
    try:
        return masked(json.dumps(answer.json(), sort_keys=True))
    except ValueError:
        text = re.sub(r"Failed validating.*?(?=<br)", "", answer.text, flags=re.DOTALL)
        return masked(re.sub(r"\s+", " ", text)).replace(" <br", "<br").strip()


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; a list's elements are merged into one."""
    if isinstance(value, dict):
        return {masked(key): shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        merged: Any = None
        for item in value:
            merged = shape(item) if merged is None else merge(merged, shape(item))
        return [] if merged is None else [merged]
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def merge(one: Any, two: Any) -> Any:
    """What two shapes have between them; differing scalars become ``a|b``."""
    if one == two:
        return one
    if isinstance(one, dict) and isinstance(two, dict):
        return {key: merge(one.get(key, two.get(key)), two.get(key, one.get(key))) for key in sorted({*one, *two})}
    if isinstance(one, list) and isinstance(two, list):
        return [merge(one[0], two[0])] if one and two else one or two
    if isinstance(one, str) and isinstance(two, str):
        return "|".join(sorted({*one.split("|"), *two.split("|")}))
    return one


@dataclass
class Exchange:
    """One answer, as it is kept."""

    status: int
    content_type: str
    headers: list[str]
    body: Any
    text: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        kept = {"status": self.status, "type": self.content_type, "headers": self.headers, "body": self.body}
        return kept | ({"text": self.text} if self.text is not None else {})


class Talker:
    """One user's requests to one cloud."""

    def __init__(self, book: Conversation, token: str, project_id: str, user_id: str, catalog: dict[str, str]) -> None:
        self.book, self.token, self.project_id, self.user_id, self.catalog = book, token, project_id, user_id, catalog

    def call(
        self,
        name: str,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = None,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Any:
        """Send one request; keep the answer under ``name`` (empty: not kept); return its body."""
        sent = {"X-Auth-Token": self.token} if self.token else {}
        if version:
            sent["OpenStack-API-Version"] = f"compute {version}"
        answer = requests.request(
            method,
            self.catalog[service] + path,
            json=body,
            data=data,
            headers=sent | (headers or {}),
            timeout=60,
            allow_redirects=False,
        )
        return self.book.keep(name, answer)


@dataclass
class Conversation:
    """The whole talk; ``exchanges`` by name, ``raw`` for a person's eyes."""

    auth_url: str
    username: str
    password: str
    project: str
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    watch: Callable[[str, requests.Response], None] | None = None
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def keep(self, name: str, answer: requests.Response) -> Any:
        """Write one answer down and return its JSON (or text)."""
        if self.watch is not None:
            self.watch(name, answer)
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        try:
            body = answer.json()
        except ValueError:
            body = None
        if name:
            assert name not in self.exchanges, name
            wanted = ("x-openstack-request-id", "openstack-api-version", "location", "www-authenticate", "x-subject-token")
            self.exchanges[name] = Exchange(
                answer.status_code,
                kind,
                sorted(key.lower() for key in answer.headers if key.lower() in wanted),
                None if body is None else shape(body),
                wording(answer) if answer.status_code >= 400 else None,
            )
        return answer.text if body is None else body

    def login(self, username: str, password: str, project: str, name: str = "") -> Talker:
        """A token for one user in one project of the default domain."""
        domain = {"id": "default"}
        answer = requests.post(
            f"{self.auth_url}/auth/tokens",
            json={
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": username, "password": password, "domain": domain}},
                    },
                    "scope": {"project": {"name": project, "domain": domain}},
                }
            },
            timeout=60,
        )
        body = self.keep(name, answer)
        assert answer.status_code == 201, answer.text
        token = body["token"]
        catalog = {
            entry["type"]: next(e["url"] for e in entry["endpoints"] if e["interface"] == "public").rstrip("/")
            for entry in token["catalog"]
        }
        return Talker(self, answer.headers["X-Subject-Token"], token["project"]["id"], token["user"]["id"], catalog)


def hold(conversation: Conversation) -> dict[str, Exchange]:
    """Have the whole conversation; returns the exchanges by name."""
    with conversation.undo:
        admin = conversation.login(conversation.username, conversation.password, conversation.project, "auth.password")
        _discovery(conversation, admin)
        tenant = _identity(conversation, admin)
        image = _images(conversation, admin, tenant)
        flavor = _flavors(conversation, admin)
        net = _network(conversation, admin, tenant)
        _servers(conversation, admin, tenant, image, flavor, net)
        _quotas(admin, tenant, image, net.network)
    return conversation.exchanges


def _discovery(book: Conversation, admin: Talker) -> None:
    nobody = Talker(book, "", "", "", admin.catalog)
    liar = Talker(book, "bogus", "", "", admin.catalog)
    roots = {name: re.sub(r"(:\d+).*", r"\1", url) for name, url in admin.catalog.items()}
    root = Talker(book, "", "", "", roots)
    for service in ("identity", "compute", "image", "network"):
        root.call(f"discovery.{service}.root", service, "GET", "/")
    nobody.call("discovery.identity.v3", "identity", "GET", "/")
    nobody.call("discovery.compute.v21", "compute", "GET", "/")
    nobody.call("discovery.compute.latest", "compute", "GET", "/", version="latest")
    nobody.call("discovery.compute.too-new", "compute", "GET", "/", version="2.999")
    root.call("discovery.network.v2", "network", "GET", "/v2.0/", headers={"X-Auth-Token": admin.token})
    root.call("discovery.network.noslash", "network", "GET", "/v2.0", headers={"X-Auth-Token": admin.token})
    for service, path in (
        ("identity", "/projects"),
        ("compute", "/servers"),
        ("image", "/v2/images"),
        ("network", "/v2.0/networks"),
    ):
        nobody.call(f"noauth.{service}", service, "GET", path)
        liar.call(f"badtoken.{service}", service, "GET", path)
        lost = {"identity": "/nonsense", "compute": "/nonsense", "image": "/v2/nonsense", "network": "/v2.0/nonsense"}
        admin.call(f"lost.{service}", service, "GET", lost[service])
    admin.call("network.extensions", "network", "GET", "/v2.0/extensions")
    admin.call("network.extension", "network", "GET", "/v2.0/extensions/router")
    admin.call("network.extension.unknown", "network", "GET", "/v2.0/extensions/nonsense")
    admin.call("compute.extensions", "compute", "GET", "/extensions")
    admin.call("compute.extension", "compute", "GET", "/extensions/os-keypairs")
    admin.call("compute.extension.unknown", "compute", "GET", "/extensions/nonsense")
    for address in ("/os-networks", "/os-floating-ips", "/os-security-groups"):
        admin.call(f"compute.gone.236{address}", "compute", "GET", address, version="2.36")
    admin.call("compute.zones", "compute", "GET", "/os-availability-zone")
    admin.call("compute.services", "compute", "GET", "/os-services")
    admin.call("compute.services.269", "compute", "GET", "/os-services", version="2.69")
    admin.call("compute.hypervisors", "compute", "GET", "/os-hypervisors")
    admin.call("compute.hypervisors.detail", "compute", "GET", "/os-hypervisors/detail")
    admin.call("compute.hypervisors.detail.253", "compute", "GET", "/os-hypervisors/detail", version="2.53")
    admin.call("compute.hypervisors.detail.288", "compute", "GET", "/os-hypervisors/detail", version="2.88")
    admin.call("compute.limits", "compute", "GET", "/limits")
    admin.call("compute.limits.257", "compute", "GET", "/limits", version="2.57")


def _identity(book: Conversation, admin: Talker) -> Talker:
    call, later = admin.call, book.undo.callback
    wrong = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": book.username, "password": "wrong", "domain": {"id": "default"}}},
            }
        }
    }
    Talker(book, "", "", "", admin.catalog).call("auth.wrong", "identity", "POST", "/auth/tokens", wrong)
    call("auth.empty", "identity", "POST", "/auth/tokens", {})
    call("auth.check", "identity", "GET", "/auth/tokens", headers={"X-Subject-Token": admin.token})
    call("auth.check.bogus", "identity", "GET", "/auth/tokens", headers={"X-Subject-Token": "bogus"})
    call("auth.projects", "identity", "GET", "/auth/projects")
    call("auth.catalog", "identity", "GET", "/auth/catalog")
    call("domain.list", "identity", "GET", "/domains")
    call("domain.get", "identity", "GET", "/domains/default")
    call("service.list", "identity", "GET", "/services")
    call("endpoint.list", "identity", "GET", "/endpoints")
    call("region.list", "identity", "GET", "/regions")
    call("group.list", "identity", "GET", "/groups")

    new = {
        "project": {
            "name": "labcmp-project",
            "description": "d",
            "domain_id": "default",
            "pumphouse_source_id": "0123",
            "id": "1" * 32,
        }
    }
    project = call("project.create", "identity", "POST", "/projects", new)["project"]
    later(call, "project.delete", "identity", "DELETE", f"/projects/{project['id']}")
    call("project.create.again", "identity", "POST", "/projects", new)
    call("project.create.noname", "identity", "POST", "/projects", {"project": {}})
    call("project.create.blank", "identity", "POST", "/projects", {"project": {"name": ""}})
    call("project.get", "identity", "GET", f"/projects/{project['id']}")
    call("project.get.missing", "identity", "GET", f"/projects/{'0' * 32}")
    call("project.list", "identity", "GET", "/projects")
    call("project.list.name", "identity", "GET", "/projects?name=labcmp-project")
    call("project.list.none", "identity", "GET", "/projects?name=nonsense")
    patch = {"project": {"description": "e", "colour": "blue"}}
    call("project.update", "identity", "PATCH", f"/projects/{project['id']}", patch)
    call("project.delete.missing", "identity", "DELETE", f"/projects/{'0' * 32}")

    new = {
        "user": {
            "name": "labcmp-user",
            "password": "labcmp-secret",
            "email": "a@example.org",
            "default_project_id": project["id"],
            "domain_id": "default",
            "pumphouse_source_id": "0123",
        }
    }
    user = call("user.create", "identity", "POST", "/users", new)["user"]
    later(call, "user.delete", "identity", "DELETE", f"/users/{user['id']}")
    call("user.create.again", "identity", "POST", "/users", new)
    bare = call("user.create.bare", "identity", "POST", "/users", {"user": {"name": "labcmp-bare"}})["user"]
    anyone = Talker(book, "", "", "", admin.catalog)

    def proof(user_id: str, **scope: Any) -> dict[str, Any]:
        # a user of its own: disabling one revokes all tokens that it gets within the same second
        who = {"id": user_id, "password": "labcmp-secret"}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}} | scope}

    secret = {"user": {"password": "labcmp-secret"}}
    call("user.password", "identity", "PATCH", f"/users/{bare['id']}", secret)
    anyone.call("auth.unscoped", "identity", "POST", "/auth/tokens", proof(bare["id"]))
    scope = {"project": {"id": admin.project_id}}
    anyone.call("auth.norole", "identity", "POST", "/auth/tokens", proof(bare["id"], scope=scope))
    call("user.update", "identity", "PATCH", f"/users/{bare['id']}", {"user": {"enabled": False}})
    anyone.call("auth.disabled", "identity", "POST", "/auth/tokens", proof(bare["id"]))
    call("user.delete.bare", "identity", "DELETE", f"/users/{bare['id']}")
    call("user.get", "identity", "GET", f"/users/{user['id']}")
    call("user.get.missing", "identity", "GET", f"/users/{'0' * 32}")
        call("user.list.name", "identity", "GET", "/users?name=labcmp-user")

    role = call("role.create", "identity", "POST", "/roles", {"role": {"name": "labcmp-role"}})["role"]
    later(call, "role.delete", "identity", "DELETE", f"/roles/{role['id']}")
    call("role.create.again", "identity", "POST", "/roles", {"role": {"name": "LABCMP-Role"}})
    call("project.create.case", "identity", "POST", "/projects", {"project": {"name": "LABCMP-Project"}})
    call("user.create.case", "identity", "POST", "/users", {"user": {"name": "LABCMP-User"}})
    call("role.get", "identity", "GET", f"/roles/{role['id']}")
    call("role.get.missing", "identity", "GET", f"/roles/{'0' * 32}")
    roles = {item["name"]: item["id"] for item in call("role.list", "identity", "GET", "/roles")["roles"]}
    call("role.list.name", "identity", "GET", "/roles?name=LABCMP-role")
    grant = f"/projects/{project['id']}/users/{user['id']}/roles"
    call("grant.check.none", "identity", "HEAD", f"{grant}/{role['id']}")
    call("grant.put", "identity", "PUT", f"{grant}/{role['id']}")
    call("grant.put.again", "identity", "PUT", f"{grant}/{role['id']}")
    call("grant.check", "identity", "HEAD", f"{grant}/{role['id']}")
    call("grant.list", "identity", "GET", grant)
    call("grant.member", "identity", "PUT", f"{grant}/{roles['member']}")
    call("grant.unknown.role", "identity", "PUT", f"{grant}/{'0' * 32}")
    call("grant.unknown.user", "identity", "PUT", f"/projects/{project['id']}/users/{'0' * 32}/roles/{role['id']}")
    call("grant.unknown.project", "identity", "PUT", f"/projects/{'0' * 32}/users/{user['id']}/roles/{role['id']}")
    call("assignment.list", "identity", "GET", "/role_assignments")
    call("assignment.list.names", "identity", "GET", "/role_assignments?include_names")
    query = f"?user.id={user['id']}&scope.project.id={project['id']}"
    call("assignment.list.user", "identity", "GET", "/role_assignments" + query)
    call("grant.delete", "identity", "DELETE", f"{grant}/{role['id']}")
    call("grant.delete.again", "identity", "DELETE", f"{grant}/{role['id']}")
    call("user.projects", "identity", "GET", f"/users/{user['id']}/projects")
    # so that the administrator can act in the new project as well
    call("", "identity", "PUT", f"/projects/{project['id']}/users/{admin.user_id}/roles/{roles['admin']}")

    tenant = book.login("labcmp-user", "labcmp-secret", "labcmp-project", "auth.tenant")
    tenant.call("policy.project.list", "identity", "GET", "/projects")
    tenant.call("policy.project.create", "identity", "POST", "/projects", {"project": {"name": "labcmp-no"}})
    tenant.call("policy.user.list", "identity", "GET", "/users")
    tenant.call("policy.flavor.create", "compute", "POST", "/flavors", _FLAVOR)
    tenant.call("policy.services", "compute", "GET", "/os-services")
    tenant.call("policy.servers.all", "compute", "GET", "/servers?all_tenants=1")
    tenant.call("policy.network.external", "network", "POST", "/v2.0/networks", {"network": {"router:external": True}})
    return tenant


_FLAVOR = {
    "flavor": {"name": "labcmp-flavor", "ram": 128, "vcpus": 1, "disk": 1, "id": "labcmp-flavor-id", "swap": 0}
}
_NEW_IMAGE: dict[str, Any] = {
    "name": "labcmp-image",
    "disk_format": "raw",
    "container_format": "bare",
    "min_disk": 1,
    "visibility": "private",
    "pumphouse_source_id": "0123",
    "tags": ["one"],
}


def _images(book: Conversation, admin: Talker, tenant: Talker) -> str:
    call, later = admin.call, book.undo.callback
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    stream = {"Content-Type": "application/octet-stream"}
    chosen = str(uuid.uuid4())
    image = call("image.create", "image", "POST", "/v2/images", _NEW_IMAGE | {"id": chosen, "owner": tenant.project_id})
    path = f"/v2/images/{image['id']}"
    later(call, "image.delete", "image", "DELETE", path)
    call("image.create.same-id", "image", "POST", "/v2/images", _NEW_IMAGE | {"id": chosen})
    call("image.create.bad-id", "image", "POST", "/v2/images", {"id": "nonsense"})
    call("image.create.bad-format", "image", "POST", "/v2/images", {"disk_format": "nonsense"})
    call("image.create.bad-visibility", "image", "POST", "/v2/images", {"visibility": "nonsense"})
    call("image.create.bad-property", "image", "POST", "/v2/images", {"colour": 1})
    call("image.create.readonly", "image", "POST", "/v2/images", {"status": "active"})
    queued = call("image.create.bare", "image", "POST", "/v2/images", {"name": "labcmp-queued"})
    tenant.call("policy.image.public", "image", "POST", "/v2/images", _NEW_IMAGE | {"visibility": "public"})
    tenant.call("policy.image.owner", "image", "POST", "/v2/images", _NEW_IMAGE | {"owner": admin.project_id})
    tenant.call("policy.image.hidden", "image", "GET", f"/v2/images/{queued['id']}")
    call("image.data.queued", "image", "GET", f"/v2/images/{queued['id']}/file")
    call("image.delete.queued", "image", "DELETE", f"/v2/images/{queued['id']}")
    call("image.create.deleted-id", "image", "POST", "/v2/images", {"id": queued["id"]})
    call("image.put.nodata", "image", "PUT", f"{path}/file", headers={"Content-Type": "text/plain"}, data=b"x")
    call("image.put", "image", "PUT", f"{path}/file", headers=stream, data=IMAGE_BYTES)
    call("image.put.again", "image", "PUT", f"{path}/file", headers=stream, data=IMAGE_BYTES)
    call("image.put.missing", "image", "PUT", f"/v2/images/{uuid.uuid4()}/file", headers=stream, data=b"x")
    active = call("image.get", "image", "GET", path)
    assert active["checksum"] == hashlib.md5(IMAGE_BYTES).hexdigest(), active
    assert active["os_hash_value"] == hashlib.sha512(IMAGE_BYTES).hexdigest(), active
    call("image.data", "image", "GET", f"{path}/file")
    call("image.get.missing", "image", "GET", f"/v2/images/{uuid.uuid4()}")
    call("image.list", "image", "GET", "/v2/images?name=labcmp-image")
    call("image.list.property", "image", "GET", "/v2/images?pumphouse_source_id=0123")
    call("image.list.none", "image", "GET", "/v2/images?pumphouse_source_id=nonsense")
    call("image.list.badlimit", "image", "GET", "/v2/images?limit=x")
    call("image.list.badmarker", "image", "GET", f"/v2/images?marker={uuid.uuid4()}")
    other = call("", "image", "POST", "/v2/images", {"name": "labcmp-other"})
    later(call, "", "image", "DELETE", f"/v2/images/{other['id']}")
    call("image.list.page", "image", "GET", "/v2/images?limit=1&name=labcmp-other")
    change = [
        {"op": "replace", "path": "/name", "value": "labcmp-renamed"},
        {"op": "add", "path": "/colour", "value": "blue"},
        {"op": "replace", "path": "/visibility", "value": "shared"},
    ]
    call("image.patch", "image", "PATCH", path, change, headers=patch)
    gone = [{"op": "remove", "path": "/colour"}]
    call("image.patch.remove", "image", "PATCH", path, gone, headers=patch)
    call("image.patch.remove.again", "image", "PATCH", path, gone, headers=patch)
    missing = [{"op": "replace", "path": "/nothing", "value": "x"}]
    call("image.patch.replace.missing", "image", "PATCH", path, missing, headers=patch)
    readonly = [{"op": "replace", "path": "/checksum", "value": "x"}]
    call("image.patch.readonly", "image", "PATCH", path, readonly, headers=patch)
    call("image.patch.badtype", "image", "PATCH", path, gone)
    protect = [{"op": "replace", "path": "/protected", "value": True}]
    call("image.protect", "image", "PATCH", path, protect, headers=patch)
    call("image.delete.protected", "image", "DELETE", path)
    protect[0]["value"] = False
    call("image.unprotect", "image", "PATCH", path, protect, headers=patch)
    call("image.tag.add", "image", "PUT", f"{path}/tags/two")
    call("image.tag.delete", "image", "DELETE", f"{path}/tags/two")
    call("image.tag.delete.again", "image", "DELETE", f"{path}/tags/two")
    call("member.add", "image", "POST", f"{path}/members", {"member": admin.project_id})
    call("member.add.again", "image", "POST", f"{path}/members", {"member": admin.project_id})
    call("member.accept", "image", "PUT", f"{path}/members/{admin.project_id}", {"status": "accepted"})
    call("member.badstatus", "image", "PUT", f"{path}/members/{admin.project_id}", {"status": "nonsense"})
    call("member.list", "image", "GET", f"{path}/members")
    call("member.get", "image", "GET", f"{path}/members/{admin.project_id}")
    call("member.delete", "image", "DELETE", f"{path}/members/{admin.project_id}")
    call("member.delete.again", "image", "DELETE", f"{path}/members/{admin.project_id}")
    call("image.stores", "image", "GET", "/v2/info/stores")
    call("image.import", "image", "GET", "/v2/info/import")
    call("image.schema", "image", "GET", "/v2/schemas/member")
    random = call("", "image", "POST", "/v2/images", {"name": "labcmp-fake", "disk_format": "qcow2", "container_format": "bare"})
    later(call, "", "image", "DELETE", f"/v2/images/{random['id']}")
    call("image.put.notqcow2", "image", "PUT", f"/v2/images/{random['id']}/file", headers=stream, data=IMAGE_BYTES)
    call("image.get.notqcow2", "image", "GET", f"/v2/images/{random['id']}")
    tenant.call("policy.member.private", "image", "GET", f"/v2/images/{random['id']}")
    formless = call("", "image", "POST", "/v2/images", {"name": "labcmp-formless"})
    later(call, "", "image", "DELETE", f"/v2/images/{formless['id']}")
    call("image.put.formless", "image", "PUT", f"/v2/images/{formless['id']}/file", headers=stream, data=IMAGE_BYTES)
    hide = [{"op": "replace", "path": "/visibility", "value": "private"}]
    call("", "image", "PATCH", f"/v2/images/{formless['id']}", hide, headers=patch)
    call("member.add.private", "image", "POST", f"/v2/images/{formless['id']}/members", {"member": tenant.project_id})
    call("image.delete.missing", "image", "DELETE", f"/v2/images/{uuid.uuid4()}")
    return str(image["id"])


def _flavors(book: Conversation, admin: Talker) -> str:
    call, later = admin.call, book.undo.callback
    flavor = call("flavor.create", "compute", "POST", "/flavors", _FLAVOR)["flavor"]
    later(call, "flavor.delete", "compute", "DELETE", f"/flavors/{flavor['id']}")
    call("flavor.create.same-id", "compute", "POST", "/flavors", {"flavor": _FLAVOR["flavor"] | {"name": "labcmp-b"}})
    call("flavor.create.same-name", "compute", "POST", "/flavors", {"flavor": _FLAVOR["flavor"] | {"id": "labcmp-b"}})
    call("flavor.create.bad", "compute", "POST", "/flavors", {"flavor": {"name": "labcmp-b"}})
    new = {"flavor": _FLAVOR["flavor"] | {"id": "labcmp-c", "name": "labcmp-c", "os-flavor-access:is_public": False}}
    call("flavor.create.private", "compute", "POST", "/flavors", new, version="2.61")
    later(call, "", "compute", "DELETE", "/flavors/labcmp-c")
    call("flavor.get", "compute", "GET", f"/flavors/{flavor['id']}")
    call("flavor.get.261", "compute", "GET", f"/flavors/{flavor['id']}", version="2.61")
    call("flavor.get.275", "compute", "GET", f"/flavors/{flavor['id']}", version="2.75")
    call("flavor.get.missing", "compute", "GET", "/flavors/nonsense")
    call("flavor.list", "compute", "GET", "/flavors")
    call("flavor.list.detail", "compute", "GET", "/flavors/detail?is_public=False")
    call("flavor.list.detail.261", "compute", "GET", "/flavors/detail?is_public=False", version="2.61")
    call("flavor.list.page", "compute", "GET", "/flavors/detail?is_public=False&limit=1", version="2.61")
    specs = f"/flavors/{flavor['id']}/os-extra_specs"
    call("flavor.specs.create", "compute", "POST", specs, {"extra_specs": {"hw:cpu_policy": "shared", "a": "b"}})
    call("flavor.specs.list", "compute", "GET", specs)
    call("flavor.specs.get", "compute", "GET", f"{specs}/a")
    call("flavor.specs.put", "compute", "PUT", f"{specs}/a", {"a": "c"})
    call("flavor.specs.delete", "compute", "DELETE", f"{specs}/a")
    call("flavor.specs.delete.again", "compute", "DELETE", f"{specs}/a")
    access = {"addTenantAccess": {"tenant": admin.project_id}}
    call("flavor.access.add", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.add.again", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.public", "compute", "POST", f"/flavors/{flavor['id']}/action", access)
    call("flavor.access.list", "compute", "GET", "/flavors/labcmp-c/os-flavor-access")
    call("flavor.access.list.public", "compute", "GET", f"/flavors/{flavor['id']}/os-flavor-access")
    access = {"removeTenantAccess": {"tenant": admin.project_id}}
    call("flavor.access.remove", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.access.remove.again", "compute", "POST", "/flavors/labcmp-c/action", access)
    call("flavor.delete.missing", "compute", "DELETE", "/flavors/nonsense")
    return str(flavor["id"])


@dataclass(frozen=True)
class Net:
    """Ids of the scenario's network objects."""

    network: str
    port: str
    floating: str
    group: str


def _network(book: Conversation, admin: Talker, tenant: Talker) -> Net:
    call, later, owner = admin.call, book.undo.callback, tenant.project_id

    def make(called: str, kind: str, /, talker: Talker = admin, **body: Any) -> dict[str, Any]:
        made = talker.call(called, "network", "POST", f"/v2.0/{kind}s".replace("_", "-"), {kind: body})[kind]
        later(call, "", "network", "DELETE", f"/v2.0/{kind}s/{made['id']}".replace("_", "-"))
        return dict(made)

    external = make("network.create.external", "network", name="labcmp-public", **{"router:external": True})
    pool = [{"start": "127.78.0.240", "end": "127.78.0.250"}]
    make(
        "subnet.create.external",
        "subnet",
        name="labcmp-public",
        network_id=external["id"],
        cidr=EXTERNAL_CIDR,
        ip_version=4,
        enable_dhcp=False,
        allocation_pools=pool,
    )
    network = make("network.create", "network", name="labcmp-net", project_id=owner, description="marker")
    # the real service refuses DHCP on loopback subnets, the lab's only kind
    subnet = {"network_id": network["id"], "cidr": FIXED_CIDR, "ip_version": 4, "enable_dhcp": False}
    pool = [{"start": "127.77.0.200", "end": "127.77.0.250"}]
    sub = make(
        "subnet.create",
        "subnet",
        name="labcmp-subnet",
        gateway_ip="127.77.0.1",
        dns_nameservers=["127.77.0.2"],
        allocation_pools=pool,
        project_id=owner,
        **subnet,
    )
    call("subnet.create.overlap", "network", "POST", "/v2.0/subnets", {"subnet": subnet})
    call("subnet.create.badcidr", "network", "POST", "/v2.0/subnets", {"subnet": subnet | {"cidr": "nonsense"}})
    outside = {"cidr": "127.79.0.0/24", "allocation_pools": [{"start": "127.80.0.2", "end": "127.80.0.9"}]}
    call("subnet.create.badpool", "network", "POST", "/v2.0/subnets", {"subnet": subnet | outside})
    inside = {"cidr": "127.79.0.0/24", "gateway_ip": "127.79.0.9", "allocation_pools": [{"start": "127.79.0.2", "end": "127.79.0.9"}]}
    call("subnet.create.gatewayinpool", "network", "POST", "/v2.0/subnets", {"subnet": subnet | inside})
    spare = make("subnet.create.defaults", "subnet", network_id=network["id"], cidr="127.79.0.0/28", ip_version=4, enable_dhcp=False)
    call("subnet.update", "network", "PUT", f"/v2.0/subnets/{spare['id']}", {"subnet": {"name": "labcmp-spare"}})
    call("subnet.create.nonet", "network", "POST", "/v2.0/subnets", {"subnet": subnet | {"network_id": str(uuid.uuid4())}})
    call("network.create.id", "network", "POST", "/v2.0/networks", {"network": {"id": str(uuid.uuid4())}})
    call("network.create.unknown", "network", "POST", "/v2.0/networks", {"network": {"colour": "blue"}})
    call("network.create.empty", "network", "POST", "/v2.0/networks", {})
    call("network.get", "network", "GET", f"/v2.0/networks/{network['id']}")
    call("network.get.missing", "network", "GET", f"/v2.0/networks/{uuid.uuid4()}")
    call("network.list", "network", "GET", "/v2.0/networks?name=labcmp-net")
    call("network.list.name", "network", "GET", "/v2.0/networks?name=labcmp-net&fields=id&fields=name")
    call("network.list.badfilter", "network", "GET", "/v2.0/networks?colour=blue")
    call("network.list.page", "network", "GET", "/v2.0/networks?limit=1&name=labcmp-net")
    call("network.tags", "network", "PUT", f"/v2.0/networks/{network['id']}/tags", {"tags": ["one"]})
    call("network.tags.get", "network", "GET", f"/v2.0/networks/{network['id']}/tags")
    call("network.list.external", "network", "GET", "/v2.0/networks?router:external=True&name=labcmp-public")
    call("network.update", "network", "PUT", f"/v2.0/networks/{network['id']}", {"network": {"description": "other"}})
    call("subnet.get", "network", "GET", f"/v2.0/subnets/{sub['id']}")
    call("subnet.get.missing", "network", "GET", f"/v2.0/subnets/{uuid.uuid4()}")
    call("subnet.list", "network", "GET", f"/v2.0/subnets?network_id={network['id']}")

    groups = tenant.call("secgroup.list.default", "network", "GET", "/v2.0/security-groups")["security_groups"]
    assert [group["name"] for group in groups] == ["default"], groups
    # the project's own group goes before the project does
    later(call, "", "network", "DELETE", f"/v2.0/security-groups/{groups[0]['id']}")
    assert len(groups[0]["security_group_rules"]) == 4, groups
    group = make("secgroup.create", "security_group", name="labcmp-group", description="d", project_id=owner)
    call("secgroup.create.default", "network", "POST", "/v2.0/security-groups", {"security_group": {"name": "default"}})
    call("secgroup.get", "network", "GET", f"/v2.0/security-groups/{group['id']}")
    call("secgroup.get.missing", "network", "GET", f"/v2.0/security-groups/{uuid.uuid4()}")
    call("secgroup.list", "network", "GET", f"/v2.0/security-groups?project_id={owner}")
    body = {"security_group": {"name": "labcmp-group", "description": "e"}}
    call("secgroup.update", "network", "PUT", f"/v2.0/security-groups/{group['id']}", body)
    call("secgroup.delete.default", "network", "GET", f"/v2.0/security-groups?project_id={owner}&name=default")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
        "remote_ip_prefix": "127.77.0.0/24",
        "project_id": owner,
    }
    made = make("rule.create", "security_group_rule", **rule)

    def refused(name: str, **change: Any) -> None:
        body = {"security_group_rule": rule | change}
        call(name, "network", "POST", "/v2.0/security-group-rules", body)

    refused("rule.create.again")
    refused("rule.create.badports", port_range_min=23)
    refused("rule.create.noprotocol", protocol=None)
    refused("rule.create.badprotocol", protocol="nonsense")
    refused("rule.create.badcidr", remote_ip_prefix="nonsense")
    refused("rule.create.both", remote_group_id=group["id"])
    refused("rule.create.nogroup", security_group_id=str(uuid.uuid4()))
    refused("rule.create.noremote", remote_ip_prefix=None, remote_group_id=str(uuid.uuid4()))
    refused("rule.create.v6", ethertype="IPv6")
    make(
        "rule.create.icmp",
        "security_group_rule",
        **rule | {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0, "remote_ip_prefix": None},
    )
    whole = rule | {"port_range_min": None, "port_range_max": None, "remote_ip_prefix": None}
    make("rule.create.group", "security_group_rule", **whole | {"remote_group_id": group["id"]})
    call("rule.get", "network", "GET", f"/v2.0/security-group-rules/{made['id']}")
    call("rule.list", "network", "GET", f"/v2.0/security-group-rules?security_group_id={group['id']}")
    call("rule.delete.missing", "network", "DELETE", f"/v2.0/security-group-rules/{uuid.uuid4()}")
    call("secgroup.get.rules", "network", "GET", f"/v2.0/security-groups/{group['id']}")

    router = make("router.create", "router", name="labcmp-router", external_gateway_info={"network_id": external["id"]})
    interface = f"/v2.0/routers/{router['id']}"
    joined = call("router.add", "network", "PUT", f"{interface}/add_router_interface", {"subnet_id": sub["id"]})
    later(call, "router.remove", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": sub["id"]})
    call("router.add.again", "network", "PUT", f"{interface}/add_router_interface", {"subnet_id": sub["id"]})
    call("router.get", "network", "GET", interface)
    call("router.get.missing", "network", "GET", f"/v2.0/routers/{uuid.uuid4()}")
    call("router.list", "network", "GET", "/v2.0/routers?name=labcmp-router")
    call("router.delete.inuse", "network", "DELETE", interface)
    call("subnet.delete.inuse", "network", "DELETE", f"/v2.0/subnets/{sub['id']}")

    fixed = [{"subnet_id": sub["id"], "ip_address": FIXED_IP}]
    spec = {
        "name": "labcmp-port",
        "network_id": network["id"],
        "project_id": owner,
        "fixed_ips": fixed,
        "mac_address": MAC,
        "security_groups": [group["id"]],
        "description": "marker",
    }
    port = make("port.create", "port", **spec)

    def taken(name: str, **change: Any) -> None:
        call(name, "network", "POST", "/v2.0/ports", {"port": spec | change})

    taken("port.create.same-ip", mac_address="fa:16:3e:77:00:51")
    taken("port.create.same-mac", fixed_ips=[{"subnet_id": sub["id"], "ip_address": "127.77.0.51"}])
    taken("port.create.outside", fixed_ips=[{"subnet_id": sub["id"], "ip_address": "127.90.0.51"}], mac_address="fa:16:3e:77:00:52")
    taken("port.create.outside.nosubnet", fixed_ips=[{"ip_address": "127.90.0.51"}], mac_address="fa:16:3e:77:00:52")
    taken("port.create.nonet", network_id=str(uuid.uuid4()))
    taken("port.create.badmac", mac_address="nonsense")
    taken("port.create.badip", fixed_ips=[{"ip_address": "nonsense"}])
    taken("port.create.nogroup", security_groups=[str(uuid.uuid4())], fixed_ips=[], mac_address="fa:16:3e:77:00:53")
    call("port.create.nonetwork", "network", "POST", "/v2.0/ports", {"port": {"name": "labcmp-x"}})
    tenant.call("port.get.tenant", "network", "GET", f"/v2.0/ports/{port['id']}")
    call("port.get", "network", "GET", f"/v2.0/ports/{port['id']}")
    call("port.get.missing", "network", "GET", f"/v2.0/ports/{uuid.uuid4()}")
    call("port.list", "network", "GET", f"/v2.0/ports?network_id={network['id']}")
    call("port.list.ip", "network", "GET", f"/v2.0/ports?fixed_ips=ip_address={FIXED_IP}&network_id={network['id']}")
    call("port.update", "network", "PUT", f"/v2.0/ports/{port['id']}", {"port": {"name": "labcmp-port2"}})
    call("secgroup.delete.inuse", "network", "DELETE", f"/v2.0/security-groups/{group['id']}")
    call("network.delete.inuse", "network", "DELETE", f"/v2.0/networks/{network['id']}")
    tenant.call("policy.port.auto", "network", "GET", f"/v2.0/ports?device_id={router['id']}")

    floating = {"floating_network_id": external["id"], "project_id": owner, "floating_ip_address": FLOATING_IP}
    float_ip = make("floating.create", "floatingip", **floating)
    call("floating.create.again", "network", "POST", "/v2.0/floatingips", {"floatingip": floating})
    outside_ip = {"floatingip": floating | {"floating_ip_address": "127.99.0.1"}}
    call("floating.create.outside", "network", "POST", "/v2.0/floatingips", outside_ip)
    internal = {"floatingip": {"floating_network_id": network["id"]}}
    call("floating.create.internal", "network", "POST", "/v2.0/floatingips", internal)
    call("floating.create.nonet", "network", "POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": str(uuid.uuid4())}})
    tenant.call("policy.floating.choose", "network", "POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": external["id"], "floating_ip_address": "127.78.0.51"}})
    call("floating.get", "network", "GET", f"/v2.0/floatingips/{float_ip['id']}")
    call("floating.get.missing", "network", "GET", f"/v2.0/floatingips/{uuid.uuid4()}")
    call("floating.list", "network", "GET", f"/v2.0/floatingips?project_id={owner}")
    bind = f"/v2.0/floatingips/{float_ip['id']}"
    island = make("", "port", network_id=network["id"], fixed_ips=[{"subnet_id": spare["id"]}], project_id=owner)
    call("floating.bind.unreachable", "network", "PUT", bind, {"floatingip": {"port_id": island["id"]}})
    call("port.delete", "network", "DELETE", f"/v2.0/ports/{island['id']}")
    call("port.delete.router", "network", "DELETE", f"/v2.0/ports/{joined['port_id']}")
    call("floating.bind.noport", "network", "PUT", bind, {"floatingip": {"port_id": str(uuid.uuid4())}})
    call("floating.bind", "network", "PUT", bind, {"floatingip": {"port_id": port["id"]}})
    call("floating.bind.again", "network", "PUT", bind, {"floatingip": {"port_id": port["id"]}})
    other = {"floating_ip_address": "127.78.0.51"}
    second = make("", "floatingip", floating_network_id=external["id"], project_id=owner, **other)
    call("floating.bind.other", "network", "PUT", f"/v2.0/floatingips/{second['id']}", {"floatingip": {"port_id": port["id"]}})
    call("router.remove.floating", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": sub["id"]})
    call("router.gateway.floating", "network", "PUT", interface, {"router": {"external_gateway_info": {}}})
    call("floating.unbind", "network", "PUT", bind, {"floatingip": {"port_id": None}})
    call("router.remove.none", "network", "PUT", f"{interface}/remove_router_interface", {"subnet_id": str(uuid.uuid4())})
    return Net(network["id"], port["id"], float_ip["id"], group["id"])


def _until(talker: Talker, server_id: str, *statuses: str) -> dict[str, Any]:
    end = time.monotonic() + 90
    while True:
        server = talker.call("", "compute", "GET", f"/servers/{server_id}").get("server", {"status": "GONE"})
        if server["status"] in statuses and not server.get("OS-EXT-STS:task_state"):
            return dict(server)
        assert time.monotonic() < end, server
        time.sleep(0.1)


def _gone(talker: Talker, server_id: str, name: str) -> None:
    talker.call(name, "compute", "DELETE", f"/servers/{server_id}")
    end = time.monotonic() + 60
    while "server" in talker.call("", "compute", "GET", f"/servers/{server_id}"):
        assert time.monotonic() < end, f"server {server_id} does not go away"
        time.sleep(0.1)


def _servers(book: Conversation, admin: Talker, tenant: Talker, image: str, flavor: str, net: Net) -> None:
    call, later = tenant.call, book.undo.callback
    key = {"keypair": {"name": "labcmp-key", "public_key": PUBLIC_KEY}}
    call("keypair.create", "compute", "POST", "/os-keypairs", key)
    later(call, "keypair.delete", "compute", "DELETE", "/os-keypairs/labcmp-key")
    call("keypair.create.again", "compute", "POST", "/os-keypairs", key)
    bad = {"keypair": {"name": "labcmp-bad", "public_key": "nonsense"}}
    call("keypair.create.bad", "compute", "POST", "/os-keypairs", bad)
    call("keypair.get", "compute", "GET", "/os-keypairs/labcmp-key")
    call("keypair.get.210", "compute", "GET", "/os-keypairs/labcmp-key", version="2.10")
    call("keypair.get.missing", "compute", "GET", "/os-keypairs/nonsense")
    call("keypair.list", "compute", "GET", "/os-keypairs")
    call("keypair.list.210", "compute", "GET", "/os-keypairs", version="2.10")
    admin.call("keypair.list.other", "compute", "GET", f"/os-keypairs?user_id={tenant.user_id}", version="2.10")
    call("policy.keypair.other", "compute", "GET", f"/os-keypairs?user_id={admin.user_id}", version="2.10")
    other = {"keypair": {"name": "labcmp-other", "public_key": PUBLIC_KEY, "user_id": tenant.user_id, "type": "ssh"}}
    admin.call("keypair.create.other", "compute", "POST", "/os-keypairs", other, version="2.10")
    admin.call("keypair.delete.other", "compute", "DELETE", f"/os-keypairs/labcmp-other?user_id={tenant.user_id}", version="2.10")
    call("keypair.delete.missing", "compute", "DELETE", "/os-keypairs/nonsense")

    spec: dict[str, Any] = {
        "name": "labcmp-server",
        "flavorRef": flavor,
        "imageRef": image,
        "key_name": "labcmp-key",
        "networks": [{"port": net.port}],
        "metadata": {"a": "b"},
    }

    def refused(called: str, /, version: str | None = None, talker: Talker = tenant, **change: Any) -> None:
        body = {key: value for key, value in (spec | change).items() if value is not ...}
        talker.call(called, "compute", "POST", "/servers", {"server": body}, version=version)

    missing = str(uuid.uuid4())
    refused("server.create.noimage", imageRef=missing)
    refused("server.create.badimage", imageRef="nonsense")
    refused("server.create.noflavor", flavorRef="nonsense")
    refused("server.create.nokey", key_name="nonsense")
    refused("server.create.otherkey", talker=admin)
    refused("server.create.noport", networks=[{"port": missing}])
    refused("server.create.nonet", networks=[{"uuid": missing}])
    refused("server.create.badnet", networks=[{"uuid": "nonsense"}])
    refused("server.create.nonetworks.237", version="2.37", networks=...)
    refused("server.create.noname", name=...)
    refused("server.create.unknown", colour="blue")
    refused("server.create.uuid", uuid=missing)
    refused("server.create.badzone", availability_zone="nonsense")
    refused("server.create.forcehost", availability_zone="nova:node-2")
    refused("server.create.nogroup", security_groups=[{"name": "nonsense"}], networks=[{"uuid": net.network}])
    refused("server.create.usedip", networks=[{"uuid": net.network, "fixed_ip": FIXED_IP}])
    astray = spec | {"networks": [{"uuid": net.network, "fixed_ip": "127.90.0.1"}]}
    doomed = call("server.create.outsideip", "compute", "POST", "/servers", {"server": astray})["server"]
    _until(tenant, doomed["id"], "ERROR")
    call("server.get.error", "compute", "GET", f"/servers/{doomed['id']}")
    admin.call("server.get.error.admin", "compute", "GET", f"/servers/{doomed['id']}", version="2.100")
    call("server.stop.error", "compute", "POST", f"/servers/{doomed['id']}/action", {"os-stop": None})
    _gone(tenant, doomed["id"], "server.delete.error")
    refused("server.create.badmetadata", metadata={"a": 1})
    small = {"flavor": {"name": "labcmp-small", "ram": 64, "vcpus": 1, "disk": 0, "id": "labcmp-small"}}
    admin.call("", "compute", "POST", "/flavors", small)
    later(admin.call, "", "compute", "DELETE", "/flavors/labcmp-small")
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    need = [{"op": "replace", "path": "/min_ram", "value": 100}]
    admin.call("", "image", "PATCH", f"/v2/images/{image}", need, headers=patch)
    refused("server.create.smallram", flavorRef="labcmp-small")
    queued = tenant.call("", "image", "POST", "/v2/images", {"name": "labcmp-q", "disk_format": "raw", "container_format": "bare"})
    later(admin.call, "", "image", "DELETE", f"/v2/images/{queued['id']}")
    refused("server.create.queued", imageRef=queued["id"])

    made = call("server.create", "compute", "POST", "/servers", {"server": spec})["server"]
    path = f"/servers/{made['id']}"

    def remove() -> None:
        _gone(tenant, made["id"], "server.delete")
        call("port.get.orphan", "network", "GET", f"/v2.0/ports/{net.port}")

    later(remove)
    _until(tenant, made["id"], "ACTIVE")
    refused("server.create.portinuse")
    refused("server.create.portinuse.2100", version="2.100")
    admin.call("network.port.bound", "network", "GET", f"/v2.0/ports/{net.port}")
    bind = f"/v2.0/floatingips/{net.floating}"
    admin.call("floating.bind.server", "network", "PUT", bind, {"floatingip": {"port_id": net.port}})
    later(admin.call, "", "network", "PUT", bind, {"floatingip": {"port_id": None}})
    end = time.monotonic() + 30
    while not any(
        entry["OS-EXT-IPS:type"] == "floating"
        for entry in sum(call("", "compute", "GET", path)["server"]["addresses"].values(), [])
    ):
        assert time.monotonic() < end, "the floating address never showed in the server's record"
        time.sleep(0.2)
    call("server.get.tenant", "compute", "GET", path)
    for version in (None, "2.3", "2.16", "2.26", "2.47", "2.63", "2.71", "2.73", "2.96", "2.100", "2.104"):
        suffix = f".{version.replace('.', '')}" if version else ""
        admin.call(f"server.get{suffix}", "compute", "GET", path, version=version)
    call("server.get.missing", "compute", "GET", f"/servers/{missing}")
    admin.call("server.list", "compute", "GET", "/servers?all_tenants=1")
    admin.call("server.list.own", "compute", "GET", "/servers/detail?name=labcmp")
    admin.call("server.list.detail", "compute", "GET", f"/servers/detail?all_tenants=1&limit=1&user_id={tenant.user_id}")
    admin.call("server.list.detail.2100", "compute", "GET", f"/servers/detail?all_tenants=1&user_id={tenant.user_id}", version="2.100")
    admin.call("server.list.project", "compute", "GET", f"/servers/detail?all_tenants=1&project_id={tenant.project_id}")
    admin.call("server.list.badmarker", "compute", "GET", f"/servers/detail?marker={missing}")
    admin.call("server.list.badlimit", "compute", "GET", "/servers?limit=x")
    admin.call("server.list.badfilter.275", "compute", "GET", "/servers?colour=blue", version="2.75")
    call("server.ips", "compute", "GET", f"{path}/ips")
    call("server.groups", "compute", "GET", f"{path}/os-security-groups")
    call("server.interfaces", "compute", "GET", f"{path}/os-interface")
    call("server.actions", "compute", "GET", f"{path}/os-instance-actions")
    call("server.volumes", "compute", "GET", f"{path}/os-volume_attachments")
    call("server.metadata", "compute", "GET", f"{path}/metadata")
    call("server.metadata.set", "compute", "POST", f"{path}/metadata", {"metadata": {"c": "d"}})
    call("server.metadata.item", "compute", "GET", f"{path}/metadata/c")
    call("server.metadata.put", "compute", "PUT", f"{path}/metadata/c", {"meta": {"c": "e"}})
    call("server.metadata.delete", "compute", "DELETE", f"{path}/metadata/c")
    call("server.metadata.delete.again", "compute", "DELETE", f"{path}/metadata/c")
    call("server.rename", "compute", "PUT", path, {"server": {"name": "labcmp-server2"}})
    call("server.rename.2100", "compute", "PUT", path, {"server": {"name": "labcmp-server"}}, version="2.100")
    call("server.tag.125", "compute", "PUT", f"{path}/tags/one")
    call("server.tag", "compute", "PUT", f"{path}/tags/one", version="2.26")
    call("server.tags", "compute", "GET", f"{path}/tags", version="2.26")
    call("server.console", "compute", "POST", f"{path}/action", {"os-getConsoleOutput": {}})
    call("server.start.active", "compute", "POST", f"{path}/action", {"os-start": None})
    call("server.action.unknown", "compute", "POST", f"{path}/action", {"nonsense": None})
    call("server.action.empty", "compute", "POST", f"{path}/action", {})
    call("server.action.badreboot", "compute", "POST", f"{path}/action", {"reboot": {"type": "nonsense"}})
    call("server.reboot", "compute", "POST", f"{path}/action", {"reboot": {"type": "SOFT"}})
    _until(tenant, made["id"], "ACTIVE")
    call("server.stop", "compute", "POST", f"{path}/action", {"os-stop": None})
    _until(tenant, made["id"], "SHUTOFF")
    admin.call("server.get.stopped", "compute", "GET", path)
    call("server.stop.stopped", "compute", "POST", f"{path}/action", {"os-stop": None})
    call("server.start", "compute", "POST", f"{path}/action", {"os-start": None})
    _until(tenant, made["id"], "ACTIVE")
    call("server.lock", "compute", "POST", f"{path}/action", {"lock": None})
    call("server.unlock", "compute", "POST", f"{path}/action", {"unlock": None})
    call("policy.server.reset", "compute", "POST", f"{path}/action", {"os-resetState": {"state": "error"}})
    admin.call("server.reset", "compute", "POST", f"{path}/action", {"os-resetState": {"state": "active"}})
    call("server.delete.missing", "compute", "DELETE", f"/servers/{missing}")
    call("server.action.missing", "compute", "POST", f"/servers/{missing}/action", {"os-stop": None})
    auto = call("server.create.auto", "compute", "POST", "/servers", {"server": spec | {"networks": [{"uuid": net.network}], "name": "labcmp-auto", "security_groups": [{"name": "labcmp-group"}], "tags": ["one"]}}, version="2.100")["server"]
    _until(tenant, auto["id"], "ACTIVE")
    call("port.list.auto", "network", "GET", f"/v2.0/ports?device_id={auto['id']}")
    _gone(tenant, auto["id"], "server.delete.auto")
    call("port.list.auto.gone", "network", "GET", f"/v2.0/ports?device_id={auto['id']}")
    call("server.get.deleted", "compute", "GET", f"/servers/{auto['id']}")


def _quotas(admin: Talker, tenant: Talker, image: str, network: str) -> None:
    call, path = admin.call, f"/os-quota-sets/{tenant.project_id}"
    call("quota.get", "compute", "GET", path)
    call("quota.get.257", "compute", "GET", path, version="2.57")
    call("quota.detail", "compute", "GET", f"{path}/detail")
    call("quota.defaults", "compute", "GET", f"{path}/defaults")
    call("quota.class", "compute", "GET", "/os-quota-class-sets/default")
    call("quota.class.257", "compute", "GET", "/os-quota-class-sets/default", version="2.57")
    call("quota.set.belowused", "compute", "PUT", path, {"quota_set": {"instances": 0}})
    call("quota.set", "compute", "PUT", path, {"quota_set": {"instances": 1, "ram": 128}})
    call("quota.set.257", "compute", "PUT", path, {"quota_set": {"instances": 1}}, version="2.57")
    call("quota.set.bad", "compute", "PUT", path, {"quota_set": {"colour": 1}})
    call("policy.quota.get", "compute", "GET", f"/os-quota-sets/{admin.project_id}")
    tenant.call("policy.quota.get.other", "compute", "GET", f"/os-quota-sets/{admin.project_id}")
    tenant.call("policy.quota.set", "compute", "PUT", path, {"quota_set": {"instances": 1}})
    boot = {"server": {"name": "labcmp-over", "flavorRef": "labcmp-flavor-id", "imageRef": image, "networks": [{"uuid": network}]}}
    tenant.call("quota.exceeded", "compute", "POST", "/servers", boot)
    call("", "compute", "PUT", path, {"quota_set": {"instances": 5}})
    tenant.call("quota.exceeded.ram", "compute", "POST", "/servers", boot)
    call("", "compute", "PUT", path, {"quota_set": {"cores": 1}})
    tenant.call("quota.exceeded.cores", "compute", "POST", "/servers", boot)
    call("quota.reset", "compute", "DELETE", path)
    path = f"/v2.0/quotas/{tenant.project_id}"
    call("quota.network.get", "network", "GET", path)
    call("quota.network.default", "network", "GET", f"{path}/default")
    call("quota.network.detail", "network", "GET", f"{path}/details.json")
    call("quota.network.belowused", "network", "PUT", path, {"quota": {"network": 0}})
    call("quota.network.set", "network", "PUT", path, {"quota": {"network": 1}})
    call("quota.network.bad", "network", "PUT", path, {"quota": {"colour": 1}})
    tenant.call("quota.network.exceeded", "network", "POST", "/v2.0/networks", {"network": {"name": "labcmp-over"}})
    tenant.call("policy.quota.network.set", "network", "PUT", path, {"quota": {"network": 9}})
    call("quota.network.reset", "network", "DELETE", path)
