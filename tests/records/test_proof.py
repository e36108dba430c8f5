"""Keys, heads, anchors, and verifying a copy on another machine through the command line."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from pumphouse.errors import RunbookError
from pumphouse.records.anchor import anchor_text, read_anchors
from pumphouse.records.archive import FolderArchive
from pumphouse.records.envelope import Envelope, Statement
from pumphouse.records.keys import load_public, load_signer, new_key, public_file
from pumphouse.runner import run_notebook
from pumphouse.runner.records_cli import records_group
from tests.records.sealing import seal
from tests.runner.making import make_site, write_template


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(records_group, [str(argument) for argument in arguments])


def test_a_key_is_the_operators_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = ask("key", "new", "keys/key.pem")
    assert made.exit_code == 0, made.output
    file = tmp_path / "keys" / "key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    signer = load_signer(file)
    assert signer.key_id in made.stdout
    shown = ask("key", "show", file).stdout
    assert shown == f"Key {signer.key_id}\n{public_file(file).read_text()}"
    assert "PRIVATE" not in made.stdout + shown
    again = ask("key", "new", "keys/key.pem")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_key_never_lies_in_an_archive(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    refused = ask("key", "new", site.records_dir / "key.pem", "--site", site.path)
    assert (refused.exit_code, "would lie in the archive" in refused.stderr) == (2, True)
    seal(tmp_path / "other", "one")
    with pytest.raises(RunbookError, match="would lie in the archive"):
        new_key(tmp_path / "other" / "deep" / "key.pem")
    key = tmp_path / "key.pem"
    new_key(key)
    shutil.copy(key, tmp_path / "other" / "key.pem")
    with pytest.raises(RunbookError, match="would lie in the archive"):
        load_signer(tmp_path / "other" / "key.pem")


def test_keys_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.pem"
    monkeypatch.setenv("PUMPHOUSE_SIGNING_PASSPHRASE", "open sesame")
    new_key(key)
    assert load_signer(key).key_id
    monkeypatch.delenv("PUMPHOUSE_SIGNING_PASSPHRASE")
    with pytest.raises(RunbookError, match="the passphrase does not fit"):
        load_signer(key)
    monkeypatch.setenv("PUMPHOUSE_SIGNING_PASSPHRASE", "open sesame")
    key.chmod(0o640)
    with pytest.raises(RunbookError, match="can be read by others"):
        load_signer(key)
    with pytest.raises(RunbookError, match="No such file"):
        load_signer(tmp_path / "none.pem")
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    monkeypatch.delenv("PUMPHOUSE_SIGNING_PASSPHRASE")
    (tmp_path / "ec.pem").write_bytes(pem)
    (tmp_path / "ec.pem").chmod(0o600)
    with pytest.raises(RunbookError, match="is not an Ed25519 key"):
        load_signer(tmp_path / "ec.pem")
    with pytest.raises(RunbookError, match="no public key in PEM form"):
        load_public(tmp_path / "ec.pem")


def test_a_key_that_is_named_but_cannot_be_used_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path / "site")
    monkeypatch.setenv("PUMPHOUSE_SIGNING_KEY", str(tmp_path / "none.pem"))
    with pytest.raises(RunbookError, match=r"none\.pem cannot be used"):
        run_notebook(write_template(tmp_path / "t.ipynb"), {}, site)
    assert not site.records_dir.exists()


def test_a_copy_is_verified_elsewhere_with_the_public_key_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path / "site")
    key = tmp_path / "key.pem"
    new_key(key)
    site.path.write_text(f"{site.path.read_text()}signing_key: ../key.pem\n")
    records = tmp_path / "site" / "records"
    for run in ("one", "two"):
        seal(records, run, signer=load_signer(key))
    own = ask("verify", "--site", site.path)
    assert (own.exit_code, "2 runs, 2 of them signed with a key you gave" in own.stdout) == (0, True)
    copy, public = tmp_path / "far" / "copy", tmp_path / "far" / "operator.pub"
    shutil.copytree(records, copy)
    shutil.copy(public_file(key), public)
    shutil.rmtree(tmp_path / "site")
    key.unlink()
    monkeypatch.chdir(tmp_path / "far")
    good = ask("verify", copy, "--key", public, "--json")
    assert good.exit_code == 0
    assert json.loads(good.stdout) | {"head": ""} == {
        "runs": 2,
        "files": 0,
        "head": "",
        "signed": 2,
        "unsigned": 0,
        "problems": [],
        "notices": [],
        "ok": True,
    }
    without = ask("verify", copy)
    assert without.exit_code == 1
    assert without.stdout.startswith("key unknown: one.dsse.json: signed with key")
    new_key(tmp_path / "far" / "other.pem")
    stranger = ask("verify", copy, "--key", tmp_path / "far" / "other.pem.pub")
    assert (stranger.exit_code, "key unknown" in stranger.stdout) == (1, True)
    (copy / "two.dsse.json").unlink()
    broken = ask("verify", copy, "--key", public)
    assert broken.exit_code == 1
    assert broken.stdout.rstrip().endswith("First of 1: missing: two.dsse.json: envelope of run two.")


def test_head_for_a_ticket(tmp_path: Path) -> None:
    seal(tmp_path / "records", "one")
    head = FolderArchive(tmp_path / "records").head()
    printed = ask("head", tmp_path / "records")
    assert printed.stdout == f"pumphouse records of records: run 1, head sha256:{head.digest}\n"
    assert json.loads(ask("head", tmp_path / "records", "--json").stdout) == {"number": 1, "sha256": head.digest}
    (tmp_path / "ticket.txt").write_text(f"CHG-1042\n> {printed.stdout}thanks\n")
    seal(tmp_path / "records", "two")
    kept = ask("verify", tmp_path / "records", "--anchors", tmp_path / "ticket.txt", "--head", f"sha256:{head.digest}")
    assert (kept.exit_code, "its end is the one that was anchored, or later" in kept.stdout) == (0, True)
    manifest = tmp_path / "records" / "MANIFEST.jsonl"
    manifest.write_bytes(manifest.read_bytes().splitlines()[1] + b"\n")
    assert ask("verify", tmp_path / "records", "--anchors", tmp_path / "ticket.txt").exit_code == 1
    for wrong in ("xyz", "0" * 63):
        assert ask("verify", tmp_path / "records", "--head", wrong).exit_code == 2
    (tmp_path / "empty.txt").write_text("nothing")
    assert "no head is written there" in ask("verify", tmp_path / "records", "--anchors", tmp_path / "empty.txt").stderr
    assert "no such folder" in ask("verify", tmp_path / "none").stderr


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "changes"
    folder.mkdir()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text("[user]\n name = Ada\n email = ada@example.org\n[gpg]\n format = ssh\n")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout + done.stderr


def test_anchored_in_a_signed_tag(repository: Path, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen (Debian: apt-get install openssh-client)")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], timeout=60, check=True)
    (tmp_path / "signers").write_text(f"ada@example.org {(tmp_path / 'id.pub').read_text()}")
    git(repository, "config", "user.signingkey", str(tmp_path / "id"))
    git(repository, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))
    seal(tmp_path / "records", "one")
    made = ask("anchor", tmp_path / "records", "--repo", repository)
    assert made.exit_code == 0, made.stderr
    assert made.stdout.startswith("pumphouse-records/records/000001: run 1, head sha256:")
    assert 'Good "git" signature for ada@example.org' in git(
        repository, "verify-tag", "pumphouse-records/records/000001"
    )
    head = FolderArchive(tmp_path / "records").head()
    (anchor,) = read_anchors(repository)
    assert (anchor.digest, anchor.number, anchor.source) == (head.digest, 1, "tag pumphouse-records/records/000001")
    assert ask("verify", tmp_path / "records", "--anchors", repository).exit_code == 0
    shutil.rmtree(tmp_path / "records")
    seal(tmp_path / "records", "another")
    false = ask("verify", tmp_path / "records", "--anchors", repository)
    assert (false.exit_code, "was written anew" in false.stdout) == (1, True)


def test_anchors_that_cannot_be_made(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "records").mkdir()
    assert "lists no run yet" in ask("anchor", tmp_path / "records", "--repo", repository).stderr
    seal(tmp_path / "records", "one")
    monkeypatch.setenv("SSH_AUTH_SOCK", os.devnull)
    unsigned = ask("anchor", tmp_path / "records", "--repo", repository)
    assert (unsigned.exit_code, "--no-sign" in unsigned.stderr) == (2, True)
    assert ask("anchor", tmp_path / "records", "--repo", repository, "--no-sign").exit_code == 0
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert "not a git repository" in ask("anchor", tmp_path / "records", "--repo", tmp_path / "records").stderr


def test_the_envelope_is_dsse_and_the_statement_in_toto(tmp_path: Path) -> None:
    """Read with nothing of ours, as another tool does: pre-authentication encoding, key, signature."""
    signer = new_key(tmp_path / "key.pem")
    (tmp_path / "records" / "one.files").mkdir(parents=True)
    (tmp_path / "records" / "one.files" / "journal.jsonl").write_text("{}\n")
    entry = seal(tmp_path / "records", "one", signer=signer)
    envelope = Envelope.from_bytes((tmp_path / "records" / entry.envelope).read_bytes())
    ((key_id, signature),) = envelope.signatures
    kind = b"application/vnd.in-toto+json"
    encoded = b" ".join(
        [b"DSSEv1", str(len(kind)).encode(), kind, str(len(envelope.payload)).encode(), envelope.payload]
    )
    load_public(tmp_path / "key.pem.pub").verify(signature, encoded)
    assert key_id == signer.key_id
    document = json.loads(envelope.payload)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert [row["name"] for row in document["subject"]] == ["one.files/journal.jsonl"]
    assert document["predicate"]["entry"]["run_id"] == "one"
    assert Statement.from_bytes(envelope.payload).entry == entry.stated()


def test_anchor_text_is_found_again(tmp_path: Path) -> None:
    seal(tmp_path, "one")
    head = FolderArchive(tmp_path).head()
    (tmp_path / "mail.txt").write_text(f">> {anchor_text('customer x', head)}")
    assert [(a.number, a.digest) for a in read_anchors(tmp_path / "mail.txt")] == [(1, head.digest)]
