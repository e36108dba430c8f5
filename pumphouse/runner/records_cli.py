"""Commands below ``pumphouse records``: thin shells over the library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pumphouse.errors import RunbookError
from pumphouse.records.anchor import anchor_text, make_tag, read_anchors
from pumphouse.records.archive import Archive, FolderArchive, open_archive, site_archive
from pumphouse.records.compare import compare, load_run
from pumphouse.records.envelope import UNSIGNED
from pumphouse.records.keys import load_public, load_signer, new_key, public_file, public_pem, signing_key_path
from pumphouse.records.pages import render_archive
from pumphouse.records.verify import Anchor, Verdict, verify_archive
from pumphouse.runner.options import RESULT_COLOURS, json_option, one_paragraph, site_option
from pumphouse.runner.outcome import EXIT_FAILED, EXIT_OK
from pumphouse.site import Site, load_site

archive_argument = click.argument("archive", required=False, metavar="[ARCHIVE]")


@click.group("records")
def records_group() -> None:
    """The archive of executed notebooks: list, show, verify, anchor, compare.

    \b
    Example:
      pumphouse records list --site lab/site.yaml
      pumphouse records verify /mnt/copy-of-records --key operator.pub
    """


@records_group.command("list")
@archive_argument
@site_option
@json_option
@one_paragraph
def records_list(archive: str | None, site_file: str, as_json: bool) -> None:
    """List every run that has ended, failed and refused ones too. ARCHIVE: a folder or s3://bucket/prefix.

    \b
    Example:
      pumphouse records list --site lab/site.yaml --json
    """
    entries = _archive(archive, site_file).entries()
    if as_json:
        click.echo(json.dumps([entry.to_json() for entry in entries], indent=2, ensure_ascii=False))
        return
    if not entries:
        click.echo("No run has ended yet.")
    for entry in entries:
        result = click.style(f"{entry.result:<13}", fg=RESULT_COLOURS.get(entry.result))
        click.echo(f"{entry.started_at}  {result}  {entry.notebook}  {entry.record or ''}".rstrip())


@records_group.command("html")
@archive_argument
@site_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder (default: next to the records).")
@json_option
@one_paragraph
def records_html(archive: str | None, site_file: str, out: Path | None, as_json: bool) -> None:
    """Make a self-contained site: a page of every record, of every server's history, and an index with filters.

    \b
    Example:
      pumphouse records html --site lab/site.yaml --out /srv/www/migration
    """
    index = render_archive(_archive(archive, site_file), out)
    click.echo(json.dumps({"index": str(index)}) if as_json else f"Open {index}")


@records_group.command("verify")
@archive_argument
@site_option
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="The operator's public key (PEM).")
@click.option("--head", "heads", multiple=True, metavar="DIGEST", help="A head that was kept elsewhere.")
@click.option(
    "--anchors",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A text file, or a git repository, in which heads were written down.",
)
@json_option
@one_paragraph
def records_verify(
    archive: str | None,
    site_file: str,
    keys: tuple[Path, ...],
    heads: tuple[str, ...],
    anchors: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Re-compute every digest, link and signature; name the first thing that is wrong, and its kind.

    ARCHIVE is a folder, a copy of one, or s3://bucket/prefix; without it the site's own. A copy needs no site, only
    the public key. Runs that were cut off the end of the chain show only against a head that was kept elsewhere:
    --head or --anchors.

    \b
    Example:
      pumphouse records verify --site lab/site.yaml
      pumphouse records verify /mnt/copy-of-records --key operator.pub --anchors changes.git

    \b
    Exit code: 0 nothing is wrong, 1 something is (edited, missing, inserted, duplicated, reordered, truncated,
    unsigned, key unknown, wrong signature), 2 wrong use.
    """
    public = [load_public(key) for key in keys]
    if archive is None and not keys:
        path = signing_key_path(load_site(site_file))
        public = [] if path is None else [_public_part(path)]
    wanted = [_head(text) for text in heads] + [anchor for where in anchors for anchor in read_anchors(where)]
    verdict = verify_archive(_archive(archive, site_file), public, wanted)
    if as_json:
        click.echo(json.dumps(verdict.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_verdict(verdict, anchored=len(wanted))
    sys.exit(EXIT_OK if verdict.ok else EXIT_FAILED)


@records_group.command("head")
@archive_argument
@site_option
@json_option
@one_paragraph
def records_head(archive: str | None, site_file: str, as_json: bool) -> None:
    """Print the chain's head, to be kept in a ticket.

    \b
    Example:
      pumphouse records head --site lab/site.yaml
    """
    opened = _archive(archive, site_file)
    head = opened.head()
    if as_json:
        click.echo(json.dumps({"number": head.number, "sha256": head.digest}))
    else:
        click.echo(anchor_text(_name(archive, site_file), head), nl=False)


@records_group.command("anchor")
@archive_argument
@site_option
@click.option(
    "--repo", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(), help="A git repository."
)
@click.option("--sign/--no-sign", default=True, show_default=True, help="Sign the tag with git's user.signingkey.")
@one_paragraph
def records_anchor(archive: str | None, site_file: str, repo: Path, sign: bool) -> None:
    """Write the chain's head into a signed git tag. Push the tag: only then is it out of your hands.

    \b
    Example:
      pumphouse records anchor --site lab/site.yaml --repo ~/changes
    """
    head = _archive(archive, site_file).head()
    if not head.number:
        raise RunbookError("The archive lists no run yet.", remedy="anchor it after the first run.")
    name = make_tag(repo, _name(archive, site_file), head, sign=sign)
    click.echo(f"{name}: {head}")
    click.echo(f"  git push origin {name}")


@records_group.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@site_option
@json_option
@one_paragraph
def records_diff(first: str, second: str, site_file: str, as_json: bool) -> None:
    """Show what differed between two runs in template, parameters, plan and outcome; times and ids are left out.

    A and B are records (files, also of other archives: a rehearsal in the lab can be compared with the real run), or
    run ids of the site's archive. Objects are compared by their names.

    \b
    Example:
      pumphouse records diff lab/records/20261123T1015-move.ipynb records/20261124T0100-move.ipynb

    \b
    Exit code: 0 no difference, 1 some.
    """
    differences = compare(load_run(first, site_file), load_run(second, site_file))
    if as_json:
        click.echo(json.dumps([row.__dict__ for row in differences], indent=2, ensure_ascii=False))
    else:
        for row in differences:
            click.echo(f"{click.style(row.part, bold=True)}  {row.what}")
            click.echo(f"    A: {row.first}\n    B: {row.second}")
        if not differences:
            click.echo("No difference in template, parameters, plan and outcome.")
    sys.exit(EXIT_FAILED if differences else EXIT_OK)


@records_group.group("key")
def key_group() -> None:
    """The key that signs records; it stays with the operator.

    \b
    Example:
      pumphouse records key new ~/.config/pumphouse/signing-key.pem
    """


@key_group.command("new")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@site_option
@one_paragraph
def key_new(file: Path, site_file: str) -> None:
    """Make an Ed25519 key pair: FILE (mode 0600) and FILE.pub, which the auditor gets.

    PUMPHOUSE_SIGNING_PASSPHRASE, if set, encrypts it, and must be set whenever it is used.

    \b
    Example:
      pumphouse records key new ~/.config/pumphouse/signing-key.pem
    """
    site = _site_if_any(site_file)
    signer = new_key(file.expanduser(), [site.records_dir] if site is not None else [])
    click.echo(f"Key {signer.key_id}")
    click.echo(f"  private: {file} (keep it; name it as `signing_key` in site.yaml)")
    click.echo(f"  public:  {public_file(file)} (give it to the auditor)")


@key_group.command("show")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@site_option
@one_paragraph
def key_show(file: Path | None, site_file: str) -> None:
    """Print the id and the public part of a key: FILE, or the site's.

    \b
    Example:
      pumphouse records key show --site site.yaml
    """
    path = file or signing_key_path(load_site(site_file))
    if path is None:
        raise RunbookError("This site has no signing key.", remedy="set `signing_key` in site.yaml, or name a file.")
    signer = load_signer(path)
    click.echo(f"Key {signer.key_id}")
    click.echo(public_pem(signer.key.public_key()), nl=False)


def _public_part(path: Path) -> Ed25519PublicKey:
    beside = public_file(path)
    return load_public(beside) if beside.exists() else load_signer(path).key.public_key()


def _archive(archive: str | None, site_file: str) -> Archive:
    if archive is None:
        return site_archive(load_site(site_file))
    opened = open_archive(archive)
    if isinstance(opened, FolderArchive) and not opened.folder.is_dir():
        raise RunbookError(f"Archive {archive}: no such folder.", remedy="name a folder of records.")
    return opened


def _site_if_any(site_file: str) -> Site | None:
    return load_site(site_file) if Path(site_file).expanduser().exists() else None


def _name(archive: str | None, site_file: str) -> str:
    return Path(archive).name if archive is not None else load_site(site_file).name


def _head(text: str) -> Anchor:
    digest = text.strip().removeprefix("sha256:").lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise RunbookError(f"--head {text!r} is no SHA-256.", remedy="copy what `pumphouse records head` printed.")
    return Anchor(digest)


def _print_verdict(verdict: Verdict, *, anchored: int) -> None:
    for notice in verdict.notices:
        click.echo(f"note: {notice}")
    for problem in verdict.problems:
        click.echo(f"{click.style(problem.kind, fg='red', bold=True)}: {problem.where}: {problem.message}")
    if verdict.ok:
        signed = f"{verdict.signed} of them signed with a key you gave" if verdict.signed else "none of them signed"
        ends = "its end is the one that was anchored, or later" if anchored else "its end is not anchored (--head)"
        click.echo(f"{verdict.runs} runs, {signed}; {verdict.files} files unchanged; the chain has no gap, {ends}.")
        click.echo(f"head sha256:{verdict.head}")
    else:
        # runs from before there was a key must not hide what somebody did to the others
        worst = min(verdict.problems, key=lambda problem: problem.kind == UNSIGNED)
        click.echo(f"First of {len(verdict.problems)}: {worst}")
