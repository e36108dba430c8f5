"""How fast images go from Glance to Glance, between the two real clouds of `tests/real`, beside what others would do.

    python -m tests.benchmarks [--sizes 256,1024] [--pairs 3] [--without-client]

Each round copies the same image three ways, one after the other, so that a busy machine burdens all alike; what is
printed at the end is the median of the rounds' ratios. `curl` is told not to wait for `100 Continue`, which would cost
it a second. Seconds of the `openstack` client are those of its two commands, as a person waits for them. Ours are
those of the transfer, which is what `curl` does, and those of the whole step (looking, intent, record, transfer,
verification), in a process that is running already, as images of a plan are copied. Nothing fails for being slow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.meter import MIB
from tests.real import cloud, rest, tier
from tests.real.base import Home
from tests.real.errors import RealError

HERE = Path(__file__).resolve().parent
NAME = "pumphouse-bench"
#: Free bytes that a round leaves alone: the image, its copy, the client's file and Glance's staging fit beside them.
SPARE_BYTES = 2 << 30


class Bench:
    """Both clouds, and one image of a size at the source."""

    def __init__(self, home: Home, size_mib: int) -> None:
        self.home, self.size_mib = home, size_mib
        self.old = tier.launcher_admin("source", home)
        self.new = tier.launcher_admin("destination", home)
        self.client = home.path / "bench-venv"
        self.environment = {**os.environ, **cloud.environment(home.path)}

    @contextmanager
    def image(self) -> Iterator[str]:
        """An image of random megabytes among empty ones, as disks are."""
        record = {"name": f"{NAME}-{self.size_mib}", "disk_format": "raw", "container_format": "bare"}
        made = self.old.call("POST", "image", "/v2/images", record)["id"]
        try:
            self._fill(made)
            yield str(made)
        finally:
            self.old.reply("DELETE", "image", f"/v2/images/{made}")

    def _fill(self, image_id: str) -> None:
        some = random.Random(self.size_mib)
        command = ["curl", "-sSf", "-T", "-", *_headers(self.old), _file(self.old, image_id)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as curl:
            assert curl.stdin is not None
            for _ in range(self.size_mib):
                curl.stdin.write(some.randbytes(MIB) if some.random() < 0.5 else bytes(MIB))
            curl.stdin.close()
            if curl.wait():
                raise RealError("the source's Glance did not take the image")

    def pipe(self, image_id: str) -> float:
        """Seconds of `curl | curl`."""
        record = {"name": NAME, "disk_format": "raw", "container_format": "bare"}
        copy = self.new.call("POST", "image", "/v2/images", record)["id"]
        begun = time.monotonic()
        reading = subprocess.Popen(["curl", "-sSf", *_headers(self.old), _file(self.old, image_id)], stdout=-1)
        writing = ["curl", "-sSf", "-H", "Expect:", "-T", "-", *_headers(self.new), _file(self.new, copy)]
        subprocess.run(writing, stdin=reading.stdout, check=True)
        if reading.wait():
            raise RealError("the source's Glance broke off")
        seconds = time.monotonic() - begun
        self._take_away(copy)
        return seconds

    def ours(self, image_id: str) -> tuple[float, float, float]:
        """Seconds of the transfer, of the whole step, and MiB over the base at the highest."""
        command = [sys.executable, "-m", "tests.benchmarks.carrier", str(self.home.clouds_yaml)]
        done = subprocess.run(
            [*command, "source", "destination", image_id],
            stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parents[1],
        )  # fmt: skip
        told = json.loads(done.stdout)
        for copy in self.new.call("GET", "image", f"/v2/images?pumphouse_source_id={image_id}")["images"]:
            self._take_away(copy["id"])
        return told["transfer_s"], told["seconds"], told["growth_bytes"] / MIB

    def save_and_create(self, image_id: str) -> float:
        """Seconds of `openstack image save` and `openstack image create`."""
        program, file = str(self.client / "bin/openstack"), self.home.path / f"{NAME}.raw"
        begun = time.monotonic()
        try:
            self._run(program, "--os-cloud", "source", "image", "save", "--file", str(file), image_id)
            record = (
                "--disk-format",
                "raw",
                "--container-format",
                "bare",
                "--file",
                str(file),
                "-f",
                "value",
                "-c",
                "id",
            )
            made = self._run(program, "--os-cloud", "destination", "image", "create", *record, NAME)
            seconds = time.monotonic() - begun
        finally:
            file.unlink(missing_ok=True)
        self._take_away(made.strip())
        return seconds

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def _take_away(self, copy: str) -> None:
        found = self.new.call("GET", "image", f"/v2/images/{copy}")
        assert (found["status"], found["size"]) == ("active", self.size_mib * MIB), found
        self.new.reply("DELETE", "image", f"/v2/images/{copy}")

    def require_room(self) -> None:
        """Raises `RealError` when the image, its copy and the client's file would fill the disk."""
        if shutil.disk_usage(self.home.path).free < SPARE_BYTES + 4 * self.size_mib * MIB:
            raise RealError(f"too little room in {self.home.path} for images of {self.size_mib} MiB")

    def install_client(self) -> None:
        """The `openstack` command, in a virtualenv of its own beside the clouds."""
        if not (self.client / "bin/openstack").exists():
            venv.create(self.client, with_pip=True)
            pip = [str(self.client / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)


def _headers(session: rest.Session) -> list[str]:
    return ["-H", f"X-Auth-Token: {session.token}", "-H", "Content-Type: application/octet-stream"]


def _file(session: rest.Session, image_id: str) -> str:
    return f"{session.endpoints['image', 'public']}/v2/images/{image_id}/file"


def measure(bench: Bench, pairs: int, *, client: bool) -> None:
    """Some rounds with one size; prints each, and the ratios of the medians."""
    taken: dict[str, list[float]] = {"curl | curl": [], "transfer": [], "pumphouse": [], "openstack save + create": []}
    growth = 0.0

    def note(way: str, seconds: float) -> None:
        taken[way].append(seconds)
        rate = bench.size_mib / seconds
        print(f"  {way:24} {seconds:7.2f} s {rate:7.1f} MiB/s   load {os.getloadavg()[0]:.1f}", flush=True)

    with bench.image() as image_id:
        for number in range(pairs):
            ways: list[Callable[[], None]] = [lambda: note("curl | curl", bench.pipe(image_id))]

            def ours() -> None:
                nonlocal growth
                transfer, seconds, grown = bench.ours(image_id)
                growth = max(growth, grown)
                note("transfer", transfer)
                note("pumphouse", seconds)

            ways.append(ours)
            for way in ways if number % 2 == 0 else reversed(ways):
                way()
            if client:
                note("openstack save + create", bench.save_and_create(image_id))

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(taken[one], taken[other], strict=True))

    print(f"{bench.size_mib} MiB, medians of the ratios of {pairs} rounds:")
    print(f"  throughput / curl | curl:          {ratio('curl | curl', 'transfer'):.2f} (aim >= 0.9)")
    print(f"  the same, whole step:              {ratio('curl | curl', 'pumphouse'):.2f}")
    if client:
        print(f"  times faster than save + create:   {ratio('openstack save + create', 'pumphouse'):.2f} (aim >= 2)")
    print(f"  memory over the base, at its peak: {growth:.1f} MiB (bound 150)", flush=True)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256,1024", help="MiB, with commas between")
    parser.add_argument("--pairs", type=int, default=3, help="rounds per size")
    parser.add_argument("--without-client", action="store_true", help="leave the openstack client out")
    asked = parser.parse_args()
    try:
        home = cloud.ensure()
        for size_mib in map(int, asked.sizes.split(",")):
            bench = Bench(home, size_mib)
            bench.require_room()
            if not asked.without_client:
                bench.install_client()
            measure(bench, asked.pairs, client=not asked.without_client)
    except RealError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
