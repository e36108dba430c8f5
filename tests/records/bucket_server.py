"""A real S3 server on loopback: SeaweedFS, whose binary the wheel of that name brings."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

KEY, SECRET = "key", "s3cret-of-the-bucket"
START_S = 40.0
_STARTS = 3
_PORTS = tuple(f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc"))


def free_ports(count: int) -> list[int]:
    """That many ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server with its data in ``folder``; gives the variables that lead boto3 and papermill to it."""
    server, variables = _start(folder)
    try:
        yield variables
    finally:
        _end(server)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    for attempt in range(_STARTS):
        place = folder / str(attempt)
        place.mkdir()
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        with (place / "server.log").open("wb") as log:
            server = subprocess.Popen(
                _command(place, ports), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        variables = _variables(ports["s3.port"])
        if _serves(server, variables):
            return server, variables
        _end(server)  # somebody was faster at one of its ports
    said = (folder / str(_STARTS - 1) / "server.log").read_text(errors="replace")
    raise RuntimeError(f"the S3 server did not come up:\n{said[-2000:]}")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()  # it takes its time to end in order, and nobody needs its data
    server.wait(timeout=10)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    return [
        str(Path(sys.executable).parent / "weed"),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={config}",
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _variables(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "BOTO3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _serves(server: subprocess.Popen[bytes], variables: dict[str, str]) -> bool:
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            client.create_bucket(Bucket="is-it-up")
            client.put_object(Bucket="is-it-up", Key="x", Body=b"x")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False
