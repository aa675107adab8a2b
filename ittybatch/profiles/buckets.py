"""Which names of buckets are accepted, wherever one is written."""

import re

# What S3 ever allowed and boto3 accepts. AWS itself is stricter today, but us-east-1 has older
# buckets with capitals and underscores, and so have Google Cloud Storage and Ceph.
_BUCKET = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{3,255}")
S3_OBJECT = re.compile(r"s3://(?!\.+/)[A-Za-z0-9._-]{3,255}/.*[^/]")


def is_bucket_name(name: str) -> bool:
    """Say whether S3 clients accept a bucket of this name."""
    return _BUCKET.fullmatch(name) is not None
