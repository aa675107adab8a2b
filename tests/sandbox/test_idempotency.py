"""One Idempotency-Key, one job."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ittybit_sandbox import idempotency
from ittybit_sandbox.jobs import now_ms
from tests.sandbox.harness import Json, Running, running

BODY: Json = {"input": "s3://library/a.mp4", "kind": "audio", "metadata": {"n": 1}}


def test_a_replay_repeats_the_first_answer(instant: Running) -> None:
    """It is 200 instead of 201, even after the job has ended."""
    first = instant.post(BODY, key="replayed")
    instant.ended(first.json()["id"])
    again = instant.post(dict(reversed(BODY.items())), key="replayed")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


def test_another_body_under_the_same_key_is_a_conflict(instant: Running) -> None:
    """Nothing is created, and the first answer stays."""
    first = instant.post(BODY, key="reused")
    other = instant.post(BODY | {"kind": "video"}, key="reused")
    assert (other.status_code, other.json()["kind"]) == (409, "conflict")
    assert instant.post(BODY, key="reused").json() == first.json()


def test_requests_at_once_with_one_key_make_one_job(instant: Running) -> None:
    """Sixteen at the same moment: one 201, fifteen 200, one id."""
    before = instant.summary()["jobs_created"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: instant.post(BODY, key="at-once"), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert instant.summary()["jobs_created"] == before + 1


def test_without_a_key_every_request_makes_a_job(instant: Running) -> None:
    """Nothing is guessed from equal bodies."""
    assert instant.post(BODY).json()["id"] != instant.post(BODY).json()["id"]


def test_a_refused_request_does_not_use_its_key_up(instant: Running) -> None:
    """After an error the key may carry the corrected body."""
    assert instant.post(BODY | {"kind": "?"}, key="corrected").status_code == 400
    assert instant.post(BODY, key="corrected").status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_has_a_length(instant: Running, key: str) -> None:
    """Empty and endless keys are refused."""
    answer = instant.client.post("/jobs", json=BODY, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["kind"]) == (400, "request_invalid")


def test_a_key_is_forgotten_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is 24 hours from the first use, and then the key makes another job."""
    with running(instant=True) as sandbox:
        first = sandbox.create(key="old")
        now = now_ms()
        monkeypatch.setattr(idempotency, "now_ms", lambda: now + idempotency.WINDOW_MS - 60_000)
        assert sandbox.create(key="old") == first
        monkeypatch.setattr(idempotency, "now_ms", lambda: now + idempotency.WINDOW_MS + 60_000)
        assert sandbox.create(key="old") != first
        assert sandbox.summary()["keys"] == {"distinct": 1, "most_jobs_for_one_key": 2}


def test_endpoints_are_registered_once_too(instant: Running) -> None:
    """The key works for every POST."""
    body = {"url": "https://example.com/once"}
    first = instant.post(body, key="endpoint", path="/webhooks")
    again = instant.post(body, key="endpoint", path="/webhooks")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    instant.client.delete(f"/webhooks/{first.json()['id']}").raise_for_status()
