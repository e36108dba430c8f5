"""Opening devices by what site.yaml says of them, and a destination that is not there yet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.clouds import LaterCloud
from pumphouse.errors import CloudUnreachable, SiteError
from pumphouse.nodes.connect import BMC_GROUP, Nodes, driver
from pumphouse.nodes.spec import BmcSpec, Hardware, Login, SwitchSpec
from pumphouse.records.secrets import collect_secrets
from pumphouse.site import Site
from tests.core.making import make_site
from tests.hardware.making import make_node

SECRET = "correct horse battery"


def site(folder: Path, login: Login, **bmc: Any) -> Site:
    node = make_node(bmc=BmcSpec("n1", "127.0.0.1", login=login, **bmc))
    switches = {"sw1": SwitchSpec("sw1", "telepathy", (100, 200))}
    return make_site(folder, hardware=Hardware(nodes={"n1": node, "n2": make_node("n2", bmc=None)}, switches=switches))


@pytest.mark.parametrize(
    ("device", "name", "said"),
    [
        ("bmc", "n2", "node n2 has no bmc"),
        ("bmc", "n9", "describes no node n9"),
        ("switch", "sw9", "describes no switch sw9"),
        ("switch", "sw1", r"driver telepathy.*use one of: .*netmiko"),
        ("bmc", "n1", r"password of nodes\.n1\.bmc is not in secure\.yaml: nodes\.bmc-n1\.password"),
    ],
)
def test_what_is_missing_is_named_with_its_key(tmp_path: Path, device: str, name: str, said: str) -> None:
    nodes = Nodes(site(tmp_path, Login("operator", password_entry="bmc-n1")))
    (tmp_path / "secure.yaml").write_text("nodes: {other: {password: x}}\n")
    with pytest.raises(SiteError, match=said) as caught, getattr(nodes, device)(name):
        pass
    assert caught.value.remedy


def test_without_fuel_in_the_site_there_is_no_fuel(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="names no Fuel master"), Nodes(site(tmp_path, Login())).fuel():
        pass


@pytest.mark.parametrize("place", ["file", "environment"])
def test_passwords_reach_the_driver_and_the_records_redaction(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = Login("operator", password_entry="bmc-n1") if place == "file" else Login("operator", password_env="BMC_N1")
    if place == "file":
        (tmp_path / "secure.yaml").write_text(f"nodes: {{bmc-n1: {{password: {SECRET}}}}}\n")
    else:
        monkeypatch.setenv("BMC_N1", SECRET)
    opened: list[str] = []

    class FakeBmc:
        def __init__(self, spec: BmcSpec, password: str) -> None:
            opened.append(f"{spec.node} {password}")

        def close(self) -> None:
            opened.append("closed")

    monkeypatch.setattr("pumphouse.nodes.connect.driver", lambda *_: FakeBmc)
    described = site(tmp_path, login)
    with Nodes(described).bmc("n1"):
        pass
    assert opened == [f"n1 {SECRET}", "closed"]
    assert SECRET in collect_secrets(described)


def test_a_driver_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise ImportError("no module named telepathy")

    entry = SimpleNamespace(name="t", value="telepathy:open", load=load)
    monkeypatch.setattr("pumphouse.nodes.connect.entry_points", lambda **_: [entry])
    with pytest.raises(SiteError, match=r"telepathy:open.*no module named telepathy"):
        driver(BMC_GROUP, "t", "nodes.n1.bmc")


def test_a_destination_is_logged_in_to_by_its_first_verb_and_asked_again_after_a_failure() -> None:
    closed: list[bool] = []
    cloud = SimpleNamespace(compute="nova", project_id="p", close=lambda: closed.append(True))
    answers = iter([CloudUnreachable("not there yet", remedy="wait"), cloud])

    def connect() -> Any:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    later = LaterCloud("new", "destination", connect)
    later.close()
    assert (later.name, later.side, later.connected) == ("new", "destination", False)
    with pytest.raises(CloudUnreachable):
        _ = later.compute
    assert (cast("Any", later.compute), later.project_id, later.connected) == ("nova", "p", True)
    later.close()
    assert closed == [True]
