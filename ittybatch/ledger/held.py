"""Items whose every job is held, told before any of their jobs is made out.

The key of a job begins with its item's, so that all jobs of an item lie side by side in the
index that makes twice once. A job's recipe tells which rendition made it, without the item's
own part of the destination having to be worked out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from ittybatch.ledger.database import Transaction
from ittybatch.ledger.states import WILL_NOT_SEND

_WILL_NOT_SEND = ", ".join(f"'{state.value}'" for state in sorted(WILL_NOT_SEND))
_COLUMNS = """
    count(*) AS jobs,
    sum(CASE WHEN jobs.state = 'succeeded' THEN 1 ELSE 0 END) AS done,
    sum(CASE WHEN jobs.state IN ('failed', 'cancelled', 'expired') THEN 1 ELSE 0 END) AS held_back
"""
# Every digit of a key comes before a `g`.
_JOBS = "jobs.job_key > given.value AND jobs.job_key < given.value || 'g'"
# The batch that is being planned has sent nothing yet, so that its own jobs are planned ones, as
# are those that no batch will send. Both are for `plan_page` to judge.
_HELD = f"""
    jobs.claim IS NOT NULL AND (jobs.state <> 'planned' OR EXISTS (
        SELECT 1 FROM chunks JOIN batches ON batches.id = chunks.batch_id
        WHERE chunks.id = jobs.chunk_id
        AND batches.id <> {{batch}} AND batches.state NOT IN ({_WILL_NOT_SEND})))
"""  # noqa: S608  names of this program alone
_SQLITE = f"""
SELECT json_group_array(place), sum(jobs), sum(done), sum(held_back) FROM (
    SELECT given.key AS place, {_COLUMNS}
    FROM json_each(?) AS given CROSS JOIN jobs ON {_JOBS}
    WHERE jobs.recipe IN (SELECT value FROM json_each(?)) AND {_HELD.format(batch="?")}
    GROUP BY given.key HAVING count(*) = ?
)
"""  # noqa: S608
# Of a range the planner expects one job in two hundred of all that there are, and would set out
# for that many; the limit, which no item exceeds, tells it better.
_POSTGRES = f"""
SELECT json_agg(given.place - 1), sum(jobs), sum(done), sum(held_back)
FROM json_array_elements_text(%s::json) WITH ORDINALITY AS given(value, place), LATERAL (
    SELECT {_COLUMNS} FROM (
        SELECT jobs.state FROM jobs
        WHERE {_JOBS} AND jobs.recipe = ANY(%s) AND {_HELD.format(batch="%s")}
        LIMIT %s
    ) AS jobs
) AS found
WHERE found.jobs = %s
"""  # noqa: S608


class HeldItems(NamedTuple):
    """Items whose jobs are all held by others.

    Args:
        places: Where they stand among those that were asked about.
        counts: Their jobs, counted by what holds them as `plan_page` counts them.
    """

    places: Sequence[int]
    counts: dict[str, int]


def held_items(
    transaction: Transaction, batch: str | None, item_keys: Sequence[str], recipes: Sequence[str]
) -> HeldItems:
    """Tell which items have a job of each of these recipes that another batch must not make.

    Whatever a closer look could find to be new, to be taken over, or named twice, is not told:
    `plan_page` decides about those.

    Args:
        transaction: The transaction to look in.
        batch: The batch that is being planned; None for a dry run.
        item_keys: The items, through `profiles.job.item_key`.
        recipes: What each of them is to get, each once.
    """
    keys = orjson.dumps(item_keys).decode()
    wanted, own = len(recipes), batch or ""
    execute = transaction.connection.exec_driver_sql
    if transaction.postgres:
        row = execute(_POSTGRES, (keys, list(recipes), own, wanted, wanted)).one()
    else:
        row = execute(_SQLITE, (keys, orjson.dumps(recipes).decode(), own, wanted)).one()
    places, jobs, done, held_back = row
    if not jobs:
        return HeldItems((), {})
    counts = {
        "already_done": int(done),
        "held_back": int(held_back),
        "in_flight_elsewhere": int(jobs - done - held_back),
    }
    return HeldItems(
        orjson.loads(places) if isinstance(places, str) else places,
        {name: count for name, count in counts.items() if count},
    )
