"""``pumphouse init`` asks both clouds; what it writes is a site that can be checked."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pumphouse.cli import main
from pumphouse.site import load_site
from tests.flow.desk import Desk
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = SDK_WARNS_OF_ITSELF


def init(out: Path, clouds: Path, *more: str) -> tuple[int, str]:
    words = ["init", "--source", "old", "--destination", "new", "--clouds", str(clouds), "--out", str(out), *more]
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


def test_a_site_is_drafted_once_and_loads(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "site.yaml"
    code, said = init(out, desk.lab.clouds_file, "--name", "customer-x")
    assert code == 0, said
    assert "TO DECIDE" in said
    site = load_site(out)
    assert (site.name, site.source_cloud, site.destination_cloud) == ("customer-x", "old", "new")
    assert site.floating_pools == {"nova": "public"}
    assert site.clouds_yaml is not None
    assert site.clouds_yaml.resolve() == desk.lab.clouds_file.resolve()
    assert desk.changes() == []
    before = out.read_bytes()
    code, said = init(out, desk.lab.clouds_file)
    assert (code, out.read_bytes()) == (2, before)
    assert "is there already" in said


def test_a_cloud_that_nobody_described_is_named(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "site.yaml"
    done = CliRunner().invoke(
        main,
        ["init", "--source", "odl", "--destination", "new", "--clouds", str(desk.lab.clouds_file), "--out", str(out)],
    )
    assert done.exit_code == 2
    assert "odl" in done.output
    assert not out.exists()
