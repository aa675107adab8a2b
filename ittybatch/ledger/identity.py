"""Ids and keys that the ledger makes: batches, owners of runs, Idempotency-Keys."""

import hashlib
import secrets
from datetime import datetime


def batch_id(now: datetime) -> str:
    """A new batch's id: the time, so that ids sort, and six random hex digits."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def idempotency_key(job_key: str, attempt: int) -> str:
    """The Idempotency-Key of one attempt: 32 hex digits, which every API dialect accepts."""
    return hashlib.sha256(f"{job_key}:{attempt}".encode()).hexdigest()[:32]


def batch_owner(batch: str) -> str:
    """The owner of a batch's run."""
    return f"batch:{batch}"


def chunk_owner(chunk: int) -> str:
    """The owner of a chunk's run."""
    return f"chunk:{chunk}"


def owned_chunk(owner: str) -> int | None:
    """The chunk of an owner, or None if the owner is a batch."""
    kind, _, name = owner.partition(":")
    return int(name) if kind == "chunk" else None
