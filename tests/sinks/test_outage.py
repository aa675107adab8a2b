"""An outage of a sink: jobs end, receivers are killed, and every row is there in the end, once."""

import pytest

from tests.soak.sinks import sit_out


def test_every_job_that_ended_during_an_outage_has_its_row_once(
    request: pytest.FixtureRequest, ledger_url: str
) -> None:
    """Two receivers share a Postgres; `python -m tests.soak.sinks` takes ten minutes for it."""
    database: str = request.getfixturevalue("postgres_url")
    seen = sit_out(
        ledger_url,
        database,
        jobs=5000,
        down_s=10,
        kills=2,
        receivers=1 if ledger_url.startswith("sqlite") else 2,
    )
    assert seen.holds, seen.told()
    assert seen.kills == 2
