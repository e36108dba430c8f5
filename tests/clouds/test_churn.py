"""Lists stay complete while servers come and go, whatever the page limit: Nova's paging rules, without a network."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.clouds import paging
from pumphouse.clouds.parse import Doc
from pumphouse.errors import ApiError, CloudError

PATIENT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Nova:
    """A list that is newest first, cut at ``cap``, and changes after each page.

    :param churn: so many objects are deleted and as many made after each page; ``markers`` also the page's last one.
    """

    def __init__(self, count: int, cap: int, *, churn: int = 0, markers: int = 0, seed: int = 0) -> None:
        self.ids = [f"s{number}" for number in range(count)]
        self.cap, self.churn, self.markers, self.asked = cap, churn, markers, 0
        self.steady = set(self.ids)
        self.gone: set[str] = set()
        self._dice = random.Random(seed)
        self.wire = type("Wire", (), {"cloud": "old", "last_request_id": "req-1"})()

    def get(self, place: str, doing: str, /, **params: str) -> Doc:
        """A page."""
        self.asked += 1
        start = 0
        if "marker" in params:
            if params["marker"] not in self.ids:
                raise ApiError(f"Cloud 'old' could not {doing}: marker [{params['marker']}] not found.", status=400)
            start = self.ids.index(params["marker"]) + 1
        page = self.ids[start : start + min(self.cap, int(params["limit"]))]
        what = place.split("/")[1]
        answer = Doc({what: [{"id": one, "name": one} for one in page]}, "Cloud 'old'")
        self._change(page)
        return answer

    def _change(self, page: list[str]) -> None:
        for _ in range(self.churn):
            if self.ids:
                self._delete(self._dice.choice(self.ids))
            self.ids.insert(0, f"n{self.asked}-{len(self.gone)}-{len(self.ids)}")
        if self.markers and page:
            self.markers -= 1
            self._delete(page[-1])

    def _delete(self, one: str) -> None:
        if one in self.ids:
            self.ids.remove(one)
        self.gone.add(one)


def listed(nova: Any, what: str = "servers") -> list[str]:
    """The ids that a listing brings."""
    return [doc.text("id") for doc in paging.all_pages(nova, what, {"all_tenants": "1"})]


@PATIENT
@given(count=st.integers(0, 60), cap=st.integers(1, 70), what=st.sampled_from(["servers", "flavors", "images"]))
def test_any_page_limit_brings_all_of_them_once_in_order(count: int, cap: int, what: str) -> None:
    nova = Nova(count, cap)
    assert listed(nova, what) == nova.ids
    assert nova.asked <= count / cap + 2


@PATIENT
@given(
    count=st.integers(0, 60), cap=st.integers(1, 20), churn=st.integers(0, 3), markers=st.integers(0, 3),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_what_stays_is_never_lost_while_others_come_and_go(
    count: int, cap: int, churn: int, markers: int, seed: int
) -> None:
    nova = Nova(count, cap, churn=churn, markers=markers, seed=seed)
    found, refused = [], ""
    try:
        found = listed(nova)
    except ApiError as error:
        refused = str(error)
    if refused:
        # a list that loses its marker again and again is an error, never a part of the list
        assert "marker" in refused
        assert churn
        return
    assert len(found) == len(set(found))
    assert nova.steady - nova.gone <= set(found)


@pytest.mark.parametrize("lost", [1, 4, 5])
def test_a_lost_marker_begins_anew_a_few_times(lost: int) -> None:
    nova = Nova(30, 4, markers=lost)
    if lost == 5:
        with pytest.raises(ApiError, match="marker"):
            listed(nova)
        return
    found = listed(nova)
    assert found == nova.ids
    assert not nova.gone & set(found)  # what was deleted before the last attempt is not shown


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("marker [s3] not found", True),
        ("Invalid marker: image could not be found", True),
        ("No image found with ID 4bd8", True),
        ("Image 4bd8 could not be found.", True),
        ("limit param must be an integer", False),
        ("The tenant could not be found", False),
    ],
)
def test_only_a_lost_marker_begins_anew(words: str, again: bool) -> None:
    calls = []

    def listing() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ApiError(f"Cloud 'old' could not list images: image answered 400: {words}.", status=400)
        return 7

    if again:
        assert paging.from_the_start(listing) == 7
        return
    with pytest.raises(ApiError):
        paging.from_the_start(listing)


def test_pages_that_overlap_are_no_end() -> None:
    """A page may bring nothing new; only a marker that leads nowhere ends the list, loudly."""
    pages = [["a", "b"], ["a", "b", "c"], ["b", "d"], []]

    class Overlapping(Nova):
        def get(self, place: str, doing: str, /, **params: str) -> Doc:
            self.asked += 1
            return Doc({"servers": [{"id": one} for one in pages[self.asked - 1]]}, "")

    assert listed(Overlapping(0, 1)) == ["a", "b", "c", "d"]
    pages[:] = [["a", "b"], ["c", "b"]]
    with pytest.raises(CloudError, match="never end") as stuck:
        listed(Overlapping(0, 1))
    assert stuck.value.request_id == "req-1"
