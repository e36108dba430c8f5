"""Canary secrets planted in every input are nowhere in the archive; what the redactor misses withholds a record."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pumphouse.journal import Journal
from pumphouse.records import Redactor, verify_manifest
from pumphouse.records.archive import FolderArchive
from pumphouse.records.keys import Signer, new_key
from pumphouse.records.pages import render_archive
from pumphouse.records.scan import Scanner
from pumphouse.records.secrets import collect_names, weak_secrets
from pumphouse.records.store import site_redactor
from pumphouse.runner import RunOutcome, run_notebook
from pumphouse.runner.parameters import CommandLineText
from pumphouse.site import Site, load_site
from tests.core.making import make_plan, make_step, plan_server
from tests.runner.making import inventory, make_site, output_text, read_record, write_template

CANARIES = {
    "clouds.yaml": "canary-Clouds/Yaml+1=",
    "secure.yaml": "canary-secure-yaml-22",
    "environment": "canary environment & 33",
    "database": "canary-database-44",
    "one-time": "canary-One_time-55",
    "metadata": "canary-metadata-66",
    "aws": "canary/Aws+secret88",
    "passphrase": "canary-passphrase-99",
}
TOKEN = "gAAAAABTe5ZbYkZ0" + "aB3_-9xY" * 12
HEX_TOKEN = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
HASH = "$6$rounds=40000$S4ltS4lt$" + "aZ09./" * 14 + "xx"
SHAPED = (TOKEN, HEX_TOKEN, HASH)
"""Secrets that nobody registered."""


@dataclass
class Told:
    """A run that leaked all it could, and what is left of it."""

    outcome: RunOutcome
    site: Site
    folder: Path

    def files(self) -> dict[str, str]:
        """Every file of the archive and of its pages, as text."""
        found = {}
        for root in (self.site.records_dir, self.folder / "www"):
            for file in root.rglob("*"):
                if file.is_file():
                    data = file.read_bytes()
                    data = gzip.decompress(data) if file.suffix == ".gz" else data
                    text = data.decode("utf-8", "replace")
                    if file.name.endswith(".dsse.json"):
                        text += base64.b64decode(json.loads(text)["payload"]).decode()
                    found[file.name] = text
        return found


LEAKS = """
import base64, html, json, os, sys
from urllib.parse import quote
from IPython.display import HTML, display
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.site import load_site
import yaml
described = load_site(site)
handover = yaml.safe_load(described.secrets_file.read_text())
secrets = [*json.loads(open(described.work_dir / "told.json").read()), handover["anna"]["password"]]
for secret in secrets:
    print(secret, repr(secret), json.dumps(secret), html.escape(secret), quote(secret, safe=""))
    print(base64.b64encode(b"admin:" + secret.encode()).decode(), file=sys.stderr)
    print(secret[:6], end="", flush=True); print(secret[6:], flush=True)
    print("\\x1b[31m" + secret[:4] + "\\x1b[0m" + secret[4:])
    display(HTML(f"<td title='{html.escape(secret)}'>{html.escape(secret)}</td>"))
print({"X-Auth-Token": "HEX_TOKEN_HERE"}, "X-Subject-Token: TOKEN_HERE", "password_hash", "HASH_HERE")
print("x" * 40000, secrets)
journal = Journal.open(described.journal_url)
run_id = os.environ["PUMPHOUSE_RUN_ID"]
plan = Plan.from_document(json.loads((described.work_dir / "plan.json").read_text()))
journal.save_plan(plan.hash, kind="move", selection_digest=plan.selection_digest, document=plan.document)
step = plan.steps[0]
for event in ("intent", "failed"):
    journal.write(run_id, plan.hash, step.key, event, {"error": f"refused {secrets} X-Auth-Token: HEX_TOKEN_HERE"})
raise ValueError(f"could not log in with {secrets} to http://admin:{quote(secrets[0], safe='')}@old:5000")
"""


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return new_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("leaky")
    make_site(folder / "site", password=json.dumps(CANARIES["clouds.yaml"]))
    clouds = folder / "site" / "clouds.yaml"
    secure = folder / "site" / "secure.yaml"
    secure.write_text(secure.read_text().replace("from-secure-yaml-77", CANARIES["secure.yaml"]))
    text = (folder / "site" / "site.yaml").read_text()
    databases = "databases: {keystone: {url: 'postgresql://k@db/keystone', password_env: CANARY_DATABASE}}"
    (folder / "site" / "site.yaml").write_text(text.replace("{cloud: old}", f"{{cloud: old, {databases}}}"))
    site = load_site(folder / "site" / "site.yaml")
    assert CANARIES["clouds.yaml"] in clouds.read_text()
    metadata = {"metadata": {"password": CANARIES["metadata"], "role": "web"}}
    plan = make_plan(make_step("boot:1", params=metadata), servers=(plan_server("web1"),))
    site.work_dir.mkdir()
    (site.work_dir / "plan.json").write_text(json.dumps(plan.document))
    known = [value for name, value in CANARIES.items() if name not in ("one-time", "metadata")]
    (site.work_dir / "told.json").write_text(json.dumps(known))
    site.secrets_file.write_text(f"anna: {{password: {CANARIES['one-time']}}}\n")
    for name in ("approvals", "ledgers", "selections"):
        stem = plan.selection_digest[:16] if name == "selections" else plan.hash
        (site.work_dir / name).mkdir()
        (site.work_dir / name / f"{stem}.json").write_text(json.dumps({"reason": known, "adminPass": "canary-x"}))
    leaks = LEAKS.replace("HEX_TOKEN_HERE", HEX_TOKEN).replace("TOKEN_HERE", TOKEN).replace("HASH_HERE", HASH)
    (folder / "leaks.py").write_text(leaks)
    run_it = "import pathlib\nexec(compile(pathlib.Path('leaks.py').read_text(), 'leaks.py', 'exec'))"
    template = write_template(folder / "t.ipynb", *inventory(run_it))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_PASSWORD", CANARIES["environment"])
        patch.setenv("CANARY_DATABASE", CANARIES["database"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", CANARIES["aws"])
        patch.setenv("PUMPHOUSE_SIGNING_PASSPHRASE", CANARIES["passphrase"])
        patch.setenv("PUMPHOUSE_SIGNING_KEY", str(folder / "key.pem"))
        new_key(folder / "key.pem")
        outcome = run_notebook(template, {}, site)
    render_archive(FolderArchive(site.records_dir), folder / "www")
    return Told(outcome, site, folder)


def test_the_run_is_sealed_as_what_it_was(leaky: Told) -> None:
    assert leaky.outcome.result == "failed"
    assert verify_manifest(leaky.site.records_dir) == []
    (entry,) = FolderArchive(leaky.site.records_dir).entries()
    assert entry.record is not None
    names = {name.split("-")[0].split(".")[0] for name in leaky.files()}
    assert names >= {"journal", "summary", "plan", "approval", "ledger", "selection", "output", "index", "servers"}
    assert "could not log in with" in leaky.files()[entry.record]


@pytest.mark.parametrize("secret", [*CANARIES.values(), *SHAPED])
def test_no_secret_is_anywhere(leaky: Told, secret: str) -> None:
    raw = secret.encode()
    core = base64.b64encode(b"admin:" + raw).decode().rstrip("=")[8:-2]
    for name, text in leaky.files().items():
        plain = text.replace("\\u001b[31m", "").replace("\\u001b[0m", "")
        for form in (secret, json.dumps(secret)[1:-1], core, raw.hex()):
            assert form not in plain, name


def test_what_the_redactor_cannot_reach_withholds_the_record(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    picture = (
        "from IPython.display import Image, display\ndisplay(Image(data=b'\\x89PNG' + b'correct-horse-' + b'battery'))"
    )
    outcome = run_notebook(write_template(tmp_path / "t.ipynb", *inventory(picture)), {}, site)
    assert (outcome.result, outcome.exit_code, outcome.record) == ("failed", 1, None)
    assert "The run itself: succeeded. Its record is withheld" in outcome.detail
    assert "a secret of this site" in outcome.detail
    (entry,) = FolderArchive(site.records_dir).entries()
    assert (entry.result, entry.record, entry.run_id) == ("failed", None, outcome.run_id)
    assert verify_manifest(site.records_dir) == []
    left = [file.name for file in site.records_dir.rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert set(left) == {"MANIFEST.jsonl", entry.envelope}
    (kept,) = (site.work_dir / "quarantine").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert any(file.suffix == ".ipynb" for file in kept.iterdir())
    journal = Journal.open(site.journal_url)
    assert journal.get_run(outcome.run_id).result == "failed"
    journal.close()


def test_a_withheld_records_line_does_not_tell_what_was_withheld(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    inside = "raise ValueError('made of ' + b'correct-horse-'.hex() + b'battery'.hex())"
    outcome = run_notebook(write_template(tmp_path / "t.ipynb", *inventory(inside)), {}, site)
    told = Told(outcome, site, tmp_path).files()
    assert outcome.record is None
    assert [name for name, text in told.items() if b"correct-horse-battery".hex() in text] == []
    (entry,) = FolderArchive(site.records_dir).entries()
    assert entry.detail == outcome.detail
    assert "Its record is withheld" in entry.detail
    assert entry.detail.endswith("[withheld: it holds a secret]")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"x hunter2-hunter2 y"),
        ("a.txt", b"x " + b"hunter2-hunter2".hex().encode()),
        ("a.txt", b"x " + base64.b64encode(b"??>hunter2-hunter2")),
        ("a.txt", b"hunter2-\x1b[0mhunter2"),
        ("hunter2-hunter2.txt", b"x"),
        ("a.json", b'{"hunter2-hunter2": 1}'),
        ("a.json", b'{"a": "hunter2\\u002dhunter2"}'),
        ("a.json", b'{"a": {"image/png": "%s"}}' % base64.b64encode(b"\x00\x01hunter2-hunter2")),
        ("a.ipynb", b'{"source": ["hunter2-", "hunter2"]}'),
        ("a.jsonl", b'{"a": 1}\n{"a": "hunter2\\u002dhunter2"}\n'),
        ("a.json.gz", gzip.compress(b'["hunter2-hunter2"]', mtime=0)),
        ("a.json", b'{"password": "x", "b": "X-Auth-Token: 0f1e2d3c4b5a69788796a5b4c3d2e1f0"}'),
        ("a.txt", b"the word tiny1 alone"),
    ],
)
def test_the_scan_sees(name: str, content: bytes) -> None:
    (found,) = Scanner(Redactor(lambda: {"hunter2-hunter2", "tiny1"})).scan([(name, content)])
    assert "secret" in found
    assert "hunter2" not in found.removeprefix(name)


def test_the_scan_lets_innocent_files_pass() -> None:
    scanner = Scanner(Redactor(lambda: {"hunter2-hunter2", "tiny1"}))
    assert scanner.scan([("a.json", b'{"a": "tiny12", "image/png": "AAAA"}'), ("b.txt", b"nothing")]) == []


def test_a_password_that_is_a_name_leaves_names_readable(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", password="admin")
    assert "admin" in collect_names(site)
    redactor = site_redactor(site)
    assert redactor.text("run by admin in project admin") == "run by admin in project admin"
    for leak in ("password: admin", '{"password": "admin"}', "http://admin:admin@old:5000/"):
        assert redactor.text(leak).count("admin") == leak.count("admin") - 1
    (said,) = weak_secrets(site)
    assert "entry old" in said
    outcome = run_notebook(write_template(tmp_path / "t.ipynb", *inventory("print('by admin')")), {}, site)
    assert outcome.result == "succeeded"
    record = read_record(outcome.record)
    assert "by admin" in output_text(record)
    assert "a password of entry old equals a name of this site" in record["cells"][0]["source"]


def test_a_secret_as_a_parameter_is_refused(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "t.ipynb", parameters='site: str = ""  # x\nnote: str = ""  # y')
    with pytest.raises(Exception, match="contains a secret"):
        run_notebook(template, {"note": CommandLineText("a correct-horse-battery b")}, site)
    assert not (site.records_dir / "MANIFEST.jsonl").exists()


def test_nobody_can_leave_the_key_in_the_archive(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    key = tmp_path / "key.pem"
    new_key(key)
    site.records_dir.mkdir()
    shutil.copy(key, site.records_dir / "key.pem")
    scanner = Scanner(site_redactor(site))
    assert scanner.scan([("key.pem", key.read_bytes())]) == ["key.pem: what has the shape of a secret"]
