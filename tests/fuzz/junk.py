"""What no program should choke on: broken documents, odd values, and a secret that must never be quoted."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pumphouse.errors import PumphouseError

#: Stands in inputs wherever a value is odd; none of it may come back in a message.
CANARY = "canary-S3cret-0123456789"
EXAMPLES = int(os.environ.get("PUMPHOUSE_FUZZ", "25"))
TRIED: dict[str, int] = {}
_COUNTING = threading.Lock()


def fuzzed(share: float = 1.0) -> settings:
    """The settings of one fuzz test; ``share`` of the usual number of examples where one costs more."""
    return settings(
        max_examples=max(5, int(EXAMPLES * share)),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


# copies, since what is drawn is put into documents and broken in its turn
ODD = st.sampled_from([
    None, True, False, 0, -1, 2**63, 10**400, 1e308, float("inf"), float("nan"), -0.0, "", " ", "\x00", "\ud800",
    "²", "9" * 5000, "1e9999", "../../etc/passwd", "{{ 7 * 7 }}", "__import__('os')", "é\u202e", "\r\n", "%s%n",
    "[" * 400, CANARY, [], {}, [[]], {"": CANARY}, [CANARY], {"a": {"b": {"c": CANARY}}}, b"\xff".decode("latin-1"),
    "2014-99-99T00:00",
]).map(copy.deepcopy)  # fmt: skip
JSON = st.recursive(
    ODD | st.text(max_size=20) | st.integers() | st.floats(allow_nan=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _places(document: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*here, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from _places(value, (*here, number))


def _parent(document: Any, place: tuple[Any, ...]) -> Any:
    for part in place[:-1]:
        document = document[part]
    return document


@st.composite
def broken(draw: st.DrawFn, good: Any, *, at_least: int = 1) -> Any:
    """A good document with some of its values replaced, taken out, added or turned into text."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(at_least, 3))):
        places = list(_places(document))
        place = places[draw(st.integers(0, len(places) - 1))]
        if not place:
            if draw(st.integers(0, 15)) == 0:
                return draw(JSON)
            continue
        parent, last = _parent(document, place), place[-1]
        match draw(st.sampled_from(["replace", "replace", "remove", "add", "text", "twice"])):
            case "replace":
                parent[last] = draw(JSON)
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=12))] = draw(JSON)  # names are shown: a secret as a name is none
            case "text":
                parent[last] = str(parent[last])
            case _ if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
    return document


@st.composite
def torn(draw: st.DrawFn, text: str) -> bytes:
    """The bytes of a text, cut off, with bytes put in, taken out, or in another encoding."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "insert", "remove", "encode", "repeat"])):
            case "cut":
                data = data[:at]
            case "insert":
                odd = [
                    b"\x00",
                    b"\xff\xfe",
                    b"\t",
                    b"\n- ",
                    b": ",
                    b"!!python/object:os.system ",
                    b"&a *a",
                    b"{{",
                    b"'",
                ]
                data = data[:at] + draw(st.sampled_from(odd) | st.binary(max_size=4)) + data[at:]
            case "remove":
                data = data[:at] + data[at + draw(st.integers(1, 8)) :]
            case "encode":
                data = data.decode("utf-8", "replace").encode("utf-16")
            case _:
                data = data[:at] * 2 + data[at:]
    return data


def dumped(document: Any) -> str:
    """JSON as a careless program writes it: NaN, infinities and half characters included."""
    return json.dumps(document, default=str)


@dataclass
class Outcome:
    """What came of one input: a value, or an error of ours."""

    value: Any = None
    error: PumphouseError | None = None


def tame(what: str, read: Callable[[], Any], *, secret: bool = False) -> Outcome:
    """Read it: any error but ours fails the test, and so does one that cannot be shown, kept or sent on.

    :param secret: what is read may hold secrets, so that nothing of it may be quoted.
    """
    with _COUNTING:
        TRIED[what] = TRIED.get(what, 0) + 1
    try:
        return Outcome(value=read())
    except PumphouseError as caught:
        error = caught
    assert error.message
    assert pickle.loads(pickle.dumps(error)).args == error.args
    if secret:
        assert CANARY not in str(error)
        cause = error.__cause__
        while cause is not None:
            assert CANARY not in str(cause), f"the cause {type(cause).__name__} quotes a secret"
            cause = cause.__cause__
    return Outcome(error=error)
