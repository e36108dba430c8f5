"""What is expected of a server: which rule decides, what a probe is, and what is no probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.errors import PlanError, SelectionError, SiteError
from pumphouse.plan.model import Plan
from pumphouse.selection import Choice, Selection
from pumphouse.serving import KINDS, Expected, ProbeSpec
from pumphouse.site import Site, load_site
from tests.core.making import planned
from tests.factories import uid

HTTP = {"kind": "http", "port": 80, "path": "/health"}
COMMAND = {"kind": "command", "command": ["check", "--host", "{address}"], "timeout_s": 5}
RULES = [
    {"servers": ["db*"], "downtime_budget_s": 30},
    {"projects": ["acme"], "servers": ["db1", "web*"], "probe": HTTP, "on_failure": "back"},
    {"projects": ["ac*"], "probe": COMMAND, "downtime_budget_s": 90},
]


def site(folder: Path, **more: Any) -> Site:
    document = {"schema": 1, "source": {"cloud": "old"}, "destination": {"cloud": "new"}, **more}
    (folder / "site.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_site(folder / "site.yaml")


@pytest.mark.parametrize(
    ("name", "project", "probe", "budget_s", "on_failure"),
    [
        ("db1", "acme", HTTP, 30, "back"),
        ("db2", "acme", COMMAND, 30, "stay"),
        ("web1", "acme", HTTP, 90, "back"),
        ("web1", "globex", {"kind": "tcp", "port": 25}, 600, "stay"),
        ("mail", "actor", COMMAND, 90, "stay"),
        ("odd", "acme", {"kind": "none"}, 90, "stay"),
    ],
)
def test_the_first_rule_that_says_something_decides(
    name: str, project: str, probe: dict[str, Any], budget_s: float, on_failure: str, tmp_path: Path
) -> None:
    found = site(
        tmp_path,
        rules=RULES,
        probe={"kind": "tcp", "port": 25},
        probes={"odd": {"kind": "none"}},
        limits={"downtime_budget_s": 600},
    ).expected(name, "id-1", project)
    assert found == Expected(ProbeSpec.of(probe), budget_s, on_failure)


def test_a_rule_may_name_an_id_and_the_default_may_be_to_go_back(tmp_path: Path) -> None:
    made = site(tmp_path, rules=[{"servers": ["id-7"], "on_failure": "stay"}], on_failure="back")
    assert made.expected("x", "id-7").on_failure == "stay"
    assert made.expected("x", "id-8") == Expected(ProbeSpec(), None, "back")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"probe": {"kind": "command"}}, "probe: required key 'command' is missing"),
        ({"probe": {"kind": "command", "command": "rm -rf /"}}, "probe.command: must be of type array"),
        ({"probe": {"kind": "http", "path": "/a b"}}, "probe.path"),
        ({"probe": {"kind": "tcp", "each_s": 61}}, "probe.each_s"),
        ({"rules": [{"servers": []}]}, "rules.0.servers"),
        ({"rules": [{"downtime_budget_s": 0}]}, "rules.0.downtime_budget_s"),
        ({"rules": [{"downtime_budget_s": float("inf")}]}, "rules.0.downtime_budget_s: must be finite"),
        ({"rules": [{"on_failure": "forward"}]}, "rules.0.on_failure: must be one of stay, back"),
        ({"rules": [{"server": ["x"]}]}, "rules.0: unknown key 'server'"),
        ({"on_failure": "forward"}, "on_failure: must be one of stay, back"),
        ({"limits": {"outage_s": -1}}, "limits.outage_s"),
    ],
)
def test_what_is_no_rule_is_named(more: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SiteError) as caught:
        site(tmp_path, **more)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("none", ProbeSpec("none")),
        (" ping ", ProbeSpec("ping")),
        ("tcp:22", ProbeSpec("tcp", 22)),
        ("http:8080", ProbeSpec("http", 8080)),
        ("http:80/health?deep=1", ProbeSpec("http", 80, "/health?deep=1")),
    ],
)
def test_the_short_form_of_selections(text: str, spec: ProbeSpec) -> None:
    assert ProbeSpec.parse(text) == spec
    assert Selection(("a",), Choice(), text).probe_spec == spec


@pytest.mark.parametrize(
    "text", ["tcp", "tcp:0", "tcp:65536", "tcp:22/x", "http:80/a b", "command:rm", "http:", "x\n", "pi ng"]
)
def test_what_is_no_short_form(text: str) -> None:
    with pytest.raises(ValueError, match="a probe is"):
        ProbeSpec.parse(text)
    with pytest.raises(SelectionError, match="commands are named by rules"):
        Selection(("a",), Choice(), text)


def test_a_selection_with_a_probe_is_another_one_and_is_kept(tmp_path: Path) -> None:
    plain, probed = (Selection(("a", "b"), Choice(ids=("a", "b")), probe) for probe in ("", "tcp:25"))
    assert plain.digest != probed.digest
    for selection in (plain, probed):
        file = selection.save(tmp_path / f"{selection.digest}.json")
        assert Selection.load(file, digest=selection.digest) == selection
    assert "probe" not in (tmp_path / f"{plain.digest}.json").read_text(encoding="utf-8")
    edited = (tmp_path / f"{probed.digest}.json").read_text(encoding="utf-8").replace("tcp:25", "none")
    (tmp_path / "edited.json").write_text(edited, encoding="utf-8")
    with pytest.raises(SelectionError, match="changed after it was written"):
        Selection.load(tmp_path / "edited.json")


@given(
    st.builds(
        ProbeSpec,
        kind=st.sampled_from(KINDS),
        port=st.integers(1, 65535),
        path=st.text(min_size=1),
        timeout_s=st.floats(0.1, 100),
        command=st.lists(st.text()).map(tuple),
        each_s=st.floats(0, 60),
    )
)
def test_a_plan_keeps_all_of_a_probe(spec: ProbeSpec) -> None:
    assert ProbeSpec.of(spec.document) == spec
    assert str(spec)


def test_what_is_expected_of_a_server_is_part_of_what_is_approved(tmp_path: Path) -> None:
    plain, _ = planned(tmp_path, "acme-web1")
    strict, _ = planned(tmp_path, "acme-web1", on_failure="back", downtime_budget_s=60.0, probe=ProbeSpec.of(COMMAND))
    assert plain.hash != strict.hash
    for kind in ("stop", "settle"):
        params = strict.step(f"{kind}:{uid('acme-web1')}").params
        assert params["probe"] == COMMAND
        assert (params["downtime_budget_s"], params["on_failure"]) == (60.0, "back")
    read = Plan.from_document(strict.document)
    assert read.hash == strict.hash
    with pytest.raises(PlanError):
        read.step("no such step")
