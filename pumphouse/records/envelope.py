"""The statement of a run and its envelope: in-toto Statement v1 in a DSSE envelope.

Both are published formats that need no service: a statement names files by SHA-256 (``subject``) and says something
about them (``predicate``); an envelope carries the statement's bytes and Ed25519 signatures over them. Sources:
in-toto attestation framework, spec/v1/statement.md; DSSE protocol.md, "PAE" and "Data Structure".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pumphouse.records.keys import Signer

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pumphouse:run-record:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

UNSIGNED, UNKNOWN_KEY, WRONG, GOOD = "unsigned", "key unknown", "wrong signature", "good"


@dataclass(frozen=True)
class Statement:
    """What is said of a run: its files by name and SHA-256, and its line of the manifest."""

    files: Mapping[str, str]
    entry: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The in-toto statement, canonical: sorted keys, no spaces."""
        document = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": sha}} for name, sha in sorted(self.files.items())],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"entry": dict(self.entry)},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Statement:
        """Read :meth:`to_bytes` back.

        :raises ValueError: when it is no statement of this type.
        """
        try:
            document = json.loads(payload)
            if document["_type"] != STATEMENT_TYPE or document["predicateType"] != PREDICATE_TYPE:
                raise ValueError("a statement of another type")
            files = {row["name"]: row["digest"]["sha256"] for row in document["subject"]}
            if len(files) != len(document["subject"]):
                raise ValueError("a file that is named twice")
            if not all(isinstance(text, str) for row in files.items() for text in row):
                raise ValueError("a file without a name or a digest")
            return cls(files, dict(document["predicate"]["entry"]))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"no statement: {error!r}") from error


@dataclass(frozen=True)
class Envelope:
    """A statement's bytes with the signatures over them, by key id; none: unsigned."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, statement: Statement, signer: Signer | None) -> Envelope:
        """Wrap a statement, signed if there is a key."""
        payload = statement.to_bytes()
        return cls(payload, () if signer is None else ((signer.key_id, signer.sign(_encoding(payload))),))

    def to_bytes(self) -> bytes:
        """The DSSE envelope as JSON."""
        document = {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [{"keyid": key_id, "sig": base64.b64encode(sig).decode()} for key_id, sig in self.signatures],
        }
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, text: bytes) -> Envelope:
        """Read an envelope.

        :raises ValueError: when it is none, or carries something else than a statement.
        """
        try:
            document = json.loads(text)
            if document["payloadType"] != PAYLOAD_TYPE:
                raise ValueError("an envelope of something else")
            signatures = tuple(
                (str(row.get("keyid", "")), base64.b64decode(row["sig"], validate=True))
                for row in document["signatures"]
            )
            return cls(base64.b64decode(document["payload"], validate=True), signatures)
        except (KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise ValueError(f"no envelope: {error!r}") from error

    def check(self, keys: Mapping[str, Ed25519PublicKey]) -> str:
        """``good`` when a key of ours signed it; else ``unsigned``, ``key unknown`` or ``wrong signature``."""
        if not self.signatures:
            return UNSIGNED
        said = UNKNOWN_KEY
        for key_id, signature in self.signatures:
            key = keys.get(key_id)
            if key is None:
                continue
            try:
                key.verify(signature, _encoding(self.payload))
            except InvalidSignature:
                said = WRONG
            else:
                return GOOD
        return said


def sha256(data: bytes) -> str:
    """SHA-256 in hex digits."""
    return hashlib.sha256(data).hexdigest()


def _encoding(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
