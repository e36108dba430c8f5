"""No answer at all: TLS, names, ports and proxies, each told apart, with cloud, address, cause and remedy."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pumphouse.checks import check_site
from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.errors import CloudUnreachable
from pumphouse.inventory import Inventory, Snapshot
from tests.clouds.certs import Authority
from tests.clouds.conftest import Naps, entry, write_clouds
from tests.clouds.stub import PASSWORD, Stub

Serve = Callable[..., Stub]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs what the test needs."""
    return Authority(tmp_path)


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    """Starts stubs that speak TLS."""
    running: list[Stub] = []

    def start(name: str = "127.0.0.1", **options: Any) -> Stub:
        running.append(Stub(authority.server(name, **options)))
        return running[-1]

    yield start
    for stub in running:
        stub.stop()


def log_in(folder: Path, url: str, naps: Naps | None = None, **cloud: Any) -> OpenStackCloud:
    """Connect to a stub."""
    file = write_clouds(folder, entry(url) | cloud)
    return connect("stub", side="destination", clouds_yaml=file, timeout_s=3, sleep=naps or Naps())


def tls_findings(cloud: OpenStackCloud) -> list[str]:
    """What the checks say of its TLS."""
    snapshot = Snapshot(facts=cloud.facts, taken_at=datetime(2026, 11, 23, tzinfo=UTC))
    return [one.object for one in check_site(Inventory(snapshot, None)) if one.code == "tls-off"]


def test_a_custom_authority_is_trusted(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    cloud = log_in(tmp_path, serve().url, cacert=str(authority.ca))
    assert (cloud.facts.tls_verified, cloud.facts.tls) == (True, "verified")
    assert tls_findings(cloud) == []
    other = cloud.in_project("q" * 32)
    assert other.facts.user_name == "admin"
    other.close()
    cloud.close()


@pytest.mark.parametrize("switch", [{"verify": False}, {"insecure": True}])
def test_no_verification_is_a_finding_and_no_noise(
    serve: Serve, tmp_path: Path, switch: dict[str, bool], recwarn: pytest.WarningsRecorder
) -> None:
    cloud = log_in(tmp_path, serve("elsewhere.example").url, **switch)
    assert not cloud.facts.tls_verified
    assert cloud.facts.tls == "not verified: its entry of clouds.yaml turns that off"
    assert tls_findings(cloud) == ["cloud stub"]
    assert not [one for one in recwarn if "InsecureRequest" in one.category.__name__]
    cloud.close()


def test_a_client_certificate_is_shown(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    stub = serve(wants_client=True)
    cert, key = authority.sign("operator")
    cloud = log_in(tmp_path, stub.url, cacert=str(authority.ca), cert=str(cert), key=str(key))
    assert cloud.facts.tls_verified
    cloud.close()
    with pytest.raises(CloudUnreachable) as refused:
        log_in(tmp_path, stub.url, cacert=str(authority.ca))
    assert "'stub'" in str(refused.value)
    assert stub.url in str(refused.value)


@pytest.mark.parametrize(
    ("name", "days", "trusted", "said", "remedy"),
    [
        ("127.0.0.1", 30, False, "unable to get local issuer certificate", "`cacert` in clouds.yaml"),
        ("127.0.0.1", -1, True, "certificate has expired", "renewed"),
        ("elsewhere.example", 30, True, "IP address mismatch", "host name that is in the certificate"),
    ],
)
def test_a_certificate_that_does_not_hold(
    serve: Serve, authority: Authority, tmp_path: Path, naps: Naps, name: str, days: int, trusted: bool, said: str,
    remedy: str,
) -> None:  # fmt: skip
    stub = serve(name, days=days)
    with pytest.raises(CloudUnreachable) as refused:
        log_in(tmp_path, stub.url, naps, **({"cacert": str(authority.ca)} if trusted else {}))
    assert f"at {stub.url}" in str(refused.value)
    assert "'stub'" in str(refused.value)
    assert "failed the TLS check" in str(refused.value)
    assert said in str(refused.value)
    assert remedy in str(refused.value.remedy)
    assert naps == []  # trying again would not help


def test_tls_where_there_is_none(stub: Stub, tmp_path: Path, naps: Naps) -> None:
    with pytest.raises(CloudUnreachable) as refused:
        log_in(tmp_path, stub.url.replace("http:", "https:"), naps)
    assert "speaks no TLS: write http://" in str(refused.value.remedy)
    assert naps == []


def test_no_tls_where_there_is_some(serve: Serve, tmp_path: Path) -> None:
    stub = serve()
    with pytest.raises(CloudUnreachable) as refused:
        log_in(tmp_path, stub.url.replace("https:", "http:"))
    assert stub.url.removeprefix("https://") in str(refused.value)


def test_a_name_that_nobody_knows(tmp_path: Path, naps: Naps) -> None:
    with pytest.raises(CloudUnreachable) as lost:
        log_in(tmp_path, "http://keystone.invalid:5000", naps)
    assert "http://keystone.invalid:5000" in str(lost.value)
    assert "name cannot be resolved" in str(lost.value)
    assert "DNS" in str(lost.value.remedy)
    assert naps == []


def test_a_port_where_nothing_listens(tmp_path: Path, stub: Stub) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(CloudUnreachable, match=f"{dead}.*: Connection refused") as lost:
            log_in(tmp_path, dead)
        assert "nothing listens there" in str(lost.value.remedy)
        assert "endpoint_override" not in str(lost.value.remedy)
        cloud = log_in(tmp_path, stub.url)
        cloud.wire.overrides["compute"] = dead
        with pytest.raises(CloudUnreachable) as lost:
            cloud.compute.list_keypairs()
        assert "`compute_endpoint_override`" in str(lost.value.remedy)
        cloud.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_fails_is_the_proxys_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, naps: Naps, scheme: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        proxy = f"http://operator:{PASSWORD}@127.0.0.1:{probe.getsockname()[1]}"
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy)
        with pytest.raises(CloudUnreachable) as lost:
            log_in(tmp_path, f"{scheme}://192.0.2.1:5000", naps)
    assert f"{scheme}://192.0.2.1:5000" in str(lost.value)
    assert "the proxy between us fails" in str(lost.value)
    assert "no_proxy" in str(lost.value.remedy)
    assert PASSWORD not in "".join(traceback.format_exception(lost.value))
