"""Keystone's password hashes of 2013 and 2014: sha512_crypt, written ``$6$rounds=N$salt$digest``.

The algorithm is Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512", version 0.4.
"""

from __future__ import annotations

import hashlib
import hmac

ROUNDS = 1000  # the least that the form allows; Keystone takes 40000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def sha512_crypt(password: str, salt: str, rounds: int = ROUNDS) -> str:
    """Hash a password.

    :param salt: up to 16 characters of ``./0-9A-Za-z``.
    """
    key, seed = password.encode(), salt.encode()[:16]
    other = hashlib.sha512(key + seed + key).digest()
    mixed = hashlib.sha512(key + seed + _stretched(other, len(key)))
    length = len(key)
    while length:
        mixed.update(other if length & 1 else key)
        length >>= 1
    digest = mixed.digest()
    p_bytes = _stretched(hashlib.sha512(key * len(key)).digest(), len(key))
    s_bytes = _stretched(hashlib.sha512(seed * (16 + digest[0])).digest(), len(seed))
    for turn in range(rounds):
        step = hashlib.sha512(p_bytes if turn & 1 else digest)
        if turn % 3:
            step.update(s_bytes)
        if turn % 7:
            step.update(p_bytes)
        step.update(digest if turn & 1 else p_bytes)
        digest = step.digest()
    return f"$6$rounds={rounds}${seed.decode()}${_encoded(digest)}"


def verifies(password: str, stored: str) -> bool:
    """Whether a password is the one of a stored sha512_crypt hash; False for any other form."""
    parts = stored.split("$")
    if len(parts) != 5 or parts[1] != "6" or not parts[2].startswith("rounds="):
        return False
    return hmac.compare_digest(sha512_crypt(password, parts[3], int(parts[2].removeprefix("rounds="))), stored)


def _stretched(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _encoded(digest: bytes) -> str:
    # the bytes are taken in threes, 21 apart, each three beginning one place further
    text = ""
    for turn in range(21):
        a, b, c = turn, turn + 21, turn + 42
        a, b, c = ((a, b, c), (b, c, a), (c, a, b))[turn % 3]
        text += _base64(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
    return text + _base64(digest[63], 2)


def _base64(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
