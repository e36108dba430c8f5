"""The dirty site of each release: everything that is wrong with it is found over its API, and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pumphouse.checks.survey import survey, survey_files
from pumphouse.inventory import take_snapshot
from pumphouse.lab.source.release import RELEASES
from tests.contract.conftest import Both

Sites = Callable[[str], Both]

#: What the lab's ``populate`` and ``umbrella`` leave behind, as (code, object).
EVERYWHERE = {
    ("server-in-error", "server printer"),
    ("server-in-error", "server u-error"),
    ("server-stuck", "server stapler"),
    ("server-stuck", "server u-stuck"),
    ("server-stuck", "server u-building"),
    ("server-state", "server u-paused"),
    ("server-state", "server u-suspended"),
    ("server-state", "server u-rescued"),
    ("server-state", "server u-resized"),
    ("server-on-dead-host", "server u-dead"),
    ("service-down", "nova-compute on compute4"),
    ("image-deleted", "server basement"),
    ("image-deleted", "server u-erased"),
    ("image-not-active", "image acme-unfinished"),
    ("image-not-active", "image umbrella-queued"),
    ("image-not-active", "image umbrella-killed"),
    ("image-not-active", "image umbrella-saving"),
    ("owner-gone", "server u-orphan"),
    ("user-without-role", "user drifter"),
    ("project-disabled", "project wonka"),
    ("name-repeats", "server twin"),
    ("name-repeats", "image nightly"),
    ("quota-exceeded", "project umbrella"),
    ("keypair-orphan", "keypairs"),
}
#: What only some releases have or tell.
SINCE_HAVANA = {
    ("server-state", "server u-shelved"),
    ("server-state", "server u-offloaded"),
    ("server-volumes", "server u-volume"),
    ("quota-drift", "project umbrella"),
}


@pytest.mark.parametrize("release", sorted(RELEASES))
def test_everything_dirty_is_found_in_every_release(sites: Sites, release: str) -> None:
    source, _ = sites(release)
    snapshot = take_snapshot(source)
    findings = survey(snapshot)
    found = {(finding.code, finding.object) for finding in findings}
    wanted = EVERYWHERE | (SINCE_HAVANA if source.facts.release != "grizzly" else set())
    assert wanted - found == set()
    assert {finding.severity for finding in findings} <= {"info", "warn"}
    unused = [finding for finding in findings if finding.code == "floating-ip-unused"]
    assert any("umbrella" in finding.message for finding in unused)
    clean = {
        "server web1",
        "server web2",
        "server db",
        "server cache",
        "server worker1",
        "server bastion",
        "server shop",
    }
    assert not clean & {name for _, name in found}


@pytest.mark.parametrize("release", sorted(RELEASES))
def test_an_image_whose_file_is_lost_is_found_in_every_release(sites: Sites, release: str) -> None:
    source, _ = sites(release)
    found = {finding.object for finding in survey_files(take_snapshot(source), source.images)}
    assert "image umbrella-no-file" in found
    assert "image umbrella-base" not in found
