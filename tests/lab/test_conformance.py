"""The lab answers recorded requests as the recorded clouds did: status, form, headers, keys and types."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.lab import recording_grizzly, recording_icehouse
from tests.lab.replaying import Recording, replay, unlike

RECORDINGS = {r.release: r for r in (recording_grizzly.RECORDING, recording_icehouse.RECORDING)}
EXCHANGES = [
    pytest.param(r, f, id=f"{r.release}-{f['n']:03d}-{f['service']}-{f['method']}-{f['status']}")
    for r in RECORDINGS.values()
    for f in r.facts
]


@pytest.mark.parametrize(("recording", "fact"), EXCHANGES)
def test_a_recorded_exchange(recording: Recording, fact: dict[str, Any], tmp_path: Path) -> None:
    assert not asyncio.run(replay(recording, fact, tmp_path))


@pytest.mark.parametrize(("release", "recorded", "in_full"), [("grizzly", 369, 300), ("icehouse", 415, 340)])
def test_most_answers_are_compared_in_full(release: str, recorded: int, in_full: int) -> None:
    recording = RECORDINGS[release]
    facts = recording.facts
    assert len(facts) == recorded
    assert set(recording.unlike) | set(recording.prepare) <= {fact["n"] for fact in facts}
    compared = [f for f in facts if f["n"] not in recording.unlike and ("shape" in f or "page" in f or "binary" in f)]
    assert len(compared) >= in_full


@pytest.mark.parametrize(
    ("shape", "value", "found"),
    [
        ({"a": "str"}, {"a": "x"}, []),
        ({"a": "str"}, {"a": 1}, ["$.a is int instead of str"]),
        ({"a": "int"}, {"a": True}, ["$.a is bool instead of int"]),
        ({"a": "str"}, {}, ["$.a is missing"]),
        ({"a?": "str"}, {}, []),
        ({}, {"a": 1}, ["$.a was not recorded"]),
        ({"a": ["str"]}, {"a": []}, ["$.a is empty"]),
        ({"a": ["str", "?"]}, {"a": []}, []),
        ({"a": ["any"]}, {"a": [1]}, []),
        ({"a": {"*": "str"}}, {"a": {"x": "y", "z": 1}}, ["$.a.z is int instead of str"]),
        ({"a": "null|str"}, {"a": None}, []),
        ({"a": {"b": "int"}}, {"a": "x"}, ["$.a is str instead of dict"]),
    ],
)
def test_the_comparison_itself(shape: Any, value: Any, found: list[str]) -> None:
    assert unlike(shape, value, "$") == found
