"""Whole moves out of a Grizzly and a Havana cloud: moved, finalised in part, rolled back in part.

The old clouds' rate limits are as their release ships them, with a clock that runs faster.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pumphouse.errors import ChecksFailed
from tests.flow.conftest import set_limits
from tests.flow.desk import AT_SOURCE, FINALISED, MOVED, Desk
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab

pytestmark = SDK_WARNS_OF_ITSELF
FINAL, BACK = ("shop",), ("erp", "mail")


@pytest.fixture(scope="module", params=["grizzly", "havana"])
def old_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A lab whose old cloud is of that release."""
    made = start_lab(tmp_path_factory, name=request.param, release=request.param, scale=0.02, rate_scale=1.5)
    set_limits(made.site_file, hold_s=0)
    yield made
    made.stop()


def test_a_project_leaves_an_older_cloud(old_lab: LabSite) -> None:
    with Desk.open(old_lab) as desk:
        final, back = desk.ids(*FINAL), desk.ids(*BACK)
        moved = desk.do("move", projects=["globex"])
        assert (moved.error, moved.result) == (None, "succeeded")
        assert desk.places([*final, *back]) == [MOVED] * 3
        finalised = desk.do("finalise", ids=final)
        assert (finalised.error, finalised.result) == (None, "succeeded")
        returned = desk.do("rollback", ids=back)
        assert (returned.error, returned.result) == (None, "succeeded")
        assert desk.places(final) == [FINALISED]
        assert desk.places(back) == [AT_SOURCE] * 2
        refused = [row for row in old_lab.requests(service="source.compute") if row["status"] == 413]
        waited = [line for line in desk.lines if "limits our rate" in line]
        assert bool(refused) == bool(waited)
        assert not refused or old_lab.facts["release"] == "grizzly"
        desk.conscience()


def test_an_attached_volume_is_seen_though_grizzlys_records_do_not_show_it(old_lab: LabSite) -> None:
    with Desk.open(old_lab) as desk, pytest.raises(ChecksFailed, match="server-volumes"):
        desk.do("move", ids=desk.ids("u-volume"))
