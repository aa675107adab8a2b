"""A sink that is only misconfigured loses nothing: its results wait, and `doctor` says why."""

import json
import ssl
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import make_url

from ittybatch.engine.finding import Grade
from ittybatch.settings import Settings
from ittybatch.sinks.base import SinkUnavailable
from ittybatch.sinks.checking import check_sinks
from ittybatch.sinks.http import HttpOptions
from ittybatch.sinks.mysql_url import as_driver
from ittybatch.sinks.slack import SlackOptions
from ittybatch.sinks.sql import SqlSink
from tests.sinks.conftest import SECRET, OpenHttp, OpenSql
from tests.sinks.results import failed, succeeded

TABLE: dict[str, Any] = {
    "table": "media",
    "mode": "update",
    "key": {"id": "{metadata.media_id}"},
    "columns": {"status": "{status}"},
}
BAD_ADDRESSES = ["https://app.test:80a/x", "https://[::1/x", "https://app.test:99999/x"]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_SECRET", SECRET)


@pytest.fixture
def pymysql(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A driver that refuses what pymysql does not know; what it was given otherwise."""
    connections: list[dict[str, Any]] = []
    module, constants, flags = (
        ModuleType(f"pymysql{name}") for name in ("", ".constants", ".constants.CLIENT")
    )

    class Error(Exception):
        """As of any driver."""

    class OperationalError(Error):
        """The server cannot be reached."""

    def connect(
        *,
        host: str,
        user: str,
        password: str,
        database: str,
        connect_timeout: int,
        read_timeout: int,
        write_timeout: int,
        client_flag: int,
        charset: str = "",
        ssl: object = None,
    ) -> None:
        assert (host, user, password, database) == ("db", "u", "hunter22", "app")
        assert connect_timeout, "a sink never waits for ever"
        assert (read_timeout, write_timeout, client_flag, charset) == (10, 10, 2, "")
        connections.append({} if ssl is None else {"ssl": ssl})
        raise OperationalError(2003, "nobody listens")

    flags.FOUND_ROWS = 2  # type: ignore[attr-defined]
    constants.CLIENT = flags  # type: ignore[attr-defined]
    given = {"connect": connect, "constants": constants, "paramstyle": "pyformat"}
    vars(module).update(given, OperationalError=OperationalError)
    others = ("Error", "InterfaceError", "InternalError", "ProgrammingError")
    vars(module).update(dict.fromkeys(others, Error))
    module.__spec__ = ModuleSpec("pymysql", None)
    for each in (module, constants, flags):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return connections


def _open(open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch, query: str) -> SqlSink:
    monkeypatch.setenv("APP_DATABASE_URL", f"mysql://u:hunter22@db/app?{query}")
    return open_sql(**TABLE)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("tls-version=1.3", "tls-version"),
        ("ssl-mode=SOMETIMES", "ssl-mode"),
        ("connect_timeout=soon", "connect_timeout"),
        ("sslcert=/nowhere/ca.pem&sslaccept=strict", "sslcert"),
    ],
)
@pytest.mark.usefixtures("pymysql")
def test_a_parameter_that_the_driver_cannot_use_makes_the_sink_unavailable(
    query: str, named: str, open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, without the password."""
    sink = _open(open_sql, monkeypatch, query)
    for _ in range(10):
        with pytest.raises(SinkUnavailable, match=named) as told:
            sink.deliver([succeeded(1, metadata={"media_id": "m1"})])
        assert "hunter22" not in str(told.value)
    assert named in str(sink.check())


def test_a_driver_that_does_not_exist_makes_the_sink_unavailable(
    open_sql: OpenSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is not installed does."""
    monkeypatch.setenv("APP_DATABASE_URL", "mysql+nodriver://u:hunter22@db/app")
    sink = open_sql(**TABLE)
    with pytest.raises(SinkUnavailable, match="nodriver"):
        sink.deliver([succeeded(1, metadata={"media_id": "m1"})])
    assert "nodriver" in str(sink.check())


@pytest.mark.usefixtures("pymysql")
def test_doctor_tells_what_is_wrong_with_each_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be opened keeps no other from its finding."""
    monkeypatch.setenv("APP_DATABASE_URL", "mysql://u:hunter22@db/app?tls-version=1.3")
    monkeypatch.setenv("APP_ADDRESS", BAD_ADDRESSES[0])
    sinks = [
        {"name": "table", "kind": "sql", "url": "${APP_DATABASE_URL}", **TABLE},
        {"name": "alerts", "kind": "slack", "url": "${APP_ADDRESS}"},
    ]
    file = tmp_path / "results.yaml"
    file.write_text(json.dumps({"sinks": sinks}))
    found = list(check_sinks(Settings(results_file=file, home=tmp_path)))
    assert [each.grade for each in found] == [Grade.BROKEN, Grade.BROKEN]
    assert "tls-version" in found[0].what
    assert "cannot be read" in found[1].what

    def check(_: SqlSink) -> str:
        raise KeyError("hunter22")

    monkeypatch.setattr(SqlSink, "check", check)
    found = list(check_sinks(Settings(results_file=file, home=tmp_path)))
    assert found[0].what == "Its check failed with an unexpected KeyError."
    assert len(found) == 2


@pytest.mark.parametrize(
    ("query", "encrypted", "verified", "named"),
    [
        ("connection_limit=5&pool_timeout=10&socket_timeout=3", False, False, False),
        ("ssl-mode=DISABLED", False, False, False),
        ("ssl-mode=PREFERRED", False, False, False),
        ("ssl-mode=REQUIRED", True, False, False),
        ("sslaccept=accept_invalid_certs", True, False, False),
        ("ssl_mode=verify_ca", True, True, False),
        ("sslmode=verify-full", True, True, True),
        ("sslaccept=strict", True, True, True),
        ('ssl={"rejectUnauthorized":true}', True, True, True),
        ("ssl=%7B%22rejectUnauthorized%22%3A+false%7D", True, False, False),
    ],
)
def test_the_url_of_prisma_or_a_host_works_as_it_is(  # noqa: PLR0917
    query: str,
    encrypted: bool,
    verified: bool,
    named: bool,
    open_sql: OpenSql,
    monkeypatch: pytest.MonkeyPatch,
    pymysql: list[dict[str, Any]],
) -> None:
    """What it says about encryption is what the driver is told."""
    sink = _open(open_sql, monkeypatch, query)
    with pytest.raises(SinkUnavailable, match="nobody listens"):
        sink.deliver([succeeded(1, metadata={"media_id": "m1"})])
    given = pymysql[0].get("ssl")
    assert (given is not None) == encrypted
    if isinstance(given, ssl.SSLContext):
        assert (given.verify_mode is ssl.CERT_REQUIRED, given.check_hostname) == (verified, named)


def test_mysqlclient_is_told_the_mode_by_its_name() -> None:
    """It has the server's own names; Prisma's file of the CA goes beside it."""
    given = "mysql+mysqldb://u@db/app?sslaccept=strict&sslcert=/etc/ca.pem&charset=utf8mb4"
    url, arguments = as_driver(make_url(given))
    assert arguments == {"ssl_mode": "VERIFY_IDENTITY"}
    assert url.query == {"charset": "utf8mb4", "ssl_ca": "/etc/ca.pem"}


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_an_address_that_cannot_be_read_makes_the_sinks_unavailable(
    url: str, open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their variables hold it, so nobody sees it when the file is read."""
    monkeypatch.setenv("APP_ADDRESS", url)
    http = open_http(url="${APP_ADDRESS}")
    slack = SlackOptions.model_validate(
        {"name": "alerts", "kind": "slack", "url": "${APP_ADDRESS}"}
    ).open()
    for sink in (http, slack):
        for _ in range(10):
            with pytest.raises(SinkUnavailable, match="its host or its port cannot be read"):
                sink.deliver([failed(1)])
        assert "cannot be read" in str(sink.check())


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_an_address_in_the_file_is_read_with_it(url: str) -> None:
    """The receiver does not start with it."""
    given = {"name": "app", "kind": "http", "url": url, "secret": "${RESULTS_SECRET}"}
    with pytest.raises(ValueError, match="its host or its port cannot be read"):
        HttpOptions.model_validate(given)


def test_a_proxy_that_cannot_be_used_makes_a_sink_unavailable(
    open_http: OpenHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the environment's, not the result's."""
    monkeypatch.setenv("https_proxy", "http://proxy.test:80a")
    sink = open_http(url="https://app.test/x")
    with pytest.raises(SinkUnavailable, match="The proxy of the environment"):
        sink.deliver([succeeded(1)])
    assert "proxy" in str(sink.check())
