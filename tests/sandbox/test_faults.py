"""Faults on purpose: each does what it says, and the same in every run."""

from pathlib import Path

import httpx
import pytest

from ittybit_sandbox import Faults, SandboxConfig
from ittybit_sandbox import faults as module
from ittybit_sandbox.errors import ConfigurationError
from ittybit_sandbox.faults import Chance, FaultPlan, parse_faults
from tests.sandbox.harness import Json, Running, Sink, running, wait_for

ALWAYS = {"probability": 1}


def test_the_documented_example_is_valid() -> None:
    """What the module's documentation shows can be used as it stands."""
    documentation = module.__doc__ or ""
    example = documentation.partition("optional:\n\n")[2].partition("\n\nEach decision")[0]
    faults = parse_faults(example, "the example")
    assert faults.seed == 7
    assert faults.api.rate_limited.retry_after_s == 1
    assert faults.webhooks.delayed.seconds == 10
    assert faults.jobs[0].error.message == "encoder was preempted"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("api: [", "YAML"),
        ("api: {slow: {probability: 2}}", "api.slow.probability"),
        ("webhook: {}", "webhook"),
        ("jobs: [{action: explode}]", "jobs.0.action"),
        ("- 1", "the document"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    """The error names the file and the place in it."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=named) as caught:
        SandboxConfig.model_validate({"faults": str(path)})
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml"):
        SandboxConfig.model_validate({"faults": tmp_path / "nothing.yaml"})


def test_decisions_depend_on_seed_and_identity_alone() -> None:
    """The share is right, the same again in any order, and another with another seed."""
    chance = Chance(probability=0.3)
    names = [f"key{n}" for n in range(2000)]
    struck = {name for name in names if FaultPlan(Faults(), 1).strikes(chance, "lost", name)}
    plan = FaultPlan(Faults(), 1)
    assert struck == {name for name in reversed(names) if plan.strikes(chance, "lost", name)}
    assert 500 < len(struck) < 700
    other = FaultPlan(Faults(), 2)
    assert struck != {name for name in names if other.strikes(chance, "lost", name)}


def test_rate_limits_and_server_errors_accept_nothing() -> None:
    """Each retry is another throw of the dice, so in the end every job is in, once."""
    faults = {
        "api": {
            "rate_limited": {"probability": 0.3, "retry_after_s": 2},
            "server_error": {"probability": 0.3, "status": 502},
        }
    }
    with running(instant=True, faults=faults, seed=3) as sandbox:
        seen = []
        for n in range(30):
            body = {"input": f"s3://library/{n}.mp4", "kind": "image"}
            while (answer := sandbox.post(body, key=f"key{n}")).status_code != 201:
                seen.append(answer.status_code)
                if answer.status_code == 429:
                    assert answer.headers["retry-after"] == "2"
                    assert answer.json()["kind"] == "rate_limited"
        assert set(seen) == {429, 502}
        summary = sandbox.summary()
    assert summary["jobs_created"] == 30
    assert summary["replays"] == 0
    assert summary["requests"]["POST /jobs 429"] == seen.count(429)


def test_a_cut_answer_leaves_a_job_that_its_key_finds() -> None:
    """The client sees a broken connection; the same key then gets the first answer."""
    with running(instant=True, faults={"api": {"cut_after_accept": ALWAYS}}) as sandbox:
        body = {"input": "s3://library/a.mp4", "kind": "image"}
        with pytest.raises(httpx.RemoteProtocolError):
            sandbox.post(body, key="cut")
        answer = sandbox.post(body, key="cut")
        assert answer.status_code == 200
        assert [row["id"] for row in sandbox.all_jobs()] == [answer.json()["id"]]
        summary = sandbox.summary()
    assert (summary["jobs_created"], summary["replays"], summary["answers_cut"]) == (1, 1, 1)


def test_a_slow_answer_comes_after_all() -> None:
    """It takes as long as it was told to."""
    with running(
        instant=True, faults={"api": {"slow": {"probability": 1, "seconds": 0.3}}}
    ) as sandbox:
        answer = sandbox.post({"input": "s3://library/a.mp4", "kind": "image"})
    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.3


def test_a_duplicated_webhook_comes_twice(sink: Sink) -> None:
    """Both are the same, and both are signed."""
    with running(instant=True, faults={"webhooks": {"duplicated": ALWAYS}}) as sandbox:
        sandbox.create(webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 2)
    assert sink.received[0].raw == sink.received[1].raw


def test_a_lost_webhook_never_comes(sink: Sink) -> None:
    """It is not retried either, and is counted as lost."""
    with running(instant=True, faults={"webhooks": {"lost": ALWAYS}}) as sandbox:
        sandbox.run(webhook_url=sink.url)
        deliveries = sandbox.summary()["deliveries"]
        (row,) = sandbox.all_jobs()
    assert (deliveries["lost"], deliveries["sent"]) == (1, 0)
    assert row["deliveries"][0]["state"] == "lost"
    assert sink.received == []


def test_a_wrong_signature_is_put_right_by_a_retry(sink: Sink) -> None:
    """Each attempt is decided by itself."""
    sink.answers = [401] * 3
    faults = {"webhooks": {"wrongly_signed": {"probability": 0.5}}}
    with running(instant=True, faults=faults) as sandbox:
        sandbox.create(webhook_url=sink.url, key="forged")
        wait_for(lambda: len(sink.received) == 4)
        wrong = sandbox.summary()["deliveries"]["wrongly_signed"]
    signed = [received.is_signed() for received in sink.received]
    assert signed.count(False) == wrong
    assert set(signed) == {True, False}


def test_a_forged_webhook_says_the_opposite_and_is_sent_once(sink: Sink) -> None:
    """It comes besides the true one, is not signed by us, and it is told if it was believed."""
    sink.answers = [401]
    faults = {"webhooks": {"forged": ALWAYS}}
    # One at a time, so that the 401 is for the forged one, which goes first.
    with running(instant=True, faults=faults, webhook_concurrency=1) as sandbox:
        sandbox.create(webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 2)
        wait_for(lambda: sandbox.summary()["deliveries"]["acknowledged"] == 1)
        deliveries = sandbox.summary()["deliveries"]
    statuses = {received.is_signed(): received.body["status"] for received in sink.received}
    assert statuses == {False: "failed", True: "succeeded"}
    assert (deliveries["forged"], deliveries["forged_and_believed"]) == (1, 0)


def test_a_delayed_webhook_lets_others_pass(sink: Sink) -> None:
    """The job has ended long before its webhook comes."""
    faults = {"webhooks": {"delayed": {"probability": 1, "seconds": 0.5}}}
    with running(instant=True, faults=faults) as sandbox:
        job_id = sandbox.create(webhook_url=sink.url)
        sandbox.ended(job_id)
        assert sink.received == []
        sandbox.client.post("/_sandbox/faults", json={}).raise_for_status()
        other = sandbox.create(webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 2)
    assert [received.body["id"] for received in sink.received] == [other, job_id]


def test_a_reordered_webhook_comes_after_a_later_one(sink: Sink) -> None:
    """It waits for the next one to the same URL, but not for ever."""
    with running(instant=True, faults={"webhooks": {"reordered": ALWAYS}}) as sandbox:
        first = sandbox.create(webhook_url=sink.url)
        sandbox.ended(first)
        sandbox.client.post("/_sandbox/faults", json={}).raise_for_status()
        second = sandbox.create(webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 2)
        assert [received.body["id"] for received in sink.received] == [second, first]
        sandbox.client.post("/_sandbox/faults", json={"webhooks": {"reordered": ALWAYS}})
        alone = sandbox.create(webhook_url=sink.url)
        wait_for(lambda: len(sink.received) == 3)
    assert sink.received[2].body["id"] == alone


def _rule(**rule: object) -> Json:
    return {"jobs": [rule]}


def test_fail_once_fails_the_first_attempt_alone() -> None:
    """A replay is the same attempt; another key for the same work is the next one."""
    faults = _rule(action="fail_once", error={"kind": "internal_error", "message": "preempted"})
    with running(instant=True, faults=faults) as sandbox:
        first = sandbox.ended(sandbox.create(key="attempt-1"))
        assert first["error"] == {"kind": "internal_error", "message": "preempted"}
        assert [task["status"] for task in first["tasks"]] == [
            "succeeded", "succeeded", "failed", "cancelled",
        ]  # fmt: skip
        assert sandbox.create(key="attempt-1") == first["id"]
        assert sandbox.ended(sandbox.create(key="attempt-2"))["status"] == "succeeded"
        other = sandbox.run(input="s3://library/other.mp4")
        assert other["status"] == "failed"


@pytest.mark.parametrize(
    ("match", "body", "failed"),
    [
        ({"kind": "image"}, {"kind": "image"}, True),
        ({"kind": "image"}, {"kind": "audio"}, False),
        ({"input": "s3://*/clip.*"}, {}, True),
        ({"input": "s3://*/clap.*"}, {}, False),
        ({"metadata": {"a": 1}}, {"metadata": {"a": 1, "b": 2}}, True),
        ({"metadata": {"a": 1}}, {"metadata": {"b": 2}}, False),
    ],
)
def test_a_rule_strikes_what_it_matches(match: Json, body: Json, failed: bool) -> None:
    """By kind, by a glob over the input, and by metadata."""
    with running(instant=True, faults=_rule(action="fail_always", match=match)) as sandbox:
        jobs = [sandbox.run(**body) for _ in range(2)]
    assert {job["status"] == "failed" for job in jobs} == {failed}


def test_a_hanging_job_never_ends_and_holds_nobody_up(media_url: str) -> None:
    """It stays `processing`, and takes no encoder from the others."""
    faults = _rule(action="hang", match={"kind": "image"})
    with running(max_encodes=1, faults=faults) as sandbox:
        hanging = sandbox.create(kind="image")
        ended = sandbox.run(kind="audio", input=f"{media_url}/tone.wav")
        assert ended["status"] == "succeeded"
        assert sandbox.job(hanging)["status"] == "processing"


def test_a_share_of_jobs_can_be_struck() -> None:
    """The probability picks the same jobs whatever their order."""
    faults = _rule(action="fail_always", probability=0.5)

    def failed(order: range) -> set[str]:
        with running(instant=True, faults=faults, seed=5) as sandbox:
            jobs = [sandbox.run(input=f"s3://library/{n}.mp4") for n in order]
        return {job["input"] for job in jobs if job["status"] == "failed"}

    first = failed(range(20))
    assert 0 < len(first) < 20
    assert failed(range(19, -1, -1)) == first


def test_wrong_faults_at_run_time_change_nothing(instant: Running) -> None:
    """The answer names the place, and the faults in force stay."""
    answer = instant.client.post("/_sandbox/faults", json={"api": {"slow": {"seconds": -1}}})
    assert answer.status_code == 400
    assert "api.slow.seconds" in answer.json()["message"]
    assert instant.client.get("/_sandbox/faults").json() == Faults().model_dump(mode="json")
