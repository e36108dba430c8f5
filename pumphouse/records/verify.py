"""Is this archive what it was? Re-computes everything, and names the first thing that is wrong and its kind.

Needs the archive and the public key, no site and no network, so an auditor can do it on a copy. Kinds: ``edited``,
``missing``, ``inserted``, ``duplicated``, ``reordered``, ``truncated``, ``unsigned``, ``key unknown``, ``wrong
signature``. A run that ended before the first signed one is covered by that one's signature, which the chain carries
back to it; an unsigned run after it is a problem. Lines cut off the chain's end leave nothing behind that could miss
them: only a head that was anchored elsewhere shows that (``truncated``). Pages (``*.html``) are made from records and
are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pumphouse.records.archive import Archive, FolderArchive
from pumphouse.records.envelope import GOOD, UNKNOWN_KEY, UNSIGNED, WRONG, Envelope, Statement, sha256
from pumphouse.records.keys import key_id
from pumphouse.records.manifest import FIRST, MANIFEST_NAME, Entry, torn_digest

EDITED, MISSING, INSERTED, DUPLICATED = "edited", "missing", "inserted", "duplicated"
REORDERED, TRUNCATED = "reordered", "truncated"
_END = 2**62
KINDS = (EDITED, MISSING, INSERTED, DUPLICATED, REORDERED, TRUNCATED, UNSIGNED, UNKNOWN_KEY, WRONG)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind (one of :data:`KINDS`), where, and a sentence."""

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.message}"


@dataclass(frozen=True)
class Anchor:
    """A head that was written down elsewhere; ``number`` is 0 when only the digest is known."""

    digest: str
    number: int = 0
    source: str = "the given head"


@dataclass(frozen=True)
class Verdict:
    """What became of a verification. ``problems`` are in the chain's order; none: the archive is whole.

    ``signed`` counts runs with a good signature, ``unsigned`` those with none; ``notices`` are no problems.
    """

    runs: int
    files: int
    head: str
    signed: int
    unsigned: int
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "ok": self.ok}


def verify_archive(archive: Archive, keys: Iterable[Ed25519PublicKey] = (), anchors: Iterable[Anchor] = ()) -> Verdict:
    """Verify every line, envelope, signature and file (read only).

    Without ``keys`` an archive is checked for agreeing with itself; signatures that are there are then of a key that
    nobody vouches for (``key unknown``), and an archive without any is whole but said to be unsigned.
    """
    check = _Check(archive, {key_id(key): key for key in keys})
    check.chain()
    check.runs()
    check.strangers()
    check.anchored(anchors)
    return check.verdict()


def verify_manifest(records_dir: Path) -> list[str]:
    """Everything that is wrong with a folder of records, as sentences; signatures are not looked at."""
    problems = verify_archive(FolderArchive(records_dir)).problems
    return [str(problem) for problem in problems if problem.kind != UNKNOWN_KEY]


@dataclass
class _Line:
    """A line that can be read, with its place (from 1) among all lines."""

    place: int
    raw: bytes
    entry: Entry

    @property
    def digest(self) -> str:
        return sha256(self.raw)

    @property
    def where(self) -> str:
        return f"{MANIFEST_NAME} line {self.place} (run {self.entry.run_id})"


@dataclass
class _Check:
    archive: Archive
    keys: Mapping[str, Ed25519PublicKey]
    lines: list[_Line] = field(default_factory=list)
    found: list[tuple[int, Problem]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    files: int = 0
    signed: int = 0
    first_signed: int = _END
    bare: list[_Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = set(self.archive.names())
        self.listed: set[str] = set()
        self.bad_places: set[int] = set()

    def say(self, place: int, kind: str, where: str, message: str) -> None:
        self.found.append((place, Problem(kind, where, message)))
        self.bad_places.add(place)

    # -- lines --------------------------------------------------------------------------------
    def chain(self) -> None:
        """Read the lines and see that each follows the one before it."""
        torn: list[tuple[int, bytes]] = []
        for place, raw in enumerate(self.archive.lines(), 1):
            try:
                entry = Entry.from_line(raw)
            except ValueError:
                torn.append((place, raw))
                continue
            line = _Line(place, raw, entry)
            self._torn(torn, line)
            torn = []
            self.lines.append(line)
        for place, _ in torn:
            self.say(
                place,
                EDITED,
                f"{MANIFEST_NAME} line {place}",
                "it cannot be read: it was edited, or a crash cut it short and no run has ended since.",
            )
        self._links()

    def _torn(self, torn: list[tuple[int, bytes]], after: _Line) -> None:
        acknowledged = torn_digest(raw for _, raw in torn) if torn else None
        if after.entry.torn == acknowledged:
            self.notices += [
                f"{MANIFEST_NAME} line {place} was cut short by a crash; the run after it says so." for place, _ in torn
            ]
            return
        for place, _ in torn:
            self.say(place, EDITED, f"{MANIFEST_NAME} line {place}", "it cannot be read.")
        if not torn:
            said = "a line that a crash had cut short stood before it, and is not there."
            self.say(after.place, MISSING, after.where, said)

    def _links(self) -> None:
        followed = {line.entry.previous for line in self.lines}
        genuine: dict[int, _Line] = {}
        for line in self.lines:
            known = genuine.setdefault(line.entry.number, line)
            # of two lines for one place the one is genuine that a later line follows, else that its key signed
            if known is not line and self._standing(line, followed) > self._standing(known, followed):
                genuine[line.entry.number] = line
        seen: set[bytes] = set()
        for index, line in enumerate(self.lines):
            if line.raw in seen:
                self.say(line.place, DUPLICATED, line.where, "the same line stands before it already.")
            elif genuine[line.entry.number] is not line:
                self.say(line.place, INSERTED, line.where, f"there is another run number {line.entry.number}.")
            else:
                self._link(index, line, genuine.get(line.entry.number - 1))
            seen.add(line.raw)

    def _link(self, index: int, line: _Line, before: _Line | None) -> None:
        number = line.entry.number
        if number == 1:
            if line.entry.previous != FIRST:
                self.say(line.place, EDITED, line.where, "the first line follows another line.")
        elif before is None:
            around = self.lines[max(index - 1, 0) : index + 2 : 2] if index else []
            if len(around) == 2 and around[1].entry.number == around[0].entry.number + 1:
                self.say(line.place, INSERTED, line.where, "the line after it follows the line before it.")
            else:
                self.say(line.place, MISSING, line.where, f"run number {number - 1}, which it follows, is not there.")
        elif before.place > line.place:
            self.say(line.place, REORDERED, line.where, f"it is run number {number} and stands before {number - 1}.")
        elif before.digest != line.entry.previous and before.place not in self.bad_places:
            if self._agrees(line)[0]:
                said = f"it is not the line that run number {number} followed."
                self.say(before.place, EDITED, before.where, said)
            else:
                self.say(line.place, EDITED, line.where, "it does not follow the line before it.")

    def _standing(self, line: _Line, followed: set[str]) -> tuple[bool, bool, bool]:
        agrees, signed = self._agrees(line)
        return line.digest in followed, signed, agrees

    def _agrees(self, line: _Line) -> tuple[bool, bool]:
        """Whether a line's envelope says the same, and whether a key of ours signed it."""
        if line.entry.envelope not in self.names:
            return False, False
        try:
            envelope = Envelope.from_bytes(self.archive.read(line.entry.envelope))
            agrees = Statement.from_bytes(envelope.payload).entry == line.entry.stated()
        except (ValueError, FileNotFoundError):
            return False, False
        return agrees, agrees and envelope.check(self.keys) == GOOD

    # -- runs ---------------------------------------------------------------------------------
    def runs(self) -> None:
        """Every run's envelope, signature and files."""
        for line in self.lines:
            entry = line.entry
            statement = self._statement(line)
            named = {entry.envelope, *(statement.files if statement else ()), *filter(None, (entry.record,))}
            self.listed |= named
            if statement is None:
                continue
            for name, digest in sorted(statement.files.items(), key=lambda item: (item[0] != entry.record, item[0])):
                self._file(line, name, digest)
        self._unsigned()

    def _unsigned(self) -> None:
        """Runs without a signature: those from before the first signed one are vouched for by the chain it signs."""
        if not self.keys:
            return
        early = [line for line in self.bare if line.place < self.first_signed < _END]
        for line in self.bare:
            if line not in early:
                self.say(line.place, UNSIGNED, line.entry.envelope, f"run {line.entry.run_id} is not signed.")
        if early:
            self.notices.append(
                f"{len(early)} runs from before the first signature are unsigned; the first signed run "
                f"({MANIFEST_NAME} line {self.first_signed}) vouches for them as they stood when it ended."
            )

    def _statement(self, line: _Line) -> Statement | None:
        entry = line.entry
        text = self._read(line, entry.envelope, "envelope")
        if text is None:
            return None
        if sha256(text) != entry.envelope_sha256:
            self._unequal(line, text)
            return None
        try:
            envelope = Envelope.from_bytes(text)
            statement = Statement.from_bytes(envelope.payload)
        except ValueError:
            self.say(line.place, EDITED, entry.envelope, "it is no envelope of a run.")
            return None
        if statement.entry != entry.stated() or statement.files.get(entry.record or "") != entry.sha256:
            self.say(line.place, EDITED, line.where, "it is not what the run's envelope says.")
            return statement
        self._signature(line, envelope)
        return statement

    def _unequal(self, line: _Line, text: bytes) -> None:
        """Line and envelope disagree: whichever still says what the other said is not the one that was edited."""
        try:
            envelope = Envelope.from_bytes(text)
            intact = envelope.check(self.keys) == GOOD
            same = Statement.from_bytes(envelope.payload).entry == line.entry.stated()
        except ValueError:
            intact = same = False
        if intact and not same:
            self.say(line.place, EDITED, line.where, "it is not what the run's signed envelope says.")
        else:
            self.say(line.place, EDITED, line.entry.envelope, "it was changed after the run ended.")

    def _signature(self, line: _Line, envelope: Envelope) -> None:
        said = envelope.check(self.keys)
        where = line.entry.envelope
        if said == GOOD:
            self.signed += 1
            self.first_signed = min(self.first_signed, line.place)
        elif said == UNSIGNED:
            self.bare.append(line)
        elif said == UNKNOWN_KEY:
            ids = ", ".join(key[:16] for key, _ in envelope.signatures)
            hint = "give the operator's public key" if not self.keys else "it is not one of the keys given"
            self.say(line.place, UNKNOWN_KEY, where, f"signed with key {ids}: {hint}.")
        else:
            self.say(line.place, WRONG, where, "the signature does not fit what it is said to sign.")

    def _file(self, line: _Line, name: str, digest: str) -> None:
        data = self._read(line, name, "file")
        if data is None:
            return
        self.files += 1
        if sha256(data) != digest:
            self.say(line.place, EDITED, name, f"it was changed after run {line.entry.run_id} ended.")

    def _read(self, line: _Line, name: str, what: str) -> bytes | None:
        # a name that no listing shows (a path that leads out of the archive) is not followed
        if name in self.names:
            try:
                return self.archive.read(name)
            except FileNotFoundError:
                self.names.discard(name)
        self.say(line.place, MISSING, name or "(no name)", f"{what} of run {line.entry.run_id}.")
        return None

    # -- the whole ----------------------------------------------------------------------------
    def strangers(self) -> None:
        """Files that no run names."""
        working = self.archive.under_way()
        for name in sorted(self.names - self.listed):
            stem = name.split("/")[0].removesuffix(".files")
            if {stem, f"{stem}.ipynb"} & working:
                self.notices.append(f"{name} belongs to a run that is under way.")
            else:
                self.say(_END, INSERTED, name, "no run of the manifest names it (or its run never ended).")

    def anchored(self, anchors: Iterable[Anchor]) -> None:
        """Heads that were written down elsewhere are in this chain, at their place."""
        places = {line.digest: line.entry.number for line in self.lines}
        for anchor in anchors:
            number = places.get(anchor.digest)
            if number is not None and anchor.number in (0, number):
                continue
            last = self.lines[-1].entry.number if self.lines else 0
            if anchor.number > last or anchor.number == 0:
                said = f"the chain ends at run number {last} and does not hold sha256:{anchor.digest}."
                self.say(_END, TRUNCATED, anchor.source, said)
            else:
                said = f"run number {anchor.number} is not sha256:{anchor.digest}: the chain was written anew."
                self.say(_END, EDITED, anchor.source, said)

    def verdict(self) -> Verdict:
        """All of it, in the chain's order."""
        if self.bare and not self.keys:
            self.notices.append(
                f"{len(self.bare)} of {len(self.lines)} runs are unsigned: the chain proves that it agrees with "
                "itself, not who wrote it."
            )
        return Verdict(
            runs=len(self.lines),
            files=self.files,
            head=self.lines[-1].digest if self.lines else FIRST,
            signed=self.signed,
            unsigned=len(self.bare),
            problems=tuple(problem for _, problem in sorted(self.found, key=lambda item: item[0])),
            notices=tuple(self.notices),
        )
