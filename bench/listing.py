"""Listing: objects a second of a bucket, from its pages to items, beside boto3's paginator.

The server's answers are made beforehand, so that the clients are what is measured. A million
objects after a hundred thousand show that memory does not grow with the bucket.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from bench.databases import NewLedger
from bench.figure import Figure
from bench.objects import PREFIX
from bench.servers import HOST, serving
from ittybatch.sources import BucketSource, read_pages

OBJECTS = 50_000
MANY, FEW = 1_000_000, 100_000
BUCKET = "library"


def measure(database: str, new_ledger: NewLedger, rounds: int) -> list[Figure]:
    """Measure both in turn; it is the same with every database, so it is measured with one."""
    del new_ledger
    if database != "sqlite":
        return []
    ours: list[float] = []
    boto: list[float] = []
    with bucket(OBJECTS):
        for _ in range(rounds):
            ours.append(_per_s(list_ours))
            boto.append(_per_s(_list_boto))
    many_mb, few_mb = _peak_mb(MANY), _peak_mb(FEW)
    what = "listing, from requests to items"
    flat = f"peak memory of listing {MANY:,} objects"
    return [
        Figure("listing", what, "objects/s", ours, "boto3's paginator", boto, "at least 8"),
        Figure("listing", flat, "MB", [many_mb], f"{FEW:,} objects", [few_mb], "at most 1.1"),
    ]


@contextmanager
def bucket(objects: int, changed: int | None = None) -> Iterator[None]:
    """A bucket of so many objects, at the endpoint that the environment then names."""
    more = {} if changed is None else {"BENCH_CHANGED": str(changed)}
    with serving("bucket", BENCH_OBJECTS=str(objects), **more) as port:
        names = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def list_ours() -> int:
    """Read the bucket as a batch does; gives the number of items."""
    source = BucketSource(uri=f"s3://{BUCKET}/{PREFIX}")
    return sum(len(page.items) for page in read_pages(source))


def _list_boto() -> int:
    client = boto3.client("s3", region_name="us-east-1")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
    return sum(len(page["Contents"]) for page in pages)


def _per_s(listing: Callable[[], int]) -> float:
    began = time.perf_counter()
    count = listing()
    return count / (time.perf_counter() - began)


def _peak_mb(objects: int) -> float:
    """Peak memory of a process of its own that lists so many objects."""
    with bucket(objects):
        done = subprocess.run(
            [sys.executable, "-m", "bench.listing", str(objects)],
            stdout=subprocess.PIPE,
            check=True,
        )
    return float(done.stdout)


if __name__ == "__main__":
    if list_ours() != int(sys.argv[1]):
        raise RuntimeError("Not every object was listed.")
    # What getrusage tells would be at least what the parent had.
    [peak_kb] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    print(int(peak_kb) / 1024)
