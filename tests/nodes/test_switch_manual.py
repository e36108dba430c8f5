"""The manual driver: an operator's word, kept as evidence; a batch has only what was kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.errors import NodeGarbled, NodeRefused, NodeTimeout, SiteError
from pumphouse.nodes.api import PortState
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.nodes.switches.manual import ManualSwitch, open_switch

NOW = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
PORT = "Gi1/0/12"


def switch(folder: Path, ask: Callable[[str], str] | None = None, **options: Any) -> ManualSwitch:
    def nobody(_: str) -> str:
        raise NotImplementedError  # as IPython's input does in a batch

    spec = SwitchSpec("rack7", "manual", (80, 100), options={"evidence": str(folder), **options})
    seconds = itertools.count()
    now = lambda: NOW + timedelta(milliseconds=next(seconds))  # noqa: E731 - a clock that goes on
    return ManualSwitch(spec, ask=ask or nobody, now=now, sleep=lambda _: None)


def answers(*given: str) -> tuple[Callable[[str], str], list[str]]:
    """Somebody who types that, and what they were asked."""
    left, asked = list(given), []

    def ask(question: str) -> str:
        asked.append(question)
        return left.pop(0)

    return ask, asked


def write(folder: Path, of: int, **changes: Any) -> Path:
    """Evidence as an operator writes it."""
    path = folder / f"rack7.Gi1-0-12.vlan{of}.yaml"
    seen = {
        "schema": 1,
        "switch": "rack7",
        "port": PORT,
        "vlan": of,
        "who": "Ann",
        "at": (NOW - timedelta(hours=1)).isoformat(),
        "seen": f"Access Mode VLAN: {of}",
    }
    path.write_text(yaml.safe_dump({key: value for key, value in {**seen, **changes}.items() if value is not None}))
    return path


def test_the_operator_is_asked_and_the_answer_kept(tmp_path: Path) -> None:
    ask, asked = answers("100", "Access Mode VLAN: 100", "Ann", "80", "Access Mode VLAN:\x1b 80", "")
    with_person = switch(tmp_path / "new", ask)
    assert with_person.set_vlan(PORT, 80) == PortState(PORT, 80)
    assert asked[0].startswith(f"Look at port {PORT} of switch rack7.")
    assert asked[3].startswith(f"Put port {PORT} of switch rack7 into VLAN 80 now, untagged.")
    kept = yaml.safe_load(with_person.file(PORT, 80).read_text())
    assert (kept["seen"], kept["at"][:19]) == ("Access Mode VLAN: 80", "2026-03-02T21:00:00")
    assert yaml.safe_load(with_person.file(PORT, 100).read_text())["who"] == "Ann"


def test_a_batch_takes_evidence_and_refuses_without(tmp_path: Path) -> None:
    batch = switch(tmp_path)
    with pytest.raises(NodeRefused, match="nobody can be asked here") as caught:
        batch.port(PORT)
    assert "rack7.Gi1-0-12.vlan80.yaml" in str(caught.value)
    write(tmp_path, 100)
    assert batch.port(PORT) == PortState(PORT, 100)
    with pytest.raises(NodeRefused, match="is to go to VLAN 80 by hand") as moving:
        batch.set_vlan(PORT, 80)
    assert str(batch.file(PORT, 80)) in str(moving.value)
    write(tmp_path, 80, at=NOW)  # moved, looked, and run again
    assert batch.set_vlan(PORT, 80) == PortState(PORT, 80)
    assert batch.ports([PORT]) == (PortState(PORT, 80),)


def test_pytests_own_closed_input_counts_as_nobody(tmp_path: Path) -> None:
    options = {"evidence": str(tmp_path)}
    with pytest.raises(NodeRefused, match="nobody can be asked"):
        open_switch(SwitchSpec("rack7", "manual", (80, 100), options=options)).port(PORT)


def test_the_newest_evidence_counts_while_it_is_fresh(tmp_path: Path) -> None:
    write(tmp_path, 80, at=NOW - timedelta(hours=3))
    write(tmp_path, 100, at="2026-03-02T22:30:00+02:00")
    assert switch(tmp_path).port(PORT).vlan == 100
    with pytest.raises(NodeRefused, match="younger than 600 s"):
        switch(tmp_path, max_age_s=600).port(PORT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": NOW + timedelta(hours=1)}, "which is to come"),
        ({"at": "2026-03-02T21:00:00"}, "offset from UTC"),
        ({"at": "yesterday"}, "no moment"),
        ({"at": None}, "exactly the keys"),
        ({"schema": 2}, "schema 1"),
        ({"who": " "}, "`who` is empty"),
        ({"seen": 80}, "`seen` is empty"),
        ({"port": "Gi1/0/1-2"}, "not about port"),
        ({"switch": "rack8"}, "not about port"),
        ({"vlan": 100}, "not about port"),
        ({"more": 1}, "exactly the keys"),
    ],
)
def test_evidence_that_is_none_is_not_taken(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path, 80, **changes)
    with pytest.raises(NodeGarbled, match=said) as caught:
        switch(tmp_path).port(PORT)
    assert str(path) in str(caught.value)


def test_evidence_of_one_moment_in_two_vlans_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, 80)
    write(tmp_path, 100)
    with pytest.raises(NodeGarbled, match="evidence of the same moment"):
        switch(tmp_path).port(PORT)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text("[{}]:-,'\"\n 0az", max_size=200).map(str.encode)))
def test_no_file_is_anything_but_evidence_or_garbled(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rack7.Gi1-0-12.vlan80.yaml").write_bytes(content)
    with pytest.raises(NodeGarbled, match="evidence"):
        switch(tmp_path).port(PORT)


def test_a_file_nested_without_end_is_garbled(tmp_path: Path) -> None:
    (tmp_path / "rack7.Gi1-0-12.vlan80.yaml").write_text("[" * 3000)
    with pytest.raises(NodeGarbled, match="cannot be read"):
        switch(tmp_path).port(PORT)


def test_who_sees_the_port_elsewhere_or_nothing_does_not_move_it(tmp_path: Path) -> None:
    write(tmp_path, 100)
    ask, _ = answers("100", "Access Mode VLAN: 100", "Ann")
    with pytest.raises(NodeTimeout, match="was to go to VLAN 80, and Ann sees it in 100"):
        switch(tmp_path, ask).set_vlan(PORT, 80)
    for typed, said in (
        (("eighty",), "'eighty' is no VLAN"),
        (("",), "nothing is no VLAN"),
        (("80", "", "Ann"), "nothing was"),
    ):
        with pytest.raises(NodeRefused, match=said):
            switch(tmp_path, answers(*typed)[0]).set_vlan(PORT, 80)
    assert not switch(tmp_path).file(PORT, 80).exists()


@pytest.mark.parametrize(
    "options", [{}, {"evidence": "here"}, {"evidence": "/x", "more": 1}, {"evidence": "/x", "max_age_s": 0}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    spec = SwitchSpec("rack7", "manual", (80, 100))
    with pytest.raises(SiteError, match=r"switches\.rack7\.options"):
        open_switch(replace(spec, options=options))
