"""A bucket, from the page: a flow run plans it and waits, the page approves it, and it is made."""

import re

import httpx

from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.batches import read_batch
from ittybatch.ledger.states import BatchState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until


def test_a_bucket_is_planned_looked_at_approved_and_made(system: System, picture: str) -> None:
    """Sent twice, the form starts one run."""
    with httpx.Client(
        base_url=system.stack.receiver_url,
        headers={"Origin": system.stack.receiver_url},
        timeout=60,
        trust_env=False,
    ) as page:
        key = re.search(r'name="key" value="([0-9a-f]+)"', page.get("/page/new").text)
        assert key
        form = {"key": key[1], "source": picture, "make": "profile:web", "name": "by page"}
        answers = [page.post("/page/new/library", data=form) for _ in range(2)]
        assert [each.status_code for each in answers] == [303, 303], answers[0].text
        [started] = {each.headers["location"] for each in answers}

        def batch() -> str | None:
            answer = page.get(started)
            if answer.status_code != httpx.codes.SEE_OTHER:
                assert answer.status_code == httpx.codes.OK
                return None
            return answer.headers["location"].rpartition("/")[2]

        found = until(batch, "the run has a batch")
        until(
            lambda: system.ledger.read(read_batch, found).state is BatchState.UNAPPROVED,
            "it waits for approval",
        )
        assert page.get(f"/page/batches/{found}").status_code == httpx.codes.OK
        live = page.get(started.replace("/new/", "/regions/"), headers={"HX-Request": "true"})
        assert live.headers["hx-redirect"] == f"/page/batches/{found}"
        approved = page.post(f"/page/batches/{found}/approve")
        assert approved.status_code == httpx.codes.SEE_OTHER
    until(lambda: system.ledger.read(read_batch, found).state is BatchState.SUCCEEDED, "it is made")
    actions = [each.action for each in system.ledger.read(recent_actions, limit=5)]
    assert actions[:3] == ["approve", "run", "run"]
