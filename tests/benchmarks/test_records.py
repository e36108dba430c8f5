"""A move of 500 servers leaves a record that is small, valid and quickly shown."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.benchmarks.records import KIB, Measured, measure


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(500, tmp_path_factory.mktemp("large"))


def test_a_record_of_500_servers_is_small(large: Measured) -> None:
    assert large.record_bytes < 512 * KIB
    assert large.side_bytes < 4 * 1024 * KIB
    assert large.page_bytes < 512 * KIB


def test_its_page_is_made_within_a_second_or_two_of_a_processor(large: Measured) -> None:
    assert large.page_s < 2


def test_it_opens_anywhere(large: Measured) -> None:
    record = nbformat.read(large.record, as_version=4)
    nbformat.validate(record)
    text = large.record.read_text()
    assert str(large.folder) not in text
    assert str(Path.home()) + "/" not in text
    assert "application/vnd.jupyter.widget" not in text
    assert "500 moved" in record["cells"][0]["source"]
    assert "475 more servers" in record["cells"][0]["source"]
