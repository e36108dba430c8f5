"""Ctrl-C in a cut-over: the last lines and the record name who is down, and how to go on; going on works."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from pumphouse.selection import Selection, select_servers
from tests.flow.desk import MOVED, Desk
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def test_ctrl_c_tells_who_is_down_and_its_own_words_go_on(desk: Desk, fleet: Iterator[str]) -> None:
    ids = list(islice(fleet, 2))
    names = [desk.servers[server_id]["name"] for server_id in ids]
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=ids))
        desk.approve(plan, run)
    words = [sys.executable, "-m", "pumphouse", "run", "notebooks/03-move-servers.ipynb", "-p", f"ids={','.join(ids)}"]
    words += ["-p", "change=CHG-8", "--site", str(desk.lab.site_file)]
    held = desk.lab.fault(
        service="destination.compute", method="POST", path="/servers$", kind="delay", delay_s=1.5, times=2
    )
    pipe = subprocess.PIPE
    with held, subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        said = []
        for line in process.stdout or ():
            said.append(line)
            if "done     stop" in line and sum("done     stop" in one for one in said) == 2:
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 4, "".join(said)
    last = said[next(number for number, line in enumerate(said) if "aborted" in line) :]
    text = "".join(last)
    assert "stopped by SIGINT. Down now: " in last[0]
    downs = [line for line in last if line.startswith("  DOWN ")]
    assert sorted(line.split()[1].strip(":") for line in downs) == sorted(names)
    assert all("down since 2" in line and "stopped at old" in line for line in downs), downs
    assert "or take it back:\n    pumphouse run notebooks/05-roll-back-move.ipynb -p " in text

    (record,) = [line.split("record: ")[1].strip() for line in last if "record: " in line]
    notebook = json.loads(Path(record).read_text(encoding="utf-8"))
    facts, top = dict(notebook["metadata"]["pumphouse"]["facts"]), "".join(notebook["cells"][0]["source"])
    for name in names:
        assert f"{name}: down since " in facts["Down now"]
    assert top.count("| down since ") == 2
    assert "not measured" not in top
    assert f"Plan {plan.hash[:12]} was approved without a ticket; the request was made for change CHG-8." in top
    assert "05-roll-back-move.ipynb" in facts["Ways on"]

    go_on = shlex.split(last[last.index("  go on where it stands:\n") + 1])
    assert go_on[:3] == ["pumphouse", "run", "notebooks/03-move-servers.ipynb"]
    (file,) = [word.partition("=")[2] for word in go_on if word.startswith("selection_file=")]
    done = desk.do("move", chosen=Selection.load(ROOT / file), approved=False)
    assert (done.error, done.result, done.plan.hash) == (None, "succeeded", plan.hash)
    assert desk.places(ids) == [MOVED, MOVED]
