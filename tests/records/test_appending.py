"""Many who append at once, on one machine or several: no line is lost, no chain forks."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from pumphouse.errors import RunbookError
from pumphouse.records.archive import FolderArchive, open_archive
from pumphouse.records.keys import new_key
from pumphouse.records.manifest import MANIFEST_NAME
from pumphouse.records.objectstore import BucketArchive
from pumphouse.records.seal import RunFiles, seal_run
from pumphouse.records.verify import verify_archive
from pumphouse.runner import run_notebook
from tests.records import bucket_server
from tests.records.sealing import TIMES, seal
from tests.runner.making import inventory, make_site, write_template

PROCESSES, RUNS_EACH = int(os.environ.get("PUMPHOUSE_APPENDERS", "3")), 6
APPENDER = """
import sys
from pathlib import Path
from pumphouse.records.archive import open_archive
from pumphouse.records.seal import RunFiles, seal_run
where, folder, name, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
archive = open_archive(where)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    files = RunFiles(folder, f"{name}-{number}")
    files.write("journal.jsonl", f"{name} {number}".encode())
    seal_run(archive, files, {"run_id": files.stem, "notebook": "n", "result": "succeeded",
        "started_at": "2031-04-05T06:07:08+00:00", "ended_at": "2031-04-05T06:07:09+00:00"}, None)
"""


def append_at_once(where: str, folders: list[Path], environment: dict[str, str]) -> None:
    """Start a process per folder, let them all go at the same moment, wait."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, where, str(folder), f"p{number}", str(RUNS_EACH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        for number, folder in enumerate(folders)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 0, said


def everybody() -> set[str]:
    return {f"p{process}-{number}" for process in range(PROCESSES) for number in range(RUNS_EACH)}


def test_processes_share_a_folder(tmp_path: Path) -> None:
    append_at_once(str(tmp_path), [tmp_path] * PROCESSES, {})
    archive = FolderArchive(tmp_path)
    assert {entry.run_id for entry in archive.entries()} == everybody()
    assert [entry.number for entry in archive.entries()] == list(range(1, PROCESSES * RUNS_EACH + 1))
    assert verify_archive(archive).problems == ()


def test_a_disk_that_is_full_in_the_middle_of_a_line(tmp_path: Path) -> None:
    for number in range(8):
        seal(tmp_path, f"run{number}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / MANIFEST_NAME).stat().st_size + 100, before[1]))
    try:
        with pytest.raises(RunbookError, match="cannot be written: File too large"):
            seal(tmp_path, "last")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert seal(tmp_path, "last").number == 9
    assert verify_archive(FolderArchive(tmp_path)).problems == ()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3 server on loopback; the variables that lead boto3 and papermill to it."""
    with bucket_server.running(tmp_path_factory.mktemp("s3")) as variables:
        yield variables


@pytest.fixture
def bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own."""
    from papermill.s3 import S3

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(S3, "s3_session", (None, None, None))  # papermill keeps one for ever
    name = f"b-{abs(hash(request.node.name)):x}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/customer-x"


def test_processes_on_several_machines_share_a_bucket(bucket: str, s3: dict[str, str], tmp_path: Path) -> None:
    append_at_once(bucket, [tmp_path / f"machine-{number}" for number in range(PROCESSES)], s3)
    archive = open_archive(bucket)
    assert {entry.run_id for entry in archive.entries()} == everybody()
    assert [entry.number for entry in archive.entries()] == list(range(1, PROCESSES * RUNS_EACH + 1))
    verdict = verify_archive(archive)
    assert (verdict.problems, verdict.files) == ((), PROCESSES * RUNS_EACH)


def seal_one(archive: Any, folder: Path, run_id: str) -> None:
    files = RunFiles(folder, run_id)
    files.write("journal.jsonl", run_id.encode())
    seal_run(archive, files, {"run_id": run_id, "notebook": "n", "result": "succeeded", **TIMES}, None)


class LosesTheAnswer:
    """A client whose first conditional put arrives, but whose answer does not: the client asks again."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.lost = 0

    def put_object(self, **options: Any) -> Any:
        answer = self._client.put_object(**options)
        if "IfNoneMatch" in options and not self.lost:
            self.lost += 1
            return self._client.put_object(**options)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_lost_answer_lists_no_run_twice(bucket: str, tmp_path: Path) -> None:
    client = LosesTheAnswer(boto3.client("s3"))
    seal_one(BucketArchive(bucket, client), tmp_path, "one")
    seal_one(BucketArchive(bucket, client), tmp_path, "two")
    assert client.lost == 1
    assert [entry.run_id for entry in open_archive(bucket).entries()] == ["one", "two"]
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_puts_among_a_buckets_lines(bucket: str, tmp_path: Path) -> None:
    archive = open_archive(bucket)
    seal_one(archive, tmp_path, "one")
    archive.store("MANIFEST/notes.txt", b"hello")
    seal_one(archive, tmp_path, "two")
    assert [entry.number for entry in archive.entries()] == [1, 2]
    assert {problem.kind for problem in verify_archive(archive).problems} == {"edited"}
    for name, content in (("0000000002", b"{"), ("0000000009", archive.lines()[0])):
        whole = archive.read("MANIFEST/0000000002.json")
        archive.store(f"MANIFEST/{name}.json", content)
        with pytest.raises(RunbookError, match=rf"MANIFEST/{name}.json is not what was written there"):
            seal_one(archive, tmp_path, "three")
        archive.store("MANIFEST/0000000002.json", whole)
    assert (tmp_path / "three.files").exists()  # it waits for the next start


def test_errors_of_a_bucket(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match=r"s3://none-such/x cannot be .*no such bucket"):
        seal_one(open_archive("s3://none-such/x"), tmp_path, "one")
    with pytest.raises(RunbookError, match="is no bucket"):
        BucketArchive("s3:///x")
    with pytest.raises(FileNotFoundError):
        open_archive(bucket).read("nothing.json")


def test_a_run_whose_records_lie_in_a_bucket(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path / "site")
    site.path.write_text(f"{site.path.read_text()}records: {bucket}\nsigning_key: ../key.pem\n")
    site = type(site)(**{**site.__dict__, "records_url": bucket, "records_dir": site.work_dir / "outgoing-records"})
    signer = new_key(tmp_path / "key.pem")
    monkeypatch.setenv("PUMPHOUSE_SIGNING_KEY", str(tmp_path / "key.pem"))
    outcome = run_notebook(write_template(tmp_path / "tiny.ipynb", *inventory("print('in a bucket')")), {}, site)
    assert (outcome.result, outcome.record) == ("succeeded", None)
    assert outcome.location.startswith(f"{bucket}/")
    archive = open_archive(bucket)
    (entry,) = archive.entries()
    assert b"in a bucket" in archive.read(str(entry.record))
    verdict = verify_archive(archive, [signer.key.public_key()])
    assert (verdict.problems, verdict.signed) == ((), 1)
    left = [file.name for file in site.records_dir.rglob("*") if file.is_file()]
    assert left == []


def test_an_unreachable_bucket_leaves_the_run_to_the_next_start(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path / "site")
    site = type(site)(**{**site.__dict__, "records_url": bucket, "records_dir": site.work_dir / "outgoing-records"})
    template = write_template(tmp_path / "tiny.ipynb")
    with monkeypatch.context() as patched:
        patched.setattr("pumphouse.session.closing.site_archive", lambda _site: open_archive("s3://none-such/x"))
        outcome = run_notebook(template, {}, site)
    assert outcome.result == "failed"
    assert "could not be closed" in outcome.detail
    assert outcome.record is not None
    again = run_notebook(template, {}, site)
    assert again.result == "succeeded"
    assert {entry.run_id for entry in open_archive(bucket).entries()} == {outcome.run_id, again.run_id}
    assert verify_archive(open_archive(bucket)).problems == ()
