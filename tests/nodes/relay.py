"""Datagrams on loopback, bent on their way."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

#: ``(number, datagram)``, counted from 0 in each direction, to what is passed on in its place.
Bend = Callable[[int, bytes], list[bytes]]


def unbent(_number: int, data: bytes) -> list[bytes]:
    """Pass on as it is."""
    return [data]


@contextlib.contextmanager
def relay(port: int, *, there: Bend = unbent, back: Bend = unbent) -> Iterator[int]:
    """A port that passes datagrams on to another, and the answers back to whoever asked last."""
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    behind = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.bind(("127.0.0.1", 0))
    behind.connect(("127.0.0.1", port))
    over = threading.Event()

    def pass_on() -> None:
        asker, asked, answered = None, 0, 0
        with selectors.DefaultSelector() as selector:
            selector.register(front, selectors.EVENT_READ)
            selector.register(behind, selectors.EVENT_READ)
            while not over.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is front:
                        data, asker = front.recvfrom(3000)
                        for piece in there(asked, data):
                            behind.send(piece)
                        asked += 1
                    elif asker is not None:
                        for piece in back(answered, behind.recv(3000)):
                            front.sendto(piece, asker)
                        answered += 1

    thread = threading.Thread(target=pass_on, name="relay", daemon=True)
    thread.start()
    try:
        yield front.getsockname()[1]
    finally:
        over.set()
        thread.join(5)
        front.close()
        behind.close()


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port that answers each datagram with one of these in turn."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(("127.0.0.1", 0))
    here.settimeout(0.05)
    over = threading.Event()

    def answer() -> None:
        number = 0
        while not over.is_set():
            try:
                _, asker = here.recvfrom(3000)
            except TimeoutError:
                continue
            if answers:
                here.sendto(answers[number % len(answers)], asker)
            number += 1

    thread = threading.Thread(target=answer, name="answering", daemon=True)
    thread.start()
    try:
        yield here.getsockname()[1]
    finally:
        over.set()
        thread.join(5)
        here.close()
