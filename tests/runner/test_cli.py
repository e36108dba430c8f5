"""The commands: calm, machine-readable on demand, with exit codes that tell the truth."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import click
import nbformat
import pytest
import yaml
from click.testing import CliRunner

from pumphouse.errors import RunbookError
from pumphouse.journal import Journal
from pumphouse.runner import CommandLineText, load_template
from pumphouse.runner.cli import lint_command, run_command
from pumphouse.runner.farewell import print_servers, print_ways
from pumphouse.runner.outcome import Afterwards
from pumphouse.runner.records_cli import records_group
from pumphouse.session.ways import Way
from tests.records.sealing import seal
from tests.runner.making import code, inventory, make_site, prose, write_template


@pytest.mark.parametrize(
    "command", [run_command, lint_command, records_group, *records_group.commands.values()], ids=lambda c: str(c.name)
)
def test_every_command_explains_itself_with_an_example(command: click.Command) -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert re.search(r"Example:\n +pumphouse \w", result.output)


def test_run_prints_sections_what_actions_say_and_the_result(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    gate = code("print('asked Bo for approval')", "ph-gate")
    action = code("print('moved web1 with correct-horse-battery')\nprint('half', end='')", "ph-action")
    template = write_template(
        tmp_path / "t.ipynb",
        *inventory("print('noise')"),
        prose("## Approve"),
        gate,
        prose("## Move"),
        action,
        code("1", "ph-verify"),
    )
    result = CliRunner().invoke(run_command, [str(template), "--site", str(site.path), "-p", "count=3"])
    assert result.exit_code == 0
    said = re.sub(r"\d+\.\d s|SHA256}\w+", "N", result.stderr).splitlines()
    assert said == [
        "  ✔ A tiny notebook (N)",
        "  ✔ Bind (N)",
        "  ✔ Look (N)",
        "      asked Bo for approval",
        "  ✔ Approve (N)",
        "      moved web1 with ***{N",
        "  ✔ Move (N)",
        "  ✔ Report (N)",
    ]
    assert result.stdout.startswith("t.ipynb: succeeded. ")
    assert f"record: {site.records_dir}" in result.stdout
    assert "noise" not in result.output


def test_a_wait_for_a_rate_limit_is_told_whatever_the_cell(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    said = "Cloud 'old' limits our rate: waiting 6 s before we list services (Only 10)."
    template = write_template(tmp_path / "t.ipynb", *inventory(f"print('noise')\nprint({said!r})\nprint('more noise')"))
    result = CliRunner().invoke(run_command, [str(template), "--site", str(site.path), "-p", "count=3"])
    assert result.exit_code == 0
    assert f"      {said}" in result.stderr.splitlines()
    assert "noise" not in result.output


def test_run_as_json_of_a_failing_notebook(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "t.ipynb", *inventory("1 / 0"))
    result = CliRunner().invoke(run_command, [str(template), "--site", str(site.path), "--json", "--operator", "Ada"])
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["result"], facts["exit_code"]) == ("failed", 1)
    assert "ZeroDivisionError" in facts["detail"]
    assert result.stderr == ""
    listed = CliRunner().invoke(records_group, ["list", "--site", str(site.path)])
    assert "failed" in listed.stdout
    assert facts["record"] in listed.stdout
    (entry,) = json.loads(CliRunner().invoke(records_group, ["list", "--site", str(site.path), "--json"]).stdout)
    assert (entry["operator"], entry["record"]) == ("Ada", facts["record"])
    verified = CliRunner().invoke(records_group, ["verify", "--site", str(site.path)])
    assert verified.exit_code == 0
    assert "1 runs, none of them signed; 3 files unchanged; the chain has no gap" in verified.stdout
    assert verified.stdout.startswith("note: 1 of 1 runs are unsigned")
    made = CliRunner().invoke(records_group, ["html", "--site", str(site.path), "--out", str(tmp_path / "www")])
    assert made.exit_code == 0
    assert (tmp_path / "www" / facts["record"].replace(".ipynb", ".html")).exists()
    assert "t.ipynb" in (tmp_path / "www" / "index.html").read_text()


CHECK = """
import os
from pumphouse.findings import Finding, require_none_blocking
from pumphouse.journal import Journal
from pumphouse.session.notes import note_findings
from pumphouse.site import load_site
found = [
    Finding("info", "resumed", "plan 1", "was begun."),
    Finding("warn", "service-down", "nova-compute on node-1", "is down.", "start it."),
    *(Finding("block", "server-state", f"server s{n}", 30 * "is in ERROR, " + f"END {n}.", "mend it.")
      for n in range(9)),
]
journal = Journal.open(load_site(site).journal_url)
note_findings(journal, os.environ["PUMPHOUSE_RUN_ID"], None, found, [])
require_none_blocking(found)
"""


def test_a_refused_runbook_lists_every_finding_whole(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    write_template(tmp_path / "t.ipynb", prose("## Check"), code(CHECK, "ph-check"))
    runbook = tmp_path / "r.yaml"
    runbook.write_text("schema: 1\nname: r\nsteps: [{notebook: t.ipynb}, {notebook: t.ipynb}]\n")
    result = CliRunner().invoke(run_command, [str(runbook), "--site", str(site.path), "-q"])
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0].startswith("r.yaml: refused. t.ipynb: Cell 6 (Check): a check blocks: 9 findings block this run; ")
    assert lines[0].endswith("nothing was changed: 9 server-state. 1 of 2 notebooks were not run.")
    heads = [line for line in lines if re.match(r"\S+ (blocks|warns|informs)", line)]
    assert heads == [
        *(f"✖ blocks   server s{n}  [server-state]" for n in range(9)),
        "▲ warns    nova-compute on node-1  [service-down]",
    ]
    said = " ".join(" ".join(lines[1:]).split())
    for n in range(9):
        assert f"server s{n} [server-state] {30 * 'is in ERROR, '}END {n}. Remedy: mend it." in said
    assert max(map(len, lines[1:-1])) <= 120
    assert lines[-1].startswith("  record: ")
    as_json = CliRunner().invoke(run_command, [str(tmp_path / "t.ipynb"), "--site", str(site.path), "--json"])
    assert len(json.loads(as_json.stdout)["findings"]) == 10


ENOUGH = {"needs": [["node"], ["names", "query"]], "of": {"node": "nodes", "file": "files"}}
TAKES = """
site: str = ""  # path of site.yaml
node: str = ""  # the node's name
names: list = []  # names
query: str = ""  # a query
file: str = ""  # a file
""".strip()


def needy(folder: Path) -> Path:
    """A template that says what it needs, and a runbook of it."""
    template = write_template(folder / "t.ipynb", *inventory("print('FILE', file)"), parameters=TAKES)
    book = nbformat.read(template, as_version=4)
    next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])).metadata["pumphouse"] = ENOUGH
    nbformat.write(book, template)
    parameters = {
        "node": {"type": "str", "help": "the node's name", "of": "nodes"},
        "names": {"type": "list", "help": "names", "default": []},
    }
    step = {"notebook": "t.ipynb", "parameters": {"node": "{{ node }}", "names": "{{ names }}"}}
    raw = {"schema": 1, "name": "r", "parameters": parameters, "steps": [step]}
    (folder / "r.yaml").write_text(yaml.safe_dump(raw))
    return template


@pytest.mark.parametrize(
    ("what", "given", "said"),
    [
        ("Notebook t.ipynb", [], "no value for node, nor for any of names, query"),
        ("Runbook r.yaml", [], "no value for node"),
        ("Notebook t.ipynb", ["node=n1"], "no value for any of names, query"),
        ("Runbook r.yaml", ["node=n1"], "step 1: Notebook t.ipynb: no value for any of names, query"),
        ("Notebook t.ipynb", ["node=n", "names=a"], "'node' names 'n', and site.yaml describes no node of that name"),
        ("Runbook r.yaml", ["node=n", "names=a"], "'node' names 'n', and site.yaml describes no node of that name"),
    ],
)
def test_what_is_missing_or_mistyped_is_told_of_notebook_and_runbook_alike(
    tmp_path: Path, what: str, given: list[str], said: str
) -> None:
    site = make_site(tmp_path / "site")
    with site.path.open("a") as file:
        file.write("nodes: {n1: {macs: ['52:54:00:00:00:01']}}\n")
    needy(tmp_path)
    words = [word for one in given for word in ("-p", one)]
    result = CliRunner().invoke(run_command, [str(tmp_path / what.split()[1]), "--site", str(site.path), *words])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {what}: {said}"), result.stderr
    assert "give -p NAME=VALUE" in result.stderr or "use some of: n1" in result.stderr
    with closing(Journal.open(site.journal_url)) as journal:
        assert journal.list_runs() == []
    assert not list(site.records_dir.glob("*.ipynb"))


def test_a_file_is_meant_from_where_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needy(tmp_path / "notebooks")
    (tmp_path / "here.json").touch()
    monkeypatch.chdir(tmp_path)
    template = load_template("notebooks/t.ipynb")
    given = {"file": CommandLineText("here.json"), "query": CommandLineText("here.json")}
    assert template.check(given) == {"file": str(tmp_path / "here.json"), "query": "here.json"}
    assert template.check({"file": "here.json"}) == {"file": "here.json"}
    assert template.check({"file": CommandLineText("beside-the-notebook.json")}) == {"file": "beside-the-notebook.json"}


def test_what_a_template_says_of_its_parameters_is_checked(tmp_path: Path) -> None:
    template = needy(tmp_path)
    template.write_text(template.read_text().replace('"files"', '"folders"'))
    with pytest.raises(RunbookError, match="metadata of its parameters cell"):
        load_template(template)


HELD = """
import os
from pumphouse.errors import PlanHeld
from pumphouse.journal import Journal
from pumphouse.site import load_site
journal, me = Journal.open(load_site(site).journal_url), os.environ["PUMPHOUSE_RUN_ID"]
chosen = {"title": "Over", "things": "hosts", "names": ["h1"], "file": "ab.json", "parameter": "hosts"}
journal.write(me, "", "@order", "chosen", chosen)
raise PlanHeld("Plan 1 is being carried out by run 2.", remedy="wait.")
"""


def test_quiet_is_quiet_and_a_plan_that_another_run_has_is_a_refusal(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    write_template(tmp_path / "t.ipynb", prose("## Act"), code(HELD, "ph-action"), code("1", "ph-verify"))
    (tmp_path / "r.yaml").write_text("schema: 1\nname: r\nsteps: [{notebook: t.ipynb}]\n")
    result = CliRunner().invoke(run_command, [str(tmp_path / "r.yaml"), "--site", str(site.path), "-q"])
    assert result.exit_code == 3
    assert result.stderr == ""
    assert "another run is carrying out this plan: Plan 1 is being carried out by run 2." in result.stdout
    assert f"  kept: Over: -p hosts=@{site.work_dir}/selections/ab.json\n" in result.stdout


def test_a_success_ends_with_the_servers_their_downtime_and_the_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = (*range(3), *range(40, 70))
    rows = tuple({"name": f"web-{n}", "result": "moved", "downtime_s": n + 0.25 if n else None} for n in numbers)
    found = Afterwards(servers=rows, ways=(Way("after the hold, delete the sources", "pumphouse run 04 -p x=y"),))
    print_servers(found)
    print_ways(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  servers: 33 moved"
    assert lines[1] == "    web-0   moved, downtime not measured"
    assert lines[2] == "    web-1   moved, down for 1.2 s"
    assert lines[-4] == "    and 3 more in the record"
    assert lines[-3] == "  downtime: 69.2 s at worst (web-69), 1646.0 s in all, 32 of 33 measured"
    assert lines[-2:] == ["  after the hold, delete the sources:", "    pumphouse run 04 -p x=y"]
    print_servers(Afterwards(servers=({"name": "web-1", "result": "untouched", "downtime_s": None},)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t.ipynb", "-p", "count"], "-p 'count' has no value"),
        (["t.ipynb", "-p", "count=1", "-p", "count=2"], "'count' is given twice"),
        (["t.ipynb", "-p", "cuont=1"], "unknown parameter 'cuont'"),
        (["none.ipynb"], "none.ipynb cannot be read"),
        (["none.yaml"], "none.yaml cannot be read"),
        (["README.md"], "neither a notebook nor a runbook"),
        (["t.ipynb", "--site", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_wrong_use_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    make_site(tmp_path)
    write_template(tmp_path / "t.ipynb")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(run_command, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert "Remedy: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_list_of_no_runs(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    assert CliRunner().invoke(records_group, ["list", "--site", str(site.path)]).stdout == "No run has ended yet.\n"
    seal(site.records_dir, "r", "refused")
    (site.records_dir / "stray.ipynb").write_text("{}")
    verified = CliRunner().invoke(records_group, ["verify", "--site", str(site.path), "--json"])
    assert verified.exit_code == 1
    (problem,) = json.loads(verified.stdout)["problems"]
    assert (problem["kind"], problem["where"]) == ("inserted", "stray.ipynb")
    listed = CliRunner().invoke(records_group, ["list", "--site", str(site.path)]).stdout
    assert listed == "2031-04-05T06:07:08+00:00  refused        10-look.ipynb\n"


def test_lint(tmp_path: Path) -> None:
    good = write_template(tmp_path / "good.ipynb")
    result = CliRunner().invoke(lint_command, [str(good)])
    assert (result.exit_code, result.stdout) == (0, "All notebooks follow the conventions.\n")
    write_template(tmp_path / "bad.ipynb", *inventory("!ls"))
    result = CliRunner().invoke(lint_command, [str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert [problem["rule"] for problem in json.loads(result.stdout)] == ["magic"]
    assert CliRunner().invoke(lint_command, [str(tmp_path / "none.ipynb")]).exit_code == 2
