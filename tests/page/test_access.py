"""Who reaches the page, who may act on it, and what no other website can do."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from ittybatch.errors import ConfigurationError
from ittybatch.ledger import Ledger
from ittybatch.ledger.actions import recent_actions
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.page.access import Access, Stranger, Viewer
from ittybatch.page.doctor import check_page
from ittybatch.settings import Settings
from tests.receiver.harness import running

ACTOR, LOOKER = "ada:correct horse", "bob:battery:staple"
# Everything that a view may answer with: pages, regions, the stream, files, forms.
READS = ("/page/", "/page/regions/health", "/page/health", "/page/changes", "/page/static/live.js")
ACTS = ("/page/health/check", "/page/health/sinks/retry")


def basic(account: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}


@contextmanager
def page(ledger_url: str, **settings: Any) -> Iterator[httpx.Client]:  # noqa: ANN401
    with (
        running(ledger_url, **settings) as up,
        httpx.Client(base_url=up.url, trust_env=False, timeout=30) as client,
    ):
        yield client


def test_without_a_setting_only_this_machine_reaches_it(sqlite_url: str) -> None:
    """Not a proxy on it, and not a website whose name was made to point to it."""
    with page(sqlite_url) as client:
        assert client.get("/").headers["location"] == "page/"
        assert client.get("/page").headers["location"] == "page/"
        assert client.get("/page/").status_code == 200
        assert client.get("/page/", headers={"Host": "localhost:1"}).status_code == 200
        for headers in (
            {"X-Forwarded-For": "203.0.113.9"},
            {"Via": "1.1 x"},
            {"Host": "evil.test"},
        ):
            for path in READS:
                answer = client.get(path, headers=headers)
                assert answer.status_code == 403, path
                assert "ITTYBATCH_PAGE_AUTH" in answer.text
            for path in ACTS:
                assert client.post(path, headers=headers).status_code == 403


def test_a_stranger_without_the_password_reaches_nothing(sqlite_url: str) -> None:
    """Also on this machine, once there is a password."""
    with page(sqlite_url, page_auth=ACTOR, page_viewer_auth=LOOKER) as client:
        strangers = [
            {},
            basic("ada:wrong"),
            basic("ada:"),
            basic("bob:correct horse"),
            basic(":"),
            {"Authorization": "Basic !!!"},
            {"Authorization": "Bearer correct horse"},
        ]
        for headers in strangers:
            for path in (*READS, "/page/nothing"):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401, (path, headers)
                assert answer.headers["www-authenticate"].startswith("Basic ")
                assert "correct horse" not in answer.text
            for path in ACTS:
                assert client.post(path, headers=headers).status_code == 401


def test_one_who_may_only_look_changes_nothing(sqlite_url: str) -> None:
    """By page and by hand-made request; no form is shown to them."""
    with page(sqlite_url, page_auth=ACTOR, page_viewer_auth=LOOKER) as client:
        shown = client.get("/page/health", headers=basic(LOOKER))
        assert shown.status_code == 200
        assert "may only look" in shown.text
        assert "<form" not in shown.text
        assert "<form" in client.get("/page/health", headers=basic(ACTOR)).text
        for path in ACTS:
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                answer = client.request(method, path, headers=basic(LOOKER))
                assert answer.status_code == 403
                assert "bob may only look" in answer.text
        ledger = Ledger(create_ledger_engine(sqlite_url))
        assert ledger.read(recent_actions) == []
        data = {"sink": "nowhere"}
        done = client.post("/page/health/sinks/retry", data=data, headers=basic(ACTOR))
        assert done.status_code == 303
        [action] = ledger.read(recent_actions)
        ledger.close()
        assert (action.actor, action.via, action.refused) == ("ada", "page", True)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Origin": "http://{host}"}, True),
        ({"Origin": "http://evil.test"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[bad"}, False),
        ({}, True),
    ],
)
def test_another_website_makes_no_browser_act(
    sqlite_page: httpx.Client, headers: dict[str, str], *, allowed: bool
) -> None:
    """Browsers say where a post comes from; programs say nothing."""
    host = sqlite_page.base_url.netloc.decode()
    given = {name: value.format(host=host) for name, value in headers.items()}
    answer = sqlite_page.post("/page/health/sinks/retry", data={"sink": "x"}, headers=given)
    assert answer.status_code == (303 if allowed else 403)
    if not allowed:
        assert "another website" in answer.text
        # Its form was read, or the browser would show a broken connection.
        assert "connection" not in answer.headers
    assert sqlite_page.get("/page/", headers=given).status_code == 200


@pytest.fixture(scope="module")
def sqlite_page(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: object
) -> Iterator[httpx.Client]:
    path = tmp_path_factory.mktemp("page") / "ledger.db"
    shutil.copy(str(sqlite_template), path)
    with page(f"sqlite:///{path}") as client:
        yield client


def test_every_answer_has_the_security_headers(sqlite_page: httpx.Client) -> None:
    """Refusals, errors and files, too; no script and no style runs but the page's files."""
    for path in ("/page/", "/page/nothing", "/page/static/page.css", "/page/changes?refused"):
        headers = {"Host": "evil.test"} if "refused" in path else {}
        answer = sqlite_page.get(path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def connection(client: str, **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "client": (client, 1), "headers": raw, "method": "GET"})


@pytest.mark.parametrize(
    ("client", "found"),
    [
        ("10.1.2.3", "ada@example.com"),
        ("::ffff:10.1.2.3", "ada@example.com"),
        ("fd00::7", "ada@example.com"),
        ("10.2.0.1", None),
        ("127.0.0.1", None),
        ("testclient", None),
    ],
)
def test_only_the_named_proxies_say_who_it_is(client: str, found: str | None) -> None:
    """Their addresses are those of the connection, never of a header."""
    access = Access(Settings(page_user_header="X-User", page_proxies="10.1.0.0/16, fd00::7"))
    asked = connection(client, x_user="ada@example.com", x_forwarded_for="10.1.2.3")
    viewer = access.identify(asked)
    if found:
        assert viewer == Viewer(found, may_act=True)
    else:
        assert isinstance(viewer, Stranger)
        assert viewer.status == 403


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("Łukasz".encode(), "Łukasz"),
        ("Zoë Žižek".encode(), "Zoë Žižek"),
        (" Renà ".encode(), "Renà"),  # its last byte alone would be a space
        ("Zoë".encode("latin-1"), "Zoë"),
        (b"ada\x81", None),
        ("a\u202eb".encode(), None),
    ],
)
def test_names_are_utf_8_or_latin_1(sent: bytes, found: str | None) -> None:
    """As the proxy sends them. A header's bytes say nothing about their encoding."""
    access = Access(Settings(page_user_header="X-User", page_proxies="10.1.0.0/16"))
    scope = {"type": "http", "client": ("10.1.2.3", 1), "headers": [(b"x-user", sent)]}
    viewer = access.identify(HTTPConnection(scope))
    assert viewer == Viewer(found, may_act=True) if found else isinstance(viewer, Stranger)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "named nobody in X-User"),
        ([b" "], "named nobody in X-User"),
        ([b"admin", b"ada"], "sent more than one X-User"),
        ([b"a" * 201], "sent an unusable name in X-User"),
        ([b"ada\x81"], "sent an unusable name in X-User"),
    ],
)
def test_a_proxy_that_does_not_name_one_user_lets_nobody_in(names: list[bytes], said: str) -> None:
    """A header of the client must not pass through it. The refusal says which of these it was."""
    access = Access(Settings(page_user_header="X-User", page_proxies="10.1.0.0/16"))
    headers = [(b"x-user", each) for each in names]
    scope = {"type": "http", "client": ("10.1.2.3", 1), "headers": headers}
    stranger = access.identify(HTTPConnection(scope))
    assert isinstance(stranger, Stranger)
    assert f"The proxy {said}." in stranger.why


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"page_auth": "admin"}, "ITTYBATCH_PAGE_AUTH cannot be used: it is not a user name and"),
        ({"page_auth": ":password"}, "like user:password"),
        ({"page_viewer_auth": "bob:short"}, "its password has 5 characters, and the minimum is 8"),
        ({"page_user_header": "X User"}, "not the name of a header"),
        ({"page_user_header": "Host", "page_proxies": "::1"}, "clients themselves send Host"),
        ({"page_user_header": "X-User"}, "without ITTYBATCH_PAGE_PROXIES"),
        ({"page_proxies": "10.0.0.1"}, "without ITTYBATCH_PAGE_USER_HEADER"),
        ({"page_proxies": "nginx"}, "'nginx' is not an address or a network"),
        *(
            (
                {"page_user_header": "X-User", "page_proxies": f"10.0.0.7, {everyone}"},
                f"{everyone} is wider than any private network, so anyone could name themselves",
            )
            for everyone in ("0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3")
        ),
        ({"page_auth": "a:12345678", "page_viewer_auth": "a:87654321"}, "the same user"),
    ],
)
def test_a_setting_that_cannot_be_used_is_explained(given: dict[str, str], said: str) -> None:
    """It names the variable, and repeats no password."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**given)
    assert said in str(caught.value)
    assert ".env" in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_doctor_says_for_whom_the_page_is() -> None:
    """Without a password."""
    assert check_page(Settings()).what.endswith("for clients of this machine only.")
    open_page = Settings(
        page_auth=SecretStr(ACTOR),
        page_viewer_auth=SecretStr(LOOKER),
        page_user_header="X-User",
        page_proxies="10.0.0.0/8",
    )
    what = check_page(open_page).what
    for part in ("ada (may act)", "bob (may only look)", "10.0.0.0/8", "X-User"):
        assert part in what
    assert "horse" not in what
