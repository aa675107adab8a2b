"""Which pages may call which routes of the API."""

import httpx
import pytest

from tests.intake.uploads.serving import PAGE, TOKEN, Api

ALLOWED = "Access-Control-Allow-Origin"


def preflight(url: str, method: str, origin: str, headers: str = "content-type") -> httpx.Response:
    """What a browser asks before it sends JSON to another origin."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return httpx.options(url, headers=asked, timeout=20, trust_env=False)


def browser_calls(api: Api) -> list[tuple[str, str]]:
    """The calls that a page makes."""
    begun = api.begun()
    return [
        ("POST", begun["complete_url"]),
        ("GET", f"{begun['abort_url']}/parts"),
        ("DELETE", begun["abort_url"]),
    ]


def test_a_page_of_a_declared_origin_may_finish_an_upload(api: Api) -> None:
    """It may read the answer, also one that refuses."""
    for method, url in browser_calls(api):
        asked = preflight(url, method, PAGE)
        assert asked.status_code == 200, asked.text
        assert asked.headers[ALLOWED] == PAGE
        assert method in asked.headers["Access-Control-Allow-Methods"]
        answer = api.call(method, url, Origin=PAGE)
        assert answer.headers[ALLOWED] == PAGE
    refused = api.call("POST", f"{api.url}/uploads/x/complete", Origin=PAGE)
    assert (refused.status_code, refused.headers[ALLOWED]) == (404, PAGE)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{PAGE}.evil.example", "https://app.example.com:8443", "null"],
)
def test_a_page_of_another_origin_may_not(api: Api, origin: str) -> None:
    """It cannot read any answer."""
    for method, url in browser_calls(api):
        asked = preflight(url, method, origin)
        assert ALLOWED not in asked.headers
        assert ALLOWED not in api.call(method, url, Origin=origin).headers


def test_no_page_may_call_what_needs_the_token(api: Api) -> None:
    """A page cannot keep it secret, so no page has a use for these routes."""
    for method, path in (("POST", "/uploads"), ("GET", "/openapi.json")):
        assert ALLOWED not in preflight(f"{api.url}{path}", method, PAGE).headers
        answer = api.call(method, f"{api.url}{path}", token=TOKEN, Origin=PAGE)
        assert ALLOWED not in answer.headers


def test_the_token_is_not_among_the_headers_that_a_page_may_send(api: Api) -> None:
    """An id is all it needs."""
    [(method, url), *_] = browser_calls(api)
    assert preflight(url, method, PAGE, "authorization").status_code == 400


def test_the_description_of_the_api_has_the_routes(api: Api) -> None:
    """With their bodies, and without the preflights."""
    told = api.call("GET", f"{api.url}/openapi.json", token=TOKEN).json()
    routes = {
        (path, method)
        for path, methods in told["paths"].items()
        for method in methods
        if path.startswith("/uploads")
    }
    assert routes == {
        ("/uploads", "post"),
        ("/uploads/{id}", "delete"),
        ("/uploads/{id}/complete", "post"),
        ("/uploads/{id}/parts", "get"),
    }
    begin = told["paths"]["/uploads"]["post"]
    reference = begin["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.rpartition("/")[2] in told["components"]["schemas"]
    assert begin["security"]
    assert "security" not in told["paths"]["/uploads/{id}/complete"]["post"]
