"""Names and keys that the ledger gives."""

import hashlib
import secrets
from datetime import datetime


def batch_id(now: datetime) -> str:
    """A new batch's id: its time, so that ids sort, and a few random letters."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def idempotency_key(job_key: str, attempt: int) -> str:
    """The Idempotency-Key of one attempt: 32 hex digits, the length that every dialect takes."""
    return hashlib.sha256(f"{job_key}:{attempt}".encode()).hexdigest()[:32]


def batch_owner(batch: str) -> str:
    """Whose run it is: a batch's own."""
    return f"batch:{batch}"


def chunk_owner(chunk: int) -> str:
    """Whose run it is: a chunk's."""
    return f"chunk:{chunk}"


def owned_chunk(owner: str) -> int | None:
    """The chunk an owner names, or None where it names a batch."""
    kind, _, name = owner.partition(":")
    return int(name) if kind == "chunk" else None
