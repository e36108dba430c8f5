"""Files that people write: sites, secrets, selections, approvals, plans, snapshots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.approval import Approval, approve, require_approval
from pumphouse.clouds.config import load_region, tls_of
from pumphouse.errors import ApprovalMissing, PlanError, SelectionError, SiteError
from pumphouse.inventory import Snapshot
from pumphouse.passwords import PasswordRef, read_password
from pumphouse.plan.model import Plan
from pumphouse.secretstore import SecretStore
from pumphouse.selection import Choice, Selection
from pumphouse.site import Site, load_site
from tests.core.making import make_plan, make_site, make_step, plan_server
from tests.factories import make_snapshot
from tests.fuzz.junk import CANARY, broken, dumped, fuzzed, tame, torn

pytestmark = pytest.mark.slow

SITE: dict[str, Any] = {
    "schema": 1,
    "name": "north",
    "journal": {"url": "postgresql://pumphouse@db/journal", "password_entry": "journal"},
    "records": "records",
    "source": {
        "cloud": "old",
        "release": "grizzly",
        "owners": {"bob": "old-bob"},
        "databases": {"keystone": {"url": "mysql://k@db/keystone", "password_env": "CANARY_X"}},
    },
    "destination": {
        "cloud": "new",
        "networks": {"net": "private"},
        "provider": {"net": {"physical_network": "p", "type": "vlan", "segment": 100, "pool": "10.0.0.1-10.0.0.9"}},
        "roles": {"operator": "member"},
        "availability_zones": {"ssd": None},
        "clashes": {"users": "adopt"},
        "rename": "{name}-old",
    },
    "carry": {"default": "rebuild", "projects": {"acme": "snapshot"}},
    "nodes": {"compute1": {"macs": ["52:54:00:00:00:01"]}},
    "probe": {"kind": "tcp", "port": 22},
    "probes": {"web1": {"kind": "command", "command": ["check", "{address}"]}},
    "rules": [{"servers": ["web*"], "probe": {"kind": "http", "path": "/x"}, "downtime_budget_s": 60}],
    "on_failure": "back",
    "limits": {"parallel": 4, "hold_s": 10, "outage_s": 60},
}
SECURE = {"clouds": {"old": {"auth": {"password": CANARY}}}, "databases": {"journal": {"password": CANARY}}}
CLOUDS: dict[str, Any] = {
    "clouds": {
        "old": {
            "auth": {"auth_url": "http://127.0.0.1:5000/v2.0", "username": "admin", "password": CANARY,
                     "project_name": "admin"},
            "region_name": "R1", "verify": True, "identity_api_version": "2.0", "interface": "public",
        }
    }
}  # fmt: skip
PLAN = make_plan(
    make_step("project:1", params={"source_id": "1", "deep": {"list": [1, None, 2.5]}}),
    make_step("boot:1", "project:1", phase="cutover", server_id="1"),
    servers=(plan_server("web1"),),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    (path / "secure.yaml").write_text(yaml.safe_dump(SECURE), encoding="utf-8")
    return path


def _site(folder: Path, data: bytes) -> Site | None:
    file = folder / "site.yaml"
    file.write_bytes(data)
    before = sorted(folder.iterdir())
    outcome = tame("site.yaml", lambda: load_site(file), secret=True)
    assert sorted(folder.iterdir()) == before
    if outcome.error is not None:
        assert isinstance(outcome.error, SiteError)
        assert "site.yaml" in str(outcome.error) or "secure.yaml" in str(outcome.error)
        assert outcome.error.remedy
    else:
        assert CANARY not in repr(outcome.value.journal_url) or "password" in repr(SECURE)
        assert outcome.value.expected("web1", "id-1", "acme")
    found: Site | None = outcome.value
    return found


def test_the_good_site_is_one(folder: Path) -> None:
    site = _site(folder, yaml.safe_dump(SITE).encode())
    assert site is not None
    assert CANARY in site.journal_url
    assert CANARY not in repr(site)


@fuzzed(4)
@given(document=broken(SITE))
def test_site_with_odd_values(folder: Path, document: Any) -> None:
    try:
        text = yaml.safe_dump(document, allow_unicode=True)
    except yaml.YAMLError:
        text = dumped(document)
    _site(folder, text.encode("utf-8", "surrogatepass"))


@fuzzed(4)
@given(data=torn(yaml.safe_dump(SITE) + f"# {CANARY}\n") | st.binary(max_size=60))
def test_site_that_is_torn(folder: Path, data: bytes) -> None:
    _site(folder, data)


@fuzzed(2)
@given(data=torn(yaml.safe_dump(SECURE)) | broken(SECURE).map(lambda d: dumped(d).encode("utf-8", "surrogatepass")))
def test_secure_yaml(folder: Path, data: bytes) -> None:
    own = folder / "secure-only"
    own.mkdir(exist_ok=True)
    (own / "secure.yaml").write_bytes(data)
    site = make_site(own)
    for section in ("databases", "nodes"):
        tame("secure.yaml", lambda s=section: read_password(site, PasswordRef("k", s, entry="journal")), secret=True)  # type: ignore[misc]


@fuzzed(2)
@given(document=broken(CLOUDS), data=torn(yaml.safe_dump(CLOUDS)), whole=st.booleans())
def test_clouds_yaml(folder: Path, document: Any, data: bytes, whole: bool) -> None:
    own = folder / "clouds-only"
    own.mkdir(exist_ok=True)
    file = own / "clouds.yaml"
    file.write_bytes(dumped(document).encode("utf-8", "surrogatepass") if whole else data)

    def read() -> Any:
        region, where = load_region("old", file)
        return tls_of(region, "old", where)

    tame("clouds.yaml", read, secret=True)


@fuzzed()
@given(
    data=torn("anna: {password: " + CANARY + "}\nbob: {password: x, state: not-in-force}\n") | st.binary(max_size=40)
)
def test_hand_over_file(folder: Path, data: bytes) -> None:
    file = folder / "handover-secrets.yaml"
    file.write_bytes(data)
    store = SecretStore(file)
    outcome = tame("hand-over file", lambda: (store.names(), store.get("anna"), store.ensure("anna")), secret=True)
    if outcome.error is not None:
        assert file.read_bytes() == data


def _selection(folder: Path, data: bytes) -> None:
    file = folder / "selection.json"
    file.write_bytes(data)
    outcome = tame("selection file", lambda: Selection.load(file))
    if outcome.error is not None:
        assert isinstance(outcome.error, SelectionError)
        assert "selection.json" in str(outcome.error)
    else:
        assert outcome.value.server_ids
    assert file.read_bytes() == data


SELECTION = Selection(("a", "b"), Choice(ids=("a", "b"), query="status == 'ACTIVE'"), "tcp:22")


@fuzzed(3)
@given(data=st.data())
def test_selection_files(folder: Path, data: st.DataObject) -> None:
    text = SELECTION.save(folder / "good.json").read_text(encoding="utf-8")
    whole = broken(json.loads(text)).map(lambda d: dumped(d).encode("utf-8", "surrogatepass"))
    _selection(folder, data.draw(torn(text) | whole))


@fuzzed(3)
@given(data=st.data())
def test_approvals(folder: Path, data: st.DataObject) -> None:
    approvals = folder / "approvals"
    file = approve(PLAN, approvals, by="rita", reason="tested", replace=True)
    text = (approvals / f"{PLAN.hash}.json").read_text(encoding="utf-8")
    whole = broken(json.loads(text)).map(lambda d: dumped(d).encode("utf-8", "surrogatepass"))
    (approvals / f"{PLAN.hash}.json").write_bytes(data.draw(torn(text) | whole))
    outcome = tame("approval", lambda: require_approval(PLAN, approvals))
    assert file
    if outcome.error is not None:
        assert isinstance(outcome.error, ApprovalMissing)
    else:
        assert isinstance(outcome.value, Approval)
        assert outcome.value.plan_hash == PLAN.hash
        assert outcome.value.approved_by.strip()


@fuzzed(3)
@given(document=broken(PLAN.document))
def test_plan_documents(document: Any) -> None:
    outcome = tame("plan document", lambda: Plan.from_document(document))
    if outcome.error is not None:
        assert isinstance(outcome.error, PlanError)
    else:
        assert outcome.value.document == document or outcome.value.hash == PLAN.hash


@fuzzed(0.5)
@given(data=st.data())
def test_snapshots(folder: Path, data: st.DataObject) -> None:
    good = folder / "good-snapshot.json"
    if not good.exists():
        make_snapshot("source").save(good)
    text = good.read_text(encoding="utf-8")
    whole = broken(json.loads(text)).map(lambda d: dumped(d).encode("utf-8", "surrogatepass"))
    file = folder / "snapshot.json"
    file.write_bytes(data.draw(torn(text) | whole))
    tame("snapshot", lambda: Snapshot.load(file))
