"""A run that stopped because somebody asked it to is aborted, not failed."""

from __future__ import annotations

import pytest

from pumphouse.records.engine import Ending, conclude_from_ending


@pytest.mark.parametrize(
    ("error", "result"), [("Stopped", "aborted"), ("StepError", "failed"), ("ApprovalMissing", "refused")]
)
def test_the_result_tells_a_wish_from_a_fault(error: str, result: str) -> None:
    assert conclude_from_ending(Ending("cell-error", "Cell 12: said so", 12, error)) == (result, "Cell 12: said so")
