"""Writing the chain's head down where the keeper of the archive cannot change it later: a ticket, a signed git tag.

A tag's message, and any text that somebody kept, holds the head in a line of its own:
``run 42, head sha256:…``. :func:`read_anchors` finds these lines wherever they stand.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from pumphouse.errors import RunbookError
from pumphouse.records.manifest import Head
from pumphouse.records.verify import Anchor

TAG_FOLDER = "pumphouse-records"
_LINE = re.compile(r"run (?P<number>\d+), head sha256:(?P<digest>[0-9a-f]{64})")
_UNSAFE = re.compile(r"[^\w.-]+")


def anchor_text(site: str, head: Head) -> str:
    """What to paste into a ticket, or to sign."""
    return f"pumphouse records of {site}: {head}\n"


def make_tag(repository: Path, site: str, head: Head, *, sign: bool = True) -> str:
    """Make an annotated tag that holds the head; returns its name. Push it: a tag at home can be remade.

    :param sign: sign it with the key that git is set up with (``user.signingkey``; GPG or SSH).
    :raises RunbookError: when git cannot make it, or has no key to sign with.
    """
    name = f"{TAG_FOLDER}/{_UNSAFE.sub('-', site)}/{head.number:06}"
    _git(repository, "tag", "-s" if sign else "-a", "-m", anchor_text(site, head), name)
    return name


def read_anchors(where: Path) -> list[Anchor]:
    """Heads that were written down: in a text file, or in the tags of a git repository (a folder).

    Whether a tag's own signature is good is git's to say (``git verify-tag``), with the keys that the reader trusts.

    :raises RunbookError: when there is none.
    """
    if where.is_dir():
        listed = _git(
            where, "for-each-ref", f"refs/tags/{TAG_FOLDER}", "--format=%(refname:short)%09%(contents:subject)"
        )
        texts = [(f"tag {line.partition(chr(9))[0]}", line) for line in listed.splitlines()]
    else:
        try:
            lines = where.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RunbookError(
                f"Anchors {where} cannot be read: {error}.", remedy="name a text file or a git repository."
            ) from error
        texts = [(f"{where.name} line {number}", line) for number, line in enumerate(lines, 1)]
    found = [
        Anchor(match["digest"], int(match["number"]), source)
        for source, text in texts
        for match in _LINE.finditer(text)
    ]
    if not found:
        raise RunbookError(
            f"Anchors {where}: no head is written there.", remedy="a head looks like `run 42, head sha256:…`."
        )
    return found


def _git(repository: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (fixed program, arguments of our own)
            ["git", "-C", str(repository), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunbookError(f"git could not be run: {error}.", remedy="install git.") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise RunbookError(
            f"git {arguments[0]} in {repository} failed: {said}.",
            remedy="name a git repository; to sign, set user.signingkey (and gpg.format=ssh for an SSH key), or give "
            "--no-sign.",
        )
    return done.stdout
