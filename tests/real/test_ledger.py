"""acme's move held against its fidelity ledger: what that says of each field is so in both clouds."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from pumphouse.inventory import Inventory, Snapshot
from pumphouse.journal import Journal
from pumphouse.ledger import Treatment, entries
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
from tests.ledger import lookout, truth

from .conftest import Moved
from .operate import Site
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def journal(site: Site, acme: Moved) -> Iterator[Journal]:
    """The journal of the site, in which the move is."""
    with closing(Journal.open(load_site(site.file).journal_url)) as opened:
        yield opened


@pytest.fixture(scope="module")
def plan(journal: Journal) -> Plan:
    """The plan by which acme moved."""
    plans = [Plan.from_document(document) for document in journal.plan_documents(kind="move", states=("finished",))]
    (found,) = (plan for plan in plans if {server.project for server in plan.servers} == {"acme"})
    return found


def test_what_it_says_is_so(
    clouds: Clouds, site: Site, acme: Moved, journal: Journal, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    owners = [clouds.user(name) for name, facts in clouds.facts["users"].items() if facts["tenant"] == "acme"]
    source = lookout.source_view(clouds.source, {owner.user_id: owner for owner in owners})
    # servers are stopped and floating IPs are off by now: as it was before counts
    source |= acme.before[0]
    destination = lookout.destination_view(clouds.destination)
    mapped = journal.mapping
    here, there = truth.sides(source, destination, mapped)
    runs = [event.run_id for event in journal.events(plan_hash=plan.hash, step_key="@approval")]
    folder = load_site(site.file).work_dir / "snapshots"
    taken = Inventory(*(Snapshot.load(folder / f"{runs[0]}-{side}.json") for side in ("source", "destination")))
    finding = truth.hold(entries(plan, taken, mapped=mapped), here, there)
    with capsys.disabled():
        print(f"\nledger of a real move: {finding}")
    assert not finding.lies, "\n".join(finding.lies)
    assert finding.checked[Treatment.COPIED] > 200
    assert finding.checked[Treatment.MAPPED] > 80


def test_it_lies_beside_the_record(site: Site, acme: Moved, plan: Plan) -> None:
    records = load_site(site.file).records_dir
    kept = sorted(records.rglob(f"ledger-{plan.hash[:16]}.json*"))
    assert kept, f"no ledger of plan {plan.hash[:12]} in {records}"
    data = kept[0].read_bytes()
    document = json.loads(gzip.decompress(data) if kept[0].suffix == ".gz" else data)
    assert document["plan"] == plan.hash
    assert {row[4] for row in document["rows"]} == {str(treatment) for treatment in Treatment}
