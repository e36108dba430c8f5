"""The picker stays responsive with thousands of servers: bounded by what moving their rows costs anyway."""

from __future__ import annotations

import ipywidgets
import pytest

from tests.benchmarks.picker import Ratios, measure


@pytest.fixture(scope="module")
def ratios() -> Ratios:
    found = measure(2000, rounds=3)
    ipywidgets.Widget.close_all()
    return found


def test_showing_it_costs_little_more_than_the_grid_alone(ratios: Ratios) -> None:
    assert ratios.show < 12


def test_typing_costs_a_few_encodings_of_the_rows(ratios: Ratios) -> None:
    assert ratios.narrow < 30
    assert ratios.widen < 60
    assert ratios.choose < 30
