"""Image bytes: streamed, counted, compared, and never taken for complete when they are not."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import CloudAuthError, CloudError, CloudUnreachable, NotFound
from tests.clouds.stub import Answer, Call, Stub

DATA = bytes(range(256)) * 64
RECORD = {"id": "i1", "name": "cirros", "status": "active", "visibility": "public", "owner": "p",
          "size": len(DATA), "checksum": hashlib.md5(DATA).hexdigest()}  # fmt: skip
IMAGE, FILE = "/image/v2/images/i1", "/image/v2/images/i1/file"


def test_the_bytes_come_in_pieces(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", IMAGE, Answer(200, RECORD))
    stub.on("GET", FILE, Answer(200, DATA))
    pieces = list(cloud.images.download("i1", chunk_bytes=1000))
    assert b"".join(pieces) == DATA
    assert {len(piece) for piece in pieces[:-1]} == {1000}


@pytest.mark.parametrize(
    ("record", "answer", "said"),
    [
        ({"status": "queued"}, Answer(200, DATA), "is queued, not active"),
        ({"status": "saving"}, Answer(200, DATA), "is saving, not active"),
        ({}, Answer(204), "has no data"),
        ({}, Answer(404, "<html><body>No image data</body></html>"), "404"),
    ],
)
def test_no_data_is_told_before_the_first_piece(
    cloud: OpenStackCloud, stub: Stub, record: dict[str, Any], answer: Answer, said: str
) -> None:
    stub.on("GET", IMAGE, Answer(200, RECORD | record))
    stub.on("GET", FILE, answer)
    with pytest.raises(CloudError, match=said):
        cloud.images.download("i1")


@pytest.mark.parametrize(
    ("record", "answer", "kind"),
    [
        ({}, Answer(200, DATA, act="cut"), CloudUnreachable),
        ({}, Answer(200, DATA[:-1]), CloudError),
        ({}, Answer(200, DATA[:-1] + b"x"), CloudError),
        ({"size": len(DATA) + 1}, Answer(200, DATA), CloudError),
        ({"checksum": "0" * 32}, Answer(200, DATA), CloudError),
    ],
    ids=["cut", "short", "changed", "size", "checksum"],
)
def test_damaged_bytes_are_an_error_at_the_end(
    cloud: OpenStackCloud, stub: Stub, record: dict[str, Any], answer: Answer, kind: type[CloudError]
) -> None:
    stub.on("GET", IMAGE, Answer(200, RECORD | record))
    stub.on("GET", FILE, answer)
    pieces = cloud.images.download("i1", chunk_bytes=512)
    assert next(pieces)
    with pytest.raises(kind):
        list(pieces)


def test_an_upload_is_compared_with_what_arrived(cloud: OpenStackCloud, stub: Stub) -> None:
    def pieces() -> Iterator[bytes]:
        yield DATA[:5000]
        yield b""
        yield DATA[5000:]

    got: list[bytes] = []

    def take(call: Call) -> Answer:
        got.append(call.body)
        return Answer(204)

    stub.on("PUT", FILE, take)
    queued = RECORD | {"status": "queued", "size": None, "checksum": None}
    stub.on("GET", IMAGE, Answer(200, queued), Answer(200, RECORD))
    cloud.images.upload("i1", pieces())
    assert got == [DATA]
    for wrong in ({"size": 1}, {"checksum": "0" * 32}, {"status": "queued"}, {"status": "killed"}):
        stub.on("GET", IMAGE, Answer(200, queued), Answer(200, RECORD | wrong))
        with pytest.raises(CloudError, match="i1"):
            cloud.images.upload("i1", pieces())


@pytest.mark.parametrize("answer", [Answer(401, "no"), Answer(503), Answer(act="reset"), Answer(307)])
def test_an_upload_is_sent_once_only(cloud: OpenStackCloud, stub: Stub, answer: Answer) -> None:
    """Its generator is used up: a second request would carry no bytes and make an empty, active image."""
    stub.on("GET", IMAGE, Answer(200, RECORD | {"status": "queued"}))
    stub.on("PUT", FILE, answer)
    with pytest.raises(CloudError) as failed:
        cloud.images.upload("i1", iter([DATA]))
    assert isinstance(failed.value, CloudAuthError) is (answer.status == 401)
    assert len(stub.asked("PUT", FILE)) == 1


def test_an_upload_to_nowhere_takes_no_byte(cloud: OpenStackCloud, stub: Stub) -> None:
    taken: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        taken.append(DATA)
        yield DATA

    with pytest.raises(NotFound):
        cloud.images.upload("i1", pieces())
    assert taken == []


def test_an_upload_holds_one_piece_at_a_time(cloud: OpenStackCloud, stub: Stub) -> None:
    """The source is asked for a piece only when the one before is on its way."""
    alive: list[int] = []
    highest = 0
    lock = threading.Lock()

    class Piece(bytes):
        def __del__(self) -> None:
            with lock:
                alive.pop()

    def pieces() -> Iterator[bytes]:
        nonlocal highest
        for _ in range(40):
            with lock:
                alive.append(1)
                highest = max(highest, len(alive))
            yield Piece(100_000)

    stub.on("PUT", FILE, Answer(204))
    stub.on("GET", IMAGE, Answer(200, RECORD | {"status": "queued"}), Answer(200, RECORD | {"size": 4_000_000}))
    with pytest.raises(CloudError, match="passed"):  # the record's MD5 is another's
        cloud.images.upload("i1", pieces())
    assert highest <= 3


def test_the_last_piece_waits_until_all_of_them_agree(cloud: OpenStackCloud, stub: Stub) -> None:
    """Whoever passes the pieces on would otherwise hold a complete, wrong body before the error comes."""
    stub.on("GET", IMAGE, Answer(200, RECORD | {"checksum": "0" * 32}))
    stub.on("GET", FILE, Answer(200, DATA))
    got: list[bytes] = []
    pieces = cloud.images.download("i1", chunk_bytes=4096)
    with pytest.raises(CloudError, match="MD5"):
        all(map(lambda piece: got.append(piece) is None, pieces))  # noqa: C417
    assert sum(map(len, got)) == len(DATA) - 4096


@pytest.mark.parametrize("digest", ["checksum", "os_hash_value"])
def test_an_upload_is_compared_by_both_digests(cloud: OpenStackCloud, stub: Stub, digest: str) -> None:
    queued = RECORD | {"status": "queued", "size": None, "checksum": None}
    whole = RECORD | {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(DATA).hexdigest()}
    stub.on("PUT", FILE, Answer(204))
    stub.on("GET", IMAGE, Answer(200, queued), Answer(200, whole))
    assert cloud.images.upload("i1", iter([DATA])).hash_algo == "sha512"
    stub.on("GET", IMAGE, Answer(200, queued), Answer(200, whole | {digest: "0" * 32}))
    with pytest.raises(CloudError, match="0" * 32):
        cloud.images.upload("i1", iter([DATA]))


def test_a_hash_that_nobody_here_computes_is_not_compared(cloud: OpenStackCloud, stub: Stub) -> None:
    queued = RECORD | {"status": "queued", "size": None, "checksum": None}
    other = RECORD | {"os_hash_algo": "blake2b", "os_hash_value": "0" * 128}
    stub.on("PUT", FILE, Answer(204))
    stub.on("GET", IMAGE, Answer(200, queued), Answer(200, other))
    assert cloud.images.upload("i1", iter([DATA])).status == "active"


def test_a_known_size_is_said_before_the_first_byte(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("PUT", FILE, Answer(204))
    stub.on("GET", IMAGE, Answer(200, RECORD | {"status": "queued"}), Answer(200, RECORD))
    cloud.images.upload("i1", iter([DATA]), size_bytes=len(DATA))
    (sized,) = stub.asked("PUT", FILE)
    assert sized.headers["content-length"] == str(len(DATA))
    assert "transfer-encoding" not in sized.headers
    assert "expect" not in sized.headers


def test_what_a_download_digests_is_not_digested_again(
    cloud: OpenStackCloud, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    original = hashlib.new

    def new(name: str, *args: Any, **options: Any) -> Any:
        made.append(name)
        return original(name, *args, **options)

    monkeypatch.setattr(hashlib, "new", new)
    stub.on("GET", FILE, Answer(200, DATA))
    stub.on("PUT", FILE, Answer(204))
    stub.on("GET", IMAGE, Answer(200, RECORD), Answer(200, RECORD | {"status": "queued"}), Answer(200, RECORD))
    cloud.images.upload("i1", cloud.images.download("i1"))
    assert sorted(made) == ["md5", "sha512"]


def test_a_download_that_is_let_go_closes_its_connection(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", IMAGE, Answer(200, RECORD))
    stub.on("GET", FILE, Answer(200, DATA * 64))
    begun = cloud.images.download("i1", chunk_bytes=512)
    assert next(begun)
    begun.close()
    assert list(begun) == []
    cloud.images.download("i1").close()  # one that was never begun
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("digest-")]
    assert alive == []
