"""Which release a cloud is: by what it shows, never by what it lacks alone; and what becomes of all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.checks import check_site
from pumphouse.checks.releases import describe
from pumphouse.clouds import OpenStackCloud, connect, connect_site
from pumphouse.clouds.abilities import rate_limits
from pumphouse.clouds.parse import Doc
from pumphouse.clouds.releases import may_have_nova_network, release_by_extensions, release_by_microversion
from pumphouse.errors import ChecksFailed, CloudError, SiteError
from pumphouse.findings import accept, blocking
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.site import load_site
from tests.clouds.conftest import entry, write_clouds
from tests.clouds.stub import Answer, Call, Stub
from tests.factories import make_facts, make_server

NOVA = "/compute/v2"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
FOLSOM = ("NMN", "OS-DCF", "OS-EXT-SRV-ATTR", "OS-EXT-STS", "OS-FLV-EXT-DATA", "OS-SCH-HNT", "os-admin-actions",
          "os-aggregates", "os-networks", "os-floating-ips", "os-hosts", "os-keypairs", "os-quota-sets",
          "os-hypervisors", "os-fping", "os-flavor-access", "os-security-groups", "os-volumes")  # fmt: skip
"""Extensions of 2011 and 2012, all of which Grizzly has too."""


def recorded(release: str) -> frozenset[str]:
    """The extensions that a release announces, as the lab has them from recordings of the real one."""
    rows = json.loads(resources.files("pumphouse.lab.source").joinpath("extensions.json").read_text())["extensions"]
    return frozenset(row["alias"] for row in rows if release in row["releases"])


@pytest.mark.parametrize("release", ["grizzly", "havana", "icehouse"])
def test_the_seeds_releases_are_told_by_what_they_announce(release: str) -> None:
    found, evidence = release_by_extensions(recorded(release))
    assert found == release
    assert release.capitalize() in evidence


@pytest.mark.parametrize(
    ("aliases", "release"),
    [
        (frozenset(FOLSOM), None),
        (frozenset(FOLSOM) | {"os-services"}, None),  # one alone may be a distribution's backport
        (frozenset(), None),
        (recorded("grizzly") - {"os-coverage", "os-evacuate", "OS-EXT-AZ"}, "grizzly"),
        (recorded("icehouse") | {"os-server-group-quotas"}, "juno"),
        (recorded("icehouse") | {"os-hypervisor-status", "os-extended-networks"}, "juno"),
    ],
)
def test_what_lacks_the_marks_is_not_called_grizzly(aliases: frozenset[str], release: str | None) -> None:
    found, evidence = release_by_extensions(aliases)
    assert found == release
    assert str(len(aliases)) in evidence or release is not None


@pytest.mark.parametrize(
    ("maximum", "release", "network"),
    [
        ((2, 3), "kilo", True), ((2, 42), "ocata", True), ((2, 40), "nova 2.40", True), ((2, 104), "nova 2.104", False),
        ((3, 3), "nova 3.3", False),
    ],
)  # fmt: skip
def test_microversions_name_the_others(maximum: tuple[int, int], release: str, network: bool) -> None:
    assert release_by_microversion(maximum)[0] == release
    assert may_have_nova_network(maximum) is network


class Old:
    """A stub that looks like a cloud of 2013; what it announces and has can be changed."""

    def __init__(self, stub: Stub, folder: Path) -> None:
        self.stub, self.folder = stub, folder
        stub.services = {"compute": NOVA, "image": "/image", "identity": "/v2.0"}
        stub.on("GET", "/compute/", Answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT"}]}))
        stub.on("GET", "/image/", Answer(300, {"versions": [{"id": "v2.1", "status": "CURRENT"}]}))
        self.announces(recorded("grizzly"))
        self.networks([{"id": "n", "label": "net", "cidr": "10.0.0.0/24", "bridge": "br100"}])

    def announces(self, aliases: frozenset[str] | int) -> None:
        """Extensions, or the HTTP status of an error."""
        found = aliases if isinstance(aliases, int) else [{"alias": one} for one in sorted(aliases)]
        answer = Answer(found, {"forbidden": {"message": "no"}}) if isinstance(found, int) else None
        self.stub.on("GET", f"{NOVA}/extensions", answer or Answer(200, {"extensions": found}))

    def networks(self, networks: list[dict[str, Any]] | int) -> None:
        """nova's networks, or the HTTP status of an error."""
        said = Answer(networks, {"gone": {"message": "no"}}) if isinstance(networks, int) else None
        self.stub.on("GET", f"{NOVA}/os-networks", said or Answer(200, {"networks": networks}))

    def connect(self, release: str = "") -> OpenStackCloud:
        """Log in as to a source."""
        file = write_clouds(self.folder, entry(self.stub.url))
        return connect("stub", side="source", clouds_yaml=file, timeout_s=2, release=release, sleep=lambda _s: None)


@pytest.fixture
def old(stub: Stub, tmp_path: Path) -> Old:
    """It looks like Grizzly to begin with."""
    return Old(stub, tmp_path)


@pytest.fixture
def other() -> Iterator[Stub]:
    """A second server, for a second cloud."""
    server = Stub()
    yield server
    server.stop()


def snapshot_of(cloud: OpenStackCloud) -> Inventory:
    """An inventory that knows nothing but the facts."""
    return Inventory(Snapshot(facts=cloud.facts, taken_at=NOW), None)


@pytest.mark.parametrize("announced", [frozenset(FOLSOM), frozenset(), 403, 404], ids=["folsom", "none", "403", "404"])
def test_an_unknown_release_is_refused_with_its_evidence(old: Old, announced: frozenset[str] | int) -> None:
    old.announces(announced)
    cloud = old.connect()
    assert cloud.facts.release is None
    [finding] = [one for one in check_site(snapshot_of(cloud)) if one.code == "release-unknown"]
    assert finding.severity == "block"
    assert "nova announces" in finding.message or "nova does not list its extensions" in finding.message
    assert "glance offers v2.1" in finding.message
    assert "source.release" in finding.remedy
    with pytest.raises(ChecksFailed, match="cannot be accepted"):
        accept([finding], ["release-unknown"])
    cloud.close()
    named = old.connect("havana")
    assert named.facts.release == "havana"
    assert "site.yaml says havana" in named.facts.evidence
    assert not [one for one in check_site(snapshot_of(named)) if one.code.startswith("release")]
    named.close()


def test_a_name_in_the_site_file_never_overrules_the_cloud(old: Old) -> None:
    with pytest.raises(CloudError, match=r"site.yaml calls it icehouse, but it is grizzly: .*Grizzly") as wrong:
        old.connect("icehouse")
    assert "source.release" in str(wrong.value)
    same = old.connect("grizzly")
    assert "site.yaml says grizzly" not in same.facts.evidence
    same.close()


def test_a_release_between_is_refused_until_it_is_accepted(old: Old) -> None:
    old.announces(recorded("icehouse") | {"os-server-group-quotas"})
    cloud = old.connect()
    assert cloud.facts.release == "juno"
    found = check_site(snapshot_of(cloud))
    assert [one.code for one in blocking(found)].count("release-untried") == 1
    assert "release-untried" not in [one.code for one in blocking(accept(found, ["release-untried"]))]
    cloud.close()


@pytest.mark.parametrize("release", ["grizzly", "havana", "icehouse", "ocata"])
def test_the_tried_ones_are_not(release: str) -> None:
    inventory = Inventory(Snapshot(facts=make_facts(release=release), taken_at=NOW), None)
    assert not [one for one in check_site(inventory) if one.code.startswith("release")]


@pytest.mark.parametrize(
    ("networks", "service", "said"),
    [
        ([], "nova-network", "nova tells of 0 networks"),  # what a tenant of Grizzly is told
        ([{"id": "n", "cidr": "10.0.0.0/24"}], "nova-network", "nova tells of 1 network"),
        ([{"id": "n", "cidr": None, "bridge": None}], "none", "those of a Neutron"),
        ([{"id": "n", "cidr": "None"}], "none", "those of a Neutron"),
        (403, "nova-network", "nova keeps its networks from this user"),
        (404, "none", "os-networks answers 404"),
        (410, "none", "os-networks answers 410"),
    ],
)
def test_nova_network_is_asked_for_and_not_assumed(
    old: Old, networks: list[dict[str, Any]] | int, service: str, said: str
) -> None:
    old.networks(networks)
    cloud = old.connect()
    assert cloud.facts.network_service == service
    assert any(said in one for one in cloud.facts.evidence)
    refused = [one for one in check_site(snapshot_of(cloud)) if one.code == "source-network"]
    assert len(refused) == (service == "none")
    cloud.close()


def test_a_nova_behind_a_proxy_that_hides_its_root(old: Old) -> None:
    """Its extensions alone would make a Juno of it."""
    old.stub.services["compute"] = "/compute/v2.1/abc"
    old.stub.on("GET", "/compute/", Answer(404, "<html><body>nginx</body></html>"))
    version = {"id": "v2.1", "status": "CURRENT", "version": "2.42", "min_version": "2.1"}
    old.stub.on("GET", "/compute/v2.1/", Answer(200, {"version": version}))
    old.stub.on("GET", "/compute/v2.1/abc/os-networks", Answer(200, {"networks": []}))
    cloud = old.connect()
    assert (cloud.facts.release, cloud.facts.network_service) == ("ocata", "nova-network")
    cloud.close()


def test_a_source_with_neutron_is_refused_with_its_evidence(old: Old) -> None:
    old.stub.services["network"] = "/network"
    cloud = old.connect()
    [refused] = [one for one in check_site(snapshot_of(cloud)) if one.code == "source-network"]
    assert refused.severity == "block"
    assert f"the catalog has a network service at {old.stub.url}/network" in refused.message
    cloud.close()


def write_site(folder: Path, source: dict[str, Any], destination: dict[str, Any], **more: Any) -> Path:
    """A site of two clouds."""
    clouds = {"clouds": {"old": source, "new": destination}}
    (folder / "clouds.yaml").write_text(yaml.safe_dump(clouds), encoding="utf-8")
    site = {"schema": 1, "source": {"cloud": "old", **more}, "destination": {"cloud": "new"}}
    (folder / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    return folder / "site.yaml"


def hosts(*names: str) -> Answer:
    """Nova's answer to a listing of hypervisors."""
    rows = [{"id": number, "hypervisor_hostname": name} for number, name in enumerate(names)]
    return Answer(200, {"hypervisors": rows})


def test_a_site_has_two_clouds(old: Old, other: Stub, tmp_path: Path) -> None:
    old.stub.on("GET", f"{NOVA}/os-hypervisors/detail", hosts("compute1"))
    other.on("GET", "/compute/v2.1/os-hypervisors/detail", hosts("node-1"))
    old.announces(403)
    site = load_site(write_site(tmp_path, entry(old.stub.url), entry(other.url), release="grizzly"))
    source, destination = connect_site(site, timeout_s=2)
    assert (source.name, source.side, source.facts.release) == ("old", "source", "grizzly")
    assert (destination.name, destination.side) == ("new", "destination")
    source.close()
    destination.close()


@pytest.mark.parametrize("spelling", ["same", "version", "port"])
def test_one_cloud_under_two_names_is_refused(old: Old, tmp_path: Path, spelling: str) -> None:
    url = old.stub.url
    second = entry(url) | ({"compute_endpoint_override": f"{url.upper().replace('HTTP:', 'http:')}/compute/v2.1"})
    second = {"same": entry(url), "version": entry(url, auth_url=f"{url}/"), "port": second}[spelling]
    with pytest.raises(SiteError, match=r"'old'.*'new'.* one and the same") as wrong:
        connect_site(load_site(write_site(tmp_path, entry(url), second)), timeout_s=2)
    assert "destination.cloud" in str(wrong.value)


@pytest.mark.parametrize("theirs", ["s1", "s2"])
def test_one_cloud_at_two_addresses_is_known_by_hosts_and_servers(
    old: Old, other: Stub, tmp_path: Path, theirs: str
) -> None:
    for stub, nova, server_id in ((old.stub, NOVA, "s1"), (other, "/compute/v2.1", theirs)):
        stub.on("GET", f"{nova}/os-hypervisors/detail", hosts("compute1", "compute2"))
        row = {"id": server_id, "name": "web", "tenant_id": "p", "status": "ACTIVE", "flavor": {"id": "1"}}
        stub.on("GET", f"{nova}/servers/detail", Answer(200, {"servers": [row]}), Answer(200, {"servers": []}))
    site = load_site(write_site(tmp_path, entry(old.stub.url), entry(other.url)))
    if theirs == "s1":
        with pytest.raises(SiteError, match="one and the same"):
            connect_site(site, timeout_s=2)
        return
    for cloud in connect_site(site, timeout_s=2):  # two regions of one Keystone, whose hosts are named alike
        cloud.close()


def test_who_may_not_list_hosts_is_not_refused_for_that(old: Old, other: Stub, tmp_path: Path) -> None:
    old.stub.on("GET", f"{NOVA}/os-hypervisors/detail", Answer(403, {"forbidden": {"message": "no"}}))
    for cloud in connect_site(load_site(write_site(tmp_path, entry(old.stub.url), entry(other.url))), timeout_s=2):
        cloud.close()


def test_one_cloud_is_known_by_its_servers_at_last() -> None:
    facts = make_facts(), make_facts("destination")
    source, destination = (Snapshot(facts=one, taken_at=NOW, servers=(make_server("web1"),)) for one in facts)
    [refused] = [one for one in check_site(Inventory(source, destination)) if one.code == "same-cloud"]
    assert refused.severity == "block"
    assert "web1" in refused.message
    elsewhere = replace(destination, servers=(make_server("web2"),))
    assert not [one for one in check_site(Inventory(source, elsewhere)) if one.code == "same-cloud"]


def test_a_destination_without_networks_is_refused(old: Old, other: Stub, tmp_path: Path) -> None:
    del other.services["network"]
    old.stub.on("GET", f"{NOVA}/os-hypervisors/detail", hosts("compute1"))
    other.on("GET", "/compute/v2.1/os-hypervisors/detail", hosts("node-1"))
    with pytest.raises(CloudError, match=r"'new' cannot be a destination: it has neither .*too new for nova-network"):
        connect_site(load_site(write_site(tmp_path, entry(old.stub.url), entry(other.url))), timeout_s=2)


def test_abilities_are_asked_once_and_say_why_they_are_not_told(old: Old) -> None:
    rates = {"rate": [
        {"uri": "*", "limit": [{"verb": "POST", "value": 10, "unit": "MINUTE"}]},
        {"uri": "*/servers", "limit": [{"verb": "POST", "value": 50, "unit": "DAY"}]},
    ]}  # fmt: skip
    old.stub.on("GET", f"{NOVA}/limits", Answer(200, {"limits": rates}))
    old.stub.on("GET", "/image/v2/schemas/image", Answer(200, {"properties": {"id": {}}}))
    old.stub.on("GET", f"{NOVA}/os-services", Answer(403, {"forbidden": {"message": "Policy doesn't allow it"}}))
    none = Answer(404, {"error": {"message": "The resource could not be found.", "code": 404}})
    old.stub.on("GET", "/v3/role_assignments", none)
    cloud = old.connect()
    told = dict(cloud.facts.abilities)
    assert told["rate limits"] == "POST 10/minute, POST */servers 50/day"
    assert told["service ids"] == "not told (HTTP 403)"
    assert told["role assignments"] == "asked pair by pair (Keystone has no list)"
    assert told["owner in image records"] == "no (asked of v1)"
    assert told["reserved fixed IPs"] == "not shown (needs microversion 2.4)"
    assert (told["shelve"], told["evacuate"], told["microversions"]) == ("no", "yes", "none")
    assert "    rate limits: POST 10/minute" in describe(cloud.facts)
    cloud.in_project("q" * 32).close()
    assert cloud.facts.abilities == told
    assert len(old.stub.asked("GET", f"{NOVA}/limits")) == 1
    cloud.close()


def test_no_rate_limits_is_said_too() -> None:
    assert rate_limits(Doc({"rate": []}, "")) == "none"


def test_an_old_clouds_role_list_is_asked_for_ours_only(old: Old) -> None:
    old.stub.on("GET", "/v3/role_assignments", lambda call: _assignments(call))
    cloud = old.connect()
    assert cloud.facts.abilities["role assignments"] == "one list"
    [call] = old.stub.asked("GET", "/v3/role_assignments")
    assert set(call.query) == {"user.id", "scope.project.id"}
    cloud.close()


def _assignments(_call: Call) -> Answer:
    return Answer(200, {"role_assignments": [], "links": {}})
