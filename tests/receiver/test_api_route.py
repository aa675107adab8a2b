"""The API's routes as clients meet them: who may ask, what is answered, what is bounded."""

import asyncio
import socket

import httpx
import pytest

from ittybatch import bodies
from ittybatch.intake.wanted import IdempotencyConflict, MayBeTaken, RequestRefused
from ittybatch.ledger.database import LedgerUnavailable
from tests.receiver.api_client import AUTHORIZED, TOKEN, URL, Api, NotingIntake, job, serving
from tests.receiver.harness import running, wait_until

REQUEST = {"url": URL, "kind": "video", "options": {"width": 1280}}


# Who may ask


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"],
)
def test_whoever_has_no_token_is_refused(sqlite_url: str, header: str | None) -> None:
    """401 with the scheme to use; nothing is taken, and the body is left unread."""
    intake = NotingIntake()
    with serving(sqlite_url, intake) as api:
        for method, path in (("POST", "/process"), ("GET", "/jobs/1"), ("GET", "/openapi.json")):
            headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
            answer = httpx.request(method, f"{api.up.url}{path}", headers=headers, trust_env=False)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert set(answer.json()) == {"error"}
            assert TOKEN not in answer.text
    assert intake.wanted == []


def test_the_scheme_may_be_written_in_any_case(sqlite_url: str) -> None:
    """As HTTP has it."""
    with serving(sqlite_url, NotingIntake()) as api:
        answer = api.up.get("/openapi.json", {"Authorization": f"bearer {TOKEN}"})
        assert answer.status_code == 200


def test_without_a_token_the_api_is_off_and_says_so(sqlite_url: str) -> None:
    """404 as for any path that is not there, with the setting that turns it on."""
    with running(sqlite_url) as up:
        for answer in (
            Api(up).post(REQUEST),
            up.get("/jobs/task_abc123"),
            up.get("/openapi.json"),
            up.get("/uploads"),
        ):
            assert answer.status_code == 404
            assert answer.json()["error"] == "The API is off."
            assert "ITTYBATCH_API_TOKEN" in answer.json()["remedy"]


def test_healthz_is_open_and_says_nothing(sqlite_url: str) -> None:
    """Also where the API is on."""
    with serving(sqlite_url, NotingIntake()) as api:
        answer = api.up.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")


# What is answered


def test_one_job_is_answered_with_ittybits_id(sqlite_url: str) -> None:
    """Exactly these fields: the guide's two, and the jobs."""
    with serving(sqlite_url, NotingIntake()) as api:
        answer = api.post(REQUEST)
    assert answer.status_code == 202
    assert answer.json() == {
        "task_id": "task_1",
        "job_id": "1",
        "status": "processing",
        "jobs": [
            {
                "job_id": "1",
                "task_id": "task_1",
                "rendition": "video",
                "kind": "video",
                "status": "processing",
            }
        ],
    }


def test_a_job_that_ittybit_has_not_answered_has_no_id_yet(sqlite_url: str) -> None:
    """It goes on by itself."""
    intake = NotingIntake()
    intake.jobs = [job("1", task_id=None)]
    with serving(sqlite_url, intake) as api:
        answer = api.post(REQUEST).json()
    assert (answer["task_id"], answer["job_id"], answer["status"]) == (None, "1", "processing")


def test_what_was_made_before_is_answered_with_its_output(sqlite_url: str) -> None:
    """At the top as well, where a client of one job looks."""
    intake = NotingIntake()
    intake.jobs = [job("7", status="succeeded", output_url="https://cdn.test/7.mp4", created=False)]
    with serving(sqlite_url, intake) as api:
        answer = api.post(REQUEST)
    assert answer.status_code == 202
    assert answer.json()["status"] == "succeeded"
    assert answer.json()["output_url"] == "https://cdn.test/7.mp4"
    assert answer.json()["jobs"][0]["output_url"] == "https://cdn.test/7.mp4"


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        ([], "skipped"),
        (["succeeded", "processing", "failed"], "processing"),
        (["succeeded", "held"], "held"),
        (["succeeded", "failed", "cancelled"], "failed"),
        (["succeeded", "expired"], "expired"),
        (["succeeded", "succeeded"], "succeeded"),
    ],
)
def test_several_jobs_have_one_status(sqlite_url: str, statuses: list[str], together: str) -> None:
    """The one that a client has to act on: something is under way, or something is wrong."""
    intake = NotingIntake()
    intake.jobs = [job(str(number), status=each) for number, each in enumerate(statuses)]
    request = {"url": URL} if statuses else {"url": URL, "profile": "web"}
    with serving(sqlite_url, intake) as api:
        answer = api.post(request).json()
    assert answer["status"] == together
    assert len(answer["jobs"]) == len(statuses)


def test_the_idempotency_key_goes_to_the_ledger(sqlite_url: str) -> None:
    """With a digest of the body that it was used for."""
    intake = NotingIntake()
    with serving(sqlite_url, intake) as api:
        for _ in range(2):
            api.post(REQUEST, headers={"Idempotency-Key": "order-7"})
    first, second = intake.wanted
    assert first.idempotency_key == second.idempotency_key == "order-7"
    assert first.body_digest == second.body_digest != ""


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_that_cannot_be_used_is_refused(sqlite_url: str, key: str) -> None:
    """Not ignored: the client relies on it."""
    intake = NotingIntake()
    with serving(sqlite_url, intake) as api:
        answer = api.post(REQUEST, headers={"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
    assert intake.wanted == []


# What is refused


def test_a_wrong_body_is_answered_with_field_and_remedy(sqlite_url: str) -> None:
    """In our form, not in FastAPI's."""
    intake = NotingIntake()
    with serving(sqlite_url, intake) as api:
        answer = api.post({"url": URL, "tasks": [{"kind": "video"}, {"kind": 3}]})
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "field", "remedy"}
    assert answer.json()["field"] == "tasks[1].kind"
    assert intake.wanted == []


def test_what_the_intake_refuses_keeps_its_field(sqlite_url: str) -> None:
    """An unknown profile, an unknown kind, a private address."""
    refusal = RequestRefused(422, "profile", "There is no profile 'tv'.", "Use web.")
    with serving(sqlite_url, NotingIntake(lambda _: refusal)) as api:
        answer = api.post({"url": URL, "profile": "tv"})
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "There is no profile 'tv'.",
        "field": "profile",
        "remedy": "Use web.",
    }


def test_a_key_with_another_body_is_a_conflict(sqlite_url: str) -> None:
    """409, with the header as the field."""
    with serving(sqlite_url, NotingIntake(lambda _: IdempotencyConflict())) as api:
        answer = api.post(REQUEST, headers={"Idempotency-Key": "order-7"})
    assert (answer.status_code, answer.json()["field"]) == (409, "Idempotency-Key")


def test_a_ledger_that_is_away_is_not_described(sqlite_url: str) -> None:
    """503 with a time to repeat; the database's name is in the log only."""
    error = LedgerUnavailable("The ledger at postgresql://db.internal cannot be used.")
    with serving(sqlite_url, NotingIntake(lambda _: error)) as api:
        answer = api.post(REQUEST)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "db.internal" not in answer.text
    assert "Nothing was taken" in answer.json()["error"]


def test_an_open_commit_is_not_called_refused(sqlite_url: str) -> None:
    """503, and how to repeat the request without paying twice; of an event, also in part."""
    open_ = MayBeTaken("The ledger has not said in time whether it took the request.")
    with serving(sqlite_url, NotingIntake(lambda _: open_)) as api:
        answer = api.post(REQUEST)
    assert answer.status_code == 503
    assert "has not said in time" in answer.json()["error"]
    assert "the same Idempotency-Key" in answer.json()["remedy"]


def test_a_fault_of_ours_is_not_described(
    sqlite_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """500 in the same form; the log has the error."""
    with serving(sqlite_url, NotingIntake(lambda _: RuntimeError("secret detail"))) as api:
        answer = api.post(REQUEST)
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "remedy"}
    assert "secret detail" not in answer.text
    assert "secret detail" in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/jobs", "/jobs/1/output", "/docs", "/redoc", "/processes"])
def test_other_paths_are_not_found(sqlite_url: str, path: str) -> None:
    """In the form of the guide, and without a page that loads scripts from elsewhere."""
    with serving(sqlite_url, NotingIntake()) as api:
        answer = api.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


def test_other_methods_are_not_allowed(sqlite_url: str) -> None:
    """With the one that is."""
    with serving(sqlite_url, NotingIntake()) as api:
        answer = api.get("/process")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert set(answer.json()) == {"error"}


# What is bounded


def test_a_body_over_the_limit_is_refused_unread(sqlite_url: str) -> None:
    """By its announced length."""
    intake = NotingIntake()
    with serving(sqlite_url, intake, max_body_bytes=2000) as api:
        with api.up.connection() as connection:
            connection.sendall(head("Content-Length: 2001"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        assert api.post({"url": URL, "metadata": {"a": "x" * 2000}}).status_code == 413
    assert intake.wanted == []


def test_a_body_that_never_ends_is_given_up(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, and others are served meanwhile."""
    monkeypatch.setattr(bodies, "MAX_BODY_S", 0.5)
    with serving(sqlite_url, NotingIntake()) as api, api.up.connection() as connection:
        connection.sendall(head("Content-Length: 100") + b'{"url":')
        assert api.post(REQUEST).status_code == 202
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_does_not_undo_its_request(sqlite_url: str) -> None:
    """The request is taken; a repeat gets the same jobs."""
    intake = NotingIntake()
    body = b'{"url": "https://example.com/a.mov"}'
    with serving(sqlite_url, intake) as api:
        with api.up.connection() as connection:
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            connection.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: len(intake.wanted) == 1)


def head(*lines: str) -> bytes:
    token = f"Authorization: Bearer {TOKEN}"
    return "\r\n".join(["POST /process HTTP/1.1", "Host: test", token, *lines, "", ""]).encode()


def test_many_requests_at_once_are_all_answered(sqlite_url: str) -> None:
    """Over connections of their own."""

    async def send(url: str) -> list[int]:
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"{url}/process", json={"url": f"{URL}?{n}"}, headers=AUTHORIZED)
                    for n in range(64)
                )
            )
        return [each.status_code for each in answers]

    intake = NotingIntake()
    with serving(sqlite_url, intake) as api:
        assert asyncio.run(send(api.up.url)) == [202] * 64
    assert len(intake.wanted) == 64


# What it tells of itself


def test_it_describes_itself(sqlite_url: str) -> None:
    """Routes, bodies, answers, errors and the token."""
    with serving(sqlite_url, NotingIntake()) as api:
        schema = api.get("/openapi.json").json()
    post = schema["paths"]["/process"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0]["$ref"]
    request = schema["components"]["schemas"][reference.rpartition("/")[2]]
    assert {"url", "kind", "options", "tasks", "profile", "metadata", "again"} <= set(
        request["properties"]
    )
    assert {"202", "401", "409", "413", "422", "503"} <= set(post["responses"])
    assert {"200", "404"} <= set(schema["paths"]["/jobs/{id}"]["get"]["responses"])
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for reference in references(schema):
        assert reference.rpartition("/")[2] in schema["components"]["schemas"]


def references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in references(value)]
    if isinstance(part, list):
        return [each for value in part for each in references(value)]
    return []


def test_its_requests_are_counted_by_outcome(sqlite_url: str) -> None:
    """By route and status; paths that nobody has are counted together."""
    with serving(sqlite_url, NotingIntake()) as api:
        api.post(REQUEST)
        api.post({})
        api.up.get("/process")
        for number in range(3):
            api.get(f"/nothing/{number}")
            api.get(f"/jobs/{number}")
        for route, status, count in (
            ("/process", 202, 1),
            ("/process", 422, 1),
            ("/jobs/{id}", 404, 3),
            ("other", 404, 3),
        ):
            sample = f'ittybatch_api_requests_total{{route="{route}",status="{status}"}}'
            assert api.up.metric(sample) == count
        assert api.up.metric('ittybatch_api_seconds_count{route="/process"}') == 3
