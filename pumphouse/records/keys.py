"""Signing keys: Ed25519, kept by the operator outside the archive.

The private key is a PKCS 8 PEM file of mode 0600, encrypted when ``PUMPHOUSE_SIGNING_PASSPHRASE`` is set; the public
key lies beside it and is all that an auditor needs. ``signing_key`` in site.yaml, or ``PUMPHOUSE_SIGNING_KEY``, says
where it is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pumphouse.errors import RunbookError
from pumphouse.fileio import write_atomic
from pumphouse.site import Site

KEY_VARIABLE = "PUMPHOUSE_SIGNING_KEY"
PASSPHRASE_VARIABLE = "PUMPHOUSE_SIGNING_PASSPHRASE"  # noqa: S105 (the name of a variable)
_ARCHIVE_SIGNS = ("MANIFEST.jsonl", "MANIFEST")


@dataclass(frozen=True)
class Signer:
    """A private key that is ready to sign."""

    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """Id of the public key."""
        return key_id(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature."""
        return self.key.sign(data)


def key_id(public: Ed25519PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo in DER, as 64 hex digits."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def signing_key_path(site: Site) -> Path | None:
    """Where the site's signing key should be: ``PUMPHOUSE_SIGNING_KEY``, else ``signing_key`` of site.yaml."""
    named = os.environ.get(KEY_VARIABLE, "").strip()
    return Path(named).expanduser() if named else site.signing_key


def signer_for(site: Site) -> Signer | None:
    """The site's signer; None when none is set up, and its archive then stays unsigned.

    :raises RunbookError: when a key is named that cannot be used: a run must not go unsigned by mistake.
    """
    path = signing_key_path(site)
    return None if path is None else load_signer(path, [site.records_dir])


def new_key(path: Path, archives: Iterable[Path] = ()) -> Signer:
    """Make a key pair: ``path`` (mode 0600) and ``path`` with ``.pub`` added.

    :param archives: folders of records, in which no key may lie.
    :raises RunbookError: when the file exists, would lie in an archive, or cannot be written.
    """
    _refuse_archive(path, archives)
    if path.exists():
        raise RunbookError(
            f"Signing key {path} exists already.",
            remedy="keep it, or name another file: records that it signed could not be verified without it.",
        )
    signer = Signer(Ed25519PrivateKey.generate())
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    private = signer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption(),
    )
    try:
        write_atomic(path, private.decode(), mode=0o600)
        write_atomic(public_file(path), public_pem(signer.key.public_key()))
    except OSError as error:
        raise RunbookError(
            f"Signing key {path} cannot be written: {error.strerror or error}.", remedy="name another file."
        ) from error
    return signer


def load_signer(path: Path, archives: Iterable[Path] = ()) -> Signer:
    """Read a private key.

    :raises RunbookError: when it is missing, readable for others, in an archive, or no Ed25519 key.
    """
    _refuse_archive(path, archives)
    remedy = f"make one with `pumphouse records key new`, or correct `signing_key` in site.yaml ({KEY_VARIABLE})."
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise RunbookError(
                f"Signing key {path} can be read by others.", remedy=f"make it yours alone: chmod 600 {path}"
            )
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() if passphrase else None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a key, or the passphrase does not fit"
        # not shown as the cause: a parser's message may quote the file
        raise RunbookError(f"Signing key {path} cannot be used: {reason}.", remedy=remedy) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RunbookError(f"Signing key {path} is not an Ed25519 key.", remedy=remedy)
    return Signer(key)


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a public key (PEM).

    :raises RunbookError: when it cannot be read or is no Ed25519 public key.
    """
    remedy = "give the file that `pumphouse records key new` wrote with the ending .pub."
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no public key in PEM form"
        raise RunbookError(f"Public key {path} cannot be read: {reason}.", remedy=remedy) from None
    if not isinstance(key, Ed25519PublicKey):
        raise RunbookError(f"Public key {path} is not an Ed25519 key.", remedy=remedy)
    return key


def public_pem(public: Ed25519PublicKey) -> str:
    """A public key in PEM form."""
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def public_file(path: Path) -> Path:
    """The public key's file beside a private one."""
    return path.with_name(f"{path.name}.pub")


def _refuse_archive(path: Path, archives: Iterable[Path]) -> None:
    resolved = path.expanduser().resolve()
    known = {folder.resolve() for folder in archives}
    for folder in resolved.parents:
        if folder in known or any((folder / sign).exists() for sign in _ARCHIVE_SIGNS):
            raise RunbookError(
                f"Signing key {path} would lie in the archive {folder}.",
                remedy="keep it elsewhere: whoever copies the archive must not get the key.",
            )
