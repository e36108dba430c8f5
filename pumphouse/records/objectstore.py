"""An archive in a bucket that speaks S3 (Amazon's, MinIO, Ceph, …), through papermill's own S3 handler and boto3.

The chain is an object a line below ``MANIFEST/``, named by its number and written with ``If-None-Match: *``: of several
machines that append at once exactly one gets each number, the others build on it and try again. No line is ever
replaced, so a bucket with object lock keeps the chain even from its owner. Needs boto3 (``pip install
pumphouse[s3]``), which takes credentials, region and endpoint from its usual places (``AWS_…`` variables, profiles).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from papermill.iorw import papermill_io

from pumphouse.errors import RunbookError
from pumphouse.records.archive import LINES_FOLDER, Archive, MakeEntry
from pumphouse.records.manifest import Entry, Head, head_of

ENDPOINT_VARIABLE = "BOTO3_ENDPOINT_URL"
"""papermill's variable for another endpoint than Amazon's; boto3's own ``AWS_ENDPOINT_URL_S3`` works too."""
_TRIES = 1000
_READERS = 16
_LINE_NAME = re.compile(rf"{LINES_FOLDER}/\d{{10}}\.json")


class BucketArchive(Archive):
    """An archive below ``s3://bucket/prefix``."""

    def __init__(self, url: str, client: Any = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise RunbookError(f"{url!r} is no bucket.", remedy="write it like s3://bucket/prefix.")
        self._url = url.rstrip("/")
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        # papermill's handler takes its endpoint from this variable: both must talk to the same place
        self._client = client or boto3.client("s3", endpoint_url=os.environ.get(ENDPOINT_VARIABLE) or None)

    @property
    def name(self) -> str:
        """The bucket's URL."""
        return self._url

    def lines(self) -> list[bytes]:
        """Read every object below ``MANIFEST/``, in order."""
        names = sorted(name for name in self._all() if name.startswith(f"{LINES_FOLDER}/"))
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self.read, names))

    def names(self) -> list[str]:
        """All objects but the chain's."""
        return sorted(
            name
            for name in self._all()
            if not name.startswith((".", f"{LINES_FOLDER}/")) and not name.endswith(".html")
        )

    def read(self, name: str) -> bytes:
        """Get the object."""
        with _translated(self._url, "read"):
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except ClientError as error:
                if _status(error) == 404:
                    raise FileNotFoundError(name) from error
                raise
            return body

    def store(self, name: str, data: bytes) -> None:
        """Put the object; notebooks go through papermill's handler for ``s3://``."""
        with _translated(self._url, "written"):
            if name.endswith(".ipynb"):
                papermill_io.write(data.decode("utf-8"), f"{self._url}/{name}", extensions=[".ipynb"])
            else:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    def append(self, make: MakeEntry) -> Entry:
        """Put the next line, if nobody else has; else build on theirs and try again."""
        for _ in range(_TRIES):
            entry = make(self._end())
            if self._put_line(entry):
                return entry
        raise RunbookError(f"Manifest of {self._url}: others were faster {_TRIES} times.", remedy="run it again.")

    def _put_line(self, entry: Entry) -> bool:
        name, line = _line_name(entry.number), entry.to_line()
        with _translated(self._url, "written"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=line, IfNoneMatch="*")
            except ClientError as error:
                # 409: the same key is being written at this moment
                if _status(error) not in (409, 412):
                    raise
            else:
                return True
        try:
            # an answer that was lost makes the client ask again, and then it is our own line that stands there
            return self.read(name) == line
        except FileNotFoundError:
            return False

    def _end(self) -> Head:
        """The chain's head, from its last line alone; an object is there whole or not at all, so nothing is torn."""
        names = sorted(filter(_LINE_NAME.fullmatch, self._all(f"{LINES_FOLDER}/")))
        if not names:
            return Head()
        head = head_of([self.read(names[-1])])
        if names[-1] != _line_name(head.number):
            raise RunbookError(
                f"Manifest of {self._url}: {names[-1]} is not what was written there.",
                remedy="look with `pumphouse records verify` and put it back: nothing can be chained to it.",
            )
        return head

    def _all(self, start: str = "") -> Iterator[str]:
        with _translated(self._url, "listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + start
            )
            for page in pages:
                for row in page.get("Contents", []):
                    yield row["Key"].removeprefix(self._prefix)


def _line_name(number: int) -> str:
    return f"{LINES_FOLDER}/{number:010}.json"


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def _translated(url: str, verb: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        missing = isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "NoSuchBucket"
        reason = "there is no such bucket" if missing else f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RunbookError(
            f"Archive {url} cannot be {verb}: {reason}.",
            remedy="check the bucket, its rights, the AWS_… variables and the endpoint.",
        ) from error
