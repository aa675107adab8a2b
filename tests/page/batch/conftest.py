"""One receiver on each database for all tests of batches: each has batches of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from tests.conftest import empty_postgres
from tests.page.steering import Page
from tests.receiver.harness import running


@pytest.fixture(scope="package", params=["sqlite", "postgres"])
def ledger_url(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One ledger on each database, for all tests: each has batches and names of its own."""
    if request.param == "postgres":
        with empty_postgres(request.getfixturevalue("postgres")) as url:
            yield url
    else:
        path = tmp_path_factory.mktemp("page") / "ledger.db"
        shutil.copy(sqlite_template, path)
        yield f"sqlite:///{path}"


@pytest.fixture(scope="package")
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(create_ledger_engine(ledger_url), patience_s=5)
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def page(ledger_url: str) -> Iterator[Page]:
    with running(ledger_url) as receiver:
        yield Page(receiver)
