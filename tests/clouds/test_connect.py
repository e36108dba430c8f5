"""From clouds.yaml to a session: every mistake is named with file, key and remedy before anything else happens."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

import pytest
import yaml

from pumphouse.clouds import connect
from pumphouse.errors import CloudAuthError, CloudError, CloudUnreachable, SiteError
from tests.clouds.conftest import Naps, entry, write_clouds
from tests.clouds.stub import PASSWORD, Answer, Stub


def test_a_cloud_that_the_file_does_not_have(tmp_path: Path) -> None:
    file = write_clouds(tmp_path, entry("http://127.0.0.1:1"))
    with pytest.raises(SiteError) as wrong:
        connect("other", side="source", clouds_yaml=file)
    assert str(file) in str(wrong.value)
    assert "no cloud 'other' in `clouds` (there: stub)" in str(wrong.value)
    assert wrong.value.remedy


@pytest.mark.parametrize("key", ["auth_url", "username", "password", "project_name"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    file = write_clouds(tmp_path, entry("http://127.0.0.1:1", **{key: None}))
    with pytest.raises(SiteError) as wrong:
        connect("stub", side="source", clouds_yaml=file)
    assert f"{file}: clouds.stub lacks auth.{key}" in str(wrong.value)
    assert wrong.value.remedy
    assert PASSWORD not in str(wrong.value)


def test_a_password_in_secure_yaml_counts(tmp_path: Path, stub: Stub) -> None:
    file = write_clouds(tmp_path, entry(stub.url, password=None))
    secret = {"clouds": {"stub": {"auth": {"password": PASSWORD}}}}
    (tmp_path / "secure.yaml").write_text(yaml.safe_dump(secret), encoding="utf-8")
    cloud = connect("stub", side="destination", clouds_yaml=file, timeout_s=2)
    assert cloud.facts.user_name == "admin"
    assert PASSWORD in set(cloud.known_secrets())
    cloud.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clouds: [", "is not YAML in line"),
        ("clouds: {stub: {auth: {password: *hush}}}", "is not YAML in line 1"),
        ("clouds: {stub: [1, 2]}", "clouds.stub"),
        ("clouds: {stub: {auth: [1]}}", "clouds.stub"),
        ("clouds: {stub: }", "clouds.stub"),
        ("clouds: 7", "mapping `clouds`"),
        ("- a", "mapping `clouds`"),
        ("7", "mapping `clouds`"),
        ("", "no cloud 'stub'"),
        ("clouds: {stub: {auth_type: nonsense, auth: {auth_url: 'http://h'}}}", "clouds.stub"),
        ("clouds: {stub: {profile: nonsense, auth: {auth_url: 'http://h'}}}", "clouds.stub"),
        ("clouds: {stub: {auth: {auth_url: 'ftp://h', username: u, password: p, project_name: q}}}", "auth.auth_url"),
        ("clouds: {stub: {auth: {auth_url: 7, username: u, password: p, project_name: q}}}", "auth.auth_url"),
    ],
)
def test_an_unusable_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as wrong:
        connect("stub", side="source", clouds_yaml=file)
    assert said in str(wrong.value)
    assert str(file) in str(wrong.value)
    assert wrong.value.remedy
    assert "hush" not in str(wrong.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    for file, said in ((tmp_path / "none.yaml", "does not exist"), (tmp_path, "cannot be read")):
        with pytest.raises(SiteError, match=said) as wrong:
            connect("stub", side="source", clouds_yaml=file)
        assert str(file) in str(wrong.value)
    (tmp_path / "clouds.yaml").write_bytes(b"\xff\xfe\x00clouds")
    with pytest.raises(SiteError):
        connect("stub", side="source", clouds_yaml=tmp_path / "clouds.yaml")


@pytest.mark.parametrize("key", ["cacert", "cert"])
def test_a_missing_certificate_is_named(tmp_path: Path, key: str) -> None:
    cloud = entry("https://127.0.0.1:1") | {key: str(tmp_path / "none.pem")}
    with pytest.raises(SiteError, match=rf"clouds\.stub\.{key} names .*none\.pem"):
        connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, cloud))


def test_no_answer_names_the_address(tmp_path: Path, naps: Naps) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        file = write_clouds(tmp_path, entry(url))
        with pytest.raises(CloudUnreachable) as silent:
            connect("stub", side="source", clouds_yaml=file, timeout_s=0.5, sleep=naps)
    assert url in str(silent.value)
    assert "'stub'" in str(silent.value)
    assert PASSWORD not in str(silent.value)


def test_an_unknown_host_is_unreachable_at_once(tmp_path: Path, naps: Naps) -> None:
    file = write_clouds(tmp_path, entry("http://keystone.invalid:5000"))
    with pytest.raises(CloudUnreachable, match=r"keystone\.invalid"):
        connect("stub", side="source", clouds_yaml=file, timeout_s=2, sleep=naps)


def test_a_tls_failure_says_so(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    file = write_clouds(tmp_path, entry(stub.url.replace("http:", "https:")))
    with pytest.raises(CloudUnreachable, match="TLS"):
        connect("stub", side="source", clouds_yaml=file, timeout_s=2, sleep=naps)


def test_wrong_credentials_are_refused_once(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    file = write_clouds(tmp_path, entry(stub.url, password="wrong-one"))
    with pytest.raises(CloudAuthError) as refused:
        connect("stub", side="source", clouds_yaml=file, timeout_s=2, sleep=naps)
    assert stub.logins == 1
    assert "'stub' could not log in" in str(refused.value)
    assert "user, password" in str(refused.value)
    assert "wrong-one" not in str(refused.value)


def test_something_that_is_no_keystone(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    page = Answer(200, "<html><body>Welcome to nginx</body></html>")
    for place in (("GET", "/"), ("GET", "/v3"), ("POST", "/v3/auth/tokens")):
        stub.on(*place, page)
    with pytest.raises(CloudError) as odd:
        connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2, sleep=naps)
    assert "'stub'" in str(odd.value)
    assert odd.value.remedy


def test_a_catalog_without_nova_or_of_another_region(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    del stub.services["compute"]
    with pytest.raises(CloudError, match=r"no compute service .* in region R1"):
        connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2, sleep=naps)
    cloud = entry(stub.url) | {"region_name": "R2"}
    with pytest.raises(CloudError, match="in region R2") as elsewhere:
        connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, cloud), timeout_s=2, sleep=naps)
    assert "region_name" in str(elsewhere.value)


def test_a_service_that_is_down_is_told_at_once(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
        cloud = entry(stub.url) | {"image_endpoint_override": dead}
        with pytest.raises(CloudUnreachable, match=dead):
            connect("stub", side="source", clouds_yaml=write_clouds(tmp_path, cloud), timeout_s=0.5, sleep=naps)


def test_what_the_stub_is(tmp_path: Path, stub: Stub) -> None:
    cloud = connect("stub", side="destination", clouds_yaml=write_clouds(tmp_path, entry(stub.url)), timeout_s=2)
    facts = cloud.facts
    assert (facts.identity_api, facts.image_api, facts.network_service) == ("v3", "v2.9", "neutron")
    assert (facts.release, facts.region, facts.tls_verified) == ("nova 2.104", "R1", False)
    assert facts.evidence
    assert PASSWORD not in repr(cloud.__dict__["_wire"])
    cloud.close()


def test_without_a_file_openstacksdk_searches(
    tmp_path: Path, stub: Stub, naps: Naps, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_clouds(tmp_path, entry(stub.url))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    cloud = connect("stub", side="destination", timeout_s=2, sleep=naps)
    assert cloud.facts.user_name == "admin"
    cloud.close()
    with pytest.raises(SiteError, match="no cloud 'other'") as wrong:
        connect("other", side="destination")
    assert str(file) in str(wrong.value)


def test_side_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="side"):
        connect("stub", side="middle", clouds_yaml=write_clouds(tmp_path, entry("http://127.0.0.1:1")))


def test_errors_survive_pickling(tmp_path: Path, stub: Stub, naps: Naps) -> None:
    file = write_clouds(tmp_path, entry(stub.url, password="wrong-one"))
    with pytest.raises(CloudAuthError) as refused:
        connect("stub", side="source", clouds_yaml=file, timeout_s=2, sleep=naps)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
