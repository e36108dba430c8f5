"""A drafted site file: it loads as it stands, asks what no API tells, and cannot be broken by names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pumphouse.cli import main
from pumphouse.clouds.config import logins
from pumphouse.inventory import Snapshot
from pumphouse.model import AvailabilityZone, Network, Role
from pumphouse.site import Site, load_site
from pumphouse.sitedraft import draft_site
from tests.factories import make_snapshot

NASTY = "a: {b}\n  # c: 'd' \"e\""


def clouds(**there: object) -> tuple[Snapshot, Snapshot]:
    source = make_snapshot()
    new = replace(source.facts, cloud="new", side="destination", release="nova 2.104", network_service="neutron")
    empty = {"facts": new, "servers": (), "networks": (), "floating_ips": (), "floating_pools": {}, "roles": ()}
    return source, replace(source, **{**empty, "availability_zones": (), **there})


def load(folder: Path, text: str) -> Site:
    (folder / "clouds.yaml").write_text("clouds: {}")
    file = folder / "site.yaml"
    file.write_text(text, encoding="utf-8")
    return load_site(file)


def test_it_loads_as_it_stands_and_names_both_clouds(tmp_path: Path) -> None:
    source, destination = clouds()
    text = draft_site(source, destination, name="customer", clouds_yaml=Path("clouds.yaml"))
    site = load(tmp_path, text)
    assert (site.name, site.source_cloud, site.destination_cloud) == ("customer", source.facts.cloud, "new")
    assert site.hold_s == 86400
    assert "# TO DECIDE: network" in text


def test_what_the_destination_has_is_mapped(tmp_path: Path) -> None:
    source, _ = clouds()
    old = source.networks[0]
    pool = next(iter(source.floating_pools or {ip.pool: () for ip in source.floating_ips}))
    there = (
        Network(id="n1", name="private", cidr=old.cidr),
        Network(id="n2", name="public", cidr="203.0.113.0/24", external=True),
    )
    source, destination = clouds(networks=there)
    site = load(tmp_path, draft_site(source, destination, name="x", clouds_yaml=None))
    assert site.networks == {old.name: "private"}
    assert site.floating_pools[str(pool)] == "public"


def test_several_external_networks_are_a_question(tmp_path: Path) -> None:
    there = tuple(Network(id=n, name=n, cidr=f"203.0.{i}.0/24", external=True) for i, n in enumerate(("one", "two")))
    source, destination = clouds(networks=there)
    text = draft_site(source, destination, name="x", clouds_yaml=None)
    assert load(tmp_path, text).floating_pools == {}
    assert "which external network (one, two)?" in text


def test_zones_and_roles_that_are_missing_are_told(tmp_path: Path) -> None:
    source, destination = clouds(availability_zones=(AvailabilityZone("fast"),))
    servers = tuple(replace(server, availability_zone="ssd") for server in source.servers)
    role = Role("r-op", "operator")
    assignments = tuple(replace(one, role_id=role.id) for one in source.assignments[:1])
    source = replace(source, servers=servers, roles=(role,), assignments=assignments)
    text = draft_site(source, destination, name="x", clouds_yaml=None)
    assert load(tmp_path, text).availability_zones == {"ssd": None}
    assert ("# roles: {operator: member}" in text) == bool(assignments)


@pytest.mark.parametrize("name", [NASTY, "null", "12", "- x", "", "ünïcode"])
def test_no_name_breaks_the_file(tmp_path: Path, name: str) -> None:
    source, _ = clouds()
    old = replace(source.networks[0], name=name or "x")
    pool = (Network(id="n", name=name or "x", cidr="203.0.113.0/24", external=True),)
    source, destination = clouds(networks=pool)
    source = replace(source, networks=(old,), roles=(Role("r", name or "x"),))
    text = draft_site(source, destination, name="x", clouds_yaml=None)
    document = yaml.safe_load(text)
    assert set(document) == {"schema", "name", "source", "destination", "probe", "limits", "journal", "records", "work"}
    assert set(document["source"]) == {"cloud", "owners"}


def test_owners_get_the_entry_that_logs_in_as_them_and_the_gone_are_no_names(tmp_path: Path) -> None:
    source, destination = clouds()
    there = source.facts.auth_url
    owner = source.users[0]
    servers = tuple(replace(one, user_id=who) for one, who in zip(source.servers, (owner.id, "2" * 32), strict=False))
    source = replace(source, servers=servers)
    logins = [("elsewhere", owner.name, "http://other.example:5000/v2.0"), ("old-one", owner.name, there)]
    text = draft_site(source, destination, name="x", clouds_yaml=None, logins=logins)
    assert load(tmp_path, text).owners == {owner.name: "old-one"}
    assert "2" * 32 not in text
    assert "1 server of users whom Keystone does not have any more" in text
    assert load(tmp_path, draft_site(source, destination, name="x", clouds_yaml=None)).owners == {}


def test_a_wrong_cloud_is_named_before_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {old: {auth: {auth_url: 'http://127.0.0.1:1/v2.0'}}}")
    out = tmp_path / "site.yaml"
    out.write_text("schema: 1")
    done = CliRunner().invoke(main, ["init", "--source", "olt", "--destination", "old", "--out", str(out)])
    assert done.exit_code == 2
    assert "no cloud 'olt'" in done.output
    assert "(did you mean 'old'?)" in done.output
    assert "correct --source" in done.output
    assert "site.yaml" not in done.output.partition("Remedy")[2]


def test_logins_are_what_has_a_name_and_an_address(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    auth = "auth: {auth_url: 'http://a:5000', username: ann}"
    file.write_text(f"clouds: {{one: {{{auth}}}, two: {{auth: {{token: x}}}}, three: [], four: {{auth: 1}}}}")
    assert logins(file) == [("one", "ann", "http://a:5000")]
