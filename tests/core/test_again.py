"""What is run once more after a failure."""

from __future__ import annotations

import json
from pathlib import Path

from tests.again import modules

HERE = "tests/core/test_again.py"


def test_the_whole_module_of_a_failed_test_is_run_again(tmp_path: Path) -> None:
    kept = tmp_path / "lastfailed"
    failed = [f"{HERE}::test_one", f"{HERE}::Many::test_two[a::b]", "tests/core/test_gone.py::test_three"]
    kept.write_text(json.dumps(dict.fromkeys(failed, True)), encoding="utf-8")
    assert modules(kept) == [HERE]


def test_nothing_is_run_again_where_nothing_failed(tmp_path: Path) -> None:
    assert modules(tmp_path / "lastfailed") == []
