"""The password hashes of the old Keystone's database."""

from __future__ import annotations

import pytest

from pumphouse.lab.source.hashes import sha512_crypt, verifies
from pumphouse.lab.source.state import User

# from the algorithm's own specification
VECTORS = [
    (
        "Hello world!",
        "saltstringsaltst",
        10000,
        (
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/"
            "y3RnOaw5v."
        ),
    ),
    (
        "the minimum number is still observed",
        "roundstoolow",
        1000,
        (
            "$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrs"
            "X."
        ),
    ),
]


@pytest.mark.parametrize(("password", "salt", "rounds", "expected"), VECTORS)
def test_the_specifications_examples(password: str, salt: str, rounds: int, expected: str) -> None:
    assert sha512_crypt(password, salt, rounds) == expected
    assert verifies(password, expected)
    assert not verifies(password + "x", expected)


@pytest.mark.parametrize("stored", ["", "plain", "$2b$12$abc", "$6$salt$digest", "$6$rounds=1000$salt"])
def test_other_forms_fit_no_password(stored: str) -> None:
    assert not verifies("plain", stored)


def test_a_user_logs_in_by_password_or_by_a_hash_from_the_database() -> None:
    user = User("u" * 32, "alice", "first")
    assert verifies("first", user.password_hash)
    assert user.password_hash == user.password_hash
    user.stored_hash = sha512_crypt("second", "abc")
    assert user.password_hash == user.stored_hash
    assert [user.accepts(p) for p in ("first", "second", None)] == [False, True, False]
    user.set_password("third")
    assert [user.accepts(p) for p in ("second", "third")] == [False, True]
