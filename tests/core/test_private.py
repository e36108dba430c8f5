"""Files with secrets that somebody else may read are told, and none that nobody else may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumphouse.checks.private import check_files
from pumphouse.nodes.spec import Hardware, SwitchSpec
from tests.core.making import make_site


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_secrets_that_others_can_use_are_named(tmp_path: Path, mode: int) -> None:
    key = tmp_path / "switch-key"
    switch = SwitchSpec("sw1", "netmiko", (1,), options={"key_file": str(key)})
    site = replace(
        make_site(tmp_path), clouds_yaml=tmp_path / "clouds.yaml", signing_key=tmp_path / "signing.pem",
        hardware=Hardware(switches={"sw1": switch}),
    )  # fmt: skip
    assert check_files(site) == []  # there are none
    site.work_dir.mkdir(exist_ok=True)
    keepers = [tmp_path / "secure.yaml", site.secrets_file, tmp_path / "signing.pem", key]
    for file in keepers:
        file.write_text("secret", encoding="utf-8")
        file.chmod(0o600)
    assert check_files(site) == []
    for file in keepers:
        file.chmod(mode)
        (finding,) = check_files(site)
        assert (finding.severity, finding.code, finding.object) == ("warn", "secrets-readable", f"file {file.name}")
        assert f"mode {mode:04o}" in finding.message
        file.chmod(0o400)
