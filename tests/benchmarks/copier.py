"""Copies an image with the clouds' verbs alone, in a process of its own, and prints what it took as JSON.

``hoard`` reads everything before it writes: it shows that the meter can tell.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pumphouse.clouds import OpenStackCloud, connect
from tests.benchmarks.meter import Meter


def stream(source: OpenStackCloud, destination: OpenStackCloud, image_id: str, copy_id: str) -> None:
    """Read and write at the same time."""
    size_bytes = source.images.get_image(image_id).size_bytes
    destination.images.upload(copy_id, source.images.download(image_id), size_bytes=size_bytes)


def hoard(source: OpenStackCloud, destination: OpenStackCloud, image_id: str, copy_id: str) -> None:
    """Read, then write."""
    whole = b"".join(source.images.download(image_id))
    destination.images.upload(copy_id, iter([whole]), size_bytes=len(whole))


def measured(work: Callable[[], dict[str, float] | None]) -> None:
    """Do it, and print seconds, memory and what it tells itself."""
    meter = Meter()
    meter.start()
    begun = time.monotonic()
    told = work() or {}
    seconds = time.monotonic() - begun
    print(json.dumps({"seconds": seconds, "growth_bytes": meter.growth_bytes, **told}))


def both(clouds: Path, source: str, destination: str) -> tuple[OpenStackCloud, OpenStackCloud]:
    """Both clouds, logged in: what is loaded only once is the process's base."""
    old = connect(source, side="source", clouds_yaml=clouds)
    new = connect(destination, side="destination", clouds_yaml=clouds)
    assert old.user_id
    assert new.user_id
    return old, new


def main() -> None:
    """``copier.py stream|hoard CLOUDS_YAML SOURCE DESTINATION IMAGE COPY``."""
    how, clouds, source, destination, image_id, copy_id = sys.argv[1:]
    old, new = both(Path(clouds), source, destination)
    copy = {"stream": stream, "hoard": hoard}[how]
    measured(lambda: copy(old, new, image_id, copy_id))


if __name__ == "__main__":
    main()
