"""Image bytes on their way: counted, digested beside the transfer, and compared before the last of them is let go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pumphouse.clouds.http import Reply, Service, chunks_of
from pumphouse.errors import CloudError
from pumphouse.model import Image

#: Bytes of one piece of a download. Smaller ones cost more in calls than they save in memory.
CHUNK_BYTES = 1 << 20
#: Glance's ``checksum`` is always MD5; ``os_hash_value`` is SHA-512 unless the operator chose another.
ALGORITHMS = ("md5", "sha512")
#: Called with the number of bytes that have passed so far.
Passed = Callable[[int], None]


class Tally:
    """Pieces that pass through, counted and digested by one thread per algorithm, each one piece behind at most.

    At most three pieces are held at a time, whatever the size of the whole. The last piece is kept back until
    ``at_end`` has agreed to all of them, so that whoever takes the pieces never holds a complete body that is wrong.

    :param at_end: compares what passed with what should have; its error ends the stream.
    :param release: frees what the pieces come from, at the end or when the stream is let go.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        at_end: Callable[[Tally], None] = lambda _tally: None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.size_bytes = 0
        self.passed: Passed = lambda _size_bytes: None
        self._chunks = chunks
        self._at_end = at_end
        self._release = release
        self._digests: dict[str, Any] = {name: hashlib.new(name, usedforsecurity=False) for name in ALGORITHMS}
        self._pieces = self._pass()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Let go of the stream before its end."""
        self._pieces.close()
        self._release()

    def hexdigest(self, algorithm: str) -> str | None:
        """The digest of what has passed; None for an algorithm that is not computed."""
        found = self._digests.get(algorithm)
        return None if found is None else str(found.hexdigest())

    def compare(self, image: Image, api: Service) -> None:
        """What passed against the image's record: size, MD5 and, where the record has one, the second hash.

        :raises CloudError: when they differ.
        """
        require_active(image, api)
        told: dict[str, tuple[object, object]] = {
            "bytes": (image.size_bytes, self.size_bytes),
            "MD5": (image.checksum or None, self.hexdigest("md5")),
        }
        if image.hash_algo and self.hexdigest(image.hash_algo):
            told[image.hash_algo.upper()] = (image.hash_value or None, self.hexdigest(image.hash_algo))
        wrong = [f"{name} {want} but {have} passed" for name, (want, have) in told.items() if want not in (None, have)]
        if wrong:
            raise CloudError(
                f"Cloud '{api.wire.cloud}': image {image.id} ('{image.name}') should have {', '.join(wrong)}.",
                remedy="repeat the transfer; if it happens again, the image's data or its record is damaged.",
            )

    def _pass(self) -> Generator[bytes]:
        pools = {name: ThreadPoolExecutor(1, thread_name_prefix=f"digest-{name}") for name in self._digests}
        under_way: list[Future[None]] = []
        held: bytes | None = None
        try:
            for chunk in self._chunks:
                if not chunk:
                    continue
                for future in under_way:
                    future.result()
                under_way = [pools[name].submit(digest.update, chunk) for name, digest in self._digests.items()]
                self.size_bytes += len(chunk)
                if held is not None:
                    yield held
                held = chunk
                self.passed(self.size_bytes)
            for future in under_way:
                future.result()
            self._at_end(self)
            if held is not None:
                yield held
        finally:
            for pool in pools.values():
                pool.shutdown(wait=True)
            self._release()


class Sized:
    """A body whose length is known beforehand, for HTTP libraries that ask ``len()``.

    A Glance that knows the length checks quotas before the first byte, and makes a block device of the right size at
    once.
    """

    def __init__(self, pieces: Iterable[bytes], size_bytes: int) -> None:
        self._pieces, self._size_bytes = pieces, size_bytes

    def __iter__(self) -> Iterator[bytes]:
        passed, held = 0, b""
        for piece in self._pieces:
            passed += len(piece)
            if passed > self._size_bytes:
                break
            if held:
                yield held
            held = piece
        if passed != self._size_bytes:
            # the server would wait for what never comes, or take what is too much for the next request
            found = "more" if passed > self._size_bytes else f"only {passed}"
            raise CloudError(
                f"An upload of {self._size_bytes} bytes had {found}.",
                remedy="repeat the transfer; if it happens again, the image's data or its record is damaged.",
            )
        yield held

    def __len__(self) -> int:
        return self._size_bytes


def body_of(chunks: Iterable[bytes], *, size_bytes: int | None, passed: Passed | None) -> tuple[Tally, Iterable[bytes]]:
    """What an upload sends: pieces that are a :class:`Tally` already are not digested twice."""
    tally = chunks if isinstance(chunks, Tally) else Tally(chunks)
    if passed is not None:
        tally.passed = passed
    # an empty body is sent in chunks too: a length of 0 would send none, and Glance would wait for data
    return tally, Sized(tally, size_bytes) if size_bytes else tally


def verified(reply: Reply, image: Image, api: Service, chunk_bytes: int) -> Tally:
    """The body of a download, checked.

    :raises CloudError: at once when there is no data, before the last piece when size or digests are not the record's.
    """
    if reply.status != 200:
        reply.response.close()
        raise CloudError(
            f"Cloud '{api.wire.cloud}': image {image.id} ('{image.name}') has no data (HTTP {reply.status}).",
            remedy="upload its data, or leave the image out.",
        )
    chunks = chunks_of(reply.response, chunk_bytes)
    return Tally(chunks, at_end=lambda tally: tally.compare(image, api), release=reply.response.close)


def require_active(image: Image, api: Service) -> None:
    """Refuse an image without data.

    :raises CloudError: naming its status.
    """
    if image.status != "active":
        raise CloudError(
            f"Cloud '{api.wire.cloud}': image {image.id} ('{image.name}') is {image.status}, not active: no data.",
            remedy="upload its data, delete it, or leave it out.",
        )
