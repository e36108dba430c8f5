"""site.yaml: read whole or refused with file, key and remedy, and never with a value from it."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.errors import SiteError
from pumphouse.site import SITE_VARIABLE, ProbeSpec, Provider, Site, contains, load_site

CANARY = "hunter2canary"
FULL: dict[str, Any] = {
    "schema": 1,
    "name": "north",
    "clouds_yaml": "clouds.yaml",
    "journal": "sqlite:///state/journal.db",
    "records": "archive",
    "work": "desk",
    "source": {"cloud": "old", "owners": {"alice": "old-alice"}},
    "destination": {
        "cloud": "new",
        "networks": {"private": "flat"},
        "floating_pools": {"nova": "public"},
        "roles": {"_member_": "member"},
    },
    "probe": {"kind": "tcp", "port": 22, "timeout_s": 5},
    "probes": {"web1": {"kind": "http", "port": 80, "path": "/health", "timeout_s": 1.5}},
    "limits": {"parallel": 2, "hold_s": 0, "action_timeout_s": 30},
}
LEAST: dict[str, Any] = {"schema": 1, "source": {"cloud": "old"}, "destination": {"cloud": "new"}}
FREE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def write(folder: Path, document: Any) -> Path:
    (folder / "clouds.yaml").write_text("clouds: {}\n")
    path = folder / "site.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def refused(folder: Path, document: Any) -> str:
    """The message with which a site file is refused; also that it is a whole one."""
    path = write(folder, document)
    with pytest.raises(SiteError) as caught:
        load_site(path)
    text = str(caught.value)
    assert str(path) in text
    assert "Remedy: " in text
    return text


def read(file: Path) -> Site | SiteError:
    """The site, or the error with which it was refused; anything else is raised."""
    try:
        return load_site(file)
    except SiteError as error:
        return error


def changed(*path: Any, to: Any = None) -> dict[str, Any]:
    """The full document with one place changed (or, for None, dropped)."""
    document = copy.deepcopy(FULL)
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    if to is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = to
    return document


# --- what is accepted ---------------------------------------------------------------------------------


def test_every_key_arrives_where_it_belongs(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, FULL))
    assert site == Site(
        path=tmp_path / "site.yaml",
        name="north",
        clouds_yaml=tmp_path / "clouds.yaml",
        source_cloud="old",
        destination_cloud="new",
        owners={"alice": "old-alice"},
        networks={"private": "flat"},
        floating_pools={"nova": "public"},
        roles={"_member_": "member"},
        journal_url=f"sqlite:///{tmp_path}/state/journal.db",
        records_dir=tmp_path / "archive",
        work_dir=tmp_path / "desk",
        probe=ProbeSpec("tcp", 22, "/", 5),
        probes={"web1": ProbeSpec("http", 80, "/health", 1.5)},
        parallel=2,
        hold_s=0.0,
        action_timeout_s=30.0,
    )
    assert site.secrets_file == tmp_path / "desk" / "handover-secrets.yaml"


def test_the_least_site_has_safe_defaults(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, LEAST))
    assert site.journal_url == f"sqlite:///{tmp_path}/journal.db"
    assert (site.records_dir, site.work_dir) == (tmp_path / "records", tmp_path / "work")
    assert site.clouds_yaml == tmp_path / "clouds.yaml"
    assert site.probe.kind == "none"
    assert site.hold_s == 3600.0
    assert site.name == tmp_path.name
    (tmp_path / "clouds.yaml").unlink()
    assert load_site(tmp_path / "site.yaml").clouds_yaml is None


@pytest.mark.parametrize(
    ("journal", "url"),
    [
        ("sqlite:///a.db", "sqlite:///{base}/a.db"),
        ("sqlite:////var/a.db", "sqlite:////var/a.db"),
        ("postgresql://db/pumphouse", "postgresql://db/pumphouse"),
    ],
)
def test_a_journals_path_starts_at_the_site_file(tmp_path: Path, journal: str, url: str) -> None:
    assert load_site(write(tmp_path, {**LEAST, "journal": journal})).journal_url == url.format(base=tmp_path)


def test_the_environment_names_the_site_where_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, FULL)
    monkeypatch.setenv(SITE_VARIABLE, str(path))
    assert load_site().name == "north"
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", {**FULL, "name": "south"})
    assert load_site(other).name == "south"
    monkeypatch.delenv(SITE_VARIABLE)
    monkeypatch.chdir(tmp_path / "other")
    assert load_site().name == "south"


def test_a_servers_probe_is_found_by_id_then_name_then_default(tmp_path: Path) -> None:
    probes = {"id-1": {"kind": "none"}, "web1": {"kind": "http"}}
    site = load_site(write(tmp_path, {**FULL, "probes": probes}))
    assert site.expected("web1", "id-1").probe.kind == "none"
    assert site.expected("web1", "id-2").probe.kind == "http"
    assert site.expected("web2", "id-2").probe == site.probe


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, {**FULL, "probe": {"kind": "tcp", "port": 22.0}, "limits": {"parallel": 3.0}}))
    assert type(site.probe.port) is int
    assert type(site.parallel) is int


def test_the_commented_example_of_the_readme_is_a_site(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in readme.split("```yaml\n")[1:]]
    examples = [block for block in blocks if "destination:" in block]
    assert examples, "the README's section 'Real clouds' shows a site.yaml; messages point there"
    for block in examples:
        load_site(write(tmp_path, block))


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), None, "required key 'schema'"),
        (("schema",), 2, "schema: must be 1"),
        (("source",), None, "required key 'source'"),
        (("source", "cloud"), None, "source: required key 'cloud'"),
        (("source", "cloud"), 5, "source.cloud: must be of type string"),
        (("source", "cloud"), "", "source.cloud: violates minLength"),
        (("source", "cloud"), "a\nb", "source.cloud: violates pattern"),
        (("destination",), [], "destination: must be of type object"),
        (("destination", "cloud"), "old", "source.cloud and destination.cloud are the same"),
        (
            ("destination", "network"),
            {},
            "unknown key 'network' (did you mean 'networks'?) (known: avail",
        ),
        (("destination", "networks"), {"private": 1}, "destination.networks.private: must be of type string"),
        (("sorce",), {}, "unknown key 'sorce' (did you mean 'source'?) (known: "),
        (("clouds_yaml",), "nowhere.yaml", "clouds_yaml names a file that does not exist"),
        (("clouds_yaml",), "x" * 5000, "clouds_yaml names a file that does not exist or cannot be reached"),
        (("probe",), {"port": 1}, "probe: required key 'kind'"),
        (("probe", "kind"), "pong", "probe.kind: must be one of none, tcp, http, ping, command"),
        (("probe", "port"), 0, "probe.port: violates minimum 1"),
        (("probe", "port"), 70000, "probe.port: violates maximum 65535"),
        (("probe", "timeout_s"), 0, "probe.timeout_s: violates exclusiveMinimum 0"),
        (("probe", "timeout_s"), math.nan, "probe.timeout_s: must be finite"),
        (("probe", "timeout_s"), math.inf, "probe.timeout_s: must be finite"),
        (("probes", "web1", "path"), "health", "probes.web1.path: violates pattern"),
        (("limits", "parallel"), 0, "limits.parallel: violates minimum 1"),
        (("limits", "parallel"), 2.5, "limits.parallel: must be of type integer"),
        (("limits", "parallel"), True, "limits.parallel: must be of type integer"),
        (("limits", "hold_s"), -1, "limits.hold_s: violates minimum 0"),
        (("limits", "hold_s"), math.nan, "limits.hold_s: must be finite"),
        (("limits", "action_timeout_s"), "10", "limits.action_timeout_s: must be of type number"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, path: tuple[str, ...], value: Any, words: str) -> None:
    assert words in refused(tmp_path, changed(*path, to=value))


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    document = changed("source", "cloud", to=5)
    document["probe"]["kind"] = "pong"
    document["extra"] = 1
    text = refused(tmp_path, document)
    for words in ("source.cloud", "probe.kind", "'extra'"):
        assert words in text


@pytest.mark.parametrize("document", ["", "[]", "5", "null", "text", "- a\n- b"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, document: str) -> None:
    assert "top level: must be of type object" in refused(tmp_path, document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("schema: 1\nsource: [a", "is not YAML: "),
        ("schema: 1\n\tname: x", "at line 2"),
        ("schema: 2014-13-45", "is not YAML: ValueError"),
        ("a: !!int ''", "is not YAML: "),
        ("a: !!timestamp x", "is not YAML: "),
        ("a: !!float x", "is not YAML: "),
        ("a: !!bool x", "is not YAML: "),
        ("a: \x07", "is not YAML: ReaderError"),
        ("[" * 5000, "is not YAML: "),
        ("? [a]\n: b", "is not YAML: "),
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, document: str, words: str) -> None:
    assert words in refused(tmp_path, document)


def test_a_file_that_is_no_text_or_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    with pytest.raises(SiteError, match=r"site\.yaml does not exist.*--site PATH"):
        load_site(path)
    path.write_bytes(b"schema: \xff\xfe")
    with pytest.raises(SiteError, match=r"site\.yaml cannot be read"):
        load_site(path)
    with pytest.raises(SiteError, match="cannot be read"):
        load_site(tmp_path)


@pytest.mark.parametrize("path", ["nul\0byte", "~nobody-of-that-name/site.yaml", "x" * 5000])
def test_a_path_that_no_system_takes_is_refused(path: str) -> None:
    with pytest.raises(SiteError, match="Remedy"):
        load_site(path)


# --- anything at all ----------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
KEYS = (
    st.sampled_from(["cloud", "kind", "port", "path", "owners", "parallel", "hold_s"]) | st.text(max_size=4) | SCALARS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


@settings(deadline=None, max_examples=150, suppress_health_check=FREE)
@given(st.dictionaries(st.sampled_from(sorted(FULL)) | KEYS, VALUES | st.sampled_from(list(FULL.values())), max_size=6))
def test_any_document_is_a_site_or_a_site_error(tmp_path: Path, document: dict[Any, Any]) -> None:
    path = write(tmp_path, yaml.safe_dump(document))
    site = read(path)
    if isinstance(site, SiteError):
        assert str(path) in str(site)
        assert site.remedy
    else:
        assert document["schema"] == 1
        assert site.source_cloud != site.destination_cloud


@settings(deadline=None, max_examples=150, suppress_health_check=FREE)
@given(st.text(max_size=200) | st.text("-:[]{}&*!|>'\"%@`#,? \n\tab1", max_size=60))
def test_any_text_is_a_site_or_a_site_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SiteError):
        load_site(path)


# --- the canary ---------------------------------------------------------------------------------------


def leaves(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every place of a document that holds a value."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [here] * bool(here) + [path for key, item in inside for path in leaves(item, (*here, key))]


def everything_said(error: BaseException) -> str:
    """What a notebook's traceback shows: the error and its causes, unless they are left out."""
    said = [str(error), repr(error)]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join([*said, everything_said(cause)] if cause else said)


@pytest.mark.parametrize("path", leaves(FULL), ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("shape", ["text", "list", "object", "deep"])
def test_a_secret_in_any_place_is_never_said(tmp_path: Path, path: tuple[Any, ...], shape: str) -> None:
    value = {"text": CANARY, "list": [CANARY], "object": {"kind": CANARY}, "deep": {"a": [{"b": CANARY}]}}[shape]
    file = write(tmp_path, changed(*path, to=value))
    site = read(file)
    if isinstance(site, SiteError):
        assert CANARY not in everything_said(site)
    else:
        assert shape in ("text", "object")
        assert CANARY in str(site)


@pytest.mark.parametrize(
    "line",
    [
        f"password: *{CANARY}",
        f"password: !{CANARY} x",
        f"password: !!python/object:{CANARY} x",
        f"password: &{CANARY}",
        f"password: !!int {CANARY}",
        f"password: !!float {CANARY}",
        f"password: !!bool {CANARY}",
        f"password: !!timestamp {CANARY}",
        f"password: !!binary {CANARY}",
        f"password: {CANARY}: x: y",
        f"password: '{CANARY}",
        f'password: "\\{CANARY}"',
        f"password: [{CANARY}",
        f"password: {{{CANARY}",
        f"password: @{CANARY}",
        f"password: `{CANARY}",
        f"password: %{CANARY}",
        f"%{CANARY} 1",
        f"password: |{CANARY}",
        f"password: {CANARY}",
        f"<<: {CANARY}",
        f"? [{CANARY}]\n: x",
        f"a: &a x\nb: *a\nc: *{CANARY}",
        f"password: {CANARY}\x07",
        f"{{'a': '{CANARY}' 'b'}}",
    ],
)
def test_a_secret_in_broken_yaml_is_never_said(tmp_path: Path, line: str) -> None:
    file = write(tmp_path, f"schema: 1\n{line}\n")
    with pytest.raises(SiteError) as caught:
        load_site(file)
    assert CANARY not in everything_said(caught.value)


@settings(deadline=None, max_examples=120, suppress_health_check=FREE)
@given(st.data())
def test_a_secret_in_a_file_that_was_cut_or_mixed_up_is_never_said(tmp_path: Path, data: st.DataObject) -> None:
    document = changed(*data.draw(st.sampled_from(leaves(FULL))), to=CANARY)
    dumped = yaml.safe_dump(document) if data.draw(st.booleans()) else json.dumps(document)
    cut = data.draw(st.integers(0, len(dumped)))
    noise = data.draw(st.text("-:[]{}&*!|>'\"%@`#,? \n\tz1", max_size=6))
    text = dumped[:cut] + noise + dumped[data.draw(st.integers(cut, min(len(dumped), cut + 10))) :]
    site = read(write(tmp_path, text))
    # what names a server, a user or a network has to be named; anything else must not be
    if isinstance(site, SiteError) and not any(f"{place}.{CANARY}" in str(site) for place in NAMED):
        assert CANARY not in everything_said(site)


#: Mappings whose keys are names of the site's own choice.
NAMED = ("source.owners", "destination.networks", "destination.floating_pools", "destination.roles", "probes")


@pytest.mark.parametrize("key", [CANARY, "s3cret", "x" * 40, "pass word", 5, None, True, ""])
def test_what_stands_as_a_key_but_looks_like_none_is_not_said(tmp_path: Path, key: Any) -> None:
    # the path of the site file is no part of what is said about it, and may hold anything
    text = refused(tmp_path, {**LEAST, key: 1}).replace(str(tmp_path), "")
    assert "unknown key (not shown)" in text or str(key) in ("None", "True")
    assert f"{key!r}" not in text or str(key) in ("None", "True")


# --- addresses ----------------------------------------------------------------------------------------


def test_an_unknown_range_contains_nothing() -> None:
    assert contains("10.0.0.0/8", "10.1.2.3")
    assert contains("10.1.2.3/8", "10.9.9.9")
    assert not contains("10.0.0.0/8", "11.0.0.1")
    assert not contains(None, "10.1.2.3")


# --- the shared segment ----------------------------------------------------------------------------------


PROVIDERS: list[tuple[dict[str, Any], str]] = [
    ({"type": "vlan"}, "a vlan network needs a segment"),
    ({"segment": 100}, "a vlan network needs a segment, a flat one has none"),
    ({"pool": "10.0.0.9-10.0.0.1"}, "pool is no range of IPv4 addresses"),
    ({"pool": "10.0.0.1-10.0.0.999"}, "pool is no range of IPv4 addresses"),
    ({"type": "gre"}, "must be one of flat, vlan"),
    ({"gateway": "10.0.0.1"}, "must be one of own, source"),
    ({"segment": 4095, "type": "vlan"}, "violates maximum 4094"),
    ({"dhcp": "off"}, "must be one of both, filtered"),
]


@pytest.mark.parametrize(("more", "words"), PROVIDERS, ids=[str(more) for more, _ in PROVIDERS])
def test_a_segment_that_cannot_be_is_refused(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    provider = {"private": {"physical_network": "physnet1", **more}}
    assert words in refused(tmp_path, changed("destination", "provider", to=provider))


def test_the_shared_segment_is_read(tmp_path: Path) -> None:
    provider = {
        "private": {"physical_network": "physnet1", "type": "vlan", "segment": 100.0, "gateway": "own"},
        "flat": {"physical_network": "physnet2", "pool": "10.0.0.9-10.0.0.20", "dhcp": "filtered"},
    }
    site = load_site(write(tmp_path, changed("destination", "provider", to=provider)))
    assert site.provider == {
        "private": Provider("physnet1", "vlan", 100, gateway="own"),
        "flat": Provider("physnet2", dhcp="filtered", pool="10.0.0.9-10.0.0.20"),
    }
    assert isinstance(site.provider["private"].segment, int)
    assert site.same_net_traffic == ""
    kept = load_site(write(tmp_path, changed("destination", "same_net_traffic", to="keep")))
    assert kept.same_net_traffic == "keep"
