"""clouds.yaml as people have it: every spelling of a login leads to the same complete view of the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.clouds.discovery import ApiVersion
from pumphouse.clouds.login import Login
from pumphouse.errors import CloudAuthError, CloudError, CloudUnreachable, SiteError
from tests.clouds.conftest import entry, write_clouds
from tests.clouds.labs import Old
from tests.clouds.stub import PASSWORD, PROJECT_ID, TOKEN, USER_ID, Answer, Call, Stub

DOMAINS = {"user_domain_name": "Default", "project_domain_name": "Default"}
IDS = {"user_domain_id": "default", "project_domain_id": "default"}


def keystone(old: Old) -> str:
    """The lab's public Keystone, without a version."""
    clouds = yaml.safe_load(old.site.clouds_file.read_text(encoding="utf-8"))["clouds"]
    return str(clouds["old"]["auth"]["auth_url"]).removesuffix("/v2.0")


def admin_port(old: Old) -> str:
    """The lab's other Keystone port, without a version."""
    return str(old.ours.wire.catalog_url("identity", "admin")).removesuffix("/v2.0")


def projects(old: Old) -> set[str]:
    """The names of all tenants, as the admin port tells them."""
    raw = old.sdk.session.get("/tenants", endpoint_filter={"service_type": "identity", "interface": "admin"}).json()
    return {str(one["name"]) for one in raw["tenants"]}


def log_in(folder: Path, url: str, auth: dict[str, Any], **cloud: Any) -> OpenStackCloud:
    """Connect with an entry of clouds.yaml made of these."""
    described = {"auth": {"auth_url": url, **auth}, "region_name": "RegionOne", **cloud}
    if described["region_name"] is None:
        del described["region_name"]
    return connect(
        "stub", side="source", clouds_yaml=write_clouds(folder, described), timeout_s=20, sleep=lambda _seconds: None
    )


@pytest.mark.parametrize(
    ("kind", "suffix", "extra", "cloud"),
    [
        ("v2password", "/v2.0", {}, {}),
        ("v2password", "/v2.0/", {}, {"interface": "public", "identity_interface": "admin"}),
        ("v2password", "", {}, {}),
        ("v2password", "/", {}, {"identity_api_version": 2.0}),
        ("v2password", "/v3", {}, {"identity_api_version": "2.0"}),
        ("password", "", {}, {}),
        ("password", "/", {}, {"identity_api_version": 2}),
        ("password", "/v2.0", {}, {"identity_api_version": "2"}),
        ("password", "/v2.0/", DOMAINS, {"identity_api_version": 3}),
        ("password", "/v2.0", IDS, {}),
        ("password", "", IDS, {"identity_api_version": "3"}),
        ("password", "/v3", DOMAINS, {"image_api_version": 2}),
        ("password", "/v3/", {}, {"image_api_version": "1"}),
        ("password", "", {"user_domain_name": "Default"}, {"interface": "internal"}),
        ("password", "", {"default_domain_id": "default"}, {"interface": "admin"}),
        ("v3password", "/v3", DOMAINS, {"identity_api_version": 3.0}),
        ("v3password", "/v3/", {}, {"image_api_version": 1}),
        ("v3password", "/v2.0", IDS, {}),
        ("v3password", "", {}, {}),
        (None, "/v2.0", {}, {}),
    ],
)
@pytest.mark.parametrize("port", ["public", "admin"])
def test_every_spelling_sees_the_whole_cloud(
    labs: Any, tmp_path: Path, kind: str | None, suffix: str, extra: dict[str, str], cloud: dict[str, Any], port: str
) -> None:
    old: Old = labs("icehouse")
    root = keystone(old) if port == "public" else admin_port(old)
    auth = {"username": "admin", "password": old.site.password("old"), "project_name": "admin", **extra}
    if kind == "v2password":
        auth["tenant_name"] = auth.pop("project_name")
    made = log_in(tmp_path, f"{root}{suffix}", auth, **cloud, **({"auth_type": kind} if kind else {}))
    assert {one.name for one in made.identity.list_projects()} == projects(old)
    assert (made.facts.user_name, made.facts.project_name, made.facts.release) == ("admin", "admin", "icehouse")
    assert made.facts.image_api == ("v1.1" if str(cloud.get("image_api_version"))[:1] == "1" else "v2.2")
    assert len(made.compute.list_hypervisors()) >= 3
    made.close()


@pytest.mark.parametrize(
    ("kind", "suffix", "extra"),
    [("v2password", "/v2.0", {}), ("password", "/v3", {}), ("v3password", "", IDS), ("password", "/v2.0", {})],
)
def test_so_do_the_older_releases(old: Old, tmp_path: Path, kind: str, suffix: str, extra: dict[str, str]) -> None:
    auth = {"username": "admin", "password": old.site.password("old"), "project_name": "admin", **extra}
    made = log_in(tmp_path, f"{keystone(old)}{suffix}", auth, auth_type=kind)
    assert {one.name for one in made.identity.list_projects()} == projects(old)
    assert made.facts.release == old.release
    # as another user, and as ourselves in another project
    user = made.identity.find_user("acme-user")
    assert user is not None
    assert user.default_project_id is not None
    password = old.site.password("old-acme-user")
    theirs = made.as_user(user_id=user.id, password=password, project_id=user.default_project_id)
    assert theirs.facts.user_name == "acme-user"
    assert password in set(made.known_secrets())
    theirs.close()
    made.close()


@pytest.mark.parametrize(
    ("kind", "suffix"), [("v2token", "/v2.0"), ("v3token", "/v3"), ("token", "/v2.0"), ("token", ""), ("v2token", "")]
)
def test_a_token_is_a_login_too(old: Old, tmp_path: Path, kind: str, suffix: str) -> None:
    token = str(old.ours.wire.access().auth_token)
    made = log_in(tmp_path, f"{keystone(old)}{suffix}", {"token": token, "project_name": "admin"}, auth_type=kind)
    assert {one.name for one in made.identity.list_projects()} == projects(old)
    assert token in set(made.known_secrets())
    with pytest.raises(CloudError, match="has no password"):
        made.in_project("p")
    made.close()


@pytest.mark.parametrize("kind", ["v2token", "token"])
def test_a_missing_token_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SiteError, match=r"clouds\.stub lacks .*auth\.token"):
        log_in(tmp_path, "http://127.0.0.1:9/v2.0", {"project_name": "admin"}, auth_type=kind)


@pytest.mark.parametrize("suffix", ["/v2.0", "/v3"])
@pytest.mark.parametrize(
    ("who", "wrong"),
    [
        ("old", {"password": "wrong-Passw0rd"}),
        ("old", {"username": "nobody"}),
        ("old", {"project_name": "nowhere"}),
        ("old-acme-user", {"project_name": "globex"}),
        ("disabled", {"username": "initech-former", "project_name": "initech"}),
    ],
)
def test_all_refused_logins_look_alike_and_the_error_says_so(
    old: Old, tmp_path: Path, who: str, wrong: dict[str, str], suffix: str
) -> None:
    name = who.removeprefix("old-") if who != "old" else "admin"
    password = "unknown-Passw0rd" if who == "disabled" else old.site.password(who)
    auth = {"username": name, "password": password, "project_name": "admin", **wrong}
    with pytest.raises(CloudAuthError) as refused:
        log_in(tmp_path, f"{keystone(old)}{suffix}", auth)
    said = str(refused.value)
    assert "Cloud 'stub' could not log in: identity answered 401" in said
    assert "user, password and project" in said
    assert "does not tell which" in said
    assert auth["password"] not in said


def test_a_catalog_whose_admin_side_is_out_of_reach(old: Old, tmp_path: Path) -> None:
    """Public endpoints only: with v3 nothing is lost; v2.0 alone says which key of clouds.yaml helps."""
    auth = {"username": "admin", "password": old.site.password("old"), "project_name": "admin"}
    made = log_in(tmp_path, f"{keystone(old)}/v2.0", auth)
    expected, names = set(old.ours.identity.list_assignments()), projects(old)
    with old.site.fault(service="source.identity-admin", kind="reset", times=0):
        assert {one.name for one in made.identity.list_projects()} == names
        assert set(made.identity.list_assignments()) == expected
        asked = [one for one in old.site.requests(service="source.identity-admin") if one.get("fault")]
        assert len(asked) <= 4  # not once for each project
        with pytest.raises(CloudUnreachable) as lost:
            made.limited_to(keystone_v2=True).identity.list_projects()
    assert admin_port(old) in str(lost.value)
    assert "identity_endpoint_override" in str(lost.value)
    made.close()


def test_an_override_takes_the_place_of_the_catalog(old: Old, tmp_path: Path) -> None:
    auth = {"username": "admin", "password": old.site.password("old"), "project_name": "admin"}
    urls = {name: str(old.ours.wire.catalog_url(name)) for name in ("compute", "image")}
    nowhere = "http://127.0.0.1:9"
    overrides = {"compute_endpoint_override": urls["compute"], "image_endpoint_override": f"{urls['image']}/v2"}
    made = log_in(
        tmp_path, f"{keystone(old)}/v2.0", auth, region_name=None,
        identity_endpoint_override=f"{admin_port(old)}/v2.0", **overrides,
    )  # fmt: skip
    oldest = made.limited_to(keystone_v2=True)
    assert {one.name for one in oldest.identity.list_projects()} == projects(old)
    assert len(made.compute.list_hypervisors()) >= 3
    made.wire.overrides["identity"] = nowhere
    with pytest.raises(CloudUnreachable, match=f"{nowhere}/v2.0"):
        oldest.identity.list_projects()
    made.close()


def body_of(stub: Stub) -> Any:
    """What was sent to log in."""
    return stub.asked("POST", "/v3/auth/tokens")[0].json()["auth"]


@pytest.mark.parametrize(
    ("auth", "user_domain", "project_domain"),
    [
        ({}, {"id": "default"}, {"id": "default"}),
        ({"user_domain_name": "Ldap"}, {"name": "Ldap"}, {"id": "default"}),
        ({"default_domain_name": "Ldap"}, {"name": "Ldap"}, {"name": "Ldap"}),
        ({"default_domain_id": "d1", "project_domain_id": "d2"}, {"id": "d1"}, {"id": "d2"}),
        ({"domain_name": "Old"}, {"name": "Old"}, {"name": "Old"}),
    ],
)
def test_domains_are_the_default_one_unless_they_are_named(
    stub: Stub, tmp_path: Path, auth: dict[str, str], user_domain: dict[str, str], project_domain: dict[str, str]
) -> None:
    none = {"user_domain_id": None, "project_domain_id": None}
    cloud = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url, **(none | auth))))
    sent = body_of(stub)
    assert sent["identity"]["password"]["user"] == {"name": "admin", "password": PASSWORD, "domain": user_domain}
    assert sent["scope"]["project"] == {"name": "admin", "domain": project_domain}
    cloud.close()


def test_ids_need_no_domain(stub: Stub, tmp_path: Path) -> None:
    ids = entry(stub.url, username=None, project_name=None, user_id=USER_ID, project_id=PROJECT_ID)
    cloud = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, ids))
    sent = body_of(stub)
    assert sent["identity"]["password"]["user"] == {"id": USER_ID, "password": PASSWORD}
    assert sent["scope"]["project"] == {"id": PROJECT_ID}
    cloud.close()


def test_secure_yaml_may_hold_a_token(stub: Stub, tmp_path: Path) -> None:
    cloud = entry(stub.url, username=None, password=None) | {"auth_type": "v3token"}
    file = write_clouds(tmp_path, cloud)
    secret = {"clouds": {"stub": {"auth": {"token": "secret-token-77"}}}}
    (tmp_path / "secure.yaml").write_text(yaml.safe_dump(secret), encoding="utf-8")

    def log_in_by_token(call: Call) -> Answer:
        assert call.json()["auth"]["identity"]["token"]["id"] == "secret-token-77"
        return Answer(401, {"error": {"message": "token secret-token-77 is over"}})

    stub.on("POST", "/v3/auth/tokens", log_in_by_token)
    with pytest.raises(CloudAuthError) as refused:
        connect("stub", side="source", clouds_yaml=file, timeout_s=2, sleep=lambda _seconds: None)
    assert "secret-token-77" not in str(refused.value)


def test_links_of_an_old_keystone_are_not_followed(stub: Stub, tmp_path: Path) -> None:
    """Without ``public_endpoint`` they say localhost, or an address of the inside."""
    inside = [{"rel": "self", "href": "http://10.255.255.1:5000/v3/"}]
    stub.on("GET", "/", Answer(300, {"versions": {"values": [{"id": "v3.0", "status": "stable", "links": inside}]}}))
    stub.on("GET", "/v3", Answer(200, {"version": {"id": "v3.0", "status": "stable", "links": inside}}))
    cloud = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2)
    assert cloud.facts.user_name == "admin"
    cloud.close()


@pytest.mark.parametrize("suffix", ["", "/v2.0", "/v3"])
def test_a_keystone_that_has_v2_only(stub: Stub, tmp_path: Path, suffix: str) -> None:
    """Its tenants are asked of the admin side, which is another address."""
    urls = {"compute": "/compute/v2.1", "image": "/image", "network": "/network", "identity": "/admin/v2.0"}
    catalog = [
        {"type": kind, "name": kind, "endpoints": [
            {"region": "R1", "publicURL": f"{stub.url}{path}", "adminURL": f"{stub.url}{path}"}]}
        for kind, path in urls.items()
    ]  # fmt: skip
    tenant = {"id": PROJECT_ID, "name": "admin", "enabled": True, "description": ""}
    access = {
        "token": {"id": TOKEN, "expires": "2099-01-01T00:00:00Z", "tenant": tenant},
        "user": {"id": USER_ID, "name": "admin", "username": "admin", "roles": [{"name": "admin"}]},
        "serviceCatalog": catalog, "metadata": {"roles": ["r1"]},
    }  # fmt: skip
    stub.on("GET", "/", Answer(300, {"versions": {"values": [{"id": "v2.0", "status": "stable"}]}}))
    stub.on("POST", "/v2.0/tokens", Answer(200, {"access": access}))
    stub.on("GET", "/v2.0/tenants", Answer(200, {"tenants": [tenant]}))
    stub.on("GET", "/admin/v2.0/tenants", Answer(200, {"tenants": [tenant, tenant | {"id": "t2", "name": "acme"}]}))
    described = entry(stub.url, auth_url=f"{stub.url}{suffix}", user_domain_id=None, project_domain_id=None)
    cloud = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, described), timeout_s=2)
    assert cloud.facts.identity_api == "v2.0"
    assert cloud.facts.abilities["role assignments"] == "asked tenant by tenant (v2.0)"
    assert {one.name for one in cloud.identity.list_projects()} == {"admin", "acme"}
    sent = stub.asked("POST", "/v2.0/tokens")[0].json()["auth"]
    assert sent == {"tenantName": "admin", "passwordCredentials": {"username": "admin", "password": PASSWORD}}
    assert stub.asked("POST", "/v3/auth/tokens") == []
    cloud.close()


def offered(*ids: str) -> list[ApiVersion]:
    """Versions that a Keystone lists."""
    return [ApiVersion(one, (int(one[1]), int(one[3:] or 0)), "STABLE", None, "") for one in ids]


@pytest.mark.parametrize(
    ("kind", "suffix", "extra", "api", "versions", "chosen"),
    [
        ("password", "", {}, "", ("v3.0", "v2.0"), "v2.0"),
        ("password", "", {}, "3", ("v3.0", "v2.0"), "v3"),
        ("password", "", IDS, "", ("v3.0", "v2.0"), "v3"),
        ("password", "", {}, "", ("v3.14",), "v3"),
        ("password", "/v2.0", {}, "", ("v3.14",), "v3"),
        ("password", "/v3", {}, "", ("v2.0",), "v2.0"),
        ("password", "/v3", IDS, "", ("v2.0",), "v2.0"),
        ("password", "/v3", {}, "", (), "v3"),
        ("password", "", {}, "", (), "v2.0"),
        ("v2password", "/v3", {}, "3", ("v3.0", "v2.0"), "v2.0"),
        ("v3token", "/v2.0", {}, "2", ("v3.0", "v2.0"), "v3"),
        ("v2password", "/v2.0", {}, "", ("v3.14",), None),
        ("v3password", "/v3", {}, "", ("v2.0",), None),
        ("password", "/v3", {"user_domain_name": "Ldap"}, "", ("v2.0",), None),
        ("password", "/v3", {}, "", ("v4.0",), None),
    ],
)  # fmt: skip
def test_the_version_is_decided_once(
    kind: str, suffix: str, extra: dict[str, str], api: str, versions: tuple[str, ...], chosen: str | None
) -> None:
    login = Login("old", kind, {"auth_url": f"http://h:5000{suffix}", **extra}, api)
    if chosen is not None:
        assert login.version(offered(*versions)) == chosen
        return
    with pytest.raises(CloudError, match=r"'old': clouds\.yaml logs in with Keystone v.* offers v\S+ only") as wrong:
        login.version(offered(*versions))
    assert "auth_type" in str(wrong.value)


def test_no_token_is_shown(stub: Stub, tmp_path: Path) -> None:
    cloud = connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url)))
    assert TOKEN not in f"{cloud!r} {cloud.wire!r} {cloud.facts}"
    assert PASSWORD not in repr(Login("stub", "password", {"password": PASSWORD}, ""))
    cloud.close()
