"""The codec's own refusals; the round trips are tested with what is written through it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest

from pumphouse.inventory.codec import decode, dump_json, encode


@dataclass(frozen=True)
class Sample:
    ratio: float
    note: str | None = None


def test_what_json_cannot_say_is_not_written() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        encode(datetime(2014, 1, 1))  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="set cannot be written"):
        encode({1, 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(encode(Sample(float("nan"))))


def test_a_whole_number_is_a_ratio_but_a_truth_value_is_not() -> None:
    read = decode(Sample, {"ratio": 1, "note": None}, "sample")
    assert isinstance(read.ratio, float)
    with pytest.raises(ValueError, match=r"sample\.ratio: float expected, bool found"):
        decode(Sample, {"ratio": True, "note": None}, "sample")


def test_a_key_that_has_a_default_must_be_there_too() -> None:
    with pytest.raises(ValueError, match="'note' is missing"):
        decode(Sample, {"ratio": 1.0}, "sample")
