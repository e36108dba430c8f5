"""Whatever is done to an archive afterwards is caught, and named by its kind."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.records.archive import LINES_FOLDER, FolderArchive
from pumphouse.records.envelope import Envelope, Statement, sha256
from pumphouse.records.keys import Signer, new_key
from pumphouse.records.manifest import FIRST, MANIFEST_NAME, Entry
from pumphouse.records.pages import render_archive
from pumphouse.records.verify import KINDS, Anchor, Verdict, verify_archive
from tests.records.sealing import seal

SIDE_FILES = {
    "journal.jsonl": b'{"run": 1}\n{"event": "verified"}\n',
    "summary.json": b'{"story": {}}\n',
    "plan-0123456789abcdef.json": b'{"hash": "0123"}\n',
    "approval-0123456789abcdef.json": b'{"approved_by": "rita"}\n',
    "selection-0123456789abcdef.json": b'{"ids": ["a"]}\n',
    "ledger-0123456789abcdef.json": b'{"rows": []}\n',
    "inventory-source.json.gz": gzip.compress(b'{"servers": []}', mtime=0),
    "inventory-destination.json": b'{"servers": []}\n',
    "output-cell-1-0.txt": b"a long output\n",
}
RUNS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return new_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="module")
def sealed(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four signed runs: two with records and side files, a runbook without, a refused one."""
    folder = tmp_path_factory.mktemp("sealed")
    for run, result in zip(RUNS, ("succeeded", "failed", "refused", "aborted"), strict=True):
        if run != "three":
            (folder / f"{run}.ipynb").write_text(json.dumps({"cells": [], "run": run}))
            (folder / f"{run}.files").mkdir()
            for name, data in SIDE_FILES.items():
                (folder / f"{run}.files" / name).write_bytes(data)
        seal(folder, run, result, signer=signer)
    return folder


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    """What an auditor gets: the folder, on another machine."""
    return shutil.copytree(sealed, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))


def verify(folder: Path, signer: Signer | None, *anchors: Anchor) -> Verdict:
    return verify_archive(FolderArchive(folder), [signer.key.public_key()] if signer else [], anchors)


def first(verdict: Verdict) -> tuple[str, str]:
    assert verdict.problems, "nothing was found"
    return verdict.problems[0].kind, verdict.problems[0].where


def lines(folder: Path) -> list[bytes]:
    return (folder / MANIFEST_NAME).read_bytes().splitlines()


def rewrite(folder: Path, changed: list[bytes]) -> None:
    (folder / MANIFEST_NAME).write_bytes(b"".join(line + b"\n" for line in changed))


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 0x01
    file.write_bytes(data)


def test_untouched_copy_is_whole(copy: Path, signer: Signer) -> None:
    verdict = verify(copy, signer)
    assert (verdict.problems, verdict.runs, verdict.signed, verdict.files) == ((), 4, 4, 3 * (1 + len(SIDE_FILES)))
    assert verdict.notices == ()
    assert verdict.head == sha256(lines(copy)[-1])


@pytest.mark.parametrize("at", [0, 7, -1], ids=["first byte", "a byte inside", "last byte"])
@pytest.mark.parametrize("name", ["two.ipynb", *(f"two.files/{name}" for name in SIDE_FILES), "two.dsse.json"])
def test_a_flipped_byte_of_a_file(copy: Path, signer: Signer, name: str, at: int) -> None:
    flip(copy / name, at)
    assert first(verify(copy, signer)) == ("edited", name)
    assert first(verify(copy, None))[0] in ("key unknown", "edited")


@pytest.mark.parametrize("number", range(4))
def test_any_flipped_byte_of_any_line(copy: Path, signer: Signer, number: int) -> None:
    good = lines(copy)
    for at in range(0, len(good[number]), 23):
        bad = bytearray(good[number])
        bad[at] ^= 0x01
        rewrite(copy, [*good[:number], bytes(bad), *good[number + 1 :]])
        kind, where = first(verify(copy, signer))
        # a changed number, or a changed name of a file, looks like something else than an edit
        assert kind in ("edited", "missing", "inserted"), (at, kind)
        assert f"line {number + 1}" in where or kind != "edited" or where.startswith(RUNS[number]), (at, kind, where)


def test_any_changed_end_of_a_line(copy: Path, signer: Signer) -> None:
    manifest = copy / MANIFEST_NAME
    good = manifest.read_bytes()
    for at in (at for at, byte in enumerate(good) if byte == ord("\n")):
        for end in (b"\r", b"\x0b", b" ", b""):
            manifest.write_bytes(good[:at] + end + good[at + 1 :])
            # the last line feed ends nothing that another line could run into
            assert (end == b"" and at == len(good) - 1) or first(verify(copy, signer))[0] == "edited", (at, end)


@pytest.mark.parametrize("name", [MANIFEST_NAME, "two.dsse.json", "two.ipynb", "two.files/summary.json"])
def test_what_no_parser_can_read_is_an_edit(copy: Path, signer: Signer, name: str) -> None:
    (copy / name).write_bytes(b"[" * 200_000)
    kinds = {problem.kind for problem in verify(copy, signer).problems}
    assert "edited" in kinds
    assert FolderArchive(copy).head().number == (0 if name == MANIFEST_NAME else 4)
    assert "edited: " in render_archive(FolderArchive(copy)).read_text()


@pytest.mark.parametrize("field", ["record", "sha256", "parent_id", "operator", "started_at", "torn", "projects"])
@pytest.mark.parametrize("value", [[{}], None])
def test_a_line_with_a_field_of_another_type(copy: Path, signer: Signer, field: str, value: Any) -> None:
    good = lines(copy)
    changed = json.dumps(json.loads(good[1]) | {field: value}, ensure_ascii=False, sort_keys=True).encode()
    rewrite(copy, [good[0], changed, *good[2:]])
    assert changed == good[1] or first(verify(copy, signer))[0] == "edited"
    assert "<table" in render_archive(FolderArchive(copy)).read_text()


def test_edited_result_in_a_line(copy: Path, signer: Signer) -> None:
    good = lines(copy)
    rewrite(copy, [good[0], good[1].replace(b'"failed"', b'"succeeded"'), *good[2:]])
    assert first(verify(copy, signer)) == ("edited", "MANIFEST.jsonl line 2 (run two)")
    assert verify(copy, None).problems[0].kind != "key unknown" or len(verify(copy, None).problems) > 1


def entry_of(folder: Path, number: int) -> Entry:
    return Entry.from_line(lines(folder)[number - 1])


def forge(folder: Path, number: int, signer: Signer | None, **changed: object) -> None:
    """Rewrite a run and everything after it, consistently: what somebody can do who has all but the key."""
    done = lines(folder)[: number - 1]
    previous = sha256(done[-1]) if done else FIRST
    for line in lines(folder)[number - 1 :]:
        entry = replace(Entry.from_line(line), previous=previous, **(changed if len(done) == number - 1 else {}))  # type: ignore[arg-type]
        old = Envelope.from_bytes((folder / entry.envelope).read_bytes())
        files = Statement.from_bytes(old.payload).files
        text = Envelope.of(Statement(files, entry.stated()), signer).to_bytes()
        (folder / entry.envelope).write_bytes(text)
        done.append(replace(entry, envelope_sha256=sha256(text)).to_line())
        previous = sha256(done[-1])
    rewrite(folder, done)


def test_rewritten_without_the_key(copy: Path, signer: Signer) -> None:
    anchor = Anchor(verify(copy, signer).head, 4)
    forge(copy, 2, None, result="succeeded")
    assert first(verify(copy, signer)) == ("unsigned", "two.dsse.json")
    assert first(verify(copy, None)) == ("key unknown", "one.dsse.json")
    assert ("edited", "the given head") in {(p.kind, p.where) for p in verify(copy, None, anchor).problems}


def test_rewritten_whole_and_unsigned_agrees_with_itself_and_says_so(copy: Path, signer: Signer) -> None:
    head = verify(copy, signer).head
    forge(copy, 1, None, detail="nothing happened")
    verdict = verify(copy, None)
    assert (verdict.ok, verdict.signed, verdict.unsigned) == (True, 0, 4)
    assert "unsigned" in verdict.notices[0]
    assert first(verify(copy, signer)) == ("unsigned", "one.dsse.json")
    assert first(verify(copy, None, Anchor(head)))[0] == "truncated"


def test_rewritten_with_another_key(copy: Path, signer: Signer, tmp_path: Path) -> None:
    forge(copy, 3, new_key(tmp_path / "other.pem"), result="succeeded")
    assert first(verify(copy, signer)) == ("key unknown", "three.dsse.json")


def test_another_signature_under_the_right_keys_name(copy: Path, signer: Signer) -> None:
    def break_signature(envelope: Path) -> bytes:
        document = json.loads(envelope.read_text())
        signature = bytearray(base64.b64decode(document["signatures"][0]["sig"]))
        signature[5] ^= 1
        document["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        return json.dumps(document).encode()

    entry = entry_of(copy, 4)
    text = break_signature(copy / entry.envelope)
    (copy / entry.envelope).write_bytes(text)
    assert first(verify(copy, signer)) == ("edited", "four.dsse.json")
    rewrite(copy, [*lines(copy)[:3], replace(entry, envelope_sha256=sha256(text)).to_line()])
    assert first(verify(copy, signer)) == ("wrong signature", "four.dsse.json")


LINE_CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, str]] = {
    "first dropped": (lambda good: good[1:], "missing", "run two"),
    "middle dropped": (lambda good: [good[0], *good[2:]], "missing", "run three"),
    "two dropped": (lambda good: [good[0], good[3]], "missing", "run four"),
    "swapped": (lambda good: [good[0], good[2], good[1], good[3]], "reordered", "run three"),
    "first and last swapped": (lambda good: [good[3], good[1], good[2], good[0]], "reordered", "run four"),
    "reversed": (lambda good: good[::-1], "reordered", "run four"),
    "moved to the end": (lambda good: [good[0], *good[2:], good[1]], "reordered", "run three"),
    "duplicated in place": (lambda good: [good[0], good[1], good[1], *good[2:]], "duplicated", "run two"),
    "duplicated at the end": (lambda good: [*good, good[0]], "duplicated", "run one"),
    "empty line": (lambda good: [good[0], b"", *good[1:]], "edited", "line 2"),
    "foreign line": (lambda good: [good[0], b'{"x": 1}', *good[1:]], "edited", "line 2"),
    "half line at the end": (lambda good: [*good[:3], good[3][:40]], "edited", "line 4"),
}


@pytest.mark.parametrize("change", LINE_CHANGES)
def test_lines(copy: Path, signer: Signer, change: str) -> None:
    edit, kind, where = LINE_CHANGES[change]
    rewrite(copy, edit(lines(copy)))
    for key in (signer, None):
        found = [p for p in verify(copy, key).problems if p.kind != "key unknown"]
        assert (found[0].kind, where in found[0].where) == (kind, True), found


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("number", [None, 2, 77])
def test_an_inserted_run(copy: Path, signer: Signer, place: int, number: int | None) -> None:
    good = lines(copy)
    old = entry_of(copy, 1)
    at = number or place + 1
    false = replace(old, run_id="false", number=at, previous=sha256(good[place - 1]), envelope="false.dsse.json")
    text = Envelope.of(Statement({}, false.stated()), None).to_bytes()
    (copy / "false.dsse.json").write_bytes(text)
    rewrite(copy, [*good[:place], replace(false, envelope_sha256=sha256(text)).to_line(), *good[place:]])
    kind, where = first(verify(copy, signer))
    assert kind == "inserted"
    assert "run false" in where


def test_truncation_shows_only_against_a_head_that_was_kept(copy: Path, signer: Signer) -> None:
    head = verify(copy, signer).head
    rewrite(copy, lines(copy)[:3])
    (copy / "four.dsse.json").unlink()
    (copy / "four.ipynb").unlink()
    shutil.rmtree(copy / "four.files")
    assert verify(copy, signer).ok  # nothing is left that could miss the fourth run
    for anchor in (Anchor(head), Anchor(head, 4)):
        assert first(verify(copy, signer, anchor)) == ("truncated", "the given head")
    assert verify(copy, signer, Anchor(verify(copy, signer).head, 3)).ok


def test_lazy_truncation_leaves_files(copy: Path, signer: Signer) -> None:
    rewrite(copy, lines(copy)[:3])
    assert first(verify(copy, signer)) == ("inserted", "four.dsse.json")


@pytest.mark.parametrize("name", ["one.ipynb", "one.files/journal.jsonl", "one.dsse.json"])
def test_a_missing_file(copy: Path, signer: Signer, name: str) -> None:
    (copy / name).unlink()
    assert first(verify(copy, signer)) == ("missing", name)


@pytest.mark.parametrize("name", ["stray.ipynb", "two.files/more.json", "notes.txt"])
def test_a_file_that_no_run_names(copy: Path, signer: Signer, name: str) -> None:
    (copy / name).write_text("{}")
    assert first(verify(copy, signer)) == ("inserted", name)


def test_swapped_files(copy: Path, signer: Signer) -> None:
    one, two = copy / "one.ipynb", copy / "two.ipynb"
    first_text, second_text = one.read_bytes(), two.read_bytes()
    one.write_bytes(second_text)
    two.write_bytes(first_text)
    assert first(verify(copy, signer)) == ("edited", "one.ipynb")


def test_swapped_envelopes(copy: Path, signer: Signer) -> None:
    one, two = copy / "one.dsse.json", copy / "two.dsse.json"
    first_text, second_text = one.read_bytes(), two.read_bytes()
    one.write_bytes(second_text)
    two.write_bytes(first_text)
    # either is still signed, so it is the line that does not fit
    assert first(verify(copy, signer))[0] == "edited"


def test_missing_manifest(copy: Path, signer: Signer) -> None:
    (copy / MANIFEST_NAME).unlink()
    verdict = verify(copy, signer)
    assert {problem.kind for problem in verdict.problems} == {"inserted"}
    assert verdict.runs == 0


def test_a_name_that_leads_out_of_the_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("x")
    folder = tmp_path / "archive"
    seal(folder, "one")
    entry = entry_of(folder, 1)
    statement = Statement({"../outside.txt": sha256(b"x")}, entry.stated())
    text = Envelope.of(statement, None).to_bytes()
    (folder / entry.envelope).write_bytes(text)
    rewrite(folder, [replace(entry, envelope_sha256=sha256(text)).to_line()])
    assert first(verify(folder, None)) == ("missing", "../outside.txt")


def test_pages_are_no_evidence(copy: Path, signer: Signer) -> None:
    (copy / "one.html").write_text("<p>made from a record</p>")
    assert verify(copy, signer).ok


def test_half_line_of_a_crash_is_kept_and_acknowledged(tmp_path: Path, signer: Signer) -> None:
    seal(tmp_path, "one", signer=signer)
    with (tmp_path / MANIFEST_NAME).open("a") as out:
        out.write('{"schema": 2, "run_')
    assert first(verify(tmp_path, signer)) == ("edited", "MANIFEST.jsonl line 2")
    seal(tmp_path, "two", signer=signer)
    seal(tmp_path, "three", signer=signer)
    verdict = verify(tmp_path, signer)
    assert (verdict.problems, verdict.runs) == ((), 3)
    assert "cut short by a crash" in verdict.notices[0]
    whole = lines(tmp_path)
    rewrite(tmp_path, [whole[0], *whole[2:]])
    assert first(verify(tmp_path, signer)) == ("missing", "MANIFEST.jsonl line 2 (run two)")
    rewrite(tmp_path, whole)
    rewrite(tmp_path, [line for line in lines(tmp_path) if not line.startswith(b'{"schema": 2')])
    rewrite(tmp_path, [*lines(tmp_path)[:1], b"{ anything", *lines(tmp_path)[2:]])
    assert first(verify(tmp_path, signer)) == ("edited", "MANIFEST.jsonl line 2")


def test_a_chain_of_one_file_a_line(copy: Path, signer: Signer) -> None:
    """What a copy of a bucket looks like."""
    (copy / LINES_FOLDER).mkdir()
    for number, line in enumerate(lines(copy), 1):
        (copy / LINES_FOLDER / f"{number:010}.json").write_bytes(line)
    (copy / MANIFEST_NAME).unlink()
    assert verify(copy, signer).ok
    (copy / LINES_FOLDER / "0000000002.json").unlink()
    assert first(verify(copy, signer))[0] == "missing"


def test_every_kind_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


@pytest.fixture
def begun_unsigned(signer: Signer, tmp_path: Path) -> Path:
    """Two runs from before the operator made a key, then two signed ones."""
    folder = tmp_path / "begun-unsigned"
    folder.mkdir()
    for run in RUNS:
        (folder / f"{run}.ipynb").write_text(json.dumps({"cells": [], "run": run}))
        seal(folder, run, signer=signer if run in ("three", "four") else None)
    return folder


def test_runs_from_before_the_key_are_vouched_for_by_the_first_signed_one(begun_unsigned: Path, signer: Signer) -> None:
    verdict = verify(begun_unsigned, signer)
    assert (verdict.problems, verdict.signed, verdict.unsigned) == ((), 2, 2)
    assert "2 runs from before the first signature are unsigned" in verdict.notices[0]


def test_runs_from_before_the_key_cannot_be_changed_after_it(begun_unsigned: Path, signer: Signer) -> None:
    forged = shutil.copytree(begun_unsigned, begun_unsigned.with_name("forged"))
    (forged / "one.ipynb").write_text("{}")
    assert first(verify(forged, signer)) == ("edited", "one.ipynb")
    done = lines(begun_unsigned)
    changed = replace(Entry.from_line(done[1]), result="failed")
    envelope = Envelope.of(Statement({}, changed.stated()), None).to_bytes()
    (begun_unsigned / changed.envelope).write_bytes(envelope)
    rewrite(begun_unsigned, [done[0], replace(changed, envelope_sha256=sha256(envelope)).to_line(), *done[2:]])
    assert "edited" in {problem.kind for problem in verify(begun_unsigned, signer).problems}


def test_an_unsigned_run_after_a_signed_one_is_a_problem(begun_unsigned: Path, signer: Signer) -> None:
    seal(begun_unsigned, "five")
    assert first(verify(begun_unsigned, signer)) == ("unsigned", "five.dsse.json")
